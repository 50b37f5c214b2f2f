"""Which rule numbers a channel's messages, and the numbers read from one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from msgspec import UNSET

from .channels import Rule, Stamp, Timestamps, Unit
from .channels import Sequence as Rules
from .field import Steps, parse_field
from .match import Want, fits, read_want
from .pattern import Pattern
from .reading import Number, Track
from .shape import LARGEST

Row: TypeAlias = tuple[Number | None, Number | None, Number | None]
"""prev, first, last."""

LONGEST_TEXT: Final = 256
"""Characters of a number that is a text; longer ones are none."""


class Misfit(ValueError):
    """A field holds what cannot be a number of its rule; the text names the field."""


@dataclass(frozen=True, slots=True)
class Condition:
    """All of these fields hold these values."""

    fields: tuple[Steps, ...] = ()
    wants: tuple[Want, ...] = ()

    def holds(self, values: Sequence[object]) -> bool:
        return bool(self.wants) and all(
            fits(value, want) for value, want in zip(values, self.wants, strict=True)
        )


class RuleFields:
    """One rule, compiled for messages whose fields begin at `body`."""

    __slots__ = (
        *("body", "fields", "index", "named", "patterns", "reset"),
        *("rule", "scope", "snapshot", "who"),
    )

    def __init__(self, rule: Rule, index: int, body: Steps = ()) -> None:
        field = f"sequence.rules[{index}]"
        self.rule, self.index, self.body = rule, index, body
        self.patterns = tuple(
            Pattern(text, field=f"{field}.channels") for text in rule.channels
        )
        last = rule.cur if rule.cur is not None else rule.last
        self.named = (rule.prev, rule.first, last)
        self.fields = tuple(
            (*body, *parse_field(text, field=field)) if text is not None else None
            for text in self.named
        )
        # A channel that has the symbol in its name is of one symbol.
        named = all("symbol" in pattern.names for pattern in self.patterns)
        self.scope = "channel" if rule.scope == "symbol" and named else rule.scope
        who = {"symbol": rule.symbol, "sid": rule.sid}.get(self.scope)
        self.who = (*body, *parse_field(who, field=field)) if who is not None else None
        self.snapshot = condition(rule.snapshot_when, body, f"{field}.snapshot_when")
        self.reset = condition(rule.reset_when, body, f"{field}.reset_when")

    @property
    def numbered(self) -> bool:
        return self.fields[2] is not None and self.rule.rule != "none"

    def fits(self, key: str | None) -> bool:
        """Whether it holds for this key; for no key only if it holds for all."""
        if key is None:
            return any(pattern.fits_everything for pattern in self.patterns)
        return any(pattern.parts(key) is not None for pattern in self.patterns)

    def row(self, values: Sequence[object]) -> Row | None:
        """The numbers from what `fields` led to; None if the message holds none.

        Raises Misfit over a value of another kind.
        """
        prev, first, last = (
            None if steps is None else self._number(value, text)
            for value, steps, text in zip(values, self.fields, self.named, strict=True)
        )
        if last is None:
            return None
        if first is None and self.rule.rule != "chain":
            first = last
        return prev, first, last

    def track(self, key: str | None, who: object) -> Track:
        if self.scope == "connection":
            return ("link", self.index)
        if self.scope == "channel" or not isinstance(who, str | int):
            return key
        return ("sid", who) if self.scope == "sid" else (key, who)

    def _number(self, value: object, name: str | None) -> Number | None:
        if value is UNSET or value is None:
            return None
        number = whole(value)
        if number is not None:
            return number
        is_text = self.rule.rule == "chain" and isinstance(value, str)
        if is_text and isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT:
            return value
        raise Misfit(f"{name}: wanted a number, got {_kind(value)}")


def whole(value: object) -> int | None:
    """A whole number of at most 64 bits, from JSON number or text; else None."""
    if isinstance(value, str):
        digits = value[1:] if value.startswith("-") else value
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            return None
        value = int(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if -LARGEST <= value <= LARGEST else None


def merged(rows: Iterable[Row], rule: Rule) -> list[Row]:
    """Rows of one message that continue one another become one row."""
    whole: list[Row] = []
    for row in rows:
        if whole and _continues(whole[-1], row, rule):
            prev, first, _ = whole[-1]
            whole[-1] = (prev, first, row[2])
        else:
            whole.append(row)
    return whole


def _continues(before: Row, row: Row, rule: Rule) -> bool:
    prev, first, last = row
    end = before[2]
    if rule.rule == "chain":
        return prev is not None and prev == end
    if not (isinstance(end, int) and isinstance(first, int) and isinstance(last, int)):
        return False
    if rule.rule in ("step", "range"):
        return first == end + 1
    return first >= end


class StampFields:
    """The time stamps, compiled for messages whose fields begin at `body`."""

    __slots__ = ("fields", "indexes", "units")

    def __init__(
        self, stamps: Timestamps | None, body: Steps = (), *, key: str | None = None
    ) -> None:
        """Those that messages of this key may hold, in the profile's order."""
        chosen: list[tuple[int, Stamp]] = [
            (index, stamp)
            for index, stamp in enumerate(stamps.stamps if stamps else ())
            if stamp.of != "reply" and _is_for(stamp, key)
        ]
        self.indexes = tuple(index for index, _ in chosen)
        self.fields = tuple(
            (*body, *parse_field(stamp.field, field=f"timestamps.stamps[{index}]"))
            for index, stamp in chosen
        )
        self.units: tuple[Unit, ...] = tuple(stamp.unit for _, stamp in chosen)

    def first(self, values: Sequence[object]) -> int | None:
        """The place of the first stamp that is there."""
        for at, value in enumerate(values):
            if isinstance(value, int | float | str) and not isinstance(value, bool):
                return at
        return None


