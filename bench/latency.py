"""`python -m bench latency`: from the sender's stamp in the payload to the consumer.

One stream, 10,000 messages a second, both processes on this machine and so on one
monotonic clock. Each message is stamped just before its own write. What wakes late
sends all that is due, to every contender alike.

`python -m bench.latency CONTENDER URL LOOP` is one contender, in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import picows

import heartline
from bench.sender import answer, serving, upgrade

RATE = 10_000
SECONDS, WARM_UP = 4.0, 1.0
"""How long is measured, and how long it runs before."""
LISTEN_EVERY = 100
"""Messages after which the sender answers what it was asked, as a peer must."""
SIZE_BYTES, STAMP_DIGITS = 256, 20
GOAL = 1.3
"""Times picows, at the p99."""
REFERENCE = "raw picows"
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
TEXT, CLOSE = picows.WSMsgType.TEXT, picows.WSMsgType.CLOSE
CLOSE_1000 = b"\x88\x02\x03\xe8"
ROUND_TIMEOUT = 60.0


# --- the sender -------------------------------------------------------------------


def _serve(pipe: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pipe.send(listening.getsockname()[1])
        while True:
            client, _ = listening.accept()
            with client, contextlib.suppress(OSError):
                upgrade(client)
                _send(client)


def _send(client: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answer(client, client.recv(4096))  # the receiver is ready
    head = b"\x81\x7e" + SIZE_BYTES.to_bytes(2, "big")
    rest = b"x" * (SIZE_BYTES - STAMP_DIGITS)
    due, step = time.monotonic_ns(), 1_000_000_000 // RATE
    for nth in range(int((WARM_UP + SECONDS) * RATE)):
        if nth % LISTEN_EVERY == 0:
            with contextlib.suppress(BlockingIOError):
                answer(client, client.recv(4096, socket.MSG_DONTWAIT))
        due += step
        early = due - time.monotonic_ns()
        if early > 0:
            time.sleep(early / 1e9)
        stamp = b"%020d" % time.monotonic_ns()
        client.sendall(head + stamp + rest)
    client.sendall(CLOSE_1000)
    while client.recv(4096):
        pass


# --- contenders -------------------------------------------------------------------


async def raw_picows(url: str, found: array[int]) -> None:
    done = asyncio.get_running_loop().create_future()
    now, keep = time.monotonic_ns, found.append

    class Listener(picows.WSListener):
        def on_ws_frame(
            self, transport: picows.WSTransport, frame: picows.WSFrame
        ) -> None:
            if frame.msg_type is TEXT:
                keep(now() - int(frame.get_payload_as_utf8_text()[:STAMP_DIGITS]))
            elif frame.msg_type is CLOSE:
                done.set_result(None)

    transport, _ = await picows.ws_connect(Listener, url)
    transport.send(TEXT, b"begin")
    await done
    transport.disconnect(False)


async def batches(url: str, found: array[int]) -> None:
    now, keep, kind = time.monotonic_ns, found.append, heartline.Message
    async with heartline.connect(url) as stream:
        await stream.wait_live(timeout=5.0)
        stream.send("begin")
        async for batch in stream.batches():
            for item in batch:
                if type(item) is kind:
                    keep(now() - int(item.data[:STAMP_DIGITS]))
            if len(found) >= int((WARM_UP + SECONDS) * RATE):
                return


async def async_for(url: str, found: array[int]) -> None:
    now, keep, kind = time.monotonic_ns, found.append, heartline.Message
    async with heartline.connect(url) as stream:
        await stream.wait_live(timeout=5.0)
        stream.send("begin")
        async for item in stream:
            if type(item) is kind:
                keep(now() - int(item.data[:STAMP_DIGITS]))
                if len(found) >= int((WARM_UP + SECONDS) * RATE):
                    return


CONTENDERS: dict[str, Callable[[str, array[int]], Awaitable[None]]] = {
    REFERENCE: raw_picows,
    "heartline batches": batches,
    "heartline async for": async_for,
}


def _receive(name: str, url: str, loop: str) -> dict[str, float]:
    found = array("q")
    contender = CONTENDERS[name](url, found)
    if loop == "uvloop":
        import uvloop

        uvloop.run(contender)
    else:
        asyncio.run(contender)
    measured = sorted(found[int(WARM_UP * RATE) :])
    wanted = int(SECONDS * RATE)
    if len(measured) != wanted:
        raise SystemExit(f"bench: {name} got {len(measured)} messages of {wanted}")
    return {
        share: measured[min(wanted - 1, int(wanted * part))] / 1000
        for share, part in SHARES.items()
    }


# --- all of them ------------------------------------------------------------------


def measured(rounds: int, loop: str) -> dict[str, Any]:
    """Microseconds of every contender: the medians of its rounds; prints them."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with serving(_serve) as port:
        for number in range(rounds):
            names = list(CONTENDERS)
            for name in names if number % 2 == 0 else reversed(names):
                rows[name].append(_once(name, f"ws://127.0.0.1:{port}/", loop))
    print(f"\nmicroseconds from the stamp to the consumer, {RATE:,} messages a second")
    print(f"  {'':24}" + "".join(f"{share:>10}" for share in SHARES) + "  p99 ratio")
    report: dict[str, Any] = {}
    for name, each in rows.items():
        middle = {share: median(row[share] for row in each) for share in SHARES}
        ratio = median(
            row["p99"] / other["p99"]
            for row, other in zip(each, rows[REFERENCE], strict=True)
        )
        goal = "" if name == REFERENCE else f"  goal {GOAL}"
        figures = "".join(f"{middle[share]:10.0f}" for share in SHARES)
        print(f"  {name:24}{figures}{ratio:11.2f}{goal}")
        report[name] = {**middle, "p99_ratio": round(ratio, 3), "rounds": each}
    return report


def _once(name: str, url: str, loop: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.latency", name, url, loop],
        capture_output=True,
        text=True,
        timeout=ROUND_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench: {name} failed\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    print(json.dumps(_receive(*sys.argv[1:])))
