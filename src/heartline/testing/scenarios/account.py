"""What was delivered, against what the venue numbered: the account of loss.

The venue's numbers are without holes, so every hole in what was delivered is a loss,
and every loss must lie where the stream put a Gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from heartline.core.items import Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sums of one stream, from its first delivered message to its last."""

    delivered: int = 0
    lost: int = 0
    reported_lost: int = 0
    duplicates: int = 0
    disordered: int = 0
    misstated: tuple[str, ...] = ()
    """Gaps whose count of missing messages is not what is missing at their place."""

    @property
    def adds_up(self) -> bool:
        return (
            self.lost == self.reported_lost
            and not self.duplicates
            and not self.disordered
            and not self.misstated
        )


def settle(numbers: Sequence[int], gaps: Iterable[tuple[int, Gap]]) -> Account:
    """Add up `numbers` in the order they were delivered.

    Each gap comes with how many numbers were delivered before it. A gap before the
    first or after the last number has nothing to be checked against.
    """
    if not numbers:
        return Account()
    at_place: dict[int, list[Gap]] = {}
    for place, gap in gaps:
        at_place.setdefault(place, []).append(gap)
    disordered = reported = 0
    misstated: list[str] = []
    for place, (before, after) in enumerate(pairwise(numbers), 1):
        if after < before:
            disordered += 1
        missing = max(after - before - 1, 0)
        told = at_place.get(place)
        if told is None:
            continue
        share, wrong = _reported(missing, told)
        reported += share
        misstated += wrong
    different = len(set(numbers))
    return Account(
        delivered=len(numbers),
        lost=max(numbers) - min(numbers) + 1 - different,
        reported_lost=reported,
        duplicates=len(numbers) - different,
        disordered=disordered,
        misstated=tuple(misstated),
    )


def _reported(missing: int, gaps: list[Gap]) -> tuple[int, list[str]]:
    """How many of the missing the gaps at one place own up to, and false counts."""
    counted = sum(gap.missing for gap in gaps if gap.missing is not None)
    open_ended = any(gap.missing is None for gap in gaps)
    if counted > missing or (counted < missing and not open_ended):
        return min(counted, missing), [
            f"a gap of {counted} where {missing} are missing"
        ]
    return missing, []
