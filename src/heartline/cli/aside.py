"""One thread beside the event loop, for output that may block.

A full pipe, a slow disk or a terminal stopped with Ctrl-S must not stop the loop that
keeps the stream alive, nor keep the process from ending.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType

_Job = tuple[Callable[[], None], asyncio.AbstractEventLoop, "asyncio.Future[None]"]

LAST_WORDS = 0.2
"""Seconds that a write under way is given to finish at the end."""


class Aside:
    """Run calls one after the other in a daemon thread; a context manager."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    async def run(self, call: Callable[[], None]) -> None:
        """Return when `call` has returned; raise what it raised.

        Cancelled, it returns at once, and the call goes on alone.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._jobs.put((call, loop, done))
        await done

    def __enter__(self) -> Aside:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._jobs.put(None)
        self._thread.join(LAST_WORDS)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, loop, done = job
            error: Exception | None = None
            try:
                call()
            except Exception as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(_settle, done, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, also where somebody made the descriptor non-blocking.

    Past Python's own buffers: a thread that is killed inside one of their locks at exit
    takes the interpreter with it.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
