"""Small machines of the core at the very edges of their spans of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.core.attempt import Attempt
from heartline.core.backoff import Backoff
from heartline.core.events import (
    Abort,
    Close,
    ConditionBegan,
    ConditionEnded,
    Connected,
    Dial,
    DialLost,
    DialSucceeded,
    Dropped,
    Ended,
    Lost,
    Overflowed,
    Ping,
    Ponged,
    Received,
    Stage,
    Staged,
    Stalled,
    Start,
    Stop,
    Stopped,
    Sync,
    Tick,
)
from heartline.core.items import Cause, Condition, Phase
from heartline.core.neighbours import MOST_REMEMBERED, Neighbours
from heartline.core.overflow import SlowConsumer
from heartline.core.session import Session
from heartline.core.stall import Lateness
from heartline.core.terms import Dialling, Terms

BEGAN = 50.0
SPANS = st.floats(0.01, 100.0)


# --- an attempt -------------------------------------------------------------------


@given(resolve=SPANS, connect=SPANS, stage=st.sampled_from(list(Stage)))
def test_an_attempt_ends_with_the_time_of_its_stage(
    resolve: float, connect: float, stage: Stage
) -> None:
    attempt = Attempt(4, Dialling(resolve=resolve, connect=connect), now=BEGAN)
    attempt.stage = stage
    resolving = stage is Stage.RESOLVING
    allowed = min(resolve, connect) if resolving else connect
    assert attempt.due_at == BEGAN + allowed
    failure = attempt.failure()
    assert failure.epoch == 4
    cause = Cause.NAME_RESOLUTION if resolving else Cause.HANDSHAKE_TIMEOUT
    assert failure.cause is cause
    assert f"{allowed:g} s" in failure.reason
    assert stage.value in failure.reason


def test_what_is_asked_before_the_name_is_not_the_name_services() -> None:
    attempt = Attempt(1, Dialling(resolve=2.0, connect=7.0), now=BEGAN)
    attempt.reach(Stage.ADDRESSING, now=BEGAN)
    assert attempt.due_at == BEGAN + 7.0
    assert attempt.failure().cause is Cause.HANDSHAKE_TIMEOUT
    attempt.reach(Stage.RESOLVING, now=BEGAN + 3.0)
    assert attempt.due_at == BEGAN + 5.0
    assert attempt.failure().cause is Cause.NAME_RESOLUTION
    attempt.reach(Stage.CONNECTING, now=BEGAN + 4.0)
    assert attempt.due_at == BEGAN + 7.0


@given(resolve=SPANS, connect=SPANS, at=SPANS, lag=SPANS, late=st.booleans())
def test_our_lag_extends_an_attempt_by_itself_but_by_one_attempt_at_most(
    resolve: float, connect: float, at: float, lag: float, late: bool
) -> None:
    attempt = Attempt(1, Dialling(resolve=resolve, connect=connect), now=BEGAN)
    attempt.stage = Stage.SECURING if late else Stage.RESOLVING
    before, now = attempt.due_at, BEGAN + at
    attempt.extend(lag, now=now)
    by = now + min(lag, connect)
    if late:
        assert attempt.due_at == max(before, by)
    else:
        resolved, connected = BEGAN + resolve, BEGAN + connect
        assert attempt.due_at == min(max(resolved, by), max(connected, by))


# --- a slow consumer --------------------------------------------------------------


def test_drops_are_announced_at_once_then_each_second_and_all_of_them() -> None:
    slow = SlowConsumer()
    out = slow.overflowed(Overflowed(5), epoch=2, now=10.0)
    began, dropped = out
    assert isinstance(began, ConditionBegan)
    assert began.condition is Condition.SLOW_CONSUMER
    assert isinstance(dropped, Dropped)
    assert (dropped.messages, dropped.total, dropped.epoch) == (5, 5, 2)
    assert slow.due_at == float("inf")
    assert slow.overflowed(Overflowed(3), epoch=2, now=10.5) == []
    assert slow.overflowed(Overflowed(4), epoch=2, now=10.999) == []
    assert slow.due_at == 11.0
    [dropped] = slow.overflowed(Overflowed(1), epoch=2, now=11.0)
    assert isinstance(dropped, Dropped)
    assert (dropped.messages, dropped.total) == (8, 13)
    assert slow.tell(epoch=2, now=11.1) == []
    slow.overflowed(Overflowed(2), epoch=2, now=11.5)
    last, ended = slow.caught_up(epoch=3, now=12.5)
    assert isinstance(last, Dropped)
    assert (last.messages, last.total, last.epoch) == (2, 15, 3)
    assert isinstance(ended, ConditionEnded)
    assert (ended.after, ended.epoch) == (2.5, 3)
    assert slow.caught_up(epoch=3, now=13.0) == []
    assert slow.overflowed(Overflowed(0), epoch=3, now=14.0)[0] is not None


# --- our own lateness -------------------------------------------------------------


def test_a_stall_drains_until_a_tick_finds_nothing_unread() -> None:
    lateness = Lateness(now=10.0)
    assert not lateness.draining
    assert lateness.drain(unread=False) is False
    assert lateness.stale_for(now=11.0) == 0.0
    lateness.handled(now=11.0)
    lateness.handled(now=14.0)
    lateness.stall(2.5, now=14.0)
    assert lateness.draining
    assert lateness.next_at(now=14.0) == pytest.approx(14.020)
    # Whatever is read now came after the last thing we handled.
    assert lateness.stale_for(now=14.0) == pytest.approx(3.0)
    assert lateness.drain(unread=True) is True
    assert lateness.next_at(now=14.020) == pytest.approx(14.030)
    assert lateness.drain(unread=False) is False
    assert not lateness.draining
    assert lateness.stale_for(now=14.1) == 0.0
    assert lateness.unproven_since == pytest.approx(11.0)
    lateness.stall(1.0, now=20.0)
    assert lateness.unproven_since == pytest.approx(11.0)
    assert lateness.stalled_for == pytest.approx(3.5)


def test_only_what_was_asked_after_a_stall_is_measured_and_proves() -> None:
    lateness = Lateness(now=10.0)
    assert lateness.measures(took=0.5, now=10.5)
    lateness.stall(1.0, now=20.0)
    assert not lateness.measures(took=0.1, now=20.05)
    assert lateness.measures(took=0.1, now=20.1)
    assert lateness.was_asked_after(20.0)
    assert not lateness.was_asked_after(19.999)
    lateness.drain(unread=False)
    assert not lateness.was_asked_after(20.5)
    lateness.resume(now=30.0)
    assert lateness.reads_old
    assert not lateness.measures(took=0.2, now=30.1)
    lateness.drain(unread=True)
    assert lateness.reads_old
    lateness.drain(unread=False)
    assert not lateness.reads_old


# --- a session's own deadlines ----------------------------------------------------


def session(**dialling: float) -> Session:
    terms = Terms(host="a", dialling=Dialling(**dialling), syncs=True)
    found = Session(terms, draw=lambda: 0.5)
    out = found.handle(Start(), now=BEGAN)
    assert [o.epoch for o in out if isinstance(o, Dial)] == [1]
    return found


def test_a_dial_is_given_its_time_and_not_a_tick_more() -> None:
    dialled = session(resolve=2.0, connect=7.0)
    assert dialled.deadline == BEGAN + 2.0
    dialled.handle(Staged(2, Stage.UPGRADING), now=BEGAN + 1.0)
    assert dialled.deadline == BEGAN + 2.0
    dialled.handle(Staged(1, Stage.UPGRADING), now=BEGAN + 1.0)
    assert dialled.deadline == BEGAN + 7.0
    assert dialled.handle(Tick(), now=BEGAN + 6.999) == []
    out = dialled.handle(Tick(), now=BEGAN + 7.0)
    assert out[0] == Abort(1)
    [told] = [o for o in out if isinstance(o, DialLost)]
    assert (told.cause, told.epoch, told.attempt) == (Cause.HANDSHAKE_TIMEOUT, 1, 1)
    assert dialled.phase is Phase.BACKOFF
    # base * draw
    assert dialled.deadline == pytest.approx(BEGAN + 7.5)


def test_a_stall_while_dialling_gives_the_dial_as_long_again() -> None:
    dialled = session(resolve=2.0, connect=7.0)
    [told] = dialled.handle(Tick(), now=BEGAN + 2.5)
    assert isinstance(told, Stalled)
    assert (told.lag, told.epoch) == (0.5, 1)
    assert dialled.deadline == BEGAN + 3.0
    punctual = session(resolve=2.0, connect=7.0)
    out = punctual.handle(Tick(), now=BEGAN + 2.0999)
    assert out[0] == Abort(1)


def test_what_is_sent_on_open_has_its_time_and_is_pinged_once() -> None:
    syncing = session(sync=4.0)
    out = syncing.handle(DialSucceeded(1, "a:1"), now=BEGAN + 1.0)
    assert [o.epoch for o in out if isinstance(o, Sync)] == [1]
    [ping] = [o for o in out if isinstance(o, Ping)]
    syncing.handle(Ponged(1, ping.payload), now=BEGAN + 1.02)
    syncing.handle(Received(1, 1, 0, 10), now=BEGAN + 1.02)
    while syncing.phase is Phase.SYNCING:
        out = syncing.handle(Tick(1), now=syncing.deadline)
        now = BEGAN + 5.0
    [told] = [o for o in out if isinstance(o, Lost)]
    assert told.at == pytest.approx(now)
    assert told.cause is Cause.HANDSHAKE_TIMEOUT


def test_a_close_has_its_time_and_an_answer_ends_it_sooner() -> None:
    for answered in (True, False):
        terms = Terms(host="a", dialling=Dialling(close=0.8))
        closing = Session(terms, draw=lambda: 0.5)
        closing.handle(Start(), now=BEGAN)
        out = closing.handle(DialSucceeded(1, "a:1"), now=BEGAN + 1.0)
        assert [o.epoch for o in out if isinstance(o, Connected)] == [1]
        assert len([o for o in out if isinstance(o, Ping)]) == 1
        out = closing.handle(Stop(1001, "bye"), now=BEGAN + 2.0)
        assert out == [Close(1, 1001, "bye")]
        assert closing.deadline == BEGAN + 2.8
        if answered:
            fact = Ended(1, Cause.CLOSED_BY_PEER, 1001)
            out = closing.handle(fact, now=BEGAN + 2.1)
        else:
            assert closing.handle(Tick(1), now=BEGAN + 2.799) == []
            out = closing.handle(Tick(1), now=BEGAN + 2.8)
            assert out[0] == Abort(1)
        assert [type(o) for o in out if isinstance(o, Stopped)] == [Stopped]
        assert closing.phase is Phase.CLOSED
        assert closing.deadline == float("inf")
        assert closing.handle(Stop(), now=BEGAN + 3.0) == []


def test_the_backoff_of_a_quiet_link_is_reset_by_a_minute_of_pongs() -> None:
    assert Backoff().quiet_uptime == 60.0
    cases = ((59.0, True, False), (61.0, True, True), (61.0, False, False))
    for uptime, answers, useful in cases:
        alive = Session(Terms(host="a"), draw=lambda: 0.5)
        alive.handle(Start(), now=BEGAN)
        out = alive.handle(DialSucceeded(1, "a:1"), now=BEGAN)
        now = BEGAN
        while now < BEGAN + uptime:
            for ping in [o for o in out if isinstance(o, Ping)]:
                now += 0.01
                if answers:
                    alive.handle(Ponged(1, ping.payload), now=now)
                alive.handle(Received(1, 1, 0, 10), now=now)
            now = min(alive.deadline, BEGAN + uptime)
            out = alive.handle(Tick(1), now=now)
        alive.handle(Received(1, 1, 0, 10), now=now)
        alive.recovery.failures = 7
        alive.handle(Ended(1, Cause.RESET), now=now + 0.1)
        assert alive.recovery.failures == (1 if useful else 8)


def test_our_stall_while_syncing_gives_what_is_sent_as_long_again() -> None:
    for lag, expected in ((0.1, 4.0), (1.5, 5.5)):
        syncing = session(sync=4.0)
        out = syncing.handle(DialSucceeded(1, "a:1"), now=BEGAN)
        now = BEGAN + 1.0
        out += syncing.handle(Tick(1, stalled=lag), now=now)
        while syncing.phase is Phase.SYNCING:
            for ping in [o for o in out if isinstance(o, Ping)]:
                syncing.handle(Ponged(1, ping.payload), now=now)
                syncing.handle(Received(1, 1, 0, 10), now=now)
            now = syncing.deadline
            out = syncing.handle(Tick(1), now=now)
        assert now == pytest.approx(BEGAN + expected)


def test_a_suspend_while_dialling_counts_as_our_lag() -> None:
    dialled = session(resolve=2.0, connect=7.0)
    [told] = dialled.handle(Tick(suspended=5.0), now=BEGAN + 2.01)
    assert isinstance(told, Stalled)
    assert told.lag == pytest.approx(5.01)
    assert told.suspended == 5.0
    # As long again from now, for the look-up and for the whole.
    assert dialled.deadline == pytest.approx(BEGAN + 2.01 + 5.01)


def test_short_stalls_are_told_together_and_long_ones_at_once() -> None:
    lateness = Lateness(now=10.0)
    assert lateness.settled
    assert lateness.tell_at == float("inf")
    assert lateness.tell(at_once=True, now=10.0) == 0.0
    lateness.stall(0.2, now=20.0)
    assert not lateness.settled
    assert lateness.tell(at_once=False, now=20.0) == 0.2
    for now in (20.3, 20.6):
        lateness.stall(0.15, now=now)
        assert lateness.tell(at_once=False, now=now) == 0.0
    assert lateness.tell_at == 21.0
    assert lateness.tell(at_once=False, now=20.999) == 0.0
    assert lateness.tell(at_once=False, now=21.0) == pytest.approx(0.3)
    lateness.stall(0.25, now=21.2)
    assert lateness.tell(at_once=False, now=21.2) == 0.0
    lateness.stall(0.25, now=21.4)
    assert lateness.tell(at_once=False, now=21.4) == 0.5
    lateness.stall(0.15, now=21.5)
    assert lateness.tell(at_once=True, now=21.5) == 0.15
    assert lateness.tell_at == float("inf")


def test_a_stall_noticed_by_two_timers_counts_once() -> None:
    lateness = Lateness(now=10.0)
    assert lateness.fresh(0.5, now=12.0) == 0.5
    lateness.stall(0.5, now=12.0)
    assert lateness.fresh(0.5, now=12.0) == 0.0
    assert lateness.fresh(0.5, now=12.2) == pytest.approx(0.2)
    assert lateness.fresh(-1.0, now=13.0) == 0.0


def test_a_sign_of_life_is_asked_for_a_second_after_the_last_ping() -> None:
    lateness = Lateness(now=10.0)
    assert lateness.ask_at(9.0) == float("inf")
    lateness.stall(0.5, now=12.0)
    assert lateness.ask_at(11.5) == 12.5
    assert lateness.ask_at(12.0) == float("inf")
    lateness.unproven_since = None
    assert lateness.ask_at(11.5) == float("inf")


def test_only_a_tick_puts_the_next_deadline_a_millisecond_off() -> None:
    hasty = session(resolve=0.0004, connect=7.0)
    assert hasty.deadline == BEGAN + 0.0004
    both = session(resolve=1.0, connect=1.0)
    both.handle(DialSucceeded(1, "a:1"), now=BEGAN + 0.5)
    due = both.deadline
    both.handle(Overflowed(1), now=due - 1.0 + 0.0002)
    both.handle(Overflowed(1), now=due - 0.5)
    both.handle(Tick(1), now=due)
    assert both.deadline >= due + 0.001 - 1e-9


def test_of_hosts_that_are_all_in_debt_the_least_indebted_is_forgotten() -> None:
    shared = Neighbours()
    for nth in range(MOST_REMEMBERED):
        for _ in range(20 + nth % 7 if nth != 40 else 15):
            shared.reserve(f"host{nth}", now=0.0)
    assert shared.reserve("host40", now=0.0) == 6.0
    shared.reserve("new", now=0.0)
    # host40 begins anew, at the cost of "new", which has dialled only once.
    assert shared.reserve("host40", now=0.0) == 0.0
    assert shared.reserve("host41", now=0.0) > 6.0
