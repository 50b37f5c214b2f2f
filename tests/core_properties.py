"""What the core promises, each as a function that asserts it for one random case.

The dice decide the case: hypothesis throws them in the tests of the promises, a plain
`random.Random` in the tests that plant faults. No property waits: time is virtual.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from copy import deepcopy
from math import inf
from typing import Any

from msgspec import Struct

from heartline.core.channel import CHANNEL_PATIENCE, RESENT
from heartline.core.detector import Liveness
from heartline.core.events import (
    Abort,
    ChannelStalled,
    ConditionBegan,
    Dial,
    DialSucceeded,
    Lost,
    Ping,
    Ponged,
    Received,
    Stalled,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.inbox import Inbox
from heartline.core.items import Bounds, Cause, Condition, Phase, Status, Where
from heartline.core.subscriptions import Beats, Freshness
from heartline.core.terms import Terms
from heartline.testing import checkers
from heartline.testing.sim_manners import Pongs, Traffic
from heartline.testing.simulation import HOST, Simulation
from heartline.testing.swarm import swarm

Property = Callable[[random.Random], None]

ROUND_TRIPS = (0.0002, 0.02, 0.1, 0.2)
PATIENT = Liveness(ping_every=1e6, measure_every=1e6, kernel_interval=1000)
"""Of a venue that never finds anything."""
ARRIVED = 0.25
"""What was on its way when a fault began has arrived after so many seconds."""
SLACK = 0.1


def stream(
    dice: random.Random,
    *,
    traffic: Traffic | None = None,
    rate: float = 20.0,
    freshness: Freshness | None = None,
    beats: Beats | None = None,
    inbox: Inbox | None = None,
    round_trip: float | None = None,
    venue_watches: bool = True,
    liveness: Liveness | None = None,
) -> Simulation:
    """A stream that has just been started, over a path without loss."""
    sim = Simulation(
        dice.randrange(1 << 30),
        terms=Terms(
            host=HOST,
            freshness=freshness,
            beats=beats,
            liveness=liveness or Liveness(),
        ),
        inbox=inbox,
        venue_liveness=None if venue_watches else PATIENT,
    )
    sim.path(round_trip=round_trip or dice.choice(ROUND_TRIPS))
    idle_or_busy = (Traffic.IDLE, Traffic.STEADY, Traffic.MARKET)
    sim.venue.manners.traffic = traffic or dice.choice(idle_or_busy)
    sim.venue.manners.rate = rate
    sim.client.start()
    return sim


def told(sim: Simulation, kind: type[Any]) -> list[Any]:
    return [v for _, what, v in sim.history if what == "event" and isinstance(v, kind)]


def unanswered(sim: Simulation) -> list[float]:
    """When the pings were sent that are not answered yet."""
    answered = {v.payload for _, _, v in sim.history if isinstance(v, Ponged)}
    pings = [(at, v) for at, _, v in sim.history if isinstance(v, Ping)]
    return [at for at, ping in pings if ping.payload not in answered]


def promised(sim: Simulation) -> Bounds:
    bounds: Bounds = sim.client.bounds()
    return bounds


def no_complaints(sim: Simulation) -> None:
    assert checkers.complaints(sim) == []


# --- detection has a bound --------------------------------------------------------


def the_path_bound_is_kept(dice: random.Random) -> None:
    sim = stream(dice)
    sim.run(dice.uniform(0.5, 40.0))
    sim.fault(dice.choice(("blackhole", "inbound", "link_down")), seconds=60.0)
    before = promised(sim).path
    sim.run(ARRIVED)
    sim.run(max(before, promised(sim).path))
    assert [lost.cause for lost in told(sim, Lost)] == [Cause.PATH_DEAD]
    no_complaints(sim)


def the_peer_bound_is_kept(dice: random.Random) -> None:
    sim = stream(dice)
    sim.run(dice.uniform(0.5, 40.0))
    sim.fault("freeze", seconds=60.0)
    before = promised(sim).peer
    sim.run(ARRIVED)
    sim.run(max(before, promised(sim).peer))
    assert [lost.cause for lost in told(sim, Lost)] == [Cause.PEER_FROZEN]
    [lost] = told(sim, Lost)
    # The last of it is for what a path loses, and this one loses nothing.
    assert lost.bound is not None
    assert lost.at < lost.since_at + lost.bound - SLACK
    no_complaints(sim)


def the_channel_bound_is_kept(dice: random.Random) -> None:
    every = dice.uniform(0.5, 5.0)
    contract = Freshness(every=every, redial=False)
    sim = stream(dice, traffic=Traffic.STEADY, freshness=contract)
    sim.run(dice.uniform(0.5, 20.0))
    sim.fault("mute", seconds=60.0)
    sim.run(every + 0.2 + SLACK)
    no_complaints(sim)
    assert told(sim, Lost) == []


def a_dead_way_out_is_told_in_time_though_segments_come_in(
    dice: random.Random,
) -> None:
    """Without a rhythm of data it is the frames that are missed, and nothing else."""
    seldom = Liveness(kernel_interval=5)
    sim = stream(
        dice, traffic=Traffic.MARKET, rate=0.5, venue_watches=False, liveness=seldom
    )
    sim.run(dice.uniform(15.0, 40.0))
    sim.fault("outbound", seconds=60.0)
    # A few frames may come before the other end's kernel stops sending.
    sim.run(2 * promised(sim).peer)
    lost = told(sim, Lost)[0]
    assert lost.cause is Cause.PATH_DEAD
    assert lost.at - lost.since_at <= lost.bound
    assert checkers.bound_kept(sim) == []


def a_fault_between_acknowledgement_and_pong_is_found_in_time(
    dice: random.Random,
) -> None:
    """The peer's kernel has the ping, its program has not answered: no clock waits."""
    sim = stream(dice, traffic=Traffic.IDLE, round_trip=0.02)
    sim.venue.manners.pongs, sim.venue.manners.pong_delay = Pongs.LATE, 1.0
    sim.run(dice.choice((0.0, 10.0, 20.0)))
    while all(at < sim.clock.now - 0.01 for at in unanswered(sim)):
        sim.run(0.005)
    sim.run(dice.uniform(0.08, 0.9))
    assert len(unanswered(sim)) == 1
    sim.fault("blackhole", seconds=30.0)
    sim.run(promised(sim).path + SLACK)
    assert [lost.cause for lost in told(sim, Lost)] == [Cause.PATH_DEAD]
    assert checkers.bound_kept(sim) == []


