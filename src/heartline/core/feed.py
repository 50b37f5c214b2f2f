"""All channels of one stream: asked for, fresh, numbered and accounted for.

It joins the pure pieces and decides what one means for another: a jump in the numbers
makes its channel be asked for anew, a stalled channel is revived before its link is
given up. The driver calls `take` for each message; nearly always that is all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .budget import Budget, Rate
from .channel_events import (
    ChannelOutput,
    GapClosed,
    Prove,
    Redial,
    SubscriptionFailed,
)
from .contracts import Freshness
from .events import ChannelRevived, ChannelStalled, GapFound
from .freshness import ChannelWatch
from .gaps import Account, Entry, Ledger
from .items import Gap
from .rules import tracker_of
from .sequence import Anomaly, Missing, Numbering, Reset
from .subscribing import Standing, Subscribing
from .subscriptions import Subscriptions
from .tracker import Tracker
from .watched import Change, Outcome, Watching

REVIVAL = 5.0
"""Seconds that a channel has for its first data after it was asked for anew."""
MOST_PROMISED = 256
"""Channels whose bounds a status names; of more, only the largest bound is told."""
BOUNDS_KEPT = 1.0
"""Seconds for which the bounds are told unchanged: there may be many channels."""

FeedOutput: TypeAlias = ChannelOutput | ChannelStalled | ChannelRevived | GapFound
"""Commands and events in the order they happened; a gap stands before its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """How some channels are numbered. `resubscribe`: a jump is made good that way."""

    numbering: Numbering
    resubscribe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedTerms:
    """Everything a feed is told once. `contract`: what is declared of a channel.

    `numbered` holds the rules by their place; None where numbers would show nothing.
    """

    subscribing: Subscribing = field(default_factory=Subscribing)
    rates: tuple[Rate, ...] = ()
    watching: Watching = field(default_factory=Watching)
    numbered: tuple[Numbered | None, ...] = ()
    contract: Callable[[str], Freshness | None] = lambda channel: None


class Line:
    """One channel under one rule, as its messages are read."""

    __slots__ = (
        "account",
        "at",
        "is_live",
        "name",
        "resubscribe",
        "tracker",
        "wounded",
    )

    def __init__(
        self,
        name: str | None,
        account: Account,
        tracker: Tracker | None,
        *,
        resubscribe: bool,
        now: float,
    ) -> None:
        self.name = name
        """None: what counts over the whole link."""
        self.account = account
        self.tracker = tracker
        self.resubscribe = resubscribe
        self.at = now
        """When its last message was read."""
        self.is_live = False
        self.wounded = True
        """A gap or an outage may be open that a snapshot would close."""


