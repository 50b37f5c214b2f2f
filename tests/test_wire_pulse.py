"""The pulse of a loop: who is told that it stood still, and how often."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import cast

import pytest

from heartline.wire.pulse import EVERY, LATE, STOOD_STILL, TELLING, Pulse


class Loop:
    """A clock that is set, and the one timer that is armed."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 7.0
        self.beat: tuple[float, Callable[[], None]] | None = None
        self.soon: list[Callable[[], None]] = []

    def call_later(self, delay: float, call: Callable[[], None]) -> Loop:
        self.beat = self.now + delay, call
        return self

    def cancel(self) -> None:
        self.beat = None

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def turn(self) -> None:
        """One pass: what was to be called soon when it begins."""
        soon, self.soon = self.soon, []
        for call in soon:
            call()

    def fire(self, *, late: float = 0.0) -> None:
        """Let the timer fire, so late, or as late as it already is; then passes,
        until nothing is to be called soon any more."""
        self.beats(late=late)
        for _ in range(1000):
            if not self.soon:
                return
            self.turn()
        raise AssertionError("it never ends")

    def beats(self, *, late: float = 0.0) -> None:
        """Let the timer fire, and no pass follow it."""
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
    pulse.feel(1)
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
    pulse.feel(1)
    loop.turn()
    assert told == []


class Crowd:
    """Listeners whose looks at their sockets take their time."""

    def __init__(self, loop: Loop, size: int, *, takes: float = TELLING / 4) -> None:
        self.told: list[tuple[int, float]] = []
        self.pulse = pulse_of(loop)
        self._loop, self._takes = loop, takes
        for who in range(size):
            self.pulse.listen(who, lambda stood, who=who: self._hear(who, stood))

    def _hear(self, who: int, stood: float) -> None:
        self.told.append((who, stood))
        self._loop.now += self._takes

    @property
    def whom(self) -> list[int]:
        return [who for who, _ in self.told]


def test_many_are_told_some_in_each_pass_and_the_loop_goes_on_once_all_are() -> None:
    loop = Loop()
    crowd = Crowd(loop, 100)
    loop.beats(late=0.5)
    told = 0
    while told < 100:
        assert not crowd.pulse.goes_on(loop.now), "somebody reads before it is told"
        began_at = loop.now
        loop.turn()
        assert loop.now - began_at <= TELLING + TELLING / 4
        assert len(crowd.told) > told
        told = len(crowd.told)
    assert sorted(crowd.whom) == list(range(100))
    assert crowd.pulse.goes_on(loop.now)
    assert [stood for _, stood in crowd.told] == [pytest.approx(EVERY + 0.5)] * 100
    loop.fire()
    assert len(crowd.told) == 100


def test_who_is_about_to_read_is_told_before_all_others_and_only_once() -> None:
    loop = Loop()
    crowd = Crowd(loop, 100)
    loop.now += STOOD_STILL + 0.01
    crowd.pulse.feel(70)
    crowd.pulse.feel(70)
    assert crowd.whom == [70]
    crowd.pulse.feel("who does not listen")
    loop.fire()
    assert crowd.whom == [70, *range(70), *range(71, 100)]


def test_a_stall_while_many_are_told_is_told_to_all_of_them() -> None:
    loop = Loop()
    crowd = Crowd(loop, 100)
    loop.beats(late=0.5)
    loop.turn()
    first = crowd.whom
    loop.now += STOOD_STILL + 0.01
    crowd.pulse.feel(99)
    assert crowd.told[-1] == (99, pytest.approx(0.6 + STOOD_STILL + 0.01))
    loop.fire()
    again = [stood for who, stood in crowd.told[len(first) :] if who in first]
    assert again == [pytest.approx(STOOD_STILL + 0.01)] * len(first)
    assert len(crowd.told) == len(first) + 100
    assert crowd.pulse.goes_on(loop.now)


def test_who_leaves_is_not_told_and_the_last_who_leaves_lets_the_loop_go_on() -> None:
    loop = Loop()
    crowd = Crowd(loop, 3)
    loop.beats(late=0.5)
    crowd.pulse.feel(0)
    crowd.pulse.leave(1)
    assert not crowd.pulse.goes_on(loop.now)
    crowd.pulse.leave(2)
    assert crowd.pulse.goes_on(loop.now)
    loop.turn()
    assert crowd.whom == [0]


def test_a_listener_that_fails_keeps_nobody_from_being_told() -> None:
    loop, told = Loop(), list[float]()
    pulse = pulse_of(loop)

    def fail(stood: float) -> None:
        raise ZeroDivisionError

    pulse.listen(1, fail)
    pulse.listen(2, told.append)
    loop.beats(late=0.5)
    with pytest.raises(ZeroDivisionError):
        loop.turn()
    loop.turn()
    assert told == [pytest.approx(EVERY + 0.5)]
    assert pulse.goes_on(loop.now)


def test_a_suspend_that_nobody_listens_for_keeps_no_loop_busy() -> None:
    """Who has left may look once more, woken in the pass in which it did."""
    loop = Loop()
    pulse = Pulse(
        cast(asyncio.AbstractEventLoop, loop),
        clock=lambda: loop.now,
        asleep=lambda: loop.slept,
    )
    pulse.listen(1, lambda stood: None)
    pulse.leave(1)
    loop.slept += 60.0
    pulse.feel(1)
    assert not loop.soon


def test_a_look_while_the_last_is_told_finds_no_stall_of_its_own() -> None:
    loop, told = Loop(), list[float]()
    pulse = pulse_of(loop)

    def look_again(stood: float) -> None:
        told.append(stood)
        if len(told) == 1:
            pulse.feel(1)

    pulse.listen(1, look_again)
    loop.fire(late=0.5)
    assert told == [pytest.approx(EVERY + 0.5)]
    assert pulse.goes_on(loop.now)


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
