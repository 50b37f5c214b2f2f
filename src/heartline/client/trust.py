"""What calls over HTTP need: their library, and whom to trust where nobody is named."""

from __future__ import annotations

import ssl
from functools import cache
from importlib import import_module


@cache
def system_trust() -> ssl.SSLContext:
    """The authorities of this system; read once, which takes longer than most calls."""
    return ssl.create_default_context()


def get_ready() -> None:
    """Load what calls need, which takes a third of a second the first time.

    In the first call of a stream that runs it would be a stall of its own loop.
    """
    import_module("httpx")
    system_trust()
