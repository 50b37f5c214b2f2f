"""Two links deliver the same channels for a while: each message is passed on once.

The old link's messages pass as they come. The new link's wait until they follow the
last that passed; from there on only they pass. Where messages have no numbers that
both links share, they are told by their content.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Hashable, Iterable
from functools import partial
from typing import Generic, TypeVar

from .likeness import MOST_HELD as MOST_HELD
from .likeness import Likeness

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")

MOST_HELD_IN_ALL = 1 << 15
MOST_HELD_BYTES = 64 << 20
"""Of all keys together. With more the new link's pass on where numbers will tell what
is missing, and elsewhere they are dropped, and that is told, until it is alone."""
UNJOINED = -2
"""Below every number."""


class _Edge(Generic[M]):
    """Where two links meet in one numbering."""

    __slots__ = (
        *("brought", "held", "highs", "joined", "last", "proven", "rests"),
        "strange",
    )

    def __init__(self, last: int | None) -> None:
        self.last = last
        """The last number that was passed on; None if none was."""
        self.held: deque[tuple[int, int, M]] = deque()
        self.joined = False
        self.brought = False
        """Whether either link has brought anything in the overlap."""
        self.rests = False
        """Whether nothing was said that either could bring: none is waited for."""
        self.proven = False
        """Whether both links brought the same number: they count alike."""
        self.strange = False
        """Whether what the new link brought was behind, and not of the old one's."""
        self.highs = set[int]() if last is None else {last}
        """What the old link brought."""


