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

__all__ = [
    "Backoff",
    "Cause",
    "Condition",
    "Dialling",
    "Freshness",
    "Gap",
    "GaveUp",
    "Heartbeat",
    "HeartlineError",
    "Inbox",
    "Item",
    "Liveness",
    "Message",
    "NotOpen",
    "OutboxFull",
    "Phase",
    "Status",
    "Stream",
    "UsageError",
    "Verdict",
    "Where",
    "WireError",
    "connect",
]
