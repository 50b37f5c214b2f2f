"""One line of the journal: how it is written and how it is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeAlias, cast

import msgspec

from heartline.core.events import Event
from heartline.core.items import Status
from heartline.observe.words import in_words, one_line

CARRIED = b'{"carried":true,'


class Missed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=True):
    """Records that could not be written between `since` and `at`, and why."""

    at: float
    records: int
    since: datetime
    error: str


Noted: TypeAlias = Event | Status | Missed


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a journal.

    `utc` is when it was written, `at` the same on the monotonic clock of its process.
    `event` is the name of an event, `Status` or `Missed`. A `carried` record repeats,
    at the start of a file, one from an older file that is still in force.
    """

    utc: datetime
    at: float
    stream: str
    event: str
    carried: bool = False
    line: bytes = b""

    def fields(self) -> dict[str, object]:
        """Return all that the line holds, by the names used in it."""
        return cast("dict[str, object]", msgspec.json.decode(self.line))

    def news(self) -> Noted | None:
        """Return the value that was written, None if this version does not know it."""
        try:
            if self.event == "Status":
                return _STATUS.decode(self.line)
            return _TAGGED.decode(self.line)
        except msgspec.ValidationError:
            return None

    def in_words(self) -> str:
        """Say it in one line, with its time to the millisecond."""
        time = self.utc.astimezone(UTC).isoformat(" ", "milliseconds")
        head = f"{time.removesuffix('+00:00')} UTC"
        match self.news():
            case None:
                name = one_line(f"{self.stream}: {self.event}")
                return f"{head} {name} (not known to this version)"
            case Missed() as missed:
                count = missed.records
                told = f"{self.stream}: {count} records missing: {missed.error}"
                return f"{head} {one_line(told)}"
            case news:
                return f"{head} {in_words(news, name=self.stream)}"


_STATUS = msgspec.json.Decoder(Status)
_TAGGED: msgspec.json.Decoder[Event | Missed] = msgspec.json.Decoder(Event | Missed)
_LINE = msgspec.json.Decoder(Record)


def encode(noted: Noted, *, stream: str, utc: datetime) -> bytes:
    """Write one line, its line break included.

    Text that is no valid Unicode (it may come from the operating system) is written
    with its lone surrogates escaped: a record is worth more than its spelling.
    """
    head: dict[str, object] = {"utc": utc.astimezone(UTC), "stream": stream}
    if isinstance(noted, Status):
        head["event"] = "Status"
    try:
        front, body = msgspec.json.encode(head), msgspec.json.encode(noted)
    except UnicodeEncodeError:
        front = msgspec.json.encode(_valid(head))
        body = msgspec.json.encode(_valid(msgspec.to_builtins(noted)))
    return front[:-1] + b"," + body[1:] + b"\n"


def decode(line: bytes) -> Record | None:
    """Read one line; None if it is torn or was never a record."""
    try:
        record = _LINE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return msgspec.structs.replace(record, line=line)


def carried(line: bytes) -> bytes:
    """Mark a line as a repetition of what is still in force."""
    return CARRIED + line[1:]


def _valid(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return {_valid(key): _valid(item) for key, item in items}
    if isinstance(value, list):
        return [_valid(item) for item in cast("list[object]", value)]
    return value
