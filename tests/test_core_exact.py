"""Small parts of the core, each held to the exact figure that it promises."""

from __future__ import annotations

import random
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from heartline import UsageError
from heartline.core.adaptive import PROBE_TIMEOUT_CAP, Arrivals
from heartline.core.contracts import Freshness
from heartline.core.detector import Ladder, Liveness, PathClock
from heartline.core.events import (
    ChannelStalled,
    ConditionEnded,
    Paused,
    Received,
    Resumed,
    RoundTripMeasured,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.excuses import Excuses
from heartline.core.flow import Flow
from heartline.core.freshness import ChannelWatch
from heartline.core.holes import MOST_HOLES, Holes
from heartline.core.inbox import KEPT_NOTES, Buffer, Inbox
from heartline.core.items import Gap, Message, Phase
from heartline.core.latency import KEPT, Recent
from heartline.core.neighbours import MOST_REMEMBERED, DialBudget, Neighbours
from heartline.core.offset import DRIFT, STEP_AFTER, ClockOffset
from heartline.core.restore import Joins, Kept, Numbers, Restore, Restored, Stage
from heartline.core.rules import tracker_of
from heartline.core.sequence import Missing, Numbering, Reset, Rule
from heartline.core.terms import Dialling
from heartline.core.timers import Timers
from heartline.core.unread import LEAST_LOOKS, LOOK_EVERY, PUT_OFF, Unread
from heartline.core.watched import ALIKE, Outcome, Watched, Watching
from scripted_link import HEARD, alive, kernel, quiet
from test_core_told import BEGAN, Stream

# --- the path and the flow ------------------------------------------------------------


def test_a_round_trip_that_the_kernel_has_not_measured_sets_no_timeout() -> None:
    unmeasured = kernel(round_trip=0.0, round_trip_deviation=0.0, min_round_trip=0.0)
    path = PathClock(Liveness(), kernel=unmeasured, now=0.0)
    assert path.timeout == PROBE_TIMEOUT_CAP
    path.observe(kernel(segments_in=2), now=1.0)
    assert path.timeout == pytest.approx(0.030)
    path.observe(unmeasured, now=2.0)
    assert path.timeout == pytest.approx(0.030)


def test_a_longer_timeout_waits_for_a_silence_that_begins_after_it_was_learned() -> (
    None
):
    path = PathClock(Liveness(), kernel=kernel(), now=0.0)
    slower = {"round_trip": 0.080, "min_round_trip": 0.080}
    for now in (5.0, 5.5, 6.0):
        path.observe(kernel(heard_age=now, **slower), now=now)
        assert path.timeout == pytest.approx(0.030)
        assert path.learning
    path.observe(kernel(segments_in=2, heard_age=0.5, **slower), now=7.0)
    path.observe(kernel(segments_in=2, heard_age=1.0, **slower), now=7.5)
    assert path.timeout == pytest.approx(0.090)
    assert not path.learning
    # A shorter one holds at once: nobody was promised more.
    path.observe(kernel(segments_in=2, heard_age=1.5), now=8.0)
    assert path.timeout == pytest.approx(0.030)


def test_a_doubt_of_the_path_begins_from_what_the_kernel_shows_then() -> None:
    seen = kernel(segments_in=7, total_retransmits=5, retransmits=2)
    path = PathClock(Liveness(), kernel=seen, now=0.0)
    path.doubt(now=3.0)
    begun = Ladder(began_at=3.0, segments=7, retransmits=5, timeouts=2)
    assert path.ladder == begun
    path.doubt(now=4.0)
    assert path.ladder == begun


def test_gaps_of_a_tenth_of_a_second_are_the_shortest_that_are_learned() -> None:
    arrivals, now = Arrivals(now=0.0), 0.0
    for _ in range(200):
        now += 0.1
        arrivals.count()
        arrivals.learn(0.1, now=now)
    rare = arrivals.rare_silence(per_minute=1.0, now=now)
    assert rare == pytest.approx(0.1 * 2.0**0.25)


def test_a_flowing_link_is_looked_at_every_5_seconds_however_late_it_is_due() -> None:
    flow = Flow(patience=2.0, ask_at=inf, now=100.0)
    assert flow.due_at(101.0) == 103.0
    assert flow.due_at(104.9) == 105.0
    assert Flow(patience=2.0, ask_at=102.5, now=100.0).due_at(101.0) == 102.5


def test_a_stream_puts_off_what_its_link_does_and_only_while_that_is_all() -> None:
    stream = Stream()
    session = stream.session
    session.put_off(stream.now, now=stream.now)
    assert session.link is None
    stream.connect()
    stream.pong()
    link, data_at = session.link, stream.now
    assert link is not None
    while link.kernel is None or not link.flowing(now=stream.now):
        assert stream.now < BEGAN + 30.0
        if session.deadline < data_at + 0.3:
            stream.now = max(stream.now, session.deadline)
            stream.feed(Tick(1, Evidence(kernel(segments_in=int(10 * stream.now)))))
        else:
            stream.now = data_at = data_at + 0.3
            stream.feed(Received(1, 1, 1, 10))
    due = session.deadline
    session.put_off(due - 0.01, now=due - 0.01)
    assert due < session.deadline <= link.deadline
    # But not while more hangs on the next frames than that.
    session.phase, due = Phase.SYNCING, session.deadline
    session.put_off(due, now=due)
    assert session.deadline == due


# --- what was learned of a channel ----------------------------------------------------


def watched(*silences: float, since_at: float = 0.0) -> Watched:
    """A channel with these silences behind it."""
    one = Watched("a", None, now=since_at)
    one.awaits_first, one.count = False, 50
    for silence in silences:
        one.learn(Watching(memory=1e9), silence, now=since_at + 1.0)
    return one


def test_a_channel_is_allowed_4_of_its_silences_and_of_a_young_history_more() -> None:
    policy = Watching()
    one = watched(*[1.0] * (ALIKE + 1))
    assert one.allowed(policy, now=119.0) is None
    for age in (120.0, 300.0, 600.0, 3000.0):
        assert one.allowed(policy, now=age) == pytest.approx(4.0 * (1 + 300.0 / age))
    one.count = 49
    assert one.allowed(policy, now=600.0) is None
    # Alone of its kind, a silence may be a third of one that is still to come.
    assert watched(1.0).allowed(policy, now=600.0) == pytest.approx(18.0)
    assert watched(0.1).allowed(policy, now=600.0) == 2.0
    assert watched(*[5.0] * 6).allowed(policy, now=600.0) == pytest.approx(30.0)
    assert watched(*[5.01] * 6).allowed(policy, now=600.0) is None


def test_a_silence_that_ended_leaves_nothing_that_the_next_is_judged_by() -> None:
    for silences, alert in ((1, 0.5), (ALIKE + 1, 1.0)):
        one = watched(*[1.0] * silences)
        one.outcome, one.needed = Outcome.QUIET, 7.0
        one.calm_down()
        assert (one.outcome, one.needed, one.alert) == (Outcome.LIVE, 0.0, alert)


def test_siblings_that_hardly_speak_bear_witness_with_20_messages() -> None:
    """Where less than one a second is usual, it is not taken for one a second."""
    policy = Watching(ceiling=100.0, warm_up=10.0, warm_up_messages=5)
    watch, now = ChannelWatch(policy, now=0.0), 0.0
    for name in "ab":
        watch.watch(name, now=now)
    watch.open(now=now)
    for _ in range(400):
        now += 10.0
        watch.feed("a", now)
        watch.feed("b", now)
        if now >= watch.deadline:
            assert watch.look(proven_at=now, now=now) == []
    heard = 0
    while watch.outcome("a") is not Outcome.STALLED:
        now += 10.0
        watch.feed("b", now)
        heard += 1
        watch.look(proven_at=now, now=now)
        assert heard < 100
    assert heard == 20


# --- numbers, clocks, hosts and buffers -----------------------------------------------


@pytest.mark.parametrize("rule", [Rule.CHAIN, Rule.RANGE, Rule.STEP])
def test_a_snapshot_sets_numbers_back_only_if_it_is_of_an_older_one(rule: Rule) -> None:
    for number, told in ((5, None), (6, None), (4, Reset("k", 5, 4, True))):
        tracker = tracker_of(Numbering(rule=rule))
        tracker.feed("k", 5, 4, 5)
        assert tracker.feed("k", number, None, None, True) == told
        assert tracker.last("k") == number


class Bounds:
    """What each answer and message says of the offset, all of it kept."""

    def __init__(self) -> None:
        self.lows: list[tuple[float, float]] = []
        self.highs: list[tuple[float, float]] = []

    def low(self, now: float) -> float:
        return max((low - DRIFT * (now - at) for low, at in self.lows), default=-inf)

    def high(self, now: float) -> float:
        return min((high + DRIFT * (now - at) for high, at in self.highs), default=inf)


@pytest.mark.parametrize("seed", range(30))
def test_the_offset_is_the_sharpest_that_all_heard_allow_with_their_drift(
    seed: int,
) -> None:
    dice = random.Random(seed)
    offset, bounds, now = ClockOffset(resolution=0.001), Bounds(), 1e5
    contradicted = 0
    for _ in range(60):
        now += dice.choice((0.0, 1.0, 100.0, 1e4, 1e5))
        if dice.random() < 0.3:
            took = dice.choice((0.01, 0.5, 2.0))
            spent = dice.choice((0.0, took / 4))
            came_in = 1e9 + now + dice.random() * (took - spent)
            low, high = came_in + spent - (now + took), came_in + 0.001 - now
            if low > bounds.high(now + took) or high < bounds.low(now + took):
                continue
            offset.answered(
                sent_at=now,
                received_at=now + took,
                venue_in=came_in,
                venue_out=came_in + spent,
            )
            bounds.highs.append((high, now))
            now += took
            bounds.lows.append((low, now))
            contradicted = 0
        else:
            stamp = 1e9 + now + dice.uniform(-3.0, 1.0)
            low = stamp - now
            contradicts = low > bounds.high(now)
            if contradicts and contradicted == 7:
                continue
            before = offset.contradicted
            offset.heard(stamp, received_at=now)
            assert offset.contradicted == before + contradicts
            if contradicts:
                contradicted += 1
            else:
                bounds.lows.append((low, now))
                # Only what is news ends a row of contradictions: an answer does.
        told = offset.bounds(now=now)
        assert told[0] == pytest.approx(bounds.low(now), abs=1e-5)
        assert told[1] == pytest.approx(bounds.high(now), abs=1e-5)
    assert offset.steps == 0
    assert bounds.highs


def test_of_too_many_hosts_the_one_that_was_called_longest_ago_is_forgotten() -> None:
    neighbours = Neighbours(budget=DialBudget(every=1000.0, burst=1))
    for nth in range(MOST_REMEMBERED):
        assert neighbours.reserve(f"host{nth}", now=float(nth) / 1e4) == 0.0
    assert neighbours.reserve("one more", now=1.0) == 0.0
    assert neighbours.reserve("host1", now=1.0) > 0.0
    assert neighbours.reserve("host0", now=1.0) == 0.0


def test_a_bucket_that_is_just_full_again_needs_no_memory() -> None:
    neighbours = Neighbours(budget=DialBudget(every=1.0, burst=3))
    for nth in range(MOST_REMEMBERED):
        for _ in range(1 if nth else 2):
            neighbours.reserve(f"host{nth}", now=0.0)
    # All but the first have two tokens again at 1 s, and that is all they can have.
    neighbours.reserve("one more", now=1.0)
    assert len(neighbours._free_at) == 2


def message(number: int) -> Message:
    return Message(str(number), float(number))


def test_a_conflating_buffer_holds_twice_its_bytes_before_it_conflates() -> None:
    inbox = Inbox(limit=1000, limit_bytes=100, policy="conflate", key=lambda _: 0)
    buffer = Buffer(inbox)
    for number in range(4):
        assert buffer.put([message(number)], 50) == 0
    assert (buffer.waiting, buffer.waiting_bytes) == (4, 200)
    assert buffer.put([message(4)], 1) == 4
    items: list[Any] = buffer.take(99)
    assert [type(each) for each in items] == [Gap, Message]
    assert items[0].missing == 4
    assert items[1].data == "4"
    assert (buffer.waiting, buffer.waiting_bytes) == (0, 0)


def test_a_conflating_buffer_waits_until_it_holds_twice_what_was_left() -> None:
    inbox = Inbox(limit=4, policy="conflate", key=lambda each: int(each.data) % 3)
    buffer = Buffer(inbox)
    passes: list[int] = []
    for number in range(40):
        if buffer.put([message(number)], 1):
            passes.append(number)
            assert buffer.waiting == 3
    # Three keys are left each time, and a pass is made beyond twice as many.
    assert passes[0] == 4
    assert {after - before for before, after in pairwise(passes)} == {4}


# --- a state that is fetched ----------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_what_waited_is_covered_or_follows_or_shows_that_the_snapshot_is_old(
    seed: int,
) -> None:
    dice = random.Random(seed)
    for _ in range(20):
        restore = Restore("a", Restored(host="h", joins=Joins.NEXT))
        restore.number = 10
        numbers: list[int | None] = [*range(first := dice.randrange(5, 15), first + 5)]
        numbers = numbers[: dice.randrange(6)]
        if numbers and dice.random() < 0.3:
            numbers[dice.randrange(len(numbers))] = None
        for number in numbers:
            restore.keep(Kept(Message("four", 1.0), Numbers("a", number)))
        kept = list(restore.kept)
        assert restore.size_bytes == 4 * len(kept)
        found = restore.join()
        known = [n for n in numbers if n is not None]
        later = [n for n in known if n > 10]
        if later and later[0] != 11:
            assert found is None
            assert restore.kept == kept
            assert restore.stage is Stage.AWAITED
            continue
        covered = [k for k, n in zip(kept, numbers, strict=True) if n and n <= 10]
        assert found == (covered, [each for each in kept if each not in covered])
        assert restore.stage is (Stage.WHOLE if later else Stage.JOINING)
        assert (restore.kept, restore.size_bytes) == ([], 0)


