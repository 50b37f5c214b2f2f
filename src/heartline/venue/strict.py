"""Read plain data as a struct, and name the key where that fails."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, TypeVar, cast

import msgspec
from msgspec import ValidationError, inspect

from heartline.errors import VenueError

T = TypeVar("T")
Key = str | int
Keys = tuple[Key, ...]

_ONE_AT_A_TIME = Lock()
"""msgspec learns a kind when it is first read, and crashes the process where another
thread reads it meanwhile (0.22): programs have a loop in each of several threads."""
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)
_EXPECTED = re.compile(r"Expected (.*?)(?:, got `[^`]*`)?\Z", re.DOTALL)
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+)\]|\[\.\.\.\]")


def read_as(kind: type[T], data: object, *, file: str, at: str = "") -> T:
    """Convert `data`, without guessing; raises VenueError with the key under `at`."""
    try:
        with _ONE_AT_A_TIME:
            return msgspec.convert(data, kind)
    except ValidationError as error:
        keys, wanted, got = _explained(kind, data, str(error))
        raise VenueError(file, _dotted(at, keys), wanted=wanted, got=got) from None


def _explained(kind: Any, data: object, text: str) -> tuple[Keys, str, object]:
    problem, _, path = text.partition(" - at `$")
    keys = _located(kind, data, text, path.rstrip("`"))
    if unknown := _UNKNOWN.match(problem):
        known = ", ".join(_known_at(inspect.type_info(kind), keys))
        return (*keys, unknown[1]), f"one of {known}", unknown[1]
    if missing := _MISSING.match(problem):
        return (*keys, missing[1]), "a value", None
    expected = _EXPECTED.match(problem)
    wanted = expected[1].replace("`", "") if expected else _choice(kind, keys, problem)
    return keys, wanted, _value(data, keys)


def _located(kind: Any, data: object, text: str, path: str) -> Keys:
    """The keys of a path in which `[...]` stands for any key of a table."""
    keys: Keys = ()
    for step in _STEP.finditer(path):
        if step["key"] is not None:
            keys = (*keys, step["key"])
        elif step["index"] is not None:
            keys = (*keys, int(step["index"]))
        else:
            keys = (*keys, _culprit(kind, data, text, keys))
    return keys


def _culprit(kind: Any, data: object, text: str, keys: Keys) -> str:
    """The key of the table at `keys` that alone brings the same error."""
    table = cast("dict[str, object]", _value(data, keys))
    for key, value in table.items():
        try:
            msgspec.convert(_with(data, keys, {key: value}), kind)
        except ValidationError as error:
            if str(error) == text:
                return key
    return "?"


def _with(data: object, keys: Sequence[Key], value: object) -> object:
    """A copy of `data` that holds `value` at `keys`."""
    if not keys:
        return value
    step, rest = keys[0], keys[1:]
    if isinstance(data, dict):
        table = cast("dict[Key, object]", data)
        return {**table, step: _with(table[step], rest, value)}
    items = list(cast("list[object]", data))
    index = cast("int", step)
    items[index] = _with(items[index], rest, value)
    return items


def _value(data: object, keys: Keys) -> object:
    for key in keys:
        data = cast("Any", data)[key]
    return data


def _known_at(info: inspect.Type, keys: Keys) -> Iterator[str]:
    """The keys a struct has, at a place below the struct `info`."""
    for struct in _structs(info):
        if not keys:
            yield from (field.encode_name for field in struct.fields)
            return
        for field in struct.fields:
            if field.encode_name == keys[0]:
                kind, rest = field.type, keys[1:]
                while rest and (inner := _inner(kind)) is not None:
                    kind, rest = inner, rest[1:]
                yield from _known_at(kind, rest)


def _structs(info: inspect.Type) -> Iterator[inspect.StructType]:
    if isinstance(info, inspect.StructType):
        yield info
    elif isinstance(info, inspect.UnionType):
        for kind in info.types:
            yield from _structs(kind)


def _inner(info: inspect.Type) -> inspect.Type | None:
    """What a list or a table holds."""
    if isinstance(info, inspect.UnionType):
        return next((i for kind in info.types if (i := _inner(kind))), None)
    if isinstance(info, inspect.VarTupleType):
        return info.item_type
    if isinstance(info, inspect.DictType):
        return info.value_type
    return None


def _choice(kind: Any, keys: Keys, problem: str) -> str:
    """What may stand where a word is none of those allowed."""
    info = inspect.type_info(kind)
    for key in keys:
        if isinstance(key, int) or isinstance(info, inspect.DictType):
            info = _inner(info) or info
            continue
        fields = [f for s in _structs(info) for f in s.fields if f.encode_name == key]
        if not fields:
            return problem
        info = fields[0].type
    kinds = info.types if isinstance(info, inspect.UnionType) else (info,)
    words = [w for k in kinds if isinstance(k, inspect.LiteralType) for w in k.values]
    return f"one of {', '.join(map(str, words))}" if words else problem


def _dotted(at: str, keys: Keys) -> str:
    text = at
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{key}" if text else key
    return text or "the file"
