"""What a feed asks, tells and promises of each channel, call by call."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

import pytest

from heartline.core.channel_events import (
    AckIgnored,
    ChannelLive,
    GapClosed,
    MalformedFound,
    Prove,
    Redial,
    Subscribe,
    SubscriptionFailed,
    Unsubscribe,
)
from heartline.core.contracts import Freshness
from heartline.core.events import ChannelRevived, ChannelStalled, GapFound
from heartline.core.feed import Feed, FeedTerms, Numbered
from heartline.core.gaps import Ledger
from heartline.core.sequence import Numbering, Rule
from heartline.core.subscribing import Standing, Subscribing

BEGAN = 50.0
STEPPED = Numbered(numbering=Numbering(rule=Rule.STEP))
AGAIN = Numbered(numbering=Numbering(rule=Rule.STEP), resubscribe=True)


@dataclass
class World:
    """A feed whose venue acknowledges all it is asked for, and whose link lives."""

    wanted: tuple[str, ...] = ("a", "b")
    terms: FeedTerms = field(default_factory=FeedTerms)
    now: float = BEGAN
    acks: bool = True

    def __post_init__(self) -> None:
        self.ledger = Ledger()
        self.feed = Feed(self.terms, ledger=self.ledger, now=self.now)
        self.told: list[Any] = []
        self.hear(self.feed.want(self.wanted, now=self.now))

    def hear(self, outputs: Any) -> list[Any]:
        heard = list(outputs or ())
        self.told += heard
        for each in heard:
            if not self.acks or not isinstance(each, Subscribe | Unsubscribe):
                continue
            of: Any = "subscribe" if isinstance(each, Subscribe) else "unsubscribe"
            answer = (each.request, each.channels)
            self.hear(self.feed.acked(*answer, of=of, now=self.now))
        return heard

    def begin(self, epoch: int = 1) -> list[Any]:
        heard = self.hear(self.feed.begin(epoch, now=self.now))
        return heard + self.hear(self.feed.open(now=self.now))

    def take(
        self,
        channel: str | None,
        number: object = None,
        *,
        rule: int | None = None,
        anew: bool = False,
        after: float = 0.0,
    ) -> list[Any]:
        self.now += after
        line = self.feed.line(channel, rule, now=self.now)
        key = channel or ""
        taken = self.feed.take(line, key, number, None, None, anew, self.now)
        return self.hear(taken)

    def tick(self, *, proven: bool = True) -> list[Any]:
        """Tick at the deadline; `proven`: the link is heard at that instant."""
        assert self.feed.deadline < inf
        self.now = max(self.now, self.feed.deadline)
        proven_at = self.now if proven else -inf
        return self.hear(self.feed.tick(proven_at=proven_at, now=self.now))


def numbered(rule: Numbered, *wanted: str) -> World:
    world = World(wanted or ("a", "b"), FeedTerms(numbered=(rule,)))
    world.begin()
    return world


def contracted(*wanted: str, redial: bool, every: float = 2.0) -> World:
    contract = Freshness(every=every, redial=redial)
    terms = FeedTerms(contract=lambda channel: contract)
    world = World(wanted or ("a",), terms)
    world.begin()
    for name in world.wanted:
        world.take(name)
    return world


# --- asked for, and live ----------------------------------------------------------


def test_a_channel_is_live_with_its_first_data_on_each_link_and_told_once() -> None:
    world = World(acks=False)
    assert world.told == []
    for epoch in (1, 2):
        [asked] = world.begin(epoch)
        assert asked == Subscribe(epoch, asked.request, ("a", "b"))
        assert not world.feed.settled
        world.hear(
            world.feed.acked(asked.request, ["a"], of="subscribe", now=world.now)
        )
        assert world.feed.standing("a") is Standing.CONFIRMED
        assert world.feed.standing("b") is Standing.PENDING
        [live] = world.take("a", after=0.25)
        assert isinstance(live, ChannelLive)
        assert (live.channel, live.epoch, live.at) == ("a", epoch, world.now)
        assert (live.after, live.acknowledged) == (0.25, True)
        assert world.take("a", after=0.25) == []
        assert not world.feed.is_fresh("b", max_age=9.0, now=world.now)
        [live] = world.take("b")
        assert (live.after, live.acknowledged) == (0.5, False)
        assert world.feed.settled
        # The other one's own age counts, to the very edge.
        assert world.feed.is_fresh("a", max_age=0.0, now=world.now)
        assert not world.feed.is_fresh("a", max_age=0.4, now=world.now + 0.5)
        assert world.feed.is_fresh("a", max_age=0.5, now=world.now + 0.5)
    assert world.feed.standing("never asked for") is None


def test_a_channel_wanted_later_is_asked_for_alone_and_one_unwanted_is_left() -> None:
    world = numbered(STEPPED)
    world.take("a", 1, rule=0)
    [asked] = world.hear(world.feed.want(["a", "c"], now=world.now))
    assert asked.channels == ("c",)
    assert world.feed.standing("a") is Standing.LIVE
    received = world.feed.ledger.account("a").received
    assert received == 1
    world.feed.troubles["a"] = SubscriptionFailed(
        at=0.0, epoch=1, channel="a", reason="", attempts=1
    )
    [left] = world.hear(world.feed.unwant(["a"], now=world.now))
    assert left == Unsubscribe(1, left.request, ("a",))
    assert world.feed.troubles == {}
    assert world.feed.standing("a") is None
    assert "a" not in world.feed.subscriptions.wanted
    assert world.ledger.account("a").received == 0
    # Nothing is expected of it: it is a stray, and no silence of it counts.
    strays = world.feed.watch.strays
    world.take("a", 7, rule=0)
    assert world.feed.watch.strays == strays + 1


def test_the_silence_of_a_link_that_is_not_open_is_nobodys() -> None:
    contract = Freshness(every=2.0)
    world = World(("a",), FeedTerms(contract=lambda channel: contract))
    assert world.feed.deadline == inf
    world.hear(world.feed.begin(1, now=world.now))
    assert world.feed.deadline == inf
    world.now += 10.0
    world.hear(world.feed.open(now=world.now))
    assert world.feed.deadline == world.now + 2.0
    world.now += 1.5
    world.feed.excuse(now=world.now)
    assert world.tick() == []
    assert world.feed.deadline == pytest.approx(BEGAN + 11.5 + 2.0)
    [stalled, *_] = world.tick()
    assert isinstance(stalled, ChannelStalled)


@pytest.mark.parametrize("subject", ["lost", "begun"])
def test_a_new_link_begins_without_the_troubles_of_the_last(subject: str) -> None:
    world = contracted(redial=False)
    world.tick()
    assert list(world.feed.troubles) == ["a"]
    if subject == "begun":
        world.hear(world.feed.begin(2, now=world.now))
    else:
        lose: Any = world.feed.lose
        try:
            lose(now=world.now)
        except TypeError:
            lose()
        assert world.feed.standing("a") is Standing.WANTED
        assert world.feed.deadline == inf
    assert world.feed.troubles == {}


# --- numbers -----------------------------------------------------------------------


def test_a_jump_is_told_in_its_place_and_the_channel_asked_for_anew_if_that_helps() -> (
    None
):
    for rule in (STEPPED, AGAIN):
        world = numbered(rule)
        assert len(world.take("a", 5, rule=0)) == 1
        assert world.take("a", 6, rule=0, after=1.0) == []
        before_at = world.now
        out = world.take("a", 10, rule=0, after=0.5)
        found = out[0]
        assert isinstance(found, GapFound)
        assert (found.at, found.epoch) == (world.now, 1)
        gap = found.gap
        assert (gap.reason, gap.channel, gap.epoch) == ("sequence", "a", 1)
        assert (gap.first, gap.last, gap.missing) == (7, 9, 3)
        assert (gap.from_at, gap.until_at) == (before_at, world.now)
        assert world.ledger.open_gaps("a") == [gap]
        assert world.ledger.open_gaps("b") == []
        if rule is STEPPED:
            assert len(out) == 1
            assert world.take("a", 11, rule=0) == []
            continue
        assert [type(each) for each in out[1:]] == [Unsubscribe]
        [again] = [o for o in world.told if isinstance(o, Subscribe)][1:]
        assert again.channels == ("a",)
        # Data of the subscription that ended did not count for the new one.
        [live] = world.take("a", 11, rule=0)
        assert isinstance(live, ChannelLive)


def test_a_snapshot_closes_the_gaps_it_covers_and_costs_nothing_when_all_is_well() -> (
    None
):
    world = numbered(STEPPED)
    world.ledger.lose_link(0, heard_at=BEGAN - 5.0)
    outage = world.ledger.regain_link(now=BEGAN)
    world.take("a", 5, rule=0)
    [jump] = world.take("a", 8, rule=0, after=1.0)
    closed = world.take("a", 20, rule=0, anew=True, after=1.0)
    assert all(isinstance(each, GapClosed) for each in closed)
    assert {(each.at, each.epoch, each.by) for each in closed} == {
        (world.now, 1, "snapshot")
    }
    assert [each.gap.reason for each in closed] == ["outage", "sequence"]
    assert outage is not None
    assert closed[0].gap.until_at == outage.until_at
    assert closed[1].gap == jump.gap
    assert world.ledger.open_gaps("a") == []
    assert world.ledger.open_gaps("b") == [outage]
    whole_at = world.ledger.account("a").whole_at
    assert whole_at == world.now
    assert world.take("a", 30, rule=0, anew=True, after=1.0) == []
    assert world.ledger.account("a").whole_at == whole_at
    # A new link: the next snapshot is looked at again.
    world.begin(2)
    world.take("a", 3, rule=0, anew=True, after=1.0)
    assert world.ledger.account("a").whole_at == world.now


def test_a_snapshot_older_than_a_gap_leaves_it_open_for_the_next() -> None:
    world = numbered(STEPPED)
    world.take("a", 5, rule=0)
    [jump] = world.take("a", 8, rule=0)
    line = world.feed.line("a", 0, now=world.now)
    world.feed.take(line, "a", 6, None, None, True, world.now)
    assert world.ledger.open_gaps("a") == [jump.gap]
    closed = world.take("a", 9, rule=0, anew=True)
    assert [each.gap for each in closed if isinstance(each, GapClosed)] == [jump.gap]


def test_what_counts_over_the_whole_link_is_of_no_channel() -> None:
    world = numbered(AGAIN)
    asked = len([o for o in world.told if isinstance(o, Subscribe)])
    assert world.take(None, 1, rule=0) == []
    [jump] = world.take(None, 3, rule=0)
    assert jump.gap.channel is None
    assert world.take(None, 9, rule=0, anew=True) == []
    assert [g.missing for g in world.ledger.account(None).open] == [1]
    assert world.ledger.account(None).received == 3
    assert len([o for o in world.told if isinstance(o, Subscribe)]) == asked
    assert world.feed.standing("a") is Standing.CONFIRMED


def test_numbers_start_anew_on_a_new_link_unless_they_survive() -> None:
    for survives in (False, True):
        numbering = Numbering(rule=Rule.STEP, survives=survives)
        world = numbered(Numbered(numbering=numbering))
        world.take("a", 5, rule=0)
        world.begin(2)
        found = [o for o in world.take("a", 9, rule=0) if isinstance(o, GapFound)]
        assert [each.gap.missing for each in found] == ([3] if survives else [])


def test_a_message_without_a_number_or_a_rule_is_counted_and_not_compared() -> None:
    world = numbered(STEPPED)
    world.take("a", 5, rule=0)
    assert world.take("a", None, rule=0) == []
    assert world.take("a", 6, rule=0) == []
    assert world.take("a", 99) == []
    assert world.take("a", 7) == []
    assert world.ledger.account("a").received == 5
    nothing = World(("a",), FeedTerms(numbered=(None,)))
    nothing.begin()
    nothing.take("a", 1, rule=0)
    assert nothing.take("a", 9, rule=0) == []


def test_messages_that_break_the_rules_are_counted_and_told_once_a_link() -> None:
    world = numbered(STEPPED)
    world.take("a", 1, rule=0)
    assert world.feed.malformed == 0
    for epoch in (1, 2):
        if epoch == 2:
            world.begin(2)
        before = world.feed.malformed
        [told] = world.hear(world.feed.take_malformed("no price", now=world.now))
        assert told == MalformedFound(at=world.now, epoch=epoch, reason="no price")
        assert world.feed.take_malformed("no size", now=world.now) == []
        assert world.feed.malformed == before + 2
        world.take("a", "x", rule=0)
        assert world.feed.malformed == before + 3
        assert len([o for o in world.told if isinstance(o, MalformedFound)]) == epoch


# --- silence ----------------------------------------------------------------------


def test_a_silent_channel_is_proven_told_and_asked_for_anew_and_its_data_ends_it() -> (
    None
):
    world = contracted(redial=False)
    fed_at = world.now
    assert world.tick(proven=False) == [Prove(1)]
    assert world.now == fed_at + 2.0
    assert not world.feed.troubles
    stalled, *asked = world.tick()
    assert isinstance(stalled, ChannelStalled)
    assert (stalled.at, stalled.epoch, stalled.channel) == (world.now, 1, "a")
    assert stalled.silence == pytest.approx(world.now - fed_at)
    assert stalled.contract == 2.0
    assert [type(each) for each in asked] == [Unsubscribe]
    assert world.told[-1].channels == ("a",)
    assert list(world.feed.troubles) == ["a"]
    assert world.feed.standing("a") is Standing.CONFIRMED
    assert not world.feed.is_fresh("a", max_age=99.0, now=world.now)
    out = world.take("a", after=0.75)
    assert [type(each) for each in out] == [ChannelLive, ChannelRevived]
    revived = out[1]
    assert (revived.at, revived.epoch, revived.channel) == (world.now, 1, "a")
    assert revived.after == pytest.approx(world.now - fed_at)
    assert world.feed.troubles == {}
    assert world.feed.is_fresh("a", max_age=0.0, now=world.now)


def test_a_channel_that_is_proven_silent_already_is_not_asked_to_be_proven() -> None:
    world = contracted(redial=False)
    first, *_ = world.tick()
    assert isinstance(first, ChannelStalled)


def test_a_contract_may_want_a_new_link_for_a_channel_that_stays_silent() -> None:
    world = contracted(redial=True)
    fed_at = world.now
    while not [o for o in world.told if isinstance(o, Redial)]:
        world.tick()
        assert world.now < fed_at + 5.0
    assert world.now == pytest.approx(fed_at + 4.2, abs=0.11)
    [redial] = [o for o in world.told if isinstance(o, Redial)]
    assert (redial.epoch, redial.channel) == (1, "a")
    assert redial.reason == "declared: data every 2 s"


def test_a_refused_channel_is_a_trouble_and_costs_the_link_only_if_it_had_stalled() -> (
    None
):
    subscribing = Subscribing(tries=1)
    contracts = {"a": Freshness(every=2.0)}
    terms = FeedTerms(subscribing=subscribing, contract=contracts.get)
    world = World(("a", "b"), terms, acks=False)
    [asked] = world.begin()
    out = world.hear(
        world.feed.refused(asked.request, ["b"], reason="no such book", now=world.now)
    )
    [failed] = out
    assert isinstance(failed, SubscriptionFailed)
    assert (failed.channel, failed.reason, failed.attempts) == ("b", "no such book", 1)
    assert world.feed.troubles == {"b": failed}
    assert not world.feed.is_fresh("b", max_age=99.0, now=world.now)
    world.hear(world.feed.acked(asked.request, ["a"], of="subscribe", now=world.now))
    world.take("a")
    while world.feed.standing("a") is Standing.LIVE:
        world.tick()
    left = next(o for o in world.told if isinstance(o, Unsubscribe))
    world.hear(world.feed.acked(left.request, ["a"], of="unsubscribe", now=world.now))
    again = [o for o in world.told if isinstance(o, Subscribe)][-1]
    out = world.hear(
        world.feed.refused(again.request, ["a"], reason="busy", now=world.now)
    )
    assert [type(each) for each in out] == [SubscriptionFailed, Redial]
    assert out[1] == Redial(1, "a", "busy")


def test_a_channel_is_given_up_at_its_own_deadline_and_no_other_time() -> None:
    terms = FeedTerms(subscribing=Subscribing(tries=1, ack_within=3.0))
    world = World(("a",), terms, acks=False)
    world.begin()
    assert world.feed.deadline == BEGAN + 3.0
    early = world.feed.tick(proven_at=world.now, now=BEGAN + 2.9)
    assert list(early) == []
    [failed] = world.tick()
    assert isinstance(failed, SubscriptionFailed)
    assert world.feed.troubles == {"a": failed}
    assert world.feed.settled


def test_an_answer_to_nothing_is_told_once() -> None:
    world = World()
    world.begin()
    for nth in range(2):
        out = world.hear(world.feed.acked(99, None, of="subscribe", now=world.now))
        assert [type(each) for each in out] == [AckIgnored] * (nth == 0)


# --- what is promised ----------------------------------------------------------------


def test_bounds_are_those_of_channels_that_something_is_promised_of() -> None:
    contracts = {"a": Freshness(every=2.0), "b": Freshness(every=7.0)}
    world = World(("a", "b", "c"), FeedTerms(contract=contracts.get))
    world.begin()
    promised = {"a": pytest.approx(2.2), "b": pytest.approx(7.2)}
    assert world.feed.bounds(now=world.now) == promised
    # Told unchanged for a second, unless what is wanted changes.
    contracts["d"] = Freshness(every=1.0)
    world.hear(world.feed.want(["d"], now=world.now))
    promised["d"] = pytest.approx(1.2)
    assert world.feed.bounds(now=world.now) == promised
    world.hear(world.feed.unwant(["a"], now=world.now))
    del promised["a"]
    assert world.feed.bounds(now=world.now) == promised
    known = world.feed.bounds(now=world.now + 0.999)
    assert world.feed.bounds(now=world.now + 0.999) is known
    assert world.feed.bounds(now=world.now + 1.0) is not known


@pytest.mark.parametrize("channels", [256, 257])
def test_of_very_many_channels_the_largest_bound_alone_is_told(channels: int) -> None:
    def contract(channel: str) -> Freshness:
        return Freshness(every=1.0 + int(channel))

    names = tuple(str(nth) for nth in range(channels))
    world = World(names, FeedTerms(contract=contract))
    world.begin()
    bounds = world.feed.bounds(now=world.now)
    assert len(bounds) == (256 if channels == 256 else 1)
    if channels > 256:
        assert bounds == {None: pytest.approx(channels + 0.2)}


def test_the_totals_of_a_channel_hold_whatever_is_missing_doubled_or_late() -> None:
    world = numbered(STEPPED)
    for number in (1, 2, 2, 5, 4, 6, 3, 9):
        world.take("a", number, rule=0)
    account = world.ledger.account("a")
    assert (account.received, account.duplicated, account.disordered) == (8, 1, 2)
    assert (account.missing, account.gaps, world.ledger.missing) == (2, 2, 2)
    closed = [o for o in world.told if isinstance(o, GapClosed)]
    assert [(each.by, each.gap.first, each.gap.last) for each in closed] == [
        ("late", 3, 4)
    ]
    assert account.sent == 9


def test_eight_messages_in_a_row_below_the_last_are_a_venue_that_counts_anew() -> None:
    world = numbered(STEPPED, "a")
    for number in (100, 101):
        world.take("a", number, rule=0)
    for number in range(1, 8):
        assert world.take("a", number, rule=0, after=1.0) == []
    [found] = world.take("a", 8, rule=0, after=1.0)
    gap = found.gap
    assert (gap.first, gap.last, gap.missing) == (None, None, None)
    assert (gap.from_at, gap.until_at) == (world.now - 1.0, world.now)
    assert world.take("a", 9, rule=0) == []
    # Others between them are what comes late, and begin the row anew.
    for number in (5, 6, 1, 2, 3, 4, 5, 6, 7, 3):
        assert world.take("a", number, rule=0) == []
    assert world.ledger.account("a").unknown == 1
    assert world.ledger.account("a").sent is None


def test_answers_of_another_link_or_to_nobody_are_counted_and_change_nothing() -> None:
    world = World(acks=False)
    [first] = world.begin(1)
    [asked] = world.begin(2)
    subscriptions, ignored = world.feed.subscriptions, world.feed.subscriptions.ignored
    late: Any = (1, first.request, ["a"])
    assert list(subscriptions.acked(*late, now=world.now)) == []
    assert list(subscriptions.refused(*late, reason="late", now=world.now)) == []
    assert (ignored.stale, ignored.stray, ignored.unasked) == (2, 0, 0)
    assert world.feed.standing("a") is Standing.PENDING
    stray: Any = (2, asked.request + 1, None)
    told = subscriptions.refused(*stray, reason="what?", now=world.now)
    assert [type(each) for each in told] == [AckIgnored]
    assert list(subscriptions.acked(*stray, now=world.now)) == []
    assert (ignored.stale, ignored.stray, ignored.unasked) == (2, 2, 0)
    subscriptions.acked(2, asked.request, ["a", "x", 7], now=world.now)
    assert (ignored.stale, ignored.stray, ignored.unasked) == (2, 2, 2)
    subscriptions.close()
    subscriptions.acked(2, asked.request, ["b"], now=world.now)
    subscriptions.refused(2, asked.request, ["b"], reason="late", now=world.now)
    assert (ignored.stale, ignored.stray, ignored.unasked) == (4, 2, 2)


def test_a_refusal_ends_its_request_though_a_channel_of_it_is_wanted_no_more() -> None:
    subscribing = Subscribing(in_flight=1, unsubscribes=False)
    world = World(("a", "b"), FeedTerms(subscribing=subscribing), acks=False)
    [asked] = world.begin()
    world.hear(world.feed.unwant(["a"], now=world.now))
    refused = world.feed.refused(asked.request, None, reason="no", now=world.now)
    assert list(refused) == []
    [again] = world.tick()
    assert (again.channels, world.now) == (("b",), BEGAN + 1.0)


def test_a_hundred_channels_are_asked_for_at_once_and_eight_requests_stay_open() -> (
    None
):
    world = World(tuple(str(nth) for nth in range(901)), acks=False)
    asked = world.begin()
    assert [len(each.channels) for each in asked] == [100] * 8
    assert world.feed.deadline == BEGAN + 10.0
    first = world.feed.acked(asked[0].request, None, of="subscribe", now=world.now)
    [ninth] = world.hear(first)
    assert len(ninth.channels) == 100
    second = world.feed.acked(asked[1].request, None, of="subscribe", now=world.now)
    [tenth] = world.hear(second)
    assert tenth.channels == ("900",)


def test_what_nobody_asked_for_is_followed_up_to_16384_channels() -> None:
    world = numbered(STEPPED, "a")
    accounts = len(world.ledger.accounts)
    for nth in range(16_384):
        world.feed.line(f"stray {nth}", 0, now=world.now)
    assert len(world.ledger.accounts) == accounts + 16_384
    for number in (1, 9):
        assert world.take("one too many", number, rule=0) == []
        assert world.take("one too many", number, rule=0, anew=True) == []
    assert len(world.ledger.accounts) == accounts + 16_384
    world.take("stray 16383", 1, rule=0)
    assert len(world.take("stray 16383", 9, rule=0)) == 1
    # One that is wanted is followed all the same, and one let go makes room.
    world.hear(world.feed.want(["wanted"], now=world.now))
    world.take("wanted", 1, rule=0)
    assert [g.gap.channel for g in world.take("wanted", 9, rule=0)] == ["wanted"]
    world.hear(world.feed.unwant(["stray 7"], now=world.now))
    world.take("one more", 1, rule=0)
    assert len(world.take("one more", 9, rule=0)) == 1
