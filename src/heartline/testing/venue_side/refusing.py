"""How a venue treats channels that it does not have."""

from __future__ import annotations

from typing import Literal, TypeAlias

from heartline.venue.profile import Endpoint

Refusing: TypeAlias = Literal["refused", "left out", "acknowledged"]
"""It says so; its list of what was taken does not name them; or it takes them, and
never has data of them."""


def refusing(endpoint: Endpoint) -> Refusing | None:
    """The way that the profile describes; None if it describes none."""
    told = endpoint.subscribe
    if told is None:
        return None
    if told.silent_acks:
        return "acknowledged"
    if any(ack.lists == "request" and ack.keys for ack in told.acks[:1]):
        return "left out"
    return "refused" if told.refusals else None
