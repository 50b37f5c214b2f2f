"""Attempt -> delay: full jitter under a cap, patience when asked for, whom not to call.

Each property is a function that asserts; the last test plants faults it must find.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import inf, isfinite, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heartline import Backoff, Cause, UsageError

MOST_ATTEMPTS = 10**6
GENTLE = (1012, 1013, 429, 503)
ONE = 1.0 - 2.0**-53
"""The largest value of `random.random()`."""

attempts = st.one_of(st.integers(1, 80), st.integers(1, MOST_ATTEMPTS))
draws = st.floats(0.0, ONE)
seconds = st.floats(0.001, 3600.0)
retry_afters = st.one_of(st.just(0.0), st.just(inf), st.floats(0.0, 1e9))
others = st.sampled_from([None, 400, 404, 500, 502, 1000, 1001, 1006, 1008, 1011])


@st.composite
def policies(draw: st.DrawFn) -> Backoff:
    base = draw(seconds)
    return Backoff(
        base=base,
        cap=base + draw(st.floats(0.0, 3600.0)),
        gentle_base=draw(seconds),
        retry_after_cap=draw(seconds),
    )


def spread(policy: Backoff, attempt: int) -> float:
    """min(cap, base * 2**(attempt - 1)), without a power that overflows."""
    reached = policy.base
    for _ in range(min(attempt - 1, 5000)):
        if reached >= policy.cap:
            break
        reached *= 2
    return min(policy.cap, reached)


# --- the properties ---------------------------------------------------------------


def check_full_jitter(
    policy: Backoff, attempt: int, draw: float, status: int | None
) -> None:
    delay = policy.delay(attempt, draw=draw, status=status)
    assert isfinite(delay)
    assert 0.0 <= delay <= spread(policy, attempt)
    assert delay == draw * spread(policy, attempt)


def check_patience_grows(policy: Backoff, attempt: int, status: int | None) -> None:
    now, later = (
        policy.delay(nth, draw=ONE, status=status) for nth in (attempt, attempt + 1)
    )
    assert now <= later <= max(policy.cap, policy.gentle_base)


def check_retry_after(
    policy: Backoff, attempt: int, draw: float, retry_after: float, status: int | None
) -> None:
    delay = policy.delay(attempt, draw=draw, status=status, retry_after=retry_after)
    least = min(retry_after, policy.retry_after_cap)
    most = max(policy.retry_after_cap + policy.base, policy.cap)
    assert least <= delay <= most
    # Those who were told the same second do not all come back in it.
    jitter = policy.delay(
        attempt, draw=0.9, status=status, retry_after=retry_after
    ) - policy.delay(attempt, draw=0.1, status=status, retry_after=retry_after)
    assert jitter >= 0.79 * policy.base


def check_gentleness(policy: Backoff, attempt: int, draw: float, status: int) -> None:
    delay = policy.delay(attempt, draw=draw, status=status)
    wide = max(spread(policy, attempt), min(policy.cap, policy.gentle_base))
    assert wide / 2 <= delay <= wide
    assert policy.delay(attempt, draw=0.0, status=status) > 0


@given(policy=policies(), attempt=attempts, draw=draws, status=others)
@example(policy=Backoff(), attempt=MOST_ATTEMPTS, draw=ONE, status=None)
@example(policy=Backoff(), attempt=1100, draw=ONE, status=None)
def test_the_delay_is_uniform_under_the_capped_power(
    policy: Backoff, attempt: int, draw: float, status: int | None
) -> None:
    check_full_jitter(policy, attempt, draw, status)


@given(policy=policies(), attempt=attempts, status=st.sampled_from([None, *GENTLE]))
def test_patience_grows_with_the_attempts_up_to_the_cap(
    policy: Backoff, attempt: int, status: int | None
) -> None:
    check_patience_grows(policy, attempt, status)


@given(
    policy=policies(),
    attempt=attempts,
    draw=draws,
    retry_after=retry_afters,
    status=st.sampled_from([None, 429, 503, 404]),
)
def test_retry_after_is_the_least_delay_cut_to_its_cap_with_jitter_on_top(
    policy: Backoff, attempt: int, draw: float, retry_after: float, status: int | None
) -> None:
    check_retry_after(policy, attempt, draw, retry_after, status)


@given(policy=policies(), attempt=attempts, draw=draws, status=st.sampled_from(GENTLE))
def test_who_asks_for_patience_is_never_called_at_once(
    policy: Backoff, attempt: int, draw: float, status: int
) -> None:
    check_gentleness(policy, attempt, draw, status)


def test_the_delays_of_the_defaults() -> None:
    policy = Backoff()
    widest = [policy.delay(nth, draw=1.0) for nth in range(1, 8)]
    assert widest == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert policy.delay(1, draw=0.0) == 0.0
    assert policy.delay(1, draw=0.0, status=503) == 2.5
    assert policy.delay(1, draw=0.0, status=429, retry_after=7.0) == 7.0
    assert policy.delay(9, draw=0.5, retry_after=1e6) == 900.5


def test_a_negative_retry_after_is_none_at_all() -> None:
    assert Backoff().delay(1, draw=0.25, status=503, retry_after=-5.0) == 0.25


# --- whom not to call again -------------------------------------------------------


def check_finality(is_final: Callable[[Cause, int | None], bool]) -> None:
    statuses = (None, *range(100, 600), *range(1000, 1016), 3000, 4000, 4999)
    final = {
        (cause, status)
        for cause in Cause
        for status in statuses
        if is_final(cause, status)
    }
    assert final == {
        (Cause.REFUSED, 401),
        (Cause.REFUSED, 403),
        (Cause.REFUSED, 407),
        (Cause.CLOSED_BY_PEER, 1008),
    }


def test_only_refusals_and_policy_closes_are_final() -> None:
    check_finality(Backoff.is_final)


# --- what cannot be ---------------------------------------------------------------

POSITIVE = ("base", "cap", "gentle_base", "retry_after_cap", "useful_uptime")


@pytest.mark.parametrize("field", POSITIVE)
def test_no_delay_is_infinite(field: str) -> None:
    with pytest.raises(UsageError, match="more than 0, and finite, got inf"):
        Backoff(**{field: inf})


@pytest.mark.parametrize("field", [*POSITIVE, "give_up_after"])
@pytest.mark.parametrize("got", [0, 0.0, -1.5, nan, -inf])
def test_a_refused_value_is_told_with_field_wanted_and_got(
    field: str, got: float
) -> None:
    with pytest.raises(UsageError) as caught:
        Backoff(**{field: got})
    text = str(caught.value)
    assert text.startswith(f"Backoff.{field}: wanted more than 0")
    assert text.endswith(f"got {got!r}")
    assert caught.value.field == f"Backoff.{field}"


def test_a_base_above_the_cap_is_told_with_both() -> None:
    with pytest.raises(UsageError) as caught:
        Backoff(base=31.0)
    assert str(caught.value) == "Backoff.base: wanted at most cap (30.0), got 31.0"


def test_a_policy_is_a_value() -> None:
    assert Backoff() == Backoff()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Backoff().base = 2.0  # type: ignore[misc]


# --- the properties can fail ------------------------------------------------------


def _without_cap(policy: Backoff, attempt: int, *, draw: float, **_: object) -> float:
    return draw * policy.base * 2.0 ** (min(attempt, 900) - 1)


def _linear(policy: Backoff, attempt: int, *, draw: float, **_: object) -> float:
    return draw * min(policy.cap, policy.base * attempt)


def _overflowing(policy: Backoff, attempt: int, *, draw: float, **_: object) -> float:
    return draw * min(policy.cap, policy.base * 2.0 ** (attempt - 1))


def _shrinking(policy: Backoff, attempt: int, *, draw: float, **_: object) -> float:
    return draw * policy.cap / attempt


def _punctual(
    policy: Backoff,
    attempt: int,
    *,
    draw: float,
    retry_after: float | None = None,
    **_: object,
) -> float:
    return min(retry_after or 0.0, policy.retry_after_cap)


def _obedient(
    policy: Backoff,
    attempt: int,
    *,
    draw: float,
    retry_after: float | None = None,
    **_: object,
) -> float:
    return (retry_after or 0.0) + draw * policy.base


POLICY = Backoff()
PLANTED: tuple[tuple[Callable[..., float], Callable[[], None]], ...] = (
    (_without_cap, lambda: check_full_jitter(POLICY, 40, 0.5, None)),
    (_linear, lambda: check_full_jitter(POLICY, 4, 0.5, None)),
    (_overflowing, lambda: check_full_jitter(POLICY, MOST_ATTEMPTS, 0.5, None)),
    (_shrinking, lambda: check_patience_grows(POLICY, 3, None)),
    (_punctual, lambda: check_retry_after(POLICY, 1, 0.5, 3.0, 503)),
    (_obedient, lambda: check_retry_after(POLICY, 1, 0.5, 1e6, 503)),
    (_linear, lambda: check_gentleness(POLICY, 1, 0.1, 1013)),
)


@pytest.mark.parametrize(("fault", "check"), PLANTED)
def test_a_planted_fault_is_found(
    fault: Callable[..., float],
    check: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check()
    monkeypatch.setattr(Backoff, "delay", fault)
    with pytest.raises((AssertionError, OverflowError)):
        check()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda cause, status: cause is Cause.REFUSED,
        lambda cause, status: status in (401, 403, 407, 1008),
        lambda cause, status: False,
    ],
)
def test_a_planted_finality_is_found(wrong: Callable[..., bool]) -> None:
    with pytest.raises(AssertionError):
        check_finality(wrong)
