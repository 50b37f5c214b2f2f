"""Promises of the core's small parts: functions that assert one random case each."""

from __future__ import annotations

import random
from collections import deque
from math import inf

from core_properties import Property
from heartline.core.backoff import Backoff
from heartline.core.events import (
    Answered,
    CaughtUp,
    Dial,
    DialFailed,
    DialSucceeded,
    Ended,
    Fact,
    Overflowed,
    Paused,
    Pinged,
    Ponged,
    Received,
    Resumed,
    Stage,
    Staged,
    Start,
    Stop,
    Surrendered,
    Synced,
    Tick,
)
from heartline.core.evidence import Evidence, Kernel
from heartline.core.inbox import Buffer, Inbox, Overflow
from heartline.core.items import (
    Bounds,
    Cause,
    Gap,
    Message,
    Phase,
    Status,
    Verdict,
)
from heartline.core.link import LEAST_STEP
from heartline.core.neighbours import DialBudget, Neighbours
from heartline.core.session import Session
from heartline.core.subscriptions import Beats, Freshness
from heartline.core.terms import Terms

MOST_OF_A_READ = 8
MOST_NOTES = 65
"""Between two messages, and after the last."""


# --- backoff ----------------------------------------------------------------------


def delays_have_full_jitter(dice: random.Random) -> None:
    """Uniform from nothing to the spread, and the spread doubles up to the cap."""
    base = dice.uniform(0.1, 5.0)
    backoff = Backoff(base=base, cap=base * dice.uniform(1.0, 100.0))
    attempt = dice.randrange(1, 2000)
    spread = min(backoff.cap, base * 2 ** min(attempt - 1, 60))
    assert backoff.delay(attempt, draw=0.0) == 0.0
    half = backoff.delay(attempt, draw=0.5)
    assert abs(half - spread / 2) < 1e-9 * spread
    assert backoff.delay(attempt, draw=0.999999) < spread


def a_server_that_asks_for_patience_gets_it(dice: random.Random) -> None:
    backoff = Backoff()
    draw, attempt = dice.random(), dice.randrange(1, 10)
    for status in (1012, 1013, 429, 503):
        gentle = backoff.delay(attempt, draw=draw, status=status)
        assert backoff.gentle_base / 2 <= gentle <= backoff.cap
    asked = dice.choice((-5.0, 0.0, 3.0, 120.0, 1e9))
    told = backoff.delay(attempt, draw=draw, status=429, retry_after=asked)
    least = min(max(asked, 0.0), backoff.retry_after_cap)
    spread = min(backoff.cap, backoff.base * 2 ** (attempt - 1))
    assert max(least, draw * spread) <= told <= max(least + backoff.base, spread)


def what_is_final_ends_the_stream(dice: random.Random) -> None:
    session, now = Session(Terms(host="a"), draw=dice.random), 10.0
    session.handle(Start(), now=now)
    status = dice.choice((401, 403, 407, 1008, 400, 404, 500, 503, 1000, 1001, 1006))
    if status < 1000:
        fact: Fact = DialFailed(1, Cause.REFUSED, "no", status)
    else:
        session.handle(DialSucceeded(1, "a:1"), now=now)
        fact = Ended(1, Cause.CLOSED_BY_PEER, status)
    out = session.handle(fact, now=now + 1.0)
    final = status in (401, 403, 407, 1008)
    assert any(isinstance(event, Surrendered) for event in out) is final
    assert session.phase is (Phase.CLOSED if final else Phase.BACKOFF)


def only_useful_uptime_resets_the_attempt(dice: random.Random) -> None:
    """A server that accepts and closes gets the patience of one that refuses."""
    session, now = Session(Terms(host="a"), draw=lambda: 0.0), 10.0
    session.handle(Start(), now=now)
    failures = 0
    for _ in range(6):
        while session.phase is not Phase.CONNECTING:
            now = max(now, session.deadline)
            session.handle(Tick(), now=now)
        epoch = session.epoch
        session.handle(DialSucceeded(epoch, "a:1"), now=now)
        fed_for = dice.choice((0, 1, 9, 11, 30))
        for _ in range(fed_for):
            now = feed_for_a_second(session, now)
        session.handle(Ended(epoch, Cause.RESET), now=now)
        useful = fed_for >= Backoff().useful_uptime
        failures = 1 if useful else failures + 1
        assert session.recovery.failures == failures


def feed_for_a_second(session: Session, now: float) -> float:
    """Let a second pass at whose end data comes; the time then."""
    while session.deadline <= now + 1.0:
        session.handle(Tick(session.epoch), now=session.deadline)
    session.handle(Received(session.epoch, 1, 1, 10), now=now + 1.0)
    return now + 1.0


