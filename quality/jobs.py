"""The work, cut into pieces that run side by side; each is a function of its seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from heartline.core.detector import Liveness

from .detectors import Chen, ExponentialPhi, FixedTimeout, PhiAccrual
from .environments import DAY, ENVIRONMENTS, MONTH_DAYS, Feed, Weather
from .fixed import Candidate, allowed, curve, watch
from .watched import Watched

SPARE = 600.0
"""Seconds of weather beyond the last day: for faults that strike at its end."""
SHIPPED = "as shipped"
WARM_UP = 300.0
LEAST_DAYS = 60.0
"""A threshold that may err once in 30 days is not found in fewer than these; where
there are blackouts, which are few, in twice as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece. `ride_through` fixes heartline's; None leaves it as it is shipped."""

    environment: str
    feed: str
    days: float
    seed: str
    faults: int
    interval: float | None = None
    """Of detectors on a fixed schedule; None for heartline."""
    ride_through: float | None = None
    part: int = 0


@dataclass(slots=True)
class Found:
    """What a piece found; times in seconds."""

    job: Job
    rows: list[dict[str, Any]] = field(default_factory=list)
    path: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    causes: dict[str, int] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    pings: int = 0
    probes: int = 0


def run(job: Job) -> Found:
    """Do one piece."""
    # The same weather for every setting of heartline: what differs is the setting.
    part = (job.environment, job.feed, job.interval, job.days, job.part)
    dice = random.Random(f"{job.seed}/{part}")
    weather = Weather(
        ENVIRONMENTS[job.environment], dice=dice, seconds=job.days * DAY + SPARE
    )
    if job.interval is not None:
        return _fixed(job, weather, dice)
    return _heartline(job, weather, dice)


def candidates(interval: float, feed: str) -> list[Candidate]:
    """What is compared at one interval: tuned, and as it is shipped."""
    each = f"each {interval:g} s"
    if interval == 20.0:
        return [Candidate("websockets, as shipped", FixedTimeout, 20.0)]
    found = [
        Candidate(f"fixed timeout, {each}", FixedTimeout),
        Candidate(f"phi accrual, {each}", PhiAccrual),
        Candidate(f"Chen NFD-E, {each}", lambda: Chen(interval)),
    ]
    if feed != Feed.IDLE:
        return found
    if interval == 10.0:
        return [*found, Candidate("picows, as shipped", FixedTimeout, 10.0)]
    return [
        *found,
        Candidate("phi accrual as in Akka", lambda: PhiAccrual(pause=3.0), 8.0),
        Candidate("phi accrual, 8, no pause", PhiAccrual, 8.0),
        Candidate("phi accrual as in Cassandra", ExponentialPhi, 8.0),
    ]


def _fixed(job: Job, weather: Weather, dice: random.Random) -> Found:
    assert job.interval is not None
    found = Found(job)
    watches = watch(
        weather,
        candidates(job.interval, job.feed),
        interval=job.interval,
        feed=Feed(job.feed),
        dice=dice,
        days=job.days,
        faults=job.faults,
    )
    months = job.days / MONTH_DAYS
    for each in watches:
        candidate, shipped = each.candidate, each.candidate.threshold is not None
        threshold = each.threshold(allowed(job.days))
        mistakes = each.mistakes if shipped else allowed(job.days)
        found.rows.append(
            {
                "detector": candidate.title,
                "threshold": round(threshold, 3),
                "unit": each.detector.unit,
                "mistakes": mistakes / months,
                "days": job.days,
                "times": each.times(threshold, weather),
                "pings_a_minute": 60.0 / job.interval,
                "probes_a_minute": 0.0,
                "curve": [] if shipped else curve(each, weather, days=job.days),
            }
        )
    return found


def _heartline(job: Job, weather: Weather, dice: random.Random) -> Found:
    found = Found(job)
    policy = Liveness()
    if job.ride_through is not None:
        most = job.ride_through
        policy = Liveness(ride_through=most, ride_through_max=most)
    watched = Watched(weather, policy=policy, feed=Feed(job.feed), dice=dice)
    seconds = job.days * DAY
    for fault_at in sorted(dice.uniform(WARM_UP, seconds) for _ in range(job.faults)):
        watched.run(fault_at)
        for kind, times in (("path", found.path), ("peer", found.peer)):
            took, finding = watched.time_of(kind)
            times.append(took)
            told = f"{kind}: {finding.cause if finding else 'nothing'}"
            found.causes[told] = found.causes.get(told, 0) + 1
    watched.run(seconds)
    found.mistakes = [f"{at:.1f}: {said.evidence}" for at, said in watched.mistakes]
    found.pings = watched.pings
    found.probes = watched.probes + watched.ours.probes_sent
    return found


def pieces(days: float, seed: str) -> Iterator[Job]:
    """All the work of one measurement, the longest pieces first."""
    busy = (("LS", "steady"), ("B", "steady"), ("LS", "market"), ("B", "market"))
    common: dict[str, Any] = {"seed": seed}
    for environment, feed in busy:
        for part in range(2):
            yield Job(
                environment=environment,
                feed=feed,
                days=days / 15,
                faults=500,
                part=part,
                **common,
            )
    for name in ENVIRONMENTS:
        idle: dict[str, Any] = {"environment": name, "feed": "idle", **common}
        yield Job(days=_fixed_days(days, name), interval=1.0, faults=1000, **idle)
        for part in range(4):
            yield Job(days=days / 4, faults=250, part=part, **idle)
        for ride_through in (0.05, 0.25, 1.0, 1.9):
            yield Job(days=days / 6, ride_through=ride_through, faults=1000, **idle)
        for interval in (10.0, 20.0):
            many = max(4 * days, 2 * LEAST_DAYS)
            yield Job(days=many, interval=interval, faults=1000, **idle)
    for environment, feed in busy:
        for interval in (1.0, 10.0):
            yield Job(
                environment=environment,
                feed=feed,
                days=_fixed_days(days / 2, environment),
                interval=interval,
                faults=1000,
                **common,
            )
    for environment, feed, ride_through in (
        ("LS", "steady", 0.05),
        ("B", "steady", 0.72),
        ("LS", "market", 0.05),
        ("B", "market", 1.9),
    ):
        yield Job(
            environment=environment,
            feed=feed,
            days=days / 20,
            ride_through=ride_through,
            faults=1000,
            **common,
        )


def _fixed_days(days: float, environment: str) -> float:
    return max(LEAST_DAYS, 2 * days) * (2 if environment == "B" else 1)
