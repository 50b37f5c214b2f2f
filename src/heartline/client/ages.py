"""How old the venue's data is when it is read, measured on the way of each read.

One read in `SAMPLE_EVERY` is enough for what is told of a stream; each message is
looked at only where a limit was set, by `limit`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Final, TypeAlias

from heartline.core.channel_events import ChannelLive
from heartline.core.events import (
    Cleared,
    Connected,
    Event,
    Lost,
    RoundTripMeasured,
    Stalled,
    Stopped,
)
from heartline.core.late import LateChannels
from heartline.core.latency import Delays, MaxAge
from heartline.errors import UsageError
from heartline.venue.channels import Stamp, Unit
from heartline.venue.reading import Answer, Source, Update
from heartline.venue.writer import Outgoing
from heartline.wire.resting import slept_through

from .contract import Venue
from .limit import Limit

Dated: TypeAlias = Callable[[str | bytes], Update | None]
"""Reads a message of data once more, with the venue's time."""

SAMPLE_EVERY = 0.05
"""Seconds between two messages whose age is noted."""
MOST_STAMPLESS = 64
"""Channels whose messages are found without a stamp, in each second at most."""
AWAITED = 64
"""Messages of ours remembered, of a link, whose answers may carry the venue's time."""
SLEPT = 0.1
"""Seconds: clocks read one after the other differ by less."""
RESOLUTIONS: Final[dict[Unit, float]] = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-6,
    "rfc3339": 1e-3,
}
"""To what a stamp is cut off, seconds. Unix seconds in a float hold no nanoseconds."""


def limit_of(max_age: MaxAge | float | None, venue: object) -> MaxAge | None:
    """The limit that `connect` was given. Raises `UsageError` where nothing tells the
    age of a message."""
    if max_age is None:
        return None
    if not isinstance(venue, Venue):
        wanted = "a venue, whose messages say when they were sent"
        raise UsageError("max_age", wanted=wanted, got="a plain URL")
    if not _stamps(venue):
        wanted = "a venue whose messages say when they were sent"
        raise UsageError("max_age", wanted=wanted, got=venue.name)
    if isinstance(max_age, MaxAge):
        return max_age
    if type(max_age) not in (int, float):
        raise UsageError("max_age", wanted="seconds, or a MaxAge", got=max_age)
    return MaxAge(limit=max_age)


