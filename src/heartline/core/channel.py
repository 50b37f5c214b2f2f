"""The third clock: data. What rhythm it has, and the contract it was declared with."""

from __future__ import annotations

from math import inf

from .adaptive import LEAST_GAP, Arrivals
from .events import ChannelStalled, Received
from .subscriptions import Freshness

CHANNEL_PATIENCE = 0.2
"""A channel past its contract is told within this, seconds."""
INTERRUPTED = 1.0
"""Data that comes after so long a gap, seconds, may have been resent on the way to us;
so may what comes after it, for as long again. Of 144 trials with 20 % loss on a real
stack none read data sent before a question later than that and 3 s (measured)."""
RESENT = 1.0
"""What was sent to a machine asleep comes at the latest so long after its waking as it
slept, and this, seconds: TCP resends at doubling intervals (RFC 6298, 5.5), the first
of them no longer than this on any path that is in use (0.2 s and the round trip)."""


class ChannelClock:
    """Watches the data of one link. It never blames the link; it asks for proof."""

    __slots__ = (
        "_arrivals",
        "_from_at",
        "_gap_is_ours",
        "_probed",
        "contract",
        "count",
        "data_at",
        "first_at",
        "flows_since",
        "fresh_at",
        "stalled_at",
    )

    def __init__(self, contract: Freshness | None, *, now: float) -> None:
        self.contract = contract
        self.data_at = now
        self._from_at = now
        """Before this, no silence counts: it was of our making."""
        self.fresh_at: float | None = None
        """The last data that had not waited out a stall of ours; None before any."""
        self.first_at: float | None = None
        """The first data of the link."""
        self.flows_since = now
        """Data read from here on was not held up on its way, as far as gaps show it."""
        self.count = 0
        self.stalled_at: float | None = None
        """The last data before a stall that has been told; None while not stalled."""
        self._arrivals = Arrivals(now=now)
        self._gap_is_ours = True
        self._probed: float | None = None

    def fed(self, fact: Received, *, now: float) -> float | None:
        """Data came; if that ends a stalled time, how long it lasted."""
        gap = self.gap_before(fact, now=now)
        self.data_at = self.fresh_at = now
        if self.first_at is None:
            self.first_at = now if fact.first_at is None else fact.first_at
        self.count += fact.data
        longest = max(gap, *fact.gaps) if fact.gaps else gap
        if longest >= INTERRUPTED:
            self.flows_since = now + longest
        self._arrivals.count(fact.reads)
        if gap >= LEAST_GAP and not self._gap_is_ours:
            self._arrivals.learn(gap, now=now)
        for between in fact.gaps:
            self._arrivals.learn(between, now=now)
        self._gap_is_ours = False
        if self.stalled_at is None:
            return None
        after, self.stalled_at = now - self.stalled_at, None
        return after

    def gap_before(self, fact: Received, *, now: float) -> float:
        """How long no data had come before the first of `fact`."""
        return (now if fact.first_at is None else fact.first_at) - self.data_at

    def fed_stale(self, messages: int, *, now: float) -> None:
        """Data came that had waited out a stall of ours: when it came, none can say."""
        if self.first_at is None:
            self.first_at = now
        self.count += messages
        self.resume(now=now)

    def extend(self, lag: float, *, now: float) -> None:
        """A stall of our own lies behind us: it prolongs the present silence."""
        self._from_at = min(now, self.silent_since + lag)
        self._gap_is_ours = True

    def slept(self, suspended: float, *, now: float) -> None:
        """This machine was suspended for so long: what was sent to it is resent."""
        self.extend(suspended + RESENT, now=now)

    def resume(self, *, now: float) -> None:
        """The silence up to here was of our making: the contract starts anew."""
        self._from_at = now
        self._gap_is_ours = True

    @property
    def learns_at(self) -> float:
        """Before this nothing is concluded from what data came when."""
        return self._arrivals.concludes_at

    @property
    def spare_reads(self) -> int:
        """Reads with data from which nothing is concluded, however late they are told.

        Once the next may tell the rhythm it is their time that counts: see `lull`.
        """
        return self._arrivals.spare_reads

    def rare_silence(self, *, per_minute: float, now: float) -> float | None:
        return self._arrivals.rare_silence(per_minute=per_minute, now=now)

    # --- the contract ------------------------------------------------------------

    @property
    def due_at(self) -> float:
        if self.contract is None:
            return inf
        return self.silent_since + self.contract.every

    @property
    def silent_since(self) -> float:
        """Where the present silence begins to count."""
        data_at, from_at = self.data_at, self._from_at
        return data_at if data_at >= from_at else from_at

    @property
    def asked(self) -> bool:
        """Whether proof of the link was asked for in the present silence."""
        return self._probed == self.silent_since

    def ask(self) -> None:
        self._probed = self.silent_since

    def stall(self, epoch: int, *, now: float) -> ChannelStalled:
        """It is past its contract; what is to be told of that."""
        assert self.contract is not None
        self.stalled_at = self.data_at
        silence, contract = now - self.data_at, self.contract.every
        return ChannelStalled(
            at=now, epoch=epoch, channel=None, silence=silence, contract=contract
        )

    @property
    def given_up_at(self) -> float:
        """When the link is made anew for its channel's sake."""
        if self.contract is None or not self.contract.redial:
            return inf
        return self.silent_since + 2 * self.contract.every + CHANNEL_PATIENCE

    def next_at(self, *, proven: bool, now: float) -> float:
        """When the contract wants a look again; `proven`: the link has answered."""
        if self.stalled_at is not None:
            return self.given_up_at
        if not self.asked:
            return self.due_at
        if proven:
            return now
        patience_at = self.due_at + CHANNEL_PATIENCE
        return patience_at if patience_at > now else now + CHANNEL_PATIENCE
