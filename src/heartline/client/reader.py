"""The consumer's end of a stream: what waits for it, and how it is woken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import cast

from heartline.core.inbox import Buffer, Inbox
from heartline.core.items import Gap, Item, Message, Status
from heartline.errors import UsageError

from .doorbell import Doorbell

TAKE = 4096
"""Messages handed to the consumer at once, about: whole reads are not cut."""


class Reader:
    """One consumer's place in a stream. `relieve` is called when it took something."""

    def __init__(self, inbox: Inbox, *, relieve: Callable[[], None]) -> None:
        self.buffer = Buffer(inbox)
        self._relieve = relieve
        self._current: Iterator[Item] = iter(())
        self._bell: Doorbell | None = None
        self._handed: list[Message] | None = None
        self._handed_bytes = 0
        self._ended = False
        self._error: BaseException | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._bell = Doorbell(loop)

    def put(self, messages: list[Message], size_bytes: int) -> int:
        """Take the messages of one read; how many left undelivered because of it."""
        return self.buffer.put(messages, size_bytes)

    def hand(self, messages: list[Message], size_bytes: int) -> bool:
        """Give one read straight to a consumer that waits with nothing to read.

        False if there is none; then it has to be `put`. Follow either with `wake`.
        """
        bell = self._bell
        if bell is None or not bell.awaited or self._handed is not None:
            return False
        if not self.buffer.empty:
            return False
        self._handed, self._handed_bytes = messages, size_bytes
        return True

    def note(self, item: Gap | Status) -> None:
        self.buffer.note(item)

    def wake(self, *, at_once: bool = False) -> None:
        if self._bell is not None:
            self._bell.ring(at_once=at_once)

    def end(self, error: BaseException | None) -> None:
        """Nothing more will come; what waits can be read, then `error` is raised."""
        self._ended = True
        self._error = error
        self.wake()

    async def items(self) -> AsyncIterator[Item]:
        while True:
            for item in self._current:
                yield item
            batch = self._next() or await self._wait()
            if not batch:
                return
            self._current = iter(batch)

    async def batches(self) -> AsyncIterator[list[Item]]:
        rest = list(self._current)
        if rest:
            yield rest
        while batch := self._next() or await self._wait():
            yield batch

    def _next(self) -> list[Item] | None:
        """What waits longest; what was handed over came before the rest."""
        handed, buffer = self._handed, self.buffer
        if handed is not None:
            self._handed = None
            buffer.pass_by(len(handed), self._handed_bytes)
            return cast("list[Item]", handed)
        if buffer.empty:
            return None
        batch = buffer.take(TAKE)
        self._relieve()
        return batch

    async def _wait(self) -> list[Item] | None:
        """Wait for something to read; None at the end, which may raise its reason."""
        bell = self._bell
        if bell is None:
            raise UsageError(
                "stream", wanted="iteration inside `async with`", got="none"
            )
        while True:
            if bell.awaited:
                raise UsageError("stream", wanted="one consumer", got="another")
            if not self._ended:
                await bell
            if batch := self._next():
                return batch
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
