"""What the user iterates: `Message | Gap | Status`, and the words they are told in.

Values only; never behaviour. Instants end in `_at` and are seconds on the monotonic
clock; durations are seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, TypeAlias

from msgspec import Struct, field


class Phase(StrEnum):
    """Where a stream is on its way: dialling, sending what opens it, OPEN, waiting."""

    IDLE = "IDLE"
    CONNECTING = "CONNECTING"
    SYNCING = "SYNCING"
    OPEN = "OPEN"
    BACKOFF = "BACKOFF"
    DRAINING = "DRAINING"
    CLOSED = "CLOSED"


OPEN: Final = Phase.OPEN
SYNCING: Final = Phase.SYNCING
"""Read once: before Python 3.12 a member of an enum costs as much as a call."""


class Verdict(StrEnum):
    """What is held of the present link; DEAD is final for a link, not for a stream."""

    ALIVE = "ALIVE"
    SUSPECT = "SUSPECT"
    DEAD = "DEAD"


class Cause(StrEnum):
    """Why a link or a channel is not what it should be; a closed set."""

    PATH_DEAD = "PATH_DEAD"
    PEER_FROZEN = "PEER_FROZEN"
    CHANNEL_STALLED = "CHANNEL_STALLED"
    SELF_STALLED = "SELF_STALLED"
    CLOSED_BY_PEER = "CLOSED_BY_PEER"
    RESET = "RESET"
    REFUSED = "REFUSED"
    HANDSHAKE_TIMEOUT = "HANDSHAKE_TIMEOUT"
    NAME_RESOLUTION = "NAME_RESOLUTION"
    TLS = "TLS"
    PROTOCOL = "PROTOCOL"
    TOO_BIG = "TOO_BIG"
    AGE = "AGE"
    NOTICE = "NOTICE"
    CLOSED_BY_US = "CLOSED_BY_US"


class Where(StrEnum):
    """Which part of a dead path is dead, as far as the evidence tells."""

    LOCAL = "local"
    OUTBOUND = "outbound"
    BOTH = "both"


class Condition(StrEnum):
    """True beside a verdict, told when it begins and when it ends."""

    NO_PONG = "NO_PONG"
    SLOW_CONSUMER = "SLOW_CONSUMER"
    PAUSED = "PAUSED"
    LATE = "LATE"


class Message(Struct, frozen=True, gc=False):
    """One complete message, in the order it arrived.

    `data` is `str` for text and `bytes` for binary frames. `received_at` is when we
    read it from the socket. `age` is how long it may have waited in the kernel's
    buffer before that, at most: zero but after a stall or suspend of our own.
    """

    data: str | bytes
    received_at: float
    channel: str | None = None
    epoch: int = 0
    age: float = 0.0
    snapshot: bool = False
    """Fetched by HTTP: the whole state of its channel, which the next messages change.
    Snapshots that come on the stream itself are ordinary messages."""


class Gap(Struct, frozen=True):
    """Messages that may be missing between the items before and after this one.

    `first` and `last` are the missing sequence numbers, inclusive, where the venue
    numbers its messages; else None, and the interval says it: nothing sent after
    `from_at` and before `until_at` is known to be complete. `missing` is how many,
    where that is known exactly. A `checksum` that does not agree says no numbers: the
    channel's state was last proven at `from_at`.
    """

    reason: Literal["outage", "overflow", "sequence", "checksum"]
    from_at: float
    until_at: float
    epoch: int
    channel: str | None = None
    first: int | None = None
    last: int | None = None
    missing: int | None = None


class Bounds(Struct, frozen=True):
    """Seconds of silence after which the application is told at the latest.

    Of the moment: they adapt between the value at rest and `ceiling`. A silence is held
    to what was published as it began, whatever is learned in it; while frames are
    missing, `peer` says that. A stall, a suspend or a pause of our own prolongs it.
    """

    path: float
    peer: float
    channels: dict[str | None, float] = field(default_factory=dict[str | None, float])


class RoundTrips(Struct, frozen=True):
    """Round trips of the recent past, seconds; None before the first answer."""

    last: float | None = None
    median: float | None = None
    p99: float | None = None
    samples: int = 0


class Counts(Struct, frozen=True):
    """Totals over the life of the stream."""

    messages: int = 0
    delivered: int = 0
    dropped: int = 0
    frames: int = 0
    size_bytes: int = 0
    pings: int = 0
    pongs: int = 0
    beats: int = 0
    stray_pongs: int = 0
    gaps: int = 0
    attempts: int = 0
    sent: int = 0
    unsent: int = 0
    unknown: int = 0
    """Messages that the venue's profile does not speak of; they are delivered."""
    malformed: int = 0
    """Messages that break the venue's own rules; they are delivered."""


class Status(Struct, frozen=True, kw_only=True):
    """What is known of a stream at `at`; an item in the stream and `stream.status`."""

    at: float
    phase: Phase
    verdict: Verdict
    live: bool
    """True only if OPEN, ALIVE and without a standing cause. What is LATE by a limit
    of the user's is not live: the verdict is SUSPECT then."""
    cause: Cause | None
    where: Where | None = None
    status: int | None = None
    """HTTP status of a refusal, or close code."""
    evidence: str = ""
    """The cause in words, with the figures it was judged by."""
    since_at: float | None = None
    """Last sign of life before the present trouble; None while there is none. Without
    a cause: since when data is LATE."""
    silence: float | None = None
    """Seconds since any complete frame on the present link."""
    round_trip: RoundTrips = RoundTrips()
    bounds: Bounds
    ceilings: Bounds
    detection_bound: float
    """The largest of `bounds`. If no frame comes from `at` on, the loss is told within
    this, whatever the path loses."""
    epoch: int = 0
    attempt: int = 0
    retry_at: float | None = None
    outages: int = 0
    conditions: frozenset[Condition] = frozenset()
    kernel: bool = False
    """Whether kernel evidence is read on the present link."""
    address: str = ""
    counts: Counts = Counts()


Item: TypeAlias = Message | Gap | Status
