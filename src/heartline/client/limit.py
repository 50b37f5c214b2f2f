"""Looks at each message of a stream whose data has an age to keep to.

A message that is in order costs one comparison, of the stamp as the venue wrote it with
one that would be too old. Such stamps are made anew every `GOOD_FOR` seconds, as of the
end of that time: what passes is in order, and all else is looked at closely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import ceil, inf
from typing import Final

from heartline.core.events import Event
from heartline.core.late import LateChannels
from heartline.core.latency import MaxAge
from heartline.core.offset import LATEST, ClockOffset
from heartline.venue.channels import Unit
from heartline.venue.reading import Source, Update

GOOD_FOR = 0.05
_PER_SECOND: Final[dict[Unit, float]] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


class Limit:
    """`tell` is given what begins and ends. `begins` says of a source whether its
    messages now tell how things stood before: they are no measure of age."""

    def __init__(
        self,
        policy: MaxAge,
        offset: ClockOffset,
        *,
        tell: Callable[[Event], None],
        begins: Callable[[Source, float], bool],
    ) -> None:
        self.late = LateChannels(policy)
        self._limit = policy.limit
        self._offset = offset
        self._tell = tell
        self._begins = begins
        self._good_until = -inf
        self._numbers: dict[Unit | None, float] = {}
        self._texts: dict[Unit | None, str] = {}

    def judge(self, updates: list[Update], *, now: float, epoch: int) -> None:
        """All data of one read, at `now`; none that waited out a stall of ours, which
        is told as that."""
        if now >= self._good_until:
            self._renew(now)
        numbers, texts = self._numbers, self._texts
        calm = not self.late
        for update in updates:
            at = update.at
            if calm and not update.rest:
                unit = update.source.unit
                if type(at) is int:
                    if at >= numbers[unit]:
                        continue
                elif type(at) is str:
                    text = texts[unit]
                    # Another time zone, or fewer digits, and they do not compare.
                    alike = unit != "rfc3339" or at[-1:] == "Z"
                    if at > text and len(at) >= len(text) and alike:
                        continue
            for row in (update, *update.rest):
                self._look(row, now, epoch)
            calm = not self.late

    def renew(self) -> None:
        """More is known of the venue's clock."""
        self._good_until = -inf

    def _renew(self, now: float) -> None:
        until = now + GOOD_FOR
        earliest = self._offset.stamp_of(self._limit, received_at=until)
        known = 0 < earliest < LATEST
        for unit, per_second in _PER_SECOND.items():
            number = ceil(earliest * per_second) if known else 0
            self._numbers[unit], self._texts[unit] = number, str(number)
        whole, thousandths = divmod(int(self._numbers["ms"]), 1000)
        moment = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._numbers["rfc3339"] = inf
        self._texts["rfc3339"] = f"{moment}.{thousandths:03d}"
        self._numbers[None], self._texts[None] = inf, ""
        self._good_until = until

    def _look(self, row: Update, now: float, epoch: int) -> None:
        unix = row.unix
        if unix is None or self._begins(row.source, now):
            return
        channel = row.source.channel or row.source.key
        if channel not in self.late:
            earliest = self._offset.stamp_of(self._limit, received_at=now)
            if unix >= earliest:
                return
        age = self._offset.age(unix, received_at=now)
        if age is not None:
            for event in self.late.feed(channel, age, now=now, epoch=epoch):
                self._tell(event)

    def forget(self, channels: Iterable[str], *, now: float, epoch: int) -> None:
        """Nobody wants these channels any longer."""
        for event in self.late.forget(channels, now=now, epoch=epoch):
            self._tell(event)
