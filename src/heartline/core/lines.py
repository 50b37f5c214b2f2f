"""The ways that messages take: one line for each channel under each rule, bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from .feed_terms import Numbered
from .figures import Line as Line
from .gaps import Account, Ledger
from .subscribing import Standing
from .tracker import Tracker

MOST_STRAYS = 16_384
"""Channels that are followed though nobody asked for them. Messages of more of them
are passed on, and neither counted nor compared."""


class Lines:
    """All lines of one stream, across its links."""

    def __init__(
        self, ledger: Ledger, rules: Sequence[tuple[Tracker | None, Numbered | None]]
    ) -> None:
        """`rules`: the tracker of each, and its terms."""
        self._ledger = ledger
        self._rules = rules
        self._lines: dict[tuple[str | None, int | None], Line] = {}
        self._strays: set[str] = set()
        self._dropped: set[str] = set()
        """Dropped on this link. Their old numbers stand in the trackers of all."""

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def __len__(self) -> int:
        return len(self._lines)

    def line(
        self, channel: str | None, rule: int | None, *, wanted: bool, now: float
    ) -> Line:
        """The line of a channel; `wanted`: somebody asked for it."""
        line = self._lines.get((channel, rule))
        if line is not None:
            return line
        if not wanted and channel is not None and channel not in self._strays:
            if len(self._strays) >= MOST_STRAYS:
                unfollowed = Line(channel, Account(channel), None, now=now)
                unfollowed.wounded = False
                return unfollowed
            self._strays.add(channel)
        tracker, terms = (None, None) if rule is None else self._rules[rule]
        if tracker is not None and channel in self._dropped:
            # What was sent while nobody wanted it is not missing.
            tracker = type(tracker)(tracker.numbering)
        account = self._ledger.account(channel, rule=rule or 0)
        line = Line(channel, account, tracker, terms=terms, now=now)
        self._lines[channel, rule] = line
        return line

    def begin(self) -> None:
        """A new link: nothing has come on it."""
        self._dropped.clear()
        for (_, rule), line in self._lines.items():
            line.is_live, line.wounded = False, True
            line.tracker = None if rule is None else self._rules[rule][0]

    def adopt(
        self,
        counted: Iterable[tuple[int | None, Line]],
        trackers: Sequence[Tracker | None],
        *,
        standing: Callable[[str], Standing | None],
    ) -> None:
        """Another link delivers, and counts what is of one link alone by itself."""
        rules = self._rules
        pairs = zip(trackers, (terms for _, terms in rules), strict=True)
        self._rules = tuple(pairs)
        self._lines.update({(None, rule): line for rule, line in counted})
        for (name, rule), line in self._lines.items():
            if name is None:
                continue
            line.is_live = standing(name) is Standing.LIVE
            if rule is not None and rules[rule][0] is not trackers[rule]:
                line.tracker = trackers[rule]

    def wound(self, line: Line) -> None:
        """Something is missing of a line; of the link: it may be of any channel."""
        line.wounded = True
        if line.name is None:
            for each in self._lines.values():
                each.wounded = True

    def await_data(self, channel: str) -> None:
        """The channel is asked for anew: its next message is its first."""
        for rule in (None, *range(len(self._rules))):
            line = self._lines.get((channel, rule))
            if line is not None:
                line.is_live = False

    def drop(self, channel: str) -> None:
        """The channel is wanted no more: its account is closed."""
        self._strays.discard(channel)
        self._dropped.add(channel)
        self._ledger.close_account(channel)
        for rule in (None, *range(len(self._rules))):
            line = self._lines.pop((channel, rule), None)
            if line is not None:
                line.watched = None
