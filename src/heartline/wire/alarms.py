"""When each of a loop's machines is to be looked at: one timer of the loop for all.

A timer of asyncio for each costs as much as the look itself, and each wakes the process
by itself. Whoever is due in the same instant is looked at in one go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from math import inf
from typing import Protocol
from weakref import WeakValueDictionary

from heartline.core.timers import Timers

WAKING = 0.1
"""Seconds of waking in one pass of the loop. Whoever is due and not woken by then waits
for the next, so that sockets are read in between. Less would put what else the loop has
to do, as the dials of those who lost their link, before the looks of those who have not
been told yet; more would be a stall that all are told of."""


class Sleeper(Hashable, Protocol):
    """Who can be woken."""

    def wake(self) -> None:
        """It is time, or was before the alarm was cancelled in the same pass.

        What this raises goes to the loop, and nobody else is forgotten.
        """
        ...


class Alarms:
    """The alarms of one loop: one at most for each sleeper."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._timers: Timers[Sleeper] = Timers()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = inf
        self.wakes_until = inf
        """When to leave who is due to the next pass; also for a sleeper of many."""

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> Alarms:
        """The alarms of `loop`, which lasts as long as somebody holds them.

        All who share a loop share its `clock`, in monotonic seconds.
        """
        alarms = _ALARMS.get(id(loop))
        if alarms is None:
            alarms = _ALARMS[id(loop)] = cls(loop, clock)
        return alarms

    def set(self, sleeper: Sleeper, due_at: float) -> None:
        """Wake `sleeper` at `due_at`, not before; at once means in the next pass."""
        self._timers.set(sleeper, due_at)
        if due_at < self._armed_at:
            self._arm(due_at)

    def cancel(self, sleeper: Sleeper) -> None:
        self._timers.cancel(sleeper)
        # While it rings, the timer is set once, when all have been woken.
        if not self._timers and self._armed_at > -inf:
            self._arm(inf)

    def _arm(self, due_at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_at = due_at
        if due_at < inf:
            delay = due_at - self._clock()
            self._timer = self._loop.call_later(delay if delay > 0 else 0, self._ring)

    def _ring(self) -> None:
        """Wake all who are due by now; who falls due meanwhile waits for its pass."""
        now = self._clock()
        self.wakes_until = now + WAKING
        self._timer, self._armed_at = None, -inf
        waking = iter(self._timers.pop_all(now=now))
        try:
            for sleeper in waking:
                sleeper.wake()
                if self._clock() > self.wakes_until:
                    break
        finally:
            now = self._clock()
            for sleeper in waking:
                self._timers.set(sleeper, now)
            self._arm(self._timers.next_at)


_ALARMS: WeakValueDictionary[int, Alarms] = WeakValueDictionary()
"""By the id of the loop, which is nobody else's while its alarms hold it. The loop as a
key would be held here, and with it all that it leads to: also its alarms, for ever."""
