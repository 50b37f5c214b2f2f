"""Which bus a relay publishes to and how, and what is known of it. Values only."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

from msgspec import Struct

from heartline.core.demands import demand_declared
from heartline.errors import UsageError
from heartline.observe.redact import redact_url

from .lane import MOST_BYTES, MOST_MESSAGES

SCHEMES = ("nats", "tls", "ws", "wss")
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusTerms:
    """A bus, as one relay uses it. Raises `UsageError`, also where nats-py is absent.

    `url`: an address of NATS, or several with commas. `name`: this relay's own, the
    same after a restart; the host's unless given. `patience`: seconds to wait for what
    another relay may have. `anew_after`: see `Lane`. `lease`: seconds that one stands.
    `most_messages`, `most_bytes`: what may wait. The rest is for a stream that is made,
    in bytes and seconds; one that is there is taken as it is.
    """

    url: str
    name: str = ""
    stream: str = "HEARTLINE"
    patience: float = 1.0
    anew_after: float = 10.0
    lease: float = 9.0
    most_messages: int = MOST_MESSAGES
    most_bytes: int = MOST_BYTES
    keep_bytes: int = 1 << 30
    keep_age: float = 86_400.0
    duplicates: float = 120.0

    def __post_init__(self) -> None:
        demand_declared(self)
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in SCHEMES or not parts.hostname:
                wanted = "nats://HOST:PORT or tls://HOST:PORT"
                raise UsageError("bus", wanted=wanted, got=redact_url(url))
        if not NAME.fullmatch(self.relay):
            wanted = "1 to 64 of letters, digits, '.', '_' and '-'"
            raise UsageError("name", wanted=wanted, got=self.relay)
        if find_spec("nats") is None:
            wanted = "nats-py, which `pip install 'heartline[nats]'` brings"
            raise UsageError("bus", wanted=wanted, got="a Python without it")

    @property
    def urls(self) -> list[str]:
        return self.url.split(",")

    @property
    def relay(self) -> str:
        return self.name or socket.gethostname()


class BusStatus(Struct, frozen=True, kw_only=True):
    """How the bus stands, and its totals since the relay was started."""

    live: bool
    """Connected, and nothing waits longer than it should."""
    trouble: str
    """What went wrong last; empty once it is right again."""
    stored: int
    skipped: int
    """Messages that the stream had already, or newer ones."""
    waiting: int
    dropped: int
    """Messages that found no room, and were not stored."""
    gaps: int
    """Gaps told in the stream itself, beside the message that follows."""
    notes: int
    leased: bool
    peers: list[str]
    """Other healthy relays of this upstream, by the keys of their leases."""
