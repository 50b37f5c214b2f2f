"""Real traffic of venues, where it is at hand: which recording is of which endpoint."""

from __future__ import annotations

from pathlib import Path

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"

RECORDED = {
    "binance-spot": "binance/spot",
    "binance-usdm": "binance/usdm",
    "bitfinex": "bitfinex/public",
    "bitget": "bitget/public",
    "bitmex": "bitmex/main",
    "bitstamp": "bitstamp/main",
    "bybit": "bybit/public",
    "coinbase-exchange": "coinbase/exchange",
    "deribit": "deribit/main",
    "gate-spot": "gate/spot",
    "gemini": "gemini/legacy",
    "htx": "htx/spot",
    "kraken-v1": "kraken/spot_v1",
    "kucoin": "kucoin/spot",
    "okx": "okx/public",
    "phemex": "phemex/main",
    "upbit": "upbit/public",
}
"""Poloniex has no profile."""
