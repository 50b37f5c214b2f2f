"""What two kernels tell each other by themselves while nothing disturbs them.

Acknowledgements and keepalives change no program's course. As long as a connection is
calm they are no events of the clock: they are worked out when somebody looks. Before a
fault touches path or host, all that is under way becomes packets and timers again.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from .sim_clock import Clock
from .sim_packets import Kind, Packet

if TYPE_CHECKING:
    from .sim_network import End

TIMER_SLOP = 0.024
"""A keepalive of 1 s goes out 1.024 s after the last segment (measured, HZ=250)."""
PROBE_ANSWERS_EVERY = 0.5
MOST_PROBES = 4
"""Keepalives without an answer after which the timers are in charge again."""


class Line:
    """Both ends of one connection. `calm` while what they do can be worked out."""

    __slots__ = ("_clock", "calm", "due_at", "here", "there")

    def __init__(self, clock: Clock, here: End, there: End) -> None:
        self.here = here
        self.there = there
        self.calm = False
        self._clock = clock
        self.due_at = inf
        """Nothing happens before; true time."""

    @property
    def over(self) -> bool:
        return self.here.closed and self.there.closed

    def settle(self) -> None:
        """Let all that has happened without a word happen, up to now."""
        now = self._clock.now
        if self.due_at > now or not self.calm:
            return
        here, there = self.here, self.there
        while self.calm:
            due_at = here.ack_at
            if there.ack_at < due_at:
                due_at = there.ack_at
            if here.coming and here.coming[0][0] < due_at:
                due_at = here.coming[0][0]
            if there.coming and there.coming[0][0] < due_at:
                due_at = there.coming[0][0]
            idle_at = there.idle_at if there.idle_at < here.idle_at else here.idle_at
            if idle_at < due_at and idle_at < now:
                self._keep_alive(due_at if due_at < now else now)
            elif due_at > now:
                self.due_at = due_at if due_at < idle_at else idle_at
                return
            else:
                for end in (here, there):
                    if end.coming and end.coming[0][0] == due_at:
                        self._hear(end)
                    elif end.ack_at == due_at:
                        self._say(end, due_at, probe=False)

    def _keep_alive(self, until: float) -> None:
        """Let the kernels ask each other, as long as nothing else comes before."""
        here, there = self.here, self.there
        while True:
            asks, answers = here, there
            if there.idle_at < here.idle_at:
                asks, answers = there, here
            at = asks.idle_at
            if at >= until:
                return
            idle_until = asks.idles_until()
            if at < idle_until:
                asks.idle_at = idle_until
                continue
            asks.probes += 1
            if asks.probes > MOST_PROBES:
                self.due_at = inf
                self.disturb()
                return
            asks.idle_at = at + asks.keepalive
            if not self._is_answered(asks, answers, at, until):
                return

    def _is_answered(self, asks: End, answers: End, at: float, until: float) -> bool:
        """Ask, and be answered; False if something of it lies beyond `until`."""
        at_there = asks.way.arrival(at)
        if at_there is None:
            return True
        window = asks.tell_window()
        if at_there > until:
            asked = (at_there, asks.received_bytes, window, True)
            answers.coming.append(asked)
            return False
        answers.hear(at_there, asks.received_bytes, window)
        if at_there - answers.probe_answered_at < PROBE_ANSWERS_EVERY:
            return True
        answers.probe_answered_at = at_there
        answers.ack_at = inf
        at_here = answers.way.arrival(at_there)
        if at_here is None:
            return True
        window = answers.tell_window()
        if at_here > until:
            asks.coming.append((at_here, answers.received_bytes, window, False))
            return False
        asks.hear(at_here, answers.received_bytes, window)
        asks.idle_at = asks.idles_until()
        return True

    def expect(self, at: float) -> None:
        """Something becomes due at `at`, in true time."""
        if at < self.due_at:
            self.due_at = at

    def disturb(self) -> None:
        """Something is about to happen: from now on there are packets and timers."""
        if not self.calm:
            return
        self.settle()
        if not self.calm:
            return
        self.calm = False
        for end in (self.here, self.there):
            for at, acknowledges, window, probe in end.coming:
                kind = Kind.KEEPALIVE if probe else Kind.DATA
                seq = end.received_bytes
                packet = Packet(kind, seq, 0, (), acknowledges, window, False)
                self._clock.at(at, end.arrive, packet)
            end.coming.clear()
            end.begin_timers()

    def relax(self) -> None:
        """Be calm, if nothing is under way that may have to be sent again."""
        if self.calm or not (self.here.at_rest and self.there.at_rest):
            return
        self.calm = True
        self.due_at = -inf
        for end in (self.here, self.there):
            end.end_timers()

    def _hear(self, end: End) -> None:
        at, acknowledges, window, probe = end.coming.popleft()
        end.hear(at, acknowledges, window)
        answers = probe and at - end.probe_answered_at >= PROBE_ANSWERS_EVERY
        if answers:
            end.probe_answered_at = at
            self._say(end, at, probe=False)

    def _say(self, end: End, at: float, *, probe: bool) -> None:
        """Send a bare acknowledgement or a keepalive, which may be lost."""
        end.ack_at = inf
        arrives_at = end.way.arrival(at)
        if arrives_at is None:
            return
        other = self.there if end is self.here else self.here
        told = (arrives_at, end.received_bytes, end.tell_window(), probe)
        other.coming.append(told)
        if arrives_at < self.due_at:
            self.due_at = arrives_at
