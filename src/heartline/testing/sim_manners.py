"""How a simulated venue behaves, and what it has sent: values, never behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct


class Pongs(StrEnum):
    PROMPT = "prompt"
    NONE = "none"
    LATE = "late"


class Traffic(StrEnum):
    IDLE = "idle"
    STEADY = "steady"
    POISSON = "poisson"
    MARKET = "market"


@dataclass(slots=True, kw_only=True)
class Manners:
    """How the venue behaves; may be changed at any moment."""

    traffic: Traffic = Traffic.IDLE
    rate: float = 10.0
    """Messages a second. With MARKET traffic they come in bursts of about 20, some of
    them in one write, and the silences between bursts are Pareto(1.5) from 4 / rate."""
    mute: bool = False
    leaves_out: bool = False
    """Messages are numbered and not sent: a gap of the venue's own making."""
    trickle: bool = False
    """Only pieces of a message that is never complete."""
    pongs: Pongs = Pongs.PROMPT
    pong_delay: float = 1.0
    unsolicited_every: float | None = None
    answers_beats: bool = True
    refuses: int | None = None
    """HTTP status that answers every upgrade."""
    hangs: bool = False
    """Upgrades are not answered at all."""
    flaps_with: int | None = None
    """Close code that ends every connection `flaps_after` seconds after its upgrade."""
    flaps_after: float = 0.0
    listens: bool = True


class Sent(Struct, frozen=True, gc=False):
    """A block of numbered messages, as it was sent in one go."""

    at: float
    """The true time."""
    first: int
    messages: int
    receivers: int
    left_out: bool = False
    """Whether the venue lost them itself: they were numbered and never written."""
