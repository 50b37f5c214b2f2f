"""The short way: what was decided once about a kind of message, done again quickly.

A plan belongs to the values of a few fields (the selectors, such as the channel's
name). It reads the numbers and the stamp of one more such message from a partly
decoded frame, after it has made sure that nothing tells that message from the first:
fields that were absent are absent, fields that held a literal hold it. Whenever it is
not sure it raises `Unlike`, and the long way decides. What is of no interest it skips:
a message that is no JSON in such a place is told by the long way alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from .control import Control
from .entries import Entries, Entry, Found
from .field import EACH, Steps, find, lead
from .guards import Guard, Undecided, is_empty_list, readable
from .inline import Plan, Writing
from .match import Anything, Literal, Prefix
from .pending import Pending
from .readers import Readers
from .shape import Read, Shape


class Workshop:
    """Makes plans for the messages of one endpoint."""

    def __init__(self, entries: Entries, control: Control) -> None:
        self.before = tuple(
            (alternative, id_steps)
            for matcher, id_steps in control.before_data
            for alternative in matcher.alternatives
            if alternative.text is None
        )
        self.beacons, self.counters = control.beacons, control.counters
        self.entries = entries
        planned = [entry for entry in entries.all if _through(entry) is not None]
        self.selectors = tuple(
            dict.fromkeys(steps for each in planned[:1] for steps in _selecting(each))
        )
        self.all_selectors = tuple(
            dict.fromkeys(
                steps
                for each in entries.all
                for steps in _selecting(each)
                if readable(steps) and steps.count(EACH) <= 1
            )
        )
        self.presences = tuple(
            dict.fromkeys(
                term.steps
                for each in entries.all
                for alternative in each.matcher.alternatives
                for term in alternative.terms
                if isinstance(term.want, Anything)
                and readable(term.steps)
                and not lead(term.steps)
                and term.steps not in self.all_selectors
            )
        )
        self.shape = Shape(self._read_at_all(), hollow=self._hollow())

    def selects(self, entry: Entry) -> bool:
        """Whether the first selectors tell the channel of such a message."""
        return all(steps in self.selectors for steps in entry.naming)

    def selector(self) -> Read:
        """What tells most kinds of message from one another."""
        return self._values(self.selectors)

    def full_selector(self) -> Read:
        """What tells all kinds from one another, where the first is not enough."""
        values = self._values(self.all_selectors)
        there = [self.shape.reader(steps) for steps in self.presences]

        def select(frame: Any) -> Any:
            return values(frame), tuple([_kind(read(frame)) for read in there])

        return select

    def _values(self, fields: tuple[Steps, ...]) -> Read:
        code = Writing(self.shape)
        code.add(f"return {code.key(fields)}")
        return code.function()

    def plan(self, found: Found, document: object, pending: Pending) -> Plan:
        """How to read the next message like this one; raises Undecided."""
        entry = found.entry
        through = _through(entry)
        if through is None or not found.alternative.terms:
            raise Undecided
        links = self.entries.numbering.links(found.update.source.key, entry.body)
        selected = self.selected(entry)
        guard = Guard(self.shape, selected, document, pending)
        for alternative, id_steps in self.before:
            guard.exclude(alternative, id_steps)
        for other in self.entries.all[: entry.index]:
            for alternative in other.matcher.alternatives:
                guard.exclude(alternative, None)
        counted = {link.source.rule for link in found.update.links}
        for rule in links:
            if rule.index not in counted:
                guard.without(rule.fields[2] or ())
        self._beacon(found, document, guard)
        implied = self._implied(found, guard)
        for term in found.alternative.terms:
            guard.require(term, implied)
        self._stampless(found, document, guard, implied)
        rules = self.entries.numbering.rules(entry.body)
        readers = Readers(self.shape, rules, selected)
        return readers.plan(found, guard, through)

    def selected(self, entry: Entry) -> tuple[Steps, ...]:
        """The fields by whose values such a message finds its plan."""
        return self.selectors if self.selects(entry) else self.all_selectors

    # --- parts of a plan ----------------------------------------------------------

    def _implied(self, found: Found, guard: Guard) -> Steps | None:
        """A field that the plan reads anyway, so that what leads to it is there."""
        own = found.own
        if own is None or not own.numbered:
            return None
        if found.update.last is None:
            for steps in own.fields:
                if steps is not None:
                    guard.without(steps)
            return None
        last = own.fields[2] or ()
        return lead(last) or last

    def _stampless(
        self, found: Found, document: object, guard: Guard, implied: Steps | None
    ) -> None:
        """Stamps that would have served before the one that did are absent again."""
        way = lead(implied or ())[:-1]
        for steps in found.stamps.fields[: found.stamp]:
            if way and not lead(steps) and steps[: len(way)] == way:
                continue  # an object's field, where there is a list
            self._absent(steps, document, guard)

    def _absent(self, steps: Steps, document: object, guard: Guard) -> None:
        """This field is not there, and such messages are without it again."""
        if find(document, steps) is not UNSET:
            raise Undecided
        guard.without(steps)

    def _beacon(self, found: Found, document: object, guard: Guard) -> None:
        """Beacons that are data as well: the same one again, and no other."""
        beacon = found.update.source.beacon
        for index, matcher in self.beacons:
            for alternative in matcher.alternatives:
                if index == beacon and guard.holds(alternative):
                    for term in alternative.terms:
                        guard.require(term, None)
                    counter = self.counters[index]
                    if counter is not None:
                        self._absent(counter, document, guard)
                    return
                guard.exclude(alternative, None)

    # --- what is read of a frame --------------------------------------------------

    def _read_at_all(self) -> Iterable[Steps]:
        alternatives = [
            *(a for a, _ in self.before),
            *(a for _, m in self.beacons for a in m.alternatives),
            *(a for e in self.entries.all for a in e.matcher.alternatives),
        ]
        for alternative in alternatives:
            yield from (t.steps for t in alternative.terms if readable(t.steps))
        yield from (steps for _, steps in self.before if steps and readable(steps))
        yield from (steps for steps in self.counters if steps and readable(steps))
        bodies = dict.fromkeys([(), *(entry.body for entry in self.entries.all)])
        for entry in self.entries.all:
            yield from (steps for steps in entry.naming if readable(steps))
        for body in bodies:
            if not readable((*body, "x")) or body.count(EACH) > 1:
                continue
            for rule in self.entries.numbering.rules(body):
                fields = (*rule.fields, rule.who, *rule.snapshot.fields)
                for steps in (*fields, *rule.reset.fields):
                    if steps is not None and readable(steps):
                        yield steps
            yield from self.entries.numbering.stamped(body)

    def _hollow(self) -> Iterable[Steps]:
        for _, matcher in self.beacons:
            for alternative in matcher.alternatives:
                for term in alternative.terms:
                    if is_empty_list(term) and readable(term.steps):
                        yield term.steps


def _through(entry: Entry) -> Steps | None:
    """The one list whose elements name the channel, () if none does; None if no plan
    can be made, as there are several."""
    terms = [t.steps for a in entry.matcher.alternatives for t in a.terms]
    ways = {lead(steps) for steps in (*terms, *entry.naming, entry.body)} - {()}
    if len(ways) > 1 or not all(map(readable, ways)):
        return None
    way = next(iter(ways), ())
    return way if way.count(EACH) <= 1 else None


def _selecting(entry: Entry) -> list[Steps]:
    """The fields whose values tell messages apart: literals, and those of the key."""
    literal = [
        term.steps
        for alternative in entry.matcher.alternatives
        for term in alternative.terms
        if isinstance(term.want, Literal | Prefix)
    ]
    return [*literal, *entry.naming]


def _kind(value: object) -> type[object]:
    return type(value)
