"""Evidence -> cause, and the cause in words. Decides nothing about time."""

from __future__ import annotations

from dataclasses import dataclass

from .detector import Ladder
from .evidence import Kernel
from .items import Cause, Where
from .peer import Wait
from .pings import PingOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong, in the closed vocabulary and in one line of figures."""

    cause: Cause
    evidence: str
    where: Where | None = None


def path_dead(where: Where, ladder: Ladder, kernel: Kernel, *, now: float) -> Finding:
    tried = f"{_counted(ladder.pings, 'ping')} in {now - ladder.began_at:.2f} s"
    heard = f"the kernel heard nothing for {kernel.heard_age:.2f} s"
    if where is Where.LOCAL:
        return Finding(
            cause=Cause.PATH_DEAD,
            where=where,
            evidence=f"{heard}; {kernel.unsent_bytes} bytes cannot leave this host",
        )
    resent = kernel.total_retransmits - ladder.retransmits
    return Finding(
        cause=Cause.PATH_DEAD,
        where=where,
        evidence=(
            f"{heard}; {tried}, {_counted(resent, 'retransmission')},"
            " no segment came back"
        ),
    )


def outbound_dead(lost: PingOut, kernel: Kernel, *, now: float) -> Finding:
    unacked_for = now - lost.sent_at
    resent = _counted(kernel.total_retransmits - lost.retransmits, "retransmission")
    return Finding(
        cause=Cause.PATH_DEAD,
        where=Where.OUTBOUND,
        evidence=(
            f"segments come in (last {kernel.heard_age:.2f} s ago), but our bytes are"
            f" not acknowledged for {unacked_for:.2f} s, {resent}"
        ),
    )


def silent_without_kernel(pings: int, silence: float) -> Finding:
    """Path and peer cannot be told apart; the path is named, as the wider one."""
    return Finding(
        cause=Cause.PATH_DEAD,
        evidence=(
            f"nothing received for {silence:.2f} s,"
            f" {_counted(pings, 'ping')} unanswered;"
            " this system gives no kernel evidence, so the peer may be at fault"
        ),
    )


def path_unsure(wait: Wait, kernel: Kernel, silence: float, *, now: float) -> Finding:
    """The promised time is over, and what the path loses hides who is at fault."""
    heard = f"segments come in (last {kernel.heard_age:.2f} s ago), but"
    if wait.proven_at is None:
        proof = f"{heard} no ping was acknowledged in {now - wait.began_at:.2f} s"
    else:
        away = f"{heard} the path was away"
        if kernel.retransmits:
            away = f"{_counted(kernel.retransmits, 'resend')} went in vain"
        proof = f"{away}, and a ping got there {now - wait.proven_at:.2f} s ago"
    return Finding(
        cause=Cause.PATH_DEAD, evidence=f"no frame for {silence:.2f} s; {proof}"
    )


def peer_frozen(wait: Wait, kernel: Kernel, silence: float, *, now: float) -> Finding:
    if wait.proven_at is None:
        proof = (
            f"its kernel still answers ({kernel.heard_age:.2f} s ago) but takes no"
            f" bytes, {kernel.outstanding_bytes} wait"
        )
    else:
        proof = f"its kernel acknowledged a ping {now - wait.proven_at:.2f} s ago"
    return Finding(
        cause=Cause.PEER_FROZEN,
        evidence=f"no frame for {silence:.2f} s, though {proof}",
    )


def peer_unresponsive(silence: float) -> Finding:
    """A peer that never answered pings has gone quiet for the patience granted."""
    return Finding(
        cause=Cause.PEER_FROZEN,
        evidence=f"no frame for {silence:.2f} s from a peer that never answers pings",
    )


def heartbeat_unanswered(waited: float) -> Finding:
    """Pings are answered, the venue's own heartbeat is not, and no data comes."""
    return Finding(
        cause=Cause.PEER_FROZEN,
        evidence=f"the declared heartbeat is unanswered for {waited:.2f} s, no data",
    )


def channel_stalled(silence: float, contract: float) -> Finding:
    return Finding(
        cause=Cause.CHANNEL_STALLED,
        evidence=(
            f"no data for {silence:.2f} s against a contract of {contract:g} s,"
            " while the link answers"
        ),
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
