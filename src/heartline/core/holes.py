"""Missing ranges of one numbering: what was passed over, and what has come since.

A piece is what one message covers: the numbers above `low`, up to and with `high`.
Every rule by which venues number their messages comes down to pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MOST_HOLES = 32
"""Holes remembered; beyond it the oldest is forgotten, and stays missing for good."""


class Hole(NamedTuple):
    """The numbers above `low`, up to and with `high`."""

    low: int
    high: int


class Holes:
    """The open holes of one numbering, lowest first. They never overlap."""

    __slots__ = ("_holes", "forgotten_to")

    def __init__(self) -> None:
        self._holes: list[Hole] = []
        self.forgotten_to: int | None = None
        """Up to here a hole may have been that nobody remembers."""

    def __len__(self) -> int:
        return len(self._holes)

    def __iter__(self) -> Iterator[Hole]:
        return iter(self._holes)

    @property
    def size(self) -> int:
        """How many numbers the holes hold."""
        return sum(high - low for low, high in self._holes)

    def open(self, low: int, high: int) -> None:
        """Pass over a piece above all that is known; an empty one is nothing."""
        if low >= high:
            return
        self._holes.append(Hole(low, high))
        if len(self._holes) > MOST_HOLES:
            self.forgotten_to = self._holes.pop(0).high

    def fill(self, low: int, high: int) -> int:
        """Take a piece out; how many of its numbers had been missing."""
        filled = 0
        left: list[Hole] = []
        for hole in self._holes:
            common = min(high, hole.high) - max(low, hole.low)
            if common <= 0:
                left.append(hole)
                continue
            filled += common
            if hole.low < low:
                left.append(Hole(hole.low, low))
            if high < hole.high:
                left.append(Hole(high, hole.high))
        self._holes = left
        return filled
