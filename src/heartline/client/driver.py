"""Drives a stream's session: socket and clock into facts, commands into I/O.

It owns the connection of each link, the tasks that dial, and the observers. It holds
no threshold and decides nothing about time.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from itertools import repeat

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
    Fact,
    GapFound,
    Lost,
    Output,
    Overflowed,
    Paused,
    Ping,
    Resumed,
    Staged,
    Start,
    Stop,
    Stopped,
    Surrendered,
    Sync,
    Synced,
)
from heartline.core.evidence import Evidence
from heartline.core.inbox import Inbox, Overflow
from heartline.core.items import Cause, Condition, Counts, Message, Phase, Status
from heartline.core.neighbours import Neighbours
from heartline.core.session import Session
from heartline.core.snapshot import snapshot
from heartline.core.terms import Terms
from heartline.errors import GaveUp, WireError
from heartline.observe import redact_text, secrets_of
from heartline.wire.carrier import Carrier
from heartline.wire.dial import dial
from heartline.wire.pulse import Pulse
from heartline.wire.pump import Pump

from .callables import careful, report, with_careful_key
from .early import Early
from .errands import Errands
from .observers import Observers
from .reader import Reader
from .route import Route

_NEIGHBOURS = Neighbours()
_NAMES = itertools.count(1)
_NO_CHANNEL = repeat(None)
_NOT_OLD = repeat(0.0)


class Driver:
    """The I/O of one stream. `open` once, `feed` facts, `drop` at the end."""

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
        self.reader = Reader(self._inbox, relieve=self._relieve)
        self._early = Early(self._inbox)
        self.session = Session(
            terms,
            draw=draw,
            neighbours=neighbours or _NEIGHBOURS,
            who=next(_NAMES),
        )
        self.pump: Pump | None = None
        self.carrier: Carrier | None = None
        self.closed: asyncio.Future[None] | None = None
        self.changed: asyncio.Future[None] | None = None
        self.end: BaseException | None = None
        """Why the stream has ended, where that is for the consumer to know."""
        self._errands = Errands(self._failed)
        self._told: tuple[object, ...] = ()
        self._paused = False
        self.sent = 0
        self._unsent = 0
        heartbeat = route.heartbeat
        recogniser = heartbeat.recogniser() if heartbeat else None
        self._is_answer = (
            careful("Heartbeat.answer", recogniser, bool) if recogniser else None
        )

    def open(self) -> None:
        """Begin: dial, and go on until `Stop` is fed."""
        loop = asyncio.get_running_loop()
        self.closed = loop.create_future()
        self.pump = Pump(
            self.session,
            obey=self._obey,
            look=self._look,
            settle=self._settle,
            loop=loop,
            pulse=Pulse.of(loop),
            heard=self.reader.open(loop),
        )
        self._observers.open(self.snapshot)
        self.pump.feed(Start())

    async def drop(self) -> None:
        """Let go of everything, in whatever state; bounded by `Dialling.close`."""
        pump = self.pump
        assert pump is not None
        self._drop_everything()
        # Whoever waits for the end must not wait for ever, though it was cut short.
        pump.feed(Ended(self.session.epoch, Cause.CLOSED_BY_US))
        pump.stop()
        try:
            await self._errands.ended(within=self._terms.dialling.close)
        finally:
            self._observers.close()

    def _relieve(self) -> None:
        """The consumer took something: read on, or say that it has caught up."""
        pump, carrier, buffer = self.pump, self.carrier, self.reader.buffer
        assert pump is not None
        if self._paused and buffer.half_empty and carrier is not None:
            self._paused = False
            carrier.resume_reading()
            pump.feed(Resumed(carrier.epoch))
        if buffer.empty and Condition.SLOW_CONSUMER in self.session.conditions:
            pump.feed(CaughtUp())

    # --- what the links tell -------------------------------------------------------

    def on_carried(self, carrier: Carrier) -> None:
        if carrier.epoch != self.session.epoch:
            # An attempt that was given up, and was accepted in the same moment.
            carrier.abort()
            return
        self.carrier = carrier
        self._paused = False
        evidence = carrier.evidence()
        self.on_fact(DialSucceeded(carrier.epoch, carrier.address, evidence))
        if self._inbox.policy is Overflow.BLOCK and self.reader.buffer.full:
            # What waits is of earlier links; this one must not add to it.
            self._pause(carrier)

    def on_fact(self, fact: Fact) -> None:
        assert self.pump is not None
        if isinstance(fact, Ended):
            self._unsent += fact.unsent
            self._errands.cancel("sync", fact.epoch)
            # A peer may echo a token in its reason; it must not get any further.
            reason = redact_text(fact.reason, self._secrets)
            fact = msgspec.structs.replace(fact, reason=reason)
        self.pump.feed(fact)

    def on_data(
        self, carrier: Carrier, data: list[str | bytes], frames: int, size_bytes: int
    ) -> None:
        """The hot path: one call for each read of the socket."""
        pump = self.pump
        assert pump is not None
        now = pump.clock()
        if self._is_answer is not None:
            data = self._without_answers(carrier, data)
        epoch, count = carrier.epoch, len(data)
        calm = pump.hears(epoch, frames, count, size_bytes, now=now)
        age = 0.0
        if not calm:
            pump.heard(epoch, frames, count, size_bytes, now=now)
            link = self.session.link
            if link is None or link.epoch != epoch:
                return
            age = link.stale_for(now=now)
        if not data:
            return
        ages = repeat(age) if age else _NOT_OLD
        messages = list(
            map(Message, data, repeat(now), _NO_CHANNEL, repeat(epoch), ages)
        )
        if not (calm and self.reader.hand(messages, size_bytes)):
            self._take_in(carrier, messages, size_bytes)
        # Last of all: the reader's own code may run inside this call.
        self.reader.wake(at_once=True)

    def _take_in(
        self, carrier: Carrier, messages: list[Message], size_bytes: int
    ) -> None:
        if self.session.phase is Phase.SYNCING:
            if self._early.put(messages, size_bytes):
                self.on_fact(Overflowed(0, disconnect=True))
            return
        dropped = self.reader.put(messages, size_bytes)
        if dropped or self.reader.buffer.full:
            self._overflow(carrier, dropped)

    def _without_answers(
        self, carrier: Carrier, data: list[str | bytes]
    ) -> list[str | bytes]:
        assert self._is_answer is not None
        assert self.pump is not None
        rest = [message for message in data if not self._is_answer(message)]
        if len(rest) < len(data):
            self.pump.feed(Answered(carrier.epoch))
        return rest

    def _overflow(self, carrier: Carrier, dropped: int) -> None:
        pump = self.pump
        assert pump is not None
        if dropped:
            pump.feed(Overflowed(dropped))
        if not self.reader.buffer.full:
            return
        if self._inbox.policy is Overflow.BLOCK and not self._paused:
            self._pause(carrier)
        elif self._inbox.policy is Overflow.DISCONNECT:
            pump.feed(Overflowed(0, disconnect=True))

    def _pause(self, carrier: Carrier) -> None:
        self._paused = True
        carrier.pause_reading()
        self.on_fact(Overflowed(0))
        self.on_fact(Paused(carrier.epoch))

    # --- what the session wants ------------------------------------------------------

    def _obey(self, output: Output) -> None:
        match output:
            case Ping() | Beat() | Abort() | Close() | Dial() | Sync():
                self._do(output)
            case _:
                self._tell(output)

    def _do(self, command: Command) -> None:
        carrier = self.carrier
        match command:
            case Dial():
                self._errands.run("dial", command.epoch, self._dial(command.epoch))
            case Sync():
                self._errands.run("sync", command.epoch, self._sync(command.epoch))
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
            self.reader.note(event.gap)
        if isinstance(event, Lost):
            self._early.clear()
        if isinstance(event, Surrendered):
            self.end = GaveUp(
                cause=event.cause.value,
                status=event.status,
                reason=event.reason,
                attempts=event.attempts,
            )
        if isinstance(event, Surrendered | Stopped):
            assert self.closed is not None
            if not self.closed.done():
                self.closed.set_result(None)
        self._observers.tell(event)

    def _settle(self) -> None:
        """After a fact that changed something: let the stream say how it stands."""
        session, link = self.session, self.session.link
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
        status = self.snapshot()
        self.reader.note(status)
        self._observers.status(status)
        if session.phase is Phase.OPEN and self.carrier is not None:
            for messages, size_bytes in self._early.take():
                self._take_in(self.carrier, messages, size_bytes)
        if session.phase is Phase.CLOSED:
            self.reader.end(self.end)
        self.reader.wake()
        if self.changed is not None:
            self.changed.set_result(None)
            self.changed = None

    # --- I/O -------------------------------------------------------------------------

    def _look(self) -> tuple[int, Evidence]:
        carrier = self.carrier
        if carrier is None:
            return 0, Evidence()
        return carrier.epoch, carrier.evidence()

    def _abort(self, epoch: int) -> None:
        self._errands.cancel("dial", epoch)
        self._errands.cancel("sync", epoch)
        carrier = self.carrier
        if carrier is not None and carrier.epoch == epoch:
            self._unsent += carrier.unsent
            carrier.abort()
            self.carrier = None

    def _drop_everything(self) -> None:
        self._errands.cancel_all()
        if self.carrier is not None:
            self._abort(self.carrier.epoch)

    def _failed(self, error: BaseException) -> None:
        """A fault of ours, or of a callable's misuse: the consumer is told loudly."""
        self.end = error
        self.on_fact(Stop())

    async def _dial(self, epoch: int) -> None:
        terms = self._terms
        carrier = Carrier(
            epoch,
            self,
            keepalive_interval=terms.liveness.kernel_interval,
            max_message_bytes=self._route.max_message_bytes,
            outbox_limit_bytes=self._route.outbox_limit_bytes,
            # Whoever looks at each message cannot let whole reads go past.
            fast=None if self._is_answer else self.reader.lane.take,
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
        carrier = self.carrier
        if carrier is None or carrier.epoch != epoch:
            return
        for message in messages:
            carrier.send(message)
            self.sent += 1
        self.on_fact(Synced(epoch, len(messages)))

    def snapshot(self) -> Status:
        """What is known of the stream now."""
        pump, reader = self.pump, self.reader
        if pump is not None:
            pump.flush()
        waiting = self.carrier.unsent if self.carrier else 0
        counts = Counts(
            messages=reader.received,
            delivered=reader.delivered,
            gaps=reader.buffer.gaps,
            size_bytes=reader.received_bytes,
            sent=self.sent,
            unsent=self._unsent + waiting,
        )
        now = pump.clock() if pump is not None else 0.0
        return snapshot(self.session, now=now, traffic=counts)
