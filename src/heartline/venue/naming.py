"""Names that the user writes, and the keys by which messages speak of the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..core.demands import demand_text
from ..errors import UsageError
from .channels import Form, Subscribe
from .pattern import Parts, Pattern
from .template import Text, as_text, require


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel's name, taken apart."""

    name: str
    form: int
    parts: Parts
    key: str


class Names:
    """Reads the names of one endpoint's channels."""

    def __init__(self, subscribe: Subscribe | None) -> None:
        """Compile all forms; raises UsageError over one that cannot be read."""
        self.forms: tuple[Form, ...] = subscribe.forms if subscribe else ()
        self._patterns = [
            Pattern(form.name, field=f"subscribe.forms[{at}].name")
            for at, form in enumerate(self.forms)
        ]
        self._keys = [
            Text(form.key, field=f"subscribe.forms[{at}].key") if form.key else None
            for at, form in enumerate(self.forms)
        ]

    def read(self, name: str) -> Channel:
        """Take a name apart; raises UsageError that lists the forms there are."""
        demand_text("channel", name)
        for form, pattern in enumerate(self._patterns):
            parts = pattern.parts(name)
            if parts is not None:
                return Channel(name, form, parts, self._key(form, name, parts))
        wanted = ", ".join(form.name for form in self.forms) or "no channel at all"
        raise UsageError("channel", wanted=wanted, got=name)

    def _key(self, form: int, name: str, parts: Parts) -> str:
        template = self._keys[form]
        if template is None:
            return name
        values = {**parts, "channel": name}
        require(template.names, values, field=f"subscribe.forms[{form}].key")
        return as_text(template.fill(values))


class Book:
    """Which channels are wanted on a link: by key, and by what an ack bound."""

    __slots__ = ("bindings", "bound", "by_key")

    def __init__(self) -> None:
        self.by_key: dict[str, str] = {}
        self.bound: dict[str | int, str] = {}
        """What the venue calls a channel from its ack on -> the key."""
        self.bindings = 0
        """How often that changed."""

    def add(self, channels: Iterable[Channel]) -> None:
        for channel in channels:
            self.by_key.setdefault(channel.key, channel.name)

    def remove(self, channels: Iterable[Channel]) -> None:
        for channel in channels:
            if self.by_key.get(channel.key) == channel.name:
                del self.by_key[channel.key]

    def bind(self, value: str | int, key: str) -> None:
        """Remember what the venue calls a channel; the oldest of too many is lost."""
        if len(self.bound) >= MOST_BOUND and value not in self.bound:
            del self.bound[next(iter(self.bound))]
        self.bindings += self.bound.get(value) != key
        self.bound[value] = key

    def name(self, key: str) -> str:
        """The name under which a key was asked for, or the key itself."""
        return self.by_key.get(key, key)

    def bound_to(self, name: str) -> str | int | None:
        """What the venue calls the channel of this name."""
        for value, key in self.bound.items():
            if self.by_key.get(key) == name or key == name:
                return value
        return None


MOST_BOUND = 20_000
"""Bindings kept; no venue takes as many channels on a link."""


def spelt(template: Text, values: Mapping[str, object]) -> str | None:
    """A key from values of a message; None if one is no text, number or truth value."""
    filled = [values.get(name) for name in template.names]
    if any(not isinstance(value, str | int | float) for value in filled):
        return None
    return as_text(template.fill(values))


def distinct(keys: Iterable[str | None]) -> Iterator[str]:
    """Each key once, in order."""
    return iter(dict.fromkeys(key for key in keys if key is not None))
