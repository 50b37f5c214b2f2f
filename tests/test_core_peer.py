"""What a peer is given, what ends that, and what is kept of a promise."""

from __future__ import annotations

import pytest

from heartline.core import away
from heartline.core.detector import (
    LEAST_RESEND,
    REPROOF_WITHIN,
    TIMER_SLACK,
    Liveness,
    PathClock,
)
from heartline.core.events import Paused
from heartline.core.kept import reproof_takes
from heartline.core.peer import PeerClock
from heartline.core.pings import PingOut
from scripted_link import HEARD, kernel, quiet

POLICY = Liveness()


# --- the peer's clock -----------------------------------------------------------------


def test_a_question_has_its_whole_time_though_a_messages_deadline_is_near() -> None:
    clock = PeerClock(POLICY, now=0.0)
    asked_at = POLICY.message_deadline - 0.5
    clock.pinged(now=asked_at)
    clock.moved(now=asked_at + 0.1)
    assert clock.complete_by < asked_at + POLICY.peer_idle
    overdue_at = clock.overdue_at(None, now=asked_at + 0.1)
    assert overdue_at == asked_at + POLICY.peer_idle


def test_a_frame_ends_what_the_peer_was_excused_for() -> None:
    clock = PeerClock(POLICY, now=0.0)
    clock.excuse(5.0, now=1.0)
    clock.pinged(now=1.0)
    assert clock.overdue_at(None, now=1.0) == 6.0 + POLICY.peer_idle
    clock.framed(now=1.1)
    clock.pinged(now=2.5)
    assert clock.overdue_at(None, now=2.5) == 2.5 + POLICY.peer_idle


def test_what_is_spared_puts_off_the_verdict_and_not_the_doubt() -> None:
    clock = PeerClock(POLICY, now=0.0)
    clock.pinged(now=1.0)
    clock.excuse(2.0, now=1.0)
    doubted_at = clock.suspect_at(now=1.0)
    clock.spare(9.0)
    assert clock.overdue_at(None, now=1.0) == 9.0 > 1.0 + 2.0 + POLICY.peer_idle
    clock.spare(8.5)
    assert clock.overdue_at(None, now=1.0) == 9.0
    assert clock.suspect_at(now=1.0) == doubted_at
    clock.framed(now=1.1)
    clock.pinged(now=2.5)
    assert clock.overdue_at(None, now=2.5) == 2.5 + POLICY.peer_idle


def test_what_came_behind_a_lost_segment_puts_the_verdict_off_once() -> None:
    clock = PeerClock(POLICY, now=0.0)
    clock.pinged(now=1.0)
    for now in (2.0, 3.0):
        clock.observe(kernel(out_of_order=5), now=now)
        assert clock.overdue_at(None, now=now) == 2.0 + POLICY.peer_idle


# --- the promise ----------------------------------------------------------------------


def test_a_silence_is_told_at_the_very_instant_that_was_promised() -> None:
    clocks = quiet(with_kernel=False).link.clocks
    kept = clocks.kept
    clocks.peer.pinged(now=HEARD + 1.0)
    kept.begin(5.0, since_at=HEARD)
    assert kept.told_by == pytest.approx(HEARD + 5.0 - TIMER_SLACK)
    assert kept.judge(None, pings=clocks.pings, now=kept.told_by - 1e-3) is None
    assert kept.judge(None, pings=clocks.pings, now=kept.told_by) is not None


def test_bytes_of_no_whole_frame_leave_room_for_a_late_timer_as_well() -> None:
    clocks = quiet().link.clocks
    kept, peer = clocks.kept, clocks.peer
    kept.begin(5.0, since_at=peer.frame_at)
    peer.moved(now=peer.frame_at + 2.0)
    assert kept.told_by == pytest.approx(peer.frame_at + 7.0 - TIMER_SLACK)
    peer.moved(now=peer.frame_at + 9.0)
    most = reproof_takes(clocks.path.rung) - TIMER_SLACK
    assert kept.told_by == pytest.approx(peer.complete_by + most)


# --- a ping on a path that loses ------------------------------------------------------


def test_on_a_lossy_path_the_second_resend_is_the_one_after_all_that_are_needed() -> (
    None
):
    ping = PingOut(sent_at=0.0, position=10)
    takes, needed = 0.1, 4

    def seen(resends: int, *, now: float) -> None:
        # Its last segment came a good while after the ping left.
        age = now - (takes + 2 * LEAST_RESEND)
        shown = kernel(heard_age=age, total_retransmits=resends, retransmits=resends)
        ping.watch(shown, answer_takes=takes, needed=needed, now=now)

    seen(0, now=1.0)
    for resends in range(1, needed):
        seen(resends, now=1.0 + resends)
        assert (ping.resent_at, ping.resent_twice_at) == (None, None)
    seen(needed, now=9.0)
    assert (ping.resent_at, ping.resent_twice_at) == (9.0, 9.0)
    assert ping.heard_late


