"""Where a value stands in a JSON message: `params.data[0].seq`, `[-1]`, `data[].ts`.

A field is read into steps: a key, an index (negative from the end), EACH for every
element of a list (`[]`), MEMBERS for every member of an object (`{}`), which is then
an object of `key` and `value`. What is not there is `msgspec.UNSET`, so that a JSON
null stays a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, TypeAlias, cast

from msgspec import UNSET

from ..errors import UsageError


class Every(Enum):
    """A step that leads to several values."""

    ELEMENT = "[]"
    MEMBER = "{}"


EACH: Final = Every.ELEMENT
MEMBERS: Final = Every.MEMBER
Step: TypeAlias = str | int | Every
Steps: TypeAlias = tuple[Step, ...]

MOST_STEPS = 12
"""Of one field; the deepest that any venue needs has six."""
MOST_ROWS = 20_000
"""Elements that are looked at in one message; the largest list recorded has 5000."""

_PART = re.compile(r"(?P<key>[^.\[\]{}]+)|\[(?P<index>-?\d{1,4})?\]|\{\}")


class TooManyRows(ValueError):
    """A message holds lists longer than any venue sends."""


def parse_field(text: str, *, field: str = "field") -> Steps:
    """Read a field; raises UsageError naming `field` if it is none."""
    steps: list[Step] = []
    at, may_be_key = 0, True
    while at < len(text):
        if text[at] == "." and not may_be_key:
            at, may_be_key = at + 1, True
            continue
        part = _PART.match(text, at)
        if part is None or len(steps) == MOST_STEPS:
            break
        if part["key"] is not None:
            if not may_be_key:
                break
            steps.append(part["key"])
        elif may_be_key and steps:
            break
        elif part[0] == "{}":
            steps.append(MEMBERS)
        else:
            steps.append(EACH if part["index"] is None else int(part["index"]))
        at, may_be_key = part.end(), False
    if at < len(text) or may_be_key:
        raise UsageError(field, wanted="a field such as params.data[0].seq", got=text)
    return tuple(steps)


def written(steps: Steps) -> str:
    """The text that `parse_field` reads back to the same steps."""
    text = ""
    for step in steps:
        if isinstance(step, str):
            text += f".{step}" if text else step
        else:
            text += step.value if isinstance(step, Every) else f"[{step}]"
    return text


def find(document: object, steps: Steps) -> object:
    """The value there, or UNSET; of several the first."""
    value = document
    for step in steps:
        if isinstance(step, str):
            if not isinstance(value, dict):
                return UNSET
            value = cast("dict[str, object]", value).get(step, UNSET)
        elif isinstance(step, int):
            if not isinstance(value, list):
                return UNSET
            items = cast("list[object]", value)
            if not -len(items) <= step < len(items):
                return UNSET
            value = items[step]
        else:
            value = next(iter(_members(value, step)), UNSET)
    return value


def rows(document: object, fields: Sequence[Steps]) -> Iterator[tuple[object, ...]]:
    """The values of all `fields`, once for each element that they lead to.

    Fields through the same list speak of the same element. A field that leads to one
    value has it in every row. Raises TooManyRows past MOST_ROWS.
    """
    if not any(_several(steps) for steps in fields):
        yield tuple(find(document, steps) for steps in fields)
        return
    for count, values in enumerate(_rows([(document, steps) for steps in fields])):
        if count >= MOST_ROWS:
            raise TooManyRows(f"more than {MOST_ROWS} elements")
        yield values


def lead(steps: Steps) -> Steps:
    """The way to the last list whose every element is meant; () if there is none."""
    for at in range(len(steps), 0, -1):
        if isinstance(steps[at - 1], Every):
            return steps[:at]
    return ()


def _several(steps: Steps) -> bool:
    return EACH in steps or MEMBERS in steps


def _rows(places: list[tuple[object, Steps]]) -> Iterator[tuple[object, ...]]:
    """Take the first list on the way of any field, and go on from each element."""
    through = next((place for place in places if _several(place[1])), None)
    if through is None:
        yield tuple(find(value, steps) for value, steps in places)
        return
    root, steps = through
    until = next(at for at, step in enumerate(steps) if isinstance(step, Every)) + 1
    way, last = steps[:until], steps[until - 1]
    assert isinstance(last, Every)
    inside = [value is root and steps[:until] == way for value, steps in places]
    deeper = any(
        _several(steps[until:] if within else steps)
        for within, (_, steps) in zip(inside, places, strict=True)
    )
    fixed = [
        UNSET if within or deeper else find(value, steps)
        for within, (value, steps) in zip(inside, places, strict=True)
    ]
    rest = [(at, places[at][1][until:]) for at, within in enumerate(inside) if within]
    for element in _members(find(root, way[:-1]), last):
        if deeper:
            for at, steps in rest:
                places[at] = (element, steps)
            yield from _rows(list(places))
        else:
            for at, steps in rest:
                fixed[at] = find(element, steps)
            yield tuple(fixed)


def _members(value: object, step: Every) -> Iterator[object]:
    if step is EACH and isinstance(value, list):
        yield from cast("list[object]", value)
    elif step is MEMBERS and isinstance(value, dict):
        for key, member in cast("dict[str, object]", value).items():
            yield {"key": key, "value": member}
