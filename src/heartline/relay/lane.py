"""What waits for one subject of the bus, and what may be stored next. Pure.

Why the stream has every message once and in order, whoever writes: a message is stored
only if the last one of its subject is the one that the writer knew to be last
(`Nats-Expected-Last-Subject-Sequence`), and the writer has read that one's number, or
stored it. So nothing is stored at or below a number that stands in the stream, however
long a writer was frozen and whatever became of its acknowledgements; of two relays that
race one is refused, reads where the stream stands, and drops what is there already.
The message id says the same once more, within the stream's window of duplicates.

Why nothing is skipped that another relay has: a message that does not follow the last
one stored waits `patience` for another relay to store what lies between. After that it
is stored with the gap told in its own header, so that one cannot be without the other.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, TypeAlias

from msgspec import Struct

from .notes import GapNote
from .place import Place

MOST_AT_ONCE = 256
BATCH_FROM = 64
"""Messages that wait in one lane before they are stored as one. A batch costs the
server a write to disk: below this many, one after the other is quicker."""
MOST_BATCH_BYTES = 512 << 10
MOST_MESSAGES = 65_536
MOST_BYTES = 64 << 20
MOST_BELOW = 1000
ANEW_AFTER = 8
"""Messages below the last one stored, and none above it, before it is held that the
venue began its numbers anew; see also `Lane.anew_after`."""


class Entry(Struct, frozen=True, gc=False):
    """One message that waits. `gap` is one of the upstream right before it."""

    place: Place
    data: bytes
    received_at: float
    received: str
    binary: bool = False
    gap: GapNote | None = None


class Cursor(Struct, frozen=True):
    """The last message stored in a subject; `seq` 0 and no `number` if there is none.

    `seq` is the stream's, `run` and `number` are the message's, `received` is when a
    relay had it, UTC.
    """

    seq: int = 0
    run: int = 0
    number: int | None = None
    received: str = ""


class Publish(Struct, frozen=True):
    """Store these, in this order, if `expect` is still the last of the subject.

    `gap` lies before the first.
    """

    entries: tuple[Entry, ...]
    run: int
    expect: int
    gap: GapNote | None = None


class Read(Struct, frozen=True):
    """Read the last message stored in the subject, and say it by `read`."""


class Hold(Struct, frozen=True):
    """Another relay may have what is missing: look again, soon."""


Step: TypeAlias = Publish | Read | Hold
READ, HOLD = Read(), Hold()


class Room:
    """What may wait, in all lanes of a bus together."""

    __slots__ = ("messages", "most_bytes", "most_messages", "size_bytes")

    def __init__(
        self, most_messages: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES
    ) -> None:
        self.most_messages = most_messages
        self.most_bytes = most_bytes
        self.messages = 0
        self.size_bytes = 0

    @property
    def over(self) -> bool:
        return self.messages > self.most_messages or self.size_bytes > self.most_bytes

    def add(self, entry: Entry) -> None:
        self.messages += 1
        self.size_bytes += len(entry.data)

    def remove(self, entry: Entry) -> None:
        self.messages -= 1
        self.size_bytes -= len(entry.data)


class Lane:
    """One subject. `plan` says what to do, and what came of it is told to `read`,
    `stored` or `failed` before it is asked again; None: nothing waits."""

    __slots__ = (
        *("anew_after", "channel", "cursor", "dropped", "skipped", "subject"),
        *("_asked", "_below", "_flying", "_held_from", "_looked", "_lost", "_owed"),
        *("_room", "_singly", "_unsure", "_waiting"),
    )

    def __init__(
        self,
        subject: str,
        channel: str,
        *,
        room: Room | None = None,
        anew_after: float = 10.0,
    ) -> None:
        self.subject = subject
        self.channel = channel
        self.anew_after = anew_after
        """Seconds that a run of messages below the last one must have lasted."""
        self.cursor: Cursor | None = None
        self.skipped = 0
        """Messages that needed not be stored: the stream had them, or newer ones."""
        self.dropped = 0
        self._room = room or Room()
        self._waiting: deque[Entry] = deque()
        self._flying: tuple[Entry, ...] = ()
        self._below: deque[Entry] = deque()
        self._lost: GapNote | None = None
        self._asked = self._looked = False
        self._unsure = False
        self._held_from: float | None = None
        self._owed: GapNote | None = None
        self._singly = False

    def put(self, entry: Entry) -> bool:
        """Have it wait; whether there was room. If not, what waited longest is gone."""
        self._waiting.append(entry)
        self._room.add(entry)
        kept = True
        while self._room.over and self._waiting:
            self._drop(self._waiting.popleft())
            kept = False
        return kept

    @property
    def oldest_at(self) -> float | None:
        """When what waits longest was received; None if nothing waits."""
        first = self._flying or self._waiting
        return first[0].received_at if first else None

    @property
    def waits(self) -> int:
        """How many messages wait to be stored."""
        return len(self._flying) + len(self._waiting)

    def lost(self) -> GapNote | None:
        """What was dropped since this was last asked; None if nothing was."""
        lost, self._lost = self._lost, None
        return lost

    def _drop(self, entry: Entry) -> None:
        self._room.remove(entry)
        self.dropped += 1
        lost = self._lost
        self._lost = GapNote(
            channel=self.channel,
            reason="overflow",
            from_at=entry.received if lost is None else lost.from_at,
            until=entry.received,
            missing=1 + (0 if lost is None else lost.missing or 0),
        )

    # --- what to do -----------------------------------------------------------------

    def plan(self, now: float, patience: float) -> Step | None:
        """What next. `patience`: seconds to wait for what another relay may have."""
        cursor = self.cursor
        if cursor is None or self._unsure:
            return READ if self._waiting else None
        self._pass_over(cursor)
        if self._is_anew(now):
            if not self._looked:
                self._asked = True
                return READ
            cursor = self._begin_anew(cursor)
        if not self._waiting:
            return None
        first = self._waiting[0]
        gap = self._gap(cursor, first)
        if gap is None:
            self._held_from = None
        elif first.place.run is None:
            if self._held_from is None:
                self._held_from = now
            if now < self._held_from + patience:
                return HOLD
        run = cursor.run if first.place.run is None else first.place.run
        self._flying = self._take()
        return Publish(self._flying, run, cursor.seq, first.gap or gap)

    def _pass_over(self, cursor: Cursor) -> None:
        while self._waiting and _stands(cursor, self._waiting[0].place):
            entry, below = self._waiting.popleft(), self._below
            if below and entry.place.last < below[-1].place.last:
                # Where numbers fall, a new beginning would be.
                self._forget_below()
            below.append(entry)
            self.skipped += 1
            if len(below) > MOST_BELOW:
                self._room.remove(below.popleft())

    def _gap(self, cursor: Cursor, entry: Entry) -> GapNote | None:
        """What is missing between the last one stored and this one."""
        place, number = entry.place, cursor.number
        if self._owed is not None:
            return self._owed
        if number is None:
            return None
        if place.run is not None and place.run != cursor.run:
            return self._between(cursor, entry, "outage")
        if place.low <= number:
            return None
        missing = place.low - number if place.counted else None
        return self._between(cursor, entry, "sequence", number + 1, place.low, missing)

    def _between(
        self,
        cursor: Cursor,
        entry: Entry,
        reason: Literal["outage", "sequence"],
        first: int | None = None,
        last: int | None = None,
        missing: int | None = None,
    ) -> GapNote:
        return GapNote(
            channel=self.channel,
            reason=reason,
            from_at=cursor.received or entry.received,
            until=entry.received,
            first=first,
            last=last,
            missing=missing,
        )

    def _take(self) -> tuple[Entry, ...]:
        """One entry; or many that follow one another, if so many wait."""
        waiting = self._waiting
        if self._singly or len(waiting) < BATCH_FROM:
            return (waiting.popleft(),)
        taken = [waiting.popleft()]
        size_bytes = len(taken[0].data)
        while waiting and len(taken) < MOST_AT_ONCE:
            place, before = waiting[0].place, taken[-1].place
            size_bytes += len(waiting[0].data)
            follows = place.low <= before.last < place.last
            same = place.run == before.run and waiting[0].gap is None
            if not follows or not same or size_bytes > MOST_BATCH_BYTES:
                break
            taken.append(waiting.popleft())
        return tuple(taken)

    # --- a venue that begins its numbers anew -----------------------------------------

    def _is_anew(self, now: float) -> bool:
        below = self._below
        if len(below) < ANEW_AFTER or self._waiting:
            return False
        return now >= below[0].received_at + self.anew_after

    def _begin_anew(self, cursor: Cursor) -> Cursor:
        """Store from the first message that was below; nobody has anything above."""
        self._waiting.extend(self._below)
        self.skipped -= len(self._below)
        self._below.clear()
        self._asked = self._looked = False
        self._owed = self._between(cursor, self._waiting[0], "sequence")
        self.cursor = Cursor(cursor.seq, cursor.run + 1, None, cursor.received)
        return self.cursor

    def _forget_below(self) -> None:
        for entry in self._below:
            self._room.remove(entry)
        self._below.clear()
        self._asked = self._looked = False

    # --- what came of it --------------------------------------------------------------

    def read(self, found: Cursor | None) -> None:
        """Say what the subject's last message is; None if it has none."""
        before, self._unsure = self.cursor, False
        self._looked = self._asked
        if found is None:
            # All of it was let go of; what we stored is known all the same.
            before = before or Cursor()
            found = Cursor(0, before.run, before.number, before.received)
        elif before is not None and found.seq == before.seq:
            return
        self.cursor = found
        if before is None or found.seq == before.seq:
            return
        self._owed = None
        self._forget_below()
        if found.run != before.run:
            self._yield_run()

    def _yield_run(self) -> None:
        """Others saw the venue begin anew: what waits may be of the time before."""
        while self._waiting and self._waiting[0].place.run is None:
            self._drop(self._waiting.popleft())

    def stored(self, seq: int | None) -> None:
        """They are stored, the last at `seq`; None: they had been, long before."""
        last = self._flying[-1]
        assert self.cursor is not None
        run = self.cursor.run if last.place.run is None else last.place.run
        at = self.cursor.seq if seq is None else seq
        self.cursor = Cursor(at, run, last.place.last, last.received)
        for entry in self._flying:
            self._room.remove(entry)
        self._flying = ()
        self._held_from = self._owed = None
        self._singly = False
        self._forget_below()

    def failed(self, *, singly: bool = False) -> None:
        """They are not, or nobody knows: read where the subject stands, try again.

        `singly`: some of them are there already, so none was stored.
        """
        self._waiting.extendleft(reversed(self._flying))
        self._flying = ()
        self._unsure = True
        self._singly = singly

    def refused(self) -> None:
        """They are such as the bus never takes: let go of them."""
        for entry in self._flying:
            self._drop(entry)
        self._flying = ()


def _stands(cursor: Cursor, place: Place) -> bool:
    """Whether the stream has it, or what replaces it."""
    same = place.run is None or place.run == cursor.run
    return same and cursor.number is not None and place.last <= cursor.number
