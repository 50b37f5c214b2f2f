"""The sub-protocol `heartline.v1`: its frames, and the history clients resume from.

Every message of a channel has an offset, 1 more than the one before it, within the
epoch of the server that numbered it. Whoever comes back says the last it has seen, and
gets the rest, or a gap that names exactly what it cannot have. Pure; the page for
other implementers is `docs/heartline-v1.md`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from heartline.core.demands import demand_declared
from heartline.core.items import Cause
from heartline.errors import UsageError, WireError

SUBPROTOCOL: Final = "heartline.v1"

LONGEST_NAME: Final = 256
"""Characters of a channel's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """How much of each channel is kept for clients that come back.

    `window` is seconds since a message was published; `messages` and `size_bytes`
    bound what one channel keeps, all inclusive. `messages=0` keeps nothing: then
    everything that was missed is told as a gap.
    """

    window: float = 300.0
    messages: int = 1024
    size_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        demand_declared(self)
        for name, least in (("window", 0), ("messages", 0), ("size_bytes", 0)):
            if not getattr(self, name) >= least:
                raise UsageError(
                    f"Resume.{name}",
                    wanted=f"at least {least}",
                    got=getattr(self, name),
                )


# --- what a server says ------------------------------------------------------------


class ServerSaid(
    Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True
):
    """Fields all frames of a server share: none but their type."""


class TermsFrame(ServerSaid, frozen=True, kw_only=True, tag="terms"):
    """The first frame. `interval`: seconds between beats at most; `bound`: seconds of
    silence after which either end takes the other for dead."""

    interval: float
    bound: float
    epoch: str
    window: float
    """Seconds a message is kept for clients that come back; 0 if none is."""
    messages: int


class SubscribedFrame(ServerSaid, frozen=True, kw_only=True, tag="subscribed"):
    """From here on the channel's messages follow, `offset` being the last before.

    What was missed, as gap and messages, comes between.
    """

    channel: str
    epoch: str
    offset: int


class MessageFrame(ServerSaid, frozen=True, kw_only=True, tag="message"):
    """One message. Without channel it was sent to this client alone, unnumbered."""

    channel: str | None = None
    offset: int | None = None
    data: Raw = Raw(b"null")
    base64: bytes | None = None
    """Binary data, instead of `data`."""


class GapFrame(ServerSaid, frozen=True, kw_only=True, tag="gap"):
    """Messages `first` to `last`, inclusive, that this client will not get.

    `last` is left out where nobody knows it: the epoch has ended. Without `channel`
    they were messages to this client alone, and only their number is told.
    """

    reason: Literal["history", "overflow", "epoch"]
    channel: str | None = None
    epoch: str | None = None
    first: int | None = None
    last: int | None = None
    missing: int | None = None


class RefusedFrame(ServerSaid, frozen=True, kw_only=True, tag="refused"):
    """A request that was not granted; the connection stays."""

    reason: str
    channel: str | None = None


class NoticeFrame(ServerSaid, frozen=True, kw_only=True, tag="notice"):
    """The server will close with `code` within so many seconds: go to `go`, or back."""

    code: int
    reason: str
    within: float
    go: str | None = None


class BeatFrame(ServerSaid, frozen=True, kw_only=True, tag="beat"):
    """A sign of life, and nothing else."""


ServerFrame: TypeAlias = (
    TermsFrame
    | SubscribedFrame
    | MessageFrame
    | GapFrame
    | RefusedFrame
    | NoticeFrame
    | BeatFrame
)


# --- what a client says ------------------------------------------------------------


class ClientSaid(
    Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True
):
    """Fields all frames of a client share: none but their type."""


class Subscribe(ClientSaid, frozen=True, kw_only=True, tag="subscribe"):
    """Wants a channel; with `epoch` and `offset` also what came after that one."""

    channel: str
    epoch: str | None = None
    offset: int | None = None


class Unsubscribe(ClientSaid, frozen=True, kw_only=True, tag="unsubscribe"):
    channel: str


class Say(ClientSaid, frozen=True, kw_only=True, tag="message"):
    """A message to the server's program."""

    data: Raw
    channel: str | None = None


class Ask(ClientSaid, frozen=True, kw_only=True, tag="beat"):
    """Are you there? Answered by a beat."""


ClientFrame: TypeAlias = Subscribe | Unsubscribe | Say | Ask

