"""What each word of a venue profile means, for a reader who does not code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from heartline.observe.words import duration
from heartline.venue.checksums import Checksum
from heartline.venue.profile import Member
from heartline.venue.vocabulary import Frame, Match, Rate

CONFIDENCES: Final = {
    "official": "the venue says so",
    "official_copy": "the venue says so, read through somebody's copy",
    "third_party": "client code or notes of others say so",
    "third_party_probe": "somebody measured it",
    "uncertain": "sources disagree, or say little",
}
PAYLOADS: Final = {
    "text": "Text frames.",
    "utf8": "Text in binary frames.",
    "gzip": "Binary frames, gzip; what we send is plain text.",
    "protobuf": "Data is protobuf in binary frames; control messages are JSON text.",
}
CLOCKS: Final = {
    "client_ping": "our ping",
    "client_message": "a message from us",
    "server_message": "a message from it",
    "any_message": "any message",
    "pong": "our pong",
    "no_subscription": "a subscription",
    "unknown": "not stated",
}
NOTICES: Final = {
    "reconnect_now": "We connect anew at once",
    "reconnect_soon": "We connect anew soon",
    "pause": "It pauses",
    "resume": "It goes on",
    "resubscribe": "We subscribe again",
}
RESUBSCRIBED: Final = {
    "additive": "Requests add up.",
    "replace": "A request replaces all earlier ones.",
    "dup_error": "Asking again for a live channel is an error.",
    "resends_snapshot": "Asking again for a live channel brings a new snapshot.",
    "no_new_snapshot": "Asking again for a live channel brings no new snapshot.",
}
RULES: Final = {
    "chain": "{prev} is the {cur} before it",
    "range": "{first} is the {last} before it plus 1",
    "step": "{cur} goes up by 1",
    "monotonic": "{cur} never falls, which shows disorder and not loss",
    "snapshot_only": "every message is whole",
    "none": "no numbers",
}
SCOPES: Final = {
    "connection": "for the connection",
    "channel": "for each channel",
    "symbol": "for each symbol",
    "sid": "for each subscription id",
}
ORDERS: Final = {
    "asks_bids": "all asks, then all bids",
    "bid_ask": "a bid and an ask in turn",
}
WRITTEN: Final = {
    "digits": "without the point and leading zeros",
    "as_sent": "as they were sent",
}
RECOVERIES: Final = {
    "resubscribe": "Made whole by subscribing anew.",
    "rest": "Made whole by a snapshot.",
    "wait": "Made whole by the next message.",
    "reconnect": "Made whole by a new link only.",
}
STAMPS: Final = {
    "sent": "when the venue sent it",
    "event": "when it happened",
    "reply": "the venue's clock in an answer",
}
UNITS: Final = {
    "s": "in seconds",
    "ms": "in milliseconds",
    "us": "in microseconds",
    "ns": "in nanoseconds",
    "rfc3339": "as RFC 3339 text",
}
DEADMEN: Final = {
    "countdown": "Orders are cancelled when a countdown of ours runs out",
    "deadline_at": "Orders are cancelled at a time that we set",
    "on_disconnect": "Orders are cancelled when the connection ends",
    "session_heartbeat": "Orders are cancelled when our heartbeats stop",
    "dcp": "Orders are cancelled when all private connections are gone",
    "none": "None",
}


def span(seconds: float) -> str:
    """A round duration without its noughts: `10 min`, `24 h`, `90 d`."""
    if 120 <= seconds < 3600 and seconds % 60 == 0:
        return f"{seconds / 60:g} min"
    if seconds >= 3600 and seconds % 3600 == 0:
        hours = seconds / 3600
        return f"{hours / 24:g} d" if hours > 48 and not hours % 24 else f"{hours:g} h"
    return duration(seconds)


def rate_text(rate: Rate, text: str) -> str:
    return f"{rate.count} {text} in {span(rate.per_s)}"


def checksum_text(told: Checksum) -> str:
    """What proves a book, in one or two sentences."""
    if told.algorithm == "unpublished":
        return "Its checksum's recipe is not published."
    when = f" of messages with {match_text(Match(json=told.when))}" if told.when else ""
    depth = ""
    if told.depth is not None or told.depth_part is not None:
        depth = " Levels below the depth asked for fall out without a word."
    return (
        f"Its book is proven by {told.field}{when}: the CRC32 of the {told.levels} "
        f"best levels a side, {ORDERS[told.order or '']}, prices and sizes "
        f"{WRITTEN[told.written or '']}. A checksum that does not agree is a gap."
        f"{depth}"
    )


def frame_text(frame: Frame) -> str:
    if frame.text is not None:
        return frame.text or "an empty message"
    return json_text(frame.json)


def match_text(match: Match) -> str:
    if match.text is not None:
        return match.text or "an empty message"
    if match.any is not None:
        return " or ".join(match_text(each) for each in match.any)
    if match.array is not None:
        return json_text(match.array)
    return ", ".join(f"{key} = {_want(w)}" for key, w in (match.json or {}).items())


def _want(want: object) -> str:
    if want == "*" or (isinstance(want, str) and want.startswith("$")):
        return "any" if want == "*" else str(want)
    return json_text(want)


def json_text(value: object) -> str:
    """JSON on one line, with spaces so that it can be wrapped."""
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def members(message: Mapping[str, Member]) -> str:
    """The members of a protobuf message, each with its number and type."""
    told: list[str] = []
    for name, member in message.items():
        many = "repeated " if member.many else ""
        inner = f"({members(member.message)})" if member.message else member.type
        told.append(f"{name} = {member.number}, {many}{inner}")
    return "; ".join(told)
