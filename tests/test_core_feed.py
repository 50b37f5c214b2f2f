"""What is known of all channels of a stream, however much it is told."""

from __future__ import annotations

import pytest

from heartline.core import lines
from heartline.core.channel_events import MalformedFound
from heartline.core.events import GapFound
from heartline.core.feed import Feed, FeedTerms, Numbered
from heartline.core.gaps import Ledger
from heartline.core.items import Gap
from heartline.core.sequence import Numbering, Rule

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
