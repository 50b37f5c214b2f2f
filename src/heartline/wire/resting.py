"""Links at rest, looked at in one go: whether the kernel still tells what it told.

And links whose data flows: whether any came since, that puts off all that is due.

A look through pump, session and link touches a hundred objects of each stream, which a
thousand streams have pushed out of every cache until the next. Here a look is the
kernel's answer beside what was seen, and only who has something to learn is woken.

`Resting` is compiled where that could be built, and `PureResting` where not: the same
in every result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol, TypeAlias, cast
from weakref import WeakValueDictionary

from heartline.compiled import compiled
from heartline.core.events import Output, RoundTripMeasured
from heartline.core.evidence import Evidence
from heartline.core.flow import Flow
from heartline.core.rest import Rest, shared
from heartline.core.timers import Timers
from heartline.core.untold import Asking

from .alarms import Alarms, Sleeper
from .heard import Heard
from .kernel import KernelEyes
from .plain import Hear

LEAST_STEP = 0.001
"""A look is followed by the next no sooner than this."""
SLEPT = 0.1
"""Seconds by which the machine was suspended, and not just two clocks read apart."""


def slept_through() -> float:
    """Seconds this machine has been suspended since boot; 0 where it is not told."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return 0.0
    return time.clock_gettime(clock) - time.monotonic()


@dataclass(slots=True)
class Said:
    """How the compiled one asks and is answered without its `Dreamer`, while it may."""

    terms: Asking
    send: Callable[[bytes], None]
    hear: Hear
    tell: Callable[[RoundTripMeasured], None]
    goes_on: Callable[[float], bool] | None


class Dreamer(Sleeper, Protocol):
    """Who rests, and can ask its peer without being woken."""

    def voice(self) -> Said | None:
        """How it is asked for at the first ping of a rest; None: it must `ask`."""
        ...

    def answered_enough(self) -> None:
        """So many pings were answered that its machine is to be told of them."""
        ...

    def failed_to_obey(self, output: Output, error: Exception) -> None: ...

    def ask(self) -> None:
        """A ping is due, and nothing else: send it, and `wait` for the answer."""
        ...


@dataclass(slots=True)
class _Sleep:
    who: Dreamer
    rest: Rest | None
    """None where more is to be judged, or the answer to a ping is waited for."""
    eyes: KernelEyes | None
    late_after: float
    due_at: float
    looked_at: float
    asleep: float
    heard: Heard | None
    flow: Flow | None
    tell_by: float
    lull: float


