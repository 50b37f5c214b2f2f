"""The receiving side: one contender, in a process of its own, against one sender.

`python -m bench.receivers CONTENDER URL MESSAGES LOOP [count | AUTHORITY]` prints one
line of JSON: CPU seconds, user and system, from the moment the connection is up until
the last message; with `count` also how many reads it took, at some cost. AUTHORITY is
a PEM file: whose certificates a wss URL is trusted by.
"""

from __future__ import annotations

import asyncio
import base64
import json
import resource
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import picows

from bench.sender import CLOSE_1000

BEGIN = "begin"
"""What a receiver sends once its clock runs."""

# What a careful user would write; the enum's own attributes cost 70 ns a look.
TEXT = picows.WSMsgType.TEXT
CLOSE = picows.WSMsgType.CLOSE

MAX_MESSAGE_BYTES = 1 << 24
reads = 0
tls: dict[str, ssl.SSLContext] = {}
"""What is given besides to those who dial a wss URL."""


class Clock:
    """CPU of this whole process, every thread, user and system."""

    def start(self) -> None:
        self._began = resource.getrusage(resource.RUSAGE_SELF)

    def stop(self) -> None:
        self._ended = resource.getrusage(resource.RUSAGE_SELF)

    def report(self) -> dict[str, float]:
        return {
            "user": self._ended.ru_utime - self._began.ru_utime,
            "system": self._ended.ru_stime - self._began.ru_stime,
        }


# --- contenders -------------------------------------------------------------------


class RawListener(picows.WSListener):
    """The least a callback can do: tell text from the rest, copy, decode, drop."""

    def __init__(self) -> None:
        self.done = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is TEXT:
            frame.get_payload_as_utf8_text()
        elif frame.msg_type is CLOSE:
            self.done.set_result(None)


class DocumentedListener(RawListener):
    """The same as picows' own documentation writes it."""

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            frame.get_payload_as_utf8_text()
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            self.done.set_result(None)


class Dropping(asyncio.BufferedProtocol):
    """Takes what is read and looks at none of it: what the event loop costs alone."""

    SIZE_BYTES = 1 << 17

    def __init__(self) -> None:
        self._buffer = bytearray(self.SIZE_BYTES)
        self._view = memoryview(self._buffer)
        self.upgraded = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        global reads
        reads += 1
        if self.upgraded.done():
            # A frame of its own that ends it, whatever comes before it in this read.
            if self._buffer[nbytes - 4 : nbytes] == CLOSE_1000:
                self.done.set_result(None)
        elif bytes(self._view[:nbytes]).endswith(b"\r\n\r\n"):
            self.upgraded.set_result(None)


