"""What the kernel and the interpreter say of a server: sockets, memory, leftovers."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from heartline.server import Client
from heartline.server.outlet import Outlet
from heartline.server.watch import Watch

_STATES = {"01": "established", "06": "time wait", "0A": "listening"}
"""Linux, net/tcp_states.h; the others are on their way out and keep their number."""
MIB = 1 << 20


def rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def sockets_of(port: int) -> Counter[str]:
    """State -> how many sockets the kernel has on a local port."""
    found: Counter[str] = Counter()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            found[_STATES.get(fields[3], fields[3])] += 1
    return found


def connected_to(address: str) -> socket.socket:
    """Our end of a connection, as a socket of its own; raises `LookupError`."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            sock = socket.socket(fileno=os.dup(int(name)))
            if _peer(sock) == address:
                return sock
            sock.close()
    raise LookupError(f"no connection with {address}")


def _peer(sock: socket.socket) -> str:
    try:
        return "{}:{}".format(*sock.getpeername())
    except (OSError, IndexError):
        return ""  # it listens, or is of another family


def accept_queue() -> dict[str, int]:
    """How often a full accept queue turned a handshake away, in this network."""
    rows = [
        line.split()
        for line in Path("/proc/net/netstat").read_text().splitlines()
        if line.startswith("TcpExt:")
    ]
    told = dict(zip(rows[0][1:], rows[1][1:], strict=True))
    return {name: int(told[name]) for name in ("ListenOverflows", "ListenDrops")}


def leftovers() -> dict[str, int]:
    """What a client leaves behind if something still holds it."""
    gc.collect()
    kinds = {Client: "clients", Outlet: "outlets", Watch: "watches"}
    found = dict.fromkeys(kinds.values(), 0)
    for thing in gc.get_objects():
        if type(thing) in kinds:
            found[kinds[type(thing)]] += 1
    found["tasks"] = len(asyncio.all_tasks())
    found["files"] = len(os.listdir("/proc/self/fd"))
    return found


class Witness:
    """How late the loop was at worst, and the most memory, while somebody looked."""

    EVERY = 0.02

    def __init__(self) -> None:
        self.late = 0.0
        self.most_bytes = 0

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _look(self) -> None:
        while True:
            due = time.monotonic() + self.EVERY
            await asyncio.sleep(self.EVERY)
            self.late = max(self.late, time.monotonic() - due)
            self.most_bytes = max(self.most_bytes, rss_bytes())
