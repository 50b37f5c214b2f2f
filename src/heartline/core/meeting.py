"""Two links of which nothing is known but what they bring: where the two meet.

Without a venue messages have neither channel nor number. The old link's pass as they
come, and the new one's wait. Where both can be laid side by side, the new one's go on
after the old one's last; where they cannot, nobody knows what lies between.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from math import inf
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct

M = TypeVar("M")
_Counted: TypeAlias = dict[int, tuple[int, float]]

MOST_HELD = 1 << 15
"""Messages of the new link held back; with more in one overlap, the latest, and the two
are not laid side by side. Of the old one's twice as many are known."""
MOST_HELD_BYTES = 64 << 20
WORDS = (1, 4, 16)
"""So many messages in a row are looked for in both: the shortest that are unique."""


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
        "_unique",
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

    def new(self, mark: int, message: M, *, size_bytes: int = 0, now: float) -> list[M]:
        """What to pass on now that the new link brought a message."""
        if not self._alone:
            self._held_bytes += size_bytes
            self._new.append((mark, now, message))
            if self._floods:
                # The oldest is what the old one is most likely to have brought.
                self._new.popleft()
            return []
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
        if not self._old or not 0 < len(self._new) < MOST_HELD or self._floods:
            return None
        return self._one_by_one(now) or self._in_order(now)

    @property
    def _floods(self) -> bool:
        return self._held_bytes > MOST_HELD_BYTES

    def _shows(self, old_at: float, new_at: float) -> bool:
        """Whether a message seen then on each may be shown to be the same one: were it
        another, its true double would have been seen as well."""
        full = len(self._old) == self._old.maxlen
        least = (self._old[0][1] if full else self._began_at) + self.settle
        most = self._alive_at - self.settle
        return least <= new_at <= most and abs(old_at - new_at) <= self.settle

    def _in_order(self, now: float) -> Met | None:
        """Both bring the same in the same order, however often it is repeated."""
        old, new = [m for m, _ in self._old], [m for m, *_ in self._new]
        anchor = self._anchor(old, new)
        if anchor is None:
            return None
        shift, begins = anchor[0] - anchor[1], anchor[1]
        end = min(len(new), len(old) - shift)
        if new[begins:end] != old[begins + shift : end + shift]:
            return None
        while begins and begins + shift and old[begins - 1 + shift] == new[begins - 1]:
            begins -= 1
        before, since = begins + shift - 1, now - 2 * self.settle
        if before >= 0 and self._old[before][1] >= since:
            # The old one has just brought what the new one has not.
            return None
        brought = set(old)
        passes = [i for i in range(begins) if new[i] not in brought]
        if len(passes) < begins and self._new[begins - 1][1] >= since:
            # Or the new one, and it may be another than that of the same content.
            return None
        return Met([*passes, *range(end, len(new))], old[end + shift :], False)

    def _anchor(self, old: Sequence[int], new: Sequence[int]) -> tuple[int, int] | None:
        """The last places of a word that each link brought once, and both did."""
        for length in WORDS:
            olds, news = [*_words(old, length)], [*_words(new, length)]
            once = {w for w, n in Counter(olds).items() if n == 1}
            once &= {w for w, n in Counter(news).items() if n == 1}
            places = {w: at for at, w in enumerate(olds) if w in once}
            for at in range(len(news) - 1, -1, -1):
                before = places.get(news[at])
                if before is not None and all(
                    self._shows(self._old[before + i][1], self._new[at + i][1])
                    for i in (0, length - 1)
                ):
                    return before, at
        return None

    def _one_by_one(self, now: float) -> Met | None:
        """Each message is told by its content alone, in whatever order they come."""
        since, settled = now - 2 * self.settle, self._alive_at - self.settle
        olds, news = self._counted()
        shown = False
        for mark, at in self._old:
            if at < since:
                continue
            if olds[mark][0] > 1:
                return None
            count, new_at = news.get(mark, (0, at))
            if count > 1 or (count == 0 and at <= settled):
                return None
            shown = shown or (count == 1 and self._shows(at, new_at))
        for mark, at, _ in self._new:
            if at < since:
                continue
            if news[mark][0] > 1:
                return None
            if mark in olds and not self._is_near(olds[mark], at):
                return None
        if not shown:
            return None
        alone = [i for i, (mark, *_) in enumerate(self._new) if mark not in olds]
        ahead = [mark for mark, at in self._old if mark not in news and at >= since]
        return Met(alone, ahead, True)

    def _counted(self) -> tuple[_Counted, _Counted]:
        """Of each link: how often it brought a message, and when last."""
        olds: _Counted = {}
        news: _Counted = {}
        for mark, at in self._old:
            olds[mark] = olds.get(mark, (0, at))[0] + 1, at
        for mark, at, _ in self._new:
            news[mark] = news.get(mark, (0, at))[0] + 1, at
        return olds, news

    # --- the end of the old link ------------------------------------------------------

    def take_over(self, *, now: float) -> tuple[list[M], bool]:
        """The new link is alone: what it held, and whether the two have met.

        If not, only what is surely double is left out of what it held.
        """
        met = self.met(now=now)
        places = self._unlike() if met is None else met.passes
        held = [message for *_, message in self._new]
        self.doubled += len(held) - len(places)
        if met is not None:
            self._ahead.extend(met.ahead)
            self._unique = met.unique
        self._old.clear()
        self._new.clear()
        self._alone, self._over_at = True, now + 2 * self.settle
        return [held[place] for place in places], met is not None

    def _unlike(self) -> list[int]:
        olds, news = self._counted()
        places: list[int] = []
        for place, (mark, at, _) in enumerate(self._new):
            once = mark in olds and news[mark][0] == 1
            if not once or not self._is_near(olds[mark], at):
                places.append(place)
        return places

    def _is_near(self, old: tuple[int, float], at: float) -> bool:
        """Whether the old link brought a message once, about then."""
        count, old_at = old
        return count == 1 and abs(at - old_at) <= self.settle


def _words(marks: Sequence[int], length: int) -> Iterator[tuple[int, ...]]:
    return zip(*(marks[i:] for i in range(length)), strict=False)
