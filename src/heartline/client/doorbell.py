"""Wakes the one task that waits for items, without another turn of the loop.

An `asyncio.Future` wakes its waiter through the loop's queue: one more pass of the
loop, with its own look at every socket, for each read. That pass costs more than
reading sixteen messages, and it delays each of them. Rung from a callback of the loop,
this bell runs the waiting task's next step at once; from inside a task it cannot, and
goes through the queue like a future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, cast

_Wakeup = Callable[["asyncio.Future[None] | Cancelled"], object]

_once = cast("Callable[[tuple[object]], Generator[Any, None, None]]", iter)
"""Yields the one value of a tuple, at half of what a generator costs that does."""


class Doorbell:
    """One waiter at a time; `await bell.rung()` returns after the next `ring`.

    It speaks the protocol that asyncio's tasks speak with whatever they await:
    `_asyncio_future_blocking`, `get_loop`, `add_done_callback` and `cancel`.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_context",
        "_loop",
        "_rung",
        "_wakeup",
        "get_loop",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        # A task takes what a future of asyncio says without asking it by name; and the
        # future, asked for its loop, needs no Python to answer.
        self._rung: asyncio.Future[None] = loop.create_future()
        self._rung.set_result(None)
        self.get_loop = self._rung.get_loop
        self._wakeup: _Wakeup | None = None
        self._context: Context | None = None

    @property
    def awaited(self) -> bool:
        return self._wakeup is not None

    def __await__(self) -> Generator[Any, None, None]:
        self._asyncio_future_blocking = True
        return _once((self,))

    def ring(self, *, at_once: bool = False) -> None:
        """Wake the waiter, if there is one; `at_once` before this call returns.

        At once is only possible where no task runs; else it happens in the next pass.
        """
        wakeup, context = self._take()
        if wakeup is None:
            return
        if at_once and asyncio.current_task(self._loop) is None:
            assert context is not None
            context.run(wakeup, self._rung)
        else:
            self._loop.call_soon(wakeup, self._rung, context=context)

    def _take(self) -> tuple[_Wakeup | None, Context | None]:
        wakeup, self._wakeup = self._wakeup, None
        return wakeup, self._context

    # --- called by the waiting task -------------------------------------------------

    def add_done_callback(self, wakeup: _Wakeup, *, context: Context) -> None:
        self._wakeup, self._context = wakeup, context

    def remove_done_callback(self, wakeup: _Wakeup) -> int:
        self._wakeup = None
        return 1

    def cancel(self, msg: object = None) -> bool:
        """Called when the waiting task is cancelled: it is woken with the news."""
        wakeup, context = self._take()
        if wakeup is None:
            return False
        # Not by way of this bell: another task may wait for it before that one wakes.
        self._loop.call_soon(wakeup, Cancelled(msg), context=context)
        return True


class Cancelled:
    """What a task is woken with, instead of the bell, when it was cancelled."""

    __slots__ = ("_reason",)

    def __init__(self, reason: object) -> None:
        self._reason = reason

    def result(self) -> None:
        if self._reason is None:
            raise asyncio.CancelledError
        raise asyncio.CancelledError(self._reason)
