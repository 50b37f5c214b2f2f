"""The consumer of a simulated stream: as fast, or as slow, as it is told to be."""

from __future__ import annotations

from collections.abc import Callable

from heartline.core.inbox import Buffer
from heartline.core.items import Item, Message, Phase
from heartline.core.session import Session

from .sim_clock import Host
from .sim_loop import Loop

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
        self.passed = 0
        """Messages that did not go through the inbox."""
        self._host = host
        self._buffer = buffer
        self._loop = loop
        self._relieve = relieve
        self._consuming = False

    def hand(self, messages: list[Message]) -> bool:
        """Take one read past the inbox: nothing else is to be read before it."""
        if self._consuming or self.speed is not None or not self._buffer.empty:
            return False
        self.passed += len(messages)
        self.items += messages
        return True

    def wake(self, *, at_once: bool = False) -> None:
        """Something waits. A fast consumer reads it `at_once`, if it may."""
        if self._consuming or self._buffer.empty:
            return
        if self.speed is not None:
            self._again(CONSUMED_EVERY)
        elif at_once:
            self._take(None)
        else:
            self._again(0.0)

    def _again(self, seconds: float) -> None:
        self._consuming = True
        clock = self._host.clock
        clock.at(clock.now + seconds, self._take, None, self._host)

    def _take(self, _: object) -> None:
        self._consuming = False
        still_for = self._loop.stands_still_for
        if still_for:
            self._again(still_for)
            return
        most = TAKE if self.speed is None else round(self.speed * CONSUMED_EVERY)
        if most > 0:
            self.items += self._buffer.take(most)
            self._relieve()
        self.wake()
