"""Numbers that each link counts for itself, channel by channel, while there are two."""

from __future__ import annotations

from typing import Any

import pytest

from heartline.core import overlap as module
from heartline.core.channel_events import MalformedFound, Subscribe
from heartline.core.events import GapClosed, GapFound
from heartline.core.feed import Feed, FeedTerms, Numbered
from heartline.core.gaps import Ledger
from heartline.core.items import Gap, Message
from heartline.core.overlap import Overlap
from heartline.core.place import Place
from heartline.core.restore import Numbers
from heartline.core.sequence import Numbering, Rule, Scope

BEGAN = 50.0
SID, STEP, LINK, FREE, NONE = 0, 1, 2, 3, 4
VENUE = (
    Numbered(numbering=Numbering(rule=Rule.STEP, scope=Scope.SID)),
    Numbered(numbering=Numbering(rule=Rule.STEP)),
    Numbered(numbering=Numbering(rule=Rule.STEP, scope=Scope.CONNECTION)),
    Numbered(numbering=Numbering(rule=Rule.NONE)),
    None,
)


class Two:
    """A feed on link 1, and link 2 beside it, which was asked for everything."""

    def __init__(self) -> None:
        self.feed = Feed(FeedTerms(numbered=VENUE), ledger=Ledger(), now=BEGAN)
        self.feed.want(["a"], now=BEGAN)
        [asked] = self.feed.begin(1, now=BEGAN)
        assert isinstance(asked, Subscribe)
        self.feed.acked(asked.request, None, of="subscribe", now=BEGAN)
        self.feed.open(now=BEGAN)
        self.overlap: Overlap[Any] = Overlap(self.feed, epoch=2, now=BEGAN)
        self.overlap.begin(2, now=BEGAN)

    def counts(self, number: object, *, is_new: bool, rule: int = SID) -> list[Any]:
        at = self.overlap if is_new else self.feed
        line = at.line("a", rule, now=BEGAN)
        return self.overlap.count(
            line, rule, 7, number, None, None, False, is_new=is_new, now=BEGAN + 1
        )


def gap_of(told: list[Any]) -> tuple[int, int | None, int | None]:
    [found] = told
    assert isinstance(found, GapFound)
    assert (found.gap.channel, found.gap.reason) == ("a", "sequence")
    return found.epoch, found.gap.first, found.gap.last


def test_numbers_of_subscriptions_alone_are_counted_on_each_link_for_itself() -> None:
    two = Two()
    rules = (SID, STEP, LINK, FREE, NONE, None)
    counted = [two.overlap.counts(rule) for rule in rules]
    assert counted == [True, False, False, False, False, False]


def test_what_the_old_link_misses_is_told_at_once() -> None:
    two = Two()
    assert two.counts(1, is_new=False) == []
    assert gap_of(two.counts(4, is_new=False)) == (1, 2, 3)
    # The numbers of the two have nothing to do with each other.
    assert two.counts(900, is_new=True) == []
    assert two.counts(5, is_new=False) == []
    assert two.counts(None, is_new=False) == []
    [unread] = two.counts("6", is_new=False)
    assert isinstance(unread, MalformedFound)


def test_what_the_new_link_misses_is_told_once_it_delivers() -> None:
    two = Two()
    for number in (11, 14, None, 15):
        assert two.counts(number, is_new=True) == []
    assert two.overlap.take_over(now=BEGAN + 2)[0] == []
    assert gap_of(two.counts(18, is_new=True)) == (2, 16, 17)


def test_what_it_missed_before_is_told_when_it_takes_over_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert module.MOST_ODD == 4096
    monkeypatch.setattr(module, "MOST_ODD", 2)
    two = Two()
    for number in (1, 3, 5, 7):
        assert two.counts(number, is_new=True) == []
    _, told = two.overlap.take_over(now=BEGAN + 2)
    assert [gap_of([each]) for each in told] == [(2, 2, 2), (2, 4, 4)]


def test_a_channel_without_numbers_counts_nothing() -> None:
    two = Two()
    for number in (1, 5):
        for is_new in (False, True):
            assert two.counts(number, is_new=is_new, rule=NONE) == []


