"""The promise that a silence of frames is held to: what was published as it began.

What is learned or excused in a silence says when its cause is sure. It never moves the
instant by which that silence is told.
"""

from __future__ import annotations

from math import inf

from . import diagnosis
from .detector import DELAYED_ACK, POLL, REPROOF_WITHIN, TIMER_SLACK, PathClock
from .diagnosis import Finding
from .evidence import Kernel
from .peer import KERNEL_TAKES, PeerClock
from .pings import Pings


def reproof_takes(rung: float) -> float:
    """Seconds from an overdue answer until the peer's kernel has proven itself anew."""
    return rung + POLL + TIMER_SLACK + KERNEL_TAKES


def peer_bound(
    path: PathClock,
    peer: PeerClock,
    kernel: Kernel | None,
    *,
    silence: float | None,
    now: float,
) -> float:
    """Seconds from the last frame to the verdict; `silence` of a busy link.

    Never less than the path's: while the path is away, no frame can come.
    """
    policy = path.policy
    wait = policy.ping_every if silence is None else silence
    takes = peer.allowance(now=now) + reproof_takes(path.rung)
    if kernel is None:
        return wait + takes
    # A dead way out alone is missed no sooner than a frozen peer.
    takes = max(takes, path.resending_takes(wait, now=now) + TIMER_SLACK)
    ride_through = path.ride_through(now=now)
    if ride_through > policy.ride_through:
        takes = max(takes, path.return_takes(wait, ride_through))
    return max(wait + takes, path.bound(silence, now=now))


def peer_ceiling(path: PathClock) -> float:
    """What `peer_bound` can grow to, whatever is learned."""
    policy, wait = path.policy, path.policy.ping_every
    takes = policy.peer_max + reproof_takes(path.timeout_cap + DELAYED_ACK)
    resending = path.resending_takes_at_most(wait) + TIMER_SLACK
    takes = max(takes, resending, path.return_takes_at_most(wait))
    return max(wait + takes, path.ceiling)


class Kept:
    """The bound of the present silence of frames, fixed as it began. Seconds."""

    __slots__ = ("_path", "_peer", "_since_at", "_until_at", "bound", "frame_at")

    def __init__(self, path: PathClock, peer: PeerClock) -> None:
        self._path = path
        self._peer = peer
        self.frame_at = -inf
        """The last frame before the silence that the bound belongs to."""
        self._since_at = self._until_at = -inf
        self.bound = inf

    @property
    def began(self) -> bool:
        """Whether the bound is that of the present silence."""
        return self.frame_at == self._peer.frame_at

    def begin(self, bound: float, *, since_at: float) -> None:
        """Fix the bound of the present silence, which counts from `since_at`.

        That is later than its last frame where what came since had waited for us.
        """
        self.bound, self._since_at = bound, since_at
        self.frame_at = self._peer.frame_at
        self._until_at = since_at + bound - TIMER_SLACK

    def judge(
        self, kernel: Kernel | None, *, pings: Pings, now: float
    ) -> Finding | None:
        """Keep the promise, where what the path loses leaves the cause unsure."""
        wait, peer = self._peer.wait, self._peer
        if wait is None or now < self.told_by:
            return None
        silence = now - peer.frame_at
        if kernel is None:
            return diagnosis.silent_without_kernel(len(pings), silence)
        lost = pings.in_vain(kernel) >= self._path.resends_needed(now=now)
        if lost or wait.proven_at is None or wait.proven_at < peer.excused_until:
            return diagnosis.path_unsure(wait, kernel, silence, now=now)
        return diagnosis.peer_frozen(wait, kernel, silence, now=now)

    def extend(self, lag: float) -> None:
        """A stall of our own prolongs it by itself."""
        self._until_at += lag

    @property
    def asked_by(self) -> float:
        """When the peer's kernel is asked at the latest, so that its answer counts."""
        return self.told_by - max(REPROOF_WITHIN / 2, self._path.rung)

    @property
    def told_by(self) -> float:
        """The instant by which the silence is told, whatever is not sure.

        Bytes of no whole frame are signs of life too, until the message's deadline.
        """
        crept_at = self._peer.crept_at
        if crept_at <= self._since_at:
            return self._until_at
        latest = self._peer.complete_by + reproof_takes(self._path.rung) - TIMER_SLACK
        return max(self._until_at, min(crept_at + self.bound - TIMER_SLACK, latest))