def trickled_bytes_hold_the_peer_only_to_the_message_deadline(
    dice: random.Random,
) -> None:
    sim = stream(dice, traffic=Traffic.STEADY, round_trip=0.02)
    sim.run(dice.uniform(15.0, 30.0))
    bound, deadline = promised(sim).peer, sim.terms.liveness.message_deadline
    assert bound < deadline
    sim.venue.manners.pongs = Pongs.NONE
    sim.fault("trickle", seconds=60.0)
    sim.run(deadline + bound + SLACK)
    losses = told(sim, Lost)
    assert [lost.cause for lost in losses] == [Cause.PEER_FROZEN]
    took = losses[0].at - losses[0].since_at
    assert deadline - 1e-6 <= took <= deadline + bound


def bounds_stay_under_their_ceilings(dice: random.Random) -> None:
    sim = swarm(dice.randrange(1 << 20), seconds=60.0)
    for _, _, status in sim.history:
        if isinstance(status, Status):
            assert status.bounds.path <= status.ceilings.path + 1e-9
            assert status.bounds.peer <= status.ceilings.peer + 1e-9
            assert status.bounds.channels == status.ceilings.channels


# --- the right thing is blamed ----------------------------------------------------


def a_shut_window_that_is_answered_blames_the_peer(dice: random.Random) -> None:
    sim = stream(dice, traffic=Traffic.STEADY)
    sim.run(dice.uniform(10.0, 30.0))
    sim.fault("freeze", seconds=120.0)
    sim.run(0.01)
    for _ in range(dice.randrange(5, 9)):
        sim.client.send(65_536)
    sim.run(60.0)
    assert [lost.cause for lost in told(sim, Lost)][:1] == [Cause.PEER_FROZEN]


