"""The silence of one channel among many: how it is measured, and when it is told."""

from __future__ import annotations

import random
from itertools import pairwise
from math import inf

import pytest

from heartline.core.channel import CHANNEL_PATIENCE
from heartline.core.contracts import Freshness
from heartline.core.freshness import STEP, ChannelWatch
from heartline.core.pace import Pace
from heartline.core.watched import Change, Outcome, Watching

POLICY = Watching(warm_up=60.0, warm_up_messages=20)


class Market:
    """Channels that speak as often as is said, in turns; the link always lives."""

    def __init__(
        self, every: dict[str, float], policy: Watching = POLICY, *, now: float = 100.0
    ) -> None:
        self.now = now
        self.watch = ChannelWatch(policy, now=now)
        self.told: list[tuple[float, Change]] = []
        self.every = dict(every)
        self.next_at = {}
        for nth, (name, each) in enumerate(every.items()):
            self.watch.watch(name, now=now)
            self.next_at[name] = now + each * (nth + 1) / len(every)
        self.watch.open(now=now)

    def run(self, seconds: float, *, muted: str | None = None) -> None:
        until = self.now + seconds
        while True:
            name = min(self.next_at, key=lambda each: self.next_at[each])
            at, due = self.next_at[name], self.watch.deadline
            if min(at, due) > until:
                self.now = until
                return
            self.now = min(at, due)
            if due <= at:
                looked = self.watch.look(proven_at=inf, now=due)
                self.told += [(due, change) for change in looked]
                continue
            self.next_at[name] = at + self.every[name]
            if name != muted:
                change = self.watch.feed(name, at)
                self.told += [(at, change)] if change else []

    def stalled(self) -> list[str]:
        return [c.channel for _, c in self.told if c.outcome is Outcome.STALLED]


def test_the_loudest_channel_of_a_market_has_a_bound_and_is_told_within_it() -> None:
    """What it says itself bears no witness against it, nor is it to be expected."""
    market = Market({"loud": 0.05, **{f"soft {n}": 2.0 for n in range(10)}})
    market.run(400.0)
    bound = market.watch.bound("loud", now=market.now)
    assert bound is not None
    silent_since = market.now - market.watch.silence("loud", now=market.now)
    market.run(60.0, muted="loud")
    assert market.stalled() == ["loud"]
    [told_at] = [at for at, c in market.told if c.outcome is Outcome.STALLED]
    assert told_at <= silent_since + bound


@pytest.mark.parametrize("slower", [30.0, 100.0])
def test_a_channel_is_not_accused_while_its_siblings_say_far_less_than_usual(
    slower: float,
) -> None:
    market = Market({"a": 0.5, **{f"b{n}": 0.1 for n in range(8)}})
    market.run(300.0)
    assert market.told == []
    for name in market.every:
        market.every[name] *= slower
    market.every["a"] = 1e6
    market.next_at["a"] = 1e6
    market.run(20.0)
    assert market.watch.outcome("a") is Outcome.QUIET
    assert market.stalled() == []


@pytest.mark.parametrize("factor", [0.3, 0.9, 4.0])
@pytest.mark.parametrize("floor", [0.05, 2.0])
def test_a_quiet_channel_that_speaks_is_live_again_whatever_it_is_allowed(
    factor: float, floor: float
) -> None:
    policy = Watching(
        factor=factor, floor=floor, warm_up=60.0, warm_up_messages=20, witness=1e6
    )
    seen = set[Outcome | None]()
    for silence in (0.4, 0.7, 1.5, 3.0, 9.0, 25.0):
        market = Market({"a": 1.0, "b": 1.0, "c": 1.3}, policy)
        market.run(200.0)
        market.run(silence, muted="a")
        seen.add(market.watch.outcome("a"))
        assert market.watch.feed("a", market.now) is None
        assert market.watch.outcome("a") is Outcome.LIVE
        assert market.stalled() == []
    assert Outcome.QUIET in seen


@pytest.mark.parametrize("every", [0.3, 0.7, 1.4, 2.5])
def test_a_declared_channel_that_stalls_again_is_told_as_soon_as_the_first_time(
    every: float,
) -> None:
    watch, now = ChannelWatch(now=0.0), 0.0
    watch.watch("a", Freshness(every=every, redial=False), now=now)
    watch.open(now=now)
    for _ in range(4):
        assert watch.feed("a", now) is None or now > 0.0
        told: list[Change] = []
        spoke_at = now
        while not told:
            now = watch.deadline
            assert now <= spoke_at + every + CHANNEL_PATIENCE
            told = watch.look(proven_at=inf, now=now)
        [change] = told
        assert change.outcome is Outcome.STALLED
        assert change.silence == pytest.approx(now - spoke_at)
        assert change.allowed == every
        now += 5.0


