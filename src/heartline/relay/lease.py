"""A relay's lease on the bus: it stands as long as the relay is healthy, no longer.

It is written anew every third of its time, and only while the relay is healthy; when
it is not, or leaves, the entry is taken away. One that was killed or cut off says
nothing: its entry ends by itself, because the bucket keeps none longer.

Two processes of one name would store under each other's ids. Whoever finds the entry
of another where its own should stand has such a namesake. The younger of the two gives
way for as long as the other's entry stands.
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
    process: str = ""
    """Tells two of one name apart."""
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
    async def get(self, key: str) -> bytes | None: ...
    async def keys(self) -> list[str]: ...


class Lease:
    """One relay's; `entry` gives what it says, None while it is not healthy. `since`
    and `process` are those of its entries."""

    def __init__(
        self,
        key: str,
        entry: Callable[[], LeaseEntry | None],
        *,
        since: str,
        process: str,
    ) -> None:
        self.held = False
        self.peers: list[str] | None = None
        """The keys of other healthy relays of this upstream; None: not known yet."""
        self.namesake: LeaseEntry | None = None
        """An older process under our name: then nothing of ours is written."""
        self._key = key
        self._entry = entry
        self._ours = since, process

    async def refresh(self, entries: Entries) -> None:
        """Write it, or take it away; see who else is there."""
        entry, found = self._entry(), _read(await entries.get(self._key))
        theirs = None if found is None else (found.since, found.process)
        older = theirs is not None and theirs < self._ours
        # What stands there when we come may be of one that died: nobody renews it.
        known = self.held or self.namesake is not None
        self.namesake = found if known and older else None
        if self.namesake is not None:
            self.held = False
        elif entry is not None:
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


def _read(said: bytes | None) -> LeaseEntry | None:
    if said is None:
        return None
    try:
        return msgspec.json.decode(said, type=LeaseEntry)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # not a relay's; ours will stand there
