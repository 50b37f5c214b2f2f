"""The time in which nothing could be heard through a fault of ours, and no more."""

from __future__ import annotations

from collections import deque
from math import inf

MOST = 64
"""Intervals remembered; of more, the oldest two count as one with all between them."""


class Excuses:
    """Intervals of our own making; what overlaps counts once."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: deque[tuple[float, float]] = deque()

    def add(self, *, lag: float = inf, now: float) -> None:
        """The last `lag` seconds up to `now`, which never falls; inf: all there was."""
        from_at = now - lag
        spans = self._spans
        while spans and spans[-1][1] >= from_at:
            from_at = min(from_at, spans.pop()[0])
        spans.append((from_at, now))
        if len(spans) > MOST:
            oldest, _ = spans.popleft()
            _, until_at = spans.popleft()
            spans.appendleft((oldest, until_at))

    def since(self, at: float) -> float:
        """Seconds of them after `at`."""
        total = 0.0
        for from_at, until_at in reversed(self._spans):
            if until_at <= at:
                break
            total += until_at - max(from_at, at)
        return total
