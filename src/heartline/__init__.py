"""heartline keeps WebSocket streams provably alive."""

from importlib.metadata import version as _version

from . import events
from .client import Heartbeat, Numbered, Outage, Stream, Venue, connect
from .core.backoff import Backoff
from .core.detector import Liveness
from .core.fetches import Snapshots
from .core.inbox import Inbox
from .core.items import (
    Cause,
    Condition,
    Gap,
    Item,
    Message,
    Phase,
    Status,
    Verdict,
    Where,
)
from .core.latency import Latency, MaxAge
from .core.rollover import Lifetime
from .core.subscribing import Standing
from .core.subscriptions import Freshness
from .core.terms import Dialling
from .errors import (
    GaveUp,
    HeartlineError,
    NotOpen,
    OutboxFull,
    UsageError,
    VenueError,
    WireError,
)
from .server import Answer, Client, Hub, Limits, Request, Server, serve
from .wire.resume import Resume

__version__: str


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _version("heartline")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Answer",
    "Backoff",
    "Cause",
    "Client",
    "Condition",
    "Dialling",
    "Freshness",
    "Gap",
    "GaveUp",
    "Heartbeat",
    "HeartlineError",
    "Hub",
    "Inbox",
    "Item",
    "Latency",
    "Lifetime",
    "Limits",
    "Liveness",
    "MaxAge",
    "Message",
    "NotOpen",
    "Numbered",
    "Outage",
    "OutboxFull",
    "Phase",
    "Request",
    "Resume",
    "Server",
    "Snapshots",
    "Standing",
    "Status",
    "Stream",
    "UsageError",
    "Venue",
    "VenueError",
    "Verdict",
    "Where",
    "WireError",
    "connect",
    "events",
    "serve",
]
