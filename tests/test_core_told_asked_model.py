"""Subscriptions beside a model that is written for plainness, in any order of facts.

The model keeps lists and looks through all of them. It says the same, word for word,
and the same deadline, whatever a venue answers, in time, late, twice or to nobody.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import inf
from typing import Any

import pytest

from heartline.core.budget import Budget, Rate
from heartline.core.channel_events import (
    AckIgnored,
    ChannelLive,
    Subscribe,
    SubscriptionFailed,
    Unsubscribe,
)
from heartline.core.subscribing import Standing, Subscribing
from heartline.core.subscriptions import Subscriptions

WANTED, PENDING = Standing.WANTED, Standing.PENDING
CONFIRMED, LIVE, FAILED = Standing.CONFIRMED, Standing.LIVE, Standing.FAILED
NAMES = "abcdefg"


@dataclass
class Channel:
    name: str
    within: float | None
    standing: Standing = WANTED
    attempts: int = 0
    asked_at: float = 0.0
    acknowledged: bool = False
    patience: float | None = None
    due_at: float = inf
    turn: int = 0
    """Of what is due at one time, what was set first comes first."""

    def set(self, standing: Standing) -> None:
        self.standing, self.due_at = standing, inf


@dataclass
class Asked:
    number: int
    leaves: bool
    left: dict[str, bool]
    due_at: float

    @property
    def cared(self) -> list[str]:
        return [name for name, cared in self.left.items() if cared]


class Model:
    def __init__(self, policy: Subscribing, rates: tuple[Rate, ...]) -> None:
        self.policy, self.budget = policy, Budget(rates)
        self.all: list[Channel] = []
        self.requests: list[Asked] = []
        self.to_ask: list[str] = []
        self.to_leave: list[str] = []
        self.leaving: set[str] = set()
        self.anew = self.open = self.told_ignored = False
        self.number = self.epoch = self.turn = 0
        self.told: list[Any] = []
        self.stale = self.stray = self.unasked = 0

    def of(self, name: object) -> Channel | None:
        return next((each for each in self.all if each.name == name), None)

    # --- asking -----------------------------------------------------------------------

    def want(self, names: list[str], within: float | None, now: float) -> list[Any]:
        for name in names:
            channel = self.of(name)
            if channel is None:
                channel = Channel(name, within)
                self.all.append(channel)
            elif channel.standing is not FAILED:
                continue
            channel.attempts = 0
            self.ask(channel)
        return self.send(now)

    def unwant(self, names: list[str], now: float) -> list[Any]:
        for channel in [c for n in names if (c := self.of(n))]:
            self.all.remove(channel)
            self.to_ask = [each for each in self.to_ask if each != channel.name]
            if channel.standing is not WANTED:
                self.leave(channel.name)
        return self.send(now)

    def revive(self, name: str, within: float, now: float) -> list[Any]:
        channel = self.of(name)
        if channel is None or channel.standing in (WANTED, PENDING):
            return []
        channel.attempts, channel.patience = 0, within
        self.start_over(channel)
        return self.send(now)

    def begin(self, epoch: int, now: float) -> list[Any]:
        self.close()
        self.epoch, self.open = epoch, True
        self.budget.begin()
        for channel in self.all:
            self.ask(channel)
        return self.send(now)

    def close(self) -> None:
        self.open = self.told_ignored = self.anew = False
        self.requests, self.to_ask, self.to_leave = [], [], []
        self.leaving = set()
        for channel in self.all:
            channel.attempts, channel.patience = 0, None
            channel.set(WANTED)

    def ask(self, channel: Channel) -> None:
        channel.set(WANTED)
        name = channel.name
        if self.open and name not in self.leaving and name not in self.to_ask:
            self.to_ask.append(name)

    def start_over(self, channel: Channel) -> None:
        self.leave(channel.name)
        self.ask(channel)

    def leave(self, name: str) -> None:
        for request in self.requests:
            if not request.leaves and name in request.left:
                request.left[name] = False
        if self.policy.replaces:
            self.anew = True
        elif self.open and self.policy.unsubscribes:
            self.leaving.add(name)
            if name not in self.to_leave:
                self.to_leave.append(name)

    def left(self, name: str) -> None:
        self.leaving.discard(name)
        channel = self.of(name)
        if channel is not None and channel.standing is WANTED:
            self.ask(channel)

    def may_send(self) -> bool:
        due = bool(self.to_ask or self.to_leave or self.anew)
        return due and self.open and len(self.requests) < self.policy.in_flight

    def send(self, now: float) -> list[Any]:
        out: list[Any] = []
        while self.may_send() and now >= self.budget.free_at():
            leaves = bool(self.to_leave)
            if self.policy.replaces:
                self.to_ask, self.anew = [], False
                names = [c.name for c in self.all if c.standing is not FAILED]
            elif leaves:
                names = self.to_leave[: self.policy.channels]
                self.to_leave = self.to_leave[self.policy.channels :]
            else:
                names = self.to_ask[: self.policy.channels]
                self.to_ask = self.to_ask[self.policy.channels :]
            if not names:
                continue
            self.number += 1
            self.budget.spend(now=now)
            kind = Unsubscribe if leaves else Subscribe
            out.append(kind(self.epoch, self.number, tuple(names)))
            asked = [c for n in names if (c := self.of(n)) and c.standing is WANTED]
            due = names if leaves else [each.name for each in asked]
            if self.policy.acks and due:
                due_at = now + self.policy.ack_within
                left = dict.fromkeys(due, True)
                self.requests.append(Asked(self.number, leaves, left, due_at))
            if leaves and not self.policy.acks:
                for name in names:
                    self.left(name)
            elif not leaves:
                for channel in asked:
                    channel.attempts += 1
                    channel.asked_at, channel.acknowledged = now, False
                    channel.set(PENDING)
                    if not self.policy.acks:
                        self.confirm(channel, now)
        told, self.told = self.told, []
        return out + told

    def confirm(self, channel: Channel, now: float) -> None:
        channel.set(CONFIRMED)
        patient = channel.patience
        within = channel.within if patient is None else patient
        if within is not None:
            self.set_due(channel, now + within)

    def set_due(self, channel: Channel, due_at: float) -> None:
        self.turn += 1
        channel.due_at, channel.turn = due_at, self.turn

    # --- answers ----------------------------------------------------------------------

    def find(self, number: int | None, of: bool | None, lists: bool) -> Asked | None:
        alike = [r for r in self.requests if of is None or r.leaves is of]
        if number is not None:
            return next((r for r in alike if r.number == number), None)
        return alike[0] if alike and not lists else None

    def drop(self, request: Asked, name: str | None) -> None:
        if name is not None:
            request.left.pop(name, None)
        elif not request.cared:
            request.left = {}
        if not request.left:
            self.requests = [each for each in self.requests if each is not request]

    def answered(self, name: str, leaves: bool) -> None:
        for request in self.requests[::-1]:
            if request.leaves is leaves and request.left.get(name):
                return self.drop(request, name)

    def take(self, name: str, leaves: bool, now: float) -> None:
        self.answered(name, leaves)
        if leaves:
            return self.left(name)
        channel = self.of(name)
        assert channel is not None
        channel.acknowledged = True
        if channel.standing is PENDING:
            self.confirm(channel, now)

    def refuse(self, name: str, reason: str, now: float, final: bool = False) -> None:
        self.answered(name, False)
        channel = self.of(name)
        assert channel is not None
        if channel.standing is not PENDING:
            return
        if final or channel.attempts >= self.policy.tries:
            return self.fail(channel, reason, now)
        channel.set(WANTED)
        doubled = 2.0 ** (channel.attempts - 1)
        self.set_due(channel, now + self.policy.retry_after * doubled)

    def fail(self, channel: Channel, reason: str, now: float) -> None:
        channel.set(FAILED)
        failed = SubscriptionFailed(
            at=now,
            epoch=self.epoch,
            channel=channel.name,
            reason=reason,
            attempts=channel.attempts,
        )
        self.told.append(failed)

    def ignore(self, reason: str, now: float) -> None:
        if not self.told_ignored:
            self.told.append(AckIgnored(at=now, epoch=self.epoch, reason=reason))
        self.told_ignored = True

    def may_mean(self, name: str, found: Asked | None, leaves: bool) -> bool:
        if found is not None:
            return found.left.get(name, False)
        if leaves:
            return name in self.leaving and name not in self.to_leave
        channel = self.of(name)
        return channel is not None and channel.standing is PENDING

    def acked(
        self,
        number: int | None,
        names: list[Any] | None,
        leaves: bool,
        complete: bool,
        now: float,
    ) -> list[Any]:
        found = self.find(number, leaves, names is not None)
        if found is None and (number is not None or names is None):
            self.ignore("it answers no open request", now)
            self.stray += 1
            return self.send(now)
        if names is None:
            assert found is not None
            for name in found.cared:
                self.take(name, leaves, now)
            self.drop(found, None)
            return self.send(now)
        for name in names:
            channel = self.of(name)
            if isinstance(name, str) and self.may_mean(name, found, leaves):
                self.take(name, leaves, now)
            elif isinstance(name, str) and found is not None and name in found.left:
                self.drop(found, name)
            elif channel is None or channel.standing is WANTED:
                self.unasked += 1
                self.ignore("it lists what was not asked for", now)
        if complete and found is not None and not leaves:
            for name in found.cared:
                self.refuse(name, "left out of the acknowledgement", now)
            self.drop(found, None)
        return self.send(now)

    def refused(
        self, number: int | None, names: list[Any] | None, final: bool, now: float
    ) -> list[Any]:
        found = self.find(number, None, names is not None)
        if found is None and (number is not None or names is None):
            self.ignore("it answers no open request", now)
            self.stray += 1
            return self.send(now)
        whole = found if names is None else None
        for name in whole.cared if whole else names or []:
            if not isinstance(name, str):
                continue
            if found is not None and found.leaves and name in found.left:
                self.take(name, True, now)
            elif self.may_mean(name, found, False):
                self.refuse(name, "no", now, final)
        if whole is not None:
            self.drop(whole, None)
        return self.send(now)

    def data(self, name: str, now: float) -> list[Any]:
        channel = self.of(name)
        if channel is None or channel.standing is LIVE or name in self.leaving:
            return []
        if not channel.attempts:
            return []
        self.to_ask = [each for each in self.to_ask if each != name]
        channel.attempts, channel.patience = 0, None
        channel.set(LIVE)
        live = ChannelLive(
            at=now,
            epoch=self.epoch,
            channel=name,
            after=now - channel.asked_at,
            acknowledged=channel.acknowledged,
        )
        return [live]

    # --- time -------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        dues = [*(c.due_at for c in self.all), *(r.due_at for r in self.requests)]
        due = min(dues, default=inf)
        return min(due, self.budget.free_at()) if self.may_send() else due

    def tick(self, now: float) -> list[Any]:
        for request in sorted(self.requests, key=lambda each: each.due_at):
            if request.due_at <= now:
                self.requests.remove(request)
                for name in request.cared:
                    if request.leaves:
                        self.left(name)
                    else:
                        self.refuse(name, "not acknowledged", now)
        while late := [each for each in self.all if each.due_at <= now]:
            due = min(late, key=lambda each: (each.due_at, each.turn))
            if due.standing is WANTED:
                self.ask(due)
            elif due.attempts >= self.policy.tries:
                self.fail(due, "no data after it was asked for", now)
            else:
                self.start_over(due)
        return self.send(now)


class Both:
    """The machine and its model, told the same at the same times."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.now = dice, 100.0
        self.policy = Subscribing(
            acks=dice.random() < 0.8,
            unsubscribes=dice.random() < 0.7,
            replaces=dice.random() < 0.2,
            ack_within=dice.choice((2.0, 10.0)),
            retry_after=dice.choice((0.5, 1.0)),
            tries=dice.choice((1, 2, 3)),
            channels=dice.choice((1, 2, 100)),
            in_flight=dice.choice((1, 2, 8)),
        )
        rates = () if dice.random() < 0.6 else (Rate(count=3, per=2.0),)
        self.machine = Subscriptions(self.policy, budget=Budget(rates))
        self.model = Model(self.policy, rates)
        self.epoch = 0

    def names(self, most: int = 4) -> list[str]:
        return self.dice.sample(NAMES, self.dice.randint(1, most))

    def answer(self) -> tuple[int | None, list[Any] | None]:
        """The number of a request, of one that is open more often than not, and what
        it lists."""
        open_ones = [each.number for each in self.model.requests]
        number: int | None = self.dice.choice(
            [*open_ones * 3, None, self.model.number + 1, max(1, self.model.number)]
        )
        listed: list[Any] | None = None
        if self.dice.random() < 0.6:
            listed = self.names(7) + self.dice.choice(([], [], ["stranger"], [7, None]))
        return number, listed

    def act(self) -> tuple[list[Any], list[Any]]:
        machine, model, dice, now = self.machine, self.model, self.dice, self.now
        match dice.choice(
            ("want", "want", "unwant", "revive", "acked", "acked", "acked", "refused",
             "refused", "data", "data", "data", "tick", "tick", "link")
        ):  # fmt: skip
            case "want":
                names, within = self.names(), dice.choice((None, None, 3.0))
                told = machine.want(names, data_within=within, now=now)
                return told, model.want(names, within, now)
            case "unwant":
                names = self.names(2)
                return machine.unwant(names, now=now), model.unwant(names, now)
            case "revive":
                [name] = self.names(1)
                told = machine.revive(name, data_within=4.0, now=now)
                return told, model.revive(name, 4.0, now)
            case "acked":
                return self.acked()
            case "refused":
                number, listed = self.answer()
                final, epoch = dice.random() < 0.2, self.epoch
                told = machine.refused(
                    epoch, number, listed, reason="no", final=final, now=now
                )
                return told, model.refused(number, listed, final, now)
            case "data":
                [name] = self.names(1)
                return machine.data(name, now=now), model.data(name, now)
            case "tick":
                if machine.deadline < inf:
                    self.now = now = max(now, machine.deadline)
                return machine.tick(now=now), model.tick(now)
            case _:
                return self.link()

    def acked(self) -> tuple[list[Any], list[Any]]:
        (number, listed), now = self.answer(), self.now
        leaves, complete = self.dice.random() < 0.3, self.dice.random() < 0.3
        told = self.machine.acked(
            self.epoch,
            number,
            listed,
            of="unsubscribe" if leaves else "subscribe",
            complete=complete,
            now=now,
        )
        return told, self.model.acked(number, listed, leaves, complete, now)

    def link(self) -> tuple[list[Any], list[Any]]:
        machine, model = self.machine, self.model
        chance, now = self.dice.random(), self.now
        if chance < 0.2:
            machine.close()
            model.close()
            # Nobody answers on a link that is gone.
            for stale in (self.epoch, self.epoch - 1):
                assert machine.acked(stale, None, None, now=now) == []
                assert machine.refused(stale, 1, None, reason="", now=now) == []
            model.stale += 4
        if chance < 0.5 or not model.open:
            self.epoch += 1
            return machine.open(self.epoch, now=now), model.begin(self.epoch, now)
        assert machine.acked(self.epoch - 1, None, None, now=now) == []
        model.stale += 1
        return [], []

    def agree(self) -> None:
        machine, model = self.machine, self.model
        assert machine.wanted == [each.name for each in model.all]
        standings = [each.standing for each in model.all]
        assert [machine.standing(each.name) for each in model.all] == standings
        assert machine.counts == {each: standings.count(each) for each in Standing}
        assert machine.settled is not bool({WANTED, PENDING} & set(standings))
        assert machine.deadline == model.deadline
        ignored = machine.ignored
        counted = (ignored.stale, ignored.stray, ignored.unasked)
        assert counted == (model.stale, model.stray, model.unasked)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_asked_and_told_of_channels_is_what_a_plain_model_says(
    seed: int,
) -> None:
    both = Both(random.Random(seed))
    machine, model = both.machine.open(1, now=both.now), both.model.begin(1, both.now)
    both.epoch = 1
    for _ in range(120):
        assert machine == model
        both.agree()
        both.now += both.dice.choice((0.0, 0.01, 0.3, 1.7)) + both.dice.random() / 1e3
        machine, model = both.act()
