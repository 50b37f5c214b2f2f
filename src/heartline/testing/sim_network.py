"""A simulated network and the kernels at its ends: TCP as far as a detector sees it.

Modelled after what Linux does: cumulative acknowledgements delayed by 40 ms, keepalive
on an idle link, one answer to an empty probe each 0.5 s; what is sent again is in
`sim_sending.py`, what needs no event of its own in `sim_line.py`.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TypeAlias

from heartline.core.evidence import Evidence, Kernel

from .sim_clock import Host
from .sim_line import PROBE_ANSWERS_EVERY, TIMER_SLOP, Line
from .sim_packets import Frame, Kind, Packet
from .sim_path import Way
from .sim_sending import USER_TIMEOUT, Chunk, Sender

DELAYED_ACK = 0.040
AGE_STEP = 0.004
"""Ages in TCP_INFO are counted in ticks of this."""
SYN_RETRIES = (1.0, 3.0, 7.0, 15.0)

_DATA, _RESET = Kind.DATA, Kind.RESET
"""Read once: before Python 3.12 a member of an enum costs as much as a call."""
Told: TypeAlias = tuple[float, int, int, bool]
"""When it arrives, in true time; what it acknowledges, the window, whether it asks."""


class End(Sender):
    """One end of a TCP connection: what its kernel does by itself, and shows."""

    __slots__ = (
        "_out_of_order",
        "_unread",
        "coming",
        "idle_at",
        "keepalive",
        "probe_answered_at",
        "segments_in",
    )

    def __init__(
        self,
        host: Host,
        way: Way,
        *,
        keepalive: float,
        receive_bytes: int,
        round_trip: float,
    ) -> None:
        super().__init__(host, way, receive_bytes=receive_bytes, round_trip=round_trip)
        self.segments_in = 1
        self._out_of_order = 0
        self.keepalive = keepalive
        self.probe_answered_at = -1.0
        self.idle_at = inf
        """When a calm line sends a keepalive; true time."""
        self.coming: deque[Told] = deque()
        """What is on its way here on a calm line, beside data."""
        self._unread: deque[Chunk] = deque()

    def open(self) -> None:
        """Begin to be used."""
        self.closed = False
        self._heard_at = self._silent_since = self.host.now
        self._idle.set(self._heard_at + self.keepalive + TIMER_SLOP)

    @property
    def heard_at(self) -> float:
        """The last segment, on the clock of this end's host."""
        if self.line is not None:
            self.line.settle()
        return self._heard_at

    # --- a calm line ---------------------------------------------------------------

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way here, and nothing hinders it."""
        host, way = self.host, self.way
        hindered = self.closed or host.down or host.asleep or way.dead
        under_way = self._flight or self._queue or self._early or self._retransmits
        half = self._room // 2
        roomy = self._window >= half and self._window_here() >= half
        return roomy and not hindered and not under_way

    def end_timers(self) -> None:
        """The line is calm: what was left to timers is left to it."""
        slept = self.host.slept
        due = self._idle.due
        self.idle_at = self.idles_until() if due == inf else due + slept
        self.ack_at = self._acknowledge.due + slept
        for timer in (self._idle, self._acknowledge, self._resend):
            timer.stop()

    def begin_timers(self) -> None:
        """The line is not calm any more."""
        if self.closed:
            return
        slept = self.host.slept
        self._idle.set(self.idle_at - slept)
        if self.ack_at < inf:
            self._acknowledge.set(self.ack_at - slept)
        self.idle_at = self.ack_at = inf
        if self._flight and self._resend.due == inf:
            due = self._flight[0].sent_at + self._timeout()
            self._resend.set(max(due, self.host.now))

    def idles_until(self) -> float:
        """When the next keepalive is due if nothing more is heard, in true time."""
        return self._heard_at + self.keepalive + TIMER_SLOP + self.host.slept

    def tell_window(self) -> int:
        window = self._room - self.unread_bytes
        self._told_window = window = window if window > 0 else 0
        return window

    def hear(self, at: float, acknowledges: int, window_bytes: int) -> None:
        """A segment without data came at `at`, in true time."""
        now = at - self.host.slept
        self.segments_in += 1
        self._heard_at = now
        self.probes = 0
        self._window = window_bytes
        if acknowledges <= self._acked:
            return
        self._acknowledged(acknowledges, now)
        resend = self._resend
        if not self._flight:
            resend.due = inf
        elif resend.due < inf:
            resend.due = max(resend.due, now + self._timeout())

    # --- the program's side ------------------------------------------------------

    def write(self, size_bytes: int, *frames: Frame) -> None:
        """Take bytes that complete `frames`; none, where they are part of a frame."""
        if self.closed:
            return
        line = self.line
        if line is not None and line.calm:
            if line.due_at <= self.host.clock.now:
                line.settle()
            if self._sent - self._acked + size_bytes <= self._window:
                self._written += size_bytes
                self._launch(size_bytes, frames)
                if self.way.loss:
                    self._watch()
                return
            line.disturb()
        self._written += size_bytes
        self._queue.append((size_bytes, frames))
        self._push()

    def read(self, most_bytes: int = 1 << 30) -> list[Frame]:
        """Take what has arrived, about `most_bytes` of it."""
        frames: list[Frame] = []
        taken, unread = 0, self._unread
        while unread and taken < most_bytes:
            size_bytes, some = unread.popleft()
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

    def evidence(self) -> Evidence:
        host, line = self.host, self.line
        now = host.clock.now
        if line is not None and line.due_at <= now:
            line.settle()
        here = now - host.slept
        age, sent_age = here - self._heard_at, here - self._data_sent_at
        kernel = Kernel(
            self.segments_in,
            age - age % AGE_STEP,
            len(self._flight),
            self._written - self._acked,
            self._written - self._sent,
            self._acked,
            self.received_bytes,
            self._retransmits,
            self._total_retransmits,
            self.probes,
            self._round_trip,
            self._deviation,
            self._least,
            self._window,
            self._out_of_order,
            sent_age - sent_age % AGE_STEP,
        )
        return Evidence(None if self.closed else kernel, self.unread_bytes)

    # --- keepalive -----------------------------------------------------------------

    def _on_idle(self) -> None:
        now = self.host.now
        if self.closed:
            return
        idle_until = self._heard_at + self.keepalive + TIMER_SLOP
        if now < idle_until:
            self._idle.set(idle_until)
            return
        if not self._flight and not self._queue:
            self.probes += 1
            self._send(Kind.KEEPALIVE)
            if now - self._heard_at > max(USER_TIMEOUT, 10 * self.keepalive):
                self._fail()
                return
        self._idle.set(now + self.keepalive)

    # --- receiving ---------------------------------------------------------------

    def arrive(self, packet: Packet) -> None:
        host, line = self.host, self.line
        if line is not None and line.calm:
            if line.due_at <= host.clock.now:
                line.settle()
            if packet.size_bytes and packet.seq == self.received_bytes:
                self._take_calmly(line, packet)
                return
        elif host.asleep or host.down:
            return
        if self.closed:
            if packet.kind is not _RESET:
                self._send(_RESET)
            return
        self.segments_in += 1
        self._heard_at = host.now
        self.probes = 0
        if packet.kind is _RESET:
            self._fail()
            return
        self._on_acknowledged(packet)
        if packet.size_bytes:
            self._on_data(packet)
        elif packet.kind is not _DATA:
            self._answer_probe(packet.kind)
        if line is not None and not line.calm and not self._flight:
            line.relax()

    def _take_calmly(self, line: Line, packet: Packet) -> None:
        """What comes on a calm line, in its order: all that there is to do."""
        now = self.host.clock.now
        self.hear(now, packet.acknowledges, packet.window_bytes)
        size_bytes = packet.size_bytes
        self.received_bytes += size_bytes
        self._unread.append((size_bytes, packet.frames))
        self.unread_bytes += size_bytes
        if self._room - self.unread_bytes < self._room // 2:
            line.disturb()
            self._send_ack()
        elif self.ack_at == inf:
            self.ack_at = at = now + DELAYED_ACK
            line.expect(at)
        if self.program is not None:
            self.program.on_readable()

    def _answer_probe(self, kind: Kind) -> None:
        now = self.host.now
        if now - self.probe_answered_at >= PROBE_ANSWERS_EVERY:
            self.probe_answered_at = now
            self._send_ack()

    def _on_data(self, packet: Packet) -> None:
        line = self.line
        if packet.seq != self.received_bytes:
            if line is not None:
                line.disturb()
            if packet.seq > self.received_bytes:
                self._out_of_order += 1
                self._early[packet.seq] = packet
            self._send_ack()
            return
        filled = bool(self._early)
        self._take(packet)
        while self.received_bytes in self._early:
            self._take(self._early.pop(self.received_bytes))
        if filled or self._window_here() < self._room // 2:
            self._send_ack()
        elif self._acknowledge.due == inf:
            self._acknowledge.set(self.host.now + DELAYED_ACK)
        if self.program is not None:
            self.program.on_readable()

    def _take(self, packet: Packet) -> None:
        self.received_bytes += packet.size_bytes
        self._unread.append((packet.size_bytes, packet.frames))
        self.unread_bytes += packet.size_bytes

    def _window_here(self) -> int:
        return max(0, self._room - self.unread_bytes)
