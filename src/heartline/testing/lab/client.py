"""The process of the stream under test: heartline as its users have it, and a witness.

A child of `process.ChildProcess`; it enters its namespace and connects there, under
the defaults but for what the row says. It reports all that was told, and which
messages came, as runs of numbers. What is done to the process itself is in `ordeals`.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from heartline.testing.orders import Handler, run

from .namespaces import enter

if TYPE_CHECKING:
    from .ordeals import Ordeals

LONGEST_READ = 5.0


class Subject:
    """One stream and its witness, driven by orders."""

    def __init__(self) -> None:
        # Not before our path is set: what is imported here is not the kit's alone.
        from heartline.client import Stream

        from .ordeals import Ordeals, Watcher

        self.witness = Watcher()
        self.ordeals: Ordeals = Ordeals(self.witness)
        self._stream: Stream | None = None
        self._reading: asyncio.Task[None] | None = None
        self._metering: asyncio.Task[None] | None = None

    async def obey(self, order: str, options: dict[str, Any]) -> object:
        match order:
            case "connect":
                await self._connect(**options)
            case "status":
                return self._status()
            case "wait":
                return await self._wait(**options)
            case "last":
                numbers = self.witness.numbers
                return {"last": max(numbers, default=0), "count": len(numbers)}
            case "heard":
                segment = self.ordeals.segment_at
                return {"data": self.witness.heard_at, "segment": segment}
            case "report":
                return await self._report()
            case _:
                return self.ordeals.undergo(order, options)
        return None

    async def _connect(
        self,
        url: str,
        *,
        freshness: float | None = None,
        dialling: dict[str, float] | None = None,
        certificate: str | None = None,
        resolver: str | None = None,
    ) -> None:
        from heartline.client import connect
        from heartline.core.subscriptions import Freshness
        from heartline.core.terms import Dialling
        from heartline.wire.resolve import SystemResolver

        wanted: dict[str, Any] = {}
        if freshness is not None:
            wanted["freshness"] = Freshness(every=freshness)
        if dialling is not None:
            wanted["dialling"] = Dialling(**dialling)
        if certificate is not None:
            wanted["ssl_context"] = ssl.create_default_context(cadata=certificate)
        if resolver is not None:
            self.ordeals.names_hang = resolver == "hangs"
            wanted["resolver"] = SystemResolver(self.ordeals.getaddrinfo)
        stream = connect(url, on_event=self.witness.event, **wanted)
        await stream.__aenter__()
        self._stream = self.ordeals.stream = stream
        self._reading = asyncio.create_task(self.witness.read(stream))
        self._metering = asyncio.create_task(self.witness.watch_loop())
        self.ordeals.watch_kernel()

    def _status(self) -> dict[str, Any]:
        import msgspec

        assert self._stream is not None
        status = self._stream.status
        return {
            "phase": status.phase.value,
            "live": status.live,
            "path": status.bounds.path,
            "peer": status.bounds.peer,
            "channel": status.bounds.channels.get(None),
            "kernel": status.kernel,
            "retry_at": status.retry_at,
            "fresh": self._stream.is_fresh(max_age=1.0),
            "counts": msgspec.to_builtins(status.counts),
        }

    async def _wait(
        self, *, events: Sequence[str], since: float, within: float
    ) -> dict[str, Any] | None:
        """The first event of these kinds from `since` on; None if none comes."""
        try:
            async with asyncio.timeout(within):
                while True:
                    for at, event in self.witness.events:
                        if at >= since and type(event).__name__ in events:
                            return line(at, event)
                    await self.witness.news()
        except TimeoutError:
            return None

    async def _report(self) -> dict[str, Any]:
        """End the stream and tell all of it."""
        import msgspec

        assert self._stream is not None
        assert self._reading is not None
        assert self._metering is not None
        witness = self.witness
        counts = self._stream.status.counts
        ended_at = time.monotonic()
        await self._stream.aclose()
        await asyncio.wait_for(self._reading, LONGEST_READ)
        self._metering.cancel()
        return {
            "ended_at": ended_at,
            "events": [line(at, event) for at, event in witness.events],
            "items": runs(witness.numbers, witness.gaps),
            "stalls": witness.stalls,
            "silences": witness.silences,
            "bounds": self.ordeals.bounds,
            "heard_at": witness.heard_at,
            "aged": witness.aged,
            "oldest_age": witness.oldest_age,
            "counts": msgspec.to_builtins(counts),
            "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            **self.ordeals.figures(),
        }


def line(at: float, event: Any) -> dict[str, Any]:
    """An event as the witness saw it: `told_at` is when, by its clock."""
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(event)
    return {**fields, "told_at": at}


def runs(numbers: Sequence[int], gaps: Sequence[tuple[int, Any]]) -> list[list[Any]]:
    """What was delivered, in order: `["run", first, last]` and `["gap", {...}]`.

    Each gap comes with how many numbers were delivered before it.
    """
    import msgspec

    found: list[list[Any]] = []
    at_place: dict[int, list[list[Any]]] = {}
    for place, gap in gaps:
        at_place.setdefault(place, []).append(["gap", msgspec.to_builtins(gap)])
    for place, number in enumerate(numbers):
        found += at_place.pop(place, ())
        if found and found[-1][0] == "run" and found[-1][2] == number - 1:
            found[-1][2] = number
        else:
            found.append(["run", number, number])
    for place in sorted(at_place):
        found += at_place[place]
    return found


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    enter(options["namespace"])
    sys.path[:] = options["path"]
    # What happens here is wanted to happen: it is told by the report, not by logs.
    logging.getLogger("heartline").setLevel(logging.CRITICAL)
    return None, Subject().obey


def main(parent: int) -> None:
    run(_begin, parent=parent)
