"""One timer of the loop for all clients: whoever is due is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from .client import Client
from .report import report
from .wheel import Wheel

MOST_AT_ONCE = 256
"""Clients looked at in one turn of the loop: then sockets are read, and on it goes."""


class Rounds:
    """Looks at each client when it is due. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        *,
        grain: float,
    ) -> None:
        """`grain` is how late a look may be."""
        self._loop = loop
        self._clock = clock
        self._wheel: Wheel[Client] = Wheel(grain)
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = inf

    def hasten(self, client: Client, due: float) -> None:
        """Look at `client` at `due` at the latest."""
        if due < inf:
            self._wheel.hasten(client, due)
            self._arm()

    def stop(self) -> None:
        """Look no more; whoever was still to be looked at is dropped."""
        for client in self._wheel.clear():
            client.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = None
        # One reading for all: how long the others took is no lateness of anybody's.
        now = self._clock()
        for client in self._wheel.take(now=now, most=MOST_AT_ONCE):
            try:
                due = client.look(now=now)
            except Exception as error:
                # A defect of ours: it costs one client, not the watch over all.
                report("a look at a client", error)
                client.abort("the server failed on it")
                continue
            if due < inf:
                self._wheel.hasten(client, due)
        self._arm()

    def _arm(self) -> None:
        due = self._wheel.next_at
        if self._timer is not None:
            if due >= self._armed_at:
                return
            self._timer.cancel()
            self._timer = None
        if due == inf:
            return
        self._armed_at = due
        self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._turn)
