"""A simulated stream at rest: looked at as a real one, by those who look for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from heartline.core.rest import Rest
from heartline.core.resting import rest_of, rested
from heartline.core.session import Session
from heartline.wire.kernel import KernelEyes

from .sim_network import End
from .sim_told import Told


class Rests:
    """How the session of one client rests; `end_of` is its connection, by epoch."""

    def __init__(
        self, session: Session, told: Told, end_of: Callable[[int], End | None]
    ) -> None:
        self._session = session
        self._told = told
        self._end_of = end_of

    @property
    def late_after(self) -> float:
        return self._session.terms.liveness.stall_after

    def rest(self) -> tuple[Rest, KernelEyes] | None:
        rest = rest_of(self._session)
        end = None if rest is None else self._end_of(self._session.epoch)
        if rest is None or end is None:
            return None
        return rest, cast("KernelEyes", _Eyes(end))

    def rested(self, *, until: float, at: float) -> None:
        rested(self._session, until=until, at=at)
        self._told.deadline = self._session.deadline


class _Eyes:
    def __init__(self, end: End) -> None:
        self.read = end.evidence
