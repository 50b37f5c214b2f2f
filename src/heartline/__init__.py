"""heartline keeps WebSocket streams provably alive."""

from .client import Heartbeat, Outage, Stream, Venue, connect
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
    "serve",
]
