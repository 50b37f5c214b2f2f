"""Many trials, side by side: as many as the machine can do without starving them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self
from zlib import crc32

from . import limits, namespaces
from .outcome import Outcome
from .rows import Row
from .stage import STARTS, Stage
from .trial import Trial, empty

PLACES_PER_CORE = 6
LONGEST = 180.0
"""Seconds after which a trial is given up."""


def places() -> int:
    """How many trials at once this machine carries.

    Twelve on two cores, beside a load of five: of 114 trials none was starved into
    breaking a promise (measured, Linux 6.18).
    """
    return PLACES_PER_CORE * (os.cpu_count() or 1)


def seed_of(row: str, repeat: int, *, seed: int) -> int:
    """What one trial draws from: its own, and the same in every run of that seed."""
    return crc32(f"{seed} {row} {repeat}".encode())


async def once(
    row: Row, repeat: int, *, seed: int, starting: asyncio.Semaphore | None = None
) -> Outcome:
    """One trial from its first namespace to its last; never raises but if cancelled.

    What went wrong in the lab itself is told in `failed`, and is a broken promise: one
    bad trial must not take the figures of all others with it.
    """
    began_at = time.monotonic()
    try:
        async with (
            asyncio.timeout(LONGEST),
            Stage(row.setting, seed=seed, starting=starting) as stage,
        ):
            trial = Trial(row.name, repeat, stage, seed=seed)
            return await row.act(trial) or await trial.finish()
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        return empty(row.name, repeat, why, took=time.monotonic() - began_at)


class Series:
    """All repeats of some rows. An async context; iterate `outcomes` once.

    Leaving it ends what still runs, and takes its networks away.
    """

    def __init__(
        self, rows: Sequence[Row], *, repeats: int, seed: int, side_by_side: int
    ) -> None:
        self.running: dict[str, float] = {}
        """Trials under way, and since when, on the monotonic clock."""
        self._seed = seed
        self._free = self._places = side_by_side
        self._freed = asyncio.Condition()
        self._turn = asyncio.Lock()
        self._starting = asyncio.Semaphore(STARTS)
        self._tasks: list[asyncio.Task[Outcome]] = []
        self._todo = [
            (row, repeat)
            # The rows in turn, so that each meets all the weather of the machine;
            # the longest of them first, or everybody would wait for them at the end.
            for repeat in range(repeats)
            for row in sorted(rows, key=lambda row: -row.lasts * row.weight)
        ]

    @property
    def size(self) -> int:
        return len(self._todo)

    async def __aenter__(self) -> Self:
        namespaces.sweep()
        limits.sweep()
        self._tasks = [
            asyncio.create_task(self._in_turn(row, repeat))
            for row, repeat in self._todo
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        namespaces.remove_all()

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """As they come."""
        for done in asyncio.as_completed(self._tasks):
            yield await done

    async def _in_turn(self, row: Row, repeat: int) -> Outcome:
        weight = min(row.weight, self._places)
        # One after the other, or the heavy ones would wait for ever.
        async with self._turn, self._freed:
            await self._freed.wait_for(lambda: self._free >= weight)
            self._free -= weight
        name = f"{row.name} {repeat + 1}"
        self.running[name] = time.monotonic()
        try:
            seed = seed_of(row.name, repeat, seed=self._seed)
            return await once(row, repeat, seed=seed, starting=self._starting)
        finally:
            del self.running[name]
            self._free += weight
            async with self._freed:
                self._freed.notify_all()
