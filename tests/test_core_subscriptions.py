"""Channels are asked for within the venue's limits, and believed only when proven."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

import pytest

from heartline import UsageError
from heartline.core import timers as timing
from heartline.core.budget import Budget, Rate
from heartline.core.channel_events import (
    AckIgnored,
    ChannelLive,
    ChannelOutput,
    Subscribe,
    SubscriptionFailed,
    Unsubscribe,
)
from heartline.core.subscribing import Standing, Subscribing
from heartline.core.subscriptions import Subscriptions
from heartline.core.timers import Timers
from thrown import Planted, planted, properties

TRIES = 60
PENDING, CONFIRMED, LIVE = Standing.PENDING, Standing.CONFIRMED, Standing.LIVE
WANTED, FAILED = Standing.WANTED, Standing.FAILED


# --- a venue to talk to -----------------------------------------------------------


@dataclass
class Venue:
    """Keeps its own books of what was asked, and answers as its manners say."""

    dice: random.Random
    limits: Subscribing
    rates: tuple[Rate, ...] = ()
    silent: frozenset[str] = frozenset()
    """Channels that are acknowledged and never bring data."""
    unknown: frozenset[str] = frozenset()
    """Channels that are left out of every acknowledgement."""
    mute: bool = False
    """It answers nothing at all."""
    lists: str = "all"
    sent_at: list[float] = field(default_factory=list)
    open_requests: set[int] = field(default_factory=set)
    subscribed: set[str] = field(default_factory=set)
    asked: dict[str, int] = field(default_factory=dict)
    told: list[ChannelOutput] = field(default_factory=list)
    touched: list[set[str]] = field(default_factory=list)
    delay: tuple[float, float] = (0.001, 0.5)
    asked_of_link: set[str] = field(default_factory=set)
    commands: dict[int, tuple[str, ...]] = field(default_factory=dict)


class World:
    """A machine and its venue under one clock that only jumps."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.now = 100.0
        self.budget = Budget(venue.rates)
        self.machine = Subscriptions(venue.limits, budget=self.budget)
        self.coming: list[tuple[float, int, Callable[[], list[ChannelOutput]]]] = []
        self.nth = 0
        self.ticks = 0

    def later(self, act: Callable[[], list[ChannelOutput]]) -> None:
        self.nth += 1
        at = self.now + self.venue.dice.uniform(*self.venue.delay)
        heappush(self.coming, (at, self.nth, act))

    def do(self, outputs: list[ChannelOutput]) -> None:
        for output in outputs:
            if isinstance(output, Subscribe | Unsubscribe):
                self.serve(output)
            else:
                self.venue.told.append(output)

    def serve(self, command: Subscribe | Unsubscribe) -> None:
        venue, limits = self.venue, self.venue.limits
        assert command.epoch == self.machine.epoch
        assert 0 < len(command.channels) <= limits.channels
        assert len(set(command.channels)) == len(command.channels)
        venue.sent_at.append(self.now)
        venue.commands[command.request] = command.channels
        venue.touched.append(set(command.channels))
        if limits.acks:
            venue.open_requests.add(command.request)
            assert len(venue.open_requests) <= limits.in_flight
        if isinstance(command, Subscribe):
            for name in command.channels:
                venue.asked[name] = venue.asked.get(name, 0) + 1
            venue.asked_of_link |= set(command.channels)
            venue.subscribed |= set(command.channels) - venue.unknown
        else:
            venue.subscribed -= set(command.channels)
        if not venue.mute and limits.acks:
            self.later(lambda: self.answer(command))
        elif not limits.acks and isinstance(command, Subscribe):
            self.feed(command.channels)
        if venue.mute:
            venue.open_requests.discard(command.request)

    def answer(self, command: Subscribe | Unsubscribe) -> list[ChannelOutput]:
        venue = self.venue
        if command.epoch == self.machine.epoch:
            venue.open_requests.discard(command.request)
        leaves = isinstance(command, Unsubscribe)
        taken = [c for c in command.channels if leaves or c not in venue.unknown]
        if not leaves:
            self.feed(taken)
        of = "unsubscribe" if leaves else "subscribe"
        named: dict[str, Any] = {"of": of, "now": self.now}
        whole = venue.lists == "none" and not venue.unknown
        listed = None if whole else taken
        return self.machine.acked(
            command.epoch, command.request, listed, complete=not leaves, **named
        )

    def feed(self, channels: Iterable[str]) -> None:
        for name in channels:
            if name not in self.venue.silent | self.venue.unknown:
                self.later(lambda name=name: self.data(name))

    def data(self, name: str) -> list[ChannelOutput]:
        if name not in self.venue.subscribed:
            return []
        return self.machine.data(name, now=self.now)

    def run(self, until: float = inf, most: int = 5_000) -> None:
        """Jump from one thing that happens to the next."""
        while True:
            due = self.machine.deadline
            at = self.coming[0][0] if self.coming else inf
            if min(due, at) > until or min(due, at) == inf:
                break
            self.ticks += 1
            assert self.ticks < most, "a hot loop"
            if at <= due:
                self.now = max(self.now, at)
                self.do(heappop(self.coming)[2]())
            else:
                self.now = max(self.now, due)
                self.do(self.machine.tick(now=self.now))
                assert self.machine.deadline > self.now
        self.now = max(self.now, until) if until < inf else self.now

    def failed(self) -> list[str]:
        return [e.channel for e in self.venue.told if isinstance(e, SubscriptionFailed)]


