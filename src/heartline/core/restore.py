"""One channel whose state is fetched: which messages wait, and which follow a snapshot.

Whoever reads a venue's updates needs the state they change. Until that is had, the
messages wait here; then those that it covers fall away, and the rest may pass if the
first of them joins it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from .channel_events import ChannelOutput
from .items import Message

if TYPE_CHECKING:
    from .lines import Line


class Joins(StrEnum):
    """Which message may follow a snapshot of number n.

    covers_next: first <= n + 1 <= last. covers: first <= n <= last, or prev == n, which
    says the same of the message after. next: first == n + 1. chain: prev == n.
    """

    COVERS_NEXT = "covers_next"
    COVERS = "covers"
    NEXT = "next"
    CHAIN = "chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """How the snapshot of a channel is had: from `host`, and what follows it.

    `contiguous`: a message past the next number shows that one is missing.
    """

    host: str
    joins: Joins
    contiguous: bool = True


class Numbers(Struct, frozen=True, gc=False):
    """What a message says of its place; fields as in `Tracker.feed`."""

    track: Hashable
    last: object
    prev: object = None
    first: object = None
    anew: bool = False


class Kept(Struct):
    """A message that waits. `counted`: the ledger knows of it already."""

    message: Message
    numbers: Numbers
    counted: bool = False


class Stage(Enum):
    """How far the restoring of a channel is."""

    AWAITED = "its subscription is to be confirmed"
    ASKED = "its snapshot is being fetched"
    HAD = "the snapshot waits for the first message, or for the link to be OPEN"
    JOINING = "the snapshot was passed on; the next message has to join it"
    WHOLE = "its messages pass"


class Place(Enum):
    """Where a message lies against a snapshot."""

    COVERED = "covered"
    JOINS = "joins"
    BEYOND = "beyond"
    UNKNOWN = "unknown"


def place(numbers: Numbers, number: int, terms: Restored) -> Place:
    """Where a message lies against the snapshot of `number`."""
    last, prev = numbers.last, numbers.prev
    if type(last) is not int:
        return Place.UNKNOWN
    first = numbers.first if type(numbers.first) is int else last
    match terms.joins:
        case Joins.COVERS:
            covered, joins = last < number, first <= number or prev == number
        case Joins.CHAIN:
            covered, joins = last <= number, prev == number
        case Joins.COVERS_NEXT | Joins.NEXT:
            covered, joins = last <= number, first <= number + 1
    if covered:
        return Place.COVERED
    return Place.JOINS if joins or not terms.contiguous else Place.BEYOND


class Restore:
    """One channel. It knows no time: when to fetch is for `Fetches` to say."""

    __slots__ = (
        "kept",
        "line",
        "name",
        "number",
        "size_bytes",
        "snapshot",
        "stage",
        "terms",
        "untold",
        "why",
    )

    def __init__(self, name: str, terms: Restored) -> None:
        self.name = name
        self.terms = terms
        self.stage = Stage.AWAITED
        self.kept: list[Kept] = []
        self.size_bytes = 0
        """Characters or bytes of all that is kept."""
        self.number = 0
        self.snapshot: Message | None = None
        self.line: Line | None = None
        """Where its messages are taken, once there were any."""
        self.untold: list[ChannelOutput] = []
        """That it is live, which it is only once it is whole."""
        self.why = "its snapshot is awaited"

    @property
    def pending(self) -> bool:
        """Whether its state is not known yet."""
        return self.stage in (Stage.AWAITED, Stage.ASKED)

    def start_over(self, stage: Stage) -> None:
        """Its state is to be had anew; nothing is kept."""
        self.stage = stage
        self.snapshot = None
        self.clear()
        self.untold = []
        self.why = "its snapshot is awaited"

    def clear(self) -> None:
        self.kept, self.size_bytes = [], 0

    def keep(self, kept: Kept) -> None:
        self.kept.append(kept)
        self.size_bytes += len(kept.message.data)

    def place(self, numbers: Numbers) -> Place:
        """Where a message lies against the snapshot that was had last."""
        return place(numbers, self.number, self.terms)

    def join(self) -> tuple[list[Kept], list[Kept]] | None:
        """What of the kept the snapshot covers, and what follows it.

        None if something is missing between the two: then it is too old. Where all is
        covered the channel is JOINING, else WHOLE; nothing is kept any more.
        """
        covered: list[Kept] = []
        passed: list[Kept] = []
        for at, kept in enumerate(self.kept):
            match self.place(kept.numbers):
                case Place.COVERED:
                    covered.append(kept)
                case Place.UNKNOWN:
                    passed.append(kept)
                case Place.BEYOND:
                    return None
                case Place.JOINS:
                    passed += self.kept[at:]
                    self.stage = Stage.WHOLE
                    break
        else:
            self.stage = Stage.JOINING
        self.clear()
        return covered, passed
