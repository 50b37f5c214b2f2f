"""What is told when something ends: a wait, a doubt, a stream; and what it is not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from heartline import UsageError
from heartline.core.backoff import Backoff
from heartline.core.budget import Budget, Rate
from heartline.core.channel import ChannelClock
from heartline.core.contracts import Beats, Freshness
from heartline.core.diagnosis import Finding
from heartline.core.events import (
    BackingOff,
    ChannelStalled,
    Cleared,
    Dial,
    DialFailed,
    Dropped,
    Ended,
    GapFound,
    Overflowed,
    Paused,
    Ping,
    Ponged,
    Received,
    Resumed,
    RoundTripMeasured,
    Start,
    Stop,
    Stopped,
    Surrendered,
    Synced,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.gaps import Account, Ledger
from heartline.core.inbox import Buffer, Inbox
from heartline.core.items import (
    Cause,
    Gap,
    Message,
    Phase,
    Status,
    Verdict,
    Where,
)
from heartline.core.losses import lost
from heartline.core.neighbours import DialBudget, Neighbours
from heartline.core.promises import bounds
from heartline.core.rest import SHARED_EVERY, Rest
from heartline.core.sequence import Missing
from heartline.core.session import Session
from heartline.core.terms import Terms
from scripted_link import HEARD, Scripted, alive, feed, kernel, quiet
from test_core_told import Stream

# --- waits and dials --------------------------------------------------------------


def test_a_wait_before_a_dial_ends_at_its_very_instant() -> None:
    stream = Stream()
    for _ in range(4):
        stream.feed(DialFailed(stream.session.epoch, Cause.RESET), after=0.1)
        assert stream.session.retry_at is not None
        stream.now = stream.session.retry_at
        assert stream.session.deadline == stream.now
        [dial, *_] = stream.feed(Tick())
        assert isinstance(dial, Dial)


@pytest.mark.parametrize("others", [1, 4])
def test_a_dial_that_waited_for_its_hosts_budget_is_made_and_not_paid_twice(
    others: int,
) -> None:
    neighbours = Neighbours(budget=DialBudget(every=2.0, burst=1))
    for _ in range(others):
        neighbours.reserve("a", now=10.0)
    session = Session(Terms(host="a"), draw=lambda: 0.5, neighbours=neighbours)
    [wait] = session.handle(Start(), now=10.0)
    assert isinstance(wait, BackingOff)
    assert wait.delay == 2.0 * others
    assert session.deadline == 10.0 + wait.delay
    [dial, _] = session.handle(Tick(), now=session.deadline)
    assert dial == Dial(1, 1)
    # One dial was taken of the budget: the next is free so much later, and no more.
    assert neighbours.reserve("a", now=10.0) == 2.0 * (others + 1)
    # And the next dial takes its own.
    now = 10.0 + 2.0 * others
    [_, again] = session.handle(DialFailed(1, Cause.RESET), now=now)
    assert isinstance(again, BackingOff)
    [waits] = session.handle(Tick(), now=session.deadline)
    assert isinstance(waits, BackingOff)
    assert session.deadline == 10.0 + 2.0 * (others + 2)


# --- the last words of a stream ----------------------------------------------------


def troubled(**terms: Any) -> Stream:
    """A stream that lost its link, and dropped messages that it has not told of."""
    stream = Stream(**terms)
    stream.connect()
    stream.pong()
    stream.feed(Overflowed(5))
    stream.feed(Overflowed(3), after=0.1)
    stream.feed(Ended(1, Cause.RESET), after=0.1)
    return stream


@pytest.mark.parametrize("stops", [True, False])
def test_a_stream_that_ends_tells_first_what_it_has_not_told_of_losses(
    stops: bool,
) -> None:
    stream = troubled(backoff=Backoff(give_up_after=None if stops else 0.5))
    heard_at = stream.now - 0.2
    if stops:
        out = stream.feed(Stop(), after=0.1)
    else:
        stream.now = stream.session.deadline
        stream.feed(Tick())
        fact = DialFailed(stream.session.epoch, Cause.REFUSED, "no", 500)
        stream.told.clear()
        out = stream.feed(fact, after=0.9)
        out = [o for o in out if isinstance(o, Dropped | GapFound | Surrendered)]
    assert isinstance(out[-1], Stopped if stops else Surrendered)
    dropped = [o.messages for o in out if isinstance(o, Dropped)]
    assert dropped == [3]
    [gap] = [o.gap for o in out if isinstance(o, GapFound)]
    assert (gap.reason, gap.until_at) == ("outage", stream.now)
    assert gap.from_at == pytest.approx(heard_at, abs=0.1)
    assert stream.session.phase is Phase.CLOSED
    assert stream.session.ledger.gaps == 1


def test_a_stream_that_closes_tells_of_drops_with_its_last_link() -> None:
    stream = Stream()
    stream.connect()
    stream.feed(Overflowed(5))
    stream.feed(Overflowed(2), after=0.1)
    stream.feed(Stop(), after=0.1)
    out = stream.feed(Ended(1, Cause.CLOSED_BY_PEER, 1000), after=0.1)
    assert [(o.epoch, o.messages) for o in out if isinstance(o, Dropped)] == [(1, 2)]
    assert isinstance(out[-1], Stopped)


@pytest.mark.parametrize("where", [None, *Where])
@pytest.mark.parametrize("cause", list(Cause))
def test_a_loss_is_told_with_the_bound_of_its_own_silence(
    cause: Cause, where: Where | None
) -> None:
    world = quiet(freshness=Freshness(every=33.0))
    world.tick()
    link, now = world.link, world.now
    promised = bounds(link, now=now)
    assert promised.path < promised.peer
    expected: dict[Cause, float] = {
        Cause.PATH_DEAD: promised.path,
        Cause.PEER_FROZEN: promised.peer,
    }
    wanted = expected.get(cause, promised.channels[None])
    if where is Where.OUTBOUND or (cause is Cause.PATH_DEAD and where is None):
        wanted = max(promised.path, promised.peer)
    found = Finding(cause=cause, evidence="why")
    event = lost(link, found, where=where, ended=None, now=now)
    assert event.bound == wanted
    assert (event.at, event.epoch, event.evidence) == (now, 3, "why")
    ended = Ended(3, cause, 1001, "bye")
    event = lost(link, found, where=where, ended=ended, now=now)
    assert (event.bound, event.evidence, event.reason) == (None, "", "bye")
    assert event.since_at == now


# --- doubts -----------------------------------------------------------------------


def test_a_doubt_that_a_frame_clears_is_over_in_the_verdict_as_well() -> None:
    world = quiet()
    while world.link.verdict is Verdict.ALIVE:
        alive(world, world.link.deadline)
    assert world.link.verdict is Verdict.SUSPECT
    doubted_at = world.now
    world.now += 0.1
    world.read(pong=True)
    assert world.link.verdict is Verdict.ALIVE
    assert world.link.standing == (Verdict.ALIVE, False, False)
    assert world.only(Cleared).after == pytest.approx(world.now - doubted_at)


def test_an_answer_that_waited_for_us_is_no_round_trip() -> None:
    world = Scripted()
    [ping] = [o for _, o in world.told if isinstance(o, Ping)]
    world.handle(Paused(3))
    world.run(world.now + 0.7)
    world.handle(Resumed(3))
    world.handle(Ponged(3, ping.payload))
    assert world.times(RoundTripMeasured) == []
    assert world.link.round_trip.summary().samples == 0
    assert len(quiet().times(RoundTripMeasured)) == 1


@pytest.mark.parametrize("fed_for", [4.0, 4.6, 4.8, 4.9, 5.2, 7.0])
def test_a_silence_is_judged_by_what_was_promised_when_it_began(fed_for: float) -> None:
    """What is learned in the silence, or only grew ripe in it, is for the next."""
    world = quiet()
    feed(world, HEARD + fed_for, every=0.2)
    promised = world.link.clocks.busy_silence
    data_at = world.link.channel.data_at
    while not world.link.found:
        assert world.link.channel.data_at == data_at
        world.tick()
        assert world.link.clocks.busy_silence == promised
    assert (promised is not None) == (fed_for > 5.0)


def a_rhythm(make: Any) -> float | None:
    """The rare silence of data each 0.2 s, with whatever `make` puts into it."""
    clock, now = ChannelClock(None, now=0.0), 20.0
    for nth in range(300):
        if nth == 150:
            now = make(clock, now)
        now += 0.2
        clock.fed(Received(1, 1, 1), now=now)
    return clock.rare_silence(per_minute=0.2, now=now)


def paused(clock: ChannelClock, now: float) -> float:
    clock.resume(now=now + 15.0)
    return now + 15.0


def stalled(clock: ChannelClock, now: float) -> float:
    clock.extend(15.0, now=now + 15.0)
    return now + 15.0


def read_late(clock: ChannelClock, now: float) -> float:
    clock.fed_stale(4, now=now + 15.0)
    return now + 15.0


@pytest.mark.parametrize("ours", [paused, stalled, read_late])
def test_a_silence_of_our_making_teaches_nothing_of_the_rhythm_of_data(
    ours: Any,
) -> None:
    """Nor does the time before the first data, which here is 20 seconds."""
    usual = a_rhythm(lambda clock, now: now)
    assert usual == pytest.approx(0.1 * 2.0 ** (5 / 4))
    assert a_rhythm(ours) == usual
    theirs = a_rhythm(lambda clock, now: now + 15.0)
    assert theirs is not None
    assert theirs > 15.0


# --- bounds on what is kept -------------------------------------------------------


def test_64_open_gaps_are_told_apart_and_of_more_the_two_oldest_are_one() -> None:
    account = Account("a")
    for nth in range(1, 67):
        missing = Missing("a", 10 * nth, 10 * nth + nth, nth + 1)
        account.note(missing, from_at=float(nth), now=nth + 0.5, epoch=1)
        assert len(account.open) == min(nth, 64)
        assert account.gaps == nth
    merged, third = account.open[:2]
    assert (merged.first, merged.from_at, merged.until_at) == (None, 1.0, 3.5)
    assert merged.missing == 2 + 3 + 4
    assert third.first == 40


def test_64_outages_are_told_apart_and_of_more_the_two_oldest_are_one() -> None:
    ledger = Ledger()
    for nth in range(1, 67):
        ledger.lose_link(nth, heard_at=float(nth))
        ledger.regain_link(now=nth + 0.5)
        assert len(ledger.outages_of("a")) == min(nth, 64)
    first, second = ledger.outages_of("a")[:2]
    assert (first.from_at, first.until_at) == (1.0, 3.5)
    assert second.from_at == 4.0


def test_64_notes_in_a_row_are_kept_as_they_are_and_more_are_merged() -> None:
    for count in (64, 65):
        buffer = Buffer(Inbox())
        for nth in range(count):
            buffer.note(Gap("outage", float(nth), nth + 0.5, nth))
        items = buffer.take(10)
        if count == 64:
            assert [gap.epoch for gap in items if isinstance(gap, Gap)] == [*range(64)]
        else:
            [gap] = [item for item in items if isinstance(item, Gap)]
            assert (gap.from_at, gap.until_at) == (0.0, 64.5)


@pytest.mark.parametrize("seed", range(5))
def test_a_link_at_rest_is_looked_at_in_its_last_50_ms(seed: int) -> None:
    """Links share their instants, and none is looked at much sooner than it must."""
    dice = random.Random(seed)
    for _ in range(50):
        now, patience = dice.uniform(10.0, 1e6), dice.uniform(1.0, 20.0)
        seen = kernel(heard_age=dice.uniform(0.0, 0.5))
        rest = Rest(seen, patience=patience, ask_at=now + 100.0)
        until = rest.until(Evidence(seen), now=now)
        assert until is not None
        due = now - seen.heard_age + patience
        assert -1e-6 < due - until < SHARED_EVERY + 1e-6
        nth = until / SHARED_EVERY
        assert nth == pytest.approx(round(nth), abs=1e-4)
    assert SHARED_EVERY <= 0.05


@pytest.mark.parametrize("over", range(1, 9))
def test_what_is_too_much_is_dropped_to_the_message_and_no_more(over: int) -> None:
    buffer = Buffer(Inbox(limit=8))
    buffer.put([Message(f"{n}", float(n)) for n in range(8)], 80)
    more = [Message(f"{8 + n}", 8.0 + n) for n in range(over)]
    assert buffer.put(more, 10 * over) == over
    assert (buffer.waiting, buffer.waiting_bytes) == (8, 80)
    gap, *messages = buffer.take(99)
    assert isinstance(gap, Gap)
    assert gap.missing == over
    assert [m.data for m in messages if isinstance(m, Message)] == [
        f"{n}" for n in range(over, 8 + over)
    ]


def test_what_a_message_and_a_gap_do_not_say_is_nothing() -> None:
    message = Message("x", 1.0)
    assert (message.channel, message.epoch, message.age) == (None, 0, 0.0)
    assert message.snapshot is False
    gap = Gap("outage", 1.0, 2.0, 3)
    assert (gap.channel, gap.first, gap.last, gap.missing) == (None,) * 4
    assert Received(1, 1, 0, 5).data == 0
    assert Tick() == Tick(0, Evidence(None, 0, 0), 0.0, 0.0)
    assert isinstance(Status.__struct_defaults__, tuple)


@pytest.mark.parametrize(
    "refused",
    [
        lambda: Beats(every=0.0, answered=True),
        lambda: Beats(every=-1.0, answered=True),
        lambda: Freshness(every=0.0),
        lambda: Freshness(every=float("nan")),
    ],
)
def test_a_contract_of_no_time_at_all_is_refused(refused: Any) -> None:
    with pytest.raises(UsageError, match="more than 0"):
        refused()
    assert Beats(every=0.001, answered=False).every == 0.001
    assert Freshness(every=0.001).every == 0.001


def test_a_buffer_is_half_empty_by_its_messages_and_by_its_bytes() -> None:
    for size_bytes, half in ((0, True), (50, True), (51, False)):
        buffer = Buffer(Inbox(limit=10, limit_bytes=100))
        buffer.put([Message("x", 1.0)], size_bytes)
        assert buffer.half_empty is half
    for count, half in ((5, True), (6, False)):
        buffer = Buffer(Inbox(limit=10, limit_bytes=100))
        buffer.put([Message("x", 1.0)] * count, 1)
        assert buffer.half_empty is half


def test_a_budget_counts_all_that_was_sent() -> None:
    budget = Budget((Rate(count=3, per=1.0),))
    for nth in range(1, 6):
        budget.spend(now=float(nth))
        assert budget.total == nth
    budget.begin()
    assert budget.total == 5


def test_a_status_says_for_how_long_the_data_of_a_stream_has_been_missing() -> None:
    stream = Stream(freshness=Freshness(every=2.0, redial=False))
    stream.connect()
    stream.pong()
    stream.feed(Received(1, 1, 1, 10))
    fed_at = stream.now
    while stream.status().cause is not Cause.CHANNEL_STALLED:
        stream.now = stream.session.deadline
        stream.feed(Tick(1))
        for ping in [o for o in stream.told if isinstance(o, Ping)][-1:]:
            stream.feed(Ponged(1, ping.payload))
            stream.feed(Received(1, 1, 0, 10))
        assert stream.now < fed_at + 10.0
    stream.now = fed_at + 7.0
    status = stream.status()
    assert status.since_at == fed_at
    assert "7.0" in status.evidence


def test_a_contract_of_data_counts_from_when_all_was_sent_on_open() -> None:
    stream = Stream(syncs=True, freshness=Freshness(every=4.0, redial=False))
    stream.connect()
    stream.pong()
    stream.feed(Synced(1, 1), after=3.0)
    assert stream.session.phase is Phase.OPEN
    opened_at = stream.now
    while not [o for o in stream.told if isinstance(o, ChannelStalled)]:
        stream.now = stream.session.deadline
        stream.feed(Tick(1))
        for ping in [o for o in stream.told if isinstance(o, Ping)][-1:]:
            stream.feed(Ponged(1, ping.payload))
            stream.feed(Received(1, 1, 0, 10))
        assert stream.now < opened_at + 10.0
    assert stream.now >= opened_at + 4.0