def a_world(dice: random.Random, **named: Any) -> World:
    limits = Subscribing(
        channels=dice.randrange(1, 20),
        in_flight=dice.randrange(1, 5),
        tries=dice.randrange(1, 4),
        ack_within=dice.choice((1.0, 10.0)),
        **named.pop("limits", {}),
    )
    rates = dice.choice(((), (Rate(count=5, per=1.0),), (Rate(count=1, per=0.2),)))
    world = World(Venue(dice, limits, rates, **named))
    world.do(world.machine.open(1, now=world.now))
    return world


def names(count: int) -> list[str]:
    return [f"book.{n}" for n in range(count)]


# --- properties -------------------------------------------------------------------


def an_honest_venue_brings_every_channel_to_life(dice: random.Random) -> None:
    """Whatever is wanted and unwanted meanwhile: what is wanted is LIVE at the end,
    what is not is not subscribed, and the books of both sides agree."""
    acks = dice.random() < 0.7
    world = a_world(dice, limits={"acks": acks}, lists=dice.choice(("all", "none")))
    wanted: set[str] = set()
    for _ in range(dice.randrange(1, 12)):
        some = set(dice.sample(names(60), dice.randrange(1, 30)))
        if dice.random() < 0.6:
            wanted |= some
            world.do(world.machine.want(sorted(some), data_within=5.0, now=world.now))
        else:
            wanted -= some
            world.do(world.machine.unwant(sorted(some), now=world.now))
        world.run(world.now + dice.choice((0.0, 0.05, 1.0)))
    world.run()
    machine = world.machine
    assert set(machine.wanted) == wanted == world.venue.subscribed
    assert machine.counts[LIVE] == len(wanted) == sum(machine.counts.values())
    assert machine.settled
    assert machine.deadline == inf
    assert not world.failed()


def limits_hold_in_every_window(dice: random.Random) -> None:
    """Heartbeats are never held up, and with them the venue's rate is kept."""
    rate = Rate(count=dice.randrange(2, 8), per=dice.choice((0.5, 1.0, 60.0)))
    venue = Venue(dice, Subscribing(channels=3, in_flight=50), (rate,))
    world = World(venue)
    world.do(world.machine.open(1, now=world.now))
    world.do(world.machine.want(names(dice.randrange(10, 90)), now=world.now))
    beat_every = rate.per * dice.uniform(1.1, 3.0)
    beat_at = world.now + dice.uniform(0.0, beat_every)
    sent: list[float] = []
    while world.machine.deadline < inf or world.coming:
        world.run(beat_at)
        world.budget.spend(now=beat_at)
        sent.append(beat_at)
        beat_at += beat_every
        assert len(sent) < 500
    sent = sorted([*sent, *venue.sent_at])
    for first, last in zip(sent, sent[rate.count :], strict=False):
        assert last - first > rate.per
    assert world.machine.counts[LIVE] == len(world.machine.wanted)


def what_is_not_delivered_is_told_failed_once(dice: random.Random) -> None:
    """Neither silent nor unknown channels, nor a mute venue, are asked for ever."""
    every = names(dice.randrange(1, 30))
    silent = frozenset(n for n in every if dice.random() < 0.2)
    unknown = frozenset(n for n in every if dice.random() < 0.2) - silent
    mute = dice.random() < 0.2
    world = a_world(dice, silent=silent, unknown=unknown, mute=mute)
    world.do(world.machine.want(every, data_within=5.0, now=world.now))
    world.run()
    dead = set(every) if mute else silent | unknown
    assert sorted(world.failed()) == sorted(dead)
    assert {n for n in every if world.machine.standing(n) is FAILED} == dead
    assert all(world.venue.asked[n] == world.venue.limits.tries for n in dead)
    assert all(world.venue.asked[n] == 1 for n in set(every) - dead)
    assert world.machine.deadline == inf
    world.do(world.machine.want(sorted(dead)[:1], data_within=5.0, now=world.now))
    world.run()
    assert len(world.failed()) == len(dead) + (1 if dead else 0)


