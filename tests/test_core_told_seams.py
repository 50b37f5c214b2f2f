"""Where two links meet: every message is passed, doubled or held, at any time."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from heartline.core import seam as seams
from heartline.core.seam import MOST_HELD, Seam

LAST = 30


class Links:
    """Two links that bring the same numbers, or the same contents, into one seam."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.known = dice.random() < 0.5
        """Whether the numbering was known when the overlap began."""
        self.seam: Seam[str, tuple[str, int]] = Seam([("a", 0)] if self.known else [])
        begins = dice.randrange(1, LAST // 2)
        self.left = {
            (key, is_new): list(range(begins if is_new else 1, LAST + 1))
            for key in "ab"
            for is_new in (False, True)
        }
        self.brought = self.gone = 0
        self.passed: dict[str, list[int]] = {"a": [], "b": []}
        self.favours = dice.random() < 0.5
        """Whether the new link is the faster one."""

    def bring(self, key: str, *, is_new: bool) -> None:
        number = self.left[key, is_new].pop(0)
        item = (key, number)
        self.brought += 1
        if key == "b":
            self.take(self.seam.alike(key, number, item, is_new=is_new))
        elif is_new:
            self.take(self.seam.new(key, number - 1, number, item))
        else:
            self.take(self.seam.old(key, number - 1, number, item))

    def any(self, *, is_new: bool | None = None) -> bool:
        """Bring the next of one link's messages, if there is any."""
        which = self.favours if self.dice.random() < 0.6 else not self.favours
        asked = which if is_new is None else is_new
        keys = [key for key in "ab" if self.left[key, asked]]
        if keys:
            self.bring(self.dice.choice(keys), is_new=asked)
        return bool(keys)

    def take(self, items: list[tuple[str, int]]) -> None:
        for key, number in items:
            self.passed[key].append(number)
        self.check()

    def check(self) -> None:
        count = sum(map(len, self.passed.values()))
        held = self.seam.held
        assert held >= 0
        assert self.brought == count + self.seam.doubled + held + self.gone
        for numbers in self.passed.values():
            assert numbers == sorted(set(numbers)), "each once, and in order"


@pytest.mark.parametrize("seed", range(40))
def test_every_message_of_two_links_is_passed_doubled_or_held_at_any_time(
    seed: int,
) -> None:
    links = Links(random.Random(seed))
    for _ in range(links.dice.randrange(4 * LAST)):
        links.any()
    links.take(links.seam.finish())
    assert links.seam.held == 0
    assert links.seam.complete
    while links.any(is_new=True):
        pass
    for key, numbers in links.passed.items():
        assert numbers[-1] == LAST, key
        missing = set(range(1, LAST + 1)) - set(numbers)
        # Only what the old link had left to bring, before the new one's first.
        assert all(number in links.left[key, False] for number in missing)


@pytest.mark.parametrize("seed", range(40))
def test_without_its_new_link_a_stream_has_all_that_the_old_one_brings(
    seed: int,
) -> None:
    links = Links(random.Random(seed))
    for _ in range(links.dice.randrange(3 * LAST)):
        links.any()
    links.gone = links.seam.held
    links.seam.withdraw()
    assert links.seam.held == 0
    assert links.seam.complete
    links.check()
    while links.any(is_new=False):
        pass
    for numbers in links.passed.values():
        assert numbers == list(range(1, LAST + 1))


def test_equal_messages_are_as_many_as_either_link_brought() -> None:
    """A price that is told three times is told three times, not once."""
    seam: Seam[str, int] = Seam([])
    marks = [1, 1, 2, 1, 1, 3, 3, 3, 4]
    passed: list[int] = []
    for mark in marks[:4]:
        passed += seam.alike("a", mark, mark, is_new=False)
    for mark in marks[2:]:
        passed += seam.alike("a", mark, mark, is_new=True)
    for mark in marks[4:]:
        passed += seam.alike("a", mark, mark, is_new=False)
    assert passed == marks
    assert (seam.doubled, seam.held) == (7, 0)


def test_a_link_that_joined_may_fall_behind_and_come_first_again() -> None:
    seam: Seam[str, int] = Seam([])
    passed: list[int] = []
    for mark, is_new in [
        (1, False), (1, True), (2, True), (3, True), (2, False), (3, False),
        (4, False), (5, False), (4, True), (5, True), (6, True), (6, False),
    ]:  # fmt: skip
        passed += seam.alike("a", mark, mark, is_new=is_new)
    assert passed == [1, 2, 3, 4, 5, 6]
    assert seam.doubled == 6


@pytest.mark.parametrize("brought", [MOST_HELD, MOST_HELD + 1])
def test_4096_messages_are_held_and_of_more_the_new_link_goes_on(brought: int) -> None:
    assert MOST_HELD == 4096
    numbered: Seam[str, int] = Seam([("a", 5)])
    passed = [m for n in range(brought) for m in numbered.new("a", n + 9, n + 10, n)]
    full = brought > 4096
    assert passed == (list(range(brought)) if full else [])
    assert numbered.held == (0 if full else brought)
    assert numbered.complete is full
    assert numbered.doubtful == ({"a": True} if full else {})
    alike: Seam[str, int] = Seam([])
    for n in range(brought):
        assert alike.alike("a", n, n, is_new=True) == []
    assert (alike.held, alike.doubled) == (4096, brought - 4096)
    assert alike.finish() == list(range(brought - 4096, brought))
    assert alike.doubtful == {"a": False}


def test_a_link_that_fell_4096_behind_is_told_by_what_it_brings_next() -> None:
    seam: Seam[str, int] = Seam([])
    seam.alike("a", -1, -1, is_new=False)
    seam.alike("a", -1, -1, is_new=True)
    for mark in range(4097):
        assert seam.alike("a", mark, mark, is_new=True) == [mark]
    # The first of them is no longer known, the second is.
    assert seam.alike("a", 0, 0, is_new=False) == [0]
    assert seam.alike("a", 1, 1, is_new=False) == []


def test_old_news_of_a_new_link_whose_numbers_are_others_is_strange() -> None:
    """Numbers below the last one that the old link never brought: it counts anew."""
    for high, strange in ((3, True), (7, False)):
        seam: Seam[str, int] = Seam([("a", 6)])
        assert seam.old("a", 6, 7, 7) == [7]
        assert seam.new("a", high - 1, high, high) == []
        assert seam.finish() == []
        assert seam.doubtful == ({"a": False} if strange else {})
        assert seam.new("a", high, high + 1, high + 1) == [high + 1]
        assert seam.settled


def test_a_numbering_that_neither_link_brought_is_in_no_doubt() -> None:
    seam: Seam[str, int] = Seam([("quiet", 3), ("loud", 3)])
    seam.old("loud", 3, 4, 4)
    seam.finish()
    assert seam.doubtful == {"loud": True}
    assert seam.new("quiet", 8, 9, 9) == [9]
    assert len(seam.doubtful) == 1


def test_a_new_link_that_turns_out_to_count_otherwise_is_compared_no_more() -> None:
    seam: Seam[str, int] = Seam([("a", 7)])
    assert seam.new("a", 8, 9, 9) == []
    assert seam.finish() == [9]
    assert not seam.settled
    assert seam.new("a", 3, 4, 4) == [4]
    assert seam.settled
    assert seam.new("a", 3, 4, 4) == [4]


def test_what_was_passed_last_before_the_overlap_shows_that_both_count_alike() -> None:
    seam: Seam[str, int] = Seam([("a", 5)])
    assert seam.old("a", 5, 6, 6) == [6]
    assert seam.new("a", 4, 5, 5) == []
    assert seam.finish() == []
    assert seam.doubtful == {}


@pytest.mark.parametrize("ends", [Seam.finish, Seam.withdraw])
def test_once_all_was_brought_by_both_nothing_can_be_double_any_more(
    ends: Callable[[Seam[str, int]], object],
) -> None:
    seam: Seam[str, int] = Seam([])
    for is_new in (False, True):
        seam.alike("a", 1, 1, is_new=is_new)
    assert not seam.settled
    ends(seam)
    assert seam.settled
    assert seam.alike("a", 1, 1, is_new=ends is Seam.finish) == [1]


def test_what_only_the_old_link_brought_of_joined_numbers_outlives_the_new_one() -> (
    None
):
    seam: Seam[str, int] = Seam([("a", 10)])
    passed = seam.old("a", 10, 11, 11) + seam.new("a", 10, 11, 11)
    assert seam.complete
    for number in (12, 13, 14):
        passed += seam.old("a", number - 1, number, number)
    assert seam.new("a", 11, 12, 12) == []
    seam.withdraw()
    passed += seam.old("a", 14, 15, 15)
    assert passed == [11, 12, 13, 14, 15]
    assert seam.doubled == 2


def test_joined_links_that_cut_a_range_in_two_places_join_where_the_cuts_agree() -> (
    None
):
    seam: Seam[str, str] = Seam([("a", 10)])
    assert seam.new("a", 10, 12, "11-12") == ["11-12"]
    assert seam.old("a", 10, 12, "11-12") == []
    assert seam.old("a", 12, 14, "13-14") == ["13-14"]
    assert seam.new("a", 12, 15, "13-15") == []
    assert not seam.complete
    assert seam.new("a", 15, 16, "16") == []
    assert seam.old("a", 14, 15, "15") == ["15", "16"]
    assert seam.complete
    assert (seam.held, seam.doubled) == (0, 2)


def test_numbers_that_rest_are_not_waited_for_once_nothing_can_be_under_way() -> None:
    seam: Seam[str, int] = Seam([("rests", 5), ("goes", 5)])
    assert seam.old("goes", 5, 6, 6) == [6]
    seam.still(())
    assert not seam.complete
    assert seam.new("goes", 5, 6, 6) == []
    assert seam.complete
    # Until it goes on: then both links bring it.
    assert seam.old("rests", 5, 6, 6) == [6]
    assert not seam.complete
    seam.still(())
    assert not seam.complete
    assert seam.new("rests", 5, 6, 6) == []
    assert seam.complete
    assert seam.finish() == []
    assert seam.doubtful == {}


def test_of_numbers_that_rest_a_snapshot_is_double_though_it_comes_late() -> None:
    seam: Seam[str, int] = Seam([("a", 5)])
    seam.still(())
    assert seam.complete
    assert seam.finish() == []
    assert seam.new("a", 4, 5, 5, whole=True) == []
    assert seam.new("a", 5, 6, 6) == [6]
    assert seam.settled


@pytest.mark.parametrize("bound", ["MOST_HELD_IN_ALL", "MOST_HELD_BYTES"])
def test_all_that_is_held_of_all_keys_is_bounded_and_what_is_not_is_told(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 10 messages of a byte each, over 50 channels."""
    monkeypatch.setattr(seams, bound, 10)
    seam: Seam[str, str] = Seam([], size_bytes=len)
    passed: list[str] = []
    for turn in range(2):
        for n in range(50):
            passed += seam.alike(f"k{n}", hash((turn, n)), "n", is_new=True)
            passed += seam.new(f"n{n}", turn + 6, turn + 7, "n")
    assert seam.held <= 10
    assert seam.held_bytes <= 10
    # Their numbers will tell what lies between.
    assert len(passed) == 100
    assert seam.held + seam.doubled + len(passed) == 200
    # The old link's pass as before.
    assert seam.alike("k49", 1, "o", is_new=False) == ["o"]
    assert seam.alike("k49", 1, "n", is_new=True) == []
    seam.finish()
    assert (seam.held, seam.held_bytes) == (0, 0)
    assert {key: tells for key, tells in seam.doubtful.items() if not tells} == {
        f"k{n}": False for n in range(50)
    }


def test_what_is_held_is_counted_in_bytes_until_it_is_passed_on() -> None:
    seam: Seam[str, str] = Seam([("n", 5)], size_bytes=len)
    seam.alike("k", 1, "123", is_new=True)
    seam.alike("k", 2, "1234", is_new=True)
    seam.new("n", 6, 7, "12345")
    assert seam.held_bytes == 12
    assert seam.alike("k", 1, "123", is_new=False) == ["123", "1234"]
    assert seam.held_bytes == 5
    assert seam.old("n", 5, 6, "") == ["", "12345"]
    assert seam.held_bytes == 0
