"""The detectors of the field, small and pure: heartbeats in, suspicion out.

Each is a scale of suspicion that rises with silence and falls with a heartbeat; a
threshold on that scale makes a detector of it. One pass over a history of heartbeats
thereby tells what every threshold would have done.
"""

from __future__ import annotations

from collections import deque
from math import erfc, exp, inf, log, log1p, log10, sqrt
from typing import Protocol

WINDOW = 1000
"""Heartbeats that the estimators remember (Hayashibara et al. 2004; Akka's default)."""


class Detector(Protocol):
    """Told of each heartbeat in order; asked about times after the last one.

    Questions read only numbers, never the window: a shallow copy keeps what was known.
    """

    name: str
    unit: str
    """Of the threshold."""

    def heard(self, number: int, *, asked_at: float, at: float) -> None:
        """Heartbeat `number`, from 1 on, asked for at `asked_at`, was read at `at`."""
        ...

    def suspicion(self, *, next_asked_at: float, at: float) -> float:
        """How suspicious silence until `at` is; never falls while nothing is heard.

        `next_asked_at` is when the first heartbeat since the last one was asked for.
        """
        ...

    def dead_at(self, threshold: float, *, next_asked_at: float) -> float:
        """When silence from now on crosses `threshold`."""
        ...


class FixedTimeout:
    """Ask each interval, wait a fixed time for each answer."""

    name, unit = "fixed timeout", "s"

    def heard(self, number: int, *, asked_at: float, at: float) -> None:
        """Nothing is learned."""

    def suspicion(self, *, next_asked_at: float, at: float) -> float:
        return at - next_asked_at

    def dead_at(self, threshold: float, *, next_asked_at: float) -> float:
        return next_asked_at + threshold


class PhiAccrual:
    """Hayashibara et al., SRDS 2004, with the normal tail as Akka approximates it.

    `pause` and `least_deviation` are Akka's `acceptable-heartbeat-pause` and
    `min-std-deviation`, seconds.
    """

    name, unit = "phi accrual", "phi"

    def __init__(self, *, pause: float = 0.0, least_deviation: float = 0.1) -> None:
        self._pause = pause
        self._least = least_deviation
        self._gaps: deque[float] = deque()
        self._sum = self._squares = 0.0
        self._mean = 1.0
        self._deviation = least_deviation
        self._last_at: float | None = None

    def heard(self, number: int, *, asked_at: float, at: float) -> None:
        if self._last_at is not None:
            gap = at - self._last_at
            gaps = self._gaps
            gaps.append(gap)
            self._sum += gap
            self._squares += gap * gap
            if len(gaps) > WINDOW:
                old = gaps.popleft()
                self._sum -= old
                self._squares -= old * old
            size = len(gaps)
            self._mean = mean = self._sum / size
            variance = self._squares / size - mean * mean
            self._deviation = max(self._least, sqrt(max(0.0, variance)))
        self._last_at = at

    def suspicion(self, *, next_asked_at: float, at: float) -> float:
        if self._last_at is None:
            return 0.0
        late = at - self._last_at - self._mean - self._pause
        return phi(late / self._deviation)

    def dead_at(self, threshold: float, *, next_asked_at: float) -> float:
        if self._last_at is None:
            return inf
        lateness = lateness_of(threshold) * self._deviation
        return self._last_at + self._mean + self._pause + lateness


def phi(deviations: float) -> float:
    """-log10 of the normal tail beyond so many deviations, by Akka's logistic."""
    exponent = deviations * (1.5976 + 0.070566 * deviations * deviations)
    if exponent > 0:
        return (exponent + log1p(exp(-exponent))) / log(10)
    return log10(1 + exp(exponent))


def lateness_of(threshold: float) -> float:
    """The deviations at which `phi` reaches `threshold`; its inverse."""
    low, high = -40.0, 1.0
    while phi(high) < threshold:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if phi(middle) < threshold else (low, middle)
    return high


def normal_phi(deviations: float) -> float:
    """What `phi` approximates; exact, up to 37 deviations."""
    return -log10(erfc(deviations / sqrt(2)) / 2)


class ExponentialPhi:
    """Phi accrual with an exponential tail, as Cassandra has it."""

    name, unit = "exponential phi", "phi"

    def __init__(self) -> None:
        self._gaps: deque[float] = deque()
        self._sum = 0.0
        self._mean = inf
        self._last_at = 0.0

    def heard(self, number: int, *, asked_at: float, at: float) -> None:
        if number > 1:
            gaps = self._gaps
            gaps.append(at - self._last_at)
            self._sum += at - self._last_at
            if len(gaps) > WINDOW:
                self._sum -= gaps.popleft()
            self._mean = self._sum / len(gaps)
        self._last_at = at

    def suspicion(self, *, next_asked_at: float, at: float) -> float:
        return (at - self._last_at) / self._mean / log(10)

    def dead_at(self, threshold: float, *, next_asked_at: float) -> float:
        return self._last_at + threshold * log(10) * self._mean


class Chen:
    """NFD-E of Chen, Toueg and Aguilera, IEEE ToC 2002: expected arrival plus a margin.

    Expects heartbeat n at the mean of what the last ones needed beyond `n * interval`.
    """

    name, unit = "Chen NFD-E", "s"

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._needed: deque[float] = deque()
        self._sum = 0.0
        self._expected_at = inf

    def heard(self, number: int, *, asked_at: float, at: float) -> None:
        interval = self._interval
        needed = at - interval * number
        self._needed.append(needed)
        self._sum += needed
        if len(self._needed) > WINDOW:
            self._sum -= self._needed.popleft()
        self._expected_at = self._sum / len(self._needed) + (number + 1) * interval

    def suspicion(self, *, next_asked_at: float, at: float) -> float:
        return at - self._expected_at

    def dead_at(self, threshold: float, *, next_asked_at: float) -> float:
        return self._expected_at + threshold
