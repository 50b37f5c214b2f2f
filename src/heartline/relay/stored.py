"""How a message looks on the bus: its headers, written and read. Pure.

The page for other implementers is `docs/growing.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from .lane import Cursor, Entry, Publish
from .subjects import message_id

ID, EXPECT = "Nats-Msg-Id", "Nats-Expected-Last-Subject-Sequence"
"""Of NATS itself."""
NUMBER, FOLLOWS, RUN = "Heartline-Number", "Heartline-Follows", "Heartline-Run"
RECEIVED, RELAY = "Heartline-Received", "Heartline-Relay"
GAP, BINARY = "Heartline-Gap", "Heartline-Binary"


def headers_of(step: Publish, at: int, subject: str, relay: str) -> dict[str, str]:
    """Those of the message at this place in a step, but for `EXPECT`."""
    entry: Entry = step.entries[at]
    place = entry.place
    headers = {
        ID: message_id(subject, step.run, place.last),
        NUMBER: str(place.last),
        FOLLOWS: str(place.low),
        RECEIVED: entry.received,
        RELAY: relay,
    }
    if step.run:
        headers[RUN] = str(step.run)
    if entry.binary:
        headers[BINARY] = "1"
    if at == 0 and step.gap is not None:
        # Headers are ASCII; a channel's name need not be.
        headers[GAP] = json.dumps(msgspec.to_builtins(step.gap))
    return headers


def note_headers(subject: str, run: int, number: int) -> dict[str, str]:
    """Those of a note; a number that is passed over is a note that found no room."""
    return {
        ID: message_id(subject, run, number),
        NUMBER: str(number),
        RUN: str(run),
    }


def cursor_of(seq: int, headers: Mapping[str, str]) -> Cursor:
    """What the last message of a subject says of itself.

    One that no relay wrote says nothing: then nothing is known to come before.
    """
    return Cursor(
        seq=seq,
        run=_whole(headers.get(RUN)) or 0,
        number=_whole(headers.get(NUMBER)),
        received=headers.get(RECEIVED, ""),
    )


def _whole(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
