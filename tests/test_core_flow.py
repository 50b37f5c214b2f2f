"""A link whose data flows: reads told late change no verdict and break no bound."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from math import inf
from typing import Any, cast

import pytest

from heartline.core.adaptive import LEAST_GAP
from heartline.core.channel import ChannelClock
from heartline.core.detector import Liveness
from heartline.core.diagnosis import Finding
from heartline.core.events import Output, Ping, Ponged, Received, Tick
from heartline.core.evidence import Evidence
from heartline.core.flow import LOOK_EVERY, Flow
from heartline.core.link import Link
from heartline.core.promises import bounds
from heartline.wire.pump import Pump
from scripted_link import kernel

BEGAN = 100.0
A_BIN = 2**0.25
"""What is learned is known to the quarter octave."""


class Lone(Link):
    """A link that a pump drives without a session."""

    @property
    def spare_reads(self) -> int:
        return self.channel.spare_reads


class Flows:
    """Lets the looks at such a link be taken with those at all others of its loop."""

    due_at = lull = 0.0

    def __init__(self, link: Link) -> None:
        self._link = link
        self.late_after = link.policy.stall_after

    def rest(self) -> None:
        return None

    def flow(self, *, now: float) -> Flow | None:
        return self._link.flowing(now=now)

    def rested(self, *, until: float, at: float) -> None:
        self._link.deadline = until

    def hold(self, until: float) -> None:
        self._link.deadline = max(self._link.deadline, until)

    def tell(self) -> None:
        """There are no pings at rest."""


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A link with its pump, whose data comes when it is said to, until all is dead.

    Ours is the loop, too. With `at_once` every read is told to the link; else its looks
    are taken with those of others if they are `shared`.
    """

    def __init__(self, *, at_once: bool, dead_at: float, shared: bool = False) -> None:
        self.now = self.heard_at = BEGAN
        self.dead_at = dead_at
        self.at_once = at_once
        self.timers: list[Timer] = []
        self.looks = self.received = 0
        self.segments = self.bytes = 1
        self.link = Lone(1, policy=Liveness(), now=BEGAN, evidence=self.evidence())
        self.pump = Pump(
            cast(Any, self.link),
            obey=self.obey,
            look=self.look,
            settle=lambda: None,
            loop=cast(asyncio.AbstractEventLoop, self),
            clock=lambda: self.now,
            asleep=lambda: 0.0,
            sleepy=cast(Any, Flows(self.link)) if shared else None,
        )
        for wanted in self.link.open(now=self.now):
            self.obey(wanted)
        self.read(frames=1)

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        self.timers = [timer for timer in self.timers if not timer.cancelled]
        self.timers.append(Timer(self.now + delay, call))
        return self.timers[-1]

    def evidence(self) -> Evidence:
        """Kernels speak by themselves once a second, and with every read."""
        alive_at = min(self.now, self.dead_at)
        spoke_at = alive_at - (alive_at - self.heard_at) % 1.0
        return Evidence(
            kernel(
                segments_in=self.segments + int(spoke_at - self.heard_at),
                heard_age=self.now - spoke_at,
                received_bytes=self.bytes,
            )
        )

    def look(self) -> tuple[int, Evidence]:
        self.looks += 1
        return 1, self.evidence()

    def obey(self, wanted: Output) -> None:
        if isinstance(wanted, Ping) and self.now < self.dead_at:
            self.heard_at, self.segments = self.now, self.segments + 2
            self.pump.feed(Ponged(1, wanted.payload))

    def read(self, *, frames: int) -> None:
        self.heard_at, self.segments = self.now, self.segments + 2
        self.bytes += frames
        self.received += frames
        read = (1, frames, frames, 10 * frames)
        if self.at_once or not self.pump.hears(*read, now=self.now):
            self.pump.heard(*read, now=self.now)

    def run(self, until: float) -> None:
        while self.link.found is None:
            due = min((t.at for t in self.timers if not t.cancelled), default=inf)
            if due > until:
                break
            self.now = max(self.now, due)
            for timer in [t for t in self.timers if not t.cancelled and t.at == due]:
                timer.cancelled = True
                timer.call()
        self.now = max(self.now, until) if self.link.found is None else self.now


WAYS = [(True, False), (False, False), (False, True)]


def play(dice: random.Random, *, at_once: bool, shared: bool) -> World:
    """Data with a rhythm of its own for a while, and then nothing at all."""
    dead_at = BEGAN + dice.uniform(1.0, 25.0)
    world = World(at_once=at_once, dead_at=dead_at, shared=shared)
    longest = dice.choice((0.1, 0.4, 2))
    at = BEGAN
    while (at := at + dice.uniform(0.001, longest)) < dead_at:
        world.run(at)
        world.read(frames=dice.randint(1, 5))
    world.run(dead_at)
    return world


