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
from asyncio import current_task
from collections.abc import AsyncIterator, Iterator
from itertools import repeat
from math import inf
from time import monotonic
from typing import Protocol, Self, cast

from heartline.compiled import compiled
from heartline.core.adaptive import LEAST_GAP
from heartline.core.items import Item, Message
from heartline.wire.pulse import Pulse

from .doorbell import Doorbell

_NO_CHANNEL = repeat(None)
_NOTHING: Iterator[Item] = iter(())


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
        self.current = _NOTHING
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
        # Of a read of a few messages it is the calls that cost: hence `_is_open`,
        # `heard.add`, `_hand` and `ring` once more, spelt out.
        wakeup, context = self._wakeup, self._context
        if wakeup is None or not self.idle or self._handed is not None:
            return False
        now = monotonic()
        if now >= self.until_at or self.reads >= self.most_reads:
            return False
        if current_task(self._loop) is not None:
            return False
        if self._pulse is not None and not self._pulse.goes_on(now):
            return False
        self._handed = messages = list(
            map(Message, data, repeat(now), _NO_CHANNEL, repeat(self.epoch))
        )
        count = len(messages)
        if not self.reads:
            self.first_at = now
        elif now - self.at >= LEAST_GAP:
            self.gaps.append(now - self.at)
        self.reads += 1
        self.frames += count
        self.data += count
        self.size_bytes += size_bytes
        self.at = now
        self.passed += count
        self.passed_bytes += size_bytes
        self._wakeup = None
        assert context is not None
        context.run(wakeup, self._rung)
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
        self.current = _NOTHING
        if not batch:
            raise StopAsyncIteration
        return batch

    def rests(self) -> bool:
        """Nothing is there to be read, no end either, and nobody waits."""
        return self.idle and self._handed is None and self._wakeup is None

    def handed_over(self) -> list[Item] | None:
        """What was read while the consumer waited, if it came by the lane."""
        handed, self._handed = self._handed, None
        return cast("list[Item] | None", handed)

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
        lane = self._lane
        for item in lane.current:
            return item
        # What nearly always follows, at the cost of one coroutine.
        if lane.rests():
            await lane
            handed = lane.handed_over()
            if handed is not None:
                lane.current = rest = iter(handed)
                return next(rest)
        return await lane.next_item()


class _Batches(_Read):
    __slots__ = ()

    async def __anext__(self) -> list[Item]:
        if self._closed:
            raise StopAsyncIteration
        lane = self._lane
        # What nearly always follows, at the cost of one coroutine.
        if lane.current is _NOTHING and lane.rests():
            await lane
            handed = lane.handed_over()
            if handed is not None:
                return handed
        return await lane.next_batch()


Lane = PureLane
if (_found := compiled("client._lane")) is not None:
    Lane = cast("type[PureLane]", _found.Lane)
