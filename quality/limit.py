"""The limit: what no detector can beat that errs at most once in 30 days.

It asks each `spacing` seconds; unanswered, it asks as often as it likes, and declares
after the shortest wait at which a living path stays silent at most once in 30 days.
Its silence has four sources: jitter, packets lost in a row, bursts, blackouts.
"""

from __future__ import annotations

from math import erfc, exp, floor, log, pi, sqrt

from .environments import (
    BLACKOUT_MEDIAN,
    BLACKOUT_SIGMA,
    BURST,
    DAY,
    MONTH_DAYS,
    Environment,
)

FLAT_OUT = 0.030
"""Seconds between questions of a detector that may ask as often as it likes."""
_STEPS = 400


def limit(environment: Environment, spacing: float) -> tuple[float, float]:
    """Median detection time of a path fault, and the wait for an answer in it.

    A fault also swallows the question whose answer was on its way.
    """
    low, high = environment.round_trip, 60.0
    for _ in range(50):
        middle = (low + high) / 2
        if mistakes(environment, spacing, middle) > 1.0:
            low = middle
        else:
            high = middle
    return spacing / 2 + high - environment.round_trip, high


def mistakes(environment: Environment, spacing: float, wait: float) -> float:
    """Expected in 30 days, of a detector that waits so long for an answer."""
    month = MONTH_DAYS * DAY
    asked = month / spacing
    spare = wait - environment.round_trip
    jittered = asked * two_jitters_exceed(spare, environment.jitter)
    both_ways = 1 - (1 - environment.loss) ** 2
    lost = asked * both_ways ** (1 + floor(spare / FLAT_OUT)) if both_ways else 0.0
    bursts = environment.bursts_a_minute * month / 60.0
    burst = bursts * min(1.0, max(0.0, BURST - spare) / spacing)
    blackouts = environment.blackouts_a_day * MONTH_DAYS
    return jittered + lost + burst + blackouts * _outlasting(spare, spacing)


def _outlasting(spare: float, spacing: float) -> float:
    """How likely a blackout hides a question and outlasts the wait for its answer."""
    total = 0.0
    for nth in range(_STEPS):
        deviations = _middle(nth)
        length = BLACKOUT_MEDIAN * exp(BLACKOUT_SIGMA * deviations)
        hidden = min(1.0, max(0.0, length - spare) / spacing)
        total += hidden * _density(deviations)
    return total


def two_jitters_exceed(seconds: float, median: float) -> float:
    """How likely the log-normal delays (sigma 1) of two packets exceed `seconds`."""
    if seconds <= 0:
        return 1.0
    total = _above(log(seconds / median))
    for nth in range(_STEPS):
        deviations = _middle(nth)
        rest = seconds - median * exp(deviations)
        if rest > 0:
            total += _density(deviations) * _above(log(rest / median))
    return min(1.0, total)


def _above(deviations: float) -> float:
    return erfc(deviations / sqrt(2)) / 2


def _middle(nth: int) -> float:
    return -8.0 + 16.0 * (nth + 0.5) / _STEPS


def _density(deviations: float) -> float:
    return exp(-deviations * deviations / 2) / sqrt(2 * pi) * 16.0 / _STEPS
