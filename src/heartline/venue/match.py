"""Whether a payload is what a profile describes, and the values found in it.

The notation stands in `vocabulary.py`. Values keep the JSON type they came with, and
literals mind it: 1 is not true and not "1".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from msgspec import UNSET

from ..errors import UsageError
from .field import EACH, MEMBERS, Steps, find, parse_field, rows
from .payload import Payload
from .template import Text
from .vocabulary import Match

Captures: TypeAlias = dict[str, object]
Known: TypeAlias = Mapping[str, object]

NOTHING_SENT: Final[Known] = MappingProxyType({})
MOST_TERMS = 64
"""Conditions of one match at most, and alternatives of one."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Exactly this JSON value."""

    value: object


@dataclass(frozen=True, slots=True)
class Prefix:
    """A text that begins so."""

    start: str


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value, null too, as long as it is there; kept if it has a name."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What a template makes of the values just sent."""

    text: Text


Want: TypeAlias = Literal | Prefix | Anything | Sent


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: what must stand where."""

    steps: Steps
    want: Want


@dataclass(frozen=True, slots=True)
class Alternative:
    """All of `terms`, or the whole payload being `text`."""

    terms: tuple[Term, ...] = ()
    text: Literal | Prefix | None = None


class Matcher:
    """A compiled match; `captures` is the one thing it does."""

    __slots__ = ("_checks", "alternatives", "sends")

    def __init__(self, alternatives: Sequence[Alternative]) -> None:
        self.alternatives = tuple(alternatives)
        self._checks = tuple(_compiled(each) for each in alternatives)
        self.sends = any(
            isinstance(term.want, Sent) for each in alternatives for term in each.terms
        )
        """Whether it compares with what was sent."""

    def captures(self, payload: Payload, sent: Known = NOTHING_SENT) -> Captures | None:
        """The named values, or None if the payload is not what was described.

        `sent` holds the values of the message that is answered; a `${var}` which is
        not among them equals nothing. Raises TooManyRows.
        """
        for check in self._checks:
            found = check(payload, sent)
            if found is not None:
                return found
        return None

    def loose(self) -> Matcher:
        """The same, but whatever was sent is taken."""
        return Matcher(
            [
                Alternative(
                    tuple(
                        Term(
                            t.steps, Anything() if isinstance(t.want, Sent) else t.want
                        )
                        for t in each.terms
                    ),
                    each.text,
                )
                for each in self.alternatives
            ]
        )


def compile_match(match: Match, *, field: str = "match") -> Matcher:
    """Read a match of a profile; raises UsageError naming `field`."""
    alternatives = _alternatives(match, field, 0)
    if not 1 <= len(alternatives) <= MOST_TERMS:
        wanted = f"1 to {MOST_TERMS} alternatives"
        raise UsageError(field, wanted=wanted, got=len(alternatives))
    return Matcher(alternatives)


def same(one: object, other: object) -> bool:
    """Equal as JSON: true is not 1, 1 is not "1", 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other


def fits(value: object, want: Want, sent: Known = NOTHING_SENT) -> bool:
    """Whether one value, or UNSET where there is none, is what is wanted."""
    if value is UNSET:
        return False
    match want:
        case Literal(wanted):
            return same(value, wanted)
        case Prefix(start):
            return isinstance(value, str) and value.startswith(start)
        case Anything():
            return True
        case Sent(text):
            return text.names <= sent.keys() and same(value, text.fill(sent))


def read_want(literal: object, *, field: str = "match") -> Want:
    """What one literal of a profile asks for; raises UsageError naming `field`."""
    if not isinstance(literal, str):
        return Literal(literal)
    if literal == "*":
        return Anything()
    if "${" in literal:
        return Sent(Text(literal, field=field))
    if literal.startswith("$") and literal[1:].isidentifier():
        return Anything(literal[1:])
    return _text_want(literal)


# --- from data to terms -----------------------------------------------------------


def _alternatives(match: Match, field: str, depth: int) -> list[Alternative]:
    given = [
        k for k in ("text", "json", "array", "any") if getattr(match, k) is not None
    ]
    if len(given) != 1 or depth > 3:
        raise UsageError(field, wanted="one of text, json, array, any", got=given)
    field = f"{field}.{given[0]}"
    if match.text is not None:
        return [Alternative(text=_text_want(match.text))]
    if match.any is not None:
        return [a for each in match.any for a in _alternatives(each, field, depth + 1)]
    if match.json is not None:
        terms = [
            Term(
                parse_field(key, field=f"{field}.{key}"),
                read_want(literal, field=f"{field}.{key}"),
            )
            for key, literal in match.json.items()
        ]
    else:
        terms = [
            Term((at,), read_want(literal, field=field))
            for at, literal in enumerate(match.array or ())
        ]
    if not 1 <= len(terms) <= MOST_TERMS:
        wanted = f"1 to {MOST_TERMS} conditions"
        raise UsageError(field, wanted=wanted, got=len(terms))
    return [Alternative(tuple(terms))]


def _text_want(text: str) -> Literal | Prefix:
    return Prefix(text[:-1]) if len(text) > 1 and text.endswith("*") else Literal(text)


# --- from terms to checks ---------------------------------------------------------

_Check: TypeAlias = Callable[[Payload, Known], Captures | None]


def _compiled(alternative: Alternative) -> _Check:
    text, terms = alternative.text, alternative.terms
    if text is not None:
        return lambda payload, sent: (
            Captures()
            if payload.text is not None and fits(payload.text, text)
            else None
        )
    if any(EACH in term.steps or MEMBERS in term.steps for term in terms):
        return lambda payload, sent: _any_row(terms, payload, sent)
    return lambda payload, sent: _all_terms(terms, payload, sent)


def _all_terms(
    terms: tuple[Term, ...], payload: Payload, sent: Known
) -> Captures | None:
    document, found = payload.document, Captures()
    for term in terms:
        value = find(document, term.steps)
        if not fits(value, term.want, sent):
            return None
        if isinstance(term.want, Anything) and term.want.name is not None:
            found[term.want.name] = value
    return found


def _any_row(terms: tuple[Term, ...], payload: Payload, sent: Known) -> Captures | None:
    """The captures of the first element that fits."""
    for values in rows(payload.document, [term.steps for term in terms]):
        if all(
            fits(value, term.want, sent)
            for value, term in zip(values, terms, strict=True)
        ):
            return {
                term.want.name: value
                for value, term in zip(values, terms, strict=True)
                if isinstance(term.want, Anything) and term.want.name is not None
            }
    return None