# --- what is dropped, and told of it --------------------------------------------------


def test_a_buffer_is_full_beyond_its_limits_and_not_at_them() -> None:
    for limit, limit_bytes in ((2, 1000), (1000, 20)):
        buffer = Buffer(Inbox(limit=limit, limit_bytes=limit_bytes))
        assert buffer.put([message(1), message(2)], 20) == 0
        assert not buffer.full
        assert buffer.put([message(3)], 1) == (1 if limit == 2 else 2)


def test_what_was_dropped_on_two_links_is_told_of_the_later_one() -> None:
    buffer = Buffer(Inbox(limit=1))
    for number, epoch in ((1, 1), (2, 1), (3, 2), (4, 2)):
        buffer.put([replace(message(number), epoch=epoch)], 1)
    gap, last = buffer.take(9)
    assert isinstance(gap, Gap)
    assert (gap.epoch, gap.missing, gap.from_at, gap.until_at) == (2, 3, 1.0, 3.0)
    assert isinstance(last, Message)


def test_of_two_messages_of_one_read_only_the_older_is_dropped() -> None:
    buffer = Buffer(Inbox(limit=1))
    assert buffer.put([message(1), message(2)], 9) == 1
    gap, last = buffer.take(9)
    assert isinstance(gap, Gap)
    assert (gap.missing, last) == (1, message(2))
    assert buffer.waiting_bytes == 0


