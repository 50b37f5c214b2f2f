"""What one message changes where all is in order, and nothing else: a few numbers.

They are compiled where that could be built, and each of the `Pure` ones serves where
not: the same in every result. Compiled, the numbers of a channel lie together, and
`Taking` changes them without any Python; a message that is not in order is left to
`Feed`, with nothing changed.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import inf
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from heartline.compiled import compiled

if TYPE_CHECKING:
    from .feed_terms import Numbered
    from .gaps import Account
    from .holes import Holes
    from .pace import Pace
    from .proving import Proof
    from .restore import Restore
    from .restoring import FeedOutput
    from .tracker import Tracker
    from .watched import Outcome, Watched

STEP: Final = 1
CHAIN: Final = 2
MONOTONIC: Final = 3
UNNUMBERED: Final = 4
"""The good cases that `Taking` knows; 0 is none of them."""


class PureTotal:
    """What all channels said, as many share it; and when a silence teaches something.

    One that began at `excused_at` or later does, while its channel is `calm`; what is
    older than `memory` is forgotten by it.
    """

    __slots__ = ("calm", "excused_at", "memory", "total")

    def __init__(self) -> None:
        self.total = 0
        self.excused_at = -inf
        self.memory = inf
        self.calm: Outcome | None = None


class PureVoice:
    """When a channel spoke, how often, and the silences between; see
    `watched.Watched`."""

    __slots__ = (
        "alert",
        "alike",
        "all_at",
        "awaits_first",
        "count",
        "data_at",
        "heard",
        "longest",
        "needed",
        "outcome",
        "pace",
        "window_at",
    )

    alert: float
    alike: int
    all_at: int
    awaits_first: bool
    count: int
    data_at: float
    heard: Total
    longest: float
    needed: float
    outcome: Outcome
    pace: Pace
    window_at: float


class PureTally:
    """What came of a channel; see `gaps.Account`."""

    __slots__ = ("received",)

    received: int


class PureRun:
    """The numbering of one key. It grows only while something is wrong with it."""

    __slots__ = ("back", "back_before", "back_run", "holes", "joining", "last", "start")

    def __init__(
        self, last: int, *, start: int | None = None, joining: int | None = None
    ) -> None:
        self.last = last
        self.start = start
        """Nothing is known of numbers up to here; None after a snapshot."""
        self.joining = joining
        """The number of a snapshot that the next message may overlap."""
        self.holes: Holes | None = None
        self.back = 0
        """The last of `back_run` messages in a row that lay below `back_before`."""
        self.back_before = 0
        self.back_run = 0

    def leave(self) -> None:
        """It is no longer that of its key: whoever kept it at hand looks it up."""


class PureRuns:
    """The numberings of many keys; see `tracker.Tracker`."""

    __slots__ = ("_runs", "good")

    _runs: dict[Hashable, Run]
    good: int
    """Which of the good cases is its own."""


class PureLine:
    """One channel under one rule, as its messages are read."""

    __slots__ = (
        "_proof",
        "_restore",
        "account",
        "at",
        "is_live",
        "is_usual",
        "name",
        "reconnect",
        "resubscribe",
        "tracker",
        "watched",
        "wounded",
    )

    def __init__(
        self,
        name: str | None,
        account: Account,
        tracker: Tracker | None,
        *,
        terms: Numbered | None = None,
        now: float,
    ) -> None:
        self.name = name
        """None: what counts over the whole link."""
        self.account = account
        self.tracker = tracker
        self.resubscribe = terms is not None and terms.resubscribe
        self.reconnect = terms is not None and terms.reconnect
        self.at = now
        """When its last message was read."""
        self._restore: Restore | None = None
        self._proof: Proof | None = None
        self.is_usual = True
        """Whether its messages are taken, and no more: it has neither of these two."""
        self.watched: Watched | None = None
        """Whose silence its messages end; None if that is to be looked up."""
        self.is_live = False
        self.wounded = True
        """A gap or an outage may be open that a snapshot would close."""

    @property
    def restore(self) -> Restore | None:
        """Who takes its messages while its state is not known."""
        return self._restore

    @restore.setter
    def restore(self, restore: Restore | None) -> None:
        self._restore = restore
        self.is_usual = restore is None and self._proof is None

    @property
    def proof(self) -> Proof | None:
        """Its book, where the venue proves it by checksums."""
        return self._proof

    @proof.setter
    def proof(self, proof: Proof | None) -> None:
        self._proof = proof
        self.is_usual = proof is None and self._restore is None


class Take(Protocol):
    """Takes one message of data; what it brings to light, if anything.

    `last`, `prev`, `first`, `anew` as in `Tracker.feed`, `track` as its key.
    """

    def __call__(
        self,
        line: Line,
        track: Hashable,
        last: object,
        prev: object,
        first: object,
        anew: bool,
        now: float,
    ) -> list[FeedOutput] | None: ...


class PureTaking:
    """Takes messages that are in order; `otherwise` takes all others."""

    def __init__(self, otherwise: Take) -> None:
        self.take = otherwise


if TYPE_CHECKING:
    Total: TypeAlias = PureTotal
    Voice: TypeAlias = PureVoice
    Tally: TypeAlias = PureTally
    Run: TypeAlias = PureRun
    Runs: TypeAlias = PureRuns
    Line: TypeAlias = PureLine
    Taking: TypeAlias = PureTaking
elif (_found := compiled("core._figures")) is not None:
    Total, Voice, Tally, Run = _found.Total, _found.Voice, _found.Tally, _found.Run
    Runs, Line, Taking = _found.Runs, _found.Line, _found.Taking
else:
    Total, Voice, Tally, Run = PureTotal, PureVoice, PureTally, PureRun
    Runs, Line, Taking = PureRuns, PureLine, PureTaking
