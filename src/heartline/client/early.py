"""What a new link brings before it is OPEN: kept until the Gap before it is told."""

from __future__ import annotations

from heartline.core.inbox import Inbox
from heartline.core.items import Message


class Early:
    """Reads of a link in SYNCING. They follow the Gap and the Status of its OPEN.

    Greetings come here, and whatever a venue sends without being asked. What is kept
    is bounded as the inbox is.
    """

    def __init__(self, limits: Inbox) -> None:
        self._limits = limits
        self._reads: list[tuple[list[Message], int]] = []
        self._messages = 0
        self._size_bytes = 0

    def put(self, messages: list[Message], size_bytes: int) -> bool:
        """Keep one read; whether there is more now than an inbox may hold."""
        self._reads.append((messages, size_bytes))
        self._messages += len(messages)
        self._size_bytes += size_bytes
        limits = self._limits
        return self._messages > limits.limit or self._size_bytes > limits.limit_bytes

    def take(self) -> list[tuple[list[Message], int]]:
        """All reads with their sizes, in order; nothing is kept."""
        reads = self._reads
        self.clear()
        return reads

    def clear(self) -> None:
        """Forget them: the link is lost, and they lie in the gap that it leaves."""
        self._reads, self._messages, self._size_bytes = [], 0, 0
