"""Two relays hot-hot on one bus, one of them killed every few seconds: the stream has
every message once and in order.

What there was to store a witness hears, a client of the venue that nobody disturbs.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

import nats

import heartline
from heartline import Gap, Message
from heartline.relay.subjects import name_of
from heartline.testing import VenueServer

from . import nats_server
from .nats_server import NatsServer
from .relay_process import RelayProcess

CHANNELS = [
    f"book.{name}-PERPETUAL.100ms"
    for name in ("ADA", "AVAX", "BTC", "DOGE", "ETH", "LINK", "SOL", "XRP")
]
RATE = 300.0
"""Messages a second, over all channels."""
PAUSE = (0.5, 3.0)
"""Seconds between a relay's return and the next kill."""
SETTLE = 30.0


@dataclass
class Told:
    """Numbers and texts of a channel, in the order they came."""

    numbers: list[int] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)

    def add(self, text: bytes) -> None:
        self.numbers.append(json.loads(text)["params"]["data"]["change_id"])
        self.texts.append(text)


async def witness(stream: heartline.Stream, told: dict[str, Told]) -> None:
    """Hear all that the venue says; a gap of its own would spoil the proof."""
    async for item in stream:
        if isinstance(item, Message) and item.channel in told:
            assert isinstance(item.data, str)
            told[item.channel].add(item.data.encode())
        assert not isinstance(item, Gap), item


async def consume(url: str, told: dict[str, Told], gaps: list[str]) -> None:
    """Read the stream as it grows, with a durable consumer."""
    client = await nats.connect(url)
    pull = None
    try:
        while True:
            try:
                if pull is None:
                    pull = await client.jetstream().pull_subscribe(
                        "heartline.once.>", durable="proof", stream="HEARTLINE"
                    )
                messages = await pull.fetch(500, timeout=1.0)
            except nats.js.errors.NotFoundError:
                await asyncio.sleep(0.1)
                continue
            except TimeoutError:
                continue
            for message in messages:
                told[name_of(message.subject.split(".")[3])].add(message.data)
                if "Heartline-Gap" in (message.headers or {}):
                    gaps.append(message.headers["Heartline-Gap"])
                await message.ack()
    finally:
        await client.close()


async def hothot(seconds: float, seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    heard = {name: Told() for name in CHANNELS}
    stored = {name: Told() for name in CHANNELS}
    gaps: list[str] = []
    kills: list[float] = []
    with NatsServer() as server:
        async with VenueServer("deribit", seed=seed) as venue:
            relays = [
                RelayProcess(venue.url, CHANNELS, "--bus", server.url, "--name", name)
                for name in ("one", "other")
            ]
            venue_of = heartline.Venue(name="deribit", channels=CHANNELS)
            tasks: list[asyncio.Task[None]] = []
            try:
                async with heartline.connect(venue.url, venue=venue_of) as stream:
                    tasks.append(asyncio.create_task(witness(stream, heard)))
                    tasks.append(asyncio.create_task(consume(server.url, stored, gaps)))
                    for relay in relays:
                        relay.start()
                    for relay in relays:
                        await relay.live(leased=True)
                    await venue.set_rate(RATE)
                    end = time.monotonic() + seconds
                    while time.monotonic() < end:
                        await asyncio.sleep(draw.uniform(*PAUSE))
                        victim = draw.choice(relays)
                        victim.kill()
                        kills.append(time.monotonic())
                        victim.start()
                        # At any time one of the two has to hear the venue.
                        await victim.live(leased=True)
                    await venue.set_rate(0.0)
                    await _settled(heard, stored, tasks)
                    said = [(await relay.live())["bus"] for relay in relays]
            finally:
                for relay in relays:
                    relay.kill()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    return _found(heard, stored, gaps, said) | {
        "seconds": seconds,
        "seed": seed,
        "kills": len(kills),
    }


async def _settled(
    heard: dict[str, Told], stored: dict[str, Told], tasks: list[asyncio.Task[None]]
) -> None:
    """Wait until the consumer has what the witness heard last, or give up."""
    end = time.monotonic() + SETTLE
    await asyncio.sleep(1.0)
    while time.monotonic() < end and not any(task.done() for task in tasks):
        if all(stored[name].numbers[-1:] == heard[name].numbers[-1:] for name in heard):
            return
        await asyncio.sleep(0.1)


def _found(
    heard: dict[str, Told],
    stored: dict[str, Told],
    gaps: list[str],
    said: list[dict[str, Any]],
) -> dict[str, Any]:
    """Compare them; the witness's first message is a snapshot, as is the stream's."""
    wrong: list[str] = []
    for name, told in stored.items():
        numbers = told.numbers
        if numbers != sorted(set(numbers)):
            wrong.append(f"{name}: not each once and in order")
        texts = dict(zip(heard[name].numbers, heard[name].texts, strict=True))
        begin = numbers[0] if numbers else 0
        lacking = [n for n in texts if n > begin and n not in set(numbers)]
        if lacking or not numbers:
            wrong.append(f"{name}: {len(lacking)} of {len(texts)} missing")
        pairs = zip(numbers[1:], told.texts[1:], strict=True)
        other = sum(_data(text) != _data(texts.get(n)) for n, text in pairs)
        if other:
            wrong.append(f"{name}: {other} not as the venue said them")
    if gaps:
        wrong.append(f"{len(gaps)} gaps, the first {gaps[0]}")
    return {
        "messages": sum(len(told.numbers) for told in stored.values()),
        "channels": len(stored),
        "relays": said,
        "broken": wrong,
    }


def _data(text: bytes | None) -> Any:
    return None if text is None else json.loads(text)["params"]["data"]


def run(seconds: float, seed: int) -> dict[str, Any]:
    """Run it and say what was found."""
    lacks = nats_server.missing()
    if lacks:
        print(f"hothot: not tried: it needs {lacks}", flush=True)
        return {"broken": [], "lacks": lacks}
    print(f"hothot: seed {seed}", flush=True)
    found = asyncio.run(hothot(seconds, seed))
    print(told(found), flush=True)
    for line in found["broken"]:
        print(f"hothot: {line}", flush=True)
    return found


def told(found: dict[str, Any]) -> str:
    """One line."""
    if "lacks" in found:
        return f"Hot-hot: not tried, for want of {found['lacks']}."
    verdict = "each once and in order" if not found["broken"] else "BROKEN"
    return (
        f"Hot-hot: {found['messages']:,} messages of {found['channels']} channels"
        f" checked over {found['seconds']:g} s, {found['kills']} kills -9 of one of"
        f" two relays (seed {found['seed']}): {verdict}."
    )
