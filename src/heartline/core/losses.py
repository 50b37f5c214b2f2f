"""What is told of links: that one is OPEN, or was lost, and since when."""

from __future__ import annotations

from .backoff import Backoff
from .diagnosis import Finding
from .events import Connected, DialFailed, DialLost, Ended, Lost, Surrendered
from .items import Cause, Where
from .link import Link
from .promises import bound_of, bounds
from .terms import Trouble

_BLAMED = (Where.LOCAL, Where.BOTH)
"""Of any other dead path it is frames that are missed."""


def lost(
    link: Link,
    finding: Finding,
    *,
    where: Where | None,
    ended: Ended | None,
    now: float,
) -> Lost:
    """The event of a loss: found by us, or told by an end without our order."""
    unconfirmed = link.kernel.outstanding_bytes if link.kernel is not None else 0
    return Lost(
        at=now,
        epoch=link.epoch,
        cause=finding.cause,
        where=where,
        status=ended.status if ended else None,
        reason=ended.reason if ended else "",
        evidence="" if ended else finding.evidence,
        # What has ended by a word was alive until that word.
        since_at=now if ended else _since(link, finding.cause, where),
        bound=None if ended else bound_of(bounds(link, now=now), finding.cause, where),
        unsent=ended.unsent if ended else link.waiting,
        unconfirmed_bytes=ended.unconfirmed_bytes if ended else unconfirmed,
    )


def complete_until(link: Link, *, opened: bool) -> float | None:
    """Until when all that a lost link brought was passed on; None: it brought nothing.

    What comes before a link is OPEN waits for that, and is forgotten with it.
    """
    if opened:
        # Frames come in order: whatever was sent before the last one is here.
        return link.peer.frame_at
    return link.channel.first_at


def connected(
    link: Link, *, address: str, attempt: int, outage: float, now: float
) -> Connected:
    return Connected(
        at=now,
        epoch=link.epoch,
        address=address,
        attempt=attempt,
        outage=outage,
        kernel=link.kernel is not None,
    )


def dial_lost(fact: DialFailed, *, attempt: int, now: float) -> DialLost:
    return DialLost(
        at=now,
        epoch=fact.epoch,
        attempt=attempt,
        cause=fact.cause,
        where=fact.where,
        status=fact.status,
        reason=fact.reason,
    )


def surrendered(
    trouble: Trouble, *, epoch: int, attempts: int, now: float
) -> Surrendered:
    return Surrendered(
        at=now,
        epoch=epoch,
        cause=trouble.cause,
        status=trouble.status,
        reason=trouble.evidence,
        attempts=attempts,
    )


def was_useful(link: Link, backoff: Backoff) -> bool:
    """Whether the next loss starts counting attempts anew."""
    fed_at = link.channel.fresh_at
    if fed_at is not None and fed_at - link.opened_at >= backoff.useful_uptime:
        return True
    answered = link.pings.answered > 0 and link.channel.contract is None
    return answered and link.peer.frame_at - link.opened_at >= backoff.quiet_uptime


def _since(link: Link, cause: Cause, where: Where | None) -> float:
    """The last sign of life of that kind."""
    if cause is Cause.CHANNEL_STALLED:
        return link.channel.data_at
    if cause is Cause.PATH_DEAD and (where in _BLAMED or link.kernel is None):
        return max(link.path.heard_at, link.peer.frame_at)
    return link.peer.frame_at
