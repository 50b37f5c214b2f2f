"""Two links deliver the same channels for a while: each message is passed on once.

The old link's messages pass as they come. The new link's wait until they follow the
last that passed; from there on only they pass. Where messages have no numbers that
both links share, they are told by their content.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")

MOST_HELD = 4096
"""Messages of the new link held back for one key; beyond it the new link takes over
there, and what lies between is for its numbers to tell."""
UNJOINED = -2
"""Below every number."""


class _Edge(Generic[M]):
    """Where two links meet in one numbering."""

    __slots__ = ("brought", "held", "highs", "joined", "last", "proven", "strange")

    def __init__(self, last: int | None) -> None:
        self.last = last
        """The last number that was passed on; None if none was."""
        self.held: deque[tuple[int, int, M]] = deque()
        self.joined = False
        self.brought = False
        """Whether either link has brought anything in the overlap."""
        self.proven = False
        """Whether both links brought the same number: they count alike."""
        self.strange = False
        """Whether what the new link brought was behind, and not of the old one's."""
        self.highs = set[int]() if last is None else {last}
        """What the old link brought."""


class _Likeness(Generic[M]):
    """Where two links meet in messages that only their content tells apart."""

    __slots__ = ("ahead", "held", "is_new_ahead", "joined")

    def __init__(self) -> None:
        self.held: deque[tuple[int | None, M]] = deque()
        """With its mark, but what the new link alone was sent: a snapshot."""
        self.joined = False
        self.ahead: deque[int] = deque(maxlen=MOST_HELD)
        """Joined: what the faster link passed on and the other has not brought yet.
        Before: what the old link has brought."""
        self.is_new_ahead = False

    @property
    def is_still(self) -> bool:
        """Whether neither link has brought what both will."""
        return not self.ahead and all(mark is None for mark, _ in self.held)


