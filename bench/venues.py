"""`python -m bench venues`: what a venue's contract costs a message, above a plain one.

The plain stream makes a `Message` of each frame. A stream with a profile also tells
what the frame is, follows the numbers of its channel and takes its time. Both get the
same recordings, 16 messages a read, and take turns within a round; CPU time only.

What opens a link (acknowledgements, the first message of each channel) is played to
the desk before each measured play and told apart: it comes once in hours.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import gzip
import json
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from heartline.client.contract import Venue
from heartline.client.desk import Desk
from heartline.core.budget import Budget
from heartline.core.gaps import Ledger
from heartline.core.items import Message
from heartline.testing.venue_side.shapes import Content, Row, Shape
from heartline.venue.classify import Classifier, Contract
from heartline.venue.load import load
from heartline.venue.reading import Update

CAPTURES = Path(__file__).parents[2] / "shared" / "captures"
BUDGET_NS, BUDGET_NS_PER_BYTE = 1000.0, 1.0
A_READ = 16
LEAST_MESSAGES = 4000
"""A play is repeated until so many were measured."""
MADE_CHANNELS, MADE_MESSAGES = 10, 2000
FEW, MANY, SCALE_MESSAGES = 10, 10_000, 60_000
NO_CHANNEL, EPOCH, NOT_OLD = repeat(None), repeat(1), repeat(0.0)


@dataclass(frozen=True, slots=True)
class Source:
    """A recorded venue; `form` makes names of channels where there is no recording."""

    venue: str
    endpoint: str
    recording: str
    form: str


SOURCES = {
    "coinbase": Source(
        "coinbase", "exchange", "coinbase-exchange", "matches:COIN{}-USD"
    ),
    "binance": Source("binance", "usdm", "binance-usdm", "coin{}usdt@depth"),
    "deribit": Source("deribit", "main", "deribit", "book.COIN{}-PERPETUAL.raw"),
}


# --- what is played ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Play:
    """Messages of one link: what opens it, and what is measured."""

    channels: tuple[str, ...]
    opening: list[str | bytes]
    rest: list[str | bytes]

    @property
    def size_bytes(self) -> float:
        return sum(map(len, self.rest)) / len(self.rest)


def recorded(source: Source) -> list[str | bytes] | None:
    path = CAPTURES / f"{source.recording}.jsonl.gz"
    if not path.exists():
        return None
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [
        each["text"] if "text" in each else base64.b64decode(each["b64"])
        for each in records
        if each["dir"] == "in"
    ]


def made(source: Source, order: Sequence[int]) -> list[str | bytes]:
    """Messages as the profile describes them: `order` is of which channel each is."""
    contract = Contract(load(source.venue).endpoint(source.endpoint))
    names = (source.form.format(number) for number in range(max(order) + 1))
    shapes = [Shape(contract, contract.names.read(name)) for name in names]
    last = [0] * len(shapes)
    texts: list[str | bytes] = []
    for number, channel in enumerate(order):
        turn = last[channel] = last[channel] + 1
        content = Content(
            row=Row(prev=turn - 1, first=turn, last=turn),
            unix=1.7e9 + number / 1000,
            book={"bids": [["101.50", "2.25"]], "asks": [["101.75", "0"]]},
            links={},
        )
        document = shapes[channel].document(content)
        texts.append(msgspec.json.encode(document).decode())
    return texts


def in_turn(channels: int, messages: int) -> list[int]:
    return [number % channels for number in range(messages)]


def as_markets_go(channels: int, messages: int) -> list[int]:
    """The n-th channel says 1/n of what the first says (Zipf); each speaks at first."""
    weights = [1 / (number + 1) for number in range(channels)]
    later = random.Random(1).choices(range(channels), weights, k=messages - channels)
    return [*range(channels), *later]


def play(source: Source, texts: Iterable[str | bytes]) -> Play:
    classifier = Classifier(Contract(load(source.venue).endpoint(source.endpoint)))
    channels = dict[str, None]()
    opening, rest = list[str | bytes](), list[str | bytes]()
    for text in texts:
        reading = classifier.read(text)
        name = reading.channel if isinstance(reading, Update) else None
        if name is None or name in channels:
            (opening if name is None else rest).append(text)
        else:
            channels[name] = None
            opening.append(text)
    return Play(tuple(channels), opening, rest)


# --- who plays it -----------------------------------------------------------------


class Owner:
    """A driver that does nothing."""

    unread = paused = False
    secrets: frozenset[str] = frozenset()

    def post(self, epoch: int, text: str | bytes, *, first: bool) -> None: ...
    def tell(self, event: object) -> None: ...
    def give_up(self, epoch: int, cause: object, reason: str) -> None: ...
    def prove(self, epoch: int) -> None: ...
    def announced(self, epoch: int, reason: str, lead: float | None) -> None: ...
    def run(self, what: str, epoch: int, work: object) -> None: ...
    def deliver(self, items: list[object]) -> None: ...

    def heard_at(self, epoch: int) -> float:
        return 0.0


class Stand:
    """The two ways of one play, side by side."""

    def __init__(self, source: Source, play: Play) -> None:
        self._reads = _in_reads(play.rest)
        self._opening = _in_reads(play.opening)
        self.messages, self.opening = len(play.rest), len(play.opening)
        self._plays = -(-LEAST_MESSAGES // self.messages)
        self._loop = asyncio.new_event_loop()
        # The limits of the venue's links are not what is measured here, and nobody
        # answers: all channels are asked for at once, and live with their first data.
        venue = Venue(name=source.venue, endpoint=source.endpoint, snapshots=None)
        self._desk = Desk(venue, Owner(), ledger=Ledger(), loop=self._loop)
        asked = self._desk.feed.subscriptions
        asked.budget = Budget()
        asked.policy = replace(asked.policy, in_flight=len(play.channels))
        self._now = 1000.0
        self._desk.begin(1, {})
        self._desk.want(play.channels)
        self.desk()

    def plain(self) -> float:
        """CPU seconds a message."""
        began = time.process_time()
        for _ in range(self._plays):
            for read in self._reads:
                now = self._tick()
                list(
                    map(
                        Message, read, repeat(now), repeat(None), repeat(1), repeat(0.0)
                    )
                )
        return (time.process_time() - began) / self._plays / self.messages

    def desk(self) -> tuple[float, float]:
        """CPU seconds a message of the rest, and of the opening."""
        rest = opening = 0.0
        for _ in range(self._plays):
            self._desk.feed.begin(1, now=self._now)
            self._desk.feed.open(now=self._now)
            opening += self._read(self._opening)
            rest += self._read(self._reads)
        plays = self._plays
        return rest / plays / self.messages, opening / plays / max(1, self.opening)

    def close(self) -> None:
        self._desk.alarm.stop()
        self._loop.close()

    def _read(self, reads: Sequence[list[str | bytes]]) -> float:
        read = self._desk.read
        began = time.process_time()
        for data in reads:
            read(1, data, age=0.0, now=self._tick())
        return time.process_time() - began

    def _tick(self) -> float:
        self._now += 0.001
        return self._now


def _in_reads(texts: list[str | bytes]) -> list[list[str | bytes]]:
    return [texts[at : at + A_READ] for at in range(0, len(texts), A_READ)]


# --- the rounds -------------------------------------------------------------------


def compare(stands: dict[str, Stand], rounds: int) -> dict[str, dict[str, Any]]:
    """Medians over rounds in which all take turns; the difference is of each round."""
    plain: dict[str, list[float]] = {name: [] for name in stands}
    desk: dict[str, list[float]] = {name: [] for name in stands}
    opening: dict[str, list[float]] = {name: [] for name in stands}
    for number in range(rounds):
        for name in stands if number % 2 == 0 else reversed(stands):
            plain[name].append(stands[name].plain() * 1e9)
            rest, first = stands[name].desk()
            desk[name].append(rest * 1e9)
            opening[name].append(first * 1e9)
    return {
        name: {
            "plain_ns": round(median(plain[name]), 1),
            "desk_ns": round(median(desk[name]), 1),
            "above_ns": round(
                median(b - a for a, b in zip(plain[name], desk[name], strict=True)), 1
            ),
            "least_above_ns": round(min(desk[name]) - min(plain[name]), 1),
            "opening_ns": round(median(opening[name]), 1),
            "rounds": [round(value, 1) for value in desk[name]],
        }
        for name in stands
    }


def venues(names: Iterable[str], rounds: int) -> dict[str, dict[str, Any]]:
    plays: dict[str, tuple[Play, bool]] = {}
    for name in names:
        source, texts = SOURCES[name], recorded(SOURCES[name])
        is_recorded = texts is not None
        if texts is None:
            texts = made(source, in_turn(MADE_CHANNELS, MADE_MESSAGES))
        plays[name] = play(source, texts), is_recorded
    stands = {name: Stand(SOURCES[name], each) for name, (each, _) in plays.items()}
    results = compare(stands, rounds)
    for name, result in results.items():
        each, is_recorded = plays[name]
        stands[name].close()
        budget = BUDGET_NS + BUDGET_NS_PER_BYTE * each.size_bytes
        result |= {
            "recorded": is_recorded,
            "messages": len(each.rest),
            "opening_messages": len(each.opening),
            "size_bytes": round(each.size_bytes, 1),
            "budget_ns": round(budget, 1),
            "ok": result["above_ns"] <= budget,
        }
    return results


def channels(rounds: int) -> dict[str, dict[str, Any]]:
    """As many messages over few channels as over many.

    In turn is the worst case: whatever a channel needs has left the processor's cache
    when its next message comes.
    """
    source = SOURCES["coinbase"]
    stands = {
        f"{count} channels, {how.__name__.replace('_', ' ')}": Stand(
            source, play(source, made(source, how(count, SCALE_MESSAGES)))
        )
        for how in (as_markets_go, in_turn)
        for count in (FEW, MANY)
    }
    results = compare(stands, rounds)
    for stand in stands.values():
        stand.close()
    return results


# --- the report -------------------------------------------------------------------


def show(results: dict[str, dict[str, Any]], scale: dict[str, dict[str, Any]]) -> None:
    heads = ("plain", "desk", "above", "at least", "budget", "", "opening")
    print(f"\n  {'ns a message':16}" + "".join(f"{head:>9}" for head in heads))
    for name, each in results.items():
        keys = ("plain_ns", "desk_ns", "above_ns", "least_above_ns", "budget_ns")
        values = [each[key] for key in keys]
        print(
            f"  {name:16}"
            + "".join(f"{value:9.0f}" for value in values)
            + f"{'ok' if each['ok'] else 'NOT OK':>9}{each['opening_ns']:9.0f}"
            + ("" if each["recorded"] else "  (made, not recorded)")
        )
    print()
    for name, each in scale.items():
        print(f"  {name:32}{each['plain_ns']:9.0f}{each['desk_ns']:9.0f}")


def measured(
    rounds: int, names: Iterable[str] = tuple(SOURCES), *, scale: bool = True
) -> dict[str, Any]:
    """All of it; prints what was found. A budget that is not kept is told, no more."""
    gc.freeze()
    found = {
        "venues": venues(names, rounds),
        "scale": channels(max(3, rounds // 3)) if scale else {},
    }
    show(found["venues"], found["scale"])
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.venues", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--venue", choices=SOURCES, action="append", help="default: all"
    )
    parser.add_argument("--no-scale", action="store_true", help="leave 10,000 out")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    measured(asked.rounds, asked.venue or SOURCES, scale=not asked.no_scale)


if __name__ == "__main__":
    main()
