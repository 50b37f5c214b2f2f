"""Clients for the tests of the fault kit: independent of heartline's own."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect

DEADLINE = 20.0
"""Seconds any one test may take, far more than it needs."""

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: object, **fixtures: object) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **fixtures), DEADLINE))

    return run


@asynccontextmanager
async def dial(url: str) -> AsyncGenerator[ClientConnection]:
    """A client that never pings by itself and does not linger at the end."""
    async with connect(
        url, ping_interval=None, compression=None, close_timeout=0.1, max_size=None
    ) as link:
        yield link


@asynccontextmanager
async def dial_raw(
    port: int,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Upgraded by hand: the bytes of the frames as they come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        yield reader, writer
    finally:
        writer.transport.abort()


async def read_seq(link: ClientConnection) -> int:
    return int(json.loads(await link.recv())["seq"])


async def silent(awaitable: Awaitable[object], *, seconds: float = 0.1) -> bool:
    """Whether nothing came within so short a time that the test may spend it."""
    try:
        await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        return True
    return False
