"""What makes sure that a message is like the one a plan was made for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET

from .field import Every, Steps, find
from .match import Alternative, Anything, Literal, Prefix, Sent, Term, fits
from .numbering import LONGEST_TEXT, whole
from .pending import Pending
from .shape import Hollow, Read, Shape

Check: TypeAlias = Callable[[Any], None]

SCALARS: Final = (str, int, float, bool, type(None), type(UNSET))


class Unlike(Exception):
    """This message is not like those that the plan was made for."""


class Undecided(Exception):
    """No plan can be made: what a message is depends on more than can be looked at."""


class Same(NamedTuple):
    """Reads two fields, and what they must be: one field twice where there is one."""

    read: Read
    one: Any
    two: Any

    def guarding(self, read: Read) -> Read:
        """The same reader, for messages of which this holds."""
        both, one, two = self

        def guarded(frame: Any) -> Any:
            first, second = both(frame)
            if (first is not one and first != one) or (
                second is not two and second != two
            ):
                raise Unlike
            return read(frame)

        return guarded


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
        self._never: list[tuple[Steps, Term]] = []
        self._always: list[Term] = []
        self._there: list[Steps] = []
        self._without: list[Steps] = []

    def holds(self, alternative: Alternative) -> bool:
        return all(self._fits(term) for term in alternative.terms)

    def exclude(self, alternative: Alternative, id_steps: Steps | None) -> None:
        """Make sure that a message like this one is not of another kind."""
        failing: list[Term] = []
        for term in alternative.terms:
            if not readable(term.steps) or Every.ELEMENT in term.steps:
                continue
            if not self._fits(term):
                if self._selected(term.steps):
                    return
                failing.append(term)
        absent = [t.steps for t in failing if self._value(t.steps) is UNSET]
        if id_steps is not None and self._value(id_steps) is UNSET:
            absent.append(id_steps)
        if any(self._same.get(steps, 0) is UNSET for steps in absent):
            return
        if absent:
            self._same[absent[0]] = UNSET
            return
        for term in failing:
            value = self._value(term.steps)
            if isinstance(term.want, Sent):
                if isinstance(value, SCALARS) and not self._pending.may_be_ours(value):
                    self._same[term.steps] = value
                    return
                continue
            if isinstance(term.want, Literal | Prefix):
                self._never.append((term.steps, term))
                return
        if id_steps is not None:
            value = self._value(id_steps)
            if isinstance(value, SCALARS) and not self._pending.may_be_ours(value):
                self._same[id_steps] = value
                return
        raise Undecided

    def require(self, term: Term, implied: Steps | None) -> None:
        """Make sure that a message like this one is of the same kind."""
        if Every.ELEMENT in term.steps or not readable(term.steps):
            raise Undecided
        if self._selected(term.steps):
            return
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

    def sameness(self) -> Same | None:
        """The first two of the fields that must be as they were."""
        fields = list(self._same)[:2]
        if not fields:
            return None
        wanted = [self._wanted(steps) for steps in fields]
        return Same(self._shape.getter([fields[0], fields[-1]]), wanted[0], wanted[-1])

    def checks(self) -> list[Check]:
        """What else raises Unlike where one thing is not as it was."""
        shape = self._shape
        checks = [
            _as_it_was(shape.getter([steps]), self._wanted(steps))
            for steps in list(self._same)[2:]
        ]
        checks += [_as_it_was(shape.reader(steps), UNSET) for steps in self._without]
        checks += [_there(shape.reader(steps), shape.nothing) for steps in self._there]
        checks += [_never(shape.reader(steps), term) for steps, term in self._never]
        checks += [_always(shape.reader(term.steps), term) for term in self._always]
        return checks

    def _wanted(self, steps: Steps) -> Any:
        value = self._same[steps]
        if value is UNSET:
            return self._shape.reader(steps)(self._shape.nothing)
        return value

    def _fits(self, term: Term) -> bool:
        return fits(self._value(term.steps), term.want)

    def _value(self, steps: Steps) -> object:
        return find(self._document, steps)

    def _selected(self, steps: Steps) -> bool:
        return steps in self._selectors


def _as_it_was(read: Read, wanted: Any) -> Check:
    def check(frame: Any) -> None:
        value = read(frame)
        if value is not wanted and value != wanted:
            raise Unlike

    return check


def _there(read: Read, nothing: Any) -> Callable[[Any], None]:
    absent = read(nothing)

    def check(frame: Any) -> None:
        value = read(frame)
        if value is UNSET or value is absent:
            raise Unlike

    return check


def _never(read: Read, term: Term) -> Callable[[Any], None]:
    if is_empty_list(term):

        def check_empty(frame: Any) -> None:
            value = read(frame)
            if type(value) is Hollow and value.first is UNSET:
                raise Unlike

        return check_empty

    def check(frame: Any) -> None:
        if fits(read(frame), term.want):
            raise Unlike

    return check


def _always(read: Read, term: Term) -> Callable[[Any], None]:
    empty = is_empty_list(term)

    def check(frame: Any) -> None:
        value = read(frame)
        if empty:
            if type(value) is not Hollow or value.first is not UNSET:
                raise Unlike
        elif not fits(value, term.want):
            raise Unlike

    return check


def is_empty_list(term: Term) -> bool:
    return isinstance(term.want, Literal) and term.want.value == []


def readable(steps: Steps) -> bool:
    """Whether a shape can hold it."""
    return bool(steps) and Every.MEMBER not in steps


# --- numbers, of which only whole ones will do -------------------------------------


def the_same(here: Any, one: Any, there: Any, two: Any) -> None:
    """Equal is as good as identical; that is rare enough to be looked at here."""
    if here != one or there != two:
        raise Unlike


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
