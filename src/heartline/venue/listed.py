"""Reads messages that hold a list of numbered rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET

from .entries import Found, folded_rows
from .field import EACH, Steps, lead
from .guards import Undecided
from .inline import Unlike
from .numbering import Row, RuleFields
from .reading import Track, Update
from .shape import Read, Shape

MOST_TRACKS: Final = 4096
"""Symbols of one channel that are remembered."""


class Tracks(dict[Any, Track]):
    """Tracks of one channel by symbol."""

    def __init__(self, found: Found, own: RuleFields) -> None:
        super().__init__()
        self._key, self._own = found.update.source.key, own

    def __missing__(self, whose: Any) -> Track:
        if len(self) >= MOST_TRACKS:
            self.clear()
        track = self[whose] = self._own.track(self._key, whose)
        return track


class Rows:
    """Reads the rows of messages like one that was found."""

    def __init__(
        self,
        shape: Shape,
        found: Found,
        own: RuleFields,
        at: Steps | None,
        who: Steps | None,
    ) -> None:
        """`at` and `who` are the fields of stamp and symbol, in a row or beside them.

        Raises Undecided where the fields lead through several lists.
        """
        self._shape, self._found, self._own = shape, found, own
        last = own.fields[2] or ()
        self._through = through = lead(last)
        beside = [lead(steps) for steps in (at, who) if steps is not None]
        conditions = (*own.snapshot.fields, *own.reset.fields)
        if (
            through.count(EACH) != 1
            or any(lead(steps) != through for steps in own.fields if steps is not None)
            or any(way not in ((), through) for way in beside)
            or any(lead(steps) for steps in conditions)
        ):
            raise Undecided
        self._items = shape.getter([through[:-1]])
        self._has = tuple(steps is not None for steps in own.fields)
        inner = [(steps or last)[len(through) :] for steps in own.fields]
        self._numbers = shape.getter(inner, after=through)
        self._stamp, self._stamp_in_row = self._read(at)
        self._whose, self._whose_in_row = self._read(who)

    def reader(self, restarts: Callable[[Any], bool]) -> Callable[[Any], Update]:
        source, kind = self._found.update.source, type(self._found.update.at)
        items, stamp, in_row = self._items, self._stamp, self._stamp_in_row
        track_of, rule, key = self._track, self._own.rule, source.key

        def read(frame: Any) -> Update:
            elements: list[Any] = items(frame)
            if not elements or type(elements) is not list:
                raise Unlike
            table = self._table(elements)
            moment: Any = None
            if stamp is not None:
                moment = stamp(elements[-1] if in_row else frame)
                if type(moment) is not kind:
                    raise Unlike
            again = restarts(frame)
            if not table:
                return Update(source, key, None, None, None, moment, again)
            track = track_of(frame, elements)
            if len(table) == 1:
                prev, first, end = table[0]
                return Update(source, track, prev, first, end, moment, again)
            one, *more = folded_rows(source, track, table, rule, moment, again)
            if not more:
                return one
            return Update(
                *(source, track, one.prev, one.first, one.last, moment, again),
                rest=tuple(more),
            )

        return read

    def _table(self, elements: list[Any]) -> list[Row]:
        table: list[Row] = []
        for element in elements:
            values = self._numbers(element)
            given = [
                value if there else UNSET
                for value, there in zip(values, self._has, strict=True)
            ]
            row = self._own.row(given)
            if row is not None:
                table.append(row)
        if table and len(table) < len(elements):
            # Whose stamp counts then is for the long way to say.
            raise Unlike
        return table

    def _track(self, frame: Any, elements: list[Any]) -> Track:
        """The track of all rows; Unlike if they are of several."""
        whose = self._whose
        if whose is None:
            return self._found.update.track
        key, own = self._found.update.source.key, self._own
        if not self._whose_in_row:
            return own.track(key, whose(frame))
        track = own.track(key, whose(elements[-1]))
        if any(own.track(key, whose(each)) != track for each in elements[:-1]):
            raise Unlike
        return track

    def _read(self, steps: Steps | None) -> tuple[Read | None, bool]:
        """How to read a field, and whether that is of a row."""
        if steps is None:
            return None, False
        if lead(steps):
            rest = steps[len(self._through) :]
            return self._shape.getter([rest], after=self._through), True
        return self._shape.getter([steps]), False
