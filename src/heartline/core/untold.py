"""A stream at rest, and the pings there that its session has not been told of yet.

A ping at rest and its prompt answer change nothing but figures. They are kept here and
told together, before any fact and whenever those figures are asked for: the session of
one stream among a thousand has left every cache by the time of its next ping.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from msgspec import Struct

from .adaptive import probe_timeout
from .detector import KEEPALIVE_GRACE, Liveness
from .events import Output, RoundTripMeasured
from .evidence import Evidence, Kernel
from .flow import Flow
from .pings import ping_due
from .rest import Rest
from .resting import (
    answered,
    ask,
    asked,
    due_besides,
    flow_of,
    hold,
    rest_of,
    rested,
    told,
)
from .session import Session

MOST = 12
"""So many answered pings are told together, at the latest."""
ANSWER_WITHIN = 0.25
"""A ping without an answer for so long is told, seconds, or earlier: see `asked`."""

_NOTHING = Evidence()


class Asking(Struct, frozen=True, kw_only=True):
    """What whoever asks past `Untold` has to know; void with any fact."""

    epoch: int
    sent: int
    """Pings so far."""
    every: float
    measure_every: float
    patience: float
    """With the probe timeout added: after an answer the link is no more patient."""
    within: float
    """A ping is told after this without an answer, or once the path is doubted."""
    besides_at: float
    """When something else is due."""


class Untold:
    """How one session rests. It is given no fact before it is told: see `rested`."""

    __slots__ = (
        "_answers",
        "_asked_with",
        "_due_besides",
        "_nth",
        "_payload",
        "_rest",
        "_seen",
        "_sent_at",
        "_session",
        "due_at",
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rest: Rest | None = None
        """How the link rests by what is kept here; None while nothing is."""
        self._answers = array("d")
        """When each answered ping was sent, and when its answer was read, in turn."""
        self._seen = self._asked_with = _NOTHING
        self._payload: bytes | None = None
        """Of the ping that is out."""
        self._nth = 0
        self._sent_at = 0.0
        self._due_besides = 0.0
        self.due_at = 0.0
        """When it is to be looked at, or told of the ping that is out."""

    @property
    def rest(self) -> Rest | None:
        """How the stream rests; None where there is more to look at than its link."""
        return rest_of(self._session) if self._rest is None else self._rest

    def flow(self, *, now: float) -> Flow | None:
        """How data puts off what is due; None while more hangs on it, or is untold."""
        return flow_of(self._session, now=now) if self._rest is None else None

    def ask(self, *, now: float) -> bytes:
        """The payload of the ping that a look at `now` found due; it is to be sent.

        `asked` is called right after.
        """
        self._begin()
        self._nth += 1
        return self._send(now)

    def _begin(self) -> None:
        session = self._session
        if self._rest is None:
            assert session.link is not None
            self._rest = rest_of(session)
            self._nth = session.link.pings.sent
            self._due_besides = due_besides(session)

    def _send(self, now: float) -> bytes:
        link = self._session.link
        assert link is not None
        self._sent_at = now
        self._payload = link.pings.payload(self._nth)
        return self._payload

    def asked(self, evidence: Evidence, *, now: float) -> float:
        """The ping is queued, and this is what the kernel says of it.

        Returns when the session is to be told of it, if it is not answered before.
        Nothing is doubted or asked by then that hangs on that ping.
        """
        self._asked_with = evidence
        kernel, rest = evidence.kernel, self._rest
        if kernel is None or rest is None:
            self.due_at = now
            return now
        policy = self._session.terms.liveness
        within = min(_answer_within(policy), rest.patience - kernel.heard_age)
        self.due_at = min(now + within, self._due_besides)
        return self.due_at

    def answered(
        self, payload: bytes, evidence: Evidence, *, now: float
    ) -> list[Output] | None:
        """Take a read at `now` that is one pong, where nothing else is doubted or owed.

        None, and nothing done, if there is more to it. `evidence` is read after it.
        """
        session, kernel = self._session, evidence.kernel
        if self._rest is None:
            out = answered(session, payload, evidence, now=now)
            self.due_at = session.deadline
            return out
        if payload != self._payload or now > self.due_at or kernel is None:
            return None
        rest = self._renewed(self._rest, kernel, now)
        due_at = None if evidence.unread_bytes else rest.until(evidence, now=now)
        if due_at is None:
            return None
        self._rest, self._seen, self.due_at = rest, evidence, due_at
        self._payload, self._asked_with = None, _NOTHING
        self._answers.extend((self._sent_at, now))
        self._tell_enough()
        took = now - self._sent_at
        return [RoundTripMeasured(at=now, epoch=session.epoch, round_trip=took)]

    def _tell_enough(self) -> None:
        session = self._session
        if len(self._answers) >= 2 * MOST:
            self.tell()
            self._rest, self.due_at = rest_of(session), session.deadline

    def asking(self) -> Asking | None:
        """For whoever takes pings and answers past this; None while it has its own."""
        session = self._session
        link, policy = session.link, session.terms.liveness
        if link is None or self._rest is not None:
            return None
        return Asking(
            epoch=session.epoch,
            sent=link.pings.sent,
            every=policy.ping_every,
            measure_every=policy.measure_every,
            patience=policy.kernel_interval + KEEPALIVE_GRACE,
            within=_answer_within(policy),
            besides_at=due_besides(session),
        )

    def learn(self, answers: Sequence[float], seen: Evidence) -> None:
        """Keep what was answered past this: when each was sent and answered, in turn.

        `seen` is the evidence after the last.
        """
        self._begin()
        self._answers.extend(answers)
        self._nth += len(answers) // 2
        self._seen = seen
        self._tell_enough()

    def waits(self, sent_at: float, asked_with: Evidence) -> None:
        """Keep the ping that is out past this; `asked_with` is read after it."""
        self._begin()
        self._nth += 1
        self._send(sent_at)
        self._asked_with = asked_with

    def tell(self) -> None:
        """Let the session know of what was answered; it rests on."""
        if self._answers:
            told(self._session, self._answers, self._seen)
            del self._answers[:]

    def hold(self, until: float) -> None:
        """What the session was told late makes nothing due before `until`."""
        hold(self._session, until)

    def rested(self, *, until: float, at: float) -> None:
        """The rest ends: let the session know of all that it was spared.

        It was last looked at `at`, and would be looked at again at `until`.
        """
        session, payload = self._session, self._payload
        self.tell()
        self._rest = self._payload = None
        if payload is None:
            rested(session, until=until, at=at)
            return
        ask(session, now=self._sent_at)
        asked(session, self._asked_with, now=self._sent_at)

    def _renewed(self, rest: Rest, kernel: Kernel, now: float) -> Rest:
        """How the link rests after an answer; no more patient than the session is.

        That waits with a longer timeout for a silence to come; here a longer one waits
        until the session is told.
        """
        policy = self._session.terms.liveness
        timeout = probe_timeout(
            kernel.round_trip, kernel.round_trip_deviation, kernel.min_round_trip
        )
        patience = policy.kernel_interval + KEEPALIVE_GRACE + timeout
        ask_at = ping_due(policy, heard_at=now, last_at=self._sent_at)
        renewed = Rest(kernel, patience=min(rest.patience, patience), ask_at=ask_at)
        return renewed.until_at(self._due_besides)


def _answer_within(policy: Liveness) -> float:
    return min(ANSWER_WITHIN, policy.outbound_after, policy.peer_busy / 2)
