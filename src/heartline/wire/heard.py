"""Reads that a machine is told of later, as of when they came."""

from __future__ import annotations

from math import inf
from typing import Protocol

from heartline.core.adaptive import LEAST_GAP


class Heard(Protocol):
    """Reads that a calm machine has not been told of yet; see `Received`.

    Whoever sees that `now` is before `until_at`, that fewer than `most_reads` are here,
    the link still that of `epoch`, and that the loop goes on, may `add` a read instead
    of telling it: `Pump.hears` does, and a client's lane.
    """

    epoch: int
    frames: int
    data: int
    size_bytes: int
    reads: int
    first_at: float
    at: float
    gaps: list[float]
    until_at: float
    most_reads: int


class Counted:
    """What is heard where nobody counts it beside the pump."""

    __slots__ = (
        "at",
        "data",
        "epoch",
        "first_at",
        "frames",
        "gaps",
        "most_reads",
        "reads",
        "size_bytes",
        "until_at",
    )

    def __init__(self) -> None:
        self.epoch = self.frames = self.data = self.size_bytes = self.reads = 0
        self.first_at = self.at = 0.0
        self.gaps: list[float] = []
        self.until_at = -inf
        self.most_reads = 0


def add(heard: Heard, frames: int, data: int, size_bytes: int, *, now: float) -> None:
    """Count one read."""
    if data:
        if not heard.reads:
            heard.first_at = now
        elif now - heard.at >= LEAST_GAP:
            heard.gaps.append(now - heard.at)
        heard.reads += 1
    heard.frames += frames
    heard.data += data
    heard.size_bytes += size_bytes
    heard.at = now
