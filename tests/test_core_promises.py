"""The promises of the core, tried by jumping through time."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core_properties import SIMULATED, Property
from core_pure_properties import PURE

DICE = st.randoms(use_true_random=False)
QUICK = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
SIMULATING = settings(QUICK, max_examples=25)


@pytest.mark.parametrize("promise", PURE, ids=lambda promise: promise.__name__)
def test_it_holds_in_any_order_of_facts(promise: Property) -> None:
    QUICK(given(DICE)(_with_dice(promise)))()


@pytest.mark.parametrize("promise", SIMULATED, ids=lambda promise: promise.__name__)
def test_it_holds_at_any_moment_of_a_stream(promise: Property) -> None:
    SIMULATING(given(DICE)(_with_dice(promise)))()


def _with_dice(promise: Property) -> Property:
    def tried(dice: random.Random) -> None:
        promise(dice)

    return tried
