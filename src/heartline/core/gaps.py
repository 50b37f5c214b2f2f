"""What was lost -> the ledger of loss: totals that add up at any time. It repairs
nothing; it says what is proven."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, TypeAlias

from msgspec import Struct

from .figures import Tally
from .holes import Holes
from .items import Gap
from .sequence import Anomaly, Disorder, Duplicate, Missing, Reset, Unreadable

MOST_OPEN = 64
"""Open gaps remembered of one channel; beyond it the two oldest count as one."""
MOST_OUTAGES = 64
"""Outages remembered that some channel may not have been made whole after."""

Proof: TypeAlias = Literal["late", "replay", "snapshot"]


class Closed(Struct, frozen=True):
    """A gap is closed. `by`: what was missing came late, was fetched, or lies within a
    snapshot that was taken after it."""

    gap: Gap
    by: Proof
    at: float


Entry: TypeAlias = Gap | Closed


class _Open:
    """A gap that nothing has closed yet; `left` is what is missing of its numbers."""

    __slots__ = ("covered", "gap", "key", "left")

    def __init__(self, gap: Gap, key: Hashable) -> None:
        self.gap = gap
        self.key = key
        self.covered = False
        """A snapshot lies in it: some of its messages may never have come."""
        self.left = Holes()
        if gap.first is not None and gap.last is not None:
            self.left.open(gap.first - 1, gap.last)

    @property
    def filled(self) -> bool:
        """Whether every number came after all; never true of one without numbers."""
        return self.gap.first is not None and not len(self.left)

    def cover(self, number: int | None, *, now: float) -> bool:
        """Take note of a snapshot of `number`; whether nothing is left open by it."""
        if self.gap.last is None:
            return now >= self.gap.until_at
        if number is None:
            return False
        self.covered = self.left.fill(-2, number) > 0 or self.covered
        return self.filled


class Account(Tally):
    """The totals of one channel, in messages. At any time

        sent + duplicated + unplaced == received + missing + recovered

    where `sent` is the venue's own count from the first message received to the
    latest. What was received is delivered, dropped or waiting: the inbox says which.
    Add to `received` for each message that comes.
    """

    __slots__ = (
        "_open",
        "channel",
        "disordered",
        "duplicated",
        "gaps",
        "missing",
        "recovered",
        "unknown",
        "unplaced",
        "whole_at",
    )

    def __init__(self, channel: str | None) -> None:
        self.channel = channel
        self.received = 0
        self.duplicated = 0
        """Messages that brought nothing new."""
        self.disordered = 0
        """Messages that came late."""
        self.unplaced = 0
        """Late messages of which it is not known whether they had been missing."""
        self.missing = 0
        """Messages that never came, as far as they can be counted."""
        self.recovered = 0
        """Messages that never came on the stream but were fetched."""
        self.unknown = 0
        """Gaps that do not say how many messages are missing."""
        self.gaps = 0
        self.whole_at: float | None = None
        """When the channel was last proven whole, by a snapshot."""
        self._open: list[_Open] = []

    @property
    def sent(self) -> int | None:
        """Messages the venue sent; None if a gap of unknown size lies among them."""
        if self.unknown:
            return None
        came = self.received - self.duplicated - self.unplaced
        return came + self.missing + self.recovered

    @property
    def open(self) -> list[Gap]:
        """The gaps of its numbers that nothing has closed yet, oldest first."""
        return [one.gap for one in self._open]

    def note(
        self, anomaly: Anomaly, *, from_at: float, now: float, epoch: int
    ) -> list[Entry]:
        """Enter what the numbers showed; the gap to be told, and gaps it closes.

        `from_at`: when the message before was received.
        """
        match anomaly:
            case Missing(key, first, last, count):
                gap = Gap(
                    "sequence", from_at, now, epoch, self.channel, first, last, count
                )
                return self._add(gap, key)
            case Reset(key, proven=False):
                gap = Gap("sequence", from_at, now, epoch, self.channel)
                return self._add(gap, key)
            case Duplicate():
                self.duplicated += 1
            case Disorder(key, first, last, _, ahead):
                filled, closed = self._fill(key, first, last, "late", now)
                self.disordered += 1
                self.unplaced += not filled and not ahead
                return closed
            case Reset() | Unreadable():
                pass
        return []

    def replayed(
        self, key: Hashable, first: int, last: int, *, now: float
    ) -> list[Entry]:
        """Messages `first` to `last` were fetched; the gaps that are closed by it."""
        return self._fill(key, first, last, "replay", now)[1]

    def whole(
        self, number: int | None = None, *, key: Hashable = None, now: float
    ) -> list[Entry]:
        """A snapshot came: all up to `number` is known; the gaps it closes.

        Without a number it closes only gaps that have none. `key` limits it to one
        numbering of the channel. What is missing stays missing; it matters no more.
        """
        self.whole_at = now
        closed: list[Entry] = []
        left: list[_Open] = []
        for one in self._open:
            mine = key is None or one.key == key
            if mine and one.cover(number, now=now):
                closed.append(Closed(one.gap, "snapshot", now))
            else:
                left.append(one)
        self._open = left
        return closed

    def void(self, gap: Gap) -> None:
        """Open a gap of messages that were received: see `Ledger.void`."""
        # Under no key: what comes late fills what is missing, and these are not.
        self._enter(gap, None)

    def doubt(self, gap: Gap) -> None:
        """Open a gap that no number showed: see `Ledger.doubt`."""
        self._add(gap, None)

    def _add(self, gap: Gap, key: Hashable) -> list[Entry]:
        self.missing += gap.missing or 0
        self.unknown += gap.missing is None
        self._enter(gap, key)
        return [gap]

    def _enter(self, gap: Gap, key: Hashable) -> None:
        self.gaps += 1
        self._open.append(_Open(gap, key))
        if len(self._open) > MOST_OPEN:
            self._merge_oldest()

    def _merge_oldest(self) -> None:
        """One gap in the place of two: from the first's begin to the other's end."""
        first, second = self._open[:2]
        one, other = first.gap, second.gap
        counts = (one.missing, other.missing)
        missing = None if None in counts else sum(n for n in counts if n is not None)
        # Without numbers: only a snapshot taken after it closes it.
        gap = Gap(
            one.reason, one.from_at, other.until_at, one.epoch, self.channel,
            missing=missing,
        )  # fmt: skip
        key = first.key if first.key == second.key else None
        self._open[:2] = [_Open(gap, key)]

    def _fill(
        self, key: Hashable, first: int, last: int, by: Proof, now: float
    ) -> tuple[int, list[Entry]]:
        """How many numbers of open gaps came, and which of these are closed by it."""
        closed: list[Entry] = []
        total = 0
        for one in self._open:
            if one.key != key:
                continue
            filled = one.left.fill(first - 1, last)
            total += filled
            if one.gap.missing is not None:
                self.missing -= filled
                self.recovered += filled if by == "replay" else 0
            elif filled and one.filled and by == "late" and not one.covered:
                # All of its messages came, however many they were.
                self.unknown -= 1
            if filled and one.filled:
                closed.append(Closed(one.gap, by, now))
        self._open = [one for one in self._open if not one.filled]
        return total, closed


class Ledger:
    """What may be missing from one stream, and how much of it is known.

    An outage's gap is open from the last sign of life of the old link until the new
    one is OPEN; only then is its interval known and told. It stays open for each
    channel until that channel is proven whole.
    """

    __slots__ = (
        "_accounts",
        "_links",
        "_outage_epoch",
        "_outage_from_at",
        "_outages",
        "gaps",
        "missing",
    )

    def __init__(self) -> None:
        self._outage_from_at: float | None = None
        self._outage_epoch = 0
        self._outages: list[Gap] = []
        self._accounts: dict[str, Account] = {}
        self._links: dict[int, Account] = {}
        self.gaps = 0
        self.missing = 0
        """Messages known to be missing; those of an outage are not countable here."""

    def lose_link(self, epoch: int, *, heard_at: float) -> None:
        """A link that had been OPEN is gone; it was last heard at `heard_at`."""
        if self._outage_from_at is None:
            self._outage_from_at, self._outage_epoch = heard_at, epoch

    def regain_link(self, *, now: float) -> Gap | None:
        """The stream is OPEN again, or will never be: the gap, with both its ends."""
        if self._outage_from_at is None:
            return None
        gap = Gap("outage", self._outage_from_at, now, self._outage_epoch)
        self._outage_from_at = None
        self.gaps += 1
        self._remember(gap)
        return gap

    def _remember(self, gap: Gap) -> None:
        """Keep a gap of all channels until each of them is whole."""
        self._outages.append(gap)
        if len(self._outages) > MOST_OUTAGES:
            one, other = self._outages[:2]
            merged = Gap(one.reason, one.from_at, other.until_at, one.epoch)
            self._outages[:2] = [merged]

    def overflow(self, missing: int, *, gaps: int) -> None:
        self.missing += missing
        self.gaps += gaps

    def doubt(self, gap: Gap) -> None:
        """A channel's state is not what the venue has: how much is missing is unknown,
        and the gap is open until the channel is whole."""
        self.gaps += 1
        self.account(gap.channel).doubt(gap)

    def void(self, gap: Gap) -> None:
        """Messages of a channel came, and were dropped before anybody could use them.

        They count as received; the gap is open until the channel is whole.
        """
        self.gaps += 1
        self.account(gap.channel).void(gap)

    # --- channels ----------------------------------------------------------------

    def account(self, channel: str | None, *, rule: int = 0) -> Account:
        """The account of a channel that was asked for; None: all of a link, as the
        rule of this place counts it: another may count other messages."""
        if channel is None:
            return self._links.setdefault(rule, Account(None))
        account = self._accounts.get(channel)
        if account is None:
            account = self._accounts[channel] = Account(channel)
        return account

    def close_account(self, channel: str) -> Account | None:
        """The channel is wanted no more; its last totals."""
        return self._accounts.pop(channel, None)

    @property
    def accounts(self) -> list[Account]:
        return [*self._accounts.values(), *self._links.values()]

    def note(
        self,
        channel: str | None,
        anomaly: Anomaly,
        *,
        from_at: float,
        now: float,
        epoch: int,
    ) -> list[Entry]:
        """Enter what a channel's numbers showed: see `Account.note`."""
        account = self.account(channel)
        return self.enter(account, anomaly, from_at=from_at, now=now, epoch=epoch)

    def enter(
        self,
        account: Account,
        anomaly: Anomaly,
        *,
        from_at: float,
        now: float,
        epoch: int,
    ) -> list[Entry]:
        """The same, in an account of this ledger."""
        missing, gaps = account.missing, account.gaps
        entries = account.note(anomaly, from_at=from_at, now=now, epoch=epoch)
        self.missing += account.missing - missing
        self.gaps += account.gaps - gaps
        if account.channel is None:
            self._of_link(entries)
        return entries

    def _of_link(self, entries: list[Entry]) -> None:
        """What is missing of a link may be of any channel, as after an outage."""
        for entry in entries:
            if isinstance(entry, Gap):
                self._remember(entry)
            else:
                self._outages = [gap for gap in self._outages if gap is not entry.gap]

    def replayed(
        self, channel: str | None, key: Hashable, first: int, last: int, *, now: float
    ) -> list[Entry]:
        """Messages of a channel were fetched: see `Account.replayed`."""
        account = self.account(channel)
        missing = account.missing
        entries = account.replayed(key, first, last, now=now)
        self.missing += account.missing - missing
        return entries

    def whole(
        self,
        channel: str,
        number: int | None = None,
        *,
        key: Hashable = None,
        now: float,
    ) -> list[Entry]:
        """A channel's snapshot came: see `Account.whole`. Outages end with it too."""
        account = self.account(channel)
        closed: list[Entry] = [
            Closed(gap, "snapshot", now) for gap in self.outages_of(channel)
        ]
        return closed + account.whole(number, key=key, now=now)

    def outages_of(self, channel: str) -> list[Gap]:
        """Outages after which nothing has shown yet that the channel is whole."""
        account = self._accounts.get(channel)
        whole_at = None if account is None else account.whole_at
        return [
            gap for gap in self._outages if whole_at is None or whole_at < gap.until_at
        ]

    def open_gaps(self, channel: str) -> list[Gap]:
        """All gaps of a channel that nothing has closed."""
        account = self._accounts.get(channel)
        return self.outages_of(channel) + ([] if account is None else account.open)
