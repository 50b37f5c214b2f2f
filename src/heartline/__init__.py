"""heartline keeps WebSocket streams provably alive."""

from .client import Heartbeat, Stream, connect
from .core.backoff import Backoff
from .core.detector import Liveness
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
from .core.subscriptions import Freshness
from .core.terms import Dialling
from .errors import (
    GaveUp,
    HeartlineError,
    NotOpen,
    OutboxFull,
    UsageError,
    WireError,
)
from .server import Answer, Client, Hub, Limits, Request, Server, Standing, serve
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
    "Limits",
    "Liveness",
    "Message",
    "NotOpen",
    "OutboxFull",
    "Phase",
    "Request",
    "Resume",
    "Server",
    "Standing",
    "Status",
    "Stream",
    "UsageError",
    "Verdict",
    "Where",
    "WireError",
    "connect",
    "serve",
]
