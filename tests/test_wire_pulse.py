"""The pulse of a loop: who is told that it stood still, and how often."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import cast

import pytest

from heartline.wire.pulse import EVERY, LATE, Pulse


class Loop:
    """A clock that is set, and the one timer that is armed."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 7.0
        self.beat: tuple[float, Callable[[], None]] | None = None

    def call_later(self, delay: float, call: Callable[[], None]) -> Loop:
        self.beat = self.now + delay, call
        return self

    def cancel(self) -> None:
        self.beat = None

    def fire(self, *, late: float = 0.0) -> None:
        """Let the timer fire, so late, or as late as it already is."""
        assert self.beat is not None
        due, call = self.beat
        self.now = max(self.now, due + late)
        call()


def pulse_of(loop: Loop) -> Pulse:
    return Pulse(
        cast(asyncio.AbstractEventLoop, loop),
        clock=lambda: loop.now,
        asleep=lambda: loop.slept,
    )


def test_a_beat_that_is_late_is_told_with_what_it_stood_still() -> None:
    loop, told = Loop(), list[float]()
    pulse_of(loop).listen(1, told.append)
    loop.fire(late=LATE * 0.9)
    assert told == []
    loop.fire(late=LATE * 1.1)
    assert told == [pytest.approx(EVERY + LATE * 1.1)]


def test_telling_many_takes_its_time_and_is_no_stall_to_be_told_of() -> None:
    loop, told = Loop(), list[float]()
    pulse = pulse_of(loop)

    def hear(stood: float) -> None:
        told.append(stood)
        loop.now += 0.001

    for who in range(500):
        pulse.listen(who, hear)
    loop.fire(late=0.5)
    assert len(told) == 500
    for _ in range(5):
        loop.fire()
    assert len(told) == 500


def test_a_suspend_is_felt_by_the_next_look_or_beat_and_told_once() -> None:
    loop, told = Loop(), list[float]()
    pulse = pulse_of(loop)
    pulse.listen(1, told.append)
    assert pulse.goes_on(loop.now)
    loop.slept += 60.0
    assert not pulse.goes_on(loop.now), "what is read now may have waited"
    pulse.feel()
    assert told == [0.0], "the loop did not stand still by the clock of the streams"
    assert pulse.goes_on(loop.now)
    loop.slept += 60.0
    loop.fire()
    assert told == [0.0, 0.0]
    loop.fire()
    assert told == [0.0, 0.0]


def test_a_suspend_before_anybody_listens_is_not_told() -> None:
    loop, told = Loop(), list[float]()
    pulse = pulse_of(loop)
    loop.slept += 60.0
    pulse.listen(1, told.append)
    assert pulse.goes_on(loop.now)
    pulse.feel()
    assert told == []


def test_a_loop_that_was_left_with_listeners_ends_with_its_pulse() -> None:
    def left() -> tuple[weakref.ref[Loop], weakref.ref[Pulse]]:
        owner = Loop()
        loop = cast(asyncio.AbstractEventLoop, owner)
        pulse = Pulse.of(loop)
        assert Pulse.of(loop) is pulse
        pulse.listen(1, list[float]().append)
        assert owner.beat is not None, "the loop leads to its pulse"
        return weakref.ref(owner), weakref.ref(pulse)

    gone = left()
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
