"""Our own stalls prolong what a channel is allowed by as much as they took, no more."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.core.contracts import Freshness
from heartline.core.excuses import MOST, Excuses
from heartline.core.freshness import ChannelWatch
from heartline.core.watched import Change, Outcome

EVERY = 10.0
STEPS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30)), max_size=MOST // 2)


@given(STEPS, st.integers(0, 500))
@settings(max_examples=200, deadline=None)
def test_the_time_since_is_that_of_the_union(
    steps: list[tuple[int, int]], since: int
) -> None:
    excuses, now = Excuses(), 100
    excused: set[int] = set()
    for later, lag in steps:
        now += later
        excuses.add(lag=float(lag), now=float(now))
        excused |= set(range(now - lag, now))
    expected = sum(second >= since for second in excused)
    assert excuses.since(float(since)) == pytest.approx(expected)


def test_of_very_many_the_oldest_are_one() -> None:
    excuses = Excuses()
    for n in range(3 * MOST):
        excuses.add(lag=0.5, now=float(n))
    assert excuses.since(3.0 * MOST - 10) == pytest.approx(9 * 0.5)
    assert excuses.since(-1.0) <= 3 * MOST


@pytest.mark.parametrize("seed", range(40))
def test_a_muted_channel_is_told_though_our_loop_stalls_again_and_again(
    seed: int,
) -> None:
    dice = random.Random(seed)
    watch = ChannelWatch(now=0.0)
    watch.watch("a", Freshness(every=EVERY, redial=False), now=0.0)
    watch.feed("a", 0.0)
    now = stalled = 0.0
    apart, longest = dice.choice((0.5, 2.0, 5.0)), dice.choice((0.1, 1.0, 4.0))
    told: list[Change] = []
    while not told:
        assert now <= EVERY + stalled + apart + 1.0, "deaf"
        now += dice.uniform(0.0, apart)
        told = watch.look(proven_at=now, now=now) if watch.deadline <= now else []
        if not told and dice.random() < 0.7:
            lag = dice.uniform(0.0, longest)
            now, stalled = now + lag, stalled + lag
            watch.excuse(lag=lag, now=now)
    assert told[0].outcome is Outcome.STALLED
    assert told[0].silence >= EVERY, "heard for so long, beside our stalls"
    assert now - stalled >= EVERY
