"""The event loop of one simulated program, as far as the pump of a stream needs it.

While it stands still nothing runs; what fell due meanwhile runs when it goes on, before
or after the sockets are read, as chance has it: event loops differ in this.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, cast

from msgspec import Struct

from heartline.wire.pulse import EVERY, STOOD_STILL, Pulse, Stalled

from .sim_clock import Host


class Handle(Struct, eq=False):
    """One call that is due later. It has those methods of a handle that are used."""

    act: Callable[[], object] | None
    due: float

    def when(self) -> float:
        return self.due

    def cancel(self) -> None:
        self.act = None


class Loop:
    """The event loop of one program; while it stands still its kernel goes on.

    It has those methods of an event loop that a pump uses.
    """

    def __init__(self, host: Host, *, dice: random.Random) -> None:
        self.host = host
        self.pulse = StillPulse(self)
        self.stood_still = 0.0
        """Seconds in all."""
        self.stalled_from = -inf
        """When the last stall of this loop began, on the host's clock."""
        self.failures: list[object] = []
        """What was reported to the loop's exception handler."""
        self.on_readable: Callable[[], None] = _nothing
        self._dice = dice
        self._until = -inf
        self._late: list[Handle] = []

    # --- what a pump asks of a loop ------------------------------------------------

    def time(self) -> float:
        return self.host.now

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, **_: Any
    ) -> asyncio.TimerHandle:
        host = self.host
        clock, slept = host.clock, host.slept
        act = partial(callback, *args) if args else callback
        due = clock.now - slept + delay
        handle = Handle(act, due)
        when = host.true_time(due) if slept else due
        clock.push((when, clock.number(), self._fire, handle, host, slept))
        return cast("asyncio.TimerHandle", handle)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, **_: Any
    ) -> asyncio.TimerHandle:
        host = self.host
        handle = Handle(partial(callback, *args) if args else callback, when)
        host.clock.at(host.true_time(when), self._fire, handle, host)
        return cast(asyncio.TimerHandle, handle)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context.get("exception", context))

    # --- standing still ------------------------------------------------------------

    @property
    def stands_still_for(self) -> float:
        """Seconds it will go on to stand still; 0 while it runs."""
        left = self._until - self.host.now
        return left if left > 1e-9 else 0.0

    @property
    def stands_still(self) -> bool:
        return self._until > 0 and self.stands_still_for > 0

    def stand_still(self, seconds: float) -> None:
        """Stop running for so long; the sockets are looked at when it goes on."""
        now = self.host.now
        still_for = self.stands_still_for
        if seconds > still_for:
            if not still_for:
                self.stalled_from = now
            self.stood_still += seconds - still_for
            self._until = now + seconds
        clock = self.host.clock
        clock.at(clock.now + seconds, self._go_on, None, self.host)

    def _fire(self, handle: Handle) -> None:
        if self._until > 0 and self.stands_still:
            self._late.append(handle)
        elif handle.act is not None:
            handle.act()

    def _go_on(self, _: object) -> None:
        if self.stands_still:
            return
        self._until = -inf
        late, self._late = self._late, []
        sockets_first = self._dice.random() < 0.5
        if sockets_first:
            self.on_readable()
        self.pulse.feel(self)
        for handle in late:
            if handle.act is not None:
                handle.act()
        if not sockets_first:
            self.on_readable()


def _nothing() -> None:
    """No socket is open."""


class StillPulse(Pulse):
    """The pulse of a simulated loop: felt when it counts, without beating."""

    def __init__(self, loop: Loop) -> None:
        self._host = loop.host
        self._ours = loop
        self._listening: dict[object, Stalled] = {}
        self._felt_at = -inf

    def listen(self, who: object, stalled: Stalled) -> None:
        self._listening[who] = stalled

    def leave(self, who: object) -> None:
        self._listening.pop(who, None)

    def feel(self, who: object) -> None:
        """Tell the listeners of the last stall, if they have not been told."""
        if self._felt_at >= self._ours.stalled_from or self._ours.stands_still:
            return
        now, beat_at = self._host.now, self._beat_at
        self._felt_at = now
        if now - beat_at > STOOD_STILL:
            for stalled in list(self._listening.values()):
                stalled(now - beat_at)

    def goes_on(self, now: float) -> bool:
        if self._felt_at >= self._ours.stalled_from:
            return True
        return now - self._beat_at <= STOOD_STILL

    @property
    def _beat_at(self) -> float:
        """When it would have beaten last: at a multiple of its interval."""
        stalled_from = self._ours.stalled_from
        return max(self._felt_at, stalled_from - stalled_from % EVERY)
