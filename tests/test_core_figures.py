"""What a link says of itself, in exact figures: evidence, bounds, rhythm, calm."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from heartline.core.adaptive import LEAST_GAP, MANY, Arrivals
from heartline.core.calm import LULL, LULL_UNLEARNED
from heartline.core.channel import ChannelClock
from heartline.core.contracts import Freshness
from heartline.core.detector import Liveness
from heartline.core.events import (
    Answered,
    ConditionBegan,
    Doubted,
    Paused,
    Ping,
    Ponged,
    Received,
    Resumed,
    Tick,
)
from heartline.core.items import Cause, Condition, Verdict
from heartline.core.promises import bounds, ceilings
from heartline.core.stall import Lateness
from scripted_link import (
    BEGAN,
    HEARD,
    PROBE,
    RUNG,
    Scripted,
    alive,
    feed,
    kernel,
    near,
    quiet,
)


def test_the_evidence_of_a_dead_path_is_told_in_exact_figures() -> None:
    world = quiet()
    world.acks = False
    world.show(total_retransmits=4)
    world.run(until=HEARD + 1.08)
    world.show(total_retransmits=6)
    world.run()
    assert world.link.found is not None
    assert world.link.found.evidence == (
        "the kernel heard nothing for 1.57 s; 3 pings in 0.50 s, 2 retransmissions,"
        " no segment came back"
    )


def test_the_evidence_of_a_frozen_peer_names_the_last_proof_of_its_kernel() -> None:
    world = quiet()
    alive(world, HEARD + 60.0)
    assert world.link.found is not None
    assert world.link.found.evidence == (
        "no frame for 12.98 s, though its kernel acknowledged a ping 0.25 s ago"
    )


def test_how_a_link_stands_is_its_verdict_its_stall_and_its_channels() -> None:
    world = quiet(freshness=Freshness(every=4.0, redial=False))
    world.read(data=1)
    assert world.link.standing == (Verdict.ALIVE, False, False)
    alive(world, world.now + 4.0)
    world.now += 0.02
    world.read(pong=True)
    alive(world, world.now + 0.1)
    assert world.link.standing == (Verdict.ALIVE, False, True)
    world.tick(late=1.0)
    assert world.link.standing == (Verdict.ALIVE, True, True)
    assert not world.link.lull(now=world.now)


def test_a_link_is_calm_until_something_hangs_on_the_next_frame() -> None:
    world = quiet()
    alive(world, HEARD + 9.9)
    assert world.link.lull(now=world.now)
    alive(world, HEARD + 10.0)
    assert not world.link.lull(now=world.now)
    doubted = quiet()
    doubted.run(until=HEARD + 1.07)
    assert not doubted.link.lull(now=doubted.now)
    learned = quiet()
    feed(learned, HEARD + 20.0)
    assert learned.link.lull(now=learned.now) == LULL
    contracted = quiet(freshness=Freshness(every=2.0))
    alive(contracted, HEARD + 1.9)
    assert contracted.link.lull(now=contracted.now)
    alive(contracted, HEARD + 2.0)
    assert not contracted.link.lull(now=contracted.now)


def test_reads_go_untold_until_a_rhythm_could_be_learned_from_them() -> None:
    world = quiet()
    opened_at = world.link.opened_at
    early, late = (0.0, 1.0, 4.0), (Arrivals.WARM_UP - 0.01, Arrivals.WARM_UP, 60.0)
    for seen in range(Arrivals.WARM_UP_READS - 1):
        assert world.link.channel.spare_reads == Arrivals.WARM_UP_READS - 1 - seen
        lulls = {world.link.lull(now=opened_at + age) for age in (*early, *late)}
        assert lulls == {LULL}
        world.read(data=1)
    # The next read may be the one that tells a rhythm, once the link is old enough.
    for spare in (0, MANY):
        assert world.link.channel.spare_reads == spare
        for age in early:
            left = world.link.lull(now=opened_at + age)
            assert left == pytest.approx(Arrivals.WARM_UP - age)
        for age in late:
            assert world.link.lull(now=opened_at + age) == LULL_UNLEARNED
        world.read(data=1)


@pytest.mark.parametrize("seed", range(20))
def test_reads_that_can_be_spared_teach_the_same_when_told_together(seed: int) -> None:
    dice = random.Random(seed)
    singly, together = ChannelClock(None, now=0.0), ChannelClock(None, now=0.0)
    now = 0.0
    while now < 60.0 or singly.spare_reads < MANY:
        spare = together.spare_reads
        reads = 1 if spare == MANY else dice.randint(1, max(1, min(6, spare)))
        came: list[float] = []
        for _ in range(reads):
            now += dice.choice((0.001, 0.15, 0.6, 3.0)) * dice.random()
            came.append(now)
            kept = together.rare_silence(per_minute=1.0, now=now)
            assert kept == singly.rare_silence(per_minute=1.0, now=now)
            singly.fed(Received(1, 1, 1, 9), now=now)
        gaps = tuple(b - a for a, b in pairwise(came) if b - a >= LEAST_GAP)
        fact = Received(1, reads, reads, 9 * reads, reads, came[0], gaps)
        together.fed(fact, now=now)
        kept = together.rare_silence(per_minute=1.0, now=now)
        assert kept == singly.rare_silence(per_minute=1.0, now=now)
        assert together.spare_reads == singly.spare_reads
    assert singly.spare_reads == MANY


def test_what_waited_out_a_pause_tells_nothing_of_the_path() -> None:
    world = quiet()
    world.handle(Paused(3))
    world.run(until=HEARD + 0.5)
    world.now = HEARD + 0.5
    world.handle(Resumed(3))
    heard_at = world.link.path.heard_at
    world.now = HEARD + 0.6
    world.handle(Received(3, 1, 1, 20))
    assert world.link.path.heard_at == heard_at
    assert world.link.peer.frame_at == world.now
    world.handle(Received(3, 0, 0, 20))
    assert world.link.path.heard_at == heard_at
    # Once the socket has been seen empty, what comes is new.
    world.tick()
    world.handle(Received(3, 1, 1, 20))
    assert world.link.path.heard_at == world.now
    world.now += 0.1
    world.handle(Received(3, 0, 0, 20))
    assert world.link.path.heard_at == world.now


def test_a_pause_is_over_once_the_socket_was_seen_empty_soon_after() -> None:
    world = quiet(policy=Liveness(kernel_interval=10))
    world.handle(Paused(3))
    world.run(until=HEARD + 0.5)
    world.now = HEARD + 0.5
    world.handle(Resumed(3))
    world.run(until=world.now + 0.1)
    world.now += 2.0
    world.handle(Received(3, 1, 1, 20))
    assert world.link.path.heard_at == world.now


def test_the_silence_that_is_doubted_is_at_least_four_round_trips() -> None:
    for round_trip, least in ((0.02, 0.2), (0.2, 0.8)):
        world = Scripted(seen=kernel(round_trip=round_trip, min_round_trip=round_trip))
        world.now = BEGAN + round_trip
        world.read(pong=True)
        feed(world, BEGAN + 8.0)
        silence = world.link.clocks.busy_silence
        assert silence == pytest.approx(least, abs=1e-6)


def test_on_a_busy_link_silence_is_judged_by_the_rhythm_of_its_data() -> None:
    """Data each 50 ms: asked after 0.2 s of silence, and half the time is given."""
    frozen = quiet()
    feed(frozen, BEGAN + 20.0)
    last = frozen.now
    promised = bounds(frozen.link, now=last)
    alive(frozen, last + 30.0)
    assert frozen.times(Ping, since=last)[0] == pytest.approx(last + 0.2, abs=0.0011)
    assert frozen.times(Doubted) == near(last + 0.2 + 0.75)
    assert frozen.now == pytest.approx(last + 0.2 + 1.5, abs=0.0021)
    assert frozen.link.found is not None
    assert frozen.link.found.cause is Cause.PEER_FROZEN
    expected = 0.2 + 1.5 + RUNG + 0.050 + 0.050 + 0.25
    assert promised.peer == pytest.approx(expected)
    dead = quiet()
    feed(dead, BEGAN + 20.0)
    dead.acks = False
    dead.run()
    asked = dead.times(Ping, since=last)
    assert asked == near(last + 0.2, last + 0.2 + RUNG, last + 0.2 + 2 * RUNG)
    assert dead.now == pytest.approx(last + 0.2 + 0.5, abs=0.0041)
    assert dead.link.found is not None
    assert dead.link.found.cause is Cause.PATH_DEAD
    # Where data is missed, the way out may be dead alone: four resends are awaited.
    resends = 4 * (0.2 + PROBE) + RUNG + 0.050
    assert promised.path == pytest.approx(0.2 + resends + 0.050)


def test_a_silent_peer_that_never_pongs_gets_a_minute_and_a_last_word() -> None:
    world = Scripted()
    world.now = HEARD
    world.read(data=1)
    feed(world, BEGAN + 6.0)
    assert world.only(ConditionBegan).condition is Condition.NO_PONG
    last = world.now
    before = world.ticks
    alive(world, last + 100.0)
    assert world.ticks - before < 150, "nothing hangs on a look each 50 ms"
    # The data's rhythm is missed, half a minute passes, and one word before the end.
    last_word_at = last + 59.5
    assert world.times(Ping, since=last) == near(last + 0.2, last + 30.2, last_word_at)
    assert world.link.found is not None
    assert world.link.found.cause is Cause.PEER_FROZEN
    assert world.now == pytest.approx(last + 60.0, abs=0.0021)


def test_a_peer_is_excused_for_as_long_as_the_path_was_really_away() -> None:
    for away, excused in ((RUNG / 2, False), (0.3, True)):
        world = quiet()
        world.acks = False
        world.run(until=HEARD + 1.07 + away)
        world.hear()
        heard_at = world.now
        world.acknowledge()
        before = world.link.peer.excused_until
        world.run(until=world.now + 0.6)
        assert world.link.path.ladder is None
        until = world.link.peer.excused_until
        if excused:
            assert until >= heard_at + (heard_at - HEARD) - 1e-6
            assert until <= world.now + (heard_at - HEARD) + 1e-6
        else:
            assert until == before


def test_each_silence_of_a_busy_link_is_asked_about_once() -> None:
    world = quiet()
    for seconds in (200.0, 10.0, 10.0):
        # Minutes of data, so that a silence or two are still rare.
        feed(world, world.now + seconds)
        last = world.now
        alive(world, last + 0.2)
        assert world.times(Ping, since=last) == near(last + 0.2)
        world.now = last + 0.22
        world.read(pong=True)
        alive(world, last + 5.0)
        assert world.times(Ping, since=last) == near(last + 0.2)
        world.read(data=1)
        world.now = round((world.now - HEARD) / 0.05) * 0.05 + HEARD
    assert world.link.found is None


def test_a_silence_within_the_budget_is_not_called_rare_by_one_too_few() -> None:
    rhythm = Arrivals(now=100.0)
    for _ in range(30):
        rhythm.count()
    for _ in range(100):
        rhythm.learn(0.3, now=219.5)
    rhythm.learn(2.0, now=219.5)
    # In two minutes, of which 105 s count, a silence once a minute may come 1.7 times.
    rare = rhythm.rare_silence(per_minute=1.0, now=220.0)
    assert rare == pytest.approx(0.1 * 2.0 ** (7 / 4))
    rhythm.learn(2.0, now=220.0)
    rare = rhythm.rare_silence(per_minute=1.0, now=220.0)
    assert rare == pytest.approx(0.1 * 2.0 ** (18 / 4))


def test_without_kernel_evidence_the_path_has_the_bounds_of_the_peer() -> None:
    world = quiet(with_kernel=False, policy=Liveness(no_pong_silence=11.0))
    promised, most = bounds(world.link, now=world.now), ceilings(world.link)
    rung = 0.3 + 0.050
    assert promised.path == promised.peer
    assert promised.peer == pytest.approx(10.0 + 3.0 + rung + 0.050 + 0.050 + 0.25)
    assert most.path == most.peer
    assert most.peer == pytest.approx(10.0 + 10.0 + rung + 0.050 + 0.050 + 0.25)


@pytest.mark.parametrize(("round_trip", "cap"), [(0.02, 0.3), (0.2, 0.6)])
def test_a_probe_takes_at_most_three_round_trips_or_300_ms(
    round_trip: float, cap: float
) -> None:
    seen = kernel(round_trip=9.0, min_round_trip=round_trip)
    world = quiet(seen=seen)
    wait, rung = 1 + 0.040 + cap, cap + 0.050
    resending = rung + max(8 * (0.2 + cap), 2 * (wait + 2 * rung)) + 0.050
    assert ceilings(world.link).path == pytest.approx(wait + resending + 0.050)
    promised = bounds(world.link, now=world.now).path
    assert promised == pytest.approx(wait + max(0.5, 3 * rung) + 0.050)


def test_a_longer_probe_is_promised_at_once_and_granted_to_later_silences() -> None:
    world = quiet()
    world.hear()
    world.show(round_trip=0.2)
    world.handle(Tick(3, world.evidence()))
    assert world.link.path.timeout == pytest.approx(0.030)
    longer = 0.2 + 0.010
    promised = bounds(world.link, now=world.now).path
    assert promised == pytest.approx(1.04 + longer + 3 * (longer + 0.050) + 0.050)
    world.now += 0.5
    world.hear()
    # At rest a look comes as soon as the present one has passed, and grants the longer.
    world.now += 1.04 + 0.030 + 0.001
    world.handle(Tick(3, world.evidence()))
    assert world.link.path.timeout == pytest.approx(longer)
    assert world.link.path.ladder is None
    # A shorter one holds from now on.
    world.hear()
    world.show(round_trip=0.02)
    world.tick()
    assert world.link.path.timeout == pytest.approx(0.030)


def test_a_suspend_begins_a_contract_anew_and_a_stall_prolongs_it() -> None:
    for asleep in (True, False):
        world = quiet(freshness=Freshness(every=4.0))
        world.read(data=1)
        last = world.now
        alive(world, last + 3.0)
        world.now = last + 3.0
        lag = {"suspended": 50.0} if asleep else {"stalled": 0.5}
        world.handle(Tick(3, world.evidence(), **lag))
        due = last + 3.0 + 4.0 if asleep else last + 4.0 + 0.5
        assert world.link.channel.due_at == pytest.approx(due)


def test_nothing_is_looked_at_over_and_over_while_it_cannot_change() -> None:
    paused = quiet(freshness=Freshness(every=1.0))
    paused.read(data=1)
    paused.handle(Paused(3))
    alive(paused, HEARD + 20.0)
    assert paused.ticks < 60
    unanswered = quiet(freshness=Freshness(every=1.0))
    unanswered.read(data=1)
    alive(unanswered, HEARD + 1.0)
    before = unanswered.ticks
    alive(unanswered, HEARD + 3.0)
    assert unanswered.ticks - before < 40


def test_a_deadline_that_has_passed_stands_until_its_tick() -> None:
    world = quiet()
    due = world.link.deadline
    world.now = due + 0.05
    world.handle(Ponged(3, b"nobody asked"))
    assert world.link.deadline == due
    world.now = due
    world.tick()
    world.tick(late=2.0)
    drained_at = world.link.deadline
    assert drained_at == pytest.approx(world.now + 0.020)
    world.now += 0.005
    world.handle(Ponged(3, b"nobody asked"))
    assert world.link.deadline == drained_at
    calm = quiet()
    calm.now += 0.01
    calm.hear()
    calm.handle(Answered(3))
    assert calm.link.deadline > calm.now


def test_at_first_nothing_is_old() -> None:
    assert Lateness(now=1.0).reads_old is False
    world = Scripted()
    world.now = HEARD
    world.handle(Received(3, 0, 0, 5))
    assert world.link.path.heard_at == HEARD
