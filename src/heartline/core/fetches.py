"""Snapshots to be fetched: when, how many at once, and how patiently again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from msgspec import Struct

from heartline.errors import UsageError

from .backoff import Backoff
from .budget import Budget, Rate
from .demands import demand_declared
from .timers import Timers

GRACE = 1.0
"""Seconds after its deadline that a call may still be answered by whoever makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshots:
    """How snapshots are fetched by HTTP. Seconds; sizes in bytes.

    `rest` stands in place of scheme and host of the profile's addresses: a proxy's or a
    testnet's. One call may take `within`, and `at_once` run at the same time. `rates`
    hold for a host, over all streams of the process that call it; those of the first
    stand. Venues weigh whole books heavily (Binance: 250 of 6000 a minute). Of each
    channel at most `keep` messages of `keep_bytes` wait for its snapshot; beyond that
    they are dropped, and told as a gap.
    """

    rest: str | None = None
    within: float = 10.0
    at_once: int = 4
    rates: tuple[Rate, ...] = (Rate(count=5, per=1.0), Rate(count=20, per=60.0))
    backoff: Backoff = field(default_factory=lambda: Backoff(cap=60.0))
    keep: int = 10_000
    keep_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        demand_declared(self)
        for name in ("within", "at_once", "keep", "keep_bytes"):
            if not 0 < getattr(self, name) < inf:
                wanted, got = "more than 0, and finite", getattr(self, name)
                raise UsageError(f"Snapshots.{name}", wanted=wanted, got=got)
        rest = self.rest
        if rest is not None and not rest.startswith(("http://", "https://")):
            raise UsageError(
                "Snapshots.rest", wanted="a URL with http:// or https://", got="another"
            )


class Fetch(Struct, frozen=True):
    """Fetch the snapshot of a channel; what comes of it carries this back."""

    epoch: int
    channel: str
    serial: int


class Host:
    """One host, as all that call it share it."""

    __slots__ = ("budget", "closed_until")

    def __init__(self, rates: tuple[Rate, ...]) -> None:
        self.budget = Budget(rates)
        self.closed_until = -inf
        """It asked to be left alone until then."""

    @property
    def free_at(self) -> float:
        """From when on it may be called; -inf is at once."""
        return max(self.budget.free_at(), self.closed_until)


class Hosts:
    """What the streams of one process know of the hosts they call."""

    def __init__(self) -> None:
        self._hosts: dict[str, Host] = {}

    def host(self, name: str, rates: tuple[Rate, ...]) -> Host:
        """The host of this name; `rates` count where nobody has called it yet."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(rates)
        return host


class Fetches:
    """The calls of one stream. Read `deadline`, and call `due` when it has come."""

    def __init__(
        self, policy: Snapshots, *, hosts: Hosts, draw: Callable[[], float]
    ) -> None:
        self.policy = policy
        self.failures: dict[str, int] = {}
        """Calls in a row that brought a channel nothing."""
        self._hosts = hosts
        self._draw = draw
        self._epoch = 0
        self._serial = 0
        self._host: dict[str, Host] = {}
        self._waiting = Timers[str]()
        self._flying: dict[str, Fetch] = {}
        self._overdue = Timers[str]()

    def begin(self, epoch: int) -> None:
        """A new link: what was asked for the one before is void."""
        self._epoch = epoch
        self.failures.clear()
        for timers in (self._waiting, self._overdue):
            timers.clear()
        self._flying.clear()

    def adopt(self, epoch: int) -> None:
        """Another link goes on where the one before was: what was asked is awaited."""
        self._epoch = epoch

    def want(self, channel: str, host: str, *, now: float) -> None:
        self._host[channel] = self._hosts.host(host, self.policy.rates)
        self._flying.pop(channel, None)
        self._overdue.cancel(channel)
        self._waiting.set(channel, now)

    def drop(self, channel: str) -> None:
        self._waiting.cancel(channel)
        self._overdue.cancel(channel)
        self._flying.pop(channel, None)
        self._host.pop(channel, None)
        self.failures.pop(channel, None)

    @property
    def deadline(self) -> float:
        """When something is due; inf if nothing is awaited."""
        due = self._overdue.next_at
        if len(self._flying) < self.policy.at_once:
            due = min(due, self._waiting.next_at)
        return due

    def due(self, *, now: float) -> tuple[list[Fetch], list[Fetch]]:
        """Calls to be made now, and those that were never answered."""
        lost: list[Fetch] = []
        while (channel := self._overdue.pop(now=now)) is not None:
            lost.append(self._flying.pop(channel))
        calls: list[Fetch] = []
        while len(self._flying) < self.policy.at_once:
            channel = self._waiting.pop(now=now)
            if channel is None:
                break
            host = self._host[channel]
            if host.free_at > now:
                self._waiting.set(channel, host.free_at)
                continue
            host.budget.spend(now=now)
            self._serial += 1
            fetch = Fetch(self._epoch, channel, self._serial)
            self._flying[channel] = fetch
            self._overdue.set(channel, now + self.policy.within + GRACE)
            calls.append(fetch)
        return calls, lost

    def awaits(self, fetch: Fetch) -> bool:
        """Whether the answer to a call is still awaited."""
        return self._flying.get(fetch.channel) == fetch

    def answered(self, fetch: Fetch) -> bool:
        """Whether an answer is still awaited; it is not any more."""
        if not self.awaits(fetch):
            return False
        del self._flying[fetch.channel]
        self._overdue.cancel(fetch.channel)
        return True

    def again(
        self,
        channel: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        now: float,
    ) -> int:
        """A call brought nothing: let it be made again, and say how many did not.

        What a host asks for by Retry-After holds for all calls to it.
        """
        failures = self.failures[channel] = self.failures.get(channel, 0) + 1
        backoff, draw = self.policy.backoff, self._draw()
        delay = backoff.delay(
            failures, draw=draw, status=status, retry_after=retry_after
        )
        if retry_after is not None:
            host = self._host[channel]
            least = min(max(0.0, retry_after), backoff.retry_after_cap)
            host.closed_until = max(host.closed_until, now + least)
        self._waiting.set(channel, now + delay)
        return failures
