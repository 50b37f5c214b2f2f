"""A stream at rest, as its driver needs it: what changes nothing but the time.

A driver that finds a link as it was may keep the looks to itself. Before it gives the
session any fact it says when it last looked, and when it would have looked again. A
ping that falls due is asked for here, and its prompt answer taken: what the session
would do with the same facts, less all that it would look at in vain.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import calm
from .events import Output, RoundTripMeasured, Tick
from .evidence import Evidence
from .flow import Flow
from .items import OPEN
from .link import LEAST_STEP, Link
from .rest import Rest
from .session import Session


def rest_of(session: Session) -> Rest | None:
    """How the stream rests; None where there is more to look at than its one link."""
    link, handover = session.link, session.handover
    if link is None or link.rest is None or session.phase is not OPEN:
        return None
    if handover.successor is not None:
        return None
    return link.rest.until_at(due_besides(session))


def flow_of(session: Session, *, now: float) -> Flow | None:
    """How data on the one link of the stream puts off all that is due."""
    link = session.link
    if link is None or session.phase is not OPEN:
        return None
    if session.handover.successor is not None:
        return None
    flow = link.flowing(now=now)
    return None if flow is None else flow.until_at(due_besides(session))


def steady_lull(session: Session) -> float:
    """Seconds that frames may go untold, whenever; 0 where that is a matter of time."""
    link = session.link
    if link is None or not link.clocks.calm or not calm.lull_lasts(link.clocks):
        return 0.0
    return calm.LULL


def due_besides(session: Session) -> float:
    """When something is due that is not the delivering link's."""
    due, slow_at = session.handover.deadline, session.slow.due_at
    return due if due < slow_at else slow_at


def rested(session: Session, *, until: float, at: float) -> None:
    """It was looked at `at`, found at rest, and is due again at `until`."""
    link = session.link
    assert link is not None
    link.lateness.handled(now=at)
    link.deadline = session.deadline = until


def hold(session: Session, until: float) -> None:
    """What it was told late makes nothing due before `until`.

    Else what had to be known to be due would pass for lateness of our own.
    """
    link = session.link
    if link is not None and link.deadline < until:
        link.deadline = until
    if session.deadline < until:
        session.deadline = until


def ask(session: Session, *, now: float) -> bytes:
    """The payload of the ping that a look at `now` found due; it is to be sent.

    `asked` is called right after, and this session knows of the looks before.
    """
    link = session.link
    assert link is not None
    link.rest = link.flow = None
    link.lateness.handled(now=now)
    return link.clocks.pinged(now=now)


def asked(session: Session, evidence: Evidence, *, now: float) -> None:
    """The ping is queued, and this is what the kernel says of it."""
    link = session.link
    assert link is not None
    if evidence.kernel is not None:
        link.clocks.observe(evidence.kernel, now=now)
        link.pings.place(evidence.kernel)
    _arm(session, link, now)


def answered(
    session: Session, payload: bytes, evidence: Evidence, *, now: float
) -> list[Output] | None:
    """Take a read at `now` that is one pong, where nothing else is doubted or owed.

    None, and nothing done, if there is more to it. `evidence` is read after it.
    """
    link = session.link
    if link is None or session.phase is not OPEN or now > link.deadline:
        return None
    oldest = link.pings.oldest()
    if oldest is None or payload not in link.pings or not _is_well(session, link):
        return None
    took = now - oldest.sent_at
    if len(link.pings) > 1 or not link.lateness.measures(took=took, now=now):
        return None
    link.pings.answer(payload)
    _take(link, took, now)
    _look(session, link, evidence, now)
    return [RoundTripMeasured(at=now, epoch=link.epoch, round_trip=took)]


def told(session: Session, answers: Sequence[float], evidence: Evidence) -> None:
    """Take pings and their prompt answers, all at rest, and what was seen after them.

    `answers` is when each was sent and when its answer was read, in turn; at least one.
    """
    link = session.link
    assert link is not None
    now = link.opened_at
    for sent_at, now in zip(answers[::2], answers[1::2], strict=True):
        link.lateness.handled(now=sent_at)
        link.pings.answer(link.clocks.pinged(now=sent_at))
        _take(link, now - sent_at, now)
    # The looks were in time; only the session was not told of them.
    link.deadline = now
    _look(session, link, evidence, now)


def _take(link: Link, took: float, now: float) -> None:
    """Count a pong that nothing hangs on."""
    link.rest = link.flow = None
    link.frames += 1
    link.round_trip.add(took)
    link.path.heard(now=now)
    link.peer.framed(now=now)
    link.lateness.handled(now=now)


def _look(session: Session, link: Link, evidence: Evidence, now: float) -> None:
    """See how the link stands right after an answer, and when it is looked at again."""
    clocks = link.clocks
    kernel = clocks.kernel = evidence.kernel
    link.waiting = evidence.waiting
    if kernel is not None and not evidence.unread_bytes:
        clocks.observe(kernel, now=now)
        rest = None if link.heartbeat.declared else clocks.rest(now=now)
        if rest is not None:
            link.rests(rest, Tick(link.epoch, evidence), now)
    # A doubt that ended with an earlier answer is taken back here, or never.
    session.neighbour.tell(link)
    if link.rest is None:
        _arm(session, link, now)
    else:
        session.deadline = _due(session, link)


def _is_well(session: Session, link: Link) -> bool:
    """Whether a frame that comes now has nothing to end, and nothing to begin."""
    clocks, lateness = link.clocks, link.lateness
    return (
        session.handover.successor is None
        and link.found is None
        and clocks.path.ladder is None
        and clocks.doubted_at is None
        and clocks.no_pong_at is None
        and clocks.paused_at is None
        and lateness.over
    )


def _arm(session: Session, link: Link, now: float) -> None:
    link.deadline = link.next_deadline(now)
    session.deadline = max(_due(session, link), now + LEAST_STEP)


def _due(session: Session, link: Link) -> float:
    return min(link.deadline, due_besides(session))
