"""A path that was away and is back, or loses a little: nobody is accused too soon."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.core.away import CARRIED
from heartline.core.detector import (
    LEAST_RESEND,
    REPROOF_WITHIN,
    TIMER_SLACK,
    Liveness,
)
from heartline.core.events import Doubted, Ping
from heartline.core.items import Cause, Where
from heartline.core.pings import PingOut
from heartline.core.promises import bounds
from scripted_link import HEARD, PROBE, RUNG, Scripted, alive, feed, kernel, quiet

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)


# --- the way out ----------------------------------------------------------------------


def asked_in_vain() -> Scripted:
    """A ping is out that nobody acknowledges, and segments came until lately."""
    world = quiet(policy=Liveness(kernel_interval=10))
    world.acks = False
    world.run(until=world.now + 5.0)
    world.hear()
    while not world.seen.outstanding_bytes:
        world.tick()
    return world


def back_again() -> Scripted:
    """A ping was resent in vain while nothing came; a segment came, then one resend."""
    world = asked_in_vain()
    sent_at = world.now
    world.show(total_retransmits=4, retransmits=3)
    world.run(until=sent_at + 2.0)
    world.hear()
    world.run(until=world.now + 0.06)
    world.show(total_retransmits=5, retransmits=4)
    world.run(until=world.now + 0.06)
    assert world.link.found is None
    return world


def test_one_resend_after_the_path_is_back_may_be_lost_or_its_answer() -> None:
    world = back_again()
    world.run(until=world.now + 1.0)
    assert world.link.found is None
    world.acknowledge()
    world.read(pong=True)
    world.run(until=world.now + 5.0)
    assert world.link.found is None


@pytest.mark.parametrize("proof", ["a later segment", "another resend"])
def test_a_way_out_is_dead_when_what_came_later_does_not_acknowledge_either(
    proof: str,
) -> None:
    world = back_again()
    world.run(until=world.now + 2 * RUNG)
    assert world.link.found is None
    if proof == "a later segment":
        world.hear()
    else:
        world.show(total_retransmits=6, retransmits=5)
    took = world.now
    world.run(until=world.now + 1.0)
    assert world.link.found is not None
    assert world.link.found.where is Where.OUTBOUND
    assert world.times(Ping)[-1] < took, "nothing more had to be asked"


def test_one_more_resend_proves_it_where_the_peer_sent_its_own_again_in_time() -> None:
    world = asked_in_vain()
    sent_at = world.now
    world.show(total_retransmits=1, retransmits=1)
    world.run(until=sent_at + LEAST_RESEND)
    world.hear()
    world.run(until=world.now + 0.5)
    assert world.link.found is None
    world.show(total_retransmits=2, retransmits=2)
    world.run(until=world.now + 0.5)
    assert world.link.found is not None
    assert world.link.found.where is Where.OUTBOUND


@QUICK
@given(
    needed=st.integers(2, 4),
    looks=st.lists(
        st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=12
    ),
)
def test_no_way_out_is_dead_of_a_single_resend_since_it_was_heard_that_we_are(
    needed: int, looks: list[tuple[int, bool]]
) -> None:
    sent = PingOut(sent_at=100.0, position=50, acked_bytes=10)
    resent, heard_at = 0, 0.0
    resent_at: list[float] = []
    first_heard_at: float | None = None
    for nth, (resends, hears) in enumerate(looks):
        now = 101.0 + nth
        heard_at = now if hears else heard_at
        resent += resends
        seen = kernel(
            acked_bytes=10,
            total_retransmits=resent,
            retransmits=1,
            heard_age=now - heard_at,
        )
        if first_heard_at is not None:
            resent_at += [now] * resends
        elif hears:
            first_heard_at = now
        sent.watch(seen, answer_takes=0.08, needed=needed, now=now)
        if sent.is_lost_outbound(seen, answer_takes=0.08, now=now):
            answered = [at for at in resent_at if at < heard_at]
            assert resent >= needed
            assert len(resent_at) >= 2 or answered


# --- the peer -------------------------------------------------------------------------


def test_a_peer_is_asked_once_more_before_the_promised_time_is_over() -> None:
    """Its kernel answers before and after the path was away, its program never."""
    world = quiet()
    silent_at, promised = world.now, bounds(world.link, now=world.now)
    alive(world, silent_at + 10.2)
    world.acks = False
    while world.link.path.ladder is None:
        world.tick()
    world.run(until=world.now + 2 * RUNG)
    world.acks = True
    world.acknowledge()
    world.hear()
    world.tick()
    assert world.link.peer.excused_until > world.now + 1.0
    alive(world, silent_at + promised.peer)
    found = world.link.found
    assert found is not None
    assert found.cause is Cause.PEER_FROZEN, found.evidence
    assert world.now - silent_at <= promised.peer


def test_frames_behind_a_lost_one_are_no_silence_of_the_peer() -> None:
    world = quiet()
    while world.link.peer.wait is None:
        world.tick()
    until = world.now + 6.0
    while world.now < until:
        alive(world, world.now + 1.0)
        world.now += 0.5
        world.hear()
        world.show(out_of_order=world.seen.out_of_order + 1)
    assert world.link.found is None
    alive(world, world.now + 4.0)
    assert world.link.found is not None
    assert world.link.found.cause is Cause.PEER_FROZEN


def test_frames_behind_a_lost_one_do_not_move_the_promised_time() -> None:
    world = quiet()
    silent_at, promised = world.now, bounds(world.link, now=world.now)
    while world.link.found is None:
        alive(world, world.now + 0.3)
        world.now += 0.1
        world.hear()
        world.show(out_of_order=world.seen.out_of_order + 1)
    assert world.now - silent_at <= promised.peer


def seldom(interval: int, *, carried: int = CARRIED, lost: int = 0) -> Scripted:
    """A link asked for the first time after a silence; its kernel answers at once."""
    world = quiet(policy=Liveness(kernel_interval=interval))
    world.show(segments_in=carried, out_of_order=lost)
    while world.link.peer.wait is None:
        world.tick()
    world.hear()
    return world


@pytest.mark.parametrize(
    ("interval", "held"), [(1, 0.0), (2, 0.0), (4, 4.07), (9, 9.07)]
)
def test_where_a_kernel_asks_seldom_the_path_may_have_been_away_unasked(
    interval: int, held: float
) -> None:
    """A lively peer's frames come as late as its kernel sends them again."""
    world = seldom(interval)
    back_at, allowance = world.now, world.link.policy.peer_idle
    latest = back_at + max(allowance, held and held + LEAST_RESEND + PROBE)
    alive(world, latest - 0.01)
    assert world.link.found is None
    alive(world, latest + REPROOF_WITHIN)
    assert world.link.found is not None
    assert world.link.found.cause is Cause.PEER_FROZEN


