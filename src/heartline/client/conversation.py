"""One link to a venue: what comes is read by its contract, what is due is worded.

It knows no other link and times nothing. What the messages mean for the channels is
the feed's to say, and what follows is the owner's to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, TypeAlias

from heartline.core.channel_events import Subscribe, Unsubscribe
from heartline.core.feed import Feed, FeedOutput, Line
from heartline.core.items import Gap, Message
from heartline.core.overlap import Overlap
from heartline.core.restore import Numbers
from heartline.core.rhythm import Rhythm
from heartline.venue.classify import Classifier
from heartline.venue.pending import Pending
from heartline.venue.reading import (
    Acked,
    Answer,
    Beacon,
    Malformed,
    Notice,
    Probe,
    Reading,
    Refused,
    Source,
    Unknown,
    Update,
    Welcome,
)
from heartline.venue.writer import Outgoing, Writer

from .ages import Ages, Asked
from .answers import Answers
from .contract import SETTLE, Venue, rhythms
from .usual import take_all

Read: TypeAlias = Message | Gap
Channels: TypeAlias = Feed | Overlap[Any]

MOST_REQUESTS = 2048
"""Frames of requests whose answers can still be told from each other."""


class ConversationOwner(Protocol):
    """Who holds the channels of the stream."""

    def obey(
        self, outputs: Iterable[FeedOutput], items: list[Read] | None = None
    ) -> None:
        """Do what the feed wants; gaps go to `items`, before what showed them."""
        ...

    def post(self, epoch: int, said: Outgoing, *, first: bool = False) -> None: ...
    def noticed(self, epoch: int, notice: Notice) -> None: ...
    def clean(self, text: str) -> str: ...


class Conversation:
    """What is said on one link, `epoch`; `variables` are those of its bootstrap."""

    def __init__(
        self,
        venue: Venue,
        feed: Channels,
        owner: ConversationOwner,
        *,
        epoch: int,
        variables: Mapping[str, object],
        ages: Ages,
    ) -> None:
        self.epoch = epoch
        self.heard_at = 0.0
        """When the last message came: what some venues time their own clocks by, which
        pings and pongs do not concern."""
        self.rhythms: list[tuple[int, Rhythm]] = []
        self.answers = Answers()
        self.asked = 0
        """Messages that asked for channels, or for no more of them."""
        self._venue = venue
        self.feed = feed
        self._owner = owner
        self._variables: dict[str, object] = {**venue.variables, **variables}
        pending = Pending()
        contract = venue.contract if ages.looks_at_all else venue.contract.unstamped
        self._classifier = Classifier(contract, pending=pending)
        self.classify = self._classifier.read
        self.dated = self._classifier.dated
        self._classifier.want(feed.subscriptions.wanted)
        self._writer = Writer(
            venue.contract,
            pending=pending,
            book=self._classifier.book,
            variables=self._variables,
            seed=f"{epoch}",
        )
        self._requests: dict[int | None, int] = {}
        self._ages = ages
        self._asked = Asked(ages)

    @property
    def settled(self) -> bool:
        """Whether every wanted channel was answered."""
        return self.feed.settled

    # --- what is said -------------------------------------------------------------

    async def greet(self, *, now: float) -> int:
        """Say what the venue wants on opening; how many messages it took.

        Raises `WireError` if what the venue owes for it does not come.
        """
        writer, profile = self._writer, self._venue.profile
        sent = 0
        await asyncio.sleep(self._venue.opening_pause)
        greeting = profile.bootstrap
        if greeting is not None and greeting.frame is not None:
            await self.answers.wait("welcome", greeting.frame_within_s or SETTLE)
        opening = profile.on_open
        for index, step in enumerate(opening.steps if opening else ()):
            said = writer.step(index, unix=time.time())
            sent += said is not None
            if said is not None:
                self._asked.note(said)
                self._owner.post(self.epoch, said)
            if step.expect is not None:
                await self.answers.wait(("on_open", index), step.within_s)
        if opening is None:
            for said in writer.enable(unix=time.time()):
                self._owner.post(self.epoch, said)
                sent += 1
        own = profile.variables.items()
        known = {name: each.value for name, each in own} | self._variables
        self.rhythms = rhythms(self._venue.contract, known, now=now)
        return sent

    def request(self, wanted: Subscribe | Unsubscribe) -> None:
        """Ask for channels, or for no more of them."""
        write = self._writer.subscribe
        if isinstance(wanted, Unsubscribe):
            write = self._writer.unsubscribe
        said = write(wanted.channels, unix=time.time())
        for each in said:
            if len(self._requests) >= MOST_REQUESTS:
                del self._requests[next(iter(self._requests))]
            self._requests[each.number] = wanted.request
            self._owner.post(self.epoch, each)
        self.asked += len(said)

    def beat(self, index: int) -> None:
        said = self._writer.beat(index, unix=time.time())
        self._asked.note(said)
        self._owner.post(self.epoch, said, first=True)

    # --- what is wanted -----------------------------------------------------------

    def want(self, names: list[str]) -> None:
        """Raises `UsageError` over a name of no form, and takes none of them."""
        self._classifier.want(names)

    def unwant(self, names: list[str]) -> None:
        self._classifier.unwant(names)

    # --- what comes ---------------------------------------------------------------

    def read(self, data: list[str | bytes], *, age: float, now: float) -> list[Read]:
        """The messages of one read for the consumer, gaps at their places."""
        items: list[Read] = []
        ages = self._ages
        note = ages.note if now >= ages.wanted_at else None
        take_all(
            data,
            self._classifier,
            self.feed.take,
            self._unusual,
            note,
            items,
            epoch=self.epoch,
            age=age,
            now=now,
        )
        if note is not None:
            ages.look(waited=age > 0, now=now, epoch=self.epoch)
        return items

    def _unusual(
        self,
        data: str | bytes,
        reading: Reading,
        taken: bool,
        told: Iterable[FeedOutput] | None,
        items: list[Read],
        age: float,
        now: float,
    ) -> None:
        """Take what is more than a message in its order; see `usual.take_all`."""
        if type(reading) is not Update:
            shown = self.control(reading, items, now)
            if shown is not False:
                items.append(Message(data, now, shown, self.epoch, age))
            return
        source = reading.source
        line: Line = source.line or self.line(source, now)
        passes = taken or line.restore is None
        if passes and not taken:
            told = self.feed.take(
                line,
                reading.track,
                reading.last,
                reading.prev,
                reading.first,
                reading.restarts,
                now,
            )
        if told is not None:
            self._owner.obey(told, items)
        if line.proof is not None:
            self.prove(line, reading, data, items, now)
        if reading.links or reading.rest:
            self.count_rest(reading, items, now)
            self.count_links(reading, items, now)
        message = Message(data, now, source.channel, self.epoch, age)
        if line.restore is None:
            items.append(message)
        else:
            self.keep(line, reading, message, items, counted=passes, now=now)

    def line(self, source: Source, now: float) -> Line:
        line = source.line = self.feed.line(source.channel, source.rule, now=now)
        return line

    def prove(
        self,
        line: Line,
        reading: Update,
        data: str | bytes,
        items: list[Read],
        now: float,
    ) -> None:
        """Have the line's book proven by a message that its checksum stands in."""
        assert reading.source.rule is not None
        changes = self._venue.books.readers[reading.source.rule].read(data)
        out = self.feed.prove(line, changes, reading.last, now=now)
        if out:
            self._owner.obey(out, items)

    def keep(
        self,
        line: Line,
        reading: Update,
        message: Message,
        items: list[Read],
        *,
        counted: bool,
        now: float,
    ) -> None:
        """Let a message wait for the state that it changes."""
        numbers = Numbers(
            reading.track, reading.last, reading.prev, reading.first, reading.restarts
        )
        out = self.feed.keep(line, message, numbers, counted=counted, now=now)
        self._owner.obey(out, items)

    def count_rest(self, reading: Update, items: list[Read], now: float) -> None:
        """Count the rows whose numbers do not continue the first's."""
        counted = {reading.source.channel}
        for row in reading.rest:
            channel = row.source.channel
            # One message for each channel in it, however many rows that has.
            self._count(row, items, now, is_message=channel not in counted)
            counted.add(channel)

    def count_links(self, reading: Reading, items: list[Read], now: float) -> None:
        """Count what is numbered over the whole link."""
        for row in getattr(reading, "links", ()):
            self._count(row, items, now, whole_link=True)

    def _held(self, update: Update, items: list[Read], now: float) -> None:
        """Data that came in a message of another kind."""
        self._count(update, items, now, is_message=True)
        self.count_rest(update, items, now)
        self.count_links(update, items, now)

    def _count(
        self,
        row: Update,
        items: list[Read],
        now: float,
        *,
        whole_link: bool = False,
        is_message: bool = False,
    ) -> None:
        name = None if whole_link else row.source.channel
        line = self.feed.line(name, row.source.rule, now=now)
        # A snapshot of one channel says nothing about numbers over the whole link.
        anew = row.restarts and not whole_link
        told = self.feed.take(
            line, row.track, row.last, row.prev, row.first, anew, now=now
        )
        if not whole_link and not is_message:
            line.account.received -= 1
        self._owner.obey(told or (), items)

    def control(
        self, reading: Reading, items: list[Read], now: float
    ) -> str | Literal[False] | None:
        """Heed what is no data; its channel if it is to be seen, False if not."""
        self.count_links(reading, items, now)
        match reading:
            case Answer():
                self._asked.answered(reading, now)
                if reading.of == "on_open":
                    self.answers.came(("on_open", reading.index))
            case Probe():
                said = self._writer.reply(reading, unix=time.time())
                self._asked.note(said)
                self._owner.post(self.epoch, said, first=True)
            case Beacon(update=update) if update is not None:
                self._held(update, items, now)
                return update.source.channel
            case Acked(update=update):
                self._acked(reading, items, now)
                return update.source.channel if update is not None else False
            case Refused():
                self._refused(reading, items, now)
            case Notice():
                self._owner.noticed(self.epoch, reading)
                return None
            case Welcome():
                self._variables |= reading.variables
                self._writer.learn(reading.variables)
                self.answers.came("welcome")
            case Unknown():
                self.feed.unknown += 1
                return None
            case Malformed(reason=reason):
                self._owner.obey(self.feed.take_malformed(reason, now=now), items)
                return None
            case _:
                pass
        return False

    def _acked(self, acked: Acked, items: list[Read], now: float) -> None:
        request = self._requests.get(acked.number)
        # What it does not list of the request was refused without a word.
        complete = bool(acked.absent)
        channels = acked.channels if complete else acked.channels or None
        if acked.everything:
            # It lists all there is, by every name that it may have been asked by.
            standing = self.feed.standing
            channels = tuple(c for c in acked.channels if standing(c) is not None)
        out = self.feed.acked(
            request, channels, of=acked.of, complete=complete, now=now
        )
        self._owner.obey(out, items)
        if acked.update is not None:
            self._held(acked.update, items, now)

    def _refused(self, refused: Refused, items: list[Read], now: float) -> None:
        request = self._requests.get(refused.number)
        # A venue may echo a token in it; it must not get any further.
        reason = self._owner.clean(f"{refused.code} {refused.reason}".strip())
        channels = refused.channels or None
        out = self.feed.refused(request, channels, reason=reason or "refused", now=now)
        self._owner.obey(out, items)
