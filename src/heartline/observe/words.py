"""One plain English line for every event and status: the only place they are worded.

Logs, command line and demo all ask here, so that one thing is always called by one
name. The words of the field (`PATH_DEAD`, `SUSPECT`) stay as they are written in code.
"""

from __future__ import annotations

import math

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
from heartline.core.items import Cause, Condition, Gap, Status, Where

LONGEST = 400
"""Characters of a line, its name included; a longer one is cut and ends in `…`."""


def in_words(news: Event | Status, *, name: str = "") -> str:
    """Say in one line what happened, for a reader who trades and does not code.

    `name` is put in front. The line holds no line break, control or escape character,
    whatever a peer wrote into its reason, and at most 400 characters. Secrets are not
    looked for here: a reason is redacted before it becomes an event.
    """
    line = _line(news)
    return one_line(f"{name}: {line}" if name else line)


def one_line(text: str) -> str:
    """Keep what can be printed on one line; cut what is too long."""
    if len(text) <= LONGEST and text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else " " for c in text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def duration(seconds: float) -> str:
    """Write a duration as it is said: `0.43 ms`, `1.21 s`, `3 min 20 s`, `2 d 5 h`."""
    if not math.isfinite(seconds):
        return f"{seconds} s"
    size = abs(seconds)
    if 0 < size < 0.01:
        return f"{_trimmed(seconds * 1000)} ms"
    if size < 100:
        return f"{_trimmed(seconds)} s"
    sign = "-" if seconds < 0 else ""
    for unit, above, below, part in _LONG:
        if size < above:
            whole, rest = divmod(round(size / part), round(unit / part))
            return f"{sign}{whole} {_NAMES[unit]} {rest} {below}"
    return f"{sign}{round(size / 86400)} d"


_NAMES = {60: "min", 3600: "h", 86400: "d"}
_LONG = ((60, 3600, "s", 1), (3600, 86400, "min", 60), (86400, 8_640_000, "h", 3600))

_CONDITIONS = {
    Condition.NO_PONG: "data flows, but pings are not answered",
    Condition.SLOW_CONSUMER: "our own reader does not keep up",
    Condition.PAUSED: "we stopped reading until our own reader catches up",
    Condition.LATE: "data is older than the limit when it reaches us",
}
_PROOFS = {
    "late": "nothing was lost, all of it came late",
    "replay": "nothing was lost, all of it was fetched",
    "snapshot": "a snapshot taken after it holds what was missed",
}
_WHERE = {
    Where.LOCAL: " (on our side)",
    Where.OUTBOUND: " (outbound)",
    Where.BOTH: " (both ways)",
}
_DOUBTS = {
    "path": "no sign of life on the path",
    "peer": "no answer from the peer",
    "channel": "no data on a channel",
}


def _line(news: Event | Status) -> str:
    match news:
        case Connecting():
            return f"connecting, attempt {news.attempt}"
        case Connected():
            return _connected(news)
        case Doubted():
            return f"SUSPECT: {_DOUBTS[news.of]} for {duration(news.silence)}"
        case Cleared():
            return f"ALIVE again after {duration(news.after)} of doubt"
        case Lost():
            return _lost(news)
        case DialLost():
            blamed = _blamed(news.cause, news.where, news.status)
            return _joined(f"attempt {news.attempt} failed: {blamed}", news.reason)
        case BackingOff():
            return f"attempt {news.attempt} in {duration(news.delay)}"
        case Stalled():
            return _stalled(news)
        case ChannelStalled():
            return (
                f"CHANNEL_STALLED {_channel(news.channel)}: no data for "
                f"{duration(news.silence)} (contract {duration(news.contract)}); "
                "the link itself answers"
            )
        case ChannelRevived():
            return f"{_channel(news.channel)} has data again {_after(news.after)}"
        case ChannelLive() | SubscriptionFailed() | SnapshotFailed() | AckIgnored():
            return _subscription(news)
        case MalformedFound():
            return f"a message broke the venue's own rules: {news.reason}"
        case GapClosed():
            return _closed(news.gap, _PROOFS[news.by])
        case EndPlanned() | TookOver():
            return _planned(news)
        case ConditionBegan():
            told = f"{news.condition}: {_CONDITIONS[news.condition]}"
            return _joined(told, news.detail)
        case ConditionEnded():
            told = f"{news.condition} is over {_after(news.after)}"
            return _joined(told, news.detail)
        case RoundTripMeasured():
            return f"round trip {duration(news.round_trip)}"
        case Dropped():
            return f"{_messages(news.messages)} dropped unread, {news.total} in all"
        case GapFound():
            return _gap(news.gap)
        case Surrendered():
            return _surrendered(news)
        case Stopped():
            return "stopped, as we asked"
        case Status():
            return _status(news)


def _planned(news: EndPlanned | TookOver) -> str:
    if isinstance(news, TookOver):
        took = f"link {news.epoch} took over from {news.from_epoch}"
        return f"{took}; both lived for {duration(news.overlap)}"
    when = ""
    if news.ends_at is not None:
        when = f"in {duration(max(0.0, news.ends_at - news.at))}"
    told = f"the end of this link is planned ({news.cause}), another is made"
    return _joined(told, news.reason, when)


