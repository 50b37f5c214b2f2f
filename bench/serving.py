"""`python -m bench idle-clients` and `broadcast`: a client's cost, a message to all.

Servers side by side, each in a process of its own and with a swarm of plain clients in
another: heartline, picows as its page shows it, websockets, and uvicorn. All beat at
the same interval, and take turns with their broadcasts. CPU is of the server alone.
`python -m bench.serving` does both on the same clients, and writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench.servers import SERVERS

CONTENDERS = tuple(SERVERS)
OURS = "heartline"
IDLE_CLIENTS = 20_000
SPARE = 100
"""Descriptors that a process needs besides its clients."""
GOAL_CPU, GOAL_KIB, GOAL_RATE = 1.2, 20.0, 0.9
PER_ADDRESS = 2_000
"""Clients that leave from one loopback address: its ports are not endless."""

# --- the servers -----------------------------------------------------------------


def standing() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "cpu": used.ru_utime + used.ru_stime,
        "rss": pages * resource.getpagesize(),
    }


async def be_server(name: str, interval: float) -> None:
    """Obey orders on stdin, one line of JSON each; answer on stdout."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    port, broadcast, server = await SERVERS[name](interval)
    print(json.dumps({"port": port}), flush=True)
    while line := await orders.readline():
        order = json.loads(line)
        answer: dict[str, Any] = standing()
        if order["do"] == "broadcast":
            data = b"x" * order["size"]
            began, before = time.perf_counter(), standing()["cpu"]
            for _ in range(order["times"]):
                if (sent := broadcast(data)) is not None:
                    await sent
            answer["seconds"] = time.perf_counter() - began
            answer["burned"] = standing()["cpu"] - before
        print(json.dumps(answer), flush=True)
    assert server is not None


