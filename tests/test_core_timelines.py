"""What a link does and when, to the millisecond: each silence, told in full.

The figures are written out here, apart from the source: thresholds are promises.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.core.contracts import Beats, Freshness
from heartline.core.detector import Liveness
from heartline.core.events import (
    Answered,
    Beat,
    ChannelRevived,
    ChannelStalled,
    Cleared,
    ConditionBegan,
    ConditionEnded,
    Doubted,
    Paused,
    Ping,
    Resumed,
    RoundTripMeasured,
    Stalled,
)
from heartline.core.items import Cause, Condition, Where
from heartline.core.promises import bounds, ceilings
from scripted_link import (
    BEGAN,
    HEARD,
    RUNG,
    Scripted,
    alive,
    asked_at,
    feed,
    kernel,
    near,
    quiet,
)

# --- the path ---------------------------------------------------------------------


@given(
    interval=st.integers(1, 8),
    pings=st.integers(1, 5),
    ride_through=st.floats(0.05, 3.0),
    round_trip=st.floats(0.0002, 0.3),
    deviation=st.floats(0.0, 0.2),
)
def test_a_dead_path_is_asked_rung_by_rung_and_told_at_its_bound(
    interval: int, pings: int, ride_through: float, round_trip: float, deviation: float
) -> None:
    policy = Liveness(
        kernel_interval=interval,
        pings=pings,
        ride_through=ride_through,
        ping_every=1000.0,
        measure_every=1000.0,
        peer_idle=20.0,
        peer_max=20.0,
    )
    seen = kernel(
        round_trip=round_trip,
        round_trip_deviation=deviation,
        min_round_trip=round_trip,
    )
    world = quiet(policy=policy, seen=seen)
    world.acks = False
    probe = min(round_trip + max(4 * deviation, 0.010), max(0.3, 3 * round_trip))
    promised = bounds(world.link, now=world.now).path
    world.run()
    doubted_at = HEARD + interval + 0.040 + probe
    rungs = [doubted_at + nth * (probe + 0.050) for nth in range(pings)]
    told_at = doubted_at + max(ride_through, pings * (probe + 0.050))
    # A deadline that rounding puts a hair too early costs a step of a millisecond.
    late = 0.001 * (pings + 1) + 1e-6
    assert world.times(Ping, since=HEARD) == [
        pytest.approx(at, abs=late) for at in rungs
    ]
    assert told_at - 1e-6 <= world.now <= told_at + late
    assert world.link.found is not None
    assert (world.link.found.cause, world.link.found.where) == (
        Cause.PATH_DEAD,
        Where.BOTH,
    )
    assert world.times(Doubted) == world.times(Ping, since=HEARD)[1:2]
    assert promised == pytest.approx(told_at - HEARD + 0.050, abs=1e-5)
    assert promised <= ceilings(world.link).path + 1e-9


def test_ceilings_are_the_bounds_at_their_worst() -> None:
    world = quiet()
    most = ceilings(world.link)
    wait, last = 1 + 0.040 + 0.3, 0.3 + 0.050
    # Resends at doubling intervals: theirs after our ping, and ours after theirs.
    assert most.path == pytest.approx(wait + 2 * (wait + 2 * last) + last + 0.1)
    assert most.peer == pytest.approx(60.0 + 0.050)
    bold = quiet(policy=Liveness(no_pong_silence=11.0))
    rung = 0.3 + 0.050
    expected = 10.0 + 10.0 + rung + 0.050 + 0.050 + 0.25
    assert ceilings(bold.link).peer == pytest.approx(expected)
    promised = bounds(world.link, now=world.now)
    assert promised.channels == {}
    assert promised.peer == pytest.approx(10.0 + 3.0 + RUNG + 0.050 + 0.050 + 0.25)


def test_any_segment_heals_a_doubt_and_the_memory_of_it_stretches_the_next() -> None:
    world = quiet()
    world.acks = False
    world.run(until=HEARD + 1.07 + 0.2)
    assert world.link.path.ladder is not None
    world.hear()
    world.acknowledge()
    world.run(until=world.now + 0.31)
    assert world.link.path.ladder is None
    assert world.link.found is None
    healed = world.link.path.ride_through(now=world.now)
    assert healed == pytest.approx(4 * 0.2, abs=0.01)
    hours_later = world.link.path.ride_through(now=world.now + 3600.0)
    assert hours_later == pytest.approx(0.5)


def test_what_cannot_leave_this_host_is_told_after_150_ms() -> None:
    for shown in (
        {"unsent_bytes": 20, "unacked_segments": 0},
        {"unacked_segments": 1, "retransmits": 1},
    ):
        world = quiet()
        world.acks = False
        world.run(until=HEARD + 1.07)
        world.show(**shown)
        world.run()
        assert world.now == pytest.approx(HEARD + 1.07 + 0.150, abs=1e-5)
        assert world.link.found is not None
        assert world.link.found.where is Where.LOCAL
        unsent = shown.get("unsent_bytes", 0)
        assert world.link.found.evidence == (
            f"the kernel heard nothing for 1.22 s; {unsent} bytes cannot leave"
            " this host"
        )


@pytest.mark.parametrize(
    "shown",
    [
        {"unsent_bytes": 20, "unacked_segments": 1},
        {"unsent_bytes": 20, "send_window_bytes": 0},
        {"retransmits": 1, "total_retransmits": 1, "unacked_segments": 1},
    ],
)
def test_what_did_leave_is_not_blamed_on_this_host(shown: dict[str, int]) -> None:
    world = quiet()
    world.acks = False
    world.run(until=HEARD + 1.07)
    world.show(**shown)
    world.run(until=HEARD + 1.07 + 0.4)
    assert world.link.found is None


def test_a_dead_way_out_is_told_when_two_resends_were_in_vain() -> None:
    """Segments come all the time; ours leave at 0, 0.22, 0.44, 0.88 s and never come.

    The look at 0.1 s, when the path is due, hears the peer; that at 0.7 s sees two
    resends after it, and an answer to the last would have come within a rung.
    """
    before = 5
    world = quiet(seen=kernel(total_retransmits=before))
    alive(world, asked_at(HEARD) - 0.1)
    world.acks = False
    alive(world, asked_at(HEARD))
    [sent_at] = world.times(Ping, since=HEARD)
    while not world.link.found:
        world.now = min(world.link.deadline, world.now + 0.01)
        world.hear()
        out_for = world.now - sent_at
        resent = sum(out_for >= due for due in (0.22, 0.44, 0.88, 1.76))
        world.show(total_retransmits=before + resent, retransmits=max(0, resent - 1))
        if world.now >= world.link.deadline:
            world.tick()
        assert out_for < 3.0
    assert (world.link.found.cause, world.link.found.where) == (
        Cause.PATH_DEAD,
        Where.OUTBOUND,
    )
    assert world.now - sent_at == pytest.approx(0.8, abs=0.011)
    assert world.link.found.evidence == (
        "segments come in (last 0.00 s ago), but our bytes are not acknowledged for"
        " 0.80 s, 2 retransmissions"
    )


# --- the peer ---------------------------------------------------------------------


@given(allowed=st.floats(2.0, 9.0), every=st.floats(10.0, 20.0))
def test_a_frozen_peer_is_asked_doubted_asked_again_and_told(
    allowed: float, every: float
) -> None:
    policy = Liveness(peer_idle=allowed, ping_every=every)
    world = quiet(policy=policy)
    alive(world, HEARD + 60.0)
    first_at = asked_at(HEARD, every=every)
    again_at = first_at + max(0.5, allowed - 0.25)
    assert world.times(Ping, since=HEARD) == near(first_at, again_at)
    assert world.times(Doubted) == near(first_at + allowed / 2)
    assert world.only(Doubted).of == "peer"
    assert world.now == pytest.approx(first_at + allowed, abs=0.0011)
    assert world.link.found is not None
    assert world.link.found.cause is Cause.PEER_FROZEN


def test_without_kernel_evidence_three_pings_share_the_time() -> None:
    world = quiet(with_kernel=False)
    world.run()
    assert world.times(Ping, since=HEARD) == near(
        *(asked_at(HEARD) + n for n in range(3))
    )
    assert world.now == pytest.approx(asked_at(HEARD) + 3.0, abs=1e-5)
    assert world.link.found is not None
    assert (world.link.found.cause, world.link.found.where) == (Cause.PATH_DEAD, None)
    assert world.link.found.evidence.startswith(
        "nothing received for 12.98 s, 3 pings unanswered"
    )


def test_a_pong_clears_a_doubt_and_measures_the_way() -> None:
    world = quiet()
    alive(world, HEARD + 10.0 + 1.6)
    assert world.times(Doubted) == near(asked_at(HEARD) + 1.5)
    world.now = asked_at(HEARD) + 1.7
    world.read(pong=True)
    assert world.only(Cleared).after == pytest.approx(0.2)
    assert [
        o.round_trip for _, o in world.told if isinstance(o, RoundTripMeasured)
    ] == [
        pytest.approx(0.020),
        pytest.approx(1.7),
    ]
    world.run(until=HEARD + 12.0)
    # What healed stretches the next wait fourfold, up to the ceiling.
    assert world.link.peer.allowance(now=world.now) == pytest.approx(6.8, abs=0.01)


def test_data_without_pongs_is_a_condition_after_the_peers_time() -> None:
    world = Scripted()
    world.now = HEARD
    world.read(data=1)
    feed(world, BEGAN + 6.0)
    assert world.only(ConditionBegan).condition is Condition.NO_PONG
    [told_at] = world.times(ConditionBegan)
    assert BEGAN + 3.0 <= told_at <= BEGAN + 4.1
    feed(world, BEGAN + 40.0)
    # Asked seldom from then on: they may come back.
    assert len(world.times(Ping)) == 2
    assert world.times(Ping)[1] == pytest.approx(BEGAN + 30.0, abs=0.06)
    world.read(pong=True)
    ended = world.only(ConditionEnded)
    assert ended.condition is Condition.NO_PONG
    assert ended.after == pytest.approx(world.now - told_at)


def test_data_after_an_interruption_is_no_proof_that_an_answer_is_missing() -> None:
    """What is resent comes late, and a pong behind it later still."""
    world = quiet()
    feed(world, BEGAN + 20.0)
    last_at = world.now
    alive(world, last_at + 1.5)
    asked_at = world.times(Ping, since=last_at)[0]
    feed(world, BEGAN + 40.0)
    assert world.only(ConditionBegan).condition is Condition.NO_PONG
    [told_at] = world.times(ConditionBegan)
    # Late for as long as nothing came, and only then is the peer's time counted.
    flowed_at = last_at + 2 * 1.5
    assert flowed_at + 3.0 <= told_at <= flowed_at + 3.4
    assert told_at > asked_at + 3.0 + 1.0


def test_a_short_interruption_puts_nothing_off() -> None:
    world = quiet()
    feed(world, BEGAN + 20.0)
    last_at = world.now
    alive(world, last_at + 0.9)
    asked_at = world.times(Ping, since=last_at)[0]
    feed(world, BEGAN + 40.0)
    [told_at] = world.times(ConditionBegan)
    assert asked_at + 3.0 <= told_at <= asked_at + 3.2


def test_who_answered_once_and_speaks_seldom_is_known_after_one_more_measure() -> None:
    world = quiet()
    for nth in range(1, 40):
        alive(world, HEARD + 2.0 * nth)
        world.now = HEARD + 2.0 * nth
        world.read(data=1)
    asked_at = world.times(Ping)[1]
    [told_at] = world.times(ConditionBegan)
    assert asked_at + 30.0 <= told_at <= asked_at + 32.1


def test_a_busy_link_is_measured_every_half_minute() -> None:
    world = quiet()
    for _ in range(3):
        before = len(world.times(Ping))
        while len(world.times(Ping)) == before:
            feed(world, world.now + 0.1)
        world.now += 0.02
        world.read(pong=True)
    assert world.times(Ping) == [
        pytest.approx(BEGAN + nth * 30.0, abs=0.3) for nth in range(4)
    ]


# --- the channel ------------------------------------------------------------------


def test_a_channel_past_its_contract_is_asked_about_and_told() -> None:
    world = quiet(freshness=Freshness(every=4.0))
    world.read(data=1)
    last = world.now
    alive(world, last + 4.0)
    assert world.times(Ping, since=last + 1) == near(last + 4.0)
    world.now = last + 4.02
    world.read(pong=True)
    alive(world, last + 4.1)
    stalled = world.only(ChannelStalled)
    assert stalled.contract == 4.0
    assert stalled.silence == pytest.approx(4.02, abs=0.002)
    alive(world, last + 6.0)
    world.now = last + 6.0
    world.read(data=1)
    assert world.only(ChannelRevived).after == pytest.approx(6.0)
    assert world.link.found is None


def test_a_channel_whose_link_does_not_answer_is_doubted_after_200_ms() -> None:
    world = quiet(freshness=Freshness(every=4.0))
    world.read(data=1)
    last = world.now
    alive(world, last + 4.3)
    doubted = world.only(Doubted)
    assert doubted.of == "channel"
    assert world.times(Doubted) == near(last + 4.2)
    assert world.times(ChannelStalled) == []


@pytest.mark.parametrize("redial", [True, False])
def test_a_stalled_channel_is_given_up_after_twice_its_contract(redial: bool) -> None:
    world = quiet(freshness=Freshness(every=4.0, redial=redial))
    world.read(data=1)
    last = world.now
    answered = 0
    while not world.link.found and world.now < last + 30.0:
        alive(world, world.link.deadline)
        if len(world.times(Ping, since=last + 0.01)) > answered:
            answered += 1
            world.now += 0.02
            world.read(pong=True)
    if redial:
        assert world.link.found is not None
        assert world.link.found.cause is Cause.CHANNEL_STALLED
        assert world.now == pytest.approx(last + 8.2, abs=1e-5)
    else:
        assert world.link.found is None
        assert world.now >= last + 30.0
    promised = bounds(world.link, now=world.now).channels
    assert promised == {None: pytest.approx(4.2)}


# --- the declared heartbeat -------------------------------------------------------


def test_beats_go_out_by_the_clock_and_their_silence_is_told() -> None:
    world = quiet(beats=Beats(every=7.0, answered=True), policy=Liveness())
    while not world.link.found and world.now < HEARD + 60.0:
        pings = len(world.times(Ping))
        alive(world, world.link.deadline)
        if len(world.times(Ping)) > pings:
            world.now += 0.02
            world.read(pong=True)
    assert world.times(Beat) == near(BEGAN + 7.0, BEGAN + 14.0)
    assert world.link.found is not None
    assert world.link.found.cause is Cause.PEER_FROZEN
    # Unanswered since the first beat, and no data: as long as a peer may ever take.
    assert world.now == pytest.approx(BEGAN + 17.0, abs=0.03)


def test_a_beat_unanswered_beside_data_is_a_condition() -> None:
    world = quiet(beats=Beats(every=7.0, answered=True))
    while world.now < BEGAN + 20.0:
        pings = len(world.times(Ping))
        feed(world, world.now + 0.1)
        if len(world.times(Ping)) > pings:
            world.read(pong=True)
    assert world.only(ConditionBegan).condition is Condition.NO_PONG
    [told_at] = world.times(ConditionBegan)
    assert BEGAN + 10.0 <= told_at <= BEGAN + 11.1
    world.handle(Answered(3))
    assert world.only(ConditionEnded).after == pytest.approx(world.now - told_at)
    measured = [o for _, o in world.told if isinstance(o, RoundTripMeasured)]
    assert measured[-1].round_trip == pytest.approx(
        world.now - (BEGAN + 14.0), abs=0.06
    )


# --- our own lateness -------------------------------------------------------------


def test_a_tick_a_tenth_late_is_punctual_and_a_later_one_is_our_stall() -> None:
    world = quiet()
    world.hear()
    world.tick(late=0.0999)
    assert world.times(Stalled) == []
    world.hear()
    world.tick(late=0.1001)
    stalled = world.only(Stalled)
    assert stalled.lag == pytest.approx(0.1001)
    assert stalled.suspended == 0.0
    # It was asked a moment before: a stall makes it ask again a second after that.
    *_, asked_at = world.times(Ping)
    assert asked_at < world.now - 0.1
    world.run(until=asked_at + 1.001)
    assert world.times(Ping)[-1] == pytest.approx(asked_at + 1.0, abs=1e-5)


def test_after_a_stall_the_socket_is_read_first_for_20_then_10_ms_at_a_time() -> None:
    world = quiet()
    world.hear()
    world.tick(late=2.0)
    woke_at = world.now
    assert world.link.deadline == pytest.approx(woke_at + 0.020)
    world.unread_bytes = 100
    looked: list[float] = []
    while not looked or world.link.deadline - world.now < 0.0105:
        world.tick()
        looked.append(world.now - woke_at)
        assert len(looked) < 60
    # A flood that never leaves the buffer empty is judged all the same.
    assert looked[:3] == near(0.020, 0.030, 0.040)
    assert len(looked) == 50
    assert world.link.lateness.draining is False


def test_what_waited_out_a_stall_proves_nothing_and_tells_its_age() -> None:
    world = quiet()
    frame_at = world.link.peer.frame_at
    world.hear()
    world.tick(late=5.0)
    assert not world.link.lull(now=world.now)
    world.read(data=3)
    assert world.link.peer.frame_at == frame_at
    assert world.link.channel.count == 3
    age = world.link.stale_for(now=world.now)
    assert age == pytest.approx(world.now - HEARD)
    # A pong to the ping sent when we woke is no old news.
    world.now += 0.02
    world.read(pong=True)
    assert world.only(Cleared).after == pytest.approx(world.now - HEARD)
    assert world.link.peer.frame_at == world.now
    world.run(until=world.now + 0.1)
    assert world.link.stale_for(now=world.now) == 0.0


def test_a_pause_is_told_and_holds_every_verdict_about_the_peer() -> None:
    world = quiet()
    world.handle(Paused(3))
    alive(world, HEARD + 100.0)
    assert world.link.found is None
    assert world.times(Doubted) == []
    world.now = HEARD + 100.0
    world.handle(Resumed(3))
    ended = world.only(ConditionEnded)
    assert ended.condition is Condition.PAUSED
    assert ended.after == pytest.approx(100.0)
