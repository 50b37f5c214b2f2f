"""Planned ends: the new link is there before the old one goes, and nothing is lost."""

from __future__ import annotations

import random
from itertools import pairwise
from math import inf
from typing import Any

import pytest

from heartline import Cause, UsageError
from heartline.core import seam as seams
from heartline.core.channel_events import EndPlanned, Replace, Retire, TookOver
from heartline.core.rollover import Lifetime, Plan, Rollover
from heartline.core.seam import Seam
from thrown import Planted, planted, properties

TRIES = 150
DAY = 86_400.0


# --- when ---------------------------------------------------------------------------


def a_link_is_replaced_before_its_end(dice: random.Random) -> None:
    """Over days, dials that fail and notices that come: the venue never ends a link
    that delivers, as long as dials succeed at all; and there are at most two."""
    lead = dice.uniform(60.0, 300.0)
    policy = Lifetime(max_age=DAY, lead=lead, spread=dice.uniform(0.0, 3600.0))
    machine, now, epoch = Rollover(policy), dice.uniform(0.0, 1e6), 1
    machine.opened(1, draw=dice.random(), now=now)
    opened = {1: now}
    live, dialled = {1}, 0
    ends_at = now + DAY
    while epoch < 6:
        now = machine.deadline
        assert now < inf
        if dice.random() < 0.3 and machine.plan is Plan.STEADY:
            now -= dice.uniform(0.0, 0.9 * (now - opened[epoch]))
            notice_lead = dice.uniform(40.0, 600.0)
            out = machine.noticed(epoch, reason="bye", lead=notice_lead, now=now)
            ends_at = min(ends_at, now + notice_lead)
        else:
            out = machine.tick(draw=dice.random(), now=now)
        assert now <= ends_at
        for output in out:
            if isinstance(output, Replace):
                dialled += 1
                machine.dialling(epoch + dialled)
                now += dice.uniform(0.0, 2.0)
                if dialled < 4 and dice.random() < 0.3:
                    machine.failed(epoch + dialled, now=now)
                else:
                    machine.joined(epoch + dialled, now=now)
                    live.add(epoch + dialled)
                    opened[epoch + dialled] = now
        if machine.plan is Plan.JOINING and dice.random() < 0.7:
            now += dice.uniform(0.0, policy.overlap)
            assert machine.successor is not None
            out = machine.complete(machine.successor, draw=dice.random(), now=now)
        assert len(live) <= 2
        for output in out:
            if isinstance(output, Retire):
                assert output.epoch == epoch
                assert now <= ends_at
                live.remove(epoch)
                assert machine.epoch is not None
                assert live == {machine.epoch}
                epoch, dialled = machine.epoch, 0
                ends_at = opened[epoch] + DAY


def no_order_of_events_confuses_it(dice: random.Random) -> None:
    """Whatever comes: it retires only a link that has a successor, and never hangs."""
    machine, now = Rollover(Lifetime(max_age=DAY)), 0.0
    machine.opened(1, draw=0.5, now=now)
    for _ in range(60):
        now += dice.choice((0.0, 1.0, 100.0, DAY / 3))
        epoch = dice.randrange(1, 9)
        plan, successor, present = machine.plan, machine.successor, machine.epoch
        match dice.randrange(7):
            case 0:
                out = machine.noticed(epoch, reason="x", lead=60.0, now=now)
            case 1:
                out = machine.complete(epoch, draw=0.1, now=now)
            case 2:
                out = machine.ended(epoch, draw=0.1, now=now)
            case 3:
                machine.joined(epoch, now=now)
                out = []
            case 4:
                machine.failed(epoch, now=now)
                out = []
            case 5:
                machine.dialling(epoch)
                out = []
            case _:
                out = machine.tick(draw=0.1, now=now)
                assert machine.deadline > now
        if any(isinstance(o, Retire | TookOver) for o in out):
            assert plan is Plan.JOINING
            assert machine.epoch == successor
        if machine.epoch is None:
            assert machine.deadline == inf
            machine.opened(dice.randrange(1, 9), draw=0.0, now=now)
        assert (machine.deadline < inf) or machine.plan is Plan.DIALLING
        assert present is not None


