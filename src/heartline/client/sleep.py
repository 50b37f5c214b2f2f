"""How a stream rests: what is asked and answered meanwhile, without its pump."""

from __future__ import annotations

from heartline.core.events import Output
from heartline.core.evidence import Evidence
from heartline.core.rest import Rest
from heartline.core.resting import answered, ask, asked, rest_of, rested
from heartline.core.session import Session
from heartline.wire.kernel import KernelEyes

from .intake import Intake


class Sleep:
    """The rest of one stream; its link is the one that delivers."""

    __slots__ = ("_intake", "_session")

    def __init__(self, session: Session, intake: Intake) -> None:
        self._session = session
        self._intake = intake

    @property
    def late_after(self) -> float:
        return self._session.terms.liveness.stall_after

    def rest(self) -> tuple[Rest, KernelEyes] | None:
        carrier, rest = self._intake.carrier, rest_of(self._session)
        if rest is None or carrier is None or carrier.epoch != self._session.epoch:
            return None
        return None if carrier.eyes is None else (rest, carrier.eyes)

    def rested(self, *, until: float, at: float) -> None:
        rested(self._session, until=until, at=at)

    def ask(self, *, now: float) -> None:
        carrier, evidence = self._intake.carrier, Evidence()
        payload = ask(self._session, now=now)
        try:
            if carrier is not None:
                evidence = carrier.ask(payload)
        finally:
            asked(self._session, evidence, now=now)

    def answered(self, payload: bytes, *, now: float) -> list[Output] | None:
        carrier = self._intake.carrier
        if carrier is None or carrier.epoch != self._session.epoch:
            return None
        return answered(self._session, payload, carrier.evidence(), now=now)
