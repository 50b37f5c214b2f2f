"""What a new link brings before it is OPEN: kept until the Gap before it is told."""

from __future__ import annotations

from heartline.core.inbox import Inbox
from heartline.core.items import Gap, Message


class Early:
    """Reads of a link in SYNCING. They follow the Gap and the Status of its OPEN.

    Greetings come here, and whatever a venue sends without being asked. What is kept
    is bounded as the inbox is.
    """

    __slots__ = (
        "_limits",
        "_messages",
        "_reads",
        "_size_bytes",
    )

    def __init__(self, limits: Inbox) -> None:
        self._limits = limits
        self._reads: list[tuple[list[Message], int] | Gap] = []
        self._messages = 0
        self._size_bytes = 0

    def put(self, messages: list[Message], size_bytes: int) -> bool:
        """Keep one read; whether there is more now than an inbox may hold."""
        self._reads.append((messages, size_bytes))
        self._messages += len(messages)
        self._size_bytes += size_bytes
        limits = self._limits
        return self._messages > limits.limit or self._size_bytes > limits.limit_bytes

    def note(self, gap: Gap) -> None:
        """Keep a gap in the numbers at its place."""
        self._reads.append(gap)

    def take(self) -> list[tuple[list[Message], int] | Gap]:
        """All reads with their sizes, and gaps, in order; nothing is kept."""
        reads = self._reads
        self.clear()
        return reads

    def clear(self) -> None:
        """Forget them: the link is lost, and they lie in the gap that it leaves, which
        begins with the first of them."""
        self._reads, self._messages, self._size_bytes = [], 0, 0
