"""The order in which clients are looked at, the allowance of pings; both pure."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline import Limits, UsageError
from heartline.server.limits import Allowance
from heartline.server.wheel import GRAIN, Wheel, phase


class Somebody:
    def __init__(self) -> None:
        self.slot = -1


INSTANTS = st.floats(min_value=0.0, max_value=60.0)
EXACT = 1e-9


@given(
    dues=st.lists(INSTANTS, min_size=1, max_size=40),
    step=st.floats(min_value=0.001, max_value=5.0),
    most=st.integers(min_value=1, max_value=7),
)
def test_everybody_is_looked_at_once_when_due_and_hardly_later(
    dues: list[float], step: float, most: int
) -> None:
    wheel: Wheel[Somebody] = Wheel()
    people = {Somebody(): due for due in dues}
    for who, due in people.items():
        wheel.file(who, due)
    now, seen = 0.0, set[Somebody]()
    while wheel.next_at < float("inf"):
        now = max(now + step / 1000, wheel.next_at)
        taken = wheel.take(now=now, most=most)
        assert len(taken) <= most
        for who in taken:
            assert who not in seen
            assert people[who] <= now + EXACT
            seen.add(who)
    assert seen == set(people)


@given(dues=st.lists(INSTANTS, max_size=20), again=INSTANTS)
def test_a_cleared_wheel_gives_everybody_once_and_files_anew(
    dues: list[float], again: float
) -> None:
    wheel: Wheel[Somebody] = Wheel()
    people = [Somebody() for _ in dues]
    for who, due in zip(people, dues, strict=True):
        wheel.file(who, due)
        wheel.hasten(who, due / 2)
    cleared = wheel.clear()
    assert len(cleared) == len(people)
    assert set(cleared) == set(people)
    assert wheel.next_at == float("inf")
    for who in people:
        wheel.hasten(who, again)
    assert set(wheel.take(now=again + GRAIN, most=100)) == set(people)


@given(due=INSTANTS)
def test_nobody_waits_longer_than_a_slot(due: float) -> None:
    wheel: Wheel[Somebody] = Wheel()
    wheel.file(Somebody(), due)
    assert due - EXACT <= wheel.next_at < due + GRAIN + EXACT


@given(moves=st.lists(INSTANTS, min_size=2, max_size=20))
def test_only_the_earliest_filing_counts_and_nobody_comes_twice(
    moves: list[float],
) -> None:
    wheel, who = Wheel[Somebody](), Somebody()
    for due in moves:
        wheel.hasten(who, due)
    first = wheel.next_at
    assert min(moves) - EXACT <= first < min(moves) + 2 * GRAIN
    assert wheel.take(now=first, most=9) == [who]
    assert wheel.take(now=1e9, most=9) == []
    assert wheel.next_at == float("inf")


@pytest.mark.parametrize("first", [1, 1_000_003])
def test_any_crowd_of_newcomers_beats_evenly(first: int) -> None:
    crowd = 500
    phases = sorted(phase(number) for number in range(first, first + crowd))
    assert phases[0] >= 0.0
    assert phases[-1] < 1.0
    assert max(b - a for a, b in pairwise(phases)) < 3 / crowd
    assert min(b - a for a, b in pairwise(phases)) > 0.2 / crowd


@given(
    gaps=st.lists(st.floats(min_value=0.0, max_value=20.0), max_size=200),
    per_minute=st.integers(min_value=1, max_value=60),
)
def test_in_any_minute_no_more_than_twice_the_allowance_is_spent(
    gaps: list[float], per_minute: int
) -> None:
    allowance, now, spent = Allowance(per_minute, now=0.0), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if allowance.spend(now=now):
            spent.append(now)
        in_this_minute = [at for at in spent if at > now - 60.0]
        assert len(in_this_minute) <= 2 * per_minute


def test_an_allowance_that_is_kept_lasts_for_ever() -> None:
    allowance = Allowance(60, now=0.0)
    assert all(allowance.spend(now=float(second)) for second in range(1000))


@pytest.mark.parametrize(
    "field",
    ["connections", "message_bytes", "upgrade", "pings_per_minute", "age", "close"],
)
def test_a_limit_of_nothing_is_refused_by_name(field: str) -> None:
    with pytest.raises(UsageError, match=f"Limits.{field}"):
        Limits(**{field: 0})
