"""A JSON decoder that reads only some fields of a message and skips the rest.

Fields become the members of nested structs; all else is skipped by the decoder without
making objects. A value may be of any JSON type: a field that turns out to hold a list
where a number was expected is no error here.

A shape knows every field that may ever matter, but its decoder makes only those that
somebody has asked how to read: most channels need few, and each costs about 35 ns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Annotated, Any, Final, TypeAlias, Union

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, defstruct

from .field import EACH, MEMBERS, Steps

Read: TypeAlias = Callable[[Any], Any]

LARGEST: Final = 2**63 - 1
"""Numbers beyond 64 bits are no sequence number, id or time of any venue."""


class Skipped(Struct, array_like=True, frozen=True, gc=False):
    """A list of which nothing is read."""


class Hollow(Struct, array_like=True, frozen=True, gc=False):
    """A list of which is read only whether it is empty."""

    first: int | float | str | bool | Skipped | dict[str, Raw] | UnsetType | None = (
        UNSET
    )


_Number: Any = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
_SCALARS: Final[tuple[Any, ...]] = (_Number, float, str, bool, None, UnsetType)
_OBJECT: Any = dict[str, Raw]
_LIST: Any = list[Raw]


class _Node:
    """What is wanted of one value: keys of it, elements of it, or just itself."""

    __slots__ = ("absent", "asked", "each", "hollow", "indexes", "keys", "names")

    def __init__(self) -> None:
        self.keys: dict[str, _Node] = {}
        self.indexes: dict[int, _Node] = {}
        self.each: _Node | None = None
        self.hollow = False
        self.asked = False
        """Whether somebody reads it."""
        self.names: dict[str, str] = {}
        self.absent: Any = UNSET
        """What stands for a value that is not there."""

    @property
    def as_list(self) -> bool:
        """Whether elements are found by walking a list, not by a struct's members."""
        return self.each is not None or bool(
            self.indexes and (self.keys or min(self.indexes) < 0)
        )

    def add(self, steps: Steps, *, hollow: bool) -> None:
        if not steps:
            self.hollow |= hollow
            return
        step = steps[0]
        if isinstance(step, str):
            child = self.keys.setdefault(step, _Node())
        elif isinstance(step, int):
            child = self.indexes.setdefault(step, _Node())
        else:
            self.each = child = self.each or _Node()
        child.add(steps[1:], hollow=hollow)

    def element(self) -> _Node:
        """What is wanted of any element, as all elements are of one type."""
        if self.each is None:
            self.each = _Node()
        for index in list(self.indexes):
            self.each.merge(self.indexes.pop(index))
            self.indexes[index] = self.each
        return self.each

    def merge(self, other: _Node) -> None:
        if other is self:
            return
        self.hollow |= other.hollow
        for key, child in other.keys.items():
            self.keys.setdefault(key, _Node()).merge(child)
        for index, child in other.indexes.items():
            self.indexes.setdefault(index, _Node()).merge(child)
        if other.each is not None:
            self.each = self.each or _Node()
            self.each.merge(other.each)

    def settle(self) -> None:
        """Nothing is added any more: give names, and make what stands for nothing."""
        if self.as_list:
            self.element().settle()
        children = {*self.keys.values(), *self.indexes.values()} - {self.each}
        for child in children:
            child.settle()
        self.names = {key: f"m{number}" for number, key in enumerate(self.keys)}
        members = [(self.names[key], child) for key, child in self.keys.items()]
        if not self.keys and self.indexes and not self.as_list:
            members = list(self._row())
        if members:
            fields = [(name, Any, child.absent) for name, child in members]
            # Compared by identity, so that the one absent value equals itself only.
            made = defstruct("Absent", fields, frozen=True, eq=False, gc=False)
            self.absent = made()

    def type(self) -> Any:
        """The type to decode to, with what was asked for up to now."""
        if self.as_list:
            several = _list_of(self.element().type())
            if not self.keys:
                return Union[(several, _OBJECT, *_SCALARS)]
            return Union[(several, self.struct(), *_SCALARS)]
        if self.keys:
            return Union[(self.struct(), _LIST, *_SCALARS)]
        if self.indexes:
            row = _made("Row", self._row(), array_like=True)
            return Union[(row, _OBJECT, *_SCALARS)]
        skipped = Hollow if self.hollow else Skipped
        return Union[(skipped, _OBJECT, *_SCALARS)]

    def struct(self) -> Any:
        """The type of an object, for a value that is always there."""
        asked = {key: child for key, child in self.keys.items() if child.asked}
        return _made(
            "Members",
            [(self.names[key], child) for key, child in asked.items()],
            rename={self.names[key]: key for key in asked},
        )

    def _row(self) -> Iterator[tuple[str, _Node]]:
        for index in range(max(self.indexes) + 1):
            yield f"e{index}", self.indexes.get(index) or _Node()


