"""The process of other libraries' clients, side by side on one venue, under one fault.

Each as its documentation has it, and once more with the tightest settings that make
sense: asked every second, answered within a second. All read all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import picows
import websockets

CHUNK = "x" * 16_384
CHUNK_BYTES = CHUNK.encode()
PICOWS_BUFFER = 1 << 20
FULL = 0.02
"""Seconds until a full buffer is looked at again."""
TIGHT = 1.0


class Rivals:
    def __init__(self) -> None:
        self.told: dict[str, tuple[float, str]] = {}
        self._writers: list[Callable[[], Awaitable[None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None
        self._kept: list[object] = []

    async def obey(self, order: str, options: dict[str, Any]) -> object:
        match order:
            case "connect":
                await self._connect(options["url"])
            case "write":
                self._tasks += [
                    asyncio.create_task(self._write(writer)) for writer in self._writers
                ]
            case "told":
                return self.told
            case _:
                raise AssertionError(order)
        return None

    async def _connect(self, url: str) -> None:
        self._session = aiohttp.ClientSession()
        tight_ws = {
            "ping_interval": TIGHT,
            "ping_timeout": TIGHT,
            "close_timeout": TIGHT,
        }
        tight_pico = {
            "auto_ping_idle_timeout": TIGHT,
            "auto_ping_reply_timeout": TIGHT,
        }
        await self._websockets("websockets, defaults", url, {})
        await self._websockets("websockets, 1 s + 1 s", url, tight_ws)
        await self._aiohttp("aiohttp, defaults", url, {})
        await self._aiohttp("aiohttp, heartbeat=1", url, {"heartbeat": TIGHT})
        await self._picows("picows, auto-ping on", url, {})
        await self._picows("picows, 1 s + 1 s", url, tight_pico)

    def _tell(self, name: str, words: str) -> None:
        self.told.setdefault(name, (time.monotonic(), words))

    async def _write(self, writer: Callable[[], Awaitable[None]]) -> None:
        """Megabytes, until the library will not have them any more."""
        # How each says that its connection is gone is not what is measured here.
        with contextlib.suppress(Exception):
            while True:
                await writer()

    # --- each of them -----------------------------------------------------------------

    async def _websockets(self, name: str, url: str, options: dict[str, Any]) -> None:
        ws = await websockets.connect(url, proxy=None, **options)

        async def read() -> None:
            try:
                while True:
                    await ws.recv()
            except websockets.ConnectionClosed as closed:
                self._tell(name, str(closed))

        async def write() -> None:
            await ws.send(CHUNK)

        self._tasks.append(asyncio.create_task(read()))
        self._writers.append(write)

    async def _aiohttp(self, name: str, url: str, options: dict[str, Any]) -> None:
        assert self._session is not None
        ws = await self._session.ws_connect(url, **options)

        async def read() -> None:
            words = ""
            async for message in ws:
                words = str(message.type)
            self._tell(name, f"closed {ws.close_code} {ws.exception() or words}")

        async def write() -> None:
            await ws.send_str(CHUNK)

        self._tasks.append(asyncio.create_task(read()))
        self._writers.append(write)

    async def _picows(self, name: str, url: str, options: dict[str, Any]) -> None:
        tell = self._tell

        class Listener(picows.WSListener):  # type: ignore[misc]
            def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
                tell(name, "disconnected")

            def pause_writing(self) -> None: ...

            def resume_writing(self) -> None: ...

        transport, listener = await picows.ws_connect(
            Listener, url, enable_auto_ping=True, **options
        )
        self._kept += [transport, listener]

        async def write() -> None:
            # It takes all it is given, and after its end too: somebody must stop.
            if name in self.told:
                raise ConnectionError(name)
            waiting = transport.underlying_transport.get_write_buffer_size()
            if waiting < PICOWS_BUFFER:
                transport.send(picows.WSMsgType.TEXT, CHUNK_BYTES)
            await asyncio.sleep(0.0 if waiting < PICOWS_BUFFER else FULL)

        self._writers.append(write)


async def begin(options: dict[str, Any]) -> tuple[object, Any]:
    return None, Rivals().obey
