"""A venue's contract at work on one stream, across its links.

Each link has a conversation of its own; the channels and their numbers live in the feed
of the core, and what that wants is done here. It times nothing by itself but what they
ask for.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TypeAlias

from heartline.core.channel_events import (
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
    DialLost,
    Event,
    GapFound,
    Lost,
    RoundTripMeasured,
    Stalled,
    Stopped,
    Surrendered,
)
from heartline.core.feed import Feed, FeedOutput
from heartline.core.fetches import Fetch
from heartline.core.gaps import Ledger
from heartline.core.items import Condition, Gap
from heartline.core.restoring import Release
from heartline.core.unread import Unread
from heartline.observe import redact_text
from heartline.venue.reading import Notice
from heartline.venue.writer import Outgoing

from .ages import Ages
from .alarm import Alarm
from .contract import SETTLE, Venue
from .conversation import Conversation, Read
from .desk_owner import DeskOwner as DeskOwner
from .joining import Joining
from .restoring import HOSTS, Restoring
from .resuming import Resumed, Resuming

Talk: TypeAlias = Conversation | Resumed


class Desk:
    """Across the links of one stream; `begin` for each of them."""

    def __init__(
        self,
        venue: Venue | Resuming,
        owner: DeskOwner,
        *,
        ledger: Ledger,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.monotonic,
        ages: Ages | None = None,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.venue = venue
        known = venue if isinstance(venue, Venue) else None
        self._ages = ages or Ages(known, None, tell=owner.tell, clock=clock)
        self.feed = Feed(
            venue.feed_terms(),
            ledger=ledger,
            now=clock(),
            hosts=HOSTS,
            draw=random.random,
        )
        self._restoring: Restoring | None = None
        if known is not None:
            self._restoring = Restoring(
                known, self, clock=clock, proxy=proxy, ssl_context=ssl_context
            )
        self._owner = owner
        self._clock = clock
        self._link = self._talk_of(0, {})
        self._joining: Joining | None = None
        self._opened = False
        """Whether the present link came to be OPEN."""
        self._outages: list[Gap] = []
        """What they cost will be known by offsets, once a link is OPEN."""
        self.alarm = Alarm(self._fire, loop=loop, clock=clock)
        self._unread = Unread()
        self._changed = False
        """Whether the feed told something in the read that is under way."""
        self.feed.want(venue.channels, now=clock())

    # --- a link -------------------------------------------------------------------

    def begin(
        self, epoch: int, variables: Mapping[str, object], *, beside: bool = False
    ) -> None:
        """A link was accepted; `variables` are those of its bootstrap.

        `beside`: the one before it delivers until this one has all that it has.
        """
        if beside:
            assert isinstance(self.venue, Venue)
            assert isinstance(self._link, Conversation)
            self._joining = Joining(
                self.venue,
                self.feed,
                self,
                self._link,
                epoch=epoch,
                variables=variables,
                ages=self._ages,
                now=self._clock(),
            )
            return
        self.alarm.stop()
        self._unread.go_on()
        self._opened = False
        self._joining = None
        self.feed.epoch = epoch
        self._link = self._talk_of(epoch, variables)

    def _talk_of(self, epoch: int, variables: Mapping[str, object]) -> Talk:
        venue, feed = self.venue, self.feed
        if isinstance(venue, Resuming):
            return Resumed(venue, feed, self, epoch=epoch)
        return Conversation(
            venue, feed, self, epoch=epoch, variables=variables, ages=self._ages
        )

    async def greet(self, epoch: int, more: Iterable[str | bytes]) -> int:
        """Say all that opens a link; how many messages. Raises `WireError`.

        `more` is the user's own. Returns when all subscriptions were answered, or
        after a time in which most venues answer.
        """
        link = self._talk(epoch)
        if link is None:
            return 0
        sent = await link.greet(now=self._clock())
        for each in more:
            self._owner.post(epoch, each, first=False)
            sent += 1
        self.obey(link.feed.begin(epoch, now=self._clock()))
        sent += link.asked
        if not link.settled:
            await link.answers.wait("settled", SETTLE, required=False)
        joining = self._joining
        if joining is not None and joining.new is link:
            joining.synced(now=self._clock())
            # Its answer comes after all that only the old link was sent.
            self._owner.prove(self._link.epoch)
        return sent

    @property
    def joined(self) -> int | None:
        """The link that may take over at once, with nothing lost or doubled."""
        joining = self._joining
        return joining.new.epoch if joining and joining.complete else None

    def _talk(self, epoch: int) -> Talk | None:
        if self._link.epoch == epoch:
            return self._link
        joining = self._joining
        if joining is not None and joining.new.epoch == epoch and joining.both:
            return joining.new
        return None

    @property
    def _talks(self) -> list[Talk]:
        joining = self._joining
        if joining is None or not joining.both:
            return [self._link]
        return [self._link, joining.new]

    def heed(self, event: Event) -> None:
        """What the session tells of the link that the channels must know."""
        match event:
            case Connected():
                self._opened = True
                self._tell_outages()
                self.obey(self.feed.open(now=self._clock()))
            case RoundTripMeasured(at=at, round_trip=took) if self._joining is not None:
                if event.epoch == self._joining.old.epoch:
                    now, asked_at = self._clock(), at - took
                    items = self._joining.answered(asked_at=asked_at, now=now)
                    self._owner.deliver(items)
            case TookOver() if self._joining is not None:
                items = self._joining.take_over(now=self._clock())
                self._link = self._joining.new
                self._owner.deliver(items)
                self._follow()
            case DialLost(epoch=epoch) if self._joining is not None:
                if self._joining.new.epoch == epoch:
                    self._owner.deliver(self._joining.withdraw(now=self._clock()))
            case Lost() | Stopped() | Surrendered():
                if isinstance(self._link, Resumed) and not self._opened:
                    self._link.lose()
                if not isinstance(event, Lost):
                    # It will never be known.
                    self._owner.deliver([*self._outages])
                    self._outages.clear()
                self._joining = None
                if self._restoring is not None:
                    self._restoring.cancel()
                self._link.rhythms = []
                self.obey(self.feed.lose(now=self._clock()))
                self.alarm.stop()
            case Stalled(lag=lag):
                self.feed.excuse(lag=lag, now=self._clock())
            case ConditionEnded(condition=Condition.PAUSED, after=after):
                self.feed.excuse(lag=after, now=self._clock())
                self._unread.go_on()
                self._arm()
            case _:
                pass

    # --- what is wanted -----------------------------------------------------------

    def want(self, channels: Iterable[str]) -> None:
        """Raises `UsageError` over a name of no form, and takes none of them."""
        names = list(channels)
        for talk in self._talks:
            talk.want(names)
            self.obey(talk.feed.want(names, now=self._clock()))

    def unwant(self, channels: Iterable[str]) -> None:
        names = list(channels)
        for talk in self._talks:
            self.obey(talk.feed.unwant(names, now=self._clock()))
            talk.unwant(names)

    # --- what comes ---------------------------------------------------------------

    def read(
        self, epoch: int, data: list[str | bytes], *, age: float, now: float
    ) -> list[Read]:
        """The messages of one read for the consumer, gaps at their places."""
        joining = self._joining
        if joining is None and epoch == self._link.epoch:
            self._link.heard_at = now
            items = self._link.read(data, age=age, now=now)
            if self._changed:
                self._follow()
            return items
        talk = self._talk(epoch)
        if joining is None or not isinstance(talk, Conversation):
            return []
        talk.heard_at = now
        items = joining.read(talk, data, age=age, now=now)
        self._follow()
        if joining.over(now=now):
            self._joining = None
        return items

    def noticed(self, epoch: int, notice: Notice) -> None:
        if notice.action in ("reconnect_now", "reconnect_soon"):
            reason = "the venue announced the end of this connection"
            self._owner.announced(epoch, reason, notice.lead_s)

    @property
    def replays(self) -> bool:
        """Whether what was missed is sent again before the stream is OPEN."""
        return isinstance(self._link, Resumed)

    def keeps(self, event: Event) -> bool:
        """Whether the consumer is not to be told of an outage yet."""
        if isinstance(self._link, Resumed) and isinstance(event, GapFound):
            self._outages.append(event.gap)
            return True
        return False

    def _tell_outages(self) -> None:
        outages, self._outages = self._outages, []
        for gap in outages:
            assert isinstance(self._link, Resumed)
            closed, left = self._link.made_good(gap, now=self._clock())
            self.obey(closed)
            self._owner.deliver([*left])

    # --- what is to be done -------------------------------------------------------

    def obey(
        self, outputs: Iterable[FeedOutput], items: list[Read] | None = None
    ) -> None:
        """Do what the feed wants. In a read, where there are `items`, what follows from
        all of it is looked at in the end."""
        beside: list[Read] = []
        in_read = items is not None
        items = beside if items is None else items
        for each in outputs:
            match each:
                case Release():
                    items += each.messages
                case Fetch() if self._restoring is not None:
                    self._restoring.fetch(each)
                case Subscribe() | Unsubscribe():
                    talk = self._talk(each.epoch)
                    if talk is not None:
                        talk.request(each)
                case Prove():
                    self._owner.prove(each.epoch)
                case Redial():
                    reason = f"{each.channel}: {each.reason}"
                    self._owner.give_up(each.epoch, each.cause, reason)
                case Replace() | Retire() | Fetch():
                    raise AssertionError(each)
                case GapFound():
                    # It stands before the message that brought it to light.
                    items.append(each.gap)
                    self._owner.tell(each)
                case _:
                    self._owner.tell(each)
        if beside:
            self._owner.deliver(beside)
        self._changed = True
        if not in_read:
            self._follow()

    def run(self, what: str, epoch: int, work: Coroutine[None, None, None]) -> None:
        self._owner.run(what, epoch, work)

    def post(self, epoch: int, said: Outgoing, *, first: bool = False) -> None:
        talk = self._talk(epoch)
        if first and talk is not None:
            talk.feed.subscriptions.budget.spend(now=self._clock())
        self._owner.post(epoch, said.text, first=first)

    def clean(self, text: str) -> str:
        """What the venue says, without any of our secrets."""
        return redact_text(text, self._owner.secrets)

    def _follow(self) -> None:
        """What was told may settle a link, or be due earlier than all else."""
        self._changed = False
        for talk in self._talks:
            if talk.answers.awaits("settled") and talk.settled:
                talk.answers.came("settled")
        self._arm()

    # --- time ---------------------------------------------------------------------

    def _arm(self) -> None:
        talks = self._talks
        due = self.feed.deadline
        for talk in talks:
            if talk.feed is not self.feed:
                due = min(due, talk.feed.deadline)
        due = self._unread.next_at(due)
        for talk in talks:
            if talk.rhythms:
                heard_at = talk.heard_at
                rhythms = (r.due_at(heard_at=heard_at) for _, r in talk.rhythms)
                due = min(due, *rhythms)
        self.alarm.set(due)

    def _fire(self) -> None:
        now = self._clock()
        lag = self._unread.rang(due_at=self.alarm.due_at, now=now)
        if lag:
            self.feed.excuse(lag=lag, now=now)
        for talk in self._talks:
            heard_at = talk.heard_at
            for index, rhythm in talk.rhythms:
                if now >= rhythm.due_at(heard_at=heard_at):
                    rhythm.sent(now=now)
                    talk.beat(index)
        due = [talk for talk in self._talks if now >= talk.feed.deadline]
        owner = self._owner
        if not due:
            self._unread.go_on()
        elif not self._unread.waits(unread=owner.unread, paused=owner.paused, now=now):
            for talk in due:
                heard_at = owner.heard_at(talk.epoch)
                self.obey(talk.feed.tick(proven_at=heard_at, now=now))
        self._arm()
