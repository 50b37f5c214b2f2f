"""Time stamps of a recording -> how old its messages were, and how sure that is.

Evidence is taken as `core.offset` takes it live. Where the venue told its time, a
message is judged by what was known when it came; one before that, by the first that was
known. Where it never did, all are judged by what is known at the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import ceil, inf, isnan, nan

from msgspec import Struct

from heartline.core.offset import DRIFT, ClockOffset
from heartline.venue.channels import Stamp, Unit

RESOLUTION: dict[Unit, float] = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
    "rfc3339": 1e-3,
}
"""Seconds to which a stamp is cut off."""


class Delays(Struct, frozen=True, kw_only=True):
    """From the venue's stamp to receipt, seconds, over the messages that have one.

    The figures are give or take `uncertainty_s`. Where that is None nothing tells the
    two clocks apart, and they are counted from the fastest message of the recording.
    `skew_s` is receipt less stamp, as written, of the channel's own fastest message:
    the shortest way and the difference of the clocks together, below zero where the
    venue's clock is ahead by more than the way takes.
    """

    of: str
    """What was stamped: `sent`, or the `event` itself."""
    samples: int
    median_s: float
    p90_s: float
    p99_s: float
    most_s: float
    uncertainty_s: float | None
    skew_s: float


class Clocks(Struct, frozen=True, kw_only=True):
    """The venue's clock minus the recorder's at the end, seconds; None: no bound.

    `assumed`: the upper bound rests on the fastest message having taken no longer than
    the fastest answer. `steps`: how often one of the clocks was set.
    """

    offset_least_s: float | None
    offset_most_s: float | None
    assumed: bool
    steps: int


class VenueClock:
    """What a recording shows of the venue's clock; `Ages` ask it."""

    def __init__(self) -> None:
        self.offset = ClockOffset()
        self.fastest = inf
        """The least that receipt was later than the stamp."""
        self._began: tuple[float, float, float] | None = None
        self._latest_at = 0.0

    def answered(self, *, sent_at: float, received_at: float, unix: float) -> None:
        """The venue told its time in an answer."""
        self.offset.answered(sent_at=sent_at, received_at=received_at, venue_in=unix)
        self._note(received_at)

    def travelled(self, round_trip: float, *, now: float) -> None:
        """The venue answered so fast, without its time."""
        if round_trip >= 0:
            self.offset.travelled(round_trip)
            self._note(now)

    def heard(self, unix: float, *, received_at: float) -> tuple[float, float] | None:
        """A message was stamped; the middle of the offset and half its width, where
        answers with the venue's time bound it."""
        self.fastest = min(self.fastest, received_at - unix)
        self.offset.heard(unix, received_at=received_at)
        return self._note(received_at)

    def summary(self) -> Clocks:
        low, high = self.offset.bounds(now=self._latest_at)
        return Clocks(
            offset_least_s=None if low == -inf else low,
            offset_most_s=None if high == inf or low == -inf else high,
            assumed=self.offset.assumed and low > -inf,
            steps=self.offset.steps,
        )

    def reference(self) -> tuple[float, float, float] | None:
        """What judges messages that nothing bounded when they came: an instant, the
        middle of the offset then, and half its width. None if there is nothing."""
        if self._began is not None:
            return self._began
        bounded = self._bounded(self._latest_at)
        return None if bounded is None else (self._latest_at, *bounded)

    def _note(self, now: float) -> tuple[float, float] | None:
        self._latest_at = now
        if self.offset.assumed:
            return None
        bounded = self._bounded(now)
        if self._began is None and bounded is not None:
            self._began = (now, *bounded)
        return bounded

    def _bounded(self, now: float) -> tuple[float, float] | None:
        low, high = self.offset.bounds(now=now)
        if low == -inf or high == inf:
            return None
        return (low + high) / 2, max(0.0, (high - low) / 2)


class Ages:
    """The stamped messages of one channel."""

    __slots__ = ("_clock", "_cut", "_early_at", "_middles", "_raws", "_widest", "of")

    def __init__(self, stamp: Stamp, clock: VenueClock) -> None:
        self.of = stamp.of
        self._clock = clock
        self._cut = RESOLUTION[stamp.unit]
        self._raws = array("d")
        self._middles = array("d")
        self._widest = 0.0
        self._early_at: float | None = None
        """When the first message came that nothing bounded yet."""

    def add(self, unix: float, *, received_at: float) -> None:
        known = self._clock.heard(unix, received_at=received_at)
        self._raws.append(received_at - unix)
        if known is None:
            self._middles.append(nan)
            if self._early_at is None:
                self._early_at = received_at
        else:
            self._middles.append(known[0])
            self._widest = max(self._widest, known[1])

    def summary(self) -> Delays | None:
        """None without a message."""
        if not self._raws:
            return None
        ages, uncertainty = self._ages()
        ages.sort()
        return Delays(
            of=self.of,
            samples=len(ages),
            median_s=_percentile(ages, 0.5),
            p90_s=_percentile(ages, 0.9),
            p99_s=_percentile(ages, 0.99),
            most_s=ages[-1],
            uncertainty_s=uncertainty,
            skew_s=min(self._raws),
        )

    def _ages(self) -> tuple[list[float], float | None]:
        reference = self._clock.reference()
        if reference is None:
            return [raw - self._clock.fastest for raw in self._raws], None
        known_at, middle_then, half = reference
        widest = self._widest
        if self._early_at is not None:
            drifted = DRIFT * abs(known_at - self._early_at)
            widest = max(widest, half + drifted)
        # A stamp that was cut off may lie later by as much as its unit.
        cut = self._cut / 2
        ages = [
            max(0.0, raw + (middle_then if isnan(middle) else middle) - cut)
            for raw, middle in zip(self._raws, self._middles, strict=True)
        ]
        return ages, widest + cut


def _percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that this share of all does not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
