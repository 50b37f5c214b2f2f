"""A virtual clock: time jumps from one event to the next. One thread, no waiting."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from math import inf, nextafter
from typing import Any, TypeAlias

STARTED_AT = 1000.0
MOST_AT_ONCE = 20_000
"""More events without a step of time are a machine that never lets go."""

_Event: TypeAlias = tuple[float, int, Callable[[Any], None], Any, "Host | None", float]


class Clock:
    """True time, and what is going to happen in it, in order."""

    __slots__ = ("_events", "_numbers", "now")

    def __init__(self) -> None:
        self.now = STARTED_AT
        self._events: list[_Event] = []
        self._numbers = count()

    def at(
        self,
        when: float,
        act: Callable[[Any], None],
        argument: object = None,
        host: Host | None = None,
    ) -> None:
        """Call `act(argument)` at `when`; later by as long as `host` sleeps till then.

        What is asked for at one instant happens in the order it was asked for.
        """
        slept = 0.0 if host is None else host.slept
        event = (when, next(self._numbers), act, argument, host, slept)
        heapq.heappush(self._events, event)

    def run(self, until: float) -> None:
        """Let everything happen that is due up to `until`, inclusive."""
        events = self._events
        at_once = 0
        while events and events[0][0] <= until:
            when, _, act, argument, host, slept = heapq.heappop(events)
            if host is not None and host.slept != slept:
                self.at(when + host.slept - slept, act, argument, host)
                continue
            if when > self.now:
                self.now, at_once = when, 0
            at_once += 1
            assert at_once < MOST_AT_ONCE, f"a hot loop at {when:.3f}"
            act(argument)
        self.now = until


class Host:
    """A machine. Its own monotonic clock stands still while it is asleep."""

    __slots__ = ("awake_at", "clock", "down", "slept")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.slept = 0.0
        self.awake_at = -inf
        self.down = False
        """Whether its network interface is down."""

    @property
    def now(self) -> float:
        return self.clock.now - self.slept

    @property
    def asleep(self) -> bool:
        return self.clock.now < self.awake_at

    def suspend(self, seconds: float) -> None:
        self.slept += seconds
        self.awake_at = self.clock.now + seconds


class Loop:
    """The event loop of one program; while it stands still its kernel goes on."""

    __slots__ = ("_host", "_until", "stood_still")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._until = -inf
        self.stood_still = 0.0
        """Seconds in all."""

    @property
    def stands_still_for(self) -> float:
        """Seconds it will go on to stand still; 0 while it runs."""
        left = self._until - self._host.now
        return left if left > 1e-9 else 0.0

    @property
    def stands_still(self) -> bool:
        return self.stands_still_for > 0

    def stand_still(self, seconds: float) -> None:
        longer = seconds - self.stands_still_for
        if longer > 0:
            self.stood_still += longer
            self._until = self._host.now + seconds


class Timer:
    """One deadline of a host, on the host's own clock; cheap to move later."""

    __slots__ = ("_act", "_armed_at", "_host", "due")

    def __init__(self, host: Host, act: Callable[[], None]) -> None:
        self._host = host
        self._act = act
        self._armed_at = inf
        self.due = inf

    def set(self, due: float) -> None:
        self.due = due
        if due < self._armed_at:
            self._armed_at = due
            host = self._host
            when = due + host.slept
            while when - host.slept < due:
                when = nextafter(when, inf)
            host.clock.at(when, self._fire, due, host)

    def stop(self) -> None:
        self.due = inf

    def _fire(self, armed_at: float) -> None:
        if armed_at != self._armed_at:
            return
        self._armed_at = inf
        if self.due <= self._host.now:
            self.due = inf
            self._act()
        elif self.due < inf:
            self.set(self.due)
