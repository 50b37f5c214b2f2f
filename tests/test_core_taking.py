"""What is taken without any Python changes just what Python would."""

from __future__ import annotations

import gc
from collections.abc import Hashable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.core import figures
from heartline.core.contracts import Freshness
from heartline.core.feed import Feed, FeedTerms, Numbered
from heartline.core.gaps import Ledger
from heartline.core.sequence import Numbering, Rule
from heartline.core.tracker import LIMIT_NUMBER

RULES = (Rule.STEP, Rule.RANGE, Rule.CHAIN, Rule.MONOTONIC, Rule.NONE)
TERMS = FeedTerms(
    numbered=tuple(Numbered(numbering=Numbering(rule=rule)) for rule in RULES),
    contract=lambda name: Freshness(every=2.0) if name == "a" else None,
)
NEAR = (0, 1, 2, 3, 8)
LARGE = (2**63 - 2, 2**63 - 1, 2**63, LIMIT_NUMBER - 1, LIMIT_NUMBER, -1, -(2**63))


class Said(NamedTuple):
    """One message; `ahead` is what its number adds to the last."""

    channel: str | None
    rule: int | None
    key: Hashable
    last: object
    prev: object
    first: object
    ahead: int | None
    anew: bool
    after: float


NUMBERS = st.one_of(
    st.none(),
    st.integers(-2, 12),
    st.sampled_from([*LARGE, 3.0, True, "3", "x"]),
)
SAID = st.builds(
    Said,
    channel=st.sampled_from(["a", "a", "b", "x", None]),
    rule=st.sampled_from([0, 0, 1, 2, 2, 3, 4, None]),
    key=st.sampled_from(["k", "k", "l", 1, None]),
    last=NUMBERS,
    prev=NUMBERS,
    first=NUMBERS,
    ahead=st.sampled_from([None, 1, 1, 1, 1, 0, 2, -1]),
    anew=st.sampled_from([False, False, False, False, True]),
    after=st.sampled_from([0.0, 0.1, 0.1, 0.125, 0.15, 3.0, 1000.0]),
)


def opened() -> Feed:
    feed = Feed(TERMS, ledger=Ledger(), now=0.0)
    feed.begin(1, now=0.0)
    feed.want("ab", now=0.0)
    feed.open(now=0.0)
    return feed


def known(feed: Feed, line: figures.Line, key: Hashable) -> list[Any]:
    """Each number that a message may change."""
    account, watched, tracker = line.account, line.watched, line.tracker
    watch = feed.watch
    found: list[Any] = [account.received, account.missing, account.duplicated]
    found += [line.at, line.is_live, line.wounded, watch.total, watch.strays]
    found += [feed.deadline, feed.malformed, sorted(feed.troubles)]
    if watched is not None:
        found += [watched.data_at, watched.count, watched.all_at, watched.alert]
        found += [watched.longest, watched.alike, watched.window_at, watched.outcome]
        found += [watched.needed, watched.awaits_first, watched.pace.value]
    if tracker is not None:
        found += [tracker.last(key), tracker.holes(key), tracker.unread]
    return found


def numbers_of(said: Said, line: figures.Line) -> tuple[object, object, object]:
    """As it was said, or as it follows the last."""
    last = None if line.tracker is None else line.tracker.last(said.key)
    if said.ahead is None or last is None:
        return said.last, said.prev, said.first
    number = last + said.ahead
    first = number if said.first is None else None
    return number, last if said.prev is None else number - 1, first


@given(st.lists(SAID, max_size=60), st.sampled_from([0, 1, 2**63 - 6, 2**64 - 4]))
def test_messages_are_taken_alike_by_both_ways(said: list[Said], base: int) -> None:
    short, long = opened(), opened()
    long_take = figures.PureTaking(long._take).take
    now = 1.0
    starts = [
        Said(channel, rule, "k", base, base, None, None, False, 0.0)
        for channel in ("a", "b")
        for rule in range(4)
    ]
    for each in [*starts, *said]:
        now += each.after
        lines = [feed.line(each.channel, each.rule, now=now) for feed in (short, long)]
        numbers = numbers_of(each, lines[1])
        told = [
            take(line, each.key, *numbers, each.anew, now)
            for take, line in zip((short.take, long_take), lines, strict=True)
        ]
        assert told[0] == told[1]
        assert known(short, lines[0], each.key) == known(long, lines[1], each.key)


