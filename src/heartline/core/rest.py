"""A link at rest: nothing is asked, doubted or owed, and its kernel hears the peer's.

Nearly every tick of an idle link finds just that once more. It is found here, so that
a thousand such links do not ask all their clocks every second for what cannot be.
"""

from __future__ import annotations

from .evidence import Evidence, Kernel
from .flow import Flow

SHARED_EVERY = 0.05
"""Links at rest are looked at in instants this far apart, seconds: many in each."""


class Rest:
    """How a link stood when it came to rest; void with the first fact but a tick.

    `seen` is the kernel's evidence of that tick, `patience` the silence after which
    the path is doubted, `ask_at` when a question is due that no doubt asks.
    """

    __slots__ = ("ask_at", "patience", "seen")

    def __init__(self, seen: Kernel, *, patience: float, ask_at: float) -> None:
        self.seen = seen
        self.patience = patience
        self.ask_at = ask_at

    def until_at(self, due: float) -> Rest:
        """The same rest, where something else is due then."""
        if due >= self.ask_at:
            return self
        return Rest(self.seen, patience=self.patience, ask_at=due)

    def flow(self, *, now: float) -> Flow:
        """How data that begins to flow puts off what is due."""
        return Flow(patience=self.patience, ask_at=self.ask_at, now=now)

    def until(self, evidence: Evidence, *, now: float) -> float | None:
        """When the next look is due; None if this one needs the whole judgement.

        Only the age of the last segment may have changed. With anything sent, arrived
        or measured, every clock has something to learn.
        """
        seen, kernel = self.seen, evidence.kernel
        if (
            kernel is None
            or evidence.unread_bytes
            or kernel.outstanding_bytes
            or kernel.acked_bytes != seen.acked_bytes
            or kernel.received_bytes != seen.received_bytes
            or kernel.round_trip != seen.round_trip
            or kernel.round_trip_deviation != seen.round_trip_deviation
            or kernel.min_round_trip != seen.min_round_trip
        ):
            return None
        due = now - kernel.heard_age + self.patience
        # The last shared instant up to then, or then itself once that one has passed:
        # a look too early finds that nothing has run out, and costs no more.
        shared = due - due % SHARED_EVERY
        if shared > now:
            due = shared
        if self.ask_at < due:
            due = self.ask_at
        return due if due > now else None
