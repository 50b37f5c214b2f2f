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

Listed = dict[str, list[list[str]]]
"""By side: [price, size]."""


class Book:
    """A book as a user builds it: void from a gap until the next whole message."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, str]] | None = None

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
            for price, size in levels[side]:
                if float(size):
                    standing[price] = size
                else:
                    standing.pop(price, None)

    def as_listed(self) -> Listed | None:
        if self.sides is None:
            return None
        return {
            side: [[price, size] for price, size in sorted(levels.items(), key=_price)]
            for side, levels in self.sides.items()
        }


def in_order(listed: Listed) -> Listed:
    """The simulator's book, listed as `Book.as_listed` does."""
    return {
        side: sorted(levels, key=lambda level: float(level[0]))
        for side, levels in listed.items()
    }


def _price(level: tuple[str, str]) -> float:
    return float(level[0])


def _levels(found: object) -> list[dict[str, Any]]:
    """Whatever holds bids and asks, however deep."""
    if isinstance(found, dict):
        if "bids" in found and "asks" in found:
            return [found]
        return [each for value in found.values() for each in _levels(value)]
    if isinstance(found, list):
        return [each for value in found for each in _levels(value)]
    return []
