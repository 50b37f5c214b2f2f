"""One dead channel among many is found; a quiet market is left in peace."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from math import inf, log10
from typing import Any

import pytest

from heartline import Freshness, UsageError
from heartline.core import freshness as module
from heartline.core.channel import CHANNEL_PATIENCE
from heartline.core.channel_events import ChannelLive, Subscribe, Unsubscribe
from heartline.core.freshness import ChannelWatch
from heartline.core.subscribing import Standing, Subscribing
from heartline.core.subscriptions import Subscriptions
from heartline.core.watched import Change, Outcome, Watched, Watching

TRIES = 3
CHANNELS = 50


# --- a market -----------------------------------------------------------------------


@dataclass
class Market:
    """Channels of all tempers; virtual time jumps from one message to the next."""

    dice: random.Random
    slowest: float
    fastest: float
    tempers: tuple[str, ...] = ("poisson", "steady", "bursty")
    slowed: Callable[[float], float] = lambda now: 1.0
    proven: bool = True
    muted: set[str] = field(default_factory=set)
    told: list[tuple[float, Change]] = field(default_factory=list)
    now: float = 0.0
    looks: int = 0

    def __post_init__(self) -> None:
        self.watch = ChannelWatch(now=0.0)
        self.means: dict[str, tuple[str, float]] = {}
        self.coming: list[tuple[float, str]] = []
        for n in range(CHANNELS):
            name = f"book.{n}"
            mean = 10 ** self.dice.uniform(log10(self.fastest), log10(self.slowest))
            self.means[name] = self.dice.choice(self.tempers), mean
            self.watch.watch(name, now=0.0)
            self.coming.append((self.silence(name) * self.dice.random(), name))
        heapify(self.coming)

    def silence(self, name: str) -> float:
        temper, mean = self.means[name]
        dice = self.dice
        mean *= self.slowed(self.now)
        match temper:
            case "poisson":
                return dice.expovariate(1 / mean)
            case "steady":
                return mean * dice.uniform(0.8, 1.2)
            case _:
                calm = dice.random() < 0.05
                return mean * 20 * dice.expovariate(1) if calm else mean / 20

    def run(self, until: float) -> None:
        while True:
            at, name = self.coming[0]
            due = self.watch.deadline
            if min(at, due) >= until:
                self.now = until
                return
            if due <= at:
                self.now = due
                self.looks += 1
                proven_at = due if self.proven else -inf
                self.tell(self.watch.look(proven_at=proven_at, now=due))
                assert self.watch.deadline > due
                continue
            self.now = at
            heapreplace(self.coming, (at + self.silence(name), name))
            if name not in self.muted:
                change = self.watch.feed(name, at)
                self.tell([change] if change else [])

    def tell(self, changes: list[Change]) -> None:
        self.told += [(self.now, change) for change in changes]

    def stalled(self) -> list[str]:
        return [c.channel for _, c in self.told if c.outcome is Outcome.STALLED]


# --- properties -----------------------------------------------------------------------


def a_muted_channel_is_told_within_its_bound(dice: random.Random) -> None:
    """Of fifty channels one falls silent: it is named in time, and no other is. When
    it speaks again that is told, once."""
    market = Market(dice, slowest=3.0, fastest=0.1)
    market.run(700.0)
    market.told.clear()
    bounds = {name: market.watch.bound(name, now=700.0) for name in market.means}
    promised = [name for name, bound in bounds.items() if bound is not None]
    assert len(promised) > CHANNELS / 4
    muted = dice.choice(promised)
    bound = bounds[muted]
    assert bound is not None
    assert bound <= market.watch.ceiling(muted)
    market.muted.add(muted)
    silent_since = 700.0 - market.watch.silence(muted, now=700.0)
    market.run(silent_since + bound)
    assert market.stalled() == [muted]
    assert market.watch.outcome(muted) is Outcome.STALLED
    assert not market.watch.is_link_at_fault(muted)
    market.run(silent_since + bound + 60.0)
    assert market.stalled() == [muted]
    market.muted.clear()
    market.run(silent_since + bound + 120.0)
    revived = [c for _, c in market.told if c.outcome is Outcome.LIVE]
    assert [change.channel for change in revived] == [muted]
    assert revived[0].silence >= 60.0


def a_quiet_market_is_left_in_peace(dice: random.Random) -> None:
    """An hour of fifty channels that rarely say anything: not one is accused."""
    market = Market(dice, slowest=1200.0, fastest=20.0, tempers=("poisson", "steady"))
    market.run(3600.0)
    assert market.stalled() == []
    assert market.looks < 10 * 3600


def a_market_that_closes_is_left_in_peace(dice: random.Random) -> None:
    """All channels stop within the same instants and stay so for an hour."""
    market = Market(
        dice, slowest=3.0, fastest=0.1, slowed=lambda now: 1.0 if now < 300.0 else 1e9
    )
    market.run(300.0 + 3600.0)
    assert market.stalled() == []
    assert Outcome.QUIET in map(market.watch.outcome, market.means)


def a_declared_channel_is_told_on_time(dice: random.Random) -> None:
    """Past its contract, and only once the link is proven to have lived after it."""
    every = dice.uniform(0.5, 20.0)
    watch = ChannelWatch(now=0.0)
    redial = dice.random() < 0.5
    watch.watch("a", Freshness(every=every, redial=redial), now=0.0)
    assert watch.bound("a", now=0.0) == watch.ceiling("a") == every + CHANNEL_PATIENCE
    now = 0.0
    for _ in range(dice.randrange(20)):
        now += dice.uniform(0.0, every * 0.99)
        while watch.deadline <= now:
            assert watch.look(proven_at=now, now=watch.deadline) == []
        assert watch.feed("a", now) is None
    last_at, proven_at = now, now + dice.uniform(0.0, 2 * every)
    told: list[tuple[float, Change]] = []
    while watch.deadline < inf and len(told) < 5:
        now = watch.deadline
        heard_at = proven_at if now >= proven_at else last_at
        told += [(now, change) for change in watch.look(proven_at=heard_at, now=now)]
        if now > last_at + 5 * every + 1.0:
            break
    due_at = last_at + every
    outcomes = [change.outcome for _, change in told if not change.redial]
    if proven_at < due_at:
        # A link that is silent itself: asked about, and the channel never blamed.
        assert outcomes == [Outcome.SUSPICIOUS]
        assert not told[0][1].proven
        return
    assert outcomes[-1] is Outcome.STALLED
    stalled_at = told[-2][0] if told[-1][1].redial else told[-1][0]
    assert stalled_at <= max(due_at, proven_at) + CHANNEL_PATIENCE
    assert any(change.redial for _, change in told) is redial
    assert watch.is_link_at_fault("a") is redial
    if redial:
        assert told[-1][0] >= last_at + 2 * every
    change = watch.feed("a", now + 1.0)
    assert change is not None
    assert change.outcome is Outcome.LIVE


PROPERTIES = (
    (a_muted_channel_is_told_within_its_bound, TRIES),
    (a_quiet_market_is_left_in_peace, 10 * TRIES),
    (a_market_that_closes_is_left_in_peace, TRIES),
    (a_declared_channel_is_told_on_time, 100 * TRIES),
)


def tried(check: Callable[[random.Random], None], tries: int) -> None:
    for seed in range(tries):
        check(random.Random(seed))


@pytest.mark.parametrize(
    ("check", "tries"), PROPERTIES, ids=[check.__name__ for check, _ in PROPERTIES]
)
def test_property(check: Callable[[random.Random], None], tries: int) -> None:
    tried(check, tries)


# --- examples -------------------------------------------------------------------------


def chatter(
    watch: ChannelWatch, names: list[str], *, from_at: float, seconds: float
) -> list[Change]:
    """Each of `names` says something every 0.1 s."""
    told: list[Change] = []
    for step in range(int(seconds * 10)):
        now = from_at + step / 10
        for name in names:
            change = watch.feed(name, now)
            told += [change] if change else []
        while watch.deadline <= now:
            told += watch.look(proven_at=now, now=now)
    return told


def three_channels() -> ChannelWatch:
    watch = ChannelWatch(now=0.0)
    for name in "abc":
        watch.watch(name, now=0.0)
    assert chatter(watch, list("abc"), from_at=0.0, seconds=200.0) == []
    return watch


def test_the_one_that_falls_silent_is_named_with_its_evidence() -> None:
    watch = three_channels()
    bound = watch.bound("c", now=200.0)
    assert bound is not None
    told = chatter(watch, ["a", "b"], from_at=200.0, seconds=10.0)
    assert [change.channel for change in told] == ["c"]
    assert 2.0 <= told[0].silence <= bound
    assert told[0].outcome is Outcome.STALLED
    assert "siblings" in told[0].because


def test_one_of_fifty_is_revived_by_its_own_subscription_alone() -> None:
    """From its silence to its first data, no other channel is spoken of."""
    names = [f"book.{n}" for n in range(CHANNELS)]
    subscriptions, watch = Subscriptions(Subscribing()), ChannelWatch(now=0.0)
    subscriptions.open(1, now=0.0)
    asked = subscriptions.want(names, now=0.0)
    subscriptions.acked(1, 1, names, now=0.0)
    for name in names:
        watch.watch(name, now=0.0)
        subscriptions.data(name, now=0.0)
    assert chatter(watch, names, from_at=0.0, seconds=200.0) == []
    muted, others = names[7], [*names[:7], *names[8:]]
    told = chatter(watch, others, from_at=200.0, seconds=5.0)
    assert [(change.channel, change.outcome) for change in told] == [
        (muted, Outcome.STALLED)
    ]
    now = 205.0
    sent = subscriptions.revive(muted, data_within=5.0, now=now)
    sent += subscriptions.acked(1, 2, [muted], of="unsubscribe", now=now)
    sent += subscriptions.acked(1, 3, [muted], now=now)
    assert sent == [Unsubscribe(1, 2, (muted,)), Subscribe(1, 3, (muted,))]
    assert len(asked) == 1
    (live,) = subscriptions.data(muted, now=now)
    assert isinstance(live, ChannelLive)
    change = watch.feed(muted, now)
    assert change is not None
    assert change.outcome is Outcome.LIVE
    assert subscriptions.counts[Standing.LIVE] == CHANNELS


def test_our_own_pause_accuses_nobody_and_teaches_nothing() -> None:
    watch = three_channels()
    bound = watch.bound("c", now=200.0)
    watch.excuse(now=500.0)
    assert watch.look(proven_at=500.0, now=500.0) == []
    assert chatter(watch, list("abc"), from_at=500.0, seconds=60.0) == []
    again = watch.bound("c", now=560.0)
    assert bound is not None
    assert again is not None
    assert again <= bound


def test_a_stall_that_was_none_is_told_later_the_next_time() -> None:
    """Whether our resubscription healed it or it was only quiet, it is no loop."""
    watch = three_channels()
    silences: list[float] = []
    now = 200.0
    for _ in range(4):
        told = chatter(watch, ["a", "b"], from_at=now, seconds=40.0)
        silences += [change.silence for change in told]
        now += 40.0
        chatter(watch, list("abc"), from_at=now, seconds=1.0)
        now += 1.0
    assert silences == sorted(silences)
    assert silences[1] >= 1.5 * silences[0]


def test_the_link_is_at_fault_when_every_sibling_stalled_as_well() -> None:
    watch = ChannelWatch(now=0.0)
    for name in "abc":
        watch.watch(name, Freshness(every=1.0, redial=False), now=0.0)
    chatter(watch, list("abc"), from_at=0.0, seconds=5.0)
    told = chatter(watch, ["c"], from_at=5.0, seconds=3.0)
    assert {change.channel for change in told} == {"a", "b"}
    assert not watch.is_link_at_fault("a")
    watch.look(proven_at=10.0, now=10.0)
    assert watch.is_link_at_fault("a")


def test_a_channel_alone_is_held_to_nothing_that_was_not_declared() -> None:
    watch = ChannelWatch(now=0.0)
    watch.watch("a", now=0.0)
    chatter(watch, ["a"], from_at=0.0, seconds=200.0)
    assert watch.bound("a", now=200.0) is None
    assert watch.look(proven_at=1000.0, now=1000.0) == []
    assert watch.outcome("a") is Outcome.QUIET


def test_a_new_link_begins_with_first_data_and_keeps_what_was_learned() -> None:
    watch = three_channels()
    watch.open(now=200.0)
    assert watch.deadline == inf
    assert watch.bound("a", now=200.0) is None
    assert chatter(watch, list("abc"), from_at=203.0, seconds=20.0) == []
    assert watch.bound("a", now=223.0) is not None


def test_strangers_are_counted() -> None:
    watch = ChannelWatch(now=0.0)
    assert watch.feed("nobody", 1.0, 3) is None
    assert watch.strays == 3
    watch.watch("a", Freshness(every=1.0), now=1.0)
    watch.unwatch("a")
    assert watch.deadline == inf
    assert watch.outcome("a") is None


def test_ten_thousand_channels_share_one_deadline_and_few_looks() -> None:
    watch = ChannelWatch(now=0.0)
    names = [f"book.{n}" for n in range(10_000)]
    contract = Freshness(every=30.0, redial=False)
    for name in names:
        watch.watch(name, contract, now=0.0)
    for name in names[1:]:
        watch.feed(name, 29.0)
    told, looks, now = [], 0, 0.0
    while (now := watch.deadline) < 31.0:
        told += watch.look(proven_at=now, now=now)
        looks += 1
    assert [change.channel for change in told] == names[:1]
    assert looks <= 10
    assert len(watch._agenda) <= 2 * len(names)


@pytest.mark.parametrize(
    ("field", "named"),
    [("factor", {"factor": 0.0}), ("floor", {"floor": 40.0})],
    ids=["factor", "floor"],
)
def test_policies_that_cannot_be_are_refused(
    field: str, named: dict[str, float]
) -> None:
    with pytest.raises(UsageError) as refused:
        Watching(**named)  # type: ignore[arg-type]
    assert refused.value.field == f"Watching.{field}"


# --- the properties can fail ----------------------------------------------------------


def _no_witness(self: ChannelWatch, watched: Any, allowed: float) -> Any:
    return 1, 0.0


def _never_enough(self: ChannelWatch, watched: Any, allowed: float) -> Any:
    return 0, 1.0


PLANTED: tuple[tuple[Any, Any, str, Any], ...] = (
    (PROPERTIES[0], ChannelWatch, "_heard_of_siblings", _never_enough),
    (PROPERTIES[0], module, "LOOK_AGAIN", 0.2),
    (PROPERTIES[2], ChannelWatch, "_heard_of_siblings", _no_witness),
    (PROPERTIES[3], Watched, "declared", property(lambda self: inf)),
)


@pytest.mark.parametrize(
    ("checked", "owner", "name", "fault"), PLANTED, ids=[str(n) for n in range(4)]
)
def test_a_planted_fault_is_found(
    checked: Any, owner: Any, name: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises(AssertionError):
        tried(*checked)
