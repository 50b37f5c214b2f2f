"""A minute of a thousand clients of which three hundred die, in every way there is."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from typing import Any

import heartline
from heartline.testing.halfopen import available

from .serving_child import Child
from .serving_crowd import BLACKHOLED, DEAF, WAYS
from .serving_deaths import (
    BIG,
    KILLED,
    SMALL,
    STOPPED,
    Register,
    broken_by,
    by_way,
    end,
    until,
)
from .serving_system import MIB, Witness, leftovers, rss_bytes, sockets_of

LAST_DEATH = 42.0
"""Seconds: whoever dies then is found before the minute is over."""
IN_A_PROCESS = 20
"""Clients of each process that is stopped or killed as a whole."""
SEND_EVERY = 0.05
BIG_EVERY = 20
"""Every so manieth message is a big one."""
GROWTH = 8 * MIB
"""Memory may not grow by more from the second half of the minute on."""


async def soak(
    seed: int, *, clients: int = 1000, deaths: int = 300, seconds: float = 60.0
) -> dict[str, Any]:
    draw, register, witness = random.Random(seed), Register(), Witness()
    why_not = available()
    ways = [way for way in WAYS if not why_not or way not in (DEAF, BLACKHOLED)]
    last = LAST_DEATH * seconds / 60
    crowd, in_crowd = clients - 2 * IN_A_PROCESS, deaths - 2 * IN_A_PROCESS
    plan = [
        (draw.uniform(2.0, last), number, draw.choice(ways))
        for number in draw.sample(range(crowd), in_crowd)
    ]
    nobody: list[tuple[float, int, str]] = []
    begun = leftovers()
    async with heartline.serve(register, on_event=register.on_event) as server:
        children = [
            await Child.start(
                "prove.serving_crowd", port=server.port, clients=size, deaths=mine
            )
            for size, mine in ((crowd, plan), *2 * [(IN_A_PROCESS, nobody)])
        ]
        try:
            joined = [(await child.hear())["joined"] for child in children]
            full = rss_bytes()
            async with witness.looking():
                halfway, sent = await _minute(
                    server, register, children, joined, draw, last, seconds
                )
            register.settle()
            living = server.status.clients
            # Whoever died is forgotten when he would have been looked at next.
            await until(lambda: leftovers()["clients"] == living, server.bound)
            states, held = sockets_of(server.port), leftovers()
            messages = await _heard(children[0], register)
        finally:
            for child in children:
                await child.end()
    last_bytes, left = rss_bytes(), leftovers()
    found = list(register.deaths.values())
    broken = broken_by(found, witness.late)
    if register.cut:
        broken.append(f"{len(register.cut)} living clients cut")
    if len(found) != deaths:
        broken.append(f"{len(found)} deaths, wanted {deaths}")
    if not states["established"] == held["clients"] == living == clients - deaths:
        broken.append(f"for {living} living: {dict(states)}, {held}")
    if left != begun:
        broken.append(f"left behind: {left}, were {begun}")
    if last_bytes - halfway > GROWTH:
        broken.append(f"memory grew by {(last_bytes - halfway) / MIB:.1f} MiB")
    return {
        "seconds": seconds,
        "clients": clients,
        "ways": by_way(found),
        "not_tried": why_not or "",
        "cut": len(register.cut),
        "broadcasts": sent,
        "heard_by_crowd": messages,
        "loop_late_s": round(witness.late, 3),
        "memory_mib": {
            "all joined": round(full / MIB, 1),
            "halfway": round(halfway / MIB, 1),
            "most": round(witness.most_bytes / MIB, 1),
            "end": round(last_bytes / MIB, 1),
        },
        "sockets": dict(states),
        "left_behind": {name: left[name] - begun[name] for name in begun},
        "broken": broken,
    }


async def _minute(
    server: heartline.Server,
    register: Register,
    children: list[Child],
    joined: list[list[str]],
    draw: random.Random,
    last: float,
    seconds: float,
) -> tuple[int, int]:
    """Write to all while they die; memory at half-time, and how often was written."""
    crowd, stopped, killed = children
    listening = asyncio.create_task(register.listen(crowd, server))
    crowd.tell(do="go")
    began = time.monotonic()
    falls = sorted(
        [
            (draw.uniform(2.0, last), STOPPED, stopped, joined[1]),
            (draw.uniform(2.0, last), KILLED, killed, joined[2]),
        ],
        key=lambda fall: fall[0],
    )
    halfway = sent = 0
    while (passed := time.monotonic() - began) < seconds:
        while falls and passed >= falls[0][0]:
            _, way, child, addresses = falls.pop(0)
            at = time.monotonic()
            for address in addresses:
                register.died(address, way, at, server)
            child.signal(signal.SIGSTOP if way == STOPPED else signal.SIGKILL)
        if not halfway and passed >= seconds / 2:
            halfway = rss_bytes()
        sent += 1
        server.broadcast(BIG if sent % BIG_EVERY == 0 else SMALL)
        await asyncio.sleep(SEND_EVERY)
    await end(listening)
    return halfway, sent


async def _heard(crowd: Child, register: Register) -> int:
    """How many messages the crowd has heard; whatever else it told is written down."""
    crowd.tell(do="count")
    while "messages" not in (news := await crowd.hear()):
        if "cut" in news:
            register.cut.append(news["cut"])
    return int(news["messages"])
