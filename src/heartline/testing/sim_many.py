"""Many random histories at once, on all cores: what was tried, and what went wrong."""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from heartline.core.events import DialLost

from .checkers import complaints, replay_of
from .simulation import Simulation
from .swarm import SECONDS, is_busy, swarm

AT_ONCE = 50
"""Histories a worker makes before it tells of them."""
COLLECTED_EVERY = 20_000
"""Objects more than at the last time: some megabytes that histories leave in cycles."""


@dataclass(slots=True)
class Tally:
    """What a number of histories came to; tallies can be added."""

    histories: int = 0
    core_seconds: float = 0.0
    feeds: Counter[str] = field(default_factory=Counter[str])
    """Histories with that traffic, and those with a busy stretch."""
    faults: Counter[str] = field(default_factory=Counter[str])
    told: Counter[str] = field(default_factory=Counter[str])
    messages: Counter[str] = field(default_factory=Counter[str])
    failures: list[tuple[int, list[str]]] = field(
        default_factory=list[tuple[int, list[str]]]
    )
    """Seeds, and what was said of them."""

    def add(self, other: Tally) -> None:
        self.histories += other.histories
        self.core_seconds += other.core_seconds
        self.feeds += other.feeds
        self.faults += other.faults
        self.told += other.told
        self.messages += other.messages
        self.failures += other.failures

    def take(self, seed: int, sim: Simulation, said: list[str]) -> None:
        """Count one history that has run and was judged."""
        reading = sim.reading
        self.feeds[sim.venue.manners.traffic.value] += 1
        self.feeds["busy for a while"] += is_busy(sim)
        self.faults.update(episode.name for episode in reading.episodes)
        self.told.update(told.lost.cause.value for told in reading.losses)
        self.told.update(
            f"dial {value.cause.value}"
            for _, kind, value in sim.history
            if kind == "event" and isinstance(value, DialLost)
        )
        buffer, passed = sim.client.buffer, sim.client.consumer.passed
        self.messages["numbered"] += sim.venue.numbered
        self.messages["delivered"] += buffer.delivered + passed
        self.messages["dropped and told"] += buffer.dropped
        if said:
            self.failures.append((seed, said))


def tally(seeds: range) -> Tally:
    """Make, run and judge the histories of `seeds`, one after the other."""
    total = Tally()
    began = time.process_time()
    with _collecting_seldom():
        for seed in seeds:
            total.histories += 1
            try:
                sim = swarm(seed)
                total.take(seed, sim, complaints(sim))
            except Exception as error:
                # A hot loop, an assertion of the core: it counts, and the rest goes on.
                said = [f"raised {type(error).__name__}: {error}", replay_of(seed)]
                total.failures.append((seed, said))
    total.core_seconds = time.process_time() - began
    return total


@contextmanager
def _collecting_seldom() -> Generator[None, None, None]:
    """What is loaded outlives every history, and what one leaves behind is little."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECTED_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def run_many(histories: int, *, seed: int, jobs: int | None) -> int:
    """Run the histories of `seed` and the seeds after it; 1 if a promise was broken."""
    jobs = jobs or os.cpu_count() or 1
    began = time.monotonic()
    total = Tally()
    terminal = Console(stderr=True)
    shown = Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
    )
    with shown as progress:
        task = progress.add_task("histories", total=histories)
        for part in _parts(histories, seed, jobs):
            total.add(part)
            progress.advance(task, part.histories)
            for number, said in part.failures:
                progress.console.print(f"seed {number}:", *said, sep="\n  ")
    print(report(total, seed=seed, jobs=jobs, took=time.monotonic() - began))
    return 1 if total.failures else 0


def _parts(histories: int, seed: int, jobs: int) -> Iterator[Tally]:
    end = seed + histories
    chunks = [
        range(first, min(first + AT_ONCE, end)) for first in range(seed, end, AT_ONCE)
    ]
    if jobs == 1:
        yield from map(tally, chunks)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        yield from pool.map(tally, chunks)
    finally:
        pool.shutdown(cancel_futures=True)


def report(total: Tally, *, seed: int, jobs: int, took: float) -> str:
    """What was tried and found, for a reader."""
    each = 1000 * total.core_seconds / max(1, total.histories)
    last = seed + total.histories - 1
    lines = [
        f"{total.histories:,} histories of {SECONDS / 60:g} virtual minutes, seeds"
        f" {seed} to {last}, in {took:,.0f} s with {jobs} jobs: {each:.1f} ms of one"
        " core each"
    ]
    for title, counts in (
        ("feeds", total.feeds),
        ("faults", total.faults),
        ("losses told", total.told),
        ("messages", total.messages),
    ):
        counted = ", ".join(f"{name} {n:,}" for name, n in counts.most_common())
        lines.append(f"{title}: {counted}")
    for number, said in total.failures:
        lines += [f"seed {number}:", *(f"  {line}" for line in said)]
    broken = len(total.failures)
    lines.append(f"{broken or 'no'} histories broke a promise")
    return "\n".join(lines)
