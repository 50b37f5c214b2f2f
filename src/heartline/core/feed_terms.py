"""What a feed is told once: how its channels are asked for, numbered and restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .budget import Rate
from .contracts import Freshness
from .fetches import Snapshots
from .orderbook import OrderBook
from .restore import Restored
from .sequence import Numbering
from .subscribing import Subscribing
from .watched import Watching


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """How some channels are numbered. `resubscribe`, `reconnect`: what is lost is made
    good that way."""

    numbering: Numbering
    resubscribe: bool = False
    reconnect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedTerms:
    """Everything a feed is told once. `contract`: what is declared of a channel, and
    `restored`: how its state is had, where it is to be fetched. `book`: an empty book
    for a channel under the rule of a place, where the venue proves it by checksums.

    `numbered` holds the rules by their place; None where numbers would show nothing.
    """

    subscribing: Subscribing = field(default_factory=Subscribing)
    rates: tuple[Rate, ...] = ()
    watching: Watching = field(default_factory=Watching)
    numbered: tuple[Numbered | None, ...] = ()
    contract: Callable[[str], Freshness | None] = lambda channel: None
    restored: Callable[[str], Restored | None] = lambda channel: None
    book: Callable[[str, int], OrderBook | None] = lambda channel, rule: None
    snapshots: Snapshots = field(default_factory=Snapshots)