def test_the_day_limit_rolls_over_with_time_to_spare() -> None:
    machine = Rollover(Lifetime(max_age=DAY, lead=120.0, spread=300.0))
    machine.opened(1, draw=0.5, now=1000.0)
    due = 1000.0 + DAY - 120.0 - 150.0
    assert machine.deadline == due
    assert machine.tick(draw=0.0, now=due - 1.0) == []
    out = machine.tick(draw=0.0, now=due)
    planned = EndPlanned(
        at=due,
        epoch=1,
        cause=Cause.AGE,
        reason="the link nears its greatest age",
        ends_at=1000.0 + DAY,
    )
    assert out == [planned, Replace(1)]
    machine.dialling(2)
    machine.joined(2, now=due + 1.0)
    out = machine.complete(2, draw=0.0, now=due + 3.0)
    took = TookOver(at=due + 3.0, epoch=2, from_epoch=1, overlap=2.0)
    assert out == [Retire(1), took]
    # The new link's own end counts from when it opened.
    assert machine.deadline == due + 1.0 + DAY - 120.0


def test_a_notice_is_acted_on_at_once_and_once() -> None:
    machine = Rollover(Lifetime())
    machine.opened(1, draw=0.0, now=0.0)
    assert machine.deadline == inf
    out = machine.noticed(1, reason="serverShutdown", lead=60.0, now=5.0)
    assert out[1:] == [Replace(1)]
    assert machine.ends_at == 65.0
    assert machine.noticed(1, reason="serverShutdown", lead=50.0, now=5.0) == []
    assert machine.ends_at == 55.0


def test_the_old_link_is_dropped_before_the_venue_does_it() -> None:
    machine = Rollover(Lifetime(overlap=10.0))
    machine.opened(1, draw=0.0, now=0.0)
    machine.noticed(1, reason="bye", lead=4.0, now=0.0)
    machine.dialling(2)
    machine.joined(2, now=1.0)
    assert machine.deadline == 4.0
    assert machine.tick(draw=0.0, now=4.0)[0] == Retire(1)


def test_an_end_during_the_overlap_is_no_outage() -> None:
    machine = Rollover(Lifetime())
    machine.opened(1, draw=0.0, now=0.0)
    machine.noticed(1, reason="bye", now=0.0)
    machine.dialling(2)
    machine.joined(2, now=1.0)
    out = machine.ended(1, draw=0.0, now=1.5)
    assert out == [TookOver(at=1.5, epoch=2, from_epoch=1, overlap=0.5)]
    assert machine.epoch == 2


def test_an_end_while_dialling_is_an_outage_and_voids_the_plan() -> None:
    machine = Rollover(Lifetime(max_age=DAY))
    machine.opened(1, draw=0.0, now=0.0)
    machine.noticed(1, reason="bye", now=0.0)
    machine.dialling(2)
    assert machine.ended(1, draw=0.0, now=1.0) == []
    assert machine.plan is Plan.STEADY
    assert machine.deadline == inf


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("max_age", {"max_age": 100.0}),
        ("overlap", {"overlap": 0.0}),
        ("spread", {"spread": -1.0}),
    ],
    ids=["max_age", "overlap", "spread"],
)
def test_lifetimes_that_cannot_be_are_refused(
    field: str, named: dict[str, float]
) -> None:
    with pytest.raises(UsageError) as refused:
        Lifetime(**named)
    assert refused.value.field == f"Lifetime.{field}"


# --- what -----------------------------------------------------------------------------


Piece = tuple[int, int]


def pieces(dice: random.Random, cuts: list[int]) -> list[Piece]:
    """One link's way to cut the numbers; every fourth cut is common to all links."""
    mine = [c for n, c in enumerate(cuts) if n % 4 == 0 or dice.random() < 0.6]
    return list(pairwise(mine))


