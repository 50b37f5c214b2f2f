"""Three deaths of a link, thirty times each, and what watching a healthy one costs."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from . import detection
from .detection import Told

SIDE_BY_SIDE = 6

Once = Callable[[float, detection.Inject, int], Awaitable[Told]]

ROWS: list[tuple[str, float, detection.Inject, float, float]] = [
    # name, messages a second, fault, median at most, maximum at most
    ("blackhole, idle link", 0, detection.blackhole, 1.2, 1.7),
    ("blackhole, 50/s", 50, detection.blackhole, 1.5, 2.0),
    ("frozen, 50/s", 50, detection.frozen, 2.5, float("inf")),
]
IDLE_PINGS, BUSY_PINGS = 8, 6
PEERS: list[tuple[str, Once]] = [
    ("websockets", detection.websockets_once),
    ("picows auto-ping", detection.picows_once),
    ("aiohttp", detection.aiohttp_once),
]


async def _repeat(
    once: Once, rate: float, inject: detection.Inject, repeats: int, seed: int
) -> list[Told]:
    gate = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(nth: int) -> Told:
        async with gate:
            return await once(rate, inject, seed + nth)

    return list(await asyncio.gather(*(one(nth) for nth in range(repeats))))


def _summary(name: str, told: list[Told]) -> dict[str, Any]:
    times = sorted(t.seconds for t in told if t.seconds is not None)
    late = [t for t in told if t.bound is not None and (t.seconds or 1e9) > t.bound]
    return {
        "name": name,
        "repeats": len(told),
        "told": len(times),
        "median": round(statistics.median(times), 3) if times else None,
        "max": round(times[-1], 3) if times else None,
        "over_bound": len(late),
        "causes": sorted({t.cause for t in told}),
        "false_alarms": sum(t.false_alarms for t in told),
        "runs": [asdict(t) for t in told],
    }


async def detecting(repeats: int, seed: int, peers: bool) -> dict[str, Any]:
    rows, broken = [], []
    for name, rate, inject, median, most in ROWS:
        told = await _repeat(detection.heartline_once, rate, inject, repeats, seed)
        row = _summary(name, told)
        wanted = "PATH_DEAD" if inject is detection.blackhole else "PEER_FROZEN"
        kept = (
            row["told"] == repeats
            and row["over_bound"] == 0
            and row["false_alarms"] == 0
            and row["causes"] == [wanted]
            and row["median"] <= median
            and row["max"] <= most
        )
        row["ok"] = kept
        rows.append(row)
        _say(f"{name}: median {row['median']} s, max {row['max']} s, ok {kept}")
        if not kept:
            broken.append(name)
    costs = await asyncio.gather(
        detection.pings_a_minute(0, 180), detection.pings_a_minute(50, 180)
    )
    budgets = (("idle", IDLE_PINGS), ("50/s", BUSY_PINGS))
    for (spent, alarms), (kind, allowed) in zip(costs, budgets, strict=True):
        _say(f"healthy {kind} link: {spent:.1f} pings a minute, {alarms} false alarms")
        if spent > allowed or alarms:
            broken.append(f"budget of a {kind} link")
    beside = []
    if peers:
        for name, once in PEERS:
            for kind, inject in (
                ("blackhole, 50/s", detection.blackhole),
                ("frozen, 50/s", detection.frozen),
            ):
                told = await _repeat(once, 50, inject, SIDE_BY_SIDE, seed)
                beside.append(_summary(f"{name}: {kind}", told))
                row = beside[-1]
                _say(
                    f"{row['name']}: told {row['told']} of {row['repeats']},"
                    f" median {row['median']} s"
                )
    return {
        "rows": rows,
        "pings_a_minute": {"idle": costs[0][0], "50/s": costs[1][0]},
        "peers": beside,
        "broken": broken,
    }


def run(repeats: int, seed: int, peers: bool) -> dict[str, Any]:
    """Run it and say what was found; `peers`: the other libraries as well."""
    return asyncio.run(detecting(repeats, seed, peers))


def markdown(found: dict[str, Any]) -> list[str]:
    """The lines of a table."""
    return [
        "| case | repeats | median | max | over bound | causes |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row['name']} | {row['told']}/{row['repeats']} |"
            f" {_seconds(row['median'])} | {_seconds(row['max'])} |"
            f" {row['over_bound']} | {', '.join(row['causes'])} |"
            for row in [*found["rows"], *found["peers"]]
        ),
        "",
        *(
            f"A healthy {kind} link: {pings:.1f} pings a minute."
            for kind, pings in found["pings_a_minute"].items()
        ),
    ]


def _seconds(of: float | None) -> str:
    return "" if of is None else f"{of} s"


def _say(text: str) -> None:
    print(text, flush=True)
