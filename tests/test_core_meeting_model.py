"""Where two links of content alone meet, beside a model that tries every place.

The model keeps lists and compares all of both. Times are on a grid, so that each edge
is met exactly.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf
from typing import Any

import pytest

from heartline.core import meeting as module
from heartline.core.meeting import Meeting, Met
from heartline.core.words import Words

OVERLAP, SETTLE, GRID = 2.0, 0.5, 0.125
HELD, BYTES = 16, 300


@dataclass
class Model:
    now: float
    held: int = HELD
    old: list[tuple[int, float]] = field(default_factory=list)
    new: list[tuple[int, float, str]] = field(default_factory=list)
    held_bytes: int = 0
    ahead: list[int] = field(default_factory=list)
    unique: bool = False
    over_at: float = inf
    doubled: int = 0

    def __post_init__(self) -> None:
        self.began_at = self.alive_at = self.now
        self.look_at = self.now + 2.5 * SETTLE

    @property
    def alone(self) -> bool:
        return self.over_at < inf

    @property
    def floods(self) -> bool:
        return self.held_bytes > BYTES

    def bring_old(self, mark: int, now: float) -> None:
        self.old = [*self.old, (mark, now)][-2 * self.held :]
        self.alive_at = now

    def bring_new(self, mark: int, text: str, size: int, now: float) -> list[str]:
        if not self.alone:
            self.held_bytes += size
            self.new = [*self.new, (mark, now, text)][-self.held :]
            self.new = self.new[1:] if self.floods else self.new
            return []
        if mark not in self.ahead:
            return [text]
        self.doubled += 1
        place = self.ahead.index(mark)
        before = self.ahead[:place] if self.unique else []
        self.ahead = before + self.ahead[place + 1 :]
        return []

    def due(self, now: float) -> bool:
        due = not self.alone and now >= self.look_at
        self.look_at = now + SETTLE / 2 if due else self.look_at
        return due

    # --- where they meet ------------------------------------------------------------

    def met(self, now: float) -> Met | None:
        if (
            self.alone
            or self.floods
            or not self.old
            or not 0 < len(self.new) < self.held
        ):
            return None
        return self.one_by_one(now) or self.in_order(now)

    def shows(self, old_at: float, new_at: float) -> bool:
        known_from = self.old[0][1] if len(self.old) == 2 * self.held else self.began_at
        known = known_from + SETTLE <= new_at <= self.alive_at - SETTLE
        return known and abs(old_at - new_at) <= SETTLE

    def olds(self, mark: int) -> list[float]:
        return [at for each, at in self.old if each == mark]

    def news(self, mark: int) -> list[float]:
        return [at for each, at, _ in self.new if each == mark]

    def one_by_one(self, now: float) -> Met | None:
        old = [(m, at) for m, at in self.old if at >= now - 2 * SETTLE]
        new = [(m, at) for m, at, _ in self.new if at >= now - 2 * SETTLE]
        both = [(m, self.olds(m), self.news(m)) for m, _ in old + new]
        if any(len(o) > 1 or len(n) > 1 for _, o, n in both):
            return None
        if any(not self.news(m) and at <= self.alive_at - SETTLE for m, at in old):
            return None
        if any(abs(at - o) > SETTLE for m, at in new for o in self.olds(m)):
            return None
        if not any(self.shows(at, n) for m, at in old for n in self.news(m)):
            return None
        alone = [i for i, (m, *_) in enumerate(self.new) if not self.olds(m)]
        return Met(alone, [m for m, _ in old if not self.news(m)], True)

    def anchors(self, length: int) -> list[tuple[int, int]]:
        old, new = [m for m, _ in self.old], [m for m, *_ in self.new]
        olds = [old[i : i + length] for i in range(len(old) - length + 1)]
        news = [new[i : i + length] for i in range(len(new) - length + 1)]
        return [
            (olds.index(word), at)
            for at, word in enumerate(news)
            if news.count(word) == olds.count(word) == 1
            and all(
                self.shows(self.old[olds.index(word) + i][1], self.new[at + i][1])
                for i in (0, length - 1)
            )
        ]

    def in_order(self, now: float) -> Met | None:
        found = [each[-1] for n in (1, 4, 16) if (each := self.anchors(n))]
        if not found:
            return None
        before, at = found[0]
        old, new = [m for m, _ in self.old], [m for m, *_ in self.new]
        pairs = list(zip(old[before:], new[at:], strict=False))
        if any(o != n for o, n in pairs):
            return None
        alike = 0
        while (
            alike < min(before, at) and old[before - 1 - alike] == new[at - 1 - alike]
        ):
            alike += 1
        first_old, first_new = before - alike, at - alike
        fresh = now - 2 * SETTLE
        if first_old > 0 and self.old[first_old - 1][1] >= fresh:
            return None
        greeting = [i for i in range(first_new) if new[i] not in old]
        if len(greeting) < first_new and self.new[first_new - 1][1] >= fresh:
            return None
        rest = list(range(at + len(pairs), len(new)))
        return Met(greeting + rest, old[before + len(pairs) :], False)

    def take_over(self, now: float) -> tuple[list[str], bool]:
        met = self.met(now)
        if met is not None:
            places, self.ahead, self.unique = met.passes, met.ahead, met.unique
        else:
            places = [
                i
                for i, (mark, at, _) in enumerate(self.new)
                if len(self.news(mark)) > 1
                or len(self.olds(mark)) != 1
                or abs(at - self.olds(mark)[0]) > SETTLE
            ]
        self.doubled += len(self.new) - len(places)
        self.over_at = now + 2 * SETTLE
        return [self.new[i][2] for i in places], met is not None


def said(dice: random.Random) -> list[tuple[float, bool, int]]:
    """When which link brings what: one venue's words, each link with its delay."""
    share, kinds = dice.choice((0.0, 0.3, 0.7, 1.0)), dice.choice((2, 3, 12))
    every, loses = dice.choice((1, 2, 4)), dice.choice((0.0, 0.0, 0.05))
    delays = {new: dice.choice((0, 0, 1, 2, 4, 5)) for new in (False, True)}
    jumbles, doubles = dice.random() < 0.3, dice.choice((0.0, 0.0, 0.04))
    unlike_from = dice.choice((8, 16, 99))
    since = {False: -4, True: dice.choice((-4, 0, 6, 12))}
    until = {False: dice.choice((12, 20, 99, 99, 99)), True: 99}
    coming: list[tuple[int, int, bool, int]] = []
    at, nth = -4, 0
    while (at := at + every * dice.choice((0, 1, 1, 1, 2))) < 36:
        nth += 1
        equal = at < unlike_from and dice.random() < share
        mark = dice.randrange(kinds) if equal else 100 + nth
        for new, delay in delays.items():
            arrives = at + delay + (dice.randrange(2) if jumbles else 0)
            if dice.random() >= loses and since[new] <= at < until[new]:
                coming.append((arrives, nth, new, mark))
                if dice.random() < doubles:
                    coming.append((arrives + 1, nth, new, mark))
    return [(at * GRID, new, mark) for at, _, new, mark in sorted(coming)]


