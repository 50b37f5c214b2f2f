"""Numbers of messages -> nothing, or what is wrong with them. One rule, many keys.

In the good case a message costs one look-up and one comparison. Whatever a venue
sends, nothing here raises: what cannot be read is counted, and told once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import ClassVar

from .figures import Run as Run
from .figures import Runs
from .holes import Holes
from .sequence import (
    Anomaly,
    Disorder,
    Duplicate,
    Missing,
    Numbering,
    Reset,
    Unreadable,
)

LEAST_NUMBER = -1
"""OKX begins a chain at -1 (venue document, order book channel)."""
LIMIT_NUMBER = 1 << 64
"""Numbers lie below this; venues use up to 63 bits, and a fault may send any."""
MOST_KEYS = 65_536
"""Keys one tracker remembers; beyond it the key that came first is forgotten."""
RESTART_AFTER = 8
"""Messages below the last number that follow one another: the venue counts anew."""


class Tracker(Runs):
    """The numberings of many keys under one rule; see `rules.tracker_of`.

    A key is what `Numbering.scope` says, as the caller names it: any one value for a
    connection, the channel, the symbol. Snapshots of single channels say nothing
    about a connection's numbers: do not report them as such.
    """

    __slots__ = ("_texts", "_told", "evicted", "numbering", "unread")

    GOOD: ClassVar[int] = 0
    """The good case of `figures.Taking` that is that of `feed` as well."""

    def __init__(self, numbering: Numbering) -> None:
        self.numbering = numbering
        self.unread = 0
        """Messages whose numbers could not be read."""
        self.evicted = 0
        self._runs = {}
        self.good = self.GOOD
        self._texts: dict[Hashable, str] = {}
        self._told = False

    def __iter__(self) -> Iterator[Hashable]:
        """The keys whose numbers are known."""
        return iter(list(self._runs))

    def __len__(self) -> int:
        return len(self._runs)

    def feed(
        self,
        key: Hashable,
        cur: object,
        prev: object = None,
        first: object = None,
        anew: bool = False,
    ) -> Anomaly | None:
        """Take the numbers of one message; None if it follows.

        `cur` is its number, or the last of its range; a chain may be one of texts.
        `anew`: it is a snapshot, or starts the numbers again as the venue documents it.
        What was lost right before a snapshot is not told: the snapshot replaces it.
        """
        raise NotImplementedError

    def last(self, key: Hashable) -> int | None:
        """The highest number known of `key`."""
        run = self._runs.get(key)
        return None if run is None else run.last

    def holes(self, key: Hashable) -> int:
        """How many numbers of `key` are missing, of those still remembered."""
        run = self._runs.get(key)
        return 0 if run is None or run.holes is None else run.holes.size

    def begin(self) -> None:
        """A new link: its numbers start anew, unless they survive."""
        self._told = False
        if not self.numbering.survives:
            for run in self._runs.values():
                run.leave()
            self._runs.clear()
            self._texts.clear()

    def forget(self, key: Hashable) -> None:
        """What comes next of `key` is its first message, as after a resubscription."""
        run = self._runs.pop(key, None)
        if run is not None:
            run.leave()
        self._texts.pop(key, None)

    def restore(self, key: Hashable, number: int) -> None:
        """A snapshot of `number` was fetched elsewhere: all up to it is known."""
        run = self._runs.get(key)
        if run is None or number >= run.last:
            self._set(key, self._whole(number))
        elif run.holes is not None:
            run.holes.fill(LEAST_NUMBER - 1, number)

    def replay(self, key: Hashable, first: int, last: int) -> int:
        """Numbers `first` to `last` were fetched elsewhere; how many were missing."""
        run = self._runs.get(key)
        if run is None or run.holes is None:
            return 0
        return run.holes.fill(first - 1, last)

    # --- the rare cases ----------------------------------------------------------

    def _look(
        self, key: Hashable, cur: object, prev: object, first: object, anew: bool
    ) -> Anomaly | None:
        """Judge a message that does not simply follow."""
        for name, value in (("cur", cur), ("prev", prev), ("first", first)):
            if value is None and name != "cur":
                continue
            if type(value) is not int or not LEAST_NUMBER <= value < LIMIT_NUMBER:
                return self._unreadable(key, name, value)
        assert isinstance(cur, int)
        run = self._runs.get(key)
        if anew:
            return self._anew(key, run, cur)
        begins = first if isinstance(first, int) else None
        low = self._low(cur, prev if isinstance(prev, int) else None, begins)
        if isinstance(low, str):
            return self._unreadable(key, low, prev if low == "prev" else first)
        if run is None:
            return self._begin(key, low, cur)
        if self._joined(run, low if begins is None else min(low, begins - 1), cur):
            return None
        return self._compare(key, run, low, cur)

    def _low(self, cur: int, prev: int | None, first: int | None) -> int | str:
        """The number below the first that a message covers, or the field at fault."""
        raise NotImplementedError

    def _compare(self, key: Hashable, run: Run, low: int, high: int) -> Anomaly | None:
        raise NotImplementedError

    def _unreadable(self, key: Hashable, field: str, value: object) -> Anomaly | None:
        self.unread += 1
        if self._told:
            return None
        self._told = True
        # Only the type: what a message holds is not for logs.
        return Unreadable(key, field, type(value).__name__)

    def _whole(self, number: int) -> Run:
        return Run(number, joining=number if self.numbering.covers else None)

    def _anew(self, key: Hashable, run: Run | None, cur: int) -> Anomaly | None:
        self._set(key, self._whole(cur))
        if run is None or cur >= run.last:
            return None
        return Reset(key, run.last, cur, True)

    def _begin(self, key: Hashable, low: int, high: int) -> Anomaly | None:
        starts_at = self.numbering.starts_at
        low = min(low, high)
        if starts_at is None or low < starts_at:
            self._set(key, Run(high, start=low))
            return None
        run = Run(starts_at - 1, start=starts_at - 1)
        self._set(key, run)
        return self._compare(key, run, low, high)

    def _joined(self, run: Run, low: int, high: int) -> bool:
        """Whether a message follows the snapshot that came last, or lies within it."""
        if run.joining is None or run.joining != run.last or low > run.last:
            run.joining = None
            return False
        run.last = max(run.last, high)
        return True

    def _pass(
        self, key: Hashable, run: Run, low: int, high: int, count: int | None
    ) -> Anomaly:
        """A message that begins above the last number: what lies between is missing."""
        missing = Missing(key, run.last + 1, low, count)
        if run.holes is None:
            run.holes = Holes()
        run.holes.open(run.last, low)
        run.last = high
        return missing

    def _overlap(self, key: Hashable, run: Run, low: int, high: int) -> Anomaly | None:
        """A message that repeats the end of what is known, and goes on from there."""
        last, run.last = run.last, high
        filled = 0 if run.holes is None else run.holes.fill(low, last)
        if self.numbering.overlap and not filled:
            return None
        return Disorder(key, low + 1, last, filled, True)

    def _late(self, key: Hashable, run: Run, low: int, high: int) -> Anomaly:
        """A message that ends at or below the last number."""
        first = min(low + 1, high)
        filled = 0 if run.holes is None else run.holes.fill(low, high)
        if filled:
            run.back_run = 0
            return Disorder(key, first, high, filled)
        in_a_row = run.back_run and run.back_before == run.last
        run.back_run = run.back_run + 1 if in_a_row and low >= run.back else 1
        run.back, run.back_before = high, run.last
        if run.back_run >= RESTART_AFTER:
            self._set(key, Run(high, start=high))
            return Reset(key, run.last, high, False)
        forgotten_to = None if run.holes is None else run.holes.forgotten_to
        unknown = run.start if forgotten_to is None else forgotten_to
        if unknown is not None and high <= unknown:
            return Disorder(key, first, high, 0)
        return Duplicate(key, first, high)

    def _set(self, key: Hashable, run: Run) -> None:
        former = self._runs.get(key)
        if former is not None:
            former.leave()
        elif len(self._runs) >= MOST_KEYS:
            self._runs.pop(next(iter(self._runs))).leave()
            self.evicted += 1
        self._runs[key] = run
