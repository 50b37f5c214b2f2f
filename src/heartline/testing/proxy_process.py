"""The fault proxy's own process: pumps between pairs of sockets.

Started by `FaultProxy`; imports the standard library and the kit's own files only.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .orders import Handler, run

_PIECE = 64 << 10
_QUEUE_LIMIT_BYTES = 1 << 20
_STEP = 0.02
"""Seconds: how finely a trickle is cut, and how soon a wait sees that it is over."""
_FIN_TIMEOUT = 5.0
"""Seconds for the ends to answer a FIN of ours, then the sockets are aborted."""
_ABORT_BY_RST = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Way:
    """The faults of one direction, for all connections."""

    name: str
    blackhole: bool = False
    delay: float = 0.0
    jitter: float = 0.0
    trickle: float = 0.0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared while it is a blackhole."""

    def change(self, changes: dict[str, Any]) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        if self.blackhole:
            self.open.clear()
        else:
            self.open.set()


class Pump:
    """One direction of one connection: read, hold, write.

    `back` is the way of the other direction: the news that a receiver is gone travels
    against the data, and a blackhole swallows news too.
    """

    def __init__(
        self,
        way: Way,
        back: Way,
        ends: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        counts: Counter[str],
        dice: random.Random,
    ) -> None:
        self._way = way
        self._back = back
        self._reader, self._writer = ends
        self._counts = counts
        self._dice = dice
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued_bytes = 0
        self._stirred = asyncio.Event()

    async def read(self) -> None:
        """Take what comes and say when it is due; ends with the sender's FIN."""
        loop = asyncio.get_running_loop()
        due_at, piece = 0.0, b"-"
        while piece:
            await self._way.open.wait()
            while self._queued_bytes > _QUEUE_LIMIT_BYTES:
                self._stirred.clear()
                await self._stirred.wait()
            try:
                piece = await self._reader.read(_PIECE)
            except OSError:
                await self._way.open.wait()
                raise
            late = self._way.delay + self._way.jitter * self._dice.random()
            due_at = max(due_at, loop.time() + late)
            self._queue.append((due_at, piece))
            self._queued_bytes += len(piece)
            self._stirred.set()

    async def write(self) -> None:
        """Write what is due; pass the FIN on as the last."""
        while True:
            while not self._queue:
                self._stirred.clear()
                await self._stirred.wait()
            due_at, piece = self._queue.popleft()
            await _until(due_at, lambda: self._way.delay > 0 or self._way.jitter > 0)
            try:
                await self._pour(piece)
            except OSError:
                await self._back.open.wait()
                raise
            self._queued_bytes -= len(piece)
            self._stirred.set()
            if not piece:
                return

    async def discard(self) -> None:
        """Read to the end and forget it."""
        try:
            while await self._reader.read(_PIECE):
                pass
        except OSError:
            # A reset is an end too.
            return

    async def _pour(self, piece: bytes) -> None:
        await self._way.open.wait()
        if not piece:
            self._writer.write_eof()
        loop = asyncio.get_running_loop()
        at = 0
        while at < len(piece):
            await self._way.open.wait()
            rate, end, due_at = self._way.trickle, len(piece), loop.time()
            if rate:
                end = min(end, at + max(1, int(rate * _STEP)))
                due_at += (end - at) / rate
            self._writer.write(piece[at:end])
            await self._writer.drain()
            self._counts[self._way.name] += end - at
            await _until(due_at, partial(self._trickles_at, rate))
            at = end

    def _trickles_at(self, rate: float) -> bool:
        return self._way.trickle == rate


async def _until(at: float, still: Callable[[], bool]) -> None:
    """Wait for an instant, as long as the reason to wait still holds."""
    loop = asyncio.get_running_loop()
    # A poll of 20 ms, not an event: the reason may be a rate or a delay that changed.
    while (left := at - loop.time()) > 0 and still():  # noqa: ASYNC110
        await asyncio.sleep(min(left, _STEP))


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN; harmless if it is closed already."""
    sock: socket.socket = writer.get_extra_info("socket")
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT_BY_RST)
    writer.transport.abort()


class Pair:
    """One connection: two sockets, two pumps."""

    def __init__(
        self, writers: Sequence[asyncio.StreamWriter], pumps: Sequence[Pump]
    ) -> None:
        self._writers = writers
        self._pumps = pumps
        self._end: str | None = None
        self._work = asyncio.gather(
            *(pump.read() for pump in pumps), *(pump.write() for pump in pumps)
        )

    async def run(self) -> None:
        """Forward until both sides have ended, one was reset, or it is cut."""
        try:
            await self._work
        except OSError:
            # One side is gone without a FIN: the other shall hear the same.
            self._end = "rst"
        except asyncio.CancelledError:
            if self._end is None:
                raise
        finally:
            self._work.cancel()
        match self._end:
            case "rst":
                for writer in self._writers:
                    _reset(writer)
            case "fin":
                await self._fin()
            case _:
                for writer in self._writers:
                    writer.close()

    def cut(self, how: str) -> None:
        self._end = how
        self._work.cancel()

    async def _fin(self) -> None:
        """FIN to both, then read on: a close with bytes unread would send RST."""
        for writer in self._writers:
            if not writer.transport.is_closing():
                writer.write_eof()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(pump.discard()) for pump in self._pumps]
        _, late = await asyncio.wait(tasks, timeout=_FIN_TIMEOUT)
        for task in late:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()


class Proxy:
    def __init__(self, options: dict[str, Any]) -> None:
        self._target: tuple[str, int] = (
            options["target_host"],
            options["target_port"],
        )
        self._seed: int = options["seed"]
        self._ways = {name: Way(name) for name in ("inbound", "outbound")}
        for way in self._ways.values():
            way.change({})
        self._counts: Counter[str] = Counter()
        self._pairs: set[Pair] = set()
        self._cuts: list[str] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def obey(self, order: str, options: dict[str, Any]) -> object:
        match order:
            case "set":
                for side in options["sides"]:
                    self._ways[side].change(options["changes"])
            case "cut":
                self._cuts.append(options["how"])
                for pair in tuple(self._pairs):
                    pair.cut(options["how"])
            case "counts":
                return {
                    "connections": self._counts["connections"],
                    "open": len(self._pairs),
                    "inbound_bytes": self._counts["inbound"],
                    "outbound_bytes": self._counts["outbound"],
                }
            case _:
                raise AssertionError(order)
        return None

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._counts["connections"] += 1
        number, cuts = self._counts["connections"], len(self._cuts)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            # Nobody there, or gone at once: the nearest to a refusal that is left.
            _reset(writer)
            return
        there, back = self._ways["outbound"], self._ways["inbound"]
        outbound = Pump(
            there, back, (reader, far_writer), self._counts, self._dice(number, "out")
        )
        inbound = Pump(
            back, there, (far_reader, writer), self._counts, self._dice(number, "in")
        )
        pair = Pair((writer, far_writer), (outbound, inbound))
        self._pairs.add(pair)
        if len(self._cuts) > cuts:
            # Ordered while we were dialling: the client was connected already.
            pair.cut(self._cuts[-1])
        try:
            await pair.run()
        finally:
            self._pairs.discard(pair)

    def _dice(self, number: int, way: str) -> random.Random:
        return random.Random(f"{self._seed}/{number}/{way}")


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    proxy = Proxy(options)
    return {"port": await proxy.open()}, proxy.obey


def main(parent: int) -> None:
    run(_begin, parent=parent)
