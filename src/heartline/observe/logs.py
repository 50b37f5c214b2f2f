"""Events as records of the standard library's logging."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TypeAlias

import msgspec

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
from heartline.observe.words import in_words

ALWAYS = 5
"""So many of one kind in a row are told each; after that, the powers of two are."""

FORGET_AFTER = 600.0
"""Seconds without another of its kind after which an event is news again."""

KINDS = 256
"""Kinds counted at once; beyond that, the one seen longest ago is news again."""

_Kind: TypeAlias = tuple[object, ...]


class LogSink:
    """Tell events to a logger; pass it as `on_event`.

    The message of a record starts with the fixed name of its event, which is also its
    format string (`Lost: %s`), so that records can be grouped by it; the rest is the
    line of `in_words`. `record.heartline` holds the fields: `stream`, `event`, those
    of the event, and `count`, the how-manieth of its kind in a row this is.

    ERROR: Surrendered. WARNING: Lost, DialLost, Stalled, ChannelStalled,
    SubscriptionFailed, SnapshotFailed, AckIgnored, MalformedFound, ConditionBegan,
    Dropped, GapFound, and GapClosed, so that who reads warnings alone is told which
    gaps still stand. INFO: Connected, ChannelRevived, EndPlanned, TookOver,
    ConditionEnded, Stopped. DEBUG: the rest.

    What repeats is bounded. Events are of one kind if they agree in name, cause, where,
    status, channel, condition and the reason of a gap; other reasons may differ. The
    first 5 of a kind are logged as above, then only the 8th, 16th, 32nd and so on, each
    with its count; those in between go to DEBUG. A kind not seen for 10 minutes, on the
    clock of the events, is news again. So at INFO an outage of any length costs at most
    5 + log2(n) lines for n failures of a kind: 10,000 refused dials are 16 lines.

    An error raised by a handler never reaches the stream: it is counted in `errors`,
    and the first is printed on stderr, as logging does with its own.
    """

    __slots__ = (
        "_logger",
        "_seen",
        "errors",
        "name",
    )

    def __init__(self, name: str, logger: logging.Logger | None = None) -> None:
        self.name = name
        self.errors = 0
        self._logger = logging.getLogger("heartline") if logger is None else logger
        self._seen: dict[_Kind, tuple[int, float]] = {}

    def __call__(self, event: Event) -> None:
        try:
            kind = type(event)
            level = _LEVELS.get(kind)
            if level is None:
                level = _LEVELS[kind] = _level(event)
            count = 1
            if level > logging.DEBUG:
                count = self._count(event)
                if not _is_told(count):
                    level = logging.DEBUG
            if self._logger.isEnabledFor(level):
                self._log(event, level, count)
        except Exception:
            self.errors += 1
            if self.errors == 1 and sys.stderr:
                traceback.print_exc(file=sys.stderr)

    def _log(self, event: Event, level: int, count: int) -> None:
        fields: dict[str, object] = {"stream": self.name}
        fields.update(msgspec.to_builtins(event))
        fields["count"] = count
        line = in_words(event, name=self.name)
        if count > ALWAYS:
            line += f" ({count} times in a row)"
        name = type(event).__name__
        self._logger.log(level, f"{name}: %s", line, extra={"heartline": fields})

    def _count(self, event: Event) -> int:
        """Count `event` among its kind and remember when it was seen."""
        kind = _kind(event)
        count, seen_at = self._seen.pop(kind, (0, event.at))
        if event.at - seen_at > FORGET_AFTER:
            count = 0
        self._seen[kind] = (count + 1, event.at)
        if len(self._seen) > KINDS:
            del self._seen[next(iter(self._seen))]
        return count + 1


_LEVELS: dict[type[Event], int] = {}
"""What `_level` has said: most events of a process are one of its last."""


def _is_told(count: int) -> bool:
    return count <= ALWAYS or count.bit_count() == 1


def _level(event: Event) -> int:
    match event:
        case Surrendered():
            return logging.ERROR
        case Lost() | DialLost() | Stalled() | ChannelStalled():
            return logging.WARNING
        case ConditionBegan() | Dropped() | GapFound() | GapClosed():
            return logging.WARNING
        case SubscriptionFailed() | AckIgnored() | MalformedFound():
            return logging.WARNING
        case SnapshotFailed():
            return logging.WARNING
        case Connected() | ChannelRevived() | ConditionEnded() | Stopped():
            return logging.INFO
        case EndPlanned() | TookOver():
            return logging.INFO
        case ChannelLive():
            return logging.DEBUG
        case Connecting() | BackingOff() | RoundTripMeasured():
            return logging.DEBUG
        case Doubted() | Cleared():
            return logging.DEBUG


def _kind(event: Event) -> _Kind:
    match event:
        case Lost() | DialLost():
            return type(event), event.cause, event.where, event.status
        case Surrendered():
            return type(event), event.cause, event.status
        case ChannelStalled() | ChannelRevived():
            return type(event), event.channel
        case ChannelLive() | SubscriptionFailed() | SnapshotFailed():
            return type(event), event.channel
        case EndPlanned() | TookOver():
            return (type(event),)
        case GapFound() | GapClosed():
            return type(event), event.gap.reason, event.gap.channel
        case ConditionBegan() | ConditionEnded():
            return type(event), event.condition
        case Connecting() | Connected() | BackingOff() | Stalled() | Stopped():
            return (type(event),)
        case MalformedFound():
            return (type(event),)
        case Doubted() | Cleared() | RoundTripMeasured() | Dropped() | AckIgnored():
            return (type(event),)
