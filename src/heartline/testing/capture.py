"""Captures: recordings of one WebSocket connection, read and written.

A capture is JSON lines, gzipped if the name ends in `.gz`, in the order captured:

| field  | meaning                                                               |
|--------|-----------------------------------------------------------------------|
| `t`    | seconds since 1970 (or since anything), of receipt or sending         |
| `dir`  | `open` the dial, `out` from client to venue, `in` from venue to client |
| `url`  | with `open`: what was dialled                                         |
| `text` | with `in` and `out`: payload of a text message                        |
| `b64`  | with `in` and `out`: payload of a binary message, base64              |
| `link` | with `in`: which of several connections brought it, if not the only one |
| `dir`  | `gap`: messages came, or may have, that were not recorded; `t` its end |
| `from`, `channel`, `missing` | with `gap`: its begin, and what is known of it   |

The lines of `heartline watch --json` are read as one, too: its messages as what came
in, each on the `link` of its epoch. Where the stream tells of itself, links between
which it tells no outage have met without one, and what it dropped is a gap. Snapshots
are left out: they did not come over the connection.

Standard library only: the replay's process starts without site packages.
"""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from heartline.errors import UsageError

FrameDirection: TypeAlias = Literal["open", "in", "out"]
_Line: TypeAlias = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One line. `at` is its `t`; `data` is text, bytes, or the URL of a dial."""

    at: float
    direction: FrameDirection
    data: str | bytes
    link: int = 0
    """Which of several connections it came on; links may take turns."""


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Messages that came, or may have, and are not in the recording: it says so itself.

    `missing` is how many, where that is known.
    """

    from_at: float
    until_at: float
    channel: str | None = None
    missing: int | None = None


@dataclass(frozen=True, slots=True)
class Capture:
    """A recording, in the order captured."""

    frames: tuple[CapturedFrame, ...]
    unrecorded: tuple[Unrecorded, ...] = ()

    @property
    def inbound(self) -> tuple[CapturedFrame, ...]:
        """What the venue sent."""
        return tuple(frame for frame in self.frames if frame.direction == "in")

    @property
    def url(self) -> str | None:
        """What was dialled, where that was recorded."""
        for frame in self.frames:
            if frame.direction == "open":
                return str(frame.data) or None
        return None

    @property
    def duration(self) -> float:
        """Seconds from the first inbound frame to the last."""
        inbound = self.inbound
        return max(0.0, inbound[-1].at - inbound[0].at) if inbound else 0.0


