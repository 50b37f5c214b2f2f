"""Messages that break the venue's own rules: all counted, one told on each link."""

from __future__ import annotations

from .channel_events import MalformedFound


class Misread:
    """Of one stream, across its links."""

    __slots__ = ("_told", "count")

    def __init__(self) -> None:
        self.count = 0
        self._told = -1
        """The epoch in which one was last told."""

    def tell(self, reason: str, *, epoch: int, now: float) -> list[MalformedFound]:
        """`reason` is passed on: it must show none of the message's content."""
        if self._told == epoch:
            return []
        self._told = epoch
        return [MalformedFound(at=now, epoch=epoch, reason=reason)]