@pytest.mark.parametrize("gaps", [KEPT_NOTES, KEPT_NOTES + 1])
def test_gaps_that_lie_side_by_side_are_told_as_the_last_and_over_all_of_them(
    gaps: int,
) -> None:
    buffer = Buffer(Inbox())
    for nth in range(gaps):
        at = float(nth)
        buffer.note(Gap("outage" if nth % 2 else "sequence", at, at + 0.5, nth))
    told = buffer.take(1)
    if gaps == KEPT_NOTES:
        assert len(told) == gaps
    else:
        assert told == [Gap("sequence", 0.0, gaps - 0.5, gaps - 1)]


@pytest.mark.parametrize("notes", [KEPT_NOTES, KEPT_NOTES + 1])
def test_conflation_merges_notes_beyond_64_and_forgets_none(notes: int) -> None:
    """Those of what it drops itself, before and after, are two more, or one."""
    inbox = Inbox(limit=2, policy="conflate", key=lambda each: each.data)
    buffer = Buffer(inbox)
    before, after = notes // 2, notes - notes // 2
    for nth in range(before):
        buffer.note(Gap("outage", float(nth), nth + 0.5, 1))
    buffer.put([message(1), message(1), message(1)], 30)
    for nth in range(after):
        buffer.note(Gap("outage", 100.0 + nth, 100.5 + nth, 1))
    assert buffer.put([message(1), message(1)], 20) == 2
    *gaps, last = buffer.take(99)
    assert isinstance(last, Message)
    spans = [(gap.from_at, gap.until_at) for gap in gaps if isinstance(gap, Gap)]
    assert len(spans) == len(gaps) == (notes + 2 if notes <= KEPT_NOTES else 2)
    own = [gap for gap in gaps if isinstance(gap, Gap) and gap.reason == "overflow"]
    assert sum(gap.missing or 0 for gap in own) == buffer.dropped == 4
    assert min(start for start, _ in spans) == 0.0
    assert max(end for _, end in spans) == 99.5 + after


