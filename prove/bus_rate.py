"""`python -m prove.bus_rate`: messages a second that one relay stores, with the parsing
of each, into a nats-server on the same machine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from heartline.client.contract import Venue
from heartline.core.items import Message
from heartline.relay import BusTerms
from heartline.relay.bus import Bus
from heartline.relay.notes import utc

from .nats_server import NatsServer, missing

SIZES = ((1, 4000, 1), (8, 2000, 1), (32, 1000, 1), (1, 20_000, 2000), (8, 5000, 500))
"""Channels, messages of each, and how many of them come at once."""
PADDING = "x" * 250


def book(channel: str, number: int) -> str:
    data = {
        "type": "change",
        "instrument_name": channel.split(".")[1],
        "change_id": number,
        "prev_change_id": number - 1,
        "padding": PADDING,
    }
    params = {"channel": channel, "data": data}
    return json.dumps({"method": "subscription", "params": params})


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120.0
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the bus does not take them")
        await asyncio.sleep(0)


async def rate(channels: int, messages: int, at_once: int) -> str:
    names = [f"book.I{place}.100ms" for place in range(channels)]
    texts = {name: [book(name, n) for n in range(1, messages + 1)] for name in names}
    with NatsServer() as server:
        bus = Bus(
            BusTerms(url=server.url, name="rate"),
            venue="deribit",
            contract=Venue(name="deribit", channels=names).contract,
            clock=lambda at: utc(time.time() - time.monotonic() + at),
            healthy=lambda: True,
            url=lambda: "",
        )
        bus.start()
        await until(lambda: bus.status.live)
        began, spent = time.perf_counter(), time.process_time()
        for begin in range(0, messages, at_once):
            for name in names:
                for text in texts[name][begin : begin + at_once]:
                    bus.pass_on(name, Message(text, time.monotonic(), name))
            await until(lambda: bus.status.waiting <= at_once * channels)
        await until(lambda: bus.status.waiting == 0)
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
        stored = bus.status.stored
        await bus.aclose(drain=1.0)
    return (
        f"{channels} channels, {at_once} at once: {stored / seconds:,.0f} messages/s,"
        f" {1e6 * cpu / stored:.0f} us of our CPU each"
    )


if __name__ == "__main__":
    lacks = missing()
    if lacks:
        print(f"not tried: it needs {lacks}")
    else:
        for size in SIZES:
            print(asyncio.run(rate(*size)), flush=True)
