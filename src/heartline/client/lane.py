"""The lane: data of a calm stream, straight from a read to the consumer that waits.

Most reads of a busy stream change nothing but that more has come, and find their
consumer waiting. These pass by the pump, the inbox and the session, and are told to
the machine later, as of when they came. Whatever else there is to say (a gap, a
status, a consumer that is behind) closes the lane, and the read takes the long way.

`Lane` is compiled where that could be built, and `PureLane` where not: the same in
every result, at about half the cost a message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from itertools import repeat
from math import inf
from typing import Protocol, Self, cast

from heartline.compiled import compiled
from heartline.core.items import Item, Message
from heartline.wire.heard import add
from heartline.wire.pulse import Pulse

from .doorbell import Doorbell

_NO_CHANNEL = repeat(None)


class Waiting(Protocol):
    """What lies beside the lane for the same consumer, and whether more may come."""

    @property
    def ended(self) -> bool: ...

    def take(self) -> list[Item] | None:
        """What waits longest; None if nothing does: then the lane is set idle."""
        ...

    def finish(self) -> None:
        """Raise why nothing more will come, if there is a reason."""
        ...

    def refuse_another(self) -> None:
        """Raise that one consumer waits already."""
        ...


class PureLane(Doorbell):
    """One consumer's lane, its bell, and what was read on it but not yet told."""

    __slots__ = (
        "_handed",
        "_pulse",
        "_waiting",
        "at",
        "current",
        "data",
        "epoch",
        "first_at",
        "frames",
        "gaps",
        "idle",
        "most_reads",
        "passed",
        "passed_bytes",
        "reads",
        "size_bytes",
        "until_at",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        waiting: Waiting,
        pulse: Pulse | None = None,
    ) -> None:
        super().__init__(loop)
        self._waiting = waiting
        self._pulse = pulse
        self._handed: list[Message] | None = None
        self.current: Iterator[Item] = iter(())
        """What is left of the read whose items are taken one by one."""
        self.idle = False
        """Nothing lies beside the lane that would have to be read first."""
        self.passed = self.passed_bytes = 0
        """Messages that went this way, and their size on the wire."""
        self.until_at = -inf
        self.most_reads = 0
        """Reads before this instant need not be told at once; see `Heard`."""
        self.epoch = self.frames = self.data = self.size_bytes = self.reads = 0
        self.first_at = self.at = 0.0
        self.gaps: list[float] = []

    @property
    def handed(self) -> int:
        """Messages on the lane that the consumer has not taken yet."""
        return 0 if self._handed is None else len(self._handed)

    def take(self, data: list[str | bytes], size_bytes: int) -> bool:
        """Carry one read of plain messages; False, and nothing done, if closed.

        The consumer runs before this returns.
        """
        now = time.monotonic()
        if now >= self.until_at or not self._is_open():
            return False
        if self.reads >= self.most_reads:
            return False
        if asyncio.current_task(self._loop) is not None:
            return False
        if self._pulse is not None and not self._pulse.goes_on(now):
            return False
        messages = list(
            map(Message, data, repeat(now), _NO_CHANNEL, repeat(self.epoch))
        )
        add(self, len(messages), len(messages), size_bytes, now=now)
        self._hand(messages, size_bytes)
        self.ring(at_once=True)
        return True

    def hand(self, messages: list[Message], size_bytes: int) -> bool:
        """Give a read that was told already; False if the lane is closed."""
        if not self._is_open():
            return False
        self._hand(messages, size_bytes)
        return True

    def _is_open(self) -> bool:
        return self.awaited and self.idle and self._handed is None

    def _hand(self, messages: list[Message], size_bytes: int) -> None:
        self.passed += len(messages)
        self.passed_bytes += size_bytes
        self._handed = messages

    # --- the consumer's end -------------------------------------------------------

    def items(self) -> AsyncIterator[Item]:
        return _Items(self)

    def batches(self) -> AsyncIterator[list[Item]]:
        return _Batches(self)

    async def next_item(self) -> Item:
        """The next item of another read; raises `StopAsyncIteration` at the end."""
        batch = self._next() or await self._wait()
        if not batch:
            raise StopAsyncIteration
        self.current = iter(batch)
        return next(self.current)

    async def next_batch(self) -> list[Item]:
        """What waits, first the rest of what was read one by one."""
        batch = list(self.current) or self._next() or await self._wait()
        if not batch:
            raise StopAsyncIteration
        return batch

    def _next(self) -> list[Item] | None:
        handed = self._handed
        if handed is not None:
            self._handed = None
            return cast("list[Item]", handed)
        return None if self.idle else self._waiting.take()

    async def _wait(self) -> list[Item] | None:
        """Wait for something to read; None at the end, which may raise its reason."""
        while True:
            if self.awaited:
                self._waiting.refuse_another()
            if self._waiting.ended:
                self._waiting.finish()
                return None
            await self
            if batch := self._next():
                return batch


class _Read:
    """No generator: one whose wait was cancelled, as by a timeout, would be at its end
    though the stream is not."""

    __slots__ = ("_closed", "_lane")

    def __init__(self, lane: PureLane) -> None:
        self._lane = lane
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        self._closed = True


class _Items(_Read):
    __slots__ = ()

    async def __anext__(self) -> Item:
        if self._closed:
            raise StopAsyncIteration
        for item in self._lane.current:
            return item
        return await self._lane.next_item()


class _Batches(_Read):
    __slots__ = ()

    async def __anext__(self) -> list[Item]:
        if self._closed:
            raise StopAsyncIteration
        return await self._lane.next_batch()


Lane = PureLane
if (_found := compiled("client._lane")) is not None:
    Lane = cast("type[PureLane]", _found.Lane)
