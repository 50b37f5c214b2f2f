"""Peers on 127.0.0.1 for the wire tests: they do as they are told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import trustme
import uvloop
from picows import WSListener, WSTransport

from heartline.core.events import Stage
from heartline.errors import WireError
from heartline.wire.dial import Target, dial
from heartline.wire.resolve import AddrInfo

Streams = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def crowding() -> float:
    """How many times longer anything may take: programs that want a core, for each.

    1 on a machine that is ours, so that there a second is a second.
    """
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


both_loops = pytest.mark.parametrize("loop", sorted(LOOPS))


def run(loop: str, main: Coroutine[Any, Any, Any]) -> Any:
    """Run `main` on that kind of loop, in debug-quiet mode, for at most 10 s."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(asyncio.wait_for(main, 10))


async def until(
    condition: Callable[[], bool], what: str, deadline: float = 5.0
) -> None:
    """Wait for a condition; fail if it does not come true in time."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"never came true: {what}"
        await asyncio.sleep(0.002)


def open_sockets() -> set[str]:
    """Name the sockets this process has open, by their inode."""
    found: set[str] = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            name = os.readlink(f"/proc/self/fd/{fd}")
            if name.startswith("socket:"):
                found.add(f"{fd} {name}")
    return found


def clients_of(port: int) -> list[int]:
    """List our descriptors that are connected to `port`."""
    found: list[int] = []
    for entry in open_sockets():
        fd = int(entry.split()[0])
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
            peer = sock.getpeername()
            if isinstance(peer, tuple) and peer[1] == port:
                found.append(fd)
    return found


@contextlib.asynccontextmanager
async def serving(
    handler: Streams, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve with plain asyncio streams; yield the port."""

    async def guarded(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the test is over
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            if getattr(task.get_coro(), "__name__", "") == "guarded":
                task.cancel()
                await asyncio.wait([task])


def answering(answer: bytes) -> Streams:
    """Read the request, write `answer` as it is, hang up."""

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return handle


def accept_for(request: bytes) -> bytes:
    """Make the 101 answer to a request."""
    lines = request.split(b"\r\n")
    key = next(
        line.split(b":", 1)[1].strip()
        for line in lines
        if line.lower().startswith(b"sec-websocket-key:")
    )
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key + guid).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def upgrading(requests: list[bytes]) -> Streams:
    """Accept the upgrade, keep the request, then read until the client is gone."""

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        requests.append(request)
        writer.write(accept_for(request))
        while await reader.read(65536):
            pass

    return handle


def silent(heard: list[bytes]) -> Streams:
    """Read for ever, keep what is heard, and say nothing."""

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            heard.append(data)

    return handle


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the request and answer with a reset."""
    await reader.readuntil(b"\r\n\r\n")
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def connect_proxy(seen: list[bytes], *, credentials: str | None = None) -> Streams:
    """An HTTP proxy that knows CONNECT, and wants `user:password` if given."""

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        seen.append(request)
        if credentials is not None:
            login = base64.b64encode(credentials.encode())
            if b"Proxy-Authorization: Basic " + login not in request:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                await writer.drain()
                return
        host, _, port = request.split(b" ")[1].decode().rpartition(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))

    return handle


def socks5_proxy(
    *,
    code: int = 0,
    login: tuple[bytes, bytes] | None = None,
    map_to: str | None = None,
) -> Streams:
    """A SOCKS5 proxy (RFC 1928) that answers every CONNECT with `code`.

    Names lead to `map_to`, for the proxy and not the client resolves them.
    """

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(b"\x05\x00" if login is None else b"\x05\x02")
        if login is not None:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            word = await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(b"\x01\x00" if (user, word) == login else b"\x01\x01")
        _, _, _, kind = await reader.readexactly(4)
        if kind == 1:
            host = socket.inet_ntoa(await reader.readexactly(4))
        else:
            name = await reader.readexactly((await reader.readexactly(1))[0])
            host = map_to or name.decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0)))
        if code:
            await writer.drain()
            return
        up_reader, up_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))

    return handle


def at(*addresses: tuple[str, int]) -> list[AddrInfo]:
    return [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
        for address in addresses
    ]


class Fixed:
    """A resolver that knows one answer, and what it was asked."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self.addresses = addresses
        self.asked: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> list[AddrInfo]:
        self.asked.append((host, port))
        return at(*self.addresses or (("127.0.0.1", port),))


def target(url: str, **changes: Any) -> Target:
    plain: dict[str, Any] = {
        "headers": {},
        "proxy": None,
        "ssl_context": None,
        "compression": False,
        "max_message_bytes": 1 << 20,
    }
    return Target(url=url, **(plain | changes))


async def try_dial(
    url: str,
    *,
    listener: Callable[..., Any],
    resolver: Any = None,
    stages: list[Stage] | None = None,
    **changes: Any,
) -> Any:
    """Dial with everything not under test left plain."""
    return await dial(
        target(url, **changes),
        listener,
        resolver=resolver or Fixed(),
        on_stage=[].append if stages is None else stages.append,
    )


class Ears(WSListener):
    def __init__(self) -> None:
        self.gone = 0

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.gone += 1


def make_ears(request: Any, response: Any) -> Ears:
    return Ears()


def failure_of(
    loop: str, handler: Streams, *, tls: ssl.SSLContext | None = None, **how: Any
) -> WireError:
    """Dial a server, expect a failure, and expect that nothing is left of it."""

    async def main() -> WireError:
        async with serving(handler, tls=tls) as port:
            before, tasks = open_sockets(), asyncio.all_tasks()
            scheme = "wss" if tls or how.get("ssl_context") else "ws"
            with pytest.raises(WireError) as caught:
                await try_dial(
                    f"{scheme}://localhost:{port}/", listener=make_ears, **how
                )
            assert clients_of(port) == []
            await until(lambda: open_sockets() <= before, "all sockets closed")
            await until(lambda: asyncio.all_tasks() <= tasks, "all tasks ended")
            return caught.value

    found = run(loop, main())
    assert isinstance(found, WireError)
    return found


AUTHORITY = trustme.CA()


def server_tls(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def knock(address: tuple[str, int]) -> socket.socket:
    """Fill the backlog of a listener, so that the next connect gets no answer."""
    knocker = socket.socket()
    knocker.setblocking(False)
    knocker.connect_ex(address)
    return knocker