def test_what_is_in_order_is_not_looked_at_any_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if figures.Taking is figures.PureTaking:
        pytest.skip("the pure twin looks at all")
    looked: list[object] = []
    monkeypatch.setattr(Feed, "_take", lambda self, line, *_: looked.append(line))
    feed = opened()
    line = feed.line("b", 0, now=0.0)
    line.is_live = True
    assert line.tracker is not None
    assert line.watched is not None
    line.tracker.feed("b", 1)
    line.watched.alert = 1.0
    for before, number in pairwise(range(1, 50)):
        feed.take(line, "b", number, before, number, False, number / 100)
    assert not looked
    assert line.account.received == 48
    feed.take(line, "b", 51, None, None, False, 0.6)
    feed.take(line, "b", 50, None, None, True, 0.6)
    feed.take(line, "b", 50, None, None, False, 2.0)
    assert looked == [line, line, line]


def test_a_silence_that_only_teaches_is_learned_and_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if figures.Taking is figures.PureTaking:
        pytest.skip("the pure twin looks at all")
    looked: list[object] = []
    monkeypatch.setattr(Feed, "_take", lambda self, line, *_: looked.append(line))
    feed = opened()
    line = feed.line("b", None, now=0.0)
    line.is_live = True
    watched = line.watched
    assert watched is not None
    watched.awaits_first = False
    for at in (1.0, 4.0, 6.0, 9.0):
        feed.take(line, "b", None, None, None, False, at)
    assert not looked
    assert (watched.longest, watched.alike, watched.alert) == (3.0, 2, 1.5)
    assert watched.count == 4
    # What began before an excuse teaches nothing.
    feed.excuse(now=10.0)
    feed.take(line, "b", None, None, None, False, 11.0)
    assert looked == [line]
    assert watched.count == 4


def test_a_run_that_is_replaced_is_no_longer_followed() -> None:
    feed = opened()
    line = feed.line(None, 0, now=0.0)
    tracker = line.tracker
    assert tracker is not None
    for number in (1, 2, 3):
        assert not feed.take(line, "k", number, None, None, False, 0.0)
    tracker.restore("k", 8)
    assert feed.take(line, "k", 9, None, None, False, 0.0) is None
    tracker.forget("k")
    assert feed.take(line, "k", 50, None, None, False, 0.0) is None
    other = feed.line("b", 0, now=0.0)
    feed.take(other, "k", 51, None, None, False, 0.0)
    assert feed.take(line, "k", 52, None, None, False, 0.0) is None
    tracker.begin()
    assert tracker.last("k") is None
    assert feed.take(line, "k", 5, None, None, False, 0.0) is None
    assert tracker.last("k") == 5


def test_numbers_outlive_the_line_that_kept_them() -> None:
    feed = opened()
    line = feed.line("b", 0, now=0.0)
    line.is_live = True
    assert line.tracker is not None
    assert line.watched is not None
    line.tracker.feed("b", 1)
    line.watched.alert = 1.0
    for number in (2, 3):
        assert feed.take(line, "b", number, None, None, False, 0.25) is None
    account, watched, tracker = line.account, line.watched, line.tracker
    feed.unwant("b", now=1.0)
    del line
    gc.collect()
    assert (account.received, watched.count, watched.data_at) == (2, 2, 0.25)
    assert tracker.last("b") == 3


@given(st.integers(-(2**70), 2**70))
def test_a_number_is_kept_however_large_it_is(number: int) -> None:
    for kind in (figures.PureRun, figures.Run):
        run = kind(number, start=1, joining=None)
        assert (run.last, run.start, run.joining, run.holes) == (number, 1, None, None)
        run.last = 5
        assert run.last == 5
        run.last = number
        assert run.last == number
