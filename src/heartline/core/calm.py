"""A calm link: how long its reads may go untold, and what they put off meanwhile."""

from __future__ import annotations

from .adaptive import MANY
from .clocks import Clocks
from .flow import Flow

LULL = 5.0
"""Seconds that frames may go untold: each telling costs as much as a read of some
messages costs their reader."""
LULL_UNLEARNED = 0.02
"""The same where the next frames may teach a rhythm, whose silence is due at once. In
the first seconds and the first reads of a link none can."""


def lull(clocks: Clocks, *, now: float) -> float:
    """Seconds that frames may go untold: nothing hangs on them before.

    As long as no more reads than `ChannelClock.spare_reads` do.
    """
    if not clocks.calm:
        return 0.0
    if lull_lasts(clocks):
        return LULL
    untold = clocks.channel.learns_at - now
    if untold < LULL_UNLEARNED:
        return LULL_UNLEARNED
    return untold if untold < LULL else LULL


def lull_lasts(clocks: Clocks) -> bool:
    """Whether the next reads, up to the spare ones, teach nothing whenever they are."""
    return clocks.busy_silence is not None or 0 < clocks.channel.spare_reads < MANY


def flow(clocks: Clocks, *, now: float) -> Flow | None:
    """How reads put off what is due; None while more hangs on them than that."""
    if not clocks.calm or clocks.pings.oldest() is not None or clocks.paused:
        return None
    if clocks.no_pong_at is not None:
        return None
    policy, looked_at = clocks.policy, now
    patience, silence = policy.ping_every, clocks.busy_silence
    if clocks.kernel is not None:
        patience = min(patience, clocks.path.patience)
        looked_at = clocks.looked_at
    if silence is not None:
        patience = min(patience, silence)
    if clocks.channel.contract is not None:
        patience = min(patience, clocks.channel.contract.every)
    measure_at = clocks.pings.last_at + policy.measure_every
    return Flow(patience=patience, ask_at=measure_at, now=looked_at)
