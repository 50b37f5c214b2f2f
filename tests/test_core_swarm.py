"""Random histories, and those that once went wrong, through all checkers."""

from __future__ import annotations

from pathlib import Path

import pytest

from heartline.testing.checkers import complaints, suspicions
from heartline.testing.simulation import main, story
from heartline.testing.swarm import swarm

SEEDS = 200
AT_ONCE = 10
KEPT = Path(__file__).with_name("simulation_seeds.txt")


def kept_seeds() -> list[int]:
    lines = KEPT.read_text(encoding="utf-8").splitlines()
    return [int(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_random_histories_keep_every_promise(first: int) -> None:
    found = {seed: complaints(swarm(seed)) for seed in range(first, first + AT_ONCE)}
    assert {seed: said for seed, said in found.items() if said} == {}


@pytest.mark.parametrize("seed", kept_seeds())
def test_a_history_that_once_went_wrong_does_not_again(seed: int) -> None:
    assert complaints(swarm(seed)) == []


@pytest.mark.parametrize("seed", [3, 4, 17])
def test_the_same_seed_makes_the_same_history(seed: int) -> None:
    first, again, other = swarm(seed), swarm(seed), swarm(seed + 1000)
    assert first.history == again.history
    assert first.client.consumer.items == again.client.consumer.items
    assert first.history != other.history


def test_a_healthy_link_is_hardly_ever_doubted() -> None:
    assert sum(suspicions(swarm(seed, seconds=60.0)) for seed in range(40)) <= 4


def test_a_seed_is_replayed_and_told_by_one_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["7", "--story"]) == 0
    told = capsys.readouterr().out
    assert story(swarm(7)) in told
    assert "every promise kept" in told
