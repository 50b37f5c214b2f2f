"""One TCP connection, as two kernels and the network between them see it.

Kept: cumulative and selective acknowledgement, delayed acknowledgements, the probe of
the tail, the timeout that doubles, keepalive and the limit on its answers, order.
Left out: windows, congestion, acknowledgements of acknowledgements.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf
from typing import Any

from heartline.core.evidence import Evidence, Kernel

from .environments import Weather

LEAST_RESEND = 0.2
DELAYED_ACK = 0.040
KEEPALIVE_SLOP = 0.024
"""A keepalive of 1 s goes out 1.024 s after the last segment (measured, HZ=250)."""
PROBE_ANSWERS_EVERY = 0.5
"""Linux answers segments without data at most this often (tcp_invalid_ratelimit)."""
AGE_STEP = 0.004
"""Ages in TCP_INFO are counted in ticks of this."""
WINDOW_BYTES = 65_535


class Clock:
    """What is going to happen, in order."""

    __slots__ = ("_number", "events", "now")

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._number = 0

    def at(self, when: float, act: Callable[[Any], None], argument: Any) -> None:
        self._number += 1
        heapq.heappush(self.events, (when, self._number, act, argument))


class Segment:
    """Bytes that are on their way, and what they say once they are complete."""

    __slots__ = ("resent", "sacked", "sent_at", "seq", "size_bytes", "words")

    def __init__(self, seq: int, size_bytes: int, words: Any, now: float) -> None:
        self.seq = seq
        self.size_bytes = size_bytes
        self.words = words
        self.sent_at = now
        self.resent = False
        self.sacked = False


class End:
    """One end: its kernel. `take` is given the words of what arrives in order."""

    def __init__(
        self,
        clock: Clock,
        weather: Weather,
        *,
        take: Callable[[Any, int], bool],
        keepalive: float = inf,
    ) -> None:
        self.clock = clock
        self.weather = weather
        self.peer: End
        self.dead = False
        """Whether nothing that this end sends arrives any more."""
        self.heard_at = self._data_sent_at = clock.now
        self.segments_in = 1
        self.probes_sent = 0
        self._take = take
        self._keepalive = keepalive + KEEPALIVE_SLOP
        self._probes = 0
        self._flight: list[Segment] = []
        self._sent = self._acked = self._received = 0
        self._early: dict[int, Segment] = {}
        self._retransmits = self._total_retransmits = 0
        self._tail_probed = False
        self._resend_at = inf
        self._armed_at = inf
        self._last_arrival = 0.0
        self._probe_answered_at = -inf
        self._round_trip = self._least = weather.environment.round_trip + 0.003
        self._deviation = self._round_trip / 2
        if keepalive < inf:
            clock.at(clock.now + self._keepalive, self._on_idle, None)

    # --- the program's side --------------------------------------------------------

    def write(self, size_bytes: int, words: Any) -> None:
        segment = Segment(self._sent, size_bytes, words, self.clock.now)
        self._sent += size_bytes
        self._data_sent_at = self.clock.now
        self._flight.append(segment)
        self._carry(segment)
        self._arm()

    def evidence(self, unread_bytes: int) -> Evidence:
        age = self.clock.now - self.heard_at
        sent_age = self.clock.now - self._data_sent_at
        kernel = Kernel(
            segments_in=self.segments_in,
            heard_age=age - age % AGE_STEP,
            unacked_segments=len(self._flight),
            outstanding_bytes=self._sent - self._acked,
            unsent_bytes=0,
            acked_bytes=self._acked,
            received_bytes=self._received,
            retransmits=self._retransmits,
            total_retransmits=self._total_retransmits,
            probes_unanswered=self._probes,
            round_trip=self._round_trip,
            round_trip_deviation=self._deviation,
            min_round_trip=self._least,
            send_window_bytes=WINDOW_BYTES,
            sent_age=sent_age - sent_age % AGE_STEP,
        )
        return Evidence(kernel, unread_bytes)

    # --- sending ---------------------------------------------------------------------

    def _carry(self, segment: Segment | None) -> None:
        """Send a segment, or with None a bare acknowledgement."""
        arrival = None if self.dead else self.weather.arrival(self.clock.now)
        if arrival is None:
            return
        # Neither way reorders.
        self._last_arrival = arrival = max(arrival, self._last_arrival)
        news = (segment, self._received, tuple(self._early) if self._early else ())
        self.clock.at(arrival, self.peer.on_segment, news)

    def _timeout(self) -> float:
        timeout = self._round_trip + max(LEAST_RESEND, 4 * self._deviation)
        if self._tail_probed:
            return timeout * 2.0 ** min(self._retransmits, 10)
        if len(self._flight) > 1:
            return min(2 * self._round_trip + 0.002, timeout)
        return timeout

    def _arm(self) -> None:
        self._resend_at = self.clock.now + self._timeout()
        if self._resend_at < self._armed_at:
            self._armed_at = self._resend_at
            self.clock.at(self._resend_at, self._on_resend, None)

    def _on_resend(self, _: object) -> None:
        now = self.clock.now
        if now < self._armed_at:
            return
        self._armed_at = inf
        if not self._flight:
            return
        if now < self._resend_at:
            self._armed_at = self._resend_at
            self.clock.at(self._resend_at, self._on_resend, None)
            return
        if self._tail_probed:
            self._retransmits += 1
            self._resend(self._flight[0])
        else:
            self._tail_probed = True
            self._resend(self._flight[-1])
        self._arm()

    def _resend(self, segment: Segment) -> None:
        segment.resent, segment.sent_at = True, self.clock.now
        self._data_sent_at = self.clock.now
        self._total_retransmits += 1
        self._carry(segment)

    def _on_idle(self, _: object) -> None:
        now = self.clock.now
        due = self.heard_at + self._keepalive
        if now < due:
            self.clock.at(due, self._on_idle, None)
            return
        self.clock.at(now + self._keepalive, self._on_idle, None)
        if self._flight:
            return
        self._probes += 1
        self.probes_sent += 1
        arrival = None if self.dead else self.weather.arrival(now)
        if arrival is not None:
            self._last_arrival = arrival = max(arrival, self._last_arrival)
            self.clock.at(arrival, self.peer.on_probe, None)

    # --- receiving -------------------------------------------------------------------

    def on_probe(self, _: object) -> None:
        now = self.clock.now
        if now - self._probe_answered_at >= PROBE_ANSWERS_EVERY:
            self._probe_answered_at = now
            self._carry(None)

    def on_segment(self, news: tuple[Segment | None, int, tuple[int, ...]]) -> None:
        segment, acked, sacked = news
        self.segments_in += 1
        self.heard_at = self.clock.now
        self._probes = 0
        if self._flight:
            self._on_acknowledged(acked, sacked)
        if segment is not None:
            self._on_data(segment)

    def _on_acknowledged(self, acked: int, sacked: tuple[int, ...]) -> None:
        now, flight = self.clock.now, self._flight
        delivered_at = -inf
        if acked > self._acked:
            self._acked = acked
            while flight and flight[0].seq < acked:
                segment = flight.pop(0)
                delivered_at = max(delivered_at, segment.sent_at)
                if not segment.resent and not segment.sacked:
                    self._time(now - segment.sent_at)
            self._retransmits = 0
            self._tail_probed = False
            if flight:
                self._arm()
        for segment in flight if sacked else ():
            if segment.seq in sacked and not segment.sacked:
                segment.sacked = True
                delivered_at = max(delivered_at, segment.sent_at)
        # What left before something that has arrived is lost: nothing is reordered.
        for segment in flight if delivered_at > -inf else ():
            if segment.sent_at < delivered_at and not segment.sacked:
                self._resend(segment)

    def _time(self, sample: float) -> None:
        self._deviation += (abs(self._round_trip - sample) - self._deviation) / 4
        self._round_trip += (sample - self._round_trip) / 8
        self._least = min(self._least, sample)

    def _on_data(self, segment: Segment) -> None:
        if segment.seq != self._received:
            if segment.seq > self._received:
                self._early[segment.seq] = segment
            self._carry(None)
            return
        answered = self._deliver(segment)
        filled = bool(self._early)
        while (early := self._early.pop(self._received, None)) is not None:
            answered = self._deliver(early) or answered
        if filled:
            self._carry(None)
        elif not answered:
            clock = self.clock
            clock.at(clock.now + DELAYED_ACK, self._on_delayed, self._received)

    def _deliver(self, segment: Segment) -> bool:
        self._received += segment.size_bytes
        return self._take(segment.words, segment.size_bytes)

    def _on_delayed(self, _: object) -> None:
        self._carry(None)
