"""The clockwork alone: a machine, a clock and a loop that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from heartline.core.adaptive import MANY
from heartline.core.calm import LULL
from heartline.core.events import (
    Answered,
    Connecting,
    Fact,
    Output,
    Ponged,
    Received,
    Stopped,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.wire.pulse import STOOD_STILL, Pulse
from heartline.wire.pump import LATE, MOST_ARMED, Pump

INF = float("inf")


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A clock that is set, timers that fire when told, and who slept meanwhile."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 5.0
        self.timers: list[Timer] = []
        self.reported: list[dict[str, Any]] = []

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        assert delay >= 0
        self.timers.append(Timer(self.now + delay, call))
        return self.timers[-1]

    def call_soon(self, call: Callable[[], None]) -> None:
        """Nothing here waits for the next pass."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.reported.append(context)

    @property
    def armed(self) -> list[float]:
        return [t.at for t in self.timers if not t.cancelled]

    def fire(self, at: float | None = None) -> None:
        """Let the one armed timer fire, at its time or as late as said."""
        (timer,) = [t for t in self.timers if not t.cancelled]
        self.timers.remove(timer)
        self.now = timer.at if at is None else at
        timer.call()


class Machine:
    """Says what it is told to say, and remembers what it was given, and when."""

    def __init__(self) -> None:
        self.deadline = INF
        self.calm_for = LULL
        self.spare_reads = MANY
        self.epoch = 1
        self.put_off_to = -INF
        self.given: list[tuple[float, Fact]] = []
        self.answers: dict[type, list[Output]] = {}
        self.fails_on: type | None = None
        self.next_deadline: Callable[[float], float] = lambda now: self.deadline

    def lull(self, *, now: float) -> float:
        return self.calm_for

    def handle(self, fact: Fact, *, now: float) -> list[Output]:
        self.given.append((now, fact))
        if self.fails_on is not None and isinstance(fact, self.fails_on):
            raise ZeroDivisionError
        self.deadline = self.next_deadline(now)
        return self.answers.get(type(fact), [])

    def put_off(self, data_at: float, *, now: float) -> None:
        self.deadline = max(self.deadline, self.put_off_to)

    @property
    def facts(self) -> list[Fact]:
        return [fact for _, fact in self.given]


class Rig:
    def __init__(self) -> None:
        self.world, self.machine = World(), Machine()
        self.obeyed: list[Output] = []
        self.settled: list[int] = []
        self.on_obey: Callable[[Output], None] = lambda output: None
        self.evidence = Evidence(unread_bytes=7)
        self.pump = Pump(
            self.machine,
            obey=self._obey,
            look=lambda: (3, self.evidence),
            settle=lambda: self.settled.append(len(self.obeyed)),
            loop=cast(asyncio.AbstractEventLoop, self.world),
            clock=lambda: self.world.now,
            asleep=lambda: self.world.slept,
        )

    def _obey(self, output: Output) -> None:
        self.obeyed.append(output)
        self.on_obey(output)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def event(number: int) -> Output:
    return Connecting(at=0.0, epoch=number, attempt=number)


# --- facts and outputs ------------------------------------------------------------


def test_outputs_are_obeyed_in_order_and_settled_once(rig: Rig) -> None:
    rig.machine.answers[Answered] = [event(1), event(2)]
    rig.pump.feed(Answered(1))
    assert rig.obeyed == [event(1), event(2)]
    assert rig.settled == [2]


def test_a_fact_that_changes_nothing_settles_nothing(rig: Rig) -> None:
    rig.pump.feed(Answered(1))
    assert rig.machine.given == [(100.0, Answered(1))]
    assert rig.settled == []


def test_facts_that_arise_while_obeying_wait_their_turn(rig: Rig) -> None:
    rig.machine.answers[Answered] = [event(1), event(2)]
    rig.machine.answers[Ponged] = [event(3)]

    def on_obey(output: Output) -> None:
        if output == event(1):
            rig.pump.feed(Ponged(1, b"first"))
            rig.pump.feed(Ponged(1, b"second"))
            assert rig.machine.facts == [Answered(1)]

    rig.on_obey = on_obey
    rig.pump.feed(Answered(1))
    assert rig.machine.facts == [Answered(1), Ponged(1, b"first"), Ponged(1, b"second")]
    assert rig.obeyed == [event(1), event(2), event(3), event(3)]
    assert rig.settled == [4]


