"""Where the state of a channel is fetched, and how its number is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

from heartline.core.items import Cause
from heartline.core.restore import Joins, Restored
from heartline.core.tracker import LIMIT_NUMBER
from heartline.errors import WireError
from heartline.venue.classify import Contract
from heartline.venue.field import Steps, find, parse_field
from heartline.venue.payload import NOT_JSON
from heartline.venue.template import Text, as_text

_DIGITS: Final = 20
"""Of a number below `LIMIT_NUMBER`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotCall:
    """One channel's call: `number` says where its answer holds the number."""

    url: str
    number: Steps
    terms: Restored

    def number_in(self, body: bytes) -> int:
        """The number of the state in an answer; raises `WireError`."""
        try:
            value = find(msgspec.json.decode(body), self.number)
        except NOT_JSON:
            raise WireError(Cause.PROTOCOL, "the answer is no JSON") from None
        if isinstance(value, str) and value.isdecimal() and len(value) <= _DIGITS:
            value = int(value)
        if type(value) is not int or not 0 <= value < LIMIT_NUMBER:
            raise WireError(Cause.PROTOCOL, "the answer holds no number")
        return value


def snapshot_call(
    contract: Contract, channel: str, *, rest: str | None = None
) -> SnapshotCall | None:
    """The call for a channel's state; None where the venue promises none.

    `rest` stands in place of the profile's scheme and host.
    """
    name = contract.names.read(channel)
    own = contract.entries.numbering.own(name.key)
    recover = own.rule.recover if own is not None and own.rule.certain else None
    if own is None or recover is None or recover.how != "rest":
        return None
    if recover.url is None or recover.number is None or recover.joins is None:
        return None
    found = (pattern.parts(name.key) for pattern in own.patterns)
    parts = next(each for each in found if each is not None)
    url = as_text(Text(recover.url).fill({**parts, **name.parts}))
    place = urlsplit(url)
    if rest is not None:
        # The rest of it as it is written: what was filled in may hold any sign.
        path = url.partition("://")[2].partition("/")[2]
        url, place = f"{rest.rstrip('/')}/{path}", urlsplit(rest)
    terms = Restored(
        host=place.netloc.rpartition("@")[2],
        joins=Joins(recover.joins),
        contiguous=own.rule.rule != "monotonic",
    )
    return SnapshotCall(url=url, number=parse_field(recover.number), terms=terms)
