"""No false alarm: recorded traffic, looped and sped up, beside two busy loops."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import heartline

SPEED = 4.0


def burn(seed: int) -> None:
    """Keep one core busy until told otherwise, with pauses too short to rest."""
    draw = random.Random(seed)
    while True:
        sum(draw.random() for _ in range(10_000))


def recordings() -> list[Path]:
    """Real traffic where it is at hand, the project's own sample elsewhere."""
    root = Path(__file__).resolve().parent.parent
    found = sorted((root.parent / "shared" / "captures").glob("*.jsonl.gz"))
    sample = root / "src" / "heartline" / "testing" / "data" / "sample.jsonl.gz"
    return found or [sample]


async def serve(path: Path) -> tuple[asyncio.subprocess.Process, str]:
    command = ["replay", str(path), "--loop", "--speed", str(SPEED), "--port", "0"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartline", *command, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    url = next(word for word in line.split() if word.startswith("ws://"))
    return process, url.rstrip(".,")


async def watch(name: str, url: str, seconds: float) -> dict[str, Any]:
    told: Counter[str] = Counter()
    alarms: list[str] = []

    def on_event(event: Any) -> None:
        kind = type(event).__name__
        told[kind] += 1
        if kind == "Lost":
            alarms.append(f"{event.cause}: {event.evidence or event.reason}")

    async with heartline.connect(url, on_event=on_event, name=name) as stream:

        async def drain() -> None:
            async for _ in stream.batches():
                pass

        reader = asyncio.create_task(drain())
        await asyncio.sleep(seconds)
        status = stream.status
        reader.cancel()
    return {
        "recording": name,
        "messages": status.counts.messages,
        "pings": status.counts.pings,
        "doubts": told["Doubted"],
        "stalls": told["Stalled"],
        "dropped": status.counts.dropped,
        "false_alarms": alarms,
    }


async def calming(seconds: float, seed: int) -> dict[str, Any]:
    """All recordings at once, each from a process of its own, for `seconds`."""
    context = multiprocessing.get_context("spawn")
    loops = [
        context.Process(target=burn, args=(seed + nth,), daemon=True)
        for nth in range(2)
    ]
    served = []
    began = time.monotonic()
    try:
        for path in recordings():
            served.append((path.name.removesuffix(".jsonl.gz"), *await serve(path)))
        for loop in loops:
            loop.start()
        rows = await asyncio.gather(
            *(watch(name, url, seconds) for name, _, url in served)
        )
    finally:
        for loop in loops:
            if loop.pid is not None:
                loop.kill()
                loop.join()
        for _, process, _ in served:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return {
        "seconds": seconds,
        "speed": SPEED,
        "seed": seed,
        "busy_loops": len(loops),
        "wall_seconds": round(time.monotonic() - began, 1),
        "streams": rows,
        "messages": sum(row["messages"] for row in rows),
        "false_alarms": sum(len(row["false_alarms"]) for row in rows),
    }


def run(seconds: float, seed: int) -> dict[str, Any]:
    """Run it and say what was found."""
    found = asyncio.run(calming(seconds, seed))
    alarms = found["false_alarms"]
    found["broken"] = [f"calm: {alarms} false alarms"] if alarms else []
    print(told(found), flush=True)
    return found


def told(found: dict[str, Any]) -> str:
    """One line."""
    return (
        f"Calm: {found['messages']:,} messages, {len(found['streams'])} streams at"
        f" {found['speed']:g}x in {found['seconds']:g} s beside"
        f" {found['busy_loops']} busy loops (seed {found['seed']}):"
        f" {found['false_alarms']} false alarms."
    )