class Feed:
    """The channels of one stream, across its links. `ledger` is the session's."""

    def __init__(self, terms: FeedTerms, *, ledger: Ledger, now: float) -> None:
        self.terms = terms
        self.ledger = ledger
        self.subscriptions = Subscriptions(
            terms.subscribing, budget=Budget(terms.rates)
        )
        self.watch = ChannelWatch(terms.watching, now=now)
        self.troubles: dict[str, Change | SubscriptionFailed] = {}
        """Channels that are stalled or were asked for in vain, and why."""
        self.epoch = 0
        self._is_open = False
        self._trackers = [
            tracker_of(each.numbering) if each is not None else None
            for each in terms.numbered
        ]
        self._lines: dict[tuple[str | None, int | None], Line] = {}
        self._bounds: dict[str | None, float] = {}
        self._bounds_until = -1.0

    @property
    def deadline(self) -> float:
        """When `tick` is wanted; inf if nothing is awaited."""
        due = self.subscriptions.deadline
        return min(due, self.watch.deadline) if self._is_open else due

    # --- what is wanted -----------------------------------------------------------

    def want(self, channels: Iterable[str], *, now: float) -> list[FeedOutput]:
        out: list[FeedOutput] = []
        for channel in channels:
            if self.subscriptions.standing(channel) is None:
                self.watch.watch(channel, self.terms.contract(channel), now=now)
            out += self.subscriptions.want([channel], now=now)
        self._bounds_until = -1.0
        return out

    def unwant(self, channels: Iterable[str], *, now: float) -> list[FeedOutput]:
        names = list(channels)
        for name in names:
            self.watch.unwatch(name)
            self.troubles.pop(name, None)
            self.ledger.close_account(name)
            for key in [key for key in self._lines if key[0] == name]:
                del self._lines[key]
        self._bounds_until = -1.0
        return list(self.subscriptions.unwant(names, now=now))

    # --- the links ----------------------------------------------------------------

    def begin(self, epoch: int, *, now: float) -> list[FeedOutput]:
        """A link can be written to: ask for all that is wanted."""
        self.epoch = epoch
        self.troubles.clear()
        for tracker in self._trackers:
            if tracker is not None:
                tracker.begin()
        for line in self._lines.values():
            line.is_live, line.wounded = False, True
        return list(self.subscriptions.open(epoch, now=now))

    def open(self, *, now: float) -> None:
        """The stream is OPEN: silence counts from here."""
        self._is_open = True
        self.watch.open(now=now)

    def lose(self) -> None:
        """The link is gone."""
        self._is_open = False
        self.subscriptions.close()
        self.troubles.clear()

    def excuse(self, *, now: float) -> None:
        """The silence up to here was of our own making."""
        self.watch.excuse(now=now)

    # --- the way of a message -----------------------------------------------------

    def line(self, channel: str | None, rule: int | None, *, now: float) -> Line:
        """Where messages of `channel` under the rule of this place are taken."""
        line = self._lines.get((channel, rule))
        if line is None:
            numbered = None if rule is None else self.terms.numbered[rule]
            line = self._lines[channel, rule] = Line(
                channel,
                self.ledger.account(channel),
                None if rule is None else self._trackers[rule],
                resubscribe=numbered is not None and numbered.resubscribe,
                now=now,
            )
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
        """Take one message of data; what it brings to light, if anything.

        `last`, `prev`, `first`, `anew` as in `Tracker.feed`, `track` as its key.
        """
        line.account.received += 1
        odd = out = None
        if last is not None and (tracker := line.tracker) is not None:
            odd = tracker.feed(track, last, prev, first, anew)
        if odd is not None or (anew and line.wounded):
            out = self._look(line, odd, track, last, anew, now)
        line.at = now
        if (name := line.name) is None:
            return out
        change = self.watch.feed(name, now)
        if change is not None or not line.is_live:
            out = [*(out or ()), *self._came(line, change, now)]
        return out

    def _came(self, line: Line, change: Change | None, now: float) -> list[FeedOutput]:
        """The first data of a channel, or the end of its stall."""
        assert line.name is not None
        out: list[FeedOutput] = []
        if not line.is_live:
            line.is_live = True
            out += self.subscriptions.data(line.name, now=now)
        self.troubles.pop(line.name, None)
        if change is not None:
            out.append(
                ChannelRevived(
                    at=now, epoch=self.epoch, channel=line.name, after=change.silence
                )
            )
        return out

    def _look(
        self,
        line: Line,
        odd: Anomaly | None,
        track: Hashable,
        last: object,
        anew: bool,
        now: float,
    ) -> list[FeedOutput]:
        """Enter what the numbers showed, and what a snapshot makes good."""
        entries: list[Entry] = []
        if odd is not None:
            entries += self.ledger.note(
                line.name, odd, from_at=line.at, now=now, epoch=self.epoch
            )
            line.wounded = True
        if anew and line.name is not None:
            number = last if isinstance(last, int) else None
            entries += self.ledger.whole(line.name, number, key=track, now=now)
            line.wounded = bool(self.ledger.open_gaps(line.name))
        out = [self._told(entry, now) for entry in entries]
        lost = isinstance(odd, Missing) or (isinstance(odd, Reset) and not odd.proven)
        if lost and line.resubscribe and line.name is not None:
            out += self._revive(line.name, now)
        return out

    def _told(self, entry: Entry, now: float) -> FeedOutput:
        if isinstance(entry, Gap):
            return GapFound(at=now, epoch=self.epoch, gap=entry)
        return GapClosed(at=now, epoch=self.epoch, gap=entry.gap, by=entry.by)

    def _revive(self, channel: str, now: float) -> list[FeedOutput]:
        """Ask for one channel anew. Its numbers go on: what is lost meanwhile shows."""
        for rule in (None, *range(len(self._trackers))):
            line = self._lines.get((channel, rule))
            if line is not None:
                line.is_live = False
        within = REVIVAL
        return list(self.subscriptions.revive(channel, data_within=within, now=now))

    # --- what the venue says ------------------------------------------------------

    def acked(
        self,
        request: int | None,
        channels: Iterable[object] | None,
        *,
        of: Literal["subscribe", "unsubscribe"],
        complete: bool = False,
        now: float,
    ) -> list[FeedOutput]:
        """A request was answered: see `Subscriptions.acked`."""
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
        """A request was not taken: see `Subscriptions.refused`."""
        return self._heed(
            self.subscriptions.refused(
                self.epoch, request, channels, reason=reason, now=now
            )
        )

    def _heed(self, said: Iterable[ChannelOutput]) -> list[FeedOutput]:
        out: list[FeedOutput] = []
        for each in said:
            out.append(each)
            if isinstance(each, SubscriptionFailed):
                self.troubles[each.channel] = each
                if self._is_open and self.watch.is_link_at_fault(each.channel):
                    out.append(Redial(self.epoch, each.channel, each.reason))
        return out

    # --- time ---------------------------------------------------------------------

    def tick(self, *, proven_at: float, now: float) -> list[FeedOutput]:
        """The deadline passed. `proven_at`: when the last complete frame came."""
        out: list[FeedOutput] = []
        if now >= self.subscriptions.deadline:
            out += self._heed(self.subscriptions.tick(now=now))
        if self._is_open and now >= self.watch.deadline:
            for change in self.watch.look(proven_at=proven_at, now=now):
                out += self._changed(change, now)
        return out

    def _changed(self, change: Change, now: float) -> list[FeedOutput]:
        name = change.channel
        if change.redial:
            return [Redial(self.epoch, name, change.because)]
        if change.outcome is Outcome.SUSPICIOUS:
            return [] if change.proven else [Prove(self.epoch)]
        if change.outcome is not Outcome.STALLED:
            return []
        self.troubles[name] = change
        stalled = ChannelStalled(
            at=now,
            epoch=self.epoch,
            channel=name,
            silence=change.silence,
            contract=change.allowed,
        )
        return [stalled, *self._revive(name, now)]

    # --- what is known ------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether every wanted channel has been answered, one way or the other."""
        return self.subscriptions.settled

    def standing(self, channel: str) -> Standing | None:
        return self.subscriptions.standing(channel)

    def is_fresh(self, channel: str, *, max_age: float, now: float) -> bool:
        """Whether data of a channel came on this link within `max_age` seconds."""
        if self.standing(channel) is not Standing.LIVE or channel in self.troubles:
            return False
        return self.watch.silence(channel, now=now) <= max_age

    def bounds(self, *, now: float) -> dict[str | None, float]:
        """Seconds of silence until each channel is told; those nothing is promised of
        are left out. Of very many channels the largest alone, under None."""
        if now < self._bounds_until:
            return self._bounds
        promised: dict[str | None, float] = {
            name: bound
            for name in self.subscriptions.wanted
            if (bound := self.watch.bound(name, now=now)) is not None
        }
        self._bounds_until = now + BOUNDS_KEPT
        if len(promised) > MOST_PROMISED:
            self._bounds = {None: max(promised.values())}
        else:
            self._bounds = promised
        return self._bounds
