"""A simulated network and the kernels at its ends: TCP as far as a detector sees it.

Modelled after what Linux does: cumulative acknowledgements delayed by 40 ms, a
retransmission ladder of 0.2, 0.4, 0.8 s after the first sending, one segment in flight
while it climbs, keepalive on an idle link, zero windows and their probes, one
answer to an empty probe each 0.5 s. Not modelled: congestion control.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Protocol, TypeAlias

from heartline.core.evidence import Evidence, Kernel

from .sim_clock import Clock, Host, Timer
from .sim_packets import Frame, Kind, Packet

LEAST_TIMEOUT = 0.2
MOST_TIMEOUT = 120.0
DELAYED_ACK = 0.040
TIMER_SLOP = 0.024
"""A keepalive of 1 s goes out 1.024 s after the last segment (measured, HZ=250)."""
AGE_STEP = 0.004
"""Ages in TCP_INFO are counted in ticks of this."""
USER_TIMEOUT = 30.0
PROBE_ANSWERS_EVERY = 0.5
MOST_IN_SEGMENT = 65_536
RESENT_AT_ONCE = 4
"""Segments a kernel sends again in one go when it knows nothing of what arrived."""
SYN_RETRIES = (1.0, 3.0, 7.0, 15.0)


class Way:
    """One direction of a path. Dials may be turned at any moment."""

    def __init__(self, clock: Clock, dice: random.Random) -> None:
        self.delay = 0.010
        self.jitter = 0.0
        """Median of a log-normal extra delay (sigma 1), seconds; order is kept."""
        self.loss = 0.0
        self.dead = False
        self._clock = clock
        self._dice = dice
        self._last_at = 0.0

    def carry(self, packet: object, arrive: Callable[[object], None]) -> None:
        if self.dead or (self.loss and self._dice.random() < self.loss):
            return
        at = self._clock.now + self.delay
        if self.jitter:
            at += self.jitter * exp(self._dice.gauss(0.0, 1.0))
        self._last_at = at = max(at, self._last_at)
        self._clock.at(at, arrive, packet)


class Program(Protocol):
    """Who uses an end of a connection."""

    def on_readable(self) -> None: ...
    def on_reset(self) -> None: ...


@dataclass(slots=True)
class _Flying:
    seq: int
    size_bytes: int
    frames: tuple[Frame, ...]
    sent_at: float
    resent: bool = False


_Chunk: TypeAlias = tuple[int, tuple[Frame, ...]]


class End:
    """One end of a TCP connection: what its kernel does by itself, and shows."""

    def __init__(
        self,
        host: Host,
        way: Way,
        *,
        keepalive: float,
        receive_bytes: int,
        round_trip: float,
    ) -> None:
        self.host = host
        self.way = way
        self.peer: End | None = None
        self.program: Program | None = None
        self.closed = True
        """Not in use: whatever the other end says is met by a reset."""
        self.unread_bytes = 0
        self.heard_at = host.now
        self.segments_in = 1
        self._keepalive = keepalive
        self._room = receive_bytes
        self._written = self._sent = self._acked = self._received = 0
        self._window = receive_bytes
        self._told_window = receive_bytes
        self._queue: deque[_Chunk] = deque()
        self._flight: deque[_Flying] = deque()
        self._early: dict[int, Packet] = {}
        self._unread: deque[_Chunk] = deque()
        self._retransmits = self._total_retransmits = self._probes = 0
        self._window_probes = 0
        self._silent_since = host.now
        self._round_trip = self._least = round_trip
        self._deviation = round_trip / 2
        self._probe_answered_at = -1.0
        self._resend = Timer(host, self._on_resend)
        self._acknowledge = Timer(host, self._send_ack)
        self._idle = Timer(host, self._on_idle)

    def open(self) -> None:
        """Begin to be used."""
        self.closed = False
        self.heard_at = self._silent_since = self.host.now
        self._idle.set(self.heard_at + self._keepalive + TIMER_SLOP)

    # --- the program's side ------------------------------------------------------

    def write(self, size_bytes: int, *frames: Frame) -> None:
        """Take bytes that complete `frames`; none, where they are part of a frame."""
        if self.closed:
            return
        self._written += size_bytes
        self._queue.append((size_bytes, frames))
        self._push()

    def read(self, most_bytes: int = 1 << 30) -> list[Frame]:
        """Take what has arrived, about `most_bytes` of it."""
        frames: list[Frame] = []
        taken = 0
        while self._unread and taken < most_bytes:
            size_bytes, some = self._unread.popleft()
            taken += size_bytes
            frames += some
        self.unread_bytes -= taken
        if self._told_window < self._room // 4 and self._window_here() > self._room / 2:
            self._send_ack()
        return frames

    def close(self) -> None:
        """End in order: what was written arrives, then the end of the stream."""
        self.write(1, Frame("fin"))

    def abort(self) -> None:
        """Drop it now; the other end hears of it if the path still carries."""
        if not self.closed:
            self._send(Kind.RESET)
        self.silence()

    def silence(self) -> None:
        """Be gone without a word, as after a crash of the host."""
        self.closed = True
        self._queue.clear()
        self._flight.clear()
        for timer in (self._resend, self._acknowledge, self._idle):
            timer.stop()

    def evidence(self) -> Evidence:
        age = self.host.now - self.heard_at
        kernel = Kernel(
            self.segments_in,
            age - age % AGE_STEP,
            len(self._flight),
            self._written - self._acked,
            self._written - self._sent,
            self._acked,
            self._received,
            self._retransmits,
            self._total_retransmits,
            self._probes,
            self._round_trip,
            self._deviation,
            self._least,
            self._window,
        )
        return Evidence(None if self.closed else kernel, self.unread_bytes)

    # --- sending -----------------------------------------------------------------

    def _push(self) -> None:
        while self._queue and not self._retransmits and not self.host.down:
            if self._sent - self._acked >= self._window:
                break
            size_bytes, frames = self._queue.popleft()
            while self._queue and size_bytes + self._queue[0][0] <= MOST_IN_SEGMENT:
                more_bytes, more = self._queue.popleft()
                size_bytes, frames = size_bytes + more_bytes, frames + more
            if not self._flight:
                self._silent_since = self.host.now
            flying = _Flying(self._sent, size_bytes, frames, self.host.now)
            self._flight.append(flying)
            self._window_probes = 0
            self._sent += size_bytes
            self._send(Kind.DATA, flying)
        if (self._flight or self._queue) and self._resend.due > 1e9:
            if not self._flight:
                self._silent_since = self.host.now
            self._resend.set(self.host.now + self._timeout())

    def _send(self, kind: Kind, flying: _Flying | None = None) -> None:
        peer = self.peer
        if self.host.down or peer is None:
            return
        self._told_window = self._window_here()
        if kind is Kind.DATA:
            self._acknowledge.due = float("inf")
        packet = Packet(
            kind,
            flying.seq if flying else self._sent,
            flying.size_bytes if flying else 0,
            flying.frames if flying else (),
            self._received,
            self._told_window,
            bool(self._early),
        )
        self.way.carry(packet, peer.arrive)

    def _send_ack(self) -> None:
        self._send(Kind.DATA)

    def _timeout(self) -> float:
        first = LEAST_TIMEOUT + self._round_trip
        tries = self._retransmits if self._flight else self._window_probes
        return float(min(first * 2.0 ** min(tries, 20), MOST_TIMEOUT))

    def _on_resend(self) -> None:
        now = self.host.now
        if self.closed or not (self._flight or self._queue):
            return
        if now - max(self._silent_since, self.heard_at) > USER_TIMEOUT:
            self._fail()
            return
        if self._flight:
            head = self._flight[0]
            # The first one is a loss probe: the ladder begins with the second.
            self._retransmits += head.resent or self.host.down
            head.resent, head.sent_at = True, now
            if not self.host.down:
                self._total_retransmits += 1
                self._send(Kind.DATA, head)
        elif self._sent - self._acked >= self._window or self.host.down:
            # Answered or not, each probe of a shut window waits twice as long.
            self._probes += 1
            self._window_probes += 1
            self._send(Kind.WINDOW_PROBE)
        else:
            self._push()
        self._resend.set(now + self._timeout())

    def _on_idle(self) -> None:
        now = self.host.now
        if self.closed:
            return
        idle_until = self.heard_at + self._keepalive + TIMER_SLOP
        if now < idle_until:
            self._idle.set(idle_until)
            return
        if not self._flight and not self._queue:
            self._probes += 1
            self._send(Kind.KEEPALIVE)
            if now - self.heard_at > max(USER_TIMEOUT, 10 * self._keepalive):
                self._fail()
                return
        self._idle.set(now + self._keepalive)

    def _fail(self) -> None:
        """The kernel itself gives up."""
        self.silence()
        if self.program is not None:
            self.program.on_reset()

    # --- receiving ---------------------------------------------------------------

    def arrive(self, packet: object) -> None:
        assert isinstance(packet, Packet)
        host = self.host
        if host.asleep or host.down:
            return
        if self.closed:
            if packet.kind is not Kind.RESET:
                self._send(Kind.RESET)
            return
        self.segments_in += 1
        self.heard_at = host.now
        self._probes = 0
        if packet.kind is Kind.RESET:
            self._fail()
            return
        self._on_acknowledged(packet)
        if packet.size_bytes:
            self._on_data(packet)
        elif packet.kind is not Kind.DATA:
            self._answer_probe(packet.kind)

    def _answer_probe(self, kind: Kind) -> None:
        now = self.host.now
        if now - self._probe_answered_at >= PROBE_ANSWERS_EVERY:
            self._probe_answered_at = now
            self._send_ack()

    def _on_acknowledged(self, packet: Packet) -> None:
        now, flight = self.host.now, self._flight
        self._window = packet.window_bytes
        if packet.acknowledges > self._acked:
            self._acked = packet.acknowledges
            while flight and flight[0].seq + flight[0].size_bytes <= self._acked:
                flying = flight.popleft()
                if not flying.resent:
                    self._time(now - flying.sent_at)
            recovering, self._retransmits = self._retransmits > 0, 0
            self._silent_since = now
            if flight:
                if recovering:
                    self._resend_holes(now)
                self._resend.set(now + self._timeout())
            elif self._queue:
                self._resend.set(now + self._timeout())
            else:
                self._resend.stop()
        elif (
            packet.hole and flight and now - flight[0].sent_at > 0.9 * self._round_trip
        ):
            self._resend_holes(now)
        if self._queue:
            self._push()

    def _resend_holes(self, now: float) -> None:
        """Send again what the peer lacks, as its selective acknowledgements tell."""
        assert self.peer is not None
        early = self.peer._early
        last = max(early, default=-1)
        for nth, flying in enumerate(self._flight):
            if nth >= RESENT_AT_ONCE and flying.seq > last:
                break
            if flying.seq in early or now - flying.sent_at < 0.9 * self._round_trip:
                continue
            flying.resent, flying.sent_at = True, now
            self._total_retransmits += 1
            self._send(Kind.DATA, flying)
        self._resend.set(now + self._timeout())

    def _time(self, sample: float) -> None:
        self._deviation += (abs(self._round_trip - sample) - self._deviation) / 4
        self._round_trip += (sample - self._round_trip) / 8
        self._least = min(self._least, sample)

    def _on_data(self, packet: Packet) -> None:
        if packet.seq != self._received:
            if packet.seq > self._received:
                self._early[packet.seq] = packet
            self._send_ack()
            return
        filled = bool(self._early)
        self._take(packet)
        while self._received in self._early:
            self._take(self._early.pop(self._received))
        if filled or self._window_here() < self._room // 2:
            self._send_ack()
        elif self._acknowledge.due > 1e9:
            self._acknowledge.set(self.host.now + DELAYED_ACK)
        if self.program is not None:
            self.program.on_readable()

    def _take(self, packet: Packet) -> None:
        self._received += packet.size_bytes
        self._unread.append((packet.size_bytes, packet.frames))
        self.unread_bytes += packet.size_bytes

    def _window_here(self) -> int:
        return max(0, self._room - self.unread_bytes)
