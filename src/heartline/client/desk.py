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
from typing import Protocol

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
    Stopped,
    Surrendered,
)
from heartline.core.feed import Feed, FeedOutput
from heartline.core.fetches import Fetch
from heartline.core.gaps import Ledger
from heartline.core.items import Cause, Condition
from heartline.core.restoring import Release
from heartline.venue.reading import Notice
from heartline.venue.writer import Outgoing

from .ages import Ages
from .alarm import Alarm
from .contract import SETTLE, Venue
from .conversation import Conversation, Read
from .restoring import HOSTS, Restoring

LATE = 0.1
"""A timer this much late is our own stall: silence up to then is judged by nobody."""
DRAIN_STEP = 0.01
"""Pause before the next look while the socket still holds what was not read."""


class DeskOwner(Protocol):
    """Who drives the stream."""

    def post(self, text: str | bytes, *, first: bool) -> None:
        """Queue a message to the venue, `first` ahead of what waits."""
        ...

    def tell(self, event: Event) -> None: ...
    def give_up(self, epoch: int, cause: Cause, reason: str) -> None: ...
    def prove(self, epoch: int) -> None: ...
    def run(self, what: str, epoch: int, work: Coroutine[None, None, None]) -> None:
        """Have something done; it ends with the stream at the latest."""
        ...

    def deliver(self, items: list[Read]) -> None:
        """Give the consumer what came beside the link."""
        ...

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
        ages: Ages | None = None,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.venue = venue
        self._ages = ages or Ages(venue, None, tell=owner.tell, clock=clock)
        self.feed = Feed(
            venue.feed_terms(),
            ledger=ledger,
            now=clock(),
            hosts=HOSTS,
            draw=random.random,
        )
        self._restoring = Restoring(
            venue, self, clock=clock, proxy=proxy, ssl_context=ssl_context
        )
        self._owner = owner
        self._clock = clock
        self._link = Conversation(
            venue, self.feed, self, epoch=0, variables={}, ages=self._ages
        )
        self._heard_at = clock()
        """When the last message came: what some venues time their own clocks by, which
        pings and pongs do not concern."""
        self.alarm = Alarm(self._fire, loop=loop, clock=clock)
        self.feed.want(venue.channels, now=clock())

    # --- a link -------------------------------------------------------------------

    def begin(self, epoch: int, variables: Mapping[str, object]) -> None:
        """A link was accepted; `variables` are those of its bootstrap."""
        self.alarm.stop()
        self.feed.epoch = epoch
        self._link = Conversation(
            self.venue,
            self.feed,
            self,
            epoch=epoch,
            variables=variables,
            ages=self._ages,
        )

    async def greet(self, more: Iterable[str | bytes]) -> int:
        """Say all that opens a link; how many messages. Raises `WireError`.

        `more` is the user's own. Returns when all subscriptions were answered, or
        after a time in which most venues answer.
        """
        link = self._link
        sent = await link.greet(now=self._clock())
        for each in more:
            self._owner.post(each, first=False)
            sent += 1
        self.obey(self.feed.begin(self.feed.epoch, now=self._clock()))
        sent += link.asked
        if not self.feed.settled:
            await link.answers.wait("settled", SETTLE, required=False)
        return sent

    def heed(self, event: Event) -> None:
        """What the session tells of the link that the channels must know."""
        match event:
            case Connected():
                self.obey(self.feed.open(now=self._clock()))
            case Lost() | Stopped() | Surrendered():
                self._restoring.cancel()
                self._link.rhythms = []
                self.obey(self.feed.lose(now=self._clock()))
                self.alarm.stop()
            case Stalled(lag=lag):
                self.feed.excuse(lag=lag, now=self._clock())
            case ConditionEnded(condition=Condition.PAUSED, after=after):
                self.feed.excuse(lag=after, now=self._clock())
            case _:
                pass

    # --- what is wanted -----------------------------------------------------------

    def want(self, channels: Iterable[str]) -> None:
        """Raises `UsageError` over a name of no form, and takes none of them."""
        names = list(channels)
        self._link.want(names)
        self.obey(self.feed.want(names, now=self._clock()))
        self._arm()

    def unwant(self, channels: Iterable[str]) -> None:
        names = list(channels)
        self.obey(self.feed.unwant(names, now=self._clock()))
        self._link.unwant(names)
        self._arm()

    # --- what comes ---------------------------------------------------------------

    def read(self, data: list[str | bytes], *, age: float, now: float) -> list[Read]:
        """The messages of one read for the consumer, gaps at their places."""
        self._heard_at = now
        return self._link.read(data, age=age, now=now)

    def noticed(self, notice: Notice) -> None:
        if notice.action in ("reconnect_now", "reconnect_soon"):
            reason = "the venue announced the end of this connection"
            self._owner.give_up(self.feed.epoch, Cause.NOTICE, reason)

    # --- what is to be done -------------------------------------------------------

    def obey(
        self, outputs: Iterable[FeedOutput], items: list[Read] | None = None
    ) -> None:
        beside: list[Read] = []
        items = beside if items is None else items
        for each in outputs:
            match each:
                case Release():
                    items += each.messages
                case Fetch():
                    self._restoring.fetch(each)
                case Subscribe() | Unsubscribe():
                    self._link.request(each)
                case Prove():
                    self._owner.prove(each.epoch)
                case Redial():
                    reason = f"{each.channel}: {each.reason}"
                    self._owner.give_up(each.epoch, Cause.CHANNEL_STALLED, reason)
                case Replace() | Retire() | EndPlanned() | TookOver():
                    raise AssertionError(each)
                case GapFound():
                    # It stands before the message that brought it to light.
                    items.append(each.gap)
                    self._owner.tell(each)
                case _:
                    self._owner.tell(each)
        if beside:
            self._owner.deliver(beside)
        self._look_settled()
        self._arm()

    def run(self, what: str, epoch: int, work: Coroutine[None, None, None]) -> None:
        self._owner.run(what, epoch, work)

    def post(self, said: Outgoing, *, first: bool = False) -> None:
        if first:
            self.feed.subscriptions.budget.spend(now=self._clock())
        self._owner.post(said.text, first=first)

    def _look_settled(self) -> None:
        answers = self._link.answers
        if answers.awaits("settled") and self.feed.settled:
            answers.came("settled")

    # --- time ---------------------------------------------------------------------

    def _arm(self) -> None:
        due = self.feed.deadline
        rhythms = self._link.rhythms
        if rhythms:
            heard_at = self._heard_at
            due = min(due, *(r.due_at(heard_at=heard_at) for _, r in rhythms))
        self.alarm.set(due)

    def _fire(self) -> None:
        now = self._clock()
        late = now - self.alarm.due_at
        if late > LATE:
            self.feed.excuse(lag=late, now=now)
        for index, rhythm in self._link.rhythms:
            if now >= rhythm.due_at(heard_at=self._heard_at):
                rhythm.sent(now=now)
                self._link.beat(index)
        if self._owner.unread:
            # What was not read may be the very sign that is missed.
            self.alarm.set(now + DRAIN_STEP)
            return
        if now >= self.feed.deadline:
            heard_at = self._owner.heard_at()
            self.obey(self.feed.tick(proven_at=heard_at, now=now))
        self._arm()
