"""Calls by HTTP of which no log tells the address: a token may stand in it."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

TALKERS = (
    "httpx",
    *(f"httpcore.{part}" for part in ("connection", "http11", "proxy", "socks")),
)
"""The loggers that write down each call, with its whole address or what came back."""

_calling = ContextVar("_calling", default=False)


class _Discretion(logging.Filter):
    """Keeps silent about our calls alone: the user's own stay in the user's log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _calling.get()


_DISCRETION = _Discretion()


@contextmanager
def discreet() -> Generator[None, None, None]:
    """What is called inside is not logged by those who carry the call."""
    for name in TALKERS:
        logging.getLogger(name).addFilter(_DISCRETION)
    before = _calling.set(True)
    try:
        yield
    finally:
        _calling.reset(before)
