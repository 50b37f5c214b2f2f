"""What is demanded of a user's values: their kinds, before anything is made of them.

A value of another kind would come up much later, far from the call that gave it: in a
comparison, in a timer, on the first frame. Raises `UsageError`, always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from inspect import iscoroutinefunction
from numbers import Real
from typing import Any, Final, TypeAlias

from heartline.errors import UsageError

Kinds: TypeAlias = Mapping[str, tuple[str, tuple[Any, ...]]]
"""Of each name, what to call what is wanted, and the types that it may have."""


def _is_number(value: object) -> bool:
    if isinstance(value, bool):  # an int to Python, and a mistake here
        return False
    return isinstance(value, Real)


def _is_whole(value: object) -> bool:
    # nan and inf have no fraction: what they may be is a matter of bounds.
    return _is_number(value) and not value % 1 > 0  # type: ignore[operator]


_DECLARED: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "int": (_is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "str": (lambda value: isinstance(value, str), "a text"),
}
_OR_NONE = " | None"


def demand_declared(policy: Any) -> None:
    """Raise unless each field that is declared a number, a truth or a text is one.

    `policy` is a dataclass of a module whose annotations are not evaluated.
    """
    for field in fields(policy):
        if not field.init:
            continue
        declared, value = str(field.type), getattr(policy, field.name)
        known = _DECLARED.get(declared.removesuffix(_OR_NONE))
        if known is None or (value is None and declared.endswith(_OR_NONE)):
            continue
        fits, wanted = known
        if not fits(value):
            if declared.endswith(_OR_NONE):
                wanted += ", or None"
            name = f"{type(policy).__name__}.{field.name}"
            raise UsageError(name, wanted=wanted, got=_shown(value))


def demand_whole(name: str, value: object) -> None:
    """Raise unless `value` is a whole number."""
    if not _is_whole(value):
        raise UsageError(name, wanted="a whole number", got=_shown(value))


def demand_text(name: str, value: object) -> None:
    """Raise unless `value` is a text, and one that can be sent."""
    if not isinstance(value, str):
        raise UsageError(name, wanted="a text", got=type(value).__name__)
    try:
        value.encode()
    except UnicodeEncodeError:
        wanted = "text that UTF-8 can say"
        raise UsageError(name, wanted=wanted, got="a lone surrogate") from None


def demand_kinds(kinds: Kinds, given: Mapping[str, object]) -> None:
    """Raise unless each of the values named in `kinds` is of one of its kinds.

    Only the kind of a wrong value is told: it may hold a secret.
    """
    for name, (wanted, right) in kinds.items():
        if not isinstance(given[name], right):
            raise UsageError(name, wanted=wanted, got=type(given[name]).__name__)


def demand_prompt(name: str, function: object) -> None:
    """Raise over a coroutine function where what is called must not wait.

    Nobody would await what it makes: it would never run, or be taken for an answer.
    """
    if iscoroutinefunction(function):
        wanted = "a function that does not wait"
        raise UsageError(name, wanted=wanted, got="a coroutine function")


def _shown(value: object) -> object:
    """A number as it is; of all else its kind, which cannot be a secret."""
    return value if isinstance(value, Real | None) else type(value).__name__
