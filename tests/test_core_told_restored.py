"""A channel whose state is fetched, call by call: what waits, passes and falls."""

from __future__ import annotations

import random
from math import inf
from typing import Any

import pytest

from heartline.core.backoff import Backoff
from heartline.core.budget import Rate
from heartline.core.channel_events import (
    ChannelLive,
    GapClosed,
    SnapshotFailed,
    Subscribe,
)
from heartline.core.contracts import Freshness
from heartline.core.events import ChannelRevived, ChannelStalled, GapFound
from heartline.core.feed import Feed, FeedTerms, Numbered
from heartline.core.fetches import Fetch, Fetches, Hosts, Snapshots
from heartline.core.gaps import Ledger
from heartline.core.items import Cause, Message, Verdict
from heartline.core.late import LateChannels
from heartline.core.latency import MaxAge
from heartline.core.offset import Age
from heartline.core.overlap import Overlap
from heartline.core.restore import Joins, Numbers, Place, Restored, place
from heartline.core.restoring import Release, Unrestored
from heartline.core.sequence import Numbering, Rule
from heartline.core.snapshot import snapshot
from heartline.core.subscribing import Standing, Subscribing
from heartline.core.tracker import RESTART_AFTER
from heartline.core.watched import Change
from test_core_told import Stream

POLICY = Snapshots(
    within=3.0, keep=6, keep_bytes=1000, backoff=Backoff(base=0.4, cap=0.4)
)
AWAITED = "its snapshot is awaited"


class Book:
    """A feed with one book `a`, numbered in steps; its venue is the test's."""

    def __init__(self, *, acks: bool = True, **terms: Any) -> None:
        self.now = 50.0
        self.acks = acks
        self.ledger = Ledger()
        named: dict[str, Any] = {
            "numbered": (Numbered(numbering=Numbering(rule=Rule.STEP)),),
            "restored": lambda channel: Restored(host="h", joins=Joins.NEXT),
            "snapshots": POLICY,
            **terms,
        }
        self.feed = Feed(
            FeedTerms(**named),
            ledger=self.ledger,
            now=self.now,
            hosts=Hosts(),
            draw=lambda: 0.5,
        )
        self.told: list[Any] = []
        self.passed: list[str] = []
        self.fetch: Fetch | None = None
        self.request = 0
        self.hear(self.feed.want(["a"], now=self.now))

    def hear(self, outputs: Any) -> list[Any]:
        heard = [*(outputs or ())]
        for each in heard:
            self.told.append(each)
            if isinstance(each, Release):
                self.passed += [str(message.data) for message in each.messages]
            elif isinstance(each, Fetch):
                self.fetch = each
            elif isinstance(each, Subscribe):
                self.request = each.request
        if self.acks and any(isinstance(each, Subscribe) for each in heard):
            self.ack()
        return heard

    def begin(self, *, opens: bool = True) -> None:
        self.fetch = None
        self.hear(self.feed.begin(self.feed.epoch + 1, now=self.now))
        if opens:
            self.open()

    def open(self) -> list[Any]:
        return self.hear(self.feed.open(now=self.now))

    def ack(self) -> list[Any]:
        number, now = self.request, self.now
        return self.hear(self.feed.acked(number, ["a"], of="subscribe", now=now))

    def come(self, number: object, *, anew: bool = False, size: int = 1) -> list[Any]:
        """A message comes as the client takes it, a tenth of a second later."""
        self.now += 0.1
        data = f"{number}".ljust(size)
        message = Message(data, self.now, "a", self.feed.epoch)
        line = self.feed.line("a", 0, now=self.now)
        first = number if isinstance(number, int) else None
        heard: list[Any] = []
        if passes := line.restore is None:
            taken = self.feed.take(line, "a", number, None, first, anew, self.now)
            heard += self.hear(taken)
        if line.restore is None:
            return heard + self.hear([Release([message])])
        numbers = Numbers("a", number, None, first, anew)
        kept = self.feed.keep(line, message, numbers, counted=passes, now=self.now)
        return heard + self.hear(kept)

    def snapshot(self, number: int) -> list[Any]:
        assert self.fetch is not None
        self.now += 0.1
        fetch, self.fetch = self.fetch, None
        body = Message(f"s{number}", self.now, "a", fetch.epoch, snapshot=True)
        restoring = self.feed.restoring
        return self.hear(restoring.fetched(fetch, number, body, now=self.now))

    def fail(self, reason: str = "500") -> list[Any]:
        assert self.fetch is not None
        fetch, self.fetch = self.fetch, None
        return self.hear(self.feed.restoring.failed(fetch, reason, now=self.now))

    def tick(self) -> list[Any]:
        """Jump to the deadline."""
        assert self.feed.deadline < inf
        self.now = max(self.now, self.feed.deadline)
        return self.hear(self.feed.tick(proven_at=self.now, now=self.now))

    def lives(self) -> int:
        return len([each for each in self.told if isinstance(each, ChannelLive)])

    def gaps(self) -> list[Any]:
        return [each.gap for each in self.told if isinstance(each, GapFound)]

    def totals(self) -> tuple[int, int]:
        account = self.ledger.account("a")
        return account.received, account.duplicated


