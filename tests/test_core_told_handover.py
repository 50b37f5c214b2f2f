"""A session whose link is replaced before its planned end, step by step and told."""

from __future__ import annotations

import random
from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from heartline.core.channel_events import EndPlanned, TookOver
from heartline.core.contracts import Freshness
from heartline.core.events import (
    Abort,
    BackingOff,
    Beat,
    Close,
    Connected,
    Dial,
    DialFailed,
    DialLost,
    DialSucceeded,
    Ended,
    Evidenced,
    GapFound,
    Joined,
    Lost,
    Noticed,
    Output,
    Overflowed,
    Paused,
    Ping,
    Ponged,
    Received,
    Resumed,
    Stage,
    Staged,
    Start,
    Stop,
    Sync,
    Synced,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.items import Cause, Phase
from heartline.core.neighbours import DialBudget, Neighbours
from heartline.core.rollover import Lifetime, Rollover
from heartline.core.session import Session
from heartline.core.terms import Dialling, Terms
from scripted_link import kernel
from test_core_told import BEGAN, Stream

AGE = Lifetime(max_age=1000.0, lead=100.0, spread=200.0, overlap=10.0, retry_after=5.0)
DUE = 1000.0 - 100.0 - 0.5 * 200.0
"""After the link opened: the session draws 0.5."""
STEP = 0.001
"""Seconds until a ping is answered."""
ORDERS = (Dial, Sync, Ping, Beat, Close, Abort)


class Replaced(Stream):
    """A stream on link 1 that answers, and whose planned end comes near."""

    def __init__(self, **terms: Any) -> None:
        self.answers = {1}
        """Links whose pings are answered."""
        self.neighbours = Neighbours(budget=DialBudget(every=1.0, burst=1))
        terms = {"host": "a", "lifetime": AGE, "joins": True, **terms}
        self.session = Session(
            Terms(**terms), draw=lambda: 0.5, neighbours=self.neighbours
        )
        self.now = BEGAN
        self.told: list[Any] = []
        self.feed(Start())
        self.connect()
        self.pong()
        assert self.session.link is not None
        self.opened_at = self.session.link.opened_at

    def feed(self, fact: Any, *, after: float = 0.0) -> list[Output]:
        """What comes of a fact, and not of the time before it."""
        if after > STEP and self.session.phase is Phase.OPEN:
            self.run(self.now + after)
            after = 0.0
        return super().feed(fact, after=after)

    def step(self, until: float) -> list[Output]:
        """Jump to the deadline, or to `until`; what came of it."""
        self.now = max(self.now, min(self.session.deadline, until))
        out = self.feed(Tick(self.session.epoch))
        for ping in [o for o in out if isinstance(o, Ping)]:
            if ping.epoch in self.answers:
                out = out + self.feed(Ponged(ping.epoch, ping.payload), after=STEP)
                out = out + self.feed(Received(ping.epoch, 1, 0, 10))
        return out

    def run(self, until: float) -> list[Output]:
        out: list[Output] = []
        while self.now < until:
            out += self.step(until)
        return out

    def wait_for(self, kind: Any, *, within: float) -> Any:
        """The first of its kind, by the session's own deadlines."""
        until = self.now + within
        while self.now < until:
            for each in self.step(until):
                if isinstance(each, kind):
                    return each
        raise AssertionError(f"no {kind} within {within} s")

    def due(self) -> None:
        """The moment in which link 2 is dialled."""
        dial = self.wait_for(Dial, within=1000.0)
        assert dial == Dial(2, 1)

    def joining(self) -> None:
        """Link 2 is open beside link 1."""
        self.due()
        out = self.feed(DialSucceeded(2, "a:2", Evidence()), after=0.5)
        assert [type(o) for o in out] == [Ping, Sync]
        assert {getattr(o, "epoch", 0) for o in out} == {2}
        self.answers.add(2)
        assert self.feed(Synced(2, 1), after=0.1) == []

    def is_well(self) -> bool:
        """Nobody is told that anything was amiss."""
        amiss = [o for o in self.told if isinstance(o, Lost | BackingOff | GapFound)]
        return amiss == [] and self.status().live


def test_a_link_is_replaced_before_its_age_and_the_stream_never_ceases_to_be_live() -> (
    None
):
    stream = Replaced()
    stream.due()
    assert stream.now == pytest.approx(stream.opened_at + DUE)
    [planned] = [o for o in stream.told if isinstance(o, EndPlanned)]
    assert (planned.epoch, planned.cause) == (1, Cause.AGE)
    assert planned.ends_at == pytest.approx(stream.opened_at + 1000.0)
    assert not stream.session.lull(now=stream.now)
    stream.feed(DialSucceeded(2, "a:2", Evidence()), after=0.5)
    stream.feed(Synced(2, 1), after=0.1)
    joined_at = stream.now
    assert stream.session.epoch == 1
    assert stream.status().address == "a:1"
    # What the new link is asked and answers is its own affair: nothing is told of it.
    [ping] = [o for o in stream.told if isinstance(o, Ping) and o.epoch == 2]
    assert stream.feed(Ponged(2, ping.payload), after=0.02) == []
    assert stream.feed(Received(2, 3, 3, 30), after=0.5) == []
    attempts = stream.status().counts.attempts
    out = stream.feed(Joined(2), after=0.5)
    took = TookOver(
        at=stream.now,
        epoch=2,
        from_epoch=1,
        overlap=pytest.approx(stream.now - joined_at),
    )
    assert out == [Close(1, 1000), took]
    assert (stream.session.epoch, stream.session.phase) == (2, Phase.OPEN)
    assert stream.session.link is not None
    assert stream.session.link.epoch == 2
    status = stream.status()
    assert (status.address, status.counts.attempts) == ("a:2", attempts)
    # The frames of both links count, and of each once.
    assert status.counts.frames >= 4
    assert stream.is_well()
    assert len([o for o in stream.told if isinstance(o, Connected)]) == 1
    stream.answers = {2}
    # The next one is due by the age of this.
    dial = stream.wait_for(Dial, within=1000.0)
    assert dial == Dial(3, 1)


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_the_old_link_has_its_time_to_close_and_is_then_dropped(
    says_goodbye: bool,
) -> None:
    stream = Replaced(dialling=Dialling(close=0.5))
    stream.joining()
    stream.feed(Joined(2), after=0.5)
    closing_at = stream.now
    stream.answers = {2}
    if says_goodbye:
        assert stream.feed(Ended(1, Cause.CLOSED_BY_PEER, 1000), after=0.1) == []
    else:
        assert stream.session.deadline <= closing_at + 0.5
        aborted = stream.wait_for(Abort, within=5.0)
        assert aborted == Abort(1)
        assert stream.now == pytest.approx(closing_at + 0.5)
    told = [o for o in stream.run(stream.now + 100.0) if isinstance(o, Abort)]
    assert told == []
    assert stream.is_well()


FAILURES = {
    "refused": (DialFailed(2, Cause.REFUSED, "busy", 503), Cause.REFUSED),
    "ended": (Ended(2, Cause.RESET, None, "gone"), Cause.RESET),
    "notice": (Noticed(2, "going down", 5.0), Cause.NOTICE),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_new_link_that_fails_is_a_failed_dial_and_the_old_one_goes_on(
    how: str,
) -> None:
    stream = Replaced()
    if how == "refused":
        stream.due()
    else:
        stream.joining()
    fact, cause = FAILURES[how]
    out = stream.feed(fact, after=0.1)
    failed_at = stream.now
    lost = out[1]
    assert out[0] == Abort(2)
    assert isinstance(lost, DialLost)
    assert (lost.epoch, lost.attempt, lost.cause) == (2, 1, cause)
    assert (lost.at, len(out)) == (failed_at, 2)
    assert stream.is_well()
    # Its facts are void from here on, and its socket does not stay behind.
    assert stream.feed(Received(2, 1, 1, 10)) == []
    assert stream.feed(Joined(2)) == []
    assert stream.feed(DialSucceeded(2, "a:2", Evidence())) == [Abort(2)]
    stream.answers = {1}
    dial = stream.wait_for(Dial, within=20.0)
    assert dial == Dial(3, 1)
    assert stream.now == pytest.approx(failed_at + AGE.retry_after)


def test_a_host_that_asks_for_patience_has_it_before_the_next_dial_beside() -> None:
    stream = Replaced()
    stream.due()
    busy = DialFailed(2, Cause.REFUSED, "busy", 503, retry_after=40.0)
    stream.feed(busy, after=0.1)
    failed_at = stream.now
    stream.wait_for(Dial, within=60.0)
    assert stream.now == pytest.approx(failed_at + 40.0)


@pytest.mark.parametrize("stage", [None, Stage.CONNECTING])
def test_a_dial_beside_has_the_time_of_any_dial(stage: Stage | None) -> None:
    stream = Replaced()
    stream.due()
    dialled_at = stream.now
    if stage is not None:
        stream.feed(Staged(2, stage), after=0.1)
    lost = stream.wait_for(DialLost, within=20.0)
    terms = Dialling()
    least = terms.resolve if stage is None else terms.connect
    assert stream.now == pytest.approx(dialled_at + least)
    cause = Cause.NAME_RESOLUTION if stage is None else Cause.HANDSHAKE_TIMEOUT
    assert (lost.epoch, lost.cause) == (2, cause)
    assert stream.is_well()


@pytest.mark.parametrize("lag", [0.0, 1.5, 3.0])
def test_what_is_sent_on_open_has_its_time_and_our_own_stall_on_top(lag: float) -> None:
    stream = Replaced(dialling=Dialling(sync=4.0))
    stream.due()
    stream.feed(DialSucceeded(2, "a:2", Evidence()), after=0.5)
    stream.answers.add(2)
    opened_at = stream.now
    stream.run(opened_at + 1.0)
    if lag:
        stream.now += lag
        stream.feed(Tick(1, stalled=lag))
    lost = stream.wait_for(DialLost, within=20.0)
    assert (lost.epoch, lost.cause) == (2, Cause.HANDSHAKE_TIMEOUT)
    assert lost.reason == "on_open not sent"
    assert stream.now == pytest.approx(opened_at + 4.0 + lag, abs=1e-4)


def test_a_contract_of_data_counts_from_when_the_new_link_was_open() -> None:
    """Its own failure, and by its own silence, while the old one brings data."""
    overlap = Lifetime(max_age=1000.0, overlap=300.0)
    stream = Replaced(lifetime=overlap, freshness=Freshness(every=4.0))
    while stream.session.handover.successor is None:
        stream.feed(Received(1, 1, 1, 10), after=1.0)
    stream.feed(DialSucceeded(2, "a:2", Evidence()), after=0.5)
    stream.answers.add(2)
    stream.feed(Received(1, 1, 1, 10), after=3.0)
    stream.feed(Synced(2, 1))
    synced_at = stream.now
    while not [o for o in stream.told if isinstance(o, DialLost)]:
        stream.feed(Received(1, 1, 1, 10), after=0.5)
        assert stream.now < synced_at + 20.0
    [lost] = [o for o in stream.told if isinstance(o, DialLost)]
    assert (lost.epoch, lost.cause) == (2, Cause.CHANNEL_STALLED)
    assert lost.at >= synced_at + 8.0
    assert stream.session.phase is Phase.OPEN


def test_a_link_beside_is_known_by_its_number_while_it_lives() -> None:
    stream = Replaced()
    handover = stream.session.handover
    assert handover.link(2) is None
    stream.due()
    assert handover.link(2) is None
    stream.feed(DialSucceeded(2, "a:2", Evidence()), after=0.1)
    link = handover.link(2)
    assert link is not None
    assert link.epoch == 2
    assert handover.link(1) is None
    assert handover.link(3) is None
    # Whatever says so a second time has a socket that nobody waits for.
    assert stream.feed(DialSucceeded(2, "a:2", Evidence())) == [Abort(2)]
    stream.feed(Ended(2, Cause.RESET), after=0.1)
    assert handover.link(2) is None


def test_a_new_link_is_judged_by_the_kernel_of_its_own_socket() -> None:
    """Whose other end acknowledges every ping, while its program says nothing."""
    stream = Replaced(lifetime=Lifetime(max_age=1000.0, overlap=300.0))
    stream.due()
    seen = kernel()
    stream.feed(DialSucceeded(2, "a:2", Evidence(seen)), after=0.5)
    stream.feed(Synced(2, 1), after=0.1)
    opened_at = stream.now
    heard_at = stream.now
    while not [o for o in stream.told if isinstance(o, DialLost)]:
        pings = [o for o in stream.told if isinstance(o, Ping) and o.epoch == 2]
        acked = 10 * len(pings)
        if acked != seen.acked_bytes or stream.now - heard_at >= 1.0:
            heard_at = stream.now
            seen = replace(seen, acked_bytes=acked, segments_in=seen.segments_in + 1)
        seen = replace(seen, heard_age=stream.now - heard_at)
        stream.feed(Evidenced(2, Evidence(seen)))
        stream.step(stream.now + 0.5)
        assert stream.now < opened_at + 60.0
    [lost] = [o for o in stream.told if isinstance(o, DialLost)]
    assert (lost.epoch, lost.cause) == (2, Cause.PEER_FROZEN)
    assert stream.is_well()


@pytest.mark.parametrize("synced", [True, False])
def test_a_new_link_that_falls_silent_is_judged_as_any_link_is(synced: bool) -> None:
    stream = Replaced(lifetime=Lifetime(max_age=1000.0, overlap=300.0))
    stream.due()
    seen = Evidence(kernel())
    stream.feed(DialSucceeded(2, "a:2", seen), after=0.5)
    if synced:
        stream.feed(Synced(2, 1), after=0.1)
    stream.feed(Evidenced(2, seen))
    lost = stream.wait_for(DialLost, within=60.0)
    assert lost.epoch == 2
    late = Cause.HANDSHAKE_TIMEOUT
    frozen = (Cause.PEER_FROZEN, Cause.PATH_DEAD)
    assert lost.cause in (frozen if synced else (*frozen, late))
    assert stream.is_well()
    assert stream.session.epoch == 1


def test_past_the_overlap_the_new_link_takes_over_as_it_is() -> None:
    stream = Replaced()
    stream.joining()
    joined_at = stream.now
    took = stream.wait_for(TookOver, within=20.0)
    assert stream.now == pytest.approx(joined_at + AGE.overlap)
    assert (took.epoch, took.from_epoch) == (2, 1)
    assert took.overlap == pytest.approx(AGE.overlap)
    assert stream.is_well()


@pytest.mark.parametrize("by_word", [True, False])
def test_an_old_link_that_ends_beside_an_open_one_is_no_outage(by_word: bool) -> None:
    stream = Replaced()
    stream.joining()
    if by_word:
        out = stream.feed(Ended(1, Cause.RESET), after=0.2)
        assert [o for o in out if isinstance(o, Abort | Close)] == []
    else:
        out = stream.feed(Overflowed(0), after=0.2)
        stream.answers = {2}
        stream.session.handover.plan.policy = Lifetime(overlap=500.0)
        stream.session.handover.plan.deadline = stream.now + 500.0
        aborted = stream.wait_for(Abort, within=60.0)
        assert aborted == Abort(1)
    assert [o.epoch for o in stream.told if isinstance(o, TookOver)] == [2]
    assert stream.session.epoch == 2
    assert not [o for o in stream.told if isinstance(o, Lost | BackingOff)]


def test_an_old_link_that_ends_while_the_next_is_dialled_is_an_outage() -> None:
    stream = Replaced()
    stream.due()
    out = stream.feed(Ended(1, Cause.RESET), after=0.2)
    assert [o for o in out if isinstance(o, Abort)] == [Abort(2)]
    assert [o.epoch for o in out if isinstance(o, Lost)] == [1]
    assert stream.session.phase is Phase.BACKOFF
    assert stream.feed(DialSucceeded(2, "a:2", Evidence())) == [Abort(2)]
    # Nothing of the plan is left: the next link is dialled once, and planned anew.
    dial = stream.wait_for(Dial, within=10.0)
    assert dial.epoch == 3
    assert not [o for o in stream.told[-1:] if isinstance(o, EndPlanned)]
    stream.feed(DialSucceeded(3, "a:3", Evidence()), after=0.1)
    stream.answers = {3}
    assert stream.session.handover.successor is None
    opened_at = stream.now
    dial = stream.wait_for(Dial, within=1000.0)
    assert dial == Dial(4, 1)
    assert stream.now == pytest.approx(opened_at + DUE)


def test_a_link_that_still_closes_is_dropped_when_the_next_is_lost_or_replaced() -> (
    None
):
    for lost in (True, False):
        stream = Replaced(dialling=Dialling(close=900.0))
        stream.joining()
        stream.feed(Joined(2), after=0.5)
        stream.answers = {2}
        if lost:
            out = stream.feed(Ended(2, Cause.RESET), after=1.0)
        else:
            stream.wait_for(Dial, within=900.0)
            stream.feed(DialSucceeded(3, "a:3", Evidence()), after=0.1)
            stream.feed(Synced(3, 1), after=0.1)
            out = stream.feed(Joined(3), after=0.1)
            assert out[1] == Close(2, 1000)
        assert [o for o in out if isinstance(o, Abort)] == [Abort(1)]
        assert stream.feed(Ended(1, Cause.RESET)) == []


def test_a_stream_that_stops_takes_the_new_link_along() -> None:
    for joining in (True, False):
        stream = Replaced()
        if joining:
            stream.joining()
        else:
            stream.due()
        out = stream.feed(Stop(), after=0.1)
        assert out == [Abort(2), Close(1, 1000)]
        assert stream.feed(Joined(2)) == []
        assert stream.session.deadline <= stream.now + Dialling().close


def test_a_reader_that_is_too_slow_costs_both_links() -> None:
    stream = Replaced()
    stream.joining()
    out = stream.feed(Overflowed(0, disconnect=True), after=0.1)
    assert [o for o in out if isinstance(o, Abort)] == [Abort(2), Abort(1)]
    assert [o for o in stream.told if isinstance(o, TookOver)] == []
    assert stream.session.phase is Phase.BACKOFF


def test_while_our_own_reader_is_behind_there_is_one_link_only() -> None:
    stream = Replaced()
    stream.joining()
    out = stream.feed(Paused(1), after=0.1)
    assert out[0] == Abort(2)
    [lost] = [o for o in out if isinstance(o, DialLost)]
    assert (lost.epoch, lost.cause) == (2, Cause.CLOSED_BY_US)
    stream.answers = {1}
    for _ in range(5):
        stream.run(stream.now + 20.0)
        assert [o for o in stream.told if isinstance(o, Dial)][2:] == []
    stream.feed(Resumed(1))
    dial = stream.wait_for(Dial, within=AGE.retry_after + 1.0)
    assert dial == Dial(3, 1)


def test_a_venue_that_takes_one_link_only_sees_the_old_one_go_first() -> None:
    stream = Replaced(joins=False)
    lost = stream.wait_for(Lost, within=1000.0)
    assert stream.now == pytest.approx(stream.opened_at + DUE)
    assert (lost.epoch, lost.cause) == (1, Cause.AGE)
    assert [o for o in stream.told if isinstance(o, Abort)] == [Abort(1)]
    [planned] = [o for o in stream.told if isinstance(o, EndPlanned)]
    assert planned.epoch == 1
    assert len([o for o in stream.told if isinstance(o, Dial)]) == 1
    assert stream.session.phase is Phase.BACKOFF
    # It is met once: the next link lives as long.
    stream.connect()
    stream.answers = {2}
    stream.run(stream.now + 600.0)
    assert len([o for o in stream.told if isinstance(o, Lost)]) == 1
    assert stream.status().live


@pytest.mark.parametrize("useful", [True, False])
def test_a_link_that_was_useful_leaves_no_failures_to_the_one_that_replaces_it(
    useful: bool,
) -> None:
    stream = Replaced(lifetime=None)
    stream.feed(Ended(1, Cause.RESET), after=0.1)
    stream.connect()
    stream.answers = {2}
    if useful:
        for _ in range(30):
            stream.feed(Received(2, 1, 1, 10), after=1.0)
    assert stream.status().attempt == 2
    stream.feed(Noticed(2, "going down", 30.0), after=0.1)
    stream.wait_for(Dial, within=2.0) if stream.told[-1] != Dial(3, 1) else None
    stream.feed(DialSucceeded(3, "a:3", Evidence()), after=0.1)
    stream.feed(Synced(3, 1), after=0.1)
    stream.feed(Joined(3), after=0.1)
    assert stream.session.epoch == 3
    assert stream.status().attempt == (1 if useful else 2)


def test_a_link_that_took_over_is_adopted_once() -> None:
    """Not again after it was lost, when another takes its place."""
    stream = Replaced()
    stream.joining()
    stream.feed(Joined(2), after=0.5)
    stream.feed(Ended(2, Cause.RESET), after=1.0)
    stream.connect()
    stream.answers = {3}
    stream.run(stream.now + 50.0)
    assert stream.session.link is not None
    assert (stream.session.epoch, stream.session.link.epoch) == (3, 3)
    assert len([o for o in stream.told if isinstance(o, Lost)]) == 1
    assert stream.status().live


def test_a_notice_is_acted_on_at_once_and_one_of_another_link_is_not() -> None:
    stream = Replaced(lifetime=None)
    assert stream.feed(Noticed(7, "other", 30.0), after=1.0) == []
    out = stream.feed(Noticed(1, "going down", 30.0), after=1.0)
    [planned] = [o for o in out if isinstance(o, EndPlanned)]
    assert (planned.cause, planned.reason) == (Cause.NOTICE, "going down")
    assert planned.ends_at == pytest.approx(stream.now + 30.0)
    assert out[1:] == [Dial(2, 1)]


def test_a_dial_beside_is_made_within_the_budget_of_its_host() -> None:
    stream = Replaced()
    stream.run(stream.opened_at + DUE - 10.0)
    for _ in range(31):
        # As many sessions dial the same host.
        stream.neighbours.reserve("a", now=stream.now)
    spared_until = stream.now + 31.0
    stream.wait_for(EndPlanned, within=20.0)
    assert stream.now == pytest.approx(stream.opened_at + DUE)
    assert stream.session.handover.successor is not None
    dial = stream.wait_for(Dial, within=60.0)
    assert dial == Dial(2, 1)
    assert stream.now == pytest.approx(spared_until)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_one_link_delivers_and_at_most_two_live(seed: int) -> None:
    """Facts of any link in any order: orders name links that were dialled and live,
    and the stream is never without a deadline."""
    dice = random.Random(seed)
    stream = Replaced()
    stream.due()
    live, opened = {1, 2}, {1}
    for _ in range(60):
        epoch = dice.choice((1, 2, 3, 4, stream.session.epoch))
        fact = dice.choice(
            (
                DialSucceeded(epoch, "a:9", Evidence()),
                DialFailed(epoch, Cause.REFUSED, "no", 503),
                Synced(epoch, 1),
                Joined(epoch),
                Ended(epoch, Cause.RESET),
                Noticed(epoch, "bye", 20.0),
                Paused(epoch),
                Resumed(epoch),
                Received(epoch, 1, 1, 10),
                Evidenced(epoch, Evidence()),
                Tick(stream.session.epoch),
            )
        )
        match fact:
            case DialSucceeded() if epoch in live:
                opened.add(epoch)
            case DialFailed() if epoch in live - opened:
                live.discard(epoch)
            case Ended() if epoch in opened:
                live.discard(epoch)
            case DialFailed() | Ended():
                # No driver says so.
                continue
            case _:
                pass
        stream.now += dice.choice((0.0, 0.1, 3.0, 12.0))
        for order in stream.feed(fact):
            if isinstance(order, Dial):
                assert order.epoch not in live
                live.add(order.epoch)
            elif isinstance(order, Abort):
                live.discard(order.epoch)
            elif isinstance(order, ORDERS):
                assert order.epoch in live
        assert len(live) <= 3, "one delivers, one is to, and one is being closed"
        assert stream.session.deadline < inf
        took = [o.epoch for o in stream.told if isinstance(o, TookOver | Connected)]
        assert stream.session.link is None or stream.session.epoch == took[-1]


def test_a_planned_end_that_nothing_is_said_of_goes_by_the_usual_times() -> None:
    day = 86_400.0
    for draw, spread in ((0.0, 0.0), (0.5, 150.0), (0.99, 297.0)):
        plan = Rollover(Lifetime(max_age=day))
        plan.opened(1, draw=draw, now=50.0)
        assert plan.deadline == pytest.approx(50.0 + day - 120.0 - spread)
    stream = Replaced(lifetime=None)
    stream.feed(Noticed(1, "going down", 300.0), after=1.0)
    stream.feed(DialFailed(2, Cause.REFUSED, "no", 503), after=0.1)
    failed_at = stream.now
    assert stream.wait_for(Dial, within=20.0) == Dial(3, 1)
    assert stream.now == pytest.approx(failed_at + 5.0)
    stream.feed(DialSucceeded(3, "a:3", Evidence()), after=0.1)
    stream.answers.add(3)
    stream.feed(Synced(3, 1), after=0.1)
    synced_at = stream.now
    stream.wait_for(TookOver, within=30.0)
    assert stream.now == pytest.approx(synced_at + 10.0)


@pytest.mark.parametrize("end", [Stop(), Ended(1, Cause.RESET)])
def test_a_successor_that_was_never_dialled_gives_its_dial_back(end: Any) -> None:
    stream = Replaced(lifetime=None)
    for _ in range(30):
        stream.neighbours.reserve("a", now=stream.now)
    before = stream.neighbours.reserve("a", now=stream.now)
    stream.feed(Noticed(1, "going down", 300.0), after=0.1)
    assert stream.session.handover.successor is not None
    assert stream.session.handover.successor.waits
    stream.feed(end, after=0.1)
    assert stream.session.handover.successor is None
    following = stream.neighbours.reserve("a", now=stream.now)
    assert following == pytest.approx(before + 1.0 - 0.2), "its place is free"
