"""What a client may cost, and the allowance its pings are counted against."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from heartline.core.demands import demand_declared
from heartline.errors import UsageError

try:
    import resource
except ImportError:  # no such limit, as on Windows
    resource = None  # type: ignore[assignment]

SPARE = 64
"""Descriptors for all else that a process has open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server and each of its clients may take. Inclusive; seconds and bytes.

    `connections`: clients at once, as far as the process may have descriptors for them
    and 64 more; the next is refused with 503.
    `message_bytes`: a client's message, compressed or not; more is closed with 1009.
    `upgrade`: from the accepted connection to the whole upgrade request, TLS included.
    `pings_per_minute`: a client's pings, in any rhythm; more is closed with 1008.
    `subscriptions`: channels of one client; the next is refused.
    `outbound_age`: how long a client may take nothing while messages wait for it.
    `age`: how long a client may stay, None for ever; then closed with 1001.
    `close`: the closing handshake; then the connection is dropped.
    """

    connections: int = 10_000
    message_bytes: int = 1 << 20
    upgrade: float = 5.0
    pings_per_minute: int = 120
    subscriptions: int = 256
    outbound_age: float = 30.0
    age: float | None = None
    close: float = 0.5

    def __post_init__(self) -> None:
        demand_declared(self)
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"Limits.{name}", wanted="more than 0", got=value)


def descriptors_for_clients() -> float:
    """How many clients the process may have descriptors for, with some to spare.

    Beyond that nobody could be accepted, nor refused: the system says no to both.
    """
    if resource is None:
        return inf
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return inf if soft == resource.RLIM_INFINITY else soft - SPARE


class Allowance:
    """So many a minute, in any rhythm. Pure."""

    __slots__ = ("_left", "_most", "_seen_at")

    def __init__(self, per_minute: int, *, now: float) -> None:
        self._most = float(per_minute)
        self._left = self._most
        self._seen_at = now

    def spend(self, *, now: float) -> bool:
        """Take one; False if there is none left."""
        self._left += (now - self._seen_at) * self._most / 60.0
        self._left = min(self._left, self._most)
        self._seen_at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
