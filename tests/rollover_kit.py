"""A venue, its wire and the clock, all in virtual time, under a real driver.

The venue speaks Binance's and Deribit's words by hand, and remembers what it said.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from typing import Any

from prove.jumping import VirtualLoop

from heartline.client.connect import connect
from heartline.client.contract import Venue
from heartline.client.driver import Driver
from heartline.client.stream import Stream
from heartline.core.events import (
    DialFailed,
    Ended,
    Event,
    Pinged,
    Ponged,
    Stop,
)
from heartline.core.evidence import Evidence
from heartline.core.items import Cause, Message
from heartline.core.neighbours import DialBudget, Neighbours
from heartline.core.rollover import Lifetime
from heartline.wire.pulse import Pulse


class Still(Pulse):
    """Feels nothing: in virtual time no loop stands still."""

    def listen(self, who: object, stalled: Callable[[float], None]) -> None:
        pass

    def feel(self, who: object) -> None:
        pass


class Wire:
    """One connection: a carrier to the driver, a subscriber to the venue."""

    address = "venue"
    outbox = None
    socket = None
    unsent = 0

    def __init__(self, epoch: int, owner: Driver, venue: PlayedVenue) -> None:
        self.epoch, self.owner, self.venue = epoch, owner, venue
        self.delay = venue.dice.choice((0.001, 0.02, 0.2))
        self.alive = True
        self.channels: set[str] = set()
        self.opened_at = venue.loop.time()
        self._free_at = 0.0

    def evidence(self) -> Evidence:
        return Evidence()

    def ping(self, payload: bytes) -> None:
        self.owner.on_fact(Pinged(self.epoch, self.evidence()))
        self.later(lambda: self._pong(payload))

    def _pong(self, payload: bytes) -> None:
        self.owner.on_data(self, [], 1, len(payload) + 2)  # type: ignore[arg-type]
        self.owner.on_fact(Ponged(self.epoch, payload))

    def send(self, text: str) -> None:
        self.venue.loop.call_later(self.delay, self.venue.hear, self, text)

    send_first = send

    def close(self, code: int, reason: str) -> None:
        self.end(code)

    def abort(self) -> None:
        self.alive = False

    def pause_reading(self) -> None:
        raise AssertionError("the consumer always reads")

    def say(self, text: str) -> None:
        self.later(lambda: self.owner.on_data(self, [text], 1, len(text)))  # type: ignore[arg-type]

    def end(self, code: int = 1006) -> None:
        """All that was said before arrives, then the end does."""
        if self in self.venue.wires:
            self.venue.wires.remove(self)
        ended = Ended(self.epoch, Cause.CLOSED_BY_PEER, code)
        self.later(lambda: self.owner.on_fact(ended), last=True)

    def cut(self) -> None:
        """It ends at once, and what was on its way is gone with it."""
        self.venue.wires.remove(self)
        self.alive = False
        self.owner.on_fact(Ended(self.epoch, Cause.RESET))

    def later(self, what: Callable[[], None], *, last: bool = False) -> None:
        loop, dice = self.venue.loop, self.venue.dice
        at = loop.time() + self.delay * dice.uniform(1.0, 2.0)
        self._free_at = at = max(at, self._free_at + 1e-6)

        def arrive() -> None:
            if self.alive:
                if last:
                    self.alive = False
                what()

        loop.call_at(at, arrive)


class PlayedVenue:
    """Says numbered messages on `channels`, `every` seconds on average."""

    def __init__(
        self,
        kind: str,
        channels: list[str],
        *,
        loop: VirtualLoop,
        dice: random.Random,
        every: float,
    ) -> None:
        self.kind, self.channels = kind, channels
        self.loop, self.dice, self.every = loop, dice, every
        self.wires: list[Wire] = []
        self.dials = 0
        self.refusals = 0
        self.last = dict.fromkeys(channels, 100)
        self.said: dict[str, list[int]] = {name: [] for name in channels}

    async def dial(self, driver: Driver, epoch: int) -> None:
        self.dials += 1
        await asyncio.sleep(self.dice.choice((0.01, 0.3)))
        if self.refusals:
            self.refusals -= 1
            driver.on_fact(DialFailed(epoch, Cause.REFUSED, "busy", 503))
            return
        wire = Wire(epoch, driver, self)
        self.wires.append(wire)
        driver.on_carried(wire)  # type: ignore[arg-type]

    async def talk(self) -> None:
        while True:
            await asyncio.sleep(self.dice.expovariate(1.0 / self.every))
            self.say(self.dice.choice(self.channels))

    def say(self, channel: str) -> None:
        low = self.last[channel]
        high = low + (self.dice.randrange(1, 9) if self.kind == "binance" else 1)
        self.last[channel] = high
        self.said[channel].append(high)
        text = self.worded(channel, low, high)
        for wire in self.wires:
            if channel in wire.channels:
                wire.say(text)

    def worded(self, channel: str, low: int, high: int) -> str:
        if channel.endswith("ticker"):
            data = {"e": "24hrTicker", "s": "BTCUSDT", "E": high}
        elif self.kind == "binance":
            symbol = channel.split("@")[0].upper()
            data = {"e": "depthUpdate", "s": symbol, "U": low + 1, "u": high}
        else:
            return self.book(channel, "change", high, low)
        return json.dumps(data)

    def book(self, channel: str, of: str, number: int, before: int | None) -> str:
        data: dict[str, Any] = {"type": of, "timestamp": 1, "change_id": number}
        data["instrument_name"] = channel.split(".")[1]
        if before is not None:
            data["prev_change_id"] = before
        params = {"channel": channel, "data": data}
        return json.dumps({"method": "subscription", "params": params})

    def hear(self, wire: Wire, text: str) -> None:
        said = json.loads(text)
        if wire not in self.wires:
            return
        if self.kind == "binance":
            wire.channels |= set(said["params"])
            wire.say(json.dumps({"result": None, "id": said["id"]}))
            return
        wanted = said.get("params", {}).get("channels", [])
        result = wanted or "ok"
        wire.say(json.dumps({"jsonrpc": "2.0", "id": said["id"], "result": result}))
        for channel in wanted:
            wire.channels.add(channel)
            wire.say(self.book(channel, "snapshot", self.last[channel], None))

    def notice(self) -> None:
        """Announce the end of the links that there are."""
        for wire in list(self.wires):
            wire.say(json.dumps({"e": "serverShutdown", "E": 1}))


def retimed(
    stream: Stream, *, draw: Callable[[], float], clock: Callable[[], float]
) -> Driver:
    """The driver that `connect` made, by another clock and other dice."""
    made = stream._driver
    return Driver(
        made._route,
        made._terms,
        inbox=made._inbox,
        observers=made._observers,
        neighbours=Neighbours(DialBudget(every=0.01)),
        draw=draw,
        clock=clock,
    )


class Played:
    """One stream of such a venue: its driver, its items and its events."""

    def __init__(self, venue: PlayedVenue, monkeypatch: Any, **options: Any) -> None:
        self.venue = venue
        self.items: list[Any] = []
        self.events: list[Event] = []
        stream = connect(
            "wss://localhost/ws",
            venue=Venue(name=venue.kind, channels=venue.channels, snapshots=None),
            on_event=self.events.append,
            **options,
        )
        self.driver = retimed(stream, draw=venue.dice.random, clock=venue.loop.time)
        attempts = self.driver._attempts
        monkeypatch.setattr(
            attempts, "dial", lambda epoch: venue.dial(self.driver, epoch)
        )

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Open the stream, play the story, let all arrive, end the stream."""

        async def whole() -> None:
            self.driver.open()
            reading = asyncio.ensure_future(self._read())
            talking = asyncio.ensure_future(self.venue.talk())
            await self.until(lambda: self.driver.session.phase == "OPEN")
            await story()
            talking.cancel()
            await asyncio.sleep(30.0)
            self.driver.on_fact(Stop())
            assert self.driver.closed is not None
            await self.driver.closed
            await self.driver.drop()
            reading.cancel()

        try:
            self.venue.loop.run_until_complete(whole())
        finally:
            self.venue.loop.close()

    async def _read(self) -> None:
        async for item in self.driver.reader.items():
            self.items.append(item)

    async def until(self, what: Callable[[], bool], within: float = 1e6) -> None:
        end = self.venue.loop.time() + within
        while not what():
            assert self.venue.loop.time() < end, self.events
            await asyncio.sleep(0.2)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def numbers(self, channel: str) -> list[int]:
        """The numbers of what the consumer got, without snapshots."""
        found: list[int] = []
        for item in self.items:
            if not isinstance(item, Message) or item.channel != channel:
                continue
            said = json.loads(item.data)
            if self.venue.kind == "binance":
                found.append(said["u"] if "u" in said else said["E"])
            elif said["params"]["data"]["type"] == "change":
                found.append(said["params"]["data"]["change_id"])
        return found


__all__ = ("Played", "PlayedVenue", "VirtualLoop")


def replaced(venue: PlayedVenue, monkeypatch: Any) -> Played:
    """A stream whose link is replaced once, by its age, while the venue talks."""
    monkeypatch.setattr(Pulse, "of", lambda loop: Still(loop, loop.time))
    lifetime = Lifetime(max_age=100.0, lead=20.0, spread=1.0)
    stream = Played(venue, monkeypatch, lifetime=lifetime)

    async def story() -> None:
        await asyncio.sleep(170.0)

    stream.run(story)
    return stream