@pytest.mark.parametrize("seed", range(10))
def test_what_is_watched_no_more_holds_up_no_other(seed: int) -> None:
    """All that fall silent at one time are told in one look."""
    dice = random.Random(seed)
    watch = ChannelWatch(now=0.0)
    names = [f"{nth}" for nth in range(40)]
    for name in names:
        watch.watch(name, Freshness(every=2.0, redial=False), now=0.0)
    watch.open(now=0.0)
    for name in names:
        watch.feed(name, 1.0)
    left = set(dice.sample(names, 20))
    for name in left:
        watch.unwatch(name)
    if dice.random() < 0.5:
        again = left.pop()
        watch.watch(again, Freshness(every=2.0, redial=False), now=1.0)
    told: dict[str, float] = {}
    while (now := watch.deadline) < 10.0:
        for change in watch.look(proven_at=inf, now=now):
            assert change.outcome is Outcome.STALLED
            told[change.channel] = now
    assert set(told) == set(names) - left
    assert max(told.values()) <= 3.0 + STEP
    first = min(told.values())
    assert len([at for at in told.values() if at == first]) >= 19
    assert watch.deadline == inf


def test_a_pace_is_what_was_said_by_the_time_it_took() -> None:
    for count in (1, 7, 1000):
        pace = Pace(now=5.0)
        pace.learn(count, half_life=60.0, now=15.0)
        assert pace.value == count / 10.0
        pace.learn(count, half_life=60.0, now=15.05)
        assert pace.value == count / 10.0
        pace.learn(2 * count, half_life=1e9, now=25.0)
        assert pace.value == pytest.approx(2 * count / 20.0)
    forgetful = Pace(now=0.0)
    forgetful.learn(1000, half_life=10.0, now=100.0)
    forgetful.learn(1000, half_life=10.0, now=110.0)
    assert forgetful.value == pytest.approx(5.0)


def test_a_stray_is_counted_and_what_is_watched_is_not_one() -> None:
    watch = ChannelWatch(now=0.0)
    watch.watch("a", now=0.0)
    watch.feed("a", 1.0, 3)
    watch.feed("b", 1.0, 2)
    watch.feed("b", 1.0)
    assert (watch.total, watch.strays, watch.messages("a")) == (3, 3, 3)
    assert watch.outcome("b") is None


def test_a_link_is_at_fault_only_for_a_channel_that_stalled_on_it() -> None:
    watch = ChannelWatch(now=0.0)
    for name, redial in (("a", True), ("b", False)):
        watch.watch(name, Freshness(every=2.0, redial=redial), now=0.0)
    watch.open(now=0.0)
    for name in "ab":
        watch.feed(name, 0.5)
    assert not watch.is_link_at_fault("nobody's")
    assert not watch.is_link_at_fault("a")
    watch.feed("b", 2.4)
    watch.look(proven_at=inf, now=2.5)
    assert watch.is_link_at_fault("a")
    assert not watch.is_link_at_fault("b")
    watch.look(proven_at=inf, now=4.5)
    # Every sibling of which something is expected has stalled as well.
    assert watch.outcome("b") is Outcome.STALLED
    assert watch.is_link_at_fault("b")
    watch.feed("a", 5.0)
    assert not watch.is_link_at_fault("a")
    assert not watch.is_link_at_fault("b")


def test_2000_channels_are_visited_in_a_look_and_the_rest_in_the_next() -> None:
    watch = ChannelWatch(now=0.0)
    for nth in range(2001):
        watch.watch(f"{nth}", Freshness(every=2.0, redial=False), now=0.0)
        assert watch.deadline == 2.0
    watch.open(now=0.0)
    assert watch.deadline == 2.0
    assert len(watch.look(proven_at=inf, now=2.0)) == 2000
    assert watch.deadline == 2.0 + STEP
    assert len(watch.look(proven_at=inf, now=2.0 + STEP)) == 1


# --- exactly --------------------------------------------------------------------------

SLOW = Watching(ceiling=100.0, warm_up=10.0, warm_up_messages=5)


