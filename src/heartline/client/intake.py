"""What comes from a link on its way to the consumer: kept, counted, held or dropped."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from math import inf
from typing import cast

from heartline.core.channel_events import TookOver
from heartline.core.events import (
    Answered,
    CaughtUp,
    DialLost,
    Event,
    GapFound,
    Joined,
    Lost,
    Overflowed,
    Paused,
    Resumed,
    RoundTripMeasured,
    Synced,
)
from heartline.core.inbox import Inbox, Overflow
from heartline.core.items import Condition, Gap, Message, Phase
from heartline.core.rollover import Lifetime
from heartline.core.session import Session
from heartline.wire.carrier import Carrier
from heartline.wire.pump import Pump

from .abreast import Abreast
from .callables import careful
from .desk import Desk
from .early import Early
from .heartbeat import Heartbeat
from .reader import Reader

_NO_CHANNEL = repeat(None)
_NOT_OLD = repeat(0.0)


class Intake:
    """The way of the data of one stream. `pump` is there once the stream is entered."""

    __slots__ = (
        "abreast",
        "carrier",
        "data_at",
        "desk",
        "early",
        "inbox",
        "is_answer",
        "paused",
        "pump",
        "reader",
        "session",
    )

    def __init__(
        self, session: Session, inbox: Inbox, heartbeat: Heartbeat | None
    ) -> None:
        self.session = session
        self.inbox = inbox
        self.reader = Reader(inbox, relieve=self._relieve)
        self.early = Early(inbox)
        self.pump: Pump | None = None
        self.carrier: Carrier | None = None
        self.desk: Desk | None = None
        self.data_at = -inf
        """When the desk last passed on a message that had not waited out a stall of
        ours, since the last loss. The core counts a venue's answers and beats, too."""
        self.paused = False
        self.abreast: Abreast | None = None
        """While two links of a plain URL are there, or may bring the same."""
        recogniser = heartbeat.recogniser() if heartbeat else None
        self.is_answer: Callable[[str | bytes], bool] | None = (
            careful("Heartbeat.answer", recogniser, bool) if recogniser else None
        )
        """Whether a message is a sign of life, and nothing for the consumer."""

    def take(
        self, carrier: Carrier, data: list[str | bytes], frames: int, size_bytes: int
    ) -> None:
        """The hot path: one call for each read of the socket."""
        pump = self.pump
        assert pump is not None
        now = pump.clock()
        if self.is_answer is not None:
            data = self._without_answers(carrier, data)
        epoch, count = carrier.epoch, len(data)
        calm = pump.hears(epoch, frames, count, size_bytes, now=now)
        age = 0.0
        if not calm:
            pump.heard(epoch, frames, count, size_bytes, now=now)
            link = self.session.link
            if link is None or link.epoch != epoch:
                link = self.session.handover.link(epoch)
            if link is None:
                return
            age = link.stale_for(now=now)
        if not data:
            return
        if self.desk is not None:
            self.sort(self.desk.read(epoch, data, age=age, now=now), size_bytes)
            self.look_joined()
        else:
            ages = repeat(age) if age else _NOT_OLD
            messages = list(
                map(Message, data, repeat(now), _NO_CHANNEL, repeat(epoch), ages)
            )
            if self.abreast is not None:
                self._take_abreast(self.abreast, epoch, messages, size_bytes)
                return
            if not (calm and self.reader.hand(messages, size_bytes)):
                self._put(messages, size_bytes)
        # Last of all: the reader's own code may run inside this call.
        self.reader.wake(at_once=True)

    def deliver(self, items: list[Message | Gap]) -> None:
        """Give the consumer what came beside the link."""
        self.sort(items, 0)
        self.reader.wake()

    def admit(self) -> None:
        """The stream is OPEN: what came before goes to the consumer."""
        for kept in self.early.take():
            if isinstance(kept, Gap):
                self.reader.note(kept)
            else:
                self._put(*kept)

    def pause(self) -> None:
        """Read no more until the consumer has caught up by half."""
        carrier, pump = self.carrier, self.pump
        if carrier is None or pump is None:
            return
        self.paused = True
        carrier.pause_reading()
        pump.feed(Overflowed(0))
        pump.feed(Paused(carrier.epoch))

    def _put(self, messages: list[Message], size_bytes: int) -> None:
        if self.session.phase is Phase.SYNCING:
            if self.early.put(messages, size_bytes):
                assert self.pump is not None
                replays = self.desk is not None and self.desk.replays
                # What is replayed is more than an inbox holds: it is to be read.
                full = Synced(self.session.epoch, 0) if replays else None
                self.pump.feed(full or Overflowed(0, disconnect=True))
            return
        dropped = self.reader.put(messages, size_bytes)
        if dropped or self.reader.buffer.full:
            self._overflow(dropped)

    # --- two links of a plain URL ---------------------------------------------------

    def opened_beside(self) -> None:
        """A link was accepted beside the one that delivers."""
        if self.abreast is not None and self.pump is not None:
            self.abreast.opened(now=self.pump.clock())

    def dialling(self, epoch: int) -> None:
        """A link is dialled, maybe beside the one that delivers."""
        pump, terms = self.pump, self.session.terms
        if self.desk is not None or epoch == self.session.epoch:
            return
        assert pump is not None
        lifetime = terms.lifetime or Lifetime()
        self.abreast = Abreast(
            self.session.epoch,
            epoch,
            overlap=lifetime.overlap,
            close=terms.dialling.close,
            now=pump.clock(),
        )
        self.reader.hold_lane()

    def heed(self, event: Event) -> GapFound | None:
        """What the session tells of its links; what may be missing between two."""
        abreast = self.abreast
        if isinstance(event, Lost):
            self.early.clear()
            self.data_at = -inf
        if abreast is None:
            return None
        match event:
            case RoundTripMeasured(at=at, round_trip=took):
                abreast.answered(event.epoch, asked_at=at - took)
            case TookOver() if event.epoch == abreast.new:
                held, gap = abreast.take_over(self.session.ledger, now=event.at)
                self.deliver([*held] if gap is None else [gap, *held])
                if gap is not None:
                    return GapFound(at=event.at, epoch=event.epoch, gap=gap)
            case DialLost() if event.epoch == abreast.new and abreast.both:
                self._end_abreast()
            case Lost():
                self._end_abreast()
            case _:
                pass
        return None

    def _take_abreast(
        self, abreast: Abreast, epoch: int, messages: list[Message], size_bytes: int
    ) -> None:
        assert self.pump is not None
        now = self.pump.clock()
        passed = abreast.read(epoch, messages, now=now)
        if passed:
            self._put(passed, size_bytes)
        if abreast.over(now=now):
            self._end_abreast()
        self.look_joined()
        self.reader.wake(at_once=True)

    def _end_abreast(self) -> None:
        self.abreast = None
        self.reader.free_lane()

    def look_joined(self) -> None:
        """Whether a link beside the delivering one has all that it has."""
        if self.pump is None:
            return
        joined = None if self.desk is None else self.desk.joined
        if self.abreast is not None and self.abreast.complete(now=self.pump.clock()):
            joined = self.abreast.new
        if joined is not None:
            self.pump.feed(Joined(joined))

    def sort(self, items: list[Message | Gap], size_bytes: int) -> None:
        """Put what the desk made of a read; a gap stands between two parts of it."""
        if Gap not in map(type, items):
            if items:
                self._passed(cast("list[Message]", items), size_bytes)
            return
        messages: list[Message] = []
        for item in items:
            if isinstance(item, Message):
                messages.append(item)
                continue
            if messages:
                self._passed(messages, 0)
                messages = []
            if self.session.phase is Phase.SYNCING:
                self.early.note(item)
            else:
                self.reader.note(item)
        if messages:
            self._passed(messages, size_bytes)

    def _passed(self, messages: list[Message], size_bytes: int) -> None:
        last = messages[-1]
        if not last.age and last.received_at > self.data_at:
            self.data_at = last.received_at
        self._put(messages, size_bytes)

    def _without_answers(
        self, carrier: Carrier, data: list[str | bytes]
    ) -> list[str | bytes]:
        assert self.is_answer is not None
        assert self.pump is not None
        rest = [message for message in data if not self.is_answer(message)]
        if len(rest) < len(data):
            self.pump.brought(Answered(carrier.epoch))
        return rest

    def _overflow(self, dropped: int) -> None:
        pump = self.pump
        assert pump is not None
        if dropped:
            pump.feed(Overflowed(dropped))
        if not self.reader.buffer.full:
            return
        if self.inbox.policy is Overflow.BLOCK and not self.paused:
            self.pause()
        elif self.inbox.policy is Overflow.DISCONNECT:
            pump.feed(Overflowed(0, disconnect=True))

    def _relieve(self) -> None:
        """The consumer took something: read on, or say that it has caught up."""
        pump, carrier, buffer = self.pump, self.carrier, self.reader.buffer
        assert pump is not None
        if self.paused and buffer.half_empty and carrier is not None:
            self.paused = False
            carrier.resume_reading()
            pump.feed(Resumed(carrier.epoch))
        if buffer.empty and Condition.SLOW_CONSUMER in self.session.conditions:
            pump.feed(CaughtUp())