_encode: Final = msgspec.json.Encoder().encode
_client_frames: Final[msgspec.json.Decoder[ClientFrame]] = msgspec.json.Decoder(
    ClientFrame
)
_server_frames: Final[msgspec.json.Decoder[ServerFrame]] = msgspec.json.Decoder(
    ServerFrame
)

BEAT: Final = _encode(BeatFrame())


def encode(frame: ServerSaid | ClientSaid) -> bytes:
    """Write a frame, as UTF-8 JSON."""
    return _encode(frame)


def decode_client(data: str | bytes) -> ClientFrame:
    """Read what a client said; raises `WireError` PROTOCOL, without its words."""
    try:
        frame = _client_frames.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _no_frame() from None
    if isinstance(frame, Subscribe | Unsubscribe):
        _check_name(frame.channel)
    if isinstance(frame, Subscribe) and (frame.epoch is None) != (frame.offset is None):
        raise WireError(Cause.PROTOCOL, "epoch and offset belong together")
    return frame


def decode_server(data: str | bytes) -> ServerFrame:
    """Read what a server said; raises `WireError` PROTOCOL, without its words."""
    try:
        return _server_frames.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _no_frame() from None


def raw_json(data: object) -> bytes:
    """Write published data as JSON; `msgspec.Raw` is taken as it is."""
    try:
        return _encode(data)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        kind = type(error).__name__
        raise UsageError(
            "publish", wanted="str, bytes or what JSON can say", got=kind
        ) from None


def message_text(channel: str | None, offset: int, data: object) -> bytes:
    """Write a message frame, once for all clients; numbered only within a channel."""
    field = b"base64" if isinstance(data, bytes | bytearray) else b"data"
    where = b""
    if channel is not None:
        where = b'"channel":%b,"offset":%d,' % (_encode(channel), offset)
    return b'{"type":"message",%b"%b":%b}' % (where, field, raw_json(data))


def _check_name(channel: str) -> None:
    if not 0 < len(channel) <= LONGEST_NAME:
        raise WireError(
            Cause.PROTOCOL, f"a channel's name has 1 to {LONGEST_NAME} characters"
        )


def _no_frame() -> WireError:
    return WireError(Cause.PROTOCOL, f"not a frame of {SUBPROTOCOL}")


# --- what is kept for those who come back -------------------------------------------


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Missed(Generic[T]):
    """What a client that comes back gets: the gap first, then the messages."""

    first: int | None
    """First offset that is gone, None if nothing is; `last` is the last, inclusive."""
    last: int | None
    messages: list[T]


class History(Generic[T]):
    """The latest messages of one channel in one epoch, oldest first."""

    __slots__ = ("_kept", "_limits", "_size_bytes", "head")

    def __init__(self, limits: Resume) -> None:
        self.head = 0
        """Offset of the last message; 0 before the first."""
        self._limits = limits
        self._size_bytes = 0
        self._kept: deque[tuple[float, int, T]] | None = None

    def append(self, message: T, size_bytes: int, *, now: float) -> None:
        """Keep the next message, which has the offset `head` + 1."""
        self.head += 1
        if not self._limits.messages:
            return
        if self._kept is None:
            self._kept = deque()
        self._kept.append((now, size_bytes, message))
        self._size_bytes += size_bytes
        self._trim(now)

    def after(self, offset: int, *, now: float) -> Missed[T]:
        """Everything after `offset`, split into what is gone and what is kept.

        Raises `UsageError` for an offset that was never given.
        """
        if not 0 <= offset <= self.head:
            raise UsageError(
                "offset", wanted=f"0 to {self.head} in this epoch", got=offset
            )
        self._trim(now)
        kept = self._kept or ()
        oldest = self.head - len(kept) + 1
        skipped = max(0, offset + 1 - oldest)
        messages = [message for _, _, message in islice(kept, skipped, None)]
        if offset + 1 >= oldest:
            return Missed(None, None, messages)
        return Missed(offset + 1, oldest - 1, messages)

    def _trim(self, now: float) -> None:
        limits, kept = self._limits, self._kept
        while kept and (
            len(kept) > limits.messages
            or self._size_bytes > limits.size_bytes
            or kept[0][0] < now - limits.window
        ):
            self._size_bytes -= kept.popleft()[1]
