"""Text and frames with `${variables}`: what is sent, and how a key is spelt.

A string that is exactly one variable has the JSON type of its value; within longer
text a variable is written as text. `${null}` is null; `${x|lower}`, `${x|upper}`
change case. In a list, `${x[]}` stands for all elements of the list `x[]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast
from uuid import NAMESPACE_URL, uuid5

import msgspec

from ..errors import UsageError
from .vocabulary import Frame

Values: TypeAlias = Mapping[str, object]

DEEPEST = 16
"""Levels of a frame at most."""
NULL: Final = "null"

_VARIABLE = re.compile(r"\$\{((?:[^{}|$]|\{\})+)(?:\|(lower|upper))?\}")
_CASES: Final[Mapping[str, Callable[[str], str]]] = {
    "lower": str.lower,
    "upper": str.upper,
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One `${name}` or `${name|case}`."""

    name: str
    case: str | None = None

    def value(self, values: Values) -> object:
        """Its value; KeyError if there is none, but for `${null}`."""
        value = None if self.name == NULL else values[self.name]
        if self.case is not None and isinstance(value, str):
            return _CASES[self.case](value)
        return value


class Text:
    """A string with variables."""

    __slots__ = ("alone", "literal", "names", "parts")

    def __init__(self, text: str, *, field: str = "template") -> None:
        """Find the variables; raises UsageError naming `field` over a broken `${`."""
        split = cast("list[str | None]", _VARIABLE.split(text))
        parts: list[str | Variable] = []
        for at in range(0, len(split), 3):
            literal = split[at]
            if literal:
                parts.append(literal)
            if at + 1 < len(split):
                parts.append(Variable(str(split[at + 1]), split[at + 2]))
        if any(isinstance(part, str) and "${" in part for part in parts):
            raise UsageError(field, wanted="variables as ${name}", got=text)
        variables = [part for part in parts if isinstance(part, Variable)]
        self.parts = tuple(parts)
        self.names = frozenset(v.name for v in variables) - {NULL}
        self.literal = text if not variables else None
        self.alone = variables[0] if len(parts) == 1 and variables else None

    def fill(self, values: Values) -> object:
        """The value, with the type of its variable if it is nothing but one.

        KeyError if `values` lacks one.
        """
        if self.literal is not None:
            return self.literal
        if self.alone is not None:
            return self.alone.value(values)
        return "".join(
            part if isinstance(part, str) else as_text(part.value(values))
            for part in self.parts
        )


class FrameTemplate:
    """A message to send, compiled: what is written of it, and what it needs."""

    __slots__ = ("_fill", "_fixed", "field", "names")

    def __init__(self, frame: Frame, *, field: str = "frame") -> None:
        """Read a frame of a profile; raises UsageError naming `field`."""
        if (frame.text is None) == (frame.json is None):
            raise UsageError(field, wanted="one of text, json", got=frame)
        names: set[str] = set()
        if frame.text is not None:
            self._fill = _filler(frame.text, f"{field}.text", names)
        else:
            self._fill = _as_json(_filler(frame.json, f"{field}.json", names))
        self.field = field
        self.names = frozenset(names)
        self._fixed = None if names else as_text(self._fill({}))

    def render(self, values: Values) -> str:
        """Write the message; values that it does not name are ignored.

        Raises UsageError if one is missing. It names variables and shows no value: a
        frame may carry a secret.
        """
        if self._fixed is not None:
            return self._fixed
        require(self.names, values, field=self.field)
        return as_text(self._fill(values))


def fill(body: object, values: Values, *, field: str = "template") -> object:
    """What a template, or JSON with templates in it, becomes; raises as `render`."""
    names: set[str] = set()
    filled = _filler(body, field, names)
    require(frozenset(names), values, field=field)
    return filled(values)


def names_in(body: object, *, field: str = "template") -> frozenset[str]:
    """The variables of a template, or of all templates in a piece of JSON."""
    names: set[str] = set()
    _filler(body, field, names)
    return frozenset(names)


def require(names: frozenset[str], values: Values, *, field: str) -> None:
    """Raise UsageError that names the variables for which there is no value."""
    missing = names - values.keys()
    if missing:
        listed = ", ".join(f"${{{name}}}" for name in sorted(missing))
        raise UsageError(field, wanted=f"a value for {listed}", got=None)


class Fresh:
    """Values that no earlier message of this link carried: ids, and the time given."""

    __slots__ = ("_number", "_seed")

    def __init__(self, *, seed: str = "", first: int = 1) -> None:
        """`seed` keeps the uuids of one link apart from those of another."""
        self._number = first - 1
        self._seed = seed

    def values(self, *, unix: float) -> dict[str, object]:
        """New id, id_s, uuid; now_ms and now_s from `unix`, seconds since 1970."""
        self._number += 1
        return {
            "id": self._number,
            "id_s": str(self._number),
            "uuid": str(uuid5(NAMESPACE_URL, f"{self._seed}#{self._number}")),
            "now_ms": int(unix * 1000),
            "now_s": int(unix),
        }


def as_text(value: object) -> str:
    """A value within longer text: text as it is, all else as JSON writes it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


_Fill: TypeAlias = Callable[[Values], object]


def _filler(body: object, field: str, names: set[str], depth: int = 0) -> _Fill:
    """What fills one node of a frame; the names of its variables go to `names`."""
    if depth > DEEPEST:
        raise UsageError(field, wanted=f"at most {DEEPEST} levels", got="more")
    if isinstance(body, str):
        text = Text(body, field=field)
        names |= text.names
        return text.fill
    if isinstance(body, Mapping):
        members = {
            str(key): _filler(value, f"{field}.{key}", names, depth + 1)
            for key, value in cast("Mapping[object, object]", body).items()
        }
        return lambda values: {key: fill(values) for key, fill in members.items()}
    if isinstance(body, list | tuple):
        items = [
            (_spliced(value), _filler(value, f"{field}[{index}]", names, depth + 1))
            for index, value in enumerate(cast("list[object]", body))
        ]
        return lambda values: _listed(items, values)
    if body is None or isinstance(body, bool | int | float):
        return lambda values: body
    raise UsageError(field, wanted="a JSON value", got=body)


def _as_json(fill: _Fill) -> _Fill:
    return lambda values: msgspec.json.encode(fill(values)).decode()


def _spliced(value: object) -> bool:
    """Whether an element of a list stands for several."""
    alone = Text(value).alone if isinstance(value, str) else None
    return alone is not None and alone.name.endswith("[]")


def _listed(items: list[tuple[bool, _Fill]], values: Values) -> list[object]:
    filled: list[object] = []
    for spliced, fill in items:
        value = fill(values)
        if spliced and isinstance(value, list):
            filled += cast("list[object]", value)
        else:
            filled.append(value)
    return filled
