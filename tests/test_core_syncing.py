"""What comes before a link is OPEN waits for that; if the link dies, none is silent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from heartline.core.backoff import Backoff
from heartline.core.events import (
    DialSucceeded,
    Ended,
    Fact,
    GapFound,
    Received,
    Start,
    Synced,
    Tick,
)
from heartline.core.items import Cause, Gap, Phase
from heartline.core.session import Session
from heartline.core.terms import Terms

Life = tuple[bool, int]
"""Whether a link becomes OPEN, and how many messages it brings before its end."""


class Syncing:
    """A session whose links are said to be OPEN by hand; its gaps, and its messages."""

    def __init__(self) -> None:
        terms = Terms(host="a", syncs=True, backoff=Backoff(base=0.01, cap=0.01))
        self.session = Session(terms, draw=lambda: 0.5)
        self.now = 10.0
        self.gaps: list[Gap] = []
        self.kept: list[float] = []
        """When what waits for OPEN came."""
        self.forgotten: list[float] = []
        self.feed(Start())

    def feed(self, fact: Fact, after: float = 0.01) -> None:
        self.now += after
        out = self.session.handle(fact, now=self.now)
        self.gaps += [each.gap for each in out if isinstance(each, GapFound)]

    def live(self, opens: bool, messages: int) -> None:
        while self.session.phase is Phase.BACKOFF:
            self.feed(Tick(), after=max(0.0, self.session.deadline - self.now))
        epoch = self.session.epoch
        self.feed(DialSucceeded(epoch, "a:1"))
        for _ in range(messages):
            self.feed(Received(epoch, 1, 1, 10))
            self.kept.append(self.now)
        if opens:
            self.feed(Synced(epoch, 1))
            self.kept.clear()
        self.feed(Ended(epoch, Cause.RESET))
        self.forgotten += self.kept
        self.kept.clear()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=8))
def test_whatever_is_forgotten_with_its_link_lies_in_a_gap(lives: list[Life]) -> None:
    it = Syncing()
    for opens, messages in lives:
        it.live(opens, messages)
    it.live(True, 1)
    for at in it.forgotten:
        assert any(gap.from_at <= at <= gap.until_at for gap in it.gaps), at
    assert all(gap.from_at <= gap.until_at for gap in it.gaps)


def test_the_gap_of_a_link_that_was_never_open_begins_with_its_first_message() -> None:
    it = Syncing()
    it.live(False, 3)
    first, *_ = it.forgotten
    it.live(True, 0)
    (gap,) = it.gaps
    assert (gap.reason, gap.from_at, gap.epoch) == ("outage", first, 1)
