"""The environments that detectors are judged in, and the feeds that flow through them.

A path of 20 ms with log-normal jitter on each packet (J); with independent losses (L);
with stalls of both programs besides (LS); with rare losses, bursts of them, and short
blackouts of the whole path (B).
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, log

DAY = 86_400.0
MONTH_DAYS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Delays and blackouts in seconds; losses are of one packet in one direction."""

    name: str
    meaning: str
    round_trip: float = 0.020
    jitter: float = 0.001
    """Median of a log-normal delay (sigma 1) that each packet has besides."""
    loss: float = 0.0
    stalls_a_minute: float = 0.0
    """Of the peer's program, and as many of ours."""
    bursts_a_minute: float = 0.0
    blackouts_a_day: float = 0.0


STALL = (0.050, 0.500)
"""Shortest and longest, seconds; all between are equally likely."""
BURST = 0.050
BLACKOUT_MEDIAN, BLACKOUT_SIGMA = 0.3, 0.8

ENVIRONMENTS = {
    each.name: each
    for each in (
        Environment(name="J", meaning="jitter"),
        Environment(name="L", meaning="jitter, 1 % loss", loss=0.01),
        Environment(
            name="LS",
            meaning="jitter, 1 % loss, stalls of both programs",
            loss=0.01,
            stalls_a_minute=1.0,
        ),
        Environment(
            name="B",
            meaning="jitter, 0.2 % loss, loss bursts, blackouts, stalls",
            loss=0.002,
            stalls_a_minute=1.0,
            bursts_a_minute=3.0,
            blackouts_a_day=2.0,
        ),
    )
}


class Feed(StrEnum):
    IDLE = "idle"
    STEADY = "steady"
    """Poisson, 10 messages a second."""
    MARKET = "market"
    """Bursts of 20 messages on average, 2 ms apart; the silences are Pareto(1.5)."""


STEADY_RATE = 10.0
BURST_MESSAGES, BURST_STEP = 20, 0.002
SILENCE_SHAPE, SILENCE_LEAST = 1.5, 0.2


def next_data(feed: Feed, dice: random.Random) -> tuple[float, int]:
    """Seconds until the feed speaks again, and how many messages it then has."""
    if feed is Feed.STEADY:
        return dice.expovariate(STEADY_RATE), 1
    # Geometric with the given mean, at least one.
    messages = 1 + int(log(1.0 - dice.random()) / log(1.0 - 1.0 / BURST_MESSAGES))
    return SILENCE_LEAST * dice.paretovariate(SILENCE_SHAPE), messages


class Spans:
    """Times when something does not work: in order, apart, known beforehand."""

    __slots__ = ("begins", "ends")

    def __init__(self, spans: list[tuple[float, float]]) -> None:
        self.begins: list[float] = []
        self.ends: list[float] = []
        for begin, end in sorted(spans):
            if self.ends and begin <= self.ends[-1]:
                self.ends[-1] = max(self.ends[-1], end)
            else:
                self.begins.append(begin)
                self.ends.append(end)

    @classmethod
    def draw(
        cls,
        dice: random.Random,
        *,
        every: float,
        length: Callable[[], float],
        seconds: float,
    ) -> Spans:
        """Independent spans, one each `every` seconds on average."""
        spans: list[tuple[float, float]] = []
        at = dice.expovariate(1 / every)
        while at < seconds:
            spans.append((at, at + length()))
            at += dice.expovariate(1 / every)
        return cls(spans)

    def end(self, at: float) -> float:
        """When the span around `at` is over; `at` itself outside of all."""
        nth = bisect_right(self.begins, at) - 1
        return max(at, self.ends[nth]) if nth >= 0 else at

    def begin(self, at: float) -> float:
        """When the span around `at` began; `at` itself outside of all."""
        nth = bisect_right(self.begins, at) - 1
        return self.begins[nth] if nth >= 0 and at < self.ends[nth] else at

    def next_begin(self, at: float) -> float:
        """When the next span after `at` begins; inf if there is none."""
        nth = bisect_right(self.begins, at)
        return self.begins[nth] if nth < len(self.begins) else inf

    def __deepcopy__(self, memo: object) -> Spans:
        return self


NEVER = Spans([])


class Weather:
    """One draw of an environment: every stall and every blackout of its time."""

    def __init__(
        self, environment: Environment, *, dice: random.Random, seconds: float
    ) -> None:
        self.environment = environment
        self._dice = dice
        self._half = environment.round_trip / 2
        stalls, length = environment.stalls_a_minute, dice.uniform
        self.ours = self.theirs = NEVER
        if stalls:
            self.ours, self.theirs = (
                Spans.draw(
                    dice,
                    every=60.0 / stalls,
                    length=lambda: length(*STALL),
                    seconds=seconds,
                )
                for _ in range(2)
            )
        self.away = self._blackouts(environment, seconds)
        """When every packet is lost."""

    def _blackouts(self, environment: Environment, seconds: float) -> Spans:
        dice, spans = self._dice, list[tuple[float, float]]()
        if environment.bursts_a_minute:
            every = 60.0 / environment.bursts_a_minute
            drawn = Spans.draw(dice, every=every, length=lambda: BURST, seconds=seconds)
            spans += zip(drawn.begins, drawn.ends, strict=True)
        if environment.blackouts_a_day:
            drawn = Spans.draw(
                dice,
                every=DAY / environment.blackouts_a_day,
                length=lambda: BLACKOUT_MEDIAN * exp(BLACKOUT_SIGMA * dice.gauss(0, 1)),
                seconds=seconds,
            )
            spans += zip(drawn.begins, drawn.ends, strict=True)
        return Spans(spans)

    def arrival(self, at: float) -> float | None:
        """When a packet sent at `at` arrives, in either direction; None if it does not.

        Order is the caller's concern.
        """
        loss = self.environment.loss
        if loss and self._dice.random() < loss:
            return None
        if self.away.begins and self.away.end(at) > at:
            return None
        jitter = self.environment.jitter * exp(self._dice.gauss(0.0, 1.0))
        return at + self._half + jitter
