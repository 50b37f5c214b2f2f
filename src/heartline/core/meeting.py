"""Two links of which nothing is known but what they bring: where the two meet.

Without a venue messages have neither channel nor number. The old link's pass as they
come, and the new one's wait. Where both can be laid side by side, the new one's go on
after the old one's last; where they cannot, nobody knows what lies between.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from itertools import islice
from math import inf
from typing import Generic, TypeVar

from msgspec import Struct

from .words import LENGTHS, Brought, Words

M = TypeVar("M")

MOST_HELD = 1 << 15
"""Messages of the new link held back; with more in one overlap, the latest, and the two
are not laid side by side. Of the old one's twice as many are known."""
MOST_HELD_BYTES = 64 << 20


_STRIDE = 256


class Met(Struct, frozen=True):
    """How two links lie side by side. `passes`: places of what the new link alone has
    brought; `ahead`: what the old one alone has, and the new one will bring yet, in
    this order or, if each of it is unique, in any."""

    passes: list[int]
    ahead: list[int]
    unique: bool


class Meeting(Generic[M]):
    """One overlap. Equal messages have equal marks; `M` is what is held.

    It rests on one thing: what both links bring they bring within `settle` seconds of
    each other, a quarter of the overlap. So what the new one brought that long ago the
    old one has brought as well, if it is alive.
    """

    __slots__ = (
        "_ahead",
        "_alive_at",
        "_alone",
        "_began_at",
        "_held_bytes",
        "_look_at",
        "_new",
        "_old",
        "_over_at",
        "_spent",
        "_unique",
        "_words",
        "doubled",
        "settle",
    )

    def __init__(self, *, overlap: float, now: float) -> None:
        self.settle = overlap / 4
        self._began_at = self._alive_at = now
        self._look_at = now + 2.5 * self.settle
        self._over_at = inf
        self._held_bytes = 0
        self._old: deque[tuple[int, float]] = deque(maxlen=2 * MOST_HELD)
        self._new: deque[tuple[int, float, M]] = deque(maxlen=MOST_HELD)
        self._words: Words | None = Words(
            old=2 * MOST_HELD, new=MOST_HELD, settle=self.settle
        )
        """None once the two can no longer be laid side by side."""
        self._spent: list[object] = []
        """What is no longer wanted: with each message that comes a part is let go."""
        self._ahead: deque[int] = deque()
        self._alone = self._unique = False
        self.doubled = 0
        """Messages that were not passed on: the other link had brought them."""

    @property
    def began_at(self) -> float:
        return self._began_at

    def opened(self, *, now: float) -> None:
        """The new link was accepted; the other end may have spoken on it before."""
        self._look_at = now + 2.5 * self.settle

    # --- what comes -----------------------------------------------------------------

    def old(self, mark: int, *, now: float) -> None:
        """The old link brought a message, which is passed on."""
        self._old.append((mark, now))
        self._alive_at = now
        if self._words is not None:
            self._words.add_old(mark, now)
        elif self._spent:
            self._spent.pop()

    def new(self, mark: int, message: M, *, size_bytes: int = 0, now: float) -> list[M]:
        """What to pass on now that the new link brought a message."""
        if not self._alone:
            self._held_bytes += size_bytes
            self._new.append((mark, now, message))
            if self._floods:
                # The oldest is what the old one is most likely to have brought.
                self._new.popleft()
            if self._floods or len(self._new) >= MOST_HELD:
                self._drop_words()
            elif self._words is not None:
                self._words.add_new(mark, now)
            return []
        if self._spent:
            self._spent.pop()
        if mark not in self._ahead:
            return [message]
        if self._unique:
            self._ahead.remove(mark)
        else:
            while self._ahead.popleft() != mark:
                pass
        self.doubled += 1
        return []

    def answered(self, *, asked_at: float) -> None:
        """The old link answered what it was asked then: nothing older is on its way."""
        self._alive_at = max(self._alive_at, asked_at)

    def due(self, *, now: float) -> bool:
        """Whether it is worth looking if they have met; then not again for a while."""
        if self._alone or now < self._look_at:
            return False
        self._look_at = now + self.settle / 2
        return True

    def over(self, *, now: float) -> bool:
        """Whether the new link is alone, and nothing of it can be double any more."""
        return now >= self._over_at

    # --- where they meet ------------------------------------------------------------

    def met(self, *, now: float) -> Met | None:
        """How they lie side by side; None if that cannot be shown."""
        words = self._words
        if words is None or not words.old.marks or not words.new.marks:
            return None
        return self._one_by_one(words, now) or self._in_order(words, now)

    @property
    def _floods(self) -> bool:
        return self._held_bytes > MOST_HELD_BYTES

    def _known(self, old: Brought) -> tuple[float, float]:
        """From when to when a message of the new link may be shown to be one of the old
        one's: were it another, its true double would have been seen as well."""
        since = old.ats[0] if old.full else self._began_at
        return since + self.settle, self._alive_at - self.settle

    def _in_order(self, words: Words, now: float) -> Met | None:
        """Both bring the same in the same order, however often it is repeated."""
        anchor = self._anchor(words)
        if anchor is None:
            return None
        old, new = [*words.old.marks], [*words.new.marks]
        shift, begins = anchor[0] - anchor[1], anchor[1]
        end = min(len(new), len(old) - shift)
        if new[begins:end] != old[begins + shift : end + shift]:
            return None
        begins -= _alike(old[: begins + shift], new[:begins])
        before, since = begins + shift - 1, now - 2 * self.settle
        if before >= 0 and words.old.ats[before] >= since:
            # The old one has just brought what the new one has not.
            return None
        brought = words.old.last[0]
        passes = [i for i in range(begins) if new[i] not in brought]
        if len(passes) < begins and words.new.ats[begins - 1] >= since:
            # Or the new one, and it may be another than that of the same content.
            return None
        return Met([*passes, *range(end, len(new))], old[end + shift :], False)

    def _anchor(self, words: Words) -> tuple[int, int] | None:
        """The last places of a word that each link brought once, and both did."""
        least, most = self._known(words.old)
        news = [*words.new.ats]
        first, ends = bisect_left(news, least), bisect_right(news, most)
        for nth, length in enumerate(LENGTHS):
            if not (both := words.both[nth]):
                continue
            places, said = words.old.last[nth], [*words.new.words[nth]]
            for at in range(ends - length, first - 1, -1):
                if said[at] in both:
                    return places[said[at]] - words.old.first, at
        return None

    def _one_by_one(self, words: Words, now: float) -> Met | None:
        """Each message is told by its content alone, in whatever order they come."""
        since = now - 2 * self.settle
        spoilt_at = words.spoilt_at
        if spoilt_at is not None and spoilt_at >= since:
            return None
        least, most = self._known(words.old)
        ahead: list[int] = []
        for mark, at in reversed(words.missing.items()):
            if at < since:
                break
            if at <= most:
                return None
            ahead.append(mark)
        olds, news = words.old.last[0], words.new.last[0]
        ats = [*words.new.ats]
        recent = islice(self._old, bisect_left(words.old.ats, since), None)
        if not any(
            mark in news
            and least <= ats[news[mark]] <= most
            and abs(ats[news[mark]] - at) <= self.settle
            for mark, at in recent
        ):
            return None
        alone = [i for i, mark in enumerate(words.new.marks) if mark not in olds]
        return Met(alone, ahead[::-1], True)

    # --- the end of the old link ------------------------------------------------------

    def take_over(self, *, now: float) -> tuple[list[M], bool]:
        """The new link is alone: what it held, and whether the two have met.

        If not, only what is surely double is left out of what it held.
        """
        met = self.met(now=now)
        places = self._unlike() if met is None else met.passes
        held = [*self._new]
        self.doubled += len(held) - len(places)
        if met is not None:
            self._ahead.extend(met.ahead)
            self._unique = met.unique
        self._spent += [self._old, self._new]
        self._old = deque(maxlen=0)
        self._new = deque(maxlen=0)
        self._drop_words()
        self._alone, self._over_at = True, now + 2 * self.settle
        return [held[place][2] for place in places], met is not None

    def _drop_words(self) -> None:
        if self._words is not None:
            self._spent += self._words.parts()
            self._words = None

    def _unlike(self) -> list[int]:
        olds = Counter(mark for mark, _ in self._old)
        news = Counter(mark for mark, *_ in self._new)
        old_at = dict(self._old)
        return [
            place
            for place, (mark, at, _) in enumerate(self._new)
            if not olds.get(mark) == news[mark] == 1
            or abs(at - old_at[mark]) > self.settle
        ]


def _alike(old: list[int], new: list[int]) -> int:
    """How many at the end of both are the same."""
    size = min(len(old), len(new))
    old, new = old[len(old) - size :], new[len(new) - size :]
    end = size
    while end and old[max(0, end - _STRIDE) : end] == new[max(0, end - _STRIDE) : end]:
        end = max(0, end - _STRIDE)
    while end and old[end - 1] == new[end - 1]:
        end -= 1
    return size - end