def test_what_cannot_be_obeyed_is_reported_and_the_rest_obeyed(rig: Rig) -> None:
    rig.machine.answers[Answered] = [event(1), event(2)]
    rig.machine.next_deadline = lambda now: now + 1

    def on_obey(output: Output) -> None:
        if output == event(1):
            raise LookupError("no")

    rig.on_obey = on_obey
    rig.pump.feed(Answered(1))
    assert rig.obeyed == [event(1), event(2)]
    assert rig.settled == [2]
    assert rig.world.armed == [101.0]
    (report,) = rig.world.reported
    assert isinstance(report["exception"], LookupError)
    assert "Connecting" in report["message"]
    rig.pump.feed(Answered(2))
    assert rig.machine.facts == [Answered(1), Answered(2)]


def test_a_machine_that_fails_is_looked_at_again_but_not_in_a_hot_loop(
    rig: Rig,
) -> None:
    rig.machine.deadline = 100.5
    rig.pump.feed(Answered(1))
    rig.machine.fails_on = Tick
    for _ in range(3):
        before = max(rig.world.now, rig.world.armed[0])
        with pytest.raises(ZeroDivisionError):
            rig.world.fire()
        (armed,) = rig.world.armed
        assert armed - before == pytest.approx(LATE)
    rig.machine.fails_on = None
    rig.world.fire()
    assert isinstance(rig.machine.facts[-1], Tick)


def test_a_failing_machine_forgets_no_fact_that_waited(rig: Rig) -> None:
    rig.machine.answers[Answered] = [event(1)]
    rig.machine.fails_on = Ponged

    def on_obey(_: Output) -> None:
        rig.pump.feed(Ponged(1, b""))
        rig.pump.feed(Answered(2))
        rig.on_obey = lambda output: None

    rig.on_obey = on_obey
    with pytest.raises(ZeroDivisionError):
        rig.pump.feed(Answered(1))
    rig.pump.feed(Answered(3))
    facts = [Answered(1), Ponged(1, b""), Answered(2), Answered(3)]
    assert rig.machine.facts == facts


# --- the timer --------------------------------------------------------------------


def test_the_deadline_is_armed_and_its_tick_brings_the_evidence(rig: Rig) -> None:
    rig.machine.deadline = 100.5
    rig.pump.feed(Answered(1))
    assert rig.world.armed == [100.5]
    rig.machine.next_deadline = lambda now: INF
    rig.world.fire()
    assert rig.machine.given[-1] == (100.5, Tick(3, rig.evidence, 0.0))
    assert rig.world.armed == []


def test_an_earlier_deadline_is_armed_anew_a_later_one_is_not(rig: Rig) -> None:
    rig.machine.deadline = 101.0
    rig.pump.feed(Answered(1))
    for deadline in (103.0, INF):
        rig.machine.deadline = deadline
        rig.pump.feed(Answered(1))
        assert rig.world.armed == [101.0]
    rig.machine.deadline = 100.7
    rig.pump.feed(Answered(1))
    assert rig.world.armed == [100.7]
    # It fires too early for a deadline that was put off, and only looks again.
    rig.machine.deadline = 105.0
    given = len(rig.machine.given)
    rig.world.fire()
    assert len(rig.machine.given) == given
    assert rig.world.armed == [105.0]
    rig.machine.deadline = INF
    rig.world.fire()
    assert rig.world.armed == []


def test_a_deadline_in_the_past_is_due_at_once_and_a_far_one_in_steps(
    rig: Rig,
) -> None:
    rig.machine.deadline = 90.0
    rig.pump.feed(Answered(1))
    assert rig.world.armed == [100.0]
    rig.machine.next_deadline = lambda now: 1e9
    rig.world.fire()
    assert rig.world.armed == [100.0 + MOST_ARMED]
    rig.world.fire()
    assert rig.world.armed == [100.0 + 2 * MOST_ARMED]