def dials_to_one_host_share_one_budget(dice: random.Random) -> None:
    """However many sessions flap, a host sees its burst and then the rate."""
    budget = DialBudget(every=dice.choice((0.5, 1.0, 2.0)), burst=dice.randrange(1, 12))
    neighbours = Neighbours(budget=budget)
    sessions = [
        Session(Terms(host="a"), draw=dice.random, neighbours=neighbours, who=who)
        for who in range(dice.randrange(1, 20))
    ]
    now, made = 10.0, deque[float]()
    for session in sessions:
        note_dials(session, Start(), now, made)
    for _ in range(300):
        session = min(sessions, key=lambda one: one.deadline)
        now = max(now, session.deadline)
        note_dials(session, Tick(), now, made)
        if session.phase is Phase.CONNECTING:
            lost = DialFailed(session.epoch, Cause.REFUSED, "closed", 500)
            note_dials(session, lost, now, made)
    for first, last in zip(made, list(made)[budget.burst :], strict=False):
        # A tick may put off a dial by one step, and not the dial after it.
        assert last - first >= budget.every - 1.001 * LEAST_STEP


def note_dials(session: Session, fact: Fact, now: float, made: deque[float]) -> None:
    for output in session.handle(fact, now=now):
        if isinstance(output, Dial):
            made.append(now)


# --- any order of facts -----------------------------------------------------------


def nonsense_never_leaves_a_session_waiting(dice: random.Random) -> None:
    """Facts in any order, any evidence: always a deadline, never a hot loop."""
    terms = Terms(
        host="a",
        syncs=dice.random() < 0.5,
        freshness=Freshness(every=1.0) if dice.random() < 0.5 else None,
        beats=Beats(every=5.0, answered=True) if dice.random() < 0.5 else None,
    )
    session, now = Session(terms, draw=dice.random), 100.0
    session.handle(Start(), now=now)
    for _ in range(dice.randrange(5, 60)):
        now += dice.choice((0.0, 0.0, 0.001, 0.05, 0.2, 1.0, 15.0))
        session.handle(nonsense(dice, session.epoch), now=now)
        due = session.deadline
        endless = session.phase in (Phase.IDLE, Phase.CLOSED)
        assert (due == inf) is endless
        if not endless and dice.random() < 0.5:
            now = max(now, due)
            epoch = dice.choice((session.epoch, 0))
            session.handle(Tick(epoch, evidence(dice)), now=now)
            assert session.deadline >= now + 0.001 - 1e-9


def nonsense(dice: random.Random, epoch: int) -> Fact:
    of = max(0, epoch + dice.choice((0, 0, 0, -1, 1)))
    facts: tuple[Fact, ...] = (
        Staged(of, dice.choice(tuple(Stage))),
        DialSucceeded(of, "a:1", evidence(dice)),
        DialSucceeded(of, "a:1", evidence(dice)),
        DialFailed(of, Cause.TLS),
        Synced(of, 1),
        Received(of, dice.randrange(3), dice.randrange(2), 10),
        Ponged(of, b"%x.1" % of),
        Ponged(of, b"other"),
        Answered(of),
        Pinged(of, evidence(dice)),
        Ended(of, Cause.RESET),
        Paused(of),
        Resumed(of),
        Overflowed(dice.randrange(3), disconnect=dice.random() < 0.2),
        CaughtUp(),
        Tick(of, evidence(dice), dice.choice((0.0, 0.0, 500.0))),
        Start(),
        *((Stop(),) if dice.random() < 0.05 else ()),
    )
    return dice.choice(facts)


def evidence(dice: random.Random) -> Evidence:
    if dice.random() < 0.2:
        return Evidence(unread_bytes=dice.choice((0, 10)))
    few = dice.randrange
    kernel = Kernel(
        few(5), dice.uniform(0.0, 20.0), few(3), few(3) * 100, few(3) * 100, few(500),
        few(500), few(4), few(9), few(4), dice.uniform(0.0, 0.5), dice.uniform(0, 0.5),
        dice.uniform(0.0, 0.3), dice.choice((None, 0, 65_536)),
    )  # fmt: skip
    return Evidence(kernel, dice.choice((0, 0, 0, 500)), few(3))


# --- the inbox --------------------------------------------------------------------


