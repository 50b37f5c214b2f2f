"""A feed that two links deliver for a while: each message once, and what is missing."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from heartline.core import overlap
from heartline.core.channel_events import (
    ChannelLive,
    MalformedFound,
    Prove,
    Subscribe,
    SubscriptionFailed,
)
from heartline.core.events import GapFound
from heartline.core.feed import Feed, FeedTerms, Numbered
from heartline.core.gaps import Ledger
from heartline.core.mending import UNREAD
from heartline.core.orderbook import Order, OrderBook, Recipe
from heartline.core.overlap import Overlap
from heartline.core.place import Place, is_common
from heartline.core.proving import Proof
from heartline.core.sequence import Numbering, Rule, Scope
from heartline.core.subscribing import Standing, Subscribing

BEGAN = 50.0
STEPPED, COUNTED = 0, 1
"""The rules of this venue: numbers of its own in each channel, and those of a link."""
VENUE = (
    Numbered(numbering=Numbering(rule=Rule.STEP)),
    Numbered(numbering=Numbering(rule=Rule.STEP, scope=Scope.CONNECTION)),
)


@dataclass
class Two:
    """A feed on link 1, and link 2 beside it; `a` has numbers and `b` has none."""

    numbered: tuple[Numbered | None, ...] = VENUE
    subscribing: Subscribing = field(default_factory=Subscribing)
    now: float = BEGAN

    def __post_init__(self) -> None:
        terms = FeedTerms(numbered=self.numbered, subscribing=self.subscribing)
        self.feed = Feed(terms, ledger=Ledger(), now=self.now)
        self.told: list[Any] = []
        self.passed: list[tuple[str, object]] = []
        self.feed.want(["a", "b"], now=self.now)
        [asked] = self.feed.begin(1, now=self.now)
        assert isinstance(asked, Subscribe)
        self.feed.acked(asked.request, None, of="subscribe", now=self.now)
        self.feed.open(now=self.now)

    def overlaps(self) -> None:
        self.overlap: Overlap[Any] = Overlap(self.feed, epoch=2, now=self.now)
        [self.asked] = self.overlap.begin(2, now=self.now)
        assert isinstance(self.asked, Subscribe)
        assert (self.asked.epoch, self.asked.channels) == (2, ("a", "b"))

    def acks(self, *channels: str) -> list[Any]:
        out = self.overlap.acked(
            self.asked.request, channels or None, of="subscribe", now=self.now
        )
        return [*out]

    def alone(self, channel: str, number: object) -> list[Any]:
        """A link that delivers alone brought a message."""
        rule = STEPPED if channel == "a" else None
        line = self.feed.line(channel, rule, now=self.now)
        out = self.feed.take(line, channel, number, None, None, False, self.now) or []
        self.told += out
        self.passed.append((channel, number))
        return [*out]

    def came(self, channel: str, number: int, *, is_new: bool, mark: int = 0) -> None:
        """One of both links brought a message."""
        at = self.overlap if is_new else self.feed
        rule = STEPPED if channel == "a" else None
        line = at.line(channel, rule, now=self.now)
        place = Place(
            is_new=is_new, rule=rule, track=channel, low=number - 1, high=number
        )
        item = (channel, number)
        passed, told = self.overlap.came(
            line, place, mark or hash(item), item, now=self.now
        )
        self.told += told
        self._take(passed)

    def _take(self, passed: list[tuple[str, int]]) -> None:
        for channel, number in passed:
            self.alone(channel, number)

    def counts(self, number: int, *, is_new: bool) -> list[Any]:
        """A link's own count of its messages came to `number`."""
        at = self.overlap if is_new else self.feed
        line = at.line(None, COUNTED, now=self.now)
        out = at.take(line, "", number, None, None, False, self.now) or []
        self.told += out
        return [*out]

    def takes_over(self) -> list[Any]:
        held, told = self.overlap.take_over(now=self.now)
        self.told += told
        self._take(held)
        return told

    def gaps(self, channel: str | None) -> list[Any]:
        found = [each.gap for each in self.told if isinstance(each, GapFound)]
        return [gap for gap in found if gap.channel == channel]


