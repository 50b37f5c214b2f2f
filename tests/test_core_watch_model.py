"""The silences of channels beside a model that looks through all of them each time.

Times are on a grid, so that what is compared with what is declared meets its edges.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf

import pytest

from heartline.core import freshness, watched
from heartline.core.channel import CHANNEL_PATIENCE
from heartline.core.contracts import Freshness
from heartline.core.freshness import ChannelWatch
from heartline.core.pace import Pace
from heartline.core.watched import Change, Outcome, Watching

LIVE, QUIET = Outcome.LIVE, Outcome.QUIET
SUSPICIOUS, STALLED = Outcome.SUSPICIOUS, Outcome.STALLED
GRID, YOUNG, WITNESSES = 0.125, 8.0, 4
NAMES = "abcde"


@dataclass
class Channel:
    name: str
    contract: Freshness | None
    data_at: float
    pace: Pace
    since_at: float = -inf
    count: int = 0
    all_at: int = 0
    spells: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)] * 2)
    """Of this window of the memory and of the one before: the longest silence, and how
    many others were about as long."""
    window_at: float = 0.0
    outcome: Outcome = LIVE
    awaits_first: bool = True
    alert: float = -1.0
    granted: float = 0.0
    needed: float = 0.0
    due_at: float = inf
    turn: int = 0

    @property
    def declared(self) -> float:
        return self.contract.every if self.contract else inf


class Model:
    def __init__(self, policy: Watching, now: float) -> None:
        self.policy = policy
        self.all: dict[str, Channel] = {}
        self.strays = self.total = self.opened_total = self.turn = 0
        self.looked_at = self.excused_at = -inf
        self.ours: list[tuple[float, float]] = []
        self.usual, self.recent = Pace(now=now), Pace(now=now)

    # --- what is learned ------------------------------------------------------------

    def enter(self, one: Channel, due_at: float) -> None:
        self.turn += 1
        one.due_at = min(due_at, one.data_at + one.declared)
        one.turn = self.turn

    def feed(self, name: str, now: float, messages: int) -> Change | None:
        one = self.all.get(name)
        if one is None:
            self.strays += messages
            return None
        silence, one.data_at = now - one.data_at, now
        one.count += messages
        self.total += messages
        one.all_at = self.total
        if silence <= one.alert:
            return None
        was, forgets = one.outcome, one.awaits_first
        if one.awaits_first:
            one.awaits_first = False
            one.since_at = now if one.since_at == -inf else one.since_at
        elif now - silence >= self.excused_at:
            forgets = self.age(one, now)
            self.learn(one, silence, now)
        one.outcome, one.needed = LIVE, 0.0
        longest, alike = one.spells[0]
        one.alert = longest if alike >= 5 else longest / 2
        if forgets or was is STALLED:
            self.enter(one, now + self.policy.floor)
        if was is STALLED:
            return Change(name, LIVE, silence, one.declared)
        return None

    def learn(self, one: Channel, silence: float, now: float) -> None:
        longest, alike = one.spells[0]
        if one.outcome is STALLED:
            young = 1 + YOUNG / (now - one.since_at)
            again = 2 * one.granted / self.policy.factor / young
            one.spells[0] = max(longest, min(silence, again)), alike
        elif silence > longest:
            one.spells[0] = silence, alike + 1 if silence <= 1.5 * longest else 0
        elif silence >= longest / 2:
            one.spells[0] = longest, alike + 1

    def age(self, one: Channel, now: float) -> bool:
        one.pace.learn(one.count, half_life=self.policy.memory, now=now)
        windows = (now - one.window_at) / self.policy.memory
        if windows < 1 or now - one.data_at > self.policy.ceiling:
            return False
        one.spells = [(0.0, 0), one.spells[0] if windows < 2 else (0.0, 0)]
        one.window_at, one.alert = now, min(one.alert, 0.0)
        return True

    def allowed(self, one: Channel, now: float) -> float | None:
        age, policy = now - one.since_at, self.policy
        if one.awaits_first or age < policy.warm_up:
            return None
        if one.count < policy.warm_up_messages:
            return None
        most = max(long if alike >= 5 else 3 * long for long, alike in one.spells)
        allowed = max(policy.floor, policy.factor * most * (1 + YOUNG / age))
        return None if allowed > policy.ceiling else allowed

    def witness(self, one: Channel, allowed: float) -> float:
        usual = max(0.0, self.usual.value - one.pace.value)
        least = max(WITNESSES, 2 * len(self.all))
        return max(least, self.policy.witness * usual * allowed)

    # --- what is watched --------------------------------------------------------------

    def watch(self, name: str, contract: Freshness | None, now: float) -> None:
        one = Channel(name, contract, now, Pace(now=now), window_at=now)
        self.all[name] = one
        if contract is not None:
            self.enter(one, inf)

    def excuse(self, lag: float, now: float) -> None:
        self.ours.append((now - lag, now))
        self.excused_at = now
        if lag == inf:
            self.opened_total = self.total

    def open(self, now: float) -> None:
        self.excuse(inf, now)
        for one in self.all.values():
            one.outcome, one.awaits_first, one.alert = LIVE, True, -1.0
            self.turn += 1
            one.due_at, one.turn = now + one.declared, self.turn

    def ours_since(self, at: float) -> float:
        """Steps of the grid after it in which nothing could be heard."""
        last = max((until for _, until in self.ours), default=at)
        steps = int((last - at) / GRID)
        marks = [at + n * GRID for n in range(steps)]
        return GRID * sum(any(a <= t < b for a, b in self.ours) for t in marks)

    # --- what is told -----------------------------------------------------------------

    @property
    def deadline(self) -> float:
        first = min((one.due_at for one in self.all.values()), default=inf)
        return inf if first == inf else max(first, self.looked_at + 0.1)

    def look(self, proven_at: float, now: float) -> list[Change]:
        self.looked_at = now
        self.usual.learn(self.total, half_life=self.policy.memory, now=now)
        self.recent.learn(self.total, half_life=10.0, now=now)
        due = [one for one in self.all.values() if one.due_at <= now]
        told: list[Change] = []
        for one in sorted(due, key=lambda one: (one.due_at, one.turn)):
            again_at = self.judge(one, proven_at, now, told)
            one.due_at = max(again_at, now + 0.05)
        return told

    def judge(
        self, one: Channel, proven_at: float, now: float, told: list[Change]
    ) -> float:
        base_at = one.data_at + self.ours_since(one.data_at)
        silence, every = now - base_at, one.declared
        because = f"declared: data every {every:g} s"
        if one.outcome is STALLED:
            if one.contract is None or not one.contract.redial:
                return inf
            given_up_at = base_at + 2 * every + CHANNEL_PATIENCE
            if now < given_up_at:
                return given_up_at
            change = Change(one.name, STALLED, silence, every, because, redial=True)
            told.append(change)
            return inf
        if silence >= every:
            return self.accuse(one, silence, every, because, proven_at, now, told)
        if one.awaits_first:
            return base_at + every
        self.age(one, now)
        allowed = self.allowed(one, now)
        if allowed is None:
            return min(base_at + every, now + self.policy.ceiling)
        if silence < allowed:
            return min(base_at + every, base_at + allowed)
        heard = self.total - max(one.all_at, self.opened_total)
        if not one.needed:
            one.needed, one.alert = self.witness(one, allowed), -1.0
        if heard < one.needed:
            one.outcome = QUIET
            return min(base_at + every, now + max(0.1, silence / 8))
        said = f"its siblings said {heard} meanwhile, of {one.needed:.0f} to be"
        because = f"{said} expected"
        return self.accuse(one, silence, allowed, because, proven_at, now, told)

    def accuse(
        self,
        one: Channel,
        silence: float,
        allowed: float,
        because: str,
        proven_at: float,
        now: float,
        told: list[Change],
    ) -> float:
        proven = proven_at >= now - silence + allowed
        was, one.outcome = one.outcome, STALLED if proven else SUSPICIOUS
        one.alert, one.granted = -1.0, allowed
        if one.outcome is not was:
            told.append(
                Change(one.name, one.outcome, silence, allowed, because, proven)
            )
        return inf if proven and one.contract is None else now + 0.1

    def bound(self, name: str, now: float) -> float | None:
        one = self.all[name]
        bounds = [one.declared + CHANNEL_PATIENCE]
        allowed = self.allowed(one, now - self.policy.ceiling)
        siblings = self.recent.value - one.pace.value
        if allowed is not None and siblings > 0:
            learned = max(allowed, 2 * self.witness(one, allowed) / siblings)
            learned = learned * 1.125 + CHANNEL_PATIENCE
            bounds += [learned] if learned <= self.policy.ceiling else []
        return None if min(bounds) == inf else min(bounds)

    def at_fault(self, name: str) -> bool:
        one = self.all.get(name)
        if one is None or one.outcome is not STALLED:
            return False
        if one.contract is not None and one.contract.redial:
            return True
        others = [o for o in self.all.values() if o is not one and not o.awaits_first]
        return bool(others) and all(o.outcome is STALLED for o in others)


class Both:
    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.now = 16.0
        policy = Watching(
            factor=dice.choice((0.5, 1.0, 2.0)),
            floor=dice.choice((0.5, 1.0)),
            ceiling=dice.choice((8.0, 16.0)),
            memory=dice.choice((8.0, 32.0, 512.0)),
            witness=dice.choice((0.5, 0.125)),
            warm_up=dice.choice((4.0, 8.0)),
            warm_up_messages=4,
        )
        self.watch, self.model = ChannelWatch(policy, now=16.0), Model(policy, 16.0)
        self.every = {name: dice.choice((1, 1, 2, 3, 8)) for name in NAMES}
        self.muted: set[str] = set()
        self.proves = dice.random() < 0.7
        for name in NAMES[: dice.choice((1, 3, 5))]:
            self.start(name)

    def start(self, name: str) -> None:
        every = self.dice.choice((None, None, 2.0, 4.0))
        contract = None
        if every is not None:
            contract = Freshness(every=every, redial=self.dice.random() < 0.5)
        self.watch.watch(name, contract, now=self.now)
        self.model.watch(name, contract, self.now)

    def step(self) -> None:
        dice, watch, model = self.dice, self.watch, self.model
        self.now += GRID
        now = self.now
        while watch.deadline <= now:
            # Mostly as it falls due, now and then late.
            due = now if dice.random() < 0.1 else watch.deadline
            self.look(due)
        for name in NAMES:
            speaks = name not in self.muted and now / GRID % self.every[name] == 0
            if speaks and dice.random() < 0.95:
                count = dice.choice((1, 1, 3))
                many = () if count == 1 else (count,)
                assert watch.feed(name, now, *many) == model.feed(name, now, count)
        chance = dice.random()
        if chance < 0.03:
            self.muted ^= {dice.choice(NAMES)}
        elif chance < 0.035:
            self.muted = set() if dice.random() < 0.5 else {*NAMES}
        elif chance < 0.042:
            self.proves = not self.proves
        elif chance < 0.045:
            lag = dice.choice((1, 4, 8)) * GRID
            watch.excuse(lag=lag, now=now)
            model.excuse(lag, now)
        elif chance < 0.0475:
            watch.open(now=now)
            model.open(now)
        elif chance < 0.05:
            watch.excuse(now=now)
            model.excuse(inf, now)
        elif chance < 0.055:
            name = dice.choice(NAMES)
            watch.unwatch(name)
            model.all.pop(name, None)
            if dice.random() < 0.7:
                self.start(name)
        elif chance < 0.06:
            self.look(now)

    def look(self, now: float) -> None:
        dice = self.dice
        proven_at = now if self.proves else now - dice.choice((2.0, 4.0, 64.0))
        told = self.watch.look(proven_at=proven_at, now=now)
        assert told == self.model.look(proven_at, now)

    def agree(self) -> None:
        watch, model, now = self.watch, self.model, self.now
        assert watch.deadline == model.deadline
        assert (watch.total, watch.strays) == (model.total, model.strays)
        for name in NAMES:
            one = model.all.get(name)
            assert watch.is_link_at_fault(name) is model.at_fault(name)
            assert watch.outcome(name) is (one and one.outcome)
            if one is not None:
                assert watch.messages(name) == one.count
                assert watch.silence(name, now=now) == now - one.data_at
                assert watch.bound(name, now=now) == model.bound(name, now)
                ceiling = one.declared + CHANNEL_PATIENCE
                ceiling = model.policy.ceiling if ceiling == inf else ceiling
                assert watch.ceiling(name) == ceiling


@pytest.mark.parametrize("seed", range(60))
def test_what_is_held_of_silent_channels_is_what_a_plain_model_says(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "YOUNG", YOUNG)
    monkeypatch.setattr(freshness, "WITNESSES", WITNESSES)
    both = Both(seed)
    for _ in range(600):
        both.step()
        both.agree()
