"""The channels of one stream whose state is fetched: kept back, joined, told whole."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from .channel_events import ChannelOutput, SnapshotFailed, SubscriptionFailed
from .events import ChannelRevived, ChannelStalled, GapFound
from .fetches import Fetch, Fetches, Hosts, Snapshots
from .gaps import Entry, Ledger
from .items import Gap, Message
from .lines import Line
from .restore import Kept, Numbers, Place, Restore, Restored, Stage
from .sequence import Anomaly
from .subscribing import Standing
from .subscriptions import Subscriptions
from .watched import Change

TOO_OLD = "the snapshot is older than the messages"
UNANSWERED = "no answer came"


class Release(Struct, frozen=True):
    """Hand these to the consumer, in this place."""

    messages: list[Message]


class Unrestored(Struct, frozen=True):
    """A channel's state is not known, since `at`, and why."""

    at: float
    why: str


ChannelTrouble: TypeAlias = Change | SubscriptionFailed | Unrestored

FeedOutput: TypeAlias = (
    ChannelOutput | ChannelStalled | ChannelRevived | GapFound | Fetch | Release
)
"""Commands and events in the order they happened; a gap stands before its message."""


class Owner(Protocol):
    """Who holds the channels."""

    epoch: int
    ledger: Ledger
    subscriptions: Subscriptions
    troubles: dict[str, ChannelTrouble]

    def look(
        self,
        line: Line,
        odd: Anomaly | None,
        track: Hashable,
        last: object,
        anew: bool,
        now: float,
    ) -> list[FeedOutput]:
        """Enter what the numbers showed. A jump asks for the channel's state anew."""
        ...

    def told(self, entry: Entry, channel: str | None, now: float) -> FeedOutput:
        """What is told of an entry in the ledger."""
        ...


