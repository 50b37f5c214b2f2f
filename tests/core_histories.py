"""What judges a planted fault beside the core's tests: properties, and histories.

Only `make mutate` collects it; `make test` has the same in other words.
"""

from __future__ import annotations

import random

import pytest

from core_properties import SIMULATED, Property
from core_pure_properties import PURE
from heartline.testing.checkers import complaints
from heartline.testing.swarm import swarm

CASES = range(6)
"""Random cases of each property."""
SEEDS = range(60)
"""Simulated histories: the first of those that test_core_swarm judges."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "promise", [*PURE, *SIMULATED], ids=lambda promise: promise.__name__
)
def test_a_promise_is_kept(promise: Property, case: int) -> None:
    promise(random.Random(case))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_history_keeps_every_promise(seed: int) -> None:
    assert complaints(swarm(seed)) == []