class QueueListener(picows.WSListener):
    """What most people build first: one `asyncio.Queue`, one wake-up a message."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is TEXT:
            self.queue.put_nowait(frame.get_payload_as_utf8_text())


async def _picows(url: str, listener: type[picows.WSListener]) -> Any:
    return await picows.ws_connect(
        listener, url, max_frame_size=MAX_MESSAGE_BYTES, **tls
    )


async def raw_picows(url: str, messages: int, clock: Clock) -> int:
    return await _raw(url, messages, clock, RawListener)


async def raw_picows_as_documented(url: str, messages: int, clock: Clock) -> int:
    return await _raw(url, messages, clock, DocumentedListener)


async def _raw(
    url: str, messages: int, clock: Clock, listener_type: type[RawListener]
) -> int:
    transport, listener = await _picows(url, listener_type)
    clock.start()
    transport.send(TEXT, BEGIN)
    await listener.done
    clock.stop()
    transport.disconnect(False)
    return messages  # it counts nothing: that would cost it something


async def dropped(url: str, messages: int, clock: Clock) -> int:
    where = urlsplit(url)
    transport, protocol = await asyncio.get_running_loop().create_connection(
        Dropping, where.hostname, where.port, ssl=tls.get("ssl_context")
    )
    transport.write(
        b"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
    )
    await protocol.upgraded
    clock.start()
    transport.write(b"\x81\x85\0\0\0\0" + BEGIN.encode())  # masked with zeros
    await protocol.done
    clock.stop()
    transport.abort()
    return messages  # it counts nothing: that would cost it something


async def picows_with_queue(url: str, messages: int, clock: Clock) -> int:
    transport, listener = await _picows(url, QueueListener)
    clock.start()
    transport.send(TEXT, BEGIN)
    got = 0
    while got < messages:
        await listener.queue.get()
        got += 1
    clock.stop()
    transport.disconnect(False)
    return got


async def heartline_batches(url: str, messages: int, clock: Clock) -> int:
    message = _heartline().Message
    got = 0
    async with _connect(url) as stream:
        await _begin(stream, clock)
        async for batch in stream.batches():
            got += len(batch)
            if type(batch[0]) is not message:
                got -= sum(type(item) is not message for item in batch)
            if got >= messages:
                break
        clock.stop()
        return stream.status.counts.messages


async def heartline_async_for(url: str, messages: int, clock: Clock) -> int:
    message = _heartline().Message
    got = 0
    async with _connect(url) as stream:
        await _begin(stream, clock)
        async for item in stream:
            if type(item) is message:
                got += 1
                if got >= messages:
                    break
        clock.stop()
        return stream.status.counts.messages


def _heartline() -> Any:
    """heartline, or a clear word on which part of it this benchmark misses."""
    import heartline

    for name in ("connect", "Message", "Stream"):
        if not hasattr(heartline, name):
            raise SystemExit(f"bench: heartline.{name} is missing")
    if not hasattr(heartline.Stream, "batches"):
        raise SystemExit("bench: heartline.Stream.batches is missing")
    return heartline


def _connect(url: str) -> Any:
    return _heartline().connect(url, max_message_bytes=MAX_MESSAGE_BYTES, **tls)


async def _begin(stream: Any, clock: Clock) -> None:
    await stream.wait_live(timeout=5.0)
    clock.start()
    stream.send(BEGIN)


async def websockets_17(url: str, messages: int, clock: Clock) -> int:
    from websockets.asyncio.client import connect

    got = 0
    async with connect(
        url,
        compression=None,
        max_size=MAX_MESSAGE_BYTES,
        ssl=tls.get("ssl_context"),
    ) as link:
        clock.start()
        await link.send(BEGIN)
        async for _ in link:
            got += 1
            if got >= messages:
                break
        clock.stop()
    return got


CONTENDERS: dict[str, Callable[[str, int, Clock], Awaitable[int]]] = {
    "asyncio, nothing done": dropped,
    "raw picows": raw_picows,
    "raw picows, as documented": raw_picows_as_documented,
    "heartline batches": heartline_batches,
    "heartline async for": heartline_async_for,
    "picows + asyncio.Queue": picows_with_queue,
    "websockets": websockets_17,
}


# --- counting reads ---------------------------------------------------------------


def count_reads() -> None:
    """Count the reads of the socket, in every contender alike: at its transport."""

    def counting(protocol: type[Any], method: str) -> None:
        original = getattr(protocol, method)

        def counted(self: Any, argument: Any) -> None:
            global reads
            reads += 1
            original(self, argument)

        setattr(protocol, method, counted)

    import picows.api
    from websockets.asyncio.connection import Connection

    class CountedProtocol(picows.api.WSProtocol):  # type: ignore[misc]
        def buffer_updated(self, nbytes: int) -> None:
            global reads
            reads += 1
            super().buffer_updated(nbytes)

    picows.api.WSProtocol = CountedProtocol
    counting(Connection, "data_received")
    try:
        from heartline.wire.plain import PlainReader
    except ImportError:
        return
    counting(PlainReader, "buffer_updated")


# --- one round --------------------------------------------------------------------


async def _measure(name: str, url: str, messages: int) -> dict[str, float]:
    clock = Clock()
    got = await CONTENDERS[name](url, messages, clock)
    return clock.report() | {"messages": got, "reads": reads}


def main() -> None:
    name, url, messages, loop, *rest = sys.argv[1:]
    if rest == ["count"]:
        count_reads()
    elif rest:
        tls["ssl_context"] = ssl.create_default_context(cafile=rest[0])
    measuring = _measure(name, url, int(messages))
    if loop == "uvloop":
        import uvloop

        result = uvloop.run(measuring)
    else:
        result = asyncio.run(measuring)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
