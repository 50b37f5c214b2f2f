"""Planned ends at work on one stream: the plan, the link that is to take over, and the
one that has been replaced and is being closed."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from .channel_events import ChannelOutput, EndPlanned, Replace, Retire, TookOver
from .conditions import Conditions
from .events import (
    Abort,
    Close,
    DialFailed,
    Ended,
    Fact,
    Joined,
    Noticed,
    Output,
    Synced,
    Tick,
)
from .items import Cause, Condition
from .link import Link
from .losses import dial_lost
from .neighbour import Neighbour
from .rollover import Lifetime, Rollover
from .successor import Successor
from .terms import Terms

_LIFETIME = Lifetime()


class Handover:
    """From the first word of an end to the last of the link that ended.

    `number` gives a new link its epoch, `neighbour` says how long the host is to be
    spared the next dial; while `conditions` say that reading is paused nothing is
    dialled. After each call that returns outputs, `decide` says what the session must
    do itself.
    """

    __slots__ = (
        "_conditions",
        "_draw",
        "_leaves_by",
        "_leaving",
        "_neighbour",
        "_number",
        "_overdue",
        "_taken",
        "plan",
        "successor",
        "terms",
    )

    def __init__(
        self,
        terms: Terms,
        *,
        draw: Callable[[], float],
        number: Callable[[], int],
        neighbour: Neighbour,
        conditions: Conditions,
    ) -> None:
        self.terms = terms
        self.plan = Rollover(terms.lifetime or _LIFETIME)
        self.successor: Successor | None = None
        self._taken: Successor | None = None
        self._overdue: EndPlanned | None = None
        self._draw = draw
        self._number = number
        self._neighbour = neighbour
        self._conditions = conditions
        self._leaving: int | None = None
        self._leaves_by = inf

    @property
    def deadline(self) -> float:
        due = self.plan.deadline
        if self._leaves_by < due:
            due = self._leaves_by
        return due if self.successor is None else min(due, self.successor.deadline)

    @property
    def takes_over(self) -> bool:
        """Whether a link has taken over that the session is still to adopt."""
        return self._taken is not None

    def link(self, epoch: int) -> Link | None:
        """The link of this epoch that lives beside the delivering one."""
        successor = self.successor
        if successor is None or successor.epoch != epoch:
            return None
        return successor.link

    def owns(self, fact: Fact) -> bool:
        """Whether a fact belongs to a link that does not deliver."""
        successor, leaving = self.successor, self._leaving
        if successor is None and leaving is None:
            return False
        epoch = getattr(fact, "epoch", None)
        if successor is not None and epoch == successor.epoch:
            return True
        return leaving is not None and epoch == leaving

    # --- what happens ----------------------------------------------------------------

    def opened(self, epoch: int, *, now: float) -> None:
        self.plan.opened(epoch, draw=self._draw(), now=now)

    def noticed(self, fact: Noticed, *, now: float) -> list[Output]:
        plan = self.plan
        return self._obey(
            plan.noticed(fact.epoch, reason=fact.reason, lead=fact.lead, now=now), now
        )

    def lost(self, epoch: int, *, now: float) -> list[Output]:
        """The delivering link is gone. It is no outage if one takes over."""
        out = self._obey(self.plan.ended(epoch, draw=self._draw(), now=now), now)
        if self.successor is not None:
            out.append(self._without(self.successor))
        if self._leaving is not None:
            out.append(Abort(self._leaving))
            self._leaving, self._leaves_by = None, inf
        return out

    def handle(self, fact: Fact, *, now: float) -> list[Output]:
        """Take a fact of a link that does not deliver: see `owns`."""
        successor = self.successor
        if successor is None or getattr(fact, "epoch", None) != successor.epoch:
            if isinstance(fact, Ended):
                self._leaving, self._leaves_by = None, inf
            return []
        if isinstance(fact, Joined):
            plan, draw = self.plan, self._draw()
            return self._obey(plan.complete(fact.epoch, draw=draw, now=now), now)
        out = successor.handle(fact, now=now)
        if successor.failure is not None:
            return out + self._fail(successor.failure, now)
        if isinstance(fact, Synced) and successor.link is not None:
            self.plan.joined(fact.epoch, now=now)
        return out

    def tick(self, fact: Tick, *, lag: float, now: float) -> list[Output]:
        """Look at the deadline; our own loop was late by `lag`."""
        if now < self.deadline and not lag:
            return []
        out: list[Output] = []
        if now >= self._leaves_by and self._leaving is not None:
            out.append(Abort(self._leaving))
            self._leaving, self._leaves_by = None, inf
        successor = self.successor
        if successor is not None:
            out += successor.tick(fact, lag=lag, now=now)
            if successor.failure is not None:
                return out + self._fail(successor.failure, now)
        if now >= self.plan.deadline:
            out += self._obey(self.plan.tick(draw=self._draw(), now=now), now)
        return out

    def drop(self, reason: str, *, now: float) -> list[Output]:
        """Do without the other link for now: it is dialled again later."""
        if self.successor is None:
            return []
        failed = DialFailed(self.successor.epoch, Cause.CLOSED_BY_US, reason)
        return self._fail(failed, now)

    def end(self) -> list[Output]:
        """Do without the other link for good."""
        if self.successor is None:
            return []
        self.plan.failed(self.successor.epoch, now=inf)
        return [self._without(self.successor)]

    def decide(self) -> tuple[EndPlanned | None, Successor | None]:
        """The end that is to be met now, and the link that has taken over; once."""
        decided = self._overdue, self._taken
        self._overdue = self._taken = None
        return decided

    # --- what follows ----------------------------------------------------------------

    def _fail(self, failed: DialFailed, now: float) -> list[Output]:
        self.plan.failed(failed.epoch, now=now, retry_after=failed.retry_after)
        out = [] if self.successor is None else [self._without(self.successor)]
        return [*out, dial_lost(failed, attempt=1, now=now)]

    def _without(self, successor: Successor) -> Output:
        """Drop it; the dial that it waits for goes to whoever waits next."""
        self.successor = None
        if successor.waits:
            self._neighbour.give_back(successor.dials_at)
        return Abort(successor.epoch)

    def _obey(self, planned: list[ChannelOutput], now: float) -> list[Output]:
        out: list[Output] = []
        for each in planned:
            match each:
                case EndPlanned():
                    out.append(each)
                    if not self.terms.joins:
                        self._overdue = each
                case Replace() if self.terms.joins:
                    out += self._begin(now)
                case Retire():
                    out += self._retire(each.epoch, now)
                case TookOver():
                    self._taken, self.successor = self.successor, None
                    out.append(each)
                case _:
                    pass
        return out

    def _begin(self, now: float) -> list[Output]:
        if Condition.PAUSED in self._conditions:
            # The plan asks again.
            return []
        dials_at = now + max(0.0, self._neighbour.reserve(now))
        epoch = self._number()
        self.successor = Successor(epoch, self.terms, dials_at=dials_at, now=now)
        self.plan.dialling(epoch)
        return self.successor.tick(Tick(), lag=0.0, now=now)

    def _retire(self, epoch: int, now: float) -> list[Output]:
        out: list[Output] = [] if self._leaving is None else [Abort(self._leaving)]
        self._leaving, self._leaves_by = epoch, now + self.terms.dialling.close
        return [*out, Close(epoch, 1000)]