def read_capture(path: str | PathLike[str]) -> Capture:
    """Read a recording whole.

    Raises `UsageError` that names line and field where the file is no capture, and
    `OSError` where it cannot be read.
    """
    name = Path(path).name
    try:
        content = Path(path).read_bytes()
        if name.endswith(".gz"):
            content = gzip.decompress(content)
        lines = content.decode().split("\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(name, wanted="a gzip file", got=str(error)) from None
    except UnicodeDecodeError as error:
        raise UsageError(name, wanted="UTF-8", got=str(error)) from None
    return _capture(
        [
            (f"{name}, line {number}", _record(line, f"{name}, line {number}"))
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
    )


def _capture(lines: list[_Line]) -> Capture:
    frames: list[CapturedFrame] = []
    unrecorded: list[Unrecorded] = []
    outages = _outages(lines)
    latest: int | None = None
    for where, record in lines:
        kind = record.get("type")
        if kind == "status":
            if latest is not None and _whole(record, "epoch", where) < latest:
                latest = None  # another run was written to the same file
            continue
        if kind == "gap" or record.get("dir") == "gap":
            if (missing := _unrecorded(record, where)) is not None:
                unrecorded.append(missing)
            continue
        if kind != "message":
            frames.append(_frame(record, where))
            continue
        if record.get("snapshot"):
            continue
        epoch = _whole(record, "epoch", where)
        at = _seconds(record, where)
        if latest is None or epoch > latest:
            began = 0 if latest is None else latest
            if latest is None or outages is None or _any(outages, began, epoch):
                frames.append(CapturedFrame(at, "open", ""))
            latest = epoch
        frames.append(_frame(record | {"t": at, "dir": "in", "link": epoch}, where))
    return Capture(tuple(frames), tuple(unrecorded))


def _outages(lines: list[_Line]) -> set[int] | None:
    """The epochs after which a stream told an outage; None if it told nothing."""
    told = [record for _, record in lines if record.get("type") in ("gap", "status")]
    if not told:
        return None
    lost = (r.get("epoch") for r in told if _is_outage(r))
    return {epoch for epoch in lost if isinstance(epoch, int)}


def _is_outage(record: dict[str, Any]) -> bool:
    of_all = record.get("channel") is None
    return record.get("reason") == "outage" and record["type"] == "gap" and of_all


def _is_shown(record: dict[str, Any]) -> bool:
    """Whether the messages themselves show a gap, or the links. One without a channel
    and a number may be several merged in a full inbox, whatever reason it names."""
    if _is_outage(record):
        return record.get("missing") is None
    named = record.get("channel") is not None or record.get("first") is not None
    return named and record.get("reason") in ("sequence", "checksum")


def _any(outages: set[int], first: int, until: int) -> bool:
    return any(first <= epoch < until for epoch in outages)


def _unrecorded(record: dict[str, Any], where: str) -> Unrecorded | None:
    """What a gap says was not recorded; None if the messages themselves show it."""
    if record.get("type") == "gap":
        if _is_shown(record):
            return None
        until_at = _seconds(record, where)
        lasted = _number(record, "until_at", where) - _number(record, "from_at", where)
        from_at = until_at - lasted
    else:
        until_at, from_at = _number(record, "t", where), _number(record, "from", where)
    channel = record.get("channel")
    missing = record.get("missing")
    return Unrecorded(
        from_at,
        until_at,
        None if channel is None else _string(record, "channel", where),
        None if missing is None else _whole(record, "missing", where),
    )


def write_capture(capture: Capture, path: str | PathLike[str]) -> None:
    """Write a recording; the same recording makes the same bytes."""
    fields = [_fields(frame) for frame in capture.frames]
    fields += [_gap_fields(gap) for gap in capture.unrecorded]
    lines = "".join(
        json.dumps(each, separators=(",", ":")) + "\n" for each in fields
    ).encode()
    if Path(path).name.endswith(".gz"):
        lines = gzip.compress(lines, mtime=0)
    Path(path).write_bytes(lines)


def _fields(frame: CapturedFrame) -> dict[str, object]:
    fields: dict[str, object] = {"t": frame.at, "dir": frame.direction}
    if frame.direction == "open":
        fields["url"] = frame.data
    elif isinstance(frame.data, str):
        fields["text"] = frame.data
    else:
        fields["b64"] = b64encode(frame.data).decode()
    if frame.link:
        fields["link"] = frame.link
    return fields


def _gap_fields(gap: Unrecorded) -> dict[str, object]:
    fields: dict[str, object] = {"t": gap.until_at, "dir": "gap", "from": gap.from_at}
    if gap.channel is not None:
        fields["channel"] = gap.channel
    if gap.missing is not None:
        fields["missing"] = gap.missing
    return fields


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError:
        raise UsageError(where, wanted="a JSON object", got=line[:80]) from None
    if not isinstance(fields, dict):
        raise UsageError(where, wanted="a JSON object", got=line[:80])
    record = cast(dict[str, Any], fields)
    if not {"t", "dir", "type"} & record.keys():
        wanted = "a frame of a recording: t, dir, and text or b64"
        raise UsageError(where, wanted=wanted, got=line[:80])
    return record


def _seconds(record: dict[str, Any], where: str) -> float:
    """The `utc` of a message as seconds since 1970."""
    utc = _string(record, "utc", where)
    try:
        return datetime.fromisoformat(utc).timestamp()
    except ValueError:
        raise UsageError(f"{where}, utc", wanted="an instant", got=utc[:80]) from None


def _frame(record: dict[str, Any], where: str) -> CapturedFrame:
    at = _number(record, "t", where)
    direction = record.get("dir")
    if direction not in ("open", "in", "out"):
        raise UsageError(f"{where}, dir", wanted="open | in | out", got=direction)
    if direction == "open":
        return CapturedFrame(at, "open", _string(record, "url", where))
    if ("text" in record) == ("b64" in record):
        raise UsageError(where, wanted="either text or b64", got=sorted(record))
    link = _whole(record, "link", where) if "link" in record else 0
    if "text" in record:
        return CapturedFrame(at, direction, _text(record, where), link)
    try:
        data = b64decode(_string(record, "b64", where), validate=True)
    except ValueError as error:
        raise UsageError(f"{where}, b64", wanted="base64", got=str(error)) from None
    return CapturedFrame(at, direction, data, link)


def _number(record: dict[str, Any], field: str, where: str) -> float:
    value = record.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{where}, {field}", wanted="seconds", got=value)
    if not isfinite(value):
        raise UsageError(f"{where}, {field}", wanted="seconds", got=value)
    return float(value)


def _whole(record: dict[str, Any], field: str, where: str) -> int:
    value = record.get(field)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{where}, {field}", wanted="a whole number", got=value)
    return value


def _text(record: dict[str, Any], where: str) -> str:
    text = _string(record, "text", where)
    try:
        text.encode()
    except UnicodeEncodeError:
        # JSON can spell half a surrogate pair; a text frame cannot carry it.
        raise UsageError(f"{where}, text", wanted="Unicode", got=text[:80]) from None
    return text


def _string(record: dict[str, Any], field: str, where: str) -> str:
    value = record.get(field)
    if not isinstance(value, str):
        raise UsageError(f"{where}, {field}", wanted="a string", got=value)
    return value
