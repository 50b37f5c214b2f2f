"""What the links of one process tell each other; one value, injected into each session.

Several links to different hosts that fall silent in the same instant have one cause in
common: our own network, or our own host. And all streams to one host share one budget
of dials, so that a venue's restart is not answered by a storm.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from math import inf

SAME_INSTANT = 0.1
"""Doubts this close together are one event, seconds (Lifeguard's idea, one process)."""
TOGETHER = 2.0
"""Idle links are asked a second apart by their kernels, so their doubts begin up to
that far apart; one that has not healed in `SAME_INSTANT` is more than a lost packet."""
MOST_REMEMBERED = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DialBudget:
    """A token bucket per host: `burst` dials at once, then one every `every` seconds.

    Binance allows 300 connections in 5 minutes from one address; 1/s with a burst of
    ten stays below that (venue document, web-socket-streams).
    """

    every: float = 1.0
    burst: int = 10


@dataclass(slots=True)
class Neighbours:
    """Shared by all sessions of one process, or by all machines of one simulation."""

    budget: DialBudget = field(default_factory=DialBudget)
    _doubts: dict[int, tuple[str, float]] = field(
        default_factory=dict[int, tuple[str, float]]
    )
    _oldest_at: float = inf
    """No doubt that is remembered is older."""
    _free_at: dict[str, float] = field(default_factory=dict[str, float])
    _returned: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """When the dials of a host were to be made that were given back, in order."""

    def doubt(self, who: int, host: str, *, now: float) -> None:
        """Link `who` to `host` heard nothing and began to probe at `now`."""
        # Two ports of one host share its path; they say nothing about ours.
        self._doubts[who] = (host.rpartition(":")[0] or host, now)
        self._oldest_at = min(self._oldest_at, now)

    def watch(self, who: int, host: str, *, doubted_at: float | None) -> None:
        """Note how link `who` stands: in doubt since then, or not at all."""
        if doubted_at is None:
            self.clear(who)
        else:
            self.doubt(who, host, now=doubted_at)

    def clear(self, who: int) -> None:
        """Link `who` has heard something, or has ended by a word."""
        self._doubts.pop(who, None)

    def shared(self, who: int, *, now: float) -> bool:
        """Whether links to other hosts fell silent together with `who`.

        `now` bounds the memory: doubts older than a minute are forgotten.
        """
        mine = self._doubts.get(who)
        if mine is None:
            return False
        if now - self._oldest_at > 60.0:
            stale = [key for key, (_, at) in self._doubts.items() if now - at > 60.0]
            for key in stale:
                del self._doubts[key]
            self._oldest_at = min((at for _, at in self._doubts.values()), default=inf)
        host, at = mine
        return any(
            other != host
            and abs(other_at - at) <= TOGETHER
            and (abs(other_at - at) <= SAME_INSTANT or now - other_at > SAME_INSTANT)
            for other, other_at in self._doubts.values()
        )

    def reserve(
        self, host: str, *, budget: DialBudget | None = None, now: float
    ) -> float:
        """Take one dial of the host's budget; how long to wait before using it.

        Zero while the bucket has tokens. Every call takes one, so a waiting session
        must not call again for the same dial. `budget` is the caller's own, if any.
        """
        returned = self._returned.get(host, [])
        del returned[: bisect_left(returned, now)]
        if returned:
            return returned.pop(0) - now
        budget = budget or self.budget
        full_at = now - budget.every * (budget.burst - 1)
        free_at = max(self._free_at.get(host, full_at), full_at)
        if len(self._free_at) >= MOST_REMEMBERED and host not in self._free_at:
            self._forget(now)
        self._free_at[host] = free_at + budget.every
        return max(0.0, free_at - now)

    def give_back(self, host: str, dials_at: float) -> None:
        """A dial that was to be made then will not be: another may be in its place.

        Else those who ask and leave would put off all who come after them, for ever.
        """
        if host in self._free_at:
            insort(self._returned.setdefault(host, []), dials_at)

    def _forget(self, now: float) -> None:
        """Hosts whose bucket is full again need no memory; the oldest goes besides."""
        for host, at in list(self._free_at.items()):
            if at <= now - self.budget.every * (self.budget.burst - 1):
                del self._free_at[host]
        if len(self._free_at) >= MOST_REMEMBERED:
            del self._free_at[min(self._free_at, key=lambda host: self._free_at[host])]
        self._returned = {h: r for h, r in self._returned.items() if h in self._free_at}