def whole() -> Book:
    """A book at number 4, whose messages pass."""
    book = Book()
    book.begin()
    book.come(3)
    book.snapshot(3)
    book.come(4)
    assert book.passed == ["s3", "4"]
    assert book.feed.standing("a") is Standing.LIVE
    return book


# --- how it comes to be whole -----------------------------------------------------


def test_a_snapshot_passes_first_then_what_follows_it_and_what_it_covers_falls() -> (
    None
):
    book = Book()
    book.begin()
    assert book.feed.troubles == {"a": Unrestored(book.now, AWAITED)}
    for number in (3, 4, 5, 6):
        assert book.come(number) == []
    assert (book.lives(), book.totals()) == (0, (0, 0))
    assert not book.feed.settled
    out = book.snapshot(4)
    assert book.passed == ["s4", "5", "6"]
    assert [type(each) for each in out] == [Release, ChannelLive, Release, Release]
    assert book.totals() == (4, 2)
    assert book.feed.troubles == {}
    assert book.feed.settled
    assert book.feed.restoring.holder("a") is None
    assert book.come(7) == [Release([Message("7", book.now, "a", 1)])]
    assert (book.lives(), book.totals(), book.gaps()) == (1, (5, 2), [])
    assert book.feed.restoring.deadline == inf


@pytest.mark.parametrize("when", ["nothing came", "one waits", "one comes later"])
def test_before_a_link_is_open_a_snapshot_waits_for_a_message_or_for_that(
    when: str,
) -> None:
    book = Book()
    book.begin(opens=False)
    if when == "one waits":
        book.come(4)
    book.snapshot(3)
    assert book.passed == (["s3", "4"] if when == "one waits" else [])
    if when == "one comes later":
        out = book.come(4)
        assert [type(each) for each in out] == [Release, ChannelLive, Release]
    if when == "nothing came":
        [release] = book.open()
        assert isinstance(release, Release)
        book.come(4)
    else:
        assert book.open() == []
    assert book.passed == ["s3", "4"]
    assert book.come(5) != []
    assert book.passed == ["s3", "4", "5"]
    assert (book.lives(), book.totals(), book.feed.troubles) == (1, (2, 0), {})


def test_after_a_snapshot_that_covers_all_the_next_message_has_to_join_it() -> None:
    book = Book()
    book.begin()
    for number in (3, 4):
        book.come(number)
    out = book.snapshot(5)
    assert [type(each) for each in out] == [Release, ChannelLive]
    assert book.totals() == (2, 2)
    assert book.come(5) == []
    assert book.totals() == (3, 3)
    assert book.feed.restoring.holder("a") is not None
    book.come(6)
    book.come(7)
    assert book.passed == ["s5", "6", "7"]
    assert (book.lives(), book.totals(), book.gaps()) == (1, (5, 3), [])
    assert book.feed.restoring.holder("a") is None


