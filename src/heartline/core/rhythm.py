"""When a venue's own heartbeat is due. It sends nothing and judges nobody."""

from __future__ import annotations

from math import inf

from heartline.errors import UsageError


class Rhythm:
    """One heartbeat on one link. Seconds.

    `every`: so long after the last one, whatever else flows; `idle`: so long after the
    last message received. With both, what comes first; with neither, never.
    """

    __slots__ = ("every", "idle", "sent_at")

    def __init__(
        self, *, every: float | None = None, idle: float | None = None, now: float
    ) -> None:
        for name, value in (("every", every), ("idle", idle)):
            if value is not None and not value > 0:
                raise UsageError(f"Rhythm.{name}", wanted="more than 0", got=value)
        self.every = every
        self.idle = idle
        self.sent_at = now

    def due_at(self, *, heard_at: float) -> float:
        """When the next one is due, if the last message came at `heard_at`."""
        due = inf
        if self.every is not None:
            due = self.sent_at + self.every
        if self.idle is not None:
            # Asked once, a silent venue is asked again only after as long a silence.
            due = min(due, max(heard_at, self.sent_at) + self.idle)
        return due

    def sent(self, *, now: float) -> None:
        self.sent_at = now
