"""What a relay says beside the upstream's own messages: notes.

To clients of `heartline.v1` a message of the upstream is a text (or `base64`) in a
channel. A note is an object with the field `relay`; one to a client alone comes without
channel, its JSON as a text. So neither can be taken for the other.
The page for other implementers is `docs/relay.md`. Instants are UTC, RFC 3339.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct, field

from heartline.client.resume import Numbered
from heartline.core.channel_events import (
    ChannelLive,
    GapClosed,
    SnapshotFailed,
    SubscriptionFailed,
)
from heartline.core.events import ChannelRevived, ChannelStalled, Event
from heartline.core.items import Cause, Gap, Message, Phase, Status, Verdict


class _Noted(Struct, frozen=True, kw_only=True, tag_field="relay", omit_defaults=True):
    """Fields all notes share: none but their kind."""


class StatusNote(_Noted, frozen=True, kw_only=True, tag="status"):
    """How the upstream stands, told to each client alone when that changes."""

    at: str
    live: bool
    phase: Phase
    verdict: Verdict
    cause: Cause | None = None
    status: int | None = None
    """HTTP status of a refusal, or close code."""
    since: str | None = None
    """Last sign of life before the present trouble."""
    evidence: str = ""


class ChannelNote(_Noted, frozen=True, kw_only=True, tag="channel"):
    """How one channel stands: stalled or refused, or live again."""

    channel: str
    at: str
    live: bool
    cause: Cause | None = None
    since: str | None = None
    evidence: str = ""


class GapNote(_Noted, frozen=True, kw_only=True, tag="gap"):
    """What the upstream lost between the messages before and after this note.

    `first` and `last` are the upstream's own numbers, inclusive, where it has any.
    """

    channel: str
    reason: Literal["outage", "overflow", "sequence", "checksum"]
    from_at: str = field(name="from")
    until: str
    first: int | None = None
    last: int | None = None
    missing: int | None = None


class ClosedNote(_Noted, frozen=True, kw_only=True, tag="closed"):
    """A gap that was told is made good, and by what."""

    channel: str
    by: Literal["late", "replay", "snapshot"]
    reason: Literal["outage", "overflow", "sequence", "checksum"]
    from_at: str = field(name="from")
    until: str
    first: int | None = None
    last: int | None = None


class Binary(Struct, frozen=True):
    """A message of the upstream that is no text; in JSON as base64."""

    base64: bytes


class StateNote(_Noted, frozen=True, kw_only=True, tag="state"):
    """What a late reader starts from, told to it alone before `subscribed`.

    `messages` are the upstream's last snapshot and all that followed it, up to
    `offset`. Without any, nothing is kept that would be whole: get it elsewhere.
    `fetched`: the first is as `SnapshotNote` says.
    """

    channel: str
    offset: int
    messages: tuple[str | Binary, ...] = ()
    fetched: bool = False


class SnapshotNote(_Noted, frozen=True, kw_only=True, tag="snapshot"):
    """The next message of this channel is its whole state. It did not come on the
    upstream's socket: the relay fetched it by HTTP, and it looks as such answers do."""

    channel: str
    at: str


Note: TypeAlias = (
    StatusNote | ChannelNote | GapNote | ClosedNote | StateNote | SnapshotNote
)

Clock: TypeAlias = Callable[[float], str]
"""A monotonic instant, as UTC text."""

encode = msgspec.json.Encoder().encode
_notes: msgspec.json.Decoder[Note] = msgspec.json.Decoder(Note)


def heard(message: Message) -> Note | str | bytes:
    """Read what a client of `heartline.v1` got from a relay, on a stream with
    `channels` or by `Resumption.take`: a note, or a message of the upstream as it came.

    Raises `msgspec.DecodeError` for what no relay says.
    """
    if isinstance(message, Numbered) and not message.json:
        return message.data
    return _notes.decode(message.data)


def utc(unix: float) -> str:
    """Write seconds since 1970 as people read them, to the millisecond."""
    text = datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def of_status(status: Status, clock: Clock) -> StatusNote:
    return StatusNote(
        at=clock(status.at),
        live=status.live,
        phase=status.phase,
        verdict=status.verdict,
        cause=status.cause,
        status=status.status,
        since=None if status.since_at is None else clock(status.since_at),
        evidence=status.evidence,
    )


def of_gap(gap: Gap, channel: str, clock: Clock) -> GapNote:
    return GapNote(
        channel=channel,
        reason=gap.reason,
        from_at=clock(gap.from_at),
        until=clock(gap.until_at),
        first=gap.first,
        last=gap.last,
        missing=gap.missing,
    )


def of_closed(closed: GapClosed, channel: str, clock: Clock) -> ClosedNote:
    gap = closed.gap
    return ClosedNote(
        channel=channel,
        by=closed.by,
        reason=gap.reason,
        from_at=clock(gap.from_at),
        until=clock(gap.until_at),
        first=gap.first,
        last=gap.last,
    )


def of_channel(event: Event, clock: Clock) -> ChannelNote | None:
    """How an event says that a channel stands; None if it speaks of none."""
    match event:
        case ChannelStalled(channel=str(channel)):
            return ChannelNote(
                channel=channel,
                at=clock(event.at),
                live=False,
                cause=Cause.CHANNEL_STALLED,
                since=clock(event.at - event.silence),
                evidence=f"no data for {event.silence:.2f} s",
            )
        case SubscriptionFailed() | SnapshotFailed():
            return ChannelNote(
                channel=event.channel,
                at=clock(event.at),
                live=False,
                cause=Cause.REFUSED,
                evidence=event.reason,
            )
        case ChannelRevived(channel=str(channel)) | ChannelLive(channel=channel):
            return ChannelNote(channel=channel, at=clock(event.at), live=True)
        case _:
            return None
