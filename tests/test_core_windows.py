"""What the peer's advertised window tells of a pipe that stands still."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from heartline.core.detector import Liveness, PathClock, window_shut
from heartline.core.evidence import Kernel
from heartline.core.peer import PeerClock, Wait
from heartline.core.pings import PingOut
from scripted_link import kernel


@given(
    window=st.one_of(st.none(), st.integers(0, 200_000)),
    unsent=st.integers(0, 200_000),
    in_flight=st.integers(0, 20_000),
    segments=st.integers(0, 5),
)
def test_a_window_is_shut_when_what_waits_does_not_fit_into_it(
    window: int | None, unsent: int, in_flight: int, segments: int
) -> None:
    in_flight = in_flight + 1 if segments else 0
    seen = kernel(
        send_window_bytes=window,
        unsent_bytes=unsent,
        outstanding_bytes=unsent + in_flight,
        unacked_segments=segments,
    )
    held = unsent > 0 and segments == 0
    if window is None:
        expected = held
    elif window == 0:
        expected = unsent + in_flight > 0
    else:
        expected = held and window < min(unsent, 65_535)
    assert window_shut(seen) is expected


@pytest.mark.parametrize(
    ("window", "unsent", "shut"),
    [
        (None, 1, True),
        (None, 0, False),
        (0, 1, True),
        (0, 0, False),
        (9, 10, True),
        (10, 10, False),
        (65_534, 70_000, True),
        (65_535, 70_000, False),
    ],
)
def test_the_edges_of_a_shut_window(
    window: int | None, unsent: int, shut: bool
) -> None:
    seen = kernel(
        send_window_bytes=window, unsent_bytes=unsent, outstanding_bytes=unsent
    )
    assert window_shut(seen) is shut


def waiting(**fields: Any) -> PeerClock:
    peer = PeerClock(Liveness(), now=100.0)
    peer.wait = Wait(began_at=100.0, last_ping_at=100.0, **fields)
    return peer


def test_a_probe_is_behind_a_backlog_of_more_than_4_kib_until_it_is_proven() -> None:
    for size_bytes, behind in ((4096, False), (4097, True)):
        seen = kernel(outstanding_bytes=size_bytes)
        assert waiting().is_behind_backlog(seen) is behind
        assert not waiting(proven_at=100.0).is_behind_backlog(seen)
    assert not waiting().is_behind_backlog(None)
    assert not PeerClock(Liveness(), now=1.0).is_behind_backlog(
        kernel(outstanding_bytes=9999)
    )


def test_a_peer_is_accused_while_its_kernel_has_just_proven_itself() -> None:
    open_window = kernel()
    for age, accused in ((0.0, True), (0.5, True), (0.5001, False)):
        peer = waiting(proven_at=110.0)
        assert peer.is_accused(open_window, now=110.0 + age) is accused
    assert not waiting().is_accused(open_window, now=110.0)
    for unanswered, accused in ((0, True), (1, True), (2, False)):
        shut = kernel(
            send_window_bytes=0, outstanding_bytes=1, probes_unanswered=unanswered
        )
        assert waiting().is_accused(shut, now=110.0) is accused


def test_bytes_that_move_put_a_verdict_off_up_to_the_message_deadline() -> None:
    policy = Liveness()
    peer = waiting()
    usual = 100.0 + policy.peer_idle
    assert peer.overdue_at(kernel(), now=101.0) == usual
    peer.moved(now=99.0)
    assert peer.overdue_at(kernel(), now=101.0) == usual
    peer.moved(now=102.0)
    assert peer.overdue_at(kernel(), now=102.0) == 102.0 + policy.peer_idle
    peer.moved(now=109.0)
    assert peer.overdue_at(kernel(), now=109.0) == 100.0 + policy.message_deadline
    peer.resume(now=105.0)
    assert peer.wait is None
    peer.pinged(now=106.0)
    peer.moved(now=114.0)
    assert peer.overdue_at(kernel(), now=114.0) == 105.0 + policy.message_deadline


def test_our_backlog_counts_as_movement_until_the_probe_is_proven() -> None:
    policy = Liveness()
    peer = waiting()
    moved = kernel(acked_bytes=500, outstanding_bytes=1, heard_age=0.25)
    peer.observe(moved, now=102.0)
    assert peer.overdue_at(moved, now=102.0) == 101.75 + policy.peer_idle
    empty = kernel(acked_bytes=500, outstanding_bytes=0)
    assert peer.overdue_at(empty, now=102.0) == 100.0 + policy.peer_idle
    peer.proven(at=101.75)
    assert peer.overdue_at(moved, now=102.0) == 100.0 + policy.peer_idle
    heard = kernel(received_bytes=9, heard_age=0.5)
    peer.observe(heard, now=103.0)
    assert peer.overdue_at(heard, now=103.0) == 102.5 + policy.peer_idle
    # The same bytes are no news, and an old look does not undo a new one.
    peer.observe(heard, now=104.0)
    assert peer.overdue_at(heard, now=104.0) == 102.5 + policy.peer_idle


def test_an_excuse_moves_the_beginning_of_a_wait() -> None:
    policy = Liveness()
    peer = waiting()
    peer.excuse(2.0, now=101.0)
    peer.excuse(0.5, now=101.0)
    assert peer.excused_until == 103.0
    assert peer.suspect_at(now=101.0) == 103.0 + policy.peer_idle / 2
    assert peer.overdue_at(kernel(), now=101.0) == 103.0 + policy.peer_idle


def test_the_time_a_peer_is_allowed_knows_the_rhythm_and_what_healed() -> None:
    peer = PeerClock(Liveness(), now=100.0)
    assert peer.allowance(now=100.0) == 3.0
    peer.busy = True
    assert peer.allowance(now=100.0) == 1.5
    peer.pinged(now=100.0)
    peer.framed(now=101.0)
    assert peer.allowance(now=101.0) == 4.0
    assert peer.allowance(now=101.0 + 3600.0) == pytest.approx(2.0)
    peer.pinged(now=200.0)
    peer.framed(now=204.0)
    assert peer.allowance(now=204.0) == 10.0
    assert peer.frame_at == 204.0


# --- a dead way out ---------------------------------------------------------------


def watched(sent: PingOut, seen: Kernel, *, now: float) -> None:
    sent.watch(seen, answer_takes=0.08, needed=2, now=now)


def resent_in_vain() -> PingOut:
    """A ping of 100.0, after five resends of others; a segment came, then two more."""
    sent = PingOut(sent_at=100.0, position=50, acked_bytes=10, retransmits=5)
    seen = kernel(acked_bytes=10, total_retransmits=5)
    watched(sent, seen, now=100.0799)
    assert sent.heard_retransmits is None
    watched(sent, replace(seen, heard_age=0.01), now=100.085)
    assert sent.heard_retransmits is None
    watched(sent, seen, now=100.08)
    assert sent.heard_retransmits == 5
    watched(sent, replace(seen, total_retransmits=6), now=100.3)
    assert sent.resent_at is None
    watched(sent, replace(seen, total_retransmits=7), now=100.4)
    watched(sent, replace(seen, total_retransmits=8), now=100.5)
    assert (sent.heard_retransmits, sent.resent_at) == (5, 100.4)
    return sent


@pytest.mark.parametrize(
    ("shown", "now", "lost"),
    [
        ({}, 100.481, True),
        ({}, 100.479, False),
        ({"retransmits": 0}, 101.0, False),
        ({"acked_bytes": 11}, 101.0, False),
        ({"send_window_bytes": 0, "outstanding_bytes": 40}, 101.0, False),
    ],
)
def test_a_way_out_is_dead_after_two_resends_in_vain_while_segments_come(
    shown: dict[str, int], now: float, lost: bool
) -> None:
    usual = {"acked_bytes": 10, "total_retransmits": 7, "retransmits": 1}
    seen = kernel(**{**usual, **shown})
    sent = resent_in_vain()
    assert sent.is_lost_outbound(seen, answer_takes=0.08, now=now) is lost
    sent.position = None
    assert not sent.is_lost_outbound(seen, answer_takes=0.08, now=now)


@given(needed=st.integers(2, 4), heard_after=st.integers(0, 6))
def test_resends_count_from_the_ping_and_one_of_them_after_a_segment_came(
    needed: int, heard_after: int
) -> None:
    sent = PingOut(sent_at=100.0, position=50, acked_bytes=10, retransmits=3)
    told: int | None = None
    for nth in range(12):
        age = 0.0 if nth >= heard_after else 10.0
        seen = kernel(acked_bytes=10, total_retransmits=3 + nth, heard_age=age)
        sent.watch(seen, answer_takes=0.08, needed=needed, now=101.0 + nth)
        if sent.resent_at is not None and told is None:
            told = nth
    assert told == max(needed, heard_after + 1)
    assert sent.resent_at == 101.0 + told


def test_what_is_asked_beyond_the_last_rung_puts_nothing_off() -> None:
    path = PathClock(Liveness(), kernel=kernel(), now=100.0)
    path.pinged(now=100.0)
    assert path.ladder is None
    path.doubt(now=101.0)
    assert path.ladder is not None
    for nth in range(3):
        assert path.wants_ping(now=101.0 + nth)
        path.pinged(now=101.0 + nth)
        assert not path.wants_ping(now=101.0 + nth + 0.0799)
    path.pinged(now=104.0)
    assert (path.ladder.pings, path.ladder.last_ping_at) == (3, 103.0)
    assert not path.wants_ping(now=200.0)
    first = path.ladder
    path.doubt(now=105.0)
    assert path.ladder is first
    path.forgive(now=106.0)
    assert (path.ladder.began_at, path.ladder.pings) == (106.0, 0)


def test_our_stall_prolongs_a_ladder_by_itself_and_never_beyond_now() -> None:
    for lag, began_at, last_at in ((0.5, 101.5, 101.75), (5.0, 102.0, 102.0)):
        path = PathClock(Liveness(), kernel=kernel(), now=100.0)
        path.extend(lag, now=100.5)
        assert path.ladder is None
        path.doubt(now=101.0)
        path.pinged(now=101.25)
        path.extend(lag, now=102.0)
        assert path.ladder is not None
        assert (path.ladder.began_at, path.ladder.last_ping_at) == (began_at, last_at)
        assert path.ladder.pings == 1


def test_a_way_out_that_needed_resends_is_given_more_of_them() -> None:
    path = PathClock(Liveness(), kernel=kernel(total_retransmits=7), now=100.0)
    assert path.resends_needed(now=100.0) == 2
    seen = kernel(total_retransmits=8, segments_in=2)
    path.observe(seen, now=101.0)
    assert path.resends_needed(now=101.0) == 2
    path.observe(replace(seen, segments_in=3, acked_bytes=10), now=102.0)
    assert path.resends_needed(now=102.0) == 3
    # Without a resend nothing is learned, and what was is forgotten by the hour.
    path.observe(replace(seen, segments_in=4, acked_bytes=20), now=3102.0)
    assert path.resends_needed(now=3102.0) == 3
    assert path.resends_needed(now=6102.0) == 2
    worse = replace(seen, segments_in=5, acked_bytes=30, total_retransmits=20)
    path.observe(worse, now=6104.0)
    assert path.resends_needed(now=6104.0) == 4
