"""What a link learns of itself: round trips, healed silences, the rhythm of its data.

Everything learned here only sets thresholds; each has a floor and a ceiling that the
policy publishes. Nothing here judges.
"""

from __future__ import annotations

from math import ceil, log2, pow

from .items import RoundTrips

ROUND_TRIP_FLOOR = 0.010
"""Least variance term of a probe timeout, seconds (measured; covers timer ticks)."""
PROBE_TIMEOUT_CAP = 0.3
"""A probe timeout never exceeds this or three times the least round trip: one early
loss leaves the kernel's variance at 450 ms for minutes (measured)."""
HEALED_HALF_LIFE = 3600.0
DATA_HALF_LIFE = 300.0
LEAST_GAP = 0.1
"""Shorter gaps between data are not learned: no threshold lies below 0.2 s."""
MOST_RECENT = 128
"""Round trips of which the median and p99 are told."""
MANY = 1 << 30
_BINS_PER_OCTAVE = 4
_BINS = 34


def probe_timeout(round_trip: float, deviation: float, least: float) -> float:
    """Seconds after which an unanswered probe is taken for lost (RFC 9002 6.2.1)."""
    # Written out, without max and min: it is asked for with every tick.
    variance, cap = 4 * deviation, 3 * least
    if variance < ROUND_TRIP_FLOOR:
        variance = ROUND_TRIP_FLOOR
    if cap < PROBE_TIMEOUT_CAP:
        cap = PROBE_TIMEOUT_CAP
    patient = round_trip + variance
    return patient if patient < cap else cap


class RoundTripEstimate:
    """Smoothed round trip of answered pings (RFC 6298, alpha 1/8, beta 1/4)."""

    __slots__ = ("_recent", "deviation", "least", "smoothed")

    def __init__(self) -> None:
        self.smoothed = 0.0
        self.deviation = 0.0
        self.least = 0.0
        self._recent: list[float] = []

    def add(self, sample: float) -> None:
        if not self._recent:
            self.smoothed, self.deviation, self.least = sample, sample / 2, sample
        else:
            self.deviation += (abs(self.smoothed - sample) - self.deviation) / 4
            self.smoothed += (sample - self.smoothed) / 8
            self.least = min(self.least, sample)
        self._recent.append(sample)
        if len(self._recent) > MOST_RECENT:
            del self._recent[0]

    @property
    def timeout(self) -> float:
        """Probe timeout; the cap while nothing has been measured."""
        if not self._recent:
            return PROBE_TIMEOUT_CAP
        return probe_timeout(self.smoothed, self.deviation, self.least)

    def summary(self) -> RoundTrips:
        if not self._recent:
            return RoundTrips()
        ordered = sorted(self._recent)
        return RoundTrips(
            last=self._recent[-1],
            median=ordered[len(ordered) // 2],
            p99=ordered[ceil(0.99 * len(ordered)) - 1],
            samples=len(ordered),
        )


class HealedSilence:
    """The longest silence that healed, forgotten with a half-life of an hour.

    Distribution-free on purpose: a log-normal fit of the same samples needed nine
    standard deviations to cover what the longest one covers by itself (measured).
    """

    __slots__ = ("_at", "_length")

    def __init__(self) -> None:
        self._length = 0.0
        self._at = 0.0

    def heal(self, length: float, *, now: float) -> None:
        if length >= self.length(now=now):
            self._length, self._at = length, now

    def length(self, *, now: float) -> float:
        length = self._length
        if not length:
            return 0.0
        return length * pow(2.0, (self._at - now) / HEALED_HALF_LIFE)


class Disorder:
    """The share of segments that came behind a missing one, of those that came lately.

    Decayed with each segment and not with time: a silence says nothing of it.
    """

    __slots__ = ("_behind", "_behind_before", "_heard", "_heard_before")

    HALF_LIFE_SEGMENTS = 32.0

    def __init__(self, *, segments: int, behind: int) -> None:
        """Begin with what a kernel has counted so far."""
        self._heard_before, self._behind_before = segments, behind
        self._heard = self._behind = 0.0

    def count(self, *, segments: int, behind: int) -> None:
        """So many have come by now, since the connection began."""
        heard = segments - self._heard_before
        kept = pow(2.0, -heard / self.HALF_LIFE_SEGMENTS)
        self._heard = self._heard * kept + heard
        self._behind = self._behind * kept + behind - self._behind_before
        self._heard_before, self._behind_before = segments, behind

    @property
    def share(self) -> float:
        """Between 0 and 1; of few segments it is less than of many."""
        if not self._behind:
            return 0.0
        return self._behind / max(self._heard, self.HALF_LIFE_SEGMENTS)


class Arrivals:
    """Learns which silence between data is rare on this link.

    A histogram of gaps in quarter octaves from 0.1 s on, decayed with a half-life of
    five minutes. It takes no part in the hot path: short gaps are not recorded.
    """

    __slots__ = (
        "_began_at",
        "_scale_at",
        "_seen",
        "_weights",
        "concludes_at",
        "spare_reads",
    )

    WARM_UP = 5.0
    """Seconds of data before anything is concluded."""
    WARM_UP_READS = 20

    def __init__(self, *, now: float) -> None:
        self._began_at = now
        self.concludes_at = now + self.WARM_UP
        """Before this no silence is called rare."""
        self.spare_reads = self.WARM_UP_READS - 1
        """Reads that may come and teach nothing yet; no end of them once any may."""
        self._scale_at = now
        self._weights: list[float] = []
        """Up to the highest bin that is not empty; none above it costs anything."""
        self._seen = 0

    def count(self, reads: int = 1) -> None:
        """So many reads brought data."""
        self._seen += reads
        spare = self.WARM_UP_READS - 1 - self._seen
        self.spare_reads = spare if spare >= 0 else MANY

    def learn(self, gap: float, *, now: float) -> None:
        """Two reads with data were `gap` seconds apart, at least `LEAST_GAP`."""
        self._decay(now)
        nth = int(_BINS_PER_OCTAVE * log2(gap / LEAST_GAP))
        nth = min(max(nth, 0), _BINS - 1)
        missing = nth + 1 - len(self._weights)
        self._weights += [0.0] * missing
        self._weights[nth] += 1.0

    def rare_silence(self, *, per_minute: float, now: float) -> float | None:
        """Shortest silence expected at most `per_minute` times a minute.

        None while unknown. Errs on the side of longer: a bin's upper edge is used.
        """
        if now < self.concludes_at or self._seen < self.WARM_UP_READS:
            return None
        elapsed = now - self._began_at
        self._decay(now)
        ln2 = 0.6931471805599453
        effective = DATA_HALF_LIFE / ln2 * (1 - 2.0 ** (-elapsed / DATA_HALF_LIFE))
        allowed = per_minute * effective / 60.0
        longer = 0.0
        weights = self._weights
        for nth in range(len(weights) - 1, -1, -1):
            longer += weights[nth]
            if longer > allowed:
                return LEAST_GAP * pow(2.0, (nth + 1) / _BINS_PER_OCTAVE)
        return LEAST_GAP

    def _decay(self, now: float) -> None:
        past = now - self._scale_at
        if past < 1.0:
            return
        factor = 2.0 ** (-past / DATA_HALF_LIFE)
        self._weights = [weight * factor for weight in self._weights]
        self._scale_at = now
