"""When a venue speaks by itself: pings, probes and signs of life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from heartline.venue.profile import Endpoint, seconds
from heartline.venue.vocabulary import Timer

UNNAMED_EVERY: Final = 15.0
"""Seconds between beats of which the venue does not say how often they come."""


@dataclass(slots=True, kw_only=True)
class Beat:
    """One rhythm of the venue's on one link."""

    kind: Literal["ping", "probe", "beacon", "repetition"]
    index: int
    every: Timer | None
    on: bool
    """Whether it beats; some wait until the client asks for it."""
    idle: bool = False
    """It beats only after that long a silence."""
    channel: str | None = None
    next_at: float = 0.0
    count: int = 0

    def seconds(self, variables: Mapping[str, float]) -> float:
        if self.every is None:
            return UNNAMED_EVERY
        return seconds(self.every, variables)

    def begin(self, variables: Mapping[str, float], *, now: float) -> None:
        self.on = True
        self.next_at = now + self.seconds(variables)

    def heard(self, variables: Mapping[str, float], *, now: float) -> None:
        """Put it off, if it is for silences: the venue has just said something."""
        if self.idle and self.on:
            self.next_at = now + self.seconds(variables)


def beats_of(endpoint: Endpoint) -> list[Beat]:
    """All rhythms of a new link that belong to no channel; none has begun."""
    live = endpoint.liveness
    beats = [
        Beat(kind="ping", index=at, every=each.every_s, on=True)
        for at, each in enumerate(live.ws_ping_in)
    ]
    beats += [
        Beat(kind="probe", index=at, every=each.every_s, on=each.enable is None)
        for at, each in enumerate(live.msg_in)
    ]
    asked_for = {each.every_s for each in live.msg_in if each.enable is not None}
    for at, each in enumerate(live.beacon):
        if each.scope != "connection" and endpoint.subscribe is not None:
            continue
        # A rhythm that the client sets does not exist before it is set.
        is_set = isinstance(each.every_s, str) and each.every_s in asked_for
        on = each.when != "on_enable" and not is_set
        idle = each.when == "idle"
        beats.append(
            Beat(kind="beacon", index=at, every=each.every_s, on=on, idle=idle)
        )
    return beats


def repetition(every: Timer, channel: str) -> Beat:
    """A channel that says the same again when nothing changes."""
    return Beat(
        kind="repetition", index=0, every=every, on=False, idle=True, channel=channel
    )


def beat_of_channel(endpoint: Endpoint, index: int, channel: str) -> Beat:
    """The sign of life of one subscribed channel."""
    beacon = endpoint.liveness.beacon[index]
    return Beat(
        kind="beacon",
        index=index,
        every=beacon.every_s,
        on=False,
        idle=beacon.when == "idle",
        channel=channel,
    )