def two_links(
    dice: random.Random, numbered: bool
) -> tuple[list[Piece], list[Piece], list[int]]:
    at, cuts = dice.randrange(1000), list[int]()
    for _ in range(120):
        cuts.append(at)
        at += 1 if numbered else dice.randrange(1, 9)
    old = pieces(dice, cuts) if not numbered else list(pairwise(cuts))
    new = pieces(dice, cuts) if not numbered else list(old)
    return old, new, cuts


def merge(dice: random.Random, *links: list[Piece]) -> list[tuple[int, Piece]]:
    """Both deliver in order; which is faster changes all the time."""
    left = [list(link) for link in links]
    out: list[tuple[int, Piece]] = []
    favoured = 0
    while any(left):
        if dice.random() < 0.1:
            favoured = dice.randrange(len(left))
        which = favoured if left[favoured] else next(n for n, m in enumerate(left) if m)
        for _ in range(dice.randrange(1, 4)):
            if left[which]:
                out.append((which, left[which].pop(0)))
    return out


def each_message_passes_once_and_in_order(dice: random.Random) -> None:
    """Whichever link is faster, and wherever each begins, ends and cuts."""
    old, new, cuts = two_links(dice, numbered=dice.random() < 0.5)
    begins = dice.randrange(len(new) // 2)
    ends = len(old) - dice.randrange(len(old) // 8)
    while old[ends - 1][1] not in cuts[::4]:
        # Nobody can join two links where their cuts do not agree.
        ends -= 1
    seam = Seam[str, Piece]([("a", None)])
    passed: list[Piece] = []
    snapshot = dice.random() < 0.3
    for which, piece in merge(dice, old[:ends], new[begins:]):
        if which == 0:
            passed += seam.old("a", *piece, piece)
        else:
            first = piece == new[begins] and snapshot
            passed += seam.new("a", *piece, piece, whole=first)
    if snapshot and not seam.complete:
        return
    passed += seam.finish()
    for (_, high), (low, _) in pairwise(passed):
        assert low == high
    assert passed[0][0] == cuts[0]
    assert passed[-1][1] == new[-1][1]
    assert seam.complete
    assert not seam.held
    assert seam.doubled == ends + len(new) - begins - len(passed)


def an_old_link_that_dies_leaves_its_own_hole(dice: random.Random) -> None:
    """Nothing is passed twice, nothing that came is left out, order holds."""
    old, new, _ = two_links(dice, numbered=True)
    begins, ends = dice.randrange(len(new)), dice.randrange(1, len(old))
    seam = Seam[str, Piece]([("a", None)])
    passed: list[Piece] = []
    for which, piece in merge(dice, old[:ends], new[begins:]):
        take = seam.new if which else seam.old
        passed += take("a", *piece, piece)
    passed += seam.finish()
    assert passed == sorted(set(old[:ends]) | set(new[begins:]))


def test_channels_without_numbers_change_over_where_both_links_brought_the_same() -> (
    None
):
    """Whichever was there first: what the other brings of it is left out."""
    slower, faster = Seam[str, str]([]), Seam[str, str]([])
    for mark in (1, 2, 3):
        assert slower.alike("a", mark, str(mark), is_new=False) == [str(mark)]
        assert faster.alike("a", mark, str(mark), is_new=True) == []
    assert not slower.complete
    assert slower.alike("a", 2, "2", is_new=True) == []
    assert slower.complete
    assert slower.finish() == []
    assert slower.alike("a", 3, "3", is_new=True) == []
    assert slower.alike("a", 4, "4", is_new=True) == ["4"]
    assert slower.settled
    assert faster.alike("a", 2, "2", is_new=False) == ["2", "3"]
    assert faster.alike("a", 3, "3", is_new=False) == []
    faster.withdraw()
    assert faster.alike("a", 4, "4", is_new=False) == ["4"]
    assert faster.settled


def test_links_that_were_never_seen_to_meet_are_named() -> None:
    """Nothing is held back for good on the strength of numbers nobody compared."""
    seam = Seam[str, str]([("quiet", 7), ("hole", 7), ("anew", 7)])
    assert seam.alike("other", 1, "old", is_new=False) == ["old"]
    assert seam.alike("other", 2, "new", is_new=True) == []
    assert seam.new("hole", 8, 9, "9") == []
    assert seam.new("anew", 0, 1, "1") == []
    assert seam.finish() == ["9", "new"]
    assert seam.doubtful == {"hole": True, "anew": False, "other": False}
    assert seam.new("anew", 1, 2, "2") == ["2"]
    assert seam.new("hole", 9, 10, "10") == ["10"]
    assert seam.alike("other", 1, "old", is_new=True) == []
    assert seam.alike("other", 3, "3", is_new=True) == ["3"]
    assert seam.settled


def test_a_numbering_known_from_before_joins_without_the_old_link() -> None:
    seam = Seam[str, str]([("quiet", 7)])
    assert seam.new("quiet", 7, 8, "8") == ["8"]
    assert seam.complete


def test_a_snapshot_passes_only_if_the_old_link_ends_before_it() -> None:
    for old_comes_that_far in (True, False):
        seam = Seam[str, str]([("a", 5)])
        assert seam.new("a", 0, 7, "snapshot 7", whole=True) == []
        assert seam.new("a", 7, 8, "8") == []
        assert seam.old("a", 5, 6, "6") == ["6"]
        if old_comes_that_far:
            assert seam.old("a", 6, 7, "7") == ["7", "8"]
        else:
            assert seam.finish() == ["snapshot 7", "8"]


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "MOST_HELD", 10)
    seam = Seam[str, int]([("a", 1)])
    passed = [m for n in range(5, 40) for m in seam.new("a", n - 1, n, n)]
    assert passed == list(range(5, 40))
    assert seam.complete


def equal_messages_pass_once_and_in_order(dice: random.Random) -> None:
    """Some are repeated word for word; one link may end at any time."""
    said = [dice.randrange(1000) if dice.random() < 0.9 else 0 for _ in range(150)]
    said[50:90] = range(2000, 2040)
    pieces = [(n, n + 1) for n in range(150)]
    begins, ends = dice.randrange(50, 60), dice.randrange(80, 150)
    seam, passed = Seam[str, int]([]), list[int]()
    came: list[tuple[int, Piece]] = []
    for which, piece in merge(dice, pieces[50:ends], pieces[begins:]):
        came.append((which, piece))
    for which, (number, _) in came:
        mark = said[number]
        passed += seam.alike("a", mark, number, is_new=which == 1)
    passed += seam.finish()
    assert passed == list(range(50, 150))
    assert seam.complete


PROPERTIES = (
    equal_messages_pass_once_and_in_order,
    a_link_is_replaced_before_its_end,
    no_order_of_events_confuses_it,
    each_message_passes_once_and_in_order,
    an_old_link_that_dies_leaves_its_own_hole,
)


test_property = properties(PROPERTIES, tries=TRIES)


# --- the properties can fail ----------------------------------------------------------


def _joins_at_once(self: Seam[Any, Any], edge: Any) -> list[Any]:
    return self._release(edge) if edge.held else []


def _drops_nothing(self: Seam[Any, Any], edge: Any, last: int) -> int:
    return edge.held[0][0] if edge.held else -2


def _forgets_the_plan(self: Rollover, successor: int, *, now: float) -> None:
    self.plan, self.deadline = Plan.STEADY, inf


def _retires_at_once(self: Rollover, now: float) -> list[Any]:
    return [Replace(self.epoch or 0), Retire(self.epoch or 0)]


PLANTED: tuple[Planted, ...] = (
    (each_message_passes_once_and_in_order, Seam, "_join", _joins_at_once),
    (an_old_link_that_dies_leaves_its_own_hole, Seam, "_drop", _drops_nothing),
    (a_link_is_replaced_before_its_end, Rollover, "failed", _forgets_the_plan),
    (no_order_of_events_confuses_it, Rollover, "_dial", _retires_at_once),
)


test_a_planted_fault_is_found = planted(PLANTED, tries=TRIES)
