"""Messages that only their content tells apart: where two links meet in them.

Contents repeat. Where the links meet is shown by a content that each of them has
brought once, or by a run of contents that each has brought once; and for as long only
as that holds. The old link's own of the same content may be on its way still: so it is
shown once that link has answered something that it was asked afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

M = TypeVar("M")

MOST_HELD = 4096
"""Messages of one key that are held, and that each link is known to have brought."""
MOST_ANCHORS = 64
MOST_WHOLE = 16
"""Snapshots of one key that one link passed on and the other may yet bring."""
WORDS = (1, 4, 16)
"""So many messages in a row tell where they stand, if each link brought them once."""


class _Link:
    """What one of the two links has brought."""

    __slots__ = ("ahead", "brought", "counts", "is_whole", "marks", "wholes")

    def __init__(self) -> None:
        self.brought = 0
        self.marks: deque[int] = deque()
        self.counts: dict[int, int] = {}
        """How often each word of what is known was brought."""
        self.ahead: deque[tuple[int, int]] = deque(maxlen=MOST_HELD)
        """What it passed on and the other has not brought yet, each with its place
        among all that was passed on."""
        self.wholes: deque[int] = deque(maxlen=MOST_WHOLE)
        self.is_whole = True
        """Whether all is known that it has brought."""

    def bring(self, mark: int) -> list[int]:
        """Take the next; the words that end with it, the shortest first."""
        self.brought += 1
        self.marks.append(mark)
        if len(self.marks) > MOST_HELD:
            first = [self.marks[place] for place in range(max(WORDS))]
            for length in WORDS:
                self._forget(hash(tuple(first[:length])))
            self.marks.popleft()
            self.is_whole = False
        tail = self.tail(max(WORDS))
        words = [hash(tuple(tail[-n:])) for n in WORDS if n <= len(tail)]
        for word in words:
            self.counts[word] = self.counts.get(word, 0) + 1
        return words

    def tail(self, length: int) -> list[int]:
        count = len(self.marks)
        return [self.marks[place] for place in range(max(0, count - length), count)]

    def place(self, word: Sequence[int]) -> int | None:
        """Where a word ends that it has brought."""
        marks, length = list(self.marks), len(word)
        for end, mark in enumerate(marks, 1):
            if mark == word[-1] and marks[end - length : end] == word:
                return end - 1
        return None

    def clear(self) -> None:
        self.brought = 0
        self.marks.clear()
        self.counts.clear()

    def _forget(self, word: int) -> None:
        self.counts[word] -= 1
        if not self.counts[word]:
            del self.counts[word]


class Likeness(Generic[M]):
    """One key, for as long as two links bring it, and then until nothing of the one
    that is left can be double."""

    __slots__ = (
        *(
            "given_up",
            "held",
            "held_bytes",
            "joined",
            "over",
            "_alone",
            "_anchors",
            "_answers",
            "_begun",
        ),
        "_broken",
        "_by_new",
        *("_new", "_old", "_passed", "_proven", "_repeats", "_shift", "_still"),
        "doubted",
    )

    def __init__(self, *, begun: bool, answers: bool) -> None:
        """`begun`: nothing came on the new link that will not come on the old one;
        `answers`: the old one says so when it is asked."""
        self._begun, self._answers = begun, answers
        self.held: deque[tuple[int | None, M]] = deque()
        """Of the new link; without a mark what it alone was sent: a snapshot."""
        self.held_bytes = 0
        """For its owner to count."""
        self.joined = False
        self.given_up = False
        """Whether there was no room for it: the old link's messages pass."""
        self.over = False
        """Whether one link is gone, and nothing of the other is compared any more."""
        self._old, self._new = _Link(), _Link()
        self.doubted = False
        """Whether it has turned out since that something may be missing."""
        self._anchors: dict[int, tuple[float, int]] = {}
        """Words in which the two were seen to meet, each brought once by either: when,
        and how many messages more the old link had brought up to there."""
        self._shift: int | None = None
        """How many more it had brought where the two were joined."""
        self._proven = False
        """Whether the old link had brought all that the new one had when they met."""
        self._broken = False
        """Whether something was passed on twice, or out of order."""
        self._repeats = False
        """Whether a link has brought anything twice."""
        self._passed = 0
        self._by_new = False
        """Whether the new link has passed on anything."""
        self._alone = False
        self._still = False
        """Whether they met where nothing had been said."""

    @property
    def sure(self) -> bool:
        """Whether the two have met, and nothing since speaks against it."""
        if not self.joined or self._broken or (self._old.ahead and self._new.ahead):
            return False
        if self._proven or (self._still and not self._old.ahead):
            return True
        return bool(self._anchors) and not self._answers

    @property
    def asks(self) -> bool:
        """Whether an answer of the old link is wanted."""
        if self._broken or self._proven or not self._answers:
            return False
        return bool(self._anchors) and self._old.is_whole and self._new.is_whole

    def answered(self, *, asked_at: float) -> list[M]:
        """The old link answered what it was asked then. What to pass on."""
        if self._proven:
            return []
        if not (self._old.is_whole and self._new.is_whole):
            return []
        shifts = {shift for at, shift in self._anchors.values() if at < asked_at}
        if len(shifts) != 1:
            self._broken = self._broken or bool(shifts)
            return []
        [shift] = shifts
        if self._shift is not None and shift != self._shift:
            self._broken = True
        self._proven = True
        return [] if self.joined else self._join(shift)

    @property
    def is_still(self) -> bool:
        """Whether neither link has brought what both will."""
        held = all(mark is None for mark, _ in self.held)
        return held and not self.joined and not self._old.marks

    def begin(self) -> None:
        """What the old link brought before will not come on the new one."""
        if not self.joined:
            self._old.clear()
            self._begun = True

    def join_still(self) -> list[M]:
        """Nothing lies between the two; nothing is to be passed on."""
        self.joined = self._still = True
        self.held.clear()
        return []

    def give_up(self) -> list[M]:
        """Forget what is held; nothing is to be passed on."""
        self.given_up = self._broken = True
        self.held.clear()
        self._old.clear()
        return []

    # --- both links -----------------------------------------------------------------

    def take(
        self, mark: int, message: M, *, is_new: bool, whole: bool, now: float
    ) -> list[M]:
        """What to pass on now that one of the links brought a message."""
        mine, other = (self._new, self._old) if is_new else (self._old, self._new)
        if whole and not self.given_up:
            return self._take_whole(mine, other, mark, message)
        if self.given_up:
            return [] if is_new and not self._alone else [message]
        words = mine.bring(mark)
        if mine.counts[words[0]] > 1:
            self._repeats = True
        for word in words:
            if mine.counts[word] > 1:
                self._anchors.pop(word, None)
        if self.joined:
            return self._match(mine, other, words, mark, message, now)
        if is_new:
            self._hold(mark, message)
        shift = self._meeting(mine, other, words, now)
        passed = [] if is_new else [message]
        return passed if shift is None else passed + self._join(shift)

    def _join(self, shift: int) -> list[M]:
        """The old link has brought `shift` more up to where both stand alike."""
        self.joined, self._shift = True, shift
        held, marks = list(self.held), list(self._old.marks)
        self.held.clear()
        ahead = self._old.brought - self._new.brought - shift
        if ahead >= 0:
            marks = marks[len(marks) - ahead :] if ahead else []
            self._old.ahead.extend((mark, 0) for mark in marks)
            return []
        # All that the new link brought before it lies further back.
        passed: list[M] = []
        behind = sum(mark is not None for mark, _ in held) + ahead
        # What was not held for want of room is not passed on.
        self._broken = self._broken or behind < 0
        for mark, message in held:
            if behind > 0:
                behind -= mark is not None
                continue
            passed.append(message)
            self._note(self._new, mark)
        return passed

    def _hold(self, mark: int | None, message: M) -> None:
        self.held.append((mark, message))
        if len(self.held) > MOST_HELD:
            self.held.popleft()

    def _meeting(
        self, mine: _Link, other: _Link, words: list[int], now: float
    ) -> int | None:
        """How many more the old link had brought where the two meet, if they do."""
        for length, word in zip(WORDS, words, strict=False):
            if not self._tells(word, mine, other):
                continue
            place = other.place(mine.tail(length))
            if place is None or not self._agree(mine, place):
                continue
            brought = other.brought - len(other.marks) + place + 1
            shift = brought - mine.brought
            shift = shift if mine is self._new else -shift
            self._anchors[word] = now, shift
            return None if self._answers else shift
        return None

    def _agree(self, mine: _Link, place: int) -> bool:
        """Whether both brought the same up to the last of one and this of the other.

        The new link alone may be sent one message as a greeting.
        """
        last = len(mine.marks) - 1
        old, new = (place, last) if mine is self._new else (last, place)
        olds, news = list(self._old.marks)[: old + 1], list(self._new.marks)[: new + 1]
        begins = old - new
        if begins < 0 and not self._begun:
            return olds == news[-begins:]
        if begins >= 0 and olds[begins:] == news:
            return True
        return new > 1 and begins >= -1 and olds[begins + 1 :] == news[1:]

    def _tells(self, word: int, mine: _Link, other: _Link) -> bool:
        return mine.counts.get(word) == 1 and other.counts.get(word) == 1

    def _note(self, mine: _Link, mark: int | None) -> None:
        self._passed += 1
        self._by_new = self._by_new or mine is self._new
        if mark is not None:
            mine.ahead.append((mark, self._passed))

    def _match(
        self,
        mine: _Link,
        other: _Link,
        words: list[int],
        mark: int,
        message: M,
        now: float,
    ) -> list[M]:
        """Both links are one: drop from the slower what the faster one brought."""
        tells = self._tells(words[0], mine, other)
        place = None
        if words[0] in other.counts:
            marks = (each for each, _ in other.ahead)
            place = next((n for n, each in enumerate(marks) if each == mark), None)
        unmet = self._alone and self._broken
        if place is None or ((place or unmet) and not tells):
            if self._alone:
                return self._pass_alone(mine, words[0], message)
            self._note(mine, mark)
            return [message]
        behind = len(other.ahead) - 1 - place
        shift = other.brought - behind - mine.brought
        shift = shift if mine is self._new else -shift
        for _ in range(place):
            self._skip(other.ahead.popleft()[0])
        _, passed = other.ahead.popleft()
        if mine.ahead and tells:
            # What it alone brought lies before this one: so it was to be passed.
            self._broken = self._broken or mine.ahead[-1][1] > passed
            while mine.ahead:
                self._skip(mine.ahead.popleft()[0])
        for word in words:
            if self._tells(word, mine, other):
                self._anchors[word] = now, shift
        while len(self._anchors) > MOST_ANCHORS:
            del self._anchors[next(iter(self._anchors))]
        self.over = self._alone and not other.ahead
        return []

    def _skip(self, mark: int) -> None:
        """One link alone brought it, though the other has come further."""
        if self._tells(hash((mark,)), self._old, self._new):
            self._broken = True

    def _take_whole(self, mine: _Link, other: _Link, mark: int, message: M) -> list[M]:
        if not self.joined and mine is self._new:
            self._hold(None, message)
            return []
        if self._alone:
            # What follows it is to follow it, whoever brought that before.
            self.over = True
            return [message]
        if mark in other.wholes:
            while other.wholes.popleft() != mark:
                pass
            return []
        if other.ahead:
            # What was passed on is further than this.
            return []
        mine.wholes.append(mark)
        self._by_new = self._by_new or mine is self._new
        return [message]

    # --- one link -------------------------------------------------------------------

    def finish(self) -> tuple[list[M], bool]:
        """The old link is gone: what is held, and whether nothing can be missing."""
        passed, sure = self._trust(), self.sure
        sure = sure or (self.joined and self._trusts)
        if not self.joined:
            passed = [message for _, message in self.held]
            if not self._repeats and not self.given_up:
                self._old.ahead.extend((mark, 0) for mark in self._old.marks)
            self._broken = True
        elif not sure:
            self._old.ahead.clear()
        self.held.clear()
        self._be_alone(self._old)
        return passed, sure

    @property
    def _trusts(self) -> bool:
        """Whether each content tells its message, as far as is known of any."""
        return not self._repeats and not self._broken and len(self._shifts) == 1

    @property
    def _shifts(self) -> set[int]:
        return {shift for _, shift in self._anchors.values()}

    def _trust(self) -> list[M]:
        """It cannot be asked any more."""
        if self.joined or not self._trusts:
            return []
        [shift] = self._shifts
        return self._join(shift)

    def withdraw(self) -> bool:
        """The new link is gone, and what it held; whether nothing can be missing."""
        sure = self.sure or not self._by_new
        self.held.clear()
        if not sure:
            self._new.ahead.clear()
        self._be_alone(self._new)
        return sure

    def _be_alone(self, gone: _Link) -> None:
        self.joined = self._alone = True
        self.over = not gone.ahead

    def _pass_alone(self, mine: _Link, word: int, message: M) -> list[M]:
        """It is not what was to come next of what the link that is gone brought."""
        if mine.counts[word] == 1 and not self._broken:
            # Where the two were seen to meet they did not, and no one knows where.
            self.doubted = self.over = True
        return [message]
