"""Books as a venue with checksums sends them: each level in its place, and the sum."""

from __future__ import annotations

from typing import Final, TypeAlias, cast

import msgspec

from heartline.core.orderbook import Recipe
from heartline.venue.checksums import Checksum
from heartline.venue.field import Steps, parse_field
from heartline.venue.levels import recipe
from heartline.venue.numbering import RuleFields

from .draft import Draft

Book: TypeAlias = dict[str, object]
Levels: TypeAlias = list[list[str]]

SUM_EVERY: Final = 4
"""Where a checksum has messages of its own, every so many of a channel is one."""
SUM: Final = "checksum"
"""What a made-up book calls its checksum, beside `bids` and `asks`."""


class Sums:
    """Writes the books of one rule."""

    def __init__(self, told: Checksum) -> None:
        self.told = told
        self.recipe: Recipe = recipe(told)
        self.alone = told.when is not None
        """Whether the checksum has messages of its own."""
        self.most = 2 if told.both is None else 1
        """Levels that one message changes."""
        self._asks = tuple(map(parse_field, told.asks))
        self._bids = tuple(map(parse_field, told.bids))
        self._both = None if told.both is None else parse_field(told.both)
        self._as_text = isinstance(parse_field(told.price or "")[0], int)

    def sum(self, whole: Book) -> int:
        """The checksum of a whole book, the best prices first."""
        asks = [self._signed(level, "asks") for level in _levels(whole, "asks")]
        bids = _levels(whole, "bids")
        written = self.recipe.written
        return self.recipe.sum(
            [written(price, size) for price, size in asks],
            [written(price, size) for price, size in bids],
        )

    def writes(self, steps: Steps) -> bool:
        """Whether a book is written at this field or around it."""
        fields = [*self._asks, *self._bids, *([self._both] if self._both else [])]
        return any(steps[: len(field)] == field for field in fields)

    def put(self, draft: Draft, book: Book, *, whole: bool) -> None:
        """Write what `book` holds into a message."""
        asks, bids = _levels(book, "asks"), _levels(book, "bids")
        if self._both is not None and (asks or bids or whole):
            levels = [self._level(each, "bids") for each in bids]
            levels += [self._level(each, "asks") for each in asks]
            draft.put(self._both, levels if whole else levels[0])
        elif self._both is None:
            at = 0 if whole else -1
            draft.put(self._asks[at], [self._level(each, "asks") for each in asks])
            draft.put(self._bids[at], [self._level(each, "bids") for each in bids])
        told = book.get(SUM)
        if told is None or (self.alone and (asks or bids)):
            return
        for field, literal in (self.told.when or {}).items():
            draft.put(parse_field(field), literal)
        draft.put(parse_field(self.told.field), told)

    def _signed(self, level: list[str], side: str) -> list[str]:
        price, size = level
        return [price, f"-{size}" if self._both and side == "asks" else size]

    def _level(self, level: list[str], side: str) -> object:
        told = self.told
        price, size = level
        values = {told.price: price, told.size: size}
        if told.gone is not None:
            values[told.gone] = "0" if size == "0" else "1"
            values[told.size] = "1" if size == "0" else size
        if self._both is not None and side == "asks":
            values[told.size] = f"-{values[told.size]}"
        draft = Draft()
        for field, value in values.items():
            # As a number it would not keep its last zeros.
            text = self._as_text and self._both is None
            written = value if text else msgspec.Raw(value.encode())
            draft.put(parse_field(field or ""), written)
        return draft.document()


def sums_of(own: RuleFields | None) -> Sums | None:
    """Those of a rule, where it has a checksum that can be made."""
    told = None if own is None else own.rule.checksum
    return None if told is None or told.algorithm != "crc32" else Sums(told)


def _levels(book: Book, side: str) -> Levels:
    return cast("Levels", book.get(side, []))