# --- the clients -----------------------------------------------------------------

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Swarm:
    """Many plain clients in one process: they answer pings and count the rest."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._clients: dict[int, socket.socket] = {}
        self._rest: dict[int, bytes] = {}
        self.messages = 0

    def grow(self, number: int) -> None:
        sock = socket.socket()
        # Addresses of each swarm's own: ports are shared by all that leave from one.
        near = f"{1 + self._port % 250}.{1 + number // PER_ADDRESS}"
        sock.bind((f"127.{1 + self._port // 250 % 250}.{near}", 0))
        sock.connect(("127.0.0.1", self._port))
        sock.sendall(REQUEST)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1)
        assert b" 101 " in head, head
        sock.setblocking(False)
        self._clients[sock.fileno()] = sock
        self._poll.register(sock, select.EPOLLIN)

    def turn(self, timeout: float) -> None:
        for number, _ in self._poll.poll(timeout):
            self._read(number)

    def _read(self, number: int) -> None:
        sock = self._clients[number]
        try:
            piece = sock.recv(1 << 16)
        except BlockingIOError:
            return
        if not piece:
            raise SystemExit("bench: the server dropped a living client")
        data, at = self._rest.pop(number, b"") + piece, 0
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126 and len(data) >= at + 4:
                (size,) = struct.unpack_from(">H", data, at + 2)
                start = at + 4
            if size == 126 or len(data) < start + size:
                break
            if data[at] == 0x89:
                payload = data[start : start + size]
                # A mask of zeros is a mask: the payload goes out as it came.
                sock.send(bytes((0x8A, 0x80 | size)) + bytes(4) + payload)
            else:
                self.messages += 1
            at = start + size
        if at < len(data):
            self._rest[number] = data[at:]


def be_swarm(port: int, clients: int) -> None:
    """Connect, then live until stdin ends; say how many messages came when asked."""
    swarm = Swarm(port)
    for number in range(clients):
        swarm.grow(number)
        swarm.turn(0)
    print("ready", flush=True)
    orders = select.poll()
    orders.register(0, select.POLLIN)
    while True:
        swarm.turn(0.05)
        if orders.poll(0):
            if not os.read(0, 100):
                return
            print(swarm.messages, flush=True)


# --- the measurement ---------------------------------------------------------------


class Child:
    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.serving", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("bench: a child of this measurement has ended")
        return line.strip()

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        answer: dict[str, Any] = json.loads(self.hear())
        return answer

    def count(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        return int(self.hear())

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._process.communicate(timeout=20)


class Contender:
    """One server with its swarm."""

    def __init__(self, name: str, asked: argparse.Namespace) -> None:
        self.name = name
        self._asked = asked
        self._server = Child("--be-server", name, *common(asked))
        port = json.loads(self._server.hear())["port"]
        self._empty = self.standing()
        self._swarm = Child("--be-swarm", str(port), *common(asked))
        self._swarm.hear()
        self._full = self.standing()
        self._expected = 0
        self._burned = 0.0
        self.rates: list[float] = []
        self.idle: tuple[dict[str, float], dict[str, float]] = ({}, {})

    def standing(self) -> dict[str, float]:
        return self._server.ask(do="tell") | {"at": time.monotonic()}

    def broadcast(self) -> None:
        """One round, until every client has every message."""
        asked = self._asked
        told = self._server.ask(do="broadcast", times=asked.times, size=asked.size)
        sent = asked.times * asked.clients
        self.rates.append(sent / told["seconds"])
        self._burned += told["burned"]
        self._expected += sent
        end = time.monotonic() + 60
        while self._swarm.count() < self._expected:
            if time.monotonic() > end:
                raise SystemExit("bench: messages of a broadcast never came")
            time.sleep(0.05)

    def results(self) -> dict[str, float]:
        asked, clients = self._asked, self._asked.clients
        found = {
            "join_us": (self._full["cpu"] - self._empty["cpu"]) / clients * 1e6,
            "kib": (self._full["rss"] - self._empty["rss"]) / clients / 1024,
        }
        if asked.seconds:
            before, after = self.idle
            seconds, burned = after["at"] - before["at"], after["cpu"] - before["cpu"]
            found |= {
                "idle_cpu": burned / seconds,
                "beat_us": burned / (clients * seconds / asked.interval) * 1e6,
                "kib": (after["rss"] - self._empty["rss"]) / clients / 1024,
            }
        if asked.rounds:
            found |= {
                "rate": median(self.rates),
                "send_us": self._burned / self._expected * 1e6,
            }
        return found

    def end(self) -> None:
        self._swarm.end()
        self._server.end()


def measure(asked: argparse.Namespace) -> dict[str, Contender]:
    """All of them side by side: whatever else the machine does, it does to all."""
    contenders: list[Contender] = []
    try:
        for name in asked.only or CONTENDERS:
            contenders.append(Contender(name, asked))
        if asked.seconds:
            time.sleep(asked.interval + 1.0)
            before = [each.standing() for each in contenders]
            time.sleep(asked.seconds)
            for each, began in zip(contenders, before, strict=True):
                each.idle = began, each.standing()
        for number in range(asked.rounds):
            for each in contenders if number % 2 else reversed(contenders):
                each.broadcast()
    finally:
        for each in contenders:
            each.end()
    return {each.name: each for each in contenders}


def common(asked: argparse.Namespace) -> list[str]:
    return [
        *("--clients", str(asked.clients), "--interval", str(asked.interval)),
        *("--loop", asked.loop),
    ]


COLUMNS = {
    "idle_cpu": ("CPU %", "{:.2%}"),
    "beat_us": ("us/beat", "{:.1f}"),
    "kib": ("KiB/client", "{:.1f}"),
    "join_us": ("us/join", "{:.0f}"),
    "rate": ("msg x clients/s", "{:,.0f}"),
    "send_us": ("us/send", "{:.2f}"),
}


def show(asked: argparse.Namespace, results: dict[str, dict[str, float]]) -> None:
    print(
        f"{asked.clients} clients, beats every {asked.interval:g} s; idle for"
        f" {asked.seconds:g} s; {asked.rounds} times {asked.times} broadcasts of"
        f" {asked.size} B; {asked.loop}"
    )
    columns = {key: told for key, told in COLUMNS.items() if key in results[OURS]}
    print(f"  {'':12}" + "".join(f"{name:>16}" for name, _ in columns.values()))
    for name, r in results.items():
        cells = "".join(f"{form.format(r[k]):>16}" for k, (_, form) in columns.items())
        print(f"  {name:12}{cells}")


def beside_picows(contenders: dict[str, Contender]) -> dict[str, float]:
    """The ratios that are goals, printed; none without picows."""
    if not {OURS, "picows"} <= contenders.keys():
        return {}
    ours, theirs = contenders[OURS], contenders["picows"]
    mine, other = ours.results(), theirs.results()
    found: dict[str, float] = {}
    if "idle_cpu" in mine:
        found = {"cpu": mine["idle_cpu"] / other["idle_cpu"], "kib": mine["kib"]}
        print(
            f"  beside picows: CPU {found['cpu']:.2f}x (goal at most {GOAL_CPU}),"
            f" {found['kib']:.1f} KiB a client (goal at most {GOAL_KIB:g})"
        )
    if ours.rates:
        pairs = zip(ours.rates, theirs.rates, strict=True)
        found["rate"] = median(a / b for a, b in pairs)
        found["rate_by_cpu"] = other["send_us"] / mine["send_us"]
        print(
            f"  beside picows: broadcast {found['rate']:.2f}x by the clock and"
            f" {found['rate_by_cpu']:.2f}x by CPU (goal at least {GOAL_RATE})"
        )
    return found


def measured(
    what: str, *, rounds: int, loop: str, clients: int | None, only: list[str] | None
) -> dict[str, Any]:
    """For `python -m bench`: `what` is idle-clients or broadcast; prints as it goes."""
    asked = arguments(["--loop", loop])
    asked.only = only
    if what == "idle-clients":
        asked.clients, asked.rounds, asked.seconds = clients or IDLE_CLIENTS, 0, 30.0
    else:
        asked.clients, asked.rounds, asked.seconds = clients or 2_000, rounds, 0.0
    room = raise_limit(asked.clients + SPARE) - SPARE
    if room < asked.clients:
        print(f"only {room} clients: a process here may open no more descriptors")
        asked.clients = room
    before = os.getloadavg()[0]
    contenders = measure(asked)
    results = {name: each.results() for name, each in contenders.items()}
    show(asked, results)
    return {
        "clients": asked.clients,
        "interval": asked.interval,
        "size_bytes": asked.size,
        "machine_load": [round(before, 1), round(os.getloadavg()[0], 1)],
        "contenders": results,
        "beside_picows": beside_picows(contenders),
    }


def raise_limit(wanted: int) -> int:
    """Have room for so many descriptors, as far as may be; how many there are."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < wanted:
        with contextlib.suppress(ValueError, OSError):  # root may raise it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def arguments(said: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serving")
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--interval", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--times", type=int, default=20, help="broadcasts a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--only", choices=CONTENDERS, action="append")
    parser.add_argument("--be-server", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--be-swarm", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(said)


def main() -> None:
    asked = arguments()
    raise_limit(asked.clients + SPARE)
    if asked.be_server:
        factory = uvloop.new_event_loop if asked.loop == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(be_server(asked.be_server, asked.interval))
    elif asked.be_swarm:
        be_swarm(asked.be_swarm, asked.clients)
    else:
        contenders = measure(asked)
        show(asked, {name: each.results() for name, each in contenders.items()})
        beside_picows(contenders)


if __name__ == "__main__":
    main()
