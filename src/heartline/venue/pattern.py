"""A channel's name with named parts: `book-{depth:int}:{pair}`.

A part ends before the text that follows it; the last one takes the rest. No part is
empty. `:int` takes digits only and is a number. `*` alone fits every name.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from ..errors import UsageError

Parts: TypeAlias = dict[str, str | int]

MOST_DIGITS = 18
LONGEST_NAME: Final = 512
"""Characters of a channel's name; the longest that any venue uses has about 120."""

_PART = re.compile(r"\{(?P<name>[A-Za-z_]\w*)(?P<int>:int)?\}")


class Pattern:
    """A compiled pattern; `parts` takes a name apart, or says that it does not fit."""

    __slots__ = ("_whole_numbers", "expression", "fits_everything", "names", "text")

    def __init__(self, text: str, *, field: str = "pattern") -> None:
        """Read a pattern; raises UsageError naming `field` if it is none."""
        self.text = text
        if text == "*":
            text = "{_}"
        expression, at = "", 0
        names: list[str] = []
        numbers: set[str] = set()
        for part in _PART.finditer(text):
            literal = text[at : part.start()]
            if names and not literal:
                wanted = "some text between two parts"
                raise UsageError(field, wanted=wanted, got=text)
            expression += re.escape(literal)
            taken = rf"\d{{1,{MOST_DIGITS}}}" if part["int"] else r".+?"
            expression += f"(?P<{part['name']}>{taken})"
            names.append(part["name"])
            if part["int"]:
                numbers.add(part["name"])
            at = part.end()
        rest = text[at:]
        if not text or len(set(names)) != len(names) or "{" in rest or "}" in rest:
            wanted = "text with named parts such as book.{symbol}"
            raise UsageError(field, wanted=wanted, got=text)
        self.expression = re.compile(expression + re.escape(rest), re.DOTALL)
        self.names = tuple(names)
        self.fits_everything = len(names) == 1 and text == f"{{{names[0]}}}"
        self._whole_numbers = numbers

    def parts(self, name: str) -> Parts | None:
        """The named parts of `name`, or None if it is of another form."""
        if len(name) > LONGEST_NAME:
            return None
        found = self.expression.fullmatch(name)
        if found is None:
            return None
        return {
            key: int(value) if key in self._whole_numbers else value
            for key, value in found.groupdict().items()
        }
