"""Which records are still in force: the state of streams, folded from their events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

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
from heartline.core.items import Condition, Phase, Status

MOST = 256
"""Slots kept for one stream; beyond it the one taken longest ago is forgotten."""

T = TypeVar("T")

_OF_A_LINK = ("phase", "doubt", "channel ", "condition ")
_BESIDE_A_STATUS = ("channel ", "snapshot ")


class Standing(Generic[T]):
    """What stands for one stream, as the records that say so, oldest first.

    A `Status` replaces all before it but what it cannot say of an OPEN stream: which
    channels are in trouble. An outage stands as its `Lost` and the newest step on the
    way back, a planned end as its plan and the dial that failed last. Doubt, stalled
    channels and conditions stand until they are said to be over or their link is lost;
    SLOW_CONSUMER belongs to our own reader and survives the link.
    """

    def __init__(self) -> None:
        self._slots: dict[str, T] = {}

    def __iter__(self) -> Iterator[T]:
        return iter(self._slots.values())

    def note(self, news: Event | Status, record: T) -> None:
        """Let `record`, which says `news`, replace what it makes void."""
        match news:
            case Status(phase=phase):
                beside = _BESIDE_A_STATUS if phase is Phase.OPEN else ()
                self._drop(*(s for s in [*self._slots] if not s.startswith(beside)))
                self._take("status", record)
            case EndPlanned():
                self._drop("next")
                self._take("plan", record)
            case DialLost() if "plan" in self._slots:
                # The link that is to be replaced lives on.
                self._take("next", record)
            case TookOver():
                self._drop("plan", "next")
                self._take("phase", record)
            case Connecting() | BackingOff() | DialLost():
                self._take("phase", record)
            case Connected():
                self._end_link()
                self._drop("status", "lost")
                self._take("phase", record)
            case Lost():
                self._end_link()
                self._drop("status", "plan", "next")
                self._take("lost", record)
            case Surrendered() | Stopped():
                self._slots.clear()
                self._take("phase", record)
            case Doubted():
                self._take("doubt", record)
            case Cleared():
                self._drop("doubt")
            case ChannelStalled():
                self._take(f"channel {news.channel}", record)
            case SubscriptionFailed():
                self._take(f"channel {news.channel}", record)
            case SnapshotFailed():
                self._take(f"snapshot {news.channel}", record)
            case ChannelRevived():
                self._drop(f"channel {news.channel}")
            case ChannelLive():
                self._drop(f"channel {news.channel}")
                self._drop(f"snapshot {news.channel}")
            case GapClosed():
                self._drop(f"snapshot {news.gap.channel}")
            case ConditionBegan():
                self._take(f"condition {news.condition}", record)
            case ConditionEnded():
                self._drop(f"condition {news.condition}")
            case RoundTripMeasured() | Stalled() | Dropped() | GapFound():
                pass
            case AckIgnored() | MalformedFound():
                pass

    def _take(self, slot: str, record: T) -> None:
        self._slots.pop(slot, None)
        self._slots[slot] = record
        if len(self._slots) > MOST:
            del self._slots[next(iter(self._slots))]

    def _drop(self, *slots: str) -> None:
        for slot in slots:
            self._slots.pop(slot, None)

    def _end_link(self) -> None:
        own = f"condition {Condition.SLOW_CONSUMER}"
        ended = [s for s in self._slots if s.startswith(_OF_A_LINK) and s != own]
        self._drop(*ended)
