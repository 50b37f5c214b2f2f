"""A calm link whose data flows: what is due at rest, each read puts off.

Nearly every deadline of a busy link finds just that. It is put off here, so that many
busy links are not judged over and over for what cannot be.
"""

from __future__ import annotations

LOOK_EVERY = 5.0
"""The kernel's evidence is read this often all the same, seconds: what it has learned
of the path is to be known when a silence begins."""


class Flow:
    """How a link stands; void with any fact but `Received`. It was looked at `now`.

    `patience` is the least silence of which anything is due, `ask_at` when a question
    is due though data flows.
    """

    __slots__ = ("firm_at", "patience")

    def __init__(self, *, patience: float, ask_at: float, now: float) -> None:
        self.patience = patience
        look_at = now + LOOK_EVERY
        self.firm_at = ask_at if ask_at < look_at else look_at
        """Beyond this no data puts it off."""

    def due_at(self, data_at: float) -> float:
        """When the next look is due, if data was read last at `data_at`.

        Too early, if anything: whoever looks, judges by all that is known then.
        """
        due = data_at + self.patience
        return due if due < self.firm_at else self.firm_at

    def until_at(self, due: float) -> Flow:
        """The same flow, where something else is due then."""
        if due >= self.firm_at:
            return self
        return Flow(patience=self.patience, ask_at=due, now=due)
