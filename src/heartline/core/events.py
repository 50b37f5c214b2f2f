"""Facts, commands and events: the values that cross the core's border.

Facts go into the core, commands and events come out. Values only; never behaviour.
Instants end in `_at` and are seconds on the monotonic clock; durations are seconds.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from .channel_events import (
    AckIgnored,
    ChannelLive,
    EndPlanned,
    GapClosed,
    MalformedFound,
    SnapshotFailed,
    SubscriptionFailed,
    Told,
    TookOver,
)
from .evidence import Evidence
from .items import Cause, Condition, Gap, Where
from .items import Counts as Counts
from .items import Item as Item
from .items import Message as Message
from .items import Phase as Phase
from .items import RoundTrips as RoundTrips
from .items import Status as Status
from .items import Verdict as Verdict
from .stage import Stage as Stage

# --- facts ------------------------------------------------------------------------


class Start(Struct, frozen=True):
    """The user wants the stream."""


class Stop(Struct, frozen=True):
    """The user has had enough."""

    code: int = 1000
    reason: str = ""


class Tick(Struct, frozen=True, gc=False):
    """The deadline passed, or our own loop is known to have stood still.

    `suspended` is how long the machine slept since the last tick, `stalled` how long
    the loop stood still until now, as measured by the driver; 0 if it did not.
    """

    epoch: int = 0
    evidence: Evidence = Evidence()
    suspended: float = 0.0
    stalled: float = 0.0


class Staged(Struct, frozen=True):
    """A dial got as far as `stage`."""

    epoch: int
    stage: Stage


class DialSucceeded(Struct, frozen=True):
    """The upgrade was accepted; frames may flow."""

    epoch: int
    address: str
    evidence: Evidence = Evidence()


class DialFailed(Struct, frozen=True):
    """A dial ended without a link."""

    epoch: int
    cause: Cause
    reason: str = ""
    status: int | None = None
    retry_after: float | None = None
    where: Where | None = None


class Synced(Struct, frozen=True):
    """What is to be sent on open has been handed to the link."""

    epoch: int
    messages: int


class Received(Struct, frozen=True, gc=False):
    """Complete frames arrived in one read of the socket; coalesced, never one by one.

    `frames` counts every complete frame, `data` only messages for the consumer.
    A read that completed nothing has zero in both: bytes are life of the path alone.
    Told of several reads at once, as of the last, `reads` of them brought data, first
    at `first_at`; `gaps` are the times of `LEAST_GAP` or more between two of them.
    """

    epoch: int
    frames: int
    data: int
    size_bytes: int = 0
    reads: int = 1
    first_at: float | None = None
    """None: it is one read, at the time of the fact."""
    gaps: tuple[float, ...] = ()


class Ponged(Struct, frozen=True, gc=False):
    epoch: int
    payload: bytes


class Answered(Struct, frozen=True, gc=False):
    """A frame came that answers the declared text or JSON heartbeat."""

    epoch: int


class Pinged(Struct, frozen=True, gc=False):
    """The ordered probe is queued; the evidence was read right after."""

    epoch: int
    evidence: Evidence


class Ended(Struct, frozen=True):
    """The link is gone, not by our order."""

    epoch: int
    cause: Cause
    status: int | None = None
    reason: str = ""
    unsent: int = 0
    unconfirmed_bytes: int = 0


class Paused(Struct, frozen=True):
    """The inbox has stopped the reading of the socket."""

    epoch: int


class Resumed(Struct, frozen=True):
    epoch: int


class Overflowed(Struct, frozen=True):
    """The inbox dropped `messages`, or gives the link up rather than drop."""

    messages: int
    disconnect: bool = False


class Questioned(Struct, frozen=True):
    """A channel's silence is to be judged: the link is to be asked for proof now."""

    epoch: int


class Noticed(Struct, frozen=True):
    """The other end says that it will end this link, in `lead` seconds if it says."""

    epoch: int
    reason: str
    lead: float | None = None


class Joined(Struct, frozen=True):
    """This link brings all that the delivering one does, and nothing lies between."""

    epoch: int


class Evidenced(Struct, frozen=True):
    """The evidence of a link beside the one whose evidence the next tick brings."""

    epoch: int
    evidence: Evidence


class CaughtUp(Struct, frozen=True):
    """The consumer has emptied the inbox after an overflow or a pause."""


LinkFact: TypeAlias = (
    Tick | Received | Ponged | Answered | Pinged | Paused | Resumed | Questioned
)
Fact: TypeAlias = (
    LinkFact
    | Start
    | Stop
    | Staged
    | DialSucceeded
    | DialFailed
    | Synced
    | Ended
    | Overflowed
    | Noticed
    | Joined
    | Evidenced
    | CaughtUp
)


# --- commands ---------------------------------------------------------------------


