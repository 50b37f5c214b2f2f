"""What one client is subscribed to, and the numbers of what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heartline.venue.naming import Channel

from .draft import Draft
from .hearing import Asked
from .market import Event, Series
from .shapes import Content, Row, Shape

if TYPE_CHECKING:
    from .house import Ruling, Venue

Said = tuple[object, str | None]
"""A message, and the channel that it is data of."""


class Service:
    """The subscriptions of one link."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.subscribed: dict[str, Series] = {}
        self.muted: set[str] = set()
        self._bound: dict[str, str | int] = {}
        self._last_bound = 0
        self._counts: dict[int, int] = {}
        self._rows: dict[str, int] = {}

    # --- requests -----------------------------------------------------------------

    def subscribe(self, asked: Asked, *, unix: float) -> list[Said]:
        """Take what can be taken of a request, and say so; snapshots follow."""
        venue = self._venue
        ruling = venue.judge(asked.channels, already=self.subscribed)
        if venue.replaces and ruling.taken:
            kept = {channel.name for channel in ruling.taken}
            self._forget([name for name in self.subscribed if name not in kept])
        new = [c.name for c in ruling.taken if c.name not in self.subscribed]
        for channel in ruling.taken:
            self._begin(channel)
        said = venue.speech.refused(asked, ruling.refused, counted=self.count)
        if ruling.taken or ruling.left_out:
            said += self._acknowledged(asked, ruling)
        told: list[Said] = [(each, None) for each in said]
        for channel in ruling.taken:
            if channel.name in new or venue.resends_snapshots:
                told += self._snapshot(self.subscribed[channel.name], unix)
        return told

    def unsubscribe(self, asked: Asked) -> list[Said]:
        """End channels, and say so; those it does not know are ended already."""
        channels = asked.channels
        if asked.bound is not None:
            names = [n for n, value in self._bound.items() if value == asked.bound]
            channels = tuple(self.subscribed[name].channel for name in names)
        bound = dict(self._bound)
        self._forget([channel.name for channel in channels])
        said = self._venue.speech.acknowledged(
            asked, channels, live=self._live(), bound=bound, counted=self.count
        )
        return [(each, None) for each in said]

    def _acknowledged(self, asked: Asked, ruling: Ruling) -> list[object]:
        told = ruling.taken
        if self._venue.ack_is_data:
            # The snapshot says it, where there is one.
            told = tuple(c for c in told if not self.subscribed[c.name].snapshot)
        if self._venue.acknowledges_anything:
            told = (*told, *ruling.left_out)
        return self._venue.speech.acknowledged(
            asked,
            told,
            left_out=ruling.left_out,
            live=self._live(),
            bound=self._bound,
            counted=self.count,
        )

    def _begin(self, channel: Channel) -> None:
        name, venue = channel.name, self._venue
        self.subscribed.setdefault(name, venue.market.series(channel))
        self._rows[name] = 0
        self.muted.discard(name)
        if venue.is_muted(name):
            self.muted.add(name)
        if venue.binds and name not in self._bound:
            self._last_bound += 1
            recorded = venue.recording.bound.get(channel.key)
            self._bound[name] = self._last_bound if recorded is None else recorded

    def _forget(self, names: list[str]) -> None:
        for name in names:
            self.subscribed.pop(name, None)
            self._bound.pop(name, None)
            self.muted.discard(name)

    def _live(self) -> list[Channel]:
        return [each.channel for each in self.subscribed.values()]

    # --- data ---------------------------------------------------------------------

    def data(self, event: Event, *, unix: float) -> object:
        """A numbered message, as this link is to get it."""
        row = self._own_row(event.series, event.row)
        return self._document(event.series, event.series.shape, event, row, unix)

    def standing(self, series: Series, index: int | None, *, unix: float) -> object:
        """A sign of life of a channel: nothing new, or the whole again.

        `index` is that of a beacon; None where the channel only repeats itself.
        """
        usual = series.snapshot or series.shape
        shape = usual if index is None else series.beacons[index]
        event = series.standing(unix=unix)
        whole = shape.snapshot or series.is_whole_each_time
        if series.is_beacon or not whole:
            event = Event(series, event.row, {}, event.unix)
        series.account.repeated += 1
        return self._document(series, shape, event, event.row, unix)

    def _snapshot(self, series: Series, unix: float) -> list[Said]:
        if series.snapshot is None or series.name in self.muted:
            return []
        event = series.standing(unix=unix)
        series.account.snapshots += 1
        row = self._own_row(series, event.row)
        document = self._document(series, series.snapshot, event, row, unix)
        return [(document, series.name)]

    def _document(
        self, series: Series, shape: Shape, event: Event, row: Row, unix: float
    ) -> object:
        links = {rule.index: self._take_count(rule.index) for rule in shape.links}
        bound = self._bound.get(series.name)
        return shape.document(
            Content(row=row, unix=unix, book=event.book, links=links, bound=bound)
        )

    # --- numbers ------------------------------------------------------------------

    def count(self, draft: Draft) -> None:
        """Put the numbers into a control message that count over the whole link."""
        for rule in self._venue.contract.entries.numbering.links(None):
            steps = rule.fields[2]
            number = self._next_count(rule.index)
            if steps is not None and draft.put(steps, number):
                self._counts[rule.index] = number

    def _own_row(self, series: Series, row: Row) -> Row:
        """Its numbers on this link, where they begin anew with a subscription."""
        if not series.restarts_with_link:
            return row
        number = self._rows[series.name] = self._rows.get(series.name, 0) + 1
        return Row(prev=number - 1, first=number, last=number)

    def _next_count(self, index: int) -> int:
        starts_at = self._venue.rules[index].starts_at
        first = 1 if starts_at is None else starts_at
        return self._counts.get(index, first - 1) + 1

    def _take_count(self, index: int) -> int:
        number = self._counts[index] = self._next_count(index)
        return number
