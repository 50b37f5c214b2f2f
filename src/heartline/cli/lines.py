"""Items of a stream as JSON Lines, one object an item, for other programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from heartline.core.items import Gap, Item, Message, Status


class _Text(msgspec.Struct, tag_field="type", tag="message"):
    text: str
    received_at: float
    utc: datetime
    epoch: int
    channel: str | None
    age: float
    snapshot: bool


class _Binary(msgspec.Struct, tag_field="type", tag="message"):
    b64: bytes
    received_at: float
    utc: datetime
    epoch: int
    channel: str | None
    age: float
    snapshot: bool


DIGITS = 6
"""Of seconds: the rest of a float is noise that no clock told."""

_encoder = msgspec.json.Encoder()


def encode(items: list[Item], *, utc_offset: float) -> bytes:
    """Write `items` as lines, each ended by a line break.

    `type` is `message`, `gap` or `status`. `utc` is the wall clock of `received_at`,
    `until_at` and `at`, made with `utc_offset`, which is the wall clock less the clock
    of the items; `from_utc`, `since_utc` and `retry_utc` are that of `from_at`,
    `since_at` and `retry_at`. Seconds are rounded to microseconds. `text` holds a text
    message as it came, `b64` a binary one in base64. In `bounds` of a status, the
    stream as a whole is the channel named "".
    """
    lines: list[Any] = []
    read_at, utc = 0.0, _utc(utc_offset)
    for item in items:
        match item:
            case Message():
                if item.received_at != read_at:  # one read brings many messages
                    read_at, utc = item.received_at, _utc(item.received_at + utc_offset)
                lines.append(_message(item, utc))
            case Gap():
                at = _utc(item.until_at + utc_offset)
                begun = {"from_utc": _utc(item.from_at + utc_offset)}
                lines.append({"type": "gap", "utc": at, **begun, **_fields(item)})
            case Status():
                at = _utc(item.at + utc_offset)
                fields = _status(item, utc_offset)
                lines.append({"type": "status", "utc": at, **fields})
    return _encoder.encode_lines(lines)


def _message(item: Message, utc: datetime) -> _Text | _Binary:
    read_at, data = round(item.received_at, DIGITS), item.data
    of = item.epoch, item.channel, round(item.age, DIGITS), item.snapshot
    if isinstance(data, str):
        return _Text(data, read_at, utc, *of)
    return _Binary(data, read_at, utc, *of)


def _status(status: Status, utc_offset: float) -> dict[str, Any]:
    fields = _fields(status)
    for name in ("bounds", "ceilings"):
        bounds = _fields(fields[name])
        channels = bounds["channels"].items()
        bounds["channels"] = {c or "": _rounded(bound) for c, bound in channels}
        fields[name] = bounds
    fields["round_trip"] = _fields(status.round_trip)
    fields["conditions"] = sorted(status.conditions)
    for name, at in (("since_utc", status.since_at), ("retry_utc", status.retry_at)):
        fields[name] = None if at is None else _utc(at + utc_offset)
    return fields


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    return {name: _rounded(getattr(value, name)) for name in value.__struct_fields__}


def _rounded(value: Any) -> Any:
    return round(value, DIGITS) if isinstance(value, float) else value


def _utc(wall: float) -> datetime:
    return datetime.fromtimestamp(wall, UTC)
