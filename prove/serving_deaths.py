"""Clients that die while they are written to: each is found, no other is touched.

The bound of a death is what the server published of that client when it died, or what
it announces to all, whichever is less. How late the server's own loop was at worst is
measured by a witness and allowed for; nothing else is.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import heartline
from heartline.core.events import Event, Lost
from heartline.testing.halfopen import available, drop_inbound

from .serving_child import Child
from .serving_crowd import BLACKHOLED, DEAF
from .serving_system import (
    MIB,
    Witness,
    connected_to,
    leftovers,
    rss_bytes,
    sockets_of,
)

BIG = "x" * 20_000
SMALL = "x" * 256
STOPPED, KILLED = "SIGSTOP", "SIGKILL"
FROZEN = ("reads nothing", "answers nothing", "trickles", STOPPED)
CAUSES = {way: {"PEER_FROZEN"} for way in FROZEN} | {
    DEAF: {"PATH_DEAD"},
    BLACKHOLED: {"PATH_DEAD"},
    "no frame": {"PROTOCOL"},
}
TOLD = {"CLOSED_BY_PEER", "RESET"}
PATIENCE = 45.0
"""Seconds after which a death that was not found will not be."""
MOST_HELD = 5 * MIB // 4
"""Bytes the server may hold for one client that takes nothing: its backlog of 1 MiB,
and what has been handed to its transport."""


@dataclass
class Death:
    way: str
    at: float
    bound: float
    found_at: float | None = None
    cause: str = ""

    @property
    def took(self) -> float:
        return float("inf") if self.found_at is None else self.found_at - self.at


@dataclass
class Register(heartline.Hub):
    """Who died, and when the server said so; all by the address of the client."""

    deaths: dict[str, Death] = field(default_factory=dict[str, Death])
    ends: dict[str, tuple[float, Lost]] = field(
        default_factory=dict[str, tuple[float, Lost]]
    )
    alive: dict[str, heartline.Client] = field(
        default_factory=dict[str, heartline.Client]
    )
    cut: list[str] = field(default_factory=list[str])

    def on_join(self, client: heartline.Client) -> None:
        client.data = client.address
        self.alive[client.data] = client

    def on_event(self, client: heartline.Client, event: Event) -> None:
        if isinstance(event, Lost):
            self.ends[client.data] = (time.monotonic(), event)
            self.alive.pop(client.data, None)

    def died(self, address: str, way: str, at: float, server: heartline.Server) -> None:
        client = self.alive.get(address)
        bounds = None if client is None else client.bounds
        bound = server.bound
        if bounds is not None:
            bound = min(bound, bounds.path if way == BLACKHOLED else bounds.peer)
            if way == DEAF:
                # What it had sent and not seen acknowledged it goes on sending: the
                # path is found dead in one direction, which is under `peer`.
                bound = bounds.peer
        if way == BLACKHOLED and client is not None:
            with connected_to(address) as sock:
                drop_inbound(sock)
        self.deaths[address] = Death(way, at, bound)

    async def listen(self, child: Child, server: heartline.Server) -> None:
        """Write down what a crowd tells, for as long as it tells anything."""
        while True:
            news = await child.hear()
            if "died" in news:
                self.died(news["died"], news["way"], news["at"], server)
            elif "cut" in news:
                self.cut.append(news["cut"])

    @property
    def found(self) -> set[str]:
        """Those who died, and of whom the server has told."""
        return self.deaths.keys() & self.ends.keys()

    def settle(self) -> None:
        """Bring ends and deaths together; an end without a death is a wrong one."""
        for address in self.found:
            found_at, lost = self.ends[address]
            self.deaths[address].found_at = found_at
            self.deaths[address].cause = str(lost.cause)
        self.cut += self.ends.keys() - self.deaths.keys() - set(self.cut)


def broken_by(deaths: list[Death], late: float) -> list[str]:
    """Deaths that were found late, wrongly or not at all."""
    found: list[str] = []
    for death in deaths:
        wanted = CAUSES.get(death.way, TOLD)
        if death.found_at is None:
            found.append(f"{death.way}: never found")
        elif death.took > death.bound + late:
            found.append(f"{death.way}: {death.took:.2f} s, bound {death.bound:.2f} s")
        elif death.cause not in wanted:
            found.append(f"{death.way}: called {death.cause}")
    return found


def by_way(deaths: list[Death]) -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for way in sorted({death.way for death in deaths}):
        mine = [death for death in deaths if death.way == way]
        took = sorted(death.took for death in mine)
        table[way] = {
            "deaths": len(mine),
            "median_s": round(statistics.median(took), 3),
            "max_s": round(took[-1], 3),
            "of_bound": round(max(death.took / death.bound for death in mine), 3),
            "causes": sorted({death.cause for death in mine}),
        }
    return table


# --- clients that freeze or vanish while 20 kB messages are sent to them -------------


async def writing(seed: int, *, each: int = 10, living: int = 20) -> dict[str, Any]:
    """`each` processes are stopped and as many clients blackholed, under load."""
    draw, register, witness = random.Random(seed), Register(), Witness()
    why_not = available()
    begun = leftovers()
    async with heartline.serve(register, on_event=register.on_event) as server:
        plan = [(draw.uniform(3, 13), nth, BLACKHOLED) for nth in range(each)]
        crowd = await Child.start(
            "prove.serving_crowd",
            port=server.port,
            clients=living + each,
            deaths=[] if why_not else plan,
        )
        children = [crowd]
        try:
            await crowd.hear()
            doomed: list[tuple[Child, str]] = []
            for _ in range(each):
                one = await Child.start(
                    "prove.serving_crowd", port=server.port, clients=1, deaths=[]
                )
                children.append(one)
                doomed.append((one, (await one.hear())["joined"][0]))
            tasks = [asyncio.create_task(register.listen(crowd, server))]
            async with witness.looking():
                tasks.append(asyncio.create_task(_send(server, BIG, every=0.05)))
                await asyncio.sleep(2.0)
                before = rss_bytes()
                crowd.tell(do="go")
                await asyncio.gather(
                    *(
                        _stop_at(draw.uniform(3, 13), one, address, register, server)
                        for one, address in doomed
                    )
                )
                everybody = each * (1 if why_not else 2)
                await until(lambda: len(register.found) == everybody, PATIENCE)
                after = rss_bytes()
            states = sockets_of(server.port)
            await end(*tasks)
            register.settle()
        finally:
            for child in children:
                await child.end()
    deaths = list(register.deaths.values())
    left = leftovers()
    held = witness.most_bytes - before
    broken = broken_by(deaths, witness.late)
    if held > len(deaths) * MOST_HELD:
        broken.append(f"{held / MIB:.1f} MiB held for the dead")
    if register.cut:
        broken.append(f"{len(register.cut)} living clients cut")
    if states["established"] != living + (each if why_not else 0):
        broken.append(f"sockets stayed: {dict(states)}")
    if left != begun:
        broken.append(f"left behind: {left}, were {begun}")
    return {
        "ways": by_way(deaths),
        "not_tried": why_not or "",
        "living": living,
        "cut": len(register.cut),
        "loop_late_s": round(witness.late, 3),
        "memory_mib": {
            "before": round(before / MIB, 1),
            "most": round(witness.most_bytes / MIB, 1),
            "after": round(after / MIB, 1),
        },
        "sockets": dict(states),
        "broken": broken,
    }


async def _stop_at(
    after: float,
    child: Child,
    address: str,
    register: Register,
    server: heartline.Server,
) -> None:
    await asyncio.sleep(after)
    at = time.monotonic()
    register.died(address, STOPPED, at, server)
    child.signal(signal.SIGSTOP)


async def _send(server: heartline.Server, data: str, *, every: float) -> None:
    while True:
        server.broadcast(data)
        await asyncio.sleep(every)


async def until(condition: Callable[[], bool], patience: float) -> None:
    """Wait for a condition, at most so many seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return
        await asyncio.sleep(0.05)


async def end(*tasks: asyncio.Task[None]) -> None:
    """End what runs for ever; raises what ended it before."""
    for task in tasks:
        task.cancel()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(found, Exception):
            raise found
