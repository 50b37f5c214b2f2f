"""What is awaited of a venue while a link is opened."""

from __future__ import annotations

import asyncio

from heartline.core.items import Cause
from heartline.errors import WireError


class Answers:
    """One task at a time waits for one thing; whoever reads says that it came."""

    def __init__(self) -> None:
        self._waits: dict[object, asyncio.Future[None]] = {}
        self._before: set[object] = set()
        """What came before anybody waited for it."""

    def awaits(self, what: object) -> bool:
        return what in self._waits

    async def wait(self, what: object, within: float, *, required: bool = True) -> None:
        """Return when it came, or after `within` seconds if it is not required.

        Raises `WireError` if it is, and did not come.
        """
        if what in self._before:
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waits[what] = waiting
        try:
            async with asyncio.timeout(within):
                await waiting
        except TimeoutError:
            if required:
                told = what if isinstance(what, str) else "an answer on opening"
                reason = f"{told}: nothing came within {within:g} s"
                raise WireError(Cause.HANDSHAKE_TIMEOUT, reason) from None
        finally:
            self._waits.pop(what, None)

    def came(self, what: object) -> None:
        waiting = self._waits.get(what)
        if waiting is None:
            self._before.add(what)
        elif not waiting.done():
            waiting.set_result(None)
