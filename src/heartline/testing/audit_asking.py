"""What the client of a recording asked for, though it may write it another way than we.

Many clients leave out the id of a request, which ours always has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import msgspec

from heartline.venue.classify import Contract
from heartline.venue.template import Text

from .venue_side.hearing import Heard, Hearing

_IDS = ("id", "id_s", "uuid")


class Asking:
    """Understands the outbound messages of one recording."""

    def __init__(self, contract: Contract) -> None:
        self._hearing = Hearing(contract)
        self._ids = {name: 0 for name in _id_members(contract)}

    def hear(self, text: str) -> tuple[Heard, bool]:
        """What a message says, and whether an answer can be told by its id."""
        heard = self._hearing.hear(text)
        if heard.asked is not None or heard.said or not self._ids:
            return heard, True
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return heard, False
        if not isinstance(document, dict) or self._ids.keys() <= document.keys():
            return heard, False
        whole = self._ids | cast("dict[str, object]", document)
        return self._hearing.hear(msgspec.json.encode(whole).decode()), False


def _id_members(contract: Contract) -> Iterator[str]:
    """The members of requests that hold nothing but an id."""
    told = contract.endpoint.subscribe
    if told is None:
        return
    frames = [told.request, told.unsubscribe]
    frames += [f for form in told.forms for f in (form.request, form.unsubscribe)]
    for frame in frames:
        for name, value in _members(None if frame is None else frame.json):
            alone = Text(value).alone if isinstance(value, str) else None
            if alone is not None and alone.name in _IDS:
                yield name


def _members(document: object) -> Iterable[tuple[str, object]]:
    if not isinstance(document, Mapping):
        return ()
    return cast("Mapping[str, object]", document).items()
