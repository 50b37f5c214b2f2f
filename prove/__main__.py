"""`make prove`: run the long proofs, write prove/results/prove.{json,md}."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import detection, fuzz, hothot, lab, relaying, serving, venues
from .calm import calm
from .detection import Told

RESULTS = Path(__file__).resolve().parent / "results"
SIDE_BY_SIDE = 6
PROOFS = ("detection", "calm", "fuzz", "serving", "relay", "hothot", "venues", "lab")

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


async def repeat(
    once: Once, rate: float, inject: detection.Inject, repeats: int, seed: int
) -> list[Told]:
    gate = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(nth: int) -> Told:
        async with gate:
            return await once(rate, inject, seed + nth)

    return list(await asyncio.gather(*(one(nth) for nth in range(repeats))))


def summary(name: str, told: list[Told]) -> dict[str, Any]:
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


async def prove_detection(repeats: int, seed: int, peers: bool) -> dict[str, Any]:
    rows, broken = [], []
    for name, rate, inject, median, most in ROWS:
        told = await repeat(detection.heartline_once, rate, inject, repeats, seed)
        row = summary(name, told)
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
                told = await repeat(once, 50, inject, SIDE_BY_SIDE, seed)
                beside.append(summary(f"{name}: {kind}", told))
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


def machine() -> dict[str, Any]:
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        model = platform.processor()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "utc": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
    }


def _say(text: str) -> None:
    print(text, flush=True)


def _markdown(found: dict[str, Any]) -> str:
    lines = ["# Proofs", "", f"Machine: {json.dumps(found['machine'])}", ""]
    if rows := found.get("detection"):
        lines += [
            "| case | repeats | median | max | over bound | causes |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['name']} | {row['told']}/{row['repeats']} | {row['median']} s |"
            f" {row['max']} s | {row['over_bound']} | {', '.join(row['causes'])} |"
            for row in [*rows["rows"], *rows["peers"]]
        ]
        lines += ["", f"Pings a minute on a healthy link: {rows['pings_a_minute']}", ""]
    if calm_row := found.get("calm"):
        lines += [
            f"Calm: {calm_row['messages']} messages, {len(calm_row['streams'])} streams"
            f" at {calm_row['speed']}x in {calm_row['seconds']} s beside"
            f" {calm_row['busy_loops']} busy loops (seed {calm_row['seed']}):"
            f" {calm_row['false_alarms']} false alarms.",
            "",
        ]
    if serving_rows := found.get("serving"):
        lines += serving.markdown(serving_rows)
    if fuzzed := found.get("fuzz"):
        lines += ["", fuzz.told(fuzzed)]
    lines += [
        f"\n{proof.told(found[name])}"
        for name, proof in (("relay", relaying), ("hothot", hothot))
        if name in found
    ]
    if venues_rows := found.get("venues"):
        lines += ["", *venues.markdown(venues_rows)]
    return "\n".join(lines) + "\n"


def _lab(asked: argparse.Namespace, lacks: list[str]) -> list[str]:
    """The fault lab; without what it needs it is left out, and that is said."""
    if lacks:
        _say("lab: not tried: it needs " + "; and ".join(lacks))
        return []
    return lab.run(
        machine(),
        repeats=asked.lab_repeats,
        seed=asked.seed,
        only=asked.only,
        side_by_side=asked.side_by_side,
        with_rivals=not asked.no_peers,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m prove", description=__doc__)
    parser.add_argument("proof", nargs="*", choices=[*PROOFS, []])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--lab-repeats", type=int, default=20)
    parser.add_argument("--only", action="append", default=[], metavar="ROW")
    parser.add_argument("--side-by-side", type=int, default=None)
    parser.add_argument("--calm-seconds", type=float, default=600.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of fuzz")
    parser.add_argument("--hothot-seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--no-peers", action="store_true")
    asked = parser.parse_args()
    # Stopped from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    proofs = asked.proof or list(PROOFS)
    lacks = lab.missing() if "lab" in proofs else []
    # The lab asks the other libraries more, and in the same run as ours.
    peers = not asked.no_peers and ("lab" not in proofs or bool(lacks))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "prove.json"
    found: dict[str, Any] = {"machine": machine()}
    broken: list[str] = []
    if "detection" in proofs:
        found["detection"] = asyncio.run(
            prove_detection(asked.repeats, asked.seed, peers)
        )
        broken += found["detection"]["broken"]
    if "calm" in proofs:
        found["calm"] = asyncio.run(calm(asked.calm_seconds, asked.seed))
        row = found["calm"]
        _say(
            f"calm: {row['messages']} messages of {len(row['streams'])} streams at"
            f" {row['speed']:g}x for {row['seconds']:g} s beside {row['busy_loops']}"
            f" busy loops, seed {row['seed']}: {row['false_alarms']} false alarms"
        )
        broken += ["calm"] if row["false_alarms"] else []
    if "fuzz" in proofs:
        found["fuzz"] = fuzz.fuzz(asked.minutes, asked.seed, asked.only)
        _say(fuzz.told(found["fuzz"]))
        broken += found["fuzz"]["broken"]
    if "serving" in proofs:
        found["serving"] = serving.run(seed=asked.seed)
        broken += found["serving"]["broken"]
    if "relay" in proofs:
        found["relay"] = relaying.run(asked.seed)
        broken += found["relay"]["broken"]
    if "hothot" in proofs:
        found["hothot"] = hothot.run(asked.hothot_seconds, asked.seed)
        broken += found["hothot"]["broken"]
    if "venues" in proofs:
        found["venues"] = venues.run(asked.seed)
        broken += found["venues"]["broken"]
    if {*proofs} - {"lab"}:
        # Read as late as this: another proof may have ended meanwhile.
        found = (json.loads(path.read_text()) if path.exists() else {}) | found
        path.write_text(json.dumps(found, indent=1) + "\n")
        (RESULTS / "prove.md").write_text(_markdown(found))
    if "lab" in proofs:
        broken += _lab(asked, lacks)
    _say("broken: " + ", ".join(broken) if broken else "every promise kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
