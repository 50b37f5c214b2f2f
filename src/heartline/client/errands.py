"""Tasks that belong to one link each: they are few, and none outlives its stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine


class Errands:
    """What is being done for which link; `failed` is told what was not foreseen."""

    __slots__ = (
        "_failed",
        "_tasks",
    )

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}

    def run(self, what: str, epoch: int, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[what, epoch] = task
        task.add_done_callback(lambda done: self._done(what, epoch, done))

    def cancel(self, what: str, epoch: int) -> None:
        task = self._tasks.get((what, epoch))
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def cancel_all(self) -> None:
        for what, epoch in list(self._tasks):
            self.cancel(what, epoch)

    async def ended(self, *, within: float) -> None:
        """Wait until all have ended, for at most `within` seconds."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=within)

    def _done(self, what: str, epoch: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop((what, epoch), None)
        if not self._tasks:
            # A dict that once held something keeps the room for it.
            self._tasks = {}
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._failed(error)
