"""Many outcomes -> figures: how soon, how right, how many lost, what was broken.

Pure: values in, values out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from msgspec import Struct, field
from msgspec.structs import replace

from .outcome import Account, Outcome, add
from .rows import NOTHING, Row

RIGHT_SHARE = 0.99
"""Of the faults whose evidence exists, so many at least are rightly named."""


class Spread(Struct, frozen=True):
    """Of some durations: how many, and their middle, tail and end. Seconds."""

    count: int = 0
    median_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class Line(Struct, frozen=True, kw_only=True):
    """What all trials of one row came to."""

    row: str
    title: str
    truth: str
    right: list[str]
    unseen: str = ""
    repeats: int = 0
    failed: int = 0
    """Trials that came to no end of their own; the lab's fault, and they are broken."""
    told: dict[str, int] = field(default_factory=dict[str, int])
    where: dict[str, int] = field(default_factory=dict[str, int])
    """Which part of a dead path was named."""
    rightly_told: int = 0
    after: Spread = Spread()
    bound_s: float | None = None
    """The least bound that was published in any trial."""
    since: str = ""
    margin_s: float | None = None
    """The least that was left of the bound in any trial, stalls of ours added to it."""
    own_stalls: int = 0
    false_alarms: int = 0
    doubts: int = 0
    account: Account = Account()
    recovery: Spread = Spread()
    attempts: Spread = Spread()
    broken: list[str] = field(default_factory=list[str])
    """Every promise that was not kept, with the number of the trial."""


def spread(values: Iterable[float | None]) -> Spread:
    """The p99 is the smallest value that 99 of 100 do not exceed."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return Spread()
    at = max(0, -(-99 * len(known) // 100) - 1)
    return Spread(
        len(known), round(median(known), 4), round(known[at], 4), round(known[-1], 4)
    )


def judge(row: Row, outcome: Outcome) -> list[str]:
    """Every promise that this trial broke, in words."""
    if outcome.failed:
        return [f"the trial failed: {outcome.failed}"]
    broken = list(outcome.broken)
    broken += [f"false alarm: {alarm}" for alarm in outcome.false_alarms]
    told = outcome.told or NOTHING
    if told not in row.accepted:
        broken.append(f"told {told}, wanted {' or '.join(row.accepted)}")
    if row.status is not None and outcome.status != row.status:
        broken.append(f"told {outcome.status}, wanted {row.status}")
    if set(outcome.conditions) - set(row.allowed) != set(row.conditions):
        broken.append(
            f"conditions told: {outcome.conditions}, wanted {list(row.conditions)}"
        )
    return broken


def judged(row: Row, outcome: Outcome) -> Outcome:
    """The same with every broken promise in it."""
    return replace(outcome, broken=judge(row, outcome))


def line(row: Row, outcomes: Sequence[Outcome]) -> Line:
    """Add up the trials of one row."""
    ended = [outcome for outcome in outcomes if not outcome.failed]
    told = Counter(outcome.told or NOTHING for outcome in ended)
    bounds = [outcome.bound_s for outcome in ended if outcome.bound_s is not None]
    margins = [
        outcome.bound_s + outcome.own_stall_s - outcome.told_after_s
        for outcome in ended
        if outcome.bound_s is not None and outcome.told_after_s is not None
    ]
    return Line(
        row=row.name,
        title=row.title,
        truth=row.truth,
        right=list(row.accepted),
        unseen=row.unseen,
        repeats=len(outcomes),
        failed=len(outcomes) - len(ended),
        told=dict(told),
        where=dict(Counter(outcome.where for outcome in ended if outcome.where)),
        rightly_told=sum(told[cause] for cause in row.accepted),
        after=spread(after for outcome in ended for after in _afters(outcome)),
        bound_s=round(min(bounds), 4) if bounds else None,
        since=next((outcome.since for outcome in ended if outcome.told), ""),
        margin_s=round(min(margins), 4) if margins else None,
        own_stalls=sum(outcome.own_stall_s > 0 for outcome in ended),
        false_alarms=sum(len(outcome.false_alarms) for outcome in ended),
        doubts=sum(outcome.doubts for outcome in ended),
        account=add(outcome.account for outcome in ended),
        recovery=spread(outcome.recovered_after_s for outcome in ended),
        attempts=spread(float(outcome.attempts) for outcome in ended),
        broken=[
            f"{outcome.repeat + 1}: {words}"
            for outcome in outcomes
            for words in judge(row, outcome)
        ],
    )


def _afters(outcome: Outcome) -> Sequence[float | None]:
    return outcome.all_told_after_s or [outcome.told_after_s]


def confusion(lines: Iterable[Line]) -> dict[str, dict[str, int]]:
    """What was injected -> what was told -> how often; rows without evidence too."""
    matrix: dict[str, Counter[str]] = {}
    for one in lines:
        truth = f"{one.truth} (unseen)" if one.unseen else one.truth
        matrix.setdefault(truth, Counter()).update(one.told)
    return {truth: dict(told) for truth, told in matrix.items()}


def right_share(lines: Iterable[Line]) -> float | None:
    """Of the injected faults whose evidence exists, the share told by a right name."""
    seen = [one for one in lines if not one.unseen and one.truth != NOTHING]
    trials = sum(one.repeats for one in seen)
    return sum(one.rightly_told for one in seen) / trials if trials else None


def broken(lines: Sequence[Line]) -> list[str]:
    """Every broken promise of all rows; empty is what a proof must come to."""
    found = [f"{one.row} {words}" for one in lines for words in one.broken]
    share = right_share(lines)
    if share is not None and share < RIGHT_SHARE:
        found.append(f"only {share:.1%} of the faults were told by their right name")
    return found
