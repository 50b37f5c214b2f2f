"""What is declared of a stream: how often data comes, when a heartbeat is due."""

from __future__ import annotations

from dataclasses import dataclass

from heartline.errors import UsageError

from .demands import demand_declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What data a stream is expected to bring; a contract declared by its user.

    `every`: at least one message each so many seconds, counted from OPEN. Past it the
    channel is told stalled within 0.2 s. After a second such time without data the
    link is made anew: declare only what the feed keeps even in a quiet market.

    Of a venue, all that it says on the link counts, its answers and heartbeats too.
    """

    every: float
    redial: bool = True

    def __post_init__(self) -> None:
        demand_declared(self)
        if not self.every > 0:
            raise UsageError("Freshness.every", wanted="more than 0", got=self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beats:
    """When a text or JSON heartbeat is due; its words are the driver's business.

    Sent every `every` seconds whatever else flows: many venues count only this.
    `answered` says whether an answer is declared, and so whether its absence tells.
    """

    every: float
    answered: bool

    def __post_init__(self) -> None:
        if not self.every > 0:
            raise UsageError("Heartbeat.every", wanted="more than 0", got=self.every)
