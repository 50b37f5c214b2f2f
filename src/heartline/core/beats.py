"""The declared heartbeat of one link: when it is due, and what its silence tells.

A pong may come from a proxy; the declared answer comes from the venue.
"""

from __future__ import annotations

from math import inf

from .detector import Liveness
from .subscriptions import Beats


class BeatClock:
    """Counts beats and their answers. `data_at` is when data last came."""

    __slots__ = (
        "_asked_at",
        "_beats",
        "_due_at",
        "_policy",
        "_silent_from",
        "_waits_from",
        "declared",
        "sent",
        "unanswered_at",
    )

    def __init__(self, beats: Beats | None, *, policy: Liveness, now: float) -> None:
        self.sent = 0
        self.unanswered_at: float | None = None
        """When it was told that answers stay out though data flows."""
        self.declared = beats is not None
        self._beats = beats
        self._policy = policy
        self._due_at = now + beats.every if beats else inf
        self._asked_at: float | None = None
        """The last beat that has no answer yet."""
        self._waits_from: float | None = None
        """The first beat since the last answer."""
        self._silent_from: float | None = None
        """The first beat since the last answer or the last data."""

    def send(self, *, data_at: float, now: float) -> bool:
        """Whether a beat is due; if so it counts as sent. It goes out by the clock."""
        if self._beats is None or now < self._due_at:
            return False
        self._due_at = now + self._beats.every
        self.sent += 1
        if self._beats.answered:
            self._asked_at = now
            if self._waits_from is None:
                self._waits_from = now
            if self._silent_from is None or data_at > self._silent_from:
                self._silent_from = now
        return True

    def answer(self, *, now: float) -> float | None:
        """Take an answer; seconds since the last beat, None if nobody asked."""
        if self._asked_at is None:
            return None
        took = now - self._asked_at
        self.forgive()
        return took

    def extend(self, lag: float, *, now: float) -> None:
        """A stall of our own lies behind us: it prolongs what was begun before it."""
        if self._waits_from is not None:
            self._waits_from = min(now, self._waits_from + lag)
        if self._silent_from is not None:
            self._silent_from = min(now, self._silent_from + lag)

    def forgive(self) -> None:
        """A pause or a suspend lies behind us: ask again before judging."""
        self._asked_at = self._waits_from = self._silent_from = None

    def is_ignored(self, *, data_at: float, now: float) -> bool:
        """Whether data flows and answers do not, as is to be told once."""
        if self._waits_from is None or self.unanswered_at is not None:
            return False
        return min(now, data_at) >= self._waits_from + self._policy.peer_idle

    def unanswered_for(self, *, data_at: float, now: float) -> float | None:
        """Seconds without answer and without data, once they are too many."""
        if self._silent_from is None or data_at >= self._silent_from:
            return None
        over = now >= self._silent_from + self._policy.peer_max
        return now - self._silent_from if over else None

    def next_at(self, *, now: float) -> float:
        """When the next look is due."""
        if not self.declared:
            return inf
        due = self._due_at
        if self._waits_from is not None and self.unanswered_at is None:
            told_at = self._waits_from + self._policy.peer_idle
            due = min(due, told_at if told_at > now else inf)
        if self._silent_from is not None:
            over_at = self._silent_from + self._policy.peer_max
            due = min(due, over_at if over_at > now else inf)
        return due