class Seam(Generic[K, M]):
    """One overlap of two links. `keys`: every numbering that must be joined, and the
    last number passed on in each, None where there is none.

    A piece is the numbers above `low`, up to and with `high`: see `Numbering`.
    """

    __slots__ = (
        *("_alike", "_alone", "_edges", "_open", "_still"),
        *("doubled", "doubtful", "held"),
    )

    def __init__(self, keys: Iterable[tuple[K, int | None]]) -> None:
        self._edges: dict[K, _Edge[M]] = {k: _Edge(last) for k, last in keys}
        self._alike: dict[K, _Likeness[M]] = {}
        self._open = len(self._edges)
        self._alone = False
        """One link is gone; what the other brings is only compared with what passed."""
        self._still = False
        """See `still`."""
        self.doubled = 0
        """Messages that were not passed on: the other link had brought them."""
        self.held = 0
        self.doubtful: dict[K, bool] = {}
        """Keys whose two links were never seen to meet, once the old one is gone;
        whether their numbers alone will tell what is missing."""

    @property
    def complete(self) -> bool:
        """Whether the new link has taken over every numbering."""
        return not self._open

    @property
    def settled(self) -> bool:
        """Whether one link is gone, and nothing of the other can be double any more."""
        return self._alone and not self._edges and not self._alike

    # --- numbered -------------------------------------------------------------------

    def old(self, key: K, low: int, high: int, message: M) -> list[M]:
        """What to pass on now that the old link brought a message."""
        edge = self._edges.get(key)
        if edge is None:
            if self._alone:
                return [message]
            edge = self._new_edge(key)
        edge.brought = True
        edge.highs.add(high)
        if edge.joined:
            if self._alone:
                return self._pass_further(key, high, message)
            self.doubled += 1
            return []
        edge.last = high if edge.last is None else max(edge.last, high)
        return [message, *self._join(edge)]

    def new(
        self, key: K, low: int, high: int, message: M, *, whole: bool = False
    ) -> list[M]:
        """What to pass on now that the new link brought one. `whole`: a snapshot up to
        `high`; it is passed on only if the old link ends before it has come that far.
        """
        edge = self._edges.get(key)
        if edge is None:
            if self._alone:
                return [message]
            edge = self._new_edge(key)
        edge.brought = True
        edge.proven = edge.proven or high in edge.highs
        if edge.joined:
            return self._pass_further(key, high, message)
        low = UNJOINED if whole else low
        edge.held.append((low, high, message))
        self.held += 1
        if len(edge.held) > MOST_HELD:
            self.doubtful[key] = True
            return self._release(edge)
        return self._join(edge)

    def _new_edge(self, key: K) -> _Edge[M]:
        edge = self._edges[key] = _Edge(None)
        self._open += 1
        return edge

    def _pass_further(self, key: K, high: int, message: M) -> list[M]:
        """Pass on what goes further than all before, whoever brought that."""
        edge = self._edges[key]
        if edge.last is not None and high <= edge.last:
            if edge.proven or high in edge.highs:
                self.doubled += 1
                return []
            # The two do not count alike: there is nothing to compare.
            del self._edges[key]
            return [message]
        edge.last = high
        if self._alone:
            del self._edges[key]
        return [message]

    def _join(self, edge: _Edge[M]) -> list[M]:
        """Pass on what is held once it follows the last number, hole or overlap none.

        Links may cut a range in different places: they join where two cuts agree.
        """
        if edge.last is None:
            return []
        reached = self._drop(edge, edge.last)
        if edge.held:
            reached = edge.held[0][0]
        if reached != edge.last:
            return []
        edge.proven = True
        return self._release(edge)

    def _drop(self, edge: _Edge[M], last: int) -> int:
        """Forget what the old link has brought by now; how far that goes."""
        reached = UNJOINED
        while edge.held and edge.held[0][1] <= last:
            low, reached, _ = edge.held.popleft()
            if low != UNJOINED and reached not in edge.highs:
                edge.strange = True
            self.held -= 1
            self.doubled += 1
        return reached

    def _release(self, edge: _Edge[M]) -> list[M]:
        passed = [message for _, _, message in edge.held]
        if edge.held:
            edge.last = edge.held[-1][1]
        self.held -= len(passed)
        edge.held.clear()
        edge.joined = True
        self._open -= 1
        return passed

    # --- told by content --------------------------------------------------------------

    def begin(self) -> None:
        """The new link is asked for everything; what the other brought before will not
        come on it."""
        for edge in self._alike.values():
            if not edge.joined:
                edge.ahead.clear()

    def still(self) -> None:
        """The old link has brought all that was said before the new one was sent
        everything: where there was nothing since, nothing lies between the two."""
        self._still = True
        for edge in self._alike.values():
            self._join_still(edge)

    def _join_still(self, edge: _Likeness[M]) -> None:
        if not edge.joined and edge.is_still:
            self._forget(edge, len(edge.held))
            self._set_joined(edge, is_new_ahead=False)

    def alike(
        self, key: K, mark: int, message: M, *, is_new: bool, whole: bool = False
    ) -> list[M]:
        """What to pass on of messages without common numbers; equal ones have equal
        marks. The links join where one brings what the other has brought. `whole`: a
        snapshot, which the other is not sent."""
        edge = self._alike.get(key)
        if edge is None:
            if self._alone:
                return [message]
            edge = self._alike[key] = _Likeness()
            self._open += 1
        if edge.joined:
            return self._match(key, edge, mark, message, is_new)
        if is_new:
            passed = self._meet_old(edge, None if whole else mark, message)
            if whole and self._still:
                self._join_still(edge)
            return passed
        edge.ahead.append(mark)
        return [message, *self._meet_new(edge, mark)]

    def _meet_old(self, edge: _Likeness[M], mark: int | None, message: M) -> list[M]:
        """The new link brought something: has the old one, before?"""
        if mark is not None and mark in edge.ahead:
            # All that the new link brought before it lies further back.
            self._forget(edge, len(edge.held))
            while edge.ahead.popleft() != mark:
                pass
            self.doubled += 1
            self._set_joined(edge, is_new_ahead=False)
            return []
        edge.held.append((mark, message))
        self.held += 1
        if len(edge.held) > MOST_HELD:
            self._forget(edge, 1)
        return []

    def _meet_new(self, edge: _Likeness[M], mark: int) -> list[M]:
        """The old link brought something: had the new one, before?"""
        marks = [held for held, _ in edge.held]
        if mark not in marks:
            return []
        self._forget(edge, marks.index(mark) + 1)
        self._set_joined(edge, is_new_ahead=True)
        edge.ahead.clear()
        edge.ahead.extend(held for held, _ in edge.held if held is not None)
        return self._empty(edge)

    def _match(
        self, key: K, edge: _Likeness[M], mark: int, message: M, is_new: bool
    ) -> list[M]:
        """Both links are one: drop from the slower what the faster one brought."""
        if not edge.ahead:
            edge.is_new_ahead = is_new
        if edge.is_new_ahead is is_new:
            if self._alone:
                del self._alike[key]
            else:
                edge.ahead.append(mark)
            return [message]
        if mark not in edge.ahead:
            return [message]
        while edge.ahead.popleft() != mark:
            pass
        self.doubled += 1
        return []

    def _set_joined(self, edge: _Likeness[M], *, is_new_ahead: bool) -> None:
        edge.joined, edge.is_new_ahead = True, is_new_ahead
        self._open -= 1

    def _forget(self, edge: _Likeness[M], count: int) -> None:
        for _ in range(count):
            edge.held.popleft()
        self.held -= count
        self.doubled += count

    def _empty(self, edge: _Likeness[M]) -> list[M]:
        passed = [message for _, message in edge.held]
        self.held -= len(passed)
        edge.held.clear()
        return passed

    # --- the end of one link ----------------------------------------------------------

    def finish(self) -> list[M]:
        """The old link is gone: everything held is passed on, joined or not."""
        passed: list[M] = []
        for key, edge in list(self._edges.items()):
            if edge.joined:
                continue
            passed += self._release(edge)
            if not edge.proven:
                # Nobody knows whether the two links count alike.
                if edge.brought:
                    self.doubtful[key] = not edge.strange
                if edge.strange or not edge.brought:
                    del self._edges[key]
        for key, like in list(self._alike.items()):
            if not like.joined:
                self.doubtful[key] = False
                passed += self._empty(like)
                self._set_joined(like, is_new_ahead=False)
            if like.is_new_ahead or not like.ahead:
                del self._alike[key]
        self._alone = True
        return passed

    def withdraw(self) -> None:
        """The new link is gone: what it held is forgotten, what it passed on stays."""
        self._edges = {k: e for k, e in self._edges.items() if e.joined}
        self._alike = {
            k: e for k, e in self._alike.items() if e.joined and e.is_new_ahead
        }
        self._open = self.held = 0
        self._alone = True