@pytest.mark.parametrize(("carried", "lost"), [(CARRIED - 2, 0), (CARRIED + 50, 1)])
@pytest.mark.parametrize(
    ("interval", "more"), [(1, 0.0), (2, 0.0), (4, 2 * 4.07), (9, inf)]
)
def test_a_path_that_may_lose_may_have_lost_the_resend_that_ends_an_unasked_silence(
    interval: int, more: float, carried: int, lost: int
) -> None:
    """The peer is doubted no later, and accused in time for the promised instant."""
    trusted = seldom(interval)
    alive(trusted, trusted.now + 100.0)
    world = seldom(interval, carried=carried, lost=lost)
    silent_at, promised = world.link.peer.frame_at, bounds(world.link, now=world.now)
    alive(world, world.now + 100.0)
    assert world.times(Doubted) == trusted.times(Doubted)
    latest = silent_at + promised.peer - TIMER_SLACK - 2 * REPROOF_WITHIN
    due = min(trusted.now + (more and more + 2 * LEAST_RESEND), latest)
    assert world.now == pytest.approx(due, abs=0.06)
    assert world.link.found is not None
    assert world.link.found.cause is Cause.PEER_FROZEN


def test_a_frame_ends_what_a_silence_was_spared() -> None:
    world = seldom(9, carried=10)
    world.tick()
    spared_until = world.link.peer.spared_until
    assert spared_until > world.now + 5.0
    world.read(pong=True)
    silent_at = world.now
    while world.link.peer.wait is None:
        world.tick()
    assert world.link.peer.spared_until == silent_at < spared_until


@pytest.mark.parametrize("interval", [1, 2, 5, 10, 30])
def test_a_frozen_peer_is_told_in_the_promised_time_however_seldom_its_kernel_asks(
    interval: int,
) -> None:
    world = quiet(policy=Liveness(kernel_interval=interval))
    silent_at, promised = world.now, bounds(world.link, now=world.now)
    alive(world, silent_at + 100.0)
    assert world.link.found is not None
    assert world.link.found.cause is Cause.PEER_FROZEN
    assert world.now - silent_at <= promised.peer


@pytest.mark.parametrize(
    ("timeouts", "resends", "cause"),
    [
        (1, 1, Cause.PEER_FROZEN),
        (2, 2, Cause.PATH_DEAD),
        # Of each segment the first resend is no timeout.
        (0, 1, Cause.PEER_FROZEN),
        (1, 2, Cause.PATH_DEAD),
    ],
)
def test_resends_in_vain_since_its_last_proof_do_not_accuse_the_peer(
    timeouts: int, resends: int, cause: Cause
) -> None:
    """Its kernel is known to speak seldom, so that its silence says nothing yet."""
    world = quiet(policy=Liveness(kernel_interval=10))
    feed(world, HEARD + 12.0)
    silent_at, promised = world.now, bounds(world.link, now=world.now)
    asked = len(world.times(Ping))
    while len(world.times(Ping)) == asked:
        world.tick()
    world.hear()
    world.tick()
    world.acks = False
    while len(world.times(Ping)) < asked + 2:
        world.tick()
    world.show(retransmits=timeouts, total_retransmits=resends)
    world.run()
    found = world.link.found
    assert found is not None
    assert found.cause is cause, found.evidence
    assert found.where is None
    assert world.now - silent_at <= promised.peer
