"""Four delays, kept apart: a message's age, the round trip, our inbox, our own loop.

They overlap and are measured against different clocks: never add them up.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from math import ceil
from typing import Literal

from msgspec import Struct

from heartline.errors import UsageError

from .demands import demand_declared
from .offset import Age, ClockOffset

KEPT = 256
"""Samples of each delay that percentiles are taken of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxAge:
    """How old data may be. Seconds.

    A channel is LATE from the first message that is certainly older than `limit`, the
    uncertainty of the clocks apart, until no message was older than `clear` (a share
    of it) for `hold` seconds.
    """

    limit: float
    clear: float = 0.5
    hold: float = 1.0

    def __post_init__(self) -> None:
        demand_declared(self)
        if not self.limit > 0:
            raise UsageError("MaxAge.limit", wanted="more than 0", got=self.limit)
        if not 0 < self.clear <= 1:
            raise UsageError(
                "MaxAge.clear", wanted="more than 0, at most 1", got=self.clear
            )
        if not self.hold >= 0:
            raise UsageError("MaxAge.hold", wanted="at least 0", got=self.hold)


class Spread(Struct, frozen=True):
    """A delay over the recent past, seconds; None before the first sample."""

    last: float | None = None
    median: float | None = None
    p99: float | None = None
    most: float | None = None
    samples: int = 0


class Latency(Struct, frozen=True, kw_only=True):
    """The four delays of a stream. `age.last` is give or take `age_uncertainty`.

    `age`: from the venue's stamp to our reading, on the venue's clock as estimated.
    `round_trip`: a ping and its answer. `inbox`: from our reading to the consumer.
    `loop`: how late our own timers fired.
    """

    age: Spread = Spread()
    age_uncertainty: float | None = None
    """inf where nothing tells the clocks apart: ages are then counted from that of
    the fastest message."""
    age_assumed: bool = False
    """The venue told no time of its own: the uncertainty rests on the fastest message
    having taken no longer than the fastest ping."""
    round_trip: Spread = Spread()
    inbox: Spread = Spread()
    loop: Spread = Spread()


_NONE = array("d")


class Recent:
    """The last samples of one delay."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        # Much smaller than a deque while there are few, and than a list once many.
        self._samples = _NONE

    def add(self, sample: float) -> None:
        samples = self._samples
        if not samples:
            samples = self._samples = array("d")
        samples.append(sample)
        if len(samples) >= 2 * KEPT:
            del samples[:-KEPT]

    def spread(self) -> Spread:
        recent = self._samples[-KEPT:]
        if not recent:
            return Spread()
        ordered = sorted(recent)
        return Spread(
            last=recent[-1],
            median=ordered[len(ordered) // 2],
            p99=ordered[ceil(0.99 * len(ordered)) - 1],
            most=ordered[-1],
            samples=len(ordered),
        )


class Delays:
    """Where the four delays of one stream are gathered. One sample a read is enough."""

    __slots__ = ("_age", "_uncertainty", "inbox", "loop", "offset", "round_trip")

    def __init__(self, *, resolution: float = 0.001) -> None:
        self.offset = ClockOffset(resolution=resolution)
        self.round_trip = Recent()
        self.inbox = Recent()
        self.loop = Recent()
        self._age = Recent()
        self._uncertainty: float | None = None

    def stamped(self, venue_at: float, *, received_at: float) -> Age | None:
        """A message was read that the venue had stamped; its age, if it can be told."""
        self.offset.heard(venue_at, received_at=received_at)
        age = self.offset.age(venue_at, received_at=received_at)
        if age is not None:
            self._age.add(age.value)
            self._uncertainty = age.uncertainty
        return age

    def travelled(self, round_trip: float) -> None:
        """A ping was answered."""
        self.round_trip.add(round_trip)
        self.offset.travelled(round_trip)

    def summary(self) -> Latency:
        return Latency(
            age=self._age.spread(),
            age_uncertainty=self._uncertainty,
            age_assumed=self._uncertainty is not None and self.offset.assumed,
            round_trip=self.round_trip.spread(),
            inbox=self.inbox.spread(),
            loop=self.loop.spread(),
        )


class LateChannel:
    """Whether one channel is LATE. It takes messages; silence changes nothing."""

    __slots__ = ("_calm_since", "late_since", "policy")

    def __init__(self, policy: MaxAge) -> None:
        self.policy = policy
        self.late_since: float | None = None
        self._calm_since: float | None = None

    def feed(self, age: Age, *, now: float) -> Literal["began", "ended"] | None:
        """A message was read; what changed by it.

        In the good case a caller needs not even call: a stamp at or after
        `ClockOffset.stamp_of(limit)` cannot begin it.
        """
        policy, least = self.policy, age.least
        if self.late_since is None:
            if least <= policy.limit:
                return None
            self.late_since, self._calm_since = now, None
            return "began"
        if least > policy.clear * policy.limit:
            self._calm_since = None
            return None
        if self._calm_since is None:
            self._calm_since = now
        if now - self._calm_since < policy.hold:
            return None
        self.late_since = None
        return "ended"
