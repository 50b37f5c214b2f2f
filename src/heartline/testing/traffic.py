"""Made-up market traffic: bursts and silences as real feeds have them.

Bursts are geometric in length, silences Pareto: the long tail is what a detector
must live with. Seeded, so that a run can be repeated to the byte.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from heartline.errors import UsageError

from .capture import Capture, CapturedFrame, write_capture

MEAN_BURST = 20
WITHIN_BURST = 0.002
"""Seconds between two messages of one burst."""
SILENCE_SHAPE = 1.5
SHORTEST_SILENCE = 0.2
"""Seconds. The four numbers together make 31 messages a second."""

SAMPLE = Path(__file__).parent / "data" / "sample.jsonl.gz"
"""Ten seconds of `market_traffic` at 150 messages a second, seed 7."""

SAMPLE_SEED, SAMPLE_SECONDS, SAMPLE_RATE = 7, 10.0, 150.0

_STARTED_AT = 1_767_225_600.0
_SYMBOLS = {"BTC-USD": 64_250_00, "ETH-USD": 3_120_00, "SOL-USD": 148_00}


def market_traffic(
    seed: int, seconds: float, rate: float | None = None
) -> Iterator[tuple[float, str]]:
    """Yield (seconds since the start, JSON text) of trades and book changes.

    Bursts have 20 messages in the mean, 2 ms apart; the silences between them are
    Pareto(1.5) with a shortest of 0.2 s. `rate`, in messages a second, keeps all of
    that but scales the silences; it must be under 500. A rate is the mean over long
    times: the silences' variance is infinite, so short runs differ widely.
    Each symbol counts its own `seq`, without gaps. Raises `UsageError`.
    """
    dice = random.Random(seed)
    shortest = SHORTEST_SILENCE if rate is None else _shortest_silence(rate)
    book = _Book(dice)
    at = 0.0
    while True:
        while True:
            if at >= seconds:
                return
            yield at, book.message(at)
            if dice.random() < 1 / MEAN_BURST:
                break
            at += WITHIN_BURST
        at += shortest * dice.paretovariate(SILENCE_SHAPE)


def make_sample() -> Capture:
    """Make the capture that is kept at `SAMPLE`."""
    traffic = market_traffic(SAMPLE_SEED, SAMPLE_SECONDS, SAMPLE_RATE)
    subscribe = '{"op":"subscribe","channels":["trades","book"]}'
    frames = [
        CapturedFrame(_STARTED_AT, "open", "wss://venue.example/ws"),
        CapturedFrame(_STARTED_AT + 0.05, "out", subscribe),
    ]
    frames += [
        CapturedFrame(round(_STARTED_AT + 0.1 + at, 6), "in", text)
        for at, text in traffic
    ]
    return Capture(tuple(frames))


def write_sample(path: Path = SAMPLE) -> None:
    write_capture(make_sample(), path)


def _shortest_silence(rate: float) -> float:
    """Solve rate = burst / (burst's own time + mean silence) for the silence."""
    if not 0 < rate < 1 / WITHIN_BURST:
        raise UsageError("rate", wanted="more than 0 and under 500", got=rate)
    mean_silence = MEAN_BURST / rate - (MEAN_BURST - 1) * WITHIN_BURST
    return mean_silence * (SILENCE_SHAPE - 1) / SILENCE_SHAPE


class _Book:
    """Prices that walk, and the numbers of each symbol."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._cents = dict(_SYMBOLS)
        self._seq = dict.fromkeys(_SYMBOLS, 0)
        self._kinds: list[Callable[[str, int], dict[str, object]]] = [
            self._trade,
            self._change,
        ]

    def message(self, at: float) -> str:
        dice = self._dice
        symbol = dice.choices(list(_SYMBOLS), (6, 3, 1))[0]
        self._seq[symbol] += 1
        self._cents[symbol] += dice.randrange(-5, 6)
        kind = dice.choices(self._kinds, (3, 7))[0]
        fields = kind(symbol, self._cents[symbol])
        numbered = {
            **fields,
            "seq": self._seq[symbol],
            "ts": round((_STARTED_AT + at) * 1000),
        }
        return json.dumps(numbered, separators=(",", ":"))

    def _trade(self, symbol: str, cents: int) -> dict[str, object]:
        side = self._dice.choice(("buy", "sell"))
        return {
            "channel": "trades",
            "symbol": symbol,
            "side": side,
            "price": _price(cents),
            "size": self._size(),
        }

    def _change(self, symbol: str, cents: int) -> dict[str, object]:
        levels = range(1, self._dice.randrange(2, 4))
        return {
            "channel": "book",
            "symbol": symbol,
            "bids": [[_price(cents - 5 * n), self._size()] for n in levels],
            "asks": [[_price(cents + 5 * n), self._size()] for n in levels],
        }

    def _size(self) -> str:
        return f"{self._dice.randrange(1, 400) / 100:.2f}"


def _price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
