"""Two links laid over each other, beside a model that keeps and compares whole lists.

The model counts nothing: what is held, doubled or complete it reads off its lists.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from heartline.core import likeness, seam
from heartline.core.likeness import WORDS
from heartline.core.seam import UNJOINED, Seam

HELD, ANCHORS, WHOLE = 20, 3, 2
IN_ALL, BYTES = 40, 300


@dataclass
class Message:
    nth: int
    size: int


@dataclass
class Side:
    brought: int = 0
    marks: list[int] = field(default_factory=list)
    ahead: list[tuple[int, int]] = field(default_factory=list)
    wholes: list[int] = field(default_factory=list)
    is_whole: bool = True

    def bring(self, mark: int) -> list[tuple[int, ...]]:
        self.brought += 1
        self.marks.append(mark)
        if len(self.marks) > HELD:
            self.marks, self.is_whole = self.marks[1:], False
        return [tuple(self.marks[-n:]) for n in WORDS if n <= len(self.marks)]

    def places(self, word: tuple[int, ...]) -> list[int]:
        """Where it ends, counted from the first that was ever brought."""
        first, n, marks = self.brought - len(self.marks), len(word), self.marks
        ends = range(n, len(marks) + 1)
        return [first + at for at in ends if tuple(marks[at - n : at]) == word]


class Like:
    def __init__(self, *, begun: bool, answers: bool) -> None:
        self.begun, self.answers = begun, answers
        self.held: list[tuple[int | None, Message]] = []
        self.old, self.new = Side(), Side()
        self.anchors: dict[tuple[int, ...], tuple[float, int]] = {}
        self.shift: int | None = None
        self.joined = self.given_up = self.over = self.doubted = self.proven = False
        self.broken = self.repeats = self.by_new = self.alone = self.stilled = False
        self.passed = self.held_bytes = 0

    @property
    def sure(self) -> bool:
        apart = bool(self.old.ahead and self.new.ahead)
        seen = bool(self.anchors) and not self.answers
        still = self.stilled and not self.old.ahead
        met = self.proven or still or seen
        return self.joined and not self.broken and not apart and met

    @property
    def known(self) -> bool:
        return self.old.is_whole and self.new.is_whole

    @property
    def asks(self) -> bool:
        open_ = self.answers and not self.broken and not self.proven
        return open_ and bool(self.anchors) and self.known

    @property
    def is_still(self) -> bool:
        brought = self.old.marks or any(mark is not None for mark, _ in self.held)
        return not self.joined and not brought

    def join_still(self) -> None:
        self.joined = self.stilled = True
        self.held = []

    def begin(self) -> None:
        if not self.joined:
            self.old.brought, self.old.marks = 0, []
            self.begun = True

    def give_up(self) -> None:
        self.given_up = self.broken = True
        self.held = []
        self.old.brought, self.old.marks = 0, []

    def answered(self, asked_at: float) -> list[Message]:
        if self.proven or not self.known:
            return []
        shifts = {shift for at, shift in self.anchors.values() if at < asked_at}
        self.broken = self.broken or len(shifts) > 1
        if len(shifts) != 1:
            return []
        [shift] = shifts
        self.broken = self.broken or self.shift not in (None, shift)
        self.proven = True
        return [] if self.joined else self.join(shift)

    def tells(self, word: tuple[int, ...]) -> bool:
        return len(self.old.places(word)) == len(self.new.places(word)) == 1

    def take(
        self, mark: int, message: Message, *, is_new: bool, whole: bool, now: float
    ) -> list[Message]:
        mine, other = (self.new, self.old) if is_new else (self.old, self.new)
        if self.given_up:
            return [] if is_new and not self.alone else [message]
        if whole:
            return self.take_whole(mine, other, mark, message)
        words = mine.bring(mark)
        self.repeats = self.repeats or len(mine.places(words[0])) > 1
        for word in words:
            if len(mine.places(word)) > 1:
                self.anchors.pop(word, None)
        if self.joined:
            return self.match(mine, other, words, message, now)
        if is_new:
            self.held = [*self.held, (mark, message)][-HELD:]
        passed = [] if is_new else [message]
        for word in words:
            if self.tells(word) and self.agree(word):
                [old], [new] = self.old.places(word), self.new.places(word)
                self.anchors[word] = now, old - new
                return passed if self.answers else passed + self.join(old - new)
        return passed

    def agree(self, word: tuple[int, ...]) -> bool:
        """Whether what both brought up to where they meet is the same."""
        olds = self.old.marks[: self.index(self.old, word) + 1]
        news = self.new.marks[: self.index(self.new, word) + 1]
        alike = 0
        for old, new in zip(olds[::-1], news[::-1], strict=False):
            if old != new:
                break
            alike += 1
        if not self.begun and len(olds) < len(news):
            return alike == len(olds)
        # The new link alone may be sent one message as a greeting.
        return alike == len(news) or (alike >= len(news) - 1 > 1)

    @staticmethod
    def index(side: Side, word: tuple[int, ...]) -> int:
        return side.places(word)[0] - 1 - side.brought + len(side.marks)

    def join(self, shift: int) -> list[Message]:
        self.joined, self.shift = True, shift
        held, self.held = self.held, []
        ahead = self.old.brought - self.new.brought - shift
        if ahead >= 0:
            more = self.old.marks[max(0, len(self.old.marks) - ahead) :]
            self.old.ahead = [(m, 0) for m in (more if ahead else [])]
            return []
        data = [at for at, (mark, _) in enumerate(held) if mark is not None]
        self.broken = self.broken or -ahead > len(data)
        passes = held[data[ahead - 1] + 1 :] if -ahead < len(data) else held
        for mark, _ in passes:
            self.note(self.new, mark)
        return [message for _, message in passes]

    def note(self, mine: Side, mark: int | None) -> None:
        self.passed += 1
        self.by_new = self.by_new or mine is self.new
        if mark is not None:
            mine.ahead = [*mine.ahead, (mark, self.passed)][-HELD:]

    def match(
        self,
        mine: Side,
        other: Side,
        words: list[tuple[int, ...]],
        message: Message,
        now: float,
    ) -> list[Message]:
        [mark] = words[0]
        tells, ahead = self.tells(words[0]), [each for each, _ in other.ahead]
        place = ahead.index(mark) if mark in ahead else None
        if not other.places(words[0]):
            place = None
        unmet = self.alone and self.broken
        if place is None or ((place or unmet) and not tells):
            if self.alone:
                if len(mine.places(words[0])) == 1 and not self.broken:
                    self.doubted = self.over = True
                return [message]
            self.note(mine, mark)
            return [message]
        shift = other.brought - (len(ahead) - 1 - place) - mine.brought
        shift = shift if mine is self.new else -shift
        skipped, passed_at = other.ahead[:place], other.ahead[place][1]
        other.ahead = other.ahead[place + 1 :]
        for each, _ in skipped:
            self.broken = self.broken or self.tells((each,))
        if mine.ahead and tells:
            self.broken = self.broken or mine.ahead[-1][1] > passed_at
            for each, _ in mine.ahead:
                self.broken = self.broken or self.tells((each,))
            mine.ahead = []
        for word in words:
            if self.tells(word):
                self.anchors[word] = now, shift
        for word in list(self.anchors)[: max(0, len(self.anchors) - ANCHORS)]:
            del self.anchors[word]
        self.over = self.alone and not other.ahead
        return []

    def take_whole(
        self, mine: Side, other: Side, mark: int, message: Message
    ) -> list[Message]:
        if not self.joined and mine is self.new:
            self.held = [*self.held, (None, message)][-HELD:]
            return []
        if self.alone:
            self.over = True
            return [message]
        if mark in other.wholes:
            other.wholes = other.wholes[other.wholes.index(mark) + 1 :]
            return []
        if other.ahead:
            return []
        mine.wholes = [*mine.wholes, mark][-WHOLE:]
        self.by_new = self.by_new or mine is self.new
        return [message]

    @property
    def trusts(self) -> bool:
        shifts = {shift for _, shift in self.anchors.values()}
        return not self.repeats and not self.broken and len(shifts) == 1

    def finish(self) -> tuple[list[Message], bool]:
        passed: list[Message] = []
        if not self.joined and self.trusts:
            passed = self.join(next(iter(self.anchors.values()))[1])
        sure = self.sure or (self.joined and self.trusts)
        if not self.joined:
            passed = [message for _, message in self.held]
            if not self.repeats and not self.given_up:
                self.old.ahead = [(mark, 0) for mark in self.old.marks]
            self.broken = True
        elif not sure:
            self.old.ahead = []
        self.be_alone(self.old)
        return passed, sure

    def withdraw(self) -> bool:
        sure = self.sure or not self.by_new
        if not sure:
            self.new.ahead = []
        self.be_alone(self.new)
        return sure

    def be_alone(self, gone: Side) -> None:
        self.joined = self.alone = True
        self.held, self.over = [], not gone.ahead


@dataclass
class Edge:
    last: int | None
    held: list[tuple[int, int, Message]] = field(default_factory=list)
    joined: bool = False
    brought: bool = False
    rests: bool = False
    proven: bool = False
    strange: bool = False
    highs: set[int] = field(default_factory=set)


class Model:
    def __init__(self, keys: dict[str, int | None], *, answers: bool) -> None:
        self.edges = {key: Edge(last) for key, last in keys.items()}
        for edge in self.edges.values():
            edge.highs = set() if edge.last is None else {edge.last}
        self.likes: dict[str, Like] = {}
        self.answers, self.begun, self.alone = answers, False, False
        self.stills: set[str] = set()
        self.doubtful: dict[str, bool] = {}
        self.came = self.passed = self.forgotten = 0

    @property
    def complete(self) -> bool:
        edges = all(edge.joined or edge.rests for edge in self.edges.values())
        return self.alone or (edges and all(each.sure for each in self.likes.values()))

    @property
    def held(self) -> int:
        likes = sum(len(like.held) for like in self.likes.values())
        return likes + sum(len(edge.held) for edge in self.edges.values())

    @property
    def held_bytes(self) -> int:
        edges = [m.size for edge in self.edges.values() for _, _, m in edge.held]
        return sum(edges) + sum(like.held_bytes for like in self.likes.values())

    @property
    def full(self) -> bool:
        return self.held >= IN_ALL or self.held_bytes >= BYTES

    def edge(self, key: str) -> Edge:
        edge = self.edges.setdefault(key, Edge(None))
        edge.brought, edge.rests = True, False
        return edge

    def bring_old(self, key: str, low: int, high: int, m: Message) -> list[Message]:
        if self.alone and key not in self.edges:
            return [m]
        edge = self.edge(key)
        edge.highs.add(high)
        if edge.joined and self.alone:
            return self.further(key, high, m)
        if edge.joined:
            follows = edge.proven and low == edge.last and high > low
            edge.last = high if follows else edge.last
            return [m] if follows else []
        edge.last = high if edge.last is None else max(edge.last, high)
        return [m, *self.join(edge)]

    def bring_new(
        self, key: str, low: int, high: int, m: Message, whole: bool
    ) -> list[Message]:
        if self.alone and key not in self.edges:
            return [m]
        edge = self.edge(key)
        edge.proven = edge.proven or high in edge.highs
        cut = not (self.alone or whole or edge.last is None) and low < edge.last < high
        if edge.joined and not cut:
            return self.further(key, high, m)
        edge.joined = False
        edge.held.append((UNJOINED if whole else low, high, m))
        if len(edge.held) > HELD or self.full:
            self.doubtful[key] = True
            return self.release(edge)
        return self.join(edge)

    def further(self, key: str, high: int, m: Message) -> list[Message]:
        edge = self.edges[key]
        if edge.last is None or high > edge.last:
            edge.last = high
            if self.alone:
                del self.edges[key]
            return [m]
        if edge.proven or high in edge.highs:
            return []
        del self.edges[key]
        return [m]

    def join(self, edge: Edge) -> list[Message]:
        if edge.last is None:
            return []
        reached = UNJOINED
        while edge.held and edge.held[0][1] <= edge.last:
            low, reached, _ = edge.held.pop(0)
            strange = low != UNJOINED and reached not in edge.highs
            edge.strange = edge.strange or strange
        if (edge.held[0][0] if edge.held else reached) != edge.last:
            return []
        edge.proven = True
        return self.release(edge)

    def release(self, edge: Edge) -> list[Message]:
        passed = [m for _, _, m in edge.held]
        edge.last = edge.held[-1][1] if edge.held else edge.last
        edge.held, edge.joined = [], True
        return passed

    # --- told by content ------------------------------------------------------------

    def begin(self) -> None:
        self.begun = True
        for like in self.likes.values():
            like.begin()

    def still(self, keys: set[str]) -> None:
        self.stills = keys
        for edge in self.edges.values():
            waits = edge.brought or edge.last is None
            edge.rests = edge.rests or not waits
        for key in self.likes:
            self.join_still(key)

    def join_still(self, key: str) -> None:
        like = self.likes[key]
        if key in self.stills and like.is_still:
            like.join_still()
            like.held_bytes = 0

    def answered(self, asked_at: float) -> list[Message]:
        passed: list[Message] = []
        for like in self.likes.values():
            passed += [] if self.alone else like.answered(asked_at)
            like.held_bytes = like.held_bytes if like.held else 0
        return passed

    def alike(
        self, key: str, mark: int, m: Message, *, is_new: bool, whole: bool, now: float
    ) -> list[Message]:
        if key not in self.likes:
            if self.alone:
                return [m]
            self.likes[key] = Like(begun=self.begun, answers=self.answers)
        like = self.likes[key]
        if is_new and self.full and not like.joined and not like.given_up:
            like.give_up()
        passed = like.take(mark, m, is_new=is_new, whole=whole, now=now)
        if whole and is_new:
            self.join_still(key)
        if not like.held:
            like.held_bytes = 0
        elif is_new:
            like.held_bytes += m.size
        if like.over:
            del self.likes[key]
            if like.doubted:
                self.doubtful[key] = False
        return passed

    # --- the end of one link --------------------------------------------------------

    def finish(self) -> list[Message]:
        passed: list[Message] = []
        for key, edge in list(self.edges.items()):
            if edge.joined:
                continue
            passed += self.release(edge)
            if not edge.proven and edge.brought:
                self.doubtful[key] = not edge.strange
            silent = not (edge.brought or edge.rests)
            if not edge.proven and (edge.strange or silent):
                del self.edges[key]
        self.alone = True
        return passed + self.end_likes(new=False)

    def withdraw(self) -> None:
        self.forgotten += self.held
        self.edges = {k: e for k, e in self.edges.items() if e.joined}
        self.alone = True
        self.end_likes(new=True)

    def end_likes(self, *, new: bool) -> list[Message]:
        passed: list[Message] = []
        for key, like in list(self.likes.items()):
            more, sure = ([], like.withdraw()) if new else like.finish()
            passed += more
            like.held_bytes = 0
            if not sure:
                self.doubtful[key] = False
            if like.over:
                del self.likes[key]
        return passed


class Both:
    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.now = 0.0
        self.answers = dice.random() < 0.5
        lasts = {"n": dice.choice((None, 3)), "m": 0, "r": 5}
        keys = {k: lasts[k] for k in "nmr"[: dice.choice((0, 1, 2, 3))]}
        self.seam = Seam[str, Message](
            keys.items(), answers=self.answers, size_bytes=lambda each: each.size
        )
        self.model = Model(keys, answers=self.answers)
        self.ends_at = dice.choice((10, 20, 20, 30))
        self.new_from = dice.choice((0, 0, 4))
        self.large = dice.random() < 0.2
        self.nth = 0
        self.coming = self.said()

    def said(self) -> list[tuple[int, int, bool, str, tuple[int, int, bool]]]:
        """Steps at which a link brings something: of numbers, or of words."""
        dice = self.dice
        coming: list[tuple[int, int, bool, str, tuple[int, int, bool]]] = []

        def come(at: int, new: bool, key: str, piece: tuple[int, int, bool]) -> None:
            coming.append((at, len(coming), new, key, piece))

        for key in "nmab"[dice.randrange(4) :]:
            share, kinds = dice.choice((0.0, 0.2, 0.6, 1.0)), dice.choice((2, 4))
            delays = {new: dice.choice((0, 0, 1, 3)) for new in (False, True)}
            since = {False: 0, True: self.new_from + dice.choice((0, 0, 2))}
            until = {False: dice.choice((99, 99, 12, 0)), True: 99}
            loses = dice.choice((0.0, 0.0, 0.0, 0.08))
            wholes, often = (
                dice.choice((0.0, 0.0, 0.1, 0.4)),
                dice.choice((0.4, 0.8, 1.7)),
            )
            apart = {False: 0, True: dice.choice((0, 0, 0, 0, 100, -2))}
            cuts, high = dice.choice((0.0, 0.5)), dice.choice((0, 3))
            unlike_from, quiet_until = dice.choice((5, 15, 99)), dice.choice((0, 0, 9))
            for new in (False, True):
                if key in "ab" and dice.random() < 0.2:
                    # A greeting, to one of the two.
                    come(since[new], new, key, (50 + new, 0, False))
                elif key in "ab" and new and dice.random() < 0.4:
                    come(since[new], new, key, (60, 0, True))
            for at in range(quiet_until, 40):
                for _ in range(int(often + dice.random())):
                    low, high = high, high + dice.choice((1, 1, 1, 2, 2, 4, 4, 0))
                    equal = at < unlike_from and dice.random() < share
                    mark = dice.randrange(kinds) if equal else 100 + high
                    for new in (False, True):
                        if dice.random() < loses or not since[new] <= at < until[new]:
                            continue
                        arrives, more = at + delays[new], apart[new]
                        if key in "ab":
                            come(arrives, new, key, (mark, 0, dice.random() < wholes))
                            continue
                        middle = low
                        if high > low + 1 and dice.random() < cuts:
                            middle = dice.randrange(low + 1, high)
                            come(arrives, new, key, (low + more, middle + more, False))
                        whole = new and dice.random() < wholes
                        come(arrives, new, key, (middle + more, high + more, whole))
        return sorted(coming)

    def run(self) -> None:
        dice, model, joins = self.dice, self.model, self.seam
        ended = False
        began, stilled = dice.choice((-1, 2, 4)), dice.choice((-1, 3, 6, 8))
        for at, _, new, key, (low, high, whole) in self.coming:
            if not ended and at >= self.ends_at:
                ended = True
                self.end()
            while self.now < at:
                self.now += 1.0
                if self.now == began and not ended:
                    joins.begin()
                    model.begin()
                if self.now == stilled and not ended:
                    keys = {*"nmab"[dice.randrange(3) :]}
                    joins.still(keys)
                    model.still(keys)
                if dice.random() < 0.2:
                    asked_at = self.now - dice.choice((0.0, 1.0, 4.0))
                    passed = joins.answered(asked_at=asked_at)
                    self.note(passed, model.answered(asked_at), came=0)
            self.nth += 1
            size = dice.choice((25, 50)) if self.large and new else 1
            self.bring(new, key, low, high, whole, Message(self.nth, size))
            self.agree()
        if not ended:
            self.end()
            self.agree()

    def bring(
        self, new: bool, key: str, low: int, high: int, whole: bool, m: Message
    ) -> None:
        joins, model, now = self.seam, self.model, self.now
        said = {"whole": True} if whole else {}
        if key in "ab":
            passed = joins.alike(key, low, m, is_new=new, now=now, **said)
            expected = model.alike(key, low, m, is_new=new, whole=whole, now=now)
            self.note(passed, expected)
        elif new:
            passed = joins.new(key, low, high, m, **said)
            self.note(passed, model.bring_new(key, low, high, m, whole))
        else:
            passed = joins.old(key, low, high, m)
            self.note(passed, model.bring_old(key, low, high, m))

    def end(self) -> None:
        if self.dice.random() < 0.6:
            self.note(self.seam.finish(), self.model.finish(), came=0)
        else:
            self.seam.withdraw()
            self.model.withdraw()
        assert self.seam.answered(asked_at=self.now) == []

    def note(
        self, passed: list[Message], expected: list[Message], *, came: int = 1
    ) -> None:
        assert passed == expected
        self.model.came += came
        self.model.passed += len(passed)

    def agree(self) -> None:
        joins, model = self.seam, self.model
        assert joins.complete is model.complete
        keys = model.edges.keys() | model.likes.keys()
        assert {key for key in "nmrabz" if key in joins} == keys
        assert joins.settled is (model.alone and not keys)
        assert (joins.held, joins.held_bytes) == (model.held, model.held_bytes)
        dropped = model.came - model.passed - model.held - model.forgotten
        assert joins.doubled == dropped
        assert joins.doubtful == model.doubtful
        for key in "abz":
            like = model.likes.get(key)
            asks = like is not None and not model.alone and like.asks
            assert joins.asks(key) is asks


def test_what_is_held_and_known_is_bounded_in_these_figures() -> None:
    assert (likeness.MOST_HELD, likeness.MOST_WHOLE, WORDS) == (4096, 16, (1, 4, 16))
    assert likeness.MOST_ANCHORS == 64
    assert (seam.MOST_HELD_IN_ALL, seam.MOST_HELD_BYTES) == (32_768, 67_108_864)


@pytest.mark.parametrize("block", range(10))
def test_what_two_links_pass_on_together_is_what_a_plain_model_says(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in (
        *((likeness, "MOST_HELD", HELD), (seam, "MOST_HELD", HELD)),
        *((likeness, "MOST_ANCHORS", ANCHORS), (likeness, "MOST_WHOLE", WHOLE)),
        *((seam, "MOST_HELD_IN_ALL", IN_ALL), (seam, "MOST_HELD_BYTES", BYTES)),
    ):
        monkeypatch.setattr(module, name, value)
    for seed in range(60 * block, 60 * block + 60):
        Both(seed).run()
