"""What tests of the inbox put into it beside messages."""

from __future__ import annotations

from heartline import Phase, Status, Verdict
from heartline.core.items import Bounds


def status(phase: Phase, at: float) -> Status:
    """Of a stream that is well; live if OPEN."""
    bounds = Bounds(path=1.0, peer=1.0)
    return Status(
        at=at,
        phase=phase,
        verdict=Verdict.ALIVE,
        live=phase is Phase.OPEN,
        cause=None,
        bounds=bounds,
        ceilings=bounds,
        detection_bound=1.0,
    )
