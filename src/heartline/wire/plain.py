"""The short way from socket to messages, for what a busy stream consists of.

picows calls back once for each frame, and that call with its look at five header
fields costs more than decoding the payload: here all plain messages of a read are
taken in one pass. A plain message is one final frame without extension bits, shorter
than 64 KiB and unmasked. From the first other frame on, picows reads; it stays the
only judge of headers, and takes over wherever the short way would not be shorter.

`PlainReader` is compiled where that could be built, and `PurePlainReader` where not:
the same in every result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from struct import Struct
from typing import Final, Protocol, TypeAlias, cast
from weakref import WeakKeyDictionary

from heartline.compiled import compiled

Fast: TypeAlias = Callable[[list[str | bytes], int], bool]
"""Takes the messages of a read, and their size on the wire, past everything else.

False, and nothing done, if this read has to go the ordinary way.
"""

Hear: TypeAlias = Callable[[Callable[[bytes], bool] | None], None]

LARGEST_PLAIN_BYTES: Final = (1 << 16) - 1

_CAPACITY_BYTES: Final = 1 << 17
"""Read at once, at most. A plain message with its header always fits."""

_BUFFERS: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[bytearray, memoryview]] = (
    WeakKeyDictionary()
)

_LONE_PONG: Final = 0x8A
"""A final pong without extension bits."""

_SPARE_BYTES: Final = 4
"""Lets the last header be looked at before it is whole."""

_head_and_length = Struct(">HH").unpack_from
"""The first two bytes of a frame, and the length behind them if they announce one."""


def buffer_of(loop: asyncio.AbstractEventLoop) -> tuple[bytearray, memoryview]:
    """What all connections of one loop read into, and the part that is offered.

    A loop asks for the buffer, reads and says so in one go: between two reads nothing
    is in use but what a connection has put aside.
    """
    found = _BUFFERS.get(loop)
    if found is None:
        buffer = bytearray(_CAPACITY_BYTES + _SPARE_BYTES)
        found = _BUFFERS[loop] = buffer, memoryview(buffer)[:_CAPACITY_BYTES]
    return found


class FrameReader(Protocol):
    """picows' end of a connection, as its transport sees it."""

    def get_buffer(self, sizehint: int, /) -> memoryview: ...
    def buffer_updated(self, nbytes: int, /) -> None: ...
    def connection_lost(self, exc: Exception | None, /) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class Collector(Protocol):
    """Who gathers the messages of a read, from here and from picows."""

    messages: list[str | bytes]
    size_bytes: int
    at_boundary: bool
    """picows holds no part of a frame, and no message is half assembled."""
    ended: bool

    def end_read(self) -> None: ...
    def take_pong(self, payload: bytes) -> bool: ...
    def fail(self, error: Exception) -> None: ...


