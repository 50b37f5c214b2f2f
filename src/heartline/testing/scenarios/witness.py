"""A consumer and an observer of one stream, who remember all of it with its instant."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from typing import TypeVar

import msgspec

from heartline.client import Stream
from heartline.core.events import Event, Stalled
from heartline.core.items import Gap, Message, Status

from .account import Account, settle

E = TypeVar("E", bound=msgspec.Struct)

STEP = 0.02
"""How often our own loop is looked at, and how long a paced consumer works at once."""
LATE = 0.05
"""The loop was late by more than this: worth remembering."""


class _Numbered(msgspec.Struct):
    """All that is read of a venue's message."""

    seq: int


class Witness:
    """Sees everything that one stream tells, on both of its ways.

    Give `event` to the stream as its `on_event`, then let `read` consume it.
    """

    def __init__(self) -> None:
        self.events: list[tuple[float, Event]] = []
        self.statuses: list[Status] = []
        self.numbers = array("Q")
        self.gaps: list[tuple[int, Gap]] = []
        self.heard_at = 0.0
        """When the last data was read from the socket."""
        self.oldest_age = 0.0
        self.aged = 0
        """Messages that were marked as possibly old."""
        self.pace: float | None = None
        """Messages a second that the consumer takes; None for all there are."""
        self.on_message: Callable[[Message], None] = lambda message: None
        self.on_event: Callable[[Event], None] = lambda event: None
        self._stalls: list[tuple[float, float]] = []
        self._changed = asyncio.Event()

    # --- seeing ------------------------------------------------------------------

    def event(self, event: Event) -> None:
        self.events.append((time.monotonic(), event))
        self.on_event(event)
        self._changed.set()

    async def read(self, stream: Stream) -> None:
        """Consume the stream to its end."""
        decode = msgspec.json.Decoder(_Numbered).decode
        taken = 0
        async for item in stream:
            match item:
                case Message():
                    self.numbers.append(decode(item.data).seq)
                    self.heard_at = max(self.heard_at, item.received_at)
                    if item.age > 0:
                        self.aged += 1
                        self.oldest_age = max(self.oldest_age, item.age)
                    self.on_message(item)
                    taken += 1
                    if self.pace is not None and taken >= self.pace * STEP:
                        taken = 0
                        await asyncio.sleep(STEP)
                case Gap():
                    self.gaps.append((len(self.numbers), item))
                case Status():
                    self.statuses.append(item)

    async def watch_loop(self) -> None:
        """Measure by ourselves when this process was held up."""
        while True:
            due = time.monotonic() + STEP
            await asyncio.sleep(STEP)
            now = time.monotonic()
            if now - due > LATE:
                self.note_stall(due, now)

    def note_stall(self, began_at: float, ended_at: float) -> None:
        self._stalls.append((began_at, ended_at))

    # --- asking ------------------------------------------------------------------

    async def first(
        self,
        kind: type[E],
        *,
        since: float,
        within: float,
        like: Callable[[E], bool] = lambda event: True,
    ) -> tuple[float, E] | None:
        """The first event of that kind from `since` on, and when it was told.

        None if none has come `within` seconds from now.
        """
        try:
            async with asyncio.timeout(within):
                while (found := self.past(kind, since=since, like=like)) is None:
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            return None

    def past(
        self,
        kind: type[E],
        *,
        since: float,
        like: Callable[[E], bool] = lambda event: True,
    ) -> tuple[float, E] | None:
        for at, event in self.events:
            if at >= since and isinstance(event, kind) and like(event):
                return at, event
        return None

    def every(self, kind: type[E]) -> list[tuple[float, E]]:
        return [(at, event) for at, event in self.events if isinstance(event, kind)]

    def held_up(self, since: float, until: float) -> float:
        """Seconds that our own loop stood still in an interval, as the stream told it.

        Counted only where our own measurement says so as well: the stream cannot
        excuse itself.
        """
        told = [
            event.lag
            for at, event in self.every(Stalled)
            if since <= at <= until and self.stood_still(at)
        ]
        return sum(told)

    def stood_still(self, at: float) -> bool:
        """Whether, by our own measurement, the loop had just been late at `at`."""
        return any(began - LATE <= at <= ended + LATE for began, ended in self._stalls)

    def account(self) -> Account:
        return settle(self.numbers, self.gaps)
