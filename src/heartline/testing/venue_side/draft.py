"""A message in the making: values are put where the profile's fields say."""

from __future__ import annotations

from typing import Final, TypeAlias, cast

from msgspec import UNSET

from heartline.venue.field import EACH, MEMBERS, Steps, find
from heartline.venue.match import Alternative, Anything, Literal, Prefix, Sent, same

Node: TypeAlias = object
"""A `_List`, a dict of nodes, or a value that is whole."""

FILLER: Final = "simulated"
"""What stands where a profile says only that something does."""


class _List:
    """A list of which some places are known, counted from either end."""

    def __init__(self) -> None:
        self.at: dict[int, Node] = {}
        self.members = False
        """It stands for the members of an object, each with its `key` and `value`."""


class Draft:
    """A JSON message, put together field by field."""

    def __init__(self) -> None:
        self._root: Node = UNSET

    def copy(self) -> Draft:
        draft = Draft()
        draft._root = _copied(self._root)
        return draft

    def put(self, steps: Steps, value: object, *, element: int = 0) -> bool:
        """Put a value there; False, and nothing done, if something else stands there.

        The outermost list whose every element is meant (`[]`, `{}`) takes it as its
        element number `element`, lists within that as their first.
        """
        before = _copied(self._root)
        root, fits = _placed(self._root, steps, value, element)
        self._root = root if fits else before
        return fits

    def has(self, steps: Steps) -> bool:
        """Whether anything stands there, a part of it too."""
        node = self._root
        for step in steps:
            if step is EACH or step is MEMBERS:
                step = 0
            if isinstance(node, _List) and isinstance(step, int):
                node = node.at.get(step, UNSET)
            elif isinstance(node, dict):
                node = cast("dict[object, Node]", node).get(step, UNSET)
            else:
                return False
        return node is not UNSET

    @property
    def is_list(self) -> bool:
        return isinstance(self._root, _List)

    def document(self) -> object:
        """The message as JSON has it."""
        return {} if self._root is UNSET else _rendered(self._root)


def lay(
    draft: Draft,
    alternative: Alternative,
    *,
    sent: dict[str, object] | None = None,
    captures: dict[str, object] | None = None,
) -> bool:
    """Put what a match asks for literally; False if something else stands there.

    `sent` are the values of what is answered, `captures` those of named places.
    """
    for term in alternative.terms:
        value: object = UNSET
        match term.want:
            case Literal(wanted):
                value = wanted
            case Sent(text):
                if not text.names <= (sent or {}).keys():
                    return False
                value = text.fill(sent or {})
            case Anything(name):
                if name is not None and captures and name in captures:
                    value = captures[name]
            case Prefix():
                pass
        if value is not UNSET and not draft.put(term.steps, value):
            return False
    return True


def complete(draft: Draft, alternative: Alternative) -> bool:
    """Fill what a match only wants to be there; False if a beginning does not fit."""
    for term in alternative.terms:
        match term.want:
            case Anything():
                if not draft.has(term.steps):
                    draft.put(term.steps, FILLER)
            case Prefix(start):
                if not draft.has(term.steps):
                    draft.put(term.steps, f"{start} {FILLER}".strip())
                elif not _begins(draft, term.steps, start):
                    return False
            case _:
                pass
    return True


def _begins(draft: Draft, steps: Steps, start: str) -> bool:
    value = find(draft.document(), steps)
    return isinstance(value, str) and value.startswith(start)


def _placed(node: Node, steps: Steps, value: object, element: int) -> tuple[Node, bool]:
    if not steps:
        if node is UNSET:
            return _grown(value), True
        return node, same(_rendered(node), value)
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        if node is UNSET:
            node = {}
        if not isinstance(node, dict):
            return node, False
        members = cast("dict[str, Node]", node)
        members[step], fits = _placed(members.get(step, UNSET), rest, value, element)
        return members, fits
    if node is UNSET:
        node = _List()
        node.members = step is MEMBERS
    if step is MEMBERS and isinstance(node, dict):
        return _placed_member(cast("dict[str, Node]", node), rest, value, element)
    if not isinstance(node, _List) or node.members != (step is MEMBERS):
        return node, False
    at = step if isinstance(step, int) else element
    inside = element if isinstance(step, int) else 0
    node.at[at], fits = _placed(node.at.get(at, UNSET), rest, value, inside)
    return node, fits


MEMBER_LISTS: Final = "\0members"
"""Where an object that has members of its own keeps those still without a name."""


def _placed_member(
    node: dict[str, Node], rest: Steps, value: object, element: int
) -> tuple[Node, bool]:
    hidden = node.get(MEMBER_LISTS, UNSET)
    node[MEMBER_LISTS], fits = _placed(hidden, (MEMBERS, *rest), value, element)
    return node, fits


def _grown(value: object) -> Node:
    """A value as nodes, so that more can be put into it."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {key: _grown(member) for key, member in members.items()}
    return value


def _copied(node: Node) -> Node:
    if isinstance(node, _List):
        copy = _List()
        copy.members = node.members
        copy.at = {key: _copied(each) for key, each in node.at.items()}
        return copy
    if isinstance(node, dict):
        members = cast("dict[str, Node]", node)
        return {key: _copied(each) for key, each in members.items()}
    return node


def _rendered(node: Node) -> object:
    if isinstance(node, dict):
        members = cast("dict[str, Node]", node)
        plain: dict[str, object] = {}
        for key, each in members.items():
            if key == MEMBER_LISTS:
                assert isinstance(each, _List)
                plain |= _as_members(each)
            else:
                plain[key] = _rendered(each)
        return plain
    if not isinstance(node, _List):
        return node
    if node.members:
        return _as_members(node)
    first = max((at for at in node.at if at >= 0), default=-1) + 1
    last = -min((at for at in node.at if at < 0), default=0)
    values = [node.at.get(at, 0) for at in (*range(first), *range(-last, 0))]
    return [_rendered(value) for value in values]


def _as_members(node: _List) -> dict[str, object]:
    """The members of an object; lists of the same name become one."""
    plain: dict[str, object] = {}
    for each in node.at.values():
        member = cast("dict[str, object]", _rendered(each))
        key, value = str(member.get("key")), member.get("value")
        known = plain.get(key)
        if isinstance(known, list) and isinstance(value, list):
            cast("list[object]", known).extend(cast("list[object]", value))
        else:
            plain[key] = value
    return plain
