"""A stall of ours prolongs what was running by its own length, and nothing more."""

from __future__ import annotations

import random
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.core.events import ChannelStalled, Cleared, Ping, Stalled
from heartline.core.items import Cause
from heartline.core.promises import bounds
from heartline.core.stall import ASK_EVERY, TELL_EVERY, Lateness
from heartline.core.subscriptions import Beats, Freshness
from scripted_link import PING_BYTES, Scripted

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)
DICE = st.builds(random.Random, st.integers(0, 2**32))
SETTLE = 0.022


def opened(**options: Any) -> Scripted:
    """A link whose first ping was answered, and which has heard nothing since."""
    world = Scripted(**options)
    world.now += 0.02
    world.read(pong=True)
    return world


def stumble(world: Scripted, dice: random.Random, *, until: float) -> tuple[float, int]:
    """Run till then or till the link is dead, standing still at every third tick.

    Returns how long it stood still, and how often.
    """
    stood, times = 0.0, 0
    while world.link.found is None and world.link.deadline < until:
        late = dice.choice((0.0, 0.0, 0.11, 0.2, 0.3, 1.0)) * dice.choice((0, 1))
        world.tick(late=late)
        stood += late
        times += late > 0
    return stood, times


@QUICK
@given(dice=DICE)
def test_a_dead_path_is_told_within_its_bound_and_what_we_stood_still(
    dice: random.Random,
) -> None:
    world = opened()
    world.acks = False
    silent_since, promised = world.heard_at, bounds(world.link, now=world.now).path
    stood, times = stumble(world, dice, until=world.now + 600.0)
    assert world.link.found is not None
    assert world.link.found.cause is Cause.PATH_DEAD
    assert world.now - silent_since <= promised + stood + SETTLE * times


@QUICK
@given(dice=DICE)
def test_a_frozen_peer_is_told_within_its_bound_and_what_we_stood_still(
    dice: random.Random,
) -> None:
    """Its kernel acknowledges each ping and answers each second."""
    world = opened()
    silent_since, promised = world.now, bounds(world.link, now=world.now).peer
    stood, times = 0.0, 0
    while world.link.found is None and world.now < silent_since + 300.0:
        world.hear()
        more, often = stumble(world, dice, until=world.link.deadline + 1e-9)
        stood, times = stood + more, times + often
    assert world.link.found is not None
    assert world.link.found.cause is Cause.PEER_FROZEN
    # The proof of its kernel may be too old by then, and is asked for again.
    assert world.now - silent_since <= promised + stood + SETTLE * times + 0.6


@QUICK
@given(dice=DICE)
def test_stalls_one_after_the_other_cost_a_ping_and_a_word_a_second(
    dice: random.Random,
) -> None:
    """An idle link beside load: told of a stall a few times a second, for a minute."""
    world = opened()
    began_at = world.now
    suffered = 0.0
    for _ in range(200):
        lag = dice.uniform(0.11, 0.4)
        suffered += lag
        world.now += dice.uniform(0.0, 0.1) + lag
        world.hear()
        world.link.deadline = max(world.link.deadline, world.now)
        world.tick(stalled=lag)
        while world.link.lateness.draining:
            world.tick()
        if dice.random() < 0.7:
            world.read(pong=True)
    took = world.now - began_at
    assert world.link.found is None
    assert len(world.times(Ping, since=began_at)) <= took / ASK_EVERY + 1
    told = [output.lag for _, output in world.told if isinstance(output, Stalled)]
    assert len(told) <= 2 * took / TELL_EVERY + 1
    # None is kept back for ever.
    world.hear()
    world.run(until=world.now + TELL_EVERY + 0.1)
    told = [output.lag for _, output in world.told if isinstance(output, Stalled)]
    assert sum(told) == pytest.approx(suffered, rel=0.05, abs=0.5)


def test_one_stall_seen_by_two_timers_counts_once() -> None:
    world = opened()
    world.hear()
    world.tick(late=0.3)
    woke_at = world.now
    world.now += 0.001
    world.link.deadline = world.now
    world.tick(stalled=0.35)
    [told] = [output for _, output in world.told if isinstance(output, Stalled)]
    assert told.lag == pytest.approx(0.3)
    assert world.link.lateness.unproven_since is not None
    assert world.times(Stalled) == [pytest.approx(woke_at)]


def test_a_late_look_at_a_drained_socket_judges_and_is_no_new_stall() -> None:
    """Else the looks of many links, each of them late, would never come to an end."""
    world = opened()
    world.hear()
    world.tick(late=0.3)
    asked = len(world.times(Ping))
    assert world.link.lateness.draining
    world.hear()
    world.tick(late=0.2)
    assert not world.link.lateness.draining
    assert len(world.times(Stalled)) == 1
    assert len(world.times(Ping)) == asked


