"""What detectors on a fixed schedule do in a weather: their mistakes, and how fast."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from math import inf

from .detectors import Detector
from .environments import DAY, MONTH_DAYS, Feed, Weather
from .heartbeats import Heartbeat, heartbeats

KEPT = 200
"""Highest suspicions kept for each month: what the curve of mistakes is made of."""
PROMPT = 2.5
"""Round trips that an answer may take without being looked at."""
WARM_UP = 1100
"""Heartbeats before a detector is judged: its window is full then."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A detector of one interval; without a threshold it is to be tuned."""

    title: str
    make: Callable[[], Detector]
    threshold: float | None = None


@dataclass(slots=True)
class Watch:
    """One candidate while it watches: its highest suspicions, and what faults saw."""

    candidate: Candidate
    detector: Detector
    kept: int
    highest: list[float] = field(default_factory=list)
    """A heap, the least first."""
    mistakes: int = 0
    struck: list[tuple[float, float, Detector]] = field(default_factory=list)
    """Time of each fault, when the first unanswered ping was sent, what was known."""

    def suspect(self, suspicion: float) -> None:
        threshold = self.candidate.threshold
        if threshold is not None:
            self.mistakes += suspicion > threshold
        elif len(self.highest) < self.kept:
            heapq.heappush(self.highest, suspicion)
        elif suspicion > self.highest[0]:
            heapq.heapreplace(self.highest, suspicion)

    def strike(self, fault_at: float, beat: Heartbeat) -> None:
        self.struck.append((fault_at, beat.asked_at, copy(self.detector)))

    def threshold(self, mistakes: int) -> float:
        """The least threshold that makes at most so many mistakes."""
        if self.candidate.threshold is not None:
            return self.candidate.threshold
        return sorted(self.highest, reverse=True)[mistakes]

    def times(self, threshold: float, weather: Weather) -> list[float]:
        """Seconds from each fault to the verdict, sorted."""
        took: list[float] = []
        for fault_at, asked_at, detector in self.struck:
            dead_at = detector.dead_at(threshold, next_asked_at=asked_at)
            told_at = weather.ours.end(max(dead_at, fault_at))
            took.append(told_at - fault_at)
        return sorted(took)


def watch(
    weather: Weather,
    candidates: list[Candidate],
    *,
    interval: float,
    feed: Feed,
    dice: random.Random,
    days: float,
    faults: int,
) -> list[Watch]:
    """Let every candidate watch the same heartbeats; strike copies at random times."""
    months = days / MONTH_DAYS
    kept = max(2, int(KEPT * months))
    watches = [Watch(each, each.make(), kept) for each in candidates]
    judged_from = WARM_UP * interval
    fault_times = sorted(dice.uniform(judged_from, days * DAY) for _ in range(faults))
    fault_times.append(inf)
    nth, heard_at = 0, inf
    prompt = PROMPT * weather.environment.round_trip
    schedule = heartbeats(
        weather, interval=interval, feed=feed, dice=dice, seconds=days * DAY
    )
    for beat in schedule:
        asked_at, judged_at = beat.asked_at, beat.judged_at
        while fault_times[nth] < beat.heard_at:
            for each in watches:
                each.strike(fault_times[nth], beat)
            nth += 1
        # A prompt answer raises no suspicion among the highest: it is not asked for.
        late = judged_at > asked_at + prompt or judged_at > heard_at + interval + prompt
        if late and asked_at > judged_from:
            for each in watches:
                suspicion = each.detector.suspicion(
                    next_asked_at=asked_at, at=judged_at
                )
                each.suspect(suspicion)
        heard_at = beat.read_at
        for each in watches:
            each.detector.heard(beat.number, asked_at=asked_at, at=heard_at)
    return watches


def curve(watched: Watch, weather: Weather, *, days: float) -> list[dict[str, float]]:
    """Median detection time over mistakes in 30 days, from many mistakes to none."""
    months = days / MONTH_DAYS
    points: list[dict[str, float]] = []
    wanted = sorted({int(months * 10 ** (step / 4)) for step in range(-8, 9)} | {0})
    for mistakes in wanted:
        if mistakes >= len(watched.highest):
            continue
        took = watched.times(watched.threshold(mistakes), weather)
        middle = took[len(took) // 2]
        points.append({"mistakes": mistakes / months, "median": middle})
    return points


def allowed(days: float) -> int:
    """One mistake in 30 days."""
    return int(days / MONTH_DAYS + 1e-9)