def test_a_message_that_does_not_join_shows_what_is_missing_and_is_kept() -> None:
    book = Book()
    book.begin()
    book.come(4)
    book.snapshot(5)
    out = book.come(8)
    [gap] = book.gaps()
    assert (gap.first, gap.last, gap.missing) == (6, 7, 2)
    assert [type(each) for each in out] == [GapFound, Fetch]
    assert book.passed == ["s5"]
    assert isinstance(book.feed.troubles.get("a"), Unrestored | None)
    out = book.snapshot(7)
    assert book.passed == ["s5", "s7", "8"]
    closed = [each.gap for each in out if isinstance(each, GapClosed)]
    assert closed == [gap]
    book.come(9)
    assert book.totals() == (3, 1)
    assert len(book.gaps()) == 1


@pytest.mark.parametrize("stage", ["awaited", "asked", "had", "joining"])
def test_a_snapshot_on_the_stream_makes_a_fetched_one_needless(stage: str) -> None:
    book = Book(acks=False)
    book.begin(opens=False)
    waits = 0
    if stage != "awaited":
        book.ack()
    if stage == "asked":
        book.come(2)
        book.come(3)
        waits = 2
    if stage in ("had", "joining"):
        book.snapshot(3)
    if stage == "joining":
        book.open()
    fetch, passed = book.fetch, list(book.passed)
    out = book.come(9, anew=True)
    assert book.passed == [*passed, "9"]
    assert book.totals() == (waits + 1, waits)
    assert len([each for each in out if isinstance(each, ChannelLive)]) == 1
    assert book.feed.restoring.holder("a") is None
    assert book.feed.restoring.settled
    assert book.feed.restoring.deadline == inf
    if stage == "awaited":
        assert [each for each in book.ack() if isinstance(each, Fetch)] == []
    if fetch is not None:
        late = Message("late", book.now, "a", 1, snapshot=True)
        assert book.feed.restoring.fetched(fetch, 20, late, now=book.now) == []
    book.open()
    book.come(10)
    assert book.passed == [*passed, "9", "10"]
    assert (book.gaps(), book.feed.troubles) == ([], {})


# --- when it is asked for ----------------------------------------------------------


@pytest.mark.parametrize("by", ["ack", "data"])
def test_the_call_is_made_once_the_channel_is_subscribed_and_not_before(
    by: str,
) -> None:
    """One that was made before might be older than the first message."""
    book = Book(acks=False)
    book.begin()
    assert book.fetch is None
    out = book.ack() if by == "ack" else book.come(4)
    assert out == [Fetch(1, "a", 1)]
    if by == "data":
        assert book.ack() == []
    assert book.come(5) == []
    assert book.snapshot(4)
    assert book.passed == (["s4", "5"])


def test_every_link_has_its_state_anew_and_nothing_passes_before() -> None:
    book = whole()
    book.acks = False
    book.now += 1.0
    for kept in (False, True):
        book.hear(book.feed.lose(now=book.now))
        book.begin(opens=False)
        assert not book.feed.restoring.settled
        assert book.feed.restoring.is_pending("a")
        assert book.fetch is None
        before = list(book.passed)
        if kept:
            assert [type(each) for each in book.come(50)] == [Fetch]
            assert book.passed == before
    book.open()
    assert book.feed.troubles["a"] == Unrestored(book.now, AWAITED)
    book.snapshot(50)
    book.come(51)
    assert book.passed[-2:] == ["s50", "51"]
    # Live on the first link and on the third, where it was whole; not on the second.
    assert book.lives() == 2
    assert {each.epoch for each in book.told if isinstance(each, ChannelLive)} == {1, 3}