def the_inbox_accounts_for_every_message(dice: random.Random) -> None:
    """What was received is delivered, dropped or waiting; order and gaps are exact."""
    policy = dice.choice(tuple(Overflow))
    limit = dice.randrange(1, 30)
    key = _key if policy is Overflow.CONFLATE else None
    limit_bytes = dice.choice((1 << 20, 40))
    inbox = Inbox(limit=limit, limit_bytes=limit_bytes, policy=policy, key=key)
    buffer, items, put, noted = Buffer(inbox), list[object](), 0, list[Status]()
    for step in range(dice.randrange(1, 60)):
        if dice.random() < 0.2:
            noted.append(status(step, dice.choice(tuple(Phase))))
            buffer.note(noted[-1])
        elif dice.random() < 0.6:
            blocked = policy is Overflow.BLOCK and buffer.full
            size = 0 if blocked else dice.randrange(1, MOST_OF_A_READ)
            if size:
                read = [message(n) for n in range(put, put + size)]
                put += size
                before = buffer.dropped
                assert buffer.put(read, 4 * size) == buffer.dropped - before
        else:
            items += buffer.take(dice.randrange(1, 20))
        assert buffer.received == put
        assert put == buffer.delivered + buffer.dropped + buffer.waiting
        assert buffer.waiting <= 2 * limit + MOST_OF_A_READ
        assert buffer.waiting_bytes >= 0
    items += buffer.take(1 << 30)
    assert buffer.empty
    assert buffer.waiting == 0 == buffer.waiting_bytes
    _follows(items, put, buffer)


def _follows(items: list[object], put: int, buffer: Buffer) -> None:
    """Numbers rise, and a hole between two has exactly its gaps between them."""
    last, told, total = -1, 0, 0
    for item in [*items, message(put)]:
        if isinstance(item, Gap):
            told += item.missing or 0
            total += item.missing or 0
        elif isinstance(item, Message):
            number = int(item.data)
            assert number > last
            assert told == number - last - 1
            last, told = number, 0
    assert total == buffer.dropped


def conflation_keeps_the_last_of_each_key(dice: random.Random) -> None:
    inbox = Inbox(limit=20, policy="conflate", key=_rare_key)
    buffer, put = Buffer(inbox), 0
    for _ in range(dice.randrange(1, 60)):
        size = dice.randrange(1, MOST_OF_A_READ)
        buffer.put([message(n) for n in range(put, put + size)], 4 * size)
        put += size
    kept = [int(i.data) for i in buffer.take(1 << 30) if isinstance(i, Message)]
    latest = {_rare_key(message(number)): number for number in range(put)}
    assert set(latest.values()) <= set(kept)


def notes_of_a_flapping_stream_stay_few(dice: random.Random) -> None:
    """Statuses and gaps that nobody reads are bounded; the last Status is kept."""
    buffer = Buffer(Inbox(limit=10))
    outages = messages = 0
    for step in range(dice.randrange(200, 300)):
        last = status(step, dice.choice((Phase.OPEN, Phase.BACKOFF)))
        buffer.note(last)
        if dice.random() < 0.7:
            buffer.note(Gap("outage", step - 1.0, float(step), step))
            outages += 1
        if messages < 2 and dice.random() < 0.01:
            buffer.put([message(step)], 4)
            messages += 1
    items = buffer.take(1 << 30)
    gaps = [item for item in items if isinstance(item, Gap)]
    assert len(items) <= (messages + 1) * MOST_NOTES + messages
    assert [item for item in items if isinstance(item, Status)][-1] == last
    assert outages == 0 or max(gap.until_at for gap in gaps) <= step


def a_gap_never_stands_before_the_status_it_came_after(dice: random.Random) -> None:
    """What was lost on a new link is told after the Status that opened it."""
    buffer = Buffer(Inbox(limit=4))
    buffer.put([message(0), message(1)], 8)
    opened = status(1, Phase.OPEN)
    buffer.note(opened)
    for n in range(2, dice.randrange(8, 40)):
        buffer.put([message(n)], 4)
    items = buffer.take(1 << 30)
    place = items.index(opened)
    after = [item for item in items[place:] if isinstance(item, Gap)]
    assert sum(gap.missing or 0 for gap in after) == buffer.dropped - 2


def message(number: int) -> Message:
    return Message(str(number), float(number))


def status(at: float, phase: Phase) -> Status:
    bounds = Bounds(1.0, 1.0)
    return Status(
        at=float(at),
        phase=phase,
        verdict=Verdict.ALIVE,
        live=True,
        cause=None,
        bounds=bounds,
        ceilings=bounds,
        detection_bound=1.0,
    )


def _key(one: Message) -> int:
    return int(one.data) % 5


def _rare_key(one: Message) -> int:
    """Each of the first three messages is the only one of its key."""
    return int(one.data) if int(one.data) < 3 else 3 + int(one.data) % 5


PURE: tuple[Property, ...] = (
    delays_have_full_jitter,
    a_server_that_asks_for_patience_gets_it,
    what_is_final_ends_the_stream,
    only_useful_uptime_resets_the_attempt,
    dials_to_one_host_share_one_budget,
    nonsense_never_leaves_a_session_waiting,
    the_inbox_accounts_for_every_message,
    conflation_keeps_the_last_of_each_key,
    notes_of_a_flapping_stream_stay_few,
    a_gap_never_stands_before_the_status_it_came_after,
)
