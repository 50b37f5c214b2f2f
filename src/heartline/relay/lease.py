"""A relay's lease on the bus: it stands as long as the relay is healthy, no longer.

It is written anew every third of its time, and only while the relay is healthy; when
it is not, or leaves, the entry is taken away. One that was killed or cut off says
nothing: its entry ends by itself, because the bucket keeps none longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Struct

BUCKET = "heartline_relays"
REFRESHES = 3
"""In the time of a lease: two may fail before it ends."""


class LeaseEntry(Struct, frozen=True, kw_only=True):
    """What the others see, as JSON. Instants are UTC, RFC 3339."""

    relay: str
    venue: str
    url: str
    since: str
    """When this process began."""
    at: str
    """When it was healthy last."""
    channels: int
    stored: int
    """Messages it stored since then."""
    waiting: int


class Entries(Protocol):
    """The bucket."""

    async def put(self, key: str, value: bytes) -> None: ...
    async def delete(self, key: str) -> None: ...
    async def keys(self) -> list[str]: ...


class Lease:
    """One relay's; `entry` gives what it says, None while it is not healthy."""

    def __init__(self, key: str, entry: Callable[[], LeaseEntry | None]) -> None:
        self.held = False
        self.peers: list[str] | None = None
        """The keys of other healthy relays of this upstream; None: not known yet."""
        self._key = key
        self._entry = entry

    async def refresh(self, entries: Entries) -> None:
        """Write it, or take it away; see who else is there."""
        entry = self._entry()
        if entry is not None:
            await entries.put(self._key, msgspec.json.encode(entry))
            self.held = True
        else:
            await self.release(entries)
        upstream = self._key.partition(".")[0] + "."
        self.peers = sorted(
            key
            for key in await entries.keys()
            if key.startswith(upstream) and key != self._key
        )

    async def release(self, entries: Entries) -> None:
        if self.held:
            await entries.delete(self._key)
            self.held = False
