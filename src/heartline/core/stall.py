"""Our own lateness on one link: what was read late proves nothing about now."""

from __future__ import annotations

from math import inf

SETTLE = 0.020
"""After a stall the socket gets this long to be read before anything is judged."""
DRAIN = 0.010
MOST_DRAINS = 50
"""A flood that never leaves the buffer empty is judged all the same after these."""
ASK_EVERY = 1.0
"""Stalls that follow each other make a link ask for a sign of life this seldom."""
TELL_EVERY = 1.0
"""Short stalls that follow each other are told together, this seldom."""
LONG = 0.5
"""A stall of this length is told at once in any case."""
CLOCK_GRAIN = 1e-6
"""Differences of instants are exact to this."""


class Lateness:
    """Stalls and pauses of ours, and what had waited them out when it was read."""

    __slots__ = (
        "_accounted_at",
        "_drains",
        "_handled_at",
        "_measured_from",
        "_previous_at",
        "_resumed_at",
        "_told_at",
        "_untold",
        "draining",
        "reads_old",
        "stalled_for",
        "unproven_since",
    )

    def __init__(self, *, now: float) -> None:
        self.unproven_since: float | None = None
        """Set by a stall of ours, until a frame proves the link again."""
        self.stalled_for = 0.0
        self.reads_old = False
        """What waited out a pause of ours tells nothing of the path as it is now."""
        self._resumed_at = -inf
        self._handled_at = self._previous_at = now
        self._drains = 0
        self.draining = False
        """Whether the socket is to be read before anything is judged."""
        self._measured_from = now
        """Pings sent before waited out a stall or a pause of ours: no round trips."""
        self._accounted_at = -inf
        """Up to here, lateness has been noticed and made up for."""
        self._told_at = -inf
        self._untold = 0.0

    @property
    def settled(self) -> bool:
        """Whether the link is proven again and there is nothing left to tell."""
        return self.unproven_since is None and not self._untold

    @property
    def over(self) -> bool:
        """Whether what is read now has waited for nothing of ours, and all is told."""
        return self.settled and not self.draining and not self.reads_old

    def handled(self, *, now: float) -> None:
        """A fact is being handled."""
        self._previous_at, self._handled_at = self._handled_at, now

    def fresh(self, lag: float, *, now: float) -> float:
        """What of a `lag` up to `now` was not noticed before, by another timer."""
        unnoticed = now - self._accounted_at
        if lag < unnoticed:
            unnoticed = lag
        return unnoticed if unnoticed > 0.0 else 0.0

    def stall(self, lag: float, *, now: float) -> None:
        """Our loop was late by `lag`."""
        self._drains, self.draining = max(self._drains, 1), True
        self._measured_from = self._accounted_at = now
        self._untold += lag
        if self.unproven_since is None:
            # Whatever is read now came after the last thing we handled.
            self.unproven_since = min(now - lag, self._previous_at)
            self.stalled_for = 0.0
        self.stalled_for += lag

    def resume(self, *, now: float) -> None:
        """Reading goes on after a pause; what comes first has waited."""
        self._measured_from = self._resumed_at = now
        self.reads_old = True

    @property
    def read_by(self) -> float:
        """When to look if what waited out a pause has been read; inf if it has been.

        Else whatever comes until the next look, however late, would count as old.
        """
        return self._resumed_at + SETTLE if self.reads_old else inf

    def drain(self, *, unread: bool) -> bool:
        """Whether a punctual tick is to wait until the socket has been read."""
        if unread and self._drains < MOST_DRAINS:
            self._drains, self.draining = self._drains + 1, True
            return True
        self._drains, self.draining = 0, False
        self.reads_old = False
        return False

    def tell(self, *, at_once: bool, now: float) -> float:
        """Seconds of stalls to be told now; 0.0 while they are to be collected."""
        if now < self.tell_at and self._untold < LONG and not at_once:
            return 0.0
        told, self._untold = self._untold, 0.0
        if told:
            self._told_at = now
        return told

    @property
    def tell_at(self) -> float:
        """When short stalls that were collected are told; inf if there are none."""
        return self._told_at + TELL_EVERY if self._untold else inf

    def ask_at(self, last_ping_at: float) -> float:
        """When to ask for a sign of life; inf where none is wanted, or one is out."""
        if self.unproven_since is None or last_ping_at >= self._measured_from:
            return inf
        return last_ping_at + ASK_EVERY

    def next_at(self, *, now: float) -> float:
        """When to look again while draining."""
        return now + (SETTLE if self._drains == 1 else DRAIN)

    def stale_for(self, *, now: float) -> float:
        """How old data read at `now` may be: it may have waited out a stall of ours."""
        if not self._drains or self.unproven_since is None:
            return 0.0
        return now - self.unproven_since

    def measures(self, *, took: float, now: float) -> bool:
        """Whether an answer that `took` so long waited for nothing of ours."""
        return now - took >= self._measured_from - CLOCK_GRAIN

    def was_asked_after(self, sent_at: float) -> bool:
        """Whether a ping sent then asks about the time after the last stall."""
        return self.draining and sent_at >= self._measured_from
