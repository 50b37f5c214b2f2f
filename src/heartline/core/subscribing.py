"""How a venue is asked for channels: the policy, and what is kept of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from heartline.errors import UsageError


class Standing(StrEnum):
    """How a wanted channel stands: not asked yet, asked, acknowledged, delivering.

    An acknowledged subscription is not a stream: venues acknowledge what does not
    exist. LIVE is what has brought data on the present link.
    """

    WANTED = "WANTED"
    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    LIVE = "LIVE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribing:
    """How a venue is asked for channels. Seconds.

    `acks`: it answers requests; else data is the only answer. `unsubscribes`: it can
    be asked to send no more. `replaces`: each request replaces all that was asked
    before, and so always lists everything. `ack_within` is the patience with one
    request, `retry_after` the pause before the second, doubled for each after that;
    `tries` in all. `channels` and `in_flight` limit one request, and requests that are
    not answered yet.
    """

    acks: bool = True
    unsubscribes: bool = True
    replaces: bool = False
    ack_within: float = 10.0
    retry_after: float = 1.0
    tries: int = 3
    channels: int = 100
    in_flight: int = 8

    def __post_init__(self) -> None:
        for name in ("ack_within", "retry_after", "tries", "channels", "in_flight"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"Subscribing.{name}", wanted="more than 0", got=getattr(self, name)
                )


@dataclass(slots=True, eq=False)
class Wanted:
    """One wanted channel."""

    name: str
    data_within: float | None
    standing: Standing = Standing.WANTED
    attempts: int = 0
    asked_at: float = 0.0
    acknowledged: bool = False
    patience: float | None = None
    """Seconds the present attempt may be without data once it is acknowledged."""


@dataclass(slots=True)
class Ignored:
    """What answers said that could not be meant; it changed nothing."""

    stale: int = 0
    """Of a link that is gone."""
    stray: int = 0
    """To no request that is open."""
    unasked: int = 0
    """Channels that were not asked for."""
