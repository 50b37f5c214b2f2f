"""A simulated stream at rest: looked at as a real one, by those who look for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from heartline.core.events import Output, Ping, Ponged
from heartline.core.evidence import Evidence
from heartline.core.flow import Flow
from heartline.core.rest import Rest
from heartline.core.resting import steady_lull
from heartline.core.session import Session
from heartline.core.untold import Untold
from heartline.wire.kernel import KernelEyes
from heartline.wire.pump import Pump
from heartline.wire.resting import Said

from .sim_network import End
from .sim_packets import Frame
from .sim_told import Told

CONTROL_BYTES = 10


def is_answer(frames: list[Frame], pump: Pump, epoch: int) -> bool:
    """Whether a read is one pong, and the pump has taken it."""
    if len(frames) != 1 or frames[0].kind != "pong":
        return False
    payload = frames[0].value
    return isinstance(payload, bytes) and pump.answered(epoch, payload)


class Rests:
    """How the session of one client rests; `end_of` is its connection, by epoch."""

    def __init__(
        self, session: Session, told: Told, end_of: Callable[[int], End | None]
    ) -> None:
        self._session = session
        self._untold = Untold(session)
        self._told = told
        self._end_of = end_of
        self._eyes: _Eyes | None = None

    @property
    def late_after(self) -> float:
        return self._session.terms.liveness.stall_after

    @property
    def due_at(self) -> float:
        return self._untold.due_at

    def rest(self) -> tuple[Rest, KernelEyes] | None:
        rest = self._untold.rest
        end = None if rest is None else self._end_of(self._session.epoch)
        if rest is None or end is None:
            return None
        eyes = self._eyes
        if eyes is None or eyes.end is not end:
            self._eyes = eyes = _Eyes(end)
        return rest, cast("KernelEyes", eyes)

    def flow(self, *, now: float) -> Flow | None:
        return self._untold.flow(now=now)

    @property
    def lull(self) -> float:
        return steady_lull(self._session)

    def rested(self, *, until: float, at: float) -> None:
        self._untold.rested(until=until, at=at)
        self._told.deadline = self._session.deadline

    def hold(self, until: float) -> None:
        self._untold.hold(until)
        self._told.deadline = self._session.deadline

    def tell(self) -> None:
        self._untold.tell()

    def voice(self, goes_on: Callable[[float], bool] | None) -> Said | None:
        return None

    def learn(self, answers: Sequence[float], seen: Evidence) -> None:
        self._untold.learn(answers, seen)

    def waits(self, sent_at: float, asked_with: Evidence) -> None:
        self._untold.waits(sent_at, asked_with)

    def ask(self, *, now: float) -> float:
        end, epoch = self._end_of(self._session.epoch), self._session.epoch
        payload = self._untold.ask(now=now)
        evidence = Evidence()
        if end is not None:
            self._told.note("do", Ping(epoch, payload))
            end.write(CONTROL_BYTES, Frame("ping", payload))
            evidence = end.evidence()
        due_at = self._told.deadline = self._untold.asked(evidence, now=now)
        return due_at

    def answered(self, payload: bytes, *, now: float) -> list[Output] | None:
        end, epoch = self._end_of(self._session.epoch), self._session.epoch
        if end is None:
            return None
        out = self._untold.answered(payload, end.evidence(), now=now)
        if out is not None:
            self._told.note("fact", Ponged(epoch, payload))
            self._told.deadline = self._untold.due_at
        return out


class _Eyes:
    def __init__(self, end: End) -> None:
        self.end = end
        self.read = end.evidence
