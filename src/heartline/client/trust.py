"""Whom calls over HTTP trust, where the user names nobody."""

from __future__ import annotations

import ssl
from functools import cache


@cache
def system_trust() -> ssl.SSLContext:
    """The authorities of this system; read once, which takes longer than most calls."""
    return ssl.create_default_context()
