"""When silence may be judged: not before what was waiting in the socket is read.

The very sign that is missed may lie there. But a flood never leaves it empty, and a
channel that is silent beside one is told within its bound all the same.
"""

from __future__ import annotations

from math import inf

LATE = 0.1
"""An alarm this much late is our own stall: silence up to then is judged by nobody."""
LOOK_EVERY = 0.01
PUT_OFF = 0.08
"""Seconds that are given at most to what is unread. With `freshness.STEP` it lies
within what the bound of a channel allows for (`CHANNEL_PATIENCE`)."""
LEAST_LOOKS = 2
"""Between as many looks at least, our loop has turned and read."""
PAUSED_EVERY = 1.0
"""While reading is paused nothing is judged, and whoever ends that says so."""


class Unread:
    """Puts off what is due for a moment. Seconds."""

    __slots__ = ("_again_at", "_looks", "_since")

    def __init__(self) -> None:
        self._again_at = -inf
        self._since = 0.0
        self._looks = 0

    def rang(self, *, due_at: float, now: float) -> float:
        """An alarm that was due at `due_at` rings: how much of the silence up to now is
        our own. 0.0 if it is punctual."""
        late = now - due_at
        if late <= LATE:
            return 0.0
        # What came meanwhile has its whole time to be read.
        self._looks = 0
        return late

    def waits(self, *, unread: bool, paused: bool, now: float) -> bool:
        """Whether what is due now is to wait. Then ask again at `next_at`."""
        if paused:
            self._looks = 0
            self._again_at = now + PAUSED_EVERY
            return True
        if self._looks == 0:
            self._since = now
        if not unread or (
            self._looks >= LEAST_LOOKS and now - self._since >= PUT_OFF - 1e-9
        ):
            self.go_on()
            return False
        self._looks += 1
        self._again_at = now + LOOK_EVERY
        return True

    def go_on(self) -> None:
        """Nothing is due, or reading is no longer paused."""
        self._looks = 0
        self._again_at = -inf

    def next_at(self, due_at: float) -> float:
        """When to look at what is due at `due_at`."""
        return max(due_at, self._again_at)
