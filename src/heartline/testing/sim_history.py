"""What a simulation writes down, and how it is read again."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple, TypeAlias

from heartline.core.events import ConditionBegan, ConditionEnded, Lost
from heartline.core.items import Bounds, Cause, Condition, Phase

AFTERMATH = 40.0
"""Seconds in which a fault may still be the reason of what is told: the other end's
kernel may stay silent for twice as long as the fault lasted."""

PATH_FAULTS = {"blackhole", "inbound", "outbound", "link_down", "suspend"}
BLAMES = {
    Cause.PATH_DEAD: PATH_FAULTS | {"vanish"},
    Cause.PEER_FROZEN: {"freeze", "trickle", "no_pong", "late_pong"},
    Cause.CHANNEL_STALLED: {"mute", "left_out", "freeze", "trickle", *PATH_FAULTS},
    Cause.RESET: {"restart", "vanish", "stall", "freeze", *PATH_FAULTS},
    Cause.CLOSED_BY_PEER: {"close", "restart", "flap", "hang", "vanish", "freeze"},
    Cause.REFUSED: {"refuse", "restart"},
    Cause.HANDSHAKE_TIMEOUT: {"hang", "freeze", "stall", *PATH_FAULTS},
    Cause.NAME_RESOLUTION: {"stall", "suspend"},
}
"""Which injected faults explain a cause. Told ends come from both sides: the venue's
own `Link` gives up a client that it cannot hear."""


class Truth(NamedTuple):
    """What nobody in the simulation knows, noted when a link is lost or doubted."""

    epoch: int
    heard_at: float
    """Last segment the client's kernel received, on the client's clock."""
    frame_at: float
    """Last complete frame the client's program read."""
    data_at: float
    stalled: float
    """Seconds the client's own loop stood still, in all."""


class Mark(NamedTuple):
    """A fault began or ended."""

    name: str
    on: bool
    host_at: float
    """The moment on the client's clock, which a suspend stops."""
    epoch: int
    phase: Phase
    bounds: Bounds
    stalled: float
    missed_soon: bool = False
    """Whether data had a rhythm so fast that its absence is noticed before the
    kernel's silence is."""


class Settled(NamedTuple):
    """The bounds once what was on its way when a fault began has arrived."""

    name: str
    bounds: Bounds
    missed_soon: bool = False


Entry: TypeAlias = tuple[float, str, object]
"""When; fact, do, event, item, phase, fault, busy, bounds, truth or broken; what."""
_PASSED_OVER = frozenset({"fact", "do", "item", "phase"})
"""Nearly all entries, and none of them says what was done to the stream or lost."""


@dataclass(slots=True)
class Episode:
    """One injected fault, from its mark to its end."""

    mark: Mark
    from_at: float
    until_at: float = inf
    settled: Bounds | None = None
    misses_soon: bool = True
    """Whether data is missed soon, also when what was on its way had arrived."""

    @property
    def name(self) -> str:
        return self.mark.name

    @property
    def lasted(self) -> float:
        return self.until_at - self.from_at

    def explains(self, cause: Cause, *, at: float) -> bool:
        blamed = self.name in BLAMES.get(cause, set())
        return blamed and self.is_felt(at)

    def is_felt(self, at: float) -> bool:
        lasted = min(self.until_at, at) - self.from_at
        return self.from_at <= at <= self.until_at + max(AFTERMATH, 2 * lasted)


@dataclass(slots=True)
class Told:
    """A loss as it was told, and the truth at that moment."""

    at: float
    lost: Lost
    truth: Truth


@dataclass(slots=True)
class Reading:
    """A history as checkers need it."""

    episodes: list[Episode] = field(default_factory=list[Episode])
    losses: list[Told] = field(default_factory=list[Told])
    paused: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """When the inbox held the reading back, from and until."""

    def explain(self, cause: Cause, *, at: float) -> list[Episode]:
        """The faults that may be the reason of what is told.

        What the venue said may have waited out a path that was away in its aftermath.
        """
        reasons = [e for e in self.episodes if e.explains(cause, at=at)]
        if reasons or cause is not Cause.CLOSED_BY_PEER:
            return reasons
        held = [e for e in self.episodes if e.name in PATH_FAULTS and e.is_felt(at)]
        return [
            said
            for said in self.episodes
            if any(said.explains(cause, at=away.from_at) for away in held)
        ]

    def was_paused(self, from_at: float, until: float) -> bool:
        """Whether the inbox held the reading back at any moment of that time."""
        return any(began <= until and ended >= from_at for began, ended in self.paused)


def read(history: list[Entry]) -> Reading:
    """Find the faults and the losses in a history."""
    reading = Reading()
    running: dict[str, Episode] = {}
    truth: Truth | None = None
    paused_at: float | None = None
    for at, kind, value in history:
        if kind in _PASSED_OVER:
            continue
        match value:
            case Mark(on=True):
                running[value.name] = episode = Episode(value, at)
                reading.episodes.append(episode)
            case Mark():
                running.pop(value.name).until_at = at
            case Settled():
                latest = [e for e in reading.episodes if e.name == value.name][-1]
                latest.settled = value.bounds
                latest.misses_soon = value.missed_soon
            case Truth():
                truth = value
            case Lost():
                assert truth is not None
                reading.losses.append(Told(at, value, truth))
            case ConditionBegan(condition=Condition.PAUSED):
                paused_at = at
            case ConditionEnded(condition=Condition.PAUSED) if paused_at is not None:
                reading.paused.append((paused_at, at))
                paused_at = None
            case _:
                pass
    if paused_at is not None:
        reading.paused.append((paused_at, inf))
    return reading
