"""LATE, of many channels: one condition, from the first of them to the last."""

from __future__ import annotations

import random
from math import inf

import pytest

from heartline.core.events import ConditionBegan, ConditionEnded
from heartline.core.items import Condition
from heartline.core.late import LateChannels
from heartline.core.latency import MaxAge
from heartline.core.offset import Age

POLICY = MaxAge(limit=1.0)
OLD, NEW = Age(3.0, 0.5), Age(0.1, 0.05)


@pytest.mark.parametrize("seed", range(30))
def test_one_condition_holds_from_the_first_late_channel_to_the_last(seed: int) -> None:
    dice, late = random.Random(seed), LateChannels(POLICY)
    began_at, now, held = None, 10.0, set[str]()
    for _ in range(200):
        now += dice.choice((0.1, POLICY.hold, 2 * POLICY.hold))
        name = dice.choice("abc")
        if dice.random() < 0.2:
            told = late.forget([name, "nobody"], now=now, epoch=4)
        elif dice.random() < 0.05:
            late.clear()
            assert late.since_at is None
            assert len(late) == 0
            began_at, held, told = None, set(), []
        else:
            age = dice.choice((OLD, NEW))
            told = late.feed(name, age, now=now, epoch=4)
        held = {each for each in "abc" if each in late}
        assert len(late) == len(held)
        if held and began_at is None:
            began_at = now
            [began] = told
            assert isinstance(began, ConditionBegan)
            assert (began.at, began.epoch, began.condition) == (now, 4, Condition.LATE)
            assert began.detail == late.evidence
        elif began_at is not None and not held:
            [ended] = told
            assert isinstance(ended, ConditionEnded)
            assert (ended.at, ended.epoch, ended.condition) == (now, 4, Condition.LATE)
            assert ended.after == pytest.approx(now - began_at)
            began_at = None
        else:
            assert told == []
        assert late.since_at == began_at
        assert bool(late.evidence) is bool(held)


def test_the_evidence_names_the_channel_that_is_late_for_longest() -> None:
    late = LateChannels(POLICY)
    late.feed("a", Age(3.0, 0.5), now=1.0, epoch=1)
    assert late.evidence == "a: data 3.00 s old (±0.5 s), limit 1 s"
    late.feed("b", Age(9.0, inf), now=2.0, epoch=1)
    late.feed("a", Age(4.0, 0.5), now=2.5, epoch=1)
    assert late.evidence == "a: data 4.00 s old (±0.5 s), limit 1 s (and 1 more)"
    late.forget(["a"], now=3.0, epoch=1)
    assert late.evidence == "b: data 9.00 s old, limit 1 s"
    late.forget(["b"], now=3.0, epoch=1)
    assert late.evidence == ""
    late.feed(None, Age(2.0, inf), now=4.0, epoch=1)
    assert late.evidence == "data: data 2.00 s old, limit 1 s"
    assert late.since_at == 4.0


def test_a_channel_that_was_never_late_is_not_kept() -> None:
    late = LateChannels(POLICY)
    for nth in range(100):
        assert late.feed(f"{nth}", NEW, now=float(nth), epoch=1) == []
    assert (len(late), late.evidence, late.since_at) == (0, "", None)
