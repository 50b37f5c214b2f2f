"""Requests that a venue has not answered in full, and which one an answer means."""

from __future__ import annotations

from dataclasses import dataclass

from .timers import Timers


@dataclass(slots=True, eq=False)
class Request:
    """One request. `leaves`: it asks to be sent no more."""

    number: int
    leaves: bool
    left: dict[str, bool]
    """The channels no answer has spoken of yet, and whether we still care."""

    @property
    def awaited(self) -> list[str]:
        return [name for name, cared in self.left.items() if cared]


class Requests:
    """The open requests of one link, oldest first. Numbers are never used again."""

    __slots__ = ("_last", "_of", "_open", "_timers")

    def __init__(self) -> None:
        self._open: dict[int, Request] = {}
        self._of: dict[tuple[bool, str], Request] = {}
        self._timers = Timers[int]()
        self._last = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def next_at(self) -> float:
        """When the first of them has waited too long; inf if none is open."""
        return self._timers.next_at

    def next_number(self) -> int:
        self._last += 1
        return self._last

    def add(
        self, number: int, channels: tuple[str, ...], *, leaves: bool, due_at: float
    ) -> None:
        request = Request(number, leaves, dict.fromkeys(channels, True))
        self._open[number] = request
        self._timers.set(number, due_at)
        for name in channels:
            self._of[leaves, name] = request

    def find(
        self, number: int | None, *, of: bool | None, lists: bool
    ) -> Request | None:
        """The request an answer means. `of`: the kind of request it speaks of, if it
        says so; `lists`: it names channels, and may mean several requests."""
        if number is not None:
            found = self._open.get(number)
            return found if found and of in (None, found.leaves) else None
        if lists:
            return None
        # It says nothing at all: it must be the oldest, as answers come in order.
        each = self._open.values()
        return next((r for r in each if of in (None, r.leaves)), None)

    def answer(self, channel: str, *, leaves: bool) -> None:
        """This channel was spoken of: nothing more is awaited for it."""
        request = self._of.pop((leaves, channel), None)
        if request is not None:
            self.drop(request, channel)

    def withdraw(self, channel: str) -> None:
        """We care no more for a subscription; its answer will come all the same."""
        request = self._of.pop((False, channel), None)
        if request is not None:
            request.left[channel] = False

    def drop(self, request: Request, channel: str | None) -> None:
        """Take a channel out of a request, or all that nobody cares for (None)."""
        if channel is not None:
            request.left.pop(channel, None)
        elif not request.awaited:
            request.left.clear()
        if not request.left and self._open.pop(request.number, None) is not None:
            self._timers.cancel(request.number)

    def overdue(self, *, now: float) -> Request | None:
        """A request that was not answered in time; it counts as open no more."""
        number = self._timers.pop(now=now)
        return None if number is None else self._open.pop(number)

    def clear(self) -> None:
        self._open.clear()
        self._of.clear()
        self._timers.clear()
