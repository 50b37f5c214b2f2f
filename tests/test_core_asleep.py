"""Pings at rest that are told later leave what they leave when told at once."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from heartline.core.events import RoundTripMeasured, Tick
from heartline.core.evidence import Evidence
from heartline.core.resting import answered, rest_of
from heartline.core.session import Session
from heartline.core.untold import ANSWER_WITHIN, MOST, Untold
from scripted_link import Scripted
from test_core_resting import Far, known, life, link_of, opened


def at_rest(seed: int) -> tuple[Session, Far, Untold, float]:
    """A stream whose first ping is answered."""
    session, far, (ping,) = opened(seed)
    now = 100.0 + far.took
    far.answers(now=now)
    assert answered(session, ping.payload, far.evidence(now=now), now=now)
    return session, far, Untold(session), now


def until_due(untold: Untold, far: Far, now: float) -> tuple[float, float]:
    """Look until a ping is due: when it is, and when the look before it was."""
    looked_at = now
    while True:
        rest = untold.rest
        assert rest is not None
        while far.heard_at + 1.0 <= now:
            far.heard(now=far.heard_at + 1.0)
        evidence = far.evidence(now=now)
        until = rest.until(evidence, now=now)
        if until is None:
            assert rest.asks(evidence, now=now)
            return now, looked_at
        looked_at, now = now, until


def ping(untold: Untold, far: Far, now: float) -> tuple[bytes, float]:
    """Send it right after a sign of life of the kernel's: no doubt is near."""
    payload = untold.ask(now=now)
    far.heard(now=now)
    far.asked()
    return payload, untold.asked(far.evidence(now=now), now=now)


def quiet_life(seed: int, *, tell_every: int, pings: int) -> Iterator[object]:
    """What is known each time that it is told."""
    session, far, untold, now = at_rest(seed)
    yield known(session)
    for nth in range(1, pings + 1):
        now, _ = until_due(untold, far, now)
        payload, due_at = ping(untold, far, now)
        assert now < due_at <= now + ANSWER_WITHIN
        now += far.took
        far.answers(now=now)
        told = untold.answered(payload, far.evidence(now=now), now=now)
        assert told is not None
        (measured,) = told
        assert isinstance(measured, RoundTripMeasured)
        assert measured.round_trip == pytest.approx(far.took)
        if nth % tell_every == 0:
            untold.tell()
            yield known(session)


@pytest.mark.parametrize("tell_every", [1, 3, MOST, 2 * MOST])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_told_late_is_what_is_told_at_once(seed: int, tell_every: int) -> None:
    pings = 4 * MOST
    at_once = list(life(seed, short=True, pings=pings + 1))[::2]
    late = list(quiet_life(seed, tell_every=tell_every, pings=pings))
    assert late == at_once[::tell_every]


def test_the_looks_are_no_more_patient_than_the_session() -> None:
    session, far, untold, now = at_rest(5)
    for _ in range(MOST - 1):
        now, _ = until_due(untold, far, now)
        payload, _ = ping(untold, far, now)
        now += far.took
        far.answers(now=now)
        assert untold.answered(payload, far.evidence(now=now), now=now)
        kept = untold.rest
        untold.tell()
        owned = rest_of(session)
        assert kept is not None
        assert owned is not None
        assert kept.patience <= owned.patience
        assert kept.ask_at == pytest.approx(owned.ask_at)
        assert kept.seen == owned.seen


def test_no_more_than_so_many_are_kept() -> None:
    session, far, untold, now = at_rest(6)
    link = link_of(session)
    for nth in range(1, 3 * MOST + 1):
        now, _ = until_due(untold, far, now)
        payload, _ = ping(untold, far, now)
        now += far.took
        far.answers(now=now)
        assert untold.answered(payload, far.evidence(now=now), now=now)
        assert 1 + nth - link.pings.answered == nth % MOST


def test_a_ping_without_an_answer_is_told_as_of_when_it_was_sent() -> None:
    session, far, untold, now = at_rest(7)
    sent_at, _ = until_due(untold, far, now)
    _, due_at = ping(untold, far, sent_at)
    untold.rested(until=due_at, at=sent_at)
    link = link_of(session)
    assert link.pings.last_at == sent_at
    out = link.pings.oldest()
    assert out is not None
    assert out.position == far.kernel.acked_bytes + far.kernel.outstanding_bytes
    assert link.peer.wait is not None
    assert link.peer.wait.began_at == sent_at
    # Whatever hangs on that ping is due no sooner than it is told.
    assert session.deadline >= due_at
    while link.found is None:
        now = session.deadline
        session.handle(Tick(session.epoch, far.evidence(now=now)), now=now)
        assert now < sent_at + 10.0
    assert link.found.cause == "PATH_DEAD"