def test_stopped_it_fires_no_more(rig: Rig) -> None:
    rig.machine.deadline = 100.5
    rig.pump.feed(Answered(1))
    rig.pump.stop()
    assert rig.world.armed == []
    rig.pump.stop()


def test_late_is_more_than_a_timer_may_be(rig: Rig) -> None:
    rig.machine.deadline = 100.5
    assert not rig.pump.is_late(100.5 + LATE)
    assert rig.pump.is_late(100.5 + LATE + 0.001)
    rig.machine.deadline = INF
    assert not rig.pump.is_late(1e9)


def test_sleep_is_told_once_with_the_next_tick(rig: Rig) -> None:
    rig.world.slept += LATE / 2  # two clocks are never read in the same instant
    rig.pump.tick()
    assert rig.machine.facts[-1] == Tick(3, rig.evidence, 0.0)
    rig.world.slept += 3600.0
    assert rig.pump.suspended == 3600.0
    rig.pump.tick()
    assert rig.machine.facts[-1] == Tick(3, rig.evidence, 3600.0)
    assert rig.pump.suspended == 0.0
    rig.pump.tick()
    assert rig.machine.facts[-1] == Tick(3, rig.evidence, 0.0)


def test_a_clock_of_sleep_that_runs_backwards_is_no_sleep(rig: Rig) -> None:
    rig.world.slept -= 1.0
    assert rig.pump.suspended == 0.0
    rig.pump.tick()
    assert rig.machine.facts[-1] == Tick(3, rig.evidence, 0.0)


# --- reads told together ----------------------------------------------------------


def hear(rig: Rig, frames: int, epoch: int = 1) -> bool:
    """One read, as the driver tells it; whether the machine was left in peace."""
    read = (epoch, frames, frames - 1, 10 * frames)
    kept = rig.pump.hears(*read, now=rig.world.now)
    if not kept:
        rig.pump.heard(*read, now=rig.world.now)
    return kept


def told(rig: Rig) -> list[tuple[int, int]]:
    """Epoch and frames of each `Received` that the machine was given."""
    return [(f.epoch, f.frames) for f in rig.machine.facts if isinstance(f, Received)]


def test_reads_close_together_are_told_as_one_as_of_the_last(rig: Rig) -> None:
    assert not hear(rig, 1)
    rig.world.now += LULL / 4
    assert hear(rig, 2)
    last = rig.world.now = rig.world.now + LULL / 4
    assert hear(rig, 3)
    assert rig.machine.given == [(100.0, Received(1, 1, 0, 10))]
    rig.world.now += 1.0
    rig.pump.flush()
    both = Received(1, 5, 3, 50, 2, 100.0 + LULL / 4, (LULL / 4,))
    assert rig.machine.given[1:] == [(last, both)]
    rig.pump.flush()
    assert len(rig.machine.given) == 2


def test_a_read_is_told_no_later_than_the_next_after_a_while(rig: Rig) -> None:
    hear(rig, 1)
    rig.world.now += LULL / 2
    hear(rig, 2)
    rig.world.now += LULL
    assert not hear(rig, 4)
    assert told(rig) == [(1, 1), (1, 2), (1, 4)]


def test_a_machine_that_still_learns_is_told_of_reads_as_soon_as_it_wants(
    rig: Rig,
) -> None:
    rig.machine.calm_for = 0.02
    assert not hear(rig, 1)
    rig.world.now += 0.01
    assert hear(rig, 2)
    rig.world.now += 0.01
    assert not hear(rig, 3)
    assert told(rig) == [(1, 1), (1, 2), (1, 3)]


def test_no_more_reads_go_untold_than_the_machine_can_spare(rig: Rig) -> None:
    rig.machine.spare_reads = 2
    assert not hear(rig, 1)
    assert [hear(rig, frames) for frames in (2, 3, 4)] == [True, True, False]
    assert told(rig) == [(1, 1), (1, 5), (1, 4)]
    rig.machine.spare_reads = 0
    rig.pump.flush()
    rig.pump.feed(Answered(1))
    assert not hear(rig, 5)
    assert not hear(rig, 6)


