"""What a venue's clock shows against ours: an interval that holds the truth.

No delay is assumed to be symmetric. An answer that carries the venue's time was stamped
between our question and its arrival; a message was stamped before it came. Each bounds
the offset; what the clocks may have drifted since widens the bound.
"""

from __future__ import annotations

from math import inf, isfinite

from msgspec import Struct

DRIFT = 1e-4
"""Seconds a second by which two clocks may part: quartz is within 50 ppm, and each
side's own time service may turn its clock as well."""
LATEST = 1e11
"""Stamps are Unix seconds below this, the year 5138; else their unit is not what the
profile says."""
STEP_AFTER = 8
"""So many messages in a row from beyond what answers allow: the clock was set."""


class Age(Struct, frozen=True):
    """How old a message was when it was read: `value` give or take `uncertainty`.

    With nothing but messages to go by, `uncertainty` is inf and `value` is the age
    beyond that of the fastest message. Both are seconds.
    """

    value: float
    uncertainty: float

    @property
    def least(self) -> float:
        """It was not younger than this."""
        known = self.uncertainty < inf
        return max(0.0, self.value - self.uncertainty) if known else self.value

    @property
    def most(self) -> float:
        return self.value + self.uncertainty


class ClockOffset:
    """The venue's clock minus ours, by what came over one or more links.

    `resolution`: the unit of the venue's stamps, which are cut off to it, seconds.
    Instants of ours are monotonic seconds, the venue's are Unix seconds.
    """

    __slots__ = (
        "_ahead",
        "_fastest",
        "_high",
        "_low",
        "_top",
        "contradicted",
        "resolution",
        "steps",
        "unreadable",
    )

    def __init__(self, *, resolution: float = 0.001) -> None:
        self.resolution = resolution
        self.steps = 0
        """How often one of the clocks was set, as far as it showed."""
        self.contradicted = 0
        """Messages stamped later than answers allow."""
        self.unreadable = 0
        self._fastest = inf
        self.reset()

    def reset(self) -> None:
        """Our own clock stood still, as in a suspend: what was learned is void."""
        # Every bound widens at one rate: kept as of instant 0 they can be compared.
        self._low = -inf
        self._high = inf
        self._top = -inf
        """By the message that was certainly faster than all before it."""
        self._ahead = 0

    def answered(
        self,
        *,
        sent_at: float,
        received_at: float,
        venue_in: float,
        venue_out: float | None = None,
        resolution: float | None = None,
    ) -> None:
        """A question of ours was answered; the venue stamped its coming in (or just
        the answer) and its going out, cut off to `resolution` if that is another."""
        venue_out = venue_in if venue_out is None else venue_out
        if not (_is_stamp(venue_in) and _is_stamp(venue_out)):
            self.unreadable += 1
            return
        if not sent_at <= received_at or venue_out < venue_in:
            self.unreadable += 1
            return
        low = venue_out - received_at
        cut_off = self.resolution if resolution is None else resolution
        high = venue_in + cut_off - sent_at
        known_low = self._low - DRIFT * received_at
        known_high = self._high + DRIFT * received_at
        if low > known_high or high < known_low:
            self.steps += 1
            self.reset()
        self._ahead = 0
        self._low = max(self._low, low + DRIFT * received_at)
        self._high = min(self._high, high - DRIFT * sent_at)

    def heard(self, venue_at: float, *, received_at: float) -> None:
        """A message came that the venue had stamped before."""
        if not _is_stamp(venue_at):
            self.unreadable += 1
            return
        low = venue_at - received_at
        if low <= self._low - DRIFT * received_at:
            return
        if low > self._high + DRIFT * received_at:
            self.contradicted += 1
            self._ahead += 1
            if self._ahead < STEP_AFTER:
                return
            self.steps += 1
            self._high, self._top, self._ahead = inf, -inf, 0
        self._low = max(self._low, low + DRIFT * received_at)
        self._top = max(self._top, low - DRIFT * received_at)

    def travelled(self, round_trip: float) -> None:
        """A ping was answered so fast. Where the venue answers no question with its
        time, the fastest message is taken to have travelled no longer than that."""
        self._fastest = min(self._fastest, round_trip)

    @property
    def assumed(self) -> bool:
        """Whether the interval rests on round trips that say nothing of the venue's
        clock: on the fastest message having taken no longer than the fastest ping."""
        return self._high == inf and self._fastest < inf

    def bounds(self, *, now: float) -> tuple[float, float]:
        """The offset is not below the first value, nor above the second."""
        low = self._low - DRIFT * now
        if self.assumed:
            return low, self._top + DRIFT * now + self._fastest + self.resolution
        return low, self._high + DRIFT * now

    def age(self, venue_at: float, *, received_at: float) -> Age | None:
        """How old a message was that was stamped `venue_at`; None if nobody can say."""
        if not _is_stamp(venue_at) or self._low == -inf:
            return None
        low, high = self.bounds(now=received_at)
        least = max(0.0, received_at + low - venue_at - self.resolution)
        most = max(least, received_at + high - venue_at)
        if most == inf:
            return Age(least, inf)
        return Age((least + most) / 2, (most - least) / 2)

    def stamp_of(self, age: float, *, received_at: float) -> float:
        """A message read now with an earlier stamp is certainly older than `age`.

        One look here serves all messages of one read.
        """
        return received_at + self._low - DRIFT * received_at - self.resolution - age


def _is_stamp(value: object) -> bool:
    # A venue may send anything; True is no time of day.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < LATEST and isfinite(value)