class Seam(Generic[K, M]):
    """One overlap of two links. `keys`: every numbering that must be joined, and the
    last number passed on in each, None where there is none. `answers`: the old link can
    be asked whether it has brought all, see `answered`; `size_bytes`: of a message.

    A piece is the numbers above `low`, up to and with `high`: see `Numbering`.
    """

    __slots__ = (
        *("_alike", "_alone", "_answers", "_begun", "_edges", "_open", "_still"),
        *("_size_bytes", "doubled", "doubtful", "held", "held_bytes"),
    )

    def __init__(
        self,
        keys: Iterable[tuple[K, int | None]],
        *,
        answers: bool = False,
        size_bytes: Callable[[M], int] = lambda message: 0,
    ) -> None:
        self._edges: dict[K, _Edge[M]] = {k: _Edge(last) for k, last in keys}
        self._alike: dict[K, Likeness[M]] = {}
        self._open = len(self._edges)
        self._alone = False
        """One link is gone; what the other brings is only compared with what passed."""
        self._answers = answers
        self._begun = False
        self._still: Container[K] = ()
        """See `still`."""
        self.doubled = 0
        """Messages that were not passed on: the other link had brought them."""
        self.held = self.held_bytes = 0
        self._size_bytes = size_bytes
        self.doubtful: dict[K, bool] = {}
        """Keys whose two links were not seen to meet, once one is gone; whether their
        numbers alone will tell what is missing."""

    @property
    def complete(self) -> bool:
        """Whether the new link has taken over every numbering."""
        return not self._open

    @property
    def settled(self) -> bool:
        """Whether one link is gone, and nothing of the other can be double any more."""
        return self._alone and not self._edges and not self._alike

    def __contains__(self, key: K) -> bool:
        return key in self._edges or key in self._alike

    @property
    def _is_full(self) -> bool:
        return self.held >= MOST_HELD_IN_ALL or self.held_bytes >= MOST_HELD_BYTES

    # --- numbered -------------------------------------------------------------------

    def old(self, key: K, low: int, high: int, message: M) -> list[M]:
        """What to pass on now that the old link brought a message."""
        edge = self._edges.get(key)
        if edge is None:
            if self._alone:
                return [message]
            edge = self._new_edge(key)
        self._wake(edge)
        edge.highs.add(high)
        if edge.joined:
            if self._alone:
                return self._pass_further(key, high, message)
            if edge.proven and low == edge.last and high > low:
                # Should the new link die first, nobody else will bring it.
                edge.last = high
                return [message]
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
        self._wake(edge)
        edge.proven = edge.proven or high in edge.highs
        if edge.joined and not self._is_cut(edge, low, high, whole):
            return self._pass_further(key, high, message)
        low = UNJOINED if whole else low
        edge.held.append((low, high, message))
        self.held += 1
        self.held_bytes += self._size_bytes(message)
        if len(edge.held) > MOST_HELD or self._is_full:
            self.doubtful[key] = True
            return self._release(edge)
        return self._join(edge)

    def _new_edge(self, key: K) -> _Edge[M]:
        edge = self._edges[key] = _Edge(None)
        self._open += 1
        return edge

    def _wake(self, edge: _Edge[M]) -> None:
        edge.brought = True
        if edge.rests:
            edge.rests = False
            self._open += not self._alone

    def _is_cut(self, edge: _Edge[M], low: int, high: int, whole: bool) -> bool:
        """Whether the old link's last ends amid this: they are to join once more."""
        last = edge.last
        if self._alone or whole or last is None or not low < last < high:
            return False
        edge.joined = False
        self._open += 1
        return True

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
            low, reached, message = edge.held.popleft()
            self.held_bytes -= self._size_bytes(message)
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
        self.held_bytes -= sum(map(self._size_bytes, passed))
        edge.held.clear()
        edge.joined = True
        self._open -= not edge.rests
        return passed

    # --- told by content --------------------------------------------------------------

    def begin(self) -> None:
        """The new link is asked for everything; what the other brought before will not
        come on it."""
        self._begun = True
        for like in self._alike.values():
            like.begin()

    def still(self, keys: Container[K]) -> None:
        """The old link has brought all that was said before the new one was sent
        everything of these: where there was nothing since, nothing lies between the
        two. Of a key asked for later each link may begin anywhere. What was numbered
        before and rests, or is wanted no more, is not waited for either."""
        self._still = keys
        for edge in self._edges.values():
            if not (edge.brought or edge.rests or edge.last is None):
                edge.rests = True
                self._open -= 1
        for key, like in self._alike.items():
            self._join_still(key, like)

    def answered(self, *, asked_at: float) -> list[M]:
        """The old link answered what it was asked then, after all said before that.
        What to pass on."""
        passed: list[M] = []
        if not self._alone:
            for like in self._alike.values():
                take = partial(like.answered, asked_at=asked_at)
                passed += self._count(like, take)
        return passed

    def asks(self, key: K) -> bool:
        """Whether an answer of the old link would show where the two have met."""
        like = self._alike.get(key)
        return like is not None and not self._alone and like.asks

    def _join_still(self, key: K, like: Likeness[M]) -> None:
        if key in self._still and like.is_still:
            self._count(like, like.join_still)

    def alike(
        self,
        key: K,
        mark: int,
        message: M,
        *,
        is_new: bool,
        whole: bool = False,
        now: float = 0.0,
    ) -> list[M]:
        """What to pass on of messages without common numbers; equal ones have equal
        marks. The links join where one brings what the other has brought. `whole`: a
        snapshot, which the other is not sent."""
        like = self._alike.get(key)
        if like is None:
            if self._alone:
                return [message]
            like = self._alike[key] = Likeness(begun=self._begun, answers=self._answers)
            self._open += 1
        if is_new and self._is_full and not (like.joined or like.given_up):
            self._count(like, like.give_up)
        take = partial(like.take, mark, message, is_new=is_new, whole=whole, now=now)
        passed = self._count(like, take, came=1)
        if whole and is_new:
            self._join_still(key, like)
        if is_new and like.held:
            size_bytes = self._size_bytes(message)
            like.held_bytes += size_bytes
            self.held_bytes += size_bytes
        if like.over:
            del self._alike[key]
            if like.doubted:
                self.doubtful[key] = False
        return passed

    def _count(
        self, like: Likeness[M], take: Callable[[], list[M]], *, came: int = 0
    ) -> list[M]:
        """Of what came and of what was held: what is held still, passed or doubled."""
        held, was_sure = len(like.held), like.sure
        passed = take()
        more = len(like.held) - held
        self.held += more
        self.doubled += came - more - len(passed)
        if not like.held:
            self.held_bytes -= like.held_bytes
            like.held_bytes = 0
        if not self._alone:
            self._open += was_sure - like.sure
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
                if edge.strange or not (edge.brought or edge.rests):
                    del self._edges[key]
        for key, like in list(self._alike.items()):
            count = len(like.held)
            held, sure = like.finish()
            passed += held
            self.held -= count
            like.held_bytes = 0
            self.doubled += count - len(held)
            if not sure:
                self.doubtful[key] = False
            if like.over:
                del self._alike[key]
        self._open = self.held_bytes = 0
        self._alone = True
        return passed

    def withdraw(self) -> None:
        """The new link is gone: what it held is forgotten, what it passed on stays."""
        self._edges = {k: e for k, e in self._edges.items() if e.joined}
        for key, like in list(self._alike.items()):
            if not like.withdraw():
                self.doubtful[key] = False
            if like.over:
                del self._alike[key]
        self._open = self.held = self.held_bytes = 0
        self._alone = True