def test_what_was_heard_is_told_before_any_other_fact(rig: Rig) -> None:
    hear(rig, 1)
    hear(rig, 2)
    rig.world.now += 0.5
    rig.pump.tick()
    kinds = [type(fact) for fact in rig.machine.facts]
    assert kinds == [Received, Received, Tick]
    assert [now for now, _ in rig.machine.given] == [100.0, 100.0, 100.5]


def test_in_doubt_every_read_is_told_at_once(rig: Rig) -> None:
    rig.machine.calm_for = 0.0
    for frames in (1, 2, 3):
        assert not hear(rig, frames)
        assert told(rig)[-1] == (1, frames)
    rig.machine.calm_for = LULL
    assert not hear(rig, 4)
    assert hear(rig, 5)
    # A doubt that arises finds all that was read before it.
    rig.machine.calm_for = 0.0
    rig.pump.feed(Answered(1))
    assert told(rig) == [(1, n) for n in (1, 2, 3, 4, 5)]
    assert rig.machine.facts[-1] == Answered(1)
    assert not hear(rig, 6)


def test_reads_of_two_links_are_never_added_up(rig: Rig) -> None:
    hear(rig, 1)
    assert hear(rig, 2)
    assert not hear(rig, 4, epoch=2)
    rig.pump.flush()
    assert told(rig) == [(1, 1), (1, 2), (2, 4)]


def test_a_read_after_a_stall_of_ours_is_told_after_the_stall(rig: Rig) -> None:
    rig.machine.deadline = 100.5
    hear(rig, 1)
    rig.world.now = 100.5 + LATE + 0.01
    assert not hear(rig, 2)
    assert [type(f) for f in rig.machine.facts] == [Received, Tick, Received]


def test_an_alarm_is_put_off_for_data_that_was_read_but_not_for_other_frames(
    rig: Rig,
) -> None:
    rig.machine.deadline = 101.0
    rig.pump.feed(Answered(1))
    rig.machine.put_off_to = 102.0
    for frames, due in ((1, 101.0), (2, 102.0)):
        rig.machine.deadline = 101.0
        hear(rig, 1)
        assert hear(rig, frames), "a ping alone, then one with a message"
        rig.world.fire()
        assert rig.machine.deadline == due
        ticked = Tick in [type(fact) for fact in rig.machine.facts]
        assert ticked == (due == 101.0)
        rig.machine.given.clear()
        rig.world.now = 100.0
    assert rig.world.armed == [102.0]


def test_a_read_between_a_deadline_and_its_alarm_puts_it_off(rig: Rig) -> None:
    rig.machine.deadline = 101.0
    hear(rig, 1)
    rig.machine.put_off_to = 102.0
    rig.world.now = 101.001
    assert not hear(rig, 2), "nothing was read that could put it off"
    rig.machine.deadline = 101.5
    hear(rig, 2)
    assert hear(rig, 2)
    rig.world.now = 101.501
    assert hear(rig, 2)
    assert rig.machine.deadline == 102.0
    rig.world.fire()
    assert Tick not in [type(fact) for fact in rig.machine.facts]
    rig.world.now = 102.001
    rig.machine.put_off_to = -INF
    assert not hear(rig, 2)
    assert [frames for _, frames in told(rig)] == [1, 2, 2, 4, 2]


@pytest.mark.parametrize("asleep", [0.0, 1.0])
def test_no_alarm_is_put_off_after_a_suspend(rig: Rig, asleep: float) -> None:
    rig.machine.deadline = 101.0
    hear(rig, 2)
    rig.machine.put_off_to = 102.0
    hear(rig, 2)
    rig.world.slept += asleep
    rig.world.fire()
    ticks = [fact for fact in rig.machine.facts if isinstance(fact, Tick)]
    assert [tick.suspended for tick in ticks] == ([asleep] if asleep else [])


def test_what_was_put_off_is_told_in_the_end(rig: Rig) -> None:
    rig.machine.deadline = 101.0
    hear(rig, 2)
    while Tick not in [type(fact) for fact in rig.machine.facts]:
        assert hear(rig, 2)
        rig.machine.put_off_to = rig.machine.deadline + 1.0
        rig.world.fire()
    assert rig.world.now <= 100.0 + LULL + 1.0
    assert sum(frames for _, frames in told(rig)) == 2 + 2 * (rig.world.now - 100.0)