def a_redial_asks_for_everything_again(dice: random.Random) -> None:
    """On each link all is asked for anew, and nothing believed of the last."""
    world = a_world(dice)
    wanted = names(dice.randrange(1, 40))
    world.do(world.machine.want(wanted, now=world.now))
    for epoch in range(2, dice.randrange(3, 6)):
        world.run(world.now + dice.choice((0.0, 0.2, 5.0)))
        world.machine.close()
        assert world.machine.counts[WANTED] == len(wanted)
        assert world.machine.deadline == inf
        stale = world.machine.ignored.stale
        world.do(world.machine.acked(epoch - 1, None, wanted, now=world.now))
        assert world.machine.ignored.stale == stale + 1
        world.venue.asked_of_link.clear()
        world.venue.open_requests.clear()
        world.venue.subscribed.clear()
        world.do(world.machine.open(epoch, now=world.now))
        world.do(world.machine.acked(epoch - 1, None, wanted, now=world.now))
        assert not world.machine.counts[CONFIRMED]
        assert not world.machine.counts[LIVE]
    world.run()
    assert world.venue.asked_of_link == set(wanted)
    assert world.machine.counts[LIVE] == len(wanted)


def a_revival_touches_one_channel(dice: random.Random) -> None:
    world = a_world(dice)
    wanted = names(50)
    world.do(world.machine.want(wanted, now=world.now))
    world.run()
    dead = dice.choice(wanted)
    comes_back = dice.random() < 0.5
    world.venue.silent = frozenset() if comes_back else frozenset({dead})
    world.venue.touched.clear()
    world.venue.told.clear()
    world.do(world.machine.revive(dead, data_within=2.0, now=world.now))
    world.do(world.machine.revive(dead, data_within=2.0, now=world.now))
    world.run()
    assert world.venue.touched
    assert all(touched == {dead} for touched in world.venue.touched)
    lived = [e.channel for e in world.venue.told if isinstance(e, ChannelLive)]
    assert (lived, world.failed()) == (([dead], []) if comes_back else ([], [dead]))
    assert world.machine.counts[LIVE] == 49 + comes_back
    # However late: what brings data after all is alive.
    world.do(world.machine.data(dead, now=world.now))
    assert world.machine.counts[LIVE] == 50


HOSTILE = (None, 5, 1.5, b"x", [], {}, "", "book", "x" * 10_000, ("book.1",))


def answers_that_cannot_be_meant_change_nothing(dice: random.Random) -> None:
    """Random acknowledgements beside an honest venue: same end, counted, told once."""
    world = a_world(dice)
    wanted = names(30)
    world.do(world.machine.want(wanted, now=world.now))
    for _ in range(40):
        world.run(world.now + dice.uniform(0.0, 0.05))
        machine, before = world.machine, dict(world.machine.counts)
        standing = {name: machine.standing(name) for name in wanted}
        epoch = dice.choice((machine.epoch, machine.epoch - 1, machine.epoch + 7))
        asked = [n for n in wanted if standing[n] is PENDING]
        listed = [dice.choice(HOSTILE) for _ in range(dice.randrange(1, 5))]
        listed += [n for n in wanted if n not in asked][:3]
        number = dice.choice((None, -1, 10**9, *world.venue.open_requests))
        if number in world.venue.open_requests:
            # A real request; but what is listed was asked for by others.
            listed += sorted(set(asked) - set(world.venue.commands[number]))
            out = machine.acked(epoch, number, listed, now=world.now)
        elif dice.random() < 0.5:
            whole = dice.random() < 0.5
            out = machine.acked(epoch, number, listed, complete=whole, now=world.now)
        else:
            number = dice.choice((-1, 10**9))
            out = machine.refused(epoch, number, listed, reason="no", now=world.now)
        assert dict(machine.counts) == before
        assert {name: machine.standing(name) for name in wanted} == standing
        world.do(out)
    ignored = world.machine.ignored
    assert ignored.stale + ignored.stray + ignored.unasked > 10
    assert sum(isinstance(e, AckIgnored) for e in world.venue.told) == 1
    world.run()
    assert world.machine.counts[LIVE] == 30


