"""A stream read in a task of its own, for the tests of the client."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

import heartline
from heartline.core import events
from heartline.core.neighbours import Neighbours
from heartline.testing.halfopen import available
from loopback import LOOPS

T = TypeVar("T")

DEADLINE = 40.0
"""Seconds any one test may take, far more than it needs."""

FAST = heartline.Backoff(base=0.02, cap=0.1, gentle_base=0.1)
"""Patience of a test: it dials again at once, or nearly."""

PROMPT = 0.3
"""What a told end may take, seconds: the way through the loops, on a busy machine."""

needs_filters = pytest.mark.skipif(available() is not None, reason=str(available()))


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on asyncio's loop, or on the one its `loop` parameter names."""

    @functools.wraps(test)
    def run(*args: object, **fixtures: Any) -> None:
        factory = LOOPS[fixtures.get("loop", "asyncio")]
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(test(*args, **fixtures), DEADLINE))

    return run


class Watched:
    """What a stream brought: `items` in order, `events` as they were told."""

    def __init__(self) -> None:
        self.items: list[heartline.Item] = []
        self.events: list[events.Event] = []
        self.error: BaseException | None = None
        self.over = False
        self.gate = asyncio.Event()
        """Cleared, the consumer reads no further."""
        self.gate.set()
        self.stream: heartline.Stream
        self.reader: asyncio.Task[None]

    async def read(self) -> None:
        try:
            async for item in self.stream:
                self.items.append(item)
                await self.gate.wait()
        except heartline.HeartlineError as error:
            self.error = error
        self.over = True

    async def until(
        self, condition: Callable[[], object], what: str, within: float = 10.0
    ) -> None:
        end = time.monotonic() + within
        while not condition():
            assert time.monotonic() < end, f"never came true: {what}\n{self.story}"
            await asyncio.sleep(0.004)

    def late(self) -> float:
        """By how much the loop of this test stood still: bounds extend by that."""
        return sum(stalled.lag for stalled in self.of(events.Stalled))

    async def told(self, kind: type[T], within: float = 10.0, nth: int = 1) -> T:
        """The nth event of that kind, as soon as it is told."""
        await self.until(lambda: len(self.of(kind)) >= nth, kind.__name__, within)
        return self.of(kind)[nth - 1]

    async def live(self, epoch: int = 1, within: float = 10.0) -> None:
        """The consumer was told that the link of that epoch, or a later, is live."""
        await self.until(
            lambda: any(s.live and s.epoch >= epoch for s in self.statuses),
            f"live, epoch {epoch}",
            within,
        )

    async def fed(self, epoch: int = 1, messages: int = 1) -> None:
        """So many messages of that link, or of later ones, have come."""
        await self.until(
            lambda: sum(m.epoch >= epoch for m in self.messages) >= messages,
            f"data of epoch {epoch}",
        )

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def data(self) -> list[str | bytes]:
        return [m.data for m in self.messages]

    @property
    def messages(self) -> list[heartline.Message]:
        return [item for item in self.items if isinstance(item, heartline.Message)]

    @property
    def statuses(self) -> list[heartline.Status]:
        return [item for item in self.items if isinstance(item, heartline.Status)]

    @property
    def gaps(self) -> list[heartline.Gap]:
        return [item for item in self.items if isinstance(item, heartline.Gap)]

    @property
    def story(self) -> str:
        notes = [str(event) for event in self.events]
        return "\n".join([*notes, str(self.stream.status), f"{self.error!r}"])


@asynccontextmanager
async def watching(url: Any, **options: Any) -> AsyncIterator[Watched]:
    """Connect and read all it brings; closed at the end, whatever happens."""
    watched = Watched()
    told = options.pop("on_event", None)

    def on_event(event: events.Event) -> None:
        watched.events.append(event)
        if told is not None:
            told(event)

    options.setdefault("backoff", FAST)
    stream = watched.stream = heartline.connect(url, on_event=on_event, **options)
    # Tests share hosts and ports in time; their dials are no storm.
    stream._driver.session._neighbours = Neighbours()
    async with stream:
        watched.reader = asyncio.create_task(watched.read())
        try:
            yield watched
        finally:
            await stream.aclose()
            watched.reader.cancel()
            await asyncio.wait([watched.reader])


def check_clean(w: Watched) -> None:
    """Nothing was doubted, but perhaps what a stall of this very loop put in doubt."""
    assert w.of(events.Stalled) or w.of(events.Doubted) == []


def fill(stream: heartline.Stream) -> int:
    """Send until the outbox refuses; how many messages it took."""
    for sent in range(10_000):
        try:
            stream.send("x" * 20_000)
        except heartline.OutboxFull as full:
            if full.waiting_bytes <= full.limit_bytes:
                break
            return sent
    raise AssertionError("the outbox has no limit, or refuses below it")


def seq(message: heartline.Message) -> int:
    return int(json.loads(message.data)["seq"])


def check_ledger(items: list[heartline.Item], *, after: int | None = None) -> int:
    """Every number is there once and in order, or missing where a Gap stands.

    Returns how many are missing between `after`, or the first message, and the last.
    """
    last = after
    gap: list[heartline.Gap] = []
    missing = 0
    for item in items:
        if isinstance(item, heartline.Gap):
            gap.append(item)
        elif isinstance(item, heartline.Message):
            number = seq(item)
            if last is not None:
                assert number > last, f"{number} after {last}"
                if number != last + 1:
                    assert gap, f"{last + 1} to {number - 1} missing without a gap"
                    missing += number - last - 1
            last, gap = number, []
    return missing