# --- each message once ------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_what_either_link_brings_comes_once_and_what_neither_brings_is_told(
    seed: int,
) -> None:
    dice = random.Random(seed)
    two = Two()
    for number in range(1, 4):
        two.alone("a", number)
    two.overlaps()
    two.acks()
    # The old link brings all up to some number, the new one all but those before
    # some other; and the old one may be the slower or the faster.
    until, begins = dice.randrange(3, 12), dice.randrange(3, 14)
    old, new = [*range(4, until + 1)], [*range(begins, 20)]
    if dice.random() < 0.3:
        # The new link misses a message, and its own number of it.
        new.remove(dice.choice(new[:-1]))
    late = new[dice.randrange(len(new)) :]
    new = new[: len(new) - len(late)]
    while old or new:
        is_new = not old or (bool(new) and dice.random() < 0.5)
        two.came("a", (new if is_new else old).pop(0), is_new=is_new)
    two.takes_over()
    for number in late:
        two.came("a", number, is_new=True)
    numbers = [number for _, number in two.passed]
    assert numbers == sorted(set(numbers))
    missing = {n for gap in two.gaps("a") for n in range(gap.first, gap.last + 1)}
    assert missing == set(range(1, 20)) - set(numbers)
    account = two.feed.ledger.account("a")
    assert (account.received, account.duplicated) == (len(numbers), 0)
    assert account.missing == len(missing)


@pytest.mark.parametrize("marked", ["alike", "apart"])
def test_numbers_of_the_venue_tell_messages_apart_and_content_where_there_are_none(
    marked: str,
) -> None:
    two = Two()
    two.overlaps()
    for number in range(1, 4):
        for is_new in (False, True):
            own = 1000 * number + is_new
            mark = own if marked == "apart" else number
            two.came("a", number, is_new=is_new, mark=own)
            two.came("b", number, is_new=is_new, mark=mark)
    assert [n for channel, n in two.passed if channel == "a"] == [1, 2, 3]
    of_b = [n for channel, n in two.passed if channel == "b"]
    assert of_b == [1, 2, 3]
    two.takes_over()
    # Two links that had nothing alike never met: each has its say, and a gap tells.
    of_b = [n for channel, n in two.passed if channel == "b"]
    assert of_b == ([1, 2, 3] if marked == "alike" else [1, 2, 3, 1, 2, 3])
    assert len(two.gaps("b")) == (marked == "apart")
    assert two.gaps("a") == []


def test_only_a_count_that_is_the_venues_and_has_no_begin_is_common_to_all_links() -> (
    None
):
    common = {
        (rule, scope, starts_at)
        for rule in Rule
        for scope in Scope
        for starts_at in (None, 0, 1)
        if is_common(
            Numbered(numbering=Numbering(rule=rule, scope=scope, starts_at=starts_at))
        )
    }
    counted = (Rule.CHAIN, Rule.RANGE, Rule.STEP)
    shared = (Scope.CHANNEL, Scope.SYMBOL)
    assert common == {(rule, scope, None) for rule in counted for scope in shared}
    assert not is_common(None)


def test_a_rule_that_shows_nothing_leaves_the_other_rules_as_they_are() -> None:
    two = Two(numbered=(*VENUE, None))
    two.alone("a", 3)
    two.overlaps()
    line = two.overlap.line(None, 2, now=two.now)
    assert two.overlap.take(line, "", 5, None, None, False, two.now) is None
    assert two.overlap.take(line, "", 9, None, None, False, two.now) is None
    two.came("a", 4, is_new=True)
    assert two.passed[-1] == ("a", 4)
    assert two.takes_over() == []


def test_links_that_do_not_count_alike_leave_a_gap_and_the_new_count_goes_on() -> None:
    two = Two()
    for number in range(1000, 1004):
        two.alone("a", number)
    two.overlaps()
    two.came("a", 1004, is_new=False)
    for number in (5, 6):
        two.came("a", number, is_new=True)
    two.takes_over()
    [gap] = two.gaps("a")
    assert (gap.first, gap.last, gap.missing) == (None, None, None)
    before = two.feed.ledger.account("a").received
    for number in range(7, 20):
        two.came("a", number, is_new=True)
    account = two.feed.ledger.account("a")
    assert account.received == before + 13
    assert (account.duplicated, account.disordered, len(two.gaps("a"))) == (0, 0, 1)
    two.came("a", 22, is_new=True)
    assert [gap.missing for gap in two.gaps("a")] == [None, 2]


