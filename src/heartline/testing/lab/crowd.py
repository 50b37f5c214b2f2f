"""A process with very many streams, each to an address of its own, and their witness.

A child of `process.ChildProcess`, like `client`, for the row in which all of them lose
their path at once.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import logging
import sys
import time
from array import array
from typing import TYPE_CHECKING, Any

from heartline.testing.orders import Handler, run

from .links import CROWD, PORT
from .namespaces import enter

if TYPE_CHECKING:
    from heartline.client import Stream

STEP = 0.02
LATE = 0.05
AT_ONCE = 25
BETWEEN = 0.1
"""Streams begin so many at once, so many seconds apart."""


class Member:
    """One stream of the crowd."""

    def __init__(self, number: int) -> None:
        from heartline.client import connect

        address = ipaddress.ip_network(CROWD)[number + 1]
        url = f"ws://{address}:{PORT}/"
        self.numbers = array("Q")
        self.gaps: list[tuple[int, Any]] = []
        self.lost: list[tuple[float, str, str | None]] = []
        self.opened: list[float] = []
        self.bound = 0.0
        self.attempts = 0
        self.stream: Stream = connect(url, on_event=self._event)

    def _event(self, event: Any) -> None:
        match type(event).__name__:
            case "Lost":
                self.lost.append((time.monotonic(), event.cause.value, event.where))
            case "Connected":
                self.opened.append(time.monotonic())
            case "Connecting":
                self.attempts += 1
            case _:
                pass

    @property
    def last(self) -> int:
        return self.numbers[-1] if self.numbers else 0

    def lost_since(self, at: float) -> bool:
        return any(lost_at >= at for lost_at, *_ in self.lost)

    async def read(self) -> None:
        import msgspec

        from heartline.core.items import Gap, Message

        class Numbered(msgspec.Struct):
            seq: int

        decode = msgspec.json.Decoder(Numbered).decode
        async with self.stream:
            async for batch in self.stream.batches():
                for item in batch:
                    if isinstance(item, Message):
                        self.numbers.append(decode(item.data).seq)
                    elif isinstance(item, Gap):
                        self.gaps.append((len(self.numbers), item))


class Crowd:
    def __init__(self) -> None:
        self._members: list[Member] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stalls: list[tuple[float, float]] = []
        self._meter: asyncio.Task[None] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._noting: asyncio.Task[None] | None = None

    async def obey(self, order: str, options: dict[str, Any]) -> object:
        members = self._members
        match order:
            case "connect":
                connecting = self._connect(options["streams"])
                self._connecting = asyncio.create_task(connecting)
            case "counts":
                since = options["since"]
                return {
                    "open": sum(len(it.opened) > len(it.lost) for it in members),
                    "lost": sum(it.lost_since(since) for it in members),
                    "noted": sum(it.bound > 0 for it in members),
                    "bound": max((it.bound for it in members), default=0.0),
                    "last": min((it.last for it in members), default=0),
                }
            case "bounds":
                self._noting = asyncio.create_task(self._note_bounds())
            case "report":
                return await self._report()
            case _:
                raise AssertionError(order)
        return None

    async def _connect(self, streams: int) -> None:
        """Not all in one turn of the loop: nobody starts so, and it is no fault."""
        self._meter = asyncio.create_task(self._watch_loop())
        for number in range(streams):
            member = Member(number)
            self._members.append(member)
            self._tasks.append(asyncio.create_task(member.read()))
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(BETWEEN)

    async def _note_bounds(self) -> None:
        """Ask each for its bound; we must not be the stall of the loop ourselves."""
        for number, member in enumerate(self._members):
            member.bound = member.stream.status.bounds.path
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)

    async def _report(self) -> dict[str, Any]:
        from .client import runs

        ended_at = time.monotonic()
        await asyncio.gather(*(it.stream.aclose() for it in self._members))
        await asyncio.gather(*self._tasks)
        assert self._meter is not None
        self._meter.cancel()
        return {
            "ended_at": ended_at,
            "stalls": self._stalls,
            "streams": [
                {
                    "lost": it.lost,
                    "opened": it.opened,
                    "bound": it.bound,
                    "attempts": it.attempts,
                    "items": runs(it.numbers, it.gaps),
                }
                for it in self._members
            ],
        }

    async def _watch_loop(self) -> None:
        while True:
            due = time.monotonic() + STEP
            await asyncio.sleep(STEP)
            now = time.monotonic()
            if now - due > LATE:
                self._stalls.append((due, now))


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    enter(options["namespace"])
    sys.path[:] = options["path"]
    logging.getLogger("heartline").setLevel(logging.CRITICAL)
    # Once, before a thousand want it.
    importlib.import_module("heartline.client")
    return None, Crowd().obey


def main(parent: int) -> None:
    run(_begin, parent=parent)
