"""What a session is told once, and the small values it keeps about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import inf

from heartline.errors import UsageError

from .backoff import Backoff
from .demands import demand_declared
from .detector import Liveness
from .evidence import Evidence
from .items import Cause, Where
from .link import Link
from .neighbours import DialBudget
from .rollover import Lifetime
from .subscriptions import Beats, Freshness

BURST = 10
"""Seconds whose dials may all be made at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialling:
    """Deadlines of one attempt to connect and of the end of a link. Seconds.

    `resolve` bounds the look-up of the name, `connect` the whole attempt from its
    start to the accepted upgrade, `sync` the sending of what is sent on open, `restore`
    each way to restore an account's state after it, and `close` the closing handshake.
    `per_second` is how often all streams of the process together dial one host, after a
    burst of ten seconds' worth; None: once, and 50 times on the loopback.
    """

    resolve: float = 5.0
    connect: float = 10.0
    sync: float = 10.0
    restore: float = 5.0
    close: float = 0.5
    per_second: float | None = None

    def __post_init__(self) -> None:
        demand_declared(self)
        for name in ("resolve", "connect", "sync", "restore", "close"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"Dialling.{name}", wanted="more than 0", got=getattr(self, name)
                )
        often = self.per_second
        if often is not None and not 0 < often < inf:
            wanted = "more than 0 and finite, or None"
            raise UsageError("Dialling.per_second", wanted=wanted, got=often)

    @property
    def budget(self) -> DialBudget | None:
        """Of one host; None for the usual one of the process."""
        return None if self.per_second is None else _budget(self.per_second)


@lru_cache(64)
def _budget(often: float) -> DialBudget:
    return DialBudget(every=1 / often, burst=max(1, round(BURST * often)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Everything a session is told once, by its owner."""

    host: str
    liveness: Liveness = field(default_factory=Liveness)
    backoff: Backoff = field(default_factory=Backoff)
    dialling: Dialling = field(default_factory=Dialling)
    freshness: Freshness | None = None
    beats: Beats | None = None
    syncs: bool = False
    """Whether something is to be sent on open before the stream counts as OPEN."""
    lifetime: Lifetime | None = None
    """How the other end ends links by plan, as far as that is known."""
    joins: bool = False
    """Whether two links may live at once: what they bring can be joined into one. Else
    a planned end is an outage like any other, only that we choose the moment."""

    def link(self, epoch: int, evidence: Evidence, *, now: float) -> Link:
        """The machine of a link that was just accepted."""
        return Link(
            epoch,
            policy=self.liveness,
            now=now,
            evidence=evidence,
            freshness=self.freshness,
            beats=self.beats,
        )


@dataclass(slots=True)
class Past:
    """Totals of the links that are gone."""

    frames: int = 0
    pings: int = 0
    pongs: int = 0
    beats: int = 0
    stray_pongs: int = 0

    def add(self, link: Link) -> None:
        self.frames += link.frames
        self.pings += link.pings.sent
        self.pongs += link.pings.answered
        self.beats += link.heartbeat.sent
        self.stray_pongs += link.pings.stray


@dataclass(slots=True)
class Trouble:
    """Why the stream is not what it should be, and since when."""

    cause: Cause
    where: Where | None = None
    status: int | None = None
    evidence: str = ""
    since_at: float | None = None