def _list_of(element: Any) -> Any:
    return list[element]


def _made(name: str, members: Iterable[tuple[str, _Node]], **options: Any) -> Any:
    fields = [(each, child.type(), child.absent) for each, child in members]
    return defstruct(name, fields, frozen=True, eq=False, gc=False, **options)


class Shape:
    """The decoder for some fields, and the ways to read them from what it makes."""

    def __init__(
        self, fields: Iterable[Steps], *, hollow: Iterable[Steps] = ()
    ) -> None:
        """`hollow` are the fields of which matters whether they are an empty list."""
        self._root = root = _Node()
        empty = set(hollow)
        for steps in (*fields, *empty):
            if MEMBERS in steps or not steps:
                raise ValueError(f"not a field of a shape: {steps}")
            root.add(steps, hollow=steps in empty)
        root.settle()
        self.objects = bool(root.keys)
        self.lists = bool(root.indexes or root.each)
        self.nothing: Any = root.absent if self.objects or not self.lists else []
        """A message without any of the fields."""
        self._decode: Read | None = None

    @property
    def decode(self) -> Read:
        """The decoder of all that was asked for; another one once more is."""
        if self._decode is None:
            root = self._root
            wanted: Any = root.struct() if self.objects or not self.lists else None
            if self.lists:
                several = _list_of(root.element().type())
                wanted = several if wanted is None else Union[several, wanted]  # noqa: UP007 - made at run time
            self._decode = msgspec.json.Decoder(wanted).decode
        return self._decode

    def getter(self, fields: Sequence[Steps], *, after: Steps = ()) -> Read:
        """Reads several fields at once: a tuple, or the bare value of a single one."""
        names = [self.name(steps, after=after) for steps in fields]
        if all(names):
            return attrgetter(*(name for name in names if name))
        reads = [self.reader(steps, after=after) for steps in fields]
        if len(reads) == 1:
            return reads[0]
        if len(reads) == 2:
            one, two = reads
            return lambda frame: (one(frame), two(frame))
        return lambda frame: tuple([read(frame) for read in reads])

    def reader(self, steps: Steps, *, after: Steps = ()) -> Read:
        """How to read one field; UNSET where it is not.

        `after` says that it is given what stands there, an element for instance.
        """
        node = self._root
        for step in after:
            node = self._child(node, step)
        return self._reader(node, steps)

    def name(self, steps: Steps, *, after: Steps = ()) -> str | None:
        """The dotted name for `attrgetter`, where there is such a one.

        It fails with AttributeError over a list where an object was expected.
        """
        node, names = self._root, list[str]()
        for step in after:
            node = self._child(node, step)
        for step in steps:
            if node is self._root and self.lists:
                return None
            if isinstance(step, str):
                names.append(node.names[step])
            elif node.as_list:
                return None
            else:
                names.append(f"e{step}")
            node = self._child(node, step)
        return ".".join(names)

    def _child(self, node: _Node, step: object) -> _Node:
        if isinstance(step, str):
            child = node.keys[step]
        elif isinstance(step, int) and step in node.indexes:
            child = node.indexes[step]
        else:
            child = node.element()
        if not child.asked:
            child.asked = True
            self._decode = None
        return child

    def _reader(self, node: _Node, steps: Steps) -> Read:
        if not steps:
            return _itself
        step, rest = steps[0], self._reader(self._child(node, steps[0]), steps[1:])
        in_list = node.as_list or (node is self._root and self.lists)
        if isinstance(step, str):
            return _chained(_member(node.names[step]), rest)
        if isinstance(step, int):
            own = _indexed(step) if in_list else _member(f"e{step}")
            return _chained(own, rest)
        assert step is EACH
        return _chained(_indexed(0), rest)


def _itself(value: Any) -> Any:
    return value


def _chained(first: Read, then: Read) -> Read:
    if then is _itself:
        return first

    def read(value: Any) -> Any:
        inner = first(value)
        return UNSET if inner is UNSET or inner is None else then(inner)

    return read


def _member(name: str) -> Read:
    get = attrgetter(name)

    def read(value: Any) -> Any:
        try:
            return get(value)
        except AttributeError:
            return UNSET

    return read


def _indexed(index: int) -> Read:
    def read(value: Any) -> Any:
        if type(value) is not list:
            return UNSET
        try:
            return value[index]  # pyright: ignore[reportUnknownVariableType]
        except IndexError:
            return UNSET

    return read
