"""How much is usually said: messages a second, learned from a running count."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from heartline.compiled import compiled


class PurePace:
    """A mean over the whole past at first, later one that forgets by its half-life."""

    __slots__ = ("_at", "_began_at", "_count", "value")

    def __init__(self, *, now: float) -> None:
        self.value = 0.0
        self._began_at = now
        self._at = now
        self._count = 0

    def learn(self, count: int, *, half_life: float, now: float) -> None:
        """The count stands at `count` now. Spans below 0.1 s wait for the next time."""
        span = now - self._at
        if span < 0.1:
            return
        newest = (count - self._count) / span
        weight = max(span / (now - self._began_at), 1 - 2.0 ** (-span / half_life))
        self.value += weight * (newest - self.value)
        self._at, self._count = now, count


if TYPE_CHECKING:
    Pace: TypeAlias = PurePace
elif (_found := compiled("core._figures")) is not None:
    Pace = _found.Pace
else:
    Pace = PurePace
