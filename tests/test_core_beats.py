"""The declared heartbeat at the edges of its times: due, ignored, unanswered."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.core.beats import BeatClock
from heartline.core.contracts import Beats
from heartline.core.detector import Liveness

POLICY = Liveness(peer_idle=3.0, peer_max=10.0)


def beating(*, every: float = 7.0, answered: bool = True) -> BeatClock:
    beats = Beats(every=every, answered=answered)
    return BeatClock(beats, policy=POLICY, now=100.0)


def test_without_a_declared_heartbeat_nothing_is_ever_due() -> None:
    silent = BeatClock(None, policy=POLICY, now=100.0)
    assert not silent.declared
    assert silent.next_at(now=1e9) == inf
    assert not silent.send(data_at=0.0, now=1e9)
    assert silent.answer(now=1e9) is None


@given(every=st.floats(0.5, 60.0), answered=st.booleans(), late=st.floats(0.0, 0.09))
def test_beats_are_counted_and_come_by_the_clock(
    every: float, answered: bool, late: float
) -> None:
    beats = beating(every=every, answered=answered)
    assert beats.declared
    now = 100.0
    for sent in range(5):
        due = now + every
        before = due - 1e-6
        assert not beats.send(data_at=before, now=before)
        assert beats.sent == sent
        now = due + late
        assert beats.send(data_at=now, now=now)
        beats.answer(now=now)
    assert beats.sent == 5
    assert beats.next_at(now=now) == pytest.approx(now + every)


def test_an_answer_is_measured_from_the_last_beat_and_counts_once() -> None:
    beats = beating(every=1.0)
    beats.send(data_at=0.0, now=101.0)
    beats.send(data_at=0.0, now=102.0)
    assert beats.answer(now=102.25) == 0.25
    assert beats.answer(now=102.5) is None
    assert beats.next_at(now=102.5) == 103.0
    assert beats.unanswered_for(data_at=0.0, now=1000.0) is None


def test_a_heartbeat_without_declared_answers_is_never_missed() -> None:
    beats = beating(answered=False)
    beats.send(data_at=0.0, now=107.0)
    assert beats.answer(now=107.1) is None
    assert not beats.is_ignored(data_at=1000.0, now=1000.0)
    assert beats.unanswered_for(data_at=0.0, now=1000.0) is None


def test_answers_are_ignored_once_data_came_as_long_after_the_first_beat() -> None:
    beats = beating(every=1.0)
    assert not beats.is_ignored(data_at=100.5, now=100.5)
    for now in (101.0, 102.0):
        beats.send(data_at=now, now=now)
    assert beats.next_at(now=102.0) == 103.0
    beats.send(data_at=103.0, now=103.0)
    beats.send(data_at=103.9, now=104.0)
    assert not beats.is_ignored(data_at=103.999, now=104.0)
    assert not beats.is_ignored(data_at=104.0, now=103.999)
    assert beats.is_ignored(data_at=104.0, now=104.0)
    beats.unanswered_at = 104.0
    assert not beats.is_ignored(data_at=104.0, now=104.0)


def test_silence_counts_from_the_first_beat_after_the_last_data() -> None:
    beats = beating(every=4.0)
    beats.send(data_at=100.0, now=104.0)
    beats.send(data_at=106.0, now=108.0)
    beats.send(data_at=106.0, now=112.0)
    assert beats.unanswered_for(data_at=106.0, now=117.999) is None
    assert beats.unanswered_for(data_at=106.0, now=118.0) == 10.0
    assert beats.unanswered_for(data_at=107.999, now=119.0) == 11.0
    assert beats.unanswered_for(data_at=108.0, now=119.0) is None


def test_the_next_look_is_the_first_of_beat_told_and_given_up() -> None:
    beats = beating(every=7.0)
    assert beats.next_at(now=100.0) == 107.0
    beats.send(data_at=0.0, now=107.0)
    assert beats.next_at(now=107.0) == 110.0
    assert beats.next_at(now=110.0) == 114.0
    beats.send(data_at=0.0, now=114.0)
    assert beats.next_at(now=114.0) == 117.0
    assert beats.next_at(now=117.0) == 121.0
    beats.unanswered_at = 110.0
    assert beats.next_at(now=114.0) == 117.0
    early = beating(every=100.0)
    early.send(data_at=0.0, now=200.0)
    early.unanswered_at = 200.0
    assert early.next_at(now=200.0) == 210.0
    assert early.next_at(now=210.0) == 300.0


@given(lag=st.floats(0.01, 30.0), later=st.floats(0.0, 20.0))
def test_our_stall_prolongs_a_wait_by_itself_and_never_beyond_now(
    lag: float, later: float
) -> None:
    beats = beating(every=50.0)
    beats.send(data_at=0.0, now=150.0)
    now = 150.0 + later
    beats.extend(lag, now=now)
    begins = min(now, 150.0 + lag)
    over_at = begins + 10.0
    assert beats.unanswered_for(data_at=0.0, now=over_at - 1e-6) is None
    told = beats.unanswered_for(data_at=0.0, now=over_at + 1e-6)
    assert told == pytest.approx(10.0, abs=1e-5)
    told_at = begins + 3.0
    assert not beats.is_ignored(data_at=told_at - 1e-6, now=told_at)
    assert beats.is_ignored(data_at=told_at + 1e-6, now=told_at + 1e-6)
    beats.forgive()
    beats.extend(lag, now=now)
    assert beats.unanswered_for(data_at=0.0, now=1e6) is None
