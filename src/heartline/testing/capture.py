"""Captures: recordings of one WebSocket connection, read and written.

A capture is JSON lines, gzipped if the name ends in `.gz`, in the order captured:

| field  | meaning                                                               |
|--------|-----------------------------------------------------------------------|
| `t`    | seconds since 1970 (or since anything), of receipt or sending         |
| `dir`  | `open` the dial, `out` from client to venue, `in` from venue to client |
| `url`  | with `open`: what was dialled                                         |
| `text` | with `in` and `out`: payload of a text message                        |
| `b64`  | with `in` and `out`: payload of a binary message, base64              |

The lines of `heartline watch --json` are read as one, too: its messages as what came
in, a new link with each new `epoch`. What the stream says of itself is left out,
and so are snapshots, which did not come over the connection.

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


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One line. `at` is its `t`; `data` is text, bytes, or the URL of a dial."""

    at: float
    direction: FrameDirection
    data: str | bytes


@dataclass(frozen=True, slots=True)
class Capture:
    """A recording, in the order captured."""

    frames: tuple[CapturedFrame, ...]

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
    frames: list[CapturedFrame] = []
    epoch: object = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        record = _record(line, where)
        if record.get("type") in ("gap", "status"):
            continue
        if record.get("type") == "message":
            if record.get("snapshot"):
                continue
            record |= {"t": _seconds(record, where), "dir": "in"}
            if epoch != record.get("epoch"):
                frames.append(CapturedFrame(record["t"], "open", ""))
            epoch = record.get("epoch")
        frames.append(_frame(record, where))
    return Capture(tuple(frames))


def write_capture(capture: Capture, path: str | PathLike[str]) -> None:
    """Write a recording; the same recording makes the same bytes."""
    lines = "".join(
        json.dumps(_fields(frame), separators=(",", ":")) + "\n"
        for frame in capture.frames
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
    at = record.get("t")
    if isinstance(at, bool) or not isinstance(at, int | float) or not isfinite(at):
        raise UsageError(f"{where}, t", wanted="seconds", got=at)
    direction = record.get("dir")
    if direction not in ("open", "in", "out"):
        raise UsageError(f"{where}, dir", wanted="open | in | out", got=direction)
    if direction == "open":
        return CapturedFrame(float(at), "open", _string(record, "url", where))
    if ("text" in record) == ("b64" in record):
        raise UsageError(where, wanted="either text or b64", got=sorted(record))
    if "text" in record:
        return CapturedFrame(float(at), direction, _text(record, where))
    try:
        data = b64decode(_string(record, "b64", where), validate=True)
    except ValueError as error:
        raise UsageError(f"{where}, b64", wanted="base64", got=str(error)) from None
    return CapturedFrame(float(at), direction, data)


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
