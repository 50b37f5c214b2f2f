"""Channels whose state is fetched: a made-up venue, every fault, and what must hold.

The venue numbers changes; its snapshot says up to which it goes. The reader builds on
what it is given alone, and must never stand on a hole that it was not told of.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from heartline.core.backoff import Backoff
from heartline.core.budget import Rate
from heartline.core.channel_events import (
    GapClosed,
    SnapshotFailed,
    Subscribe,
    Unsubscribe,
)
from heartline.core.events import GapFound
from heartline.core.feed import Feed, FeedOutput, FeedTerms, Numbered
from heartline.core.fetches import Fetch, Fetches, Hosts, Snapshots
from heartline.core.gaps import Ledger
from heartline.core.items import Gap, Message
from heartline.core.restore import Joins, Numbers, Place, Restored, place
from heartline.core.restoring import Release, Unrestored
from heartline.core.sequence import Numbering, Rule
from heartline.errors import UsageError

RATE = Rate(count=4, per=1.0)
POLICY = Snapshots(
    within=3.0, at_once=2, rates=(RATE,), keep=40, backoff=Backoff(base=0.2, cap=2.0)
)
HOST = "rest.example"
KINDS = [
    (Rule.RANGE, Joins.COVERS_NEXT),
    (Rule.CHAIN, Joins.COVERS),
    (Rule.STEP, Joins.NEXT),
]


@dataclass
class Book:
    """What the venue has: each change covers one number, or several."""

    name: str
    rule: Rule
    number: int = 100

    def change(self, dice: random.Random) -> Numbers:
        first = self.number + 1
        self.number += 1 if self.rule is Rule.STEP else dice.randint(1, 4)
        prev = first - 1 if self.rule is Rule.CHAIN else None
        return Numbers(self.name, self.number, prev, first)


@dataclass
class Reader:
    """Builds on what it is given: `at` is the number that its state stands at."""

    joins: Joins
    at: int | None = None
    joined: bool = False
    given: list[Numbers] = field(default_factory=list)

    def take(self, item: object, numbers: Numbers | None) -> None:
        if isinstance(item, Gap):
            self.at = None
        elif numbers is None:
            assert isinstance(item, Message)
            assert item.snapshot
            self.at, self.joined = int(item.data), False
        elif self.at is not None:
            assert isinstance(numbers.first, int)
            assert isinstance(numbers.last, int)
            if self.joined:
                assert numbers.first == self.at + 1, "a hole that nobody told of"
            else:
                assert numbers.first <= self.at + 1 <= numbers.last + 1, "no joint"
            self.at, self.joined = numbers.last, True
        if numbers is not None:
            self.given.append(numbers)


@dataclass
class World:
    """A feed, its venue and its reader; `names` are all restored from one host."""

    kind: tuple[Rule, Joins]
    dice: random.Random
    channels: int = 2
    now: float = 10.0

    def __post_init__(self) -> None:
        rule, joins = self.kind
        self.names = [f"c{n}" for n in range(self.channels)]
        self.books = {name: Book(name, rule) for name in self.names}
        self.readers = {name: Reader(joins) for name in self.names}
        terms = FeedTerms(
            numbered=(
                Numbered(
                    numbering=Numbering(
                        rule=rule, covers=joins in (Joins.COVERS, Joins.COVERS_NEXT)
                    )
                ),
            ),
            restored=lambda channel: Restored(host=HOST, joins=joins),
            snapshots=POLICY,
        )
        self.ledger = Ledger()
        self.feed = Feed(
            terms,
            ledger=self.ledger,
            now=self.now,
            hosts=Hosts(),
            draw=self.dice.random,
        )
        self.flying: list[tuple[float, Fetch, int | None]] = []
        self.called_at: list[float] = []
        self.numbers: dict[int, Numbers] = {}
        self.closed: list[GapClosed] = []
        self.failed: list[SnapshotFailed] = []
        self.came = dict.fromkeys(self.names, 0)
        self.is_up = False
        self.breaks = 0.3
        """How many calls fail, bring what is old, or are never answered."""
        self.feed.want(self.names, now=self.now)

    # --- what the feed wants ------------------------------------------------------

    def obey(self, outputs: Iterable[FeedOutput]) -> None:
        for each in outputs:
            match each:
                case Fetch():
                    self.called_at.append(self.now)
                    delay = self.dice.choice((0.01, 0.3, 2.0))
                    stale = self.dice.choice((0, 0, 3, 30))
                    at = self.books[each.channel].number - stale * (self.breaks > 0)
                    lost = self.dice.random() < self.breaks
                    self.flying.append((self.now + delay, each, None if lost else at))
                case Release():
                    for message in each.messages:
                        assert message.channel is not None
                        numbers = self.numbers.get(id(message))
                        self.readers[message.channel].take(message, numbers)
                case GapFound(gap=gap):
                    for name in self.names if gap.channel is None else [gap.channel]:
                        self.readers[name].take(gap, None)
                case GapClosed():
                    self.closed.append(each)
                case SnapshotFailed():
                    self.failed.append(each)
                case Subscribe():
                    asked = each.channels
                    number, now = each.request, self.now
                    out = self.feed.acked(number, asked, of="subscribe", now=now)
                    self.obey(out)
                case Unsubscribe():
                    raise AssertionError(each)
                case _:
                    pass

    # --- what happens -------------------------------------------------------------

    def connect(self) -> None:
        self.is_up = True
        self.obey(self.feed.begin(self.feed.epoch + 1, now=self.now))

    def open(self) -> None:
        gap = self.ledger.regain_link(now=self.now)
        if gap is not None:
            self.obey([GapFound(at=self.now, epoch=self.feed.epoch, gap=gap)])
        self.obey(self.feed.open(now=self.now))

    def lose(self) -> None:
        self.is_up = False
        self.ledger.lose_link(self.feed.epoch, heard_at=self.now)
        self.obey(self.feed.lose(now=self.now))
        for reader in self.readers.values():
            reader.at = None

    def change(self, name: str, *, arrives: bool = True) -> None:
        numbers = self.books[name].change(self.dice)
        if not (self.is_up and arrives):
            return
        self.came[name] += 1
        now, n = self.now, numbers
        message = Message(f"{n.last}", now, name, self.feed.epoch)
        self.numbers[id(message)] = numbers
        self._alive.append(message)
        line = self.feed.line(name, 0, now=now)
        passes = line.restore is None
        if passes:
            out = self.feed.take(line, n.track, n.last, n.prev, n.first, n.anew, now)
            self.obey(out or ())
        if line.restore is None:
            self.obey([Release([message])])
        else:
            self.obey(self.feed.keep(line, message, n, counted=passes, now=now))

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            due = min([self.feed.deadline, *(at for at, _, _ in self.flying)])
            self.now = min(max(due, self.now), until)
            self._answer()
            if self.now >= self.feed.deadline:
                self.obey(self.feed.tick(proven_at=self.now, now=self.now))
            if self.now >= until:
                return

    def _answer(self) -> None:
        due = [call for call in self.flying if call[0] <= self.now]
        for call in due:
            self.flying.remove(call)
            _, fetch, number = call
            restoring = self.feed.restoring
            if number is not None:
                body = Message(
                    f"{number}", self.now, fetch.channel, fetch.epoch, snapshot=True
                )
                self.obey(restoring.fetched(fetch, number, body, now=self.now))
            elif self.dice.random() < 0.7:
                status = self.dice.choice((None, 429, 503))
                after = self.dice.choice((None, 1.0))
                self.obey(
                    restoring.failed(
                        fetch, "x", status=status, retry_after=after, now=self.now
                    )
                )

    _alive: list[Message] = field(default_factory=list)


def history(world: World, steps: int) -> Iterator[None]:
    """Anything that may happen, in any order."""
    dice = world.dice
    for _ in range(steps):
        if not world.is_up:
            world.connect()
            world.pass_time(dice.choice((0.0, 0.5, 4.0)))
            world.open()
        act = dice.random()
        name = dice.choice(world.names)
        if act < 0.03:
            world.lose()
            world.pass_time(dice.choice((0.0, 5.0)))
        elif act < 0.1:
            world.change(name, arrives=False)
        elif act < 0.3:
            world.pass_time(dice.choice((0.01, 0.5, 3.0)))
        else:
            world.change(name)
        yield


@pytest.mark.parametrize("kind", KINDS, ids=[rule.value for rule, _ in KINDS])
@pytest.mark.parametrize("seed", range(12))
def test_no_reader_ever_stands_on_a_hole_and_all_are_whole_in_the_end(
    kind: tuple[Rule, Joins], seed: int
) -> None:
    world = World(kind, random.Random(seed))
    for _ in history(world, 300):
        for name in world.names:
            account = world.ledger.account(name)
            assert account.received <= world.came[name]
    world.breaks = 0.0
    if not world.is_up:
        world.connect()
        world.open()
    world.pass_time(30.0)
    for name in world.names:
        for _ in range(3):
            world.change(name)
        world.pass_time(30.0)
    for name in world.names:
        account, reader = world.ledger.account(name), world.readers[name]
        assert reader.at == world.books[name].number
        assert not world.feed.restoring.is_pending(name)
        assert name not in world.feed.troubles
        assert world.ledger.open_gaps(name) == []
        assert account.received == world.came[name]
    assert {event.gap.channel for event in world.closed} == set(world.names)


@pytest.mark.parametrize("seed", range(6))
def test_no_host_is_called_more_often_than_its_rate_whatever_happens(
    seed: int,
) -> None:
    world = World(KINDS[0], random.Random(seed), channels=12)
    for _ in history(world, 400):
        pass
    called = world.called_at
    assert len(called) > 12
    for at, first in enumerate(called):
        within = sum(first <= later <= first + RATE.per for later in called[at:])
        assert within <= RATE.count


# --- examples ---------------------------------------------------------------------


def joined(world: World, name: str) -> None:
    """Let a channel come to be whole."""
    world.breaks = 0.0
    if not world.is_up:
        world.connect()
        world.open()
    world.change(name)
    world.pass_time(5.0)
    world.change(name)
    assert world.readers[name].joined


def test_a_link_is_settled_only_when_every_state_is_known() -> None:
    world = World(KINDS[0], random.Random(1))
    world.breaks = 0.0
    world.connect()
    assert world.feed.subscriptions.settled
    assert not world.feed.settled
    world.pass_time(5.0)
    assert world.feed.settled
    assert [r.at for r in world.readers.values()] == [None, None], "not before OPEN"
    world.open()
    assert [r.at for r in world.readers.values()] == [100, 100]


def test_a_dead_host_is_told_and_the_channel_is_in_trouble_until_it_answers() -> None:
    world = World(KINDS[0], random.Random(2), channels=1)
    world.breaks = 1.0
    world.connect()
    world.change("c0")
    world.pass_time(5.0)
    world.open()
    trouble = world.feed.troubles["c0"]
    assert isinstance(trouble, Unrestored)
    assert world.failed
    assert not world.feed.is_fresh("c0", max_age=60.0, now=world.now)
    world.pass_time(120.0)
    assert len(world.failed) < 120, "gently"
    world.breaks = 0.0
    world.pass_time(30.0)
    assert world.feed.troubles == {}
    assert world.feed.is_fresh("c0", max_age=300.0, now=world.now)


def test_what_the_buffer_cannot_hold_is_told_and_fetched_anew() -> None:
    world = World(KINDS[0], random.Random(3), channels=1)
    joined(world, "c0")
    world.breaks = 1.0
    world.change("c0", arrives=False)
    for _ in range(POLICY.keep + 5):
        world.change("c0")
    gaps = world.ledger.open_gaps("c0")
    assert [gap.reason for gap in gaps] == ["sequence", "overflow"]
    assert gaps[1].missing == POLICY.keep + 1
    world.breaks = 0.0
    world.pass_time(60.0)
    assert world.ledger.open_gaps("c0") == []
    assert world.readers["c0"].at == world.books["c0"].number


def test_what_waited_when_the_link_died_lies_in_a_gap_of_its_channel() -> None:
    world = World(KINDS[0], random.Random(4), channels=2)
    joined(world, "c0")
    world.breaks = 1.0
    world.change("c0", arrives=False)
    world.change("c0")
    world.change("c0")
    world.lose()
    gaps = world.ledger.open_gaps("c0")
    assert [(gap.reason, gap.missing) for gap in gaps][-1] == ("outage", 2)


def test_a_channel_is_not_live_before_its_state_is_known() -> None:
    world = World(KINDS[0], random.Random(5), channels=1)
    world.breaks = 1.0
    world.connect()
    world.open()
    world.change("c0")
    assert world.feed.standing("c0") is not None
    assert world.feed.standing("c0") != "LIVE"
    world.breaks = 0.0
    world.pass_time(20.0)
    assert world.feed.standing("c0") == "LIVE"


def test_a_host_that_asks_for_patience_is_left_alone_by_all_channels() -> None:
    fetches = Fetches(POLICY, hosts=Hosts(), draw=lambda: 0.0)
    fetches.want("a", HOST, now=0.0)
    fetches.want("b", "other.example", now=0.0)
    (a, b), _ = fetches.due(now=0.0)
    assert fetches.answered(a)
    assert fetches.answered(b)
    fetches.again("a", status=429, retry_after=50.0, now=0.0)
    fetches.want("c", HOST, now=1.0)
    fetches.want("b", "other.example", now=1.0)
    calls, _ = fetches.due(now=1.0)
    assert [call.channel for call in calls] == ["b"]
    assert fetches.deadline <= 50.0
    assert fetches.due(now=49.0)[0] == []
    assert {call.channel for call in fetches.due(now=50.0)[0]} == {"a", "c"}


def test_an_answer_to_a_link_that_is_gone_changes_nothing() -> None:
    world = World(KINDS[0], random.Random(6), channels=1)
    world.breaks = 0.0
    world.connect()
    _, fetch, number = world.flying.pop()
    assert number is not None
    world.open()
    world.lose()
    world.connect()
    old = Message("1", world.now, "c0", 1, snapshot=True)
    assert world.feed.restoring.fetched(fetch, number, old, now=world.now) == []
    assert world.feed.restoring.failed(fetch, "late", now=world.now) == []


@pytest.mark.parametrize(
    ("joins", "numbers", "expected"),
    [
        (Joins.COVERS_NEXT, (5, 10, None), Place.COVERED),
        (Joins.COVERS_NEXT, (8, 11, None), Place.JOINS),
        (Joins.COVERS_NEXT, (11, 12, None), Place.JOINS),
        (Joins.COVERS_NEXT, (12, 12, None), Place.BEYOND),
        (Joins.COVERS, (8, 9, 7), Place.COVERED),
        (Joins.COVERS, (8, 10, 7), Place.JOINS),
        (Joins.COVERS, (12, 13, 10), Place.JOINS),
        (Joins.COVERS, (12, 13, 11), Place.BEYOND),
        (Joins.NEXT, (10, 10, None), Place.COVERED),
        (Joins.NEXT, (11, 11, None), Place.JOINS),
        (Joins.NEXT, (12, 12, None), Place.BEYOND),
        (Joins.CHAIN, (12, 14, 10), Place.JOINS),
        (Joins.CHAIN, (12, 14, 11), Place.BEYOND),
        (Joins.NEXT, (None, "x", None), Place.UNKNOWN),
    ],
)
def test_a_message_joins_by_its_venues_own_rule(
    joins: Joins, numbers: tuple[object, object, object], expected: Place
) -> None:
    first, last, prev = numbers
    terms = Restored(host=HOST, joins=joins)
    assert place(Numbers("t", last, prev, first), 10, terms) is expected


@pytest.mark.parametrize(
    ("bad", "field"),
    [({"within": 0.0}, "within"), ({"at_once": 0}, "at_once"), ({"keep": -1}, "keep"),
     ({"rest": "ftp://x"}, "rest")],
)  # fmt: skip
def test_policies_that_cannot_be_are_refused(
    bad: dict[str, float | str], field: str
) -> None:
    with pytest.raises(UsageError, match=f"Snapshots.{field}"):
        Snapshots(**bad)  # type: ignore[arg-type]