def timers_ring_in_order_and_once(dice: random.Random) -> None:
    timers, truth = Timers[int](), dict[int, float]()
    now = 0.0
    for _ in range(300):
        key = dice.randrange(20)
        if dice.random() < 0.7:
            truth[key] = now + dice.uniform(0.0, 5.0)
            timers.set(key, truth[key])
        elif dice.random() < 0.3:
            truth.pop(key, None)
            timers.cancel(key)
        else:
            now += dice.uniform(0.0, 1.0)
            rung = set[int]()
            while (one := timers.pop(now=now)) is not None:
                rung.add(one)
            due = {key for key, at in truth.items() if at <= now}
            assert rung == due
            for one in due:
                del truth[one]
        assert len(timers) == len(truth)
        assert timers.next_at == min(truth.values(), default=inf)


PROPERTIES = (
    an_honest_venue_brings_every_channel_to_life,
    limits_hold_in_every_window,
    what_is_not_delivered_is_told_failed_once,
    a_redial_asks_for_everything_again,
    a_revival_touches_one_channel,
    answers_that_cannot_be_meant_change_nothing,
    timers_ring_in_order_and_once,
)


test_property = properties(PROPERTIES, tries=TRIES)


# --- examples ---------------------------------------------------------------------


def opened(policy: Subscribing | None = None) -> Subscriptions:
    machine = Subscriptions(policy or Subscribing(channels=2))
    machine.open(1, now=0.0)
    return machine


def test_requests_are_batched_in_the_order_wanted() -> None:
    machine = opened()
    assert machine.want(["a", "b", "c"], now=0.0) == [
        Subscribe(1, 1, ("a", "b")),
        Subscribe(1, 2, ("c",)),
    ]
    assert machine.want(["a"], now=0.0) == []


def test_an_acknowledgement_confirms_what_it_lists_and_no_more() -> None:
    """Deribit leaves channels that do not exist out of its answer."""
    machine = opened()
    machine.want(["a", "b"], now=0.0)
    machine.acked(1, 1, ["a"], complete=True, now=0.5)
    assert (machine.standing("a"), machine.standing("b")) == (CONFIRMED, WANTED)
    assert machine.deadline == 1.5
    assert machine.tick(now=1.5) == [Subscribe(1, 2, ("b",))]


def test_one_answer_for_each_channel_leaves_the_request_open() -> None:
    """OKX and Kraken answer once for each channel."""
    machine = opened(Subscribing(in_flight=1))
    machine.want(["a", "b"], now=0.0)
    machine.acked(1, 1, ["b"], now=0.1)
    assert (machine.standing("a"), machine.standing("b")) == (PENDING, CONFIRMED)
    assert machine.want(["c"], now=0.2) == []
    assert machine.acked(1, None, ["a"], now=0.3) == [Subscribe(1, 2, ("c",))]


def test_an_acknowledged_channel_is_live_only_with_its_first_data() -> None:
    machine = opened()
    machine.want(["a"], data_within=4.0, now=0.0)
    machine.acked(1, 1, None, now=1.0)
    assert machine.standing("a") is CONFIRMED
    assert machine.deadline == 5.0
    live = ChannelLive(at=2.0, epoch=1, channel="a", after=2.0, acknowledged=True)
    assert machine.data("a", now=2.0) == [live]
    assert machine.standing("a") is LIVE
    assert machine.deadline == inf
    assert machine.data("a", now=3.0) == []


def test_data_may_come_before_its_acknowledgement() -> None:
    """Gemini: the first frame may precede the ack."""
    machine = opened()
    machine.want(["a"], data_within=4.0, now=0.0)
    machine.data("a", now=0.1)
    machine.acked(1, 1, None, now=0.2)
    assert machine.standing("a") is LIVE
    assert machine.deadline == inf


def test_a_refusal_for_good_is_told_at_once() -> None:
    machine = opened()
    machine.want(["a"], now=0.0)
    out = machine.refused(1, 1, None, reason="no such channel", final=True, now=0.2)
    failed = SubscriptionFailed(
        at=0.2, epoch=1, channel="a", reason="no such channel", attempts=1
    )
    assert out == [failed]
    assert machine.deadline == inf


def test_nothing_is_due_of_a_link_that_is_gone() -> None:
    machine = opened()
    machine.want(["a"], now=0.0)
    machine.refused(1, 1, None, reason="busy", now=0.1)
    assert machine.deadline < inf
    machine.close()
    assert machine.deadline == inf


def test_pauses_between_attempts_double() -> None:
    machine = opened(Subscribing(tries=4, retry_after=1.0))
    machine.want(["a"], now=0.0)
    now, waited = 0.0, []
    for number in (1, 2, 3):
        machine.refused(1, number, None, reason="busy", now=now)
        waited.append(machine.deadline - now)
        now = machine.deadline
        machine.tick(now=now)
    assert waited == [1.0, 2.0, 4.0]


