"""Drives a stream's session: socket and clock into facts, commands into I/O.

It owns the connection of each link, the tasks that dial, and the observers. It holds
no threshold and decides nothing about time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Coroutine

import msgspec

from heartline.core.channel_events import TookOver
from heartline.core.events import (
    Abort,
    Beat,
    Close,
    Command,
    Dial,
    DialSucceeded,
    Ended,
    Event,
    Evidenced,
    Fact,
    GapFound,
    Noticed,
    Output,
    Ping,
    Ponged,
    Questioned,
    Start,
    Stop,
    Stopped,
    Surrendered,
    Sync,
    Synced,
)
from heartline.core.evidence import Evidence
from heartline.core.inbox import Inbox, Overflow
from heartline.core.items import Cause, Counts, Gap, Message, Phase, Status
from heartline.core.neighbours import Neighbours
from heartline.core.session import Session
from heartline.core.snapshot import snapshot
from heartline.core.terms import Terms
from heartline.errors import GaveUp, OutboxFull
from heartline.observe import redact_text
from heartline.wire.carrier import Carrier
from heartline.wire.plain import Fast
from heartline.wire.pulse import Pulse
from heartline.wire.pump import Pump

from .ages import Ages
from .attempts import Attempts
from .callables import report, with_careful_key
from .desk import Desk
from .errands import Errands
from .intake import Intake
from .neighbourhood import OF_PROCESS
from .observers import Observers
from .resuming import is_beat
from .route import Route
from .said import Said
from .sleep import Sleep

_NAMES = itertools.count(1)


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._route = route
        self._clock = clock
        self._terms = terms
        self._observers = observers
        self.name = observers.name
        self._inbox = with_careful_key(inbox)
        self.session = Session(
            terms,
            draw=draw,
            neighbours=neighbours or OF_PROCESS,
            who=next(_NAMES),
        )
        self.intake = Intake(self.session, self._inbox, route.heartbeat)
        if route.resumes is not None:
            self.intake.is_answer = is_beat
        self.reader = self.intake.reader
        self.pump: Pump | None = None
        self.carrier: Carrier | None = None
        """The one that delivers, or that last did."""
        self.carriers: dict[int, Carrier] = {}
        self.closed: asyncio.Future[None] | None = None
        self.changed: asyncio.Future[None] | None = None
        self.end: BaseException | None = None
        """Why the stream has ended, where that is for the consumer to know."""
        self.ages = Ages(route.venue, route.max_age, tell=self.tell)
        self._errands = Errands(self._failed)
        self._told: tuple[object, ...] = ()
        self.sent = 0
        self.said = Said()
        self._unsent = 0
        self.desk: Desk | None = None
        self._attempts = Attempts(route, terms, self, fast=self._fast)

    def _fast(self) -> Fast | None:
        """Whoever looks at each message cannot let whole reads go past."""
        route = self._route
        looks = route.heartbeat is not None or route.contract is not None
        return None if looks else self.reader.lane.take

    def open(self) -> None:
        """Begin: dial, and go on until `Stop` is fed."""
        loop = asyncio.get_running_loop()
        self.closed = loop.create_future()
        pulse = Pulse.of(loop)
        self.ages.delays.inbox, self.ages.delays.loop = self.reader.waited, pulse.late
        self.pump = Pump(
            self.session,
            obey=self._obey,
            look=self._look,
            settle=self._settle,
            loop=loop,
            clock=self._clock,
            pulse=pulse,
            heard=self.reader.open(loop, pulse),
            sleepy=Sleep(self.session, self.intake, self.ages, self._observers),
        )
        self.intake.pump = self.pump
        if (contract := self._route.contract) is not None:
            self.desk = self._attempts.desk = self.intake.desk = Desk(
                contract,
                self,
                ledger=self.session.ledger,
                loop=loop,
                clock=self._clock,
                ages=self.ages,
                proxy=self._route.proxy,
                ssl_context=self._route.ssl_context,
            )
        self._observers.open(self.snapshot, self.ages.delays.summary)
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

    @property
    def secrets(self) -> frozenset[str]:
        return self._attempts.secrets | self.said.secrets

    # --- what the links tell -------------------------------------------------------

    def on_carried(self, carrier: Carrier) -> None:
        epoch, successor = carrier.epoch, self.session.handover.successor
        beside = successor is not None and successor.epoch == epoch
        if not beside and epoch != self.session.epoch:
            # An attempt that was given up, and was accepted in the same moment.
            carrier.abort()
            return
        if beside:
            self.carriers[epoch] = carrier
            self.intake.opened_beside()
        else:
            self.carriers = {epoch: carrier}
            self.carrier = self.intake.carrier = carrier
            self.intake.paused = False
        self._attempts.begin(epoch, beside=beside)
        evidence = carrier.evidence()
        self.on_fact(DialSucceeded(epoch, carrier.address, evidence))
        if self._inbox.policy is Overflow.BLOCK and self.reader.buffer.full:
            # What waits is of earlier links; this one must not add to it.
            self.intake.pause()

    def on_data(
        self, carrier: Carrier, data: list[str | bytes], frames: int, size_bytes: int
    ) -> None:
        self.intake.take(carrier, data, frames, size_bytes)

    def on_fact(self, fact: Fact) -> None:
        assert self.pump is not None
        if isinstance(fact, Ended):
            self._unsent += fact.unsent
            self._errands.cancel("sync", fact.epoch)
            # A peer may echo a token in its reason; it must not get any further.
            reason = redact_text(fact.reason, self.secrets)
            fact = msgspec.structs.replace(fact, reason=reason)
            if self.carrier is None or fact.epoch != self.carrier.epoch:
                self.carriers.pop(fact.epoch, None)
        if isinstance(fact, Ponged):
            self.pump.brought(fact)
        else:
            self.pump.feed(fact)
        if isinstance(fact, Synced | Ponged):
            self.intake.look_joined()

    def on_answer(self, epoch: int, payload: bytes) -> bool:
        if self.pump is None or not self.pump.answered(epoch, payload):
            return False
        self.intake.look_joined()
        return True

    # --- what the session wants ------------------------------------------------------

    def _obey(self, output: Output) -> None:
        match output:
            case Ping() | Beat() | Abort() | Close() | Dial() | Sync():
                self._do(output)
            case _:
                self._tell(output)

    def _do(self, command: Command) -> None:
        carrier, attempts = self.carriers.get(command.epoch), self._attempts
        match command:
            case Dial():
                self.intake.dialling(command.epoch)
                self._errands.run("dial", command.epoch, attempts.dial(command.epoch))
            case Sync():
                self._errands.run("sync", command.epoch, attempts.sync(command.epoch))
            case Ping():
                if carrier is not None:
                    carrier.ping(command.payload)
            case Beat():
                if carrier is not None:
                    self._beat(carrier)
            case Abort():
                self.abandon(command.epoch)
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
        kept = self.desk is not None and self.desk.keeps(event)
        if isinstance(event, GapFound) and not kept:
            self.reader.note(event.gap)
        between = self.intake.heed(event)
        if isinstance(event, TookOver):
            self.carrier = self.intake.carrier = self.carriers.get(event.epoch)
        if self.desk is not None:
            self.desk.heed(event)
        self.ages.heed(event)
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
        if between is not None:
            self._observers.tell(between)

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
            tuple(self.desk.feed.troubles) if self.desk is not None else (),
        )
        if key == self._told:
            return
        self._told = key
        status = self.snapshot()
        self.reader.note(status)
        self._observers.status(status)
        if session.phase is Phase.OPEN and self.carrier is not None:
            self.intake.admit()
        if session.phase is Phase.CLOSED:
            self.reader.end(self.end)
        self.reader.wake()
        if self.changed is not None:
            self.changed.set_result(None)
            self.changed = None

    # --- I/O -------------------------------------------------------------------------

    def _look(self) -> tuple[int, Evidence]:
        carrier, successor = self.carrier, self.session.handover.successor
        beside = None if successor is None else self.carriers.get(successor.epoch)
        if beside is not None and self.pump is not None:
            self.pump.feed(Evidenced(beside.epoch, beside.evidence()))
        if carrier is None:
            return 0, Evidence()
        return carrier.epoch, carrier.evidence()

    def abandon(self, epoch: int) -> None:
        self._errands.cancel("dial", epoch)
        self._errands.cancel("sync", epoch)
        carrier = self.carriers.pop(epoch, None)
        if carrier is not None:
            self._unsent += carrier.unsent
            carrier.abort()
        if self.carrier is not None and self.carrier.epoch == epoch:
            self.carrier = self.intake.carrier = None

    def _drop_everything(self) -> None:
        self._errands.cancel_all()
        if self.desk is not None:
            self.desk.alarm.stop()
        for epoch in list(self.carriers):
            self.abandon(epoch)

    def _failed(self, error: BaseException) -> None:
        """A fault of ours, or of a callable's misuse: the consumer is told loudly."""
        self.end = error
        self.on_fact(Stop())

    # --- what the desk wants ------------------------------------------------------

    def post(self, epoch: int, text: str | bytes, *, first: bool) -> None:
        carrier = self.carriers.get(epoch)
        if carrier is None:
            return
        if not first:
            with contextlib.suppress(OutboxFull):
                carrier.send(text)
                return
        # What the contract needs does not wait for what the user sends.
        carrier.send_first(text)

    def tell(self, event: Event) -> None:
        self.ages.heed(event)
        self.session.conditions.learn([event])
        self._observers.tell(event)
        self._settle()

    def give_up(self, epoch: int, cause: Cause, reason: str) -> None:
        if self.session.link is not None and self.session.epoch == epoch:
            self.abandon(epoch)
            self.on_fact(Ended(epoch, cause, reason=reason))

    def run(self, what: str, epoch: int, work: Coroutine[None, None, None]) -> None:
        self._errands.run(what, epoch, work)

    def deliver(self, items: list[Message | Gap]) -> None:
        self.intake.deliver(items)

    def announced(self, epoch: int, reason: str, lead: float | None) -> None:
        self.on_fact(Noticed(epoch, reason, lead))

    def prove(self, epoch: int) -> None:
        self.on_fact(Questioned(epoch))

    def heard_at(self, epoch: int) -> float:
        assert self.pump is not None
        self.pump.flush()
        link = self.session.link
        if link is None or link.epoch != epoch:
            link = self.session.handover.link(epoch)
        return link.peer.frame_at if link is not None else 0.0

    @property
    def unread(self) -> bool:
        carriers = self.carriers.values()
        return any(carrier.evidence().unread_bytes > 0 for carrier in carriers)

    @property
    def paused(self) -> bool:
        return self.intake.paused or self.carrier is None

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
        feed = self.desk.feed if self.desk is not None else None
        late = self.ages.late
        return snapshot(self.session, now=now, traffic=counts, feed=feed, late=late)
