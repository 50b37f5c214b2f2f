"""The short look at a stamp passes none that the close look would call late."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from heartline.client.limit import GOOD_FOR, Limit
from heartline.core.events import ConditionBegan, Event
from heartline.core.latency import MaxAge
from heartline.core.offset import ClockOffset
from heartline.venue.channels import Unit
from heartline.venue.reading import Source, Update
from heartline.venue.stamps import unix_seconds

NOW, UNIX, LIMIT = 1000.0, 1.79e9, 0.5
UNITS: list[Unit] = ["s", "ms", "us", "ns", "rfc3339"]
ODD: list[object] = [
    None,
    "",
    "Z",
    "9",
    "\ud800",
    -1,
    0,
    True,
    1e300,
    "nan",
    "-5",
    10**30,
]


def written(unix: float, unit: Unit, dice: random.Random) -> int | float | str:
    if unit != "rfc3339":
        per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
        number = unix * per_second
        forms = (int(number), number, str(int(number)), f"{number:.3f}")
        return dice.choice(forms)
    hours = dice.choice((0, 0, 5, -7))
    there = datetime.fromtimestamp(unix, timezone(timedelta(hours=hours)))
    text = there.isoformat(timespec=dice.choice(("seconds", "milliseconds", "auto")))
    if hours == 0:
        text = text.replace("+00:00", dice.choice(("Z", "+00:00")))
        if "." in text and text.endswith("Z"):
            text = text[:-1].rstrip("0").rstrip(".") + "Z"
    return text


def limit_of(offset: ClockOffset, told: list[Event]) -> Limit:
    policy = MaxAge(limit=LIMIT)
    return Limit(policy, offset, tell=told.append, begins=lambda source, now: False)


@pytest.mark.parametrize("unit", UNITS)
def test_the_short_look_agrees_with_the_close_one(unit: Unit) -> None:
    dice = random.Random(unit)
    offset = ClockOffset()
    offset.answered(sent_at=NOW - 0.02, received_at=NOW, venue_in=UNIX)
    source = Source("x", "x", stamp=0, unit=unit)
    seen = set[bool]()
    for _ in range(600):
        told: list[Event] = []
        limit = limit_of(offset, told)
        # Some time after the bounds were made, up to when they are made anew.
        limit.judge([], now=NOW, epoch=1)
        now = NOW + dice.choice((0.0, dice.random(), 1.2)) * GOOD_FOR
        bound = offset.stamp_of(LIMIT, received_at=now)
        near = dice.choice((0.0, 1e-4, 0.01, 1.0, 3600.0))
        at = written(bound + dice.uniform(-near, near), unit, dice)
        unix = unix_seconds(at, unit)
        assert unix is not None
        age = offset.age(unix, received_at=now)
        assert age is not None
        limit.judge([Update(source, at=at)], now=now, epoch=1)
        assert [type(e) for e in told] == [ConditionBegan] * (age.least > LIMIT), at
        seen.add(bool(told))
    assert seen == {True, False}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_whatever_stands_for_a_stamp_nothing_fails(unit: Unit, odd: object) -> None:
    for offset in (ClockOffset(), ClockOffset()):
        told: list[Event] = []
        limit = limit_of(offset, told)
        update = Update(Source("x", "x", stamp=0, unit=unit), at=odd)  # type: ignore[arg-type]
        limit.judge([update, Update(Source(None, None))], now=NOW, epoch=1)
        offset.answered(sent_at=NOW - 0.02, received_at=NOW, venue_in=UNIX)
        limit.renew()
        limit.judge([update, update], now=NOW, epoch=1)
        assert len(told) <= 1


def test_without_a_known_clock_nothing_is_late() -> None:
    told: list[Event] = []
    limit = limit_of(ClockOffset(), told)
    source = Source("x", "x", stamp=0, unit="ms")
    limit.judge([Update(source, at=1)], now=NOW, epoch=1)
    assert told == []
    assert datetime.fromtimestamp(UNIX, UTC).year == 2026
