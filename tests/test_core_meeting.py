"""Two links of which nothing is known but their content: nothing lost in silence."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from heartline.core.meeting import MOST_HELD, MOST_HELD_BYTES, Meeting
from heartline.core.words import LENGTHS

OVERLAP = 10.0


@dataclass
class Told:
    passed: list[int]
    """Places in what was said, of what the consumer was given."""
    met: bool
    doubled: int
    brought: int
    subscribed: int
    """The place of the first that the new link was sent."""


def told(
    said: list[tuple[float, str]],
    *,
    seed: int,
    most_delay: float,
    prefix: tuple[str, ...] = (),
    lanes: int = 1,
    missing: str | None = None,
    dies_at: float | None = None,
) -> Told:
    """Play one overlap from 0 to its end. `said`: at which time the venue says what.

    `lanes`: messages of so many channels overtake each other on each link; `missing`:
    what the new link was never asked for.
    """
    dice = random.Random(seed)
    meeting = Meeting[tuple[int, str]](overlap=OVERLAP, now=0.0)
    since = dice.uniform(0.0, 1.0)
    ends_at = OVERLAP if dies_at is None else dies_at
    coming: list[tuple[float, int, bool, int, str]] = []
    for new in (False, True):
        delay = dice.uniform(0.0, most_delay)
        free = [0.0] * lanes
        for place, (at, text) in enumerate(said):
            if new and (at < since or text == missing):
                continue
            lane = place % lanes
            arrives = at + delay + dice.uniform(0.0, most_delay / 10)
            free[lane] = arrives = max(arrives, free[lane] + 1e-6)
            coming.append((arrives, len(coming), new, place, text))
    for index, text in enumerate(prefix):
        coming.append((since + 1e-3 * index, -1, True, -1 - index, text))
    coming.sort()
    passed: list[int] = []
    late: list[tuple[float, int, str]] = []
    brought = 0
    for at, _, new, place, text in coming:
        mark = hash(text)
        if at > ends_at:
            if new:
                late.append((at, place, text))
        elif new:
            brought += 1
            assert meeting.new(mark, (place, text), now=at) == []
        elif at >= 0:
            meeting.old(mark, now=at)
            passed.append(place)
            brought += 1
    if dies_at is None:
        meeting.answered(asked_at=ends_at - 0.05)
    held, met = meeting.take_over(now=ends_at)
    passed += [place for place, _ in held]
    for at, place, text in late:
        brought += 1
        passed += [p for p, _ in meeting.new(hash(text), (place, text), now=at)]
    first = next(i for i, (at, _) in enumerate(said) if at >= since)
    return Told(passed, met, meeting.doubled, brought, first)


def texts_of(told: Told, said: list[tuple[float, str]]) -> Counter[str]:
    return Counter(said[place][1] for place in told.passed if place >= 0)


def times(dice: random.Random, every: float, until: float = 20.0) -> list[float]:
    at, found = -5.0, list[float]()
    while (at := at + dice.expovariate(1 / every)) < until:
        found.append(at)
    return found


def assert_whole(result: Told, said: list[tuple[float, str]]) -> None:
    """Each message once; equal ones cannot be told apart, and need not be."""
    assert texts_of(result, said) == Counter(text for _, text in said)
    assert len(result.passed) + result.doubled == result.brought


@pytest.mark.parametrize("seed", range(60))
def test_unlike_messages_are_each_passed_once_whatever_the_delays(seed: int) -> None:
    dice = random.Random(seed)
    every = dice.choice((0.01, 0.1, 0.5))
    said = [(at, f"m{n}") for n, at in enumerate(times(dice, every))]
    prefix = ('{"id":1,"result":null}',) * dice.randrange(3)
    result = told(said, seed=seed, most_delay=dice.choice((0.01, 2.0)), prefix=prefix)
    assert result.met
    assert_whole(result, said)
    # What only the new link says, as an answer to what was sent on open, is kept.
    assert [p for p in result.passed if p < 0] == [-1 - i for i in range(len(prefix))]


@pytest.mark.parametrize("seed", range(60))
def test_equal_ticks_between_unlike_messages_are_neither_lost_nor_doubled(
    seed: int,
) -> None:
    dice = random.Random(seed)
    share = dice.choice((0.2, 0.5, 0.9))
    said = [
        (at, "tick" if dice.random() < share else f"m{n}")
        for n, at in enumerate(times(dice, dice.choice((0.02, 0.1))))
    ]
    result = told(said, seed=seed, most_delay=dice.choice((0.01, 2.0)))
    assert result.met
    assert_whole(result, said)


@pytest.mark.parametrize("seed", range(60))
def test_of_a_few_words_over_and_over_nothing_is_lost_in_silence(seed: int) -> None:
    """Where their order tells where they are, they are joined; else it is said."""
    dice = random.Random(seed)
    words = "ab" if seed % 2 else "abcdefgh"
    said = [(at, dice.choice(words)) for at in times(dice, 0.05)]
    result = told(said, seed=seed, most_delay=2.0)
    assert result.met
    assert_whole(result, said)


@pytest.mark.parametrize("period", [0.01, 0.3, 0.62, 1.0, 1.9, 2.4])
@pytest.mark.parametrize("seed", range(10))
def test_nothing_but_equal_ticks_cannot_be_joined_and_that_is_said(
    seed: int, period: float
) -> None:
    said = [(n * period - 5.0, "tick") for n in range(int(25 / period))]
    result = told(said, seed=seed, most_delay=2.0)
    assert not result.met
    came = texts_of(result, said)["tick"]
    assert came >= len(said)


@pytest.mark.parametrize("cycle", [2, 3, 7])
@pytest.mark.parametrize("period", [0.1, 1.3, 3.1, 6.0])
@pytest.mark.parametrize("seed", range(6))
def test_a_cycle_is_joined_only_where_it_cannot_be_off_by_a_round(
    seed: int, period: float, cycle: int
) -> None:
    said = [(n * period - 5.0, f"c{n % cycle}") for n in range(int(25 / period))]
    result = told(said, seed=seed, most_delay=2.0)
    if result.met:
        assert_whole(result, said)
    else:
        assert not texts_of(result, said) - Counter(
            text for place, (_, text) in enumerate(said) for _ in range(2)
        )
        assert not Counter(text for _, text in said) - texts_of(result, said)


@pytest.mark.parametrize("seed", range(60))
def test_channels_that_overtake_each_other_are_joined_one_by_one(seed: int) -> None:
    dice = random.Random(seed)
    said = [(at, f"m{n}") for n, at in enumerate(times(dice, 0.05))]
    result = told(said, seed=seed, most_delay=1.0, lanes=5)
    assert result.met
    assert_whole(result, said)


@pytest.mark.parametrize("seed", range(150))
def test_ticks_of_channels_that_overtake_each_other_are_never_lost_in_silence(
    seed: int,
) -> None:
    dice = random.Random(seed)
    lanes = dice.choice((2, 3))
    said = [
        (at, "tick" if n % lanes == 0 and dice.random() < 0.6 else f"m{n}")
        for n, at in enumerate(times(dice, dice.choice((0.05, 0.3, 1.0))))
    ]
    result = told(said, seed=seed, most_delay=dice.choice((0.1, 2.0)), lanes=lanes)
    if result.met:
        assert_whole(result, said)
    assert not Counter(text for _, text in said) - texts_of(result, said)


@pytest.mark.parametrize("seed", range(20))
def test_a_channel_that_the_new_link_was_not_asked_for_is_not_lost_in_silence(
    seed: int,
) -> None:
    dice = random.Random(seed)
    said = [
        (at, "only the old" if dice.random() < 0.3 else f"m{n}")
        for n, at in enumerate(times(dice, 0.1))
    ]
    assert not told(said, seed=seed, most_delay=0.5, missing="only the old").met


@pytest.mark.parametrize("seed", range(60))
def test_an_old_link_that_ends_early_costs_nothing_or_a_word(seed: int) -> None:
    dice = random.Random(seed)
    said = [
        (at, "tick" if dice.random() < 0.3 else f"m{n}")
        for n, at in enumerate(times(dice, 0.1))
    ]
    dies_at = dice.uniform(0.5, 10.0)
    result = told(said, seed=seed, most_delay=2.0, dies_at=dies_at)
    assert result.met or dies_at < 8.0
    if result.met:
        assert_whole(result, said)


def test_what_is_no_longer_wanted_is_let_go_with_the_messages_that_follow() -> None:
    """All at once would hold up the loop as long as a look must not."""
    meeting = Meeting[int](overlap=OVERLAP, now=0.0)
    for n in range(100):
        meeting.old(n, now=n / 10)
        meeting.new(n, n, now=n / 10)
    assert meeting._spent == []
    assert meeting.take_over(now=OVERLAP) == ([], True)
    assert any(meeting._spent)
    for n in range(100, 150):
        assert meeting.new(n, n, now=n / 10) == [n]
    assert meeting._spent == []


def test_silence_proves_nothing() -> None:
    meeting = Meeting[str](overlap=OVERLAP, now=0.0)
    assert meeting.take_over(now=OVERLAP) == ([], False)


def test_what_met_is_looked_for_seldom() -> None:
    meeting = Meeting[str](overlap=OVERLAP, now=0.0)
    looks = sum(meeting.due(now=n / 100) for n in range(1000))
    assert looks == 3


def test_a_flood_is_held_in_bounds_and_said_not_to_be_whole() -> None:
    assert (MOST_HELD, MOST_HELD_BYTES) == (32_768, 67_108_864)
    assert LENGTHS == (1, 4, 16)
    meeting = Meeting[int](overlap=OVERLAP, now=0.0)
    assert (meeting._old.maxlen, meeting._new.maxlen) == (65_536, 32_768)
    for n in range(MOST_HELD + 1):
        meeting.old(n, now=n / 4000)
        meeting.new(n, n, now=n / 4000)
    held, met = meeting.take_over(now=OVERLAP)
    assert not met
    assert len(held) <= 1


def test_large_messages_are_held_in_bounds_too() -> None:
    meeting = Meeting[int](overlap=OVERLAP, now=0.0)
    for n in range(90):
        meeting.new(n, n, size_bytes=MOST_HELD_BYTES // 80, now=n / 10)
    assert meeting.take_over(now=OVERLAP) == (list(range(10, 90)), False)


@pytest.mark.parametrize("twice", ["neither", "old", "new"])
def test_what_a_link_brought_twice_does_not_tell_messages_apart_one_by_one(
    twice: str,
) -> None:
    meeting = Meeting[int](overlap=OVERLAP, now=0.0)
    order = [5, 3, 1, 4, 2, 6, 0]
    for step in range(100):
        now = step / 10
        mark = 7 * (step // 7) + order[step % 7]
        if step == 97 and twice != "neither":
            mark = 7 * (step // 7) + order[step % 7 - 1]
        other = 7 * (step // 7) + order[-1 - step % 7]
        old, new = (mark, other) if twice != "new" else (other, mark)
        meeting.old(old, now=now)
        meeting.new(new, new, now=now)
    met = meeting.met(now=9.9)
    assert (met is not None) is (twice == "neither")
    assert met is None or met.unique