def a_shut_window_that_nobody_answers_blames_the_path(dice: random.Random) -> None:
    sim = stream(dice, traffic=Traffic.IDLE)
    sim.run(dice.uniform(10.5, 18.0))
    sim.fault("freeze", seconds=120.0)
    for _ in range(6):
        sim.client.send(65_536)
    sim.run(0.3)
    link = sim.client.session.link
    assert link is not None
    sim.fault("blackhole", seconds=120.0)
    sim.run(60.0)
    blamed = [(lost.cause, lost.where) for lost in told(sim, Lost)]
    assert blamed[:1] == [(Cause.PATH_DEAD, Where.BOTH)]


def links_that_die_together_blame_this_host(dice: random.Random) -> None:
    first = stream(dice)
    others = [
        Simulation(n, terms=Terms(host=f"{n}.example"), beside=first)
        for n in range(1, dice.randrange(2, 4))
    ]
    for other in others:
        other.venue.manners.traffic = dice.choice((Traffic.IDLE, Traffic.STEADY))
        other.path(round_trip=dice.choice(ROUND_TRIPS))
        other.client.start()
    first.run(dice.uniform(6.0, 30.0))
    for sim in (first, *others):
        sim.fault("blackhole", seconds=30.0)
    first.run(6.0)
    losses = [lost for sim in (first, *others) for lost in told(sim, Lost)]
    assert {lost.cause for lost in losses} == {Cause.PATH_DEAD}
    last = max(losses, key=lambda lost: lost.at)
    assert last.where is Where.LOCAL


def without_pongs_there_is_no_verdict_and_hardly_a_question(
    dice: random.Random,
) -> None:
    sim = stream(dice, traffic=Traffic.STEADY)
    sim.venue.manners.pongs = Pongs.NONE
    sim.run(10.0)
    assert [e.condition for e in told(sim, ConditionBegan)] == [Condition.NO_PONG]
    asked, seconds = pings(sim), dice.uniform(30.0, 120.0)
    sim.run(seconds)
    assert told(sim, Lost) == []
    # They may come back, and that must be noticed.
    every = sim.terms.liveness.measure_every
    assert pings(sim) - asked <= seconds / every + 1
    patience = sim.terms.liveness.no_pong_silence
    sim.fault("freeze", seconds=100.0)
    sim.run(patience - 1.0)
    assert told(sim, Lost) == []
    sim.run(1.0 + SLACK + 0.1)
    assert [lost.cause for lost in told(sim, Lost)] == [Cause.PEER_FROZEN]


def a_lossy_path_makes_no_peer_one_that_does_not_answer(dice: random.Random) -> None:
    """What is resent comes late, and the pong behind it: data does not prove more."""
    sim = stream(
        dice,
        traffic=Traffic.STEADY,
        rate=dice.choice((5.0, 20.0, 50.0)),
        round_trip=dice.choice((0.02, 0.1, 0.2)),
        liveness=Liveness(ride_through=3.0),
    )
    sim.run(3.0)
    pong_comes_behind_what_is_resent(sim, dice)
    sim.venue.towards.loss = sim.venue.back.loss = dice.choice((0.1, 0.3, 0.4))
    sim.run(25.0)
    assert told(sim, ConditionBegan) == []


def pong_comes_behind_what_is_resent(sim: Simulation, dice: random.Random) -> None:
    """What was sent before a pong is read piece by piece, after the pong was due."""
    manners, back = sim.venue.manners, sim.venue.back
    manners.pongs, manners.pong_delay = Pongs.LATE, 1.0
    link = sim.client.session.link
    assert link is not None
    while (asked := link.pings.oldest()) is None:
        sim.run(0.1)
    # The ping is acknowledged; more than one message goes before its pong.
    sim.run(0.3)
    due_at = asked.sent_at + sim.terms.liveness.peer_idle
    while link.channel.data_at < due_at:
        back.dead = True
        sim.run(dice.uniform(1.25, 1.4))
        back.dead, read_at = False, link.channel.data_at
        while link.channel.data_at == read_at:
            sim.run(0.01)
            assert told(sim, Lost) == []
    back.dead = True
    sim.run(0.1)
    assert link.pings.oldest() is asked
    assert asked.acked
    back.dead, manners.pongs = False, Pongs.PROMPT
    sim.run(5.0)


