"""heartline's own link in the weather it is measured in: the harness is true."""

from __future__ import annotations

import random
from math import inf

import pytest
from quality.connection import Clock, End
from quality.environments import ENVIRONMENTS, NEVER, Feed, Weather
from quality.findings import gather
from quality.jobs import Job, pieces, run
from quality.tables import markdown
from quality.watched import Watched

from heartline.core.detector import Liveness
from heartline.core.items import Cause
from heartline.core.promises import bounds


def watched(name: str, feed: Feed, seed: int, hours: float = 1.0) -> Watched:
    dice = random.Random(seed)
    weather = Weather(ENVIRONMENTS[name], dice=dice, seconds=hours * 3600.0 + 600.0)
    return Watched(weather, policy=Liveness(), feed=feed, dice=dice)


@pytest.mark.parametrize("feed", list(Feed))
@pytest.mark.parametrize("name", ["J", "L", "LS"])
def test_every_fault_is_told_in_its_bound_and_blamed_right(
    name: str, feed: Feed
) -> None:
    world = watched(name, feed, seed=3)
    for minute in (5, 7.3, 11.9):
        world.run(minute * 60.0)
        promised = bounds(world.link, now=world.clock.now)
        # The bound runs from the last segment, and our own stalls extend it.
        spare = 0.7 if name == "LS" else 0.1
        took, finding = world.time_of("path")
        assert finding is not None
        assert finding.cause is Cause.PATH_DEAD
        assert 0.0 < took <= promised.path + spare
        took, finding = world.time_of("peer")
        assert finding is not None
        assert finding.cause is Cause.PEER_FROZEN
        assert 1.0 < took <= promised.peer + promised.path + spare
    assert world.mistakes == []


def test_a_fault_strikes_a_copy_and_not_the_original() -> None:
    harmed, spared = (watched("LS", Feed.STEADY, seed=8) for _ in range(2))
    for second in (301.0, 333.3, 400.0):
        harmed.run(second)
        harmed.time_of("path")
        harmed.time_of("peer")
    harmed.run(600.0)
    for second in (301.0, 333.3, 400.0, 600.0):
        spared.run(second)
    assert harmed.link.frames == spared.link.frames > 1000
    assert harmed.pings == spared.pings
    assert harmed.clock.events[0][0] == spared.clock.events[0][0]


def test_a_blackout_longer_than_it_rides_through_is_a_mistake_and_a_new_link() -> None:
    world = watched("J", Feed.IDLE, seed=5)
    world.weather.away.begins, world.weather.away.ends = [300.0], [304.0]
    world.run(600.0)
    assert [found.cause for _, found in world.mistakes] == [Cause.PATH_DEAD]
    [(at, _)] = world.mistakes
    assert 300.5 < at < 302.0
    assert world.link.opened_at == pytest.approx(304.0)
    world.weather.away.begins, world.weather.away.ends = [], []
    assert NEVER.end(300.0) == 300.0


@pytest.mark.parametrize("name", ["L", "B"])
def test_bytes_arrive_once_and_in_order_whatever_is_lost(name: str) -> None:
    dice, clock = random.Random(6), Clock()
    weather = Weather(ENVIRONMENTS[name], dice=dice, seconds=4000.0)
    heard: list[int] = []

    def take(words: int, _: int) -> bool:
        heard.append(words)
        return False

    ours = End(clock, weather, take=take)
    theirs = End(clock, weather, take=lambda words, _: False)
    ours.peer, theirs.peer = theirs, ours
    for number in range(3000):
        at = number + dice.random() * 0.1
        clock.at(at, lambda n: theirs.write(100, n), number)
    while clock.events:
        clock.events.sort()
        clock.now, _, act, argument = clock.events.pop(0)
        act(argument)
    assert heard == list(range(3000))


def test_a_small_measurement_has_every_row_and_repeats_itself() -> None:
    days = 0.02
    jobs = [job for job in pieces(days, "test") if job.interval is None]
    jobs = [job for job in jobs if job.environment == "LS" and job.feed == "idle"]
    short = [
        Job(
            environment=job.environment,
            feed=job.feed,
            days=0.01,
            seed="test",
            faults=3,
            ride_through=job.ride_through,
            part=job.part,
        )
        for job in jobs
    ]
    fixed = Job(
        environment="LS", feed="idle", days=0.6, seed="test", faults=5, interval=10.0
    )
    first = gather(run(job) for job in [*short, fixed])
    again = gather(run(job) for job in [*short, fixed])
    assert first == again
    ours = [row for row in first.rows if row.detector == "heartline, as shipped"]
    assert [row.group for row in ours] == ["idle", "frozen"]
    assert all(0 < row.median <= row.p99 <= row.most < inf for row in first.rows)
    about = {"command": "again", "took": 1.0, "machine": {}}
    told = markdown(first, about)
    assert "| **heartline, as shipped** |" in told
    assert "| picows, as shipped |" in told
