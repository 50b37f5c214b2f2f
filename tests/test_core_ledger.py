"""Outages -> gaps: each time without a link is one gap, from life to life."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline import Gap
from heartline.core.feed import Feed, FeedTerms, Numbered
from heartline.core.gaps import Ledger
from heartline.core.sequence import Numbering, Rule, Scope

steps = st.lists(st.sampled_from(["lose", "regain", "overflow"]), max_size=40)


def check_outages(steps: list[str]) -> None:
    """The gaps are the outages: disjoint, in order, and no time of an outage is left
    out, however often a link is lost before the stream is OPEN again."""
    ledger = Ledger()
    told: list[Gap] = []
    open_since: tuple[float, int] | None = None
    overflows = 0
    for nth, step in enumerate(steps):
        # Heard half a second before it was found lost.
        now, epoch = float(nth), nth + 1
        if step == "lose":
            ledger.lose_link(epoch, heard_at=now - 0.5)
            open_since = open_since or (now - 0.5, epoch)
        elif step == "overflow":
            ledger.overflow(3, gaps=2)
            overflows += 1
        else:
            gap = ledger.regain_link(now=now)
            if open_since is None:
                assert gap is None
            else:
                from_at, lost_epoch = open_since
                assert gap == Gap("outage", from_at, now, lost_epoch)
                told.append(gap)
            open_since = None
        expected = None if open_since is None else open_since[0]
        assert ledger._outage_from_at == expected
        assert ledger.gaps == len(told) + 2 * overflows
        assert ledger.missing == 3 * overflows
    for earlier, later in pairwise(told):
        assert earlier.until_at <= later.from_at + 0.5
        assert earlier.epoch < later.epoch


@given(steps=steps)
def test_every_outage_is_one_gap_with_both_its_ends(steps: list[str]) -> None:
    check_outages(steps)


def test_an_outage_over_several_links_is_one_gap_from_the_first_loss() -> None:
    ledger = Ledger()
    ledger.lose_link(3, heard_at=10.0)
    ledger.lose_link(4, heard_at=12.0)
    assert ledger._outage_from_at == 10.0
    assert ledger.regain_link(now=15.0) == Gap("outage", 10.0, 15.0, 3)
    assert ledger._outage_from_at is None
    assert ledger.gaps == 1


def test_an_outage_does_not_say_how_many_are_missing() -> None:
    ledger = Ledger()
    ledger.lose_link(1, heard_at=0.0)
    gap = ledger.regain_link(now=1.0)
    assert gap is not None
    assert (gap.missing, gap.first, gap.last) == (None, None, None)
    assert ledger.missing == 0


def test_the_first_link_leaves_no_gap_before_it() -> None:
    ledger = Ledger()
    assert ledger.regain_link(now=5.0) is None
    assert ledger.gaps == 0


def test_two_rules_that_count_over_a_whole_link_have_accounts_of_their_own() -> None:
    """Coinbase numbers every message, and its heartbeats once more by themselves."""
    rules = [Numbered(numbering=Numbering(rule=Rule.STEP, scope=Scope.CONNECTION))] * 2
    feed = Feed(FeedTerms(numbered=tuple(rules)), ledger=Ledger(), now=0.0)
    feed.begin(1, now=0.0)
    for rule, numbers in enumerate(((0, 1, 2, 5), (7, 8))):
        line = feed.line(None, rule, now=0.0)
        for number in numbers:
            feed.take(line, ("link", rule), number, None, None, False, 1.0)
    every, beats = (feed.ledger.account(None, rule=rule) for rule in (0, 1))
    assert (every.received, every.missing, every.sent) == (4, 2, 6)
    assert (beats.received, beats.missing, beats.sent) == (2, 0, 2)
    assert feed.ledger.accounts == [every, beats]
    assert feed.ledger.missing == 2


# --- the property can fail --------------------------------------------------------


def _from_the_latest_loss(self: Ledger, epoch: int, *, heard_at: float) -> None:
    self._outage_from_at, self._outage_epoch = heard_at, epoch


def _until_the_loss(self: Ledger, *, now: float) -> Gap | None:
    if self._outage_from_at is None:
        return None
    at, self._outage_from_at = self._outage_from_at, None
    self.gaps += 1
    return Gap("outage", at, at, self._outage_epoch)


def _twice(self: Ledger, *, now: float) -> Gap | None:
    if self._outage_from_at is None:
        return None
    self.gaps += 1
    return Gap("outage", self._outage_from_at, now, self._outage_epoch)


PLANTED: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("lose_link", _from_the_latest_loss),
    ("regain_link", _until_the_loss),
    ("regain_link", _twice),
)


@pytest.mark.parametrize(("name", "fault"), PLANTED)
def test_a_planted_fault_is_found(
    name: str, fault: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = ["lose", "lose", "regain", "regain"]
    check_outages(sequence)
    monkeypatch.setattr(Ledger, name, fault)
    with pytest.raises(AssertionError):
        check_outages(sequence)