def an_unanswered_heartbeat_blames_the_venue(dice: random.Random) -> None:
    """Pongs may come from a proxy: without data, only the declared answer counts."""
    every = dice.uniform(1.0, 15.0)
    beats = Beats(every=every, answered=True)
    sim = stream(dice, traffic=Traffic.IDLE, beats=beats, venue_watches=False)
    sim.run(dice.uniform(0.5, 40.0))
    assert told(sim, Lost) == []
    sim.venue.manners.answers_beats = False
    sim.run(every + sim.terms.liveness.peer_max + SLACK)
    assert [lost.cause for lost in told(sim, Lost)] == [Cause.PEER_FROZEN]


def an_unanswered_heartbeat_beside_data_is_a_condition(dice: random.Random) -> None:
    beats = Beats(every=dice.uniform(1.0, 15.0), answered=True)
    sim = stream(dice, traffic=Traffic.STEADY, beats=beats, venue_watches=False)
    sim.venue.manners.answers_beats = False
    sim.run(60.0)
    assert told(sim, Lost) == []
    assert Condition.NO_PONG in sim.client.session.conditions
    sim.venue.manners.answers_beats = True
    sim.run(20.0)
    assert Condition.NO_PONG not in sim.client.session.conditions


# --- we are never the false alarm -------------------------------------------------


def a_late_tick_judges_nothing(dice: random.Random) -> None:
    """Even with a verdict at hand: what ran out while we stood still is void."""
    sim = stream(dice)
    sim.run(dice.uniform(1.0, 30.0))
    sim.fault(dice.choice(("blackhole", "freeze")), seconds=60.0)
    sim.run(dice.uniform(0.0, 13.0))
    link = sim.client.session.link
    if link is None:
        return
    link, before = deepcopy(link), link.verdict
    lag = dice.choice((0.101, 0.5, 3.0, 60.0, 3600.0))
    end = sim.client.end
    assert end is not None
    late = Tick(link.epoch, end.evidence())
    out = link.handle(late, now=link.deadline + lag)
    assert [event.lag for event in out if isinstance(event, Stalled)]
    assert link.found is None
    assert link.verdict is before
    assert link.deadline < inf


def a_stall_of_ours_kills_no_healthy_link(dice: random.Random) -> None:
    sim = stream(dice, venue_watches=False)
    sim.run(dice.uniform(0.5, 30.0))
    seconds = dice.choice((0.05, 0.15, 1.0, 3.0, 8.0, 15.0))
    sim.fault("stall", seconds=seconds)
    sim.run(30.0)
    assert told(sim, Lost) == []
    assert told(sim, Stalled) or seconds < 12.0
    no_complaints(sim)


def a_path_that_came_back_is_no_frozen_peer(dice: random.Random) -> None:
    """What the peer's kernel holds back after a blackout is not its program's fault."""
    traffic = dice.choice((Traffic.MARKET, Traffic.POISSON))
    sim = stream(dice, traffic=traffic, rate=2.0, venue_watches=False)
    sim.run(dice.uniform(15.0, 30.0))
    sim.fault("inbound", seconds=promised(sim).path * dice.uniform(0.25, 0.7))
    sim.run(15.0)
    assert not [lost for lost in told(sim, Lost) if lost.cause is Cause.PEER_FROZEN]
    no_complaints(sim)


