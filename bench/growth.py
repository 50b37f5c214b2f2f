"""`python -m bench growth`: what a message costs on one stream, and on one of many.

As many messages over few streams as over many: 16 to a write, one stream after the
other, which is the worst case, since whatever a stream needs has left the processor's
cache when its next messages come. One process has all streams, each with a consumer.

`python -m bench.growth CONTENDER PORT STREAMS LOOP` is one contender, in a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import picows

import heartline
from bench.receivers import Clock
from bench.sender import answer, frame, serving, upgrade

STREAMS = (1, 10, 100, 1000)
CHUNK, SIZE_BYTES = 16, 256
MESSAGES = 192_000
PAUSE = 100e-6
A_HOST = 10
"""Streams to one address: so many are dialled at once."""
HOSTS = [f"127.0.1.{n + 1}" for n in range(STREAMS[-1] // A_HOST)]
TEXT = picows.WSMsgType.TEXT
CONTENDERS = ("raw picows", "heartline batches")
ROUND_TIMEOUT = 120.0
BEGIN = "begin"


# --- the sender -------------------------------------------------------------------


def _serve(pipe: Connection) -> None:
    """Upgrade whoever comes; who says BEGIN starts the play over all that are there."""
    port, watching = 0, selectors.DefaultSelector()
    for host in HOSTS:
        listening = socket.create_server((host, port), backlog=64)
        port = listening.getsockname()[1]
        watching.register(listening, selectors.EVENT_READ, None)
    pipe.send(port)
    clients: list[socket.socket] = []
    while True:
        for key, _ in watching.select():
            if key.data is None:
                client, _ = key.fileobj.accept()  # type: ignore[union-attr]
                upgrade(client)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                watching.register(client, selectors.EVENT_READ, client)
                clients.append(client)
                continue
            with contextlib.suppress(OSError):
                if said := key.data.recv(4096):
                    if answer(key.data, said):
                        _play(clients)
                    continue
            watching.unregister(key.data)
            clients.remove(key.data)
            key.data.close()


def _play(clients: list[socket.socket]) -> None:
    chunk = frame(SIZE_BYTES) * CHUNK
    for nth in range(MESSAGES // CHUNK):
        clients[nth % len(clients)].sendall(chunk)
        time.sleep(PAUSE)


# --- contenders -------------------------------------------------------------------


async def raw_picows(urls: list[str]) -> dict[str, float]:
    got = 0
    done = asyncio.get_running_loop().create_future()

    class Listener(picows.WSListener):
        def on_ws_frame(
            self, transport: picows.WSTransport, frame: picows.WSFrame
        ) -> None:
            nonlocal got
            if frame.msg_type is TEXT:
                frame.get_payload_as_utf8_text()
                got += 1
                if got == MESSAGES:
                    done.set_result(None)

    kept = [await picows.ws_connect(Listener, url) for url in urls]
    clock = Clock()
    clock.start()
    kept[0][0].send(TEXT, BEGIN)
    await done
    clock.stop()
    for transport, _ in kept:
        transport.disconnect(False)
    return clock.report()


async def heartline_batches(urls: list[str]) -> dict[str, float]:
    got = 0
    done = asyncio.get_running_loop().create_future()

    async def consume(stream: heartline.Stream) -> None:
        nonlocal got
        async for batch in stream.batches():
            got += len(batch)
            if type(batch[0]) is not heartline.Message:
                got -= sum(type(item) is not heartline.Message for item in batch)
            if got >= MESSAGES and not done.done():
                done.set_result(None)

    async with contextlib.AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(heartline.connect(url)) for url in urls
        ]
        for stream in streams:
            await stream.wait_live(timeout=60.0)
        consumers = [asyncio.create_task(consume(stream)) for stream in streams]
        clock = Clock()
        clock.start()
        streams[0].send(BEGIN)
        await done
        clock.stop()
        for consumer in consumers:
            consumer.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
    return clock.report()


RECEIVE: dict[str, Callable[[list[str]], Awaitable[dict[str, float]]]] = {
    "raw picows": raw_picows,
    "heartline batches": heartline_batches,
}


def _receive(name: str, port: str, streams: str, loop: str) -> dict[str, float]:
    urls = [f"ws://{HOSTS[nth // A_HOST]}:{port}/" for nth in range(int(streams))]
    receiving = RECEIVE[name](urls)
    if loop == "uvloop":
        import uvloop

        return uvloop.run(receiving)  # type: ignore[arg-type]
    return asyncio.run(receiving)  # type: ignore[arg-type]


# --- all of them ------------------------------------------------------------------


def measured(rounds: int, loop: str) -> dict[str, Any]:
    """Nanoseconds of CPU a message, for each number of streams; prints them."""
    _allow_files()
    found: dict[str, dict[int, list[float]]] = {
        name: {streams: [] for streams in STREAMS} for name in CONTENDERS
    }
    with serving(_serve) as port:
        for _ in range(rounds):
            for streams in STREAMS:
                for name in CONTENDERS:
                    used = _once(name, port, streams, loop)
                    found[name][streams].append(used * 1e9 / MESSAGES)
    print(f"\nns of CPU a message, {CHUNK} to a write, and times that of one stream")
    print(f"  {'':24}" + "".join(f"{streams:>16,}" for streams in STREAMS))
    report: dict[str, Any] = {}
    for name, each in found.items():
        middle = {streams: median(values) for streams, values in each.items()}
        grown = {
            streams: median(a / b for a, b in zip(values, each[1], strict=True))
            for streams, values in each.items()
        }
        cells = [f"{middle[n]:8.0f} ({grown[n]:4.2f})" for n in STREAMS]
        print(f"  {name:24}" + "".join(f"{cell:>16}" for cell in cells))
        report[name] = {"nanoseconds": middle, "times": grown, "rounds": each}
    return report


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(2 * STREAMS[-1] + 200, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _once(name: str, port: int, streams: int, loop: str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "bench.growth", name, str(port), str(streams), loop],
        capture_output=True,
        text=True,
        timeout=ROUND_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench: {name} failed\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout)
    return result["user"] + result["system"]


if __name__ == "__main__":
    print(json.dumps(_receive(*sys.argv[1:])))
