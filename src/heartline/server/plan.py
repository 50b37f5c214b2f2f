"""What a server is told once, and what it tells of itself."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from heartline.core.detector import Liveness
from heartline.core.events import Event
from heartline.core.inbox import Inbox
from heartline.core.items import Cause
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
