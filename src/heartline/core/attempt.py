"""One attempt to connect: how far it has come, and when its time is up."""

from __future__ import annotations

from .events import DialFailed, Stage, Stalled, Tick
from .items import Cause
from .terms import Dialling


class Attempt:
    """The deadlines of one dial, extended by our own stalls."""

    __slots__ = ("_connect_by", "_resolve_by", "epoch", "stage", "terms")

    def __init__(self, epoch: int, terms: Dialling, *, now: float) -> None:
        self.epoch = epoch
        self.terms = terms
        self.stage = Stage.RESOLVING
        self._resolve_by = now + terms.resolve
        self._connect_by = now + terms.connect

    @property
    def due_at(self) -> float:
        if self.stage is Stage.RESOLVING:
            return min(self._resolve_by, self._connect_by)
        return self._connect_by

    def reach(self, stage: Stage, *, now: float) -> None:
        """The dial got this far."""
        self.stage = stage
        if stage is Stage.RESOLVING:
            # What came before, a call for a token say, is not the name service's.
            self._resolve_by = max(self._resolve_by, now + self.terms.resolve)

    def extend(self, lag: float, *, now: float) -> None:
        """Our loop was late by `lag`: the other end could not tell us anything.

        The attempt gets as long again, but never more than a whole one.
        """
        by = now + min(lag, self.terms.connect)
        self._resolve_by = max(self._resolve_by, by)
        self._connect_by = max(self._connect_by, by)

    def overdue(
        self, fact: Tick, *, stall_after: float, now: float
    ) -> DialFailed | Stalled | None:
        """Whether its time is up, or would be but for our own lag."""
        if now < self.due_at:
            return None
        lag = now - self.due_at + fact.suspended
        if lag <= stall_after:
            return self.failure()
        self.extend(lag, now=now)
        return Stalled(at=now, epoch=self.epoch, lag=lag, suspended=fact.suspended)

    def failure(self) -> DialFailed:
        """Running out of time, in words."""
        resolving = self.stage is Stage.RESOLVING
        cause = Cause.NAME_RESOLUTION if resolving else Cause.HANDSHAKE_TIMEOUT
        terms = self.terms
        allowed = min(terms.resolve, terms.connect) if resolving else terms.connect
        reason = f"{self.stage.value} took longer than {allowed:g} s"
        return DialFailed(self.epoch, cause, reason)
