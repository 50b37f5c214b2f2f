"""The calls that a venue answers beside its socket: the token, and whole books.

They are found by their paths in the profile; the host is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from heartline.venue.field import parse_field
from heartline.venue.numbering import RuleFields

from .draft import Draft
from .market import Series
from .templates import taken_apart

if TYPE_CHECKING:
    from .house import Venue


def answered(venue: Venue, method: str, target: str) -> tuple[int, bytes]:
    """Status and JSON of the answer to a call; 404 for one the profile has not."""
    bootstrap = venue.endpoint.bootstrap
    if bootstrap is not None and bootstrap.http is not None:
        call = bootstrap.http
        if method == call.method and _path(target) == _path(call.url):
            draft = Draft()
            for steps, value in venue.speech.extracts(bootstrap):
                draft.put(steps, value)
            venue.counts["tokens"] += 1
            return 200, msgspec.json.encode(draft.document())
    series = _asked_for(venue, target) if method == "GET" else None
    if series is None:
        return 404, b'{"error":"no such call"}'
    venue.counts["snapshots by HTTP"] += 1
    return 200, msgspec.json.encode(_whole(series))


def _asked_for(venue: Venue, target: str) -> Series | None:
    """The channel of which this call asks the whole."""
    for series in venue.market:
        own = series.shape.own
        recover = own.rule.recover if own is not None else None
        if own is None or recover is None or recover.url is None:
            continue
        template = recover.url.partition("://")[2].partition("/")[2]
        values = taken_apart(template, target.removeprefix("/"))
        if values is not None and _same_parts(own, series, values):
            return series
    return None


def _same_parts(own: RuleFields, series: Series, values: dict[str, object]) -> bool:
    for pattern in own.patterns:
        parts = pattern.parts(series.channel.key)
        if parts is not None:
            known = {**parts, **series.channel.parts}
            return all(_alike(known.get(name), v) for name, v in values.items())
    return False


def _alike(part: object, value: object) -> bool:
    # A template may have changed the case of what it was given.
    return part is not None and str(part).lower() == str(value).lower()


def _whole(series: Series) -> object:
    own = series.shape.own
    assert own is not None
    assert own.rule.recover is not None
    draft, number = Draft(), own.rule.recover.number
    steps = parse_field(number) if number is not None else ()
    if steps:
        draft.put(steps, series.account.last)
    for side, levels in series.book().items():
        draft.put((*steps[:-1], side), levels)
    return draft.document()


def _path(url: str) -> str:
    return urlsplit(url).path
