"""A venue in Deribit's words, by hand, and readers of a relay, for its tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import heartline
from heartline.relay import Relay
from server_kit import ask, speaking

BOOK, OTHER = "book.A.100ms", "book.B.100ms"
FAST = heartline.Backoff(base=0.02, cap=0.05, gentle_base=0.05)


class Deribit:
    """Books whose changes are chained, each beginning with a snapshot."""

    def __init__(self) -> None:
        self.link: ServerConnection | None = None
        self.asked: list[str] = []
        self.last: dict[str, int] = {}
        self.said: dict[str, list[str]] = {}
        """Every book message sent, by channel."""
        self.url = ""
        self._server: Server | None = None

    async def open(self, port: int = 0) -> None:
        self._server = await serve(self._handle, "127.0.0.1", port)
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/"

    async def close(self) -> None:
        assert self._server is not None
        if self.link is not None:
            self.link.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    async def _handle(self, link: ServerConnection) -> None:
        self.link = link
        with suppress(ConnectionClosed):
            async for text in link:
                await self._take(json.loads(text))

    async def _take(self, said: dict[str, Any]) -> None:
        results = {"public/set_heartbeat": "ok", "public/test": {"version": "1"}}
        if said["method"] in results:
            await self._send({"id": said["id"], "result": results[said["method"]]})
            return
        channels = said["params"]["channels"]
        await self._send({"id": said["id"], "result": channels})
        if said["method"] == "public/subscribe":
            self.asked += channels
            for channel in channels:
                await self.snapshot(channel)

    async def _send(self, message: dict[str, Any]) -> str:
        assert self.link is not None
        text = json.dumps({"jsonrpc": "2.0", **message})
        await self.link.send(text)
        return text

    async def snapshot(self, channel: str) -> None:
        number = self.last[channel] = self.last.get(channel, 100) + 1000
        await self._book(channel, {"type": "snapshot", "change_id": number})

    async def change(self, channel: str, *, skip: int = 0) -> None:
        """The next change; `skip` of them are lost before it."""
        before = self.last[channel] + skip
        number = self.last[channel] = before + 1
        data = {"type": "change", "change_id": number, "prev_change_id": before}
        await self._book(channel, data)

    async def _book(self, channel: str, data: dict[str, Any]) -> None:
        whole = {"timestamp": 1, "instrument_name": channel.split(".")[1], **data}
        params = {"channel": channel, "data": whole}
        text = await self._send({"method": "subscription", "params": params})
        self.said.setdefault(channel, []).append(text)


@asynccontextmanager
async def relaying(
    *channels: str, **options: Any
) -> AsyncIterator[tuple[Deribit, Relay]]:
    """A venue and a relay of it that is live, or has nothing to wait for."""
    venue = Deribit()
    await venue.open()
    options = {"venue": "deribit", "backoff": FAST, **options}
    try:
        async with Relay(venue.url, channels, **options) as relay:
            await relay.stream.wait_live(5.0)
            yield venue, relay
    finally:
        await venue.close()


class Reader:
    """A client of the sub-protocol: what it was sent, in order."""

    def __init__(self, link: ClientConnection) -> None:
        self.link = link
        self.frames: list[dict[str, Any]] = []
        self.closed = False

    async def read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self.link:
                self.frames.append(json.loads(text))
        self.closed = True

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == kind]

    def data(self, channel: str) -> list[str]:
        """The upstream's own messages of a channel."""
        return [
            frame["data"]
            for frame in self.of("message")
            if frame.get("channel") == channel and isinstance(frame["data"], str)
        ]

    def notes(self, kind: str, channel: str | None = None) -> list[dict[str, Any]]:
        """Notes: numbered in a channel, or told to this client alone, as text."""
        told = [m["data"] for m in self.of("message") if m.get("channel") == channel]
        if channel is None:
            told = [json.loads(text) for text in told]
        return [n for n in told if isinstance(n, dict) and n["relay"] == kind]

    def offsets(self, channel: str) -> list[int]:
        messages = self.of("message")
        return [m["offset"] for m in messages if m.get("channel") == channel]


@asynccontextmanager
async def reading(url: str, *channels: str) -> AsyncIterator[Reader]:
    """A foreign client that subscribes and reads all the time."""
    async with speaking(url) as link:
        reader = Reader(link)
        for channel in channels:
            await ask(link, "subscribe", channel=channel)
        task = asyncio.create_task(reader.read())
        try:
            yield reader
        finally:
            task.cancel()
