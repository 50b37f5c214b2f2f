"""Who drives a desk without a socket, and keeps what it says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field

import msgspec

from heartline.client.conversation import Read
from heartline.core.channel_events import MalformedFound
from heartline.core.events import Event, GapFound
from heartline.core.items import Cause, Gap
from heartline.observe.words import in_words

from .jumping import StrictLoop


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass
class Owner:
    """Drives a desk, and keeps what it says."""

    loop: StrictLoop
    posted: list[str | bytes] = field(default_factory=list[str | bytes])
    gave_up: bool = False
    heard: float = 0.0
    unread: bool = False
    paused: bool = False
    secrets: frozenset[str] = frozenset()
    told: Counter[str] = field(default_factory=Counter[str])
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    gaps: list[Gap] = field(default_factory=list[Gap])

    def post(self, epoch: int, text: str | bytes, *, first: bool) -> None:
        self.posted.append(text)

    def tell(self, event: Event) -> None:
        self.told[type(event).__name__] += 1
        line = in_words(event, name="fuzz")
        if len(line) > 400 or not line.isprintable():
            raise Broken(f"a line of {len(line)} characters")
        msgspec.json.encode(event)
        if isinstance(event, GapFound):
            self.gaps.append(event.gap)
        if isinstance(event, MalformedFound) and len(event.reason) > 200:
            raise Broken(f"a reason of {len(event.reason)} characters")

    def give_up(self, epoch: int, cause: Cause, reason: str) -> None:
        self.gave_up = True

    def announced(self, epoch: int, reason: str, lead: float | None) -> None:
        self.gave_up = True

    def prove(self, epoch: int) -> None:
        self.heard = self.loop.time()

    def run(self, what: str, epoch: int, work: Coroutine[None, None, None]) -> None:
        self.tasks.append(self.loop.create_task(work))

    def deliver(self, items: list[Read]) -> None:
        """What came beside the link is not looked at."""

    def heard_at(self, epoch: int) -> float:
        return self.heard

    def rest(self) -> None:
        """End what is being done for the stream; raises what it raised."""
        for task in self.tasks:
            task.cancel()
        self.loop.spend(0)
        for task in self.tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise Broken("a task of the stream failed") from error
        self.tasks.clear()
