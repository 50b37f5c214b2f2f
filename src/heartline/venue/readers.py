"""Reads the numbers and the stamp of a message from a partly decoded frame.

Each reader here is made for messages like one that was read the long way, and gives
for them what the long way gives. It raises `Unlike` over one that it cannot read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .entries import Found
from .field import Steps, lead
from .guards import (
    Guard,
    Undecided,
    maybe_number,
    number_or_text,
    sure_number,
)
from .inline import Plan, Writing
from .listed import Rows, Tracks
from .match import Literal
from .numbering import Condition, RuleFields
from .reading import Update
from .shape import Shape


class Readers:
    """Makes readers for the messages of one endpoint."""

    def __init__(
        self,
        shape: Shape,
        rules: Sequence[RuleFields],
        selectors: tuple[Steps, ...],
    ) -> None:
        """`selectors` are the fields whose values such messages share anyway."""
        self._shape, self._rules, self._selected = shape, rules, selectors

    def plan(self, found: Found, guard: Guard, through: Steps) -> Plan:
        """Read one more message like the one that was found; raises Undecided.

        `guard` makes sure that it is like that. `through`: the list whose elements
        name its channel, if that is how it is named; all name the same one.
        """
        own = found.own
        numbered = own is not None and found.update.last is not None
        in_rows = numbered and own is not None and bool(lead(own.fields[2] or ()))
        if found.update.rest and not in_rows:
            raise Undecided
        at = None if found.stamp is None else found.stamps.fields[found.stamp]
        if through and own is not None and numbered:
            given = [steps for steps in own.fields if steps is not None]
            if any(lead(steps) != through for steps in given):
                raise Undecided
        if through and at is not None and lead(at) not in ((), through):
            raise Undecided
        code = Writing(self._shape)
        guard.write(code)
        if own is not None and in_rows:
            self._write_rows(code, found, own, at)
        elif at is None and found.update.last is None and not found.update.links:
            self._write_still(code, found)
        else:
            self._write_one(code, found, at, through)
        return code.plan()

    def _write_rows(
        self, code: Writing, found: Found, own: RuleFields, at: Steps | None
    ) -> None:
        """A message whose numbers stand in a list."""
        who = self._who(found, own)
        rows = Rows(self._shape, found, own, at, who).reader(self._looked_at(found))
        if not found.update.links:
            code.add(f"return {code.give(rows)}(frame)")
            return
        code.add(f"u = {code.give(rows)}(frame)")
        links = self._links(code, found)
        code.add(
            "return Update(u.source, u.track, u.prev, u.first, u.last, u.at, "
            f"u.restarts, {links}, u.rest)"
        )

    def _write_still(self, code: Writing, found: Found) -> None:
        """A message of which nothing is read but that it came."""
        source, track = found.update.source, found.update.track
        restarts = self._restarting(code, found)
        once = code.give(Update(source, track))
        anew = code.give(Update(source, track, restarts=True))
        code.add(f"if {restarts}: return {anew}", f"return {once}")

    def _write_one(
        self, code: Writing, found: Found, at: Steps | None, through: Steps
    ) -> None:
        """A message with at most one number, range or link of a chain, and a stamp."""
        own, track = found.own, code.give(found.update.track)
        numbers = "None, None, None"
        if own is not None and found.update.last is not None:
            numbers = self._write_numbers(code, own)
            who = self._who(found, own)
            if who is not None:
                track = f"{code.give(Tracks(found, own))}[{code.field(who)}]"
        if at is not None:
            kind = code.give(type(found.update.at))
            if through and lead(at):
                stamps = self._shape.reader(at[len(through) :], after=through)
                items = code.field(through[:-1])
                stamp = code.give(stamps)
                code.add(f"rows = {items}")
                code.add(f"if type({stamp}(rows[0])) is not {kind}: raise Unlike")
                code.add(f"at = {stamp}(rows[-1])")
            else:
                code.add(f"at = {code.field(at)}")
            code.add(f"if type(at) is not {kind}: raise Unlike")
        more = f", {self._links(code, found)}" if found.update.links else ""
        restarts = self._restarting(code, found)
        code.add(
            f"return Update({code.give(found.update.source)}, {track}, {numbers}, "
            f"{'None' if at is None else 'at'}, {restarts}{more})"
        )

    def _write_numbers(self, code: Writing, own: RuleFields) -> str:
        """Read prev, first and last; the expressions of the three."""
        prev, first, last = own.fields
        is_text = own.rule.rule == "chain"
        code.add(f"last = {code.field(last or ())}")
        number = code.give(number_or_text)
        code.add(f"if type(last) is not int: last = {number}(last, {is_text})")
        maybe = code.give(maybe_number)
        for name, steps in (("prev", prev), ("first", first)):
            if steps is not None:
                code.add(f"{name} = {code.field(steps)}")
                code.add(
                    f"if type({name}) is not int: {name} = {maybe}({name}, {is_text})"
                )
        if first is not None and not is_text:
            code.add("if first is None: first = last")
        begins = "first" if first is not None else "None" if is_text else "last"
        return f"{'None' if prev is None else 'prev'}, {begins}, last"

    def _links(self, code: Writing, found: Found) -> str:
        """Numbers that count over the whole link; the expression of all of them."""
        links: list[str] = []
        for number, update in enumerate(found.update.links):
            rule = next(r for r in self._rules if r.index == update.source.rule)
            if rule.fields[0] is not None or rule.fields[1] is not None:
                raise Undecided
            end, sure = f"l{number}", code.give(sure_number)
            code.add(f"{end} = {code.field(rule.fields[2] or ())}")
            code.add(f"if type({end}) is not int: {end} = {sure}({end})")
            source, track = code.give(update.source), code.give(update.track)
            links.append(f"Update({source}, {track}, None, {end}, {end})")
        return f"({', '.join(links)},)"

    def _who(self, found: Found, own: RuleFields) -> Steps | None:
        """The field that tells the track, where the selectors do not tell it."""
        who = own.who
        if who is None or who in self._selected:
            return None
        return who

    def _restarting(self, code: Writing, found: Found) -> str:
        """The expression for whether counting begins anew."""
        restarts = self._restarts(found)
        if isinstance(restarts, bool):
            return str(restarts)
        own = found.own
        assert own is not None
        given = [w for w in (own.snapshot, own.reset) if w.fields]
        if len(given) == 1 and len(given[0].fields) == 1:
            (want,), (steps,) = given[0].wants, given[0].fields
            if isinstance(want, Literal) and isinstance(want.value, str):
                return f"{code.field(steps)} == {code.give(want.value)}"
        return f"{code.give(restarts)}(frame)"

    def _looked_at(self, found: Found) -> Callable[[Any], bool]:
        restarts = self._restarts(found)
        if isinstance(restarts, bool):
            always = restarts
            return lambda frame: always
        return restarts

    def _restarts(self, found: Found) -> Callable[[Any], bool] | bool:
        """Whether counting begins anew: as the selectors tell, or to be looked at."""
        own = found.own
        both = () if own is None else (own.snapshot, own.reset)
        given = [when for when in both if when.fields]
        if all(steps in self._selected for when in given for steps in when.fields):
            return found.update.restarts
        checks = [self._condition(when) for when in given]
        if len(checks) == 1:
            return checks[0]
        return lambda frame: any([check(frame) for check in checks])

    def _condition(self, when: Condition) -> Callable[[Any], bool]:
        if any(lead(steps) for steps in when.fields):
            raise Undecided
        if len(when.fields) == 1 and isinstance(when.wants[0], Literal):
            wanted = when.wants[0].value
            get = self._shape.getter(when.fields)
            if isinstance(wanted, bool):
                # 1 equals true, and is not what the venue promises.
                return lambda frame: get(frame) is wanted
            if isinstance(wanted, str):
                return lambda frame: bool(get(frame) == wanted)
        reads = [self._shape.reader(steps) for steps in when.fields]
        return lambda frame: when.holds([read(frame) for read in reads])
