"""A plain WebSocket client made by hand: it can do what no library would do."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NO_MASK = bytes(4)
"""A mask of zeros is a mask: the payload goes out as it is."""


def request(path: str = "/", extra: str = "") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{extra}\r\n"
    ).encode()


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0
) -> bytes:
    """A client's frame."""
    first, size = opcode | (0x80 if fin else 0) | reserved, len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + NO_MASK + payload


def close_frame(code: int) -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big"))


class Peer(asyncio.Protocol):
    """One client. It answers pings until it is told otherwise."""

    def __init__(self, asks: bytes | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.upgraded: asyncio.Future[int] = loop.create_future()
        """The HTTP status of the answer; 0 if the connection ended without one."""
        self.gone: asyncio.Future[None] = loop.create_future()
        self.code: int | None = None
        """Of the server's close frame; 0 if it had none."""
        self.answers = True
        self.transport: Any = None
        self._asks = request() if asks is None else asks
        self._rest = b""

    async def join(self, port: int) -> int:
        """Connect and upgrade; the HTTP status of the answer."""
        await self.connect(port)
        return await self.upgraded

    async def connect(self, port: int, *, receive_buffer: int | None = None) -> None:
        loop, sock = asyncio.get_running_loop(), socket.socket()
        if receive_buffer is not None:
            # Before the handshake: a window that shrinks later stops both ways.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise

    @property
    def sock(self) -> socket.socket:
        found: socket.socket = self.transport.get_extra_info("socket")
        return found

    @property
    def address(self) -> str:
        host, port = self.transport.get_extra_info("sockname")
        return f"{host}:{port}"

    # --- for the kinds of client

    def on_upgrade(self) -> None:
        """The server has accepted."""

    def on_message(self, payload: bytes) -> None:
        """A message has come whole."""

    def on_gone(self) -> None:
        """The connection has ended."""

    # --- what asyncio calls

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._asks)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self.upgraded.done():
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            self.upgraded.set_result(int(head.split(b" ", 2)[1]))
            if self.upgraded.result() != 101:
                return
            self.on_upgrade()
        self._rest = self._read(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.upgraded.done():
            self.upgraded.set_result(0)
        if not self.gone.done():
            self.gone.set_result(None)
        self.on_gone()

    # --- frames

    def _read(self, data: bytes) -> bytes:
        """Take all whole frames; what is left."""
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if end < start:
                    break
                size = int.from_bytes(data[at + 2 : start], "big")
            if end < start + size:
                break
            self._take(data[at] & 0x0F, data[start : start + size])
            at = start + size
        return data[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if self.answers:
                self.transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self.code = int.from_bytes(payload[:2], "big")
        elif opcode != PONG:
            self.on_message(payload)
