"""The lanes of a bus at work: a task for each in which something waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from .jetstream import BusError, Conflict, JetStream, Known, NoStream, TooBig
from .lane import Hold, Lane, Publish, Read
from .notes import GapNote
from .stored import EXPECT, headers_of

LOOK_AGAIN = 0.05
"""Seconds between two looks at whether another relay has stored what is missing."""
RETRY, MOST_RETRY = 0.1, 2.0
"""Seconds, the first and the longest, before what failed is tried again."""
BATCHES = 16
"""Batches under way at once; nats-server 2.15 takes 50 of all in one stream."""


class Writer:
    """Stores what waits in lanes. One task for a lane: only the answer to a message
    says that the next may follow it."""

    def __init__(
        self,
        jetstream: JetStream,
        *,
        relay: str,
        ready: asyncio.Event,
        patience: Callable[[], float],
        on_lost: Callable[[GapNote], None],
        on_end: Callable[[asyncio.Task[None]], None],
    ) -> None:
        """`ready`: set while there is a stream to store in, and cleared here when there
        is none. `on_lost` is told what found no room, `on_end` of each task's end."""
        self.stored = 0
        self.gaps = 0
        self.trouble = ""
        self._jetstream = jetstream
        self._relay = relay
        self._ready = ready
        self._patience = patience
        self._on_lost = on_lost
        self._on_end = on_end
        self._batches = asyncio.Semaphore(BATCHES)
        self._tasks: dict[Lane, asyncio.Task[None]] = {}

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return list(self._tasks.values())

    @property
    def oldest_at(self) -> float | None:
        """When the message that waits longest was received."""
        waiting: Iterable[float | None] = (lane.oldest_at for lane in self._tasks)
        return min((at for at in waiting if at is not None), default=None)

    def wake(self, lane: Lane) -> None:
        """Something waits in it."""
        if lane not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._work(lane))
            self._tasks[lane] = task
            task.add_done_callback(lambda ended: self._done(lane, ended))

    def _done(self, lane: Lane, task: asyncio.Task[None]) -> None:
        del self._tasks[lane]
        self._on_end(task)

    async def _work(self, lane: Lane) -> None:
        retry = RETRY
        while True:
            await self._ready.wait()
            step = lane.plan(time.monotonic(), self._patience())
            if step is None:
                return
            try:
                await self._do(lane, step)
                retry = RETRY
            except BusError as error:
                self.trouble = str(error)
                if isinstance(error, NoStream):
                    self._ready.clear()
                await asyncio.sleep(retry)
                retry = min(2 * retry, MOST_RETRY)

    async def _do(self, lane: Lane, step: Publish | Read | Hold) -> None:
        if isinstance(step, Publish):
            await self._publish(lane, step)
            return
        if isinstance(step, Hold):
            await asyncio.sleep(LOOK_AGAIN)
        lane.read(await self._jetstream.last(lane.subject))

    async def _publish(self, lane: Lane, step: Publish) -> None:
        """Store them and tell the lane what became of it."""
        try:
            seq = await self._store(lane, step)
        except Conflict:
            lane.failed()
            return
        except Known:
            lane.failed(singly=True)
            return
        except TooBig as error:
            self.trouble = str(error)
            if len(step.entries) > 1:
                lane.failed(singly=True)
            else:
                lane.refused()
        except BaseException:
            lane.failed()
            raise
        else:
            lane.stored(seq)
            self.trouble = ""
            self.stored += len(step.entries)
            self.gaps += step.gap is not None
        if (lost := lane.lost()) is not None:
            self._on_lost(lost)

    async def _store(self, lane: Lane, step: Publish) -> int | None:
        """Store in order; the last one's sequence, None if its id was known."""
        subject, jetstream = lane.subject, self._jetstream
        messages = [
            (subject, entry.data, headers_of(step, at, subject, self._relay))
            for at, entry in enumerate(step.entries)
        ]
        messages[0][2][EXPECT] = str(step.expect)
        if len(messages) == 1:
            return await jetstream.store(*messages[0])
        if jetstream.batches:
            async with self._batches:
                return await jetstream.store_all(messages)
        seq: int | None = step.expect
        for _, data, headers in messages:
            headers[EXPECT] = str(seq)
            # One whose id was known has left the subject as it was.
            seq = await jetstream.store(subject, data, headers) or seq
        return seq
