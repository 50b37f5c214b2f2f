"""A venue of its profile at the end of a lopsided road, and a desk on this side of it.

All of it in virtual time, and no sockets: an event loop whose clock jumps to the next
timer. What is told of ages can be held against what they were.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from prove.jumping import VirtualLoop

from heartline.client.ages import Ages
from heartline.client.contract import Venue
from heartline.client.desk import Desk
from heartline.core.channel_events import ChannelLive
from heartline.core.events import Event, RoundTripMeasured
from heartline.core.gaps import Ledger
from heartline.core.items import Cause
from heartline.core.latency import MaxAge
from heartline.testing.rfc6455 import Frame, Opcode
from heartline.testing.venue_side import Cut, Options
from heartline.testing.venue_side import Venue as Exchange

UNIX = 1_767_225_600.0
ROUNDING = 1e-5
"""Unix seconds have about half a microsecond in a float."""


class Sleeper(Exchange):
    """Its clock runs on while ours stands still in a suspend."""

    slept = 0.0

    def unix(self, now: float) -> float:
        return super().unix(now) + self.slept


@dataclass(kw_only=True)
class Road:
    """Seconds that each way takes at the least, and what may come on top of it."""

    out: float
    back: float
    jitter: float = 0.0
    more: float = 0.0
    """For the way back: what makes data late."""


@dataclass(kw_only=True)
class Told:
    """What was told of the message read last: its age, and what it was."""

    at: float
    age: float
    uncertainty: float
    assumed: bool
    truth: float


@dataclass
class World:
    """A desk and its exchange. `go` in a loop of virtual time."""

    name: str
    channels: list[str]
    road: Road
    dice: random.Random
    shift: float = 0.0
    limit: MaxAge | None = None
    rate: float = 5.0
    told: list[Told] = field(default_factory=list[Told])
    events: list[Event] = field(default_factory=list[Event])
    oldest: dict[float, float] = field(default_factory=dict[float, float])
    """By the instant of a read, how old the oldest message in it was."""
    asleep: float = 0.0

    def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        failed = self.failed = list[dict[str, Any]]()
        self.loop.set_exception_handler(lambda _, context: failed.append(context))
        venue = Venue(name=self.name, channels=self.channels)
        options = Options(rate=self.rate, clock_offset=self.shift)
        clock = self.loop.time
        self.exchange = Sleeper(venue.profile, options, now=clock(), unix=UNIX)
        self.link = self.exchange.connect(now=clock())
        self.ages = Ages(
            venue,
            self.limit,
            tell=self.tell,
            clock=clock,
            asleep=lambda: self.asleep,
        )
        self.desk = Desk(
            venue,
            self,
            ledger=Ledger(),
            loop=self.loop,
            clock=clock,
            ages=self.ages,
        )
        self._there_at = self._here_at = 0.0
        self._unread: list[tuple[str | bytes, float]] = []
        self._living: asyncio.Handle = self.loop.call_soon(self.live)
        self.desk.begin(1, {})

    async def go(self, seconds: float, *, ping_every: float = 5.0) -> None:
        """Greet, subscribe, and let so many seconds pass."""
        self.start()
        ends_at = self.loop.time() + seconds
        greeting = asyncio.ensure_future(self.desk.greet(1, ()))
        pinging = asyncio.ensure_future(self.ping(ping_every))
        talking = asyncio.ensure_future(self.talk())
        await asyncio.sleep(ends_at - self.loop.time())
        pinging.cancel()
        talking.cancel()
        assert not self.failed, self.failed
        assert greeting.done()
        greeting.result()
        self.desk.alarm.stop()
        self._living.cancel()
        assert self.link.cut is None

    def live(self) -> None:
        """Something falls due at the venue: to the instant, or its stamps would be
        older than what sets out."""
        self.exchange.tick(now=self.loop.time())
        self.carry()

    async def talk(self) -> None:
        """Beside the bursts of a market: no channel is silent for long."""
        while True:
            await asyncio.sleep(0.5)
            now = self.loop.time()
            for name in self.link.service.subscribed:
                self.exchange.burst(name, 1, now=now)
            self.carry()

    async def ping(self, every: float) -> None:
        """A ping is answered at once, by the same road."""
        while True:
            took = self._way(self.road.out) + self._way(self.road.back + self.road.more)
            await asyncio.sleep(took)
            now = self.loop.time()
            self.tell(RoundTripMeasured(at=now, epoch=1, round_trip=took))
            await asyncio.sleep(every)

    # --- the road -----------------------------------------------------------------

    def _way(self, least: float) -> float:
        return least + self.dice.choice((0.0, 0.1, 1.0)) * self.road.jitter

    def carry(self) -> None:
        """What the venue has to say sets out."""
        sent_at = self.loop.time()
        for out in self.link.drain():
            assert not isinstance(out, Cut), out
            if out.opcode not in (Opcode.TEXT, Opcode.BINARY):
                continue
            text = out.opcode is Opcode.TEXT
            data = out.payload.decode() if text else out.payload
            took = self._way(self.road.back + self.road.more)
            self._here_at = max(self._here_at, sent_at + took)
            self.loop.call_at(self._here_at, self._arrived, data, sent_at)
        self._living.cancel()
        due_at = self.exchange.deadline
        self._living = self.loop.call_at(due_at or self.loop.time() + 1.0, self.live)

    def _arrived(self, data: str | bytes, sent_at: float) -> None:
        """It is in our kernel; we read it at once, or a little later with more."""
        self._unread.append((data, sent_at))
        if len(self._unread) == 1:
            self.loop.call_later(self.dice.choice((0.0, 0.0, 0.004)), self._read)

    def _read(self) -> None:
        read, self._unread = self._unread, []
        now = self.loop.time()
        truths = [now - sent_at for _, sent_at in read]
        self.oldest[now] = max(truths)
        due_at = self.ages.due_at
        self.desk.read(1, [data for data, _ in read], age=0.0, now=now)
        began = any(isinstance(e, ChannelLive) and e.at == now for e in self.events)
        stamped = [now - sent_at for data, sent_at in read if _is_stamped(data)]
        if self.ages.due_at <= max(due_at, now) or began:
            return
        # The last that was stamped is a sample.
        latency = self.ages.delays.summary()
        assert latency.age.last is not None
        assert latency.age_uncertainty is not None
        self.told.append(
            Told(
                at=now,
                age=latency.age.last,
                uncertainty=latency.age_uncertainty,
                assumed=latency.age_assumed,
                truth=stamped[-1],
            )
        )

    # --- what the desk wants ------------------------------------------------------

    unread = paused = False
    secrets: frozenset[str] = frozenset()

    def post(self, epoch: int, text: str | bytes, *, first: bool) -> None:
        payload = text.encode() if isinstance(text, str) else text
        took = self._way(self.road.out)
        self._there_at = max(self._there_at, self.loop.time() + took)
        self.loop.call_at(self._there_at, self._at_venue, payload)

    def _at_venue(self, payload: bytes) -> None:
        self.link.receive(Frame(Opcode.TEXT, payload), now=self.loop.time())
        self.carry()

    def tell(self, event: Event) -> None:
        self.events.append(event)
        self.ages.heed(event)

    def give_up(self, epoch: int, cause: Cause, reason: str) -> None:
        raise AssertionError(reason)

    def prove(self, epoch: int) -> None: ...

    def announced(self, epoch: int, reason: str, lead: float | None) -> None:
        raise AssertionError(reason)

    def run(self, what: str, epoch: int, work: Coroutine[Any, Any, None]) -> None:
        """There is no other way to this venue."""
        work.close()

    def deliver(self, items: list[Any]) -> None: ...

    def heard_at(self, epoch: int) -> float:
        return self.loop.time()


def _is_stamped(message: str | bytes) -> bool:
    """Whether it says when: by the words of Deribit, Binance and Coinbase."""
    said = json.loads(message)
    params = said.get("params", {})
    body = params.get("data") if isinstance(params, dict) else None
    data = said.get("data", said)
    if isinstance(body, dict):
        return "timestamp" in body
    return "E" in data or "time" in data


def run(world: World, story: Callable[[World], Any]) -> World:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story(world))
    return world
