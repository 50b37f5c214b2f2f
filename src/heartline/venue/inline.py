"""Functions of a frame, written out, so that each field costs one instruction.

What a venue or a profile says never becomes part of the text: fields go by the names
that the shape made up, and values are handed over as arguments. So one text serves
all channels of a kind, and is compiled once; what differs between them is a tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import FunctionType
from typing import Any, Final, TypeAlias

from msgspec import UNSET

from .field import EACH, Steps
from .reading import Update
from .shape import Read, Shape

MOST_TEXTS: Final = 4096
"""Compiled texts that are remembered; seventeen recordings together need 73."""

Plan: TypeAlias = tuple[Any, ...]
"""How to read a frame: a function of it and of this plan, which all channels of a kind
share, and the values by which the plans of these channels differ. There may be ten
thousand, so that each is in one piece."""


class Unlike(Exception):
    """This message is not like those that the plan was made for."""


class Writing:
    """One function of `frame`, line by line. What it returns is the last line's."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._lines: list[str] = []
        self._given: dict[str, Any] = {}
        self._own: dict[str, Any] = {}
        self._objects: dict[str, str] = {}

    def add(self, *lines: str) -> None:
        self._lines += lines

    def give(self, value: Any) -> str:
        """The name under which the text knows a value."""
        shared = isinstance(value, type) or _is_plain(value)
        given = self._given if shared else self._own
        name = f"{'k' if shared else 'w'}{len(given)}"
        given[name] = value
        return name

    def field(self, steps: Steps) -> str:
        """The expression of a field; the objects on the way are read only once.

        It fails with AttributeError over a list where an object was expected.
        """
        if not steps:
            return "frame"
        name = self._shape.name(steps)
        if name is None:
            return f"{self.give(self._shape.reader(steps))}(frame)"
        parent, _, last = name.rpartition(".")
        return f"{self._object(parent)}.{last}"

    def common(self, steps: Steps, *, empty: object) -> str:
        """The same of a field of list elements, where all of them have one value.

        The function raises Unlike where they differ, and has `empty` where there is
        no such list or nothing in it.
        """
        if EACH not in steps:
            return self.field(steps)
        at = steps.index(EACH) + 1
        items = self._shape.reader(steps[: at - 1])
        inner = self._shape.reader(steps[at:], after=steps[:at])
        return f"{self.give(_common(items, inner, empty))}(frame)"

    def key(self, fields: Sequence[Steps]) -> str:
        """The values of several fields, the bare value of one, None of none."""
        return ", ".join([self.common(steps, empty=list) for steps in fields]) or "None"

    def _object(self, name: str) -> str:
        if not name:
            return "frame"
        if name not in self._objects:
            parent, _, last = name.rpartition(".")
            value = f"{self._object(parent)}.{last}"
            self._objects[name] = f"o{len(self._objects)}"
            self.add(f"{self._objects[name]} = {value}")
        return self._objects[name]

    def function(self) -> Read:
        """What was written, as a function of the frame."""
        given = {**self._given, **self._own}
        text = _text(given, ("def read(frame):", *_deeper(self._lines)), "read")
        read: Read = _compiled(text)(*given.values())
        return read

    def plan(self) -> Plan:
        """The same, with what is this channel's own apart."""
        own = "".join(f", {name}" for name in self._own)
        lines = [f"_{own} = plan" if own else "", *self._lines]
        body = ("def read(frame, plan):", *_deeper(filter(None, lines)))
        text = _text(self._given, body, "read")
        return _shared(text, *self._given.values()), *self._own.values()

    def chooser(
        self,
        key: Sequence[Steps],
        plans: Mapping[Any, Any],
        *,
        decode: Read,
        unpack: Read | None,
        otherwise: Callable[[Any, Exception], Any],
        odd: tuple[type[Exception], ...],
    ) -> tuple[Read, Callable[[Read], None]]:
        """A function of a message: it follows that of `plans` which the values of the
        key choose, one after the other. And one that gives it another decoder.

        Whatever is raised that is `odd` goes to `otherwise`, with the message.
        """
        chosen = "".join(f"[{self.common(steps, empty=list)}]" for steps in key)
        given = {
            **{**self._given, **self._own},
            **{"decode": decode, "unpack": unpack, "plans": plans},
            **{"otherwise": otherwise, "odd": odd},
        }
        lines = [
            *(["data = unpack(data)"] if unpack is not None else []),
            "frame = decode(data)",
            *self._lines,
            f"plan = plans{chosen or '[None]'}",
            "return plan[0](frame, plan)",
        ]
        body = ["try:", *_deeper(lines), "except odd as error:"]
        body += _deeper(["return otherwise(data, error)"])
        renew = ["nonlocal decode", "decode = other"]
        text = _text(
            given,
            [
                *("def read(data):", *_deeper(body)),
                *("def renew(other):", *_deeper(renew)),
            ],
            "read, renew",
        )
        made: tuple[Read, Callable[[Read], None]] = _compiled(text)(*given.values())
        return made


def _common(items: Read, inner: Read, empty: object) -> Read:
    def read(frame: Any) -> Any:
        elements: list[Any] = items(frame)
        if type(elements) is not list or not elements:
            return empty
        value = inner(elements[0])
        for element in elements[1:]:
            other = inner(element)
            if other != value or type(other) is not type(value):
                raise Unlike
        return value

    return read


def _is_plain(value: Any) -> bool:
    """Whether it is a function that every other channel is given as well."""
    return isinstance(value, FunctionType) and value.__closure__ is None


def _deeper(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _text(given: Iterable[str], lines: Iterable[str], made: str) -> str:
    body = _deeper([*lines, f"return {made}"])
    return "\n".join([f"def make({', '.join(given)}):", *body])


@lru_cache(maxsize=MOST_TEXTS)
def _compiled(text: str) -> Callable[..., Any]:
    names: dict[str, Any] = {"UNSET": UNSET, "Unlike": Unlike, "Update": Update}
    exec(compile(text, "<plan>", "exec"), names)
    make: Callable[..., Any] = names["make"]
    return make


@lru_cache(maxsize=MOST_TEXTS)
def _shared(text: str, *given: Any) -> Any:
    return _compiled(text)(*given)
