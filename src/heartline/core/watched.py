"""One channel's silences: what it is allowed, by contract or by what was learned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from msgspec import Struct

from heartline.errors import UsageError

from .contracts import Freshness
from .demands import demand_declared
from .figures import Total, Voice
from .pace import Pace

YOUNG = 300.0
"""A history of so many seconds stands for twice the longest silence it shows."""

ALIKE = 5
"""A longest silence is trusted once so many others were at least half as long: where
silences have no typical length, hardly any comes near the longest."""
LONE = 3.0
"""As much more than else is allowed while it is not trusted."""


class Outcome(StrEnum):
    """What is held of a channel's silence.

    QUIET: longer than usual, but its siblings are quiet as well. SUSPICIOUS: past what
    it is allowed, and proof that the link lives is awaited. STALLED: the link lives,
    and the channel does not.
    """

    LIVE = "LIVE"
    QUIET = "QUIET"
    SUSPICIOUS = "SUSPICIOUS"
    STALLED = "STALLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """How the silence of a channel is judged that nothing was declared of. Seconds.

    A channel may be silent for `factor` times its longest silence of the last
    `memory` to twice that, at least for `floor`, and until its siblings have said
    `witness` times what they usually say in that time. One that may be silent for
    longer than `ceiling` is never told stalled, nor is one that has been heard for
    less than `warm_up` or `warm_up_messages`.
    """

    factor: float = 4.0
    floor: float = 2.0
    ceiling: float = 30.0
    memory: float = 1800.0
    witness: float = 0.5
    warm_up: float = 120.0
    warm_up_messages: int = 50

    def __post_init__(self) -> None:
        demand_declared(self)
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not value > 0:
                raise UsageError(f"Watching.{name}", wanted="more than 0", got=value)
        if self.floor > self.ceiling:
            raise UsageError(
                "Watching.floor",
                wanted=f"at most ceiling ({self.ceiling})",
                got=self.floor,
            )


class Change(Struct, frozen=True):
    """A channel is now held SUSPICIOUS or STALLED, or LIVE again after STALLED.

    SUSPICIOUS asks for proof that the link lives, unless it has been `proven`.
    `redial`: its contract wants a new link for its sake. `allowed`: the silence it was
    allowed, seconds.
    """

    channel: str
    outcome: Outcome
    silence: float
    allowed: float
    because: str = ""
    proven: bool = True
    redial: bool = False


class Watched(Voice):
    """One channel; a few numbers."""

    __slots__ = (
        "contract",
        "former",
        "former_alike",
        "granted",
        "name",
        "since_at",
        "turn",
    )

    def __init__(self, name: str, contract: Freshness | None, *, now: float) -> None:
        self.name = name
        self.contract = contract
        self.data_at = now
        self.since_at = now
        self.count = 0
        self.heard = Total()
        """What all channels said, as its watch counts it."""
        self.all_at = 0
        """What all channels had said when this one last did."""
        self.longest = 0.0
        self.former = 0.0
        """The longest silence of this window of the memory, and of the one before."""
        self.alike = 0
        self.former_alike = 0
        """How many others were at least half as long, counted up to `ALIKE`."""
        self.window_at = now
        self.pace = Pace(now=now)
        self.outcome = Outcome.LIVE
        self.awaits_first = True
        self.alert = -1.0
        """A silence above it is worth a look when it ends."""
        self.granted = 0.0
        """The silence it was allowed when it was last told STALLED."""
        self.needed = 0.0
        """What its siblings must say in this silence to bear witness; 0 if not known:
        it is what they used to say when it began."""
        self.turn = 0
        """Which of its entries in the agenda counts."""

    @property
    def declared(self) -> float:
        """The silence it is allowed by contract; inf without one."""
        return inf if self.contract is None else self.contract.every

    def allowed(self, policy: Watching, *, now: float) -> float | None:
        """The silence it is allowed by what was learned; None if any."""
        age = now - self.since_at
        if self.awaits_first or age < policy.warm_up:
            return None
        if self.count < policy.warm_up_messages:
            return None
        now_and_then = ((self.longest, self.alike), (self.former, self.former_alike))
        most = max(
            longest if alike >= ALIKE else LONE * longest
            for longest, alike in now_and_then
        )
        allowed = max(policy.floor, policy.factor * most * (1 + YOUNG / age))
        return allowed if allowed <= policy.ceiling else None

    def learn(self, policy: Watching, silence: float, *, now: float) -> bool:
        """A silence of its own has ended; whether older ones were forgotten by it."""
        forgets = self.age(policy, now=now)
        if self.outcome is Outcome.STALLED:
            # Whether it was one or not: twice as much is allowed the next time.
            young = 1 + YOUNG / (now - self.since_at)
            again = 2 * self.granted / policy.factor / young
            self.longest = max(self.longest, min(silence, again))
        elif silence > self.longest:
            # A little longer than the longest is like it; much longer is like none.
            self.alike = self.alike + 1 if 1.5 * self.longest >= silence else 0
            self.longest = silence
        elif 2 * silence >= self.longest:
            self.alike += 1
        return forgets

    def calm_down(self) -> None:
        """Let only silences be looked at from which something is still to be learned.

        Each that comes near the longest is, until there were enough of them.
        """
        self.outcome = Outcome.LIVE
        self.needed = 0.0
        self.alert = self.longest if self.alike >= ALIKE else self.longest / 2

    def age(self, policy: Watching, *, now: float) -> bool:
        """Learn its pace, and forget silences that lie too far back; whether any do."""
        self.pace.learn(self.count, half_life=policy.memory, now=now)
        windows = (now - self.window_at) / policy.memory
        if windows < 1 or now - self.data_at > policy.ceiling:
            # While nothing is heard nothing is forgotten.
            return False
        recent = windows < 2
        self.former = self.longest if recent else 0.0
        self.former_alike = self.alike
        self.longest, self.alike, self.window_at = 0.0, 0, now
        self.alert = min(self.alert, 0.0)
        return True