def test_an_answer_that_is_late_or_not_ours_or_has_more_behind_it_is_not_taken() -> (
    None
):
    session, far, untold, now = at_rest(8)
    sent_at, _ = until_due(untold, far, now)
    payload, due_at = ping(untold, far, sent_at)
    far.answers(now=sent_at + 0.01)
    now = sent_at + 0.02
    evidence = far.evidence(now=now)
    assert evidence.kernel is not None
    held = msgspec.structs.replace(evidence.kernel, outstanding_bytes=3)
    assert untold.answered(b"another", evidence, now=now) is None
    assert untold.answered(payload, evidence, now=due_at + 0.001) is None
    assert untold.answered(payload, Evidence(), now=now) is None
    assert untold.answered(payload, Evidence(held), now=now) is None
    assert untold.answered(payload, Evidence(evidence.kernel, 5), now=now) is None
    assert link_of(session).pings.stray == 0
    assert untold.answered(payload, evidence, now=now) is not None
    assert untold.answered(payload, evidence, now=now) is None


def test_a_rest_that_ends_after_its_answers_leaves_the_look_that_is_due() -> None:
    session, far, untold, now = at_rest(9)
    sent_at, _ = until_due(untold, far, now)
    payload, _ = ping(untold, far, sent_at)
    now = sent_at + far.took
    far.answers(now=now)
    assert untold.answered(payload, far.evidence(now=now), now=now)
    until, at = untold.due_at, now + 0.5
    untold.rested(until=until, at=at)
    link = link_of(session)
    assert session.deadline == link.deadline == until
    assert (link.pings.answered, len(link.pings)) == (2, 0)
    assert untold.rest is not None


def test_a_ping_that_is_told_of_late_is_not_overdue_by_a_silence_before_it() -> None:
    clocks = Scripted().link.clocks
    clocks.keep()
    asked_at = clocks.peer.frame_at + 110.0
    clocks.peer.framed(now=asked_at - 10.0)
    clocks.path.heard(now=asked_at)
    clocks.pinged(now=asked_at)
    assert clocks.kept.told_by > asked_at + ANSWER_WITHIN
    assert clocks.next_at(now=asked_at) > asked_at


@pytest.mark.parametrize("each", [1, 2, MOST])
def test_answers_taken_past_it_are_told_as_those_that_it_took(each: int) -> None:
    session, far, untold, now = at_rest(9)
    other, _, learning, _ = at_rest(9)
    terms = learning.asking()
    assert terms is not None
    assert terms.sent == link_of(session).pings.sent
    answers: list[float] = []
    for nth in range(1, 2 * MOST + 1):
        now, looked_at = until_due(untold, far, now)
        payload, due_at = ping(untold, far, now)
        assert payload == b"%x.%x" % (terms.epoch, terms.sent + nth)
        asked_with, sent_at = far.evidence(now=now), now
        assert due_at <= sent_at + terms.within
        now += far.took
        far.answers(now=now)
        evidence = far.evidence(now=now)
        assert untold.answered(payload, evidence, now=now)
        answers += [sent_at, now]
        if nth % each == 0:
            learning.learn(answers, evidence)
            untold.tell()
            learning.tell()
            answers.clear()
            assert known(other) == known(session)
    sent_at, looked_at = until_due(untold, far, now)
    _, due_at = ping(untold, far, sent_at)
    asked_with = far.evidence(now=sent_at)
    learning.waits(sent_at, asked_with)
    for each_untold in untold, learning:
        each_untold.rested(until=due_at, at=looked_at)
    assert known(other) == known(session)
    assert link_of(other).pings.oldest() == link_of(session).pings.oldest()


def test_who_has_begun_to_ask_does_not_let_others_ask() -> None:
    _, far, untold, now = at_rest(10)
    now, looked_at = until_due(untold, far, now)
    _, due_at = ping(untold, far, now)
    assert untold.asking() is None
    untold.rested(until=due_at, at=looked_at)
    assert untold.asking() is not None
