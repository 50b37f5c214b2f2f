"""Two links deliver the same channels for a while: each message is passed on once.

The old link's messages pass as they come. The new link's wait until they follow the
last that passed; from there on only they pass. Where messages have no numbers, the new
link's pass from its first on, and the old one's no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

M = TypeVar("M")

MOST_HELD = 4096
"""Messages of the new link held back for one key; beyond it the new link takes over
there, and what lies between is for its numbers to tell."""
UNJOINED = -2
"""Below every number."""


class _Edge(Generic[M]):
    """Where two links meet in one numbering."""

    __slots__ = ("held", "joined", "last")

    def __init__(self, last: int | None) -> None:
        self.last = last
        """The last number that was passed on; None if none was."""
        self.held: deque[tuple[int, int, M]] = deque()
        self.joined = False


class Seam(Generic[M]):
    """One overlap of two links. `keys`: every numbering that must be joined, and the
    last number passed on in each, None where there is none.

    A piece is the numbers above `low`, up to and with `high`: see `Numbering`.
    """

    __slots__ = ("_edges", "_open", "doubled", "held")

    def __init__(self, keys: Iterable[tuple[Hashable, int | None]]) -> None:
        self._edges: dict[Hashable, _Edge[M]] = {k: _Edge(last) for k, last in keys}
        self._open = len(self._edges)
        self.doubled = 0
        """Messages that were not passed on: the other link had brought them."""
        self.held = 0

    @property
    def complete(self) -> bool:
        """Whether the new link has taken over every numbering."""
        return not self._open

    def old(self, key: Hashable, low: int, high: int, message: M) -> list[M]:
        """What to pass on now that the old link brought a message."""
        edge = self._edges.get(key)
        if edge is None:
            return [message]
        if edge.joined:
            self.doubled += 1
            return []
        edge.last = high if edge.last is None else max(edge.last, high)
        return [message, *self._join(edge)]

    def new(
        self, key: Hashable, low: int, high: int, message: M, *, whole: bool = False
    ) -> list[M]:
        """What to pass on now that the new link brought one. `whole`: a snapshot up to
        `high`; it is passed on only if the old link ends before it has come that far.
        """
        edge = self._edges.get(key)
        if edge is None:
            edge = self._edges[key] = _Edge(None)
            self._open += 1
        if edge.joined:
            if edge.last is None or high > edge.last:
                return [message]
            # The old link was faster with it, in its last moments.
            self.doubled += 1
            return []
        low = UNJOINED if whole else low
        edge.held.append((low, high, message))
        self.held += 1
        if len(edge.held) > MOST_HELD:
            return self._release(edge)
        return self._join(edge)

    def unnumbered(self, key: Hashable, message: M, *, is_new: bool) -> list[M]:
        """What to pass on of a channel without numbers."""
        edge = self._edges.get(key)
        if edge is None:
            edge = self._edges[key] = _Edge(None)
            self._open += 1
        if is_new and not edge.joined:
            edge.joined = True
            self._open -= 1
        if is_new or not edge.joined:
            return [message]
        self.doubled += 1
        return []

    def finish(self) -> list[M]:
        """The old link is gone: everything held is passed on, joined or not."""
        return [
            m for e in self._edges.values() if not e.joined for m in self._release(e)
        ]

    def _join(self, edge: _Edge[M]) -> list[M]:
        """Pass on what is held once it follows the last number, hole or overlap none.

        Links may cut a range in different places: they join where two cuts agree.
        """
        if edge.last is None:
            return []
        reached = self._drop(edge, edge.last)
        if edge.held:
            reached = edge.held[0][0]
        return self._release(edge) if reached == edge.last else []

    def _drop(self, edge: _Edge[M], last: int) -> int:
        """Forget what the old link has brought by now; how far that goes."""
        reached = UNJOINED
        while edge.held and edge.held[0][1] <= last:
            reached = edge.held.popleft()[1]
            self.held -= 1
            self.doubled += 1
        return reached

    def _release(self, edge: _Edge[M]) -> list[M]:
        if edge.last is not None:
            self._drop(edge, edge.last)
        passed = [message for _, _, message in edge.held]
        self.held -= len(passed)
        edge.held.clear()
        edge.joined = True
        self._open -= 1
        return passed