# --- what counts on one link alone ------------------------------------------------


def test_a_links_own_count_is_its_own_and_told_of_once_it_delivers() -> None:
    two = Two()
    for number in (1, 2, 3):
        two.counts(number, is_new=False)
    two.overlaps()
    received = two.feed.ledger.account(None, rule=1).received
    for number in (1, 2, 5):
        assert two.counts(number, is_new=True) == []
    assert two.counts(4, is_new=False) == []
    assert two.feed.ledger.account(None, rule=1).received == received + 4
    assert two.told == []
    [told] = two.takes_over()
    assert isinstance(told, GapFound)
    assert (told.epoch, told.gap.first, told.gap.last) == (2, 3, 4)
    assert told.gap.channel is None
    # The count goes on where the new link's was, and not where the old one's was.
    assert two.counts(6, is_new=False) == []
    [jump] = two.counts(9, is_new=False)
    assert (jump.gap.first, jump.gap.last) == (7, 8)


# --- asked for on the new link ----------------------------------------------------


def test_the_new_link_is_complete_once_all_is_answered_and_every_number_joined() -> (
    None
):
    two = Two()
    two.alone("a", 1)
    two.alone("b", None)
    two.overlaps()
    assert not two.overlap.complete
    assert two.overlap.standing("a") is Standing.PENDING
    assert two.acks("a") == []
    assert two.overlap.standing("a") is Standing.CONFIRMED
    assert two.feed.standing("a") is Standing.LIVE
    two.came("a", 2, is_new=True)
    assert not two.overlap.complete
    assert not two.overlap.settled
    two.acks("b")
    assert two.overlap.settled
    assert two.overlap.complete
    [live] = [each for each in two.told if isinstance(each, ChannelLive)][2:]
    assert (live.channel, live.epoch) == ("a", 2)
    two.came("a", 3, is_new=True)
    assert len([each for each in two.told if isinstance(each, ChannelLive)]) == 3
    assert two.takes_over() == []
    assert two.feed.epoch == 2
    assert two.feed.standing("a") is Standing.LIVE
    assert two.feed.standing("b") is Standing.CONFIRMED
    # Its first data, as of any subscription, and not that of the link before.
    [live] = two.alone("b", None)
    assert (live.channel, live.epoch) == ("b", 2)
    assert two.alone("b", None) == []


def test_what_the_old_link_brings_is_no_data_of_the_new_subscription() -> None:
    two = Two()
    two.overlaps()
    two.acks()
    for number in (1, 2):
        two.came("a", number, is_new=False)
        two.came("b", number, is_new=False)
    assert two.overlap.standing("a") is Standing.CONFIRMED
    assert two.overlap.standing("b") is Standing.CONFIRMED
    assert {each.epoch for each in two.told if isinstance(each, ChannelLive)} == {1}


def test_a_channel_that_appears_after_the_change_goes_by_the_new_links_count() -> None:
    two = Two()
    for number in (1, 2, 3):
        two.counts(number, is_new=False)
    two.overlaps()
    for number in (50, 51):
        two.counts(number, is_new=True)
    two.takes_over()
    line = two.feed.line("c", COUNTED, now=two.now)
    for number, told in ((52, 0), (53, 0), (55, 1)):
        out = two.feed.take(line, "", number, None, None, False, two.now) or []
        assert len([each for each in out if isinstance(each, GapFound)]) == told


def test_what_breaks_the_rules_on_the_new_link_is_told_as_on_any() -> None:
    two = Two()
    two.overlaps()
    assert two.overlap.unknown == 0
    assert two.overlap.passing is False
    [told] = two.overlap.take_malformed("no price", now=two.now)
    assert two.feed.malformed == 1
    assert told.reason == "no price"
    # Beside its messages of data nothing of a channel is counted twice.
    line = two.feed.line("a", STEPPED, now=two.now)
    assert two.overlap.take(line, "a", 5, None, None, False, two.now) is None
    assert two.feed.ledger.account("a").received == 0
    two.overlap.passing = True
    assert two.overlap.take(line, "a", 5, None, None, False, two.now)
    assert two.feed.ledger.account("a").received == 1


