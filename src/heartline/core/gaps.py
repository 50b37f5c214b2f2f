"""Outages and overflows -> the ledger of loss. It repairs nothing."""

from __future__ import annotations

from .items import Gap


class Ledger:
    """What may be missing from one stream, and how much of it is known.

    An outage's gap is open from the last sign of life of the old link until the new
    one is OPEN; only then is its interval known and told.
    """

    __slots__ = ("_outage_epoch", "_outage_from_at", "gaps", "missing")

    def __init__(self) -> None:
        self._outage_from_at: float | None = None
        self._outage_epoch = 0
        self.gaps = 0
        self.missing = 0
        """Messages known to be missing; those of an outage are not countable here."""

    @property
    def outage_from_at(self) -> float | None:
        return self._outage_from_at

    def lose_link(self, epoch: int, *, heard_at: float) -> None:
        """A link that had been OPEN is gone; it was last heard at `heard_at`."""
        if self._outage_from_at is None:
            self._outage_from_at, self._outage_epoch = heard_at, epoch

    def regain_link(self, *, now: float) -> Gap | None:
        """The stream is OPEN again, or will never be: the gap, with both its ends."""
        if self._outage_from_at is None:
            return None
        gap = Gap("outage", self._outage_from_at, now, self._outage_epoch)
        self._outage_from_at = None
        self.gaps += 1
        return gap

    def overflow(self, missing: int, *, gaps: int) -> None:
        self.missing += missing
        self.gaps += gaps