class Numbering:
    """All rules of an endpoint; a body's are compiled once."""

    def __init__(self, sequence: Rules | None, stamps: Timestamps | None) -> None:
        self._rules: tuple[Rule, ...] = sequence.rules if sequence else ()
        self._stamps = stamps
        self._of_body: dict[Steps, tuple[RuleFields, ...]] = {}

    def rules(self, body: Steps = ()) -> tuple[RuleFields, ...]:
        if body not in self._of_body:
            self._of_body[body] = tuple(
                RuleFields(rule, index, body) for index, rule in enumerate(self._rules)
            )
        return self._of_body[body]

    def own(self, key: str | None, body: Steps = ()) -> RuleFields | None:
        """The rule of this key's messages, but for those of the whole link."""
        for fields in self.rules(body):
            if fields.rule.scope != "connection" and fields.fits(key):
                return fields
        return None

    def links(self, key: str | None, body: Steps = ()) -> tuple[RuleFields, ...]:
        """The rules by which a loss on the link shows in this message.

        One that counts all messages tells each loss: what another counts of them (the
        heartbeats of Coinbase) would tell it twice.
        """
        rules = self.counts(key, body)
        whole = [rule for rule in rules if rule.fits(None) and rule.rule.certain]
        return tuple(whole[:1]) or rules

    def counts(self, key: str | None, body: Steps = ()) -> tuple[RuleFields, ...]:
        """The rules that number this message beside others of its link."""
        return tuple(
            fields
            for fields in self.rules(body)
            if fields.rule.scope == "connection"
            and fields.numbered
            and fields.fits(key)
        )

    def stamps(self, body: Steps = (), *, key: str | None = None) -> StampFields:
        return StampFields(self._stamps, body, key=key)

    def stamped(self, body: Steps = ()) -> tuple[Steps, ...]:
        """Every field that holds a time stamp in some message of data."""
        stamps = self._stamps.stamps if self._stamps else ()
        return tuple((*body, *parse_field(stamp.field)) for stamp in stamps)


def _is_for(stamp: Stamp, key: str | None) -> bool:
    if not stamp.channels:
        return True
    return key is not None and any(
        Pattern(text).parts(key) is not None for text in stamp.channels
    )


def condition(when: dict[str, object] | None, body: Steps, field: str) -> Condition:
    given = when or {}
    return Condition(
        tuple((*body, *parse_field(text, field=field)) for text in given),
        tuple(read_want(value, field=field) for value in given.values()),
    )


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int():
            return "a huge number"
        case float():
            return "a fraction"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"