def test_a_hole_of_no_number_is_none_and_the_33rd_makes_the_first_forgotten() -> None:
    holes = Holes()
    holes.open(5, 5)
    assert (len(holes), holes.size) == (0, 0)
    for nth in range(MOST_HOLES):
        holes.open(10 * nth, 10 * nth + 3)
    assert (len(holes), holes.size, holes.forgotten_to) == (32, 96, None)
    holes.open(1000, 1001)
    assert (len(holes), holes.size, holes.forgotten_to) == (32, 94, 3)
    assert holes.fill(1001, 2000) == 0
    assert holes.fill(11, 12) == 1
    assert [*holes][:2] == [(10, 11), (12, 13)]


def test_contradictions_in_a_row_end_with_an_answer() -> None:
    offset = ClockOffset()
    for _ in range(3):
        offset.answered(sent_at=10.0, received_at=10.1, venue_in=1010.05)
        for _ in range(STEP_AFTER - 1):
            offset.heard(1015.0, received_at=10.2)
    assert (offset.steps, offset.contradicted) == (0, 3 * (STEP_AFTER - 1))
    offset.heard(1015.0, received_at=10.2)
    assert offset.steps == 1


def test_no_more_than_twice_the_samples_that_are_told_are_held() -> None:
    recent = Recent()
    for nth in range(5 * KEPT):
        recent.add(float(nth))
        assert len(recent._samples) < 2 * KEPT


