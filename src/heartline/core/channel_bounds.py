"""How long each channel of a stream may be silent until that is told, published."""

from __future__ import annotations

from collections.abc import Iterable

from .freshness import ChannelWatch

MOST_PROMISED = 256
"""Channels whose bounds a status names; of more, only the largest bound is told."""
KEPT = 1.0
"""Seconds for which the bounds are told unchanged: there may be many channels."""


class ChannelBounds:
    """The bounds that `watch` keeps, seconds."""

    def __init__(self, watch: ChannelWatch) -> None:
        self._watch = watch
        self._told: dict[str | None, float] = {}
        self._until = -1.0

    def renew(self) -> None:
        """Other channels are wanted now."""
        self._until = -1.0

    def of(self, channels: Iterable[str], *, now: float) -> dict[str | None, float]:
        """Seconds of silence until each channel is told; those nothing is promised of
        are left out. Of very many channels the largest alone, under None."""
        if now < self._until:
            return self._told
        promised: dict[str | None, float] = {
            name: bound
            for name in channels
            if (bound := self._watch.bound(name, now=now)) is not None
        }
        self._until = now + KEPT
        if len(promised) > MOST_PROMISED:
            promised = {None: max(promised.values())}
        self._told = promised
        return promised
