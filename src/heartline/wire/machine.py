"""What a pump drives, and what it asks where that is at rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from heartline.core.events import Fact, Output
from heartline.core.evidence import Evidence
from heartline.core.flow import Flow
from heartline.core.rest import Rest

from .kernel import KernelEyes
from .resting import Said


class Machine(Protocol):
    """A `Session`, or a `Link` wrapped by its server."""

    deadline: float

    @property
    def epoch(self) -> int:
        """The link whose frames may find it calm."""
        ...

    def lull(self, *, now: float) -> float:
        """Seconds that frames may go untold: they are one more sign of life."""
        ...

    @property
    def spare_reads(self) -> int:
        """So many reads with data may go untold in that time, and no more."""
        ...

    def put_off(self, data_at: float, *, now: float) -> None:
        """Move `deadline` where data read at `data_at` does, that is told later."""
        ...

    def handle(self, fact: Fact, *, now: float) -> list[Output]: ...


class Sleepy(Protocol):
    """How a machine rests, for its looks to be taken without it."""

    @property
    def late_after(self) -> float:
        """A look later than this, in seconds, is the machine's to judge."""
        ...

    def rest(self) -> tuple[Rest, KernelEyes] | None:
        """What a look is to find again, and where; None while it does not rest."""
        ...

    def flow(self, *, now: float) -> Flow | None:
        """How data puts off all that is due; None while more hangs on it."""
        ...

    @property
    def lull(self) -> float:
        """As the machine's own, at any time from now on; 0 where it ends with time."""
        ...

    @property
    def due_at(self) -> float:
        """When to look again after `answered`."""
        ...

    def rested(self, *, until: float, at: float) -> None:
        """Let the machine know of all that it was spared, before any fact."""
        ...

    def hold(self, until: float) -> None:
        """What the machine was told late makes nothing due before `until`."""
        ...

    def voice(self, goes_on: Callable[[float], bool] | None) -> Said | None:
        """How pings are sent and answered past it; None where they cannot be."""
        ...

    def learn(self, answers: Sequence[float], seen: Evidence) -> None:
        """Keep what was answered past it; see `Resting.answers`."""
        ...

    def waits(self, sent_at: float, asked_with: Evidence) -> None:
        """Keep the ping that is out past it."""
        ...

    def tell(self) -> None:
        """Let it know of what was answered, so that it can be asked; it rests on."""
        ...

    def ask(self, *, now: float) -> float:
        """Send the ping that is due; until when the machine need not know of it."""
        ...

    def answered(self, payload: bytes, *, now: float) -> list[Output] | None:
        """Take an answer; None, and nothing done, if it is none or there is more."""
        ...
