"""A stream in every phase of its life, to be ended there.

Run as a program it enters them all at once, says so, and waits for a signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import uvloop

import heartline
from heartline import Phase
from heartline.wire.resolve import SystemResolver
from loopback import open_sockets

Options = dict[str, Any]


class Hanging:
    """A resolver that never answers."""

    async def resolve(self, host: str, port: int) -> list[Any]:
        await asyncio.Event().wait()
        return []


def hang(*_: object, **__: object) -> Any:
    threading.Event().wait()


async def never() -> list[str]:
    await asyncio.Event().wait()
    return []


async def stubborn() -> list[str]:
    """It takes no cancellation for an answer, not the first five times."""
    for _ in range(5):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    return []


PATIENT = heartline.Backoff(base=3600, cap=3600, gentle_base=3600)
SMALL = heartline.Inbox(limit=10, policy="block")

# Phase -> what the venue does, how we connect, which phase that leads to.
PHASES: dict[str, tuple[str, Options, Phase]] = {
    "resolving": ("", {"resolver": Hanging()}, Phase.CONNECTING),
    "resolving-thread": (
        "",
        {"resolver": SystemResolver(hang)},
        Phase.CONNECTING,
    ),
    "connecting": ("drop_filter", {}, Phase.CONNECTING),
    "upgrading": ("hang", {}, Phase.CONNECTING),
    "syncing": ("", {"on_open": never}, Phase.SYNCING),
    "open": ("", {}, Phase.OPEN),
    "full": ("deaf", {"outbox_limit_bytes": 200_000}, Phase.OPEN),
    "backoff": ("refuse", {"backoff": PATIENT}, Phase.BACKOFF),
    "paused": ("burst", {"inbox": SMALL}, Phase.OPEN),
}


def address(phase: str, url: str) -> str:
    """Where to connect: a name, if it is to be looked up."""
    return url.replace("127.0.0.1", "venue.invalid") if "resolv" in phase else url


async def enter(phase: str, stream: heartline.Stream) -> None:
    """Wait until the stream has come that far; it is read until it pauses."""
    wanted: Callable[[], bool]
    if phase == "paused":
        wanted = lambda: "PAUSED" in stream.status.conditions  # noqa: E731
    elif phase == "connecting":
        wanted = lambda: stream._driver.session._attempt.stage == "connecting"  # noqa: E731
    elif phase == "upgrading":
        wanted = lambda: stream._driver.session._attempt.stage == "upgrading"  # noqa: E731
    else:
        wanted = lambda: stream.status.phase is PHASES[phase][2]  # noqa: E731
    end = time.monotonic() + 10
    while not wanted():
        assert time.monotonic() < end, (phase, stream.status)
        await asyncio.sleep(0.005)
    if phase == "full":
        while True:
            try:
                stream.send("x" * 20_000)
            except heartline.OutboxFull:
                break


async def stay(phase: str, url: str, ready: asyncio.Event) -> None:
    async with heartline.connect(address(phase, url), **PHASES[phase][1]) as stream:
        await enter(phase, stream)
        ready.set()
        await asyncio.Event().wait()


async def main(urls: dict[str, str]) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    before, threads = open_sockets(), threading.active_count()
    try:
        async with asyncio.TaskGroup() as group:
            gates = {phase: asyncio.Event() for phase in urls}
            for phase, url in urls.items():
                group.create_task(stay(phase, url, gates[phase]))
            for gate in gates.values():
                await gate.wait()
            print("ready", flush=True)
    finally:
        task.uncancel()
        await asyncio.sleep(0)  # transports close their sockets in the next pass
        left = {
            "tasks": len(asyncio.all_tasks()) - 1,
            "sockets": len(open_sockets() - before),
            # The one look-up that hangs in the system's resolver cannot be ended.
            "threads": threading.active_count() - threads,
        }
        print(json.dumps(left), flush=True)


if __name__ == "__main__":
    # A shell starts its background jobs with SIGINT ignored, and we inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    given = json.loads(sys.argv[1])
    factory = uvloop.new_event_loop if sys.argv[2] == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(given))