def a_ping_that_was_long_on_its_way_accuses_nobody(dice: random.Random) -> None:
    """A kernel that asks seldom notices no short blackout; our own ping does."""
    seldom = Liveness(kernel_interval=10)
    sim = stream(
        dice, traffic=Traffic.STEADY, rate=0.3, venue_watches=False, liveness=seldom
    )
    sim.run(15.0)
    link = sim.client.session.link
    assert link is not None
    asked, until = link.pings.sent, sim.clock.now + 60.0
    while link.clocks.ping_due(now=sim.client_host.now) > sim.client_host.now + 0.5:
        sim.run(0.1)
        assert sim.clock.now < until
    sim.fault("blackhole", seconds=dice.uniform(4.0, 8.0))
    sim.run(20.0)
    assert link.pings.sent > asked
    assert not [lost for lost in told(sim, Lost) if lost.cause is Cause.PEER_FROZEN]


def a_suspend_of_ours_accuses_no_peer_that_lives(dice: random.Random) -> None:
    """What was sent to a machine that slept is resent at doubling intervals."""
    seldom = Liveness(kernel_interval=dice.choice((1, 3, 10)))
    traffic = dice.choice((Traffic.MARKET, Traffic.POISSON, Traffic.STEADY))
    sim = stream(dice, traffic=traffic, rate=2.0, venue_watches=False, liveness=seldom)
    sim.run(dice.uniform(10.0, 40.0))
    slept = dice.uniform(0.5, 20.0)
    sim.fault("suspend", seconds=slept)
    if dice.random() < 0.5:
        # It woke only to fall asleep again.
        after = slept + dice.uniform(0.1, 5.0)
        sim.fault("suspend", after=after, seconds=dice.uniform(0.5, 20.0))
    sim.run(60.0)
    assert not [lost for lost in told(sim, Lost) if lost.cause is Cause.PEER_FROZEN]
    no_complaints(sim)


def a_suspend_of_ours_prolongs_a_contract_by_what_it_took(dice: random.Random) -> None:
    """It is found out with the next look only: data may have come since."""
    every = dice.choice((5.0, 20.0))
    sim = stream(
        dice, traffic=Traffic.STEADY, rate=2 / every, freshness=Freshness(every=every)
    )
    sim.run(dice.uniform(10.0, 40.0))
    slept = dice.uniform(0.2, 2.0)
    sim.fault("suspend", seconds=slept)
    sim.fault("mute", after=slept + dice.uniform(0.0, 20.0), seconds=60.0)
    sim.run(80.0)
    [stalled, *_] = told(sim, ChannelStalled)
    assert stalled.silence <= every + slept + RESENT + CHANNEL_PATIENCE + SLACK
    no_complaints(sim)


def a_pause_holds_the_peers_clock_and_not_the_paths(dice: random.Random) -> None:
    inbox = Inbox(limit=10, policy="block")
    sim = stream(dice, traffic=Traffic.STEADY, inbox=inbox, venue_watches=False)
    sim.client.consumer.speed = 0.0
    sim.run(10.0)
    assert Condition.PAUSED in sim.client.session.conditions
    sim.fault("freeze", seconds=dice.uniform(5.0, 10.0))
    sim.run(20.0)
    assert told(sim, Lost) == []
    sim.fault("blackhole", seconds=60.0)
    sim.run(promised(sim).path + SLACK + 0.1)
    assert [lost.cause for lost in told(sim, Lost)] == [Cause.PATH_DEAD]
    assert checkers.bound_kept(sim) == []


# --- cheap, and never for ever ----------------------------------------------------


def heartbeats_stay_in_their_budget(dice: random.Random) -> None:
    traffic = dice.choice((Traffic.IDLE, Traffic.STEADY, Traffic.MARKET))
    budget = 8 if traffic is Traffic.IDLE else 6
    sim = stream(dice, traffic=traffic, rate=50.0)
    sim.run(30.0)
    before, minutes = pings(sim), 2
    sim.run(60.0 * minutes)
    assert pings(sim) - before <= budget * minutes
    assert told(sim, Lost) == []


