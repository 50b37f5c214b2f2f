"""What a status says of a stream and its channels at one instant."""

from __future__ import annotations

from typing import Any

import pytest

from heartline.core.contracts import Beats, Freshness
from heartline.core.events import (
    Ended,
    Paused,
    Ping,
    Ponged,
    Resumed,
    Stop,
    Tick,
)
from heartline.core.feed import FeedTerms
from heartline.core.items import Bounds, Cause, Counts, Phase, Status, Verdict
from heartline.core.snapshot import snapshot
from heartline.core.subscribing import Subscribing
from scripted_link import HEARD, alive, quiet
from test_core_told import Stream
from test_core_told_channels import World


def test_the_end_of_a_link_takes_nothing_from_the_counts() -> None:
    stream = Stream(beats=Beats(every=1.0, answered=False))
    assert stream.status().counts == Counts(attempts=1)
    stream.connect()
    stream.pong()
    stream.feed(Ponged(1, b"nobody asked"))
    stream.now += 1.0
    stream.feed(Tick(1))
    before = stream.status().counts
    assert (before.frames, before.pings, before.pongs) == (1, 1, 1)
    assert (before.beats, before.stray_pongs) == (1, 1)
    stream.feed(Ended(1, Cause.RESET), after=1.0)
    assert stream.session.link is None
    assert stream.status().counts == before
    stream.connect()
    stream.pong()
    open_counts = stream.status().counts
    assert (open_counts.frames, open_counts.pings, open_counts.pongs) == (2, 2, 2)
    stream.feed(Stop(), after=0.1)
    stream.feed(Ended(2, Cause.CLOSED_BY_PEER, 1000), after=0.1)
    assert stream.session.phase is Phase.CLOSED
    assert stream.status().counts == open_counts


class Channels:
    """A stream that is OPEN, and its channels."""

    def __init__(self, **terms: Any) -> None:
        self.stream = Stream()
        self.stream.connect()
        self.stream.pong()
        now = self.stream.now
        self.world = World(("a", "b"), FeedTerms(**terms), now=now, acks=False)
        [self.asked] = self.world.begin()

    def status(self) -> Any:
        now = self.world.now
        return snapshot(self.stream.session, now=now, feed=self.world.feed)


def test_a_silent_channel_makes_a_status_say_which_and_since_when() -> None:
    declared = Freshness(every=2.0, redial=False)
    channels = Channels(contract=lambda channel: declared)
    world = channels.world
    for name in ("a", "b"):
        world.take(name)
    fed_at = world.now
    status = channels.status()
    assert (status.live, status.cause, status.since_at) == (True, None, None)
    assert status.bounds.channels == {
        "a": pytest.approx(2.2),
        "b": pytest.approx(2.2),
    }
    world.take("b", after=1.5)
    world.tick()
    world.now += 0.25
    status = channels.status()
    assert (status.live, status.verdict) == (False, Verdict.ALIVE)
    assert status.cause is Cause.CHANNEL_STALLED
    assert status.since_at == pytest.approx(fed_at)
    assert status.evidence == "a: no data for 2.25 s; declared: data every 2 s"
    while len(world.feed.troubles) < 2:
        world.tick()
    status = channels.status()
    assert status.evidence.startswith("a: no data for ")
    assert status.evidence.endswith(" (and 1 more)")
    # While the link is down that is what is wrong, and nothing else.
    channels.stream.feed(Ended(1, Cause.RESET), after=5.0)
    assert channels.status().cause is Cause.RESET


def test_a_channel_that_was_refused_makes_a_status_say_why() -> None:
    channels = Channels(subscribing=Subscribing(tries=1))
    world, request = channels.world, channels.asked.request
    world.now += 1.0
    refused_at = world.now
    world.hear(world.feed.refused(request, ["b"], reason="no such", now=world.now))
    world.now += 1.0
    status = channels.status()
    assert (status.live, status.cause) == (False, Cause.CHANNEL_STALLED)
    assert status.since_at == refused_at
    assert status.evidence == "b is not subscribed: no such"


@pytest.mark.parametrize("lag", [0.25, 1.0])
def test_our_own_stall_gives_a_frozen_peer_as_long_again(lag: float) -> None:
    found: list[float] = []
    for late in (0.0, lag):
        world = quiet()
        alive(world, HEARD + 11.0)
        assert world.link.peer.wait is not None
        if late:
            due = max(world.now, world.link.deadline)
            world.now = due + late
            world.handle(Tick(3, world.evidence(), stalled=late))
            asked_again = world.times(Ping, since=due)
            assert len(asked_again) <= 1
        alive(world, HEARD + 60.0)
        assert world.link.found is not None
        assert world.link.found.cause is Cause.PEER_FROZEN
        found.append(world.now)
    assert found[1] - found[0] == pytest.approx(lag, abs=0.3)
    assert found[1] > found[0]


def test_a_heartbeat_that_waited_out_a_pause_of_ours_is_asked_anew() -> None:
    world = quiet(beats=Beats(every=1.0, answered=True))
    alive(world, HEARD + 1.5)
    assert world.link.heartbeat.sent == 1
    world.handle(Paused(3))
    alive(world, HEARD + 20.0)
    assert world.link.found is None
    world.now = max(world.now, HEARD + 20.0)
    resumed_at = world.now
    world.handle(Resumed(3))
    while not world.link.found:
        world.now = max(world.now, world.link.deadline)
        world.read(pong=True)
        world.tick()
        assert world.now < resumed_at + 20.0
    assert world.link.found.cause is Cause.PEER_FROZEN
    assert world.now >= resumed_at + 10.0


def test_what_a_status_does_not_say_is_nothing() -> None:
    bounds = Bounds(path=1.0, peer=1.0)
    status = Status(
        at=1.0,
        phase=Phase.IDLE,
        verdict=Verdict.SUSPECT,
        live=False,
        cause=None,
        bounds=bounds,
        ceilings=bounds,
        detection_bound=1.0,
    )
    assert (status.epoch, status.attempt, status.outages) == (0, 0, 0)
    assert (status.where, status.status, status.evidence) == (None, None, "")
    assert (status.since_at, status.silence, status.retry_at) == (None, None, None)
    assert (status.kernel, status.address) == (False, "")
    assert not status.conditions
    assert {getattr(status.counts, name) for name in Counts.__struct_fields__} == {0}
