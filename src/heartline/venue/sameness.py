"""What of a message of data is the same on every link that the venue sends it on.

A number that counts over one link or one subscription, and the one by which a link's
acknowledgement calls a channel or subscription, belong to that link alone.
"""

from __future__ import annotations

from typing import cast

import msgspec

from .classify import Contract
from .decode import Undecodable
from .field import EACH, MEMBERS, Steps
from .payload import NOT_JSON

OF_A_LINK = ("connection", "sid")


class Sameness:
    """Of one endpoint; shared by all links to it."""

    __slots__ = ("_fields", "_open")

    def __init__(self, contract: Contract) -> None:
        entries = contract.entries
        own: dict[Steps, None] = {}
        for entry in entries.all:
            if entry.bound is not None:
                own[entry.bound] = None
            for rule in entries.numbering.rules(entry.body):
                if rule.scope in OF_A_LINK and rule.numbered:
                    fields = (*rule.fields, rule.who)
                    own |= dict.fromkeys(f for f in fields if f is not None)
        self._fields = tuple(own)
        self._open = contract.envelope

    def mark(self, data: str | bytes) -> int:
        """Equal for what is the same message; `data` was read as data before."""
        if not self._fields:
            return hash(data)
        try:
            document = msgspec.json.decode(self._open(data))
            for steps in self._fields:
                _blank(document, steps)
            return hash(msgspec.json.encode(document))
        except (Undecodable, *NOT_JSON):
            # What was read of it is in order, what nobody asked for is not.
            return hash(data)


def _blank(value: object, steps: Steps) -> None:
    """Put null in the place of what is there, if anything is."""
    step, rest = steps[0], steps[1:]
    places: list[str | int] = []
    if isinstance(value, list):
        items = cast("list[object]", value)
        if step is EACH:
            places += range(len(items))
        elif isinstance(step, int) and -len(items) <= step < len(items):
            places.append(step)
    elif isinstance(value, dict):
        members = cast("dict[str, object]", value)
        if step is MEMBERS:
            # Of a member itself: its `key` names it, `value` leads on.
            places += members if rest[:1] == ("value",) else ()
            rest = rest[1:]
        elif isinstance(step, str) and step in members:
            places.append(step)
    held = cast("dict[str | int, object]", value)
    for place in places:
        if rest:
            _blank(held[place], rest)
        else:
            held[place] = None
