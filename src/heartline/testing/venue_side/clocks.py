"""The venue's clocks on one client: when it is cut, and for what."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from heartline.venue.profile import Clock, Endpoint, seconds
from heartline.venue.vocabulary import Rate

UNNAMED_CODE: Final = 1008
"""How a client is closed where the venue does not say: policy violation, RFC 6455."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """The client is cut at this instant unless something happens before."""

    at: float
    code: int
    reason: str


@dataclass(slots=True, kw_only=True)
class Times:
    """When what last happened on a link; monotonic seconds."""

    opened_at: float
    client_ping_at: float
    client_message_at: float
    server_message_at: float
    empty_since: float | None
    """Since when nothing is subscribed; None while something is."""
    asked_at: float | None = None
    """When the first request was understood that is no heartbeat."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A ping or probe of ours; `payload` is what has to come back."""

    at: float
    payload: object
    deadline: float | None


class Waiting:
    """Pings or probes of one kind that the client still has to answer."""

    def __init__(self) -> None:
        self._unanswered: deque[Unanswered] = deque(maxlen=10_000)

    def asked(self, one: Unanswered) -> None:
        self._unanswered.append(one)

    def answered(self, payload: object, *, echo: bool) -> bool:
        """Take an answer to one of them, and with it those before; False if it is
        an answer to none."""
        payloads = [each.payload for each in self._unanswered]
        if not payloads or (echo and payload not in payloads):
            return False
        last = payloads.index(payload) if echo else len(payloads) - 1
        for _ in range(last + 1):
            self._unanswered.popleft()
        return True

    @property
    def oldest(self) -> Unanswered | None:
        return self._unanswered[0] if self._unanswered else None


def sentences(
    endpoint: Endpoint,
    times: Times,
    waiting: tuple[Waiting, ...],
    variables: Mapping[str, float],
) -> list[Sentence]:
    """Every clock that runs against the client now."""
    clocks = endpoint.idle.clocks if endpoint.idle else ()
    running = [
        Sentence(at=since + after, code=clock.close_code or UNNAMED_CODE, reason=why)
        for clock in clocks
        if (after := _after(clock, variables)) is not None
        and (told := _since(clock, endpoint, times, waiting)) is not None
        for since, why in [told]
    ]
    if not any(clock.clock == "pong" and clock.close_after_s for clock in clocks):
        running += _deadlines(endpoint, waiting)
    return [*running, *_of_the_link(endpoint, times)]


def _after(clock: Clock, variables: Mapping[str, float]) -> float | None:
    timer = clock.close_after_s
    return None if timer is None else seconds(timer, variables)


def _since(
    clock: Clock, endpoint: Endpoint, times: Times, waiting: tuple[Waiting, ...]
) -> tuple[float, str] | None:
    """Since when a clock runs, and what it waits for; None while it stands."""
    match clock.clock:
        case "client_ping":
            return times.client_ping_at, "no ping"
        case "client_message":
            if _is_of_the_probe(clock, endpoint):
                return _first_unanswered(waiting)
            return times.client_message_at, "no message"
        case "server_message":
            return times.server_message_at, "nothing to send"
        case "any_message":
            latest = max(times.client_message_at, times.server_message_at)
            return latest, "idle"
        case "pong":
            return _first_unanswered(waiting)
        case "no_subscription":
            since = times.empty_since
            return None if since is None else (since, "no subscription")
        case "unknown":
            return None


def _is_of_the_probe(clock: Clock, endpoint: Endpoint) -> bool:
    """Whether it is the deadline of a probe, told once more as a clock.

    A venue that asks every ten seconds and closes ten seconds after an unanswered
    question (Deribit) does not close ten seconds after an answer.
    """
    probes = endpoint.liveness.msg_in
    return any(probe.deadline_s == clock.close_after_s for probe in probes)


def _first_unanswered(waiting: tuple[Waiting, ...]) -> tuple[float, str] | None:
    oldest = [each.oldest.at for each in waiting if each.oldest is not None]
    return (min(oldest), "no answer") if oldest else None


def _deadlines(endpoint: Endpoint, waiting: tuple[Waiting, ...]) -> list[Sentence]:
    return [
        Sentence(at=one.at + one.deadline, code=UNNAMED_CODE, reason="no answer")
        for each in waiting
        if (one := each.oldest) is not None and one.deadline is not None
    ]


def _of_the_link(endpoint: Endpoint, times: Times) -> list[Sentence]:
    lifetime, limits = endpoint.lifetime, endpoint.limits
    ends: list[Sentence] = []
    if lifetime is not None and lifetime.max_age_s is not None:
        at = times.opened_at + lifetime.max_age_s
        ends.append(Sentence(at=at, code=1001, reason="maximum age"))
    within = limits.subscribe_within_s if limits else None
    # Of a profile that does not say what to ask, nobody can demand it.
    can_ask = endpoint.subscribe is not None or endpoint.on_open is not None
    if within is not None and can_ask and times.asked_at is None:
        at, code = times.opened_at + within, UNNAMED_CODE
        ends.append(Sentence(at=at, code=code, reason="nothing was asked for"))
    return ends


class Meter:
    """Counts what a client sends against a limit of the venue's."""

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._instants: deque[float] = deque()

    def takes(self, *, now: float) -> bool:
        """Count one more; False if that is more than the venue takes."""
        if self._rate is None:
            return True
        while self._instants and self._instants[0] <= now - self._rate.per_s:
            self._instants.popleft()
        self._instants.append(now)
        return len(self._instants) <= self._rate.count