class Restoring:
    """All channels of one stream that have a snapshot to be fetched.

    What takes `now` returns what is to be done and told, in that order.
    """

    def __init__(
        self,
        owner: Owner,
        policy: Snapshots,
        *,
        hosts: Hosts,
        draw: Callable[[], float],
    ) -> None:
        self._owner = owner
        self._policy = policy
        self.fetches = Fetches(policy, hosts=hosts, draw=draw)
        self._channels: dict[str, Restore] = {}
        self._awaited: dict[str, None] = {}
        """Those whose subscriptions are to be confirmed."""
        self._is_open = False

    @property
    def deadline(self) -> float:
        return self.fetches.deadline

    @property
    def settled(self) -> bool:
        """Whether the state of every channel is known that is or may be subscribed."""
        standing = self._owner.subscriptions.standing
        return not any(
            one.pending and standing(name) is not Standing.FAILED
            for name, one in self._channels.items()
        )

    def is_pending(self, channel: str) -> bool:
        """Whether a channel's state is to be known and is not."""
        one = self._channels.get(channel)
        return one is not None and one.pending

    def holder(self, channel: str | None) -> Restore | None:
        """Who takes the messages of a channel: None if they pass."""
        one = None if channel is None else self._channels.get(channel)
        return None if one is None or one.stage is Stage.WHOLE else one

    # --- what is wanted -----------------------------------------------------------

    def want(self, channel: str, terms: Restored | None) -> None:
        if terms is not None:
            self._channels[channel] = Restore(channel, terms)
            self._awaited[channel] = None

    def unwant(self, channel: str) -> None:
        if self._channels.pop(channel, None) is not None:
            self.fetches.drop(channel)
            self._awaited.pop(channel, None)

    # --- the links ----------------------------------------------------------------

    def begin(self, epoch: int) -> None:
        """A new link: the state of every channel is to be had anew."""
        self.fetches.begin(epoch)
        self._awaited = dict.fromkeys(self._channels)
        for one in self._channels.values():
            one.start_over(Stage.AWAITED)
            one.line = None

    def open(self, *, now: float) -> list[FeedOutput]:
        """The link is OPEN: what could not be restored until now is told."""
        self._is_open = True
        out: list[FeedOutput] = []
        for one in self._channels.values():
            if one.stage is Stage.HAD:
                out += self._join(one, now)
            if one.pending:
                self._trouble(one, now)
        return out

    def lose(self, *, now: float) -> list[FeedOutput]:
        """The link is gone. What waited is void: nothing joins it any more."""
        self._is_open = False
        out: list[FeedOutput] = []
        for one in self._channels.values():
            if one.kept:
                out.append(self._void(one, "outage", now))
        self.fetches.begin(self._owner.epoch)
        return out

    def confirmed(self, *, now: float) -> list[FeedOutput]:
        """Ask for the snapshots of channels that are subscribed by now.

        One that was taken before might end before the first message.
        """
        standing = self._owner.subscriptions.standing
        ready = [
            name
            for name in self._awaited
            if standing(name) in (Standing.CONFIRMED, Standing.LIVE)
        ]
        for name in ready:
            del self._awaited[name]
            self._ask(self._channels[name], now)
        return self._due(now) if ready else []

    # --- messages -----------------------------------------------------------------

    def jumped(self, line: Line, *, now: float) -> list[FeedOutput]:
        """Something is missing of a channel: its state is to be had anew."""
        one = None if line.name is None else self._channels.get(line.name)
        if one is None or one.pending:
            return []
        one.start_over(Stage.ASKED)
        one.line, line.restore, line.is_live = line, one, False
        self._ask(one, now)
        return self._due(now)

    def keep(
        self,
        line: Line,
        message: Message,
        numbers: Numbers,
        *,
        counted: bool,
        now: float,
    ) -> list[FeedOutput]:
        """Take a message of a channel that is not whole: it waits, joins, or falls.

        `counted`: it is in the ledger, as one that showed a jump is.
        """
        one = line.restore
        assert one is not None
        one.line = line
        out: list[FeedOutput] = []
        one.untold += self._owner.subscriptions.data(one.name, now=now)
        if one.name in self._awaited:
            out += self.confirmed(now=now)
        kept = Kept(message, numbers, counted)
        if numbers.anew or one.stage is Stage.WHOLE:
            # A snapshot on the stream: all that waited lies before it.
            self._cover(one.line, one.kept)
            one.clear()
            self._awaited.pop(one.name, None)
            self.fetches.drop(one.name)
            return out + self._finish(one, now) + self._pass(one, [kept], now)
        if one.stage is Stage.HAD:
            one.keep(kept)
            return out + self._join(one, now)
        if one.stage is Stage.JOINING:
            return out + self._next(one, kept, now)
        one.keep(kept)
        policy = self._policy
        if len(one.kept) > policy.keep or one.size_bytes > policy.keep_bytes:
            out.append(self._void(one, "overflow", now))
        return out

    def _next(self, one: Restore, kept: Kept, now: float) -> list[FeedOutput]:
        """The first message after a snapshot that was passed on."""
        assert one.line is not None
        if one.place(kept.numbers) is Place.COVERED:
            self._cover(one.line, [kept])
            return self._live(one)
        self._restore_numbers(one, [kept])
        return self._finish(one, now) + self._pass(one, [kept], now)

    # --- snapshots ----------------------------------------------------------------

    def fetched(
        self, fetch: Fetch, number: int, snapshot: Message, *, now: float
    ) -> list[FeedOutput]:
        """The snapshot of this `number` came."""
        if not self.fetches.answered(fetch):
            return []
        one = self._channels[fetch.channel]
        one.number, one.snapshot, one.stage = number, snapshot, Stage.HAD
        # Before it is OPEN nobody may know of the outage yet that the snapshot ends.
        out = self._join(one, now) if self._is_open or one.kept else []
        return out + self._due(now)

    def failed(
        self,
        fetch: Fetch,
        reason: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        now: float,
    ) -> list[FeedOutput]:
        """A call brought no snapshot. `reason` is told; it must hold no secret."""
        if not self.fetches.answered(fetch):
            return []
        one = self._channels[fetch.channel]
        out = self._again(one, reason, now, status=status, retry_after=retry_after)
        return out + self._due(now)

    def tick(self, *, now: float) -> list[FeedOutput]:
        """The deadline passed."""
        return self._due(now) if now >= self.fetches.deadline else []

    def _due(self, now: float) -> list[FeedOutput]:
        calls, lost = self.fetches.due(now=now)
        out: list[FeedOutput] = []
        for fetch in lost:
            out += self._again(self._channels[fetch.channel], UNANSWERED, now)
        return [*calls, *out]

    def _ask(self, one: Restore, now: float) -> None:
        one.stage = Stage.ASKED
        self.fetches.want(one.name, one.terms.host, now=now)

    def _again(
        self,
        one: Restore,
        reason: str,
        now: float,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> list[FeedOutput]:
        one.stage, one.snapshot = Stage.ASKED, None
        one.why = f"it has no snapshot: {reason}"
        attempts = self.fetches.again(
            one.name, status=status, retry_after=retry_after, now=now
        )
        self._trouble(one, now)
        epoch = self._owner.epoch
        return [
            SnapshotFailed(
                at=now, epoch=epoch, channel=one.name, reason=reason, attempts=attempts
            )
        ]

    def _join(self, one: Restore, now: float) -> list[FeedOutput]:
        """Pass the snapshot on, and what follows it, unless something lies between."""
        assert one.snapshot is not None
        waited, joint = one.kept, one.join()
        if joint is None:
            return self._again(one, TOO_OLD, now)
        covered, passed = joint
        entries = self._owner.ledger.whole(one.name, one.number, now=now)
        out = [self._owner.told(entry, one.name, now) for entry in entries]
        out.append(Release([one.snapshot]))
        one.snapshot = None
        self.fetches.failures.pop(one.name, None)
        self._calm(one)
        if one.line is None:
            return out
        one.line.wounded = bool(self._owner.ledger.open_gaps(one.name))
        self._cover(one.line, covered)
        out += self._live(one)
        if one.stage is Stage.WHOLE:
            self._restore_numbers(one, waited)
            out += self._finish(one, now)
        return out + self._pass(one, passed, now)

    def _restore_numbers(self, one: Restore, messages: list[Kept]) -> None:
        tracker = one.line.tracker if one.line is not None else None
        if tracker is not None:
            for track in {kept.numbers.track for kept in messages}:
                # Whatever was heard before: what counts is the state that is had.
                tracker.forget(track)
                tracker.restore(track, one.number)

    def _finish(self, one: Restore, now: float) -> list[FeedOutput]:
        """Its messages pass from now on."""
        assert one.line is not None
        one.stage, one.line.restore = Stage.WHOLE, None
        self._calm(one)
        return self._live(one)

    def _trouble(self, one: Restore, now: float) -> None:
        """The stream, if it is OPEN, has to do without this channel."""
        troubles = self._owner.troubles
        if self._is_open:
            since = troubles.get(one.name)
            at = since.at if isinstance(since, Unrestored) else now
            troubles[one.name] = Unrestored(at, one.why)

    def _calm(self, one: Restore) -> None:
        if isinstance(self._owner.troubles.get(one.name), Unrestored):
            del self._owner.troubles[one.name]

    def _live(self, one: Restore) -> list[FeedOutput]:
        assert one.line is not None
        one.line.is_live = True
        told, one.untold = one.untold, []
        return [*told]

    def _cover(self, line: Line, covered: list[Kept]) -> None:
        """Messages that lie within a snapshot bring nothing new."""
        account = line.account
        account.received += sum(not kept.counted for kept in covered)
        account.duplicated += len(covered)

    def _pass(self, one: Restore, kept: list[Kept], now: float) -> list[FeedOutput]:
        """Hand on what waited, in order; after a jump in it, the rest waits again."""
        line = one.line
        assert line is not None
        out: list[FeedOutput] = []
        for at, each in enumerate(kept):
            out += self._count(line, each, now)
            if line.restore is not None and one.stage is not Stage.JOINING:
                each.counted = True
                for again in kept[at:]:
                    one.keep(again)
                break
            out.append(Release([each.message]))
        return out

    def _count(self, line: Line, kept: Kept, now: float) -> list[FeedOutput]:
        line.account.received += not kept.counted
        numbers, odd, out = kept.numbers, None, list[FeedOutput]()
        if numbers.last is not None and line.tracker is not None:
            odd = line.tracker.feed(
                numbers.track, numbers.last, numbers.prev, numbers.first, numbers.anew
            )
        if odd is not None or numbers.anew:
            out = self._owner.look(
                line, odd, numbers.track, numbers.last, numbers.anew, now
            )
        line.at = kept.message.received_at
        return out

    def _void(
        self, one: Restore, reason: Literal["outage", "overflow"], now: float
    ) -> GapFound:
        """What waited is dropped, and told."""
        assert one.line is not None
        kept, numbers = one.kept, [k.numbers for k in one.kept]
        first, last = numbers[0].first, numbers[-1].last
        numbered = type(first) is int and type(last) is int
        gap = Gap(
            reason,
            one.line.at,
            now,
            self._owner.epoch,
            one.name,
            first if numbered and isinstance(first, int) else None,
            last if numbered and isinstance(last, int) else None,
            len(kept),
        )
        one.line.account.received += sum(not each.counted for each in kept)
        one.clear()
        self._owner.ledger.void(gap)
        return GapFound(at=now, epoch=self._owner.epoch, gap=gap)
