"""Messages told apart by content alone, where contents repeat: once and in order, or it
is said that something may be missing."""

from __future__ import annotations

import random
from typing import Any

import pytest

from heartline.core import likeness
from heartline.core import seam as seams
from heartline.core.likeness import MOST_HELD, Likeness
from heartline.core.seam import Seam
from thrown import Planted, planted, properties, tried

TRIES = 400


class Two:
    """One channel on two links: the venue says `said`, the old link brings all of it,
    and the new one all from some place on."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        unlike, words = dice.choice((0.0, 0.3, 0.7, 0.95, 1.0)), dice.choice((1, 2, 4))
        before, count = dice.randrange(40), dice.randrange(5, 70)
        self.said = [
            1000 + n if dice.random() < unlike else 1 + dice.randrange(words)
            for n in range(before + count)
        ]
        self.old, self.new = 0, before + dice.randrange(min(count, 30))
        self.seam: Seam[str, int] = Seam([], answers=True)
        self.passed: list[int] = []
        self.asked: list[tuple[float, int]] = []
        self.now = 0.0
        while self.old < before:
            self.bring(is_new=False)
        self.seam.begin()

    def bring(self, *, is_new: bool) -> bool:
        at = self.new if is_new else self.old
        if at == len(self.said):
            return False
        self.now += 1.0
        mark = hash(self.said[at])
        self.passed += self.seam.alike("a", mark, at, is_new=is_new, now=self.now)
        if is_new:
            self.new += 1
        else:
            self.old += 1
        return True

    def play(self) -> None:
        """Until all was brought, the two have met, or one of them ends."""
        dice = self.dice
        most = 3 * (len(self.said) - self.old)
        ends = self.now + dice.choice((most, dice.randrange(most)))
        favours = dice.random() < 0.5
        while self.now < ends and (self.old, self.new) != (len(self.said),) * 2:
            if dice.random() < 0.1:
                favours = not favours
            self.bring(is_new=favours is (dice.random() < 0.8))
            if dice.random() < 0.2:
                # Its answer comes after all that the venue had said by then.
                said = max(self.old, self.new) + dice.randrange(3)
                self.now += 1.0
                self.asked.append((self.now, min(len(self.said), said)))
            while self.asked and self.asked[0][1] <= self.old:
                asked_at, _ = self.asked.pop(0)
                self.passed += self.seam.answered(asked_at=asked_at)
            if self.seam.complete and dice.random() < 0.1:
                return

    @property
    def texts(self) -> list[int]:
        return [self.said[place] for place in self.passed]


def what_two_links_bring_comes_once_and_in_order_or_it_is_told(
    dice: random.Random,
) -> None:
    two = Two(dice)
    two.play()
    complete = two.seam.complete
    two.passed += two.seam.finish()
    assert not (complete and two.seam.doubtful)
    while two.bring(is_new=True):
        pass
    assert two.texts == two.said or two.seam.doubtful
    assert two.seam.held == 0
    if not two.seam.doubtful:
        brought = two.old + len(two.said) - two.new
        assert two.seam.doubled >= brought - len(two.passed)


def what_the_old_link_goes_on_with_comes_once_and_in_order_or_it_is_told(
    dice: random.Random,
) -> None:
    two = Two(dice)
    two.play()
    two.seam.withdraw()
    while two.bring(is_new=False):
        pass
    assert two.texts == two.said or two.seam.doubtful
    assert two.seam.held == 0


PROPERTIES = (
    what_two_links_bring_comes_once_and_in_order_or_it_is_told,
    what_the_old_link_goes_on_with_comes_once_and_in_order_or_it_is_told,
)

test_property = properties(PROPERTIES, tries=TRIES)


@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
def test_it_holds_of_overlaps_that_there_is_little_room_for_too(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seams, "MOST_HELD_IN_ALL", 6)
    tried(check, tries=TRIES)
    monkeypatch.setattr(likeness, "MOST_HELD", 16)
    tried(check, tries=TRIES)


def test_most_overlaps_of_channels_that_repeat_themselves_are_joined() -> None:
    """Were all of them told as gaps, the properties would hold as well."""
    told = 0
    for seed in range(200):
        two = Two(random.Random(seed))
        while two.bring(is_new=two.old >= two.new and two.new < len(two.said)):
            two.passed += two.seam.answered(asked_at=two.now - 6.0)
        assert two.texts == two.said
        told += not two.seam.complete
    assert told < 50


_answered = Likeness[Any].answered


def _takes_any_answer(self: Likeness[Any], *, asked_at: float) -> list[Any]:
    return _answered(self, asked_at=asked_at + 1e9)


def _tells_anyhow(self: Likeness[Any], word: int, mine: Any, other: Any) -> bool:
    return bool(mine.counts.get(word) and other.counts.get(word))


def _remembers_one_side(self: Likeness[Any], mine: Any, mark: int | None) -> None:
    self._passed += 1
    self._by_new = True


PLANTED: tuple[Planted, ...] = (
    (PROPERTIES[0], Likeness, "answered", _takes_any_answer),
    (PROPERTIES[0], Likeness, "_tells", _tells_anyhow),
    (PROPERTIES[0], Likeness, "_note", _remembers_one_side),
    (PROPERTIES[1], Likeness, "_note", _remembers_one_side),
)

test_a_planted_fault_is_found = planted(PLANTED, tries=TRIES)


# --- examples -----------------------------------------------------------------------


def brought(seam: Seam[str, str], story: str) -> list[str]:
    """`story`: words of a link and its contents, `old:ab new:b`; in capitals they are
    snapshots."""
    passed: list[str] = []
    for part in story.split():
        link, contents = part.split(":")
        for each in contents:
            passed += seam.alike(
                "a", ord(each), each, is_new=link == "new", whole=each.isupper()
            )
    return passed


def test_a_content_that_stands_twice_does_not_show_where_the_links_meet() -> None:
    seam: Seam[str, str] = Seam([])
    seam.begin()
    assert brought(seam, "new:S old:aba new:a") == ["a", "b", "a"]
    assert not seam.complete
    seam.finish()
    assert seam.doubtful == {"a": False}
    # Nothing of the old link's is left to take a new message for.
    assert brought(seam, "new:bc") == ["b", "c"]
    assert seam.settled


def test_a_run_of_contents_shows_where_the_links_meet() -> None:
    seam: Seam[str, str] = Seam([])
    seam.begin()
    passed = brought(seam, "old:abbaab new:baab")
    assert seam.complete
    assert "".join(passed + brought(seam, "new:xy old:xyz")) == "abbaabxyz"


def test_links_do_not_meet_where_what_came_before_differs() -> None:
    seam: Seam[str, str] = Seam([])
    seam.begin()
    assert brought(seam, "old:xa new:ya") == ["x", "a"]
    assert not seam.complete
    # But the new one may have been greeted with one message that is its own.
    assert brought(seam, "old:b new:b") == ["b"]
    assert seam.complete
    assert brought(seam, "old:c new:cd") == ["c", "d"]


def test_what_one_link_brought_alone_does_not_double_what_both_bring() -> None:
    seam: Seam[str, str] = Seam([])
    assert brought(seam, "old:a new:a old:x") == ["a", "x"]
    assert brought(seam, "new:bcd old:bcd") == ["b", "c", "d"]
    assert seam.complete


def test_links_that_turn_out_not_to_have_met_are_told() -> None:
    """The new link's first was another message of the same content."""
    seam: Seam[str, str] = Seam([])
    seam.begin()
    assert brought(seam, "old:a new:a") == ["a"]
    assert seam.complete
    assert sorted(brought(seam, "new:z old:bcaz")) == ["a", "b", "c", "z"]
    assert not seam.complete
    seam.finish()
    assert seam.doubtful == {"a": False}