def test_while_there_is_no_link_nobody_is_called_and_no_answer_counts() -> None:
    book = Book()
    book.begin()
    book.come(4)
    fetch = book.fetch
    assert fetch is not None
    book.now += 1.0
    [found] = book.hear(book.feed.lose(now=book.now))
    gap = found.gap
    assert (gap.reason, gap.channel, gap.epoch, found.epoch) == ("outage", "a", 1, 1)
    assert (gap.first, gap.last, gap.missing) == (4, 4, 1)
    assert gap.until_at == found.at == book.now
    assert book.totals() == (1, 0)
    assert book.feed.deadline == inf
    late = Message("late", book.now, "a", 1, snapshot=True)
    assert book.feed.restoring.fetched(fetch, 4, late, now=book.now) == []
    assert book.feed.restoring.failed(fetch, "late", now=book.now) == []
    assert book.hear(book.feed.lose(now=book.now)) == []


def test_one_that_is_wanted_no_more_is_called_for_no_more() -> None:
    for asked in (True, False):
        book = Book(acks=asked)
        book.begin()
        if asked:
            book.come(4)
        fetch = book.fetch
        book.hear(book.feed.unwant(["a"], now=book.now))
        assert book.feed.restoring.settled
        assert book.feed.restoring.deadline == inf
        assert book.feed.restoring.holder("a") is None
        if fetch is not None:
            late = Message("late", book.now, "a", 1, snapshot=True)
            assert book.feed.restoring.fetched(fetch, 4, late, now=book.now) == []
        assert book.hear(book.feed.restoring.confirmed(now=book.now)) == []
        book.hear(book.feed.unwant(["a", "never wanted"], now=book.now))
        assert book.feed.troubles == {}


# --- what goes wrong --------------------------------------------------------------


def test_a_call_that_brings_nothing_is_told_and_made_again_until_it_does() -> None:
    book = Book()
    book.begin()
    since_at = book.now
    for attempts in (1, 2, 3):
        book.now += 0.5
        out = book.fail("HTTP 500")
        expected = SnapshotFailed(
            at=book.now, epoch=1, channel="a", reason="HTTP 500", attempts=attempts
        )
        assert out == [expected]
        why = "it has no snapshot: HTTP 500"
        assert book.feed.troubles == {"a": Unrestored(since_at, why)}
        assert book.feed.deadline == pytest.approx(book.now + 0.2)
        [fetch] = book.tick()
        assert isinstance(fetch, Fetch)
    book.come(4)
    book.snapshot(3)
    assert book.feed.troubles == {}
    # Its failures are forgiven: the next is its first.
    book.come(9)
    [failed] = [e for e in book.fail("gone") if isinstance(e, SnapshotFailed)]
    assert failed.attempts == 1
    assert book.feed.troubles["a"] == Unrestored(book.now, "it has no snapshot: gone")


def test_a_channel_that_stalled_while_it_waited_is_in_no_trouble_once_it_speaks() -> (
    None
):
    declared = Freshness(every=2.0, redial=False)
    book = Book(contract=lambda channel: declared)
    book.begin()
    book.come(3)
    book.snapshot(3)
    book.come(4)
    book.come(9)
    while not [e for e in book.told if isinstance(e, ChannelStalled)]:
        book.tick()
    assert isinstance(book.feed.troubles["a"], Change)
    out = book.come(10)
    assert [e.channel for e in out if isinstance(e, ChannelRevived)] == ["a"]
    assert not isinstance(book.feed.troubles.get("a"), Change)


def test_failures_on_one_link_do_not_count_on_the_next() -> None:
    book = Book()
    for _ in range(2):
        book.begin()
        for attempts in (1, 2):
            while book.fetch is None:
                book.tick()
            [failed] = [e for e in book.fail() if isinstance(e, SnapshotFailed)]
            assert (failed.attempts, failed.epoch) == (attempts, book.feed.epoch)
        book.hear(book.feed.lose(now=book.now))