class PurePlainReader(asyncio.BufferedProtocol):
    """Reads the socket in picows' place, and passes on whatever is not plain.

    Begins by passing all, for picows may hold part of a frame by now; the short way
    opens each time a read ends where a message ends. A read that is plain to its end
    is offered to `fast` first.
    """

    __slots__ = (
        "_answered",
        "_buffer",
        "_collector",
        "_fast",
        "_passing",
        "_picows",
        "_rest",
        "_size_bytes",
        "_view",
    )

    def __init__(
        self, picows: FrameReader, collector: Collector, fast: Fast | None = None
    ) -> None:
        self._picows = picows
        self._collector = collector
        self._fast = fast
        self._answered: Callable[[bytes], bool] | None = None
        self._size_bytes = 0
        self._passing = True
        self._buffer, self._view = buffer_of(asyncio.get_running_loop())
        self._rest = b""
        """The part of a message that the last read ended with."""

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._passing:
            return self._picows.get_buffer(sizehint)
        rest = self._rest
        if not rest:
            return self._view
        self._buffer[: len(rest)] = rest
        return self._view[len(rest) :]

    def buffer_updated(self, nbytes: int) -> None:
        # A read of a few messages costs what is called for it, not what they hold:
        # hence all of the usual way is here.
        collector = self._collector
        if self._passing:
            collector.at_boundary = False
            self._picows.buffer_updated(nbytes)
            self._passing = not collector.at_boundary
            collector.end_read()
            return
        if collector.ended:
            return
        filled = len(self._rest) + nbytes
        if self._buffer[0] == _LONE_PONG and self._is_lone_pong(filled):
            if self._took_pong(bytes(self._view[2:filled])):
                return
            if collector.ended:
                return
        messages: list[str | bytes] = []
        taken, all_plain = self._take(filled, messages)
        self._size_bytes += taken
        if all_plain:
            self._rest = b"" if taken == filled else bytes(self._view[taken:filled])
            if not messages:
                return
            if self._fast is not None:
                try:
                    if self._fast(messages, self._size_bytes):
                        self._size_bytes = 0
                        return
                except Exception as error:
                    collector.fail(error)
                    return
        self._end_read(messages, taken, filled, all_plain)

    def hear(self, answered: Callable[[bytes], bool] | None) -> None:
        """Offer a read that is one pong to `answered` first; False passes it on."""
        self._answered = answered

    def shut(self) -> None:
        """Offer nothing to `fast` any more, nor to who hears pongs."""
        self._fast = self._answered = None

    def _end_read(
        self, messages: list[str | bytes], taken: int, filled: int, all_plain: bool
    ) -> None:
        """Go the ordinary way: by picows, from the first message that is not plain."""
        collector = self._collector
        collector.messages = messages
        collector.size_bytes += self._size_bytes
        self._size_bytes = 0
        if not all_plain:
            self._rest = b""
            # picows answers to what it reads, and another connection may then read.
            self._pass_on(memoryview(bytes(self._view[taken:filled])))
            self._passing = not collector.at_boundary
        collector.end_read()

    def _is_lone_pong(self, filled: int) -> bool:
        """Whether this read is one unmasked pong, and no message has begun."""
        head, length = self._buffer[:2]
        whole = head == _LONE_PONG and length == filled - 2 < 126
        return whole and not self._rest and not self._size_bytes

    def _took_pong(self, payload: bytes) -> bool:
        if self._answered is not None:
            try:
                if self._answered(payload):
                    return True
            except Exception as error:
                self._collector.fail(error)
                return True
        return self._collector.take_pong(payload)

    def _went_ahead(self, messages: list[str | bytes]) -> bool:
        if self._fast is None:
            return False
        try:
            went = self._fast(messages, self._size_bytes)
        except Exception as error:
            self._collector.fail(error)
            return True
        if went:
            self._size_bytes = 0
        return went

    def connection_lost(self, exc: Exception | None) -> None:
        self._picows.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return self._picows.eof_received()

    def pause_writing(self) -> None:
        self._picows.pause_writing()

    def resume_writing(self) -> None:
        self._picows.resume_writing()

    def _take(self, filled: int, messages: list[str | bytes]) -> tuple[int, bool]:
        """Take plain messages off the buffer; how many bytes, and if all was plain.

        Nearly all CPU of a busy stream is spent here: measure before you touch it.
        """
        buffer, view = self._buffer, self._view
        append = messages.append
        # Cutting one string costs less than decoding piece by piece, and a piece that
        # is ASCII reads the same in Latin-1 as in UTF-8.
        text = str(view[:filled], "latin-1")
        at = 0
        last = filled - 2
        try:
            while at <= last:
                # High byte: final, no extension bits, text (81) or binary (82).
                # Low byte: no mask; the length, or 126 for two bytes of it.
                head, length = _head_and_length(buffer, at)
                if (head == 0x817E or head == 0x827E) and length > 125:
                    start = at + 4
                elif 0x8100 <= head < 0x817E or 0x8200 <= head < 0x827E:
                    length = head & 0x7F
                    start = at + 2
                else:
                    return at, False
                end = start + length
                if end > filled:
                    break
                message = text[start:end]
                if head >= 0x8200:
                    append(bytes(view[start:end]))
                elif message.isascii():
                    append(message)
                else:
                    append(str(view[start:end], "utf-8"))
                at = end
        except UnicodeDecodeError:
            return at, False
        return at, True

    def _pass_on(self, rest: memoryview) -> None:
        """Give picows what it has to judge, as much at a time as it has room for."""
        picows, collector = self._picows, self._collector
        while rest and not collector.ended:
            room = picows.get_buffer(-1)
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            collector.at_boundary = False
            picows.buffer_updated(size)
            rest = rest[size:]


PlainReader = PurePlainReader
if (_found := compiled("wire._plain")) is not None:
    # By its second parent a loop knows how to read into it.
    _parents = (_found.PlainReader, asyncio.BufferedProtocol)
    _slots: dict[str, object] = {"__slots__": ()}
    PlainReader = cast("type[PurePlainReader]", type("PlainReader", _parents, _slots))