@pytest.mark.parametrize("seed", range(20))
def test_a_death_is_told_within_the_bound_though_reads_are_told_late(seed: int) -> None:
    found: list[Finding] = []
    promised = inf
    for at_once, shared in WAYS:
        world = play(random.Random(seed), at_once=at_once, shared=shared)
        promised = min(promised, A_BIN * bounds(world.link, now=world.now).path)
        world.run(world.dead_at + promised)
        assert world.link.found is not None
        found.append(world.link.found)
    assert len({(each.cause, each.where) for each in found}) == 1


@pytest.mark.parametrize("seed", range(20))
def test_what_is_told_late_is_what_would_have_been_told(seed: int) -> None:
    links: list[Link] = []
    for at_once, shared in WAYS:
        world = play(random.Random(seed), at_once=at_once, shared=shared)
        world.pump.flush()
        assert world.link.frames == world.link.channel.count == world.received
        links.append(world.link)
    soon, *lates = links
    silence = rare(soon.channel, at=soon.channel.data_at)
    for late in lates:
        assert late.channel.data_at == soon.channel.data_at
        assert late.channel.fresh_at == soon.channel.fresh_at
        assert late.peer.frame_at == soon.peer.frame_at
        learned = rare(late.channel, at=late.channel.data_at)
        assert silence == pytest.approx(learned, rel=A_BIN - 1 + 1e-9)


def rare(channel: ChannelClock, *, at: float) -> float:
    silence = channel.rare_silence(per_minute=1.0, now=at)
    return inf if silence is None else silence


@pytest.mark.parametrize("shared", [False, True])
def test_while_data_flows_the_link_is_looked_at_now_and_then_only(shared: bool) -> None:
    world = World(at_once=False, dead_at=inf, shared=shared)
    began = BEGAN
    while world.link.clocks.busy_silence is None:
        began += 0.1
        assert began < BEGAN + 30.0
        world.run(began)
        world.read(frames=1)
    looks, given = world.looks, list[Any]()
    handle = world.link.handle
    world.link.handle = lambda fact, *, now: (  # type: ignore[method-assign]
        given.append(fact),
        handle(fact, now=now),
    )[1]
    for tenth in range(1, 201):
        world.run(began + tenth / 10)
        world.read(frames=1)
    assert 20.0 / LOOK_EVERY <= world.looks - looks <= 20.0 / LOOK_EVERY + 3
    assert len(given) <= 2 * (world.looks - looks) + 2
    assert all(isinstance(fact, Received | Tick | Ponged) for fact in given)
    world.pump.flush()
    assert world.link.frames == world.received


def test_data_puts_the_first_look_off_as_soon_as_the_first_ping_is_answered() -> None:
    world = World(at_once=False, dead_at=inf)
    for tenth in range(1, 50):
        world.run(BEGAN + tenth / 10)
        world.read(frames=1)
    assert not world.looks
    world.run(BEGAN + LOOK_EVERY + 0.1)
    assert world.looks


def test_a_look_that_is_too_late_is_not_put_off() -> None:
    world = World(at_once=False, dead_at=inf)
    world.run(BEGAN + 3.0)
    world.read(frames=1)
    link, due = world.link, world.link.deadline
    late = link.policy.stall_after + 0.01
    link.put_off(due - 0.1, now=due + late)
    assert link.deadline == due
    link.put_off(due - 0.1, now=due)
    assert link.deadline > due


def test_gaps_between_reads_that_are_told_as_one_are_learned_each() -> None:
    soon, late = ChannelClock(None, now=0.0), ChannelClock(None, now=0.0)
    at, gaps = 1.0, [0.3, 0.05, 0.7, LEAST_GAP, 0.01] * 8
    for clock in (soon, late):
        clock.fed(Received(1, 1, 1), now=at)
    told = [1.5]
    for gap in gaps:
        told.append(told[-1] + gap)
    for at in told:
        soon.fed(Received(1, 1, 1), now=at)
    long = tuple(gap for gap in gaps if gap >= LEAST_GAP)
    count = len(told)
    late.fed(Received(1, count, count, 0, count, told[0], long), now=told[-1])
    assert (late.count, late.data_at) == (soon.count, soon.data_at)
    assert rare(late, at=told[-1]) == pytest.approx(rare(soon, at=told[-1]))
    assert 0.7 <= rare(late, at=told[-1]) < inf
