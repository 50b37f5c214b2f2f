"""Thousands of clients cut at once: all come back in their backoff, none waits outside.

The clients are bare: all that stands between a cut and its resumption is the jitter of
heartline's own backoff, the handshake, and the replay of what was published meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import heartline

from .serving_child import Child, be_child, orders, tell
from .serving_peer import TEXT, Peer, frame, request
from .serving_system import accept_queue

CHANNEL = "book"
MISSED = 5
"""Messages published while nobody is there."""
BASES = (1.0, 0.5)
"""Seconds over which the first dials are spread: heartline's own clients, and the
JavaScript one."""
AT_ONCE = 50
_ASKS = request(extra="Sec-WebSocket-Protocol: heartline.v1\r\n")


class Returner(Peer):
    """A client of `heartline.v1` that is dialled again and again."""

    def __init__(self, herd: Herd, epoch: str, offset: int) -> None:
        super().__init__(_ASKS)
        self._herd = herd
        self.epoch = epoch
        self.offset = offset
        self._goal: int | None = None
        self._dialled_at = time.monotonic()

    def on_upgrade(self) -> None:
        asks: dict[str, Any] = {"type": "subscribe", "channel": CHANNEL}
        if self.epoch:
            asks |= {"epoch": self.epoch, "offset": self.offset}
        self.transport.write(frame(TEXT, json.dumps(asks).encode()))

    def on_message(self, payload: bytes) -> None:
        said = json.loads(payload)
        if said["type"] == "subscribed":
            self._goal = said["offset"]
            if self.epoch != said["epoch"]:
                self.epoch, self.offset = said["epoch"], self._goal
        elif said["type"] == "message":
            if said["offset"] != self.offset + 1:
                raise RuntimeError(f"herd: {said['offset']} came after {self.offset}")
            self.offset += 1
        elif said["type"] in ("gap", "refused"):
            raise RuntimeError(f"herd: {payload!r}")
        if self._goal is not None and self.offset >= self._goal:
            self._goal = None
            self._herd.settled(self._dialled_at)

    def on_gone(self) -> None:
        self._herd.lost(self)


class Herd:
    """All clients, and when each was where it had been."""

    def __init__(self, port: int, clients: int, seed: int) -> None:
        self._port = port
        self._clients = clients
        self._draw = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._patience = heartline.Backoff()
        self.attempts = 0
        self.late = 0.0
        self.took: list[float] = []
        self.ats: list[float] = []
        self.whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def gather(self) -> None:
        for first in range(0, self._clients, AT_ONCE):
            lot = range(first, min(first + AT_ONCE, self._clients))
            await asyncio.gather(*(self._dial("", 0) for _ in lot))
        await self.whole

    def arm(self, base: float) -> None:
        """The next cut is the one that counts."""
        self._patience = heartline.Backoff(base=base)
        self.attempts = 0
        self.late = 0.0
        self.took, self.ats = [], []
        self.whole = asyncio.get_running_loop().create_future()

    def settled(self, dialled_at: float) -> None:
        now = time.monotonic()
        self.ats.append(now)
        self.took.append(now - dialled_at)
        if len(self.ats) == self._clients:
            self.whole.set_result(None)

    def lost(self, client: Returner) -> None:
        task = asyncio.create_task(self._come_back(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _come_back(self, client: Returner) -> None:
        attempt = 0
        while True:
            attempt += 1
            began_at = time.monotonic()
            delay = self._patience.delay(attempt, draw=self._draw.random())
            await asyncio.sleep(delay)
            self.attempts += 1
            self.late = max(self.late, time.monotonic() - began_at - delay)
            if await self._dial(client.epoch, client.offset):
                return

    async def _dial(self, epoch: str, offset: int) -> bool:
        client = Returner(self, epoch, offset)
        try:
            await client.connect(self._port)
        except OSError:
            return False
        return True


async def be_herd(options: dict[str, Any]) -> None:
    herd = Herd(options["port"], options["clients"], options["seed"])
    await herd.gather()
    tell(ready=True)
    async for order in orders():
        herd.arm(order["base"])
        tell(ready=True)
        await herd.whole
        tell(ats=herd.ats, took=herd.took, attempts=herd.attempts, late=herd.late)


async def herd(seed: int, *, clients: int = 5000) -> dict[str, Any]:
    """Cut them all at once, twice, at different patience."""
    limits = heartline.Limits(connections=2 * clients)
    async with heartline.serve(limits=limits) as server:
        child = await Child.start(
            "prove.serving_herd", port=server.port, clients=clients, seed=seed
        )
        try:
            await child.hear()
            rounds = [await _cut(server, child, clients, base) for base in BASES]
        finally:
            await child.end()
    broken = [
        f"herd over {each['base_s']} s: {fault}"
        for each in rounds
        for fault in each.pop("broken")
    ]
    return {"clients": clients, "rounds": rounds, "broken": broken}


async def _cut(
    server: heartline.Server, child: Child, clients: int, base: float
) -> dict[str, Any]:
    child.tell(base=base)
    await child.hear()
    queue, burned = accept_queue(), time.process_time()
    cut_at = time.monotonic()
    for client in list(server.clients):
        client.abort("all at once")
    for number in range(MISSED):
        server.publish(CHANNEL, {"number": number})
    found = await child.hear()
    full = {name: told - queue[name] for name, told in accept_queue().items()}
    after = sorted(at - cut_at for at in found["ats"])
    took = sorted(found["took"])
    broken: list[str] = []
    if any(full.values()):
        broken.append(f"the accept queue was full: {full}")
    if found["attempts"] != clients:
        broken.append(f"{found['attempts']} dials of {clients} clients")
    return {
        "base_s": base,
        "returned": len(after),
        "dials": found["attempts"],
        "dialled_late_s": round(found["late"], 3),
        "since_cut_s": _spread(after),
        "since_dial_s": _spread(took),
        "replayed": clients * MISSED,
        "accept_queue": full,
        "server_cpu_s": round(time.process_time() - burned, 2),
        "broken": broken,
    }


def _spread(times: list[float]) -> dict[str, float]:
    parts = {"median": 0.5, "p99": 0.99, "max": 1.0}
    last = len(times) - 1
    return {name: round(times[int(last * part)], 3) for name, part in parts.items()}


if __name__ == "__main__":
    be_child(be_herd)
