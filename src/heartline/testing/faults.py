"""The faults of the faulty server: their names, options, defaults and limits.

Read by both processes: `FaultyServer` checks a fault before it is ordered, the venue
carries it out. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import isfinite
from typing import Any, Literal, TypeAlias, cast

from heartline.errors import UsageError

Options: TypeAlias = dict[str, Any]
"""What came from, or goes to, JSON."""

Scope: TypeAlias = Literal["present", "following", "all"]
"""Which connections: those open now, those to come, or both."""

Fault: TypeAlias = Literal[
    "mute",
    "no_pong",
    "late_pong",
    "unsolicited",
    "no_answer",
    "echo",
    "trickle",
    "cork",
    "deaf",
    "drop_filter",
    "close",
    "reset",
    "eof",
    "refuse",
    "hang",
    "flap",
    "restore",
]


class Kind(Enum):
    LASTING = "until it is told to end"
    ONCE = "at one moment: now, or right after the upgrade"
    DOOR = "for connections to come, until it is told to end"


@dataclass(frozen=True, slots=True)
class Shape:
    """What one fault takes. The type of a default is the type of the option."""

    kind: Kind
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def scope(self) -> Scope:
        """The scope meant when none is given."""
        if self.kind is Kind.LASTING:
            return "all"
        return "present" if self.kind is Kind.ONCE else "following"


SHAPES: Mapping[str, Shape] = {
    "mute": Shape(Kind.LASTING),
    "no_pong": Shape(Kind.LASTING),
    "late_pong": Shape(Kind.LASTING, {"delay": 1.0}),
    "unsolicited": Shape(Kind.LASTING, {"every": 0.2}),
    "no_answer": Shape(Kind.LASTING),
    "echo": Shape(Kind.LASTING),
    "trickle": Shape(Kind.LASTING, {"every": 1.0}),
    "cork": Shape(Kind.LASTING),
    "deaf": Shape(Kind.LASTING),
    "drop_filter": Shape(Kind.LASTING),
    "close": Shape(Kind.ONCE, {"code": 1001, "reason": "", "after": 0.0}),
    "reset": Shape(Kind.ONCE, {"after": 0.0}),
    "eof": Shape(Kind.ONCE, {"after": 0.0}),
    "refuse": Shape(Kind.DOOR, {"status": 503, "headers": {}, "body": ""}),
    "hang": Shape(Kind.DOOR),
    "flap": Shape(Kind.DOOR, {"code": 1013, "reason": "", "after": 0.0}),
    "restore": Shape(Kind.LASTING),
}


def check_fault(fault: str, scope: Scope | None, options: Options) -> Options:
    """Return the whole order, defaults filled in. Raises `UsageError`."""
    shape = SHAPES.get(fault)
    if shape is None:
        raise UsageError("fault", wanted=" | ".join(SHAPES), got=fault)
    scope = shape.scope if scope is None else scope
    allowed = ("following",) if shape.kind is Kind.DOOR else ("present", "all")
    if scope not in (*allowed, "following"):
        raise UsageError(f"{fault}.scope", wanted=" | ".join(allowed), got=scope)
    order: Options = {"scope": scope, "on": True, **shape.options}
    for name, value in options.items():
        if name not in order or name == "scope":
            takes = ", ".join(n for n in order if n != "scope")
            raise UsageError(f"{fault}.{name}", wanted=takes, got=name)
        order[name] = _checked(f"{fault}.{name}", value, like=order[name])
    return order


def _checked(name: str, value: object, *, like: object) -> object:
    match like:
        case bool():
            good, wanted = isinstance(value, bool), "True or False"
        case int():
            good = isinstance(value, int) and 0 <= value < 1 << 16
            wanted = "a code of 0 to 65535"
        case float():
            good, wanted = _is_duration(value), "finite seconds >= 0"
        case str():
            good, wanted = isinstance(value, str), "text"
        case _:
            good, wanted = _is_texts(value), "a mapping of text to text"
    if not good:
        raise UsageError(name, wanted=wanted, got=value)
    return dict(cast(Mapping[str, str], value)) if like == {} else value


def _is_duration(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isfinite(value) and value >= 0


def _is_texts(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    pairs = cast(Mapping[object, object], value).items()
    return all(isinstance(k, str) and isinstance(v, str) for k, v in pairs)
