"""`python -m bench.stalled`: what follows a stall of a loop that holds many streams.

One process holds idle streams, another serves them. The loop of the first is blocked
once; then it is counted how often each stream is told of a stall, until when, and how
long the loop was away from its sockets at most. One stall is to be told once to each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter

import heartline
from bench.__main__ import machine
from bench.idle import SETTLE, STREAMS_A_HOST, addresses, cpu, more_files, served
from heartline.events import Event, Lost, Stalled

WATCHED = 5.0
"""Seconds that are watched after the stall."""
BEAT = 0.001


class Watch:
    """What the streams are told, and how long the loop is away between two beats."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.told: Counter[str] = Counter()
        self.told_last_at = 0.0
        self.lost = 0
        self.longest = 0.0
        self._loop = loop
        self._beat_at = time.monotonic()

    def on_event(self, stream: str, event: Event) -> None:
        if isinstance(event, Stalled):
            self.told[stream] += 1
            self.told_last_at = time.monotonic()
        self.lost += isinstance(event, Lost)

    def begin(self) -> None:
        self.told.clear()
        self._beat_at = time.monotonic()
        self._loop.call_soon(self._beat)

    def _beat(self) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - self._beat_at)
        self._beat_at = now
        self._loop.call_later(BEAT, self._beat)


async def measure(streams: int, seconds: float) -> dict[str, object]:
    hosts = addresses(streams)
    watch = Watch(asyncio.get_running_loop())
    async with contextlib.AsyncExitStack() as stack:
        port = stack.enter_context(served(hosts))

        async def dial(nth: int) -> heartline.Stream:
            name = f"stream {nth}"
            stream = await stack.enter_async_context(
                heartline.connect(
                    f"ws://{hosts[nth // STREAMS_A_HOST]}:{port}/",
                    name=name,
                    on_event=lambda event: watch.on_event(name, event),
                )
            )
            await stream.wait_live(timeout=30.0)
            return stream

        held = [await dial(nth) for nth in range(streams)]
        await asyncio.sleep(SETTLE)
        time.sleep(seconds)  # noqa: ASYNC251 - the stall that is to be looked at
        stalled_until, used = time.monotonic(), cpu()
        watch.begin()
        await asyncio.sleep(WATCHED)
        used = cpu() - used
        live = sum(stream.status.live for stream in held)
        told = [watch.told[f"stream {nth}"] for nth in range(streams)]
    return {
        "streams": streams,
        "stalled": seconds,
        "told_mean": round(sum(told) / streams, 2),
        "told_most": max(told),
        "told_until": round(watch.told_last_at - stalled_until, 2),
        "longest_pass": round(watch.longest, 3),
        "cpu": round(used, 2),
        "live": live,
        "lost": watch.lost,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.stalled", description=__doc__
    )
    parser.add_argument("--streams", type=int, action="append", help="default: 1000")
    parser.add_argument("--seconds", type=float, default=0.3, help="of the stall")
    asked = parser.parse_args()
    print(json.dumps(machine()))
    broken = False
    for streams in asked.streams or [1000]:
        more_files(streams)
        found = asyncio.run(measure(streams, asked.seconds))
        print(json.dumps(found), flush=True)
        broken = broken or found["live"] != streams or bool(found["lost"])
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
