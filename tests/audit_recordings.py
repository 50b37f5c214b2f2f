"""Recordings for the audit's tests: real ones with a reading of their own, made-up
ones, and edits that lose, double and swap what was numbered.

Nothing here uses the code under test but the type of a recording: numbers are read
with plain `json`, one small function for each venue.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from prove.recordings import CAPTURES
from prove.recordings import RECORDED as RECORDED

from heartline.testing import Capture, CapturedFrame


class Numbers(NamedTuple):
    """A message covers the numbers above `low`, up to `high`; None: a snapshot.

    `each`: every number is a message. `follows`: they show what is missing.
    """

    channel: str | None
    low: int | None
    high: int
    each: bool = False
    follows: bool = True


@cache
def recorded(name: str) -> Capture:
    path = CAPTURES / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("the recordings are not beside this repository")
    frames: list[CapturedFrame] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            of = json.loads(line)
            data = of.get("url") or of.get("text")
            frames.append(
                CapturedFrame(of["t"], of["dir"], data or base64.b64decode(of["b64"]))
            )
    return Capture(tuple(frames))


# --- what each venue numbers ------------------------------------------------------


def _binance_spot(of: Any) -> Numbers | None:
    stream, data = of["stream"], of["data"]
    if "@depth@" in stream:
        return Numbers(stream, data["U"] - 1, data["u"])
    if stream.endswith("@bookTicker"):
        return Numbers(stream, None, data["u"], follows=False)
    return None


def _binance_usdm(of: Any) -> Numbers | None:
    if "@depth@" not in of["stream"]:
        return None
    return Numbers(of["stream"], of["data"]["pu"], of["data"]["u"])


def _bitfinex(of: Any) -> Numbers | None:
    return Numbers(None, of[-1] - 1, of[-1], each=True) if type(of) is list else None


def _bitstamp(of: Any) -> Numbers | None:
    if of["event"] != "data":
        return None
    at = int(of["data"]["microtimestamp"])
    return Numbers(of["channel"], None, at, follows=False)


def _deribit(of: Any) -> Numbers | None:
    told = of.get("params", {})
    if not told.get("channel", "").startswith("book."):
        return None
    data = told["data"]
    return Numbers(told["channel"], data.get("prev_change_id"), data["change_id"])


def _gate(of: Any) -> Numbers | None:
    if of["channel"] != "spot.order_book_update" or of["event"] != "update":
        return None
    book = of["result"]
    name = f"{of['channel']}:{book['s']}:100ms"
    return Numbers(name, book["U"] - 1, book["u"])


def _kucoin(of: Any) -> Numbers | None:
    if of.get("subject") != "trade.l2update":
        return None
    book = of["data"]
    return Numbers(of["topic"], book["sequenceStart"] - 1, book["sequenceEnd"])


def _phemex(of: Any) -> Numbers | None:
    if of.get("type") != "incremental" or "book" not in of:
        return None
    name = f"orderbook:{of['symbol']}"
    return Numbers(name, None, of["sequence"], follows=False)


READERS: dict[str, Callable[[Any], Numbers | None]] = {
    "binance-spot": _binance_spot,
    "binance-usdm": _binance_usdm,
    "bitfinex": _bitfinex,
    "bitstamp": _bitstamp,
    "deribit": _deribit,
    "gate-spot": _gate,
    "kucoin": _kucoin,
    "phemex": _phemex,
}
"""Recordings that hold numbers."""


class Place(NamedTuple):
    """A numbered message; `at` is its place in the recording."""

    at: int
    numbers: Numbers


Chains = dict[str | None, list[Place]]


def chains(capture: Capture, reader: Callable[[Any], Numbers | None]) -> Chains:
    """The numbered messages of each channel, in order."""
    found: Chains = {}
    for at, frame in enumerate(capture.frames):
        if frame.direction == "in":
            numbers = reader(json.loads(frame.data))
            if numbers is not None:
                found.setdefault(numbers.channel, []).append(Place(at, numbers))
    return found


def breaks(chain: Sequence[Place]) -> int:
    """How often a message does not follow the one before it."""
    numbers = [place.numbers for place in chain]
    return sum(
        after.low is not None and after.low != before.high
        if after.follows
        else after.high < before.high
        for before, after in pairwise(numbers)
    )


# --- edits ------------------------------------------------------------------------


class Edit(NamedTuple):
    """What is done to the messages of a channel from the one at `at` on.

    lose: `run` of them. double: one comes again, after `run` - 1 more of its channel.
    swap: one and the next.
    """

    kind: str
    channel: str | None
    at: int
    run: int = 1

    @property
    def touched(self) -> range:
        """The messages that it depends on: those around it stay as they are."""
        return range(self.at - 1, self.at + self.run + 2)


def possible(edit: Edit, chain: Sequence[Place]) -> bool:
    """Whether what it shows can be told: no end and no snapshot lies in it."""
    inside = all(0 <= at < len(chain) for at in edit.touched)
    return inside and all(
        not chain[at].numbers.follows or chain[at].numbers.low is not None
        for at in edit.touched[1:]
    )


def apart(edits: Sequence[Edit], of: Chains) -> list[Edit]:
    """Those of the edits that are possible and do not touch one before them."""
    taken: set[tuple[str | None, int]] = set()
    chosen: list[Edit] = []
    for edit in edits:
        touched = {(edit.channel, at) for at in edit.touched}
        if possible(edit, of[edit.channel]) and not touched & taken:
            taken |= touched
            chosen.append(edit)
    return chosen


def edited(capture: Capture, edits: Sequence[Edit], of: Chains) -> Capture:
    """The recording with these edits; receipts stay in order."""
    frames: list[list[CapturedFrame]] = [[frame] for frame in capture.frames]
    for edit in edits:
        places = [place.at for place in of[edit.channel]]
        here, there = places[edit.at], places[edit.at + 1]
        match edit.kind:
            case "lose":
                for at in range(edit.at, edit.at + edit.run):
                    frames[places[at]] = []
            case "double":
                frames[places[edit.at + edit.run - 1]].append(capture.frames[here])
            case _:
                frames[here] = [capture.frames[there]]
                frames[there] = [capture.frames[here]]
    times = iter(_receipts(capture, frames))
    return Capture(
        tuple(
            CapturedFrame(next(times), frame.direction, frame.data)
            for listed in frames
            for frame in listed
        )
    )


def _receipts(
    capture: Capture, frames: Sequence[Sequence[CapturedFrame]]
) -> Iterator[float]:
    for frame, listed in zip(capture.frames, frames, strict=True):
        yield from (frame.at for _ in listed)


class Shown(NamedTuple):
    """What a channel's numbers must show."""

    gaps: list[tuple[int, int, str | None]]
    received: int
    sent: int | None
    duplicated: int
    disordered: int
    missing: int
    unknown: int


