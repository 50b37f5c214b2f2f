"""What a client's process has to bear: stalls, full pipes, jumping clocks, no files.

Everything is done to this process from inside it, through heartline's public API.
"""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import Any, cast

from heartline.client import Stream
from heartline.core.events import Event
from heartline.core.items import Message
from heartline.errors import NotOpen, OutboxFull
from heartline.testing.scenarios.witness import Witness

from .links import PORT, VENUE

CHUNK = "x" * 16_384
WRITE_EVERY = 0.005
MOST_AT_ONCE = 64
STEP_EVERY = 0.25
LARGEST_STEP = 86_400.0
LOOK_EVERY = 0.02
SILENCE = 0.5
_SEGMENTS_IN = struct.Struct("=I")
"""`tcpi_segs_in` of linux/tcp.h, at byte 140."""


class Watcher(Witness):
    """A witness that can be waited for, and whose stalls can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.stalls: list[tuple[float, float]] = []
        self.silences: list[tuple[float, float]] = []
        """Times without any message, by our own clock, longer than `SILENCE`."""
        self.on_message = self._note_message
        self._message_at = time.monotonic()
        self._news = asyncio.Event()

    def event(self, event: Event) -> None:
        super().event(event)
        self._news.set()

    def note_stall(self, began_at: float, ended_at: float) -> None:
        super().note_stall(began_at, ended_at)
        self.stalls.append((began_at, ended_at))

    def _note_message(self, message: Message) -> None:
        now, before = time.monotonic(), self._message_at
        self._message_at = now
        if now - before > SILENCE:
            self.silences.append((before, now))

    async def news(self) -> None:
        """Wait until something is told."""
        self._news.clear()
        await self._news.wait()


class Ordeals:
    def __init__(self, witness: Watcher) -> None:
        self.stream: Stream | None = None
        self.names_hang = False
        self.segment_at = 0.0
        self.bounds: list[tuple[float, float]] = []
        """From when on which bound was published, seconds; noted once it is asked."""
        self._witness = witness
        self._named = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._files: tuple[int, int] | None = None
        self._written_bytes = 0
        self._outbox_full = 0
        self._steps = 0

    def undergo(self, order: str, options: dict[str, Any]) -> object:
        """Begin what `order` names. Done when this returns, or goes on by itself."""
        match order:
            case "stall":
                loop = asyncio.get_running_loop()
                loop.call_soon(time.sleep, options["seconds"])
            case "write":
                self._tasks.add(asyncio.create_task(self._write()))
            case "pace":
                self._witness.pace = options["rate"]
            case "bounds":
                self._tasks.add(asyncio.create_task(self._watch_bounds()))
            case "clock":
                dice = random.Random(options["seed"])
                self._tasks.add(asyncio.create_task(self._step_clock(dice)))
            case "exhaust":
                self._exhaust()
            case "restore":
                assert self._files is not None
                resource.setrlimit(resource.RLIMIT_NOFILE, self._files)
            case "name":
                self._named.set()
            case _:
                raise AssertionError(order)
        return None

    def watch_kernel(self) -> None:
        """Ask the kernel by ourselves when it last took a segment of the peer's.

        `segment_at` errs on the side of earlier, by one look.
        """
        self._tasks.add(asyncio.create_task(self._watch_kernel()))

    async def _watch_kernel(self) -> None:
        segments, looked_at = -1, 0.0
        while True:
            # This process runs asyncio's own loop, whose stand-in can do this.
            stream = self.stream
            sock = None if stream is None else cast(socket.socket, stream.socket)
            if sock is not None:
                info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
                (now_in,) = _SEGMENTS_IN.unpack_from(info, 140)
                if now_in != segments:
                    segments, self.segment_at = now_in, looked_at
            looked_at = time.monotonic()
            await asyncio.sleep(LOOK_EVERY)

    async def _watch_bounds(self) -> None:
        assert self.stream is not None
        while True:
            bound = self.stream.status.detection_bound
            if not self.bounds or self.bounds[-1][1] != bound:
                self.bounds.append((time.monotonic(), bound))
            await asyncio.sleep(LOOK_EVERY)

    def figures(self) -> dict[str, int]:
        """End what goes on, and tell how much of it there was."""
        for task in self._tasks:
            task.cancel()
        return {
            "written_bytes": self._written_bytes,
            "outbox_full": self._outbox_full,
            "clock_steps": self._steps,
        }

    def getaddrinfo(self, host: str, port: int, **_: Any) -> Sequence[Any]:
        """Stands for the system's resolver: it hangs or knows no name, until named."""
        if self.names_hang:
            self._named.wait()
        elif not self._named.is_set():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = (VENUE, PORT)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    async def _write(self) -> None:
        """Send until the outbox is full, and keep trying, until the link is lost."""
        assert self.stream is not None
        while True:
            try:
                for _ in range(MOST_AT_ONCE):
                    self.stream.send(CHUNK)
                    self._written_bytes += len(CHUNK)
            except OutboxFull:
                self._outbox_full += 1
            except NotOpen:
                return
            await asyncio.sleep(WRITE_EVERY)

    async def _step_clock(self, dice: random.Random) -> None:
        """Step the wall clock by up to a day, forth or back, again and again.

        `time.time` of this process is replaced: Linux has namespaces for the other
        clocks only, and a step of the machine's clock would reach everybody on it.
        """
        true, moved = time.time, 0.0
        time.time = lambda: true() + moved
        while True:
            await asyncio.sleep(STEP_EVERY)
            moved += dice.uniform(-LARGEST_STEP, LARGEST_STEP)
            self._steps += 1

    def _exhaust(self) -> None:
        """Let this process open not one descriptor more."""
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The limit is on a new descriptor's number: the standard ones are all taken.
        # A limit on the count would leave room when the lost link's are given back.
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, self._files[1]))
