"""The servers that `bench.serving` measures, each at the same interval of beats."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import picows
import uvicorn
import websockets.asyncio.server as websockets_server

import heartline

TEXT = picows.WSMsgType.TEXT

Write: TypeAlias = Callable[[bytes], Awaitable[None] | None]
"""Writes a message to all clients; what it returns is awaited, if anything."""
Served: TypeAlias = tuple[int, Write, Any]
"""Port, broadcast, and what must not be forgotten meanwhile."""


def patience(interval: float) -> float:
    """Seconds a ping may stay unanswered where that can be said."""
    return min(interval, 3.0)


async def serve_heartline(interval: float) -> Served:
    liveness = heartline.Liveness(
        kernel_interval=max(1, round(interval)), ping_every=interval, stall_after=0.5
    )
    limits = heartline.Limits(connections=100_000)
    server = heartline.serve(liveness=liveness, limits=limits)
    await server.__aenter__()

    def broadcast(data: bytes) -> None:
        server.broadcast(data.decode())

    return server.port, broadcast, server


async def serve_picows(interval: float) -> Served:
    transports: set[picows.WSTransport] = set()

    class Listener(picows.WSListener):
        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            transports.add(transport)

        def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
            transports.discard(transport)

        def pause_writing(self) -> None:
            pass

        def resume_writing(self) -> None:
            pass

    server = await picows.ws_create_server(
        lambda _: Listener(),
        "127.0.0.1",
        0,
        enable_auto_ping=True,
        auto_ping_idle_timeout=interval,
        auto_ping_reply_timeout=patience(interval),
        backlog=4096,
    )

    def broadcast(data: bytes) -> None:
        for transport in transports:
            transport.send(TEXT, data)

    return server.sockets[0].getsockname()[1], broadcast, server


async def serve_websockets(interval: float) -> Served:
    async def handler(link: websockets_server.ServerConnection) -> None:
        await link.wait_closed()

    server = await websockets_server.serve(
        handler,
        "127.0.0.1",
        0,
        ping_interval=interval,
        ping_timeout=patience(interval),
        compression=None,
        backlog=4096,
    )

    def broadcast(data: bytes) -> None:
        websockets_server.broadcast(server.connections, data.decode())

    return next(iter(server.sockets)).getsockname()[1], broadcast, server


async def serve_uvicorn(interval: float) -> Served:
    """The ASGI server most Python programs stand on, over the same `websockets`.

    ASGI has no broadcast: a program awaits a send for each client.
    """
    sends: set[Any] = set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        sends.add(send)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        sends.discard(send)

    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        ws="websockets-sansio",
        ws_ping_interval=interval,
        ws_ping_timeout=patience(interval),
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="error",
        backlog=4096,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            raise SystemExit("bench: uvicorn does not start")
        await asyncio.sleep(0.01)

    async def broadcast(data: bytes) -> None:
        message = {"type": "websocket.send", "text": data.decode()}
        for send in sends:
            await send(message)

    return server.servers[0].sockets[0].getsockname()[1], broadcast, task


SERVERS: dict[str, Callable[[float], Awaitable[Served]]] = {
    "heartline": serve_heartline,
    "picows": serve_picows,
    "websockets": serve_websockets,
    "uvicorn": serve_uvicorn,
}
