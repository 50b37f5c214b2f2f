"""`python -m bench`: CPU per message of heartline beside its neighbours.

All contenders take turns within a round, and every round gives ratios of its own: on
a machine that others use too, the median of ratios holds still where seconds do not.
`tls` asks the same over TLS, `latency` how long a message is under way, `growth` what
a message costs on one stream of many, and `venues` what a venue's contract costs it.
`idle-clients` and `broadcast` ask what a server's client costs, and a message to all.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench.receivers import CONTENDERS
from bench.sender import Load, sending
from bench.servers import SERVERS

RESULTS = Path(__file__).parent / "results"
REFERENCE = "raw picows"
GOALS = {"heartline batches": 0.6, "heartline async for": 0.8}
"""Times raw picows, where a read holds 16 frames or more."""
GOAL_TLS = 1.10
ROUND_TIMEOUT = 120.0

LOADS = {
    "64 frames a read": Load(messages=192_000, chunk=64),
    "16 frames a read": Load(messages=96_000, chunk=16),
    "1 frame a read": Load(messages=8_000, chunk=1),
    "flood": Load(messages=192_000, chunk=64, pause=0.0),
}
SERVING = ("idle-clients", "broadcast")
TLS_LOADS = ("64 frames a read", "16 frames a read", "1 frame a read")
TLS_CONTENDERS = ("heartline batches", "heartline async for", "websockets")


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
    load: Load,
    names: list[str],
    *,
    rounds: int,
    loop: str,
    files: tuple[Path, Path] | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure every contender in every round; medians, and ratios round by round.

    `files` are a certificate with its key and its authority: then it is over TLS, and
    reads are not counted.
    """
    certificate, trust = files or (None, None)
    more = () if trust is None else (str(trust),)
    nanoseconds: dict[str, list[float]] = {name: [] for name in names}
    system: dict[str, list[float]] = {name: [] for name in names}
    frames_a_read: dict[str, float] = {}
    with sending(load, certificate=certificate) as url:
        for name in names if files is None else ():
            counted = measure(name, url, load, loop, "count")
            frames_a_read[name] = load.messages / counted["reads"]
        for number in range(rounds):
            # Backwards every other round: whoever warms the machine, warms for all.
            for name in names if number % 2 == 0 else reversed(names):
                result = measure(name, url, load, loop, *more)
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
            "frames_a_read": round(frames_a_read.get(name, 0.0), 1),
            "rounds": [round(value, 1) for value in nanoseconds[name]],
        }
        for name in names
    }


def show(
    title: str, results: dict[str, dict[str, Any]], goals: dict[str, float]
) -> None:
    print(f"\n{title}")
    print(f"  {'':28}{'ns/message':>12}{'system':>9}{'ratio':>8}{'frames/read':>13}")
    for name, result in results.items():
        goal = f"  goal {goals[name]}" if name in goals else ""
        print(
            f"  {name:28}{result['nanoseconds']:12.0f}{result['of_which_system']:9.0f}"
            f"{result['ratio']:8.2f}{result['frames_a_read']:13.1f}{goal}"
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
    kinds = ("plain", "tls", "latency", "growth", "venues", *SERVING)
    parser.add_argument("what", nargs="?", choices=kinds, default="plain")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--load", choices=LOADS, action="append", help="default: all")
    parser.add_argument(
        "--only", choices=CONTENDERS, action="append", help="besides raw picows"
    )
    parser.add_argument(
        "--server", choices=SERVERS, action="append", help="default: all"
    )
    parser.add_argument("--clients", type=int, help="of each server")
    return parser.parse_args()


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Plain or over TLS; prints as it goes."""
    over_tls = asked.what == "tls"
    wanted = {REFERENCE, *(asked.only or (TLS_CONTENDERS if over_tls else CONTENDERS))}
    names = [name for name in CONTENDERS if name in wanted]
    goals = dict.fromkeys(GOALS, GOAL_TLS) if over_tls else GOALS
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="heartline-bench-") as directory:
        files = certificates(Path(directory)) if over_tls else None
        for title in asked.load or (TLS_LOADS if over_tls else LOADS):
            load = LOADS[title]
            results = run(
                load, names, rounds=asked.rounds, loop=asked.loop, files=files
            )
            show(title, results, {} if load.chunk == 1 else goals)
            found[title] = {"load": asdict(load), "contenders": results}
    return found


def certificates(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 with its key, and who signed it; for this run."""
    import trustme

    authority = trustme.CA()
    certificate, trust = directory / "certificate.pem", directory / "authority.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(trust))
    return certificate, trust


def main() -> None:
    from bench import growth, latency, serving, venues

    asked = arguments()
    report: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "loop": asked.loop,
    }
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    what = "recordings of venues" if asked.what == "venues" else "text of 256 B"
    print(f"{what}, {asked.rounds} rounds, {asked.loop}")
    match asked.what:
        case "latency":
            report["latency"] = latency.measured(asked.rounds, asked.loop)
        case "growth":
            report["growth"] = growth.measured(asked.rounds, asked.loop)
        case "venues":
            report["venues"] = venues.measured(asked.rounds)
        case "idle-clients" | "broadcast":
            report[asked.what] = serving.measured(
                asked.what,
                rounds=asked.rounds,
                loop=asked.loop,
                clients=asked.clients,
                only=asked.server,
            )
        case _:
            report["loads"] = measured(asked)
    RESULTS.mkdir(exist_ok=True)
    name = f"{report['at'].replace(':', '')}-{asked.what}-{asked.loop}.json"
    path = RESULTS / name
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {path.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
