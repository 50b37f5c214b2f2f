"""The ledger adds up at any time, and a gap is closed by proof or not at all."""

from __future__ import annotations

import random
from typing import Any

from heartline import Gap
from heartline.core import gaps
from heartline.core.gaps import MOST_OPEN, MOST_OUTAGES, Account, Closed, Ledger
from heartline.core.inbox import Buffer, Inbox
from heartline.core.items import Message
from heartline.core.rules import tracker_of
from heartline.core.sequence import (
    Disorder,
    Duplicate,
    Missing,
    Numbering,
    Reset,
    Rule,
    Unreadable,
)
from thrown import Planted, planted, properties

TRIES = 40
CHANNEL = "trades.BTC"


class Feed:
    """A venue that numbers its messages, a bad road, and all that keeps account."""

    def __init__(self, dice: random.Random, rule: Rule) -> None:
        self.dice = dice
        self.tracker = tracker_of(Numbering(rule=rule))
        self.ledger = Ledger()
        self.account = self.ledger.account(CHANNEL)
        limit = dice.randrange(1, 20)
        self.inbox = Buffer(Inbox(limit=limit))
        length = 1 if rule is Rule.STEP else dice.randrange(1, 50)
        at = dice.randrange(1 << 40)
        self.pieces = [(at + n * length, at + (n + 1) * length) for n in range(200)]
        self.came: set[int] = set()
        self.fetched: set[int] = set()
        self.told: list[Gap] = []
        self.covered: dict[Gap, int] = {}
        self.now = 0.0

    def receive(self, nth: int) -> None:
        """Message `nth` comes; the books are kept, and compared with the truth."""
        self.now += 0.01
        low, high = self.pieces[nth]
        anomaly = self.tracker.feed(CHANNEL, high, low, low + 1)
        self.account.received += 1
        self.inbox.put([Message("x", self.now, CHANNEL)], 1)
        if self.dice.random() < 0.3:
            self.inbox.take(self.dice.randrange(1, 30))
        if not self.came or nth > min(self.came):
            self.came.add(nth)
        if anomaly is not None:
            self.enter(
                self.ledger.note(
                    CHANNEL, anomaly, from_at=self.now - 0.01, now=self.now, epoch=1
                )
            )

    def replay(self, nth: int) -> None:
        low, high = self.pieces[nth]
        if nth not in self.came and min(self.came) < nth < max(self.came):
            self.fetched.add(nth)
        self.tracker.replay(CHANNEL, low + 1, high)
        self.enter(self.ledger.replayed(CHANNEL, CHANNEL, low + 1, high, now=self.now))

    def snapshot(self, nth: int) -> None:
        number = self.pieces[nth][1]
        if number > (self.tracker.last(CHANNEL) or 0):
            return
        self.tracker.restore(CHANNEL, number)
        entries = self.ledger.whole(CHANNEL, number, now=self.now)
        self.enter(entries)
        for gap in self.told:
            self.covered[gap] = max(number, self.covered.get(gap, -1))

    def enter(self, entries: list[gaps.Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Closed):
                assert entry.gap in self.told
            else:
                self.told.append(entry)

    @property
    def truly_sent(self) -> int:
        return max(self.came) - min(self.came) + 1

    def still_open(self, gap: Gap) -> bool:
        assert gap.first is not None
        assert gap.last is not None
        known = self.came | self.fetched
        first = max(gap.first, self.covered.get(gap, -1) + 1)
        return any(
            first <= high <= gap.last
            for nth, (_, high) in enumerate(self.pieces)
            if nth not in known
        )


def travel(dice: random.Random, feed: Feed) -> list[int]:
    """The order in which messages come: some never, some twice, some late."""
    order = [n for n in range(len(feed.pieces)) if dice.random() > 0.08]
    order = [n for m in order for n in [m] * dice.choice((1, 1, 1, 1, 2))]
    for _ in range(12):
        here = dice.randrange(len(order) - 4)
        there = here + dice.randrange(1, 4)
        order[here], order[there] = order[there], order[here]
    return order


def the_books_balance_at_any_time(dice: random.Random) -> None:
    """Sent, by the venue's own count, is what came, is missing, or was fetched."""
    feed = Feed(dice, Rule.STEP)
    for nth in travel(dice, feed):
        feed.receive(nth)
        if dice.random() < 0.05:
            feed.replay(max(0, nth - dice.randrange(10)))
        account, inbox = feed.account, feed.inbox
        assert account.sent == feed.truly_sent
        held = inbox.delivered + inbox.waiting + inbox.dropped
        assert account.received == held
        assert (
            account.sent + account.duplicated + account.unplaced
            == held + account.missing + account.recovered
        )
        assert account.missing == feed.truly_sent - len(feed.came | feed.fetched)
        assert account.gaps == len(feed.told) == feed.ledger.gaps
        assert feed.ledger.missing == account.missing


def a_gap_is_closed_by_proof_alone(dice: random.Random) -> None:
    """Open is what has numbers that never came, were not fetched, nor lie within a
    snapshot taken after the gap was told."""
    feed = Feed(dice, dice.choice((Rule.STEP, Rule.RANGE, Rule.CHAIN)))
    for nth in travel(dice, feed):
        feed.receive(nth)
        if dice.random() < 0.1:
            feed.replay(max(0, nth - dice.randrange(10)))
        if dice.random() < 0.03:
            feed.snapshot(max(0, nth - dice.randrange(10)))
        truly = [gap for gap in feed.told if feed.still_open(gap)]
        assert feed.ledger.open_gaps(CHANNEL) == truly


def a_sum_is_given_only_where_it_is_known(dice: random.Random) -> None:
    """A chain does not count: `sent` is None while one of its gaps is not filled."""
    feed = Feed(dice, Rule.CHAIN)
    for nth in travel(dice, feed):
        feed.receive(nth)
        complete = len(feed.came) == feed.truly_sent
        assert feed.account.sent == (feed.truly_sent if complete else None)
        assert (feed.account.unknown == 0) is complete


PROPERTIES = (
    the_books_balance_at_any_time,
    a_gap_is_closed_by_proof_alone,
    a_sum_is_given_only_where_it_is_known,
)


test_property = properties(PROPERTIES, tries=TRIES)


# --- examples ---------------------------------------------------------------------


def test_a_gap_names_channel_numbers_interval_and_count() -> None:
    ledger = Ledger()
    told = ledger.note("a", Missing("a", 6, 7, 2), from_at=1.0, now=1.5, epoch=3)
    assert told == [Gap("sequence", 1.0, 1.5, 3, "a", 6, 7, 2)]
    assert ledger.open_gaps("a") == told
    assert (ledger.gaps, ledger.missing) == (1, 2)
    late = Disorder("a", 6, 7, 2)
    closed = ledger.note("a", late, from_at=1.5, now=1.6, epoch=3)
    assert closed == [Closed(told[0], "late", 1.6)]
    assert (ledger.gaps, ledger.missing) == (1, 0)


def test_a_snapshot_without_a_number_closes_no_numbered_gap() -> None:
    ledger = Ledger()
    ledger.note("a", Missing("a", 6, 7, 2), from_at=1.0, now=1.5, epoch=1)
    assert ledger.whole("a", now=2.0) == []
    assert ledger.whole("a", 6, now=2.0) == []
    assert len(ledger.whole("a", 7, now=2.0)) == 1


def test_an_outage_is_open_for_each_channel_until_that_one_is_whole() -> None:
    ledger = Ledger()
    ledger.lose_link(1, heard_at=1.0)
    outage = ledger.regain_link(now=4.0)
    assert ledger.open_gaps("a") == ledger.open_gaps("b") == [outage]
    assert ledger.whole("a", 9, now=4.5) == [Closed(outage, "snapshot", 4.5)]
    assert ledger.open_gaps("a") == []
    assert ledger.open_gaps("b") == [outage]


def test_a_restart_without_proof_is_a_gap_of_unknown_size() -> None:
    ledger = Ledger()
    reset = Reset("a", 900, 8, False)
    told = ledger.note("a", reset, from_at=1.0, now=2.0, epoch=1)
    assert told == [Gap("sequence", 1.0, 2.0, 1, "a")]
    assert ledger.account("a").sent is None
    proven = Reset("a", 900, 8, True)
    assert ledger.note("a", proven, from_at=2.0, now=2.0, epoch=1) == []
    assert ledger.whole("a", 10, now=3.0) == [Closed(told[0], "snapshot", 3.0)]


def test_what_cannot_be_read_changes_no_total() -> None:
    ledger = Ledger()
    unread = Unreadable("a", "cur", "str")
    assert ledger.note("a", unread, from_at=0.0, now=1.0, epoch=1) == []
    assert ledger.account("a").sent == 0


def test_symbols_of_one_channel_have_their_own_numbers() -> None:
    ledger = Ledger()
    for symbol in ("BTC", "ETH"):
        ledger.note("a", Missing(symbol, 6, 7, 2), from_at=0.0, now=1.0, epoch=1)
    late = Disorder("BTC", 6, 7, 2)
    assert len(ledger.note("a", late, from_at=1.0, now=2.0, epoch=1)) == 1
    assert len(ledger.open_gaps("a")) == 1
    assert ledger.whole("a", 7, key="BTC", now=3.0) == []
    assert len(ledger.whole("a", 7, key="ETH", now=3.0)) == 1


def test_memory_is_bounded_and_forgets_no_loss() -> None:
    ledger = Ledger()
    for n in range(10 * MOST_OPEN):
        gap = Missing("a", 10 * n, 10 * n + 1, 2)
        ledger.note("a", gap, from_at=float(n), now=n + 0.5, epoch=1)
        ledger.lose_link(1, heard_at=float(n))
        ledger.regain_link(now=n + 0.5)
    opened = ledger.account("a").open
    assert len(opened) == MOST_OPEN
    assert sum(gap.missing or 0 for gap in opened) == 20 * MOST_OPEN == ledger.missing
    assert opened[0].from_at == 0.0
    assert len(ledger.outages_of("a")) == MOST_OUTAGES
    # A snapshot that came after them all closes the merged one as well.
    assert len(ledger.whole("a", 1 << 40, now=1e6)) == MOST_OPEN + MOST_OUTAGES
    assert ledger.open_gaps("a") == []


def test_an_account_that_is_closed_says_its_last_totals() -> None:
    ledger = Ledger()
    ledger.account("a").received += 3
    last = ledger.close_account("a")
    assert last is not None
    assert last.sent == 3
    assert ledger.accounts == []


# --- the properties can fail ------------------------------------------------------


def _counts_duplicates(self: Account, anomaly: Any, **named: Any) -> list[Any]:
    return [] if isinstance(anomaly, Duplicate) else _note(self, anomaly, **named)


def _forgets_late_ones(self: Account, anomaly: Any, **named: Any) -> list[Any]:
    return [] if isinstance(anomaly, Disorder) else _note(self, anomaly, **named)


def _believes_any_snapshot(self: Any, number: int | None, *, now: float) -> bool:
    return True


_note = Account.note

PLANTED: tuple[Planted, ...] = (
    (the_books_balance_at_any_time, Account, "note", _counts_duplicates),
    (the_books_balance_at_any_time, Account, "note", _forgets_late_ones),
    (a_sum_is_given_only_where_it_is_known, Account, "note", _forgets_late_ones),
    (a_gap_is_closed_by_proof_alone, gaps._Open, "cover", _believes_any_snapshot),
)


test_a_planted_fault_is_found = planted(PLANTED, tries=TRIES)


def test_merged_gaps_are_closed_by_a_snapshot_of_their_own_numbering() -> None:
    account = Account("book")
    for n in range(3 * MOST_OPEN):
        at = float(n)
        odd = Missing("track", 10 * n, 10 * n + 3, 4)
        account.note(odd, from_at=at, now=at + 0.5, epoch=1)
    assert len(account.open) == MOST_OPEN
    account.whole(1 << 40, key="track", now=1e6)
    assert account.open == []
