"""The whole venue: its channels, its links, its faults and its account."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import count
from math import inf
from typing import Final

from heartline.errors import UsageError
from heartline.testing.traffic import market_traffic
from heartline.venue.channels import Ack, Rule
from heartline.venue.classify import Contract
from heartline.venue.entries import captured
from heartline.venue.naming import Channel
from heartline.venue.profile import Endpoint, seconds
from heartline.venue.vocabulary import Timer

from .hearing import Hearing
from .link import Link
from .market import Event, Market, Series
from .recording import Recorded, Recording
from .refusing import refusing
from .speech import TOLD, Speech

MOST_REMEMBERED: Final = 1000
"""Connections of which it is known what they were sent, the last ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a venue behaves within its contract; patterns are those of a shell.

    `refuse`: channels it does not have; it says so the way the profile describes, or
    leaves them out of its list. `only`: it has no others, if any are named. `ignore`:
    requests for these go unanswered. `dead`: taken and acknowledged, but no data ever
    comes. `variables`: what a bootstrap tells.
    """

    seed: int = 7
    rate: float = 0.0
    """Messages a second over all channels; 0 is none of itself. Under 500."""
    steady: bool = False
    """Whether they are all equally far apart; else they come in bursts."""
    refuse: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    variables: Mapping[str, object] = field(default_factory=dict[str, object])
    clock_offset: float = 0.0
    """Seconds by which the venue's clock is ahead of ours."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of the channels of a request."""

    taken: tuple[Channel, ...]
    refused: tuple[Channel, ...]
    left_out: tuple[Channel, ...]
    """Not taken, without a word; the request is acknowledged."""


