"""Clients of a server under test, none of them ours: `websockets`, and raw sockets."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

import heartline
from loopback import LOOPS, until

DEADLINE = 20.0
"""Seconds any one test may take, far more than it needs."""

QUICK = heartline.Liveness(
    kernel_interval=1,
    ping_every=0.25,
    peer_busy=0.3,
    peer_idle=0.5,
    peer_max=0.8,
    message_deadline=0.8,
    stall_after=0.5,
)
"""A server that judges its clients within a second or two."""

HEADERS = (
    "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on asyncio's loop, or on the one its `loop` parameter names."""

    @functools.wraps(test)
    def run(*args: object, **fixtures: Any) -> None:
        factory = LOOPS[fixtures.get("loop", "asyncio")]
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(test(*args, **fixtures), DEADLINE))

    return run


@asynccontextmanager
async def dial(url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A plain client that never pings by itself and does not linger at the end."""
    settings: dict[str, Any] = {
        "ping_interval": None,
        "compression": None,
        "close_timeout": 0.2,
        "max_size": None,
        "proxy": None,
    }
    async with connect(url, **settings | options) as link:
        yield link


def speaking(url: str, **options: Any) -> Any:
    """A client of the sub-protocol, still foreign."""
    return dial(url, subprotocols=["heartline.v1"], **options)


async def heard(link: ClientConnection, kind: str = "") -> dict[str, Any]:
    """The next frame of the sub-protocol of that type; without one any but beats."""
    while True:
        frame: dict[str, Any] = json.loads(await link.recv())
        if frame["type"] == kind or (not kind and frame["type"] != "beat"):
            return frame


async def ask(link: ClientConnection, kind: str, **fields: Any) -> None:
    await link.send(json.dumps({"type": kind} | fields))


class RawClient:
    """A socket upgraded by hand; it reads only when told, and answers nothing."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.setblocking(False)
        self._port = port

    async def open(self, extra: str = "", path: str = "/") -> bytes:
        """Connect and upgrade; the head of the answer."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.sock, ("127.0.0.1", self._port))
        request = f"GET {path} HTTP/1.1\r\n{HEADERS}{extra}\r\n"
        await loop.sock_sendall(self.sock, request.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = await loop.sock_recv(self.sock, 1)
            if not piece:
                break
            head += piece
        return head

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self) -> bytes:
        """All there is until the end, which a reset is as well."""
        loop, data = asyncio.get_running_loop(), b""
        with suppress(ConnectionError):
            while piece := await loop.sock_recv(self.sock, 65536):
                data += piece
        return data

    async def frame(self) -> tuple[int, bytes]:
        """The next short frame: its opcode and payload."""
        head = await self._exactly(2)
        assert head[1] < 126
        return head[0] & 0x0F, await self._exactly(head[1])

    async def _exactly(self, size: int) -> bytes:
        loop, data = asyncio.get_running_loop(), b""
        while len(data) < size:
            piece = await loop.sock_recv(self.sock, size - len(data))
            assert piece, "the connection has ended"
            data += piece
        return data

    def close(self) -> None:
        self.sock.close()


@asynccontextmanager
async def raw(port: int, extra: str = "", **options: Any) -> AsyncIterator[RawClient]:
    client = RawClient(port, **options)
    try:
        await client.open(extra)
        yield client
    finally:
        client.close()


def masked(
    opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False
) -> bytes:
    """A client's frame."""
    first = opcode | (0x80 if fin else 0) | (0x40 if rsv1 else 0)
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0x80 | 126)) + struct.pack(">H", size)
    else:
        head = bytes((first, 0x80 | 127)) + struct.pack(">Q", size)
    mask = os.urandom(4)
    body = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    return head + mask + body


def close_code(data: bytes) -> int | None:
    """The code of the close frame at the end of what a server sent."""
    at = data.rfind(b"\x88")
    if at < 0 or len(data) < at + 4:
        return None
    return int.from_bytes(data[at + 2 : at + 4], "big")


def status_of(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


class Told:
    """Events of a server's clients, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[int, Any]] = []

    def __call__(self, client: heartline.Client, event: Any) -> None:
        self.events.append((client.number, event))

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]


def only(server: heartline.Server) -> heartline.Client:
    """The one client there is."""
    (client,) = server.clients
    return client


async def joined(server: heartline.Server, clients: int = 1) -> None:
    await until(lambda: server.status.clients == clients, f"{clients} clients")


async def emptied(server: heartline.Server, within: float = 10.0) -> None:
    await until(lambda: server.status.clients == 0, "all clients gone", within)
