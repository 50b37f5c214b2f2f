"""Books that a venue proves by checksums: doubted, asked for anew, healed, and when."""

from __future__ import annotations

from typing import Any

import pytest

from heartline.core.channel_events import GapClosed, Redial
from heartline.core.events import GapFound
from heartline.core.gaps import Closed, Ledger
from heartline.core.items import Cause, Gap
from heartline.core.lines import Line
from heartline.core.mending import RELINK, Mending
from heartline.core.orderbook import Changes
from heartline.core.proving import PATIENCE
from heartline.core.restoring import Unrestored
from heartline.core.sequence import Missing

RIGHT, WRONG, SILENT = True, False, None


class Book:
    """A book that says of its checksum what the test wants."""

    def __init__(self) -> None:
        self.says: bool | None = SILENT
        self.forgotten = 0

    def take(self, changes: Any) -> bool | None:
        return self.says

    def forget(self) -> None:
        self.forgotten += 1


class Owner:
    """Who holds the channels; what it is asked to do about them is noted."""

    def __init__(self) -> None:
        self.epoch = 4
        self.ledger = Ledger()
        self.troubles: dict[str, Any] = {}
        self.asked: list[str] = []
        self.unread: list[str] = []
        self.restoring: Any = self

    def revive(self, channel: str, now: float) -> list[Any]:
        self.asked.append(f"revive {channel}")
        return []

    def jumped(self, line: Line, *, now: float) -> list[Any]:
        self.asked.append(f"fetch {line.name}")
        return []

    def take_malformed(self, reason: str, *, now: float) -> list[Any]:
        self.unread.append(reason)
        return []

    def told(self, entry: Any, channel: str | None, now: float) -> Any:
        assert isinstance(entry, Closed)
        return GapClosed(at=now, epoch=self.epoch, gap=entry.gap, by=entry.by)


class World:
    """One channel `a` with a book under rule 0, mended in one of three ways."""

    def __init__(self, *, reconnect: bool = False, resubscribe: bool = True) -> None:
        self.owner = Owner()
        self.book = Book()
        self.mending = Mending(
            self.owner,
            lambda channel, rule: self.book if channel == "a" else None,
            draw=lambda: 1.0,
        )
        self.now = 100.0
        account = self.owner.ledger.account("a")
        self.line = Line("a", account, None, now=self.now)
        self.line.resubscribe = resubscribe
        self.line.reconnect = reconnect
        self.line.proof = self.mending.proofs.of("a", 0)
        assert self.line.proof is not None

    def take(
        self, says: bool | None, *, whole: bool = False, number: object = None
    ) -> list[Any]:
        self.book.says = says
        changes = Changes([], [], whole=whole)
        return self.mending.prove(self.line, changes, number, now=self.now)

    def tick(self) -> list[Any]:
        self.now = self.mending.deadline
        return self.mending.tick(now=self.now)


def test_a_checksum_that_does_not_agree_is_a_gap_until_a_whole_book_agrees() -> None:
    world = World()
    assert world.take(RIGHT, whole=True) == []
    agreed_at = world.now
    world.now += 5.0
    assert world.take(SILENT) == []
    world.now += 1.0
    [found] = world.take(WRONG)
    assert isinstance(found, GapFound)
    gap = found.gap
    assert (gap.reason, gap.channel, gap.epoch) == ("checksum", "a", 4)
    assert (gap.from_at, gap.until_at) == (agreed_at, world.now)
    assert world.owner.troubles == {
        "a": Unrestored(world.now, "its checksum does not agree")
    }
    assert world.owner.asked == ["revive a"]
    assert (world.line.wounded, world.book.forgotten) == (True, 1)
    # Not by a change, nor by a whole book that nothing has proven yet.
    world.now += 1.0
    assert world.take(RIGHT) == []
    assert world.take(SILENT, whole=True) == []
    assert list(world.owner.troubles) == ["a"]
    [closed] = world.take(RIGHT)
    assert (closed.gap, closed.by) == (gap, "snapshot")
    assert world.owner.troubles == {}
    assert world.line.wounded is False
    assert world.take(RIGHT) == []
    proof = world.line.proof
    assert proof is not None
    assert (proof.agreed, proof.disagreed) == (4, 1)


@pytest.mark.parametrize("after", [29.9, 30.0])
def test_a_doubt_that_comes_back_waits_and_one_after_thirty_seconds_does_not(
    after: float,
) -> None:
    world = World(resubscribe=False)
    world.take(RIGHT, whole=True)
    for nth in range(1, 4):
        world.take(WRONG)
        if nth == 1 or after >= 30.0:
            assert world.mending.deadline == float("inf")
            assert world.owner.asked == ["fetch a"] * nth
        else:
            # With all of the patience: 1, 2, 4 seconds.
            assert world.mending.deadline == pytest.approx(world.now + 2.0 ** (nth - 2))
            assert world.owner.asked == ["fetch a"] * (nth - 1)
            world.tick()
            assert world.owner.asked == ["fetch a"] * nth
        world.take(RIGHT, whole=True)
        world.now += after


def test_a_doubt_that_healed_or_is_wanted_no_more_is_not_asked_about() -> None:
    for healed in (True, False):
        world = World()
        world.take(WRONG)
        world.take(WRONG)
        assert world.mending.deadline < float("inf")
        if healed:
            world.take(RIGHT, whole=True)
            world.tick()
        else:
            world.mending.proofs.drop("a")
            assert world.mending.deadline == float("inf")
            assert list(world.mending.proofs) == []
        assert world.owner.asked == ["revive a"]


