"""The alarms of a loop: one timer for all, nobody forgotten and nobody woken twice."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from math import inf
from typing import cast

import pytest

from heartline.wire.alarms import WAKING, Alarms
from heartline.wire.resting import PureResting, resting_of


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A clock that is set, and timers that fire when told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        assert delay >= 0
        self.timers.append(Timer(self.now + delay, call))
        return self.timers[-1]

    @property
    def armed(self) -> list[float]:
        return [timer.at for timer in self.timers if not timer.cancelled]

    def fire(self, *, late: float = 0.0) -> None:
        (timer,) = [timer for timer in self.timers if not timer.cancelled]
        self.timers = []
        self.now = timer.at + late
        timer.call()


class Sleeper:
    """Remembers when it was woken, and does then what it was told to."""

    def __init__(self, loop: Loop, then: Callable[[], None] = lambda: None) -> None:
        self.woken: list[float] = []
        self.then = then
        self._loop = loop

    def wake(self) -> None:
        self.woken.append(self._loop.now)
        self.then()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def alarms(loop: Loop) -> Alarms:
    return Alarms(cast(asyncio.AbstractEventLoop, loop), lambda: loop.now)


def test_all_share_one_timer_and_each_is_woken_at_its_time(
    loop: Loop, alarms: Alarms
) -> None:
    sleepers = [Sleeper(loop) for _ in range(6)]
    for sleeper, due_at in zip(sleepers, [103, 101, 102, 101, 105, 99], strict=True):
        alarms.set(sleeper, float(due_at))
        assert len(loop.armed) == 1
    while loop.armed:
        loop.fire()
    woken = [sleeper.woken for sleeper in sleepers]
    assert woken == [[103.0], [101.0], [102.0], [101.0], [105.0], [100.0]]


def test_whom_a_pass_has_no_time_for_is_woken_in_the_next_ones() -> None:
    loop = Loop()
    alarms = Alarms(cast(asyncio.AbstractEventLoop, loop), lambda: loop.now)

    def spend() -> None:
        loop.now += WAKING * 0.6

    crowd = [Sleeper(loop, spend) for _ in range(5)]
    for who in crowd:
        alarms.set(who, 101.0)
    passes: list[int] = []
    while len(passes) < 3:
        loop.fire()
        passes.append(sum(len(who.woken) for who in crowd))
    assert passes == [2, 4, 5]
    assert loop.armed == []
    assert [len(who.woken) for who in crowd] == [1] * 5


def test_a_late_timer_wakes_all_that_fell_due(loop: Loop, alarms: Alarms) -> None:
    sleepers = [Sleeper(loop) for _ in range(3)]
    for nth, sleeper in enumerate(sleepers):
        alarms.set(sleeper, 101.0 + nth)
    loop.fire(late=1.5)
    assert [sleeper.woken for sleeper in sleepers] == [[102.5], [102.5], []]
    assert loop.armed == [103.0]


def test_an_alarm_set_anew_or_cancelled_rings_no_more_at_its_old_time(
    loop: Loop, alarms: Alarms
) -> None:
    moved, cancelled = Sleeper(loop), Sleeper(loop)
    alarms.set(moved, 101.0)
    alarms.set(cancelled, 102.0)
    alarms.set(moved, 104.0)
    alarms.cancel(cancelled)
    while loop.armed:
        loop.fire()
    assert (moved.woken, cancelled.woken) == ([104.0], [])


def test_without_alarms_no_timer_is_armed(loop: Loop, alarms: Alarms) -> None:
    sleeper = Sleeper(loop)
    alarms.set(sleeper, 101.0)
    alarms.cancel(sleeper)
    assert loop.armed == []
    alarms.set(sleeper, inf)
    assert loop.armed == []


def test_who_is_due_at_once_again_waits_for_the_next_pass(
    loop: Loop, alarms: Alarms
) -> None:
    eager = Sleeper(loop)
    eager.then = lambda: alarms.set(eager, 0.0)
    alarms.set(eager, 101.0)
    for passes in range(1, 4):
        loop.fire()
        assert len(eager.woken) == passes
        assert loop.armed == [101.0]


def test_whoever_gives_up_and_begins_anew_while_it_rings_costs_one_timer(
    loop: Loop, alarms: Alarms
) -> None:
    restless = Sleeper(loop)

    def begin_anew() -> None:
        for after in (1.0, 3.0, 2.0):
            alarms.cancel(restless)
            alarms.set(restless, loop.now + after)

    restless.then = begin_anew
    alarms.set(restless, 101.0)
    loop.fire()
    assert [timer.at for timer in loop.timers] == [103.0]
    restless.then = lambda: alarms.cancel(restless)
    loop.fire()
    assert loop.timers == []


def test_one_that_fails_keeps_nobody_from_being_woken(
    loop: Loop, alarms: Alarms
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    before, failing, after = Sleeper(loop), Sleeper(loop, fail), Sleeper(loop)
    for sleeper in (before, failing, after):
        alarms.set(sleeper, 101.0)
    with pytest.raises(ZeroDivisionError):
        loop.fire()
    assert (before.woken, after.woken) == ([101.0], [])
    loop.fire()
    assert (before.woken, failing.woken, after.woken) == ([101.0],) * 3
    assert loop.armed == []


def test_a_loop_has_one_set_of_alarms_that_does_not_outlive_its_holders() -> None:
    async def ring() -> weakref.ref[Alarms]:
        loop = asyncio.get_running_loop()
        alarms = Alarms.of(loop, loop.time)
        assert Alarms.of(loop, loop.time) is alarms
        rung = asyncio.Event()
        alarms.set(Sleeper(Loop(), rung.set), loop.time() + 0.01)
        async with asyncio.timeout(10):
            await rung.wait()
        return weakref.ref(alarms)

    gone = asyncio.run(ring())
    gc.collect()
    assert gone() is None


def test_a_loop_that_leads_to_its_alarms_ends_with_them() -> None:
    class Owner(Loop):
        alarms: Alarms
        resting: PureResting

    def own() -> tuple[weakref.ref[Owner], weakref.ref[PureResting]]:
        owner = Owner()
        loop = cast(asyncio.AbstractEventLoop, owner)

        def clock() -> float:
            return owner.now

        owner.alarms = Alarms.of(loop, clock)
        owner.resting = resting_of(loop, clock)
        assert Alarms.of(loop, clock) is owner.alarms
        assert resting_of(loop, clock) is owner.resting
        return weakref.ref(owner), weakref.ref(owner.resting)

    gone = own()
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
