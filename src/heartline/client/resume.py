"""The client's half of `heartline.v1`: where it was, what it asks for, what it heard.

It holds no connection. `opening` is what to send on each new link, `take` reads what
comes back; between two links it remembers the place in every channel, so that what is
missed is replayed or told as a `Gap` with its offsets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import Struct

from heartline.core.items import Gap, Item, Message, Status
from heartline.errors import UsageError
from heartline.wire.resume import (
    SUBPROTOCOL,
    GapFrame,
    MessageFrame,
    NoticeFrame,
    RefusedFrame,
    Subscribe,
    SubscribedFrame,
    TermsFrame,
    decode_server,
    encode,
)

from .stream import Stream

HEADERS = {"Sec-WebSocket-Protocol": SUBPROTOCOL}
"""Ask for the sub-protocol: the `headers` of `heartline.connect`."""


class Numbered(Message, frozen=True, gc=False):
    """A message with its place: `offset` within `of_epoch`, the server's numbering."""

    offset: int = 0
    of_epoch: str = ""


class Notice(Struct, frozen=True):
    """The server will close with `code` within so many seconds; go to `go`, or back."""

    code: int
    reason: str
    within: float
    go: str | None


class Refused(Struct, frozen=True):
    """The server does not grant a channel."""

    channel: str | None
    reason: str


News: TypeAlias = Numbered | Message | Gap | Notice | Refused


@dataclass(slots=True)
class _Place:
    epoch: str | None = None
    offset: int = 0


class Resumption:
    """The places of one stream in its channels. Pure: it is told the time."""

    def __init__(self, channels: Iterable[str]) -> None:
        if isinstance(channels, str):
            raise UsageError("channels", wanted="a list of names", got=channels)
        self._places = {name: _Place() for name in channels}
        if not self._places:
            raise UsageError("channels", wanted="at least one", got="none")
        self.terms: TermsFrame | None = None
        """What the server announced on the last link."""
        self._heard_at = 0.0

    def opening(self) -> list[str]:
        """What to send on a new link: the `on_open` of `heartline.connect`."""
        return [
            encode(
                Subscribe(
                    channel=name,
                    epoch=place.epoch,
                    offset=None if place.epoch is None else place.offset,
                )
            ).decode()
            for name, place in self._places.items()
        ]

    def place(self, channel: str) -> tuple[str | None, int]:
        """Epoch and offset of the last message that was received or told missing."""
        place = self._places[channel]
        return place.epoch, place.offset

    def take(self, message: Message) -> list[News]:
        """Read one message of the link; what it means, in order, mostly one item.

        Every offset is given out once, as a message or within a gap: what comes twice
        is left out, and a jump that nobody announced is a gap all the same. Raises
        `WireError` for what is no frame of the sub-protocol.
        """
        frame = decode_server(message.data)
        since_at = self._heard_at or message.received_at
        self._heard_at = message.received_at
        match frame:
            case MessageFrame():
                return self._take_message(frame, message)
            case GapFrame():
                return self._take_gap(frame, message, since_at)
            case SubscribedFrame():
                place = self._places.get(frame.channel)
                if place is not None and place.epoch is None:
                    # New here: it begins with what comes next.
                    place.epoch, place.offset = frame.epoch, frame.offset
                elif place is not None and place.epoch != frame.epoch:
                    return self._begin_epoch(frame, place, message, since_at)
            case TermsFrame():
                self.terms = frame
            case NoticeFrame():
                return [Notice(frame.code, frame.reason, frame.within, frame.go)]
            case RefusedFrame():
                return [Refused(frame.channel, frame.reason)]
            case _:
                pass
        return []

    def _take_message(self, frame: MessageFrame, message: Message) -> list[News]:
        data: str | bytes = bytes(frame.data).decode()
        if frame.base64 is not None:
            data = frame.base64
        place = None if frame.channel is None else self._places.get(frame.channel)
        if place is None or frame.offset is None:
            return [Message(data, message.received_at, frame.channel, message.epoch)]
        if frame.offset <= place.offset:
            return []
        news: list[News] = []
        if frame.offset > place.offset + 1:
            news.append(
                self._gap(frame.channel, place.offset + 1, frame.offset - 1, message)
            )
        place.offset = frame.offset
        news.append(
            Numbered(
                data,
                message.received_at,
                frame.channel,
                message.epoch,
                message.age,
                offset=frame.offset,
                of_epoch=place.epoch or "",
            )
        )
        return news

    def _take_gap(
        self, frame: GapFrame, message: Message, since_at: float
    ) -> list[News]:
        place = None if frame.channel is None else self._places.get(frame.channel)
        if place is None or frame.first is None:
            return [
                Gap(
                    "overflow",
                    since_at,
                    message.received_at,
                    message.epoch,
                    missing=frame.missing,
                )
            ]
        if frame.last is None or frame.last <= place.offset:
            return []  # an epoch that ended was told with the subscription
        first, place.offset = max(frame.first, place.offset + 1), frame.last
        return [self._gap(frame.channel, first, frame.last, message)]

    def _begin_epoch(
        self, frame: SubscribedFrame, place: _Place, message: Message, since_at: float
    ) -> list[News]:
        """The numbers begin anew: how many of the old were missed, nobody knows."""
        gap = Gap(
            "outage",
            since_at,
            message.received_at,
            message.epoch,
            channel=frame.channel,
            first=place.offset + 1,
        )
        place.epoch, place.offset = frame.epoch, 0
        return [gap]

    def _gap(self, channel: str | None, first: int, last: int, message: Message) -> Gap:
        return Gap(
            "sequence",
            message.received_at,
            message.received_at,
            message.epoch,
            channel=channel,
            first=first,
            last=last,
            missing=last - first + 1,
        )

    async def items(self, stream: Stream) -> AsyncIterator[Item | News]:
        """What a stream made with `HEADERS` and `opening` brings, read.

        The stream is to be opened with `headers=HEADERS, on_open=place.opening`.
        Gaps of outages, which a stream tells by time, stand beside those told here by
        offset; the latter are exact.
        """
        async for item in stream:
            if isinstance(item, Status | Gap):
                yield item
                continue
            for news in self.take(item):
                yield news
