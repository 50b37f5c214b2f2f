"""What a server is told once, and what it tells of itself."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from heartline.core.demands import demand_prompt
from heartline.core.detector import Liveness
from heartline.core.events import Event
from heartline.core.inbox import Inbox, Overflow
from heartline.core.items import Cause
from heartline.errors import UsageError
from heartline.wire.resume import Resume

from .client import Client
from .gate import Gate, Request
from .hub import Hub
from .limits import Limits

Slow: TypeAlias = Inbox | Callable[[Request], Inbox]
Watcher: TypeAlias = Callable[[Client, Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a server is told once."""

    hub: Hub
    host: str | Sequence[str]
    port: int
    liveness: Liveness
    limits: Limits
    slow: Slow
    resume: Resume
    gate: Gate
    ssl_context: ssl.SSLContext | None
    on_event: Watcher | None

    def __post_init__(self) -> None:
        demand_prompt("on_event", self.on_event)
        if isinstance(self.slow, Inbox):
            _demand_bounded(self.slow)
        else:
            demand_prompt("slow", self.slow)

    def slow_for(self, request: Request) -> Inbox:
        """What happens to a client that came with this request, if it is slow."""
        if isinstance(self.slow, Inbox):
            return self.slow
        chosen = self.slow(request)
        _demand_bounded(chosen)
        return chosen


def _demand_bounded(slow: object) -> None:
    """Raise over what would let messages wait for a slow client without end."""
    if not isinstance(slow, Inbox):
        raise UsageError("slow", wanted="an Inbox", got=type(slow).__name__)
    if slow.policy is Overflow.BLOCK:
        wanted = "drop_oldest, conflate or disconnect"
        raise UsageError("slow.policy", wanted=wanted, got="block")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """How a server stands. Totals are since it was opened."""

    clients: int
    slow: int
    """Clients for whom messages wait."""
    channels: int
    draining: bool
    joined: int
    refused: dict[int, int] = field(default_factory=dict[int, int])
    """HTTP status -> how often."""
    ended: dict[Cause, int] = field(default_factory=dict[Cause, int])