# --- what a path takes ----------------------------------------------------------------


def test_a_tenth_of_all_segments_out_of_order_makes_a_path_lossy() -> None:
    for behind, needed in ((3, 2), (4, 4)):
        path = quiet().link.path
        before = path.disorder
        before.count(segments=41, behind=behind)
        assert before.share == pytest.approx(behind / 40)
        assert path.resends_needed(now=HEARD) == needed


def test_a_dead_way_out_is_missed_no_sooner_than_twice_the_paths_own_time() -> None:
    path = quiet().link.path
    climb = max(path.ride_through(now=HEARD), 3 * path.rung)
    takes = path.resending_takes(1e6, now=HEARD)
    assert takes == pytest.approx(2 * (path.patience + climb) + path.rung + 0.05)


def test_either_way_is_given_the_longer_of_two_timeouts_while_one_is_learned() -> None:
    path = quiet().link.path
    slow = kernel(round_trip=0.18, round_trip_deviation=0.02, min_round_trip=0.18)
    short = path.return_takes(0.4, 2.0)
    short_out = path.resending_takes(0.4, now=HEARD)
    path.observe(slow, now=HEARD + 0.5)
    assert path.learning
    learning = path.return_takes(0.4, 2.0)
    learning_out = path.resending_takes(0.4, now=HEARD)
    path.heard(now=HEARD + 0.6)
    path.observe(slow, now=HEARD + 0.7)
    assert not path.learning
    assert learning == path.return_takes(0.4, 2.0) > short + 0.1
    assert learning_out == path.resending_takes(0.4, now=HEARD) > short_out + 0.1


def test_who_was_heard_by_when_nobody_asked_is_given_what_is_left_of_that_time() -> (
    None
):
    for left, given in ((2.0, 2.0), (0.5, 0.5), (0.0, 0.0), (-3.0, 0.0)):
        clocks = quiet(policy=Liveness(kernel_interval=10)).link.clocks
        path, peer = clocks.path, clocks.peer
        path.silence = 5.0
        heard_by = path.heard_at + 5.0 + LEAST_RESEND + path.timeout
        now = heard_by - peer.allowance(now=HEARD) - left
        assert away.unasked(path, peer, now=now) == pytest.approx(heard_by)
        before = peer.excused_until
        clocks._expect(heard_by, now=now)
        after = now + given if given else before
        assert peer.excused_until == pytest.approx(after)


@pytest.mark.parametrize("silence", [0.5, 2.9, 9.0])
def test_what_answers_a_silence_may_be_lost_once_where_little_was_carried(
    silence: float,
) -> None:
    for carried, again in ((10, 2 * (silence + LEAST_RESEND)), (1000, 0.0)):
        clocks = quiet(policy=Liveness(kernel_interval=10)).link.clocks
        path, peer = clocks.path, clocks.peer
        path.silence = silence
        path.kernel = kernel(segments_in=carried)
        heard_by = away.unasked(path, peer, now=HEARD)
        assert heard_by is not None
        clocks.kept.begin(60.0, since_at=HEARD)
        peer.pinged(now=HEARD)
        clocks._expect(heard_by, now=HEARD)
        accused_at = HEARD + peer.allowance(now=HEARD)
        due = peer.overdue_at(path.kernel, now=HEARD)
        assert due == pytest.approx(max(accused_at, heard_by + again))


def test_a_peers_kernel_is_asked_so_late_that_its_proof_counts_at_the_verdict() -> None:
    for rung in (0.08, 0.35):
        clocks = quiet().link.clocks
        clocks.path.timeout = rung - 0.05
        clocks.kept.begin(5.0, since_at=HEARD)
        before = clocks.kept.told_by - clocks.kept.asked_by
        assert before == pytest.approx(max(rung, REPROOF_WITHIN / 2))


def test_disorder_counts_from_the_first_segment_of_a_link_that_had_no_kernel() -> None:
    path = PathClock(POLICY, kernel=None, now=0.0)
    path.observe(kernel(segments_in=40, out_of_order=4), now=1.0)
    assert path.disorder.share == pytest.approx(0.1)


def test_a_question_is_void_as_soon_as_nothing_is_read() -> None:
    world = quiet()
    while world.link.peer.wait is None:
        world.tick()
    world.handle(Paused(3))
    assert world.link.peer.wait is None
