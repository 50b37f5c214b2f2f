"""The consumer's end of a stream: what waits for it, and how it is woken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from heartline.core.inbox import Buffer, Inbox
from heartline.core.items import Gap, Item, Message, Status
from heartline.core.latency import Recent
from heartline.errors import UsageError
from heartline.wire.pulse import Pulse

from .lane import Lane, PureLane

TAKE = 4096
"""Messages handed to the consumer at once, about: whole reads are not cut."""


class Reader:
    """One consumer's place in a stream. `relieve` is called when it took something."""

    __slots__ = (
        "_clock",
        "_error",
        "_holds_lane",
        "_lane",
        "_relieve",
        "buffer",
        "ended",
        "waited",
    )

    def __init__(
        self,
        inbox: Inbox,
        *,
        relieve: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.buffer = Buffer(inbox)
        self.waited = Recent()
        """From the reading of what waited longest until it was taken; not of what the
        lane hands over as it is read."""
        self._clock = clock
        self.ended = False
        self._relieve = relieve
        self._lane: PureLane | None = None
        self._error: BaseException | None = None
        self._holds_lane = False

    def open(
        self, loop: asyncio.AbstractEventLoop, pulse: Pulse | None = None
    ) -> PureLane:
        self._lane = Lane(loop, self, pulse)
        return self._lane

    @property
    def received(self) -> int:
        """Messages that came for this consumer, dropped ones included."""
        return self.buffer.received + (self._lane.passed if self._lane else 0)

    @property
    def received_bytes(self) -> int:
        passed = self._lane.passed_bytes if self._lane else 0
        return self.buffer.received_bytes + passed

    @property
    def delivered(self) -> int:
        """Messages that the consumer took."""
        lane = self._lane
        passed = lane.passed - lane.handed if lane else 0
        return self.buffer.delivered + passed

    def put(self, messages: list[Message], size_bytes: int) -> int:
        """Take the messages of one read; how many left undelivered because of it."""
        self._close_lane()
        return self.buffer.put(messages, size_bytes)

    def hand(self, messages: list[Message], size_bytes: int) -> bool:
        """Give one read straight to a consumer that waits with nothing to read.

        False if there is none; then it has to be `put`. Follow either with `wake`.
        """
        return self._lane is not None and self._lane.hand(messages, size_bytes)

    def note(self, item: Gap | Status) -> None:
        self._close_lane()
        self.buffer.note(item)

    def wake(self, *, at_once: bool = False) -> None:
        if self._lane is not None:
            self._lane.ring(at_once=at_once)

    def end(self, error: BaseException | None) -> None:
        """Nothing more will come; what waits can be read, then `error` is raised."""
        self.ended = True
        self._error = error
        self._close_lane()
        self.wake()

    def hold_lane(self) -> None:
        """Each read is to be looked at: none goes by the lane, until `free_lane`."""
        self._holds_lane = True
        self._close_lane()

    def free_lane(self) -> None:
        self._holds_lane = False

    def _close_lane(self) -> None:
        if self._lane is not None:
            self._lane.idle = False

    def items(self) -> AsyncIterator[Item]:
        return self.lane.items()

    def batches(self) -> AsyncIterator[list[Item]]:
        return self.lane.batches()

    @property
    def lane(self) -> PureLane:
        """What is read on it is told later. Raises `UsageError` before `open`."""
        if self._lane is None:
            raise UsageError(
                "stream", wanted="iteration inside `async with`", got="none"
            )
        return self._lane

    # --- the lane asks --------------------------------------------------------------

    def take(self) -> list[Item] | None:
        """What waits longest beside the lane; None if nothing does: it is idle then."""
        buffer, lane = self.buffer, self._lane
        assert lane is not None
        batch = None if buffer.empty else buffer.take(TAKE)
        lane.idle = buffer.empty and not self.ended and not self._holds_lane
        if batch is not None:
            first = batch[0]
            if isinstance(first, Message):
                self.waited.add(self._clock() - first.received_at)
            self._relieve()
        return batch

    def finish(self) -> None:
        if self._error is not None:
            raise self._error

    def refuse_another(self) -> None:
        raise UsageError("stream", wanted="one consumer", got="another")
