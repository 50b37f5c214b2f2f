"""The real client side of a venue against the simulator, on one virtual clock.

Session, desk and conversation are those of a stream; only the socket is made up. Time
jumps from one event to the next, so that an hour costs what happens in it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import msgspec
from prove.jumping import VirtualLoop

from heartline import Liveness, Venue
from heartline.client.desk import Desk
from heartline.core.events import (
    Abort,
    Close,
    Dial,
    DialSucceeded,
    Ended,
    Event,
    Fact,
    Ping,
    Pinged,
    Ponged,
    Questioned,
    Received,
    Start,
    Sync,
    Synced,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.items import Cause, Gap, Message, Phase
from heartline.core.neighbours import Neighbours
from heartline.core.session import Session
from heartline.core.terms import Terms
from heartline.errors import WireError
from heartline.testing.rfc6455 import Frame, Opcode
from heartline.testing.venue_side import Cut, Link, Options
from heartline.testing.venue_side import Venue as House
from heartline.testing.venue_side.http import answered
from heartline.venue.bootstrap import extracted

T = TypeVar("T")


def virtual(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end, on a clock of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work())


class Client:
    """One stream without a socket; make it inside `virtual`.

    `beats`: whether the venue hears its pings, pongs, answers and heartbeats.
    """

    def __init__(
        self, venue: Venue, *, options: Options | None = None, beats: bool = True
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.house = House(venue.profile, options, now=self.loop.time())
        self.venue = venue
        self.beats = beats
        terms = Terms(host="sim", liveness=Liveness(), syncs=True)
        self.session = Session(
            venue.heeded(terms), draw=lambda: 0.5, neighbours=Neighbours()
        )
        ledger = self.session.ledger
        clock = self.loop.time
        self.secrets: frozenset[str] = frozenset()
        self.desk = Desk(venue, self, ledger=ledger, loop=self.loop, clock=clock)
        self.link: Link | None = None
        self.events: list[Event] = []
        self.items: list[Message | Gap] = []
        self.faults: list[BaseException] = []
        self.cut: tuple[float, Cut] | None = None
        """When the venue ended the last link, and how."""
        self.pings_at: list[float] = []
        self.frames: list[tuple[float, Frame]] = []
        """All messages of the venue, and when they came."""
        self.said_at: list[float] = []
        self.heard: list[float] = []
        self.said: list[str] = []
        self.accepted_at = 0.0
        self.before = 0
        """Messages said before what a test is about, which began at `muted_at`."""
        self.muted_at = self.bound = 0.0
        self._cut = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def live_for(self, seconds: float, *, until_cut: bool = False) -> None:
        """Let time pass; raises what went wrong in a task or a timer meanwhile."""
        if self.session.phase is Phase.IDLE:
            self.loop.set_exception_handler(
                lambda _, context: self.faults.append(
                    context.get("exception", RuntimeError(context["message"]))
                )
            )
            self.feed(Start())
        with contextlib.suppress(TimeoutError):
            ends = self._cut if until_cut else asyncio.Event()
            await asyncio.wait_for(ends.wait(), seconds)
        if self.faults:
            raise self.faults[0]

    def stop(self) -> None:
        self.desk.alarm.stop()
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    # --- the session ----------------------------------------------------------------

    def feed(self, fact: Fact) -> None:
        now = self.loop.time()
        for output in self.session.handle(fact, now=now):
            match output:
                case Dial():
                    self.loop.call_later(0.05, self._accept, output.epoch)
                case Sync():
                    self._do(self._sync(output.epoch))
                case Ping():
                    self._ping(output)
                case Abort() | Close():
                    self._hang_up()
                case _:
                    self.desk.heed(output)  # type: ignore[arg-type]
                    self.events.append(output)  # type: ignore[arg-type]
        self._arm()

    def _arm(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        due = self.session.deadline
        if due < float("inf"):
            self._timers.append(self.loop.call_at(due, self._tick))
        venue_due = self.house.deadline
        if venue_due is not None:
            at = max(venue_due, self.loop.time())
            self._timers.append(self.loop.call_at(at, self.settle))

    def _tick(self) -> None:
        self.feed(Tick(self.session.epoch))

    def _accept(self, epoch: int) -> None:
        self.accepted_at = now = self.loop.time()
        self.link = self.house.connect(now=now)
        self.desk.begin(epoch, self._token())
        self.feed(DialSucceeded(epoch, "sim", Evidence()))
        self.settle()

    def _token(self) -> dict[str, object]:
        bootstrap = self.venue.profile.bootstrap
        if bootstrap is None or bootstrap.http is None:
            return {}
        status, body = answered(self.house, bootstrap.http.method, bootstrap.http.url)
        assert status == 200, body
        return extracted(bootstrap, msgspec.json.decode(body))

    async def _sync(self, epoch: int) -> None:
        try:
            sent = await self.desk.greet(epoch, ())
        except WireError as error:
            self.give_up(epoch, Cause(error.cause), error.reason)
        else:
            self.feed(Synced(epoch, sent))

    def _ping(self, ping: Ping) -> None:
        if self.beats:
            self._say(Frame(Opcode.PING, ping.payload))
            self.feed(Pinged(ping.epoch, Evidence()))
        else:
            # Nobody shall think that the venue has died; it just never hears of us.
            self.feed(Pinged(ping.epoch, Evidence()))
            self.feed(Received(ping.epoch, 1, 0, 20))
            self.feed(Ponged(ping.epoch, ping.payload))

    # --- the line -------------------------------------------------------------------

    def _say(self, frame: Frame) -> None:
        if self.link is not None:
            self.said_at.append(self.loop.time())
            self.link.receive(frame, now=self.loop.time())
            self.loop.call_soon(self.settle)

    def settle(self) -> None:
        """Whatever the venue has to say, read as of one read of the socket."""
        now = self.loop.time()
        self.house.tick(now=now)
        link, out = self.link, self.link.drain() if self.link is not None else []
        data: list[str | bytes] = []
        pongs: list[bytes] = []
        cut: Cut | None = None
        for each in out:
            if isinstance(each, Cut):
                cut = each
            elif each.opcode in (Opcode.TEXT, Opcode.BINARY):
                text = each.opcode is Opcode.TEXT
                data.append(each.payload.decode() if text else each.payload)
                self.frames.append((now, each))
            elif each.opcode is Opcode.PONG:
                pongs.append(each.payload)
            elif each.opcode is Opcode.PING:
                self.pings_at.append(now)
                if self.beats:
                    self._say(Frame(Opcode.PONG, each.payload))
        epoch = self.session.epoch
        frames = len(out) - (cut is not None)
        if frames:
            self.feed(Received(epoch, frames, len(data), 100 * frames))
        for payload in pongs:
            self.feed(Ponged(epoch, payload))
        if data and self.link is link:
            self.heard += [now] * len(data)
            self.items += self.desk.read(epoch, data, age=0.0, now=now)
        if cut is not None and self.link is link:
            self.cut = (now, cut)
            self._cut.set()
            self._hang_up()
            self.feed(Ended(epoch, Cause.CLOSED_BY_PEER, cut.code, cut.reason))
        self._arm()

    def _hang_up(self) -> None:
        if self.link is not None:
            self.house.gone(self.link)
            self.link = None

    # --- what the desk wants ----------------------------------------------------------

    def post(self, epoch: int, text: str | bytes, *, first: bool) -> None:
        if first and not self.beats:
            return
        assert isinstance(text, str)
        self.said.append(text)
        self._say(Frame(Opcode.TEXT, text.encode()))

    def tell(self, event: Event) -> None:
        self.events.append(event)

    def give_up(self, epoch: int, cause: Cause, reason: str) -> None:
        if self.session.link is not None and self.session.epoch == epoch:
            self._hang_up()
            self.feed(Ended(epoch, cause, reason=reason))

    def announced(self, epoch: int, reason: str, lead: float | None) -> None:
        self.give_up(epoch, Cause.NOTICE, reason)

    def prove(self, epoch: int) -> None:
        self.feed(Questioned(epoch))

    def run(self, what: str, epoch: int, work: Coroutine[Any, Any, None]) -> None:
        self._do(work)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.faults.append(task.exception())  # type: ignore[arg-type]

    def deliver(self, items: Iterable[Message | Gap]) -> None:
        self.items += items

    def heard_at(self, epoch: int) -> float:
        link = self.session.link
        return link.peer.frame_at if link is not None else 0.0

    unread = False

    @property
    def paused(self) -> bool:
        return self.link is None