# --- a link ---------------------------------------------------------------------------


def test_without_a_kernel_the_path_is_heard_by_what_is_read() -> None:
    for fact in (Received(3, 1, 1, 10), Received(3, 1, 0, 10), Received(3, 0, 0, 10)):
        world = quiet(with_kernel=False)
        world.now += 2.0
        assert world.link.path.heard_at == HEARD
        world.handle(fact)
        assert world.link.path.heard_at == world.now
        peer_at = world.now if fact.frames else HEARD
        assert world.link.peer.frame_at == peer_at


def test_a_pong_measures_the_round_trip() -> None:
    world = quiet()
    told = world.link.round_trip.summary()
    assert (told.last, told.samples) == (pytest.approx(0.020), 1)
    assert world.only(RoundTripMeasured).round_trip == told.last


def test_after_a_pause_of_ours_all_that_was_owed_is_owed_anew() -> None:
    world = quiet(freshness=Freshness(every=3.0))
    world.now = HEARD + 1.0
    world.handle(Paused(3))
    alive(world, HEARD + 9.0)
    world.now = HEARD + 9.0
    world.hear()
    world.handle(Resumed(3))
    resumed_at = world.now
    assert world.link.peer.wait is None
    ended = world.only(ConditionEnded)
    assert (ended.at, ended.after) == (resumed_at, pytest.approx(8.0))
    alive(world, resumed_at + 2.9)
    assert world.times(ChannelStalled) == []
    alive(world, resumed_at + 3.1)
    world.read(pong=True)
    alive(world, resumed_at + 4.0)
    [stalled_at] = world.times(ChannelStalled)
    assert 3.0 <= stalled_at - resumed_at < 3.5


def test_no_frame_goes_untold_while_something_of_a_stall_is_unproven() -> None:
    world = quiet()
    lateness = world.link.lateness
    assert world.link.lull(now=world.now) > 0.0
    lateness.unproven_since = world.now
    assert world.link.lull(now=world.now) == 0.0
    lateness.unproven_since = None
    assert world.link.lull(now=world.now) > 0.0


