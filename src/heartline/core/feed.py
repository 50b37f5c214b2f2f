"""All channels of one stream: asked for, fresh, numbered and accounted for.

It joins the pure pieces and decides what one means for another: a jump in the numbers
makes its channel be asked for anew, a stalled channel is revived before its link is
given up. The driver calls `take` for each message; nearly always that is all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from math import inf
from typing import Literal

from msgspec.structs import replace

from .budget import Budget
from .channel_bounds import ChannelBounds
from .channel_events import (
    ChannelOutput,
    GapClosed,
    Prove,
    Redial,
    SubscriptionFailed,
)
from .events import ChannelRevived, ChannelStalled, GapFound
from .feed_terms import FeedTerms as FeedTerms
from .feed_terms import Numbered as Numbered
from .fetches import Hosts
from .figures import Take, Taking
from .freshness import ChannelWatch
from .gaps import Entry, Ledger
from .items import Gap, Message
from .lines import Line as Line
from .lines import Lines
from .mending import Mending
from .misread import Misread
from .restore import Numbers
from .restoring import ChannelTrouble, Restoring, Unrestored
from .restoring import FeedOutput as FeedOutput
from .rules import tracker_of
from .sequence import Anomaly, Missing, Reset, Unreadable
from .subscribing import Standing
from .subscriptions import Subscriptions
from .tracker import Tracker
from .watched import Change, Outcome

REVIVAL = 5.0
"""Seconds that a channel has for its first data after it was asked for anew."""


class Feed:
    """The channels of one stream, across its links. `ledger` is the session's, `hosts`
    are the process's, and `draw` yields uniform numbers in [0, 1)."""

    def __init__(
        self,
        terms: FeedTerms,
        *,
        ledger: Ledger,
        now: float,
        hosts: Hosts | None = None,
        draw: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.terms = terms
        self.ledger = ledger
        self.subscriptions = Subscriptions(
            terms.subscribing, budget=Budget(terms.rates)
        )
        self.watch = ChannelWatch(terms.watching, now=now)
        self.troubles: dict[str, ChannelTrouble] = {}
        """Channels that are stalled, not restored or asked for in vain, and why."""
        self.epoch = 0
        self.unknown = 0
        """Messages that the venue's profile does not speak of."""
        self._misread = Misread()
        self._is_open = False
        self.trackers = [
            tracker_of(each.numbering) if each is not None else None
            for each in terms.numbered
        ]
        rules = zip(self.trackers, terms.numbered, strict=True)
        self._lines = Lines(ledger, tuple(rules))
        self.mending = Mending(self, terms.book, draw=draw)
        self.prove = self.mending.prove
        self.restoring = Restoring(
            self, terms.snapshots, hosts=hosts or Hosts(), draw=draw
        )
        self._bounds = ChannelBounds(self.watch)
        self.take: Take = Taking(self._take).take

    @property
    def deadline(self) -> float:
        """When `tick` is wanted; inf if nothing is awaited."""
        due = min(self.subscriptions.deadline, self.restoring.deadline)
        due = min(due, self.mending.deadline)
        return min(due, self.watch.deadline) if self._is_open else due

    # --- what is wanted -----------------------------------------------------------

    def want(self, channels: Iterable[str], *, now: float) -> list[FeedOutput]:
        out: list[FeedOutput] = []
        for channel in channels:
            if self.subscriptions.standing(channel) is None:
                self.watch.watch(channel, self.terms.contract(channel), now=now)
                self.restoring.want(channel, self.terms.restored(channel))
            out += self.subscriptions.want([channel], now=now)
        out += self.restoring.confirmed(now=now)
        self._bounds.renew()
        return out

    def unwant(self, channels: Iterable[str], *, now: float) -> list[FeedOutput]:
        names = list(channels)
        for name in names:
            self.watch.unwatch(name)
            self.restoring.unwant(name)
            self.mending.proofs.drop(name)
            self.troubles.pop(name, None)
            self._lines.drop(name)
        self._bounds.renew()
        return list(self.subscriptions.unwant(names, now=now))

    # --- the links ----------------------------------------------------------------

    def begin(self, epoch: int, *, now: float) -> list[FeedOutput]:
        """A link can be written to: ask for all that is wanted."""
        self.epoch = epoch
        self.troubles.clear()
        for tracker in self.trackers:
            if tracker is not None:
                tracker.begin()
        self._lines.begin()
        self.mending.begin()
        self.restoring.begin(epoch)
        asked = self.subscriptions.open(epoch, now=now)
        return [*asked, *self.restoring.confirmed(now=now)]

    def open(self, *, now: float) -> list[FeedOutput]:
        """The stream is OPEN: silence counts from here."""
        self._is_open = True
        self.watch.open(now=now)
        return [*self.restoring.open(now=now)]

    def lose(self, *, now: float) -> list[FeedOutput]:
        """The link is gone."""
        self._is_open = False
        self.subscriptions.close()
        self.troubles.clear()
        return [*self.restoring.lose(now=now)]

    def excuse(self, *, lag: float = inf, now: float) -> None:
        """The last `lag` seconds of silence were of our own making."""
        self.watch.excuse(lag=lag, now=now)

    def adopt(
        self,
        epoch: int,
        *,
        subscriptions: Subscriptions,
        trackers: list[Tracker | None],
        counted: Iterable[tuple[int | None, Line]],
        now: float,
    ) -> list[FeedOutput]:
        """The link of `epoch` delivers in the place of another, without an outage.

        `counted` are the lines of what is numbered over the whole of it, by rule.
        """
        self.epoch, self.subscriptions = epoch, subscriptions
        self.trackers[:] = trackers
        self._lines.adopt(counted, trackers, standing=self.standing)
        self._bounds.renew()
        # The numbers are the venue's: what waits still follows a snapshot asked before.
        self.restoring.fetches.adopt(epoch)
        return [*self.restoring.confirmed(now=now)]

    # --- the way of a message -----------------------------------------------------

    def line(self, channel: str | None, rule: int | None, *, now: float) -> Line:
        """Where messages of `channel` under the rule of this place are taken."""
        wanted = channel is not None and self.standing(channel) is not None
        line = self._lines.line(channel, rule, wanted=wanted, now=now)
        line.restore = self.restoring.holder(channel)
        line.watched = self.watch.of(channel)
        line.proof = self.mending.proofs.of(channel if wanted else None, rule)
        return line

    def _take(
        self,
        line: Line,
        track: Hashable,
        last: object,
        prev: object,
        first: object,
        anew: bool,
        now: float,
    ) -> list[FeedOutput] | None:
        """What `Taking` leaves to be taken."""
        line.account.received += 1
        out = None
        if last is not None and (tracker := line.tracker) is not None:
            odd = tracker.feed(track, last, prev, first, anew)
            if odd is not None or (anew and line.wounded):
                out = self.look(line, odd, track, last, anew, now)
        elif anew and line.wounded:
            out = self.look(line, None, track, last, anew, now)
        line.at = now
        change = None
        if (watched := line.watched) is not None:
            # `ChannelWatch.feed` once more: this is done for every message.
            silence = now - watched.data_at
            watched.data_at = now
            watched.count += 1
            heard = watched.heard
            watched.all_at = heard.total = heard.total + 1
            if silence > watched.alert:
                change = self.watch.end_silence(watched, silence, now)
        elif line.name is not None:
            change = self.watch.feed(line.name, now)
        if change is None and (line.is_live or line.name is None):
            return out
        return self._came(line, line.name or "", change, out, now)

    def keep(
        self,
        line: Line,
        message: Message,
        numbers: Numbers,
        *,
        counted: bool = False,
        now: float,
    ) -> list[FeedOutput]:
        """Take one message of a line that has a `restore`, in place of `take`.

        `counted`: after `take`, which found that something is missing before it.
        """
        out: list[FeedOutput] = []
        if not counted and (change := self.watch.feed(line.name or "", now)):
            out += self._revived(change, now)
        out += self.restoring.keep(line, message, numbers, counted=counted, now=now)
        return out

    def take_malformed(self, reason: str, *, now: float) -> list[FeedOutput]:
        """Take a message that breaks the venue's own rules, told once a link.

        `reason` is passed on: it must show none of the message's content.
        """
        self._misread.count += 1
        return [*self._misread.tell(reason, epoch=self.epoch, now=now)]

    def _came(
        self,
        line: Line,
        name: str,
        change: Change | None,
        out: list[FeedOutput] | None,
        now: float,
    ) -> list[FeedOutput] | None:
        """The first data of a channel, or the end of its stall."""
        told: list[FeedOutput] = out or []
        if not line.is_live:
            told += self.subscriptions.data(name, now=now)
            # What comes while it is being left belongs to the subscription that ends.
            line.is_live = self.standing(name) in (None, Standing.LIVE)
        if line.proof is None or not line.proof.doubted:
            self.troubles.pop(name, None)
        if change is not None:
            told += self._revived(change, now)
        return told or None

    def _revived(self, change: Change, now: float) -> list[FeedOutput]:
        name, after = change.channel, change.silence
        if not isinstance(self.troubles.get(name), Unrestored):
            self.troubles.pop(name, None)
        return [ChannelRevived(at=now, epoch=self.epoch, channel=name, after=after)]

    def look(
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
            entries += self.ledger.enter(
                line.account, odd, from_at=line.at, now=now, epoch=self.epoch
            )
            self._lines.wound(line)
        if anew and line.name is not None and line.proof is None:
            number = last if isinstance(last, int) else None
            entries += self.ledger.whole(line.name, number, key=track, now=now)
            line.wounded = bool(self.ledger.open_gaps(line.name))
        out = [self.told(entry, line.name, now) for entry in entries]
        if isinstance(odd, Unreadable):
            reason = f"{odd.field}: no number ({odd.got})"
            out += self._misread.tell(reason, epoch=self.epoch, now=now)
        lost = isinstance(odd, Missing) or (isinstance(odd, Reset) and not odd.proven)
        return out + self.mending.lost(line, now=now) if lost else out

    def told(self, entry: Entry, channel: str | None, now: float) -> FeedOutput:
        if isinstance(entry, Gap):
            return GapFound(at=now, epoch=self.epoch, gap=entry)
        # An outage concerns all channels, and is closed for each of them alone.
        gap = replace(entry.gap, channel=channel)
        return GapClosed(at=now, epoch=self.epoch, gap=gap, by=entry.by)

    def revive(self, channel: str, now: float) -> list[FeedOutput]:
        """Ask for one channel anew. Its numbers go on: what is lost meanwhile shows."""
        self._lines.await_data(channel)
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
        said = self.subscriptions.acked(
            self.epoch, request, channels, of=of, complete=complete, now=now
        )
        return [*self._heed(said), *self.restoring.confirmed(now=now)]

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
            out += self.restoring.confirmed(now=now)
        out += [*self.restoring.tick(now=now), *self.mending.tick(now=now)]
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
        refused = self.standing(name) is Standing.FAILED
        if change.outcome is not Outcome.STALLED or refused:
            # That it was refused is known, and why: its silence says nothing more.
            return []
        self.troubles[name] = change
        stalled = ChannelStalled(
            at=now,
            epoch=self.epoch,
            channel=name,
            silence=change.silence,
            contract=change.allowed,
        )
        return [stalled, *self.revive(name, now)]

    # --- what is known ------------------------------------------------------------

    @property
    def malformed(self) -> int:
        """Messages that broke the venue's own rules, their numbers included."""
        trackers = (each for each in self.trackers if each is not None)
        return self._misread.count + sum(each.unread for each in trackers)

    @property
    def settled(self) -> bool:
        """Whether every wanted channel has been answered, one way or the other, and
        its state is known where it is to be fetched."""
        return self.subscriptions.settled and self.restoring.settled

    def standing(self, channel: str) -> Standing | None:
        standing = self.subscriptions.standing(channel)
        if standing is Standing.LIVE and self.restoring.is_pending(channel):
            return Standing.CONFIRMED
        return standing

    def is_fresh(self, channel: str, *, max_age: float, now: float) -> bool:
        """Whether data of a channel came on this link within `max_age` seconds."""
        if self.standing(channel) is not Standing.LIVE or channel in self.troubles:
            return False
        return self.watch.silence(channel, now=now) <= max_age

    def bounds(self, *, now: float) -> dict[str | None, float]:
        """Seconds of silence until each channel is told; see `ChannelBounds`."""
        return self._bounds.of(self.subscriptions.wanted, now=now)
