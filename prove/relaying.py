"""A relay's upstream is killed for twenty seconds, and then the relay itself: what its
readers are told, and whether the totals agree."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import heartline
from heartline import Gap, Message
from heartline.client.resume import Numbered
from heartline.relay import GapNote, StatusNote, heard
from heartline.testing import VenueServer

from .relay_process import RelayProcess

CHANNELS = [f"book.{name}-PERPETUAL.100ms" for name in ("BTC", "ETH", "SOL", "XRP")]
READERS = 20
"""All in one process."""
RATE = 100.0
DOWN = 20.0
"""Seconds that the venue is gone."""
FLOW = 5.0
WITHIN = 120.0
QUICK = heartline.Backoff(base=0.2, cap=1.0, gentle_base=0.2)


class Reader:
    """A client of `heartline.v1`: what it got of each channel, and what it was told."""

    def __init__(self, url: str, channels: list[str]) -> None:
        self.channels = channels
        self.messages: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.outages: Counter[str] = Counter()
        self.lives: list[bool] = []
        self.offsets: dict[str, list[tuple[str, int]]] = {c: [] for c in channels}
        self.gaps: list[Gap] = []
        self.stream = heartline.connect(
            url,
            channels=channels,
            backoff=QUICK,
            compression=False,
        )

    async def read(self) -> None:
        async for item in self.stream:
            if isinstance(item, Gap):
                self.gaps.append(item)
            elif isinstance(item, Message):
                self._take(item)

    def _take(self, item: Message) -> None:
        said = heard(item)
        channel = item.channel
        if isinstance(item, Numbered) and channel is not None:
            self.offsets[channel].append((item.of_epoch, item.offset))
        if isinstance(said, str | bytes):
            self.messages[channel or ""] += 1
        elif isinstance(said, StatusNote):
            self.lives.append(said.live)
        elif isinstance(item, Numbered):
            self.notes[channel or ""] += 1
            if isinstance(said, GapNote):
                self.outages[said.channel] += said.reason == "outage"

    @property
    def came_back(self) -> bool:
        """Whether every channel goes on, in another epoch."""
        return all(each and each[-1][0] != each[0][0] for each in self.offsets.values())

    def last(self, channel: str) -> int:
        return self.offsets[channel][-1][1] if self.offsets[channel] else 0


async def until(condition: Any, what: str, within: float = WITHIN) -> None:
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"relay: never came true: {what}")
        await asyncio.sleep(0.02)


async def written(venue: VenueServer) -> Counter[str]:
    """Messages of each channel that a venue wrote to its one link."""
    accounts = await venue.accounts()
    return Counter({name: of.sent + of.snapshots for name, of in accounts.items()})


async def relaying(seed: int) -> dict[str, Any]:
    wrong: list[str] = []
    async with AsyncExitStack() as stack:
        venue = await stack.enter_async_context(VenueServer("deribit", seed=seed))
        relay = RelayProcess(venue.url, CHANNELS)
        stack.callback(relay.kill)
        relay.start()
        await relay.live()
        readers = [
            Reader(relay.url, CHANNELS[at % 4 :] + CHANNELS[: at % 2])
            for at in range(READERS)
        ]
        for reader in readers:
            await stack.enter_async_context(reader.stream)
            task = asyncio.create_task(reader.read())
            stack.callback(task.cancel)
        await until(lambda: all(reader.lives for reader in readers), "all joined")
        begun = await _offsets(relay)

        sent = await _flow(venue, relay, readers)
        venue.kill()
        killed_at = time.monotonic()
        await until(lambda: all(not r.lives[-1] for r in readers), "the outage told")
        told_after = time.monotonic() - killed_at
        await asyncio.sleep(max(DOWN - told_after, 0.0))
        again = await stack.enter_async_context(
            VenueServer("deribit", port=venue.port, seed=seed + 1)
        )
        await until(lambda: all(r.lives[-1] for r in readers), "live again")
        await relay.live()
        sent += await _flow(again, relay, readers)
        wrong += await _agree(relay, readers, sent, begun)
        clients = (await relay.page("/healthz"))["clients"]
        if clients != READERS or any(r.stream.status.epoch != 1 for r in readers):
            wrong.append(f"clients: {clients} of {READERS} stayed")
        messages = sum(sum(r.messages.values()) for r in readers)

        back = await _kill_relay(relay, readers, again, wrong)
    return {
        "seed": seed,
        "readers": READERS,
        "messages": messages,
        "upstream": sum(sent.values()),
        "down": DOWN,
        "outage_told_after": round(told_after, 2),
        "back_after": round(back, 2),
        "broken": wrong,
    }


async def _offsets(relay: RelayProcess) -> dict[str, int]:
    accounts = await relay.page("/channels")
    return {name: account["offset"] for name, account in accounts.items()}


async def _flow(
    venue: VenueServer, relay: RelayProcess, readers: list[Reader]
) -> Counter[str]:
    """Let messages flow, and end when all of it has come; what the venue wrote."""
    await venue.set_rate(RATE)
    await asyncio.sleep(FLOW)
    await venue.set_rate(0.0)
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        sent, offsets = await written(venue), await _offsets(relay)
        came = all(
            reader.last(name) == offsets[name]
            for reader in readers
            for name in reader.channels
        )
        if came and (await written(venue), await _offsets(relay)) == (sent, offsets):
            return sent
        await asyncio.sleep(0.1)
    raise TimeoutError("relay: its readers never had all of it")


async def _agree(
    relay: RelayProcess,
    readers: list[Reader],
    sent: Counter[str],
    begun: dict[str, int],
) -> list[str]:
    """What the venues wrote, the relay counted and each reader got is the same."""
    wrong: list[str] = []
    accounts = await relay.page("/channels")
    for name in CHANNELS:
        account = accounts[name]
        if account["messages"] != sent[name]:
            wrong.append(f"{name}: relayed {account['messages']} of {sent[name]}")
        if account["messages"] + account["notes"] != account["offset"]:
            wrong.append(f"{name}: {account} does not add up")
        if account["gaps"] < 1:
            wrong.append(f"{name}: no gap")
    for reader in readers:
        for name in reader.channels:
            offsets = [offset for _, offset in reader.offsets[name]]
            got = reader.messages[name] + reader.notes[name]
            whole = range(offsets[0], accounts[name]["offset"] + 1)
            if offsets != list(whole) or got != len(offsets):
                wrong.append(f"{name}: a reader lacks some")
            if offsets[0] > begun[name] + 1 or reader.outages[name] < 1:
                wrong.append(f"{name}: a reader was not told the gap")
        if reader.gaps:
            wrong.append(f"a reader lost {reader.gaps[0]}")
    return wrong


async def _kill_relay(
    relay: RelayProcess, readers: list[Reader], venue: VenueServer, wrong: list[str]
) -> float:
    """Kill the relay, start it again; seconds until every reader had news of it."""
    before = {id(r): {c: r.last(c) for c in r.channels} for r in readers}
    relay.kill()
    killed_at = time.monotonic()
    relay.start()
    await relay.live()
    await venue.set_rate(RATE)
    try:
        await until(lambda: all(r.came_back for r in readers), "data of the new relay")
    except TimeoutError as error:
        wrong.append(str(error))
    back = time.monotonic() - killed_at
    await venue.set_rate(0.0)
    for reader in readers:
        # Without an end: nobody knows how many the old epoch still had.
        told = {gap.channel: gap for gap in reader.gaps if gap.first and not gap.last}
        for name in reader.channels:
            gap = told.get(name)
            if gap is None or gap.first != before[id(reader)][name] + 1:
                wrong.append(f"{name}: a reader was not told what is gone: {gap}")
    return back


def run(seed: int) -> dict[str, Any]:
    """Run it and say what was found."""
    print(f"relay: seed {seed}", flush=True)
    found = asyncio.run(relaying(seed))
    print(told(found), flush=True)
    for line in found["broken"][:10]:
        print(f"relay: {line}", flush=True)
    return found


def told(found: dict[str, Any]) -> str:
    """A line or two."""
    verdict = "all kept" if not found["broken"] else "BROKEN"
    return (
        f"Relay: {found['readers']} readers, venue killed -9 for {found['down']:g} s:"
        f" none was cut, each told the outage (the last {found['outage_told_after']} s"
        f" after the kill) and the gap; {found['messages']:,} messages read of"
        f" {found['upstream']:,} that the venues wrote, totals agree. Relay killed -9:"
        f" every reader was told what is gone and had data again {found['back_after']}"
        f" s after the kill (seed {found['seed']}): {verdict}."
    )
