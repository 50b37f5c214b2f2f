"""How venues number their messages, and what can be wrong with a number.

Values only; `tracker.py` and `rules.py` judge by them.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from heartline.errors import UsageError


class Rule(StrEnum):
    """How one message follows another.

    chain: `prev` is the number before it. range: `first` is the number before it plus
    one. step: its number is the one before it plus one. monotonic: numbers never fall,
    which shows disorder and not loss. The other two show nothing.
    """

    CHAIN = "chain"
    RANGE = "range"
    STEP = "step"
    MONOTONIC = "monotonic"
    SNAPSHOT_ONLY = "snapshot_only"
    NONE = "none"


class Scope(StrEnum):
    """What shares one numbering: all of a link, a channel, or a symbol within one."""

    CONNECTION = "connection"
    CHANNEL = "channel"
    SYMBOL = "symbol"
    SID = "sid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """A venue's rule for the numbers of some channels.

    `overlap`: a range may begin at or below the last number. `covers`: the message
    after a snapshot may begin within it, and those that end within it may follow it.
    `starts_at`: the first number on a new link, where the venue says so. `survives`:
    numbers go on across links, so that a loss during an outage can be counted.
    """

    rule: Rule
    scope: Scope = Scope.CHANNEL
    overlap: bool = False
    covers: bool = False
    starts_at: int | None = None
    survives: bool = False

    def __post_init__(self) -> None:
        if self.overlap and self.rule is not Rule.RANGE:
            raise UsageError(
                "Numbering.overlap", wanted="only with rule range", got=self.rule.value
            )
        if self.survives and self.starts_at is not None:
            raise UsageError(
                "Numbering.survives",
                wanted="false where numbers start anew on each link",
                got=self.survives,
            )


class Missing(Struct, frozen=True):
    """Numbers `first` to `last`, inclusive, were passed over.

    `count` is how many messages that is, where each has a number of its own. All three
    are None where a chain broke without saying where.
    """

    key: Hashable
    first: int | None
    last: int | None
    count: int | None


class Duplicate(Struct, frozen=True):
    """The message brings nothing new: it came before, or lies within a snapshot.

    Where a venue chains texts there are no numbers to tell.
    """

    key: Hashable
    first: int | None
    last: int | None


class Disorder(Struct, frozen=True):
    """Numbers `first` to `last` came late. `filled`: how many of them had been told
    missing; 0 if they lie before all that is known, or in a forgotten hole. `ahead`:
    the message repeats them, and goes on with new ones.
    """

    key: Hashable
    first: int
    last: int
    filled: int
    ahead: bool = False


class Reset(Struct, frozen=True):
    """The venue counts anew, from `now`; it had been at `last`.

    `proven`: nothing is missing between the two. Else it is not known what is.
    """

    key: Hashable
    last: int
    now: int
    proven: bool


class Unreadable(Struct, frozen=True):
    """A number was no whole number in bounds; told once a link, counted by `unread`."""

    key: Hashable
    field: str
    got: str


Anomaly: TypeAlias = Missing | Duplicate | Disorder | Reset | Unreadable
