"""How a stream comes back: what failed since it was last useful, and when next."""

from __future__ import annotations

from collections.abc import Callable

from .backoff import Backoff
from .terms import Trouble


class Recovery:
    """Failures in a row, and the outage they are part of."""

    __slots__ = (
        "_backoff",
        "_down_since",
        "_draw",
        "failures",
        "outages",
        "silent_since",
    )

    def __init__(self, backoff: Backoff, draw: Callable[[], float]) -> None:
        self._backoff = backoff
        self._draw = draw
        self._down_since: float | None = None
        self.failures = 0
        """Attempts and links that ended since the stream was last useful."""
        self.outages = 0
        self.silent_since: float | None = None
        """The last sign of life of the last OPEN link; None while OPEN."""

    @property
    def attempt(self) -> int:
        """The number of the next dial, counted from when the stream was useful."""
        return self.failures + 1

    def open(self, *, now: float) -> float:
        """The stream is OPEN; seconds without life before it."""
        silent_since, self.silent_since = self.silent_since, None
        self._down_since = None
        return 0.0 if silent_since is None else now - silent_since

    def lose(self, *, since_at: float) -> None:
        """An OPEN link is gone; its last sign of life was at `since_at`."""
        self.outages += 1
        self.silent_since = since_at

    def fail(
        self, trouble: Trouble, *, retry_after: float | None, now: float
    ) -> float | None:
        """Count one failure; seconds to wait, or None when it is time to give up."""
        backoff = self._backoff
        self.failures += 1
        self._down_since = now if self._down_since is None else self._down_since
        patience = backoff.give_up_after
        spent = patience is not None and now - self._down_since >= patience
        if spent or backoff.is_final(trouble.cause, trouble.status):
            return None
        return backoff.delay(
            self.failures,
            draw=self._draw(),
            status=trouble.status,
            retry_after=retry_after,
        )