def test_a_call_that_is_never_answered_is_one_that_brought_nothing() -> None:
    book = Book()
    book.begin()
    assert book.now + 3.0 < book.feed.deadline < book.now + 6.0
    book.fetch = None
    [failed] = book.tick()
    assert isinstance(failed, SnapshotFailed)
    assert (failed.reason, failed.epoch, failed.attempts) == ("no answer came", 1, 1)
    [fetch] = book.tick()
    assert isinstance(fetch, Fetch)


def test_a_snapshot_that_is_older_than_the_messages_is_no_state() -> None:
    book = Book()
    book.begin()
    book.come(5)
    book.come(6)
    [failed] = book.snapshot(3)
    assert isinstance(failed, SnapshotFailed)
    assert failed.reason == "the snapshot is older than the messages"
    assert book.passed == []
    book.fetch = None
    book.tick()
    book.snapshot(5)
    assert book.passed == ["s5", "6"]
    assert book.totals() == (2, 1)


@pytest.mark.parametrize("by", ["count", "size"])
def test_what_cannot_be_kept_is_dropped_told_and_the_rest_waits_on(by: str) -> None:
    book = whole()
    last_at = book.now
    book.come(9)
    jump_at = book.now
    assert [(g.first, g.last, g.from_at) for g in book.gaps()] == [(5, 8, last_at)]
    size = 1 if by == "count" else 250
    told: list[Any] = []
    numbers = range(10, 16) if by == "count" else range(10, 14)
    for number in numbers:
        assert told == []
        told = book.come(number, size=size)
    [found] = told
    gap = found.gap
    assert (gap.reason, gap.channel, gap.epoch) == ("overflow", "a", 1)
    assert (gap.first, gap.last, gap.missing) == (9, numbers[-1], len(numbers) + 1)
    assert (gap.from_at, gap.until_at) == (jump_at, book.now)
    assert (found.at, found.epoch) == (book.now, 1)
    assert book.ledger.account("a").received == 3 + len(numbers)
    for number in range(numbers[-1] + 1, numbers[-1] + 3):
        assert book.come(number) == []
    out = book.snapshot(numbers[-1])
    assert book.passed[2:] == [f"s{numbers[-1]}"] + [
        f"{n}" for n in range(numbers[-1] + 1, numbers[-1] + 3)
    ]
    closed = [each.gap.reason for each in out if isinstance(each, GapClosed)]
    assert sorted(closed) == ["overflow", "sequence"]
    assert book.ledger.open_gaps("a") == []


def test_what_has_no_numbers_to_speak_of_is_told_by_its_interval() -> None:
    book = Book()
    book.begin()
    for nth in range(POLICY.keep + 1):
        book.come(f"hash {nth}")
    [gap] = book.gaps()
    assert (gap.first, gap.last, gap.missing) == (None, None, POLICY.keep + 1)
    mixed = Book()
    mixed.begin()
    for nth in range(POLICY.keep + 1):
        mixed.come(nth + 1 if nth else "hash")
    assert [(g.first, g.last) for g in mixed.gaps()] == [(None, None)]
    ends = Book()
    ends.begin()
    for nth in range(POLICY.keep + 1):
        ends.come("hash" if nth == POLICY.keep else nth)
    assert [(g.first, g.last) for g in ends.gaps()] == [(None, None)]


def test_a_jump_while_all_is_well_makes_the_state_be_had_anew() -> None:
    book = whole()
    out = book.come(7)
    assert [type(each) for each in out] == [GapFound, Fetch]
    assert book.passed == ["s3", "4"]
    assert book.feed.standing("a") is Standing.CONFIRMED
    assert book.feed.restoring.is_pending("a")
    assert book.come(8) == []
    # A second jump in what waits: the state after the first does not reach over it.
    book.come(11)
    out = book.snapshot(7)
    assert book.passed == ["s3", "4", "s7", "8"]
    assert [type(o) for o in out if isinstance(o, GapFound | Fetch)] == [
        GapFound,
        Fetch,
    ]
    book.snapshot(11)
    book.come(12)
    assert book.passed[4:] == ["s11", "12"]
    received, duplicated = book.totals()
    assert (received, duplicated) == (6, 3)
    assert book.ledger.open_gaps("a") == []
    assert book.lives() == 1


