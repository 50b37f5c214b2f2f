"""From frames to messages: what picows leaves to its user.

picows hands over single frames. Here they become whole, checked messages, one list
for each read of the socket; pings are answered, closes returned, and whatever breaks
RFC 6455 ends the link with a name. Time, liveness and policy live elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, cast

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from heartline.core.items import Cause
from heartline.errors import WireError

from .deflate import Inflater
from .plain import (
    LARGEST_PLAIN_BYTES,
    Fast,
    FrameReader,
    Hear,
    PlainReader,
    PurePlainReader,
)
from .sink import FrameSink

# Looking these up in their enum costs as much per frame as decoding the payload.
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CONTINUATION: Final = WSMsgType.CONTINUATION
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG
_CLOSE: Final = WSMsgType.CLOSE

# Close codes (RFC 6455 section 7.4.1).
_NORMAL: Final = 1000
_PROTOCOL: Final = 1002
_NOT_TEXT: Final = 1007
_TOO_BIG: Final = 1009
_REGISTERED_CODES: Final = frozenset((*range(1000, 1004), *range(1007, 1015)))

_NO_CODE: Final = 1005
"""Stands for a CLOSE without a code; never on the wire."""

_MAX_CLOSE_REASON_BYTES: Final = 123

_VERDICTS: Final = {
    WSCloseCode.PROTOCOL_ERROR: Cause.PROTOCOL,
    WSCloseCode.INVALID_TEXT: Cause.PROTOCOL,
    WSCloseCode.MESSAGE_TOO_BIG: Cause.TOO_BIG,
}
"""The codes picows itself sends to a peer it has parsed to its end."""


class FrameListener(WSListener):
    """Turns the frames of one link into calls of its sink.

    Connect with `enable_auto_pong=False`, so that pings are counted, and with
    `max_frame_size` no less than `max_message_bytes`. The first read may hold
    frames already, so the sink can be called before the dial has returned.

    Once connected it reads through a `PlainReader`; without one the results would be
    the same, at more than twice the cost. `fast` may take whole reads there, past the
    sink, and `answered` such as are one pong and nothing else.
    """

    __slots__ = (
        "_answered",
        "_assembling",
        "_close_sent",
        "_compressed",
        "_fast",
        "_inflater",
        "_kind",
        "_last_look",
        "_mask_bytes",
        "_max_message_bytes",
        "_other_frames",
        "_owed_pong",
        "_reader",
        "_sink",
        "_transport",
        "_write_paused",
        "at_boundary",
        "ended",
        "messages",
        "size_bytes",
    )

    def __init__(
        self,
        sink: FrameSink,
        *,
        max_message_bytes: int,
        inflater: Inflater | None,
        fast: Fast | None = None,
        answered: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.messages: list[str | bytes] = []
        self.size_bytes = 0
        self.at_boundary = False
        self.ended = False
        self._sink = sink
        self._max_message_bytes = max_message_bytes
        self._inflater = inflater
        self._fast = fast
        self._answered = answered
        self._transport: WSTransport | None = None
        self._mask_bytes = 0
        self._other_frames = 0  # of this read, those that completed no message
        self._assembling: bytearray | None = None
        self._kind = _TEXT
        self._compressed = False
        self._reader: PurePlainReader | None = None
        self._close_sent = False
        self._write_paused = False
        self._owed_pong: bytes | None = None

    def close(self, code: int, reason: str = "") -> None:
        """Send CLOSE, once; data may still arrive until the peer answers it.

        A CLOSE with 1002, 1007 or 1009 has to take this way: sent behind our back,
        it would be taken for picows' verdict on its peer.
        """
        transport = self._transport
        if transport is None or self._close_sent:
            return
        self._close_sent = True
        short = reason.encode()[:_MAX_CLOSE_REASON_BYTES].decode(errors="ignore")
        # picows takes every integer, though its stub names only the enum.
        transport.send_close(cast(WSCloseCode, code), short.encode())

    @property
    def hear(self) -> Hear | None:
        """Who takes whoever is to be offered lone pongs first; None: all go here."""
        return None if self._reader is None else self._reader.hear

    def shut(self) -> None:
        """Let nothing more go past the sink."""
        self._fast = self._answered = None
        if self._reader is not None:
            self._reader.shut()

    # --- called by picows -------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._mask_bytes = 0 if transport.is_client_side else 4
        try:
            # A server's frames come masked, and are few: nothing to save there.
            if (
                transport.is_client_side
                and self._max_message_bytes >= LARGEST_PLAIN_BYTES
            ):
                underlying = transport.underlying_transport
                picows = cast(FrameReader, underlying.get_protocol())
                self._reader = PlainReader(picows, self, self._fast)
                underlying.set_protocol(self._reader)
            self._sink.on_open(transport)
        except Exception as error:
            self._abort(transport, error)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self.ended:
            return
        try:
            self.size_bytes += (
                self._mask_bytes
                + _header_bytes(frame.payload_size)
                + frame.payload_size
            )
            self._take(transport, frame)
        except WireError as error:
            self._break(transport, error)
        except Exception as error:
            self._abort(transport, error)
        if frame.last_in_buffer:
            self.at_boundary = frame.tail_size == 0 and self._assembling is None
            self.end_read()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        try:
            self._tell_picows_verdict(transport)
            self._sink.on_gone()
        except Exception as error:
            _report(transport, error)
        if transport.is_close_frame_sent and not self._close_sent:
            # picows leaves its verdict in a future that complains if nobody looks.
            self._last_look = asyncio.ensure_future(_look_at_end(transport))
        self._end()
        self._transport = self._reader = None

    def pause_writing(self) -> None:
        self._write_paused = True
        self._sink.on_write_paused()

    def resume_writing(self) -> None:
        self._write_paused = False
        owed, self._owed_pong = self._owed_pong, None
        if owed is not None and self._transport is not None:
            self._transport.send_pong(owed)
        self._sink.on_write_resumed()

    # --- a read -----------------------------------------------------------------------

    def end_read(self) -> None:
        """Hand over what this read completed."""
        transport = self._transport
        if self.ended or transport is None:
            return
        try:
            self._hand_over()
            if transport.is_close_frame_sent:
                self._tell_picows_verdict(transport)
        except Exception as error:
            self._abort(transport, error)

    def take_pong(self, payload: bytes) -> bool:
        """Offer a read that is one pong; whether that is all there is to do."""
        try:
            return self._answered is not None and self._answered(payload)
        except Exception as error:
            self.fail(error)
            return True

    def fail(self, error: Exception) -> None:
        """Whoever went past the sink has failed."""
        if self._transport is not None:
            self._abort(self._transport, error)

    def _hand_over(self) -> None:
        messages = self.messages
        frames = len(messages) + self._other_frames
        if frames:
            size_bytes = self.size_bytes
            self.messages = []
            self.size_bytes = self._other_frames = 0
            self._sink.on_batch(messages, frames, size_bytes)

    # --- a frame ----------------------------------------------------------------------

    def _take(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        may_be_compressed = self._inflater is not None and (
            kind is _TEXT or kind is _BINARY
        )
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and not may_be_compressed):
            raise _violation("a frame has extension bits nobody agreed on")
        if kind is _PING:
            self._other_frames += 1
            self._answer(transport, frame.get_payload_as_bytes())
        elif kind is _PONG:
            self._other_frames += 1
            self._sink.on_pong(frame.get_payload_as_bytes())
        elif kind is _CLOSE:
            self._take_close(frame)
        else:
            self._assemble(frame, kind)

    def _answer(self, transport: WSTransport, payload: bytes) -> None:
        """Answer a ping; while the pipe is full owe only the last (section 5.5.3)."""
        if self._write_paused:
            self._owed_pong = payload
        else:
            transport.send_pong(payload)

    def _take_close(self, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        code = int.from_bytes(payload[:2], "big") if payload else _NO_CODE
        if payload and not may_be_sent(code):
            raise _violation(f"a close frame has code {code}")
        self._other_frames += 1
        self.close(_NORMAL if code == _NO_CODE else code)
        self._end()
        self._hand_over()
        self._sink.on_closing(code, payload[2:].decode())

    def _assemble(self, frame: WSFrame, kind: WSMsgType) -> None:
        assembling = self._assembling
        if kind is _CONTINUATION:
            if assembling is None:
                raise _violation("a continuation continues nothing")
        elif assembling is not None:
            raise _violation("a message begins inside another")
        else:
            self._kind = kind
            self._compressed = bool(frame.rsv1)
            self._assembling = assembling = bytearray()
        if len(assembling) + frame.payload_size > self._payload_limit():
            limit = self._max_message_bytes
            raise WireError(Cause.TOO_BIG, f"a message has more than {limit} bytes")
        assembling += frame.get_payload_as_memoryview()
        if frame.fin:
            self._assembling = None
            self.messages.append(self._whole(bytes(assembling)))
        else:
            self._other_frames += 1

    def _whole(self, payload: bytes) -> str | bytes:
        if self._compressed and self._inflater is not None:
            payload = self._inflater.inflate(payload, self._max_message_bytes)
        if self._kind is _BINARY:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError:
            raise _not_text() from None

    def _payload_limit(self) -> int:
        """Bound a message as it is on the wire; deflate may grow it by 1/8 + 64."""
        limit = self._max_message_bytes
        return limit + (limit >> 3) + 64 if self._compressed else limit

    # --- ends -------------------------------------------------------------------------

    def _break(self, transport: WSTransport, error: WireError) -> None:
        """Hand over what was sound, then end the link for breaking a rule."""
        cause = Cause(error.cause)
        code = error.status or (_TOO_BIG if cause is Cause.TOO_BIG else _PROTOCOL)
        self.close(code, error.reason)
        self._end()
        try:
            self._hand_over()
            self._sink.on_broken(cause, error.reason)
        except Exception as failure:
            self._abort(transport, failure)

    def _tell_picows_verdict(self, transport: WSTransport) -> None:
        """picows judges headers itself: it sends CLOSE and tells no listener."""
        if self.ended or self._close_sent or not transport.is_close_frame_sent:
            return
        verdict = transport.close_handshake.sent
        cause = _VERDICTS.get(verdict.code) if verdict is not None else None
        if verdict is not None and cause is not None:
            self._end()
            self._sink.on_broken(cause, verdict.reason)

    def _abort(self, transport: WSTransport, error: Exception) -> None:
        self._end()
        _report(transport, error)
        transport.disconnect(graceful=False)

    def _end(self) -> None:
        self.ended = True
        self._assembling = None


def _report(transport: WSTransport, error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler(
        {
            "message": "heartline failed on what it received; the link is aborted",
            "exception": error,
            "transport": transport.underlying_transport,
        }
    )


async def _look_at_end(transport: WSTransport) -> None:
    with contextlib.suppress(Exception):
        await transport.wait_disconnected()


def _header_bytes(payload_bytes: int) -> int:
    """Size of a frame's header without mask (RFC 6455 section 5.2)."""
    if payload_bytes < 126:
        return 2
    return 4 if payload_bytes < 65536 else 10


def may_be_sent(code: int) -> bool:
    """RFC 6455 section 7.4, and the codes registered with IANA since."""
    return code in _REGISTERED_CODES or 3000 <= code <= 4999


def _violation(reason: str) -> WireError:
    return WireError(Cause.PROTOCOL, reason, status=_PROTOCOL)


def _not_text() -> WireError:
    return WireError(Cause.PROTOCOL, "a text is not UTF-8", status=_NOT_TEXT)
