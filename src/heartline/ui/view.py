"""What the one-screen view shows: fed with items and events, bounded, never drawn here.

The clock is that of the statuses; `utc_offset` turns its instants into UTC for people.
"""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass, field
from math import floor
from typing import Literal, NamedTuple

from heartline.core.channel_events import (
    AckIgnored,
    ChannelLive,
    EndPlanned,
    GapClosed,
    MalformedFound,
    SnapshotFailed,
    SubscriptionFailed,
    TookOver,
)
from heartline.core.events import (
    BackingOff,
    ChannelRevived,
    ChannelStalled,
    Cleared,
    ConditionBegan,
    ConditionEnded,
    Connected,
    Connecting,
    DialLost,
    Doubted,
    Dropped,
    Event,
    GapFound,
    Lost,
    RoundTripMeasured,
    Stalled,
    Stopped,
    Surrendered,
)
from heartline.core.items import Gap, Item, Message, Status
from heartline.core.latency import Latency
from heartline.observe.words import in_words, one_line

ROUND_TRIPS = 60
"""Measurements kept for the sparkline."""

NEWS = 200
"""Lines kept of what happened."""

RATE_WINDOW = 2.0
"""Seconds over which rates are taken, at least, once there are so many."""

SAMPLES = 4 * 64
"""Statuses kept for the rates: a minute at four a second."""

Tone = Literal["good", "doubtful", "bad", "plain"]


class News(NamedTuple):
    at: float
    words: str
    tone: Tone
    link: int = 0
    """The epoch of the link that brought it, where that is good news of the link."""


class Sample(NamedTuple):
    """Totals at one instant, of which two make a rate."""

    at: float
    messages: int
    size_bytes: int


class Rates(NamedTuple):
    """Per second."""

    messages: float
    size_bytes: float


@dataclass(slots=True)
class WatchView:
    """All that `terminal.render` may show of one stream.

    Feed it `stream.status` some times a second through `item`, or nothing moves, and
    every event through `event`.
    """

    title: str
    """Where the stream leads, without secrets."""
    utc_offset: float = 0.0
    status: Status | None = None
    latency: Latency = field(default_factory=Latency)
    """`stream.latency`, of the same moment as the status; ages only of a venue."""
    since_at: float | None = None
    """When the first status was seen."""
    live_since_at: float | None = None
    last_loss: Lost | None = None
    surrendered: bool = False
    round_trips: deque[float] = field(
        default_factory=lambda: deque[float](maxlen=ROUND_TRIPS)
    )
    news: deque[News] = field(default_factory=lambda: deque[News](maxlen=NEWS))
    samples: deque[Sample] = field(
        default_factory=lambda: deque[Sample](maxlen=SAMPLES)
    )

    def item(self, item: Item) -> None:
        """Take an item of the stream, or `stream.status`."""
        match item:
            case Message() | Gap():
                pass  # counted by the statuses, told by GapFound
            case Status():
                self._status(item)

    def event(self, event: Event) -> None:
        """Take what `on_event` was given."""
        match event:
            case RoundTripMeasured():
                self.round_trips.append(event.round_trip)
                return
            case Connecting():
                return  # how it ends is news
            case Lost():
                self.last_loss = event
            case Surrendered():
                self.surrendered = True
            case Connected():
                self._connected(event)
                return
            case ChannelLive() | GapClosed():
                words, tone = in_words(event), tone_of(event)
                self.news.append(News(event.at, words, tone, event.epoch))
                return
            case _:
                pass
        self.news.append(News(event.at, in_words(event), tone_of(event)))

    def _connected(self, event: Connected) -> None:
        """Tell it above what the link brought in the same second.

        The first data may come some milliseconds before the link counts as OPEN. Lines
        are shown to the second, and within one they may stand as a reader expects them.
        """
        second, brought = self._second(event.at), list[News]()
        above = list[News]()
        while self.news and self._second(self.news[-1].at) == second:
            news = self.news.pop()
            (brought if news.link == event.epoch else above).append(news)
        self.news.extend(reversed(above))
        self.news.append(News(event.at, in_words(event), tone_of(event)))
        self.news.extend(reversed(brought))

    def _second(self, at: float) -> int:
        return floor(at + self.utc_offset)

    def note(self, words: str) -> None:
        """Show a line that is no event, such as a warning that was logged."""
        at = 0.0 if self.status is None else self.status.at
        self.news.append(News(at, one_line(words), "doubtful"))

    def rates(self) -> Rates | None:
        """Rates of the last two seconds or so; None before there are two statuses."""
        if not self.samples:
            return None
        newest, older = self.samples[-1], self.samples[0]
        for sample in reversed(self.samples):
            if newest.at - sample.at >= RATE_WINDOW:
                older = sample
                break
        if (span := newest.at - older.at) <= 0:
            return None
        return Rates(
            (newest.messages - older.messages) / span,
            (newest.size_bytes - older.size_bytes) / span,
        )

    def rate_history(self) -> list[float]:
        """Messages a second, one value for each whole second kept, oldest first."""
        history: list[float] = []
        older = None
        for sample in self.samples:
            if older is None:
                older = sample
            elif (span := sample.at - older.at) >= 1.0:
                history.append((sample.messages - older.messages) / span)
                older = sample
        return history

    def copy(self) -> WatchView:
        """Take what another thread may draw while this one is fed."""
        taken = copy.copy(self)
        taken.round_trips = self.round_trips.copy()
        taken.news = self.news.copy()
        taken.samples = self.samples.copy()
        return taken

    def _status(self, status: Status) -> None:
        if not status.live:
            self.live_since_at = None
        elif self.live_since_at is None:
            self.live_since_at = status.at
        if self.since_at is None:
            self.since_at = status.at
        self.status = status
        counts = status.counts
        self.samples.append(Sample(status.at, counts.messages, counts.size_bytes))


def tone_of(event: Event) -> Tone:
    """Judge whether a line is good news."""
    match event:
        case Connected() | Cleared() | ChannelRevived() | ConditionEnded():
            return "good"
        case ChannelLive() | GapClosed() | TookOver():
            return "good"
        case SubscriptionFailed() | SnapshotFailed():
            return "bad"
        case Doubted() | Stalled() | ChannelStalled() | ConditionBegan():
            return "doubtful"
        case Dropped() | GapFound() | AckIgnored() | MalformedFound():
            return "doubtful"
        case Lost() | DialLost() | Surrendered():
            return "bad"
        case EndPlanned():
            return "plain"
        case Connecting() | BackingOff() | Stopped() | RoundTripMeasured():
            return "plain"
