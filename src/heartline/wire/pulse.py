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
TELLING = 0.01
"""Seconds of telling in one pass of the loop: a thousand streams that look at their
sockets in one go would be a stall of their own, and what comes due meanwhile late."""

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
        """When the loop was last seen to go on; inf while nobody listens, -inf while
        somebody is still to be told that it did not."""
        self._seen_at = inf
        """The same, whoever is still to be told."""
        self._untold: dict[object, float] = {}
        """How long the loop stood still for those who do not know of it yet."""
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

        After a suspend too; who listens finds out by itself how long that was. Where
        many listen, the last are told some passes of the loop later, or as they `feel`.
        """
        if not self._listeners:
            self.felt_at = self._seen_at = self._clock()
            self.slept = self._asleep()
            self._arm()
        self._listeners[who] = stalled

    def leave(self, who: object) -> None:
        self._listeners.pop(who, None)
        self._untold.pop(who, None)
        self._all_told()
        if not self._listeners and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def feel(self, who: object) -> None:
        """Look now: for `who` is about to read, or to judge, what may have waited."""
        self._look(self._clock())
        if who in self._untold:
            self._tell(who)

    def goes_on(self, now: float) -> bool:
        """Whether the loop did not stand still up to `now`; else `feel` is called for.

        For whoever reads often, and tells nobody of what he reads.
        """
        if now - self.felt_at > STOOD_STILL or self._asleep() - self.slept > SLEPT:
            return False
        if self._listeners:
            self.felt_at = now
        return True

    def _look(self, now: float) -> None:
        """Find out whether the loop stood still; then all are to be told."""
        if not self._listeners or self.goes_on(now):
            return
        seen_at = self._seen_at if self.felt_at == -inf else self.felt_at
        asleep = self._asleep()
        stood = now - seen_at if now - seen_at > STOOD_STILL else 0.0
        self._seen_at = now
        if not stood and asleep - self.slept <= SLEPT:
            return
        self.slept = asleep
        if not self._untold:
            self._loop.call_soon(self._tell_on)
        self.felt_at = -inf
        for who in self._listeners:
            self._untold[who] = self._untold.get(who, 0.0) + stood

    def _tell(self, who: object) -> None:
        stood = self._untold.pop(who)
        try:
            self._listeners[who](stood)
        finally:
            # Telling takes its time, and that is no stall to be told of again.
            self._seen_at = self._clock()
            self._all_told()

    def _all_told(self) -> None:
        """See whether they are, or have left: then the loop goes on."""
        if not self._listeners:
            self.felt_at = inf
        elif self.felt_at == -inf and not self._untold:
            self.felt_at = self._seen_at

    def _tell_on(self) -> None:
        """Tell those who had no reason to look, some in each pass of the loop."""
        self._look(self._clock())
        ends_at = self._clock() + TELLING
        try:
            while self._untold and self._clock() < ends_at:
                self._tell(next(iter(self._untold)))
        finally:
            if self._untold:
                self._loop.call_soon(self._tell_on)

    def _arm(self) -> None:
        self._due_at = self._clock() + EVERY
        self._timer = self._loop.call_later(EVERY, self._beat)

    def _beat(self) -> None:
        self.late.add(max(0.0, self._clock() - self._due_at))
        self._arm()
        self._look(self._clock())


_PULSES: WeakValueDictionary[int, Pulse] = WeakValueDictionary()
"""By the id of the loop, as alarms are: the loop as a key would be held here, and its
timer with it, and thereby the pulse itself, for ever."""
