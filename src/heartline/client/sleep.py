"""How a stream rests: what is asked and answered meanwhile, without its pump."""

from __future__ import annotations

from heartline.core.events import Output
from heartline.core.evidence import Evidence
from heartline.core.flow import Flow
from heartline.core.rest import Rest
from heartline.core.resting import steady_lull
from heartline.core.session import Session
from heartline.core.untold import Untold
from heartline.wire.kernel import KernelEyes

from .intake import Intake


class Sleep:
    """The rest of one stream; its link is the one that delivers."""

    __slots__ = ("_intake", "_session", "_untold")

    def __init__(self, session: Session, intake: Intake) -> None:
        self._session = session
        self._intake = intake
        self._untold = Untold(session)

    @property
    def late_after(self) -> float:
        return self._session.terms.liveness.stall_after

    @property
    def due_at(self) -> float:
        return self._untold.due_at

    def rest(self) -> tuple[Rest, KernelEyes] | None:
        carrier, rest = self._intake.carrier, self._untold.rest
        if rest is None or carrier is None or carrier.epoch != self._session.epoch:
            return None
        return None if carrier.eyes is None else (rest, carrier.eyes)

    def flow(self, *, now: float) -> Flow | None:
        return self._untold.flow(now=now)

    @property
    def lull(self) -> float:
        return steady_lull(self._session)

    def tell(self) -> None:
        self._untold.tell()

    def rested(self, *, until: float, at: float) -> None:
        self._untold.rested(until=until, at=at)

    def ask(self, *, now: float) -> float:
        carrier, evidence = self._intake.carrier, Evidence()
        payload = self._untold.ask(now=now)
        try:
            if carrier is not None:
                evidence = carrier.ask(payload)
        finally:
            due_at = self._untold.asked(evidence, now=now)
        return due_at

    def answered(self, payload: bytes, *, now: float) -> list[Output] | None:
        carrier = self._intake.carrier
        if carrier is None or carrier.epoch != self._session.epoch:
            return None
        return self._untold.answered(payload, carrier.evidence(), now=now)