def test_what_a_new_link_brought_of_no_channel_that_was_asked_for_is_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There was no room to join it: the old link may not have brought it."""
    monkeypatch.setattr(module, "MOST_KEYS", 0)
    two = Two()
    line = two.feed.line("stray", None, now=BEGAN)
    place = Place(is_new=True)
    assert two.overlap.came(line, place, 1, "x", now=BEGAN + 1) == ([], [])
    [told] = two.overlap.withdraw(now=BEGAN + 2)
    assert isinstance(told, GapFound)
    assert (told.gap.from_at, told.gap.until_at) == (BEGAN, BEGAN + 2)
    assert (told.gap.channel, told.gap.epoch) == (None, 1)
    assert two.overlap.withdraw(now=BEGAN + 3) == []


@pytest.mark.parametrize(("strays", "channel"), [(1, "s0"), (2, None), (3, None)])
def test_channels_that_nobody_asked_for_are_in_doubt_together(
    strays: int, channel: str | None
) -> None:
    two = Two()
    for nth in range(strays):
        line = two.overlap.line(f"s{nth}", None, now=BEGAN + 1 + nth)
        passed, told = two.overlap.came(
            line, Place(is_new=True), nth, f"of {nth}", now=BEGAN + 5
        )
        assert (passed, told) == ([], [])
    held, told = two.overlap.take_over(now=BEGAN + 9)
    assert held == [f"of {nth}" for nth in range(strays)]
    [found] = told
    assert isinstance(found, GapFound)
    gap = found.gap
    assert (gap.channel, gap.epoch, found.epoch) == (channel, 2, 2)
    assert (gap.from_at, gap.until_at) == (BEGAN + 1, BEGAN + 9)


def test_a_channel_that_was_asked_for_is_in_doubt_by_itself() -> None:
    two = Two()
    names = ("a", "s0", "s1")
    for name in names:
        line = two.overlap.line(name, None, now=BEGAN + 1)
        two.overlap.came(line, Place(is_new=True), 1, name, now=BEGAN + 5)
    _, told = two.overlap.take_over(now=BEGAN + 9)
    # And nothing is taken for whole again by that.
    assert not [each for each in told if isinstance(each, GapClosed)]
    gaps = [each.gap.channel for each in told if isinstance(each, GapFound)]
    assert gaps == ["a", None]


def test_what_is_missed_in_numbers_makes_nothing_else_whole() -> None:
    two = Two()
    two.feed.ledger.doubt(Gap("checksum", BEGAN - 1, BEGAN, 1, "a"))
    assert two.counts(1, is_new=False) == []
    assert gap_of(two.counts(4, is_new=False)) == (1, 2, 3)
    assert len(two.feed.ledger.open_gaps("a")) == 2


def test_where_two_links_turn_out_not_to_have_met_that_is_told_once() -> None:
    two = Two()

    def came(text: str, *, is_new: bool) -> tuple[list[Any], list[Any]]:
        at = two.overlap if is_new else two.feed
        line = at.line("a", None, now=BEGAN + 1)
        place = Place(is_new=is_new)
        return two.overlap.came(line, place, hash(text), text, now=BEGAN + 5)

    for text in ("one", "two", "three"):
        assert came(text, is_new=False)[0] == [text]
    assert came("one", is_new=True)[0] == []
    held, told = two.overlap.take_over(now=BEGAN + 6)
    assert (held, told) == ([], [])
    # It was to bring "two" next.
    passed, told = came("four", is_new=True)
    assert passed == ["four"]
    [found] = told
    assert isinstance(found, GapFound)
    assert (found.gap.channel, found.gap.epoch) == ("a", 2)
    assert came("five", is_new=True) == (["five"], [])
    assert two.overlap.withdraw(now=BEGAN + 7) == []


def test_what_is_wrong_with_the_numbers_of_a_whole_link_is_told_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_ODD", 2)
    two = Two()
    line = two.overlap.line(None, LINK, now=BEGAN)
    for number in (1, 3, 5, 7):
        out = two.overlap.take(line, "", number, None, None, False, BEGAN + 1)
        assert out is None
    _, told = two.overlap.take_over(now=BEGAN + 2)
    gaps = [each.gap for each in told if isinstance(each, GapFound)]
    assert [(gap.channel, gap.first) for gap in gaps] == [(None, 2), (None, 4)]


def test_what_waits_for_its_state_is_kept_by_the_feed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = Two()
    monkeypatch.setattr(two.feed, "keep", lambda *args, **named: [args, named])
    line = two.overlap.line("a", STEP, now=BEGAN)
    message = Message(data=b"", channel="a", received_at=BEGAN, epoch=2)
    numbers = Numbers(1, None, None)
    kept: list[Any] = two.overlap.keep(line, message, numbers, now=BEGAN)
    assert kept == [(line, message, numbers), {"counted": False, "now": BEGAN}]
