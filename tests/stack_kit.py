"""Everything but the sockets, in virtual time: `connect`, driver, desk and conversation
on one side, the venue simulator with its clocks, limits and calls on the other.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from prove.jumping import VirtualLoop
from prove.venue_books import Book

from heartline import Gap, Message, Snapshots, Venue
from heartline.client import driver as driving
from heartline.client.connect import connect
from heartline.client.driver import Driver
from heartline.client.restoring import Restoring
from heartline.core.events import DialFailed, Ended, Event, Pinged, Ponged, Stop
from heartline.core.evidence import Evidence
from heartline.core.items import Cause, Phase
from heartline.errors import WireError
from heartline.testing.rfc6455 import Frame, Opcode, close_payload
from heartline.testing.venue_side import Cut, Link, Options
from heartline.testing.venue_side import Venue as House
from heartline.testing.venue_side.http import answered
from rollover_kit import Still, retimed


class Wire:
    """One connection, in the place of a carrier; each way takes `delay` seconds."""

    address = "venue"
    outbox = None
    socket = None
    unsent = 0

    def __init__(self, epoch: int, stack: Stack, delay: float) -> None:
        self.epoch, self.delay = epoch, delay
        self.alive = True
        self._stack = stack
        self._free_at = 0.0
        self.link: Link = stack.house.connect(now=stack.now)

    def evidence(self) -> Evidence:
        return Evidence()

    # --- to the venue -------------------------------------------------------------

    def send(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        self._say(Frame(Opcode.TEXT, data))

    send_first = send

    def ping(self, payload: bytes) -> None:
        self._stack.driver.on_fact(Pinged(self.epoch, self.evidence()))
        self._say(Frame(Opcode.PING, payload))

    def close(self, code: int, reason: str) -> None:
        self._say(Frame(Opcode.CLOSE, close_payload(code, reason)))

    def abort(self) -> None:
        self.alive = False
        self._stack.drop(self)

    def cut(self) -> None:
        """It ends at once, and what was on its way is gone with it."""
        self.abort()
        self._stack.driver.on_fact(Ended(self.epoch, Cause.RESET))

    def _say(self, frame: Frame) -> None:
        self._stack.loop.call_later(self.delay, self._heard, frame)

    def _heard(self, frame: Frame) -> None:
        self.link.receive(frame, now=self._stack.now)
        self._stack.settle()

    # --- from the venue -----------------------------------------------------------

    def bring(self, out: list[Frame | Cut]) -> None:
        """What the venue says arrives later, in order."""
        if not out:
            return
        loop = self._stack.loop
        at = loop.time() + self.delay * self._stack.dice.uniform(1.0, 2.0)
        self._free_at = at = max(at, self._free_at + 1e-6)
        loop.call_at(at, self._arrive, out)

    def _arrive(self, out: list[Frame | Cut]) -> None:
        driver, data, frames = self._stack.driver, list[str | bytes](), 0
        for each in out:
            if not self.alive:
                return
            if isinstance(each, Cut):
                self._hand(driver, data, frames)
                self.abort()
                ended = Ended(self.epoch, Cause.CLOSED_BY_PEER, each.code, each.reason)
                driver.on_fact(ended)
                return
            frames += 1
            match each.opcode:
                case Opcode.TEXT:
                    data.append(each.payload.decode())
                case Opcode.BINARY:
                    data.append(each.payload)
                case Opcode.PING:
                    self._say(Frame(Opcode.PONG, each.payload))
                case Opcode.PONG:
                    driver.on_fact(Ponged(self.epoch, each.payload))
                case _:
                    pass
        self._hand(driver, data, frames)

    def _hand(self, driver: Driver, data: list[str | bytes], frames: int) -> None:
        if frames:
            driver.on_data(self, data, frames, 100 * frames)  # type: ignore[arg-type]

    def pause_reading(self) -> None:
        raise AssertionError("the consumer always reads")


class Stack:
    """One stream of one venue. `delays`: what a way to the venue may take, seconds."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        endpoint: str,
        channels: list[str],
        *,
        seed: int = 1,
        rate: float = 0.0,
        delays: tuple[float, ...] = (0.001, 0.02, 0.2),
        **options: Any,
    ) -> None:
        self.loop = VirtualLoop()
        self.dice = random.Random(seed)
        self.delays = delays
        policy = Snapshots(rates=(), rest="http://venue")
        self.venue = Venue(
            name=name, endpoint=endpoint, channels=channels, snapshots=policy
        )
        self.house = House(
            self.venue.profile, Options(seed=seed, rate=rate), now=self.loop.time()
        )
        self.channels = channels
        self.wires: list[Wire] = []
        self.ways: list[float] = []
        """The delays of the next connections, where they are not to be drawn."""
        self.refusals = 0
        self.call_takes: Callable[[], float] = lambda: self.dice.choice(self.delays)
        """Seconds of each way of the next call for a snapshot; inf: it fails."""
        self.calls = 0
        self.items: list[Message | Gap] = []
        self.books = {channel: Book() for channel in channels}
        self.events: list[Event] = []
        self._timer: asyncio.TimerHandle | None = None
        # The pulse feels for stalls of a real loop, by the real clock.
        monkeypatch.setattr(driving.Pulse, "of", lambda loop: Still(loop, loop.time))
        monkeypatch.setattr(Restoring, "_asked", lambda _, url: self._asked(url))
        stream = connect(
            "wss://localhost/ws",
            venue=self.venue,
            on_event=self.events.append,
            **options,
        )
        self.driver = retimed(stream, draw=self.dice.random, clock=self.loop.time)
        monkeypatch.setattr(self.driver._attempts, "dial", self._dial)

    @property
    def now(self) -> float:
        return self.loop.time()

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    # --- the venue ----------------------------------------------------------------

    def settle(self) -> None:
        """Send what the venue has to say, and wake when it has more."""
        self.house.tick(now=self.now)
        for wire in list(self.wires):
            wire.bring(wire.link.drain())
        if self._timer is not None:
            self._timer.cancel()
        due = self.house.deadline
        if due is not None:
            self._timer = self.loop.call_at(max(due, self.now), self.settle)

    def drop(self, wire: Wire) -> None:
        if wire in self.wires:
            self.wires.remove(wire)
            self.house.gone(wire.link)

    def set_rate(self, rate: float) -> None:
        self.house.tick(now=self.now)
        self.house.set_rate(rate, now=self.now)
        self.settle()

    def notice(self) -> None:
        """Announce the end of the links that there are."""
        self.house.notice(0, now=self.now)
        self.settle()

    def end_planned(self) -> None:
        """What a notice says, of a venue that has none as well."""
        epoch = self.driver.session.epoch
        self.driver.announced(epoch, "the end of this connection is announced", None)

    @property
    def live(self) -> bool:
        return self.driver.snapshot().live

    async def _dial(self, epoch: int) -> None:
        await asyncio.sleep(self.dice.choice((0.01, 0.3)))
        if self.refusals:
            self.refusals -= 1
            self.driver.on_fact(DialFailed(epoch, Cause.REFUSED, "busy", 503))
            return
        drawn = self.dice.choice(self.delays)
        wire = Wire(epoch, self, self.ways.pop(0) if self.ways else drawn)
        self.wires.append(wire)
        self.driver.on_carried(wire)  # type: ignore[arg-type]
        self.settle()

    async def _asked(self, url: str) -> bytes:
        """The venue's answer to a call; its state is that of half-way."""
        self.calls += 1
        takes = self.call_takes()
        if takes == float("inf"):
            raise WireError(Cause.REFUSED, "HTTP 503", status=503)
        await asyncio.sleep(takes)
        parts = urlsplit(url)
        self.house.tick(now=self.now)
        status, body = answered(self.house, "GET", f"{parts.path}?{parts.query}")
        assert status == 200, url
        await asyncio.sleep(takes)
        return body

    # --- the stream ---------------------------------------------------------------

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Open the stream, play the story, let all arrive, end the stream."""

        async def whole() -> None:
            self.driver.open()
            reading = asyncio.ensure_future(self._read())
            await self.until(lambda: self.driver.session.phase is Phase.OPEN)
            await story()
            self.set_rate(0.0)
            await asyncio.sleep(60.0)
            self.driver.on_fact(Stop())
            assert self.driver.closed is not None
            await self.driver.closed
            await self.driver.drop()
            reading.cancel()

        try:
            self.loop.run_until_complete(whole())
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self.loop.close()

    async def _read(self) -> None:
        async for item in self.driver.reader.items():
            if isinstance(item, Message | Gap):
                self.items.append(item)
                for channel, book in self.books.items():
                    if item.channel in (channel, None):
                        book.take(item)

    async def until(self, what: Callable[[], object], within: float = 1e5) -> None:
        end = self.now + within
        while not what():
            assert self.now < end, self.events[-20:]
            await asyncio.sleep(0.05)

    def messages(self, channel: str) -> Iterator[Message]:
        """Those of a channel that came on the stream itself."""
        for item in self.items:
            is_message = isinstance(item, Message) and item.channel == channel
            if is_message and not item.snapshot:
                yield item

    def numbers(self, channel: str) -> list[int]:
        said = (json.loads(item.data) for item in self.messages(channel))
        return [each.get("data", each)["u"] for each in said]