class PureResting:
    """The links of one loop that rest; each has a number while it does."""

    def __init__(
        self,
        alarms: Alarms,
        clock: Callable[[], float] = time.monotonic,
        asleep: Callable[[], float] = slept_through,
    ) -> None:
        self._alarms = alarms
        self._clock = clock
        self._asleep = asleep
        self._sleeps: dict[int, _Sleep] = {}
        self._timers: Timers[int] = Timers()
        self._armed_at = inf
        self._last = 0

    def __len__(self) -> int:
        return len(self._sleeps)

    def add(
        self,
        who: Dreamer,
        rest: Rest | None,
        eyes: KernelEyes | None,
        *,
        late_after: float,
        due_at: float,
        heard: Heard | None = None,
        flow: Flow | None = None,
        tell_by: float = -inf,
        lull: float = 0.0,
    ) -> int:
        """Look for `who` from `due_at` on, and wake it once a look is not enough.

        Nor is it `late_after` seconds late. `who` must `take` itself back when woken,
        and before it asks its machine anything.

        Where the look finds a ping due, and nothing else, it is to `ask`. Before
        `tell_by`, reads of `heard` that are untold put off what is due, as `flow` says;
        as long as there is none, each look at rest gives them another `lull`.
        """
        self._last += 1
        now = self._clock()
        self._sleeps[self._last] = _Sleep(
            who,
            rest,
            eyes,
            late_after,
            due_at,
            now,
            self._asleep(),
            heard,
            flow,
            tell_by,
            lull,
        )
        self._timers.set(self._last, due_at)
        self._arm(due_at)
        return self._last

    def take(self, number: int) -> tuple[float, float]:
        """End a rest: when the next look was due, and when the last was taken."""
        sleep = self._sleeps.pop(number)
        self._timers.cancel(number)
        if not self._sleeps and self._armed_at > -inf:
            self._armed_at = inf
            self._alarms.cancel(self)
        return sleep.due_at, sleep.looked_at

    def answers(self, number: int) -> tuple[list[float], Evidence] | None:
        """What was answered past its `Dreamer` and is not taken yet: when each ping
        was sent and answered, in turn, and what was seen after the last."""
        return None

    def unanswered(self, number: int) -> tuple[float, Evidence] | None:
        """The ping that is out past it: when it was sent, and what was seen then."""
        return None

    def wait(self, number: int, due_at: float) -> None:
        """A ping is out: no looks any more, but the link is woken at `due_at`."""
        sleep = self._sleeps[number]
        sleep.rest, sleep.flow, sleep.due_at = None, None, due_at
        self._timers.set(number, due_at)
        self._arm(due_at)

    def renew(self, number: int, rest: Rest, due_at: float) -> None:
        """It is answered: look again from `due_at` on, for how it rests now."""
        sleep = self._sleeps[number]
        sleep.rest, sleep.due_at, sleep.looked_at = rest, due_at, self._clock()
        self._timers.set(number, due_at)
        self._arm(due_at)

    def wake(self) -> None:
        """Look at all that are due by now."""
        now, asleep = self._clock(), self._asleep()
        self._armed_at = -inf
        woken: list[Callable[[], None]] = []
        for number in self._timers.pop_all(now=now):
            sleep = self._sleeps[number]
            try:
                todo = self._look(sleep, now, asleep)
            except Exception:
                # Its own tick meets the same, and reports it; the others rest on.
                todo = sleep.who.wake
            if todo is not None:
                woken.append(todo)
            self._timers.set(number, max(sleep.due_at, now + LEAST_STEP))
        # Else, where looks alone take that long, each pass would wake but one.
        wakes_until = self._alarms.wakes_until + self._clock() - now
        try:
            # Who is not woken by then is looked at again in the next pass.
            for todo in woken:
                todo()
                if self._clock() > wakes_until:
                    break
        finally:
            self._armed_at = inf
            self._arm(max(self._timers.next_at, self._clock()))

    def _look(
        self, sleep: _Sleep, now: float, asleep: float
    ) -> Callable[[], None] | None:
        """What is to be done; None if it rests on."""
        who, rest = sleep.who, sleep.rest
        late = now - sleep.due_at > sleep.late_after
        if late or asleep - sleep.asleep > SLEPT:
            return who.wake
        if sleep.heard is not None and sleep.heard.reads:
            return None if _flows_on(sleep, sleep.heard, now) else who.wake
        if rest is None or sleep.eyes is None:
            return who.wake
        evidence = sleep.eyes.read()
        until = rest.until(evidence, now=now)
        if until is None:
            return who.ask if rest.asks(evidence, now=now) else who.wake
        sleep.due_at, sleep.looked_at = max(until, now + LEAST_STEP), now
        if sleep.heard is not None and sleep.lull:
            sleep.flow = rest.flow(now=now)
            sleep.tell_by = now + sleep.lull
            sleep.heard.until_at = min(sleep.due_at, sleep.tell_by)
        return None

    def _arm(self, due_at: float) -> None:
        if due_at < self._armed_at:
            self._armed_at = due_at
            self._alarms.set(self, due_at)


def _flows_on(sleep: _Sleep, heard: Heard, now: float) -> bool:
    """Whether data was read since, that puts off all that is due."""
    if sleep.flow is None or now >= sleep.tell_by:
        return False
    due = min(sleep.flow.due_at(heard.at), sleep.tell_by)
    if due <= now:
        return False
    heard.until_at = due
    sleep.due_at = max(shared(due, now=now), now + LEAST_STEP)
    return True


AnyResting: TypeAlias = PureResting
Resting = PureResting
if (_found := compiled("wire._resting")) is not None:
    Resting = cast("type[PureResting]", _found.Resting)


def resting_of(
    loop: asyncio.AbstractEventLoop,
    clock: Callable[[], float],
    asleep: Callable[[], float] = slept_through,
) -> PureResting:
    """The one of `loop`, which lasts as long as somebody holds it.

    The compiled one reads the clocks by itself: only for those of the system.
    """
    resting = _RESTING.get(id(loop))
    if resting is None:
        alarms = Alarms.of(loop, clock)
        kind = Resting if clock is time.monotonic else PureResting
        resting = _RESTING[id(loop)] = kind(alarms, clock, asleep)
    return resting


_RESTING: WeakValueDictionary[int, PureResting] = WeakValueDictionary()
"""By the id of the loop, which its alarms hold; see there why not by the loop."""
