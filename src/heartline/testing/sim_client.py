"""The driver of a simulated stream: what `client.Stream` is to asyncio and a socket.

It feeds one `Session` and one `Buffer` the facts of a virtual socket, in the order a
real event loop could bring them, and writes down everything that happens.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf

from heartline.core.events import (
    Abort,
    Answered,
    Beat,
    CaughtUp,
    Close,
    Command,
    Dial,
    DialFailed,
    DialSucceeded,
    Ended,
    Fact,
    GapFound,
    Lost,
    Output,
    Overflowed,
    Paused,
    Ping,
    Pinged,
    Ponged,
    Received,
    Resumed,
    Stage,
    Staged,
    Start,
    Stop,
    Sync,
    Synced,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.inbox import Buffer, Inbox, Overflow
from heartline.core.items import (
    Bounds,
    Cause,
    Condition,
    Counts,
    Message,
    Phase,
)
from heartline.core.neighbours import Neighbours
from heartline.core.session import Session
from heartline.core.snapshot import snapshot
from heartline.core.terms import Terms

from .sim_clock import Host, Loop, Timer
from .sim_consumer import Consumer, standing_of
from .sim_dial import Dialled, refusal
from .sim_history import Entry, Truth
from .sim_network import End
from .sim_packets import Frame
from .sim_venue import Venue

LATE = 0.1
READ_BYTES = 262_144
LOOP_PASS = 0.0001
PONG_BYTES = 10


class Client:
    """One stream of one program on the client's host."""

    def __init__(
        self,
        host: Host,
        venue: Venue,
        terms: Terms,
        *,
        inbox: Inbox,
        neighbours: Neighbours,
        who: int,
        dice: random.Random,
        history: list[Entry],
    ) -> None:
        self.host = host
        self.history = history
        self.loop = Loop(host)
        self.buffer = Buffer(inbox)
        self.consumer = Consumer(
            host, self.buffer, loop=self.loop, relieve=self._relieve
        )
        self.session = Session(terms, draw=dice.random, neighbours=neighbours, who=who)
        self.resolving = 0.003
        self.opening = 0.001
        """Seconds it takes to find the words sent on open."""
        self.heard_frame_at = self.heard_data_at = host.now
        self.end: End | None = None
        self._last_end: End | None = None
        self._venue = venue
        self._inbox = inbox
        self._dice = dice
        self._dialled: Dialled | None = None
        self._dialling = 0
        self._live_epoch = 0
        self._facts: deque[Fact] = deque()
        self._feeding = False
        self._timer = Timer(host, self._fire)
        self._paused = False
        self._slept_before = 0.0
        self._told: tuple[object, ...] = ()
        self._phase = Phase.IDLE

    # --- what the scenario does ---------------------------------------------------

    def start(self) -> None:
        self.feed(Start())

    def stop(self) -> None:
        self.feed(Stop())

    def send(self, size_bytes: int) -> None:
        """Write one message of so many bytes; nothing without a link."""
        if self.end is not None and self._live_epoch:
            self.end.write(size_bytes, Frame("order"))

    def stall(self, seconds: float) -> None:
        """The program's own loop stands still; the kernel goes on."""
        self.loop.stand_still(seconds)
        self._after(seconds, self._wake_up)

    def bounds(self) -> Bounds:
        return snapshot(self.session, now=self.host.now).bounds

    # --- the loop -----------------------------------------------------------------

    def feed(self, fact: Fact) -> None:
        self._facts.append(fact)
        if self._feeding:
            return
        self._feeding = True
        told = False
        session, note = self.session, self._note
        while self._facts:
            fact = self._facts.popleft()
            note("fact", fact)
            for output in session.handle(fact, now=self.host.now):
                told = True
                self._obey(output)
            if session.phase is not self._phase:
                self._phase = session.phase
                note("phase", session.phase)
            endless = session.phase in (Phase.IDLE, Phase.CLOSED)
            if session.deadline == inf and not endless:
                note("broken", f"{session.phase} without a deadline")
        self._feeding = False
        if told:
            self._settle()
        if session.deadline < self._timer.due or self._timer.due == inf:
            self._timer.set(session.deadline)

    def _fire(self) -> None:
        session = self.session
        if self.loop.stands_still:
            return
        if self.host.now >= session.deadline:
            self._tick()
        elif session.deadline < inf:
            self._timer.set(session.deadline)

    def _tick(self) -> None:
        host = self.host
        suspended, self._slept_before = host.slept - self._slept_before, host.slept
        epoch, evidence = 0, Evidence()
        if self.end is not None and self._live_epoch:
            epoch, evidence = self._live_epoch, self.end.evidence()
        self.feed(Tick(epoch, evidence, suspended if suspended > LATE else 0.0))

    def _wake_up(self) -> None:
        """The stall is over: timers and sockets are looked at in either order."""
        if self.loop.stands_still:
            return
        if self._dice.random() < 0.5:
            self._fire()
            self.on_readable()
        else:
            self.on_readable()
            self._fire()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        clock = self.host.clock
        clock.at(clock.now + seconds, lambda _: act(), None, self.host)

    # --- the socket ------------------------------------------------------------------

    def on_readable(self) -> None:
        end = self.end
        if (
            end is None
            or self.loop.stands_still
            or self._paused
            or not end.unread_bytes
        ):
            return
        waiting = end.unread_bytes
        frames = end.read(READ_BYTES)
        self._on_read(frames, waiting - end.unread_bytes)
        if end.unread_bytes and self.end is end:
            self._after(LOOP_PASS, self.on_readable)

    def on_reset(self) -> None:
        if self.loop.stands_still:
            self._after(self.loop.stands_still_for, self.on_reset)
            return
        self._end(Cause.RESET, None, "connection reset")

    def _on_read(self, frames: list[Frame], size_bytes: int) -> None:
        epoch, now = self._live_epoch, self.host.now
        if not epoch:
            self._on_upgrade(frames)
            return
        data: list[str] = []
        complete = 0
        ending: tuple[Cause, int, str] | None = None
        for frame in frames:
            match frame.kind:
                case "data":
                    data.append(str(frame.value))
                case "ping":
                    assert self.end is not None
                    self.end.write(PONG_BYTES, Frame("pong", frame.value))
                case "pong":
                    assert isinstance(frame.value, bytes)
                    self.feed(Ponged(epoch, frame.value))
                case "answer":
                    self.feed(Answered(epoch))
                case "close":
                    assert isinstance(frame.value, int)
                    ending = (Cause.CLOSED_BY_PEER, frame.value, frame.text)
                case _:
                    ending = ending or (Cause.CLOSED_BY_PEER, 1006, "no close frame")
                    complete -= 1
            complete += 1
        if complete:
            self.heard_frame_at = now
        if complete or data:
            self._on_data(epoch, data, complete, size_bytes)
        if ending is not None:
            self._end(*ending)

    def _on_data(
        self, epoch: int, data: list[str], frames: int, size_bytes: int
    ) -> None:
        now, session = self.host.now, self.session
        if now - session.deadline > LATE or self.host.slept > self._slept_before:
            self._tick()
        self.feed(Received(epoch, frames, len(data), size_bytes))
        link = session.link
        if not data or link is None or link.epoch != epoch:
            return
        self.heard_data_at = now
        age = link.stale_for(now=now)
        messages = [Message(text, now, None, epoch, age) for text in data]
        dropped = self.buffer.put(messages, size_bytes)
        if dropped:
            self.feed(Overflowed(dropped))
        if self.buffer.full:
            self._overflow(epoch)
        self.consumer.wake()

    def _overflow(self, epoch: int) -> None:
        if self._inbox.policy is Overflow.BLOCK and not self._paused:
            self._paused = True
            self.feed(Overflowed(0))
            self.feed(Paused(epoch))
        elif self._inbox.policy is Overflow.DISCONNECT:
            self.feed(Overflowed(0, disconnect=True))

    def _end(self, cause: Cause, status: int | None, reason: str) -> None:
        end, epoch = self.end, self._live_epoch
        self.end, self._live_epoch = None, 0
        if end is None:
            return
        end.close()
        end.silence()
        if epoch:
            self.feed(Ended(epoch, cause, status, reason))
        elif self._dialling:
            dialling, self._dialling = self._dialling, 0
            self.feed(DialFailed(dialling, cause, reason, status))

    # --- what the session wants -------------------------------------------------------

    def _obey(self, output: Output) -> None:
        match output:
            case Ping() | Beat() | Abort() | Close() | Dial() | Sync():
                self._note("do", output)
                self._do(output)
            case _:
                if isinstance(output, Lost):
                    self._note("truth", self.truth())
                self._note("event", output)
                if isinstance(output, GapFound):
                    self.buffer.note(output.gap)

    def truth(self) -> Truth:
        end = self._last_end
        return Truth(
            self.session.epoch,
            end.heard_at if end is not None else self.heard_frame_at,
            self.heard_frame_at,
            self.heard_data_at,
            self.loop.stood_still,
        )

    def _do(self, command: Command) -> None:
        end, epoch = self.end, self._live_epoch
        match command:
            case Dial():
                self._dialling = command.epoch
                self._after(self.resolving, partial(self._connect, command.epoch))
            case Abort():
                self._abort(command.epoch)
            case Sync():
                self._after(self.opening, partial(self._sync, command.epoch))
            case Ping() if end is not None and epoch == command.epoch:
                end.write(PONG_BYTES, Frame("ping", command.payload))
                self.feed(Pinged(epoch, end.evidence()))
            case Beat() if end is not None and epoch == command.epoch:
                end.write(PONG_BYTES, Frame("beat"))
            case Close() if end is not None and epoch == command.epoch:
                end.write(PONG_BYTES, Frame("close", command.code))
            case _:
                pass

    def _abort(self, epoch: int) -> None:
        if epoch not in (self._live_epoch, self._dialling):
            return
        self._dialling = 0
        if self._dialled is not None:
            self._dialled.give_up()
        end, self.end, self._live_epoch = self.end, None, 0
        if end is not None:
            end.abort()

    def _sync(self, epoch: int) -> None:
        if self.end is not None and epoch == self._live_epoch:
            self.end.write(100, Frame("subscribe"))
            self.feed(Synced(self._live_epoch, 1))

    def _connect(self, epoch: int) -> None:
        if epoch != self._dialling:
            return
        self.feed(Staged(self._dialling, Stage.CONNECTING))
        self._dialled = self._venue.dial(self._on_connected, self._on_refused)

    def _on_connected(self, end: End) -> None:
        self._dialled = None
        self.end = self._last_end = end
        self._paused = False
        end.program = self
        self.feed(Staged(self._dialling, Stage.UPGRADING))
        end.write(300, Frame("upgrade"))

    def _on_refused(self) -> None:
        dialling, self._dialling, self._dialled = self._dialling, 0, None
        self.feed(DialFailed(dialling, Cause.REFUSED, "connection refused"))

    def _on_upgrade(self, frames: list[Frame]) -> None:
        if not frames:
            return
        end, epoch = self.end, self._dialling
        first = frames[0]
        assert end is not None
        if first.kind == "accepted":
            self._dialling, self._live_epoch, self._paused = 0, epoch, False
            self.heard_frame_at = self.heard_data_at = self.host.now
            self.feed(DialSucceeded(epoch, "venue:443", end.evidence()))
            if frames[1:]:
                self._on_read(frames[1:], 1)
            return
        self.end, self._dialling = None, 0
        end.abort()
        self.feed(refusal(epoch, first))

    # --- the consumer -----------------------------------------------------------------

    def _settle(self) -> None:
        session = self.session
        key = standing_of(session)
        if key == self._told:
            return
        self._told = key
        counts = Counts(messages=self.buffer.received, delivered=self.buffer.delivered)
        status = snapshot(session, now=self.host.now, traffic=counts)
        self.buffer.note(status)
        self._note("item", status)
        self.consumer.wake()

    def _relieve(self) -> None:
        if self._paused and self.buffer.half_empty and self._live_epoch:
            self._paused = False
            self.feed(Resumed(self._live_epoch))
            self._after(0.0, self.on_readable)
        slow = Condition.SLOW_CONSUMER in self.session.conditions
        if self.buffer.empty and slow:
            self.feed(CaughtUp())

    def _note(self, kind: str, value: object) -> None:
        self.history.append((self.host.clock.now, kind, value))
