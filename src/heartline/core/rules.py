"""The rules by which venues number messages: how each follows the one before it.

The good case of each stands here in full: it is taken for every message.
"""

from __future__ import annotations

from collections.abc import Hashable

from .figures import CHAIN, MONOTONIC, STEP, UNNUMBERED
from .sequence import Anomaly, Disorder, Duplicate, Missing, Numbering, Reset, Rule
from .tracker import LIMIT_NUMBER, MOST_KEYS, Run, Tracker


class Step(Tracker):
    """Each number is the one before it plus one; a message may hold several."""

    GOOD = STEP

    def feed(
        self,
        key: Hashable,
        cur: object,
        prev: object = None,
        first: object = None,
        anew: bool = False,
    ) -> Anomaly | None:
        run = self._runs.get(key)
        if (
            run is not None
            and (cur if first is None else first) == run.last + 1
            and type(cur) is int
            and run.last < cur < LIMIT_NUMBER
            and not anew
        ):
            run.last = cur
            return None
        return self._look(key, cur, None, first, anew)

    def _low(self, cur: int, prev: int | None, first: int | None) -> int | str:
        if first is None:
            return cur - 1
        return first - 1 if first <= cur else "first"

    def _compare(self, key: Hashable, run: Run, low: int, high: int) -> Anomaly | None:
        if low > run.last:
            return self._pass(key, run, low, high, self._messages(low - run.last))
        if high <= run.last:
            return self._late(key, run, low, high)
        return self._overlap(key, run, low, high)

    def _messages(self, numbers: int) -> int | None:
        """How many messages these numbers were; None if that is not known."""
        return numbers


class Range(Step):
    """The first number is the last one before it plus one."""

    def _messages(self, numbers: int) -> int | None:
        return None


class Chain(Tracker):
    """Each message names the one before it, by number or by text."""

    GOOD = CHAIN

    def feed(
        self,
        key: Hashable,
        cur: object,
        prev: object = None,
        first: object = None,
        anew: bool = False,
    ) -> Anomaly | None:
        run = self._runs.get(key)
        if (
            run is not None
            and prev == run.last
            and type(cur) is int
            and run.last <= cur < LIMIT_NUMBER
            and not anew
        ):
            run.last = cur
            return None
        if type(cur) is str:
            return self._link(key, cur, prev, anew)
        return self._look(key, cur, prev, first, anew)

    def _link(
        self, key: Hashable, cur: str, prev: object, anew: bool
    ) -> Anomaly | None:
        """A chain of texts: whether they follow one another, and nothing else."""
        last = self._texts.get(key)
        if not anew and type(prev) is not str:
            return self._unreadable(key, "prev", prev)
        if last is None and len(self._texts) >= MOST_KEYS:
            del self._texts[next(iter(self._texts))]
            self.evicted += 1
        self._texts[key] = cur
        if last is None or anew or prev == last:
            return None
        if cur == last:
            return Duplicate(key, None, None)
        return Missing(key, None, None, None)

    def _low(self, cur: int, prev: int | None, first: int | None) -> int | str:
        return "prev" if prev is None else prev

    def _compare(self, key: Hashable, run: Run, low: int, high: int) -> Anomaly | None:
        last = run.last
        if high < low:
            # A chain that goes on at a lower number: the venue counts anew.
            self._set(key, Run(high, start=high))
            return Reset(key, last, high, low == last)
        if low > last:
            return self._pass(key, run, low, high, None)
        if high <= last:
            return self._late(key, run, low, high)
        run.last = high
        return Missing(key, None, None, None)


class Monotonic(Tracker):
    """Numbers never fall."""

    GOOD = MONOTONIC

    def feed(
        self,
        key: Hashable,
        cur: object,
        prev: object = None,
        first: object = None,
        anew: bool = False,
    ) -> Anomaly | None:
        run = self._runs.get(key)
        if (
            run is not None
            and type(cur) is int
            and run.last <= cur < LIMIT_NUMBER
            and not anew
        ):
            run.last = cur
            return None
        return self._look(key, cur, None, None, anew)

    def _low(self, cur: int, prev: int | None, first: int | None) -> int | str:
        return cur

    def _compare(self, key: Hashable, run: Run, low: int, high: int) -> Anomaly | None:
        anomaly = self._late(key, run, low, high)
        if isinstance(anomaly, Duplicate):
            return Disorder(key, high, high, 0)
        return anomaly


class Unnumbered(Tracker):
    """There is nothing to compare."""

    GOOD = UNNUMBERED

    def feed(
        self,
        key: Hashable,
        cur: object,
        prev: object = None,
        first: object = None,
        anew: bool = False,
    ) -> Anomaly | None:
        return None


_TRACKERS: dict[Rule, type[Tracker]] = {
    Rule.STEP: Step,
    Rule.RANGE: Range,
    Rule.CHAIN: Chain,
    Rule.MONOTONIC: Monotonic,
    Rule.SNAPSHOT_ONLY: Unnumbered,
    Rule.NONE: Unnumbered,
}


def tracker_of(numbering: Numbering) -> Tracker:
    """A tracker for the keys of one rule."""
    return _TRACKERS[numbering.rule](numbering)
