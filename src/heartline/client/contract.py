"""From a venue's profile to what a stream is told once: its terms, URL and rhythms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from heartline.core.budget import Rate
from heartline.core.contracts import Freshness
from heartline.core.demands import demand_declared
from heartline.core.detector import Liveness
from heartline.core.feed import FeedTerms
from heartline.core.fetches import Snapshots
from heartline.core.restore import Restored
from heartline.core.rhythm import Rhythm
from heartline.core.rollover import Lifetime
from heartline.core.subscribing import Subscribing
from heartline.core.terms import Dialling, Terms
from heartline.errors import UsageError
from heartline.venue.classify import Contract
from heartline.venue.levels import Books
from heartline.venue.load import load
from heartline.venue.numbering_terms import numbered
from heartline.venue.pattern import Pattern
from heartline.venue.profile import Endpoint, seconds
from heartline.venue.vocabulary import Rate as VenueRate

from .snapshot_call import SnapshotCall, snapshot_call
from .trust import get_ready

SETTLE = 5.0
"""Seconds that a new link waits for its subscriptions to be answered before it is OPEN
all the same; those that are missing are told one by one."""
PAUSE_MORE = 0.1
"""Seconds longer than the venue wants: it counts from when it accepted the link."""
LEAST_DECLARED = 2.0
"""A venue's promise of data is held against it after twice its time: once is jitter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """A venue as one stream uses it. `name` as in `heartline venues`, or a file.

    Its first endpoint is meant unless `endpoint` names another, or the name does:
    `binance/usdm`.
    """

    name: str
    endpoint: str | None = None
    variant: str | None = None
    variables: Mapping[str, object] = field(
        default_factory=dict[str, object], repr=False
    )
    """Keys and tokens may be among them: they are never shown."""
    channels: Sequence[str] = ()
    token_url: str | None = field(default=None, repr=False)
    """Where the profile's call before the dial goes instead."""
    snapshots: Snapshots | None = field(default_factory=Snapshots)
    """How the state of those channels is fetched that send nothing but changes; None:
    it is not, and what comes after a gap is passed on as it comes."""
    checksums: bool = True
    """Whether books are verified, where the venue sends checksums of them. It takes
    some 15 us a message of such a channel, and nothing of any other."""
    contract: Contract = field(init=False, repr=False)
    books: Books = field(init=False, repr=False)

    def __post_init__(self) -> None:
        demand_declared(self)
        endpoint = load(self.name).endpoint(self.endpoint)
        object.__setattr__(self, "contract", Contract(endpoint))
        object.__setattr__(self, "books", Books(self.contract))
        if isinstance(self.channels, str):
            raise UsageError("channels", wanted="a sequence of names", got="one text")
        for channel in self.channels:
            if not isinstance(channel, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                got = type(channel).__name__
                raise UsageError("channels", wanted="names of str", got=got)
            self.contract.names.read(channel)
        limits = self.profile.limits
        most = limits.subscriptions if limits else None
        if most is not None and len(self.channels) > most:
            wanted = f"at most {most} on one link of {self.name}"
            raise UsageError("channels", wanted=wanted, got=len(self.channels))
        if self._makes_calls():
            get_ready()

    @property
    def profile(self) -> Endpoint:
        return self.contract.endpoint

    @property
    def url(self) -> str:
        """The profile's address; it may hold variables of the bootstrap."""
        url = self.profile.address.named(self.variant)
        return url

    @property
    def opening_pause(self) -> float:
        """Seconds after the opening of a link in which nothing may be said on it."""
        limits = self.profile.limits
        after = limits.send_after_s if limits else None
        return 0.0 if after is None else after + PAUSE_MORE

    # --- what the core is told ----------------------------------------------------

    def feed_terms(self) -> FeedTerms:
        profile = self.profile
        rules = profile.sequence.rules if profile.sequence else ()
        limits = profile.limits
        rates = (limits.messages, limits.requests) if limits else ()
        return FeedTerms(
            subscribing=self._subscribing(),
            rates=tuple(_rate(rate) for rate in rates if rate is not None),
            numbered=tuple(numbered(rule) for rule in rules),
            contract=self._declared(),
            restored=self._restored,
            book=self.books.book if self.checksums else _bookless,
            snapshots=self.snapshots or Snapshots(),
        )

    def snapshot_call(self, channel: str) -> SnapshotCall | None:
        """The call that tells a channel's state, where it is to be fetched."""
        policy = self.snapshots
        if policy is None:
            return None
        return snapshot_call(self.contract, channel, rest=policy.rest)

    def _makes_calls(self) -> bool:
        """Whether a token or the state of a channel that is known now is fetched."""
        bootstrap, told = self.profile.bootstrap, self.profile.sequence
        if bootstrap is not None and bootstrap.http is not None:
            return True
        rules = told.rules if told else ()
        if not any(rule.recover is not None and rule.recover.url for rule in rules):
            return False
        return any(self.snapshot_call(channel) for channel in self.channels)

    def _restored(self, channel: str) -> Restored | None:
        call = self.snapshot_call(channel)
        return None if call is None else call.terms

    def _subscribing(self) -> Subscribing:
        told, limits = self.profile.subscribe, self.profile.limits
        if told is None:
            return Subscribing(acks=False, unsubscribes=False)
        most = limits.channels_per_request if limits else None
        told_apart = any(ack.id is not None or ack.keys for ack in told.acks)
        leaves = told.unsubscribe is not None or any(
            form.unsubscribe is not None for form in told.forms
        )
        return Subscribing(
            acks=bool(told.acks),
            unsubscribes=leaves,
            replaces=told.resubscribe == "replace",
            channels=most or 100,
            in_flight=8 if told_apart or not told.acks else 1,
        )

    def _declared(self) -> Callable[[str], Freshness | None]:
        """What the venue keeps alive by itself, by the name of a channel."""
        told = self.profile.freshness
        promises = [
            (Pattern(pattern), seconds(each.every_s, self._known))
            for each in (told.contracts if told else ())
            if not isinstance(each.every_s, str) or each.every_s[2:-1] in self._known
            for pattern in each.channels
        ]

        def declared(channel: str) -> Freshness | None:
            key = self.contract.names.read(channel).key
            for pattern, every in promises:
                if pattern.parts(key) is not None:
                    within = max(LEAST_DECLARED, 2 * every)
                    return Freshness(every=within, redial=False)
            return None

        return declared

    @property
    def _known(self) -> dict[str, float]:
        """The profile's own variables that are numbers, as the user set them."""
        known = {name: each.value for name, each in self.profile.variables.items()}
        given = self.variables.items()
        return known | {k: float(v) for k, v in given if isinstance(v, int | float)}

    def heeded(self, terms: Terms) -> Terms:
        """The same terms, with what the venue demands: see below."""
        limits = self.profile.limits
        return replace(
            terms,
            liveness=self._liveness(terms.liveness),
            dialling=self._dialling(terms),
            lifetime=terms.lifetime or self._lifetime(),
            joins=limits is None or limits.connections != 1,
        )

    def _lifetime(self) -> Lifetime:
        """How old its links get, with time to replace them before that."""
        told = self.profile.lifetime
        if told is None or told.max_age_s is None:
            return Lifetime()
        most, usual = seconds(told.max_age_s, self._known), Lifetime()
        return Lifetime(
            max_age=most,
            lead=min(usual.lead, most / 4),
            spread=min(usual.spread, most / 4),
        )

    def _liveness(self, liveness: Liveness) -> Liveness:
        """Pinging as often as the venue demands it."""
        every = [
            seconds(each.every_s, self._known)
            for each in self.profile.liveness.ws_ping_out
            if each.every_s is not None and each.required
        ]
        if not every:
            return liveness
        least = min(every)
        return replace(
            liveness,
            ping_every=min(liveness.ping_every, least),
            measure_every=min(liveness.measure_every, least),
        )

    def _dialling(self, terms: Terms) -> Dialling:
        """With time to say all that is said on open, under the venue's rate limits."""
        feed, dialling = self.feed_terms(), terms.dialling
        requests = ceil(len(self.channels) / feed.subscribing.channels)
        slowest = max((requests / r.count * r.per for r in feed.rates), default=0.0)
        opening = self.profile.on_open
        steps = sum(step.within_s for step in opening.steps) if opening else 0.0
        greeting = self.profile.bootstrap
        hello = (greeting.frame_within_s or 0.0) if greeting else 0.0
        needed = slowest + steps + hello + self.opening_pause + 2 * SETTLE
        return replace(dialling, sync=max(dialling.sync, needed))


def rhythms(
    contract: Contract, variables: Mapping[str, object], *, now: float
) -> list[tuple[int, Rhythm]]:
    """The heartbeats that the venue wants by itself, by their place in the profile."""
    known = {k: float(v) for k, v in variables.items() if isinstance(v, int | float)}
    found: list[tuple[int, Rhythm]] = []
    for index, each in enumerate(contract.endpoint.liveness.msg_out):
        if each.once or (each.every_s is None and each.idle_s is None):
            continue
        every = None if each.every_s is None else seconds(each.every_s, known)
        idle = None if each.idle_s is None else seconds(each.idle_s, known)
        found.append((index, Rhythm(every=every, idle=idle, now=now)))
    return found


def _bookless(channel: str, rule: int) -> None:
    """Nothing is verified."""


def _rate(rate: VenueRate) -> Rate:
    return Rate(count=rate.count, per=rate.per_s)
