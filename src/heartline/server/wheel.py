"""When each of many clients is to be looked at: one order of time for all of them.

Slots instead of a timer each. Whoever is looked at later than filed costs nothing;
whoever has to be looked at earlier is filed once more, and the old entry is void.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil, inf
from typing import Generic, Protocol, TypeVar

GRAIN = 0.05
"""Width of a slot, seconds: how late a look may be."""


class Filed(Protocol):
    """Who can be filed. `slot` is the wheel's own: -1 while not filed."""

    slot: int


T = TypeVar("T", bound=Filed)


class Wheel(Generic[T]):
    """Pure: it is told the time."""

    def __init__(self, grain: float = GRAIN) -> None:
        """`grain` is the width of a slot, and how late a look may be."""
        self._grain = grain
        self._slots: dict[int, list[T]] = {}
        self._order: list[int] = []

    @property
    def next_at(self) -> float:
        """When somebody is to be looked at; inf with nobody filed."""
        return self._order[0] * self._grain if self._order else inf

    def file(self, who: T, due: float) -> None:
        """Look at `who` at `due`, or up to a slot later; only the last call counts."""
        slot = ceil(due / self._grain)
        if slot == who.slot:
            return
        who.slot = slot
        found = self._slots.get(slot)
        if found is None:
            self._slots[slot] = [who]
            heappush(self._order, slot)
        else:
            found.append(who)

    def hasten(self, who: T, due: float) -> None:
        """File anew if that is earlier, or if `who` is not filed."""
        if who.slot < 0 or due < (who.slot - 1) * self._grain:
            self.file(who, due)

    def take(self, *, now: float, most: int) -> list[T]:
        """Those who are due, at most so many; they are filed no more."""
        taken: list[T] = []
        while self._order and self._order[0] * self._grain <= now and len(taken) < most:
            slot = self._order[0]
            found = self._slots[slot]
            while found and len(taken) < most:
                who = found.pop()
                if who.slot == slot:
                    who.slot = -1
                    taken.append(who)
            if not found:
                heappop(self._order)
                del self._slots[slot]
        return taken

    def clear(self) -> list[T]:
        """File nobody any more; those who were."""
        filed = [
            who
            for slot, found in self._slots.items()
            for who in found
            if who.slot == slot
        ]
        self._slots.clear()
        self._order.clear()
        for who in filed:
            who.slot = -1
        return filed


def phase(number: int) -> float:
    """Where in the interval client `number` beats, 0 to 1: evenly spread for any run
    of numbers (multiples of the golden ratio leave no two close together)."""
    return number * 0.6180339887498949 % 1.0
