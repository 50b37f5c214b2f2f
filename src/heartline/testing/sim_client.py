"""The driver of a simulated stream: what `client.Stream` is to asyncio and a socket.

It feeds one `Session` and one `Buffer` the facts of a virtual socket, in the order a
real event loop could bring them, and writes down everything that happens.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import cast

from heartline.client.early import Early
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
    Resumed,
    Stage,
    Staged,
    Start,
    Stop,
    Sync,
    Synced,
)
from heartline.core.evidence import Evidence
from heartline.core.inbox import Buffer, Inbox, Overflow
from heartline.core.items import (
    Bounds,
    Cause,
    Condition,
    Counts,
    Gap,
    Message,
    Phase,
)
from heartline.core.neighbours import Neighbours
from heartline.core.session import Session
from heartline.core.snapshot import snapshot
from heartline.core.terms import Terms
from heartline.wire.pump import Pump

from .sim_clock import Host
from .sim_consumer import Consumer, standing_of
from .sim_dial import Dialled, refusal
from .sim_history import Entry, Truth
from .sim_loop import Loop
from .sim_network import End
from .sim_packets import Frame
from .sim_rest import CONTROL_BYTES, Rests, is_answer
from .sim_told import Told
from .sim_venue import Venue

READ_BYTES = 262_144
LOOP_PASS = 0.0001


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
        self.loop = Loop(host, dice=dice)
        self.loop.on_readable = self.on_readable
        self.buffer = Buffer(inbox)
        self.consumer = Consumer(
            host, self.buffer, loop=self.loop, relieve=self._relieve
        )
        self.session = Session(terms, draw=dice.random, neighbours=neighbours, who=who)
        self.told = Told(self.session, host.clock, history)
        self.pump = Pump(
            self.told,
            obey=self._obey,
            look=self._look,
            settle=self._settle,
            loop=cast(asyncio.AbstractEventLoop, self.loop),
            clock=host.read_now,
            asleep=lambda: host.slept,
            pulse=self.loop.pulse,
            sleepy=Rests(
                self.session,
                self.told,
                lambda epoch: self.end if epoch == self._live_epoch else None,
            ),
        )
        self.resolving = 0.003
        self.opening = 0.001
        """Seconds it takes to find the words sent on open."""
        self.heard_frame_at = self.heard_data_at = host.now
        self.end: End | None = None
        self._last_end: End | None = None
        self._venue = venue
        self._inbox = inbox
        self._early = Early(inbox)
        self._dialled: Dialled | None = None
        self._dialling = self._live_epoch = 0
        self._paused = False
        self._standing: tuple[object, ...] = ()

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

    def bounds(self) -> Bounds:
        self.pump.flush()
        return snapshot(self.session, now=self.host.now).bounds

    def feed(self, fact: Fact) -> None:
        self.pump.feed(fact)

    def _look(self) -> tuple[int, Evidence]:
        if self.end is None or not self._live_epoch:
            return 0, Evidence()
        return self._live_epoch, self.end.evidence()

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
        epoch = self._live_epoch
        if not epoch:
            self._on_upgrade(frames)
            return
        now = self.host.now
        if is_answer(frames, self.pump, epoch):
            self.heard_frame_at = now
            return
        blocks: list[Frame] = []
        count = complete = 0
        ending: tuple[Cause, int, str] | None = None
        for frame in frames:
            complete += frame.messages
            match frame.kind:
                case "data":
                    blocks.append(frame)
                    count += frame.messages
                case "ping":
                    assert self.end is not None
                    self.end.write(CONTROL_BYTES, Frame("pong", frame.value))
                case "pong":
                    assert isinstance(frame.value, bytes)
                    self.pump.brought(Ponged(epoch, frame.value))
                case "answer":
                    self.pump.brought(Answered(epoch))
                case "close":
                    assert isinstance(frame.value, int)
                    ending = (Cause.CLOSED_BY_PEER, frame.value, frame.text)
                case _:
                    ending = ending or (Cause.CLOSED_BY_PEER, 1006, "no close frame")
                    complete -= 1
        if complete:
            self.heard_frame_at = now
            self._on_data(epoch, blocks, count, complete, size_bytes, now)
        if ending is not None:
            self._end(*ending)

    def _on_data(
        self,
        epoch: int,
        blocks: list[Frame],
        count: int,
        frames: int,
        size_bytes: int,
        now: float,
    ) -> None:
        """What `client.Driver` does with one read of the socket."""
        pump = self.pump
        calm = pump.hears(epoch, frames, count, size_bytes, now=now)
        age = 0.0
        if not calm:
            pump.heard(epoch, frames, count, size_bytes, now=now)
            link = self.session.link
            if link is None or link.epoch != epoch:
                return
            age = link.stale_for(now=now)
        if not count:
            return
        self.heard_data_at = now
        messages = [
            Message(str(number), now, None, epoch, age)
            for block in blocks
            for number in block.numbers
        ]
        if not (calm and self.consumer.hand(messages)):
            self._take_in(messages, size_bytes)
        self.consumer.wake(at_once=True)

    def _take_in(self, messages: list[Message], size_bytes: int) -> None:
        if self.session.phase is Phase.SYNCING:
            if self._early.put(messages, size_bytes):
                self.feed(Overflowed(0, disconnect=True))
            return
        dropped = self.buffer.put(messages, size_bytes)
        if dropped:
            self.feed(Overflowed(dropped))
        if not self.buffer.full:
            return
        if self._inbox.policy is Overflow.BLOCK and not self._paused:
            self._pause()
        elif self._inbox.policy is Overflow.DISCONNECT:
            self.feed(Overflowed(0, disconnect=True))

    def _pause(self) -> None:
        self._paused = True
        self.feed(Overflowed(0))
        self.feed(Paused(self._live_epoch))

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
                    self._early.clear()
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
                end.write(CONTROL_BYTES, Frame("ping", command.payload))
                self.feed(Pinged(epoch, end.evidence()))
            case Beat() if end is not None and epoch == command.epoch:
                end.write(CONTROL_BYTES, Frame("beat"))
            case Close() if end is not None and epoch == command.epoch:
                end.write(CONTROL_BYTES, Frame("close", command.code))
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
            if self._inbox.policy is Overflow.BLOCK and self.buffer.full:
                # What waits is of earlier links; this one must not add to it.
                self._pause()
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
        if key == self._standing:
            return
        self._standing = key
        self.pump.flush()
        buffer, passed = self.buffer, self.consumer.passed
        counts = Counts(
            messages=buffer.received + passed, delivered=buffer.delivered + passed
        )
        status = snapshot(session, now=self.host.now, traffic=counts)
        self.buffer.note(status)
        self._note("item", status)
        if session.phase is Phase.OPEN and self._live_epoch:
            for kept in self._early.take():
                assert not isinstance(kept, Gap), "only a venue's numbers make one"
                self._take_in(*kept)
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
