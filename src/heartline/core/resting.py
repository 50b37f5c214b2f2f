"""A stream at rest, as its driver needs it: looks that change nothing but the time.

A driver that finds a link as it was may keep the looks to itself. Before it gives the
session any fact it says when it last looked, and when it would have looked again.
"""

from __future__ import annotations

from .items import Phase
from .rest import Rest
from .session import Session


def rest_of(session: Session) -> Rest | None:
    """How the stream rests; None where there is more to look at than its one link."""
    link, handover = session.link, session.handover
    if link is None or link.rest is None or session.phase is not Phase.OPEN:
        return None
    if handover.successor is not None:
        return None
    return link.rest.until_at(min(handover.deadline, session.slow.due_at))


def rested(session: Session, *, until: float, at: float) -> None:
    """It was looked at `at`, found at rest, and is due again at `until`."""
    link = session.link
    assert link is not None
    assert link.rest is not None
    link.lateness.handled(now=at)
    link.deadline = session.deadline = until
