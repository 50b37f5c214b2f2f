"""Sending the clients away: told first, then closed one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from heartline.errors import UsageError
from heartline.wire.resume import NoticeFrame, encode

from .client import Client

SERVICE_RESTART = 1012
LONGEST_REASON_BYTES = 123
"""What a close frame has room for (RFC 6455 section 5.5)."""
STEP = 0.05
"""Seconds between two lots of clients that are closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """How a server goes: within so many seconds, and where its clients are to go."""

    within: float
    go: str | None
    reason: str

    def __post_init__(self) -> None:
        if not self.within >= 0:
            raise UsageError("drain", wanted="at least 0", got=self.within)
        for name in ("go", "reason"):
            said = (getattr(self, name) or "").encode()
            if len(said) > LONGEST_REASON_BYTES:
                wanted = f"at most {LONGEST_REASON_BYTES} bytes, for a close frame"
                raise UsageError(name, wanted=wanted, got=len(said))


async def part(leaving: Leaving, clients: Sequence[Client], *, close: float) -> None:
    """Tell all, close them evenly over `leaving.within`, and wait for the last."""
    notice = encode(
        NoticeFrame(
            code=SERVICE_RESTART,
            reason=leaving.reason,
            within=leaving.within,
            go=leaving.go,
        )
    )
    for client in clients:
        if client.speaks:
            client.say(notice)
    steps = max(1, round(leaving.within / STEP))
    closed = 0
    for step in range(1, steps + 1):
        if all(client.lost is not None for client in clients[closed:]):
            break
        if leaving.within:
            await asyncio.sleep(leaving.within / steps)
        upto = len(clients) * step // steps
        for client in clients[closed:upto]:
            client.close(SERVICE_RESTART, leaving.go or leaving.reason)
        closed = upto
    end = asyncio.get_running_loop().time() + close
    while any(client.lost is None for client in clients):
        if asyncio.get_running_loop().time() >= end:
            break
        await asyncio.sleep(STEP / 5)
