"""One timer that follows a deadline, armed anew only where it would ring too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf


class Alarm:
    """Calls `fire` at the deadline. Seconds on `clock`."""

    def __init__(
        self,
        fire: Callable[[], None],
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
    ) -> None:
        self._fire = fire
        self._loop = loop
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self.due_at = inf
        """What it was armed for; after it rang, what it rang for."""

    def set(self, due_at: float) -> None:
        """Ring at `due_at` or before: whoever is called looks for himself."""
        if self._timer is not None:
            if due_at >= self.due_at:
                return
            self.stop()
        if due_at == inf:
            return
        self.due_at = due_at
        delay = max(0.0, due_at - self._clock())
        self._timer = self._loop.call_later(delay, self._ring)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._fire()