class Dial(Struct, frozen=True):
    epoch: int
    attempt: int


class Sync(Struct, frozen=True):
    """Send what is to be sent on open, then report `Synced`."""

    epoch: int


class Ping(Struct, frozen=True, gc=False):
    """Queue a ping at once, ahead of waiting messages, then report `Pinged`."""

    epoch: int
    payload: bytes


class Beat(Struct, frozen=True):
    """Send the declared text or JSON heartbeat."""

    epoch: int


class Abort(Struct, frozen=True):
    """Drop the link now, whatever is unsent. Also ends a dial that is under way."""

    epoch: int


class Close(Struct, frozen=True):
    """Begin the closing handshake; the core sets its own deadline for it."""

    epoch: int
    code: int
    reason: str = ""


Command: TypeAlias = Dial | Sync | Ping | Beat | Abort | Close


# --- events -----------------------------------------------------------------------


class Connecting(Told, frozen=True, kw_only=True, tag=True):
    """A dial begins, the `attempt`th since the stream was last useful."""

    attempt: int


class Connected(Told, frozen=True, kw_only=True, tag=True):
    """The stream is OPEN. `outage`: seconds without life before it, 0 at first."""

    address: str
    attempt: int
    outage: float
    kernel: bool


class Doubted(Told, frozen=True, kw_only=True, tag=True):
    """Verdict SUSPECT. `of` says which clock doubts."""

    of: Literal["path", "peer", "channel"]
    silence: float


class Cleared(Told, frozen=True, kw_only=True, tag=True):
    """A frame proved the link, after SUSPECT or a stall of ours `after` seconds ago."""

    after: float


class Lost(Told, frozen=True, kw_only=True, tag=True):
    """Verdict DEAD: the link is gone or given up. `since_at`: last sign of life."""

    cause: Cause
    where: Where | None
    status: int | None
    reason: str
    evidence: str
    since_at: float
    bound: float | None
    """The promised bound of this kind of silence, of missing frames as it was when the
    last one came; None for told ends. A stall or suspend of our own prolongs it."""
    unsent: int
    unconfirmed_bytes: int


class DialLost(Told, frozen=True, kw_only=True, tag=True):
    """An attempt to connect failed."""

    attempt: int
    cause: Cause
    where: Where | None
    status: int | None
    reason: str


class BackingOff(Told, frozen=True, kw_only=True, tag=True):
    """The next dial, number `attempt`, is made in `delay` seconds."""

    attempt: int
    delay: float


class Stalled(Told, frozen=True, kw_only=True, tag=True):
    """SELF_STALLED: our own loop was late by `lag`, of which `suspended` asleep."""

    lag: float
    suspended: float


class ChannelStalled(Told, frozen=True, kw_only=True, tag=True):
    """CHANNEL_STALLED: the link answers, the channel is past its contract."""

    channel: str | None
    silence: float
    contract: float


class ChannelRevived(Told, frozen=True, kw_only=True, tag=True):
    """A channel that was stalled has data again, `after` seconds from then."""

    channel: str | None
    after: float


class ConditionBegan(Told, frozen=True, kw_only=True, tag=True):
    """A condition holds from now on, beside whatever verdict."""

    condition: Condition
    detail: str = ""


class ConditionEnded(Told, frozen=True, kw_only=True, tag=True):
    """A condition holds no more, `after` seconds from its beginning."""

    condition: Condition
    after: float
    detail: str = ""


class RoundTripMeasured(Told, frozen=True, kw_only=True, tag=True):
    """A probe was answered, so many seconds after it was sent."""

    round_trip: float


class Dropped(Told, frozen=True, kw_only=True, tag=True):
    """Messages left the inbox undelivered, by its policy. At most one a second."""

    messages: int
    total: int


class GapFound(Told, frozen=True, kw_only=True, tag=True):
    """Messages may be missing; the gap stands at its place in the stream."""

    gap: Gap


class Surrendered(Told, frozen=True, kw_only=True, tag=True):
    """The stream has ended for good; the consumer is raised `GaveUp`."""

    cause: Cause
    status: int | None
    reason: str
    attempts: int


class Stopped(Told, frozen=True, kw_only=True, tag=True):
    """The stream is CLOSED by our own wish."""


Event: TypeAlias = (
    Connecting
    | Connected
    | Doubted
    | Cleared
    | Lost
    | DialLost
    | BackingOff
    | Stalled
    | ChannelStalled
    | ChannelRevived
    | ChannelLive
    | SubscriptionFailed
    | SnapshotFailed
    | AckIgnored
    | MalformedFound
    | GapClosed
    | EndPlanned
    | TookOver
    | ConditionBegan
    | ConditionEnded
    | RoundTripMeasured
    | Dropped
    | GapFound
    | Surrendered
    | Stopped
)

Output: TypeAlias = Command | Event
