"""What a desk needs of whoever drives its stream."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Protocol

from heartline.core.events import Event
from heartline.core.items import Cause

from .conversation import Read


class DeskOwner(Protocol):
    """Who drives the stream."""

    def post(self, epoch: int, text: str | bytes, *, first: bool) -> None:
        """Queue a message to the venue, `first` ahead of what waits."""
        ...

    def deliver(self, items: list[Read]) -> None:
        """Give the consumer what no read of a socket brought."""
        ...

    def announced(self, epoch: int, reason: str, lead: float | None) -> None:
        """The venue said that it will end this link, `lead` seconds from now."""
        ...

    def tell(self, event: Event) -> None: ...
    def give_up(self, epoch: int, cause: Cause, reason: str) -> None: ...
    def prove(self, epoch: int) -> None: ...
    def run(self, what: str, epoch: int, work: Coroutine[None, None, None]) -> None:
        """Have something done; it ends with the stream at the latest."""
        ...

    def heard_at(self, epoch: int) -> float:
        """When the last complete frame of a link came."""
        ...

    @property
    def secrets(self) -> frozenset[str]:
        """What no text may show."""
        ...

    @property
    def unread(self) -> bool:
        """Whether a socket holds what was not read."""
        ...

    @property
    def paused(self) -> bool:
        """Whether reading is paused until the consumer has caught up."""
        ...
