"""A calm link whose data flows: what is due at rest, each read puts off.

Nearly every deadline of a busy link finds just that. It is put off here, so that many
busy links are not judged over and over for what cannot be.
"""

from __future__ import annotations

LOOK_EVERY = 5.0
"""The kernel's evidence is read this often all the same, seconds: what it has learned
of the path is to be known when a silence begins."""


class Flow:
    """How a link stood at its last tick; void with any fact but `Received`.

    `patience` is the least silence of which anything is due, `ask_at` when a question
    is due though data flows.
    """

    __slots__ = ("_firm_at", "_patience")

    def __init__(self, *, patience: float, ask_at: float, now: float) -> None:
        self._patience = patience
        look_at = now + LOOK_EVERY
        self._firm_at = ask_at if ask_at < look_at else look_at

    def due_at(self, data_at: float) -> float:
        """When the next look is due, if data was read last at `data_at`.

        Too early, if anything: whoever looks, judges by all that is known then.
        """
        due = data_at + self._patience
        return due if due < self._firm_at else self._firm_at
