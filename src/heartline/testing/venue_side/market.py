"""Channels of a venue: their numbers, their books, and the account of both.

The numbers run on whoever listens, as a venue's do. The books are made up: nineteen
prices a side, of which each message changes one or two.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from heartline.testing.rfc6455 import Frame
from heartline.venue.classify import Contract
from heartline.venue.naming import Channel
from heartline.venue.pattern import Pattern
from heartline.venue.vocabulary import Timer

from .shapes import Row, Shape
from .sums import SUM, SUM_EVERY
from .times import ticks

FIRST_NUMBER: Final = 1000
LEVELS: Final = 20
"""Prices of each side of a book."""
TRADES: Final = ("trade", "match", "deal")
"""What the names of channels hold that have trades, not books."""


@dataclass(slots=True, kw_only=True)
class Account:
    """What became of one channel's messages, over all links.

    Snapshots and repetitions (the venue's own keepalives) have no number of their own.
    """

    numbered: int = 0
    """Messages that got a number: `dropped + muted + unheard` went to nobody."""
    last: int = 0
    """The last number used."""
    sent: int = 0
    """Numbered messages written to links, each copy and each link counted."""
    snapshots: int = 0
    repeated: int = 0
    dropped: int = 0
    duplicated: int = 0
    swapped: int = 0
    """Pairs that were sent in the wrong order."""
    muted: int = 0
    unheard: int = 0
    """Nobody was subscribed."""


@dataclass(frozen=True, slots=True)
class Event:
    """One numbered message of a channel."""

    series: Series
    row: Row
    book: dict[str, object]
    unix: float
    frame: Frame | None = None
    """The frame of a recording, where it is one."""


class Series:
    """One channel: where its numbers are, and what its book holds."""

    def __init__(self, contract: Contract, channel: Channel, seed: int) -> None:
        """Raises LookupError if the profile does not describe data of it."""
        self.channel = channel
        self.name = channel.name
        self.shape = Shape(contract, channel)
        self._sums = self.shape.sums
        self.snapshot = _shape(contract, channel, snapshot=True)
        self.account = Account(last=FIRST_NUMBER)
        self.beacons = {
            index: shape
            for index, _ in contract.control.beacons
            if (shape := _beacon(contract, channel, index)) is not None
        }
        listed = contract.endpoint.liveness.beacon
        self.is_beacon = any(listed[i].when == "on_enable" for i in self.beacons)
        """A channel of signs of life, which has no data besides them."""
        self.says_again_every = _contract(contract, channel)
        """Seconds after which it says the same again; None if nobody promises that."""
        self._dice = random.Random(f"{seed}/{channel.name}")
        levels = LEVELS - 1
        if self._sums is not None and self._sums.told.depth is not None:
            # More would fall out below the depth that was asked for, without a word.
            levels = min(levels, self._sums.told.depth)
        self._book = Book(self._dice, levels=levels)
        self._rule = self.shape.own.rule.rule if self.shape.own else "none"
        self.is_whole_each_time = self._rule == "snapshot_only"
        self._trades = any(word in channel.name.lower() for word in TRADES)

    @property
    def restarts_with_link(self) -> bool:
        """Whether its numbers belong to the subscription and not to the channel."""
        return self.shape.own is not None and self.shape.own.rule.scope == "sid"

    def next(self, *, unix: float) -> Event:
        """Number the next message, and change the book by it."""
        row = self._row(unix)
        self.account.numbered += 1
        self.account.last = row.last
        if self._trades:
            return Event(self, row, self._book.trade(), unix)
        if self._is_sum:
            return Event(self, row, {SUM: self._sum()}, unix)
        change = self._book.change(most=2 if self._sums is None else self._sums.most)
        book = self._book.whole() if self.is_whole_each_time else change
        return Event(self, row, self._proven(book), unix)

    def recorded(self, frame: Frame, *, unix: float) -> Event:
        """A message of a recording, which has the numbers it has."""
        self.account.numbered += 1
        last = self.account.last
        return Event(self, Row(prev=last, first=last, last=last), {}, unix, frame)

    def standing(self, *, unix: float) -> Event:
        """The same again: nothing has changed, the number is the last one."""
        last = self.account.last
        unit = self.shape.time_unit
        last = last if unit is None else max(last, ticks(unix, unit))
        row = Row(prev=last, first=last, last=last)
        return Event(self, row, self._proven(self._book.whole()), unix)

    def _proven(self, book: dict[str, object]) -> dict[str, object]:
        """A book or a change of it, with the checksum after it."""
        return book if self._sums is None else {**book, SUM: self._sum()}

    def _sum(self) -> int:
        assert self._sums is not None
        return self._sums.sum(self._book.whole())

    @property
    def _is_sum(self) -> bool:
        """Whether the next message is a checksum alone."""
        alone = self._sums is not None and self._sums.alone
        return alone and self.account.numbered % SUM_EVERY == 0

    def book(self) -> dict[str, object]:
        """All that stands in the book: `bids` and `asks`, each [price, size], the best
        first."""
        return self._book.whole()

    def _row(self, unix: float) -> Row:
        last, unit = self.account.last, self.shape.time_unit
        if unit is not None:
            now = max(last + 1, ticks(unix, unit))
            return Row(prev=last, first=now, last=now)
        match self._rule:
            case "step":
                step = 1
            case "range":
                step = self._dice.randint(1, 4)
            case _:
                step = self._dice.randint(1, 9)
        first = last + 1 if self._rule in ("range", "chain") else last + step
        return Row(prev=last, first=first, last=last + step)


class Book:
    """Made-up prices and sizes, as text; a size of 0 takes a price out."""

    def __init__(self, dice: random.Random, *, levels: int) -> None:
        self._dice = dice
        middle = dice.randrange(1_000_00, 90_000_00)
        steps = range(1, levels + 1)
        self._sides: dict[str, dict[str, str]] = {
            "bids": {_price(middle - 5 * n): self._size() for n in steps},
            "asks": {_price(middle + 5 * n): self._size() for n in steps},
        }
        self._prices = {side: list(book) for side, book in self._sides.items()}

    def change(self, *, most: int = 2) -> dict[str, object]:
        """Change one price, or up to `most`, and say so."""
        changed: dict[str, list[list[str]]] = {"bids": [], "asks": []}
        for _ in range(self._dice.randint(1, most)):
            side = self._dice.choice(("bids", "asks"))
            price = self._dice.choice(self._prices[side])
            size = "0" if self._dice.random() < 0.2 else self._size()
            if size == "0":
                self._sides[side].pop(price, None)
            else:
                self._sides[side][price] = size
            changed[side].append([price, size])
        return dict[str, object](changed)

    def whole(self) -> dict[str, object]:
        """Both sides, the best price first."""
        return {
            side: [
                [price, book[price]]
                for price in sorted(book, key=float, reverse=side == "bids")
            ]
            for side, book in self._sides.items()
        }

    def trade(self) -> dict[str, object]:
        side = self._dice.choice(("buy", "sell"))
        price = self._dice.choice(self._prices["asks" if side == "buy" else "bids"])
        return {"side": side, "price": price, "size": self._size()}

    def _size(self) -> str:
        return f"{self._dice.randrange(1, 400) / 100:.2f}"


class Market:
    """All channels that anybody ever asked for."""

    def __init__(self, contract: Contract, *, seed: int) -> None:
        self._contract, self._seed = contract, seed
        self._series: dict[str, Series] = {}

    def __iter__(self) -> Iterator[Series]:
        return iter(self._series.values())

    def series(self, channel: Channel) -> Series:
        """The series of a channel, made when it is first asked for."""
        known = self._series.get(channel.name)
        if known is None:
            known = Series(self._contract, channel, self._seed)
            self._series[channel.name] = known
        return known

    def named(self, name: str) -> Series:
        """That of a name; raises UsageError if the profile has no such form."""
        return self.series(self._contract.names.read(name))

    def accounts(self) -> dict[str, dict[str, int]]:
        return {each.name: asdict(each.account) for each in self}


def _shape(
    contract: Contract,
    channel: Channel,
    *,
    snapshot: bool = False,
    beacon: int | None = None,
) -> Shape | None:
    try:
        return Shape(contract, channel, snapshot=snapshot, beacon=beacon)
    except LookupError:
        return None


def _beacon(contract: Contract, channel: Channel, index: int) -> Shape | None:
    """A sign of life of this channel: an empty message, or the whole again."""
    return _shape(contract, channel, beacon=index) or _shape(
        contract, channel, beacon=index, snapshot=True
    )


def _contract(contract: Contract, channel: Channel) -> Timer | None:
    """How often the venue promises to say something of a channel, even unchanged."""
    freshness = contract.endpoint.freshness
    for each in freshness.contracts if freshness else ():
        fitting = (Pattern(text).parts(channel.key) for text in each.channels)
        if any(parts is not None for parts in fitting):
            return each.every_s
    return None


def _price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
