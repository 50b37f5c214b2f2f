"""The channels of a stream while two links bring them: asked for twice, passed on once.

The feed goes on as it is, and sees only what the seam passes. What the new link is
asked and what counts on it alone stands here until it takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from math import inf
from typing import Generic, Literal, TypeAlias, TypeVar

from .budget import Budget
from .channel_events import ChannelOutput, Prove, SubscriptionFailed
from .feed import Feed, FeedOutput
from .feed_terms import Numbered
from .items import Message
from .lines import Line
from .orderbook import Changes
from .place import OF_A_LINK, Place, is_common
from .restore import Numbers
from .rules import tracker_of
from .seam import Seam
from .sequence import Anomaly, Reset, Scope
from .subscribing import Standing
from .subscriptions import Subscriptions
from .tracker import Tracker

M = TypeVar("M")
Key: TypeAlias = tuple[int | None, Hashable]

MOST_KEYS = 4096
"""Channels and symbols that nobody asked for by name and two links are joined in."""
MOST_ODD = 4096
"""What is wrong with the new link's own numbers before it delivers: so much is told."""
ASKED_EVERY = 0.5
"""Seconds between two questions whether the old link has brought what the new one has.
"""


class Overlap(Generic[M]):
    """One overlap: the new link is that of `epoch`. Read `deadline`.

    For the conversation on the new link it stands in the place of the feed. `M` is what
    the seam passes on, of `size_bytes`.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        epoch: int,
        now: float,
        size_bytes: Callable[[M], int] = lambda message: 0,
    ) -> None:
        terms = feed.terms
        self.epoch = epoch
        self.unknown = 0
        self._began_at = now
        self.subscriptions = Subscriptions(
            terms.subscribing, budget=Budget(terms.rates)
        )
        self.subscriptions.want(feed.subscriptions.wanted, now=now)
        self._feed = feed
        self._common = tuple(is_common(each) for each in terms.numbered)
        self._trackers = [
            _of_one_link(each)
            if each is not None and each.numbering.scope in OF_A_LINK
            else tracker
            for tracker, each in zip(feed.trackers, terms.numbered, strict=True)
        ]
        self._lines: dict[int | None, Line] = {}
        self._keyed: dict[Key, Line] = {}
        """Whose messages the seam joins under a key."""
        self._live = set[str]()
        self.passing = False
        """Whether what is counted belongs to a message that was passed on."""
        self._odd: list[tuple[Line, Anomaly]] = []
        """What was wrong with the new link's own numbers: told once it delivers."""
        self._failed: dict[str, SubscriptionFailed] = {}
        self._asked_at, self._asks_at = -inf, inf
        self._synced = set[Key]()
        """Where the new link was asked for everything when all had been asked for."""
        self._unjoined = False
        """Whether the new link brought what there was no room to join."""
        self._is_over = False
        """Whether one link is gone."""
        self.seam = Seam[Key, M](
            (
                ((rule, key), tracker.last(key))
                for rule, (tracker, common) in enumerate(
                    zip(feed.trackers, self._common, strict=True)
                )
                if common and tracker is not None
                for key in tracker
            ),
            answers=True,
            size_bytes=size_bytes,
        )

    # --- as a feed ------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        asks_at = inf if self._is_over else self._asks_at
        return min(self.subscriptions.deadline, asks_at)

    @property
    def settled(self) -> bool:
        return self.subscriptions.settled

    @property
    def complete(self) -> bool:
        """Whether the new link may deliver alone, and nothing is lost or doubled."""
        whole = self._feed.restoring.settled and not self._failed
        return self.settled and whole and self.seam.complete

    def standing(self, channel: str) -> Standing | None:
        return self.subscriptions.standing(channel)

    def begin(self, epoch: int, *, now: float) -> list[FeedOutput]:
        self.seam.begin()
        return list(self.subscriptions.open(epoch, now=now))

    def acked(
        self,
        request: int | None,
        channels: Iterable[object] | None,
        *,
        of: Literal["subscribe", "unsubscribe"],
        complete: bool = False,
        now: float,
    ) -> list[FeedOutput]:
        """A request on the new link was answered: see `Subscriptions.acked`."""
        return self._heed(
            self.subscriptions.acked(
                self.epoch, request, channels, of=of, complete=complete, now=now
            )
        )

    def refused(
        self,
        request: int | None,
        channels: Iterable[object] | None,
        *,
        reason: str,
        now: float,
    ) -> list[FeedOutput]:
        return self._heed(
            self.subscriptions.refused(
                self.epoch, request, channels, reason=reason, now=now
            )
        )

    def want(self, channels: Iterable[str], *, now: float) -> list[FeedOutput]:
        return list(self.subscriptions.want(channels, now=now))

    def unwant(self, channels: Iterable[str], *, now: float) -> list[FeedOutput]:
        names = list(channels)
        self._synced.difference_update((None, name) for name in names)
        return list(self.subscriptions.unwant(names, now=now))

    def synced(self) -> None:
        """All that is wanted now was asked for on the new link."""
        wanted = (None, *self.subscriptions.wanted)
        self._synced = {(None, name) for name in wanted}

    def still(self) -> None:
        """All that was answered; the old link has brought what was said before."""
        self.seam.still(self._synced)

    def tick(self, *, proven_at: float, now: float) -> list[FeedOutput]:
        """Its deadline passed; what the link's silence proves is for the feed."""
        asked = self._ask(now)
        if now < self.subscriptions.deadline:
            return asked
        return asked + self._heed(self.subscriptions.tick(now=now))

    def _heed(self, said: Iterable[ChannelOutput]) -> list[FeedOutput]:
        out: list[FeedOutput] = []
        for each in said:
            if isinstance(each, SubscriptionFailed):
                # While the other link brings it, the stream is as live as ever.
                self._failed[each.channel] = each
            else:
                out.append(each)
        return out

    def line(self, channel: str | None, rule: int | None, *, now: float) -> Line:
        """Where messages of the new link are taken."""
        if channel is not None:
            return self._feed.line(channel, rule, now=now)
        line = self._lines.get(rule)
        if line is None:
            tracker = None if rule is None else self._trackers[rule]
            account = self._feed.ledger.account(None, rule=rule or 0)
            terms = None if rule is None else self._feed.terms.numbered[rule]
            line = Line(None, account, tracker, terms=terms, now=now)
            self._lines[rule] = line
        return line

    def take(
        self,
        line: Line,
        track: Hashable,
        last: object,
        prev: object,
        first: object,
        anew: bool,
        now: float,
    ) -> list[FeedOutput] | None:
        """Take what the new link's conversation counts beside its messages of data."""
        if line.name is not None:
            if self.passing:
                return self._feed.take(line, track, last, prev, first, anew, now)
            return None
        line.account.received += 1
        if last is not None and line.tracker is not None:
            odd = line.tracker.feed(track, last, prev, first, anew)
            if odd is not None and len(self._odd) < MOST_ODD:
                self._odd.append((line, odd))
        return None

    def counts(self, rule: int | None) -> bool:
        """Whether messages under this rule have a link's own numbers, for `count`."""
        numbered = None if rule is None else self._feed.terms.numbered[rule]
        return numbered is not None and numbered.numbering.scope is Scope.SID

    def count(
        self,
        line: Line,
        rule: int,
        track: Hashable,
        last: object,
        prev: object,
        first: object,
        anew: bool,
        *,
        is_new: bool,
        now: float,
    ) -> list[FeedOutput]:
        """Take a link's own number of a message of a channel, passed on or not: what
        either link misses shows in its own."""
        tracker = self._trackers[rule] if is_new else line.tracker
        if last is None or tracker is None:
            return []
        odd = tracker.feed(track, last, prev, first, anew)
        if odd is None:
            return []
        if is_new and not self._is_over:
            if len(self._odd) < MOST_ODD:
                self._odd.append((line, odd))
            return []
        return self._feed.look(line, odd, track, None, False, now)

    def take_malformed(self, reason: str, *, now: float) -> list[FeedOutput]:
        return self._feed.take_malformed(reason, now=now)

    def prove(
        self, line: Line, changes: Changes | None, number: object, *, now: float
    ) -> list[FeedOutput]:
        return self._feed.prove(line, changes, number, now=now)

    def keep(
        self,
        line: Line,
        message: Message,
        numbers: Numbers,
        *,
        counted: bool = False,
        now: float,
    ) -> list[FeedOutput]:
        return self._feed.keep(line, message, numbers, counted=counted, now=now)

    # --- the way of a message ---------------------------------------------------------

    def came(
        self, line: Line, place: Place, mark: int, message: M, *, now: float
    ) -> tuple[list[M], list[FeedOutput]]:
        """What to pass on now that a link brought a message, and what is to be told.

        `place` is what its numbers say, `mark` is equal for equal messages.
        """
        told: list[FeedOutput] = []
        name = line.name
        asked = name is None or self.subscriptions.standing(name) is not None
        if place.is_new and asked and name is not None and name not in self._live:
            self._live.add(name)
            told += self.subscriptions.data(name, now=now)
        rule, low, high = place.rule, place.low, place.high
        key = (rule, place.track)
        if rule is None or not self._common[rule] or low is None or high is None:
            key = (None, name)
            if not self._has_room(key, asked=asked):
                return self._pass_unjoined(place, message), told
            self._keyed[key] = line
            whole, is_new = place.whole, place.is_new
            passed = self.seam.alike(
                key, mark, message, is_new=is_new, whole=whole, now=now
            )
            return passed, told + self._look_at(key, now)
        if not self._has_room(key, asked=False):
            return self._pass_unjoined(place, message), told
        self._keyed[key] = line
        if place.is_new:
            whole = place.whole
            return self.seam.new(key, low, high, message, whole=whole), told
        return self.seam.old(key, low, high, message), told

    def _has_room(self, key: Key, *, asked: bool) -> bool:
        """Whether the two links are joined here: there are as many channels and symbols
        as the other end cares to name."""
        if self._is_over or asked or key in self.seam:
            return True
        return len(self._keyed) < MOST_KEYS

    def _pass_unjoined(self, place: Place, message: M) -> list[M]:
        """The old link's pass until the new one is alone."""
        self._unjoined = self._unjoined or place.is_new
        return [] if place.is_new else [message]

    def _look_at(self, key: Key, now: float) -> list[FeedOutput]:
        """What is to be asked, or told, where only content tells the messages apart."""
        if self._is_over:
            return self._doubts(now) if self.seam.doubtful else []
        if self.seam.asks(key):
            self._asks_at = min(self._asks_at, max(now, self._asked_at + ASKED_EVERY))
        return self._ask(now)

    def _ask(self, now: float) -> list[FeedOutput]:
        """Ask the old link, if it is time to: its answer comes after what it brings."""
        if now < self._asks_at or self._is_over:
            return []
        self._asked_at, self._asks_at = now, inf
        return [Prove(self._feed.epoch)]

    # --- the end of one link ----------------------------------------------------------

    def take_over(self, *, now: float) -> tuple[list[M], list[FeedOutput]]:
        """The new link delivers alone: what it held, and before that what is to be told
        of messages that may lie between the two."""
        feed = self._feed
        fetched = feed.adopt(
            self.epoch,
            subscriptions=self.subscriptions,
            trackers=self._trackers,
            counted=self._lines.items(),
            now=now,
        )
        feed.troubles |= self._failed
        told: list[FeedOutput] = [*fetched, *self._failed.values()]
        for line, odd in self._odd:
            told += feed.look(line, odd, odd.key, None, False, now)
        held = self.seam.finish()
        return held, told + self._doubts(now)

    def withdraw(self, *, now: float) -> list[FeedOutput]:
        """The new link is gone before it took over; what is to be told of messages
        that it may have brought out of their order."""
        self.seam.withdraw()
        return self._doubts(now)

    def _doubts(self, now: float) -> list[FeedOutput]:
        """Where messages may be missing and no numbers will tell."""
        told: list[FeedOutput] = []
        self._is_over = True
        strays: list[Line] = []
        for key, tells in self.seam.doubtful.items():
            if tells or key not in self._keyed:
                continue
            line, (rule, track) = self._keyed[key], key
            if rule is not None and line.tracker is not None:
                line.tracker.forget(track)
            if line.name is not None and self._feed.standing(line.name) is None:
                strays.append(line)
                continue
            odd = Reset(track, 0, 0, False)
            told += self._feed.look(line, odd, track, None, False, now)
        self.seam.doubtful.clear()
        if strays or self._unjoined:
            told += self._doubt_strays(strays, now)
        self._unjoined = False
        return told

    def _doubt_strays(self, lines: list[Line], now: float) -> list[FeedOutput]:
        """One gap for all that nobody asked for, however many these are."""
        odd = Reset(None, 0, 0, False)
        if len(lines) == 1 and not self._unjoined:
            return self._feed.look(lines[0], odd, None, None, False, now)
        since = min((line.at for line in lines), default=self._began_at)
        feed = self._feed
        entries = feed.ledger.enter(
            feed.ledger.account(None), odd, from_at=since, now=now, epoch=feed.epoch
        )
        return [feed.told(entry, None, now) for entry in entries]


def _of_one_link(numbered: Numbered) -> Tracker:
    return tracker_of(numbered.numbering)
