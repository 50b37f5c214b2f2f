"""A ping at rest and its answer: the short way leaves what the long way leaves."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest

from heartline.core.adaptive import MANY, Arrivals
from heartline.core.calm import LULL
from heartline.core.events import (
    DialSucceeded,
    Lost,
    Overflowed,
    Ping,
    Pinged,
    Ponged,
    Received,
    RoundTripMeasured,
    Start,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.flow import Flow
from heartline.core.items import Phase
from heartline.core.link import LEAST_STEP, Link
from heartline.core.neighbours import Neighbours
from heartline.core.resting import (
    answered,
    ask,
    asked,
    rest_of,
    rested,
    steady_lull,
)
from heartline.core.session import Session
from heartline.core.terms import Terms
from heartline.core.untold import Untold
from scripted_link import kernel

FIRST = kernel(segments_in=3, acked_bytes=200, received_bytes=300)


class Far:
    """A peer, by what our kernel knows of it: it answers each ping."""

    def __init__(self, dice: random.Random, *, now: float) -> None:
        self.dice = dice
        self.heard_at = now
        self.kernel = FIRST
        self.took = 0.02

    def heard(self, *, now: float) -> None:
        self.heard_at = now
        segments = self.kernel.segments_in + 1
        self.kernel = msgspec.structs.replace(self.kernel, segments_in=segments)

    def asked(self) -> None:
        self.kernel = msgspec.structs.replace(self.kernel, outstanding_bytes=11)
        self.took = self.dice.uniform(0.015, 0.1)

    def answers(self, *, now: float) -> None:
        self.heard(now=now)
        before = self.kernel
        self.kernel = msgspec.structs.replace(
            before,
            outstanding_bytes=0,
            acked_bytes=before.acked_bytes + 11,
            received_bytes=before.received_bytes + 7,
            round_trip=self.took,
            round_trip_deviation=self.dice.uniform(0.001, 0.02),
            min_round_trip=min(before.min_round_trip, self.took),
        )

    def evidence(self, *, now: float) -> Evidence:
        age = round(now - self.heard_at, 3)
        kernel = msgspec.structs.replace(self.kernel, heard_age=age)
        return Evidence(kernel, waiting=self.kernel.segments_in % 3)


def opened(
    seed: int, *, now: float = 100.0, neighbours: Neighbours | None = None
) -> tuple[Session, Far, list[Ping]]:
    draw = random.Random(seed).random
    session = Session(Terms(host="venue"), draw=draw, neighbours=neighbours)
    far = Far(random.Random(seed), now=now)
    session.handle(Start(), now=now)
    dialled = DialSucceeded(session.epoch, "venue:443", far.evidence(now=now))
    out = session.handle(dialled, now=now)
    assert session.phase is Phase.OPEN
    far.asked()
    return session, far, [each for each in out if isinstance(each, Ping)]


def life(seed: int, *, short: bool, pings: int = 8) -> Iterator[tuple[object, ...]]:
    """What is known after each answer; between them the kernels talk each second."""
    session, far, out = opened(seed)
    now, payload = 100.0, out[0].payload
    for _ in range(pings):
        now += far.took
        far.answers(now=now)
        evidence = far.evidence(now=now)
        if short:
            told = answered(session, payload, evidence, now=now)
            assert told is not None
            (measured,) = told
            assert isinstance(measured, RoundTripMeasured)
            assert link_of(session).waiting == evidence.waiting
            assert link_of(session).path.kernel == evidence.kernel
        else:
            epoch = session.epoch
            session.handle(Ponged(epoch, payload), now=now)
            session.handle(Received(epoch, 1, 0, 7), now=now)
        yield known(session)
        payload = b""
        while not payload:
            now = session.deadline
            while far.heard_at + 1.0 <= now:
                far.heard(now=far.heard_at + 1.0)
            payload = look(session, far, short=short, now=now)
        far.asked()
        evidence = far.evidence(now=now)
        if short:
            asked(session, evidence, now=now)
        else:
            session.handle(Pinged(session.epoch, evidence), now=now)
        yield known(session)


def look(session: Session, far: Far, *, short: bool, now: float) -> bytes:
    """A punctual look; what is asked for by it."""
    rest, evidence = rest_of(session), far.evidence(now=now)
    if short and rest is not None:
        until = rest.until(evidence, now=now)
        if until is not None:
            rested(session, until=until, at=now)
            return b""
        if rest.asks(evidence, now=now):
            rested(session, until=now, at=now)
            return ask(session, now=now)
    out = session.handle(Tick(session.epoch, evidence), now=now)
    return b"".join(each.payload for each in out if isinstance(each, Ping))


def link_of(session: Session) -> Link:
    assert session.link is not None
    return session.link


def known(session: Session) -> tuple[object, ...]:
    link = link_of(session)
    return (
        link.frames,
        link.pings.sent,
        link.pings.answered,
        len(link.pings),
        round(link.pings.last_at, 2),
        round(link.peer.frame_at, 2),
        link.peer.wait is None,
        round(link.round_trip.smoothed, 6),
        link.round_trip.summary().samples,
        link.verdict,
        link.path.ladder is None,
        round(link.path.heard_at, 3),
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_short_way_leaves_what_the_long_way_leaves(seed: int) -> None:
    short, long = life(seed, short=True), life(seed, short=False)
    for mine, theirs in zip(short, long, strict=True):
        assert mine == theirs


def test_a_link_rests_from_its_first_answer_on() -> None:
    session, far, (ping,) = opened(1)
    far.answers(now=100.02)
    evidence = far.evidence(now=100.02)
    assert answered(session, ping.payload, evidence, now=100.02) is not None
    assert rest_of(session) is not None


def test_an_answer_is_heard_on_the_path_though_no_kernel_shows_it() -> None:
    session, _, (ping,) = opened(1)
    assert answered(session, ping.payload, Evidence(), now=100.05) is not None
    link = link_of(session)
    assert (link.path.heard_at, link.peer.frame_at) == (100.05, 100.05)
    assert link.kernel is None


def test_a_ping_that_nobody_answers_leads_to_doubt_as_ever() -> None:
    session, far, (ping,) = opened(2)
    now = 100.02
    far.answers(now=now)
    assert answered(session, ping.payload, far.evidence(now=now), now=now) is not None
    while not look(session, far, short=True, now=now):
        far.heard(now=now)
        now = session.deadline
    far.asked()
    asked(session, far.evidence(now=now), now=now)
    link, began = link_of(session), now
    while link.found is None:
        # Its kernel answers on, and its program does not.
        now = session.deadline
        acked = msgspec.structs.replace(
            far.kernel, outstanding_bytes=0, acked_bytes=far.kernel.acked_bytes + 11
        )
        far.kernel = acked
        far.heard(now=now)
        session.handle(Tick(session.epoch, far.evidence(now=now)), now=now)
        assert now < began + 10.0
    assert link.found.cause == "PEER_FROZEN"


def test_what_nobody_asked_is_left_to_the_machine() -> None:
    session, far, (ping,) = opened(3)
    now = 100.02
    far.answers(now=now)
    evidence = far.evidence(now=now)
    assert answered(session, b"another", evidence, now=now) is None
    assert link_of(session).pings.stray == 0
    assert answered(session, ping.payload, evidence, now=now) is not None
    assert answered(session, ping.payload, evidence, now=now) is None


def test_an_answer_that_may_have_waited_is_left_to_the_machine() -> None:
    session, far, (ping,) = opened(4)
    now = session.deadline + 0.05
    far.answers(now=now)
    assert answered(session, ping.payload, far.evidence(now=now), now=now) is None


def test_an_answer_with_more_behind_it_is_no_rest() -> None:
    session, far, (ping,) = opened(5)
    far.answers(now=100.02)
    more = Evidence(far.evidence(now=100.02).kernel, unread_bytes=5)
    assert answered(session, ping.payload, more, now=100.02) is not None
    assert rest_of(session) is None
    assert session.deadline > 100.02


def test_a_doubt_that_ends_with_an_answer_at_rest_is_taken_back_among_neighbours() -> (
    None
):
    """Else the death of another host would be blamed on our own path for good."""
    neighbours = Neighbours()
    session, far, (ping,) = opened(6, neighbours=neighbours)
    far.answers(now=100.02)
    assert answered(session, ping.payload, far.evidence(now=100.02), now=100.02)
    pings: list[bytes] = []
    while len(pings) < 2:
        now = session.deadline
        if payload := look(session, far, short=False, now=now):
            pings.append(payload)
            far.asked()
            session.handle(Pinged(session.epoch, far.evidence(now=now)), now=now)
    other = Neighbours.shared
    neighbours.doubt(99, "another", now=now)
    assert other(neighbours, 99, now=now + 1.5)
    now += 0.01
    far.answers(now=now)
    session.handle(Ponged(session.epoch, pings[0]), now=now)
    session.handle(Received(session.epoch, 1, 0, 7), now=now)
    now += 0.003
    far.answers(now=now)
    assert answered(session, pings[1], far.evidence(now=now), now=now) is not None
    assert not other(neighbours, 99, now=now + 1.5)


def test_reads_go_untold_only_on_a_link_that_is_calm() -> None:
    idle = Session(Terms(host="venue"), draw=lambda: 0.5)
    assert (idle.spare_reads, steady_lull(idle)) == (0, 0.0)
    session, far, (ping,) = opened(1)
    far.answers(now=100.02)
    answered(session, ping.payload, far.evidence(now=100.02), now=100.02)
    assert session.spare_reads == Arrivals.WARM_UP_READS - 1
    assert steady_lull(session) == LULL
    # The next read may teach a rhythm: then its time counts.
    fact = Received(session.epoch, 30, 30, 900, reads=Arrivals.WARM_UP_READS)
    session.handle(fact, now=100.03)
    assert session.spare_reads == MANY
    assert steady_lull(session) == 0.0


def test_data_puts_nothing_off_beyond_what_is_due_besides() -> None:
    flow = Flow(patience=1.0, ask_at=30.0, now=0.0)
    assert flow.until_at(flow.firm_at) is flow
    earlier = flow.until_at(flow.firm_at - 2.0)
    assert earlier.firm_at == flow.firm_at - 2.0
    assert earlier.due_at(flow.firm_at - 2.5) == flow.firm_at - 2.0


def test_an_answer_while_more_is_asked_is_left_to_the_machine() -> None:
    session, far, (ping,) = opened(5)
    link = link_of(session)
    link.clocks.pinged(now=100.01)
    far.answers(now=100.02)
    evidence = far.evidence(now=100.02)
    assert answered(session, ping.payload, evidence, now=100.02) is None
    assert len(link.pings) == 2


def test_without_a_kernel_no_byte_is_said_to_be_unconfirmed() -> None:
    session, now = Session(Terms(host="venue"), draw=lambda: 0.5), 100.0
    session.handle(Start(), now=now)
    session.handle(DialSucceeded(session.epoch, "venue:443", Evidence()), now=now)
    lost: list[Lost] = []
    while not lost:
        now = session.deadline
        out = session.handle(Tick(session.epoch, Evidence()), now=now)
        lost = [each for each in out if isinstance(each, Lost)]
        assert now < 200.0
    assert lost[0].unconfirmed_bytes == 0


def test_what_is_kept_from_a_session_tells_how_data_puts_off_what_is_due() -> None:
    session, far, (ping,) = opened(6)
    far.answers(now=100.02)
    answered(session, ping.payload, far.evidence(now=100.02), now=100.02)
    session.handle(Received(session.epoch, 1, 1, 30), now=100.05)
    untold = Untold(session)
    assert untold.flow(now=100.06) is not None


def test_a_ping_that_is_asked_for_after_something_was_due_is_not_a_hot_loop() -> None:
    session, far, out = opened(3)
    now = 100.0 + far.took
    far.answers(now=now)
    assert answered(session, out[0].payload, far.evidence(now=now), now=now)
    session.handle(Overflowed(5), now=now)
    session.handle(Overflowed(5), now=now)
    # What was dropped last is to be announced a second later, and nobody looked then.
    due_at = session.slow.due_at
    assert due_at == now + 1.0
    now = due_at + 2.0
    assert ask(session, now=now)
    far.asked()
    asked(session, far.evidence(now=now), now=now)
    assert session.deadline == now + LEAST_STEP
