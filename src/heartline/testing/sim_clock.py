"""A virtual clock: time jumps from one event to the next. One thread, no waiting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf, nextafter
from typing import Any, TypeAlias

STARTED_AT = 1000.0
MOST_AT_ONCE = 20_000
"""More events without a step of time are a machine that never lets go."""

Event: TypeAlias = tuple[float, int, Callable[[Any], None], Any, "Host | None", float]


class Clock:
    """True time, and what is going to happen in it, in order."""

    __slots__ = ("_events", "now", "number", "push")

    def __init__(self) -> None:
        self.now = STARTED_AT
        self._events: list[Event] = []
        self.number = count().__next__
        """What is asked for at one instant happens in this order."""
        self.push: Callable[[Event], None] = partial(heappush, self._events)
        """`at`, for those who ask most often: without a call of Python in between."""

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
        self.push((when, self.number(), act, argument, host, slept))

    def run(self, until: float) -> None:
        """Let everything happen that is due up to `until`, inclusive."""
        events, pop = self._events, heappop
        at_once = 0
        while events:
            event = pop(events)
            when, _, act, argument, host, slept = event
            if when > until:
                heappush(events, event)
                break
            if host is not None and host.slept != slept:
                self.at(when + host.slept - slept, act, argument, host)
                continue
            if when > self.now:
                self.now = when
                at_once = 0
            else:
                at_once += 1
                assert at_once < MOST_AT_ONCE, f"a hot loop at {when:.3f}"
            act(argument)
        self.now = until


class Host:
    """A machine. Its own monotonic clock stands still while it is asleep."""

    __slots__ = ("_disturbed", "_down", "awake_at", "clock", "slept")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.slept = 0.0
        self.awake_at = -inf
        self._down = False
        self._disturbed: list[Callable[[], None]] = []

    @property
    def now(self) -> float:
        return self.clock.now - self.slept

    def read_now(self) -> float:
        """The same, as a clock to be passed on."""
        return self.clock.now - self.slept

    @property
    def asleep(self) -> bool:
        return self.clock.now < self.awake_at

    @property
    def down(self) -> bool:
        """Whether its network interface is down."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        self._disturb()
        self._down = down

    def suspend(self, seconds: float) -> None:
        self._disturb()
        self.slept += seconds
        self.awake_at = self.clock.now + seconds

    def warn(self, disturbed: Callable[[], None]) -> None:
        """Call `disturbed` before anything happens to this host."""
        self._disturbed.append(disturbed)

    def _disturb(self) -> None:
        for disturbed in self._disturbed:
            disturbed()

    def true_time(self, due: float) -> float:
        """The first instant at which this host's clock is not before `due`."""
        if not self.slept:
            return due
        when = due + self.slept
        while when - self.slept < due:
            when = nextafter(when, inf)
        return when


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
            clock, slept = host.clock, host.slept
            when = host.true_time(due) if slept else due
            clock.push((when, clock.number(), self._fire, due, host, slept))

    def stop(self) -> None:
        self.due = inf

    def _fire(self, armed_at: float) -> None:
        if armed_at != self._armed_at:
            return
        self._armed_at = inf
        due, host = self.due, self._host
        if due <= host.clock.now - host.slept:
            self.due = inf
            self._act()
        elif due < inf:
            self.set(due)
