"""What two links brought, by the words in it: which word did each of both bring once.

A word is so many messages in a row. All is counted as it comes, so that to ask later
is cheap however much came: a look at a busy stream must not hold up its reads.
"""

from __future__ import annotations

from collections import deque

LENGTHS = (1, 4, 16)


class Brought:
    """What one link brought, of which the latest `most` are known, and their words.

    A word is told by one number, that of a single message by its mark. Places count
    from the first message that ever came.
    """

    __slots__ = ("ats", "first", "last", "many", "marks", "recent", "words")

    def __init__(self, *, most: int) -> None:
        self.marks: deque[int] = deque(maxlen=most)
        self.ats: deque[float] = deque(maxlen=most)
        self.first = 0
        """The place of the earliest that is known."""
        self.recent: deque[int] = deque(maxlen=LENGTHS[-1])
        self.words: tuple[deque[int], ...] = tuple(deque() for _ in LENGTHS)
        """Of each length, the words in the order of the places they begin at."""
        self.last: tuple[dict[int, int], ...] = tuple({} for _ in LENGTHS)
        """Of each length, where each word began last."""
        self.many: tuple[dict[int, int], ...] = tuple({} for _ in LENGTHS)
        """How often each came that came more than once."""

    @property
    def full(self) -> bool:
        return len(self.marks) == self.marks.maxlen

    def once(self, nth: int, word: int) -> bool:
        """Whether this word of the nth length is known to have come exactly once."""
        return word in self.last[nth] and word not in self.many[nth]

    def seen_at(self, mark: int) -> float:
        """When this message came last; it must have come."""
        return self.ats[self.last[0][mark] - self.first]

    def add(self, mark: int, at: float) -> list[tuple[int, int]]:
        """A message came. The words whose number changed, each after its length."""
        changed = self._drop() if self.full else []
        self.marks.append(mark)
        self.ats.append(at)
        self.recent.append(mark)
        ends = self.first + len(self.marks)
        row = tuple(self.recent)
        for nth, length in enumerate(LENGTHS):
            if len(row) < length:
                break
            word = mark if length == 1 else hash(row[-length:])
            last, many = self.last[nth], self.many[nth]
            if word in last:
                many[word] = many.get(word, 1) + 1
            last[word] = ends - length
            self.words[nth].append(word)
            changed.append((nth, word))
        return changed

    def _drop(self) -> list[tuple[int, int]]:
        """The earliest message is forgotten, with the words that began with it."""
        self.marks.popleft()
        self.ats.popleft()
        self.first += 1
        dropped: list[tuple[int, int]] = []
        for nth, words in enumerate(self.words):
            if not words:
                break
            word, many = words.popleft(), self.many[nth]
            times = many.pop(word, 1) - 1
            if times > 1:
                many[word] = times
            elif times == 0:
                del self.last[nth][word]
            dropped.append((nth, word))
        return dropped


class Words:
    """The words of two links, of which each is known to have brought the same.

    `settle`: what both bring they bring within so many seconds of each other. The times
    of one link must not fall. Memory is bounded by what is known of each.
    """

    __slots__ = ("_settle", "_spoilt", "both", "missing", "new", "old")

    def __init__(self, *, old: int, new: int, settle: float) -> None:
        self.old, self.new = Brought(most=old), Brought(most=new)
        self.both: tuple[set[int], ...] = tuple(set() for _ in LENGTHS)
        """Of each length, the words that each of both brought once, and in time."""
        self.missing: dict[int, float] = {}
        """What the old one alone brought: when last, and in that order."""
        self._settle = settle
        self._spoilt: dict[int, float] = {}

    def add_old(self, mark: int, at: float) -> None:
        self._count(self.old.add(mark, at))

    def add_new(self, mark: int, at: float) -> None:
        self._count(self.new.add(mark, at))

    def parts(self) -> list[object]:
        """All that weighs much, to be let go of part by part: at once it takes long."""
        parts: list[object] = [self.missing, self._spoilt, *self.both]
        for link in (self.old, self.new):
            parts += [link.marks, link.ats, *link.words, *link.last, *link.many]
        return parts

    @property
    def spoilt_at(self) -> float | None:
        """When a message came last that its content alone cannot tell: repeated on a
        link, or too far from its double on the other."""
        return max(self._spoilt.values(), default=None)

    def _count(self, changed: list[tuple[int, int]]) -> None:
        old, new = self.old, self.new
        for nth, word in changed:
            if old.once(nth, word) and new.once(nth, word) and self._near(nth, word):
                self.both[nth].add(word)
            else:
                self.both[nth].discard(word)
            if nth == 0:
                self._judge(word)

    def _near(self, nth: int, word: int) -> bool:
        """Whether both began and ended it within `settle` of each other."""
        olds, news = self.old.ats, self.new.ats
        before = self.old.last[nth][word] - self.old.first
        at, ends = self.new.last[nth][word] - self.new.first, LENGTHS[nth] - 1
        return (
            abs(olds[before] - news[at]) <= self._settle
            and abs(olds[before + ends] - news[at + ends]) <= self._settle
        )

    def _judge(self, mark: int) -> None:
        old, new = self.old, self.new
        came = [link.seen_at(mark) for link in (old, new) if mark in link.last[0]]
        if mark not in old.last[0] or mark in new.last[0]:
            self.missing.pop(mark, None)
        elif self.missing.get(mark) != came[0]:
            self.missing.pop(mark, None)
            self.missing[mark] = came[0]
        if mark in old.many[0] or mark in new.many[0]:
            self._spoilt[mark] = max(came)
        elif len(came) == 2 and abs(came[0] - came[1]) > self._settle:
            self._spoilt[mark] = came[1]
        else:
            self._spoilt.pop(mark, None)
