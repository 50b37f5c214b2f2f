"""What a venue lets us send: one budget for heartbeats, subscriptions and all else."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from heartline.errors import UsageError

from .demands import demand_declared

SQUEEZE = 0.05
"""Added to each window, as a share of it: what we send evenly may arrive closer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `count` messages within any `per` seconds."""

    count: int
    per: float

    def __post_init__(self) -> None:
        demand_declared(self)
        for name in ("count", "per"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"Rate.{name}", wanted="more than 0", got=getattr(self, name)
                )


class Budget:
    """Counts what is sent on one link against every rate at once.

    Heartbeats are spent without asking: they keep the link. Whatever can wait asks
    `free_at` first, and leaves one message of each rate for them.
    """

    __slots__ = ("_rates", "_spent", "total")

    def __init__(self, rates: Iterable[Rate] = ()) -> None:
        self._rates = tuple(rates)
        self._spent: tuple[deque[float], ...] = ()
        self.total = 0
        self.begin()

    def begin(self) -> None:
        """A new link: venues count each one by itself."""
        self._spent = tuple(deque[float](maxlen=rate.count) for rate in self._rates)

    def spend(self, *, now: float) -> None:
        """One message is sent at `now`."""
        self.total += 1
        for spent in self._spent:
            spent.append(now)

    def free_at(self) -> float:
        """From when on one message that can wait may be sent; -inf is at once."""
        free_at = -inf
        for rate, spent in zip(self._rates, self._spent, strict=True):
            # With a count of 1 nothing can be left over: both then take turns.
            left = max(1, rate.count - 1)
            if len(spent) >= left:
                free_at = max(free_at, spent[-left] + rate.per * (1 + SQUEEZE))
        return free_at
