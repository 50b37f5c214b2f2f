"""The levels of one order book, as far as the venue's checksum of it needs them.

Prices and sizes stay the text that the venue wrote: a checksum is one of characters.
What a user does with the book is no concern of this.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice, zip_longest
from typing import TypeAlias
from zlib import crc32

from msgspec import Struct

MOST_LEVELS = 20_000
"""Levels of one side; no venue sends that many. Beyond it nothing is known any more."""

Level: TypeAlias = tuple[str, str | None]
"""Price and size; without a size the price is gone."""


class Order(StrEnum):
    """In which order the best levels of both sides are written, each best first.

    asks_bids: all asks, then all bids. bid_ask: one bid, one ask, and so on.
    """

    ASKS_BIDS = "asks_bids"
    BID_ASK = "bid_ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the CRC32 of a book is made: of its `levels` best on each side.

    `digits`: prices and sizes are written without the point and without leading zeros.
    `between` stands between any two of them. `signed`: the venue tells it as a signed
    number of 32 bits.
    """

    levels: int
    order: Order
    digits: bool = False
    between: str = ""
    signed: bool = False

    def written(self, price: str, size: str) -> str:
        """One level, as the checksum takes it."""
        if self.digits:
            price, size = _digits(price), _digits(size)
        return f"{price}{self.between}{size}"

    def sum(self, asks: Iterable[str], bids: Iterable[str]) -> int:
        """The checksum of levels that were `written`, the best first."""
        best_asks, best_bids = islice(asks, self.levels), islice(bids, self.levels)
        if self.order is Order.ASKS_BIDS:
            text = self.between.join(chain(best_asks, best_bids))
        else:
            pairs = zip_longest(best_bids, best_asks)
            text = self.between.join(
                level for level in chain.from_iterable(pairs) if level is not None
            )
        found = crc32(text.encode())
        return found - (1 << 32) if self.signed and found >> 31 else found


class Changes(Struct, frozen=True, gc=False):
    """What one message says of a book, in the message's order. `whole`: it is all of
    it. `told`: the venue's checksum after that, where the message has one."""

    asks: list[Level]
    bids: list[Level]
    whole: bool = False
    told: int | None = None


class _Side:
    """One side: prices from the best to the worst, and what is written of each."""

    __slots__ = ("_ranks", "_sign", "_written")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        """1 where the lowest price is the best, else -1."""
        self._ranks: list[float] = []
        self._written: dict[float, str] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def clear(self) -> None:
        self._ranks, self._written = [], {}

    def apply(self, levels: Iterable[Level], recipe: Recipe) -> None:
        ranks, written = self._ranks, self._written
        for price, size in levels:
            # Two prices of one book differ in far fewer digits than a float has.
            rank = self._sign * float(price)
            if size is not None:
                if rank not in written:
                    insort(ranks, rank)
                written[rank] = recipe.written(price, size)
            elif written.pop(rank, None) is not None:
                del ranks[bisect_left(ranks, rank)]

    def cut(self, depth: int) -> None:
        """Forget all but the best."""
        for rank in self._ranks[depth:]:
            del self._written[rank]
        del self._ranks[depth:]

    def best(self, levels: int) -> Iterable[str]:
        written = self._written
        return [written[rank] for rank in self._ranks[:levels]]


class OrderBook:
    """One book. It is known from a whole one on, until something is wrong with it.

    `depth`: what lies below that many levels a side falls out without a word.
    """

    __slots__ = ("_asks", "_bids", "depth", "is_known", "recipe")

    def __init__(self, recipe: Recipe, *, depth: int | None = None) -> None:
        self.recipe = recipe
        self.depth = depth
        self.is_known = False
        self._asks, self._bids = _Side(1), _Side(-1)

    def forget(self) -> None:
        """Know nothing until the next whole one."""
        self.is_known = False
        self._asks.clear()
        self._bids.clear()

    def take(self, changes: Changes) -> bool | None:
        """Take one message; whether its checksum agrees, None where that cannot be
        told: it has none, or the book is not known."""
        if changes.whole:
            self.forget()
            self.is_known = True
        elif not self.is_known:
            return None
        for side, levels in ((self._asks, changes.asks), (self._bids, changes.bids)):
            if levels:
                side.apply(levels, self.recipe)
                if self.depth is not None:
                    side.cut(self.depth)
                elif len(side) > MOST_LEVELS:
                    self.forget()
                    return None
        return None if changes.told is None else changes.told == self.sum()

    def sum(self) -> int:
        """The checksum of the book as it is."""
        levels = self.recipe.levels
        return self.recipe.sum(self._asks.best(levels), self._bids.best(levels))


def _digits(text: str) -> str:
    return text.replace(".", "").lstrip("0")
