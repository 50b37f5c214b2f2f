"""What one client says, for a handler that reads it in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Self

from heartline.core.inbox import Buffer, Inbox, Overflow
from heartline.core.items import Message
from heartline.errors import UsageError

INBOX = Inbox(limit=256, limit_bytes=1 << 20, policy=Overflow.BLOCK)
"""A handler that is slow makes its own client wait, and nobody else."""

TAKE = 64


class Reading:
    """The inbox of one client; `relieve` is called when there is room again."""

    __slots__ = ("_buffer", "_ended", "_relieve", "_taken", "_waiter")

    def __init__(self, relieve: Callable[[], None]) -> None:
        self._buffer = Buffer(INBOX)
        self._ended = False
        self._relieve = relieve
        self._taken: Iterator[Message] = iter(())
        self._waiter: asyncio.Future[None] | None = None

    def put(self, message: Message) -> bool:
        """Take one message; False once there is enough."""
        self._buffer.put([message], len(message.data))
        self._wake()
        return not self._buffer.full

    def end(self) -> None:
        """Nothing more will come; what waits can be read."""
        self._ended = True
        self._wake()

    def messages(self) -> AsyncIterator[Message]:
        """All that is still to be read; another goes on where this one was left."""
        return _Messages(self)

    async def next(self) -> Message:
        """Wait for the next message; raises `StopAsyncIteration` at the end."""
        while True:
            for message in self._taken:
                return message
            if self._buffer.half_empty:
                self._relieve()
            if not self._buffer.empty:
                taken = self._buffer.take(TAKE)
                self._taken = (item for item in taken if isinstance(item, Message))
                continue
            if self._ended:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise UsageError("client", wanted="one reader", got="another")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Messages:
    """No generator: one that is left, or whose wait is cancelled, as by a timeout, is
    at its end, and what it had taken is lost."""

    __slots__ = ("_reading",)

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        return await self._reading.next()
