"""Clients that mean harm: each gets the right code, and what the others feel of it.

Calm and attack take turns, so that whatever else the machine does it does to both.
"""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import heartline

from .serving_child import Child, be_child, orders, tell
from .serving_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Peer,
    close_frame,
    frame,
    request,
)

TOKEN = "good"
LIMITS = heartline.Limits(message_bytes=100_000, upgrade=1.0, pings_per_minute=60)
GUESTS = 100
TALK_EVERY = 0.1
"""Seconds between two messages of one guest."""
WORKERS, PAUSE = 12, 0.02
PATIENCE = 30.0
"""Seconds until an attack that was not ended counts as endured."""
ROUNDS = 3
BIG = LIMITS.message_bytes


def _bomb() -> bytes:
    """50 MB of nothing in 50 kB (RFC 7692)."""
    deflater = zlib.compressobj(wbits=-15)
    packed = deflater.compress(bytes(50_000_000)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return frame(BINARY, packed[:-4], reserved=0x40)


BREACHES: dict[str, tuple[bytes, int]] = {
    "unmasked frame": (b"\x81\x02hi", 1002),
    "reserved bit": (frame(TEXT, b"x", reserved=0x20), 1002),
    "unknown opcode": (frame(0x3, b"x"), 1002),
    "continues nothing": (frame(CONTINUATION, b"x"), 1002),
    "long ping": (frame(PING, bytes(126)), 1002),
    "fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "forbidden close code": (close_frame(1005), 1002),
    "half a close code": (frame(CLOSE, b"\x03"), 1002),
    "text that is none": (frame(TEXT, b"\xff\xfe"), 1007),
    "frame too big": (frame(BINARY, bytes(BIG + 1)), 1009),
    "message too big": (
        frame(BINARY, bytes(BIG), fin=False) + frame(CONTINUATION, bytes(BIG)),
        1009,
    ),
    "a terabyte announced": (b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1009),
    "compression bomb": (_bomb(), 1009),
    "ping flood": (frame(PING) * 3000, 1008),
}
"""What is sent after the upgrade, and the code of the close it deserves."""
REFUSALS: dict[str, tuple[bytes, int]] = {
    "no token": (request(), 401),
    "wrong token": (request("/?token=guess"), 401),
    "page of another site": (
        request(f"/?token={TOKEN}", "Origin: https://evil.example\r\n"),
        403,
    ),
    "plain HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
    "not HTTP": (b"\x16\x03\x01 hello\r\n\r\n", 400),
}
"""Requests, and the HTTP status they deserve."""
MUTE, LORIS, GREEDY = "half-open handshake", "slow-loris", "asks and reads nothing"
_OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
_SPEAKING = request(f"/?token={TOKEN}", "Sec-WebSocket-Protocol: heartline.v1\r\n")
_QUESTION = b'{"type": "subscribe", "channel": "%b"}' % (256 * b"x")
_LEAVE = request(f"/?token={TOKEN}", _OFFER)
DESERVED = (
    {name: code for name, (_, code) in BREACHES.items()}
    | {name: status for name, (_, status) in REFUSALS.items()}
    | {MUTE: 0, LORIS: 0, GREEDY: 0}
)
"""Code or status; 0 is an end without a word, or with one that it did not read."""


# --- those who mean harm -----------------------------------------------------------


async def attack(name: str, port: int) -> int | None:
    """Do it; the code or status that ended it, None if nothing did."""
    peer = Peer(_asks(name))
    try:
        await peer.connect(port, receive_buffer=4096 if name == GREEDY else None)
        async with asyncio.timeout(PATIENCE):
            if name == LORIS:
                await _trickle(peer)
            elif name not in REFUSALS and name != MUTE:
                if await peer.upgraded != 101:
                    return peer.upgraded.result()
                if name == GREEDY:
                    await _crave(peer)
                else:
                    peer.transport.write(BREACHES[name][0])
            await peer.gone
    except TimeoutError:
        return None
    finally:
        if peer.transport is not None:
            peer.transport.abort()
    if name in REFUSALS:
        return peer.upgraded.result()
    return peer.code or 0


def _asks(name: str) -> bytes:
    if name in REFUSALS:
        return REFUSALS[name][0]
    return {MUTE: b"", LORIS: b"", GREEDY: _SPEAKING}.get(name, _LEAVE)


async def _trickle(peer: Peer) -> None:
    for letter in _LEAVE * 100:
        if peer.gone.done():
            return
        peer.transport.write(bytes((letter,)))
        await asyncio.sleep(0.05)


async def _crave(peer: Peer) -> None:
    """Ask and ask, and leave the answers where they are."""
    peer.transport.pause_reading()
    questions = 100 * frame(TEXT, _QUESTION)
    while not peer.gone.done():
        if peer.transport.get_write_buffer_size() < len(questions):
            peer.transport.write(questions)
        await asyncio.sleep(0.005)


def _names(draw: random.Random) -> Iterator[str]:
    """All of them in drawn orders, for ever."""
    while True:
        yield from draw.sample(sorted(DESERVED), len(DESERVED))


async def be_attackers(options: dict[str, Any]) -> None:
    draw = random.Random(options["seed"])
    names = _names(draw)
    tell(ready=True)
    async for order in orders():
        met: dict[str, Counter[str]] = {name: Counter() for name in DESERVED}
        end = time.monotonic() + order["seconds"]

        async def work(end: float, met: dict[str, Counter[str]]) -> None:
            while time.monotonic() < end:
                name = next(names)
                met[name][str(await attack(name, options["port"]))] += 1
                await asyncio.sleep(draw.uniform(0, 2 * PAUSE))

        await asyncio.gather(*(work(end, met) for _ in range(WORKERS)))
        tell(met=met)


# --- those who do not --------------------------------------------------------------


class Guest(Peer):
    """Says something every now and then, and times the echo."""

    def __init__(self) -> None:
        super().__init__(request(f"/?token={TOKEN}"))
        self.took: list[float] = []
        self._said_at: float | None = None

    def say(self) -> None:
        if self._said_at is None:
            self._said_at = time.monotonic()
            self.transport.write(frame(TEXT, bytes(64)))

    def on_message(self, payload: bytes) -> None:
        if self._said_at is not None:
            self.took.append(time.monotonic() - self._said_at)
            self._said_at = None


async def be_guests(options: dict[str, Any]) -> None:
    guests = [Guest() for _ in range(GUESTS)]
    for guest in guests:
        await guest.join(options["port"])
    tell(ready=True)
    async for order in orders():
        end = time.monotonic() + order["seconds"]
        for guest in guests:
            guest.took.clear()

        async def talk(guest: Guest, phase: float, end: float) -> None:
            await asyncio.sleep(phase * TALK_EVERY)
            while time.monotonic() < end:
                guest.say()
                await asyncio.sleep(TALK_EVERY)

        await asyncio.gather(
            *(talk(guest, nth / GUESTS, end) for nth, guest in enumerate(guests))
        )
        took = [took for guest in guests for took in guest.took]
        tell(took=took, cut=sum(guest.gone.done() for guest in guests))


# --- the proof ---------------------------------------------------------------------


class Echo(heartline.Hub):
    def on_message(self, client: heartline.Client, message: heartline.Message) -> None:
        client.send(message.data)


async def hostile(seed: int, *, seconds: float = 6.0) -> dict[str, Any]:
    """Calm and attack in turns of so many seconds."""
    met: dict[str, Counter[str]] = {name: Counter() for name in DESERVED}
    took: dict[str, list[list[float]]] = {"calm": [], "attacked": []}
    cut = 0
    async with heartline.serve(
        Echo(),
        limits=LIMITS,
        compression=True,
        authorize=lambda request: request.query.get("token") == TOKEN,
    ) as server:
        guests, attackers = [
            await Child.start(
                "prove.serving_hostile", port=server.port, seed=seed, role=role
            )
            for role in ROLES
        ]
        try:
            await guests.hear()
            await attackers.hear()
            for _ in range(ROUNDS):
                for phase in took:
                    if phase == "attacked":
                        attackers.tell(seconds=seconds)
                    guests.tell(seconds=seconds)
                    told = await guests.hear()
                    took[phase].append(sorted(told["took"]))
                    cut = told["cut"]
                    if phase == "attacked":
                        for name, counts in (await attackers.hear())["met"].items():
                            met[name].update(counts)
        finally:
            await guests.end()
            await attackers.end()
    return _result(met, took, cut)


def _result(
    met: dict[str, Counter[str]], took: dict[str, list[list[float]]], cut: int
) -> dict[str, Any]:
    broken = [
        f"{name}: {counts[code]} times {code}, wanted {DESERVED[name]}"
        for name, counts in met.items()
        for code in counts
        if code != str(DESERVED[name])
    ]
    broken += [f"{name}: never tried" for name, counts in met.items() if not counts]
    if cut:
        broken.append(f"{cut} guests cut")
    return {
        "attacks": {name: dict(counts) for name, counts in met.items()},
        "guests": GUESTS,
        "cut": cut,
        "echoes": {name: sum(map(len, rounds)) for name, rounds in took.items()},
        "median_ms": {
            name: [_ms(each, 0.5) for each in rounds] for name, rounds in took.items()
        },
        "p99_ms": {
            name: [_ms(each, 0.99) for each in rounds] for name, rounds in took.items()
        },
        "broken": broken,
    }


def _ms(took: list[float], part: float) -> float:
    return round(1000 * took[int(len(took) * part)], 2)


ROLES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "guests": be_guests,
    "attackers": be_attackers,
}


async def be_either(options: dict[str, Any]) -> None:
    await ROLES[options["role"]](options)


if __name__ == "__main__":
    be_child(be_either)