def feeling(rig: Rig) -> Pump:
    """A pump that feels the loop's pulse."""
    pulse = Pulse(
        cast(asyncio.AbstractEventLoop, rig.world), clock=lambda: rig.world.now
    )
    return Pump(
        rig.machine,
        obey=lambda _: None,
        look=lambda: (1, rig.evidence),
        settle=lambda: None,
        loop=cast(asyncio.AbstractEventLoop, rig.world),
        clock=lambda: rig.world.now,
        asleep=lambda: 0.0,
        pulse=pulse,
    )


def test_a_read_after_the_loop_stood_still_is_told_after_it(rig: Rig) -> None:
    pump = feeling(rig)
    rig.machine.next_deadline = lambda now: 110.0
    pump.heard(1, 1, 1, 10, now=100.0)
    rig.world.now += STOOD_STILL - 0.01
    assert pump.hears(1, 1, 1, 10, now=rig.world.now)
    rig.world.now += STOOD_STILL - 0.01
    assert pump.hears(1, 1, 1, 10, now=rig.world.now), "the loop was seen to go on"
    rig.world.now += STOOD_STILL + 0.01
    assert not pump.hears(1, 1, 1, 10, now=rig.world.now)
    pump.heard(1, 1, 1, 10, now=rig.world.now)
    received, both, tick, last = rig.machine.facts
    assert isinstance(both, Received)
    assert (both.reads, isinstance(received, Received)) == (2, True)
    assert isinstance(tick, Tick)
    assert tick.stalled == pytest.approx(STOOD_STILL + 0.01)
    assert isinstance(last, Received)


def test_what_is_due_after_the_loop_stood_still_is_judged_knowing_of_it(
    rig: Rig,
) -> None:
    """Due shortly before the loop went on, it is not late; what it reads is old."""
    pump = feeling(rig)
    rig.machine.next_deadline = lambda now: now + 0.5
    pump.heard(1, 1, 1, 10, now=100.0)
    rig.world.now += 0.5
    pump.wake()
    (tick,) = [fact for fact in rig.machine.facts if isinstance(fact, Tick)]
    assert tick.stalled == pytest.approx(0.5)


def test_a_machine_that_fails_at_a_stall_is_looked_at_again(rig: Rig) -> None:
    pump = feeling(rig)
    (beat,) = rig.world.timers
    beat.cancel()
    rig.machine.next_deadline = lambda now: now + 0.5
    pump.heard(1, 1, 1, 10, now=100.0)
    rig.world.now += 0.5
    rig.machine.fails_on = Tick
    with pytest.raises(ZeroDivisionError):
        rig.world.fire()
    rig.machine.fails_on = None
    rig.world.fire()
    assert isinstance(rig.machine.facts[-1], Tick)
    assert rig.machine.deadline > rig.world.now


def test_a_read_while_obeying_is_told_afterwards(rig: Rig) -> None:
    rig.machine.answers[Answered] = [Stopped(at=0.0, epoch=1)]

    def on_obey(_: Output) -> None:
        hear(rig, 1)
        rig.pump.flush()
        assert len(rig.machine.given) == 1

    rig.on_obey = on_obey
    rig.pump.feed(Answered(1))
    assert rig.machine.facts == [Answered(1), Received(1, 1, 0, 10)]


def test_an_answer_after_the_loop_stood_still_is_told_after_it(rig: Rig) -> None:
    """The loop reads before it looks at its timers: the time would be the peer's."""
    pump = feeling(rig)
    rig.machine.next_deadline = lambda now: 110.0
    pump.heard(1, 1, 1, 10, now=100.0)
    rig.world.now += STOOD_STILL + 0.01
    pump.brought(Ponged(1, b"1"))
    assert [type(f) for f in rig.machine.facts] == [Received, Tick, Ponged]
    rig.machine.deadline = rig.world.now - LATE - 0.01
    pump.brought(Answered(1))
    assert [type(f) for f in rig.machine.facts][3:] == [Tick, Answered]
