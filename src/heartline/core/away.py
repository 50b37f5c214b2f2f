"""A path that was away and is back: how long the peer's frames may stay out since.

Its kernel resends at doubling intervals: for as long as the path was away, once more.
Each of these is in seconds, and 0.0 where the path was not away for that long.
"""

from __future__ import annotations

from .detector import LEAST_RESEND, Ladder, PathClock
from .peer import PeerClock

CARRIED = 100
"""A path that lost none of so many segments is not expected to lose the next one."""


def doubted(path: PathClock, ladder: Ladder | None, *, rung: float) -> float:
    """What ended a doubt was no late look at a prompt answer: it was really away."""
    if ladder is None or path.ladder is not None:
        return 0.0
    if path.heard_at <= ladder.began_at + rung:
        return 0.0
    return min(path.silence, path.ceiling)


def asked(path: PathClock, *, took: float, allowance: float) -> float:
    """A ping that took so long was away, too shortly to be doubted.

    The peer has known of the question for the lesser part of its time.
    """
    return min(took, path.ceiling) if 2 * took > allowance else 0.0


def unasked(path: PathClock, peer: PeerClock, *, now: float) -> float | None:
    """By when the peer is heard after a silence that nobody asked in, if there was one.

    Only a kernel that asks seldom can be silent for so long by itself. What the peer
    sent into that silence is sent again by then, and no further time begins.
    """
    wait = peer.wait
    if path.spoken_within <= path.policy.peer_busy:
        return None
    if wait is not None and wait.proven_at is not None:
        return None
    if path.spoken_within <= peer.allowance(now=now):
        return None
    silence = min(path.silence, path.patience)
    return path.heard_at + silence + LEAST_RESEND + path.timeout


def resent_again(path: PathClock, silence: float) -> float:
    """The resend that would have ended such a silence may be lost as well.

    The next one comes twice as late. Not expected of a path that carried much and lost
    next to nothing of it.
    """
    kernel = path.kernel
    if kernel is not None:
        lost = kernel.total_retransmits + kernel.out_of_order
        if kernel.segments_in >= CARRIED * (1 + lost):
            return 0.0
    return 2 * (silence + LEAST_RESEND)
