"""What a stream tells carries the right link's number and adds up, whatever happens."""

from __future__ import annotations

from typing import Any

import pytest

from heartline.core.backoff import Backoff
from heartline.core.contracts import Beats, Freshness
from heartline.core.events import (
    Abort,
    BackingOff,
    CaughtUp,
    ConditionBegan,
    ConditionEnded,
    Connected,
    Dial,
    DialFailed,
    DialSucceeded,
    Dropped,
    Ended,
    GapFound,
    Lost,
    Overflowed,
    Paused,
    Ping,
    Ponged,
    Received,
    Start,
    Stop,
    Stopped,
    Surrendered,
    Synced,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.inbox import Buffer, Inbox
from heartline.core.items import (
    Cause,
    Condition,
    Counts,
    Gap,
    Message,
    Phase,
    Verdict,
)
from heartline.core.session import Session
from heartline.core.snapshot import snapshot
from heartline.core.stall import DRAIN, SETTLE
from heartline.core.terms import Terms
from heartline.testing.swarm import swarm
from scripted_link import kernel, quiet

BEGAN = 10.0
SEEDS = 12


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_is_told_or_ordered_names_the_present_link(seed: int) -> None:
    epoch, named = 0, 0
    for at, kind, value in swarm(seed, seconds=90.0).history:
        if isinstance(value, Dial):
            assert value.epoch == epoch + 1, at
            epoch = value.epoch
        elif kind in ("do", "event") and not isinstance(value, Abort):
            assert value.epoch == epoch, f"{at:.3f}: {value} of link {epoch}"
            named += 1
    assert named > 4


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_begins_ends_on_the_same_link_and_lasts_as_long_as_it_did(
    seed: int,
) -> None:
    began: dict[Condition, ConditionBegan] = {}
    for _, _, value in swarm(seed, seconds=90.0).history:
        if isinstance(value, ConditionBegan):
            assert value.condition not in began
            began[value.condition] = value
        elif isinstance(value, ConditionEnded):
            first = began.pop(value.condition)
            assert value.after == pytest.approx(value.at - first.at)
            if value.condition is not Condition.SLOW_CONSUMER:
                assert value.epoch == first.epoch


class Stream:
    """A session whose facts a test writes by hand."""

    def __init__(self, **terms: Any) -> None:
        self.session = Session(Terms(host="a", **terms), draw=lambda: 0.5)
        self.now = BEGAN
        self.told: list[Any] = []
        self.feed(Start())

    def feed(self, fact: Any, *, after: float = 0.0) -> list[Any]:
        self.now += after
        out: list[Any] = self.session.handle(fact, now=self.now)
        self.told += out
        return out

    def connect(self, evidence: Evidence | None = None) -> None:
        while self.session.phase is not Phase.CONNECTING:
            self.now = max(self.now, self.session.deadline)
            self.feed(Tick(self.session.epoch))
        epoch = self.session.epoch
        fact = DialSucceeded(epoch, f"a:{epoch}", evidence or Evidence())
        self.feed(fact, after=0.1)

    def pong(self) -> None:
        epoch = self.session.epoch
        sent = [o for o in self.told if isinstance(o, Ping) and o.epoch == epoch]
        self.feed(Ponged(epoch, sent[-1].payload), after=0.02)
        self.feed(Received(epoch, 1, 0, 10))

    def status(self, **traffic: int) -> Any:
        return snapshot(self.session, now=self.now, traffic=Counts(**traffic))


def test_the_counts_are_those_of_all_links() -> None:
    stream = Stream(beats=Beats(every=1.0, answered=False))
    stream.connect()
    stream.pong()
    stream.feed(Ponged(1, b"nobody asked"))
    for _ in range(3):
        stream.now = BEGAN + 0.1 + 1.0 + stream.session.link.heartbeat.sent
        stream.feed(Tick(1))
    stream.feed(Received(1, 5, 4, 100))
    stream.feed(Ended(1, Cause.RESET), after=1.0)
    stream.connect()
    stream.pong()
    stream.feed(Received(2, 3, 3, 100))
    stream.feed(Ponged(2, b"nobody asked"))
    stream.feed(Overflowed(7))
    stream.now = stream.session.link.opened_at + 1.0
    stream.feed(Tick(2))
    counts = stream.status(messages=7, delivered=5, size_bytes=200, sent=2).counts
    assert counts == Counts(
        messages=7,
        delivered=5,
        dropped=7,
        frames=1 + 5 + 1 + 3,
        size_bytes=200,
        pings=2,
        pongs=2,
        stray_pongs=2,
        gaps=1,
        attempts=2,
        beats=4,
        sent=2,
    )
    with_more = stream.status(gaps=2, unsent=3).counts
    assert (with_more.gaps, with_more.unsent) == (3, 3)


def test_a_status_is_live_only_while_all_is_well() -> None:
    stream = Stream(freshness=Freshness(every=60.0))
    assert stream.status().verdict is Verdict.SUSPECT
    assert not stream.status().live
    assert stream.status().silence is None
    assert not stream.status().kernel
    stream.connect(Evidence(kernel()))
    status = stream.status()
    assert (status.live, status.kernel, status.verdict) == (True, True, Verdict.ALIVE)
    assert (status.epoch, status.attempt, status.address) == (1, 1, "a:1")
    assert status.cause is None
    assert status.since_at is None
    assert status.bounds.channels == {None: pytest.approx(60.2)}
    assert status.detection_bound == pytest.approx(60.2)
    stream.now += 0.5
    assert stream.status().silence == pytest.approx(0.5)
    stream.feed(Tick(1, stalled=0.7))
    status = stream.status()
    assert (status.live, status.cause) == (False, Cause.SELF_STALLED)
    assert status.evidence == "our own loop was late by 0.70 s"
    stream.feed(Ended(1, Cause.CLOSED_BY_PEER, 1001, "bye"), after=0.1)
    status = stream.status()
    assert (status.live, status.verdict) == (False, Verdict.DEAD)
    assert (status.cause, status.status, status.evidence) == (
        Cause.CLOSED_BY_PEER,
        1001,
        "bye",
    )
    assert (status.phase, status.attempt, status.outages) == (Phase.BACKOFF, 2, 1)
    assert status.retry_at == pytest.approx(stream.now + 0.5)
    assert status.since_at == stream.now


def test_drops_are_announced_by_the_clock_when_nothing_else_happens() -> None:
    stream = Stream()
    stream.connect()
    stream.feed(Overflowed(5))
    stream.feed(Overflowed(3), after=0.1)
    due = stream.now - 0.1 + 1.0
    while not [o for o in stream.told if isinstance(o, Dropped)][1:]:
        assert stream.session.deadline <= due + 1e-9
        stream.now = stream.session.deadline
        stream.feed(Tick(1))
    assert stream.now == pytest.approx(due)
    last = [o for o in stream.told if isinstance(o, Dropped)][-1]
    assert (last.messages, last.total) == (3, 8)
    stream.feed(CaughtUp())
    assert not stream.session.conditions


def test_a_session_is_calm_only_while_it_is_open() -> None:
    stream = Stream(syncs=True)
    assert not stream.session.lull(now=stream.now)
    stream.connect()
    stream.pong()
    assert stream.session.phase is Phase.SYNCING
    assert not stream.session.lull(now=stream.now)
    opened = Stream()
    opened.connect()
    assert not opened.session.lull(now=opened.now)
    opened.pong()
    assert opened.session.lull(now=opened.now)


def test_a_link_that_ends_takes_its_conditions_along_and_leaves_a_gap() -> None:
    stream = Stream()
    stream.connect()
    stream.pong()
    heard_at = stream.now
    stream.feed(Paused(1), after=0.5)
    out = stream.feed(Ended(1, Cause.RESET, unsent=4, unconfirmed_bytes=9), after=2.0)
    [lost] = [o for o in out if isinstance(o, Lost)]
    assert (lost.epoch, lost.unsent, lost.unconfirmed_bytes) == (1, 4, 9)
    assert (lost.bound, lost.since_at) == (None, stream.now)
    [ended] = [o for o in out if isinstance(o, ConditionEnded)]
    assert (ended.epoch, ended.after) == (1, pytest.approx(2.0))
    stream.connect()
    [gap] = [o.gap for o in stream.told if isinstance(o, GapFound)]
    assert (gap.from_at, gap.until_at, gap.epoch) == (heard_at, stream.now, 1)
    first, connected = [o for o in stream.told if isinstance(o, Connected)]
    assert (first.outage, first.attempt, first.epoch) == (0.0, 1, 1)
    assert connected.outage == pytest.approx(stream.now - lost.since_at)
    assert (connected.epoch, connected.attempt, connected.kernel) == (2, 2, False)


def test_each_wait_before_a_dial_is_told_with_its_length_and_the_attempt() -> None:
    stream = Stream()
    waits: list[tuple[int, float]] = []
    for nth in range(5):
        while stream.session.phase is not Phase.CONNECTING:
            stream.now = max(stream.now, stream.session.deadline)
            stream.feed(Tick())
        epoch = stream.session.epoch
        out = stream.feed(DialFailed(epoch, Cause.REFUSED, "no", 502), after=0.1)
        [told] = [o for o in out if isinstance(o, BackingOff)]
        waits.append((told.attempt, told.delay))
        assert told.epoch == epoch == nth + 1
        assert stream.session.deadline == pytest.approx(stream.now + told.delay)
        assert stream.status().retry_at == pytest.approx(stream.now + told.delay)
        assert (stream.status().cause, stream.status().status) == (Cause.REFUSED, 502)
    assert waits == [(2, 0.5), (3, 1.0), (4, 2.0), (5, 4.0), (6, 8.0)]


def test_giving_up_counts_from_the_failure_after_the_last_open_link() -> None:
    stream = Stream(backoff=Backoff(give_up_after=20.0))

    def fail_for(seconds: float) -> float:
        began_at = stream.now
        while stream.now < began_at + seconds:
            while stream.session.phase is Phase.BACKOFF:
                stream.now = max(stream.now, stream.session.deadline)
                stream.feed(Tick())
            if stream.session.phase is not Phase.CONNECTING:
                break
            failed = DialFailed(stream.session.epoch, Cause.REFUSED, "no", 500)
            stream.feed(failed, after=0.5)
        return stream.now - began_at

    fail_for(15.0)
    stream.connect()
    stream.pong()
    stream.feed(Ended(stream.session.epoch, Cause.RESET), after=0.1)
    lost_at = stream.now
    fail_for(100.0)
    [gave_up] = [o for o in stream.told if isinstance(o, Surrendered)]
    assert stream.session.phase is Phase.CLOSED
    assert 20.0 <= gave_up.at - lost_at <= 20.0 + 30.0


@pytest.mark.parametrize("phase", [Phase.CONNECTING, Phase.BACKOFF])
def test_a_stop_without_a_link_ends_the_stream_and_a_dial_under_way(
    phase: Phase,
) -> None:
    stream = Stream()
    if phase is Phase.BACKOFF:
        stream.feed(DialFailed(1, Cause.REFUSED, "no", 500), after=0.1)
    assert stream.session.phase is phase
    out = stream.feed(Stop(), after=0.1)
    dialling = phase is Phase.CONNECTING
    assert [o for o in out if isinstance(o, Abort)] == [Abort(1)] * dialling
    assert [o.epoch for o in out if isinstance(o, Stopped)] == [1]
    assert stream.session.phase is Phase.CLOSED
    assert stream.status().retry_at is None
    assert stream.feed(Tick(), after=100.0) == []


def test_a_stop_ends_the_conditions_of_its_own_link() -> None:
    stream = Stream()
    stream.connect()
    stream.feed(Paused(1), after=1.0)
    stream.feed(Stop(), after=1.0)
    out = stream.feed(Ended(1, Cause.CLOSED_BY_PEER, 1000), after=0.1)
    [ended] = [o for o in out if isinstance(o, ConditionEnded)]
    assert (ended.epoch, ended.condition) == (1, Condition.PAUSED)
    assert ended.after == pytest.approx(1.1)


def test_an_inbox_counts_what_it_was_given() -> None:
    buffer = Buffer(Inbox())
    for nth in range(3):
        buffer.put([Message("a", 1.0, None, 1), Message("b", 1.0, None, 1)], 10)
        assert (buffer.received, buffer.received_bytes) == (2 * nth + 2, 10 * nth + 10)
    assert len([item for item in buffer.take(4) if isinstance(item, Message)]) == 4
    assert (buffer.received, buffer.delivered, buffer.waiting) == (6, 4, 2)


def test_what_was_missed_is_told_before_the_first_data_of_the_next_link() -> None:
    stream = Stream(syncs=True)
    stream.connect()
    stream.feed(Synced(1, 1))
    stream.pong()
    heard_at = stream.now
    stream.feed(Ended(1, Cause.RESET), after=3.0)
    stream.connect()
    assert stream.session.phase is Phase.SYNCING
    assert stream.feed(Received(2, 1, 0, 10)) == []
    [found] = stream.feed(Received(2, 1, 1, 10), after=0.5)
    assert isinstance(found, GapFound)
    assert (found.gap.from_at, found.gap.until_at) == (heard_at, stream.now)
    assert found.gap.epoch == 1
    out = stream.feed(Synced(2, 1), after=0.1)
    assert not [o for o in out if isinstance(o, GapFound)]


def test_a_consumer_that_is_too_slow_may_cost_the_link() -> None:
    stream = Stream()
    assert stream.feed(Overflowed(0, disconnect=True))[0].condition == "SLOW_CONSUMER"
    stream.connect()
    out = stream.feed(Overflowed(0, disconnect=True), after=1.0)
    assert out[0] == Abort(1)
    [lost] = [o for o in out if isinstance(o, Lost)]
    assert (lost.cause, lost.evidence) == (Cause.CLOSED_BY_US, "slow consumer")
    assert stream.session.phase is Phase.BACKOFF
    assert not [
        o
        for o in stream.feed(Overflowed(0, disconnect=True))
        if isinstance(o, Lost | Abort)
    ]


def test_a_trouble_that_is_over_is_not_told_again() -> None:
    stream = Stream()
    stream.connect()
    stream.feed(Ended(1, Cause.RESET), after=1.0)
    assert stream.status().cause is Cause.RESET
    stream.connect()
    assert (stream.status().cause, stream.status().live) == (None, True)
    stream.feed(Stop(), after=1.0)
    assert stream.status().cause is None


def test_an_inbox_counts_each_hole_that_it_hands_out() -> None:
    buffer = Buffer(Inbox(limit=2))
    handed_out = 0
    for nth in range(1, 4):
        for _ in range(3):
            buffer.put([Message("a", 1.0, None, 1), Message("b", 2.0, None, 1)], 10)
        items = buffer.take(99)
        handed_out += sum(isinstance(item, Gap) for item in items)
        assert (handed_out, buffer.gaps, buffer.waiting) == (nth, nth, 0)


def test_a_single_unread_byte_puts_every_verdict_off() -> None:
    world = quiet()
    world.unread_bytes = 1
    for wait in (SETTLE, DRAIN, DRAIN):
        world.tick()
        assert world.link.deadline == pytest.approx(world.now + wait)
        assert world.link.lateness.draining
    world.unread_bytes = 0
    world.tick()
    assert not world.link.lateness.draining


def test_what_an_end_does_not_say_is_nothing() -> None:
    ended = Ended(1, Cause.RESET)
    assert (ended.unsent, ended.unconfirmed_bytes) == (0, 0)
    assert (ended.status, ended.reason) == (None, "")
