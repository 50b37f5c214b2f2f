"""How a stream rests: what is asked and answered meanwhile, without its pump."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heartline.core.events import Output, RoundTripMeasured
from heartline.core.evidence import Evidence
from heartline.core.flow import Flow
from heartline.core.rest import Rest
from heartline.core.resting import steady_lull
from heartline.core.session import Session
from heartline.core.untold import Untold
from heartline.wire.kernel import KernelEyes
from heartline.wire.resting import Said

from .ages import Ages
from .intake import Intake
from .observers import Observers


class Sleep:
    """The rest of one stream; its link is the one that delivers."""

    __slots__ = ("_ages", "_intake", "_observers", "_session", "_untold")

    def __init__(
        self, session: Session, intake: Intake, ages: Ages, observers: Observers
    ) -> None:
        self._session = session
        self._intake = intake
        self._ages = ages
        self._observers = observers
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

    def hold(self, until: float) -> None:
        self._untold.hold(until)

    def voice(self, goes_on: Callable[[float], bool] | None) -> Said | None:
        carrier, terms = self._intake.carrier, self._untold.asking()
        if terms is None or carrier is None or carrier.epoch != terms.epoch:
            return None
        if (talk := carrier.talk) is None:
            return None
        return Said(terms, *talk, self._measured, goes_on)

    def _measured(self, event: RoundTripMeasured) -> None:
        """An answer went past the driver: what it would tell of it, and do then."""
        intake = self._intake
        desk, alone = intake.desk, intake.abreast is None
        if desk is not None:
            desk.heed(event)
        if not alone:
            intake.heed(event)
        self._ages.heed(event)
        self._observers.tell(event)
        if desk is not None or not alone:
            intake.look_joined()

    def learn(self, answers: Sequence[float], seen: Evidence) -> None:
        self._untold.learn(answers, seen)

    def waits(self, sent_at: float, asked_with: Evidence) -> None:
        self._untold.waits(sent_at, asked_with)

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
