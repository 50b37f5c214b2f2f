"""The neighbours of one process, whose loops may run in several threads."""

from __future__ import annotations

from threading import RLock

from heartline.core.neighbours import DialBudget, Neighbours


class Neighbourhood(Neighbours):
    """Neighbours that streams of any thread may ask and tell, one at a time.

    Nothing is waited for under the lock; it is taken for a doubt, a dial and an end.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        super().__init__()
        self._lock = RLock()

    def doubt(self, who: int, host: str, *, now: float) -> None:
        with self._lock:
            super().doubt(who, host, now=now)

    def watch(self, who: int, host: str, *, doubted_at: float | None) -> None:
        with self._lock:
            super().watch(who, host, doubted_at=doubted_at)

    def clear(self, who: int) -> None:
        with self._lock:
            super().clear(who)

    def shared(self, who: int, *, now: float) -> bool:
        with self._lock:
            return super().shared(who, now=now)

    def reserve(
        self, host: str, *, budget: DialBudget | None = None, now: float
    ) -> float:
        with self._lock:
            return super().reserve(host, budget=budget, now=now)

    def give_back(self, host: str, dials_at: float) -> None:
        with self._lock:
            super().give_back(host, dials_at)


OF_PROCESS = Neighbourhood()
"""Of all its streams, which share the budget of dials of each host."""
