"""Pings that are out: matched to pongs by payload, to acknowledgements by position."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from .detector import (
    DELAYED_ACK,
    LEAST_RESEND,
    OUTBOUND_RETRANSMITS,
    Liveness,
    window_shut,
)
from .evidence import Kernel

MOST_OUT = 16
"""Older unanswered pings are forgotten; a peer may answer only the latest one."""
AGE_TICK = 0.010
"""Ages are in ticks of the kernel, of 10 ms at most: Linux' HZ is 100 at least."""
SHARED_OF_PING = 50
"""Pings go out in instants this share of `ping_every` apart, up to that earlier."""


def ping_due(policy: Liveness, *, heard_at: float, last_at: float) -> float:
    """When a ping is due that no doubt asks, after the last frame and the last ping."""
    measure_at = last_at + policy.measure_every
    due = (heard_at if heard_at > last_at else last_at) + policy.ping_every
    if measure_at < due:
        due = measure_at
    # Links that are asked in the same instant wake the process once.
    return due - due % (policy.ping_every / SHARED_OF_PING)


@dataclass(slots=True)
class PingOut:
    """A ping that no pong has answered yet."""

    sent_at: float
    position: int | None = None
    """Where in our byte stream it ends; the peer's kernel has it once acknowledged."""
    acked_bytes: int = 0
    retransmits: int = 0
    acked: bool = False
    heard_retransmits: int | None = None
    """Retransmissions so far when a segment first came though the answer did not."""
    heard_late: bool = False
    """So late that the way to us seems to have been away as well."""
    needed: int = 0
    """Most retransmissions that were called for while it was out."""
    resent_at: float | None = None
    """When enough retransmissions were noticed, the last of them after that."""
    resent_twice_at: float | None = None
    """When the second retransmission was noticed since that segment came."""
    resent_with_it: bool = False
    """Whether a resend left as that segment came, for all that ticks can tell: it
    hardly went while the path was away, and of two in vain it is one. Kernels whose
    timers began together resend together, each time."""
    last_resent_at: float = -inf
    """When the last of our retransmissions left that could be dated."""
    left_at: float = inf
    """The same of what was noticed at `resent_at`; inf where that was not dated."""
    looked_sent: int = -1
    """How many bytes had ever left us when it was looked at last; -1 before that."""
    looked_retransmits: int = 0

    def watch(
        self, kernel: Kernel, *, answer_takes: float, needed: int, now: float
    ) -> None:
        """Note whether the way to us works while this ping stays unacknowledged.

        What was on its way to us when it left proves nothing, and a path that has just
        come back must have had a chance to carry the ping again.
        """
        self.needed = max(self.needed, needed)
        dated = self._date(kernel, now)
        if self.heard_retransmits is None:
            heard_at, least_at = now - kernel.heard_age, self.sent_at + answer_takes
            if heard_at < least_at:
                return
            # One look may see both that segment and a resend that came after it.
            since_resend = heard_at - self.last_resent_at
            after = since_resend < -AGE_TICK
            self.heard_retransmits = kernel.total_retransmits - after
            self.resent_with_it = abs(since_resend) <= AGE_TICK
            # A peer that hears no answer of ours sends its data again by then.
            self.heard_late = heard_at > least_at + LEAST_RESEND
        enough = max(self.heard_retransmits, self.retransmits + self.needed - 1)
        if self.resent_at is None and kernel.total_retransmits > enough:
            self.resent_at = now
            self.left_at = self.last_resent_at if dated else inf
        twice = self.heard_retransmits + OUTBOUND_RETRANSMITS - self.resent_with_it
        twice = max(enough + 1, twice)
        if self.resent_twice_at is None and kernel.total_retransmits >= twice:
            self.resent_twice_at = now

    def _date(self, kernel: Kernel, now: float) -> bool:
        """Note when the last retransmission left, and whether that can be told.

        What left last was sent again only if nothing has left for the first time.
        """
        sent = kernel.acked_bytes + kernel.outstanding_bytes - kernel.unsent_bytes
        resent = kernel.total_retransmits > self.looked_retransmits
        only = sent == self.looked_sent
        self.looked_sent, self.looked_retransmits = sent, kernel.total_retransmits
        if not resent or not only or kernel.sent_age is None:
            return False
        self.last_resent_at = now - kernel.sent_age
        return True

    def is_lost_outbound(
        self, kernel: Kernel, *, answer_takes: float, now: float
    ) -> bool:
        """Resent in vain while segments come in: our own bytes do not arrive.

        Where both ways seem to have been away, the one resend since, or the one answer
        to it, may be lost by chance. Whatever comes after a resend that arrived
        acknowledges it; where nothing comes that late, one more resend is waited for.
        """
        if self.resent_at is None:
            return False
        proven_at = self.resent_at
        if self.heard_late:
            twice_at = inf if self.resent_twice_at is None else self.resent_twice_at
            heard_at = now - kernel.heard_age
            came_later = heard_at - proven_at >= answer_takes
            # What is sent anyway acknowledges without delay.
            came_later |= heard_at - self.left_at >= answer_takes - DELAYED_ACK
            proven_at = proven_at if came_later else twice_at
        return (
            self.position is not None
            and now - proven_at >= answer_takes
            and kernel.retransmits > 0
            and kernel.acked_bytes == self.acked_bytes
            and not window_shut(kernel)
        )


