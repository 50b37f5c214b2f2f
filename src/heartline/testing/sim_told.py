"""A session that is listened to: what it was told, and what it made of it."""

from __future__ import annotations

from math import inf

from heartline.core.events import Fact, Output, Received, Tick
from heartline.core.items import Phase
from heartline.core.session import Session

from .sim_clock import Clock
from .sim_history import Entry


class Told:
    """Stands between a pump and its session and writes a history of both.

    A tick or a read that led to nothing is not written down as a fact: of ticks the
    instants are kept, in `ticks`.
    """

    __slots__ = ("_clock", "_history", "_phase", "_session", "deadline", "ticks")

    def __init__(self, session: Session, clock: Clock, history: list[Entry]) -> None:
        self.deadline = session.deadline
        self.ticks: list[float] = []
        self._session = session
        self._clock = clock
        self._history = history
        self._phase = session.phase

    def lull(self, *, now: float) -> float:
        return self._session.lull(now=now)

    @property
    def spare_reads(self) -> int:
        return self._session.spare_reads

    @property
    def epoch(self) -> int:
        return self._session.epoch

    @property
    def misses_soon(self) -> bool:
        """Whether absent data is noticed before the kernel's silence is."""
        link = self._session.link
        silence = None if link is None else link.clocks.path_silence
        return (
            link is not None and silence is not None and silence <= link.path.patience
        )

    def put_off(self, data_at: float, *, now: float) -> None:
        self._session.put_off(data_at, now=now)
        self.deadline = self._session.deadline

    def note(self, kind: str, value: object) -> None:
        """Write down what was done without a fact."""
        self._history.append((self._clock.now, kind, value))

    def handle(self, fact: Fact, *, now: float) -> list[Output]:
        session, at = self._session, self._clock.now
        kind = type(fact)
        if kind is Tick:
            self.ticks.append(at)
        out = session.handle(fact, now=now)
        self.deadline = deadline = session.deadline
        phase = session.phase
        if out or phase is not self._phase or kind not in (Tick, Received):
            self._history.append((at, "fact", fact))
        if phase is not self._phase:
            self._phase = phase
            self._history.append((at, "phase", phase))
        if deadline == inf and phase not in (Phase.IDLE, Phase.CLOSED):
            self._history.append((at, "broken", f"{phase} without a deadline"))
        return out