def shown(edits: Sequence[Edit], chain: Sequence[Place]) -> Shown:
    """What these edits of one channel must show, by its numbers alone."""
    numbers = [place.numbers for place in chain]
    follows, each = numbers[0].follows, numbers[0].each
    lost = sum(e.run for e in edits if e.kind == "lose")
    losses = sum(e.kind == "lose" for e in edits)
    doubles = sum(e.kind == "double" for e in edits)
    swaps = [e.at for e in edits if e.kind == "swap"]
    received = len(chain) - lost + doubles
    if not follows:
        # They only never fall: one that comes again shows nothing at once, and is
        # late after a higher one.
        late = sum(
            e.kind == "double" and numbers[e.at + e.run - 1].high > numbers[e.at].high
            for e in edits
        )
        late += sum(numbers[at].high < numbers[at + 1].high for at in swaps)
        return Shown([], received, received - late, 0, late, 0, 0)
    gaps: list[tuple[int, int, str | None]] = []
    for edit in sorted(edits, key=lambda edit: edit.at):
        if edit.kind != "double":
            beyond = edit.at + (edit.run if edit.kind == "lose" else 1)
            low = numbers[beyond].low
            assert low is not None
            closed = None if edit.kind == "lose" else "late"
            gaps.append((numbers[edit.at - 1].high + 1, low, closed))
    known = each or not losses
    return Shown(
        gaps,
        received,
        len(chain) if known else None,
        doubles,
        len(swaps),
        lost if each else 0,
        0 if each else losses,
    )


# --- made up ----------------------------------------------------------------------

BEGAN = 1_700_000_000.0


def frame(at: float, document: Any, direction: Any = "in") -> CapturedFrame:
    data = document if isinstance(document, str) else json.dumps(document)
    return CapturedFrame(BEGAN + at, direction, data)


def dial(at: float, url: str = "wss://www.deribit.com/ws/api/v2") -> CapturedFrame:
    return frame(at, url, "open")


def subscribed(at: float, *names: str, id: int = 7) -> list[CapturedFrame]:
    """A request and its answer, 20 ms later."""
    asked = {"jsonrpc": "2.0", "id": id, "method": "public/subscribe"}
    asked = {**asked, "params": {"channels": list(names)}}
    answer = {"jsonrpc": "2.0", "id": id, "result": list(names)}
    return [frame(at, asked, "out"), frame(at + 0.02, answer)]


def notified(channel: str, **data: Any) -> dict[str, Any]:
    params = {"channel": channel, "data": data}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


def book(at: float, name: str, prev: int | None, cur: int) -> CapturedFrame:
    channel = f"book.{name}.100ms"
    told: dict[str, Any] = {"change_id": cur, "instrument_name": name}
    told |= {"timestamp": int((BEGAN + at - 0.005) * 1000)}
    told["type"] = "snapshot" if prev is None else "change"
    if prev is not None:
        told["prev_change_id"] = prev
    return frame(at, notified(channel, **told))


def trade(at: float, name: str, number: int) -> CapturedFrame:
    one = {"trade_seq": number, "instrument_name": name, "timestamp": 1}
    channel = f"trades.{name}.100ms"
    params = {"channel": channel, "data": [one]}
    told = {"jsonrpc": "2.0", "method": "subscription", "params": params}
    return frame(at, told)


@cache
def made_up(messages: int = 40) -> Capture:
    """Two books of one venue, each from a snapshot on, one message a tenth of a
    second; numbers lie a different distance apart each time."""
    names = ("BTC-PERPETUAL", "ETH-PERPETUAL")
    channels = [f"book.{name}.100ms" for name in names]
    frames = [dial(0.0), *subscribed(0.1, *channels)]
    last: dict[str, int] = {}
    for turn in range(messages):
        for place, name in enumerate(names):
            at = 1 + turn / 10 + place / 50
            cur = last.get(name, 100) + 1 + (7 * turn + place) % 5
            frames.append(book(at, name, last.get(name), cur))
            last[name] = cur
    return Capture(tuple(frames))
