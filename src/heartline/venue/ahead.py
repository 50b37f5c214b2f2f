"""What each of several messages is, told one after the other.

Each is told when it is asked for, after what came of those before it. Compiled, the
next ones are seen ahead, which changes nothing but what they cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from heartline.compiled import compiled

from .reading import Reading
from .shape import Read


class PureAhead:
    """Reads the messages of one link by `read`.

    `decode` makes a frame of a message. `path` are members of the frame, each by its
    names from the outside in, whose values lead through `plans`, dict by dict, to how
    it is read.
    """

    def __init__(
        self,
        read: Callable[[str | bytes], Reading],
        decode: Read,
        plans: dict[Any, Any],
        path: tuple[tuple[str, ...], ...],
    ) -> None:
        self._read = read

    def readings(self, data: list[str | bytes]) -> Iterator[Reading]:
        """What each of these messages is."""
        return map(self._read, data)

    def renew(self, decode: Read) -> None:
        """Messages are decoded by this from now on."""

    def keep(self, within: dict[Any, Any], key: object, plan: Any) -> None:
        """`plan` is kept as that of `key`, the last one of the path, in this dict."""

    def forget(self) -> None:
        """Plans were dropped: what was seen ahead no longer holds."""


if TYPE_CHECKING:
    Ahead: TypeAlias = PureAhead
elif (_found := compiled("venue._ahead")) is not None:
    Ahead = _found.Ahead
else:
    Ahead = PureAhead
