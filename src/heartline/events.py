"""What happens to a stream, as `on_event` is told it: one value for each thing.

    from heartline import events

    def alarm(event: events.Event) -> None:
        match event:
            case events.Lost():       page_me(event.cause, event.evidence)
            case events.GapFound():   forget_book(event.gap.channel)
            case events.Connected():  note(event.outage)

Every event has `at`, monotonic seconds, and `epoch`, the number of the link it is of.
What the reader of a stream needs comes to it as `Message`, `Gap` and `Status`; events
are for whoever looks on.
"""

from .core.channel_events import (
    AckIgnored,
    ChannelLive,
    EndPlanned,
    GapClosed,
    MalformedFound,
    SnapshotFailed,
    SubscriptionFailed,
    TookOver,
)
from .core.events import (
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

__all__ = [
    "AckIgnored",
    "BackingOff",
    "ChannelLive",
    "ChannelRevived",
    "ChannelStalled",
    "Cleared",
    "ConditionBegan",
    "ConditionEnded",
    "Connected",
    "Connecting",
    "DialLost",
    "Doubted",
    "Dropped",
    "EndPlanned",
    "Event",
    "GapClosed",
    "GapFound",
    "Lost",
    "MalformedFound",
    "RoundTripMeasured",
    "SnapshotFailed",
    "Stalled",
    "Stopped",
    "SubscriptionFailed",
    "Surrendered",
    "TookOver",
]
