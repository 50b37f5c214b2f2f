"""The levels of books, read from the messages of channels that have a checksum.

Numbers stay the text they are in the message: `0.10` and `0.1` have other checksums.
A message is decoded once more for this, whole; other channels pay nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from heartline.core.orderbook import Changes, Level, Order, OrderBook, Recipe

from .channels import Rule
from .checksums import Checksum
from .decode import Envelope, Undecodable
from .field import Steps, find, parse_field
from .numbering import Condition, condition, whole
from .payload import NOT_JSON

if TYPE_CHECKING:
    from .classify import Contract

_decode = msgspec.json.Decoder(object, float_hook=str).decode
_is_number = re.compile(
    r"-?[0-9]{1,40}(?:\.[0-9]{0,40})?(?:[eE][+-]?[0-9]{1,3})?\Z"
).match

UNREADABLE: Final = (Undecodable, LookupError, TypeError, *NOT_JSON)


class LevelReader:
    """Reads the books of the channels of one rule."""

    def __init__(self, rule: Rule, told: Checksum, opened: Envelope, at: str) -> None:
        self._open = opened
        self._snapshot = condition(rule.snapshot_when, (), f"{at}.snapshot_when")
        self._when = condition(told.when, (), f"{at}.checksum.when")
        self._field = parse_field(told.field, field=at)
        self._asks = tuple(parse_field(text, field=at) for text in told.asks)
        self._bids = tuple(parse_field(text, field=at) for text in told.bids)
        self._both = None if told.both is None else parse_field(told.both, field=at)
        self._price, self._size = _getter(told.price, at), _getter(told.size, at)
        self._gone = None if told.gone is None else _getter(told.gone, at)

    def read(self, data: str | bytes) -> Changes | None:
        """What a message says of its book; None if that cannot be read."""
        try:
            document = _decode(self._open(data))
            if self._both is not None:
                asks, bids = self._by_sign(find(document, self._both))
            else:
                asks = self._side(document, self._asks)
                bids = self._side(document, self._bids)
            return Changes(
                asks,
                bids,
                _holds(self._snapshot, document),
                self._told(document),
            )
        except UNREADABLE:
            return None

    def _told(self, document: object) -> int | None:
        if self._when.wants and not _holds(self._when, document):
            return None
        value = find(document, self._field)
        if value is msgspec.UNSET:
            return None
        told = whole(value)
        if told is None:
            raise TypeError(self._field)
        return told

    def _side(self, document: object, fields: Iterable[Steps]) -> list[Level]:
        for steps in fields:
            levels = find(document, steps)
            if isinstance(levels, list):
                return [self._level(each) for each in cast("list[object]", levels)]
        return []

    def _by_sign(self, value: object) -> tuple[list[Level], list[Level]]:
        asks: list[Level] = []
        bids: list[Level] = []
        if isinstance(value, list) and value:
            levels = cast("list[object]", value)
            # A single level is a list of its own, of numbers.
            for each in levels if isinstance(levels[0], list | dict) else [levels]:
                is_ask = _text(self._size(each)).startswith("-")
                (asks if is_ask else bids).append(self._level(each))
        return asks, bids

    def _level(self, level: object) -> Level:
        price, size = _text(self._price(level)), _text(self._size(level))
        zero = size if self._gone is None else _text(self._gone(level))
        return price, None if float(zero) == 0 else size


class Books:
    """The books of one endpoint's channels."""

    def __init__(self, contract: Contract) -> None:
        sequence = contract.endpoint.sequence
        self._contract = contract
        self.readers: dict[int, LevelReader] = {}
        """By the place of their rule; those without are not in it."""
        self._told: dict[int, Checksum] = {}
        for index, rule in enumerate(sequence.rules if sequence else ()):
            told = rule.checksum
            if told is not None and told.algorithm == "crc32":
                at = f"sequence.rules[{index}]"
                self._told[index] = told
                self.readers[index] = LevelReader(rule, told, contract.envelope, at)

    def book(self, channel: str, rule: int) -> OrderBook | None:
        """An empty book of a channel under a rule; None if no checksum proves it."""
        told = self._told.get(rule)
        if told is None:
            return None
        depth = told.depth
        if told.depth_part is not None:
            part = self._contract.names.read(channel).parts.get(told.depth_part)
            depth = depth if part is None else int(part)
        return OrderBook(recipe(told), depth=depth)


def recipe(told: Checksum) -> Recipe:
    """How a checksum is made; `told` must be one of CRC32."""
    assert told.levels is not None
    assert told.order is not None
    return Recipe(
        levels=told.levels,
        order=Order(told.order),
        digits=told.written == "digits",
        between=told.between,
        signed=told.signed,
    )


def _holds(when: Condition, document: object) -> bool:
    return when.holds([find(document, steps) for steps in when.fields])


def _getter(field: str | None, at: str) -> Callable[[Any], object]:
    assert field is not None
    (step,) = parse_field(field, field=at)
    return itemgetter(step)


def _text(value: object) -> str:
    if type(value) is int:
        value = str(value)
    if type(value) is not str or not _is_number(value):
        raise TypeError("a number")
    return value
