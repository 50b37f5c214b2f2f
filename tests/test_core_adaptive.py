"""What a link learns of itself: round trips, healed silences, rhythm of its data."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from math import ceil, exp, sqrt
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heartline.core import adaptive
from heartline.core.adaptive import (
    HEALED_HALF_LIFE,
    LEAST_GAP,
    PROBE_TIMEOUT_CAP,
    ROUND_TRIP_FLOOR,
    Arrivals,
    Disorder,
    HealedSilence,
    RoundTripEstimate,
    probe_timeout,
)
from heartline.core.items import RoundTrips
from heartline.testing import market_traffic

round_trips = st.lists(st.floats(1e-6, 30.0), min_size=1, max_size=300)

# --- round trips --------------------------------------------------------------------


def check_estimate(samples: list[float]) -> None:
    """Against RFC 6298 section 2, written out."""
    estimate = RoundTripEstimate()
    srtt = rttvar = 0.0
    for nth, sample in enumerate(samples):
        estimate.add(sample)
        if nth == 0:
            srtt, rttvar = sample, sample / 2
        else:
            rttvar = 0.75 * rttvar + 0.25 * abs(srtt - sample)
            srtt = 0.875 * srtt + 0.125 * sample
    assert estimate.smoothed == pytest.approx(srtt, rel=1e-9)
    assert estimate.deviation == pytest.approx(rttvar, rel=1e-6, abs=1e-9)
    assert estimate.least == min(samples)


def check_summary(samples: list[float]) -> None:
    """Nearest rank over the last 128: at least that share is no longer than it."""
    estimate = RoundTripEstimate()
    for sample in samples:
        estimate.add(sample)
    recent = samples[-128:]
    told = estimate.summary()
    assert told.last == samples[-1]
    assert told.samples == len(recent)
    for share, value in ((0.5, told.median), (0.99, told.p99)):
        assert value in recent
        assert value is not None
        assert sum(sample <= value for sample in recent) >= share * len(recent)
        assert sum(sample < value for sample in recent) <= ceil(share * len(recent))


def check_timeout(samples: list[float]) -> None:
    """Never below the least round trip and a tick, never above the cap."""
    estimate = RoundTripEstimate()
    assert estimate.timeout == PROBE_TIMEOUT_CAP
    for sample in samples:
        estimate.add(sample)
        cap = max(3 * estimate.least, PROBE_TIMEOUT_CAP)
        assert estimate.least + ROUND_TRIP_FLOOR <= estimate.timeout <= cap


@given(samples=round_trips)
def test_round_trips_are_smoothed_as_the_rfc_says(samples: list[float]) -> None:
    check_estimate(samples)


@given(samples=round_trips)
@example(samples=[float(n) for n in range(1, 129)])
def test_percentiles_are_those_of_the_latest_samples(samples: list[float]) -> None:
    check_summary(samples)


@given(samples=round_trips)
def test_a_probe_timeout_lies_between_floor_and_cap(samples: list[float]) -> None:
    check_timeout(samples)


def test_nothing_measured_is_nothing_told() -> None:
    assert RoundTripEstimate().summary() == RoundTrips()


def test_known_percentiles() -> None:
    estimate = RoundTripEstimate()
    for n in range(1, 101):
        estimate.add(n / 1000)
    told = estimate.summary()
    assert (told.median, told.p99, told.samples) == (0.051, 0.099, 100)


@given(
    round_trip=st.floats(0.0, 10.0),
    deviation=st.floats(0.0, 10.0),
    least=st.floats(0.0, 10.0),
)
def test_a_steady_round_trip_waits_for_the_clock_ticks_only(
    round_trip: float, deviation: float, least: float
) -> None:
    timeout = probe_timeout(round_trip, deviation, least)
    assert timeout <= max(3 * least, PROBE_TIMEOUT_CAP)
    if 4 * deviation <= ROUND_TRIP_FLOOR and round_trip <= 0.2:
        assert timeout == round_trip + ROUND_TRIP_FLOOR


# --- healed silences ----------------------------------------------------------------

healings = st.lists(
    st.tuples(st.floats(0.0, 20_000.0), st.floats(0.0, 30.0)), max_size=30
)


def check_half_life(healings: list[tuple[float, float]]) -> None:
    """The longest, where each counts half after each half-life that has passed."""
    healed = HealedSilence()
    known: list[tuple[float, float]] = []
    now = 0.0
    for wait, length in healings:
        now += wait
        healed.heal(length, now=now)
        known.append((now, length))
        expected = max(
            length * exp(-0.6931471805599453 * (now - at) / HEALED_HALF_LIFE)
            for at, length in known
        )
        assert healed.length(now=now) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        later = healed.length(now=now + HEALED_HALF_LIFE)
        assert later == pytest.approx(expected / 2, rel=1e-9, abs=1e-12)


@given(healings=healings)
def test_the_longest_healed_silence_has_a_half_life_of_an_hour(
    healings: list[tuple[float, float]],
) -> None:
    check_half_life(healings)


def test_no_silence_has_healed_at_first() -> None:
    assert HealedSilence().length(now=1e6) == 0.0


def test_a_shorter_silence_does_not_hide_a_longer_one() -> None:
    healed = HealedSilence()
    healed.heal(4.0, now=0.0)
    healed.heal(1.0, now=HEALED_HALF_LIFE)
    assert healed.length(now=HEALED_HALF_LIFE) == 2.0
    healed.heal(1.5, now=2 * HEALED_HALF_LIFE)
    assert healed.length(now=2 * HEALED_HALF_LIFE) == 1.5


# --- the rhythm of data -------------------------------------------------------------

LEARNT, HELD_OUT = 1200.0, 2400.0
"""Seconds of traffic that is learnt, and that is then judged by the answer."""
BUDGETS = (0.2, 1.0, 5.0, 30.0)


def steady(rate: float) -> Iterator[float]:
    return (n / rate for n in range(int((LEARNT + HELD_OUT) * rate)))


def poisson(rate: float, seed: int) -> Iterator[float]:
    dice = random.Random(seed)
    calls = int((LEARNT + HELD_OUT) * rate)
    return accumulate(dice.expovariate(rate) for _ in range(calls))


def bursty(seed: int) -> Iterator[float]:
    """Bursts and Pareto silences; reads, so messages 2 ms apart are one burst."""
    return (at for at, _ in market_traffic(seed, LEARNT + HELD_OUT))


TRAFFIC: dict[str, Callable[[], Iterator[float]]] = {
    "steady 50/s": lambda: steady(50.0),
    "Poisson 10/s": lambda: poisson(10.0, 1),
    "Poisson 2/s": lambda: poisson(2.0, 2),
    "bursty": lambda: bursty(3),
}
_made: dict[str, list[float]] = {}


def reads_of(kind: str) -> list[float]:
    if kind not in _made:
        _made[kind] = list(TRAFFIC[kind]())
    return _made[kind]


def learn(reads: list[float]) -> Arrivals:
    """As a channel does: every read is counted, gaps of some length are learnt."""
    arrivals = Arrivals(now=0.0)
    last = 0.0
    for at in reads:
        arrivals.count()
        if at - last >= LEAST_GAP:
            arrivals.learn(at - last, now=at)
        last = at
    return arrivals


def check_budget(kind: str) -> None:
    """In traffic to come, silences longer than the answer are within the budget.

    Both what is learnt (seven minutes, in effect) and what is judged are samples: the
    allowance is four standard deviations of each.
    """
    reads = reads_of(kind)
    known = [at for at in reads if at <= LEARNT]
    arrivals = learn(known)
    gaps = [b - a for a, b in pairwise(reads) if a > LEARNT]
    effective = adaptive.DATA_HALF_LIFE / 0.6931471805599453 / 60.0
    judged = (reads[-1] - LEARNT) / 60.0
    for budget in BUDGETS:
        answer = arrivals.rare_silence(per_minute=budget, now=known[-1])
        assert answer is not None
        longer = sum(gap > answer for gap in gaps) / judged
        error = 4 * (sqrt(budget / effective) + sqrt(budget / judged)) + 1 / judged
        assert longer <= budget + error, f"{kind}: {longer:.2f}/min over {answer:.2f} s"
        # A quarter octave and sampling are all it errs by on the other side.
        if answer > LEAST_GAP and budget >= 5:
            shorter = sum(gap > answer / 2**0.5 for gap in gaps) / judged
            assert shorter >= budget - error, f"{kind}: {answer:.2f} s is too patient"


@pytest.mark.parametrize("kind", TRAFFIC)
def test_silences_longer_than_the_answer_are_as_rare_as_was_asked(kind: str) -> None:
    check_budget(kind)


def test_steady_data_is_due_at_once() -> None:
    arrivals = learn([at for at in reads_of("steady 50/s") if at < 60.0])
    assert arrivals.rare_silence(per_minute=1.0, now=60.0) == LEAST_GAP


@pytest.mark.parametrize(("rate", "seconds"), [(50.0, 4.9), (2.0, 9.0)])
def test_nothing_is_concluded_before_the_warm_up(rate: float, seconds: float) -> None:
    arrivals = Arrivals(now=0.0)
    for n in range(1, int(rate * seconds) + 1):
        arrivals.count()
        if 1 / rate >= LEAST_GAP:
            arrivals.learn(1 / rate, now=n / rate)
        assert arrivals.rare_silence(per_minute=1.0, now=n / rate) is None


def test_the_warm_up_is_five_seconds_and_twenty_reads() -> None:
    arrivals = Arrivals(now=100.0)
    for _ in range(20):
        arrivals.count()
    assert arrivals.rare_silence(per_minute=1.0, now=104.999) is None
    assert arrivals.rare_silence(per_minute=1.0, now=105.0) == LEAST_GAP


gaps_of = st.lists(
    st.floats(LEAST_GAP, 60.0), min_size=Arrivals.WARM_UP_READS, max_size=80
)


def check_within_what_was_seen(gaps: list[float]) -> None:
    """Exact, without sampling: of what was learnt, by weight, at most the budget is
    longer; more budget is less patience; the answer is an edge of a quarter octave."""
    arrivals = Arrivals(now=0.0)
    now, known = 0.0, []
    for gap in (Arrivals.WARM_UP, *gaps):
        now += gap
        arrivals.count()
        arrivals.learn(gap, now=now)
        known.append((now, gap))
    span = adaptive.DATA_HALF_LIFE / 0.6931471805599453
    effective = span * (1 - 2 ** (-now / adaptive.DATA_HALF_LIFE))
    before = None
    for budget in (0.1, 0.5, 1.0, 3.0, 10.0, 1000.0):
        answer = arrivals.rare_silence(per_minute=budget, now=now)
        assert answer is not None
        assert answer >= LEAST_GAP
        # The last bin is open: 36 s and more are one.
        weight = sum(
            2 ** ((at - now) / adaptive.DATA_HALF_LIFE)
            for at, gap in known
            if gap > answer * (1 + 1e-9) and answer < 36
        )
        assert weight <= budget * effective / 60 * 1.01
        assert before is None or answer <= before, "more budget is no more patience"
        before = answer


@settings(max_examples=60)
@given(gaps=gaps_of)
def test_of_what_was_learnt_at_most_the_budget_is_longer(gaps: list[float]) -> None:
    check_within_what_was_seen(gaps)


def check_forgetting() -> None:
    """After a quiet night's rhythm, a lively day's takes over within half an hour."""
    arrivals = Arrivals(now=0.0)
    now = 0.0
    for _ in range(200):
        now += 8.0
        arrivals.count()
        arrivals.learn(8.0, now=now)
    slow = arrivals.rare_silence(per_minute=1.0, now=now)
    assert slow is not None
    assert slow >= 8.0
    for _ in range(20 * 60 * 5):
        now += 0.2
        arrivals.count()
        arrivals.learn(0.2, now=now)
    lively = arrivals.rare_silence(per_minute=1.0, now=now)
    assert lively is not None
    assert 0.2 <= lively <= 0.25


def test_the_rhythm_of_an_hour_ago_is_forgotten() -> None:
    check_forgetting()


# --- the properties can fail --------------------------------------------------------


def _mean_only(self: RoundTripEstimate, sample: float) -> None:
    self._recent.append(sample)
    self.smoothed = sum(self._recent) / len(self._recent)
    self.deviation, self.least = 0.0, min(self._recent)


def _latest_only(self: RoundTripEstimate, sample: float) -> None:
    _add(self, sample)
    self._recent.clear()
    self._recent.append(sample)


def _as_tcp_does(self: RoundTripEstimate) -> float:
    """RFC 6298: one early loss makes it wait for minutes."""
    if not self._recent:
        return PROBE_TIMEOUT_CAP
    return self.smoothed + max(4 * self.deviation, ROUND_TRIP_FLOOR)


def _without_floor(self: RoundTripEstimate) -> float:
    if not self._recent:
        return PROBE_TIMEOUT_CAP
    return min(self.smoothed + 4 * self.deviation, PROBE_TIMEOUT_CAP)


def _longest_ever(self: HealedSilence, *, now: float) -> float:
    return self._length


def _latest_heals(self: HealedSilence, length: float, *, now: float) -> None:
    self._length, self._at = length, now


def _half_the_answer(self: Arrivals, *, per_minute: float, now: float) -> float | None:
    answer = _rare(self, per_minute=per_minute, now=now)
    return None if answer is None else answer / 2


def _ten_times_the_answer(
    self: Arrivals, *, per_minute: float, now: float
) -> float | None:
    answer = _rare(self, per_minute=per_minute, now=now)
    return None if answer is None else answer * 10


def _never_decays(self: Arrivals, now: float) -> None:
    return None


_add, _rare = RoundTripEstimate.add, Arrivals.rare_silence
LOST, LAN = [0.02, 1.0, 0.02], [0.0001] * 40
SAMPLES = [0.1, 0.02, 0.5, 0.03, 0.04]
HEALINGS = [(0.0, 4.0), (1800.0, 1.0)]

PLANTED: tuple[tuple[type, str, Any, Callable[[], None]], ...] = (
    (RoundTripEstimate, "add", _mean_only, lambda: check_estimate(SAMPLES)),
    (RoundTripEstimate, "add", _latest_only, lambda: check_summary(SAMPLES)),
    (RoundTripEstimate, "timeout", property(_as_tcp_does), lambda: check_timeout(LOST)),
    (
        RoundTripEstimate,
        "timeout",
        property(_without_floor),
        lambda: check_timeout(LAN),
    ),
    (HealedSilence, "length", _longest_ever, lambda: check_half_life(HEALINGS)),
    (HealedSilence, "heal", _latest_heals, lambda: check_half_life(HEALINGS)),
    (Arrivals, "rare_silence", _half_the_answer, lambda: check_budget("bursty")),
    (Arrivals, "rare_silence", _half_the_answer, lambda: check_budget("Poisson 2/s")),
    (Arrivals, "rare_silence", _ten_times_the_answer, lambda: check_budget("bursty")),
    (Arrivals, "_decay", _never_decays, check_forgetting),
)


@pytest.mark.parametrize(("owner", "name", "fault", "check"), PLANTED)
def test_a_planted_fault_is_found(
    owner: type,
    name: str,
    fault: Any,
    check: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check()
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises(AssertionError):
        check()


# --- disorder -----------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_share_behind_a_missing_segment_is_of_those_that_came_lately(
    looks: list[tuple[int, int]],
) -> None:
    disorder = Disorder(segments=7, behind=2)
    segments, behind = 7, 2
    heard = late = 0.0
    for came, of_them in looks:
        segments, behind = segments + came, behind + min(came, of_them)
        disorder.count(segments=segments, behind=behind)
        kept = 0.5 ** (came / Disorder.HALF_LIFE_SEGMENTS)
        heard, late = heard * kept + came, late * kept + min(came, of_them)
        expected = late / max(heard, Disorder.HALF_LIFE_SEGMENTS)
        assert disorder.share == pytest.approx(expected)
        assert 0.0 <= disorder.share <= 1.0 + 1e-9


def test_one_missing_segment_is_no_disorder_and_half_of_them_are() -> None:
    disorder = Disorder(segments=1000, behind=0)
    disorder.count(segments=1003, behind=3)
    assert disorder.share < 0.1
    disorder.count(segments=1103, behind=53)
    assert disorder.share > 0.4
    disorder.count(segments=1303, behind=53)
    assert disorder.share < 0.01
