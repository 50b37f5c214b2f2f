"""Feels for an event loop that stands still: one short timer for all its streams.

A stream's own deadline may be a second away, or ten; a loop that stood still in
between would go unseen, and data that waited would pass for fresh. So would data that
waited out a suspend of the machine, which the monotonic clock does not see.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from weakref import WeakValueDictionary

from heartline.core.latency import Recent

from .resting import SLEPT, slept_through

EVERY = 0.1
LATE = 0.1
"""A beat later than this means that the loop stood still."""
STOOD_STILL = EVERY + LATE
"""So does this time without any look at the loop."""

Stalled = Callable[[float], None]


class Pulse:
    """The pulse of one loop; beats while somebody listens."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.monotonic,
        asleep: Callable[[], float] = slept_through,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._asleep = asleep
        self.slept = asleep()
        """Seconds that the machine had been suspended when that was last told."""
        self.felt_at = inf
        """When the loop was last seen to go on; inf while nobody listens."""
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: dict[object, Stalled] = {}
        self._due_at = 0.0
        self.late = Recent()
        """How late the beats were, and with them every other timer of the loop."""

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Pulse:
        """The one pulse of `loop`, which lasts as long as somebody holds it."""
        pulse = _PULSES.get(id(loop))
        if pulse is None:
            pulse = _PULSES[id(loop)] = cls(loop)
        return pulse

    def listen(self, who: object, stalled: Stalled) -> None:
        """Call `stalled` with the seconds the loop stood still, whenever it did.

        After a suspend too; who listens finds out by itself how long that was.
        """
        if not self._listeners:
            self.felt_at, self.slept = self._clock(), self._asleep()
            self._arm()
        self._listeners[who] = stalled

    def leave(self, who: object) -> None:
        self._listeners.pop(who, None)
        if not self._listeners:
            self.felt_at = inf
        if not self._listeners and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def feel(self) -> None:
        """Look now: for whoever is about to read what may have waited."""
        now = self._clock()
        if self.goes_on(now):
            return
        stood, self.felt_at, self.slept = now - self.felt_at, now, self._asleep()
        stood = stood if stood > STOOD_STILL else 0.0
        for stalled in list(self._listeners.values()):
            stalled(stood)
        if self._listeners:
            # Telling many takes its time, and that is no stall to be told of again.
            self.felt_at = self._clock()

    def goes_on(self, now: float) -> bool:
        """Whether the loop did not stand still up to `now`; else `feel` is called for.

        For whoever reads often, and tells nobody of what he reads.
        """
        if now - self.felt_at > STOOD_STILL or self._asleep() - self.slept > SLEPT:
            return False
        if self._listeners:
            self.felt_at = now
        return True

    def _arm(self) -> None:
        self._due_at = self._clock() + EVERY
        self._timer = self._loop.call_later(EVERY, self._beat)

    def _beat(self) -> None:
        self.late.add(max(0.0, self._clock() - self._due_at))
        self._arm()
        self.feel()


_PULSES: WeakValueDictionary[int, Pulse] = WeakValueDictionary()
"""By the id of the loop, as alarms are: the loop as a key would be held here, and its
timer with it, and thereby the pulse itself, for ever."""
