"""What is known of a stream at one instant: the session, read without touching it."""

from __future__ import annotations

from functools import lru_cache

from .channel_events import SubscriptionFailed
from .contracts import Freshness
from .detector import Liveness, PathClock
from .diagnosis import channel_stalled
from .feed import Feed
from .items import Bounds, Cause, Condition, Counts, Phase, RoundTrips, Status, Verdict
from .late import LateChannels
from .link import Link
from .promises import bounds, ceilings
from .restoring import Unrestored
from .session import Session
from .terms import Trouble

_NOTHING: frozenset[Condition] = frozenset()


def snapshot(
    session: Session,
    *,
    now: float,
    traffic: Counts | None = None,
    feed: Feed | None = None,
    late: LateChannels | None = None,
) -> Status:
    """The status at `now`; `traffic` is what the owner of inbox and outbox counted.

    `feed` are the channels of the stream, where it knows of any; `late` are those of
    them whose data is too old, where a limit was set.
    """
    link = session.link
    trouble = _standing(session, link, now)
    if trouble is None and feed is not None and session.phase is Phase.OPEN:
        trouble = _of_channels(feed, now)
    verdict = _verdict(session, link)
    if late and verdict is Verdict.ALIVE:
        # Old data is stale data, though the link lives.
        verdict = Verdict.SUSPECT
    promised, most = _promises(session, link, now)
    if feed is not None:
        channels = {**promised.channels, **feed.bounds(now=now)}
        promised = Bounds(promised.path, promised.peer, channels)
    opened = session.phase is Phase.OPEN
    return Status(
        at=now,
        phase=session.phase,
        verdict=verdict,
        live=opened and trouble is None and verdict is Verdict.ALIVE,
        cause=trouble.cause if trouble else None,
        where=trouble.where if trouble else None,
        status=trouble.status if trouble else None,
        evidence=trouble.evidence if trouble else late.evidence if late else "",
        since_at=trouble.since_at if trouble else late.since_at if late else None,
        silence=None if link is None else max(0.0, now - link.peer.frame_at),
        round_trip=RoundTrips() if link is None else link.round_trip.summary(),
        bounds=promised,
        ceilings=most,
        detection_bound=max(promised.path, promised.peer, *promised.channels.values()),
        epoch=session.epoch,
        attempt=session.recovery.attempt,
        retry_at=session.retry_at,
        outages=session.recovery.outages,
        conditions=frozenset(session.conditions) if session.conditions else _NOTHING,
        kernel=link is not None and link.kernel is not None,
        address=session.address,
        counts=_counts(session, link, traffic or Counts(), feed),
    )


def _counts(
    session: Session, link: Link | None, traffic: Counts, feed: Feed | None
) -> Counts:
    past = session.past
    return Counts(
        messages=traffic.messages,
        delivered=traffic.delivered,
        dropped=session.slow.dropped,
        frames=past.frames + (link.frames if link else 0),
        size_bytes=traffic.size_bytes,
        pings=past.pings + (link.pings.sent if link else 0),
        pongs=past.pongs + (link.pings.answered if link else 0),
        beats=past.beats + (link.heartbeat.sent if link else 0),
        stray_pongs=past.stray_pongs + (link.pings.stray if link else 0),
        gaps=session.ledger.gaps + traffic.gaps,
        attempts=session.attempts,
        sent=traffic.sent,
        unsent=traffic.unsent,
        unknown=feed.unknown if feed is not None else 0,
        malformed=feed.malformed if feed is not None else 0,
    )


def _verdict(session: Session, link: Link | None) -> Verdict:
    """Without a link nothing is known to live; without a trouble nothing has died."""
    if link is not None:
        return link.verdict
    return Verdict.SUSPECT if session.trouble is None else Verdict.DEAD


def _standing(session: Session, link: Link | None, now: float) -> Trouble | None:
    """What is wrong at this moment; the trouble of the past while there is no link."""
    if link is None or session.phase is not Phase.OPEN:
        return session.trouble
    if link.lateness.unproven_since is not None:
        return Trouble(
            Cause.SELF_STALLED,
            evidence=f"our own loop was late by {link.lateness.stalled_for:.2f} s",
            since_at=link.lateness.unproven_since,
        )
    stalled_at = link.channel.stalled_at
    if stalled_at is not None and link.channel.contract is not None:
        silence, contract = now - stalled_at, link.channel.contract.every
        return Trouble(
            Cause.CHANNEL_STALLED,
            evidence=channel_stalled(silence, contract).evidence,
            since_at=stalled_at,
        )
    return None


def _of_channels(feed: Feed, now: float) -> Trouble | None:
    """What is wrong with channels while their link lives: the first, and how many."""
    for channel, why in feed.troubles.items():
        if isinstance(why, SubscriptionFailed):
            evidence, since_at = f"{channel} is not subscribed: {why.reason}", why.at
        elif isinstance(why, Unrestored):
            evidence, since_at = f"{channel} is not restored: {why.why}", why.at
        else:
            silence = feed.watch.silence(channel, now=now)
            evidence = f"{channel}: no data for {silence:.2f} s; {why.because}"
            since_at = now - silence
        more = len(feed.troubles) - 1
        if more:
            evidence += f" (and {more} more)"
        return Trouble(Cause.CHANNEL_STALLED, evidence=evidence, since_at=since_at)
    return None


def _promises(session: Session, link: Link | None, now: float) -> tuple[Bounds, Bounds]:
    """The bounds of the link, or those that its successor will begin with."""
    if link is not None:
        return bounds(link, now=now), ceilings(link)
    first, most = _first_promises(session.terms.liveness, session.terms.freshness)
    return _own(first), _own(most)


def _own(shared: Bounds) -> Bounds:
    return Bounds(shared.path, shared.peer, dict(shared.channels))


@lru_cache(maxsize=64)
def _first_promises(
    policy: Liveness, freshness: Freshness | None
) -> tuple[Bounds, Bounds]:
    """What a link begins with that has learned nothing yet."""
    link = Link(0, policy=policy, now=0.0, freshness=freshness)
    fresh = bounds(link, now=0.0)
    path = PathClock(policy, kernel=None, now=0.0).bound(None, now=0.0)
    return Bounds(path, fresh.peer, fresh.channels), ceilings(link)
