"""The consumer of a simulated stream: as fast, or as slow, as it is told to be."""

from __future__ import annotations

from collections.abc import Callable

from heartline.core.inbox import Buffer
from heartline.core.items import Item, Phase
from heartline.core.session import Session

from .sim_clock import Host, Loop

TAKE = 4096
CONSUMED_EVERY = 0.1


def standing_of(session: Session) -> tuple[object, ...]:
    """What of a stream is worth a Status when it changes."""
    link, trouble = session.link, session.trouble
    return (
        session.phase,
        session.epoch if session.phase is Phase.OPEN else 0,
        link.standing if link is not None else None,
        trouble.cause if trouble is not None else None,
        tuple(session.conditions),
    )


class Consumer:
    """Takes items out of the inbox and keeps them, in `items`."""

    def __init__(
        self,
        host: Host,
        buffer: Buffer,
        *,
        loop: Loop,
        relieve: Callable[[], None],
    ) -> None:
        self.items: list[Item] = []
        self.speed: float | None = None
        """Messages a second; None is all that waits, at once."""
        self._host = host
        self._buffer = buffer
        self._loop = loop
        self._relieve = relieve
        self._consuming = False

    def wake(self) -> None:
        """Something waits."""
        if not self._consuming:
            self._again(0.0 if self.speed is None else CONSUMED_EVERY)

    def _again(self, seconds: float) -> None:
        self._consuming = True
        clock = self._host.clock
        clock.at(clock.now + seconds, self._take, None, self._host)

    def _take(self, _: object) -> None:
        self._consuming = False
        if self._loop.stands_still:
            self._again(self._loop.stands_still_for)
            return
        most = TAKE if self.speed is None else round(self.speed * CONSUMED_EVERY)
        if most > 0:
            self.items += self._buffer.take(most)
            self._relieve()
        if not self._buffer.empty:
            self.wake()