class Pings:
    """The pings of one link, oldest first. Payloads carry the epoch and a number."""

    __slots__ = ("_epoch", "_out", "answered", "last_at", "sent", "stray")

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._out: dict[bytes, PingOut] = {}
        self.sent = 0
        self.answered = 0
        self.stray = 0
        self.last_at = float("-inf")

    def __len__(self) -> int:
        return len(self._out)

    def __contains__(self, payload: bytes) -> bool:
        return payload in self._out

    def payload(self, nth: int) -> bytes:
        """What the `nth` ping of the link says, counted from 1."""
        return b"%x.%x" % (self._epoch, nth)

    def send(self, *, now: float) -> bytes:
        """Count one more ping; its payload."""
        self.sent += 1
        self.last_at = now
        payload = self.payload(self.sent)
        self._out[payload] = PingOut(sent_at=now)
        if len(self._out) > MOST_OUT:
            del self._out[next(iter(self._out))]
        return payload

    def answer(self, payload: bytes) -> PingOut | None:
        """The ping that this pong answers, or None if nobody asked.

        Older pings count as answered too: the peer may answer only the latest
        (RFC 6455 section 5.5.3).
        """
        sent = self._out.get(payload)
        if sent is None:
            self.stray += 1
            return None
        self.answered += 1
        if len(self._out) == 1:
            # A dict that once held something keeps the room for it.
            self._out = {}
            return sent
        for older in list(self._out):
            del self._out[older]
            if older == payload:
                break
        return sent

    def place(self, kernel: Kernel) -> None:
        """Note where the latest ping ends in our byte stream, right after queueing."""
        if not self._out:
            return
        newest = next(reversed(self._out.values()))
        if newest.position is None:
            newest.position = kernel.acked_bytes + kernel.outstanding_bytes
            newest.acked_bytes = kernel.acked_bytes
            newest.retransmits = kernel.total_retransmits

    def acknowledge(self, kernel: Kernel, *, now: float) -> float | None:
        """Mark what the peer's kernel has; when the latest such ping arrived there."""
        proven_at: float | None = None
        for sent in self._out.values():
            if sent.acked:
                continue
            if sent.position is None:
                sent.acked = kernel.outstanding_bytes == 0
            else:
                sent.acked = kernel.acked_bytes >= sent.position
            if sent.acked:
                proven_at = max(sent.sent_at, now - kernel.heard_age)
        return proven_at

    def in_vain(self, kernel: Kernel) -> int:
        """How often our bytes were sent again that are not acknowledged.

        A segment's first resend, which is no timeout yet, is seen where a ping waits.
        """
        waits = self.oldest_unacknowledged()
        if waits is None or waits.position is None:
            return kernel.retransmits
        return max(kernel.retransmits, kernel.total_retransmits - waits.retransmits)

    def oldest(self) -> PingOut | None:
        if not self._out:
            return None
        for sent in self._out.values():
            return sent
        return None

    def oldest_unacknowledged(self) -> PingOut | None:
        if not self._out:
            return None
        for sent in self._out.values():
            if not sent.acked:
                return sent
        return None
