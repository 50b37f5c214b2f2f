"""Two conversations of one stream at once: what both bring, passed on once.

It reads each link's messages as `Conversation.read` does, but asks the seam which of
them the consumer is given. Once one link is gone it stays until nothing of the other
can be double any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from heartline.core.feed import Feed
from heartline.core.items import Message
from heartline.core.lines import Line
from heartline.core.overlap import Overlap
from heartline.core.place import Place
from heartline.venue.reading import Update
from heartline.venue.sameness import Sameness

from .ages import Ages
from .contract import Venue
from .conversation import Conversation, ConversationOwner, Read

COMPARED = 10.0
"""Seconds after one link has gone in which the other may still bring what came before.
"""


class Piece(Struct, frozen=True):
    """One message on its way: the link that brought it, and what it is."""

    talk: Conversation
    data: str | bytes
    reading: Update
    line: Line
    at: float
    age: float


class Joining:
    """The overlap of the delivering conversation and `new`."""

    def __init__(
        self,
        venue: Venue,
        feed: Feed,
        owner: ConversationOwner,
        old: Conversation,
        *,
        epoch: int,
        variables: Mapping[str, object],
        ages: Ages,
        now: float,
    ) -> None:
        self.overlap = Overlap(feed, epoch=epoch, now=now, size_bytes=_size_bytes)
        self.old = old
        self.new = Conversation(
            venue, self.overlap, owner, epoch=epoch, variables=variables, ages=ages
        )
        self.new.heard_at = now
        self.both = True
        """Whether both links live."""
        self.synced_at: float | None = None
        """When all had been asked for on the new link: what the venue says from then on
        comes on both."""
        self.all_settled = False
        """Whether all of it had been answered by then."""
        self.proven = False
        """Whether the old link has brought all that was said before that."""
        self._feed = feed
        self._sameness = Sameness(venue.contract)
        self._ages = ages
        self._looks = False
        """Whether the ages of what is read now are wanted."""
        self._owner = owner
        self._until = float("inf")

    @property
    def complete(self) -> bool:
        """Whether the new link may take over, and nothing is lost or doubled."""
        return self.both and self.proven and self.overlap.complete

    def synced(self, *, now: float) -> None:
        """All was asked for on the new link."""
        self.synced_at, self.all_settled = now, self.overlap.settled
        self.overlap.synced()

    def answered(self, *, asked_at: float, now: float) -> list[Read]:
        """The old link answered what it was asked then; whatever the venue had said
        before that came before the answer. The messages that the consumer is given."""
        items: list[Read] = []
        if self.synced_at is not None and asked_at >= self.synced_at:
            self.proven = True
            if self.all_settled:
                self.overlap.still()
        self._pass(self.overlap.seam.answered(asked_at=asked_at), items, now)
        return items

    def over(self, *, now: float) -> bool:
        """Whether one link is gone, and what the other brings need not be compared."""
        return now >= self._until or self.overlap.seam.settled

    def read(
        self, talk: Conversation, data: list[str | bytes], *, age: float, now: float
    ) -> list[Read]:
        """The messages of one read of one link that the consumer is to be given."""
        items: list[Read] = []
        self._looks = now >= self._ages.wanted_at
        for each in data:
            reading = talk.classify(each)
            if type(reading) is Update:
                self._take(talk, each, reading, items, age, now)
                continue
            shown = talk.control(reading, items, now)
            if shown is not False and talk is not self.new:
                # What only one link can mean is not compared.
                items.append(Message(each, now, shown, talk.epoch, age))
        if self._looks:
            self._ages.look(waited=age > 0, now=now, epoch=talk.epoch)
            self._looks = False
        return items

    def _take(
        self,
        talk: Conversation,
        data: str | bytes,
        reading: Update,
        items: list[Read],
        age: float,
        now: float,
    ) -> None:
        source = reading.source
        line: Line = source.line or talk.line(source, now)
        talk.count_links(reading, items, now)
        piece = Piece(talk, data, reading, line, now, age)
        rule, is_new = source.rule, talk is self.new
        if rule is not None and self.overlap.counts(rule):
            odd = self.overlap.count(
                line,
                rule,
                reading.track,
                reading.last,
                reading.prev,
                reading.first,
                reading.restarts,
                is_new=is_new,
                now=now,
            )
            self._owner.obey(odd, items)
        place = _place(reading, rule, is_new=is_new)
        mark = self._sameness.mark(data)
        passed, told = self.overlap.came(line, place, mark, piece, now=now)
        self._owner.obey(told, items)
        self._pass(passed, items, now)

    def _pass(self, passed: Iterable[Piece], items: list[Read], now: float) -> None:
        self.overlap.passing = True
        for piece in passed:
            reading, line = piece.reading, piece.line
            channel, epoch = reading.source.channel, piece.talk.epoch
            message = Message(piece.data, piece.at, channel, epoch, piece.age)
            if passes := line.restore is None:
                last, prev, first = reading.last, reading.prev, reading.first
                if self.overlap.counts(reading.source.rule):
                    last = prev = first = None
                track, anew = reading.track, reading.restarts
                told = self._feed.take(line, track, last, prev, first, anew, now)
                if told is not None:
                    self._owner.obey(told, items)
            if line.proof is not None:
                piece.talk.prove(line, reading, piece.data, items, now)
            piece.talk.count_rest(reading, items, now)
            if self._looks and piece.at == now:
                # What was held, or is double, says nothing of how old the data is.
                self._ages.note(reading, piece.data, piece.talk.dated)
            if line.restore is None:
                items.append(message)
            else:
                piece.talk.keep(line, reading, message, items, counted=passes, now=now)
        self.overlap.passing = False

    # --- the end of one link ----------------------------------------------------------

    def take_over(self, *, now: float) -> list[Read]:
        """The new link delivers alone; what it had held back, gaps at their places."""
        items: list[Read] = []
        held, told = self.overlap.take_over(now=now)
        self.new.feed = self._feed
        self._owner.obey(told, items)
        self._pass(held, items, now)
        self._until, self.both = now + COMPARED, False
        return items

    def withdraw(self, *, now: float) -> list[Read]:
        """The new link is gone; the old one goes on where both were. What is to be told
        of it."""
        items: list[Read] = []
        self._owner.obey(self.overlap.withdraw(now=now), items)
        self._until, self.both = now + COMPARED, False
        return items


def _size_bytes(piece: Piece) -> int:
    return len(piece.data)


def _place(reading: Update, rule: int | None, *, is_new: bool) -> Place:
    first, last, prev = reading.first, reading.last, reading.prev
    if not isinstance(last, int):
        return Place(is_new=is_new, whole=reading.restarts)
    low = prev if isinstance(prev, int) else None
    if low is None and isinstance(first, int):
        low = first - 1
    return Place(
        is_new=is_new,
        rule=rule,
        track=reading.track,
        low=last - 1 if low is None else low,
        high=last,
        whole=reading.restarts,
    )
