"""Reads the numbers and the stamp of a message from a partly decoded frame.

Each reader here is made for messages like one that was read the long way, and gives
for them what the long way gives. It raises `Unlike` over one that it cannot read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from .entries import Found
from .field import Steps, lead
from .guards import (
    Check,
    Same,
    Undecided,
    Unlike,
    maybe_number,
    number_or_text,
    sure_number,
    the_same,
)
from .listed import Rows, Tracks
from .match import Literal
from .numbering import Condition, RuleFields
from .reading import Update
from .shape import Shape

Plan: TypeAlias = Callable[[Any], Update]


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

    def plan(self, found: Found, same: Same | None, checks: Sequence[Check]) -> Plan:
        """Read one more message like the one that was found; raises Undecided.

        `same` and `checks` make sure that it is like that.
        """
        read = self._plan(found, same)
        if not checks:
            return read

        def checked(frame: Any) -> Update:
            for check in checks:
                check(frame)
            return read(frame)

        return checked

    def _plan(self, found: Found, same: Same | None) -> Plan:
        own = found.own
        links = [self._link(update) for update in found.update.links]
        if found.update.rest and (own is None or not lead(own.fields[2] or ())):
            raise Undecided
        at = None if found.stamp is None else found.stamps.fields[found.stamp]
        if own is not None and own.numbered and lead(own.fields[2] or ()):
            read = Rows(self._shape, found, own, at, self._who(found, own)).reader(
                self._looked_at(found)
            )
            read = read if same is None else same.guarding(read)
        elif own is None or found.update.last is None:
            read = self._bare(found, at)
            read = read if same is None else same.guarding(read)
        elif own.fields[0] is None and own.fields[1] is None:
            read = self._single(found, own, at, same)
        else:
            read = self._pair(found, own, at, same)
        if not links:
            return read

        def linked(frame: Any) -> Update:
            own = read(frame)
            return Update(
                own.source,
                own.track,
                own.prev,
                own.first,
                own.last,
                own.at,
                own.restarts,
                tuple([link(frame) for link in links]),
                own.rest,
            )

        return linked

    def _bare(self, found: Found, at: Steps | None) -> Plan:
        """A message without numbers."""
        source, track = found.update.source, found.update.track
        restarts = self._restarts(found)
        if at is None and isinstance(restarts, bool):
            still = Update(source, track, restarts=restarts)
            return lambda frame: still
        if at is None:
            assert callable(restarts)
            look = restarts
            return lambda frame: Update(source, track, restarts=look(frame))
        stamp, kind = self._shape.getter([at]), type(found.update.at)
        if isinstance(restarts, bool):

            def read(frame: Any) -> Update:
                moment = stamp(frame)
                if type(moment) is not kind:
                    raise Unlike
                return Update(source, track, None, None, None, moment, restarts)

            return read
        look = restarts

        def read_and_look(frame: Any) -> Update:
            moment = stamp(frame)
            if type(moment) is not kind:
                raise Unlike
            return Update(source, track, None, None, None, moment, look(frame))

        return read_and_look

    def _single(
        self, found: Found, own: RuleFields, at: Steps | None, same: Same | None
    ) -> Plan:
        """A message with one number."""
        source, last = found.update.source, own.fields[2] or ()
        guard, one, two = same or (None, None, None)
        who, state = self._who(found, own), self._state(found)
        # The number stands in for what there is not.
        stride, inner = self._shape.inner_getter(
            [last, at or last, who or last, state.field or last]
        )
        stamped, kind = at is not None, type(found.update.at)
        tracks = Tracks(found, own, known=who is None)
        once, again, look = state.wanted, state.always, state.look

        def read(frame: Any) -> Update:
            if guard is not None:
                first, second = guard(frame)
                if first is not one or second is not two:
                    the_same(first, one, second, two)
            end, moment, whose, now = inner(frame if stride is None else stride(frame))
            if type(end) is not int:
                end = sure_number(end)
            if not stamped:
                moment = None
            elif type(moment) is not kind:
                raise Unlike
            track = tracks.only or tracks[whose]
            restarts = again or now == once or (look is not None and look(frame))
            return Update(source, track, None, end, end, moment, restarts)

        return read

    def _pair(
        self, found: Found, own: RuleFields, at: Steps | None, same: Same | None
    ) -> Plan:
        """A message that says what came before it, or where it begins."""
        source, last = found.update.source, own.fields[2] or ()
        prev, first, _ = own.fields
        guard, one, two = same or (None, None, None)
        who, state = self._who(found, own), self._state(found)
        stride, inner = self._shape.inner_getter(
            [
                prev or last,
                first or last,
                last,
                at or last,
                who or last,
                state.field or last,
            ]
        )
        chained, ranged = prev is not None, first is not None
        stamped, kind = at is not None, type(found.update.at)
        tracks = Tracks(found, own, known=who is None)
        once, again, look = state.wanted, state.always, state.look
        text = own.rule.rule == "chain"

        def read(frame: Any) -> Update:
            if guard is not None:
                here, there = guard(frame)
                if here is not one or there is not two:
                    the_same(here, one, there, two)
            before, start, end, moment, whose, now = inner(
                frame if stride is None else stride(frame)
            )
            if type(end) is not int:
                end = number_or_text(end, text)
            if not chained:
                before = None
            elif type(before) is not int:
                before = maybe_number(before, text)
            if not ranged:
                start = None
            elif type(start) is not int:
                start = sure_number(start)
            if not stamped:
                moment = None
            elif type(moment) is not kind:
                raise Unlike
            track = tracks.only or tracks[whose]
            restarts = again or now == once or (look is not None and look(frame))
            return Update(source, track, before, start, end, moment, restarts)

        return read

    def _link(self, update: Update) -> Plan:
        rule = next(r for r in self._rules if r.index == update.source.rule)
        source, track = update.source, update.track
        get = self._shape.getter([rule.fields[2] or ()])
        if rule.fields[0] is not None or rule.fields[1] is not None:
            raise Undecided

        def read(frame: Any) -> Update:
            end = get(frame)
            if type(end) is not int:
                end = sure_number(end)
            return Update(source, track, None, end, end)

        return read

    def _who(self, found: Found, own: RuleFields) -> Steps | None:
        """The field that tells the track, where the selectors do not tell it."""
        who = own.who
        if who is None or who in self._selected:
            return None
        return who

    def _state(self, found: Found) -> _State:
        """How to see whether counting begins anew."""
        restarts = self._restarts(found)
        if isinstance(restarts, bool):
            return _State(always=restarts)
        own = found.own
        assert own is not None
        given = [w for w in (own.snapshot, own.reset) if w.fields]
        if len(given) == 1 and len(given[0].fields) == 1:
            (want,), (steps,) = given[0].wants, given[0].fields
            if isinstance(want, Literal) and isinstance(want.value, str):
                return _State(field=steps, wanted=want.value)
        return _State(look=restarts)

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
            if isinstance(wanted, str | int):
                get = self._shape.getter(when.fields)
                return lambda frame: bool(get(frame) == wanted)
        reads = [self._shape.reader(steps) for steps in when.fields]
        return lambda frame: when.holds([read(frame) for read in reads])


class _Nothing:
    """Equal to no value of a message."""


@dataclass(frozen=True, slots=True)
class _State:
    """What tells that counting begins anew: `always`, a field, or `look`."""

    field: Steps | None = None
    wanted: object = _Nothing()
    always: bool = False
    look: Callable[[Any], bool] | None = None
