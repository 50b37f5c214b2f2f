"""Order books as users build them, from messages alone, and whose books are tried."""

from __future__ import annotations

import json
from typing import Any

from heartline import Gap, Message

BOOKS = [
    ("deribit", "main", "book.BTC-PERPETUAL.100ms"),
    ("okx", "public", "books:BTC-USDT"),
    ("bybit", "public", "orderbook.50.BTCUSDT"),
    ("coinbase", "exchange", "level2:BTC-USD"),
    ("coinbase", "advanced", "level2:BTC-USD"),
    ("kraken", "spot", "book-10:BTC/USD"),
    ("gate", "spot", "spot.obu:ob.BTC_USDT.400"),
    ("bitmex", "main", "orderBookL2_25:XBTUSD"),
]
"""Whose subscription brings a snapshot."""
UPDATES = [
    ("binance", "spot", "btcusdt@depth"),
    ("binance", "usdm", "btcusdt@depth@100ms"),
    ("kucoin", "spot", "/market/level2:BTC-USDT"),
    ("gate", "spot", "spot.order_book_update:BTC_USDT"),
]
"""Whose snapshot has to be fetched elsewhere."""
WHOLE = 10
"""Levels that no update of the simulator has, and every snapshot."""

Listed = dict[str, list[tuple[float, float]]]
"""By side, in the order of their prices: (price, size)."""


class Book:
    """A book as a user builds it: void from a gap until the next whole message."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[float, float]] | None = None

    def take(self, item: object) -> None:
        if isinstance(item, Gap):
            self.sides = None
        elif isinstance(item, Message) and item.channel is not None:
            for levels in _levels(json.loads(item.data)):
                self._apply(levels, is_whole=item.snapshot)

    def _apply(self, levels: dict[str, Any], *, is_whole: bool) -> None:
        if is_whole or len(levels["bids"]) + len(levels["asks"]) > WHOLE:
            self.sides = {"bids": {}, "asks": {}}
        if self.sides is None:
            return
        for side, standing in self.sides.items():
            for price, size in map(_pair, levels[side]):
                if size:
                    standing[price] = size
                else:
                    standing.pop(price, None)

    def as_listed(self) -> Listed | None:
        if self.sides is None:
            return None
        return {side: sorted(levels.items()) for side, levels in self.sides.items()}


def in_order(listed: dict[str, list[list[str]]]) -> Listed:
    """The simulator's book, listed as `Book.as_listed` does."""
    return {side: sorted(map(_pair, levels)) for side, levels in listed.items()}


def _pair(level: Any) -> tuple[float, float]:
    """Price and size: they come first where a level is a list, and where it is an
    object (Kraken) nothing else does."""
    price, size, *_ = level.values() if isinstance(level, dict) else level
    return float(price), float(size)


def _levels(found: object) -> list[dict[str, Any]]:
    """Whatever holds bids and asks, however deep."""
    if isinstance(found, dict):
        if "bids" in found and "asks" in found:
            return [found]
        return [each for value in found.values() for each in _levels(value)]
    if isinstance(found, list):
        return [each for value in found for each in _levels(value)]
    return []