# --- and all of it at random --------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_the_books_balance_whatever_comes_and_nothing_passes_out_of_order(
    seed: int,
) -> None:
    dice = random.Random(seed)
    book = Book(acks=False)
    book.begin(opens=dice.random() < 0.5)
    number = came = links = 0
    opened = False
    for _ in range(120):
        match dice.randrange(9):
            case 0:
                number += dice.choice((1, 3))
            case 1:
                book.ack()
            case 2 if not opened:
                book.open()
                opened = True
            case 3 | 4 if book.fetch is not None:
                book.snapshot(max(0, number - dice.choice((0, 0, 1, 4))))
            case 5 if book.fetch is not None and dice.random() < 0.3:
                book.fail()
            case 6 if book.feed.deadline < book.now + 1.0 and book.fetch is None:
                book.tick()
            case 7 if dice.random() < 0.1:
                book.hear(book.feed.lose(now=book.now))
                book.begin(opens=False)
                opened, links = False, links + 1
            case _:
                number += 1
                came += 1
                book.come(number, anew=dice.random() < 0.03)
        holder = book.feed.restoring.holder("a")
        waiting = [] if holder is None else holder.kept
        uncounted = sum(not each.counted for each in waiting)
        received, duplicated = book.totals()
        assert received == came - uncounted
        assert book.ledger.account("a").unplaced == 0
        messages = [each for each in book.passed if not each.startswith("s")]
        voided = sum(
            each.gap.missing
            for each in book.told
            if isinstance(each, GapFound) and each.gap.reason != "sequence"
        )
        assert len(messages) + duplicated + voided + len(waiting) == came
        # A state that is had goes on without a hole, until a gap is told.
        numbers = [int(each) for each in messages]
        assert numbers == sorted(numbers)
    assert book.lives() <= links + 1


def test_where_a_message_lies_against_a_snapshot_by_each_rule() -> None:
    def lies(joins: Joins, last: int, *, prev: int | None, first: int) -> Place:
        terms = Restored(host="h", joins=joins)
        return place(Numbers("a", last, prev, first), 10, terms)

    for last in range(5, 16):
        for first in range(5, last + 1):
            prev = first - 1
            found = {j: lies(j, last, prev=prev, first=first) for j in Joins}
            beyond = Place.JOINS if first <= 11 else Place.BEYOND
            next_one = Place.COVERED if last <= 10 else beyond
            assert found[Joins.COVERS_NEXT] == next_one
            assert found[Joins.NEXT] == next_one
            chained = Place.JOINS if prev == 10 else Place.BEYOND
            assert found[Joins.CHAIN] == (Place.COVERED if last <= 10 else chained)
            covers = Place.JOINS if first <= 10 or prev == 10 else Place.BEYOND
            assert found[Joins.COVERS] == (Place.COVERED if last < 10 else covers)


def test_what_a_second_link_brings_of_such_a_channel_waits_with_the_rest() -> None:
    book = Book()
    book.begin()
    book.come(4)
    overlap: Overlap[Any] = Overlap(book.feed, epoch=2, now=book.now)
    for number, counted in ((5, False), (6, True)):
        line = overlap.line("a", 0, now=book.now)
        assert line.restore is not None
        message = Message(f"{number}", book.now, "a", 2)
        numbers = Numbers("a", number, None, number)
        named: dict[str, Any] = {"counted": True} if counted else {}
        assert overlap.keep(line, message, numbers, now=book.now, **named) == []
    holder = book.feed.restoring.holder("a")
    assert holder is not None
    assert [each.counted for each in holder.kept] == [False, False, True]
    assert not overlap.complete
    book.snapshot(4)
    assert book.passed == ["s4", "5", "6"]
    assert book.totals() == (2, 1)
    assert book.feed.restoring.settled


