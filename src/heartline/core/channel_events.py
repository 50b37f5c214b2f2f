"""Commands and events of single channels: values that cross the core's border.

Values only; never behaviour. Instants are seconds on the monotonic clock.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from .items import Cause, Gap

# --- commands ---------------------------------------------------------------------


class Subscribe(Struct, frozen=True):
    """Send one request for `channels`; what answers it carries its number back."""

    epoch: int
    request: int
    channels: tuple[str, ...]


class Unsubscribe(Struct, frozen=True):
    """Send one request to be sent nothing more of `channels`."""

    epoch: int
    request: int
    channels: tuple[str, ...]


class Replace(Struct, frozen=True):
    """Dial a link in place of `epoch`, which lives on until it is retired."""

    epoch: int


class Retire(Struct, frozen=True):
    """Close the link of `epoch`: another has taken its place."""

    epoch: int


class Prove(Struct, frozen=True):
    """Ask the link for a sign of life: a channel's silence is to be judged by it."""

    epoch: int


class Redial(Struct, frozen=True):
    """Give the link up for the sake of a channel that could not be revived on it."""

    epoch: int
    channel: str
    reason: str
    cause: Cause = Cause.CHANNEL_STALLED


ChannelCommand: TypeAlias = Subscribe | Unsubscribe | Replace | Retire | Prove | Redial


# --- events -----------------------------------------------------------------------


class Told(Struct, frozen=True, kw_only=True, tag_field="event"):
    """What all events share: when, and of which link."""

    at: float
    epoch: int


class ChannelLive(Told, frozen=True, kw_only=True, tag=True):
    """The first data of a subscription came, `after` seconds from its request."""

    channel: str
    after: float
    acknowledged: bool


class SubscriptionFailed(Told, frozen=True, kw_only=True, tag=True):
    """A channel was asked for in vain, so often that it is asked for no more."""

    channel: str
    reason: str
    attempts: int


class SnapshotFailed(Told, frozen=True, kw_only=True, tag=True):
    """A channel's state could not be fetched, now so many times in a row. Its messages
    wait, it is not live, and it is tried again."""

    channel: str
    reason: str
    attempts: int


class AckIgnored(Told, frozen=True, kw_only=True, tag=True):
    """An acknowledgement spoke of what was not asked; told once a link, counted."""

    reason: str


class MalformedFound(Told, frozen=True, kw_only=True, tag=True):
    """A message broke the venue's own rules: told once a link, counted in
    `Counts.malformed`, and delivered all the same. `reason` shows none of its content.
    """

    reason: str


class GapClosed(Told, frozen=True, kw_only=True, tag=True):
    """What was missing is known after all, or matters no more: a gap is closed."""

    gap: Gap
    by: Literal["late", "replay", "snapshot"]


class EndPlanned(Told, frozen=True, kw_only=True, tag=True):
    """The link will end for a reason known beforehand; its successor is dialled."""

    cause: Cause
    reason: str
    ends_at: float | None


class TookOver(Told, frozen=True, kw_only=True, tag=True):
    """Link `epoch` has taken the place of `from_epoch`; they overlapped so long."""

    from_epoch: int
    overlap: float


ChannelEvent: TypeAlias = (
    ChannelLive
    | SubscriptionFailed
    | SnapshotFailed
    | AckIgnored
    | MalformedFound
    | GapClosed
    | EndPlanned
    | TookOver
)

ChannelOutput: TypeAlias = ChannelCommand | ChannelEvent