def test_an_answer_that_waited_out_a_stall_is_asked_for_again_within_a_second() -> None:
    world = opened()
    world.hear()
    world.run(until=world.now + 1.2)
    asked_at = world.times(Ping)[-1]
    world.hear()
    world.tick(late=0.4)
    world.read(pong=True)
    assert world.times(Cleared) == []
    assert world.link.peer.wait is None
    world.run(until=asked_at + ASK_EVERY + 0.001)
    assert world.times(Ping)[-1] == pytest.approx(asked_at + ASK_EVERY, abs=1e-5)
    world.now += 0.02
    world.read(pong=True)
    assert len(world.times(Cleared)) == 1


@QUICK
@given(dice=DICE)
def test_a_channel_is_given_a_stall_as_long_again_and_not_its_whole_contract(
    dice: random.Random,
) -> None:
    world = opened(freshness=Freshness(every=2.0))
    silent_since = world.link.channel.data_at
    stood, times = 0.0, 0
    while not world.times(ChannelStalled):
        world.read()
        more, often = stumble(world, dice, until=world.link.deadline + 1e-9)
        stood, times = stood + more, times + often
        assert world.now < silent_since + 120.0
    assert world.now - silent_since >= 2.0
    assert world.now - silent_since <= 2.0 + 0.2 + stood + SETTLE * (times + 1) + 1.0


def test_data_that_waited_out_a_stall_is_no_missing_data() -> None:
    """It comes each 2 s against a contract of 2.2, and a second of ours is between."""
    world = opened(freshness=Freshness(every=2.2))
    world.read(data=1)
    fed_at = world.now
    world.run(until=fed_at + 1.9)
    world.now = fed_at + 2.9
    world.link.deadline = world.now
    world.tick(stalled=1.0)
    world.read(data=1)
    world.run(until=fed_at + 4.0)
    assert world.times(ChannelStalled) == []


@pytest.mark.parametrize("stall", [0.0, 4.0])
def test_a_beat_is_given_a_stall_as_long_again(stall: float) -> None:
    world = opened(beats=Beats(every=7.0, answered=True))
    asked_at, stalled = inf, 0.0
    while world.link.found is None:
        pings, beats = len(world.times(Ping)), world.link.heartbeat.sent
        world.hear()
        late = stall if world.now > asked_at and not stalled else 0.0
        before = world.link.deadline
        world.tick(late=late)
        stalled += late and world.now - before
        if world.link.heartbeat.sent > beats:
            asked_at = min(asked_at, world.now)
        if len(world.times(Ping)) > pings:
            world.read(pong=True)
        assert world.now < 160.0
    assert world.link.found.cause is Cause.PEER_FROZEN
    assert "heartbeat" in world.link.found.evidence
    assert stalled == pytest.approx(stall)
    took = world.now - asked_at
    assert took == pytest.approx(world.link.policy.peer_max + stall, abs=0.05)


def test_a_suspend_is_followed_by_a_question_at_once_and_a_new_ladder() -> None:
    world = opened()
    world.acks = False
    world.run(until=world.now + 1.25)
    ladder = world.link.path.ladder
    assert ladder is not None
    assert ladder.pings >= 1
    world.tick(suspended=30.0)
    assert world.times(Ping)[-1] == pytest.approx(world.now)
    ladder = world.link.path.ladder
    assert ladder is not None
    assert (ladder.pings, ladder.began_at) == (1, world.now)
    assert world.seen.outstanding_bytes >= 2 * PING_BYTES


def test_a_second_stall_is_as_long_as_itself_once_the_first_is_over() -> None:
    lateness = Lateness(now=0.0)
    for now, lag in ((10.0, 3.0), (20.0, 0.5)):
        lateness.stall(lag, now=now)
        assert lateness.stalled_for == lag
        lateness.unproven_since = None


def test_a_beat_that_a_suspend_left_unanswered_is_asked_anew_before_judging() -> None:
    world = opened(beats=Beats(every=7.0, answered=True))
    while not world.link.heartbeat.sent:
        world.hear()
        world.tick()
        if world.link.pings.oldest():
            world.read(pong=True)
    beat_at = world.now
    world.tick(suspended=60.0)
    data_at = world.link.channel.data_at
    late_at = beat_at + world.link.policy.peer_max + 1.0
    heartbeat = world.link.heartbeat
    assert heartbeat.unanswered_for(data_at=data_at, now=late_at) is None
    assert heartbeat.answer(now=late_at) is None
