"""What a link promises at a moment: bounds derived from policy and what it learned."""

from __future__ import annotations

from .channel import CHANNEL_PATIENCE
from .detector import TIMER_SLACK
from .items import Bounds, Cause, Where
from .kept import peer_ceiling
from .link import Link


def bounds(link: Link, *, now: float) -> Bounds:
    """Seconds of each kind of silence until it is told, as things stand at `now`.

    Of frames that are missing already it is what was promised as the last one came.
    """
    path = peer = link.clocks.peer_bound(now=now)
    if link.kernel is not None:
        path = link.path.bound(link.clocks.path_silence, now=now)
    return Bounds(path=path, peer=peer, channels=_channels(link))


def bound_of(promised: Bounds, cause: Cause, where: Where | None) -> float | None:
    """The one of them that a silence of this kind is held to; None: nothing is."""
    if where is Where.OUTBOUND or (cause is Cause.PATH_DEAD and where is None):
        # Segments still come in: it is frames that are missed, and where their rhythm
        # is slow, nothing is asked before the peer's time.
        return max(promised.path, promised.peer)
    if cause is Cause.PATH_DEAD:
        return promised.path
    if cause is Cause.PEER_FROZEN:
        return promised.peer
    return promised.channels.get(None)


def ceilings(link: Link) -> Bounds:
    """What `bounds` can grow to on this link, whatever it learns."""
    silent = link.policy.no_pong_silence + TIMER_SLACK
    peer = max(peer_ceiling(link.path), silent)
    path = peer if link.kernel is None else link.path.ceiling
    return Bounds(path=path, peer=peer, channels=_channels(link))


def _channels(link: Link) -> dict[str | None, float]:
    contract = link.channel.contract
    return {} if contract is None else {None: contract.every + CHANNEL_PATIENCE}