def _subscription(
    news: ChannelLive | SubscriptionFailed | SnapshotFailed | AckIgnored,
) -> str:
    match news:
        case ChannelLive():
            silent = "" if news.acknowledged else ", though it was not acknowledged"
            return f"{news.channel} has data {_after(news.after)}{silent}"
        case SubscriptionFailed():
            asked = f"asked for {news.attempts} times" if news.attempts > 1 else ""
            return _joined(f"NOT SUBSCRIBED {news.channel}", news.reason, asked)
        case SnapshotFailed():
            asked = f"asked for {news.attempts} times" if news.attempts > 1 else ""
            return _joined(f"NO SNAPSHOT of {news.channel}", news.reason, asked)
        case AckIgnored():
            return f"an acknowledgement was ignored: {news.reason}"


def _connected(news: Connected) -> str:
    outage = f" after {duration(news.outage)} outage" if news.outage > 0 else ""
    eyes = "" if news.kernel else ", without kernel evidence"
    return f"connected to {news.address}{outage}, attempt {news.attempt}{eyes}"


def _lost(news: Lost) -> str:
    blamed = _blamed(news.cause, news.where, news.status)
    bound = "" if news.bound is None else f" (bound {duration(news.bound)})"
    silence = duration(news.at - news.since_at)
    told = f"DEAD {blamed} {silence} after the last sign of life{bound}"
    unsent = f"{_messages(news.unsent)} unsent" if news.unsent else ""
    unconfirmed = news.unconfirmed_bytes
    in_doubt = f"{unconfirmed} bytes sent but not confirmed" if unconfirmed else ""
    return _joined(told, news.evidence, news.reason, unsent, in_doubt)


def _stalled(news: Stalled) -> str:
    asleep = ""
    if news.suspended > 0:
        asleep = f" (the machine slept for {duration(news.suspended)} of it)"
    late = duration(news.lag)
    return f"SELF_STALLED {late}: our own loop was late{asleep}; the link is kept"


def _gap(gap: Gap) -> str:
    told = f"GAP ({gap.reason}) in {_channel(gap.channel)}"
    missing = "" if gap.missing is None else f"{_messages(gap.missing)} missing"
    numbers = _numbers(gap)
    if not numbers:
        blind = duration(gap.until_at - gap.from_at)
        numbers = f"what was sent within {blind} may be incomplete"
    return _joined(told, missing, numbers)


def _closed(gap: Gap, proof: str) -> str:
    told = f"GAP CLOSED ({gap.reason}) in {_channel(gap.channel)}"
    extent = _numbers(gap) or f"it spanned {duration(gap.until_at - gap.from_at)}"
    return _joined(told, proof, extent)


def _numbers(gap: Gap) -> str:
    if gap.first is None or gap.last is None:
        return ""
    return f"sequence {gap.first} to {gap.last}"


def _surrendered(news: Surrendered) -> str:
    plural = "" if news.attempts == 1 else "s"
    blamed = _blamed(news.cause, None, news.status)
    told = f"GAVE UP after {news.attempts} attempt{plural}: {blamed}"
    return _joined(told, news.reason)


def _status(news: Status) -> str:
    head = f"{'LIVE' if news.live else 'NOT LIVE'} ({news.phase}, {news.verdict})"
    if news.address:
        head += f" on {news.address}"
    facts: list[str] = []
    if news.cause is not None:
        facts.append(_blamed(news.cause, news.where, news.status))
    if news.since_at is not None:
        ago = duration(news.at - news.since_at)
        late = news.cause is None and Condition.LATE in news.conditions
        facts.append(f"LATE for {ago}" if late else f"last sign of life {ago} ago")
    facts.append(news.evidence)
    if news.silence is not None:
        facts.append(f"silent for {duration(news.silence)}")
    if news.round_trip.last is not None:
        facts.append(f"round trip {duration(news.round_trip.last)}")
    facts.append(f"told within {duration(news.detection_bound)}")
    if news.retry_at is not None:
        wait = duration(max(0.0, news.retry_at - news.at))
        facts.append(f"attempt {news.attempt} in {wait}")
    facts.append(", ".join(sorted(news.conditions)))
    return _joined(head, *facts)


def _blamed(cause: Cause, where: Where | None, status: int | None) -> str:
    code = "" if status is None else f" {status}"
    return f"{cause}{code}{'' if where is None else _WHERE[where]}"


def _joined(head: str, *facts: str) -> str:
    told = "; ".join(fact for fact in facts if fact)
    return f"{head}: {told}" if told else head


def _after(seconds: float) -> str:
    return f"after {duration(seconds)}"


def _messages(count: int) -> str:
    return f"{count} message" if count == 1 else f"{count} messages"


def _channel(channel: str | None) -> str:
    return "the stream" if channel is None else channel


def _trimmed(number: float) -> str:
    text = f"{number:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
