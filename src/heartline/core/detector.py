"""Silence and answers -> ALIVE, SUSPECT or DEAD. Judges and adapts; never sends.

Two clocks run on a link and neither waits for the other. The path's clock is here and
runs from the last segment the kernel received; the peer's, in `peer.py`, from the last
complete frame. Each says when it wants a probe, when it doubts, and when it is sure.
"""

from __future__ import annotations

from dataclasses import dataclass

from heartline.errors import UsageError

from .adaptive import PROBE_TIMEOUT_CAP, Disorder, HealedSilence, probe_timeout
from .demands import demand_declared
from .evidence import Kernel
from .items import Where

DELAYED_ACK = 0.050
"""A Linux peer that has nothing to say acknowledges within 40-48 ms (measured)."""
KEEPALIVE_GRACE = 0.040
"""The kernel's own keepalive of interval 1 s is answered 1.024 s after the last
segment on a path without delay (measured, HZ=250): timer wheel and two ticks."""
MOST_KEEPALIVE = 32_767
"""Seconds; Linux refuses more for TCP_KEEPIDLE and TCP_KEEPINTVL (`net/ipv4/tcp.c`)."""
LOCAL_AFTER = 0.150
"""Our own interface is blamed after this long with its signature (measured)."""
OUTBOUND_RETRANSMITS = 2
MOST_RETRANSMITS = 4
"""A link that once needed resends is given more of them, up to this many."""
LOSSY = 0.1
"""With this share of segments behind a missing one, resends are lost as well."""
LEAST_RESEND = 0.2
"""The kernel resends after this and a round trip, and as long again (measured)."""
REPROOF_WITHIN = 0.5
"""A frozen peer is accused only if its kernel acknowledged a probe this recently."""
LARGEST_SEGMENT = 65_535
BUSY_FLOOR = 0.2
POLL = 0.05
"""How often evidence is read while a verdict hangs on it."""
TIMER_SLACK = 0.05
"""Added to published bounds for timers that fire late without being a stall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """How silence is judged. All in seconds unless the name says otherwise.

    Defaults and their measurements: the table "Defaults" of the README.
    """

    kernel_interval: int = 1
    """Idle time after which the kernel asks the peer's kernel for a sign of life, in
    whole seconds; costs no WebSocket frame. Raise it on metered links."""
    ping_every: float = 10.0
    """Longest time without a complete frame before a ping is sent."""
    pings: int = 3
    """Probes that must stay without any sign of life before the path is given up."""
    ride_through: float = 0.5
    """A path blackout up to this long is forgiven; four times the longest blackout
    that healed, if that is more."""
    ride_through_max: float = 3.0
    peer_busy: float = 1.5
    """Time a peer has to answer a probe on a link whose data has a rhythm."""
    peer_idle: float = 3.0
    peer_max: float = 10.0
    """Ceiling of both after healed peer silences."""
    outbound_after: float = 0.7
    """Time our own bytes may stay unacknowledged while segments come in."""
    measure_every: float = 30.0
    """A busy link is pinged this often to know its round trip."""
    rare_per_minute: float = 1.0
    """How often a minute a silence may exceed the learned one and cost a probe."""
    message_deadline: float = 10.0
    """Time without any complete frame while the bytes of one trickle in."""
    no_pong_silence: float = 60.0
    """Patience with a silent peer that is known never to answer pings."""
    stall_after: float = 0.1
    """A timer later than this was our own stall; nothing is judged on it."""

    def __post_init__(self) -> None:
        demand_declared(self)
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not value > 0:
                raise UsageError(f"Liveness.{name}", wanted="more than 0", got=value)
        interval: object = self.kernel_interval
        # The kernel is given it as it is: it takes no float, and no more than this.
        if isinstance(interval, float) or self.kernel_interval > MOST_KEEPALIVE:
            wanted = f"whole seconds, an int up to {MOST_KEEPALIVE}"
            raise UsageError("Liveness.kernel_interval", wanted=wanted, got=interval)
        for low, high in (
            ("ride_through", "ride_through_max"),
            ("peer_busy", "peer_idle"),
            ("peer_idle", "peer_max"),
            ("peer_max", "no_pong_silence"),
            ("peer_busy", "message_deadline"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise UsageError(
                    f"Liveness.{low}",
                    wanted=f"at most {high} ({getattr(self, high)})",
                    got=getattr(self, low),
                )


@dataclass(slots=True)
class Ladder:
    """One doubt of the path: probes sent while the kernel heard nothing at all."""

    began_at: float
    segments: int
    retransmits: int
    """Ever, when it began."""
    timeouts: int = 0
    """In a row, when it began."""
    pings: int = 0
    last_ping_at: float = 0.0


class PathClock:
    """Judges the path by the kernel's evidence; without it, by bytes we read."""

    __slots__ = (
        "_next_from_at",
        "_next_timeout",
        "_resent_before",
        "disorder",
        "healed",
        "healed_resends",
        "heard_at",
        "kernel",
        "ladder",
        "policy",
        "silence",
        "spoken_within",
        "timeout",
    )

    def __init__(self, policy: Liveness, *, kernel: Kernel | None, now: float) -> None:
        self.policy = policy
        self.spoken_within = policy.kernel_interval + KEEPALIVE_GRACE
        """Two kernels with nothing else to say are silent no longer than this."""
        self.kernel: Kernel | None = kernel
        self.heard_at = now
        self.silence = 0.0
        """The last silence of the kernel that has ended."""
        self.ladder: Ladder | None = None
        self.timeout = self._next_timeout = PROBE_TIMEOUT_CAP
        self._next_from_at = now
        self.healed = HealedSilence()
        self.healed_resends = HealedSilence()
        """How often our bytes were resent until they arrived: a count, no time."""
        self._resent_before = kernel.total_retransmits if kernel else 0
        self.disorder = Disorder(
            segments=kernel.segments_in if kernel else 0,
            behind=kernel.out_of_order if kernel else 0,
        )
        if kernel is not None:
            self._time(kernel, now)
            self.timeout = self._next_timeout

    def observe(self, kernel: Kernel, *, now: float) -> None:
        """Take in what the kernel has heard since it was last asked."""
        seen = self.kernel
        if seen is None or kernel.segments_in != seen.segments_in:
            silent_since = self.heard_at
            self.heard_at = max(self.heard_at, now - kernel.heard_age)
            self.silence = self.heard_at - silent_since
            self.disorder.count(segments=kernel.segments_in, behind=kernel.out_of_order)
            if self.ladder and kernel.segments_in != self.ladder.segments:
                self._heal(now - kernel.heard_age, now)
            if seen is not None and kernel.acked_bytes != seen.acked_bytes:
                resends = kernel.total_retransmits - self._resent_before
                if resends > 0:
                    self.healed_resends.heal(resends, now=now)
                self._resent_before = kernel.total_retransmits
        self.kernel = kernel
        self._time(kernel, now)

    def heard(self, *, now: float) -> None:
        """Bytes were read that had not waited out a stall of ours."""
        self.heard_at = now
        if self.ladder:
            self._heal(now, now)

    def doubt(self, *, now: float) -> None:
        """Begin a ladder. The direction of error is later: it starts from `now`."""
        if self.ladder is None:
            seen = self.kernel
            self.ladder = Ladder(
                began_at=now,
                segments=seen.segments_in if seen else 0,
                retransmits=seen.total_retransmits if seen else 0,
                timeouts=seen.retransmits if seen else 0,
            )

    def extend(self, lag: float, *, now: float) -> None:
        """A stall of our own lies behind us: it prolongs what was begun before it."""
        if self.ladder:
            self.ladder.began_at = min(now, self.ladder.began_at + lag)
            self.ladder.last_ping_at = min(now, self.ladder.last_ping_at + lag)

    def forgive(self, *, now: float) -> None:
        """This machine was suspended: what was begun before it is void."""
        if self.ladder:
            self.ladder = None
            self.doubt(now=now)

    def pinged(self, *, now: float) -> None:
        """Count a rung; what else is asked beyond the last one puts nothing off."""
        if self.ladder and self.ladder.pings < self.policy.pings:
            self.ladder.pings += 1
            self.ladder.last_ping_at = now

    def ride_through(self, *, now: float) -> float:
        policy, learned = self.policy, 4 * self.healed.length(now=now)
        if learned <= policy.ride_through:
            return policy.ride_through
        return min(learned, policy.ride_through_max)

    @property
    def learning(self) -> bool:
        """Whether a longer timeout waits for a silence that begins later."""
        return self._next_timeout != self.timeout

    @property
    def patience(self) -> float:
        """Silence of the kernel after which the path is doubted."""
        return self.spoken_within + self.timeout

    @property
    def rung(self) -> float:
        """Time between two probes of a ladder."""
        return self.timeout + DELAYED_ACK

    def doubt_at(self) -> float:
        return self.heard_at + (self.spoken_within + self.timeout)

    def wants_ping(self, *, now: float) -> bool:
        """Whether the ladder's next rung is due."""
        ladder = self.ladder
        if ladder is None or ladder.pings >= self.policy.pings:
            return False
        return now >= ladder.last_ping_at + self.rung

    def next_at(self, *, now: float) -> float:
        """When the ladder wants to be looked at again; polled once all is out."""
        ladder = self.ladder
        assert ladder is not None
        local_at = ladder.began_at + LOCAL_AFTER
        due = self._sure_at(ladder, now)
        if ladder.pings < self.policy.pings:
            due = ladder.last_ping_at + self.rung
        if now < local_at:
            return min(due, local_at)
        return due if due > now else now + POLL

    def _sure_at(self, ladder: Ladder, now: float) -> float:
        rung_at = ladder.last_ping_at + self.rung
        return max(rung_at, ladder.began_at + self.ride_through(now=now))

    def judge(self, *, now: float) -> Where | None:
        """Tell where the path is dead; None while it is not, or not surely."""
        ladder, kernel = self.ladder, self.kernel
        if ladder is None or ladder.pings == 0:
            return None
        if kernel is None:
            return None
        local_at = ladder.began_at + LOCAL_AFTER
        if now >= local_at and self._looks_local(kernel, ladder):
            return Where.LOCAL
        if ladder.pings < self.policy.pings or now < self._sure_at(ladder, now):
            return None
        if window_shut(kernel) and kernel.probes_unanswered < OUTBOUND_RETRANSMITS:
            # The kernel holds our pings back and probes the window at doubling
            # intervals: silence between two answered probes proves nothing.
            return None
        return Where.BOTH

    def bound(self, silence: float | None, *, now: float) -> float:
        """Seconds from the last segment to the verdict; `silence` of a busy link."""
        timeout = max(self.timeout, self._next_timeout)
        wait = self.spoken_within + timeout
        takes = self._climb_takes(timeout, self.ride_through(now=now))
        if silence is None:
            return wait + takes + TIMER_SLACK
        if silence < wait:
            # Only where data is missed can the way out be dead alone and be found here.
            takes = max(takes, self.resending_takes(silence, now=now))
        return min(wait, silence) + takes + TIMER_SLACK

    @property
    def ceiling(self) -> float:
        policy, most = self.policy, self.timeout_cap
        wait = self.spoken_within + most
        climb = self._climb_takes(most, policy.ride_through_max)
        return wait + max(climb, self.resending_takes_at_most(wait)) + TIMER_SLACK

    @property
    def timeout_cap(self) -> float:
        """Most that a probe may take on a path of this length."""
        least = 0.0 if self.kernel is None else self.kernel.min_round_trip
        return max(PROBE_TIMEOUT_CAP, 3 * least)

    def _climb_takes(self, timeout: float, ride_through: float) -> float:
        climb = self.policy.pings * (timeout + DELAYED_ACK)
        return climb if climb > ride_through else ride_through

    def return_takes(self, silence: float, ride_through: float) -> float:
        """Seconds from a ping, sent after `silence`, until its answer comes late.

        The path may have been away for as long as is forgiven, and both kernels resend
        at doubling intervals: for as long again nothing may come.
        """
        timeout = max(self.timeout, self._next_timeout)
        return self._returning(silence, timeout, ride_through)

    def return_takes_at_most(self, silence: float) -> float:
        """The same, whatever is learned."""
        most = self.timeout_cap
        return self._returning(silence, most, self.policy.ride_through_max)

    def _returning(self, silence: float, timeout: float, ride_through: float) -> float:
        wait = self.spoken_within + timeout
        away = min(silence, wait) + self._climb_takes(timeout, ride_through)
        return 2 * away + timeout + DELAYED_ACK

    def resends_needed(self, *, now: float) -> int:
        """Retransmissions that must be in vain before the way out is called dead.

        Two more than once healed: a lossy path loses a resend as well. One that loses
        much of what comes to us is not waited for to lose what is ours.
        """
        if self.disorder.share >= LOSSY:
            return MOST_RETRANSMITS
        healed = self.healed_resends.length(now=now)
        if not healed:
            return OUTBOUND_RETRANSMITS
        return min(OUTBOUND_RETRANSMITS + round(healed), MOST_RETRANSMITS)

    def resending_takes(self, silence: float, *, now: float) -> float:
        """Seconds from a ping, sent after `silence`, until the way out is found dead.

        Both kernels resend at doubling intervals. Of the other end's, one must come
        after the ping, or the path's own time runs out; of ours, one after that.
        """
        timeout = max(self.timeout, self._next_timeout)
        needed = self.resends_needed(now=now)
        climb = self._climb_takes(timeout, self.ride_through(now=now))
        return self._resending(silence, timeout, climb, needed)

    def resending_takes_at_most(self, silence: float) -> float:
        """The same, whatever is learned."""
        most = self.timeout_cap
        climb = self._climb_takes(most, self.policy.ride_through_max)
        return self._resending(silence, most, climb, MOST_RETRANSMITS)

    def _resending(
        self, silence: float, timeout: float, climb: float, needed: int
    ) -> float:
        # At one, two, four and eight of these the kernel resends; the third must fail
        # too where the second came before a segment told that the way to us works.
        # Written out, without max and min: it is asked for with every silence.
        doublings = 4.0 if needed <= 3 else 2.0 ** (needed - 1)
        resent, rung = doublings * (LEAST_RESEND + timeout), timeout + DELAYED_ACK
        heard, away = silence + 2 * rung, self.spoken_within + timeout + climb
        takes = 2 * (heard if heard < away else away)
        takes = (takes if takes > resent else resent) + rung
        least = self.policy.outbound_after
        return (takes if takes > least else least) + POLL

    def _heal(self, at: float, now: float) -> None:
        assert self.ladder is not None
        self.healed.heal(max(0.0, at - self.ladder.began_at), now=now)
        self.ladder = None

    def _time(self, kernel: Kernel, now: float) -> None:
        """Learn the probe timeout. A longer one holds for silences that begin later.

        Else a silence would be judged by a bound that was not published when it began.
        """
        if self.heard_at >= self._next_from_at:
            self.timeout = self._next_timeout
        if kernel.round_trip > 0:
            self._next_from_at = now
            self._next_timeout = probe_timeout(
                kernel.round_trip, kernel.round_trip_deviation, kernel.min_round_trip
            )
        if self._next_timeout < self.timeout:
            self.timeout = self._next_timeout

    @staticmethod
    def _looks_local(kernel: Kernel, ladder: Ladder) -> bool:
        if window_shut(kernel):
            return False
        nothing_leaves = kernel.unsent_bytes > 0 and kernel.unacked_segments == 0
        nothing_is_resent = (
            kernel.retransmits > ladder.timeouts
            and kernel.total_retransmits == ladder.retransmits
        )
        return nothing_leaves or nothing_is_resent


def window_shut(kernel: Kernel) -> bool:
    """The peer's kernel answers, but takes no more of our bytes.

    A window smaller than a segment is left unused while more than that waits (RFC
    9293 section 3.8.6.2.1), and looks like this until the first window probe. Where
    the window is not told: bytes wait though nothing is on its way.
    """
    held = kernel.unsent_bytes > 0 and kernel.unacked_segments == 0
    window = kernel.send_window_bytes
    if window is None:
        return held
    if held and window < min(kernel.unsent_bytes, LARGEST_SEGMENT):
        return True
    return window == 0 and kernel.outstanding_bytes > 0
