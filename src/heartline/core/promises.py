"""What a link promises at a moment: bounds derived from policy and what it learned."""

from __future__ import annotations

from .channel import CHANNEL_PATIENCE
from .detector import DELAYED_ACK, POLL, TIMER_SLACK
from .items import Bounds, Cause, Where
from .link import Link
from .peer import KERNEL_TAKES


def bounds(link: Link, *, now: float) -> Bounds:
    """Seconds of each kind of silence until it is told, as things stand at `now`."""
    policy, silence = link.policy, link.clocks.peer_silence
    wait = policy.ping_every if silence is None else silence
    reproof = link.path.rung + POLL + TIMER_SLACK + KERNEL_TAKES
    excused = max(0.0, link.peer.excused_until - now)
    takes = link.peer.allowance(now=now) + reproof
    if link.kernel is not None:
        # A dead way out alone is missed no sooner than a frozen peer.
        resending = link.path.resending_takes(wait, now=now) + TIMER_SLACK
        takes = max(takes, resending)
    peer = max(wait, excused) + takes
    if link.clocks.no_pong_at is not None:
        peer = policy.no_pong_silence + TIMER_SLACK
    path = peer
    if link.kernel is not None:
        path = link.path.bound(link.clocks.path_silence, now=now)
    return Bounds(path=path, peer=peer, channels=_channels(link))


def bound_of(promised: Bounds, cause: Cause, where: Where | None) -> float | None:
    """The one of them that a silence of this kind is held to; None: nothing is."""
    if where is Where.OUTBOUND:
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
    policy = link.policy
    reproof = link.path.timeout_cap + DELAYED_ACK + POLL + TIMER_SLACK + KERNEL_TAKES
    resending = link.path.resending_takes_at_most(policy.ping_every) + TIMER_SLACK
    asked = policy.ping_every + max(policy.peer_max + reproof, resending)
    peer = max(asked, policy.no_pong_silence + TIMER_SLACK)
    path = peer if link.kernel is None else link.path.ceiling
    return Bounds(path=path, peer=peer, channels=_channels(link))


def _channels(link: Link) -> dict[str | None, float]:
    contract = link.channel.contract
    return {} if contract is None else {None: contract.every + CHANNEL_PATIENCE}
