"""The peer's clock: judges the program at the other end by the frames it completes."""

from __future__ import annotations

from dataclasses import dataclass

from .adaptive import PROBE_TIMEOUT_CAP, HealedSilence
from .detector import OUTBOUND_RETRANSMITS, REPROOF_WITHIN, Liveness, window_shut
from .evidence import Kernel

BACKLOG_BYTES = 4096
"""Less than this in front of a probe is not worth watching."""
KERNEL_TAKES = 0.25
"""A frozen peer's kernel goes on taking our bytes until its buffer is full; on
loopback that took 0.1 to 0.3 s while we wrote without pause (measured)."""


@dataclass(slots=True)
class Wait:
    """One wait for the peer: a probe is out and no complete frame has come since."""

    began_at: float
    last_ping_at: float
    proven_at: float | None = None
    """When the peer's kernel last acknowledged a probe of this wait."""


class PeerClock:
    """Judges the program at the other end by the complete frames it sends."""

    __slots__ = (
        "_acked",
        "_acked_at",
        "_behind",
        "_looked_of",
        "_received",
        "_received_at",
        "_resumed_at",
        "busy",
        "crept_at",
        "excused_until",
        "frame_at",
        "healed",
        "policy",
        "spared_until",
        "wait",
    )

    def __init__(self, policy: Liveness, *, now: float) -> None:
        self.policy = policy
        self.frame_at = now
        self.wait: Wait | None = None
        self.busy = False
        """Whether the link's data has a rhythm: then less patience is needed."""
        self.healed = HealedSilence()
        self._acked = 0
        self._acked_at = now
        self._received = 0
        self._behind = 0
        self._received_at = now
        self._resumed_at = now
        self._looked_of = now
        """The last frame before the kernel was last asked."""
        self.crept_at = now
        """When bytes of no whole frame last moved in a silence."""
        self.excused_until = now
        """Till then the peer's kernel may hold its frames back."""
        self.spared_until = now
        """Doubted, but not accused before: what it sent again may be lost once more."""

    def observe(self, kernel: Kernel, *, now: float) -> None:
        """Note progress: moving bytes are no frames yet, but they are not silence."""
        # They moved no later than the last segment came, though we look only now.
        moved_at = now - kernel.heard_age
        # What moved before the first look in a silence may be the last frame itself.
        creeps = self._looked_of == self.frame_at
        self._looked_of = self.frame_at
        if kernel.acked_bytes != self._acked:
            self._acked = kernel.acked_bytes
            if moved_at > self._acked_at:
                self._acked_at = moved_at
            if creeps and self.is_behind_backlog(kernel):
                self.crept_at = self._acked_at
        if kernel.received_bytes != self._received:
            self._received = kernel.received_bytes
            if moved_at > self._received_at:
                self._received_at = moved_at
            if creeps:
                self.crept_at = self._received_at
        if kernel.out_of_order != self._behind:
            # Its frames come, behind one that the path has lost: they wait for that.
            self._behind = kernel.out_of_order
            self._received_at = max(self._received_at, moved_at)

    def moved(self, *, now: float) -> None:
        """Bytes of a frame were read that is not complete yet."""
        self._received_at = self.crept_at = now

    def framed(self, *, now: float) -> None:
        self.frame_at = now
        if self.excused_until > now:
            # Whoever sends it knows that the path is back.
            self.excused_until = now
        if self.spared_until > now:
            self.spared_until = now
        if self.wait:
            self.healed.heal(now - self.wait.began_at, now=now)
            self.wait = None

    def pinged(self, *, now: float) -> None:
        if self.wait is None:
            self.wait = Wait(began_at=now, last_ping_at=now)
        else:
            self.wait.last_ping_at = now

    def proven(self, *, at: float) -> None:
        if self.wait:
            self.wait.proven_at = at

    def excuse(self, silence: float, *, now: float) -> None:
        """The path is back after `silence`; the peer's kernel may not know it yet.

        It resends at doubling intervals, so for as long again nothing may come. Nothing
        is excused by 0.0 or less.
        """
        if silence > 0.0:
            self.excused_until = max(self.excused_until, now + silence)

    def spare(self, until: float) -> None:
        """Accuse it no earlier than that.

        It is doubted as if nothing were spared: a doubt is not an accusation.
        """
        self.spared_until = max(self.spared_until, until)

    def extend(self, lag: float, *, now: float) -> None:
        """A stall of our own lies behind us: it prolongs what was begun before it."""
        if self.wait:
            self.wait.began_at = min(now, self.wait.began_at + lag)

    def forgive(self) -> None:
        """What came was old, or not read at all: ask again before judging."""
        self.wait = None

    def resume(self, *, now: float) -> None:
        """Reading goes on after a pause of ours: bytes may move again."""
        self.wait = None
        self._resumed_at = now

    def allowance(self, *, now: float) -> float:
        """Seconds a probe may stay unanswered, stretched by what has healed."""
        # Written out, without max and min, like the rest that each look asks for.
        policy, allowed = self.policy, 4 * self.healed.length(now=now)
        least = policy.peer_busy if self.busy else policy.peer_idle
        if allowed < least:
            allowed = least
        return allowed if allowed < policy.peer_max else policy.peer_max

    def is_behind_backlog(self, kernel: Kernel | None) -> bool:
        """Whether a probe waits behind bytes of ours: then their progress matters."""
        if self.wait is None or self.wait.proven_at is not None or kernel is None:
            return False
        return kernel.outstanding_bytes > BACKLOG_BYTES

    def suspect_at(self, *, now: float) -> float:
        """When a wait becomes a doubt: half of what the peer is allowed."""
        assert self.wait is not None
        began_at, excused_until = self.wait.began_at, self.excused_until
        if excused_until > began_at:
            began_at = excused_until
        return began_at + self.allowance(now=now) / 2

    def ask_at(self, kernel: Kernel | None, *, by: float, now: float) -> float:
        """When the next ping of a wait is due; one goes out `by` then in any case."""
        wait = self.wait
        assert wait is not None
        if kernel is None:
            # Nothing but answers counts here, so the questions share the time.
            share = self.allowance(now=now) / self.policy.pings
            return wait.last_ping_at + max(share, PROBE_TIMEOUT_CAP)
        # The peer's kernel must have proven itself shortly before the verdict; a
        # proof that stays out is asked for again, and the path will be judged.
        reproof_at = self.overdue_at(kernel, now=now) - REPROOF_WITHIN / 2
        return max(min(reproof_at, by), wait.last_ping_at + REPROOF_WITHIN)

    def is_accused(self, kernel: Kernel, *, now: float) -> bool:
        """Whether an overdue answer is the fault of the peer: its kernel lives."""
        wait = self.wait
        assert wait is not None
        if window_shut(kernel):
            return kernel.probes_unanswered < OUTBOUND_RETRANSMITS
        return wait.proven_at is not None and now - wait.proven_at <= REPROOF_WITHIN

    def overdue_at(self, kernel: Kernel | None, *, now: float) -> float:
        """When the present wait ends badly, if nothing more is heard.

        Bytes that still move put it off, up to the message deadline: a large message
        on a slow link, or our own backlog in front of the probe, is not a dead peer.
        """
        wait = self.wait
        assert wait is not None
        allowance = self.allowance(now=now)
        began_at, moved_at = wait.began_at, self._received_at
        if self.excused_until > began_at:
            began_at = self.excused_until
        if kernel and wait.proven_at is None and kernel.outstanding_bytes > 0:
            moved_at = max(moved_at, self._acked_at)
        due = began_at + allowance
        if self.spared_until > due:
            due = self.spared_until
        if moved_at <= began_at:
            return due
        return max(min(moved_at + allowance, self.complete_by), due)

    @property
    def complete_by(self) -> float:
        """Until when a message may creep in."""
        return max(self.frame_at, self._resumed_at) + self.policy.message_deadline
