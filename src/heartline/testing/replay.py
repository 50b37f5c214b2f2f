"""Replay a capture as a server, with the timing of the recording.

The server lives in a process of its own, so that a busy loop under test does not
stall its venue, and sends from one ready-made string of frames: the frames due in a
turn are one slice of it and one write. (picows' server would run in the loop under
test, and take one call a frame.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import isfinite
from os import PathLike, fspath
from os.path import basename

from heartline.errors import UsageError

from .capture import Capture, CapturedFrame, read_capture
from .process import ChildProcess

__all__ = [
    "Capture",
    "CapturedFrame",
    "Replay",
    "ReplayCounts",
    "read_capture",
    "serve_capture",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCounts:
    """Since the start; `open` is now."""

    connections: int
    open: int
    rounds: int
    """How many times a client was sent the whole recording."""
    frames: int
    """Handed to the system for sending, over all clients."""
    messages: int
    """Received from clients."""
    pings: int
    violations: int
    """Breaches of RFC 6455 by clients."""
    latest: float
    """Seconds by which a frame went out late at most, for want of a turn or because
    the client did not read."""


class Replay:
    """A capture being served; `url` is where."""

    def __init__(self, child: ChildProcess, *, url: str, capture: Capture) -> None:
        self.url = url
        self.capture = capture
        self._child = child

    @property
    def pid(self) -> int:
        return self._child.pid

    async def counts(self) -> ReplayCounts:
        """Ask what it has done."""
        return ReplayCounts(**await self._child.ask("counts", {}))

    async def ended(self) -> None:
        """Return as soon as its process has ended; a frozen one has not."""
        await self._child.ended()


@asynccontextmanager
async def serve_capture(
    path: str | PathLike[str],
    *,
    port: int = 0,
    speed: float | None = 1.0,
    loop: bool = False,
    host: str = "127.0.0.1",
) -> AsyncGenerator[Replay]:
    """Serve the inbound frames of a recording to every client that connects.

    Each client gets all of them, byte for byte: text as text frames, `b64` as binary
    ones. The first goes out with the upgrade, each other one as long after it as in
    the recording, divided by `speed`. `speed=None` (or 0) sends as fast as the
    client reads. Nothing is awaited from the client; what it sends is counted.

    After the last frame the connection stays open and pings are answered: a venue
    gone quiet. With `loop` it begins anew instead, one mean distance of frames later.

    A client that reads slowly holds up its own replay only: about 256 KiB wait for it,
    and what fell due meanwhile follows when it reads. Lateness never adds up, every
    frame is due by the client's connect.

    Raises `UsageError` for a file that is no capture or has no inbound frame, and for
    options that cannot be; `OSError` if the file cannot be read or the port be had.
    The process is gone and reaped on exit, and dies with this one.
    """
    if speed is not None and not (isfinite(speed) and speed >= 0):
        raise UsageError("speed", wanted="more than 0, or None", got=speed)
    capture = await asyncio.to_thread(read_capture, path)
    if not capture.inbound:
        raise UsageError(basename(path), wanted="an inbound frame", got="none")
    child = ChildProcess("replay_process", what="capture replay")
    options = {
        "path": fspath(path),
        "port": port,
        "speed": speed or 0.0,
        "loop": loop,
        "host": host,
    }
    ready = await child.start(options)
    try:
        name = f"[{host}]" if ":" in host else host
        url = f"ws://{name}:{ready['port']}/"
        yield Replay(child, url=url, capture=capture)
    finally:
        child.end()
