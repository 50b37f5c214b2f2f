"""A profile's templates read backwards: from what was written to the values in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeAlias, cast

from heartline.venue.match import same
from heartline.venue.template import Text, Variable

Bindings: TypeAlias = dict[str, object]

_OTHER_CASE = {"lower": str.upper, "upper": str.lower}
_CASE = {"lower": str.lower, "upper": str.upper}


@cache
def _expression(text: str) -> tuple[re.Pattern[str], tuple[Variable, ...]]:
    """What takes a filled text apart; a variable that occurs twice is one group."""
    expression, variables = "", list[Variable]()
    for part in Text(text).parts:
        if isinstance(part, str):
            expression += re.escape(part)
        else:
            variables.append(part)
            expression += "(.+?)"
    return re.compile(expression, re.DOTALL), tuple(variables)


def taken_apart(template: str, text: str) -> Bindings | None:
    """The values with which the template becomes this text; None if none do."""
    expression, variables = _expression(template)
    found = expression.fullmatch(text)
    if found is None:
        return None
    bound: Bindings = {}
    for variable, value in zip(variables, found.groups(), strict=True):
        if variable.case is not None:
            value, given = _OTHER_CASE[variable.case](value), value
            if _CASE[variable.case](value) != given:
                return None
        if bound.setdefault(variable.name, value) != value:
            return None
    return bound


def bindings(template: object, document: object, *, strict: bool) -> Bindings | None:
    """The values with which a frame of the profile becomes this document, or None.

    `strict`: an object may hold no members that the template does not name.
    """
    bound: Bindings = {}
    return bound if _bind(template, document, bound, strict) else None


def _bind(template: object, document: object, bound: Bindings, strict: bool) -> bool:
    if isinstance(template, str):
        return _bind_text(template, document, bound)
    if isinstance(template, Mapping):
        members = cast("Mapping[str, object]", template)
        if not isinstance(document, dict):
            return False
        given = cast("dict[str, object]", document)
        if not members.keys() <= given.keys() or (strict and len(given) > len(members)):
            return False
        return all(
            _bind(value, given[key], bound, strict) for key, value in members.items()
        )
    if isinstance(template, list | tuple):
        if not isinstance(document, list):
            return False
        items = cast("Sequence[object]", template)
        return _bind_list(items, cast("list[object]", document), bound, strict)
    return same(template, document)


def _bind_text(template: str, document: object, bound: Bindings) -> bool:
    text = Text(template)
    if text.literal is not None:
        return document == template
    if text.alone is not None and text.alone.case is None:
        if text.alone.name == "null":
            return document is None
        return _put(bound, text.alone.name, document)
    if not isinstance(document, str):
        return False
    found = taken_apart(template, document)
    return found is not None and all(_put(bound, *each) for each in found.items())


def _put(bound: Bindings, name: str, value: object) -> bool:
    """Bind it, unless it is bound to something else."""
    if name in bound:
        return same(bound[name], value)
    bound[name] = value
    return True


def _bind_list(
    items: Sequence[object], given: list[object], bound: Bindings, strict: bool
) -> bool:
    """`${x[]}` takes all elements that those before and after it leave."""
    spliced = [at for at, item in enumerate(items) if _is_spliced(item)]
    if not spliced:
        return len(items) == len(given) and all(
            _bind(item, value, bound, strict)
            for item, value in zip(items, given, strict=True)
        )
    at = spliced[0]
    after = len(items) - at - 1
    if len(given) < at + after:
        return False
    middle = given[at : len(given) - after]
    name = Text(cast(str, items[at])).parts[0]
    assert isinstance(name, Variable)
    rest = [*zip(items[:at], given[:at], strict=True)]
    rest += zip(items[at + 1 :], given[len(given) - after :], strict=True)
    return _put(bound, name.name, middle) and all(
        _bind(item, value, bound, strict) for item, value in rest
    )


def _is_spliced(item: object) -> bool:
    if not isinstance(item, str):
        return False
    alone = Text(item).alone
    return alone is not None and alone.name.endswith("[]")
