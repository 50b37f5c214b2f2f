"""The sending half of one end of a simulated TCP connection.

Modelled after what Linux does: a retransmission ladder of 0.2, 0.4, 0.8 s after the
first sending, one segment in flight while it climbs, selective acknowledgements, zero
windows and their probes. Not modelled: congestion control.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Protocol, TypeAlias

from msgspec import Struct

from .sim_clock import Host, Timer
from .sim_line import Line
from .sim_packets import Frame, Kind, Packet
from .sim_path import Way

LEAST_TIMEOUT = 0.2
MOST_TIMEOUT = 120.0
USER_TIMEOUT = 30.0
MOST_IN_SEGMENT = 65_536
RESENT_AT_ONCE = 4
"""Segments a kernel sends again in one go when it knows nothing of what arrived."""


class Program(Protocol):
    """Who uses an end of a connection."""

    def on_readable(self) -> None: ...
    def on_reset(self) -> None: ...


class _Flying(Struct, gc=False):
    seq: int
    size_bytes: int
    frames: tuple[Frame, ...]
    sent_at: float
    resent: bool = False


_DATA = Kind.DATA
"""Read once: before Python 3.12 a member of an enum costs as much as a call."""
_NO_FRAMES: tuple[Frame, ...] = ()
Chunk: TypeAlias = tuple[int, tuple[Frame, ...]]


class Sender:
    """What an end of a connection has written, and sees to it that it arrives."""

    __slots__ = (
        "_acked",
        "_acknowledge",
        "_data_sent_at",
        "_deviation",
        "_early",
        "_flight",
        "_heard_at",
        "_idle",
        "_least",
        "_queue",
        "_resend",
        "_retransmits",
        "_room",
        "_round_trip",
        "_sent",
        "_silent_since",
        "_told_window",
        "_total_retransmits",
        "_window",
        "_window_probes",
        "_written",
        "ack_at",
        "closed",
        "host",
        "line",
        "peer",
        "probes",
        "program",
        "received_bytes",
        "unread_bytes",
        "way",
    )

    def __init__(
        self, host: Host, way: Way, *, receive_bytes: int, round_trip: float
    ) -> None:
        self.host = host
        self.way = way
        self.peer: Sender | None = None
        self.line: Line | None = None
        self.program: Program | None = None
        self.closed = True
        """Not in use: whatever the other end says is met by a reset."""
        self.unread_bytes: int = 0
        self.received_bytes: int = 0
        self.probes = 0
        """Keepalives and window probes that were not answered."""
        self.ack_at = inf
        """When a calm line sends an acknowledgement; true time."""
        self._room = receive_bytes
        self._heard_at = self._data_sent_at = host.now
        self._written: int = 0
        self._sent: int = 0
        self._acked: int = 0
        self._window = receive_bytes
        self._told_window = receive_bytes
        self._queue: deque[Chunk] = deque()
        self._flight: deque[_Flying] = deque()
        self._early: dict[int, Packet] = {}
        self._retransmits = self._total_retransmits = 0
        self._window_probes = 0
        self._silent_since = host.now
        self._round_trip = self._least = round_trip
        self._deviation = round_trip / 2
        self._resend = Timer(host, self._on_resend)
        self._acknowledge = Timer(host, self._send_ack)
        self._idle = Timer(host, self._on_idle)

    def arrive(self, packet: Packet) -> None:
        """A packet comes here."""
        raise NotImplementedError

    def _on_idle(self) -> None:
        raise NotImplementedError

    def silence(self) -> None:
        """Be gone without a word, as after a crash of the host."""
        if self.line is not None:
            self.line.disturb()
        self.closed = True
        self._queue.clear()
        self._flight.clear()
        for timer in (self._resend, self._acknowledge, self._idle):
            timer.stop()

    def _push(self) -> None:
        queue = self._queue
        while queue and not self._retransmits and not self.host.down:
            if self._sent - self._acked >= self._window:
                break
            size_bytes, frames = queue.popleft()
            while queue and size_bytes + queue[0][0] <= MOST_IN_SEGMENT:
                more_bytes, more = queue.popleft()
                size_bytes, frames = size_bytes + more_bytes, frames + more
            self._launch(size_bytes, frames)
        self._watch()

    def _launch(self, size_bytes: int, frames: tuple[Frame, ...]) -> None:
        host, seq = self.host, self._sent
        sent_at = host.clock.now
        here_at = sent_at - host.slept
        if not self._flight:
            self._silent_since = here_at
        flying = _Flying(seq, size_bytes, frames, here_at)
        self._flight.append(flying)
        self._window_probes = 0
        self._data_sent_at = here_at
        self._sent = seq + size_bytes
        self._send(_DATA, flying)

    def _watch(self) -> None:
        """See to it that what is under way is sent again, where it may be lost."""
        calm = self.line is not None and self.line.calm
        if calm and not self.way.loss:
            return
        if (self._flight or self._queue) and self._resend.due == inf:
            now = self.host.now
            if not self._flight:
                self._silent_since = now
            self._resend.set(now + self._timeout())

    def _send(self, kind: Kind, flying: _Flying | None = None) -> None:
        peer, host = self.peer, self.host
        if host.down or peer is None:
            return
        window = self._room - self.unread_bytes
        self._told_window = window = window if window > 0 else 0
        if kind is _DATA:
            self._acknowledge.due = self.ack_at = inf
        clock = host.clock
        at = self.way.arrival(clock.now)
        if at is None:
            return
        seq, size_bytes, frames = self._sent, 0, _NO_FRAMES
        if flying is not None:
            seq, size_bytes, frames = flying.seq, flying.size_bytes, flying.frames
        hole = bool(self._early)
        received = self.received_bytes
        packet = Packet(kind, seq, size_bytes, frames, received, window, hole)
        clock.push((at, clock.number(), peer.arrive, packet, None, 0.0))

    def _send_ack(self) -> None:
        self._send(_DATA)

    def _timeout(self) -> float:
        first = LEAST_TIMEOUT + self._round_trip
        tries = self._retransmits if self._flight else self._window_probes
        if not tries:
            return first if first < MOST_TIMEOUT else MOST_TIMEOUT
        return float(min(first * 2.0 ** min(tries, 20), MOST_TIMEOUT))

    def _on_resend(self) -> None:
        now = self.host.now
        if self.line is not None:
            self.line.settle()
        if self.closed or not (self._flight or self._queue):
            return
        if self.line is not None:
            self.line.disturb()
        if now - max(self._silent_since, self._heard_at) > USER_TIMEOUT:
            self._fail()
            return
        if self._flight:
            head = self._flight[0]
            # The first one is a loss probe: the ladder begins with the second.
            self._retransmits += head.resent or self.host.down
            head.resent, head.sent_at = True, now
            if not self.host.down:
                self._total_retransmits += 1
                self._data_sent_at = now
                self._send(Kind.DATA, head)
        elif self._sent - self._acked >= self._window or self.host.down:
            # Answered or not, each probe of a shut window waits twice as long.
            self.probes += 1
            self._window_probes += 1
            self._send(Kind.WINDOW_PROBE)
        else:
            self._push()
        self._resend.set(now + self._timeout())

    # --- what the other end has --------------------------------------------------

    def _on_acknowledged(self, packet: Packet) -> None:
        now, flight = self.host.now, self._flight
        self._window = packet.window_bytes
        if packet.acknowledges > self._acked:
            recovering = self._acknowledged(packet.acknowledges, now)
            if flight and recovering:
                self._resend_holes(now)
            if not flight and not self._queue:
                self._resend.stop()
            elif self._resend.due < inf:
                self._resend.set(now + self._timeout())
        elif (
            packet.hole and flight and now - flight[0].sent_at > 0.9 * self._round_trip
        ):
            self._resend_holes(now)
        if self._queue:
            self._push()

    def _acknowledged(self, acked: int, now: float) -> bool:
        """Forget what has arrived; whether more that was lost is to be sent again."""
        self._acked = acked
        flight, resent = self._flight, False
        while flight and flight[0].seq + flight[0].size_bytes <= acked:
            flying = flight.popleft()
            # What was sent behind a lost segment waited for that to be sent again.
            resent = resent or flying.resent
            if not resent:
                self._time(now - flying.sent_at)
        recovering, self._retransmits = self._retransmits > 0, 0
        self._silent_since = now
        return recovering or resent

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
            self._data_sent_at = now
            self._total_retransmits += 1
            self._send(Kind.DATA, flying)
        self._resend.set(now + self._timeout())

    def _time(self, sample: float) -> None:
        self._deviation += (abs(self._round_trip - sample) - self._deviation) / 4
        self._round_trip += (sample - self._round_trip) / 8
        if sample < self._least:
            self._least = sample

    def _fail(self) -> None:
        """The kernel itself gives up."""
        self.silence()
        if self.program is not None:
            self.program.on_reset()
