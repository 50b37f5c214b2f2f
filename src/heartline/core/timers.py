"""Many things that are each due at some time, and the one time when any is."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """At most one timer for each key. Setting one costs the same however many stand."""

    __slots__ = ("_due", "_heap", "_turn")

    def __init__(self) -> None:
        self._due: dict[K, tuple[float, int, K]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._turn = 0

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: K, due_at: float) -> None:
        """Let `key` be due then, and at no other time."""
        heap, due = self._heap, self._due
        self._turn += 1
        due[key] = timer = (due_at, self._turn, key)
        heappush(heap, timer)
        if len(heap) > 64 and len(heap) > 2 * len(due) + 64:
            # Timers that were moved or cancelled are still in it.
            self._heap = list(due.values())
            heapify(self._heap)

    def cancel(self, key: K) -> None:
        self._due.pop(key, None)

    def clear(self) -> None:
        self._due.clear()
        self._heap.clear()

    @property
    def next_at(self) -> float:
        """When the first of them is due; inf if none is set."""
        heap, due = self._heap, self._due
        while heap:
            first = heap[0]
            if due.get(first[2]) is first:
                return first[0]
            heappop(heap)
        return inf

    def pop(self, *, now: float) -> K | None:
        """One that is due by `now`, which thereby ends; None if none is."""
        if self.next_at > now:
            return None
        key = heappop(self._heap)[2]
        del self._due[key]
        return key

    def pop_all(self, *, now: float) -> list[K]:
        """All that are due by `now`, the first of them first; they thereby end."""
        heap, due = self._heap, self._due
        popped: list[K] = []
        while heap and heap[0][0] <= now:
            timer = heappop(heap)
            key = timer[2]
            if due.get(key) is timer:
                del due[key]
                popped.append(key)
        return popped