def test_a_status_names_the_channel_whose_state_is_not_known_and_why() -> None:
    stream = Stream()
    stream.connect()
    stream.pong()
    book = Book()
    book.begin()
    since_at = book.now
    for reason in (None, "HTTP 500"):
        if reason is not None:
            book.now += 1.0
            book.fail(reason)
        status = snapshot(stream.session, now=stream.now, feed=book.feed)
        why = AWAITED if reason is None else f"it has no snapshot: {reason}"
        assert (status.live, status.cause) == (False, Cause.CHANNEL_STALLED)
        assert status.evidence == f"a is not restored: {why}"
        assert status.since_at == since_at
    late = LateChannels(MaxAge(limit=1.0))
    late.feed("a", Age(3.0, 0.0), now=stream.now, epoch=1)
    status = snapshot(stream.session, now=stream.now, late=late)
    assert (status.live, status.verdict) == (False, Verdict.SUSPECT)
    assert (status.cause, status.evidence) == (None, late.evidence)
    assert status.since_at == stream.now


def test_as_many_bytes_are_kept_as_the_policy_says_and_not_one_more() -> None:
    book = Book()
    book.begin()
    for number in range(4):
        assert book.come(number, size=250) == []
    [found] = book.come(4)
    assert (found.gap.reason, found.gap.missing) == ("overflow", 5)
    for number in range(5, 9):
        assert book.come(number, size=250) == []


def test_a_host_is_called_5_times_a_second_and_20_times_a_minute_by_default() -> None:
    fetches = Fetches(Snapshots(), hosts=Hosts(), draw=lambda: 0.5)
    fetches.begin(1)
    for nth in range(60):
        fetches.want(f"{nth}", "h", now=100.0)
    called: list[float] = []
    now = 100.0
    while len(called) < 45:
        calls, lost = fetches.due(now=now)
        assert lost == []
        called += [now] * len(calls)
        for call in calls:
            assert fetches.answered(call)
        now = max(now, fetches.deadline)
    for first, sixth in zip(called, called[5:], strict=False):
        assert sixth - first >= 1.0 - 1e-6
    for first, over in zip(called, called[20:], strict=False):
        assert over - first >= 60.0 - 1e-6
    # One call of each rate is left over, and each window is a twentieth longer.
    ends = (100.9, 101.9, 159.0)
    assert [sum(at < end for at in called) for end in ends] == [4, 8, 19]


def test_calls_made_once_a_link_has_taken_over_are_of_that_link() -> None:
    fetches = Fetches(Snapshots(), hosts=Hosts(), draw=lambda: 0.5)
    fetches.begin(1)
    fetches.want("a", "h", now=1.0)
    [old] = fetches.due(now=1.0)[0]
    fetches.adopt(2)
    fetches.want("b", "h", now=1.0)
    [new] = fetches.due(now=1.0)[0]
    assert (old.epoch, new.epoch) == (1, 2)


def test_calls_of_a_link_that_is_gone_take_no_place_of_the_next() -> None:
    fetches = Fetches(Snapshots(at_once=2), hosts=Hosts(), draw=lambda: 0.5)
    fetches.begin(1)
    for name in "abc":
        fetches.want(name, "h", now=10.0)
    calls, lost = fetches.due(now=10.0)
    assert ([call.channel for call in calls], lost) == (["a", "b"], [])
    # Ten seconds, and one more in which the caller finds out by itself.
    assert fetches.deadline == 21.0
    fetches.begin(2)
    assert fetches.deadline == inf
    assert not any(fetches.answered(call) for call in calls)
    for name in "cd":
        fetches.want(name, "h", now=15.0)
    assert fetches.deadline <= 15.0
    [*calls], lost = fetches.due(now=15.0)
    assert [(call.epoch, call.channel) for call in calls] == [(2, "c"), (2, "d")]
    assert Snapshots(within=0.5).within == 0.5


def test_a_channel_that_is_wanted_later_has_its_state_fetched_as_well() -> None:
    book = whole()
    [asked] = book.feed.want(["b"], now=book.now)
    out = book.feed.acked(asked.request, ["b"], of="subscribe", now=book.now)
    assert [each.channel for each in out if isinstance(each, Fetch)] == ["b"]


