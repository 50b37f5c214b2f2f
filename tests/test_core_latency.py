"""The age of a message holds the truth, however lopsided the road and the clocks."""

from __future__ import annotations

import random
from math import floor, inf, nan
from typing import Any

import pytest

from heartline import UsageError
from heartline.core import offset as module
from heartline.core.latency import KEPT, Delays, LateChannel, MaxAge, Recent, Spread
from heartline.core.offset import DRIFT, STEP_AFTER, Age, ClockOffset
from thrown import Planted, planted, properties

TRIES = 150
UNIX = 1.79e9
ROUNDING = 1e-5
"""Unix seconds have about half a microsecond in a float."""


class Venue:
    """Another clock at the end of a lopsided road."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.resolution = dice.choice((1e-6, 1e-3, 1.0))
        self.shift = UNIX + dice.uniform(-5.0, 5.0)
        self.drift = dice.uniform(-DRIFT, DRIFT)
        self.round_trip = dice.choice((0.001, 0.02, 0.3))
        self.out = self.round_trip * dice.random()
        """The part of the round trip that the way to the venue takes, at the least."""
        self.now = dice.uniform(0.0, 1e5)
        self.began_at = self.now

    def offset(self, at: float) -> float:
        return self.shift + self.drift * (at - self.began_at)

    def stamp(self, at: float) -> float:
        exact = at + self.offset(at)
        return floor(exact / self.resolution) * self.resolution

    def jitter(self) -> float:
        return self.round_trip * self.dice.choice((0.0, 0.1, 1.0, 5.0))


def exchange(venue: Venue, offset: ClockOffset) -> None:
    sent_at = venue.now
    came_in = sent_at + venue.out + venue.jitter()
    went_out = came_in + venue.dice.choice((0.0, 0.001, 0.5))
    received_at = went_out + venue.round_trip - venue.out + venue.jitter()
    stamps = {"venue_in": venue.stamp(went_out)}
    if venue.dice.random() < 0.5:
        stamps = {"venue_in": venue.stamp(came_in), "venue_out": venue.stamp(went_out)}
    offset.answered(sent_at=sent_at, received_at=received_at, **stamps)
    venue.now = received_at


def message(venue: Venue, *, least: float | None = None) -> tuple[float, float, float]:
    """Stamp, receipt and true age of one message that comes now."""
    travel = venue.round_trip - venue.out if least is None else least
    age = travel + venue.jitter()
    return venue.stamp(venue.now - age), venue.now, age


# --- properties -----------------------------------------------------------------------


def the_interval_holds_the_truth(dice: random.Random) -> None:
    """With answers and messages in any order, over hours and clocks that part."""
    venue = Venue(dice)
    offset = ClockOffset(resolution=venue.resolution)
    answered_at = -inf
    for _ in range(dice.randrange(1, 60)):
        venue.now += dice.choice((0.0, 0.01, 1.0, 600.0))
        if dice.random() < 0.3:
            exchange(venue, offset)
            answered_at = venue.now
        else:
            stamp, at, age = message(venue)
            offset.heard(stamp, received_at=at)
            told = offset.age(stamp, received_at=at)
            assert told is not None
            assert told.least - ROUNDING <= age <= told.most + ROUNDING
            assert stamp >= offset.stamp_of(age + ROUNDING, received_at=at)
        low, high = offset.bounds(now=venue.now)
        assert low - ROUNDING <= venue.offset(venue.now) <= high + ROUNDING
        assert (high < inf) is (answered_at > -inf)
    assert (offset.steps, offset.contradicted, offset.unreadable) == (0, 0, 0)


def answers_make_it_as_sharp_as_the_road(dice: random.Random) -> None:
    """Right after a quick answer the uncertainty is half the round trip, no more."""
    venue = Venue(dice)
    offset = ClockOffset(resolution=venue.resolution)
    for _ in range(10):
        exchange(venue, offset)
    sent_at, took = venue.now, venue.round_trip
    came_in = sent_at + venue.out
    offset.answered(
        sent_at=sent_at, received_at=sent_at + took, venue_in=venue.stamp(came_in)
    )
    venue.now = sent_at + took
    stamp, at, _ = message(venue)
    told = offset.age(stamp, received_at=at)
    assert told is not None
    assert told.uncertainty <= took / 2 + venue.resolution + 2 * DRIFT * took + ROUNDING


def pings_alone_give_an_assumption(dice: random.Random) -> None:
    """It holds where the fastest message took no longer than the fastest ping."""
    venue = Venue(dice)
    offset = ClockOffset(resolution=venue.resolution)
    fastest = venue.round_trip * dice.uniform(1.0, 2.0)
    offset.travelled(fastest)
    travel = venue.round_trip * dice.random()
    offset.heard(venue.stamp(venue.now - travel), received_at=venue.now)
    assert offset.assumed
    began_at = venue.now
    for _ in range(20):
        venue.now += dice.choice((0.01, 1.0, 60.0))
        stamp, at, age = message(venue, least=travel)
        offset.heard(stamp, received_at=at)
        told = offset.age(stamp, received_at=at)
        assert told is not None
        assert told.least - ROUNDING <= age <= told.most + ROUNDING
        parted = 2 * DRIFT * (at - began_at) + venue.resolution + ROUNDING
        assert told.uncertainty <= fastest / 2 + parted
    exchange(venue, offset)
    assert not offset.assumed


def a_clock_that_is_set_is_found_out(dice: random.Random) -> None:
    """By the next answer, or by messages from the future; and then all is well."""
    venue = Venue(dice)
    offset = ClockOffset(resolution=venue.resolution)
    exchange(venue, offset)
    leap = dice.choice((-1, 1)) * dice.uniform(20.0, 1000.0)
    venue.shift += leap
    if leap > 0 and dice.random() < 0.5:
        for _ in range(STEP_AFTER):
            stamp, at, _ = message(venue)
            offset.heard(stamp, received_at=at)
    else:
        exchange(venue, offset)
    assert offset.steps == 1
    low, high = offset.bounds(now=venue.now)
    assert low - ROUNDING <= venue.offset(venue.now) <= high + ROUNDING


HOSTILE = (nan, inf, -inf, 0, -1.0, 1e12, 10**400, True, "1", None, [], {})


def nonsense_changes_nothing(dice: random.Random) -> None:
    venue = Venue(dice)
    offset = ClockOffset(resolution=venue.resolution)
    exchange(venue, offset)
    before = offset.bounds(now=venue.now)
    counted = 0
    for _ in range(20):
        bad: Any = dice.choice(HOSTILE)
        good = venue.stamp(venue.now)
        counted += 1
        match dice.randrange(4):
            case 0:
                offset.heard(bad, received_at=venue.now)
            case 1:
                offset.answered(sent_at=venue.now, received_at=venue.now, venue_in=bad)
            case 2:
                offset.answered(
                    sent_at=venue.now + 1, received_at=venue.now, venue_in=good
                )
            case _:
                counted -= 1
                assert offset.age(bad, received_at=venue.now) is None
    assert offset.unreadable == counted
    assert offset.bounds(now=venue.now) == before


def late_is_told_seldom_and_surely(dice: random.Random) -> None:
    """Begun by the first message past the limit; ended by calm; never within it."""
    policy = MaxAge(limit=1.0, clear=0.5, hold=dice.choice((0.0, 1.0, 5.0)))
    channel, now, calm_since = LateChannel(policy), 1.0, None
    for _ in range(300):
        now += dice.choice((0.0, 0.1, 1.0))
        least = dice.choice((0.0, 0.4, 0.5, 0.6, 1.0, 1.01, 9.0))
        uncertainty = dice.choice((0.0, 0.3))
        was_late = channel.late_since is not None
        change = channel.feed(Age(least + uncertainty, uncertainty), now=now)
        least = Age(least + uncertainty, uncertainty).least
        calm_since = None if least > 0.5 else calm_since or (now if was_late else None)
        if not was_late:
            calm_since = None
            assert change == ("began" if least > 1.0 else None)
        else:
            over = calm_since is not None and now - calm_since >= policy.hold
            assert change == ("ended" if over else None)
        assert (channel.late_since is not None) is (
            (was_late or change == "began") and change != "ended"
        )


PROPERTIES = (
    the_interval_holds_the_truth,
    answers_make_it_as_sharp_as_the_road,
    pings_alone_give_an_assumption,
    a_clock_that_is_set_is_found_out,
    nonsense_changes_nothing,
    late_is_told_seldom_and_surely,
)


test_property = properties(PROPERTIES, tries=TRIES)


# --- examples -------------------------------------------------------------------------


def test_one_answer_bounds_the_offset_on_both_sides() -> None:
    offset = ClockOffset(resolution=0.0)
    offset.answered(sent_at=10.0, received_at=10.2, venue_in=1015.1)
    low, high = offset.bounds(now=10.2)
    assert low == pytest.approx(1004.9, abs=1e-6)
    assert high == pytest.approx(1005.1, abs=1e-4)
    age = offset.age(1015.1, received_at=10.2)
    assert age is not None
    assert age.value == pytest.approx(0.1, abs=1e-4)
    assert age.uncertainty == pytest.approx(0.1, abs=1e-4)


def test_without_any_answer_age_is_told_beyond_the_fastest_message() -> None:
    offset = ClockOffset(resolution=0.0)
    assert offset.age(1000.0, received_at=5.0) is None
    offset.heard(1000.0, received_at=5.0)
    age = offset.age(1000.5, received_at=6.0)
    assert age is not None
    assert age.value == pytest.approx(0.5, abs=1e-3)
    assert age.uncertainty == inf
    assert age.least == age.value


def test_the_four_delays_are_kept_apart() -> None:
    delays = Delays()
    delays.offset.answered(sent_at=0.0, received_at=0.1, venue_in=100.05)
    delays.stamped(101.0, received_at=1.2)
    delays.travelled(0.1)
    delays.inbox.add(0.01)
    delays.loop.add(0.002)
    told = delays.summary()
    assert (told.round_trip.last, told.inbox.last, told.loop.last) == (0.1, 0.01, 0.002)
    assert told.age.last == pytest.approx(0.2, abs=0.06)
    assert told.age_uncertainty == pytest.approx(0.05, abs=0.002)


def test_percentiles_are_of_the_recent_past() -> None:
    recent = Recent()
    assert recent.spread() == Spread()
    for n in range(3 * KEPT):
        recent.add(float(n))
    spread = recent.spread()
    assert spread.samples == KEPT
    assert spread.last == spread.most == 3 * KEPT - 1
    assert spread.median == 3 * KEPT - KEPT / 2


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("limit", {"limit": 0.0}),
        ("clear", {"limit": 1.0, "clear": 1.5}),
        ("hold", {"limit": 1.0, "hold": -1.0}),
    ],
    ids=["limit", "clear", "hold"],
)
def test_limits_that_cannot_be_are_refused(field: str, named: dict[str, float]) -> None:
    with pytest.raises(UsageError) as refused:
        MaxAge(**named)
    assert refused.value.field == f"MaxAge.{field}"


# --- the properties can fail ----------------------------------------------------------


def _symmetric(self: ClockOffset, *, now: float) -> tuple[float, float]:
    """What an estimate says that takes both ways to be equally long."""
    low, high = _bounds(self, now=now)
    middle = (low + high) / 2
    return (middle, middle) if high < inf else (low, high)


def _never_set(self: ClockOffset, **named: float) -> None:
    before = self._low, self._high
    _answered(self, **named)
    if self.steps:
        self._low, self._high = before


_bounds = ClockOffset.bounds
_answered = ClockOffset.answered

PLANTED: tuple[Planted, ...] = (
    (the_interval_holds_the_truth, ClockOffset, "bounds", _symmetric),
    (the_interval_holds_the_truth, module, "DRIFT", 0.0),
    (a_clock_that_is_set_is_found_out, ClockOffset, "answered", _never_set),
    (nonsense_changes_nothing, module, "_is_stamp", lambda value: True),
)


test_a_planted_fault_is_found = planted(PLANTED, tries=TRIES)
