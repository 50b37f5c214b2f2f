"""`python -m bench.idle`: what streams cost on which nothing happens.

One process holds the streams, another serves them and answers pings. Each stream is
dialled as a user dials it, so a host takes ten at once: they are spread over addresses
of the loopback network. Memory is what this process grew by, kernel buffers excluded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import multiprocessing
import resource
import socket
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import picows

import heartline
from bench.__main__ import machine

CLOSE = picows.WSMsgType.CLOSE
STREAMS_A_HOST = 10
SETTLE = 12.0
"""Seconds between the last dial and the measurement: the first pings are over."""


class Silent(picows.WSListener):
    """Answers pings and closes, and that is all."""

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is CLOSE:
            transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()


def addresses(streams: int) -> list[str]:
    count = -(-streams // STREAMS_A_HOST)
    return [f"127.0.{n // 250}.{n % 250 + 1}" for n in range(count)]


async def _serve(hosts: list[str], pipe: Connection) -> None:
    port, sockets = 0, []
    for host in hosts:
        listening = socket.create_server((host, port), backlog=64)
        port = listening.getsockname()[1]
        sockets.append(listening)
    for listening in sockets:
        await picows.ws_create_server(
            lambda request: Silent(), sock=listening, enable_auto_ping=False
        )
    pipe.send(port)
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)


def serve(hosts: list[str], pipe: Connection) -> None:
    with contextlib.suppress(EOFError):
        asyncio.run(_serve(hosts, pipe))


@contextlib.contextmanager
def served(hosts: list[str]) -> Iterator[int]:
    """The port on which a process of its own answers at all `hosts`."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(hosts, theirs), daemon=True
    )
    server.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        server.join(10)
        server.kill()


def more_files(streams: int) -> None:
    """Let this process open as many sockets, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * streams + 200
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))


def memory_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(streams: int, interval: int, seconds: float) -> dict[str, object]:
    hosts = addresses(streams)
    policy = heartline.Liveness(kernel_interval=interval)
    lost = 0

    def on_event(event: object) -> None:
        nonlocal lost
        lost += type(event).__name__ == "Lost"

    async with contextlib.AsyncExitStack() as stack:
        port = stack.enter_context(served(hosts))

        async def dial(nth: int) -> heartline.Stream:
            url = f"ws://{hosts[nth // STREAMS_A_HOST]}:{port}/"
            stream = await stack.enter_async_context(
                heartline.connect(url, liveness=policy, on_event=on_event)
            )
            await stream.wait_live(timeout=30.0)
            return stream

        first = [await dial(nth) for nth in range(min(10, streams))]
        before = memory_bytes()
        more = [await dial(nth) for nth in range(len(first), streams)]
        grown = memory_bytes() - before
        await asyncio.sleep(SETTLE)
        began, used = time.monotonic(), cpu()
        await asyncio.sleep(seconds)
        share = (cpu() - used) / (time.monotonic() - began)
        live = sum(stream.status.live for stream in first + more)
    return {
        "streams": streams,
        "kernel_interval": interval,
        "core_percent": round(100 * share, 2),
        "core_percent_per_1000": round(100 * share * 1000 / streams, 2),
        "kib_a_stream": round(grown / 1024 / max(1, len(more)), 1),
        "live": live,
        "lost": lost,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--interval", type=int, action="append", help="default: 1, 10")
    asked = parser.parse_args()
    more_files(asked.streams)
    print(json.dumps(machine()))
    broken = False
    for interval in asked.interval or [1, 10]:
        found = asyncio.run(measure(asked.streams, interval, asked.seconds))
        print(json.dumps(found), flush=True)
        broken = broken or found["live"] != asked.streams or bool(found["lost"])
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
