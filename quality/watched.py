"""A connection watched by heartline's own link, at its own deadlines, in virtual time.

`Watched` is the driver: what `client.Stream` is to a socket, without a socket. The
link, its clocks and its thresholds are the ones that are shipped.
"""

from __future__ import annotations

import random
from copy import deepcopy
from heapq import heappop
from math import inf
from typing import Any

from heartline.core.detector import Liveness
from heartline.core.diagnosis import Finding
from heartline.core.events import Output, Ping, Pinged, Ponged, Received, Tick
from heartline.core.link import Link

from .connection import Clock, End
from .environments import BURST_STEP, Feed, Weather, next_data
from .heartbeats import THINKING

PING_BYTES = 12
MESSAGE_BYTES = 160
REDIAL = 1.0
"""Seconds from a verdict to the next link, once the path is back."""
PULSE_EVERY = 0.1
"""The driver's own pulse: what its loop lost beyond this and `LATE` is felt."""
LATE = 0.1
MOST_WAIT = 120.0


class Watched:
    """One stream of links in one weather; deep copies of it may be harmed."""

    def __init__(
        self,
        weather: Weather,
        *,
        policy: Liveness,
        feed: Feed,
        dice: random.Random,
    ) -> None:
        self.clock = Clock()
        self.weather = weather
        self.policy = policy
        self.feed = feed
        self.dice = dice
        self.mistakes: list[tuple[float, Finding]] = []
        self.pings = self.probes = 0
        self._frozen = False
        self._unread: list[tuple[Any, int]] = []
        self._open()

    def _open(self) -> None:
        clock, weather = self.clock, self.weather
        clock.events.clear()
        self._unread.clear()
        self.ours = End(
            clock,
            weather,
            take=self._on_readable,
            keepalive=float(self.policy.kernel_interval),
        )
        self.theirs = End(clock, weather, take=self._on_request)
        self.ours.peer, self.theirs.peer = self.theirs, self.ours
        self.link = Link(
            1, policy=self.policy, now=clock.now, evidence=self.ours.evidence(0)
        )
        self._obey(self.link.open(now=clock.now))
        self._stall_later()
        if self.feed is not Feed.IDLE:
            self._feed_later()

    # --- time ------------------------------------------------------------------------

    def run(self, until: float) -> None:
        """Let time pass; a link found dead is a mistake, and is followed by another."""
        while self.clock.now < until:
            finding = self.step(until)
            if finding is not None:
                self.mistakes.append((self.clock.now, finding))
                self.probes += self.ours.probes_sent
                back_at = self.weather.away.end(self.clock.now)
                self.clock.now = max(back_at, self.clock.now + REDIAL)
                self._open()

    def step(self, until: float) -> Finding | None:
        """Run up to `until`, or up to a verdict."""
        clock, events, link = self.clock, self.clock.events, self.link
        stalled_until = self.weather.ours.end
        while True:
            # While our loop stands still its deadline passes unseen.
            tick_at = stalled_until(link.deadline)
            if events and events[0][0] <= tick_at:
                if events[0][0] > until:
                    break
                clock.now, _, act, argument = heappop(events)
                act(argument)
            elif tick_at <= until:
                clock.now = tick_at
                self._tick(0.0)
            else:
                break
            if link.found is not None:
                return link.found
        clock.now = until
        return None

    # --- our program -----------------------------------------------------------------

    def _tick(self, stood: float) -> None:
        unread = sum(size for _, size in self._unread)
        tick = Tick(1, self.ours.evidence(unread), 0.0, stood)
        self._obey(self.link.handle(tick, now=self.clock.now))

    def _stall_later(self) -> None:
        """Be there when our loop wakes from its next stall, if there is one."""
        began_at = self.weather.ours.next_begin(self.clock.now)
        if began_at < inf:
            self.clock.at(self.weather.ours.end(began_at), self._wake_up, began_at)

    def _wake_up(self, began_at: float) -> None:
        """Our loop runs again; what it feels, and what it reads, are both late."""
        now, link = self.clock.now, self.link
        self._stall_later()
        stood = now - began_at + self.dice.random() * PULSE_EVERY
        felt = stood > PULSE_EVERY + LATE
        if felt or now - link.deadline > LATE:
            self._tick(stood if felt else 0.0)
        elif now >= link.deadline and self.dice.random() < 0.5:
            self._tick(0.0)
        unread, self._unread = self._unread, []
        for words, size_bytes in unread:
            self._read(words, size_bytes)
        if now >= link.deadline:
            self._tick(0.0)

    def _on_readable(self, words: Any, size_bytes: int) -> bool:
        now = self.clock.now
        if self.weather.ours.end(now) > now:
            self._unread.append((words, size_bytes))
        else:
            self._read(words, size_bytes)
        return False

    def _read(self, words: Any, size_bytes: int) -> None:
        now, link = self.clock.now, self.link
        if isinstance(words, bytes):
            self._obey(link.handle(Ponged(1, words), now=now))
            heard = Received(1, 1, 0, size_bytes)
        else:
            heard = Received(1, words, words, size_bytes)
        self._obey(link.handle(heard, now=now))

    def _obey(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Ping):
                self.pings += 1
                self.ours.write(PING_BYTES, output.payload)
                fact = Pinged(1, self.ours.evidence(0))
                self._obey(self.link.handle(fact, now=self.clock.now))

    # --- the peer's program ----------------------------------------------------------

    def _on_request(self, payload: Any, _: int) -> bool:
        """Whether it answers at once, and its kernel's acknowledgement with it."""
        if self._frozen:
            return False
        now = self.clock.now
        due = self.weather.theirs.end(now) + THINKING
        self.clock.at(due, self._answer, payload)
        return due == now + THINKING

    def _answer(self, payload: Any) -> None:
        if not self._frozen:
            self.theirs.write(PING_BYTES, payload)

    def _feed_later(self) -> None:
        silence, messages = next_data(self.feed, self.dice)
        self.clock.at(self.clock.now + silence, self._on_feed, messages)

    def _on_feed(self, messages: int) -> None:
        """Say one message, and a burst's others together once the last is due."""
        if self._frozen:
            return
        now = self.clock.now
        awake_at = self.weather.theirs.end(now)
        if awake_at > now:
            self.clock.at(awake_at, self._on_feed, messages)
            return
        self.theirs.write(MESSAGE_BYTES, 1)
        if messages > 1:
            over_at = now + (messages - 1) * BURST_STEP
            self.clock.at(over_at, self._on_burst, messages - 1)
        else:
            self._feed_later()

    def _on_burst(self, messages: int) -> None:
        if not self._frozen:
            self.theirs.write(messages * MESSAGE_BYTES, messages)
            self._feed_later()

    # --- faults ----------------------------------------------------------------------

    def time_of(self, fault: str) -> tuple[float, Finding | None]:
        """Let a fault strike a copy now: seconds until it is told, and what is told."""
        harmed = deepcopy(self)
        began_at = harmed.clock.now
        if fault == "path":
            harmed.cut()
        else:
            harmed._frozen = True
        finding = harmed.step(began_at + MOST_WAIT)
        took = harmed.clock.now - began_at if finding else inf
        return took, finding

    def cut(self) -> None:
        """From now on nothing arrives at either end, not even what is on its way."""
        clock = self.clock
        arrivals = (End.on_segment, End.on_probe)
        # In place: the heap's order holds for what is left once it is sorted.
        clock.events[:] = sorted(
            event
            for event in clock.events
            if getattr(event[2], "__func__", None) not in arrivals
        )
        self.ours.dead = self.theirs.dead = True
