"""Random histories, and those that once went wrong, through all checkers."""

from __future__ import annotations

from pathlib import Path

import pytest

from heartline.core.clocks import Clocks
from heartline.core.events import Tick
from heartline.core.items import Cause
from heartline.core.link import Link
from heartline.testing.checkers import complaints, suspicions
from heartline.testing.sim_line import Line
from heartline.testing.sim_many import tally
from heartline.testing.sim_network import End
from heartline.testing.simulation import Simulation, Traffic, main, story
from heartline.testing.swarm import BUSY, swarm

SEEDS = 120
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


def test_what_waited_behind_a_resend_measures_no_round_trip() -> None:
    sim = Simulation(5)
    sim.venue.manners.traffic, sim.venue.manners.rate = Traffic.STEADY, 20.0
    sim.path(round_trip=0.02)
    sim.client.start()
    sim.run(20.0)
    assert sim.client.end is not None
    venue = sim.client.end.peer
    assert isinstance(venue, End)
    sim.fault("outbound", seconds=0.6)
    longest = 0.0
    for _ in range(40):
        sim.run(0.05)
        seen = venue.evidence().kernel
        assert seen is not None
        longest = max(longest, seen.round_trip)
    assert seen.total_retransmits > 0
    assert longest < 0.1


# --- many at once ------------------------------------------------------------------


def test_many_histories_are_counted_by_feed_fault_and_loss(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--histories", "30", "--seed", "500", "--jobs", "1"]) == 0
    told = capsys.readouterr().out
    assert "30 histories of 10 virtual minutes, seeds 500 to 529" in told
    assert "faults: " in told
    assert "no histories broke a promise" in told


def test_a_broken_promise_among_many_is_told_with_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(self: Clocks, *, now: float) -> None:
        return None

    monkeypatch.setattr(Clocks, "find", find_nothing)
    assert main(["--histories", "20", "--jobs", "1"]) == 1
    told = capsys.readouterr().out
    assert "python -m heartline.testing.simulation" in told
    assert "broke a promise" in told


def test_a_history_that_raises_is_a_failure_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raises(self: Link, fact: Tick, now: float) -> list[object]:
        raise ZeroDivisionError

    monkeypatch.setattr(Link, "_on_tick", raises)
    total = tally(range(3))
    assert [seed for seed, _ in total.failures] == [0, 1, 2]
    assert total.histories == 3


def test_nonsense_is_refused_before_anything_runs() -> None:
    for arguments in ([], ["7", "--histories", "3"], ["--histories", "0"]):
        with pytest.raises(SystemExit):
            main(arguments)


# --- what the swarm draws, and how it is worked out ----------------------------------


def test_the_swarm_draws_every_fault_and_enough_busy_stretches() -> None:
    total = tally(range(100, 170))
    assert len(total.faults) >= 17
    with_feed = total.histories - total.feeds["idle"]
    assert total.feeds["busy for a while"] >= 0.75 * BUSY * with_feed
    assert {Cause.PATH_DEAD, Cause.PEER_FROZEN, Cause.RESET} <= {*total.told}
    assert total.messages["delivered"] + total.messages["dropped and told"] > 5_000


@pytest.mark.parametrize("seed", [6, 19, 22, 25, 30, 38])
def test_a_calm_line_comes_to_what_its_packets_come_to(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acknowledgements and keepalives are worked out, not sent: nobody can tell."""
    calm = events(swarm(seed, seconds=300.0))
    monkeypatch.setattr(Line, "relax", lambda self: None)
    assert events(swarm(seed, seconds=300.0)) == calm


def events(sim: Simulation) -> list[tuple[float, str]]:
    assert not sim.venue.back.loss
    assert not sim.venue.back.jitter
    return [
        (round(at, 4), type(value).__name__)
        for at, kind, value in sim.history
        if kind in ("event", "do")
    ]
