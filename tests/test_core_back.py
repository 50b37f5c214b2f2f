"""A path that was away and is back, or loses a little: nobody is accused too soon."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.core.detector import Liveness
from heartline.core.events import Ping
from heartline.core.items import Where
from heartline.core.pings import PingOut
from scripted_link import RUNG, Scripted, kernel, quiet

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)


# --- the way out ----------------------------------------------------------------------


def back_again() -> Scripted:
    """A ping was resent in vain while nothing came; a segment came, then one resend."""
    world = quiet(policy=Liveness(kernel_interval=10))
    world.acks = False
    world.run(until=world.now + 5.0)
    world.hear()
    while not world.seen.outstanding_bytes:
        world.tick()
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