# --- timers ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_first_of_many_timers_is_found_however_often_they_are_moved(
    seed: int,
) -> None:
    dice = random.Random(seed)
    timers, model, now = Timers[int](), dict[int, tuple[float, int]](), 0.0
    for turn in range(3000):
        key = dice.randrange(12)
        match dice.choice(("set", "set", "set", "cancel", "pop", "pop all", "clear")):
            case "set":
                # Later and later: what was moved lies on top when its time has come.
                due_at = now + dice.choice((1.0, 5.0, 50.0)) + dice.random()
                timers.set(key, due_at)
                model[key] = due_at, turn
                assert len(timers._heap) <= 2 * len(model) + 64
            case "cancel":
                timers.cancel(key)
                model.pop(key, None)
            case "clear" if dice.random() < 0.02:
                timers.clear()
                model.clear()
            case "pop all":
                now += dice.random()
                due = sorted(
                    (each, key) for key, each in model.items() if each[0] <= now
                )
                assert timers.pop_all(now=now) == [key for _, key in due]
                for _, key in due:
                    del model[key]
            case _:
                now += dice.random() / 5
                first = min(model, key=lambda each: model[each], default=None)
                if first is None or model[first][0] > now:
                    first = None
                else:
                    del model[first]
                assert timers.pop(now=now) == first
        assert timers.next_at == min(model.values(), default=(inf, 0))[0]
        assert len(timers) == len(model)


# --- what is refused, and what begins as it should ------------------------------------


@pytest.mark.parametrize("rule", [Rule.CHAIN, Rule.RANGE, Rule.STEP])
def test_numbers_that_begin_where_the_venue_says_have_nothing_missing(
    rule: Rule,
) -> None:
    for number, told in ((1, None), (3, Missing)):
        tracker = tracker_of(Numbering(rule=rule, starts_at=1))
        odd = tracker.feed("k", number, number - 1, number)
        assert odd is None if told is None else isinstance(odd, told)
        assert tracker.last("k") == number
        assert tracker.feed("k", number + 1, number, number + 1) is None


def test_a_value_of_the_wrong_kind_is_told_with_what_it_may_be() -> None:
    wrong: Any = "often"
    with pytest.raises(UsageError) as refused:
        Dialling(per_second=wrong)
    assert "or None" in str(refused.value)
    assert "per_second" in str(refused.value)
    with pytest.raises(UsageError) as refused:
        Dialling(sync=wrong)
    assert "None" not in str(refused.value)
    assert Dialling(per_second=None).per_second is None


@pytest.mark.parametrize("name", ["resolve", "connect", "sync", "restore", "close"])
def test_no_part_of_a_dial_is_given_no_time(name: str) -> None:
    with pytest.raises(UsageError, match=rf"Dialling\.{name}.*more than 0"):
        Dialling(**{name: 0.0})


# --- what was ours --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_what_was_of_our_making_counts_once_however_it_overlaps(seed: int) -> None:
    dice = random.Random(seed)
    excuses, eighths, now = Excuses(), set[int](), 0
    for _ in range(12):
        now += dice.randrange(8)
        lag = dice.choice((*range(1, 15), now))
        excuses.add(lag=lag / 8, now=now / 8)
        eighths |= set(range(now - lag, now))
        for at in range(0, now + 2, 3):
            ours = sum(each >= at for each in eighths) / 8
            assert excuses.since(at / 8) == pytest.approx(ours)


def test_what_is_due_waits_for_what_is_unread_its_whole_time_from_the_first_look() -> (
    None
):
    for begins in (0.0, 100.0):
        unread, now, looks = Unread(), begins, 0
        while unread.waits(unread=True, paused=False, now=now):
            looks += 1
            now = unread.next_at(now)
            assert looks < 1000
        assert now - begins == pytest.approx(PUT_OFF, abs=LOOK_EVERY)
        assert looks >= LEAST_LOOKS
        # And the next that is due has its own.
        assert unread.waits(unread=True, paused=False, now=now + 50.0)
        assert unread.next_at(0.0) == pytest.approx(now + 50.0 + LOOK_EVERY)
