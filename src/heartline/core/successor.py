"""A link that is to take another's place: dialled, opened and judged beside it.

Of what it is only the delivering link is told about; this one's end is a failed dial.
"""

from __future__ import annotations

from math import inf

from .attempt import Attempt
from .events import (
    Abort,
    Answered,
    Beat,
    Dial,
    DialFailed,
    DialSucceeded,
    Ended,
    Evidenced,
    Fact,
    Noticed,
    Output,
    Paused,
    Ping,
    Pinged,
    Ponged,
    Questioned,
    Received,
    Resumed,
    Staged,
    Sync,
    Synced,
    Tick,
)
from .evidence import Evidence
from .items import Cause
from .link import Link
from .terms import Terms

HEARD = (Received, Ponged, Answered, Pinged, Paused, Resumed, Questioned)


class Successor:
    """The machine of one such link, dialled at `dials_at`. Read `deadline`.

    `failure` is set once, when it is over; its owner then drops it.
    """

    def __init__(
        self, epoch: int, terms: Terms, *, dials_at: float, now: float
    ) -> None:
        self.epoch = epoch
        self.terms = terms
        self.dials_at = dials_at
        self.link: Link | None = None
        self.failure: DialFailed | None = None
        self.address = ""
        self._evidence = Evidence()
        self._attempt: Attempt | None = None
        self._step_by = dials_at

    @property
    def waits(self) -> bool:
        """Whether its dial is still to be made."""
        return self._attempt is None and self.link is None

    @property
    def deadline(self) -> float:
        if self.link is not None:
            return min(self.link.deadline, self._step_by)
        return self._attempt.due_at if self._attempt is not None else self._step_by

    def handle(self, fact: Fact, *, now: float) -> list[Output]:
        """Take one fact of its own; commands alone come of it."""
        match fact:
            case Staged() if self._attempt is not None:
                self._attempt.reach(fact.stage, now=now)
            case DialSucceeded() if self._attempt is not None:
                return self._on_dialled(fact, now)
            case DialSucceeded():
                return [Abort(self.epoch)]
            case DialFailed():
                self.failure = fact
            case Synced() if self.link is not None:
                self._step_by = inf
                self.link.channel.resume(now=now)
            case Noticed():
                self._fail(Cause.NOTICE, fact.reason, None)
            case Ended():
                self._fail(fact.cause, fact.reason, fact.status)
            case Evidenced():
                self._evidence = fact.evidence
            case _ if isinstance(fact, HEARD) and self.link is not None:
                return self._commands(self.link.handle(fact, now=now))
            case _:
                pass
        return []

    def tick(self, fact: Tick, *, lag: float, now: float) -> list[Output]:
        """The deadline passed, or our own loop was late by `lag`."""
        stall_after = self.terms.liveness.stall_after
        if self.link is not None:
            self._step_by += lag if lag > stall_after else 0.0
            return self._tick_link(self.link, fact, now)
        if self._attempt is None:
            return self._dial(now) if now >= self._step_by else []
        out = self._attempt.overdue(fact, stall_after=stall_after, now=now)
        if isinstance(out, DialFailed):
            self.failure = out
        return []

    def _dial(self, now: float) -> list[Output]:
        self._attempt = Attempt(self.epoch, self.terms.dialling, now=now)
        return [Dial(self.epoch, 1)]

    def _on_dialled(self, fact: DialSucceeded, now: float) -> list[Output]:
        self.address, self._evidence = fact.address, fact.evidence
        self._attempt = None
        self.link = self.terms.link(self.epoch, fact.evidence, now=now)
        self._step_by = now + self.terms.dialling.sync
        return [*self.link.open(now=now), Sync(self.epoch)]

    def _tick_link(self, link: Link, fact: Tick, now: float) -> list[Output]:
        out: list[Output] = []
        if now >= link.deadline or fact.suspended or fact.stalled:
            mine = Tick(self.epoch, self._evidence, fact.suspended, fact.stalled)
            out = self._commands(link.handle(mine, now=now))
        if link.found:
            self._fail(link.found.cause, link.found.evidence, None)
        elif now >= self._step_by:
            self._fail(Cause.HANDSHAKE_TIMEOUT, "on_open not sent", None)
        return out

    def _fail(self, cause: Cause, reason: str, status: int | None) -> None:
        self.failure = DialFailed(self.epoch, cause, reason, status)

    def _commands(self, out: list[Output]) -> list[Output]:
        wanted: list[Output] = [o for o in out if isinstance(o, Ping | Beat)]
        return wanted