def alike(meeting: Meeting[str], model: Model, now: float) -> None:
    assert meeting.met(now=now) == model.met(now)
    assert meeting.doubled == model.doubled
    assert meeting.began_at == model.began_at


@pytest.mark.parametrize("block", range(8))
def test_where_two_links_meet_is_what_a_plain_model_says(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", HELD)
    monkeypatch.setattr(module, "MOST_HELD_BYTES", BYTES)
    for seed in range(80 * block, 80 * block + 80):
        dice = random.Random(seed)
        began_at = dice.choice((0, 4)) * GRID
        meeting, model = Meeting[str](overlap=OVERLAP, now=began_at), Model(began_at)
        opens_at = dice.choice((-8, 4, 8)) * GRID
        ends_at = dice.choice((8, 14, 16, 16, 20, 24)) * GRID
        asks_at = dice.choice((0.0, ends_at - 8 * GRID, ends_at - GRID, ends_at))
        large = dice.choice((0, 0, 0, 50))
        if opens_at >= began_at:
            meeting.opened(now=opens_at)
            model.look_at = opens_at + 2.5 * SETTLE
        for nth, (now, new, mark) in enumerate(said(dice)):
            size, text = large * dice.randrange(2), f"{nth}"
            if not model.alone and now >= ends_at:
                assert ends(meeting, asks_at, ends_at) == (
                    ends_model(model, asks_at, ends_at)
                )
                assert not meeting._old
                assert not meeting._new
            if new:
                passed = meeting.new(mark, text, size_bytes=size, now=now)
                assert passed == model.bring_new(mark, text, size, now)
            elif not model.alone:
                meeting.old(mark, now=now)
                model.bring_old(mark, now)
            assert meeting.due(now=now) is model.due(now)
            assert meeting.over(now=now) is (now >= model.over_at)
            alike(meeting, model, now)


def brought(dice: random.Random) -> list[tuple[float, bool, int]]:
    """Far more than is known of each link: either brings the same by turns, or any."""
    kinds, share = dice.choice((2, 3, 9, 1000)), dice.choice((0.3, 0.5, 0.7, 0.9))
    lag, unlike_from = dice.choice((0, 1, 5, 9)), dice.choice((0, 20, 60, 999))
    loses, steps = dice.choice((0.0, 0.0, 0.02)), dice.choice((0, 1, 1, 2))
    follows, every = dice.random() < 0.8, GRID / dice.choice((4, 4, 16, 64))
    text = [
        dice.randrange(kinds) if n < unlike_from or dice.random() < 0.1 else 1000 + n
        for n in range(300)
    ]
    came: list[tuple[float, bool, int]] = []
    places, now = {False: 0, True: 0}, 0.0
    for _ in range(dice.choice((60, 150, 300))):
        now += every * dice.choice((0, 1, steps))
        new = dice.random() >= share
        if follows and new and places[True] > places[False] - lag:
            new = dice.random() < 0.1
        mark = text[places[new]] if follows else dice.randrange(kinds)
        places[new] += 1
        if dice.random() >= loses:
            came.append((now, new, mark))
    return came


@pytest.mark.parametrize("block", range(4))
def test_what_is_counted_as_it_comes_says_what_a_plain_model_counts_at_the_look(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enough is known for the longest words, and the old link's first are forgotten."""
    held = 40
    monkeypatch.setattr(module, "MOST_HELD", held)
    met: list[bool] = []
    for seed in range(200 * block, 200 * block + 200):
        dice = random.Random(seed)
        meeting, model = Meeting[str](overlap=OVERLAP, now=0.0), Model(0.0, held=held)
        now = 0.0
        for nth, (now, new, mark) in enumerate(brought(dice)):
            if new:
                meeting.new(mark, f"{nth}", now=now)
                model.bring_new(mark, f"{nth}", 0, now)
            else:
                meeting.old(mark, now=now)
                model.bring_old(mark, now)
            if dice.random() < 0.1:
                alike(meeting, model, now)
                found = meeting.met(now=now)
                met += [] if found is None else [found.unique]
        assert meeting.take_over(now=now) == model.take_over(now)
    # Both ways are gone, or this shows little.
    assert {True, False} == set(met)


def ends(meeting: Meeting[str], asked_at: float, now: float) -> Any:
    meeting.answered(asked_at=asked_at)
    return meeting.take_over(now=now)


def ends_model(model: Model, asked_at: float, now: float) -> Any:
    model.alive_at = max(model.alive_at, asked_at)
    return model.take_over(now)


def test_without_a_size_a_message_weighs_nothing() -> None:
    meeting = Meeting[int](overlap=OVERLAP, now=0.0)
    for n in range(4):
        meeting.new(n, n, now=0.1 * n)
    assert meeting._held_bytes == 0


def test_a_message_that_is_forgotten_spoils_nothing_any_more() -> None:
    words = Words(old=2, new=2, settle=1.0)
    for at in (0.0, 1.0):
        words.add_old(7, at)
    assert words.spoilt_at == 1.0
    words.add_old(8, 2.0)
    assert words.spoilt_at is None


def test_what_the_old_link_alone_brought_stands_in_the_order_it_came_last() -> None:
    words = Words(old=9, new=9, settle=1.0)
    for at, mark in enumerate((7, 8, 7)):
        words.add_old(mark, float(at))
    assert [*words.missing.items()] == [(8, 1.0), (7, 2.0)]


def test_all_that_weighs_of_two_links_can_be_let_go_of_part_by_part() -> None:
    words = Words(old=50, new=50, settle=1.0)
    for nth in range(40):
        words.add_old(nth % 35, 0.01 * nth)
        words.add_new(nth % 35 + 2, 0.01 * nth)
    assert words.spoilt_at is not None
    assert all((words.missing, *words.both))
    parts: list[Any] = words.parts()
    for part in parts:
        part.clear()
    for link in (words.old, words.new):
        assert not any((link.marks, link.ats, *link.words, *link.last, *link.many))
    assert not any((words.missing, *words.both))
    assert words.spoilt_at is None
