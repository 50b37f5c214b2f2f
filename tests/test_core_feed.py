"""What is known of all channels of a stream, however much it is told."""

from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.core import lines
from heartline.core.budget import Rate
from heartline.core.channel_events import MalformedFound
from heartline.core.contracts import Freshness
from heartline.core.events import ChannelRevived, ChannelStalled, GapFound
from heartline.core.feed import Feed, FeedTerms, Numbered
from heartline.core.freshness import ChannelWatch
from heartline.core.gaps import Ledger
from heartline.core.items import Gap
from heartline.core.sequence import Numbering, Rule
from heartline.core.subscribing import Standing
from heartline.core.watched import Outcome, Watching

COUNTED = FeedTerms(numbered=(Numbered(numbering=Numbering(rule=Rule.STEP)),))


def fed(terms: FeedTerms = COUNTED) -> Feed:
    feed = Feed(terms, ledger=Ledger(), now=0.0)
    feed.begin(1, now=0.0)
    feed.open(now=0.0)
    return feed


def take(feed: Feed, channel: str, number: object) -> list[object]:
    line = feed.line(channel, 0, now=1.0)
    return list(feed.take(line, channel, number, None, None, False, 1.0) or ())


def test_channels_that_nobody_asked_for_are_followed_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "MOST_STRAYS", 3)
    feed = fed()
    feed.want(["wanted"], now=0.0)
    names = [f"stray{n}" for n in range(10)]
    for name in [*names, "wanted"]:
        assert not any(isinstance(e, GapFound) for e in take(feed, name, 1))
    found = {
        name: any(isinstance(event, GapFound) for event in take(feed, name, 3))
        for name in [*names, "wanted"]
    }
    assert [name for name, gap in found.items() if gap] == [*names[:3], "wanted"]
    assert {each.channel for each in feed.ledger.accounts} == {*names[:3], "wanted"}


def test_messages_against_the_rules_are_counted_and_told_once_a_link() -> None:
    feed = fed()
    told = [feed.take_malformed("no JSON", now=1.0) for _ in range(5)]
    assert told == [[MalformedFound(at=1.0, epoch=1, reason="no JSON")], *([[]] * 4)]
    feed.begin(2, now=2.0)
    (again,) = feed.take_malformed("no JSON", now=2.0)
    assert again == MalformedFound(at=2.0, epoch=2, reason="no JSON")
    assert feed.malformed == 6


def test_a_number_of_the_wrong_type_is_told_without_its_value() -> None:
    feed = fed()
    take(feed, "a", 1)
    told = take(feed, "a", "secret")
    assert [type(each) for each in told] == [MalformedFound]
    assert "secret" not in repr(told)
    assert take(feed, "a", -7) == []
    assert feed.malformed == 2
    assert take(feed, "a", 2) == []


def test_what_was_sent_while_nobody_wanted_it_is_no_gap() -> None:
    feed = fed()
    feed.want(["a", "b"], now=0.0)
    assert not gaps([take(feed, name, 1) for name in "ab"])
    feed.unwant(["a"], now=1.0)
    feed.want(["a"], now=2.0)
    assert not gaps([take(feed, "a", 900), take(feed, "a", 901), take(feed, "b", 2)])
    (gap,) = gaps([take(feed, "a", 903)])
    assert (gap.first, gap.last) == (902, 902)
    feed.begin(2, now=3.0)
    assert not gaps([take(feed, "a", 5), take(feed, "a", 6)])


def gaps(told: list[list[object]]) -> list[Gap]:
    return [e.gap for events in told for e in events if isinstance(e, GapFound)]


@given(st.integers(0, 2**32))
def test_silence_ends_in_a_feed_as_it_does_in_a_watch(seed: int) -> None:
    """`Feed.take` writes the good case of `ChannelWatch.feed` out: they agree."""
    dice = random.Random(seed)
    policy = Watching(floor=1.0, ceiling=20.0, warm_up=20.0, warm_up_messages=5)
    every = Freshness(every=4.0)
    terms = FeedTerms(
        watching=policy, contract=lambda name: every if name == "a" else None
    )
    feed, watch = fed(terms), ChannelWatch(policy, now=0.0)
    feed.want("abc", now=0.0)
    for name in "abc":
        watch.watch(name, terms.contract(name), now=0.0)
    watch.open(now=0.0)
    feed.open(now=0.0)
    kept = {name: feed.line(name, None, now=0.0) for name in "abcx"}
    now, stalled, revived = 0.0, list[str](), list[str]()
    for _ in range(300):
        now += dice.choice((0.0, 0.05, 0.3, 0.3, 6.0 * dice.random()))
        if dice.random() < 0.02:
            feed.excuse(lag=1.0, now=now)
            watch.excuse(lag=1.0, now=now)
        assert feed.watch.deadline == watch.deadline
        if now >= watch.deadline:
            due = watch.look(proven_at=now, now=now)
            stalled += [
                c.channel for c in due if c.outcome is Outcome.STALLED and not c.redial
            ]
            for each in feed.tick(proven_at=now, now=now):
                if isinstance(each, ChannelStalled):
                    assert each.channel == stalled.pop()
        name = dice.choice("aabbbcx")
        change = watch.feed(name, now)
        told = feed.take(kept[name], name, None, None, None, False, now) or ()
        revived += [change.channel] if change else []
        for each in told:
            if isinstance(each, ChannelRevived):
                assert each.channel == revived.pop()
        assert not stalled
        assert not revived
    assert (feed.watch.total, feed.watch.strays) == (watch.total, watch.strays)
    for name in "abc":
        assert feed.watch.messages(name) == watch.messages(name)
        assert feed.watch.outcome(name) is watch.outcome(name)
        assert feed.watch.silence(name, now=now) == watch.silence(name, now=now)
        assert feed.watch.bound(name, now=now) == watch.bound(name, now=now)
    assert watch.deadline < inf


def test_a_line_that_outlives_its_channel_ends_no_silence_of_the_next() -> None:
    feed = fed()
    feed.want(["a"], now=0.0)
    kept = feed.line("a", 0, now=0.0)
    feed.unwant(["a"], now=1.0)
    feed.take(kept, "a", 1, None, None, False, 2.0)
    assert feed.watch.strays == 1
    feed.want(["a"], now=3.0)
    feed.take(kept, "a", 2, None, None, False, 4.0)
    assert feed.watch.messages("a") == 1
    assert feed.watch.silence("a", now=5.0) == 1.0


def test_data_of_a_channel_not_asked_for_yet_brings_nothing_to_light() -> None:
    """A venue that repeats itself at once costs no more for it."""
    feed = fed(FeedTerms(rates=(Rate(count=2, per=60.0),)))
    feed.begin(1, now=0.0)
    for name in "abc":
        feed.want([name], now=0.0)
    assert feed.standing("c") is Standing.WANTED
    line = feed.line("c", None, now=1.0)
    for _ in range(3):
        assert feed.take(line, "c", None, None, None, False, 1.0) is None
    assert not line.is_live
