"""Rules of numbers: what was lost, doubled and swapped is told, and nothing else."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest

from heartline import UsageError
from heartline.core import tracker as trackers
from heartline.core.holes import MOST_HOLES, Holes
from heartline.core.rules import tracker_of
from heartline.core.sequence import (
    Anomaly,
    Disorder,
    Duplicate,
    Missing,
    Numbering,
    Reset,
    Rule,
    Scope,
    Unreadable,
)
from heartline.core.tracker import RESTART_AFTER, Tracker
from thrown import Planted, planted, properties

TRIES = 150
COUNTED = (Rule.STEP, Rule.RANGE, Rule.CHAIN)


class Sent(NamedTuple):
    """A message as a venue numbers it: the numbers above `low`, up to `high`."""

    low: int
    high: int


def sent_by_a_venue(dice: random.Random, rule: Rule, messages: int) -> list[Sent]:
    at = dice.randrange(0, 1 << 62)
    sent: list[Sent] = []
    for _ in range(messages):
        length = 1 if rule is Rule.STEP else dice.choice((1, 1, 2, 7, 1000))
        sent.append(Sent(at, at + length))
        at += length
    return sent


def damaged(dice: random.Random, sent: list[Sent]) -> list[Sent]:
    """Some messages are removed, some doubled, some swapped with one soon after."""
    kept = [message for message in sent if dice.random() > 0.1]
    doubled = [m for message in kept for m in [message] * dice.choice((1, 1, 1, 2))]
    for _ in range(len(doubled) // 8):
        here = dice.randrange(len(doubled))
        there = min(len(doubled) - 1, here + dice.randrange(1, 5))
        doubled[here], doubled[there] = doubled[there], doubled[here]
    return doubled


def feed(tracker: Tracker, message: Sent, key: str = "book") -> Anomaly | None:
    match tracker.numbering.rule:
        case Rule.CHAIN:
            return tracker.feed(key, message.high, prev=message.low)
        case Rule.RANGE:
            return tracker.feed(key, message.high, first=message.low + 1)
        case _:
            return tracker.feed(key, message.high)


class Believed:
    """What somebody believes who hears only the anomalies."""

    def __init__(self) -> None:
        self.missing = Holes()
        self.count = 0
        self.duplicates = 0

    def hear(self, anomaly: Anomaly | None) -> None:
        match anomaly:
            case Missing(_, int(first), int(last), count):
                self.missing.open(first - 1, last)
                self.count += count or 0
            case Disorder(_, first, last, filled):
                assert self.missing.fill(first - 1, last) == filled
                self.count -= filled
            case Duplicate():
                self.duplicates += 1
            case None:
                pass
            case other:
                raise AssertionError(other)


def what_is_told_is_what_happened(dice: random.Random) -> None:
    """After each message: the told ranges are exactly those that did not come."""
    rule = dice.choice(COUNTED)
    tracker, believed = tracker_of(Numbering(rule=rule)), Believed()
    sent = sent_by_a_venue(dice, rule, dice.randrange(2, 120))
    seen: set[Sent] = set()
    arrived = damaged(dice, sent)
    for message in arrived:
        anomaly = feed(tracker, message)
        if seen and message.high <= min(seen).low:
            assert anomaly == Disorder("book", message.low + 1, message.high, 0)
            continue
        assert isinstance(anomaly, Duplicate) is (message in seen)
        seen.add(message)
        believed.hear(anomaly)
        low, high = min(seen).low, max(seen).high
        here = sum(m.high - m.low for m in seen)
        assert believed.missing.size == (high - low) - here
        assert tracker.holes("book") == believed.missing.size
        assert tracker.last("book") == high
        if rule is Rule.STEP:
            assert believed.count == believed.missing.size
    lost = {m for m in sent if min(seen) < m < max(seen)} - seen
    assert sum(m.high - m.low for m in lost) == believed.missing.size
    told = list(believed.missing)
    assert all(any(h.low <= m.low and m.high <= h.high for h in told) for m in lost)


def keys_do_not_touch_each_other(dice: random.Random) -> None:
    rule = dice.choice(COUNTED)
    together = tracker_of(Numbering(rule=rule, scope=Scope.SYMBOL))
    alone = {key: tracker_of(Numbering(rule=rule)) for key in "abc"}
    arrived = [
        (key, nth, message)
        for key in alone
        for nth, message in enumerate(damaged(dice, sent_by_a_venue(dice, rule, 30)))
    ]
    arrived.sort(key=lambda one: (one[1], one[0]))
    for key, _, message in arrived:
        assert feed(together, message, key) == feed(alone[key], message, key)


def a_snapshot_makes_whole(dice: random.Random) -> None:
    """Whatever happened before: after a snapshot only what follows it counts."""
    rule = dice.choice(COUNTED)
    covers = dice.random() < 0.5
    tracker = tracker_of(Numbering(rule=rule, covers=covers))
    sent = sent_by_a_venue(dice, rule, 40)
    for message in damaged(dice, sent[:20]):
        feed(tracker, message)
    after = sent[20:]
    # Where the venue fetches snapshots elsewhere, one may end within a message.
    number = after[0].low
    if covers:
        number = dice.randrange(after[0].low, after[0].high + 1)
    tracker.feed("book", number, anew=True)
    assert tracker.holes("book") == 0
    if covers:
        for message in sent[17:20]:
            assert feed(tracker, message) is None
    assert [feed(tracker, message) for message in after] == [None] * len(after)
    tracker.feed("book", number, anew=True)
    assert isinstance(feed(tracker, after[2]), Missing)


def the_venue_may_count_anew(dice: random.Random) -> None:
    """Numbers that fall and go on are a restart, told once; a few are not."""
    rule = dice.choice((*COUNTED, Rule.MONOTONIC))
    tracker = tracker_of(Numbering(rule=rule))
    for message in sent_by_a_venue(dice, Rule.STEP, 20):
        number = Sent(message.low + 1000, message.high + 1000)
        feed(tracker, number)
    told = [feed(tracker, Sent(n, n + 1)) for n in range(5, 5 + 2 * RESTART_AFTER)]
    resets = [nth for nth, one in enumerate(told) if isinstance(one, Reset)]
    assert resets == [RESTART_AFTER - 1]
    assert told[RESTART_AFTER:] == [None] * RESTART_AFTER


HOSTILE = (
    None, True, 1.0, float("nan"), float("inf"), "5", "x" * 100_000, b"5", [1], {},
    -2, -(10**400), 1 << 64, 10**400, (), object(),
)  # fmt: skip


def nothing_that_is_sent_raises(dice: random.Random) -> None:
    """Each bad number is counted, one is told, and good ones are judged as before."""
    rule = dice.choice((*COUNTED, Rule.MONOTONIC))
    tracker = tracker_of(Numbering(rule=rule, covers=dice.random() < 0.5))
    sent = sent_by_a_venue(dice, rule, 30)
    told: list[Anomaly] = []
    bad = 0
    for message in sent:
        while dice.random() < 0.3:
            value = dice.choice(HOSTILE)
            if rule is Rule.CHAIN and isinstance(value, str):
                continue
            anomaly = tracker.feed("book", value, prev=message.low, first=message.high)
            bad += 1
            told += [] if anomaly is None else [anomaly]
        assert feed(tracker, message) is None
    assert tracker.unread == bad
    assert len(told) == min(bad, 1)
    for one in told:
        assert isinstance(one, Unreadable)
        assert len(one.got) < 100


def holes_keep_what_is_missing(dice: random.Random) -> None:
    """Holes are the set they stand for, whatever is filled in whatever order."""
    holes, missing, at = Holes(), set[int](), 0
    for _ in range(dice.randrange(1, MOST_HOLES)):
        low = at + dice.randrange(1, 4)
        at = low + dice.randrange(0, 6)
        holes.open(low, at)
        missing |= set(range(low + 1, at + 1))
    for _ in range(20):
        low = dice.randrange(0, at + 1)
        high = low + dice.randrange(0, 9)
        piece = set(range(low + 1, high + 1))
        assert holes.fill(low, high) == len(missing & piece)
        missing -= piece
        assert holes.size == len(missing)
        assert {n for h in holes for n in range(h.low + 1, h.high + 1)} == missing


PROPERTIES = (
    what_is_told_is_what_happened,
    keys_do_not_touch_each_other,
    a_snapshot_makes_whole,
    the_venue_may_count_anew,
    nothing_that_is_sent_raises,
    holes_keep_what_is_missing,
)


test_property = properties(PROPERTIES, tries=TRIES)


# --- examples ---------------------------------------------------------------------


def test_a_range_without_a_first_number_is_of_one_message() -> None:
    tracker = tracker_of(Numbering(rule=Rule.RANGE))
    assert [tracker.feed("a", 5), tracker.feed("a", 6)] == [None, None]
    assert tracker.feed("a", 9, first=8) == Missing("a", 7, 7, None)


def test_one_lost_message_is_named() -> None:
    tracker = tracker_of(Numbering(rule=Rule.STEP))
    assert tracker.feed("a", 5) is None
    assert tracker.feed("a", 7) == Missing("a", 6, 6, 1)
    assert tracker.feed("a", 6) == Disorder("a", 6, 6, 1)
    assert tracker.feed("a", 6) == Duplicate("a", 6, 6)
    assert tracker.feed("a", 8) is None


def test_a_chain_does_not_say_how_many_are_missing() -> None:
    tracker = tracker_of(Numbering(rule=Rule.CHAIN))
    assert tracker.feed("a", 9, prev=5) is None
    assert tracker.feed("a", 30, prev=20) == Missing("a", 10, 20, None)


def test_a_chain_that_branches_off_below_is_broken() -> None:
    tracker = tracker_of(Numbering(rule=Rule.CHAIN))
    tracker.feed("a", 9, prev=5)
    assert tracker.feed("a", 12, prev=7) == Missing("a", None, None, None)
    assert tracker.feed("a", 15, prev=12) is None


def test_a_keepalive_that_repeats_its_number_follows() -> None:
    """OKX: prevSeqId == seqId while the book is quiet."""
    tracker = tracker_of(Numbering(rule=Rule.CHAIN))
    tracker.feed("a", 9, prev=-1)
    assert tracker.feed("a", 9, prev=9) is None
    assert tracker.feed("a", 11, prev=9) is None


def test_a_chain_may_go_on_at_a_lower_number() -> None:
    """OKX after maintenance: seqId < prevSeqId, and nothing is lost."""
    tracker = tracker_of(Numbering(rule=Rule.CHAIN))
    tracker.feed("a", 900, prev=-1)
    assert tracker.feed("a", 3, prev=900) == Reset("a", 900, 3, True)
    assert tracker.feed("a", 7, prev=3) is None
    assert tracker.feed("a", 2, prev=8) == Reset("a", 7, 2, False)


def test_a_chain_of_texts_follows_or_is_broken() -> None:
    tracker = tracker_of(Numbering(rule=Rule.CHAIN))
    assert tracker.feed("a", "x1", prev="x0") is None
    assert tracker.feed("a", "x2", prev="x1") is None
    assert tracker.feed("a", "x2", prev="x1") == Duplicate("a", None, None)
    assert tracker.feed("a", "x9", prev="x8") == Missing("a", None, None, None)
    assert tracker.feed("a", "y0", anew=True) is None
    assert tracker.feed("a", "y1", prev="y0") is None
    assert tracker.feed("a", "y2") == Unreadable("a", "prev", "NoneType")


def test_several_numbers_in_one_message_are_its_first_to_its_last() -> None:
    tracker = tracker_of(Numbering(rule=Rule.STEP))
    assert tracker.feed("a", 7, first=5) is None
    assert tracker.feed("a", 8, first=8) is None
    assert tracker.feed("a", 13, first=11) == Missing("a", 9, 10, 2)
    assert tracker.feed("a", 15, first=13) == Disorder("a", 13, 13, 0, True)
    assert tracker.feed("a", 15, first=17) == Unreadable("a", "first", "int")


def test_a_snapshot_below_the_last_number_is_a_reset_without_loss() -> None:
    tracker = tracker_of(Numbering(rule=Rule.MONOTONIC))
    tracker.feed("a", 500)
    assert tracker.feed("a", 1, anew=True) == Reset("a", 500, 1, True)
    assert tracker.feed("a", 2) is None
    assert tracker.feed("a", 1) == Disorder("a", 1, 1, 0)


def test_a_new_link_is_known_to_begin_at_its_first_number() -> None:
    """Coinbase Advanced: sequence_num is 0 on a new connection."""
    tracker = tracker_of(Numbering(rule=Rule.STEP, scope=Scope.CONNECTION, starts_at=0))
    assert tracker.feed("", 2) == Missing("", 0, 1, 2)
    tracker.begin()
    assert tracker.feed("", 0) is None
    assert tracker.feed("", 1) is None


def test_numbers_that_survive_a_link_count_what_an_outage_took() -> None:
    tracker = tracker_of(Numbering(rule=Rule.STEP, survives=True))
    tracker.feed("a", 10)
    tracker.begin()
    assert tracker.feed("a", 15) == Missing("a", 11, 14, 4)
    tracker.forget("a")
    assert tracker.feed("a", 99) is None


def test_a_range_may_overlap_where_the_venue_says_so() -> None:
    """KuCoin: apply when sequenceStart <= last + 1 and sequenceEnd > last."""
    strict = tracker_of(Numbering(rule=Rule.RANGE))
    lenient = tracker_of(Numbering(rule=Rule.RANGE, overlap=True))
    for tracker in (strict, lenient):
        tracker.feed("a", 10, first=5)
    assert lenient.feed("a", 14, first=8) is None
    assert strict.feed("a", 14, first=8) == Disorder("a", 8, 10, 0, True)
    assert lenient.feed("a", 20, first=15) is None
    assert lenient.feed("a", 30, first=22) == Missing("a", 21, 21, None)


def test_a_fetched_snapshot_closes_the_holes_below_it_only() -> None:
    tracker = tracker_of(Numbering(rule=Rule.RANGE))
    for first, last in ((1, 5), (8, 9), (12, 14)):
        tracker.feed("a", last, first=first)
    assert tracker.holes("a") == 4
    tracker.restore("a", 8)
    assert tracker.holes("a") == 2
    assert tracker.replay("a", 10, 10) == 1
    assert tracker.feed("a", 15, first=15) is None


@pytest.mark.parametrize("rule", [Rule.CHAIN, Rule.RANGE])
def test_what_overlaps_a_snapshot_carries_on_from_its_own_end(rule: Rule) -> None:
    tracker = tracker_of(Numbering(rule=rule, covers=True))
    tracker.feed("a", 10, anew=True)
    assert [feed(tracker, each, "a") for each in (Sent(7, 12), Sent(12, 15))] == [
        None,
        None,
    ]
    assert tracker.last("a") == 15
    tracker.feed("a", 20, anew=True)
    assert feed(tracker, Sent(15, 18), "a") is None
    assert tracker.last("a") == 20


def test_a_snapshot_covers_what_follows_it_only_where_the_venue_says_so() -> None:
    tracker = tracker_of(Numbering(rule=Rule.STEP))
    tracker.feed("a", 10, anew=True)
    assert tracker.feed("a", 10) is not None


def test_a_fetched_snapshot_of_the_last_number_may_be_overlapped_as_well() -> None:
    tracker = tracker_of(Numbering(rule=Rule.RANGE, covers=True))
    tracker.feed("a", 10, first=5)
    tracker.restore("a", 10)
    assert tracker.feed("a", 12, first=8) is None


def test_a_late_message_that_was_missing_ends_a_run_of_those_that_lie_below() -> None:
    tracker = tracker_of(Numbering(rule=Rule.STEP))
    for number in (1, 2, *range(4, 40)):
        tracker.feed("a", number)
    few = RESTART_AFTER - 1
    for number in range(10, 10 + few):
        assert isinstance(tracker.feed("a", number), Duplicate)
    assert tracker.feed("a", 3) == Disorder("a", 3, 3, 1)
    for number in range(10 + few, 10 + 2 * few):
        assert isinstance(tracker.feed("a", number), Duplicate)
    assert isinstance(tracker.feed("a", 10 + 2 * few), Reset)


def test_every_message_doubled_is_no_restart() -> None:
    tracker = tracker_of(Numbering(rule=Rule.STEP))
    told = [tracker.feed("a", n // 2) for n in range(100)]
    assert told[0::2] == [None] * 50
    assert told[1::2] == [Duplicate("a", n, n) for n in range(50)]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "MOST_KEYS", 100)
    tracker = tracker_of(Numbering(rule=Rule.STEP))
    for n in range(1000):
        tracker.feed(f"key {n}", 1)
    assert (len(tracker), tracker.evicted) == (100, 900)
    for n in range(1, 200):
        tracker.feed("key 999", 3 * n)
    assert tracker.holes("key 999") == 2 * MOST_HOLES
    assert tracker.feed("key 999", 2) == Disorder("key 999", 2, 2, 0)


def test_unnumbered_channels_are_never_accused() -> None:
    for rule in (Rule.NONE, Rule.SNAPSHOT_ONLY):
        tracker = tracker_of(Numbering(rule=rule))
        assert [tracker.feed("a", n) for n in (9, 1, "x", None)] == [None] * 4


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("overlap", {"rule": Rule.STEP, "overlap": True}),
        ("survives", {"rule": Rule.STEP, "survives": True, "starts_at": 0}),
    ],
)
def test_rules_that_cannot_be_are_refused(field: str, named: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        Numbering(**named)
    assert refused.value.field == f"Numbering.{field}"


# --- the properties can fail ------------------------------------------------------


def _never_late(self: Tracker, key: Any, run: Any, low: int, high: int) -> Anomaly:
    return Duplicate(key, low + 1, high)


def _pass_without_memory(
    self: Tracker, key: Any, run: Any, low: int, high: int, count: int | None
) -> Anomaly:
    missing, run.last = Missing(key, run.last + 1, low, count), high
    return missing


def _joins_anything(self: Tracker, run: Any, low: int, high: int) -> bool:
    run.last = max(run.last, high)
    return True


def _raises(self: Tracker, key: Any, field: str, value: object) -> Anomaly:
    raise TypeError(value)


PLANTED: tuple[Planted, ...] = (
    (what_is_told_is_what_happened, Tracker, "_late", _never_late),
    (what_is_told_is_what_happened, Tracker, "_pass", _pass_without_memory),
    (a_snapshot_makes_whole, Tracker, "_joined", _joins_anything),
    (the_venue_may_count_anew, Tracker, "_late", _never_late),
    (nothing_that_is_sent_raises, Tracker, "_unreadable", _raises),
)


test_a_planted_fault_is_found = planted(PLANTED, tries=TRIES)
