"""Several scenarios at once, each in a process of its own, told in a fixed order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from .outcome import Outcome, failed

AT_ONCE = 6
"""Scenarios at once: more would starve two processors, and timing is what is shown."""
WEIGHTS: Mapping[str, int] = {"slow-consumer": 2, "frozen-writing": 2}
"""Places taken by those that keep a processor busy for a while; the others take one."""
LONGEST_FIRST = ("suspend",)
"""Begun before all others, or everybody would wait for them at the end."""
_CHILD = "heartline.testing.scenarios"

LIMIT = 75.0
"""Seconds after which a scenario is given up."""


class _Line(msgspec.Struct, frozen=True):
    """What a child writes: an order to stop it, or else its outcome."""

    suspend_s: float | None = None


class SideBySide:
    """Plays scenarios in child processes. An async context; iterate it once.

        async with SideBySide(FAULTS, TITLES) as trials:
            async for outcome in trials.outcomes(): ...

    Outcomes come in the order of `faults`. Leaving the context kills what still runs,
    within a second.
    """

    def __init__(self, faults: Sequence[str], titles: Mapping[str, str]) -> None:
        self.running: dict[str, float] = {}
        """Those under way, and since when, on the monotonic clock."""
        self.done: set[str] = set()
        self._faults = tuple(faults)
        self._titles = titles
        self._tasks: dict[str, asyncio.Task[Outcome]] = {}
        self._free = AT_ONCE
        self._freed = asyncio.Condition()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        order = sorted(self._faults, key=lambda fault: fault not in LONGEST_FIRST)
        for fault in order:
            self._tasks[fault] = asyncio.create_task(self._trial(fault))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def outcomes(self) -> AsyncIterator[Outcome]:
        for fault in self._faults:
            yield await self._tasks[fault]

    async def _trial(self, fault: str) -> Outcome:
        weight = WEIGHTS.get(fault, 1)
        # One after the other, or those that take two places would wait for ever.
        async with self._turn, self._freed:
            await self._freed.wait_for(lambda: self._free >= weight)
            self._free -= weight
        self.running[fault] = time.monotonic()
        try:
            return await self._play(fault)
        finally:
            del self.running[fault]
            self.done.add(fault)
            self._free += weight
            async with self._freed:
                self._freed.notify_all()

    async def _play(self, fault: str) -> Outcome:
        title = self._titles[fault]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", _CHILD, fault, str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            # The child finds every module where this process has found it.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            async with asyncio.timeout(LIMIT):
                return await _outcome_of(process, fault, title)
        except TimeoutError:
            return failed(fault, title, f"the trial took longer than {LIMIT:g} s")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _outcome_of(
    process: asyncio.subprocess.Process, fault: str, title: str
) -> Outcome:
    assert process.stdout is not None
    assert process.stderr is not None
    complaints = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            seconds = msgspec.json.decode(line, type=_Line).suspend_s
            if seconds is None:
                return msgspec.json.decode(line, type=Outcome)
            await _suspend(process, seconds)
        last = (await complaints).decode(errors="replace").strip().splitlines()[-1:]
        return failed(fault, title, f"the trial itself failed: {' '.join(last)}")
    finally:
        complaints.cancel()


async def _suspend(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Stop the child from outside, as a closed lid would, and let it go on."""
    assert process.stdin is not None
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    answer = msgspec.json.encode({"continued_at": time.monotonic()})
    process.stdin.write(answer + b"\n")
    process.send_signal(signal.SIGCONT)
