"""Reads that go untold for a while leave a link as it were, told of each."""

from __future__ import annotations

from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from heartline.core.events import Received
from heartline.core.stall import DRAIN
from scripted_link import HEARD, Scripted, quiet

steps = st.lists(st.floats(0.001, 0.4), min_size=1, max_size=60)


def stands(world: Scripted) -> tuple[object, ...]:
    link = world.link
    clocks = link.clocks
    return (
        link.deadline,
        link.standing,
        link.frames,
        link.lateness.draining,
        clocks.calm,
        clocks.busy_silence,
        clocks.peer.frame_at,
        clocks.path.heard_at,
        clocks.channel.data_at,
        clocks.channel.first_at,
        clocks.channel.count,
        world.told,
    )


@given(steps)
def test_no_rhythm_is_learned_before_reads_are_told_again(gaps: list[float]) -> None:
    world = quiet()
    link, tell_by, spare = world.link, -inf, 0
    for gap in gaps:
        due = world.now + gap
        while link.deadline <= due:
            world.tick()
            tell_by = -inf
        world.now = due
        world.read(data=1)
        spare -= 1
        if world.now < tell_by and spare >= 0:
            assert link.clocks.busy_silence is None
        elif link.clocks.busy_silence is not None:
            return
        else:
            tell_by = world.now + link.lull(now=world.now)
            spare = link.channel.spare_reads


@given(st.lists(st.lists(st.floats(0.0, 1.0), max_size=6), min_size=1, max_size=8))
def test_while_the_socket_is_read_before_a_tick_its_reads_may_be_told_with_it(
    rounds: list[list[float]],
) -> None:
    each, together = quiet(), quiet()
    for world in each, together:
        world.unread_bytes = 1
        world.tick()
    for shares in rounds:
        assert together.link.lull(now=together.now) > 0
        began_at = each.now
        reads = sorted(began_at + share * DRAIN * 0.9 for share in shares)
        for world in each, together:
            for world.now in reads:
                world.hear()
        for at in reads:
            each.now = at
            each.handle(Received(3, 1, 1, 20))
        if reads:
            gaps = tuple(b - a for a, b in pairwise(reads) if b - a >= 0.1)
            together.now = reads[-1]
            count = len(reads)
            fact = Received(3, count, count, 20 * count, count, reads[0], gaps)
            together.handle(fact)
        for world in each, together:
            world.tick()
        assert stands(each) == stands(together)
    for world in each, together:
        world.unread_bytes = 0
        world.tick()
    assert stands(each) == stands(together)
    assert not each.link.lateness.draining


def test_what_waited_out_a_stall_is_told_at_once() -> None:
    world = quiet()
    world.unread_bytes = 1
    world.tick(late=1.0)
    assert world.link.lateness.draining
    assert not world.link.lull(now=world.now)
    assert world.now > HEARD + 1.0
