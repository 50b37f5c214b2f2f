"""Ends that are known beforehand: when a new link is dialled and the old one dropped.

Make before break: the old link delivers until the new one has everything that it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from heartline.errors import UsageError

from .channel_events import ChannelOutput, EndPlanned, Replace, Retire, TookOver
from .demands import demand_declared
from .items import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How a venue ends links by plan. Seconds.

    `max_age`: it ends every link that old; None: it does not. A new link is dialled
    `lead` before that, earlier by up to `spread`, so that the links of one process do
    not all go at once. `overlap` bounds how long both may live: past it the new one
    takes over whatever it has. `retry_after`: pause between failed dials. Links of a
    plain URL are joined by content alone, if both bring the same within a quarter of
    `overlap` of each other.
    """

    max_age: float | None = None
    lead: float = 120.0
    spread: float = 300.0
    overlap: float = 10.0
    retry_after: float = 5.0

    def __post_init__(self) -> None:
        demand_declared(self)
        for name in ("lead", "overlap", "retry_after"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"Lifetime.{name}", wanted="more than 0", got=getattr(self, name)
                )
        if not self.spread >= 0:
            raise UsageError("Lifetime.spread", wanted="at least 0", got=self.spread)
        least = self.lead + self.spread
        if self.max_age is not None and not self.max_age > least:
            raise UsageError(
                "Lifetime.max_age",
                wanted=f"more than lead and spread ({least}), or None",
                got=self.max_age,
            )


class Plan(StrEnum):
    """How far a link is on the way to its planned end.

    STEADY: no end in sight, or not yet. DUE: another is to be dialled, once it may.
    DIALLING: it is being dialled. JOINING: both live, and the new one is not complete.
    """

    STEADY = "STEADY"
    DUE = "DUE"
    DIALLING = "DIALLING"
    JOINING = "JOINING"


class Rollover:
    """Plans the end of the present link and the begin of the next. Read `deadline`.

    It knows links by their epochs alone. What it is told of other epochs is void.
    """

    __slots__ = (
        "_began_at",
        "_cause",
        "_reason",
        "deadline",
        "ends_at",
        "epoch",
        "plan",
        "policy",
        "successor",
    )

    def __init__(self, policy: Lifetime) -> None:
        self.policy = policy
        self.plan = Plan.STEADY
        self.epoch: int | None = None
        """The link that delivers."""
        self.successor: int | None = None
        self.ends_at: float | None = None
        """When the venue ends the present link, as far as it has said."""
        self._cause = Cause.AGE
        self._reason = ""
        self.deadline = inf
        """When `tick` is wanted; inf while no end is planned."""
        self._began_at = 0.0

    # --- what happens --------------------------------------------------------------

    def opened(self, epoch: int, *, draw: float, now: float) -> None:
        """A link is OPEN that replaces none; `draw` is uniform in [0, 1)."""
        self._settle(epoch, draw=draw, opened_at=now)

    def noticed(
        self, epoch: int, *, reason: str, lead: float | None = None, now: float
    ) -> list[ChannelOutput]:
        """The venue says that it will end a link, `lead` seconds from now if it says.

        A second notice is the first one repeated, unless it leaves less time.
        """
        if epoch != self.epoch:
            return []
        ends_at = None if lead is None else now + lead
        if self.ends_at is None or (ends_at is not None and ends_at < self.ends_at):
            self.ends_at = ends_at
        if self.plan is not Plan.STEADY:
            return []
        self._cause, self._reason = Cause.NOTICE, reason
        return self._begin(now)

    def dialling(self, successor: int) -> None:
        """The dial that `Replace` asked for has begun, under this epoch."""
        if self.plan is Plan.DUE:
            self.plan, self.successor = Plan.DIALLING, successor
            # Every dial has deadlines of its own.
            self.deadline = inf

    def joined(self, successor: int, *, now: float) -> None:
        """The new link is open; its channels are being asked for."""
        if successor == self.successor and self.plan is Plan.DIALLING:
            self.plan, self._began_at = Plan.JOINING, now
            self.deadline = now + self.policy.overlap
            if self.ends_at is not None:
                self.deadline = max(now, min(self.deadline, self.ends_at))

    def complete(
        self, successor: int, *, draw: float, now: float
    ) -> list[ChannelOutput]:
        """The new link delivers everything that is wanted, with nothing left out."""
        if successor != self.successor or self.plan is not Plan.JOINING:
            return []
        return self._take_over(draw=draw, now=now)

    def failed(
        self, successor: int, *, now: float, retry_after: float | None = None
    ) -> None:
        """The new link could not be dialled, or ended before it had taken over.

        `retry_after`: seconds that the venue asked us to wait, if it did.
        """
        if successor == self.successor and self.plan in (Plan.DIALLING, Plan.JOINING):
            self.plan, self.successor = Plan.DUE, None
            self.deadline = now + max(self.policy.retry_after, retry_after or 0.0)

    def ended(self, epoch: int, *, draw: float, now: float) -> list[ChannelOutput]:
        """The delivering link is gone. A successor that is open takes over as it is;
        else this is an outage like any other, and the plan is void."""
        if epoch != self.epoch:
            return []
        if self.plan is Plan.JOINING:
            return [
                o for o in self._take_over(draw=draw, now=now) if o != Retire(epoch)
            ]
        self.plan, self.epoch, self.ends_at = Plan.STEADY, None, None
        self.successor, self.deadline = None, inf
        return []

    def tick(self, *, draw: float, now: float) -> list[ChannelOutput]:
        """The deadline passed."""
        if now < self.deadline:
            return []
        match self.plan:
            case Plan.STEADY:
                self._cause, self._reason = Cause.AGE, "the link nears its greatest age"
                return self._begin(now)
            case Plan.DUE:
                return self._dial(now)
            case Plan.JOINING:
                return self._take_over(draw=draw, now=now)
            case Plan.DIALLING:
                return []

    # --- what follows ----------------------------------------------------------------

    def _begin(self, now: float) -> list[ChannelOutput]:
        assert self.epoch is not None
        planned = EndPlanned(
            at=now,
            epoch=self.epoch,
            cause=self._cause,
            reason=self._reason,
            ends_at=self.ends_at,
        )
        return [planned, *self._dial(now)]

    def _dial(self, now: float) -> list[ChannelOutput]:
        assert self.epoch is not None
        # Asked again should the driver not say that it dials.
        self.plan, self.deadline = Plan.DUE, now + self.policy.retry_after
        return [Replace(self.epoch)]

    def _take_over(self, *, draw: float, now: float) -> list[ChannelOutput]:
        old, new = self.epoch, self.successor
        assert old is not None
        assert new is not None
        overlap = now - self._began_at
        self._settle(new, draw=draw, opened_at=self._began_at)
        # However long it took: it is not to be replaced in the same breath.
        self.deadline = max(self.deadline, now + self.policy.retry_after)
        took = TookOver(at=now, epoch=new, from_epoch=old, overlap=overlap)
        return [Retire(old), took]

    def _settle(self, epoch: int, *, draw: float, opened_at: float) -> None:
        self.plan, self.epoch, self.successor = Plan.STEADY, epoch, None
        self.ends_at, self.deadline = None, inf
        policy = self.policy
        if policy.max_age is not None:
            self.ends_at = opened_at + policy.max_age
            self.deadline = self.ends_at - policy.lead - draw * policy.spread
