"""When the way out is called dead: after resends that had their time, and no sooner."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.core.adaptive import Disorder
from heartline.core.detector import MOST_RETRANSMITS, OUTBOUND_RETRANSMITS
from heartline.core.items import Where
from heartline.core.promises import bounds, ceilings
from scripted_link import BEGAN, Scripted

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)
RESENT_AFTER = 0.22


def lossy(healed: int) -> Scripted:
    """A link of which a ping once arrived after so many resends."""
    world = Scripted()
    world.now = BEGAN + 0.02
    world.read(pong=True)
    world.acks = False
    while world.seen.outstanding_bytes == 0:
        world.hear()
        world.tick()
    world.now += 0.5
    world.hear()
    world.show(total_retransmits=healed)
    world.acknowledge()
    world.read(pong=True)
    while world.link.peer.wait or world.link.path.ladder:
        world.tick()
    return world


def out(world: Scripted, *, arrives: int | None, until: float) -> float:
    """Send pings of which resend number `arrives` gets through; seconds of the first.

    Segments come in all the time. The link is found dead, or `until` is reached.
    """
    world.acks = False
    before = world.seen.total_retransmits
    while world.seen.outstanding_bytes == 0:
        world.now += 0.01
        world.hear()
        if world.now >= world.link.deadline:
            world.tick()
    sent_at = world.now
    while not world.link.found and world.now < sent_at + until:
        world.now += 0.01
        world.hear()
        out_for = world.now - sent_at
        resent = sum(out_for >= RESENT_AFTER * 2**n for n in range(8))
        world.show(total_retransmits=before + resent, retransmits=max(0, resent - 1))
        due = None if arrives is None else RESENT_AFTER * 2 ** (arrives - 1) + 0.02
        if due is not None and out_for >= due:
            world.acknowledge()
            world.read(pong=True)
            break
        if world.now >= world.link.deadline:
            world.tick()
    return world.now - sent_at


@pytest.mark.parametrize("healed", [0, 1, 2, 5])
def test_a_link_that_needed_resends_is_given_more_of_them(healed: int) -> None:
    world = lossy(healed)
    needed = min(OUTBOUND_RETRANSMITS + healed, MOST_RETRANSMITS)
    took = out(world, arrives=needed, until=10.0)
    assert world.link.found is None
    assert took < 10.0
    world = lossy(healed)
    promised = world.link.path.resending_takes(10.0, now=world.now)
    took = out(world, arrives=None, until=10.0)
    assert world.link.found is not None
    assert world.link.found.where is Where.OUTBOUND
    assert RESENT_AFTER * 2 ** (needed - 1) < took <= promised


def losing(share: float) -> Scripted:
    """A link of whose last segments so many came behind a missing one."""
    world = lossy(0)
    before = world.seen.segments_in
    many = 3 * round(Disorder.HALF_LIFE_SEGMENTS)
    world.show(segments_in=before + many, out_of_order=round(many * share))
    world.hear()
    world.run(until=world.now + 0.9)
    return world


@pytest.mark.parametrize(
    ("share", "needed"),
    [(0.05, OUTBOUND_RETRANSMITS), (0.6, MOST_RETRANSMITS)],
    ids=["a little", "a lot"],
)
def test_a_path_that_loses_what_comes_to_us_is_given_all_resends(
    share: float, needed: int
) -> None:
    world = losing(share)
    out(world, arrives=needed, until=10.0)
    assert world.link.found is None
    world = losing(share)
    promised = world.link.path.resending_takes(10.0, now=world.now)
    took = out(world, arrives=None, until=10.0)
    assert world.link.found is not None
    assert world.link.found.where is Where.OUTBOUND
    assert RESENT_AFTER * 2 ** (needed - 1) < took <= promised


@QUICK
@given(
    healed=st.integers(0, 9),
    round_trip=st.floats(0.0001, 0.5),
    silence=st.floats(0.2, 9.9),
)
def test_the_bounds_of_slow_data_stay_under_their_ceilings(
    healed: int, round_trip: float, silence: float
) -> None:
    fields: dict[str, Any] = {"round_trip": round_trip, "min_round_trip": round_trip}
    world = lossy(healed)
    world.show(**fields)
    world.hear()
    world.run(until=world.now + 1.0)
    world.link.clocks.busy_silence, world.link.peer.busy = silence, True
    now, most = bounds(world.link, now=world.now), ceilings(world.link)
    assert now.path <= most.path + 1e-9
    assert now.peer <= most.peer + 1e-9


def test_a_clean_path_with_quick_data_keeps_its_bound() -> None:
    world = Scripted()
    world.now += 0.02
    world.read(pong=True)
    world.link.clocks.busy_silence, world.link.peer.busy = 0.2, True
    assert bounds(world.link, now=world.now).path == pytest.approx(1.3, abs=0.01)
    assert bounds(world.link, now=world.now).peer == pytest.approx(2.13, abs=0.01)
