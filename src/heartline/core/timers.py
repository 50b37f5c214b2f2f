"""Many things that are each due at some time, and the one time when any is."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """At most one timer for each key. Setting one costs the same however many stand."""

    __slots__ = ("_heap", "_turn", "_turns")

    def __init__(self) -> None:
        self._turns: dict[K, int] = {}
        """Of the timers that stand; in the heap those are too that were moved."""
        self._heap: list[tuple[float, int, K]] = []
        self._turn = 0

    def __len__(self) -> int:
        return len(self._turns)

    def set(self, key: K, due_at: float) -> None:
        """Let `key` be due then, and at no other time."""
        heap, turns = self._heap, self._turns
        self._turn += 1
        turns[key] = turn = self._turn
        heappush(heap, (due_at, turn, key))
        if len(heap) > 64 and len(heap) > 2 * len(turns) + 64:
            # Timers that were moved or cancelled are still in it.
            self._heap = [timer for timer in heap if turns.get(timer[2]) == timer[1]]
            heapify(self._heap)

    def cancel(self, key: K) -> None:
        self._turns.pop(key, None)

    def clear(self) -> None:
        self._turns.clear()
        self._heap.clear()

    @property
    def next_at(self) -> float:
        """When the first of them is due; inf if none is set."""
        heap, turns = self._heap, self._turns
        while heap:
            due_at, turn, key = heap[0]
            if turns.get(key) == turn:
                return due_at
            heappop(heap)
        return inf

    def pop(self, *, now: float) -> K | None:
        """One that is due by `now`, which thereby ends; None if none is."""
        if self.next_at > now:
            return None
        key = heappop(self._heap)[2]
        del self._turns[key]
        return key

    def pop_all(self, *, now: float) -> list[K]:
        """All that are due by `now`, the first of them first; they thereby end."""
        heap, turns = self._heap, self._turns
        popped: list[K] = []
        while heap and heap[0][0] <= now:
            _, turn, key = heappop(heap)
            if turns.get(key) == turn:
                del turns[key]
                popped.append(key)
        return popped
