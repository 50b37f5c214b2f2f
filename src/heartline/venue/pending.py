"""What was sent on a link and may still be answered: requests and heartbeats."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from .naming import Channel
from .template import Values

Kind: TypeAlias = Literal["msg_out", "msg_in", "on_open"]

MOST_REQUESTS: Final = 1024
"""Requests remembered; later ones displace the oldest."""
MOST_BEATS: Final = 32
"""Unanswered messages of one kind remembered: more are answered too late to matter."""


@dataclass(frozen=True, slots=True)
class Request:
    """A subscription or its end, as it was sent."""

    number: int
    of: Literal["subscribe", "unsubscribe"]
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """A message that expects an answer, and the values that are in it."""

    number: int
    values: Values


class Pending:
    """Bounded: more than is awaited at once by any venue is forgotten."""

    __slots__ = ("_beats", "_by_id", "_waiting", "newest")

    def __init__(self) -> None:
        self.newest = 0
        """The highest number sent."""
        self._by_id: dict[str | int, Request] = {}
        self._waiting: deque[Request] = deque(maxlen=MOST_REQUESTS)
        self._beats: dict[tuple[Kind, int], deque[Beat]] = {}

    def asked(self, request: Request, values: Values) -> None:
        """Remember a request under every id its frame may have carried."""
        self.newest = max(self.newest, request.number)
        self._waiting.append(request)
        for name in ("id", "id_s", "uuid"):
            value = values.get(name)
            if isinstance(value, str | int):
                self._by_id[value] = request
        while len(self._by_id) > 3 * MOST_REQUESTS:
            del self._by_id[next(iter(self._by_id))]

    def beat(self, kind: Kind, index: int, beat: Beat) -> None:
        """Remember a message whose answer the profile describes."""
        self.newest = max(self.newest, beat.number)
        self._beats.setdefault((kind, index), deque(maxlen=MOST_BEATS)).append(beat)

    def request(self, value: object) -> Request | None:
        """The request that carried this id."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        return self._by_id.get(value)

    def oldest(self, of: str) -> Request | None:
        """The first unanswered request of its kind, where answers name nothing."""
        return next((each for each in self._waiting if each.of == of), None)

    def done(self, request: Request) -> None:
        """It waits no longer; its ids stay known, as some venues answer it twice."""
        if request in self._waiting:
            self._waiting.remove(request)

    def beats(self, kind: Kind, index: int) -> Iterator[Beat]:
        """What awaits this answer, the oldest first."""
        yield from tuple(self._beats.get((kind, index), ()))

    def answered(self, kind: Kind, index: int, beat: Beat) -> None:
        """That one has its answer; those before it get none any more."""
        waiting = self._beats[kind, index]
        while waiting and waiting[0] is not beat:
            waiting.popleft()
        if waiting:
            waiting.popleft()

    def may_be_ours(self, value: object) -> bool:
        """Whether a request of ours may carry this id, now or later."""
        if isinstance(value, str):
            return value != ""
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
