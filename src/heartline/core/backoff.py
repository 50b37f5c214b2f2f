"""Attempt -> delay. Never sleeps; owns no randomness; knows whom not to call again."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from heartline.errors import UsageError

from .demands import demand_declared
from .items import Cause

_REFUSED_FOR_GOOD = frozenset({401, 403, 407})
_POLICY_CLOSES = frozenset({1008})
_GENTLE_CLOSES = frozenset({1012, 1013})
_LOAD_REFUSALS = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How patiently a lost stream is dialled again. Seconds.

    Full jitter: the delay before attempt n is uniform in 0..min(cap, base * 2**(n-1)).
    """

    base: float = 1.0
    cap: float = 30.0
    gentle_base: float = 5.0
    """Least spread after the other end asked for patience: close 1012 or 1013, HTTP
    429 or 503 without Retry-After."""
    retry_after_cap: float = 900.0
    """A longer Retry-After is cut to this."""
    useful_uptime: float = 10.0
    """Seconds of data after which a link counts as having been useful; only then
    does the next loss start again at attempt 1."""
    quiet_uptime: float = 60.0
    """The same for a link that answered pings but had no data to send."""
    give_up_after: float | None = None
    """Give up when this long without an OPEN link; None is never."""

    def __post_init__(self) -> None:
        demand_declared(self)
        for name in ("base", "cap", "gentle_base", "retry_after_cap", "useful_uptime"):
            if not 0 < getattr(self, name) < inf:
                raise UsageError(
                    f"Backoff.{name}",
                    wanted="more than 0, and finite",
                    got=getattr(self, name),
                )
        if self.base > self.cap:
            raise UsageError(
                "Backoff.base", wanted=f"at most cap ({self.cap})", got=self.base
            )
        if not self.quiet_uptime > 0:
            raise UsageError(
                "Backoff.quiet_uptime", wanted="more than 0", got=self.quiet_uptime
            )
        if self.give_up_after is not None and not self.give_up_after > 0:
            raise UsageError(
                "Backoff.give_up_after",
                wanted="more than 0, or None",
                got=self.give_up_after,
            )

    def delay(
        self,
        attempt: int,
        *,
        draw: float,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> float:
        """Seconds before `attempt`, counted from 1; `draw` is uniform in [0, 1).

        `status` is the HTTP status or close code of the last end. A Retry-After is
        honoured as the least delay, with jitter on top so that those who were told
        the same second do not all come back in it.
        """
        # 2.0 ** 1024 overflows; the cap is reached long before.
        spread = min(self.cap, self.base * 2.0 ** min(attempt - 1, 64))
        if retry_after is not None:
            least = min(max(0.0, retry_after), self.retry_after_cap)
            # Someone who says "at once" for ever still meets a growing patience.
            return max(least + draw * self.base, draw * spread)
        if status in _GENTLE_CLOSES or status in _LOAD_REFUSALS:
            spread = min(self.cap, max(spread, self.gentle_base))
            return spread / 2 + draw * spread / 2
        return draw * spread

    @staticmethod
    def is_final(cause: Cause, status: int | None) -> bool:
        """Whether dialling again would only repeat the refusal."""
        if cause is Cause.REFUSED:
            return status in _REFUSED_FOR_GOOD
        return cause is Cause.CLOSED_BY_PEER and status in _POLICY_CLOSES
