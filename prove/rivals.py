"""The six telling faults on other libraries, by the same hands as on heartline.

One trial has every library on one venue, so that the same fault, at the same instant,
is what all of them are asked to find.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from heartline.testing.lab import links
from heartline.testing.lab.series import seed_of
from heartline.testing.lab.stage import STARTS, Setting, Stage
from heartline.testing.lab.tally import spread

GIVE_UP = 75.0
WARM_UP = (5.0, 25.0)
"""Seconds before the fault: any phase of a ping every 20 s is as likely as another."""
RATE = 50.0
_GUEST = {"client": "guest", "module": "prove.rivals_process"}


@dataclass(frozen=True)
class Rivalry:
    """One fault, as it is done to the other libraries."""

    row: str
    """The row of the lab that is the same fault."""
    strike: Callable[[Stage], object]
    setting: Setting = field(default_factory=lambda: Setting(**_GUEST))
    rate: float = RATE
    writes: bool = False


@dataclass(frozen=True)
class Found:
    """One trial: what each library told, how long after the fault; None for nothing."""

    row: str
    repeat: int
    told_after_s: dict[str, float | None]
    words: dict[str, str]
    early: list[str] = field(default_factory=list)
    """Those that had ended a healthy connection before anything was done."""
    failed: str = ""


def _forget(stage: Stage) -> None:
    assert stage.connections is not None
    stage.connections.forget()


RIVALRIES = (
    Rivalry("blackhole", lambda stage: stage.rules(links.BOTH)),
    Rivalry("blackhole-in", lambda stage: stage.rules(links.INBOUND)),
    Rivalry("frozen", lambda stage: stage.venue.freeze()),
    Rivalry("frozen-writing", lambda stage: stage.venue.freeze(), writes=True),
    Rivalry("nat-forgets", _forget, setting=Setting(network="nat", **_GUEST), rate=0.0),
    Rivalry(
        "balancer",
        lambda stage: stage.venue.freeze(),
        setting=Setting(balancer=True, **_GUEST),
    ),
)
LIBRARIES = (
    "websockets, defaults",
    "websockets, 1 s + 1 s",
    "aiohttp, defaults",
    "aiohttp, heartbeat=1",
    "picows, auto-ping on",
    "picows, 1 s + 1 s",
)


async def once(
    rivalry: Rivalry, repeat: int, seed: int, starting: asyncio.Semaphore
) -> Found:
    try:
        async with Stage(rivalry.setting, seed=seed, starting=starting) as stage:
            told, struck_at = await _play(rivalry, stage, random.Random(seed))
    except (OSError, TimeoutError) as error:
        why = f"{type(error).__name__}: {error}"
        return Found(rivalry.row, repeat, {}, {}, failed=why)
    early = [name for name, (at, _) in told.items() if at < struck_at]
    after = {
        name: round(told[name][0] - struck_at, 4)
        if name in told and name not in early
        else None
        for name in LIBRARIES
    }
    words = {name: told[name][1] for name in told}
    return Found(rivalry.row, repeat, after, words, early)


async def _play(
    rivalry: Rivalry, stage: Stage, dice: random.Random
) -> tuple[dict[str, tuple[float, str]], float]:
    await stage.client.ask("connect", {"url": stage.url})
    await stage.venue.ask("rate", {"rate": rivalry.rate})
    await asyncio.sleep(dice.uniform(*WARM_UP))
    if rivalry.writes:
        await stage.client.ask("write", {})
        await asyncio.sleep(0.1)
    struck_at = time.monotonic()
    rivalry.strike(stage)
    told: dict[str, tuple[float, str]] = {}
    while len(told) < len(LIBRARIES) and time.monotonic() < struck_at + GIVE_UP:
        await asyncio.sleep(0.5)
        told = await stage.client.ask("told", {})
    return told, struck_at


async def contest(
    repeats: int, *, seed: int, side_by_side: int, only: set[str] | None = None
) -> list[Found]:
    """All faults, so often each; only those of some rows, if any are named."""
    gate = asyncio.Semaphore(side_by_side)
    starting = asyncio.Semaphore(STARTS)

    async def one(rivalry: Rivalry, repeat: int) -> Found:
        async with gate:
            drawn = seed_of(rivalry.row, repeat, seed=seed)
            return await once(rivalry, repeat, drawn, starting)

    chosen = [it for it in RIVALRIES if only is None or it.row in only]
    runs: list[Awaitable[Found]] = [
        one(rivalry, repeat) for repeat in range(repeats) for rivalry in chosen
    ]
    return list(await asyncio.gather(*runs))


def compare(found: list[Found]) -> dict[str, dict[str, Any]]:
    """Row -> library -> how often it told, and how soon."""
    table: dict[str, dict[str, Any]] = {}
    for row in dict.fromkeys(it.row for it in found):
        mine = [it for it in found if it.row == row and not it.failed]
        table[row] = {
            name: {
                "trials": sum(name not in it.early for it in mine),
                "ended_a_healthy_link": sum(name in it.early for it in mine),
                **_fields([it.told_after_s[name] for it in mine]),
            }
            for name in LIBRARIES
        }
    return table


def _fields(values: list[float | None]) -> dict[str, Any]:
    whole = spread(values)
    return {
        "told": whole.count,
        "median_s": whole.median_s,
        "p99_s": whole.p99_s,
        "max_s": whole.max_s,
    }


def raw(found: list[Found]) -> list[dict[str, Any]]:
    return [asdict(it) for it in found]
