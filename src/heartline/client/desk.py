"""A venue's contract at work on one stream: what comes is read, what is due is sent.

The messages of a read go through the venue's classifier and the feed of the core; what
these want is done here. It times nothing by itself but what they ask for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Literal, Protocol, TypeAlias

from heartline.core.channel_events import (
    EndPlanned,
    Prove,
    Redial,
    Replace,
    Retire,
    Subscribe,
    TookOver,
    Unsubscribe,
)
from heartline.core.events import (
    ConditionEnded,
    Connected,
    Event,
    GapFound,
    Lost,
    Stalled,
)
from heartline.core.feed import Feed, FeedOutput, Line
from heartline.core.gaps import Ledger
from heartline.core.items import Cause, Condition, Gap, Message
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

from .alarm import Alarm
from .answers import Answers
from .contract import SETTLE, Venue, rhythms

Read: TypeAlias = Message | Gap

LATE = 0.1
"""A timer this much late is our own stall: silence up to then is judged by nobody."""
DRAIN_STEP = 0.01
"""Pause before the next look while the socket still holds what was not read."""
MOST_LINES = 65_536


class DeskOwner(Protocol):
    """Who drives the stream."""

    def post(self, text: str | bytes, *, first: bool) -> None:
        """Queue a message to the venue, `first` ahead of what waits."""
        ...

    def tell(self, event: Event) -> None: ...
    def give_up(self, epoch: int, cause: Cause, reason: str) -> None: ...
    def prove(self, epoch: int) -> None: ...

    def heard_at(self) -> float:
        """When the last complete frame came."""
        ...

    @property
    def unread(self) -> bool:
        """Whether the socket holds what was not read, or reading is paused."""
        ...


class Desk:
    """Across the links of one stream; `begin` for each of them."""

    def __init__(
        self,
        venue: Venue,
        owner: DeskOwner,
        *,
        ledger: Ledger,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.venue = venue
        self.feed = Feed(venue.feed_terms(), ledger=ledger, now=clock())
        self.unknown = 0
        """Messages that the profile does not speak of; they are delivered."""
        self.malformed = 0
        """Messages that break the venue's own rules; they are delivered."""
        self._owner = owner
        self._clock = clock
        self._classifier = Classifier(venue.contract)
        self._read: Callable[[str | bytes], Reading] = self._classifier.read
        self._writer: Writer | None = None
        self._lines: dict[Source, Line] = {}
        self._requests: dict[int | None, int] = {}
        self._rhythms: list[tuple[int, Rhythm]] = []
        self._variables: dict[str, object] = dict(venue.variables)
        self.answers = Answers()
        self.alarm = Alarm(self._fire, loop=loop, clock=clock)
        self.feed.want(venue.channels, now=clock())

    # --- a link -------------------------------------------------------------------

    def begin(self, epoch: int, variables: dict[str, object]) -> None:
        """A link was accepted; `variables` are those of its bootstrap."""
        self.alarm.stop()
        self.feed.epoch = epoch
        self._variables = {**self.venue.variables, **variables}
        pending = Pending()
        self._classifier = Classifier(self.venue.contract, pending=pending)
        self._classifier.want(self.feed.subscriptions.wanted)
        self._read = self._classifier.read
        self._writer = Writer(
            self.venue.contract,
            pending=pending,
            book=self._classifier.book,
            variables=self._variables,
            seed=f"{epoch}",
        )
        self._lines.clear()
        self._requests.clear()
        self._rhythms = []
        self.answers.forget()

    async def greet(self, more: Iterable[str | bytes]) -> int:
        """Say all that opens a link; how many messages. Raises `WireError`.

        `more` is the user's own. Returns when all subscriptions were answered, or
        after a time in which most venues answer.
        """
        writer, profile = self._writer, self.venue.profile
        assert writer is not None
        sent = 0
        greeting = profile.bootstrap
        if greeting is not None and greeting.frame is not None:
            await self.answers.wait("welcome", greeting.frame_within_s or SETTLE)
        opening = profile.on_open
        for index, step in enumerate(opening.steps if opening else ()):
            said = writer.step(index, unix=time.time())
            sent += said is not None
            if said is not None:
                self._post(said)
            if step.expect is not None:
                await self.answers.wait(("on_open", index), step.within_s)
        if opening is None:
            for said in writer.enable(unix=time.time()):
                self._post(said)
                sent += 1
        for each in more:
            self._owner.post(each, first=False)
            sent += 1
        own = self.venue.profile.variables.items()
        known = {name: each.value for name, each in own} | self._variables
        self._rhythms = rhythms(self.venue.contract, known, now=self._clock())
        self._obey(self.feed.begin(self.feed.epoch, now=self._clock()))
        sent += len(self._requests)
        if not self.feed.settled:
            await self.answers.wait("settled", SETTLE, required=False)
        return sent

    def heed(self, event: Event) -> None:
        """What the session tells of the link that the channels must know."""
        match event:
            case Connected():
                self.feed.open(now=self._clock())
                self._arm()
            case Lost():
                self.feed.lose()
                self._rhythms = []
                self.alarm.stop()
            case Stalled() | ConditionEnded(condition=Condition.PAUSED):
                self.feed.excuse(now=self._clock())
            case _:
                pass

    # --- what is wanted -----------------------------------------------------------

    def want(self, channels: Iterable[str]) -> None:
        """Raises `UsageError` over a name of no form, and takes none of them."""
        names = list(channels)
        self._classifier.want(names)
        self._lines.clear()
        self._obey(self.feed.want(names, now=self._clock()))
        self._arm()

    def unwant(self, channels: Iterable[str]) -> None:
        names = list(channels)
        self._obey(self.feed.unwant(names, now=self._clock()))
        self._classifier.unwant(names)
        self._lines.clear()
        self._arm()

    # --- what comes ---------------------------------------------------------------

    def read(
        self, data: list[str | bytes], *, epoch: int, age: float, now: float
    ) -> list[Read]:
        """The messages of one read for the consumer, gaps at their places."""
        items: list[Read] = []
        append, read, take = items.append, self._read, self.feed.take
        lines = self._lines
        for each in data:
            reading = read(each)
            if type(reading) is not Update:
                shown = self._control(reading, items, now)
                if shown is not False:
                    append(Message(each, now, shown, epoch, age))
                continue
            source = reading.source
            line = lines.get(source) or self._line(source, now)
            told = take(
                line,
                reading.track,
                reading.last,
                reading.prev,
                reading.first,
                reading.restarts,
                now,
            )
            if told is not None:
                self._obey(told, items)
            if reading.links or reading.rest:
                self._more(reading, items, now)
            append(Message(each, now, source.channel, epoch, age))
        return items

    def _line(self, source: Source, now: float) -> Line:
        if len(self._lines) >= MOST_LINES:
            self._lines.clear()
        line = self._lines[source] = self.feed.line(
            source.channel, source.rule, now=now
        )
        return line

    def _more(self, reading: Update, items: list[Read], now: float) -> None:
        """Rows whose numbers do not continue the first's, and counts over the link."""
        counted = {reading.source.channel}
        for row in reading.rest:
            channel = row.source.channel
            # One message for each channel in it, however many rows that has.
            self._count(row, items, now, is_message=channel not in counted)
            counted.add(channel)
        for row in reading.links:
            self._count(row, items, now, whole_link=True)

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
        self._obey(told or (), items)

    def _control(
        self, reading: Reading, items: list[Read], now: float
    ) -> str | Literal[False] | None:
        """Heed what is no data; its channel if it is to be seen, False if not."""
        for row in getattr(reading, "links", ()):
            self._count(row, items, now, whole_link=True)
        match reading:
            case Answer(of="on_open", index=index):
                self.answers.came(("on_open", index))
            case Probe():
                assert self._writer is not None
                said = self._writer.reply(reading, unix=time.time())
                self._post(said, first=True)
            case Beacon(update=update) if update is not None:
                self._count(update, items, now, is_message=True)
                return update.source.channel
            case Acked(update=update):
                self._acked(reading, items, now)
                return update.source.channel if update is not None else False
            case Refused():
                request = self._requests.get(reading.number)
                reason = f"{reading.code} {reading.reason}".strip() or "refused"
                channels = reading.channels or None
                self._obey(
                    self.feed.refused(request, channels, reason=reason, now=now), items
                )
            case Notice():
                self._noticed(reading)
                return None
            case Welcome():
                self._variables |= reading.variables
                if self._writer is not None:
                    self._writer.learn(reading.variables)
                self.answers.came("welcome")
            case Unknown():
                self.unknown += 1
                return None
            case Malformed():
                self.malformed += 1
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
        self._obey(out, items)
        if acked.update is not None:
            self._count(acked.update, items, now, is_message=True)

    def _noticed(self, notice: Notice) -> None:
        if notice.action in ("reconnect_now", "reconnect_soon"):
            reason = "the venue announced the end of this connection"
            self._owner.give_up(self.feed.epoch, Cause.NOTICE, reason)

    # --- what is to be done -------------------------------------------------------

    def _obey(
        self, outputs: Iterable[FeedOutput], items: list[Read] | None = None
    ) -> None:
        for each in outputs:
            match each:
                case Subscribe() | Unsubscribe():
                    self._request(each)
                case Prove():
                    self._owner.prove(each.epoch)
                case Redial():
                    reason = f"{each.channel}: {each.reason}"
                    self._owner.give_up(each.epoch, Cause.CHANNEL_STALLED, reason)
                case Replace() | Retire() | EndPlanned() | TookOver():
                    raise AssertionError(each)
                case GapFound() if items is not None:
                    # It stands before the message that brought it to light.
                    items.append(each.gap)
                    self._owner.tell(each)
                case _:
                    self._owner.tell(each)
        self._look_settled()
        self._arm()

    def _request(self, wanted: Subscribe | Unsubscribe) -> None:
        writer = self._writer
        assert writer is not None
        write = writer.subscribe
        if isinstance(wanted, Unsubscribe):
            write = writer.unsubscribe
        said = write(wanted.channels, unix=time.time())
        for each in said:
            self._requests[each.number] = wanted.request
            self._post(each)

    def _post(self, said: Outgoing, *, first: bool = False) -> None:
        if first:
            self.feed.subscriptions.budget.spend(now=self._clock())
        self._owner.post(said.text, first=first)

    def _look_settled(self) -> None:
        if self.answers.awaits("settled") and self.feed.settled:
            self.answers.came("settled")

    # --- time ---------------------------------------------------------------------

    def _deadline(self) -> float:
        due = self.feed.deadline
        if self._rhythms:
            heard_at = self._owner.heard_at()
            due = min(due, *(r.due_at(heard_at=heard_at) for _, r in self._rhythms))
        return due

    def _arm(self) -> None:
        self.alarm.set(self._deadline())

    def _fire(self) -> None:
        now = self._clock()
        if now - self.alarm.due_at > LATE:
            self.feed.excuse(now=now)
        heard_at = self._owner.heard_at()
        for index, rhythm in self._rhythms:
            if now >= rhythm.due_at(heard_at=heard_at) and self._writer is not None:
                rhythm.sent(now=now)
                self._post(self._writer.beat(index, unix=time.time()), first=True)
        if self._owner.unread:
            # What was not read may be the very sign that is missed.
            self.alarm.set(now + DRAIN_STEP)
            return
        if now >= self.feed.deadline:
            self._obey(self.feed.tick(proven_at=heard_at, now=now))
        self._arm()
