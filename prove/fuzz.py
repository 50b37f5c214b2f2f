"""`python -m prove fuzz`: hostile messages against every endpoint of every profile.

A venue is simulated from its profile, beside recordings where they are at hand. On the
way to the real desk, classifier, feed and ledger its messages are made worse. Time is
virtual, and all dice come from one seed: what fails can be played again. Only the
wall clock in what we send is another then.
"""

from __future__ import annotations

import argparse
import base64
import gc
import gzip
import json
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from heartline.venue.load import load, names

from .fuzzed import World
from .hostile import Data
from .recordings import CAPTURES, RECORDED

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "tests" / "venue_samples.json"
MOST_RECORDED = 1500


def places() -> list[str]:
    """Every endpoint of every profile that ships."""
    return [f"{name}/{each}" for name in names() for each in load(name).endpoints]


@cache
def samples(place: str) -> tuple[Data, ...]:
    """What was recorded of an endpoint, and written down in the tests."""
    found: list[Data] = []
    for recording, of in RECORDED.items():
        path = CAPTURES / f"{recording}.jsonl.gz"
        if of == place and path.exists():
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                records = [r for r in map(json.loads, lines) if r["dir"] == "in"]
            step = max(1, len(records) // MOST_RECORDED)
            found += [
                each["text"] if "text" in each else base64.b64decode(each["b64"])
                for each in (*records[:100], *records[100::step])
            ]
    if SAMPLES.exists():
        for sample in json.loads(SAMPLES.read_text()).get(place, ()):
            for key in ("received", "answer", "contiguous"):
                told = sample.get(key, [])
                found += told if isinstance(told, list) else [told]
    return tuple(found)


def one_life(place: str, seed: str) -> World:
    """One stream, from its first link to its last; raises what is wrong."""
    dice = random.Random(f"{seed} {place}")
    world = World(place, dice, samples=samples(place))
    try:
        world.live()
    finally:
        world.close()
    return world


def fuzz(minutes: float, seed: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """Lives of all endpoints in turn, for so many minutes; what was found."""
    began, counts = time.monotonic(), Counter[str]()
    chosen = [place for place in places() if place in only] or places()
    broken: list[str] = []
    memory: list[int] = []
    turn = 0
    while not turn or time.monotonic() - began < minutes * 60:
        for place in chosen:
            if turn and time.monotonic() - began >= minutes * 60:
                break
            try:
                world = one_life(place, f"{seed}.{turn}")
            except Exception:
                traceback.print_exc()
                command = f"python -m prove.fuzz --seed {seed}.{turn} --only {place}"
                print(f"fuzz: broken; again: {command}", flush=True)
                broken.append(command)
                continue
            counts["messages"] += world.messages
            counts["malformed"] += world.bad
            counts["unknown"] += world.desk.feed.unknown
            counts["lives"] += 1
            counts["recorded"] += bool(samples(place))
        memory.append(_resident_mb())
        turn += 1
    return {
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "endpoints": len(chosen),
        **counts,
        "memory_mb": memory,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "broken": broken,
    }


def _resident_mb() -> int:
    gc.collect()
    path = Path("/proc/self/statm")
    if not path.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int(path.read_text().split()[1]) * resource.getpagesize() >> 20


def told(found: dict[str, Any]) -> str:
    """The outcome in one line."""
    memory = found["memory_mb"]
    return (
        f"fuzz: {found['messages']:,} messages to {found['endpoints']} endpoints in"
        f" {found['seconds']:g} s, {found['malformed']:,} of them malformed and"
        f" {found['unknown']:,} unknown; memory after the first turn {memory[0]} MB,"
        f" after the last {memory[-1]} MB, {found['peak_mb']} MB at most;"
        f" broken: {len(found['broken'])} (seed {found['seed']})"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m prove.fuzz", description=__doc__)
    parser.add_argument("--seed", required=True, help="as it was told: 20261122.3")
    parser.add_argument("--only", required=True, metavar="PLACE")
    asked = parser.parse_args()
    world = one_life(asked.only, asked.seed)
    print(f"{asked.only}: {world.messages} messages, nothing is broken")
    return 0


if __name__ == "__main__":
    sys.exit(main())
