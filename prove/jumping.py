"""An event loop in virtual time, for what is not to wait and must come out the same."""

from __future__ import annotations

import asyncio
import selectors
import traceback
from typing import Any


class _Jumps(selectors.SelectSelector):
    """Waiting takes no time: it goes by at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing will ever happen"
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Whoever sleeps on it, sleeps for no time at all."""

    def __init__(self) -> None:
        self._jumps = _Jumps()
        super().__init__(self._jumps)

    def time(self) -> float:
        return self._jumps.now


class StrictLoop(VirtualLoop):
    """One that raises what failed in any of its callbacks."""

    def __init__(self) -> None:
        self._failures: list[str] = []
        super().__init__()
        self.set_exception_handler(self._failed)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        lines = traceback.format_exception(error) if error else [context["message"]]
        self._failures.append("".join(lines))

    def spend(self, seconds: float) -> None:
        """Let that much time go by.

        Raises `AssertionError` with the first failure, in it or before.
        """
        self.run_until_complete(asyncio.sleep(seconds))
        if self._failures:
            raise AssertionError(self._failures[0])
