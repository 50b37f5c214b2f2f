"""A supervised stream: what the user iterates, asks and closes.

It owns the socket of each link, the clock and the randomness, and hands all of them
to the session as facts. It holds no threshold and decides nothing about time.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import repeat
from types import TracebackType
from typing import Self

import msgspec

from heartline.core.events import (
    Abort,
    Answered,
    Beat,
    CaughtUp,
    Close,
    Command,
    Dial,
    DialFailed,
    DialSucceeded,
    Ended,
    Event,
    Evidence,
    Fact,
    GapFound,
    Lost,
    Output,
    Overflowed,
    Paused,
    Ping,
    Received,
    Resumed,
    Staged,
    Start,
    Stop,
    Stopped,
    Surrendered,
    Sync,
    Synced,
)
from heartline.core.inbox import Buffer, Inbox, Overflow
from heartline.core.items import Cause, Condition, Counts, Item, Message, Phase, Status
from heartline.core.neighbours import Neighbours
from heartline.core.session import Session
from heartline.core.snapshot import snapshot
from heartline.core.terms import Terms
from heartline.errors import GaveUp, NotOpen, UsageError, WireError
from heartline.observe import redact_text, secrets_of
from heartline.wire.carrier import Carrier
from heartline.wire.dial import dial
from heartline.wire.kernel import SocketLike
from heartline.wire.pump import Pump

from .callables import careful, report, with_careful_key
from .early import Early
from .observers import Observers
from .route import Route

TAKE = 4096
"""Messages handed to the consumer at once, about: whole reads are not cut."""

_NEIGHBOURS = Neighbours()
_NAMES = itertools.count(1)


class Stream:
    """One supervised stream. Made by `heartline.connect`, used as `async with`.

    Iterating yields `Message | Gap | Status` in the order they happened, beginning
    with a Status. It ends when the stream is closed, and raises `GaveUp` when the
    stream has ended for good by itself. One consumer at a time.
    """

    def __init__(
        self,
        route: Route,
        terms: Terms,
        *,
        inbox: Inbox,
        observers: Observers,
        neighbours: Neighbours | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._route = route
        self._terms = terms
        self._observers = observers
        self._secrets: frozenset[str] = frozenset()
        self._inbox = with_careful_key(inbox)
        self._buffer = Buffer(self._inbox)
        self._early = Early(self._inbox)
        self._session = Session(
            terms,
            draw=draw,
            neighbours=neighbours or _NEIGHBOURS,
            who=next(_NAMES),
        )
        self._carrier: Carrier | None = None
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._pump: Pump | None = None
        self._current: Iterator[Item] = iter(())
        self._waiter: asyncio.Future[None] | None = None
        self._changed: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._end: GaveUp | None = None
        self._told: tuple[object, ...] = ()
        self._paused = False
        self._size_bytes = 0
        self._sent = 0
        self._unsent = 0
        self._broken: BaseException | None = None
        heartbeat = route.heartbeat
        recogniser = heartbeat.recogniser() if heartbeat else None
        self._is_answer = (
            careful("Heartbeat.answer", recogniser, bool) if recogniser else None
        )

    # --- the user's side ---------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._pump is not None:
            raise UsageError("stream", wanted="one use of `async with`", got="another")
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        self._pump = Pump(
            self._session,
            obey=self._obey,
            look=self._look,
            settle=self._settle,
            loop=loop,
        )
        self._observers.open(self._snapshot)
        self._pump.feed(Start())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[Item]:
        while True:
            for item in self._current:
                yield item
            batch = await self._next_batch()
            if batch is None:
                return
            self._current = iter(batch)

    async def batches(self) -> AsyncIterator[list[Item]]:
        """Yield what waits, several items at a time: the cheapest way to read."""
        while True:
            rest = list(self._current)
            batch = rest or await self._next_batch()
            if batch is None:
                return
            yield batch

    def send(self, data: str | bytes) -> None:
        """Queue one message; never waits.

        Raises `NotOpen` while there is no OPEN link and `OutboxFull` over the limit;
        then nothing was taken. What is still queued when a link is lost is counted in
        `status.counts.unsent` and told by the `Lost` event; it is not sent again.
        """
        phase = self._session.phase
        if phase is not Phase.OPEN or self._carrier is None:
            raise NotOpen(phase=phase.value)
        self._carrier.send(data)
        self._sent += 1

    @property
    def status(self) -> Status:
        """What is known of the stream now. Cheap enough to ask on every order."""
        return self._snapshot()

    @property
    def socket(self) -> SocketLike | None:
        """The present link's socket, for options of your own and for fault tests.

        None without a link. Every link has another; do not read, write or close it.
        """
        return None if self._carrier is None else self._carrier.socket

    def is_fresh(self, *, max_age: float) -> bool:
        """Whether data arrived within the last `max_age` seconds, and the link lives.

        False while not OPEN, once the link is DEAD, and after a stall or a suspend of
        our own until data arrives that did not wait it out. Expires by itself: the
        age counts time in which the machine was asleep.
        """
        link, pump = self._session.link, self._pump
        if link is None or pump is None or self._session.phase is not Phase.OPEN:
            return False
        fresh_at = link.channel.fresh_at
        if fresh_at is None or link.found is not None:
            return False
        return pump.clock() - fresh_at + pump.suspended <= max_age

    async def wait_live(self, timeout: float | None = None) -> Status:  # noqa: ASYNC109
        """Wait until the stream is live; its status then.

        Raises `TimeoutError` after `timeout` seconds, and `GaveUp` or `NotOpen` if the
        stream has ended and will not be live again.
        """
        async with asyncio.timeout(timeout):
            while not (status := self._snapshot()).live:
                if (end := self._broken or self._end) is not None:
                    raise end
                if status.phase is Phase.CLOSED:
                    raise NotOpen(phase=status.phase.value)
                if self._changed is None:
                    self._changed = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._changed)
        return status

    async def aclose(self) -> None:
        """End the stream; returns within `Dialling.close` and a turn of the loop.

        Tries the closing handshake for that long, then drops the connection, also if
        the peer is dead and the write buffer full. Items that still wait can be read.
        """
        pump, closed = self._pump, self._closed
        if pump is None or closed is None:
            return
        try:
            pump.feed(Stop())
            await asyncio.shield(closed)
        finally:
            self._drop_everything()
            # Cancelled, we have not waited for the end: whoever else does must not
            # wait for ever.
            pump.feed(Ended(self._session.epoch, Cause.CLOSED_BY_US))
            pump.stop()
            try:
                if tasks := list(self._tasks.values()):
                    await asyncio.wait(tasks, timeout=self._terms.dialling.close)
            finally:
                self._observers.close()

    # --- the consumer --------------------------------------------------------------

    async def _next_batch(self) -> list[Item] | None:
        while self._buffer.empty:
            if self._broken is not None:
                raise self._broken
            if self._session.phase is Phase.CLOSED:
                if self._end is not None:
                    raise self._end
                return None
            if self._pump is None:
                raise UsageError(
                    "stream", wanted="iteration inside `async with`", got="none"
                )
            if self._waiter is not None and not self._waiter.done():
                raise UsageError("stream", wanted="one consumer", got="another")
            self._waiter = waiter = asyncio.get_running_loop().create_future()
            try:
                await waiter
            finally:
                if self._waiter is waiter:
                    self._waiter = None
        batch = self._buffer.take(TAKE)
        self._relieve()
        return batch

    def _relieve(self) -> None:
        """The consumer took something: read on, or say that it has caught up."""
        pump, carrier = self._pump, self._carrier
        assert pump is not None
        if self._paused and self._buffer.half_empty and carrier is not None:
            self._paused = False
            carrier.resume_reading()
            pump.feed(Resumed(carrier.epoch))
        if self._buffer.empty and Condition.SLOW_CONSUMER in self._session.conditions:
            pump.feed(CaughtUp())

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- what the links tell -------------------------------------------------------

    def on_carried(self, carrier: Carrier) -> None:
        if carrier.epoch != self._session.epoch:
            # An attempt that was given up, and was accepted in the same moment.
            carrier.abort()
            return
        self._carrier = carrier
        self._paused = False
        evidence = carrier.evidence()
        self.on_fact(DialSucceeded(carrier.epoch, carrier.address, evidence))

    def on_fact(self, fact: Fact) -> None:
        assert self._pump is not None
        if isinstance(fact, Ended):
            self._unsent += fact.unsent
            self._cancel("sync", fact.epoch)
            # A peer may echo a token in its reason; it must not get any further.
            reason = redact_text(fact.reason, self._secrets)
            fact = msgspec.structs.replace(fact, reason=reason)
        self._pump.feed(fact)

    def on_data(
        self, carrier: Carrier, data: list[str | bytes], frames: int, size_bytes: int
    ) -> None:
        """The hot path: one call for each read of the socket."""
        pump = self._pump
        assert pump is not None
        now = pump.clock()
        if pump.is_late(now):
            pump.tick()
        if self._is_answer is not None:
            data = self._without_answers(carrier, data)
        epoch = carrier.epoch
        pump.feed(Received(epoch, frames, len(data), size_bytes))
        link = self._session.link
        if not data or link is None or link.epoch != epoch:
            return
        age = link.stale_for(now=now)
        messages = list(
            map(Message, data, repeat(now), repeat(None), repeat(epoch), repeat(age))
        )
        if self._session.phase is Phase.SYNCING:
            if self._early.put(messages, size_bytes):
                pump.feed(Overflowed(0, disconnect=True))
            return
        self._take_in(carrier, messages, size_bytes)

    def _take_in(
        self, carrier: Carrier, messages: list[Message], size_bytes: int
    ) -> None:
        self._size_bytes += size_bytes
        dropped = self._buffer.put(messages, size_bytes)
        if dropped or self._buffer.full:
            self._overflow(carrier, dropped)
        self._wake()

    def _without_answers(
        self, carrier: Carrier, data: list[str | bytes]
    ) -> list[str | bytes]:
        assert self._is_answer is not None
        assert self._pump is not None
        rest = [message for message in data if not self._is_answer(message)]
        if len(rest) < len(data):
            self._pump.feed(Answered(carrier.epoch))
        return rest

    def _overflow(self, carrier: Carrier, dropped: int) -> None:
        pump = self._pump
        assert pump is not None
        if dropped:
            pump.feed(Overflowed(dropped))
        if not self._buffer.full:
            return
        if self._inbox.policy is Overflow.BLOCK and not self._paused:
            self._paused = True
            carrier.pause_reading()
            pump.feed(Overflowed(0))
            pump.feed(Paused(carrier.epoch))
        elif self._inbox.policy is Overflow.DISCONNECT:
            pump.feed(Overflowed(0, disconnect=True))

    # --- what the session wants ------------------------------------------------------

    def _obey(self, output: Output) -> None:
        match output:
            case Ping() | Beat() | Abort() | Close() | Dial() | Sync():
                self._do(output)
            case _:
                self._tell(output)

    def _do(self, command: Command) -> None:
        carrier = self._carrier
        match command:
            case Dial():
                self._spawn("dial", command.epoch, self._dial(command.epoch))
            case Sync():
                self._spawn("sync", command.epoch, self._sync(command.epoch))
            case Ping():
                if carrier is not None and carrier.epoch == command.epoch:
                    carrier.ping(command.payload)
            case Beat():
                if carrier is not None:
                    self._beat(carrier)
            case Abort():
                self._abort(command.epoch)
            case Close():
                if carrier is not None:
                    carrier.close(command.code, command.reason)

    def _beat(self, carrier: Carrier) -> None:
        heartbeat = self._route.heartbeat
        assert heartbeat is not None
        try:
            carrier.send_first(heartbeat.words())
        except Exception as error:
            # This one is left out; if the venue minds, it says so.
            report("Heartbeat.send", error)

    def _tell(self, event: Event) -> None:
        if isinstance(event, GapFound):
            self._buffer.note(event.gap)
        if isinstance(event, Lost):
            self._early.clear()
        if isinstance(event, Surrendered):
            self._end = GaveUp(
                cause=event.cause.value,
                status=event.status,
                reason=event.reason,
                attempts=event.attempts,
            )
        if isinstance(event, Surrendered | Stopped):
            assert self._closed is not None
            if not self._closed.done():
                self._closed.set_result(None)
        self._observers.tell(event)

    def _settle(self) -> None:
        """After a fact that changed something: let the stream say how it stands."""
        session, link = self._session, self._session.link
        trouble = session.trouble
        key = (
            session.phase,
            session.epoch if session.phase is Phase.OPEN else 0,
            link.standing if link is not None else None,
            trouble.cause if trouble is not None else None,
            tuple(session.conditions),
        )
        if key == self._told:
            return
        self._told = key
        status = self._snapshot()
        self._buffer.note(status)
        self._observers.status(status)
        if session.phase is Phase.OPEN and self._carrier is not None:
            for messages, size_bytes in self._early.take():
                self._take_in(self._carrier, messages, size_bytes)
        self._wake()
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    # --- I/O -------------------------------------------------------------------------

    def _look(self) -> tuple[int, Evidence]:
        carrier = self._carrier
        if carrier is None:
            return 0, Evidence()
        return carrier.epoch, carrier.evidence()

    def _abort(self, epoch: int) -> None:
        self._cancel("dial", epoch)
        self._cancel("sync", epoch)
        carrier = self._carrier
        if carrier is not None and carrier.epoch == epoch:
            self._unsent += carrier.unsent
            carrier.abort()
            self._carrier = None

    def _drop_everything(self) -> None:
        for what, epoch in list(self._tasks):
            self._cancel(what, epoch)
        if self._carrier is not None:
            self._abort(self._carrier.epoch)

    def _cancel(self, what: str, epoch: int) -> None:
        task = self._tasks.get((what, epoch))
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _spawn(self, what: str, epoch: int, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[what, epoch] = task
        task.add_done_callback(lambda done: self._done(what, epoch, done))

    def _done(self, what: str, epoch: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop((what, epoch), None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            # A fault of ours, or of a callable's misuse: the consumer is told loudly.
            self._broken = error
            self.on_fact(Stop())
            self._wake()

    async def _dial(self, epoch: int) -> None:
        terms = self._terms
        carrier = Carrier(
            epoch,
            self,
            keepalive_interval=terms.liveness.kernel_interval,
            max_message_bytes=self._route.max_message_bytes,
            outbox_limit_bytes=self._route.outbox_limit_bytes,
        )
        try:
            target = await self._route.target()
            self._secrets = secrets_of(target.url, target.headers, target.proxy)
            await dial(
                target,
                carrier.listen,
                resolver=self._route.resolver,
                on_stage=lambda stage: self.on_fact(Staged(epoch, stage)),
            )
        except WireError as error:
            self.on_fact(
                DialFailed(
                    epoch,
                    Cause(error.cause),
                    redact_text(error.reason, self._secrets),
                    error.status,
                    error.retry_after,
                )
            )

    async def _sync(self, epoch: int) -> None:
        try:
            messages = await self._route.opening()
        except WireError as error:
            self._abort(epoch)
            self.on_fact(Ended(epoch, Cause(error.cause), reason=error.reason))
            return
        carrier = self._carrier
        if carrier is None or carrier.epoch != epoch:
            return
        for message in messages:
            carrier.send(message)
            self._sent += 1
        self.on_fact(Synced(epoch, len(messages)))

    def _snapshot(self) -> Status:
        pump = self._pump
        buffer = self._buffer
        waiting = self._carrier.unsent if self._carrier else 0
        counts = Counts(
            messages=buffer.received,
            delivered=buffer.delivered,
            size_bytes=self._size_bytes,
            sent=self._sent,
            unsent=self._unsent + waiting,
        )
        now = pump.clock() if pump is not None else 0.0
        return snapshot(self._session, now=now, traffic=counts)
