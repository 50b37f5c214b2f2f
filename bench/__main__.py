"""`python -m bench`: CPU per message of heartline beside its neighbours.

All contenders take turns within a round, and every round gives ratios of its own: on
a machine that others use too, the median of ratios holds still where seconds do not.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench.receivers import CONTENDERS
from bench.sender import Load, sending

RESULTS = Path(__file__).parent / "results"
REFERENCE = "raw picows"
GOAL = 1.15
"""Times raw picows, for batches where a read holds 16 frames or more."""
ROUND_TIMEOUT = 120.0

LOADS = {
    "64 frames a read": Load(messages=192_000, chunk=64),
    "16 frames a read": Load(messages=96_000, chunk=16),
    "1 frame a read": Load(messages=8_000, chunk=1),
    "flood": Load(messages=192_000, chunk=64, pause=0.0),
}


def measure(name: str, url: str, load: Load, loop: str, *more: str) -> dict[str, float]:
    """Run one contender once, in a fresh process."""
    command = [sys.executable, "-m", "bench.receivers", name, url]
    done = subprocess.run(
        [*command, str(load.messages), loop, *more],
        capture_output=True,
        text=True,
        timeout=ROUND_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench: {name} failed\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout)
    if result["messages"] != load.messages:
        raise SystemExit(
            f"bench: {name} got {result['messages']} messages of {load.messages}"
        )
    return result


def run(
    load: Load, names: list[str], *, rounds: int, loop: str
) -> dict[str, dict[str, Any]]:
    """Measure every contender in every round; medians, and ratios round by round."""
    nanoseconds: dict[str, list[float]] = {name: [] for name in names}
    system: dict[str, list[float]] = {name: [] for name in names}
    frames_a_read: dict[str, float] = {}
    with sending(load) as url:
        for name in names:
            counted = measure(name, url, load, loop, "count")
            frames_a_read[name] = load.messages / counted["reads"]
        for number in range(rounds):
            # Backwards every other round: whoever warms the machine, warms for all.
            for name in names if number % 2 == 0 else reversed(names):
                result = measure(name, url, load, loop)
                per_message = 1e9 / load.messages
                both = result["user"] + result["system"]
                nanoseconds[name].append(both * per_message)
                system[name].append(result["system"] * per_message)
    reference = nanoseconds[REFERENCE]
    return {
        name: {
            "nanoseconds": round(median(nanoseconds[name]), 1),
            "of_which_system": round(median(system[name]), 1),
            "ratio": round(
                median(
                    a / b for a, b in zip(nanoseconds[name], reference, strict=True)
                ),
                3,
            ),
            "frames_a_read": round(frames_a_read[name], 1),
            "rounds": [round(value, 1) for value in nanoseconds[name]],
        }
        for name in names
    }


def show(title: str, results: dict[str, dict[str, Any]]) -> None:
    print(f"\n{title}")
    print(f"  {'':28}{'ns/message':>12}{'system':>9}{'ratio':>8}{'frames/read':>13}")
    goal = {"heartline batches": f"  goal {GOAL}"}
    for name, result in results.items():
        print(
            f"  {name:28}{result['nanoseconds']:12.0f}{result['of_which_system']:9.0f}"
            f"{result['ratio']:8.2f}{result['frames_a_read']:13.1f}{goal.get(name, '')}"
        )


def machine() -> dict[str, str]:
    """Describe what the figures were taken on."""
    model = platform.processor() or "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("picows", "msgspec", "websockets")},
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--load", choices=LOADS, action="append", help="default: all")
    parser.add_argument(
        "--only", choices=CONTENDERS, action="append", help="besides raw picows"
    )
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    wanted = {REFERENCE, *(asked.only or CONTENDERS)}
    names = [name for name in CONTENDERS if name in wanted]
    report: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "loop": asked.loop,
        "loads": {},
    }
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    print(f"text of 256 B, {asked.rounds} rounds, {asked.loop}")
    for title in asked.load or LOADS:
        load = LOADS[title]
        results = run(load, names, rounds=asked.rounds, loop=asked.loop)
        show(title, results)
        report["loads"][title] = {"load": asdict(load), "contenders": results}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{report['at'].replace(':', '')}-{asked.loop}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {path.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