def test_a_new_link_begins_with_no_doubt_and_no_book() -> None:
    world = World()
    world.take(RIGHT, whole=True)
    world.take(WRONG)
    world.take(WRONG)
    world.mending.begin()
    assert world.mending.deadline == float("inf")
    assert world.book.forgotten == 3
    world.now += 9.0
    [found] = world.take(WRONG)
    # Nothing of it was known to be right on this link.
    assert found.gap.from_at == found.gap.until_at == world.now


def test_a_book_whose_loss_wants_a_new_link_has_one_and_is_not_asked_for() -> None:
    world = World(reconnect=True)
    world.take(RIGHT, whole=True)
    [found] = world.take(WRONG)
    assert (found.epoch, found.gap.epoch) == (4, 4)
    assert world.owner.asked == []
    assert world.mending.deadline == world.now
    why = "its checksum does not agree"
    assert world.tick() == [Redial(4, "a", why, Cause.CLOSED_BY_US)]


def test_a_numbered_gap_is_healed_by_a_book_of_a_number_not_below_it() -> None:
    for number, closed in ((7, 0), (8, 1), ("8", 0), (None, 0)):
        world = World()
        world.take(RIGHT, whole=True)
        missing = Missing("a", 5, 8, 4)
        ledger, account = world.owner.ledger, world.line.account
        ledger.enter(account, missing, from_at=1.0, now=2.0, epoch=4)
        told = world.take(RIGHT, whole=True, number=number)
        assert len(told) == closed, number
        assert world.line.wounded is not bool(closed)


def test_a_doubt_goes_back_to_when_the_book_was_last_known_to_be_right() -> None:
    """It is whole from its first whole message on; and after that, as sums agree."""
    for agrees_at, since in ((None, 100.0), (103.0, 103.0)):
        world = World()
        for at in (100.0, 102.0):
            world.now = at
            world.take(SILENT, whole=True)
        if agrees_at is not None:
            world.now = agrees_at
            world.take(RIGHT)
        world.now = 105.0
        [found] = world.take(WRONG)
        assert (found.gap.from_at, found.gap.until_at) == (since, 105.0)


def test_a_book_that_no_whole_message_was_of_has_nothing_to_heal() -> None:
    world = World()
    world.owner.ledger.doubt(Gap("checksum", 1.0, 2.0, 4, "a"))
    assert world.take(RIGHT) == []
    assert world.take(RIGHT, whole=True) != []
    world.owner.ledger.doubt(Gap("checksum", 3.0, 4.0, 4, "a"))
    world.mending.begin()
    assert world.take(RIGHT) == []
    # Nor is it in doubt, which would make the next doubt follow upon that one.
    proof = world.line.proof
    assert proof is not None
    assert not proof.doubted


@pytest.mark.parametrize(("quiet_for", "waits"), [(59.9, 15.0), (60.0, 0.0)])
def test_links_made_anew_follow_one_another_within_a_minute(
    quiet_for: float, waits: float
) -> None:
    world = World(reconnect=True)
    for wait in (0.0, waits):
        world.mending.lost(world.line, now=world.now)
        assert world.mending.deadline == pytest.approx(world.now + wait)
        lost_at = world.now
        world.tick()
        world.mending.begin()
        world.now = lost_at + quiet_for


def test_a_link_made_anew_again_and_again_waits_no_more_than_ten_minutes() -> None:
    assert (RELINK.cap, PATIENCE.cap) == (600.0, 60.0)
    world, waits = World(reconnect=True), list[float]()
    for _ in range(12):
        world.mending.lost(world.line, now=world.now)
        waits.append(world.mending.deadline - world.now)
        before = world.now
        world.tick()
        world.mending.begin()
        world.now = before + 59.0
    assert waits == [0.0, *(min(600.0, 15.0 * 2.0**n) for n in range(11))]


def test_a_link_made_anew_for_a_loss_is_not_made_over_and_over() -> None:
    world = World(reconnect=True)
    assert world.mending.lost(world.line, now=world.now) == []
    waits = []
    for _ in range(4):
        waits.append(world.mending.deadline - world.now)
        # A second loss meanwhile asks for nothing more.
        assert world.mending.lost(world.line, now=world.now) == []
        [redial] = world.tick()
        why = "messages were lost that only a new link makes good"
        assert redial == Redial(4, "a", why, Cause.CLOSED_BY_US)
        world.mending.begin()
        world.mending.lost(world.line, now=world.now)
    assert waits == [0.0, 15.0, 30.0, 60.0]
    world.tick()
    world.mending.begin()
    world.now += 60.0
    world.mending.lost(world.line, now=world.now)
    assert world.mending.deadline == world.now
    world.mending.begin()
    assert world.mending.deadline == float("inf")
    assert world.mending.tick(now=world.now + 99.0) == []


def test_a_change_that_cannot_be_read_is_told_and_judges_nothing() -> None:
    world = World()
    world.mending.prove(world.line, None, None, now=world.now)
    assert world.owner.unread == ["its levels of a book cannot be read"]
    assert world.owner.troubles == {}
    assert world.mending.proofs.of(None, 0) is None
    assert world.mending.proofs.of("a", None) is None
    assert world.mending.proofs.of("b", 0) is None
    assert [each.name for each in world.mending.proofs] == ["a"]
