"""What must be true of every simulated history, whatever was done to it.

A checker takes a `Simulation` that has run and returns its complaints, one line each.
It knows the truth that the stream under test cannot know: when a fault began, when
the last segment really arrived, which messages were really sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from math import inf
from typing import TypeAlias

from heartline.core.events import (
    Abort,
    BackingOff,
    ChannelStalled,
    Dial,
    DialLost,
    Doubted,
    Lost,
    Stalled,
    Surrendered,
)
from heartline.core.items import Cause, Condition, Gap, Message, Phase, Where

from .sim_history import AFTERMATH, PATH_FAULTS, Episode, Reading, Told
from .simulation import Simulation

Checker: TypeAlias = Callable[[Simulation], list[str]]

GRAIN = 0.001
SHADOW = 1.0
"""Seconds after a fault in which another one is not judged by itself."""
DOUBT_AGAIN = 0.5
"""What a doubt costs that is begun anew: three probes on a usual path, seconds."""
LOST_TWICE = 1.2
"""What is lost, and lost again when the kernel resends it, comes this much later:
round trips of 0.2 s, resent after 0.4 and 0.8 s."""
STALL_UNTOLD = 5.0
SUSPEND_UNTOLD = 60.0
"""Seconds; a stream at rest learns of a suspend at one of its next looks."""
TICKS_A_SECOND = 130
"""At most: drains are 10 ms apart, evidence is polled each 50 ms."""
DIALS_A_MINUTE = 75
NEXT: dict[Phase, set[Phase]] = {
    Phase.IDLE: {Phase.CONNECTING, Phase.BACKOFF, Phase.CLOSED},
    Phase.CONNECTING: {Phase.SYNCING, Phase.OPEN, Phase.BACKOFF, Phase.CLOSED},
    Phase.SYNCING: {Phase.OPEN, Phase.BACKOFF, Phase.DRAINING, Phase.CLOSED},
    Phase.OPEN: {Phase.BACKOFF, Phase.DRAINING, Phase.CLOSED},
    Phase.BACKOFF: {Phase.CONNECTING, Phase.CLOSED},
    Phase.DRAINING: {Phase.CLOSED},
    Phase.CLOSED: set(),
}


# --- the promises -------------------------------------------------------------------


def bound_kept(sim: Simulation) -> list[str]:
    """From the last sign of life to the verdict, at most the bound then published."""
    found: list[str] = []
    reading = sim.reading
    for told in reading.losses:
        lost, truth = told.lost, told.truth
        if lost.cause not in (Cause.PATH_DEAD, Cause.PEER_FROZEN):
            continue
        heard_at = truth.heard_at
        if lost.cause is Cause.PEER_FROZEN or lost.where is Where.OUTBOUND:
            heard_at = truth.frame_at
        allowed = _allowed(sim, reading, told)
        if reading.was_paused(heard_at + sim.client_host.slept, told.at):
            # The peer's clock is held while the inbox holds the reading back.
            allowed = allowed if lost.cause is Cause.PATH_DEAD else None
        took = lost.at - heard_at
        if allowed is not None and took > allowed + GRAIN:
            found.append(
                f"{told.at:.3f}: {lost.cause} told {took:.3f} s after the last sign"
                f" of life, against a bound of {allowed:.3f} s"
            )
    return found + _never_told(sim, reading)


def _allowed(sim: Simulation, reading: Reading, told: Told) -> float | None:
    """The bound at the moment of the fault that explains a loss, if there is one."""
    lost = told.lost
    for episode in reversed(reading.episodes):
        mark = episode.mark
        if not episode.explains(lost.cause, at=told.at) or mark.epoch != lost.epoch:
            continue
        if mark.phase is not Phase.OPEN or not _is_plain(reading, episode, told.at):
            return None
        promised = [mark.bounds, *([episode.settled] if episode.settled else [])]
        if episode.name in ("no_pong", "late_pong"):
            return None
        if lost.cause is Cause.PATH_DEAD:
            path = max(bounds.path for bounds in promised)
            if episode.name == "outbound":
                path = max(path, _outbound_bound(sim, episode, lost))
            return path
        most = max(bounds.peer for bounds in promised)
        if episode.name == "trickle":
            policy = sim.terms.liveness
            most += policy.message_deadline
        return most
    return None


def _outbound_bound(sim: Simulation, episode: Episode, lost: Lost) -> float:
    """What else is allowed while the way out alone is dead.

    The other end resends, at doubling intervals: the path's silence begins later than
    the fault, and the bound that counts is the one that was held then. Where it is
    frames that are missed, and nothing misses them before, the peer's bound counts.

    A kernel that asks seldom lets those resends put the path's clock off, until they
    are further apart than its questions: a known weakness of a raised interval.
    """
    mark, settled = episode.mark, episode.settled
    peer = max(mark.bounds.peer, settled.peer if settled else 0.0)
    if sim.terms.liveness.kernel_interval > 1:
        return peer + 2 * sim.terms.liveness.kernel_interval
    if lost.where is not Where.OUTBOUND:
        return lost.bound or 0.0
    if not (mark.missed_soon and episode.misses_soon):
        return peer
    # A resend that comes in the middle of a doubt of the path ends that doubt, once.
    path = max(mark.bounds.path, settled.path if settled else 0.0)
    return min(peer, path + DOUBT_AGAIN)


def _is_plain(reading: Reading, episode: Episode, until: float) -> bool:
    """Whether nothing else happened meanwhile: then the bound is to be met exactly."""
    return not any(
        other is not episode
        and other.from_at <= until
        and other.until_at + max(SHADOW, other.until_at - other.from_at)
        >= episode.from_at
        for other in reading.episodes
    )


def _never_told(sim: Simulation, reading: Reading) -> list[str]:
    """A fault that outlasts its bound must not stay unsaid."""
    found: list[str] = []
    now = sim.clock.now
    for episode in reading.episodes:
        name, mark = episode.name, episode.mark
        kinds = {"freeze": "peer", "mute": "channel"}
        kind = kinds.get(name, "path" if name in PATH_FAULTS else "")
        if not kind or name in ("suspend", "outbound"):
            continue
        bounds = (mark.bounds, episode.settled or mark.bounds)
        match kind:
            case "path":
                bound = max(promised.path for promised in bounds)
            case "peer":
                bound = max(promised.peer for promised in bounds)
            case _:
                bound = max(promised.channels.get(None, inf) for promised in bounds)
        way = sim.venue.back.delay + 8 * sim.venue.back.jitter
        latest = episode.from_at + bound + way + 0.1
        if kind == "channel" and sim.venue.back.loss:
            # What was sent before the fault, and lost, is resent and comes after it.
            latest += LOST_TWICE
        if mark.phase is not Phase.OPEN or latest > min(now, episode.until_at):
            continue
        paused = reading.was_paused(episode.from_at, latest)
        if not _is_plain(reading, episode, latest) or paused:
            continue
        told = any(
            episode.from_at <= at <= latest
            and isinstance(value, Lost | ChannelStalled | Doubted)
            and (kind == "channel" or isinstance(value, Lost))
            for at, _, value in sim.history
        )
        if not told:
            found.append(f"{latest:.3f}: {name} is past its bound {bound:.3f}, unsaid")
    return found


def cause_right(sim: Simulation) -> list[str]:
    """What is blamed was really done, and what is not known to be is not blamed."""
    found: list[str] = []
    reading = sim.reading
    for at, kind, value in sim.history:
        if kind != "event" or not isinstance(value, Lost | DialLost):
            continue
        if value.cause is Cause.CLOSED_BY_US:
            continue
        reasons = reading.explain(value.cause, at=at)
        if not reasons:
            found.append(f"{at:.3f}: a false alarm: {value}")
            continue
        names = {episode.name for episode in reasons}
        if value.where is Where.LOCAL and not names & {"link_down", "suspend"}:
            found.append(f"{at:.3f}: blamed on this host, but it was {names}")
        # Two blackouts with a breath between them look like half of one.
        half = names <= {"blackhole", "inbound"} and len(reasons) > 1
        if value.where is Where.OUTBOUND and "outbound" not in names and not half:
            found.append(f"{at:.3f}: blamed on the way out, but it was {names}")
    return found


def suspicions(sim: Simulation) -> int:
    """How often a healthy link was doubted: allowed, but worth knowing."""
    episodes = sim.reading.episodes
    return sum(
        isinstance(value, Doubted)
        and not any(e.from_at <= at <= e.until_at + AFTERMATH for e in episodes)
        for at, _, value in sim.history
    )


def nothing_waits_for_ever(sim: Simulation) -> list[str]:
    """There is a deadline, and after all faults are over the stream comes back."""
    found = [f"{at:.3f}: {what}" for at, kind, what in sim.history if kind == "broken"]
    found += [f"not obeyed: {error!r}" for error in sim.client.loop.failures]
    session = sim.client.session
    # At rest it is others who know when it is due: they give it back.
    sim.client.pump.stop()
    # A loop that stands still as the history ends can see nothing.
    stands_still = sim.client.loop.stands_still
    if session.deadline < sim.client_host.now - GRAIN and not stands_still:
        found.append(f"the deadline {session.deadline:.3f} has passed unseen")
    patience = sim.terms.backoff.cap + sim.terms.dialling.connect + 5.0
    quiet_since = max((e.until_at for e in sim.reading.episodes), default=-inf)
    asked = any(
        isinstance(value, BackingOff) and at > quiet_since - patience
        for at, _, value in sim.history
    )
    if asked or sim.clock.now - max(quiet_since, sim.began_at) < 2 * patience:
        return found
    if session.phase not in (Phase.OPEN, Phase.CLOSED):
        found.append(f"still {session.phase} long after the last fault")
    return found


def no_hot_loop(sim: Simulation) -> list[str]:
    """Ticks a second and dials a minute stay bounded, whatever happens."""
    ticks = sim.client.told.ticks
    later = ticks[TICKS_A_SECOND:]
    dials = Counter(int(at // 60) for at, _, v in sim.history if isinstance(v, Dial))
    return [
        f"{first:.3f}: more than {TICKS_A_SECOND} ticks within a second"
        for first, last in zip(ticks, later, strict=False)
        if last - first < 1.0
    ] + [
        f"{minute * 60}: {count} dials in one minute"
        for minute, count in dials.items()
        if count > DIALS_A_MINUTE
    ]


def nothing_lost_in_silence(sim: Simulation) -> list[str]:
    """Every message comes once and in order, or a gap stands in its place."""
    found: list[str] = []
    buffer = sim.client.buffer
    if buffer.received != buffer.delivered + buffer.dropped + buffer.waiting:
        found.append(
            f"{buffer.received} received, {buffer.delivered} delivered,"
            f" {buffer.dropped} dropped, {buffer.waiting} waiting: they do not add up"
        )
    last: int | None = None
    excused = True
    told_missing = 0
    rest = [] if buffer.empty else deepcopy(buffer).take(1 << 60)
    for item in [*sim.client.consumer.items, *rest]:
        match item:
            case Gap():
                excused = True
                told_missing += item.missing or 0
            case Message():
                number = int(item.data)
                if last is not None and number <= last:
                    found.append(f"message {number} came after {last}")
                elif (
                    last is not None
                    and number > last + 1
                    and not excused
                    and not _all_left_out(sim, last + 1, number)
                ):
                    found.append(f"messages {last + 1} to {number - 1} are missing")
                last, excused = number, False
            case _:
                pass
    if told_missing != buffer.dropped:
        found.append(f"{buffer.dropped} were dropped, gaps tell of {told_missing}")
    return found + _tail_missing(sim, last)


def _all_left_out(sim: Simulation, first: int, end: int) -> bool:
    """Whether the venue itself lost all messages from `first` on and before `end`."""
    number = first
    for sent in sim.venue.sent:
        if sent.left_out and sent.first <= number < sent.first + sent.messages:
            number = sent.first + sent.messages
    return number >= end


def _tail_missing(sim: Simulation, last: int | None) -> list[str]:
    """Of a healthy open stream, only what is on its way may be outstanding."""
    now, session = sim.clock.now, sim.client.session
    over_at = max((e.until_at for e in sim.reading.episodes), default=sim.began_at)
    link = session.link
    if session.phase is not Phase.OPEN or link is None or now - over_at < AFTERMATH:
        return []
    if (
        Condition.PAUSED in session.conditions
        or sim.client.host.now < link.opened_at + 10
    ):
        return []
    opened_at = link.opened_at + sim.client_host.slept
    first = 0 if last is None else last + 1
    for sent in reversed(sim.venue.sent):
        if sent.first + sent.messages <= first or sent.at <= opened_at:
            break
        if sent.receivers and sent.at < now - 5.0:
            number = max(first, sent.first)
            return [f"message {number}, sent at {sent.at:.3f}, never came"]
    return []


def old_epochs_are_void(sim: Simulation) -> list[str]:
    """A fact of a link that is gone has no effect but the end of its own socket."""
    found: list[str] = []
    epoch = 0
    void: int | None = None
    for at, kind, value in sim.history:
        if kind == "fact":
            of = getattr(value, "epoch", epoch)
            void = of if of not in (0, epoch) else None
        elif isinstance(value, Dial):
            epoch = value.epoch
        elif void is None or kind not in ("do", "event", "phase"):
            continue
        elif value != Abort(void):
            found.append(f"{at:.3f}: a fact of epoch {void} led to {value}")
    return found


def phases_legal(sim: Simulation) -> list[str]:
    found: list[str] = []
    before = Phase.IDLE
    for at, kind, value in sim.history:
        if kind != "phase":
            continue
        assert isinstance(value, Phase)
        if value not in NEXT[before]:
            found.append(f"{at:.3f}: from {before} to {value}")
        before = value
    return found


def stalls_true(sim: Simulation) -> list[str]:
    """No stall of our own is told where there was none."""
    found: list[str] = []
    ours = [e for e in sim.reading.episodes if e.name in ("stall", "suspend")]
    for at, kind, value in sim.history:
        if kind != "event" or not isinstance(value, Stalled):
            continue
        untold = SUSPEND_UNTOLD if value.suspended else STALL_UNTOLD
        began_at = at - value.lag - untold
        if not any(e.from_at <= at and e.until_at >= began_at for e in ours):
            found.append(f"{at:.3f}: a stall of {value.lag:.3f} s that was none")
    return found


CHECKERS: tuple[Checker, ...] = (
    bound_kept,
    cause_right,
    nothing_waits_for_ever,
    no_hot_loop,
    nothing_lost_in_silence,
    old_epochs_are_void,
    phases_legal,
    stalls_true,
)


def complaints(sim: Simulation) -> list[str]:
    """All that all checkers have to say, and how to see it again."""
    found = [
        f"{checker.__name__}: {complaint}"
        for checker in CHECKERS
        for complaint in checker(sim)
    ]
    if found:
        found.append(replay_of(sim.seed))
    return found


def replay_of(seed: int) -> str:
    return f"replay: python -m heartline.testing.simulation {seed} --story"


def surrendered(sim: Simulation) -> Iterator[Surrendered]:
    """The ends for good in a history: none or one."""
    for _, _, value in sim.history:
        if isinstance(value, Surrendered):
            yield value
