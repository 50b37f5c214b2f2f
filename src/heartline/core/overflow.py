"""The consumer cannot keep up: SLOW_CONSUMER told, drops counted and announced."""

from __future__ import annotations

from math import inf

from .events import ConditionBegan, ConditionEnded, Dropped, Output, Overflowed
from .items import Condition

DROP_NOTICE_EVERY = 1.0
"""Seconds between two announcements of drops, at least."""


class SlowConsumer:
    """What a session knows of its consumer's slowness. It outlives links."""

    __slots__ = ("_since_at", "_told_at", "_untold", "dropped", "due_at")

    def __init__(self) -> None:
        self.dropped = 0
        self._untold = 0
        self._told_at = -inf
        self._since_at: float | None = None
        self.due_at = inf
        """When drops that were not announced yet are to be."""

    def overflowed(self, fact: Overflowed, *, epoch: int, now: float) -> list[Output]:
        out: list[Output] = []
        if self._since_at is None:
            self._since_at = now
            slow = Condition.SLOW_CONSUMER
            out.append(ConditionBegan(at=now, epoch=epoch, condition=slow))
        self.dropped += fact.messages
        self._untold += fact.messages
        if self._untold:
            self.due_at = self._told_at + DROP_NOTICE_EVERY
        if now >= self.due_at:
            out += self.tell(epoch=epoch, now=now)
        return out

    def tell(self, *, epoch: int, now: float) -> list[Output]:
        """Announce what was dropped since the last time, if anything was."""
        if not self._untold:
            return []
        messages, self._untold = self._untold, 0
        self._told_at, self.due_at = now, inf
        total = self.dropped
        return [Dropped(at=now, epoch=epoch, messages=messages, total=total)]

    def caught_up(self, *, epoch: int, now: float) -> list[Output]:
        since_at, self._since_at = self._since_at, None
        if since_at is None:
            return []
        ended = ConditionEnded(
            at=now,
            epoch=epoch,
            condition=Condition.SLOW_CONSUMER,
            after=now - since_at,
        )
        return [*self.tell(epoch=epoch, now=now), ended]
