"""The detectors that heartline is measured beside keep what is known of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import exp, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality.detectors import (
    Chen,
    Detector,
    ExponentialPhi,
    FixedTimeout,
    PhiAccrual,
    lateness_of,
    normal_phi,
    phi,
)
from quality.environments import DAY, ENVIRONMENTS, Environment, Feed, Weather
from quality.fixed import Candidate, allowed, watch
from quality.heartbeats import heartbeats
from quality.limit import limit, mistakes, two_jitters_exceed

INTERVALS = st.floats(0.1, 30.0)
THRESHOLDS = st.floats(0.05, 50.0)
SEEDS = st.integers(0, 1 << 30)
PROMPT = Environment(name="P", meaning="nothing happens", jitter=1e-6)


def told(
    make: Callable[[], Detector], *, interval: float, seed: int, beats: int = 50
) -> tuple[Detector, float, float]:
    """A detector after some heartbeats; when the last was heard, the next asked for."""
    dice = random.Random(seed)
    detector = make()
    at = 0.0
    for number in range(1, beats + 1):
        at = number * interval + 0.02 + 0.001 * exp(dice.gauss(0.0, 1.0))
        detector.heard(number, asked_at=number * interval, at=at)
    return detector, at, (beats + 1) * interval


KINDS = pytest.mark.parametrize(
    "kind", [FixedTimeout, PhiAccrual, ExponentialPhi, Chen], ids=lambda k: k.__name__
)


@KINDS
@given(interval=INTERVALS, seed=SEEDS, one=THRESHOLDS, more=THRESHOLDS)
def test_a_higher_threshold_is_crossed_later(
    kind: type, interval: float, seed: int, one: float, more: float
) -> None:
    make = (lambda: Chen(interval)) if kind is Chen else kind
    detector, _, asked_at = told(make, interval=interval, seed=seed)
    first = detector.dead_at(one, next_asked_at=asked_at)
    assert first < detector.dead_at(one + more, next_asked_at=asked_at)


@KINDS
@given(interval=INTERVALS, seed=SEEDS, threshold=THRESHOLDS)
def test_suspicion_reaches_the_threshold_when_the_detector_says_so(
    kind: type, interval: float, seed: int, threshold: float
) -> None:
    make = (lambda: Chen(interval)) if kind is Chen else kind
    detector, _, asked_at = told(make, interval=interval, seed=seed)
    at = detector.dead_at(threshold, next_asked_at=asked_at)
    reached = detector.suspicion(next_asked_at=asked_at, at=at)
    assert reached == pytest.approx(threshold, rel=1e-5, abs=1e-5)
    before = detector.suspicion(next_asked_at=asked_at, at=at - 1e-3)
    assert before < reached


@given(
    interval=st.floats(0.5, 20.0),
    timeout=st.floats(0.05, 20.0),
    seed=st.integers(0, 99),
)
def test_a_fixed_timeout_tells_within_an_interval_and_itself(
    interval: float, timeout: float, seed: int
) -> None:
    days = 1500 * interval / DAY
    dice = random.Random(seed)
    weather = Weather(PROMPT, dice=dice, seconds=days * DAY)
    candidate = Candidate("fixed", FixedTimeout, timeout)
    [watched] = watch(
        weather,
        [candidate],
        interval=interval,
        feed=Feed.IDLE,
        dice=dice,
        days=days,
        faults=50,
    )
    times = watched.times(timeout, weather)
    assert len(times) >= 45
    assert timeout - 0.03 <= times[0] <= times[-1] <= interval + timeout


def test_phi_is_nearly_the_normal_tail_and_its_inverse_undoes_it() -> None:
    for tenths in range(0, 60):
        deviations = tenths / 10
        assert phi(deviations) == pytest.approx(
            normal_phi(deviations), rel=0.2, abs=0.02
        )
        assert lateness_of(phi(deviations)) == pytest.approx(deviations, abs=1e-6)
    assert phi(-10.0) < 1e-6
    assert phi(30.0) > 800


@given(interval=INTERVALS, delay=st.floats(0.0, 5.0), margin=THRESHOLDS)
def test_chen_expects_a_regular_heartbeat_when_it_comes(
    interval: float, delay: float, margin: float
) -> None:
    detector = Chen(interval)
    for number in range(1, 1500):
        detector.heard(number, asked_at=number * interval, at=number * interval + delay)
    next_at = 1500 * interval + delay
    dead_at = detector.dead_at(margin, next_asked_at=inf)
    assert dead_at == pytest.approx(next_at + margin, abs=1e-6)


@given(interval=INTERVALS, pause=st.floats(0.0, 10.0))
def test_a_pause_puts_phi_off_by_itself(interval: float, pause: float) -> None:
    plain, _, asked_at = told(PhiAccrual, interval=interval, seed=1)
    patient, _, _ = told(lambda: PhiAccrual(pause=pause), interval=interval, seed=1)
    later = patient.dead_at(8.0, next_asked_at=asked_at) - pause
    assert later == pytest.approx(plain.dead_at(8.0, next_asked_at=asked_at), abs=1e-9)


@settings(max_examples=4)
@given(seed=st.integers(0, 20))
def test_a_tuned_threshold_errs_as_often_as_it_may_and_a_lower_one_more(
    seed: int,
) -> None:
    days, environment = 1.0, ENVIRONMENTS["LS"]

    def count(threshold: float) -> int:
        dice = random.Random(seed)
        weather = Weather(environment, dice=dice, seconds=days * DAY)
        [again] = watch(
            weather,
            [Candidate("fixed", FixedTimeout, threshold)],
            interval=10.0,
            feed=Feed.IDLE,
            dice=dice,
            days=days,
            faults=5,
        )
        return again.mistakes

    dice = random.Random(seed)
    weather = Weather(environment, dice=dice, seconds=days * DAY)
    [tuned] = watch(
        weather,
        [Candidate("fixed", FixedTimeout)],
        interval=10.0,
        feed=Feed.IDLE,
        dice=dice,
        days=days,
        faults=5,
    )
    for wanted in (0, 1):
        threshold = tuned.threshold(wanted)
        assert count(threshold) <= wanted < count(threshold - 1e-9)


def test_one_mistake_a_month_is_allowed() -> None:
    assert [allowed(days) for days in (1.0, 29.9, 30.0, 60.0, 120.0)] == [0, 0, 1, 2, 4]


# --- the limit --------------------------------------------------------------------


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_limit_errs_once_in_thirty_days(name: str) -> None:
    environment = ENVIRONMENTS[name]
    for spacing in (0.03, 1.0, 10.0):
        middle, wait = limit(environment, spacing)
        assert mistakes(environment, spacing, wait) <= 1.0
        assert mistakes(environment, spacing, wait - 0.01) > 1.0
        assert middle == pytest.approx(spacing / 2 + wait - environment.round_trip)


def test_loss_stalls_and_blackouts_never_make_the_limit_better() -> None:
    middles = [limit(ENVIRONMENTS[name], 1.0)[0] for name in ("J", "L", "LS", "B")]
    assert middles == sorted(middles)
    assert middles[-1] > middles[0] + 0.5


def test_the_tail_of_two_jitters_is_what_is_drawn() -> None:
    dice = random.Random(4)
    drawn = [
        0.001 * (exp(dice.gauss(0.0, 1.0)) + exp(dice.gauss(0.0, 1.0)))
        for _ in range(100_000)
    ]
    for seconds in (0.001, 0.003, 0.010, 0.020):
        share = sum(each > seconds for each in drawn) / len(drawn)
        expected = two_jitters_exceed(seconds, 0.001)
        assert share == pytest.approx(expected, abs=0.004, rel=0.1)


# --- the network beneath ----------------------------------------------------------


def test_round_trips_are_those_measured_on_a_real_stack() -> None:
    """6,632 pings, 20 ms, log-normal 1 ms, 1 % loss each way: p50 to p97, slow ones."""
    dice = random.Random(2)
    weather = Weather(ENVIRONMENTS["L"], dice=dice, seconds=0.0)
    beats = heartbeats(
        weather, interval=10.0, feed=Feed.IDLE, dice=dice, seconds=300_000.0
    )
    took = sorted(beat.heard_at - beat.asked_at for beat in beats)
    for share, measured in ((0.50, 0.0225), (0.90, 0.0271), (0.95, 0.0304)):
        assert took[int(share * len(took))] == pytest.approx(measured, rel=0.08)
    slow = sum(each > 0.2 for each in took) / len(took)
    assert 0.016 <= slow <= 0.024
    once = [each for each in took if 0.2 < each < 0.4]
    assert sorted(once)[len(once) // 2] == pytest.approx(0.254, rel=0.08)
