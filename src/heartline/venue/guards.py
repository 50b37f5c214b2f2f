"""What makes sure that a message is like the one a plan was made for."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from msgspec import UNSET

from .field import Every, Steps, find
from .inline import Unlike, Writing
from .match import Alternative, Anything, Literal, Prefix, Sent, Term, fits
from .numbering import LONGEST_TEXT, whole
from .pending import Pending
from .shape import Hollow, Shape

SCALARS: Final = (str, int, float, bool, type(None), type(UNSET))


class Undecided(Exception):
    """No plan can be made: what a message is depends on more than can be looked at."""


class Guard:
    """Collects what must hold again for a message to be of the same kind."""

    def __init__(
        self,
        shape: Shape,
        selectors: tuple[Steps, ...],
        document: object,
        pending: Pending,
    ) -> None:
        """`selectors` are the fields whose values such messages share anyway."""
        self._shape, self._document, self._pending = shape, document, pending
        self._selectors = selectors
        self._same: dict[Steps, object] = {}
        self._absent: list[list[Steps]] = []
        """Of each of these lists one field at least."""
        self._never: list[tuple[Term, ...]] = []
        self._always: list[Term] = []
        self._there: list[Steps] = []
        self._without: list[Steps] = []

    def holds(self, alternative: Alternative) -> bool:
        return all(self._fits(term) for term in alternative.terms)

    def exclude(self, alternative: Alternative, id_steps: Steps | None) -> None:
        """Make sure that a message like this one is not of another kind."""
        failing: list[Term] = []
        for term in alternative.terms:
            if not readable(term.steps):
                continue
            if not self._fits(term):
                if self._selected(term.steps):
                    return
                if Every.ELEMENT not in term.steps:
                    failing.append(term)
        absent: list[Steps] = [
            term.steps for term in failing if self._value(term.steps) is UNSET
        ]
        if id_steps is not None and self._value(id_steps) is UNSET:
            absent.append(id_steps)
        if absent:
            self._absent.append(absent)
            return
        for term in failing:
            value = self._value(term.steps)
            if isinstance(term.want, Sent):
                if isinstance(value, SCALARS) and not self._pending.may_be_ours(value):
                    self._same[term.steps] = value
                    return
                continue
            if isinstance(term.want, Literal | Prefix):
                self._never.append(self._telling(alternative, term))
                return
        if id_steps is not None:
            value = self._value(id_steps)
            if isinstance(value, SCALARS) and not self._pending.may_be_ours(value):
                self._same[id_steps] = value
                return
        raise Undecided

    def require(self, term: Term, implied: Steps | None) -> None:
        """Make sure that a message like this one is of the same kind."""
        if self._selected(term.steps):
            return
        if Every.ELEMENT in term.steps or not readable(term.steps):
            raise Undecided
        match term.want:
            case Literal(value) if isinstance(value, SCALARS):
                self._same[term.steps] = value
            case Anything():
                if implied is None or implied[: len(term.steps)] != term.steps:
                    self._there.append(term.steps)
            case _:
                self._always.append(term)

    def without(self, steps: Steps) -> None:
        """Make sure that a field is absent in such messages, numbers above all."""
        if Every.ELEMENT in steps:
            self._without.append(steps)
        else:
            self._same[steps] = UNSET

    def write(self, code: Writing) -> None:
        """Raise Unlike where one thing is not as it was."""
        self._choose_absent()
        for steps in self._selectors:
            # What was selected by equals it, but 1 equals true as well.
            if readable(steps) and isinstance(self._value(steps), int):
                field = code.common(steps, empty=None)
                code.add(f"if type({field}) is not int: raise Unlike")
        for steps, value in self._same.items():
            self._write_same(code, steps, value)
        for steps in self._without:
            field = code.common(steps, empty=UNSET)
            code.add(f"if {field} is not UNSET: raise Unlike")
        for steps in self._there:
            absent = code.give(self._nothing(steps))
            code.add(f"v = {code.field(steps)}")
            code.add(f"if v is UNSET or v is {absent}: raise Unlike")
        for terms in self._never:
            tests = [self._written(code, term) for term in terms]
            code.add(f"if {' and '.join(tests)}: raise Unlike")
        for term in self._always:
            code.add(f"if not {self._written(code, term)}: raise Unlike")

    def _write_same(self, code: Writing, steps: Steps, value: object) -> None:
        cut = self._cut(steps) if value is UNSET else None
        if cut is not None:
            kind = code.give(type(self._value(cut)))
            code.add(f"if type({code.field(cut)}) is not {kind}: raise Unlike")
        elif value is UNSET:
            absent = self._nothing(steps)
            wanted = "UNSET" if absent is UNSET else code.give(absent)
            code.add(f"if {code.field(steps)} is not {wanted}: raise Unlike")
        elif isinstance(value, str):
            code.add(f"if {code.field(steps)} != {code.give(value)}: raise Unlike")
        else:
            test = self._written(code, Term(steps, Literal(value)))
            code.add(f"if not {test}: raise Unlike")

    def _written(self, code: Writing, term: Term) -> str:
        """A test for whether one condition holds."""
        field, want = code.field(term.steps), term.want
        if is_empty_list(term):
            return f"{code.give(_is_empty)}({field})"
        if isinstance(want, Literal) and isinstance(want.value, str):
            return f"{field} == {code.give(want.value)}"
        return f"{code.give(fits)}({field}, {code.give(want)})"

    def _choose_absent(self) -> None:
        """As few fields as will do: what all kinds of answer hold, say, is one."""
        while left := [each for each in self._absent if not self._is_excluded(each)]:
            often = Counter(steps for fields in left for steps in fields)
            self._same[often.most_common(1)[0][0]] = UNSET

    def _is_excluded(self, fields: list[Steps]) -> bool:
        return any(self._same.get(steps) is UNSET for steps in fields)

    def _cut(self, steps: Steps) -> Steps | None:
        """As far as one gets towards a field that cannot be there, if that is why."""
        for at in range(1, len(steps)):
            value = self._value(steps[:at])
            wanted = dict if isinstance(steps[at], str) else list
            if value is not UNSET and not isinstance(value, wanted):
                return steps[:at]
        return None

    def _nothing(self, steps: Steps) -> Any:
        return self._shape.reader(steps)(self._shape.nothing)

    def _telling(self, alternative: Alternative, failing: Term) -> tuple[Term, ...]:
        """The conditions that hold together for no message like this one."""
        others = [
            term
            for term in alternative.terms
            if term is not failing
            and isinstance(term.want, Literal | Prefix)
            and readable(term.steps)
            and Every.ELEMENT not in term.steps
            and not self._selected(term.steps)
            and self._value(term.steps) is not UNSET
        ]
        return (failing, *others)

    def _fits(self, term: Term) -> bool:
        return fits(self._value(term.steps), term.want)

    def _value(self, steps: Steps) -> object:
        return find(self._document, steps)

    def _selected(self, steps: Steps) -> bool:
        return steps in self._selectors


def _is_empty(value: Any) -> bool:
    return type(value) is Hollow and value.first is UNSET


def is_empty_list(term: Term) -> bool:
    return isinstance(term.want, Literal) and term.want.value == []


def readable(steps: Steps) -> bool:
    """Whether a shape can hold it."""
    return bool(steps) and Every.MEMBER not in steps


# --- numbers, of which only whole ones will do -------------------------------------


def sure_number(value: Any) -> int:
    number = whole(value)
    if number is None:
        raise Unlike
    return number


def number_or_text(value: Any, text: bool) -> int | str:
    number = whole(value)
    if number is not None:
        return number
    if text and type(value) is str and 0 < len(value) <= LONGEST_TEXT:
        return value
    raise Unlike


def maybe_number(value: Any, text: bool) -> int | str | None:
    return None if value is UNSET or value is None else number_or_text(value, text)