def test_a_refusal_on_the_new_link_is_told_when_it_delivers_and_holds_it_up() -> None:
    two = Two(subscribing=Subscribing(tries=1))
    two.overlaps()
    two.acks("a")
    number = two.asked.request
    assert two.overlap.refused(number, ["b"], reason="full", now=two.now) == []
    assert two.feed.troubles == {}
    assert two.overlap.settled
    assert not two.overlap.complete
    told = two.takes_over()
    assert [type(each) for each in told] == [SubscriptionFailed]
    [failed] = told
    assert (failed.channel, failed.epoch, failed.reason) == ("b", 2, "full")
    assert two.feed.troubles == {"b": failed}


def test_what_is_wanted_meanwhile_is_asked_for_on_the_new_link_in_its_time() -> None:
    two = Two()
    two.overlaps()
    two.acks()
    [asked] = two.overlap.want(["c"], now=two.now)
    assert (asked.epoch, asked.channels) == (2, ("c",))
    due = two.overlap.deadline
    assert due == two.now + Subscribing().ack_within
    assert two.overlap.tick(proven_at=due, now=due - 0.1) == []
    assert two.overlap.standing("c") is Standing.PENDING
    assert two.overlap.tick(proven_at=due, now=due) == []
    assert two.overlap.standing("c") is Standing.WANTED
    two.now = two.overlap.deadline
    [again] = two.overlap.tick(proven_at=two.now, now=two.now)
    assert again.channels == ("c",)
    [left] = two.overlap.unwant(["a"], now=two.now)
    assert (left.epoch, left.channels) == (2, ("a",))
    assert two.overlap.standing("a") is None


def test_without_the_new_link_the_old_one_goes_on_and_nothing_is_lost_or_doubled() -> (
    None
):
    two = Two()
    two.alone("a", 1)
    two.overlaps()
    two.came("a", 3, is_new=True)
    two.came("a", 2, is_new=False)
    two.came("a", 4, is_new=True)
    two.overlap.withdraw(now=two.now)
    for number in (3, 4, 5, 6):
        two.came("a", number, is_new=False)
    assert [n for _, n in two.passed] == [1, 2, 3, 4, 5, 6]
    assert two.gaps("a") == []
    assert two.feed.epoch == 1


def test_what_is_counted_over_a_link_has_the_account_of_its_rule_on_either_link() -> (
    None
):
    two = Two()
    two.overlaps()
    for rule, own in ((None, 0), (STEPPED, 0), (COUNTED, 1)):
        account = two.feed.ledger.account(None, rule=own)
        assert two.feed.line(None, rule, now=two.now).account is account
        assert two.overlap.line(None, rule, now=two.now).account is account
        named = two.feed.ledger.account("a", rule=own)
        assert two.feed.line("a", rule, now=two.now).account is named


def test_a_new_link_is_complete_though_its_own_count_is_not_the_old_ones() -> None:
    two = Two()
    two.counts(1, is_new=False)
    two.alone("a", 1)
    two.overlaps()
    two.acks()
    two.counts(70, is_new=True)
    two.came("a", 2, is_new=False)
    assert not two.overlap.complete
    two.came("a", 2, is_new=True)
    assert two.overlap.complete


def test_a_book_is_proven_by_what_either_link_brings() -> None:
    two = Two()
    two.overlaps()
    line = two.feed.line("a", STEPPED, now=two.now)
    line.proof = Proof("a", OrderBook(Recipe(levels=1, order=Order.BID_ASK)))
    [told] = two.overlap.prove(line, None, None, now=two.now)
    assert told == MalformedFound(at=two.now, epoch=1, reason=UNREAD)


@pytest.mark.parametrize("asked", ["before", "meanwhile", "again"])
def test_of_a_channel_asked_for_meanwhile_the_old_links_snapshot_undoes_nothing(
    asked: str,
) -> None:
    two = Two()
    two.overlaps()
    two.acks()
    two.overlap.synced()
    if asked != "before":
        if asked == "again":
            two.overlap.unwant(["b"], now=two.now)
        two.overlap.want(["b", "c"], now=two.now)
    two.overlap.still()
    channel = "c" if asked == "meanwhile" else "b"
    line = two.feed.line(channel, None, now=two.now)
    passed: list[str] = []
    for is_new, text in ((True, "S"), (True, "u"), (True, "v"), (False, "S")):
        place = Place(is_new=is_new, whole=text == "S")
        passed += two.overlap.came(line, place, hash(text), text, now=two.now)[0]
    assert passed == (["u", "v"] if asked == "before" else ["S"])


