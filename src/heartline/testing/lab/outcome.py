"""What one trial came to, as values: figures that can be added up and written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field


class Account(Struct, frozen=True, kw_only=True):
    """Every message the venue numbered while the stream existed, and what became of it.

    It adds up when `sent` is `delivered` and `reported_lost`, to the message.
    """

    sent: int = 0
    delivered: int = 0
    reported_lost: int = 0
    """Not delivered, and missing exactly where the stream delivered a Gap."""
    unreported_lost: int = 0
    """Not delivered, and no Gap where they are missing."""
    duplicates: int = 0
    disordered: int = 0
    misstated: int = 0
    """Gaps whose own count is not what is missing at their place."""

    @property
    def adds_up(self) -> bool:
        whole = self.sent == self.delivered + self.reported_lost
        wrong = self.unreported_lost + self.duplicates + self.disordered
        return whole and wrong + self.misstated == 0


class Outcome(Struct, frozen=True, kw_only=True):
    """One row, once. Seconds end in `_s`; None is what does not apply."""

    row: str
    repeat: int
    told: str | None = None
    """The cause told; None for nothing."""
    where: str | None = None
    status: int | None = None
    evidence: str = ""
    told_after_s: float | None = None
    bound_s: float | None = None
    """The bound that was published just before the fault."""
    since: str = "the fault"
    own_stall_s: float = 0.0
    """Of that time the client's own loop stood still so long, by its own measure."""
    all_told_after_s: list[float] = field(default_factory=list[float])
    """Of many streams at once: one figure for each that was told."""
    false_alarms: list[str] = field(default_factory=list[str])
    doubts: int = 0
    """Times that the verdict was SUSPECT before anything was done."""
    stalls: int = 0
    account: Account = Account()
    recovered_after_s: float | None = None
    recovered_since: str = ""
    attempts: int = 0
    pings: int = 0
    conditions: list[str] = field(default_factory=list[str])
    figures: dict[str, float] = field(default_factory=dict[str, float])
    """What is particular to this row; each name ends in its unit."""
    broken: list[str] = field(default_factory=list[str])
    """Every promise that was not kept, in words."""
    failed: str = ""
    """Why the trial itself came to no end: of the lab, not of the stream."""
    took_s: float = 0.0


def add(accounts: Iterable[Account]) -> Account:
    """The sums of several streams."""
    totals: Counter[str] = Counter()
    for account in accounts:
        for name in Account.__struct_fields__:
            totals[name] += getattr(account, name)
    return Account(**totals)


def settle(items: Sequence[Sequence[Any]], sent: int) -> Account:
    """Add up what one stream delivered against the numbers 1 to `sent`.

    `items` is as `client.runs` makes it: runs of numbers, and gaps at their places.
    """
    delivered = reported = unreported = misstated = disordered = 0
    seen: set[int] = set()
    gaps: list[int | None] = []
    last = 0
    whole: list[Sequence[Any]] = [*items]
    whole.append(("run", sent + 1, sent))
    for item in whole:
        if item[0] == "gap":
            gaps.append(item[1].get("missing"))
            continue
        first: int = item[1]
        until: int = item[2]
        missing = max(first - last - 1, 0)
        if gaps:
            counted = sum(gap for gap in gaps if gap is not None)
            exact = counted == missing or (counted < missing and None in gaps)
            misstated += not exact
            reported += missing
        else:
            unreported += missing
        if first <= last:
            disordered += 1
        numbers = range(first, until + 1)
        seen.update(numbers)
        delivered += len(numbers)
        last = max(last, until)
        gaps = []
    return Account(
        sent=sent,
        delivered=delivered,
        reported_lost=reported,
        unreported_lost=unreported,
        duplicates=delivered - len(seen),
        disordered=disordered,
        misstated=misstated,
    )
