"""What waits to be sent on one link, so that heartbeats need not wait behind it.

picows buffers without limit, keeps the order, and loses what it is given after the
end without a word. So the transport is kept nearly empty: over its high-water mark
messages wait here, where a heartbeat can overtake them and where they are counted.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from picows import WSMsgType, WSTransport

from heartline.errors import OutboxFull, UsageError

from .deflate import Deflater

HIGH_WATER_BYTES: Final = 1 << 16
"""What the transport may hold before it says pause: the most a ping can wait behind,
apart from one message larger than that. It resumes at a quarter, asyncio's default."""


class Outbox:
    """The bounded outgoing queue of one link. Nothing here ever blocks.

    The owner calls `pause` and `flush` as the transport pauses and resumes writing.
    """

    __slots__ = (
        "_deflater",
        "_left_out",
        "_limit_bytes",
        "_paused",
        "_transport",
        "_waiting",
        "_waiting_bytes",
    )

    def __init__(
        self, transport: WSTransport, *, limit_bytes: int, deflater: Deflater | None
    ) -> None:
        transport.underlying_transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._transport = transport
        self._limit_bytes = limit_bytes
        self._deflater = deflater
        self._paused = False
        self._waiting: deque[tuple[WSMsgType, bytes]] | None = None
        """Made when something has to wait: on most links nothing ever does."""
        self._waiting_bytes = 0
        self._left_out = 0

    @property
    def waiting(self) -> int:
        """Messages taken, but not handed to the transport yet."""
        return len(self._waiting) if self._waiting else 0

    @property
    def waiting_bytes(self) -> int:
        """Payload that waits here, and what the transport itself still holds."""
        held: int = self._transport.underlying_transport.get_write_buffer_size()
        return self._waiting_bytes + held

    @property
    def unsent(self) -> int:
        """Messages taken that will not be sent, once the link has ended.

        What the transport holds at its end is not among them: it is bytes by then,
        and tells in the kernel's evidence.
        """
        return self.waiting + self._left_out

    def put(self, data: str | bytes) -> None:
        """Send `data` as soon as the transport takes it, in the order of the calls.

        Raises `OutboxFull`, and takes nothing, if with it more than the limit would
        wait. On a link that has ended, or sent its CLOSE, it is taken and stays unsent.
        """
        message = _encoded(data)
        size = len(message[1])
        wanted = self.waiting_bytes + size
        if wanted > self._limit_bytes:
            raise OutboxFull(limit_bytes=self._limit_bytes, waiting_bytes=wanted)
        if self._waiting or self._paused or not self._is_open():
            self._queue().append(message)
            self._waiting_bytes += size
        else:
            self._hand_over(message)

    def put_first(self, data: str | bytes) -> None:
        """Send a heartbeat ahead of all that waits here.

        While the transport is paused, too: it is small, and its clock runs already.
        Once the transport itself holds more than the limit it is left out, and stays
        unsent: a peer that asks and does not read must not fill our memory.
        """
        message = _encoded(data)
        if self._is_open():
            held: int = self._transport.underlying_transport.get_write_buffer_size()
            if held > HIGH_WATER_BYTES + self._limit_bytes:
                self._left_out += 1
            else:
                self._hand_over(message)
        else:
            self._queue().appendleft(message)
            self._waiting_bytes += len(message[1])

    def pause(self) -> None:
        """Hold everything from now on: the transport has enough."""
        self._paused = True

    def flush(self) -> None:
        """Hand over what waits, until the transport has enough again."""
        self._paused = False
        # Handing over can call `pause`, and can end the link.
        while self._waiting and not self._paused and self._is_open():
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message[1])
            self._hand_over(message)

    def _hand_over(self, message: tuple[WSMsgType, bytes]) -> None:
        kind, payload = message
        if self._deflater is None:
            self._transport.send(kind, payload)
        else:
            # Only now: the compressor's window has to see the order of the wire.
            self._transport.send(kind, self._deflater.deflate(payload), True, True)

    def _queue(self) -> deque[tuple[WSMsgType, bytes]]:
        if self._waiting is None:
            self._waiting = deque()
        return self._waiting

    def _is_open(self) -> bool:
        """Whether the transport would really send, not drop in silence."""
        transport = self._transport
        return not (
            transport.is_close_frame_sent
            or transport.is_disconnected
            or transport.underlying_transport.is_closing()
        )


def _encoded(data: object) -> tuple[WSMsgType, bytes]:
    if isinstance(data, str):
        try:
            return WSMsgType.TEXT, data.encode()
        except UnicodeEncodeError:
            # Not the message itself: it may hold a secret.
            raise UsageError(
                "send", wanted="text that UTF-8 can say", got="a lone surrogate"
            ) from None
    if not isinstance(data, bytes | bytearray):
        # bytes(5) would be five zeros.
        raise UsageError("send", wanted="str or bytes", got=type(data).__name__)
    return WSMsgType.BINARY, bytes(data)
