"""What a session takes from nobody else, tells its neighbours, and clears up."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from heartline import UsageError
from heartline.core.backoff import Backoff
from heartline.core.channel_events import ChannelLive, GapClosed, Subscribe
from heartline.core.events import (
    BackingOff,
    Dial,
    DialFailed,
    DialSucceeded,
    Ended,
    GapFound,
    Lost,
    Start,
    Stop,
    Surrendered,
    Sync,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.feed import Feed, FeedTerms, Numbered
from heartline.core.gaps import Ledger
from heartline.core.items import Cause, Phase, Where
from heartline.core.neighbours import DialBudget, Neighbours
from heartline.core.orderbook import Order, OrderBook, Recipe
from heartline.core.rollover import Lifetime, Plan, Rollover
from heartline.core.sequence import Numbering, Rule, Scope
from heartline.core.session import Session
from heartline.core.subscribing import Standing, Subscribing
from heartline.core.terms import Dialling, Terms
from scripted_link import kernel
from test_core_told import Stream

# --- of which link, and of whose dial -------------------------------------------------


def test_before_its_first_dial_a_stream_speaks_of_link_0() -> None:
    neighbours = Neighbours(budget=DialBudget(every=2.0, burst=1))
    neighbours.reserve("a", now=10.0)
    session = Session(Terms(host="a"), draw=lambda: 0.5, neighbours=neighbours)
    assert session.epoch == 0
    [wait] = session.handle(Start(), now=10.0)
    assert isinstance(wait, BackingOff)
    assert (wait.epoch, wait.attempt) == (0, 1)


def test_only_the_present_dial_can_fail_and_only_while_it_is_made() -> None:
    stream = Stream()
    for epoch in (0, 2):
        assert stream.feed(DialFailed(epoch, Cause.RESET)) == []
        assert stream.session.phase is Phase.CONNECTING
    stream.connect()
    assert stream.feed(DialFailed(1, Cause.RESET)) == []
    assert stream.session.phase is Phase.OPEN
    stream.feed(Ended(1, Cause.RESET))
    stream.connect()
    assert stream.feed(DialFailed(1, Cause.RESET)) == []
    assert stream.session.phase is Phase.OPEN


def test_giving_up_is_told_of_the_last_link_that_was_tried() -> None:
    stream = Stream(backoff=Backoff(give_up_after=1e-9))
    stream.connect()
    stream.feed(Ended(1, Cause.RESET))
    while stream.session.phase is not Phase.CLOSED:
        stream.now = stream.session.deadline
        for dial in stream.feed(Tick()):
            if isinstance(dial, Dial):
                stream.feed(DialFailed(dial.epoch, Cause.REFUSED, "no", 500), after=9.0)
    [told] = [each for each in stream.told if isinstance(each, Surrendered)]
    assert told.epoch == stream.session.epoch >= 1
    assert told.attempts == stream.session.recovery.failures
    assert stream.session.deadline == inf


# --- what its neighbours are told -----------------------------------------------------


def silent_pair(*, together: bool) -> tuple[Neighbours, list[Session], float]:
    """Two streams to two hosts, whose kernels hear nothing any more."""
    neighbours, now = Neighbours(), 10.0
    sessions = [
        Session(Terms(host=host), draw=lambda: 0.5, neighbours=neighbours, who=who)
        for who, host in enumerate(("a", "b"))
    ]
    for session in sessions:
        session.handle(Start(), now=now)
        session.handle(DialSucceeded(1, "x:1", Evidence(kernel())), now=now)
    tried = sessions if together else sessions[:1]
    while not all(each.link and each.link.path.ladder for each in tried):
        now = min(each.deadline for each in tried)
        seen = Evidence(kernel(heard_age=now - 10.0))
        for session in tried:
            if session.deadline <= now:
                session.handle(Tick(1, seen), now=now)
        assert now < 20.0
    return neighbours, sessions, now


def test_a_stream_that_is_in_doubt_tells_its_neighbours() -> None:
    neighbours, _, now = silent_pair(together=True)
    assert neighbours.shared(0, now=now + 1.0)
    assert neighbours.shared(1, now=now + 1.0)


@pytest.mark.parametrize("how", ["ended", "stopped", "path"])
def test_a_doubt_of_a_link_that_ended_by_a_word_counts_no_more(how: str) -> None:
    neighbours, [first, _], now = silent_pair(together=True)
    if how == "ended":
        first.handle(Ended(1, Cause.RESET), now=now)
    elif how == "stopped":
        first.handle(Stop(), now=now)
        first.handle(Ended(1, Cause.CLOSED_BY_US), now=now)
        assert first.phase is Phase.CLOSED
        assert first.deadline == inf
    else:
        while first.phase is Phase.OPEN:
            now = first.deadline
            seen = Evidence(kernel(heard_age=now - 10.0))
            lost = first.handle(Tick(1, seen), now=now)
        [told] = [each for each in lost if isinstance(each, Lost)]
        assert (told.cause, told.where) == (Cause.PATH_DEAD, Where.LOCAL)
    assert neighbours.shared(1, now=now) is (how == "path")


def test_a_path_that_dies_alone_is_not_our_own() -> None:
    neighbours, [first, _], now = silent_pair(together=False)
    while first.phase is Phase.OPEN:
        now = first.deadline
        lost = first.handle(Tick(1, Evidence(kernel(heard_age=now - 10.0))), now=now)
    [told] = [each for each in lost if isinstance(each, Lost)]
    assert (told.cause, told.where) == (Cause.PATH_DEAD, Where.BOTH)
    assert not neighbours.shared(0, now=now)


# --- time that was not ours -----------------------------------------------------------


@pytest.mark.parametrize("asleep", [0.0, 60.0])
def test_what_is_sent_on_open_gets_the_time_that_the_machine_was_suspended(
    asleep: float,
) -> None:
    stream = Stream(syncs=True, dialling=Dialling(sync=5.0))
    epoch = stream.session.epoch
    out = stream.feed(DialSucceeded(epoch, "a:1", Evidence(kernel())))
    assert any(isinstance(each, Sync) for each in out)
    began = stream.now
    stream.pong()
    while stream.now + 0.5 < began + 4.9:
        stream.now = min(stream.session.deadline, began + 4.9)
        stream.feed(Tick(epoch, Evidence(kernel(segments_in=int(stream.now * 10)))))
    seen = Evidence(kernel(segments_in=10_000))
    stream.now = began + 4.95 + asleep
    stream.feed(Tick(epoch, seen, asleep))
    assert stream.session.phase is Phase.SYNCING
    stream.now = began + 5.05 + asleep
    stream.feed(Tick(epoch, seen))
    assert (stream.session.phase is Phase.SYNCING) is (asleep > 0)


# --- planned ends ---------------------------------------------------------------------


def test_a_link_must_live_longer_than_what_comes_before_its_end() -> None:
    with pytest.raises(UsageError, match="max_age"):
        Lifetime(max_age=30.0, lead=20.0, spread=10.0)
    assert Lifetime(max_age=30.1, lead=20.0, spread=10.0).max_age == 30.1


def test_only_the_link_that_is_dialled_joins_and_only_once() -> None:
    rollover = Rollover(Lifetime(overlap=10.0))
    rollover.opened(1, draw=0.5, now=0.0)
    rollover.noticed(1, reason="maintenance", now=1.0)
    rollover.joined(2, now=1.5)
    assert rollover.plan is Plan.DUE
    rollover.dialling(2)
    rollover.joined(3, now=2.0)
    assert (rollover.plan, rollover.deadline) == (Plan.DIALLING, inf)
    rollover.joined(2, now=3.0)
    assert (rollover.plan, rollover.deadline) == (Plan.JOINING, 13.0)
    rollover.joined(2, now=4.0)
    assert rollover.deadline == 13.0
    rollover.noticed(1, reason="again", lead=3.0, now=4.0)
    assert rollover.ends_at == 7.0


# --- a feed ---------------------------------------------------------------------------

STEPPED = Numbered(numbering=Numbering(rule=Rule.STEP))
OF_LINK = Numbered(numbering=Numbering(rule=Rule.STEP, scope=Scope.CONNECTION))


def opened(**terms: Any) -> Feed:
    """A feed with `a` and `b` live on link 1, under two rules: see `STEPPED`."""
    named = {"numbered": (STEPPED, OF_LINK), **terms}
    feed = Feed(FeedTerms(**named), ledger=Ledger(), now=1.0)
    feed.want(["a", "b"], now=1.0)
    for asked in feed.begin(1, now=1.0):
        if isinstance(asked, Subscribe):
            feed.acked(asked.request, None, of="subscribe", now=1.0)
    feed.open(now=1.0)
    return feed


def take(feed: Feed, channel: str, number: object, *, anew: bool = False) -> list[Any]:
    line = feed.line(channel, 0, now=2.0)
    return [*(feed.take(line, channel, number, None, None, anew, 2.0) or ())]


def test_a_new_feed_has_met_nothing_that_its_profile_does_not_know() -> None:
    feed = opened()
    assert (feed.unknown, feed.malformed, feed.deadline) == (0, 0, inf)


def test_what_is_missing_of_a_link_is_made_good_for_each_channel_by_its_snapshot() -> (
    None
):
    feed = opened()
    for name in "ab":
        take(feed, name, 1)
    link = feed.line(None, 1, now=2.0)
    for number in (1, 5):
        told = feed.take(link, "", number, None, None, False, 2.0)
    [found] = told or []
    assert isinstance(found, GapFound)
    for name in "ab":
        closed = take(feed, name, 2, anew=True)
        assert [type(each) for each in closed] == [GapClosed]
        assert closed[0].gap.channel == name
        assert take(feed, name, 3, anew=True) == []


def test_a_book_is_known_of_a_channel_that_is_wanted_and_of_no_other() -> None:
    recipe = Recipe(levels=1, order=Order.BID_ASK)
    feed = opened(book=lambda channel, rule: OrderBook(recipe))
    proof = feed.line("a", 0, now=2.0).proof
    assert proof is not None
    assert feed.line("a", 0, now=2.0).proof is proof
    assert feed.line("stranger", 0, now=2.0).proof is None
    assert [each.name for each in feed.mending.proofs] == ["a"]
    proof.book.is_known = True
    feed.begin(2, now=3.0)
    assert not proof.book.is_known
    feed.unwant(["a"], now=3.0)
    assert list(feed.mending.proofs) == []


def test_a_channel_is_live_on_a_link_with_its_first_data_and_told_so_once() -> None:
    feed = opened()
    assert feed.standing("a") is Standing.CONFIRMED
    line = feed.line("a", 0, now=2.0)
    assert not line.is_live
    told = take(feed, "a", 1)
    assert [type(each) for each in told] == [ChannelLive]
    assert line.is_live
    assert take(feed, "a", 2) == []


def test_while_a_stream_is_not_open_no_channel_is_looked_at() -> None:
    looked: list[float] = []
    feed = opened(subscribing=Subscribing(acks=False))
    watch_look = feed.watch.look
    feed.watch.look = lambda *, proven_at, now: (  # type: ignore[method-assign]
        looked.append(now),
        watch_look(proven_at=proven_at, now=now),
    )[1]
    for name in "ab":
        take(feed, name, 1)
    due = feed.watch.deadline
    assert due < inf
    feed.lose(now=2.0)
    feed.tick(proven_at=due, now=due)
    assert looked == []
    feed.begin(2, now=due)
    feed.tick(proven_at=due, now=due)
    assert looked == []
    feed.open(now=due)
    for name in "ab":
        take(feed, name, 1)
    feed.tick(proven_at=due, now=due - 1.0)
    assert looked == []
    feed.tick(proven_at=due, now=feed.watch.deadline)
    assert len(looked) == 1
