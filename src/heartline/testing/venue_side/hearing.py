"""What a client says, told from the profile's own frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Final, Literal, TypeAlias, cast

import msgspec

from heartline.errors import UsageError
from heartline.venue.channels import Form
from heartline.venue.classify import Contract
from heartline.venue.naming import Channel
from heartline.venue.pattern import Pattern
from heartline.venue.vocabulary import Frame

from .templates import Bindings, bindings

Kind: TypeAlias = Literal["enable_probe", "enable_beacon", "step", "reply", "ping"]
Of: TypeAlias = Literal["subscribe", "unsubscribe"]

MOST_CHANNELS: Final = 20_000
"""Of one request; more are not looked at."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that a frame of a client says, and the values in it."""

    kind: Kind
    index: int
    values: Bindings


@dataclass(frozen=True, slots=True)
class Asked:
    """A subscription or its end."""

    of: Of
    channels: tuple[Channel, ...]
    values: Bindings
    bound: object = None
    """What the venue called the channel, where it is told by that."""

    @property
    def id(self) -> object:
        """The number of the request as the client wrote it; None without one."""
        names = ("id", "id_s", "uuid")
        return next((self.values[n] for n in names if n in self.values), None)


@dataclass(frozen=True, slots=True)
class Heard:
    """All that one frame of a client says."""

    said: list[Said] = field(default_factory=list[Said])
    asked: Asked | None = None

    def first(self, kind: Kind) -> Said | None:
        return next((each for each in self.said if each.kind == kind), None)


class Hearing:
    """Understands the clients of one endpoint."""

    def __init__(self, contract: Contract) -> None:
        endpoint = contract.endpoint
        self._names = contract.names
        self._subscribe = endpoint.subscribe
        self._frames: list[tuple[Kind, int, Frame]] = []
        live, steps = endpoint.liveness, endpoint.on_open
        for index, probe in enumerate(live.msg_in):
            self._add("reply", index, probe.reply)
            self._add("enable_probe", index, probe.enable)
        for index, beacon in enumerate(live.beacon):
            self._add("enable_beacon", index, beacon.enable)
        for index, step in enumerate(steps.steps if steps else ()):
            self._add("step", index, step.send)
        for index, beat in enumerate(live.msg_out):
            self._add("ping", index, beat.send)
        self._patterns = [Pattern(form.name) for form in self._forms]

    def hear(self, text: str) -> Heard:
        """What this message says; nothing at all if the profile has no such."""
        document = _document(text)
        heard = Heard(asked=self._request(document))
        for kind, index, frame in self._frames:
            values = _values(frame, text, document)
            if values is not None:
                heard.said.append(Said(kind, index, values))
        return heard

    @property
    def _forms(self) -> tuple[Form, ...]:
        return self._subscribe.forms if self._subscribe else ()

    def _add(self, kind: Kind, index: int, frame: Frame | None) -> None:
        if frame is not None:
            self._frames.append((kind, index, frame))

    # --- requests -----------------------------------------------------------------

    def _request(self, document: object) -> Asked | None:
        for strict in (True, False):
            for of in ("subscribe", "unsubscribe"):
                for at in range(len(self._forms)):
                    asked = self._asked(of, at, document, strict=strict)
                    if asked is not None:
                        return asked
        return None

    def _asked(
        self, of: Of, at: int, document: object, *, strict: bool
    ) -> Asked | None:
        frame, _ = self._of_form(of, at)
        if frame is None:
            return None
        values = bindings(frame.json, document, strict=strict)
        if values is None:
            return None
        if "bound" in values:
            return Asked(of, (), values, values["bound"])
        names = list(self._named(of, at, values))[:MOST_CHANNELS]
        try:
            channels = tuple(self._names.read(name) for name in dict.fromkeys(names))
        except UsageError:
            return None
        return Asked(of, channels, values) if channels else None

    def _of_form(self, of: Of, at: int) -> tuple[Frame | None, object]:
        told, form = self._subscribe, self._forms[at]
        assert told is not None
        own = form.request if of == "subscribe" else form.unsubscribe
        usual = told.request if of == "subscribe" else told.unsubscribe
        return own or usual, form.item if form.item is not None else told.item

    def _named(self, of: Of, at: int, values: Bindings) -> Iterator[str]:
        """The names of the channels in a request of this form."""
        items = values.get("item[]")
        if not isinstance(items, list):
            yield from self._spelt(at, values)
            return
        frame, _ = self._of_form(of, at)
        for item in cast("list[object]", items):
            yield from self._item_names(of, frame, item)

    def _item_names(self, of: Of, frame: Frame | None, item: object) -> list[str]:
        for strict in (True, False):
            for at in range(len(self._forms)):
                other, template = self._of_form(of, at)
                values = bindings(template, item, strict=strict)
                if other == frame and values is not None:
                    return list(self._spelt(at, values))
        return []

    def _spelt(self, at: int, values: Bindings) -> Iterator[str]:
        whole = _several("channel", values)
        if whole is not None:
            yield from (name for name in whole if isinstance(name, str))
            return
        pattern = self._patterns[at]
        parts = [_several(name, values) for name in pattern.names]
        for chosen in product(*(part or () for part in parts)):
            named = dict(zip(pattern.names, chosen, strict=True))
            yield _written(pattern.text, named)


def _several(name: str, values: Bindings) -> list[object] | None:
    """What a part of a name is in each channel of a request."""
    if name in values:
        return [values[name]]
    listed = values.get(f"{name}[]")
    if isinstance(listed, list):
        return cast("list[object]", listed)
    joined = values.get(f"{name}[,]")
    return [*joined.split(",")] if isinstance(joined, str) else None


def _written(pattern: str, parts: dict[str, object]) -> str:
    return re.sub(r"\{(\w+)(?::int)?\}", lambda part: str(parts[part[1]]), pattern)


def _values(frame: Frame, text: str, document: object) -> Bindings | None:
    if frame.text is not None:
        return bindings(frame.text, text, strict=True)
    return bindings(frame.json, document, strict=True)


def _document(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.UNSET