def spoken(policy: Watching = SLOW, *, steps: int = 400) -> tuple[ChannelWatch, float]:
    """`a` and `b` have both spoken once a second for a while; when that was."""
    watch, now = ChannelWatch(policy, now=0.0), 0.0
    for name in "ab":
        watch.watch(name, now=now)
    watch.open(now=now)
    for _ in range(steps):
        now += 1.0
        watch.feed("a", now)
        watch.feed("b", now)
        if now >= watch.deadline:
            assert watch.look(proven_at=now, now=now) == []
    return watch, now


def test_a_published_bound_is_what_is_allowed_and_an_eighth_and_the_patience() -> None:
    watch, now = spoken(steps=4000)
    watched = watch.of("a")
    assert watched is not None
    # By what was allowed a `ceiling` ago, and 20 messages of a sibling that says one a
    # second, of which half are to be expected.
    allowed = 4.0 * (1 + 300.0 / (now - 100.0 - 1.0))
    siblings = watch._recent.value - watched.pace.value
    assert siblings == pytest.approx(1.0, rel=0.02)
    expected = max(allowed, 40.0 / siblings) * 1.125 + CHANNEL_PATIENCE
    assert watch.bound("a", now=now) == pytest.approx(expected)
    assert watch.ceiling("a") == 100.0
    tight, now = spoken(Watching(ceiling=30.0, warm_up=10.0, warm_up_messages=5))
    assert tight.bound("a", now=now) is None


def test_a_channel_without_siblings_that_speak_has_no_learned_bound() -> None:
    watch, now = spoken()
    alone = ChannelWatch(SLOW, now=0.0)
    alone.watch("a", now=0.0)
    alone.open(now=0.0)
    for second in range(1, 400):
        alone.feed("a", float(second))
        if alone.deadline <= second:
            alone.look(proven_at=inf, now=float(second))
    assert alone.bound("a", now=400.0) is None
    assert watch.bound("a", now=now) is not None


def test_looks_lie_a_tenth_of_a_second_apart_and_a_quiet_channel_an_eighth() -> None:
    watch, now = spoken()
    quiet_since = now
    watch.look(proven_at=now, now=now)
    assert watch.deadline >= now + 0.1
    while watch.outcome("a") is not Outcome.QUIET:
        now = watch.deadline
        watch.look(proven_at=inf, now=now)
        assert now < quiet_since + 50.0
    # The sibling is as quiet as it is: both are looked at together, as both grow.
    looks = [now]
    for _ in range(8):
        watch.look(proven_at=inf, now=watch.deadline)
        looks.append(watch._looked_at)
    for before, after in pairwise(looks):
        grown = (before - quiet_since) / 8
        assert after - before == pytest.approx(grown, abs=0.11)


def test_every_message_counts_for_the_whole_market_whoever_takes_it() -> None:
    watch = ChannelWatch(now=0.0)
    watch.watch("a", now=0.0)
    watch.watch("b", now=0.0)
    watched = watch.of("a")
    assert watched is not None
    assert (watched.turn, watched.since_at) == (0, -inf)
    watch.feed("b", 1.0, 3)
    watched.heard.total += 2
    assert watch.total == 5
    assert (watch.messages("a"), watch.messages("b")) == (0, 3)


def test_a_new_link_excuses_the_silence_before_it() -> None:
    watch, now = spoken()
    for name in "ab":
        watched = watch.of(name)
        assert watched is not None
        longest = watched.longest
        watch.open(now=now + 50.0)
        # Its first data, and a second after it; neither is a silence that is learned.
        watch.feed(name, now + 50.5)
        watch.feed(name, now + 50.9)
        assert watched.longest == longest
        now += 100.0


def test_declared_channels_are_due_in_the_order_of_their_contracts() -> None:
    watch = ChannelWatch(now=0.0)
    for name, every in (("a", 9.0), ("b", 7.0), ("c", 3.0), ("d", 5.0)):
        watch.watch(name, Freshness(every=every, redial=False), now=0.0)
    watch.open(now=100.0)
    told: list[tuple[float, str]] = []
    while len(told) < 4:
        now = watch.deadline
        changes = watch.look(proven_at=inf, now=now)
        told += [(now, c.channel) for c in changes if c.outcome is Outcome.STALLED]
    assert told == [(103.0, "c"), (105.0, "d"), (107.0, "b"), (109.0, "a")]