def a_tick_always_moves_the_deadline(dice: random.Random) -> None:
    """By a millisecond at least, whatever was done to the stream."""
    sim = swarm(dice.randrange(1 << 20), seconds=dice.uniform(1.0, 60.0))
    session = sim.client.session
    end = sim.client.end
    for _ in range(200):
        due = session.deadline
        if due == inf:
            assert session.phase in (Phase.IDLE, Phase.CLOSED)
            return
        now = max(due, sim.client_host.now)
        seen = Evidence() if end is None else end.evidence()
        session.handle(Tick(session.epoch, seen), now=now)
        assert session.deadline >= now + 0.001 - 1e-9, session.phase


def random_histories_keep_every_promise(dice: random.Random) -> None:
    no_complaints(swarm(dice.randrange(1 << 20), seconds=90.0))


# --- the past has no say ----------------------------------------------------------


def facts_of_an_old_epoch_change_nothing(dice: random.Random) -> None:
    sim = stream(dice)
    sim.run(dice.uniform(1.0, 10.0))
    sim.fault("close", value=1001.0)
    sim.run(dice.uniform(0.0, 6.0))
    session = sim.client.session
    if session.epoch < 2:
        return
    old = session.epoch - 1
    for fact in old_facts(sim, old):
        before = everything(session)
        out = session.handle(fact, now=sim.client_host.now)
        assert everything(session) == before, fact
        allowed = [Abort(old)] if isinstance(fact, DialSucceeded) else []
        assert out == allowed, fact


def old_facts(sim: Simulation, old: int) -> Iterator[Any]:
    """Every fact that names an epoch, as the link `old` told it."""
    for kind in {type(v): v for _, what, v in sim.history if what == "fact"}.values():
        if getattr(kind, "epoch", 0) and not isinstance(kind, Tick):
            fields = {name: getattr(kind, name) for name in kind.__struct_fields__}
            yield type(kind)(**{**fields, "epoch": old})
    yield Received(old, 1, 1, 100)


def everything(value: Any) -> Any:
    """All that is reachable from `value`, as something that can be compared."""
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [everything(item) for item in value]
    if isinstance(value, dict):
        return [(key, everything(item)) for key, item in value.items()]
    if isinstance(value, Struct) or not type(value).__module__.startswith("heartline"):
        return value
    names = set(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        names |= set(vars(kind).get("__slots__", ()))
    return [(name, everything(getattr(value, name, None))) for name in sorted(names)]


def pings(sim: Simulation) -> int:
    return sum(isinstance(v, Ping) for _, what, v in sim.history if what == "do")


def dials(sim: Simulation) -> int:
    return sum(isinstance(v, Dial) for _, what, v in sim.history if what == "do")


SIMULATED: tuple[Property, ...] = (
    the_path_bound_is_kept,
    the_peer_bound_is_kept,
    the_channel_bound_is_kept,
    a_dead_way_out_is_told_in_time_though_segments_come_in,
    a_fault_between_acknowledgement_and_pong_is_found_in_time,
    trickled_bytes_hold_the_peer_only_to_the_message_deadline,
    bounds_stay_under_their_ceilings,
    a_shut_window_that_is_answered_blames_the_peer,
    a_shut_window_that_nobody_answers_blames_the_path,
    links_that_die_together_blame_this_host,
    an_unanswered_heartbeat_blames_the_venue,
    an_unanswered_heartbeat_beside_data_is_a_condition,
    without_pongs_there_is_no_verdict_and_hardly_a_question,
    a_lossy_path_makes_no_peer_one_that_does_not_answer,
    a_late_tick_judges_nothing,
    a_stall_of_ours_kills_no_healthy_link,
    a_path_that_came_back_is_no_frozen_peer,
    a_ping_that_was_long_on_its_way_accuses_nobody,
    a_suspend_of_ours_accuses_no_peer_that_lives,
    a_suspend_of_ours_prolongs_a_contract_by_what_it_took,
    a_pause_holds_the_peers_clock_and_not_the_paths,
    heartbeats_stay_in_their_budget,
    a_tick_always_moves_the_deadline,
    random_histories_keep_every_promise,
    facts_of_an_old_epoch_change_nothing,
)
