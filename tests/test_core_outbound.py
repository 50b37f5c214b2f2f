"""When the way out is called dead: after resends that had their time, and no sooner."""

from __future__ import annotations

import random
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from heartline.core.adaptive import Disorder
from heartline.core.detector import MOST_RETRANSMITS, OUTBOUND_RETRANSMITS
from heartline.core.evidence import Kernel
from heartline.core.items import Where
from heartline.core.pings import AGE_TICK, PingOut
from heartline.core.promises import bounds, ceilings
from heartline.testing.sim_clock import Clock, Host
from heartline.testing.sim_network import End
from heartline.testing.sim_path import Way
from scripted_link import BEGAN, Scripted, kernel

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


# --- what came first: a segment, or a resend of ours -------------------------------

TICK = 0.004
ANSWER_TAKES = 0.06


def asked() -> PingOut:
    """A ping of 100.0, when all 50 bytes before its end have left."""
    return PingOut(sent_at=100.0, position=50, acked_bytes=10)


def look(
    ping: PingOut,
    now: float,
    *,
    heard_at: float,
    sent_at: float | None,
    resends: int = 0,
    written: int = 0,
    unsent: int = 0,
) -> None:
    """Look at a kernel that counts ages in ticks, as Linux does."""

    def age(at: float) -> float:
        return (now // TICK - at // TICK) * TICK

    seen = kernel(
        acked_bytes=10,
        outstanding_bytes=40 + written,
        unsent_bytes=unsent,
        total_retransmits=resends,
        retransmits=max(0, resends - 1),
        heard_age=age(heard_at),
        sent_age=None if sent_at is None else age(sent_at),
    )
    ping.watch(seen, answer_takes=ANSWER_TAKES, needed=2, now=now)


@pytest.mark.parametrize(
    ("sent_at", "shown", "proven"),
    [
        (100.9, {}, True),
        (100.715, {}, True),
        (100.705, {}, False),
        (100.6, {}, False),
        (None, {}, False),
        (100.9, {"written": 8}, False),
        (100.9, {"written": 8, "unsent": 8}, True),
    ],
    ids=["later", "ticks later", "one tick", "before", "hidden", "new", "waiting"],
)
def test_a_resend_after_a_segment_counts_though_one_look_sees_both(
    sent_at: float | None, shown: dict[str, int], proven: bool
) -> None:
    ping = asked()
    look(ping, 100.1, heard_at=99.9, sent_at=100.0)
    look(ping, 101.0, heard_at=100.7, sent_at=sent_at, resends=2, **shown)
    assert (ping.resent_at is not None) is proven


def test_a_first_look_does_not_know_what_was_sent_again() -> None:
    ping = asked()
    look(ping, 101.0, heard_at=100.7, sent_at=100.9, resends=2)
    assert ping.resent_at is None


@pytest.mark.parametrize("apart", [-0.03, -0.008, 0.0, 0.004, 0.020, 0.030, 0.055])
@pytest.mark.parametrize(("hidden", "dead"), [(False, True), (True, False)])
def test_a_way_out_is_dead_though_both_kernels_resend_together(
    apart: float, hidden: bool, dead: bool
) -> None:
    """Timers that began together end together, each time: a segment comes so long
    after our resend, and too soon to answer it.
    """
    ping = asked()
    look(ping, 100.1, heard_at=99.9, sent_at=100.0)
    for resends, heard_at in enumerate((100.422, 101.254), start=1):
        sent_at = None if hidden else heard_at - apart
        now = heard_at + 0.04
        look(ping, now, heard_at=heard_at, sent_at=sent_at, resends=resends)
        assert ping.heard_late
    assert lost(ping, heard_at, now + ANSWER_TAKES + 0.001) is dead


def test_a_resend_long_before_a_segment_is_none_of_two() -> None:
    """The path may have been away until then; and one since is lost by chance."""
    ping = asked()
    look(ping, 100.1, heard_at=99.9, sent_at=100.0)
    look(ping, 100.5, heard_at=100.422, sent_at=100.405, resends=1)
    look(ping, 101.3, heard_at=100.422, sent_at=101.19, resends=2)
    assert ping.heard_late
    assert not lost(ping, 100.422, 101.3 + ANSWER_TAKES + 0.001)


happenings = st.lists(
    st.tuples(
        st.sampled_from([0.0005, 0.003, 0.005, 0.07, 0.3]),
        st.sampled_from(["segment", "resend", "write", "look", "look"]),
    ),
    min_size=4,
    max_size=30,
)


@QUICK
@given(happenings=happenings, hidden=st.booleans())
def test_no_look_takes_a_resend_before_a_segment_for_one_after_it(
    happenings: list[tuple[float, str]], hidden: bool
) -> None:
    """Against what really happened, in its order, which no look sees."""
    ping = asked()
    now, heard_at, sent_at = 100.0005, 99.9, 100.0
    resent_at: list[float] = []
    answered_at = inf
    """When the first segment came since the answer was due."""
    written = 0
    look(ping, now, heard_at=heard_at, sent_at=sent_at)
    for gap, what in happenings:
        now += gap
        if what == "segment":
            heard_at = now
            if now >= ping.sent_at + ANSWER_TAKES - TICK:
                answered_at = min(answered_at, now)
        elif what == "resend":
            sent_at = now
            resent_at.append(now)
        elif what == "write":
            written, sent_at = written + 8, now
        else:
            shown = None if hidden else sent_at
            many = len(resent_at)
            times = {"heard_at": heard_at, "sent_at": shown}
            look(ping, now, **times, resends=many, written=written)
        after = [at for at in resent_at if at > answered_at]
        close = [at for at in resent_at if at > answered_at - AGE_TICK - 2 * TICK]
        if ping.resent_at is not None:
            assert len(resent_at) >= OUTBOUND_RETRANSMITS
            assert after
        if ping.resent_twice_at is not None:
            assert after
            assert len(after if hidden else close) >= OUTBOUND_RETRANSMITS
        if what == "look" and ping.heard_late and lost(ping, heard_at, now):
            assert len(close) >= OUTBOUND_RETRANSMITS or heard_at > after[0]


def lost(ping: PingOut, heard_at: float, now: float) -> bool:
    seen = kernel(acked_bytes=10, outstanding_bytes=40, retransmits=1)
    seen = replace(seen, heard_age=now - heard_at)
    return ping.is_lost_outbound(seen, answer_takes=ANSWER_TAKES, now=now)


@QUICK
@given(late=st.floats(0.015, 0.9), resends=st.integers(2, 5))
def test_a_late_look_loses_no_resend_that_came_last(late: float, resends: int) -> None:
    ping = asked()
    look(ping, 100.1, heard_at=99.9, sent_at=100.0)
    heard_at, sent_at = 100.5, 100.5 + late
    look(ping, sent_at + late, heard_at=heard_at, sent_at=sent_at, resends=resends)
    assert ping.resent_at == sent_at + late


# --- what the simulated kernel tells of it -----------------------------------------


def test_a_simulated_kernel_dates_what_it_resends_and_not_what_comes() -> None:
    clock, dice = Clock(), random.Random(1)
    out, back = (Way(clock, dice, lambda: None) for _ in range(2))
    size = {"keepalive": 1.0, "receive_bytes": 65_536, "round_trip": 0.02}
    ours = End(Host(clock), out, **size)
    theirs = End(Host(clock), back, **size)
    ours.peer, theirs.peer = theirs, ours
    ours.open()
    theirs.open()

    def seen() -> Kernel:
        kernel = ours.evidence().kernel
        assert kernel is not None
        return kernel

    out.dead = True
    began = clock.now
    ours.write(50)
    left_at = []
    for _ in range(900):
        resends = seen().total_retransmits
        clock.run(clock.now + 0.001)
        if (kernel := seen()).total_retransmits > resends:
            assert kernel.sent_age == 0.0
            left_at.append(clock.now - began)
    assert left_at == [pytest.approx(at, abs=0.002) for at in (0.22, 0.44, 0.88)]
    theirs.write(50)
    clock.run(clock.now + 0.02)
    kernel = seen()
    assert kernel.heard_age < 0.012
    assert kernel.sent_age == pytest.approx(clock.now - began - 0.88, abs=0.01)
