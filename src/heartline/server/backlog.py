"""What waits for a client that is slow to read, and what it will never get.

The policy is the inbox's (`core/inbox.py`); here is added which messages were dropped,
for the buffer only counts them. Pure.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from heartline.core.inbox import Buffer, Inbox

from .outgoing import Outgoing


class Missing(Struct, frozen=True):
    """Messages `first` to `last` of a channel, inclusive, were dropped for a client."""

    channel: str | None
    first: int
    last: int
    reason: Literal["overflow"] = "overflow"

    @property
    def count(self) -> int:
        return self.last - self.first + 1


class Backlog:
    """The messages that wait for one client, oldest first."""

    __slots__ = ("_buffer", "_last", "_next", "progress_at")

    def __init__(self, policy: Inbox, *, now: float) -> None:
        self.progress_at = now
        """When it began, or when something last left it."""
        self._buffer = Buffer(policy)
        self._next: dict[str | None, int] = {}
        self._last: dict[str | None, int] = {}

    @property
    def full(self) -> bool:
        return self._buffer.full

    @property
    def empty(self) -> bool:
        return self._buffer.empty and not self._next

    @property
    def waiting(self) -> int:
        """Messages that wait."""
        return self._buffer.waiting

    @property
    def waiting_bytes(self) -> int:
        return self._buffer.waiting_bytes

    @property
    def dropped(self) -> int:
        return self._buffer.dropped

    def knows(self, channel: str | None) -> bool:
        """Whether messages of the channel wait, or are missing and not told yet."""
        return channel in self._next

    def put(self, message: Outgoing, size_bytes: int) -> None:
        """Take one message; what its policy drops is told by `take`."""
        self._next.setdefault(message.channel, message.offset)
        self._last[message.channel] = message.offset
        self._buffer.put([message], size_bytes)

    def take(self, *, now: float) -> list[Outgoing | Missing]:
        """What waits longest: one message, and before it what is missing before it.

        At the end, what is missing at the end. An empty list: nothing waits.
        """
        out: list[Outgoing | Missing] = []
        self.progress_at = now
        for item in self._buffer.take(1):
            if not isinstance(item, Outgoing):
                continue  # the buffer's own gap, told below with its numbers
            wanted = self._next[item.channel]
            if item.offset > wanted:
                out.append(Missing(item.channel, wanted, item.offset - 1))
            self._next[item.channel] = item.offset + 1
            out.append(item)
        if self._buffer.empty:
            for channel, wanted in self._next.items():
                if wanted <= self._last[channel]:
                    out.append(Missing(channel, wanted, self._last[channel]))
            self._next.clear()
            self._last.clear()
        return out
