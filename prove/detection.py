"""How soon a dead link is told: repeats on a real socket, at random instants.

The half-open link is real: a socket filter drops every segment before TCP sees it, on
both ends. Each repeat has a venue in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import picows
import websockets

import heartline
from heartline.testing import FaultyServer
from heartline.testing.halfopen import drop_inbound

WARM_UP = (7.0, 11.0)
"""Seconds before the fault, drawn for each repeat: the link learns its rhythm."""
GIVE_UP = 75.0


@dataclass(frozen=True)
class Told:
    """One repeat: what was told, how long after the fault, against which bound."""

    seconds: float | None
    cause: str
    bound: float | None
    false_alarms: int


Inject = Callable[[FaultyServer, Any], Awaitable[None]]


async def blackhole(server: FaultyServer, sock: Any) -> None:
    drop_inbound(sock)
    await server.do("drop_filter", scope="present")


async def frozen(server: FaultyServer, sock: Any) -> None:
    server.freeze()


async def heartline_once(rate: float, inject: Inject, seed: int) -> Told:
    """One stream at default policy; the fault comes at a drawn instant."""
    draw = random.Random(seed)
    lost: asyncio.Future[tuple[float, str]] = asyncio.Future()
    alarms = 0
    injected_at: float | None = None

    def on_event(event: Any) -> None:
        nonlocal alarms
        if type(event).__name__ != "Lost":
            return
        if injected_at is None:
            alarms += 1
        elif not lost.done():
            lost.set_result((time.monotonic(), str(event.cause)))

    async with (
        FaultyServer(rate=rate) as server,
        heartline.connect(server.url, on_event=on_event) as stream,
    ):
        reader = asyncio.create_task(_drain(stream))
        await stream.wait_live(10)
        await asyncio.sleep(draw.uniform(*WARM_UP))
        bounds = stream.status.bounds
        sock = stream.socket
        injected_at = time.monotonic()
        await inject(server, sock)
        bound = bounds.peer if inject is frozen else bounds.path
        try:
            told_at, cause = await asyncio.wait_for(lost, GIVE_UP)
            result = Told(told_at - injected_at, cause, bound, alarms)
        except TimeoutError:
            result = Told(None, "nothing", bound, alarms)
        reader.cancel()
    return result


async def _drain(stream: heartline.Stream) -> None:
    async for _ in stream.batches():
        pass


async def websockets_once(rate: float, inject: Inject, seed: int) -> Told:
    """`websockets` at its defaults: ping every 20 s, answered within 20 s."""
    draw = random.Random(seed)
    async with FaultyServer(rate=rate) as server:
        ws = await websockets.connect(server.url, max_queue=None)
        reader = asyncio.create_task(ws.wait_closed())
        await asyncio.sleep(draw.uniform(*WARM_UP))
        at = time.monotonic()
        await inject(server, ws.transport.get_extra_info("socket"))
        told = Told(None, "nothing", None, 0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader, GIVE_UP)
            told = Told(time.monotonic() - at, "ConnectionClosedError 1011", None, 0)
        ws.transport.abort()
    return told


async def picows_once(rate: float, inject: Inject, seed: int) -> Told:
    """picows with its auto-ping switched on, at the defaults it then has."""
    draw = random.Random(seed)
    gone = asyncio.Event()

    class Listener(picows.WSListener):
        def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
            gone.set()

    async with FaultyServer(rate=rate) as server:
        transport, _ = await picows.ws_connect(
            Listener, server.url, enable_auto_ping=True
        )
        await asyncio.sleep(draw.uniform(*WARM_UP))
        at = time.monotonic()
        sock = transport.underlying_transport.get_extra_info("socket")
        await inject(server, sock)
        told = Told(None, "nothing", None, 0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gone.wait(), GIVE_UP)
            told = Told(time.monotonic() - at, "disconnected", None, 0)
        transport.underlying_transport.abort()
    return told


async def aiohttp_once(rate: float, inject: Inject, seed: int) -> Told:
    """aiohttp at its defaults, where the heartbeat is off."""
    draw = random.Random(seed)
    async with FaultyServer(rate=rate) as server, aiohttp.ClientSession() as session:
        ws = await session.ws_connect(server.url)
        reader = asyncio.create_task(_drain_aiohttp(ws))
        await asyncio.sleep(draw.uniform(*WARM_UP))
        at = time.monotonic()
        await inject(server, ws.get_extra_info("socket"))
        told = Told(None, "nothing", None, 0)
        done, _ = await asyncio.wait([reader], timeout=GIVE_UP)
        if done:
            told = Told(time.monotonic() - at, "closed", None, 0)
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await reader
        # A closing handshake with a dead peer would wait for its own time-out.
        connection = ws._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
    return told


async def _drain_aiohttp(ws: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in ws:
        pass


async def pings_a_minute(rate: float, seconds: float) -> tuple[float, int]:
    """Application frames a healthy link costs, and false alarms meanwhile."""
    alarms = 0

    def on_event(event: Any) -> None:
        nonlocal alarms
        alarms += type(event).__name__ == "Lost"

    async with (
        FaultyServer(rate=rate) as server,
        heartline.connect(server.url, on_event=on_event) as stream,
    ):
        reader = asyncio.create_task(_drain(stream))
        await stream.wait_live(10)
        before = stream.status.counts.pings
        await asyncio.sleep(seconds)
        spent = stream.status.counts.pings - before
        reader.cancel()
    return spent * 60 / seconds, alarms
