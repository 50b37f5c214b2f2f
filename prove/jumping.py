"""An event loop in virtual time, for what is not to wait and must come out the same."""

from __future__ import annotations

import asyncio
import selectors
import traceback
from typing import Any


class _Jump(selectors.SelectSelector):
    """Waiting takes no time: it goes by at once."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class Loop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self._jump = _Jump()
        self.failures: list[str] = []
        super().__init__(self._jump)
        self.set_exception_handler(self._failed)

    def time(self) -> float:
        return self._jump.now

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        lines = traceback.format_exception(error) if error else [context["message"]]
        self.failures.append("".join(lines))

    def spend(self, seconds: float) -> None:
        self.run_until_complete(asyncio.sleep(seconds))
        if self.failures:
            raise AssertionError(self.failures[0])
