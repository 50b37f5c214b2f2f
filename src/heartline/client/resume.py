"""The client's half of `heartline.v1`: where it was, what it asks for, what it heard.

It holds no connection. `opening` is what to send on each new link, `take` reads what
comes back; between two links it remembers the place in every channel, so that what is
missed is replayed or told as a `Gap` with its offsets. `heartline.connect` with
`channels` does all of this by itself; see `resuming.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from msgspec import Raw, Struct
from msgspec.json import Decoder

from heartline.core.items import Gap, Item, Message, Status
from heartline.errors import UsageError
from heartline.wire.resume import (
    SUBPROTOCOL,
    GapFrame,
    MessageFrame,
    NoticeFrame,
    RefusedFrame,
    ServerFrame,
    Subscribe,
    SubscribedFrame,
    TermsFrame,
    decode_server,
    encode,
)

HEADERS = {"Sec-WebSocket-Protocol": SUBPROTOCOL}
"""Ask for the sub-protocol: the `headers` of `heartline.connect`."""

_read_text: Final = Decoder(str).decode


class Numbered(Message, frozen=True, gc=False):
    """A message with its place: `offset` within `of_epoch`, the server's numbering.

    `data` is the text or the bytes that the server published; what it published of
    another kind is JSON, and `json` says so.
    """

    offset: int = 0
    of_epoch: str = ""
    json: bool = False


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
    at: float = 0.0
    """When the last message came."""
    until: int = 0
    """The last message before the subscription: all up to it was missed."""


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
        return [self.request(name) for name in self._places]

    def request(self, channel: str) -> str:
        """What asks for a channel, from its place on."""
        place = self._places[channel]
        offset = None if place.epoch is None else place.offset
        asked = Subscribe(channel=channel, epoch=place.epoch, offset=offset)
        return encode(asked).decode()

    def want(self, channel: str) -> None:
        """From now on this channel, too."""
        self._places.setdefault(channel, _Place())

    def forget(self, channel: str) -> None:
        self._places.pop(channel, None)

    @property
    def behind(self) -> bool:
        """Whether something that was missed is still to come, or to be told missing."""
        return any(place.offset < place.until for place in self._places.values())

    def begin(self) -> dict[str, _Place]:
        """A new link begins; the places as they are, for `back_to`."""
        for place in self._places.values():
            place.until = 0
        return {name: replace(place) for name, place in self._places.items()}

    def back_to(self, places: dict[str, _Place]) -> None:
        """What came since then reached nobody: it is to come again."""
        for name in self._places:
            self._places[name] = replace(places.get(name) or _Place())

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
        return self.heed(decode_server(message.data), message)

    def heed(self, frame: ServerFrame, message: Message) -> list[News]:
        """The same for a frame that was read, out of `message`."""
        since_at = self._heard_at or message.received_at
        self._heard_at = message.received_at
        match frame:
            case MessageFrame():
                return self._take_message(frame, message)
            case GapFrame():
                return self._take_gap(frame, message, since_at)
            case SubscribedFrame():
                return self._take_subscribed(frame, message, since_at)
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
        data, is_json = _said(frame)
        channel, place = frame.channel, self._placed(frame.channel)
        if channel is None or place is None or frame.offset is None:
            return [Message(data, message.received_at, frame.channel, message.epoch)]
        if frame.offset <= place.offset:
            return []
        news: list[News] = []
        if frame.offset > place.offset + 1:
            news.append(
                _gap(channel, place, place.offset + 1, frame.offset - 1, message)
            )
        place.offset, place.at = frame.offset, message.received_at
        news.append(
            Numbered(
                data,
                message.received_at,
                frame.channel,
                message.epoch,
                message.age,
                offset=frame.offset,
                of_epoch=place.epoch or "",
                json=is_json,
            )
        )
        return news

    def _take_gap(
        self, frame: GapFrame, message: Message, since_at: float
    ) -> list[News]:
        channel, place = frame.channel, self._placed(frame.channel)
        if channel is None or place is None or frame.first is None:
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
        return [_gap(channel, place, first, frame.last, message)]

    def _take_subscribed(
        self, frame: SubscribedFrame, message: Message, since_at: float
    ) -> list[News]:
        place = self._places.get(frame.channel)
        if place is None:
            return []
        place.until = frame.offset
        if place.epoch is None:
            # New here: it begins with what comes next.
            place.epoch, place.offset = frame.epoch, frame.offset
        if place.epoch == frame.epoch:
            return []
        # The numbers begin anew: how many of the old were missed, nobody knows.
        gap = Gap(
            "outage",
            place.at or since_at,
            message.received_at,
            message.epoch,
            channel=frame.channel,
            first=place.offset + 1,
        )
        place.epoch, place.offset = frame.epoch, 0
        return [gap]

    def _placed(self, channel: str | None) -> _Place | None:
        return None if channel is None else self._places.get(channel)

    async def items(self, stream: AsyncIterable[Item]) -> AsyncIterator[Item | News]:
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


def _said(frame: MessageFrame) -> tuple[str | bytes, bool]:
    """What was published, and whether it is JSON of what is neither text nor bytes."""
    if frame.base64 is not None:
        return frame.base64, False
    said: Raw = frame.data
    text = bytes(said)
    if text.startswith(b'"'):
        return _read_text(text), False
    return text.decode(), True


def _gap(channel: str, place: _Place, first: int, last: int, message: Message) -> Gap:
    return Gap(
        "sequence",
        place.at or message.received_at,
        message.received_at,
        message.epoch,
        channel=channel,
        first=first,
        last=last,
        missing=last - first + 1,
    )
