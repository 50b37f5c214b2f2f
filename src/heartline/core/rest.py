"""A link at rest: nothing is asked, doubted or owed, and its kernel hears the peer's.

Nearly every tick of an idle link finds just that once more. It is found here, so that
a thousand such links do not ask all their clocks every second for what cannot be.
"""

from __future__ import annotations

from msgspec import Struct

from .evidence import Evidence, Kernel
from .flow import Flow

SHARED_EVERY = 0.05
"""Links at rest are looked at in instants this far apart, seconds: many in each."""


def shared(due: float, *, now: float) -> float:
    """The last shared instant up to `due`, if that has not passed.

    A look too early finds that nothing has run out, and costs no more than another.
    """
    earlier = due - due % SHARED_EVERY
    return earlier if earlier > now else due


class Rest(Struct, frozen=True, gc=False):
    """How a link stood when it came to rest; void with the first fact but a tick.

    `seen` is the kernel's evidence of that tick, `patience` the silence after which
    the path is doubted, `ask_at` when a question is due that no doubt asks; with
    `pings` False it is something else that is due then.
    """

    seen: Kernel
    patience: float
    ask_at: float
    pings: bool = True

    def until_at(self, due: float) -> Rest:
        """The same rest, where something else is due then."""
        if due >= self.ask_at:
            return self
        return Rest(self.seen, patience=self.patience, ask_at=due, pings=False)

    def flow(self, *, now: float) -> Flow:
        """How data that begins to flow puts off what is due."""
        return Flow(patience=self.patience, ask_at=self.ask_at, now=now)

    def until(self, evidence: Evidence, *, now: float) -> float | None:
        """When the next look is due; None if this one needs the whole judgement.

        Only the age of the last segment may have changed. With anything sent, arrived
        or measured, every clock has something to learn.
        """
        doubt_at = self._doubt_at(evidence, now=now)
        if doubt_at is None:
            return None
        due = shared(doubt_at, now=now)
        if self.ask_at < due:
            due = self.ask_at
        return due if due > now else None

    def asks(self, evidence: Evidence, *, now: float) -> bool:
        """Whether a ping is due, and nothing else."""
        if not self.pings or now < self.ask_at:
            return False
        doubt_at = self._doubt_at(evidence, now=now)
        return doubt_at is not None and doubt_at > now

    def _doubt_at(self, evidence: Evidence, *, now: float) -> float | None:
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
        return now - kernel.heard_age + self.patience