class Venue:
    """One endpoint of a venue, for any number of clients."""

    def __init__(
        self,
        endpoint: Endpoint,
        options: Options | None = None,
        *,
        now: float = 0.0,
        unix: float = 1_767_225_600.0,
    ) -> None:
        """`unix`: seconds since 1970 at the instant `now`, before any offset."""
        self.options = options or Options()
        self.endpoint = endpoint
        self.contract = Contract(endpoint)
        self.hearing = Hearing(self.contract)
        self.told = dict(self.options.variables)
        """What a bootstrap tells; more may be put in."""
        self.speech = Speech(self.contract, variables=self.told)
        self.market = Market(self.contract, seed=self.options.seed)
        self.links: list[Link] = []
        self._accepted = deque[Link](maxlen=MOST_REMEMBERED)
        self.counts: Counter[str] = Counter()
        self._zero = unix - now + self.options.clock_offset
        self._muted: dict[str, bool] = {}
        self._mute_answers = False
        self._dropping: Counter[str] = Counter()
        self._doubling: Counter[str] = Counter()
        self._swapping: Counter[str] = Counter()
        self._held: dict[str, Event] = {}
        self._ignored: set[str] = set()
        self._tape = deque[Recorded]()
        self.recording = Recording()
        self._tape_began_at: float | None = None
        self._started_at = now
        self._traffic = self._instants()
        self._due_at = next(self._traffic, None)
        self._turn = 0
        told = {**TOLD, **self.options.variables}
        self.variables: dict[str, float] = {
            **{k: float(v) for k, v in told.items() if isinstance(v, int | float)},
            **{name: each.value for name, each in endpoint.variables.items()},
        }

    # --- time ---------------------------------------------------------------------

    def unix(self, now: float) -> float:
        """The venue's own clock, seconds since 1970."""
        return self._zero + now

    @property
    def deadline(self) -> float | None:
        """When traffic, or any link, next has something to do."""
        instants = [link.deadline for link in self.links]
        instants += [self._due_at, self._tape_at]
        return min((at for at in instants if at is not None), default=None)

    def tick(self, *, now: float) -> None:
        """Send what has fallen due, on every link."""
        while (at := self._tape_at) is not None and at <= now:
            self._play(self._tape.popleft(), now=at)
        while self._due_at is not None and self._due_at <= now:
            at, self._due_at = self._due_at, next(self._traffic, None)
            for link in self.links:
                link.tick(now=at)
            series = self._next_series()
            if series is not None:
                self.emit(series, now=at)
        for link in self.links:
            link.tick(now=now)

    def play(self, recording: Recording) -> None:
        """Send a recording from the first subscription on."""
        self._tape = deque(recording.frames)
        self.recording = recording

    @property
    def _tape_at(self) -> float | None:
        if self._tape_began_at is None or not self._tape:
            return None
        return self._tape_began_at + self._tape[0].at

    def _play(self, one: Recorded, *, now: float) -> None:
        """Send a frame of the recording for each channel that it speaks of; a link
        that listens to several of them gets it once."""
        for link in self.links:
            link.tick(now=now)
        listed = [each for each in self.market if each.channel.key in one.keys]
        for series in listed[:1]:
            event = series.recorded(one.frame, unix=self.unix(now))
            self._pass_on(event, now=now)

    def set_rate(self, rate: float, *, now: float) -> None:
        """So many messages a second from now on; UsageError from 500 up."""
        self.options = replace(self.options, rate=rate)
        self._started_at = now
        self._traffic = self._instants()
        self._due_at = next(self._traffic, None)

    def _instants(self) -> Iterator[float]:
        """When messages fall due: real bursts, real silences, whatever their text."""
        start, rate = self._started_at, self.options.rate
        if rate <= 0:
            return
        if self.options.steady:
            yield from (start + n / rate for n in count(1))
        for at, _ in market_traffic(self.options.seed, inf, rate):
            yield start + at

    def _next_series(self) -> Series | None:
        """Each channel in its turn."""
        able = [each for each in self.market if not each.is_beacon]
        if not able:
            return None
        self._turn += 1
        return able[self._turn % len(able)]

    # --- links --------------------------------------------------------------------

    def connect(self, *, now: float) -> Link:
        self.counts["connections"] += 1
        link = Link(self, now=now)
        self.links.append(link)
        self._accepted.append(link)
        return link

    def gone(self, link: Link) -> None:
        """Its connection has ended."""
        if link in self.links:
            self.links.remove(link)
        self.counts["cut"] += link.cut is not None
        for what in link.breaches:
            self.counts[f"breach: {what}"] += 1

    @property
    def written(self) -> list[int]:
        """Messages of channels that each connection was sent, in their order."""
        return [link.written for link in self._accepted]

    # --- data ---------------------------------------------------------------------

    def burst(self, name: str, messages: int, *, now: float) -> tuple[int, int]:
        """Number and send messages of a channel; the numbers of the first and the last,
        of a range its end."""
        series = self.market.named(name)
        self.emit(series, now=now)
        first = series.account.last
        for _ in range(messages - 1):
            self.emit(series, now=now)
        return first, series.account.last

    def emit(self, series: Series, *, now: float) -> None:
        """Number one message of a channel and send it to all that listen."""
        self._pass_on(series.next(unix=self.unix(now)), now=now)

    def _pass_on(self, event: Event, *, now: float) -> None:
        """Send a message to all that listen, unless a fault is ordered for it."""
        series = event.series
        name, account = series.name, series.account
        if self._dropping[name] > 0:
            self._dropping[name] -= 1
            account.dropped += 1
            return
        if self._swapping[name] > 0 and name not in self._held:
            self._held[name] = event
            return
        copies = 1
        if self._doubling[name] > 0:
            self._doubling[name] -= 1
            account.duplicated += 1
            copies = 2
        for _ in range(copies):
            self._deliver(event, now)
        held = self._held.pop(name, None)
        if held is not None:
            self._swapping[name] -= 1
            account.swapped += 1
            self._deliver(held, now)

    def _deliver(self, event: Event, now: float) -> None:
        account, name = event.series.account, event.series.name
        listening = [link for link in self.links if name in link.service.subscribed]
        heard = sum(link.deliver(event, now=now) for link in listening)
        account.sent += heard
        if not heard:
            is_muted = any(name in link.service.muted for link in listening)
            account.muted += is_muted
            account.unheard += not is_muted

    # --- faults -------------------------------------------------------------------

    def mute(self, name: str, *, lasting: bool = False) -> None:
        """Send no more data of a channel; who subscribes it anew gets it again,
        unless `lasting`."""
        self._muted[name] = lasting
        for link in self.links:
            if name in link.service.subscribed:
                link.service.muted.add(name)

    def unmute(self, name: str) -> None:
        self._muted.pop(name, None)
        for link in self.links:
            link.service.muted.discard(name)

    def drop(self, name: str, messages: int) -> None:
        """Number so many of its next messages and send them to nobody."""
        self._dropping[self.market.named(name).name] += messages

    def duplicate(self, name: str, messages: int) -> None:
        """Send so many of its next messages twice."""
        self._doubling[self.market.named(name).name] += messages

    def swap(self, name: str, pairs: int) -> None:
        """Send so many of its next pairs of messages in the wrong order."""
        self._swapping[self.market.named(name).name] += pairs

    def drop_ack(self, pattern: str, *, on: bool = True) -> None:
        """Leave requests for such channels unanswered, and take none of them."""
        if on:
            self._ignored.add(pattern)
        else:
            self._ignored.discard(pattern)

    def mute_answers(self, *, on: bool) -> None:
        """Leave the client's heartbeats without an answer."""
        self._mute_answers = on

    def notice(self, index: int, *, now: float) -> int:
        """Announce something to all links; UsageError if there is no such notice."""
        lifetime = self.endpoint.lifetime
        known = len(lifetime.notices) if lifetime else 0
        if not 0 <= index < known:
            wanted = f"one of {known} that {self.endpoint.product} has"
            raise UsageError("notice", wanted=wanted, got=index)
        matcher = self.contract.control.notices[index]
        for link in self.links:
            said = self.speech.say(matcher, counted=link.service.count)
            if said is not None:
                link.say(said, now=now)
        return len(self.links)

    def cut(self, code: int, reason: str) -> None:
        """End every link."""
        for link in self.links:
            link.end(code, reason)

    # --- what links ask -----------------------------------------------------------

    def judge(
        self, channels: Iterable[Channel], *, already: Mapping[str, Series]
    ) -> Ruling:
        """Which channels of a request are taken, which refused, which left out."""
        asked = tuple(channels)
        silent = (*self.options.ignore, *self._ignored)
        left = [c for c in asked if not _is_one_of(c.name, silent)]
        limits = self.endpoint.limits
        too_many = (
            limits is not None
            and limits.channels_per_request is not None
            and len(asked) > limits.channels_per_request
        )
        refused = [c for c in left if too_many or self._is_refused(c, already)]
        taken = [channel for channel in left if channel not in refused]
        room = limits.subscriptions if limits else None
        if room is not None:
            new = [channel for channel in taken if channel.name not in already]
            over = new[max(0, room - len(already)) :]
            refused += over
            taken = [channel for channel in taken if channel not in over]
        if refused and self._leaves_out:
            return Ruling(tuple(taken), (), tuple(refused))
        if refused and self.speech.refuses and not self.speech.refuses_singly:
            # It can only refuse a request as a whole.
            refused, taken = [*refused, *taken], []
        return Ruling(tuple(taken), tuple(refused), ())

    def _is_refused(self, channel: Channel, already: Mapping[str, Series]) -> bool:
        told = self.endpoint.subscribe
        only = self.options.only
        if _is_one_of(channel.name, self.options.refuse):
            return True
        if only and not _is_one_of(channel.name, only):
            return True
        how = told.resubscribe if told is not None else None
        if how == "dup_error" and channel.name in already:
            return True
        try:
            self.market.series(channel)
        except LookupError:
            return True
        return False

    def began(self, *, now: float) -> None:
        """Somebody has subscribed: the recording begins, if it has not."""
        if self._tape_began_at is None:
            self._tape_began_at = now

    def is_muted(self, name: str) -> bool:
        return self._muted.get(name, False) or _is_one_of(name, self.options.dead)

    def silent_to(self, kind: str) -> bool:
        return self._mute_answers and kind != "on_open"

    def timer(
        self, timer: Timer | None, variables: Mapping[str, float]
    ) -> float | None:
        return None if timer is None else seconds(timer, variables)

    def captured(self, index: int) -> tuple[str, ...]:
        """The values of a probe that its answer has to carry."""
        return tuple(captured(self.contract.control.probes[index]))

    @property
    def rules(self) -> tuple[Rule, ...]:
        return self.endpoint.sequence.rules if self.endpoint.sequence else ()

    @property
    def _acks(self) -> tuple[Ack, ...]:
        return self.endpoint.subscribe.acks if self.endpoint.subscribe else ()

    @property
    def binds(self) -> bool:
        """Whether it gives channels names of its own."""
        return any(ack.binds is not None for ack in self._acks)

    @property
    def ack_is_data(self) -> bool:
        return any(ack.is_data for ack in self._acks)

    @property
    def acknowledges_anything(self) -> bool:
        """Whether it says yes to channels that it does not have."""
        told = self.endpoint.subscribe
        return told is not None and told.silent_acks

    @property
    def _leaves_out(self) -> bool:
        """Whether channels that it does not have are passed over in silence."""
        return refusing(self.endpoint) in ("left out", "acknowledged")

    @property
    def replaces(self) -> bool:
        told = self.endpoint.subscribe
        return told is not None and told.resubscribe == "replace"

    @property
    def resends_snapshots(self) -> bool:
        told = self.endpoint.subscribe
        how = told.resubscribe if told is not None else None
        return how in (None, "replace", "resends_snapshot")


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    return any(name == each or fnmatchcase(name, each) for each in patterns)