def test_after_a_jump_it_is_the_next_snapshot_that_is_awaited() -> None:
    book = Book()
    book.begin()
    book.fail()
    book.tick()
    book.come(3)
    book.snapshot(3)
    book.come(4)
    assert book.passed == ["s3", "4"]
    book.come(9)
    holder = book.feed.restoring.holder("a")
    assert holder is not None
    assert holder.why == AWAITED


def test_a_state_that_came_before_its_channel_was_asked_for_is_not_fetched() -> None:
    book = Book(acks=False, subscribing=Subscribing(in_flight=1, channels=1))
    book.feed.unwant(["a"], now=book.now)
    book.hear(book.feed.want(["b", "a"], now=book.now))
    book.begin()
    assert book.feed.standing("a") is Standing.WANTED
    book.come(7, anew=True)
    assert book.passed == ["7"]
    out = book.feed.acked(book.request, ["b"], of="subscribe", now=book.now)
    [asked] = [each for each in out if isinstance(each, Subscribe)]
    assert asked.channels == ("a",)
    out = book.feed.acked(asked.request, ["a"], of="subscribe", now=book.now)
    assert not any(isinstance(each, Fetch) for each in out)


def test_a_state_is_fetched_once_its_channel_was_asked_for_where_nothing_is_acked() -> (
    None
):
    """At once, or when the budget lets it be asked for."""
    book = Book(
        acks=False,
        subscribing=Subscribing(acks=False),
        rates=(Rate(count=3, per=60.0),),
        snapshots=Snapshots(at_once=9),
    )
    book.begin()
    assert book.fetch is not None
    out = book.hear(book.feed.want(["b"], now=book.now))
    assert [type(each) for each in out] == [Subscribe, Fetch]
    assert book.hear(book.feed.want(["c"], now=book.now)) == []
    while book.feed.standing("c") is Standing.WANTED:
        out = book.tick()
    assert [each.channel for each in out if isinstance(each, Fetch)] == ["c"]


def test_a_state_that_waits_for_its_channel_is_fetched_when_a_link_takes_over() -> None:
    book = Book(acks=False)
    book.begin()
    overlap: Overlap[Any] = Overlap(book.feed, epoch=2, now=book.now)
    [asked] = overlap.begin(2, now=book.now)
    assert isinstance(asked, Subscribe)
    overlap.acked(asked.request, ["a"], of="subscribe", now=book.now)
    assert book.fetch is None
    _, told = overlap.take_over(now=book.now)
    [call] = [each for each in told if isinstance(each, Fetch)]
    assert (call.epoch, call.channel) == (2, "a")


def test_a_message_that_waits_counts_once_unless_it_is_in_the_ledger_already() -> None:
    book = Book()
    book.begin()
    line = book.feed.line("a", 0, now=book.now)
    message = Message("5", book.now, "a", 1)
    assert book.feed.keep(line, message, Numbers("a", 5), now=book.now) is not None
    assert line.restore is not None
    assert [each.counted for each in line.restore.kept] == [False]
    assert book.feed.watch.messages("a") == 1


def test_a_venue_that_counts_anew_without_a_word_has_its_state_fetched_anew() -> None:
    book = whole()
    for number in range(5, RESTART_AFTER + 2):
        book.come(number)
    assert book.fetch is None
    for number in range(1, RESTART_AFTER + 1):
        assert book.fetch is None
        book.come(number)
    assert book.fetch is not None


def test_each_snapshot_on_the_stream_closes_the_gap_that_was_opened_since() -> None:
    book = Book(restored=lambda channel: None)
    book.begin()
    for number in (1, 5, 9):
        book.come(number, anew=number > 1)
        book.come(number + 2)
    closed = [each.gap.first for each in book.told if isinstance(each, GapClosed)]
    assert [gap.first for gap in book.gaps()] == [2, 6, 10]
    assert closed == [2, 6]