def test_what_does_not_follow_after_the_old_link_is_gone_is_told() -> None:
    seam: Seam[str, str] = Seam([])
    assert brought(seam, "old:ab new:a") == ["a", "b"]
    seam.finish()
    assert seam.doubtful == {}
    assert brought(seam, "new:c") == ["c"]
    assert seam.doubtful == {"a": False}
    assert seam.settled


def test_snapshots_are_passed_once_and_never_behind_what_follows_them() -> None:
    seam: Seam[str, str] = Seam([])
    seam.begin()
    assert brought(seam, "old:a new:a old:bc") == ["a", "b", "c"]
    # The new link's lies behind what was passed on.
    assert brought(seam, "new:S new:bc") == []
    assert brought(seam, "old:T new:T new:d old:d") == ["T", "d"]
    assert seam.complete
    assert brought(seam, "new:U old:U") == ["U"]


def test_a_snapshot_of_the_old_link_is_no_message_that_the_new_one_brings() -> None:
    seam: Seam[str, str] = Seam([])
    seam.begin()
    seam.still({"a"})
    assert brought(seam, "old:S new:S") == ["S"]
    assert seam.complete
    assert brought(seam, "old:u new:vw old:vw") == ["u", "v", "w"]


def test_a_channel_asked_for_in_the_overlap_is_not_taken_to_be_still() -> None:
    """The new link was sent more of it before the old one was sent its snapshot."""
    seam: Seam[str, str] = Seam([])
    seam.begin()
    seam.still({"another"})
    passed = brought(seam, "new:Suv old:Svw new:wx")
    assert passed == ["S", "v", "w", "x"]
    assert seam.complete


@pytest.mark.parametrize("asked_at", [1.0, 1.5])
def test_where_contents_repeat_an_answer_of_the_old_link_shows_that_it_had_all(
    asked_at: float,
) -> None:
    seam: Seam[str, str] = Seam([], answers=True)
    for mark in (1, 1, 2):
        seam.alike("a", mark, "", is_new=False)
    assert not seam.asks("a")
    assert seam.alike("a", 2, "", is_new=True, now=1.0) == []
    assert not seam.complete
    assert seam.asks("a")
    seam.answered(asked_at=asked_at)
    assert seam.complete is (asked_at > 1.0)
    assert seam.asks("a") is not seam.complete


def test_of_what_each_link_brought_the_last_4096_are_known() -> None:
    like = Likeness[int](begun=True, answers=False)
    for mark in range(3 * MOST_HELD):
        like.take(mark, mark, is_new=False, whole=False, now=0.0)
    assert len(like._old.marks) == MOST_HELD
    assert len(like._old.counts) <= 3 * MOST_HELD
