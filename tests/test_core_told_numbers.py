"""What numbers and texts show, and what a stream at rest promises."""

from __future__ import annotations

import random
from math import inf

import pytest

from heartline.core.events import Overflowed, Ping, Ponged, Received, Tick
from heartline.core.evidence import Evidence
from heartline.core.gaps import Ledger
from heartline.core.items import Phase
from heartline.core.resting import rest_of, rested
from heartline.core.rollover import Lifetime
from heartline.core.rules import tracker_of
from heartline.core.sequence import (
    Disorder,
    Duplicate,
    Missing,
    Numbering,
    Rule,
    Unreadable,
)
from heartline.core.session import Session
from scripted_link import kernel
from test_core_told import Stream

# --- texts that chain -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_texts_follow_come_again_or_are_missing(seed: int) -> None:
    """Each names the one before it; a new begin is never an anomaly."""
    dice, tracker = random.Random(seed), tracker_of(Numbering(rule=Rule.CHAIN))
    last: dict[str, str] = {}
    for nth in range(120):
        key, cur = dice.choice("ab"), f"t{nth}"
        known = last.get(key)
        match dice.randrange(6):
            case 0:
                assert tracker.feed(key, cur, "elsewhere", None, True) is None
            case 1 if known is not None:
                gone = tracker.feed(key, cur, f"before {nth}")
                assert gone == Missing(key, None, None, None)
            case 2 if known is not None:
                assert tracker.feed(key, known, "other") == Duplicate(key, None, None)
                cur = known
            case 3:
                odd = tracker.feed(key, cur, dice.choice((None, 7, 1.5)))
                assert odd is None or isinstance(odd, Unreadable)
                continue
            case 4:
                assert tracker.feed(key, cur, None, None, True) is None
            case _:
                odd = tracker.feed(key, cur, known or "whatever")
                assert odd is None
        last[key] = cur
    assert tracker.evicted == 0
    tracker.begin()
    assert tracker.feed("a", "anew", "not the last") is None


def test_what_cannot_be_read_of_a_chain_is_told_once_a_link_and_counted() -> None:
    tracker = tracker_of(Numbering(rule=Rule.CHAIN))
    assert tracker.feed("a", "x", "w") is None
    for link in range(2):
        first = tracker.feed("a", "y", 5)
        assert isinstance(first, Unreadable)
        assert (first.key, first.field) == ("a", "prev")
        assert tracker.feed("a", "y", None) is None
        assert tracker.unread == 2 * link + 2
        tracker.begin()


# --- numbers that overlap -----------------------------------------------------------


@pytest.mark.parametrize("overlaps", [True, False])
def test_a_message_that_repeats_the_end_says_how_much_of_it_had_been_missing(
    overlaps: bool,
) -> None:
    tracker = tracker_of(Numbering(rule=Rule.RANGE, overlap=overlaps))
    assert tracker.feed("a", 10, None, 5) is None
    assert isinstance(tracker.feed("a", 20, None, 16), Missing)
    assert tracker.holes("a") == 5
    # 14 to 22: two of them had been missing, and two are new.
    odd = tracker.feed("a", 22, None, 14)
    assert odd == Disorder("a", 14, 20, 2, True)
    assert (tracker.last("a"), tracker.holes("a")) == (22, 3)
    odd = tracker.feed("a", 25, None, 21)
    assert odd == (None if overlaps else Disorder("a", 21, 22, 0, True))
    assert tracker.feed("a", 26, None, 26) is None
    assert tracker.last("a") == 26


def test_a_ledger_adds_up_what_the_inbox_dropped() -> None:
    ledger = Ledger()
    assert (ledger.missing, ledger.gaps) == (0, 0)
    ledger.overflow(7, gaps=1)
    ledger.overflow(3, gaps=2)
    assert (ledger.missing, ledger.gaps) == (10, 3)
    ledger.note("a", Missing("a", 5, 6, 2), from_at=1.0, now=2.0, epoch=1)
    assert (ledger.missing, ledger.gaps) == (12, 4)


# --- a rest -------------------------------------------------------------------------


def resting(**terms: object) -> Stream:
    """A stream that has nothing to do until its next look."""
    stream = Stream(**terms)
    seen = kernel(acked_bytes=10)
    stream.connect(Evidence(kernel()))
    [ping] = [o for o in stream.told if isinstance(o, Ping)]
    stream.feed(Ponged(1, ping.payload), after=0.02)
    stream.feed(Received(1, 1, 0, 10))
    for _ in range(6):
        if rest_of(stream.session) is not None:
            return stream
        stream.now = stream.session.deadline
        stream.feed(Tick(1, Evidence(seen)))
    raise AssertionError("it never rests")


def test_a_stream_rests_while_nothing_but_its_one_link_is_to_be_looked_at() -> None:
    stream = resting()
    session = stream.session
    rest = rest_of(session)
    assert rest is not None
    assert rest is session.link.rest
    until, at = session.deadline + 5.0, session.deadline
    rested(session, until=until, at=at)
    assert session.deadline == session.link.deadline == until
    stream.now = until
    # The look was taken: its time is no stall of ours.
    stream.feed(Tick(1, Evidence(kernel(acked_bytes=10))))
    assert not session.link.lateness.unproven_since
    stream.feed(Overflowed(5))
    stream.feed(Overflowed(1))
    soon = rest_of(session)
    assert soon is None or soon.ask_at <= session.slow.due_at


def test_a_rest_ends_no_later_than_what_else_is_due() -> None:
    for extra in (None, 30.0, 3.0):
        lifetime = None
        if extra is not None:
            lifetime = Lifetime(max_age=1e3, lead=1e3 - 1.0 - extra, spread=0.0)
        stream = resting(lifetime=lifetime, joins=True)
        rest = rest_of(stream.session)
        assert rest is not None
        link = stream.session.link
        planned = stream.session.handover.deadline
        assert rest.ask_at == min(link.rest.ask_at, planned, stream.session.slow.due_at)
        assert (planned == inf) == (extra is None)
        assert rest.patience == link.rest.patience
        assert rest.until_at(inf) is rest
        assert rest.until_at(rest.ask_at) is rest
        assert rest.until_at(rest.ask_at - 1.0).ask_at == rest.ask_at - 1.0


def test_a_stream_that_is_not_open_does_not_rest() -> None:
    stream = Stream()
    assert rest_of(stream.session) is None
    stream.connect(Evidence(kernel()))
    assert rest_of(stream.session) is None
    session = resting().session
    session.phase = Phase.SYNCING
    assert rest_of(session) is None
    assert isinstance(session, Session)