def test_where_a_request_replaces_all_each_lists_everything() -> None:
    """Upbit: a new request replaces all earlier ones."""
    machine = opened(Subscribing(acks=False, unsubscribes=False, replaces=True))
    assert machine.want(["a"], now=0.0) == [Subscribe(1, 1, ("a",))]
    machine.data("a", now=0.1)
    assert machine.want(["b"], now=0.2) == [Subscribe(1, 2, ("a", "b"))]
    assert machine.standing("a") is LIVE
    assert machine.unwant(["a"], now=0.3) == [Subscribe(1, 3, ("b",))]


def test_a_channel_wanted_again_is_asked_for_once_it_was_left() -> None:
    machine = opened()
    machine.want(["a"], now=0.0)
    machine.acked(1, 1, None, now=0.1)
    assert machine.unwant(["a"], now=0.2) == [Unsubscribe(1, 2, ("a",))]
    assert machine.want(["a"], now=0.3) == []
    assert machine.data("a", now=0.4) == []
    left = machine.acked(1, 2, None, of="unsubscribe", now=0.5)
    assert left == [Subscribe(1, 3, ("a",))]


@pytest.mark.parametrize("keys", [80, 1000])
def test_sweeping_costs_no_more_than_setting(
    keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[int] = []

    def sweep(heap: list[Any]) -> None:
        swept.append(len(heap))
        heapify(heap)

    monkeypatch.setattr(timing, "heapify", sweep)
    timers, rounds = Timers[int](), 20
    for at in range(rounds):
        for key in range(keys):
            timers.set(key, at + key / keys)
    assert swept
    assert sum(swept) < rounds * keys
    assert len(timers) == keys


def test_ten_thousand_channels_are_asked_for_in_no_time() -> None:
    machine = opened(Subscribing(channels=100, in_flight=200))
    out = machine.want(names(10_000), data_within=9.0, now=0.0)
    assert len(out) == 100
    for command in out:
        assert isinstance(command, Subscribe)
        machine.acked(1, command.request, None, now=0.1)
    for name in names(10_000):
        machine.data(name, now=0.2)
    assert machine.counts[LIVE] == 10_000
    assert machine.deadline == inf


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Subscribing(tries=0), "Subscribing.tries"),
        (lambda: Subscribing(channels=0), "Subscribing.channels"),
        (lambda: Rate(count=0, per=1.0), "Rate.count"),
    ],
    ids=["tries", "channels", "rate"],
)
def test_limits_that_cannot_be_are_refused(
    make: Callable[[], object], field: str
) -> None:
    with pytest.raises(UsageError) as refused:
        make()
    assert refused.value.field == field


# --- the properties can fail ------------------------------------------------------


def _believes_any_epoch(self: Subscriptions, epoch: int, *args: Any, **named: Any):
    return _acked(self, self.epoch, *args, **named)


def _asks_at_once(self: Subscriptions, wanted: Any) -> None:
    self._move(wanted, WANTED)
    if self._open:
        self._to_ask[wanted.name] = None


def _never_gives_up(self: Subscriptions, wanted: Any, reason: str, now: float) -> None:
    wanted.attempts = 0
    self._ask(wanted)


def _leaves_all(self: Subscriptions, wanted: Any) -> None:
    for other in self._wanted.values():
        _leave(self, other)


def _takes_all(self: Subscriptions, name: str, found: Any, leaves: bool) -> bool:
    return name in self._wanted


_acked = Subscriptions.acked
_leave = Subscriptions._leave

PLANTED: tuple[Planted, ...] = (
    (
        an_honest_venue_brings_every_channel_to_life,
        Subscriptions,
        "_ask",
        _asks_at_once,
    ),
    (limits_hold_in_every_window, Budget, "free_at", lambda self: -inf),
    (
        what_is_not_delivered_is_told_failed_once,
        Subscriptions,
        "_fail",
        _never_gives_up,
    ),
    (a_redial_asks_for_everything_again, Subscriptions, "acked", _believes_any_epoch),
    (a_revival_touches_one_channel, Subscriptions, "_leave", _leaves_all),
    (
        answers_that_cannot_be_meant_change_nothing,
        Subscriptions,
        "_was_asked",
        _takes_all,
    ),
    (timers_ring_in_order_and_once, Timers, "cancel", lambda self, key: None),
)


test_a_planted_fault_is_found = planted(PLANTED, tries=TRIES)