class Ages:
    """Of one stream, across its links. `tell` is given what begins and ends."""

    __slots__ = (
        "_asleep_before",
        "_events",
        "_opened",
        "_stampless",
        "_stampless_until",
        "_undated",
        "_updates",
        "answers_in",
        "asleep",
        "clock",
        "delays",
        "due_at",
        "limit",
    )

    def __init__(
        self,
        venue: Venue | None,
        limit: MaxAge | None,
        *,
        tell: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
        asleep: Callable[[], float] = slept_through,
    ) -> None:
        stamps = _stamps(venue)
        self.delays = Delays(
            resolution=max((RESOLUTIONS[each.unit] for each in stamps), default=1e-3)
        )
        self.limit: Limit | None = None
        if limit is not None:
            begins = self._is_of_the_past
            self.limit = Limit(limit, self.delays.offset, tell=tell, begins=begins)
        self.due_at = 0.0
        """When the next age is wanted; inf until it is known what did not wait."""
        self._updates: list[Update] = []
        self._undated: list[tuple[Source, str | bytes, Dated]] = []
        """The data of a read at `wanted_at` or later, to be looked at."""
        self._stampless: set[Source] | None = None
        """Of channels that lately had no stamp none is looked for, for a second."""
        self._stampless_until = -inf
        self.answers_in = _answers_in(venue)
        """To what the venue's time in answers is cut off; None if they hold none."""
        self._events = tuple(
            index for index, each in enumerate(_all_stamps(venue)) if each.of == "event"
        )
        self.clock = clock
        self.asleep = asleep
        """Seconds this machine has been suspended, all in all."""
        self._asleep_before = asleep()
        self._opened: dict[str, float] = {}
        """When the first data of each channel was read: it may say what was before."""

    # --- the way of a read --------------------------------------------------------

    @property
    def wanted_at(self) -> float:
        """From when on each read is to be looked at."""
        return self.due_at if self.limit is None else -inf

    @property
    def looks_at_all(self) -> bool:
        """Whether each message is to be read with its stamp."""
        return self.limit is not None

    def note(self, update: Update, data: str | bytes, dated: Dated) -> None:
        """Data of a read at `wanted_at` or later; `dated` reads its stamp, if it was
        left where it is."""
        if self.limit is None:
            self._undated.append((update.source, data, dated))
        else:
            self._updates.append(update)

    def look(self, *, waited: bool, now: float, epoch: int) -> None:
        """Look at what was noted, of one read at `now`, and forget it."""
        if now >= self.due_at:
            for update in self._latest(now):
                unix = update.unix
                if unix is not None and not self._is_of_the_past(update.source, now):
                    self._sample(unix, now)
                    break
        if self.limit is not None and not waited:
            self.limit.judge(self._updates, now=now, epoch=epoch)
        self._updates.clear()
        self._undated.clear()

    def _latest(self, now: float) -> Iterator[Update]:
        """What was noted, the last first, as far as it has a stamp."""
        yield from reversed(self._updates)
        stampless = self._stampless
        if stampless is None or now >= self._stampless_until:
            stampless = self._stampless = set()
            self._stampless_until = now + 1.0
        for source, data, dated in reversed(self._undated[-MOST_STAMPLESS:]):
            if len(stampless) >= MOST_STAMPLESS:
                return
            if source in stampless:
                continue
            # Taken out again by a stamp that serves: the caller then asks no further.
            stampless.add(source)
            update = dated(data)
            if update is not None and update.unix is not None:
                stampless.discard(source)
                yield update

    def _sample(self, unix: float, now: float) -> None:
        self.due_at = now + SAMPLE_EVERY
        if not self._slept():
            self.delays.stamped(unix, received_at=now)
            self._learned()

    def _is_of_the_past(self, source: Source, now: float) -> bool:
        """Whether this is how a channel begins: with events of long ago."""
        opened_at = self._opened.get(source.channel or "")
        return opened_at == now and source.stamp in self._events

    def _slept(self) -> bool:
        """The monotonic clock stands still in a suspend, and the venue's does not."""
        asleep = self.asleep()
        slept = asleep - self._asleep_before > SLEPT
        self._asleep_before = asleep
        if slept:
            self.delays.offset.reset()
            self._learned()
            # What comes first has waited: the fastest of it would pass for fast.
            self.due_at = inf
        return slept

    def answered(self, unix: float, *, sent_at: float, now: float) -> None:
        """The venue told its time in answer to what was sent at `sent_at`."""
        self._slept()
        self._go_on()
        self.delays.offset.answered(
            sent_at=sent_at,
            received_at=now,
            venue_in=unix,
            resolution=self.answers_in,
        )
        self._learned()

    def _learned(self) -> None:
        if self.limit is not None:
            self.limit.renew()

    @property
    def late(self) -> LateChannels | None:
        """Channels with data over the limit; None where there is none."""
        return None if self.limit is None else self.limit.late

    # --- what else is heard -------------------------------------------------------

    def heed(self, event: Event) -> None:
        """What is told of the stream."""
        match event:
            case RoundTripMeasured():
                self.delays.travelled(event.round_trip)
                self._go_on()
            case Cleared() | Connected():
                self._go_on()
            case Stalled():
                self._slept()
            case ChannelLive():
                self._opened[event.channel] = event.at
            case Lost() | Stopped():
                self._opened.clear()
                if self.limit is not None:
                    self.limit.late.clear()
            case _:
                pass

    def _go_on(self) -> None:
        """The link has answered since: what comes now was sent now."""
        if self.due_at == inf:
            self.due_at = 0.0

    def forget(self, channels: Iterable[str], *, now: float, epoch: int) -> None:
        """Nobody wants these channels any longer."""
        for channel in (names := list(channels)):
            self._opened.pop(channel, None)
        if self.limit is not None:
            self.limit.forget(names, now=now, epoch=epoch)


class Asked:
    """What was said on one link, and when: its answer may carry the venue's time."""

    def __init__(self, ages: Ages) -> None:
        self._ages = ages
        self._sent: dict[int, tuple[float, float]] = {}
        """When, and how much of the time before was slept through."""

    def note(self, said: Outgoing) -> None:
        """It is handed to the link now."""
        ages = self._ages
        if ages.answers_in is None:
            return
        self._sent[said.number] = ages.clock(), ages.asleep()
        if len(self._sent) > AWAITED:
            del self._sent[next(iter(self._sent))]

    def answered(self, answer: Answer, now: float) -> None:
        sent = None if answer.number is None else self._sent.get(answer.number)
        if sent is None or answer.unix is None:
            return
        sent_at, asleep = sent
        # Over a suspend nobody can say how long it took.
        if self._ages.asleep() - asleep <= SLEPT:
            self._ages.answered(answer.unix, sent_at=sent_at, now=now)


def _all_stamps(venue: Venue | None) -> tuple[Stamp, ...]:
    told = None if venue is None else venue.profile.timestamps
    return told.stamps if told is not None else ()


def _stamps(venue: Venue | None) -> list[Stamp]:
    """Those of messages, not of answers."""
    return [each for each in _all_stamps(venue) if each.of != "reply"]


def _answers_in(venue: Venue | None) -> float | None:
    clocks = [each for each in _all_stamps(venue) if each.of == "reply"]
    return max((RESOLUTIONS[each.unit] for each in clocks), default=None)
