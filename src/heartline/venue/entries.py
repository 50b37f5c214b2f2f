"""Messages of data: which channel one speaks of, and its numbers, read with care.

This is the long way, over the whole document. It decides what every message is; the
short way in `plans.py` repeats what was decided here for messages of the same kind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec import UNSET
from msgspec.structs import replace

from .channels import Data, Rule
from .field import Steps, find, lead, parse_field, rows
from .match import Alternative, Anything, Matcher, compile_match, fits
from .naming import Book, distinct, spelt
from .numbering import Numbering, Row, RuleFields, StampFields, merged
from .profile import Endpoint
from .reading import Source, Track, Update
from .template import Text

Values = Sequence[object]


class Key:
    """A template over the fields of a message."""

    __slots__ = ("_alone", "fields", "names", "text")

    def __init__(self, template: str, captures: dict[str, Steps], field: str) -> None:
        self.text = Text(template, field=field)
        self._alone = self.text.alone is not None and self.text.alone.case is None
        self.names = tuple(sorted(self.text.names))
        self.fields = tuple(
            captures.get(name) or parse_field(name, field=field) for name in self.names
        )

    def spell(self, values: Values) -> str | None:
        """The key, or None if one of the values is no text, number or truth value."""
        if self._alone and isinstance(values[0], str):
            return values[0]
        return spelt(self.text, dict(zip(self.names, values, strict=True)))


class Entry:
    """One way in which a venue sends data, compiled."""

    __slots__ = ("body", "bound", "index", "key", "matcher", "rather")

    def __init__(self, data: Data, index: int) -> None:
        field = f"subscribe.data[{index}]"
        self.index = index
        self.matcher: Matcher = compile_match(data.match, field=f"{field}.match")
        captures = captured(self.matcher)
        self.key = Key(data.key, captures, field) if data.key is not None else None
        self.rather = tuple(Key(text, captures, field) for text in data.rather)
        self.bound = parse_field(data.bound, field=field) if data.bound else None
        self.body = parse_field(data.body, field=field) if data.body else ()

    @property
    def naming(self) -> tuple[Steps, ...]:
        """The fields that name the channel."""
        keys = [key for key in (self.key, *self.rather) if key is not None]
        fields = [steps for key in keys for steps in key.fields]
        return (*fields, self.bound) if self.bound is not None else tuple(fields)

    def spell(self, values: Values, book: Book) -> str | None:
        """The key, from what `naming` led to; None if it cannot be told."""
        at, spelt_keys = 0, list[str | None]()
        for key in (self.key, *self.rather):
            if key is not None:
                spelt_keys.append(key.spell(values[at : at + len(key.fields)]))
                at += len(key.fields)
        wanted = (key for key in spelt_keys[len(spelt_keys) - len(self.rather) :])
        instead = next((key for key in wanted if key in book.by_key), None)
        if instead is not None:
            return instead
        if self.key is not None:
            return spelt_keys[0]
        value = values[-1] if self.bound is not None else None
        return book.bound.get(value) if isinstance(value, str | int) else None


@dataclass(frozen=True, slots=True)
class Found:
    """What a message of data is: the way it was recognised, and what was read."""

    entry: Entry
    alternative: Alternative
    own: RuleFields | None
    stamps: StampFields
    stamp: int | None
    update: Update

    def as_beacon(self, index: int) -> Found:
        """The same, known to be a sign of life of the venue as well."""
        source = replace(self.update.source, beacon=index)
        update = replace(self.update, source=source)
        return dataclasses.replace(self, update=update)


@dataclass(frozen=True, slots=True)
class _Element:
    track: Track
    row: Row | None
    stamp: int | None
    at: int | float | str | None
    restarts: bool


class Entries:
    """All ways in which one endpoint sends data."""

    def __init__(self, endpoint: Endpoint) -> None:
        listed = endpoint.subscribe.data if endpoint.subscribe else ()
        self.all = tuple(Entry(data, index) for index, data in enumerate(listed))
        self.numbering = Numbering(endpoint.sequence, endpoint.timestamps)

    def read(self, document: object, book: Book) -> Found | None:
        """What this message of data says; None if it is none.

        Raises Misfit over numbers that are none, TooManyRows over endless lists.
        """
        for entry in self.all:
            for alternative in entry.matcher.alternatives:
                keys = list(self._keys(document, entry, alternative, book))
                if keys:
                    return self._found(document, entry, alternative, keys, book)
        return None

    def links(self, document: object) -> tuple[Update, ...]:
        """The numbers of a message without a channel that count over the whole link.

        What is no number there is none: such messages are of many kinds.
        """
        counted: list[Update] = []
        for rule in self.numbering.links(None):
            with_number = self._link(document, rule)
            if with_number is not None:
                counted.append(with_number)
        return tuple(counted)

    def _keys(
        self, document: object, entry: Entry, alternative: Alternative, book: Book
    ) -> Iterator[str | None]:
        """The keys that a message speaks of; none if it does not fit."""
        terms = alternative.terms
        fields = [*(term.steps for term in terms), *entry.naming]
        keys: list[str | None] = []
        for values in rows(document, fields):
            if _fit(alternative, values):
                keys.append(entry.spell(values[len(terms) :], book))
        named = list(distinct(keys))
        return iter(named or keys[:1])

    def _found(
        self,
        document: object,
        entry: Entry,
        alternative: Alternative,
        keys: list[str | None],
        book: Book,
    ) -> Found:
        updates: list[Update] = []
        read_by: list[tuple[RuleFields | None, StampFields, int | None]] = []
        for key in keys:
            name = None if key is None else book.name(key)
            # One text, where they are the same, is less to touch for each message.
            key = name if name == key else key
            own = self.numbering.own(key, entry.body)
            stamps = self.numbering.stamps(entry.body, key=key)
            elements = [
                element
                for element in self._elements(
                    document, entry, alternative, own, stamps, key, book
                )
            ]
            stamp = next((e.stamp for e in elements if e.stamp is not None), None)
            source = Source(
                channel=name,
                key=key,
                rule=None if own is None else own.index,
                stamp=None if stamp is None else stamps.indexes[stamp],
                unit=None if stamp is None else stamps.units[stamp],
            )
            updates.append(_folded(source, elements, own))
            links = tuple(
                link
                for rule in self.numbering.links(key, entry.body)
                if (link := self._link(document, rule, strict=True)) is not None
            )
            if links:
                updates[-1] = replace(updates[-1], links=links)
            read_by.append((own, stamps, stamp))
        update = updates[0]
        if len(updates) > 1:
            update = replace(update, rest=(*update.rest, *updates[1:]))
        own, stamps, stamp = read_by[0]
        return Found(entry, alternative, own, stamps, stamp, update)

    def _elements(
        self,
        document: object,
        entry: Entry,
        alternative: Alternative,
        own: RuleFields | None,
        stamps: StampFields,
        key: str | None,
        book: Book,
    ) -> Iterator[_Element]:
        """Each element of the message that speaks of this key."""
        terms, naming = alternative.terms, entry.naming
        numbers = own.fields if own is not None and own.numbered else ()
        who = (own.who,) if own is not None and own.who is not None else ()
        snap = own.snapshot if own is not None else None
        reset = own.reset if own is not None else None
        groups: list[tuple[Steps | None, ...]] = [
            tuple(term.steps for term in terms),
            naming,
            numbers,
            who,
            stamps.fields,
            snap.fields if snap else (),
            reset.fields if reset else (),
        ]
        # A stamp in a list of its own is no reason to look for elements.
        lists = {lead(s) for at, g in enumerate(groups) if at != 4 for s in g if s}
        groups[4] = tuple(s if lead(s) in lists else None for s in stamps.fields)
        flat = [steps for group in groups for steps in group if steps is not None]
        for values in rows(document, flat):
            taken = iter(values)
            parts = [
                [UNSET if steps is None else next(taken) for steps in group]
                for group in groups
            ]
            if not _fit(alternative, parts[0]) or entry.spell(parts[1], book) != key:
                continue
            times = [
                find(document, steps) if group is None else value
                for steps, group, value in zip(
                    stamps.fields, groups[4], parts[4], strict=True
                )
            ]
            stamp = stamps.first(times)
            at = times[stamp] if stamp is not None else None
            row = own.row(parts[2]) if own is not None and numbers else None
            whose = parts[3][0] if who else None
            yield _Element(
                track=key if own is None or row is None else own.track(key, whose),
                row=row,
                stamp=stamp,
                at=at if isinstance(at, int | float | str) else None,
                restarts=(snap is not None and snap.holds(parts[5]))
                or (reset is not None and reset.holds(parts[6])),
            )

    def _link(
        self, document: object, rule: RuleFields, *, strict: bool = False
    ) -> Update | None:
        fields = [steps for steps in rule.fields if steps is not None]
        values = iter(next(rows(document, fields), (UNSET,) * len(fields)))
        given = [UNSET if steps is None else next(values) for steps in rule.fields]
        try:
            row = rule.row(given)
        except ValueError:
            if strict:
                raise
            return None
        if row is None:
            return None
        track = rule.track(None, None)
        source = Source(channel=None, key=None, rule=rule.index)
        return Update(source, track, *row)


def captured(matcher: Matcher) -> dict[str, Steps]:
    """Where the values that a match names stand."""
    return {
        term.want.name: term.steps
        for alternative in matcher.alternatives
        for term in alternative.terms
        if isinstance(term.want, Anything) and term.want.name is not None
    }


def folded_rows(
    source: Source,
    track: Track,
    table: list[Row],
    rule: Rule,
    at: int | float | str | None,
    restarts: bool,
) -> list[Update]:
    """Rows of one track as few updates as say the same."""
    return [Update(source, track, *row, at, restarts) for row in merged(table, rule)]


def _folded(source: Source, elements: list[_Element], own: RuleFields | None) -> Update:
    """One update of all elements; the stamp is that of the last."""
    if not elements:
        return Update(source, source.key)
    last = elements[-1]
    numbered = [e for e in elements if e.row is not None]
    if own is None or not numbered:
        return Update(
            source, last.track, at=last.at, restarts=any(e.restarts for e in elements)
        )
    updates: list[Update] = []
    for track in dict.fromkeys(e.track for e in numbered):
        mine = [e for e in numbered if e.track == track]
        restarts = any(e.restarts for e in mine)
        table = [e.row for e in mine if e.row is not None]
        updates += folded_rows(source, track, table, own.rule, mine[-1].at, restarts)
    if len(updates) == 1:
        return updates[0]
    return replace(updates[0], rest=tuple(updates[1:]))


def _fit(alternative: Alternative, values: Values) -> bool:
    return bool(alternative.terms) and all(
        fits(value, term.want)
        for value, term in zip(values, alternative.terms, strict=False)
    )
