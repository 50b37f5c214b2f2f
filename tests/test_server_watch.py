"""The watch over one client, jumping through time: beats, doubts, and its rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline import Cause, Liveness
from heartline.core.diagnosis import Finding
from heartline.core.events import Doubted, Event
from heartline.core.evidence import Evidence, Kernel
from heartline.server.pace import Pace
from heartline.server.serve import LIVENESS
from heartline.server.watch import Watch
from heartline.server.wheel import GRAIN

BEGIN = 1000.0


class World:
    """A client on a simulated clock. `answers` and `acknowledges` are what lives."""

    def __init__(self, policy: Liveness = LIVENESS, *, beats: bool = False) -> None:
        self.now = BEGIN
        self.answers: Callable[[float], bool] = lambda now: True
        self.acknowledges: Callable[[float], bool] = lambda now: True
        self.written_every = 0.0
        """Seconds between two messages to the client, whose kernel takes them."""
        self.round_trip = 0.001
        self.pings: list[float] = []
        self.beats: list[float] = []
        self.events: list[Event] = []
        self.found: Finding | None = None
        self._heard_at, self._segments, self._acked, self._sent = BEGIN, 10, 0, 0
        self._due: list[tuple[float, bytes]] = []
        self._acks: list[tuple[float, int]] = []
        self.pace = Pace(policy)
        self.watch = Watch(self, self.pace, beats=beats, phase=0.5, now=BEGIN)

    # --- the client, as its watch sees it

    def ping(self, payload: bytes) -> None:
        self.pings.append(self.now)
        self._sent += 8
        if self.acknowledges(self.now):
            # Not yet to be seen in the evidence that is read right after.
            self._acks.append((self.now + self.round_trip / 2, self._sent))
            if self.answers(self.now):
                self._due.append((self.now + self.round_trip, payload))

    def beat(self) -> None:
        self.beats.append(self.now)

    def told(self, event: Event) -> None:
        self.events.append(event)

    def eyes(self) -> Any:
        return self

    # --- the eyes

    def read(self) -> Evidence:
        while self._acks and self._acks[0][0] <= self.now:
            at, self._acked = self._acks.pop(0)
            self._heard_at = max(self._heard_at, at)
            self._segments += 1
        if self.written_every and self.acknowledges(self.now):
            written = int(self.now / self.written_every)
            at = written * self.written_every
            if at > self._heard_at:
                self._heard_at = at
                self._segments += 1
        held = self._sent - self._acked
        kernel = Kernel(
            segments_in=self._segments,
            heard_age=self.now - self._heard_at,
            unacked_segments=1 if held else 0,
            outstanding_bytes=held,
            unsent_bytes=0,
            acked_bytes=self._acked,
            received_bytes=100,
            retransmits=0,
            total_retransmits=0,
            probes_unanswered=0,
            round_trip=0.0001,
            round_trip_deviation=0.0001,
            min_round_trip=0.0001,
            send_window_bytes=65_535,
        )
        return Evidence(kernel)

    def close(self) -> None:
        pass

    def was_reset(self) -> bool:
        return False

    # --- time

    def run(self, until: float, *, late: float = 1.0) -> None:
        """Let time pass; looks come up to `late` of what is allowed after due."""
        late *= self.pace.grain
        while self.found is None:
            look_at = self.watch.due + late
            answer_at = self._due[0][0] if self._due else float("inf")
            if min(look_at, answer_at) > until:
                self.now = until
                return
            self.now = max(self.now, min(look_at, answer_at))
            if answer_at <= look_at:
                _, payload = self._due.pop(0)
                self._heard_at = self.now
                self._segments += 1
                self.watch.ponged(payload)
                self.watch.heard(1, 0, 10, now=self.now)
            else:
                self.found = self.watch.look(now=self.now)

    def talk(self) -> None:
        self._heard_at = self.now
        self._segments += 1
        self.watch.heard(1, 1, 20, now=self.now)


POLICIES = [
    LIVENESS,
    Liveness(kernel_interval=2, ping_every=2.0, peer_busy=1.0, peer_idle=2.0),
    Liveness(),
]
NAMES = ["default", "quick", "asks the kernel"]


def test_a_client_that_answers_is_beaten_to_once_an_interval_without_a_link() -> None:
    world = World()
    world.run(BEGIN + 600)
    assert world.found is None
    assert world.watch.link is None
    assert len(world.pings) == pytest.approx(600 / LIVENESS.ping_every, abs=2)
    assert world.watch.round_trip.samples == len(world.pings)
    assert world.watch.round_trip.smoothed == pytest.approx(world.round_trip)


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_a_client_that_sees_beats_gets_one_an_interval_and_no_two_at_once(
    policy: Liveness,
) -> None:
    world = World(policy, beats=True)
    world.run(BEGIN + 300)
    gaps = [b - a for a, b in zip(world.beats, world.beats[1:], strict=False)]
    assert world.beats[0] <= BEGIN + policy.ping_every
    assert max(gaps) <= policy.ping_every + 2 * GRAIN
    assert min(gaps) > 2 * GRAIN


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
@given(
    after=st.floats(min_value=0.0, max_value=60.0),
    written_every=st.sampled_from([0.0, 0.01, 0.05, 0.31, 1.0]),
    late=st.floats(min_value=0.0, max_value=1.0),
)
def test_a_frozen_client_is_found_within_the_bound_whatever_is_written_to_it(
    policy: Liveness, after: float, written_every: float, late: float
) -> None:
    world = World(policy)
    world.written_every = written_every
    world.run(BEGIN + after, late=late)
    bound = world.watch.bounds(now=world.now).peer
    world.answers = lambda now: False
    world._due.clear()
    world.run(BEGIN + after + 100, late=late)
    assert world.found is not None
    assert world.found.cause is Cause.PEER_FROZEN
    assert world.now - (BEGIN + after) <= bound


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
@given(
    after=st.floats(min_value=0.0, max_value=60.0),
    late=st.floats(min_value=0.0, max_value=1.0),
)
def test_a_dead_path_is_found_within_the_bound(
    policy: Liveness, after: float, late: float
) -> None:
    world = World(policy)
    world.run(BEGIN + after, late=late)
    promised = world.watch.bounds(now=world.now)
    world.answers = world.acknowledges = lambda now: False
    world._due.clear()
    world.run(BEGIN + after + 100, late=late)
    assert world.found is not None
    assert world.found.cause is Cause.PATH_DEAD
    assert world.now - (BEGIN + after) <= promised.path


@given(away=st.floats(min_value=0.5, max_value=2.5))
@settings(max_examples=10)
def test_a_client_that_came_back_is_kept_and_goes_without_a_link_again(
    away: float,
) -> None:
    world = World()
    world.run(BEGIN + 50)
    back_at = world.pings[-1] + LIVENESS.ping_every + away
    world.answers = lambda now: now >= back_at
    world.run(back_at + 12)
    assert world.found is None
    assert world.watch.link is not None
    world.run(back_at + 3 * 3600)
    assert world.watch.link is None
    assert world.found is None


def test_a_client_that_talks_is_asked_only_to_be_measured() -> None:
    world = World()
    while world.now < BEGIN + 300:
        world.run(world.now + 1.0)
        world.talk()
    assert world.found is None
    assert len(world.pings) <= 300 / LIVENESS.measure_every + 2
    assert world.watch.round_trip.samples == len(world.pings)
    assert not [event for event in world.events if isinstance(event, Doubted)]


def test_a_client_whose_kernel_is_asked_often_has_a_link_from_the_first_beat() -> None:
    world = World(Liveness())
    world.run(BEGIN + 30)
    assert world.watch.link is not None


def test_nobody_is_judged_while_nothing_is_read() -> None:
    world = World()
    world.run(BEGIN + 20)
    world.watch.pause(now=world.now)
    world.answers = lambda now: False
    world._due.clear()
    world.run(BEGIN + 120)
    assert world.found is None
    world.answers = lambda now: True
    world.watch.resume(now=world.now)
    world.run(BEGIN + 200)
    assert world.found is None