def test_a_numbered_channel_that_was_dropped_holds_up_no_later_change() -> None:
    two = Two()
    two.alone("a", 1)
    two.feed.unwant(["a"], now=two.now)
    two.overlap = Overlap(two.feed, epoch=2, now=two.now)
    [two.asked] = two.overlap.begin(2, now=two.now)  # type: ignore[assignment]
    two.acks()
    two.overlap.synced()
    assert not two.overlap.complete
    two.overlap.still()
    assert two.overlap.complete


def test_what_the_old_link_brought_before_the_new_one_was_asked_holds_up_nothing() -> (
    None
):
    two = Two()
    two.overlap = Overlap(two.feed, epoch=2, now=two.now)
    two.came("b", 1, is_new=False)
    [two.asked] = two.overlap.begin(2, now=two.now)  # type: ignore[assignment]
    two.acks()
    two.overlap.synced()
    two.overlap.still()
    assert two.overlap.complete
    assert two.passed == [("b", 1)]


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "unnumbered"])
def test_of_however_many_channels_that_nobody_asked_for_there_is_one_gap(
    numbered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "MOST_KEYS", 100)
    two = Two()
    two.overlaps()
    rule = STEPPED if numbered else None
    passed: list[tuple[str, int]] = []
    for number in range(1000):
        name = f"made-up {number}"
        line = two.feed.line(name, rule, now=two.now)
        for is_new in (True, False):
            mark = 2 * number + is_new
            low = 10 * number if is_new else 5
            place = Place(is_new=is_new, rule=rule, track=name, low=low, high=low + 1)
            item = (name, number)
            out, _ = two.overlap.came(line, place, mark, item, now=two.now)
            passed += out
    # The old link's pass, and those of the new one wait or are dropped.
    assert len(passed) == 1000
    assert len(two.overlap._keyed) == 100
    assert two.overlap.seam.held <= 100
    assert two.overlap._live == set()
    told = two.takes_over()
    [gap] = two.gaps(None)
    assert [each for each in told if isinstance(each, GapFound)][-1].gap is gap
    assert len([each for each in told if isinstance(each, GapFound)]) == 1
    two.came("a", 1, is_new=True)
    assert two.passed[-1] == ("a", 1)


def test_a_single_channel_that_nobody_asked_for_is_named() -> None:
    two = Two()
    two.overlaps()
    line = two.feed.line("stray", None, now=two.now)
    two.overlap.came(line, Place(is_new=True), 1, "n", now=two.now)
    assert [each.gap.channel for each in two.overlap.take_over(now=two.now)[1]] == [
        "stray"
    ]


def test_the_old_link_is_asked_twice_a_second_until_it_has_shown_where_all_meet() -> (
    None
):
    """Where both have brought the same content the old one's may be another."""
    two = Two(numbered=(None, None))
    two.overlaps()
    two.acks()
    asked: list[tuple[float, int]] = []

    def bring(channel: str, *, is_new: bool) -> None:
        line = two.feed.line(channel, None, now=two.now)
        place, mark = Place(is_new=is_new), hash(channel)
        _, told = two.overlap.came(line, place, mark, (channel, 1), now=two.now)
        asked.extend((two.now, each.epoch) for each in told if type(each) is Prove)

    for channel in ("a", "b"):
        for is_new in (False, True):
            bring(channel, is_new=is_new)
        two.now += 0.1
    assert asked == [(BEGAN, 1)]
    two.overlap.seam.answered(asked_at=BEGAN + 0.05)
    assert not two.overlap.seam.complete
    # It is asked for `b` though nothing more comes.
    two.now = two.overlap.deadline
    assert two.now == BEGAN + 0.5
    assert two.overlap.tick(proven_at=two.now, now=two.now) == [Prove(1)]
    assert two.overlap.tick(proven_at=two.now, now=two.now) == []
    two.overlap.seam.answered(asked_at=two.now)
    assert two.overlap.seam.complete
