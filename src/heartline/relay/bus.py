"""A relay's bus: what its upstream says, stored in NATS JetStream.

The relay gives and goes on: what the bus cannot take waits, bounded; beyond that the
oldest goes, is counted, and is told. `lane.py` says why the stream then has every
message once and in order, whoever else writes to it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from heartline.core.items import Message
from heartline.venue.classify import Contract

from .lane import Entry, Lane, Room
from .lease import BUCKET, REFRESHES, Lease, LeaseEntry
from .notes import GapNote, Note, encode
from .place import Place, Places
from .stored import note_headers
from .subjects import Subjects
from .terms import BusStatus, BusTerms

if TYPE_CHECKING:
    from .jetstream import JetStream
    from .writer import Writer

RETRY = 0.25
MOST_LANES = 4096
"""A venue that names ever new symbols must not fill our memory."""
MOST_NOTES = 1024
LATE = 2.0
"""Seconds that a message of a healthy relay may wait."""
LEAVE = 0.3
"""Seconds that giving up the lease may take."""


class Bus:
    """One relay's end of it.

    `venue` is the upstream's name there, the same for every relay of it; `clock` turns
    a monotonic instant into UTC text; `healthy` and `url` are the relay's.
    """

    def __init__(
        self,
        terms: BusTerms,
        *,
        venue: str,
        contract: Contract | None,
        clock: Callable[[float], str],
        healthy: Callable[[], bool],
        url: Callable[[], str],
    ) -> None:
        from .jetstream import JetStream
        from .writer import Writer

        self._terms = terms
        self.subjects = Subjects(venue, terms.relay)
        self._clock, self._healthy, self._url = clock, healthy, url
        self._places = Places(contract)
        self._room = Room(terms.most_messages, terms.most_bytes)
        self._once: dict[tuple[str, str | None], Lane] = {}
        self._copies: dict[str, Lane] = {}
        self._counts: dict[str, int] = {}
        self._owed: dict[str, GapNote] = {}
        self._run = time.time_ns() // 1_000_000
        """Our own numbers are of this process, and grow from one to the next."""
        self._notes: deque[tuple[int, bytes]] = deque(maxlen=MOST_NOTES)
        self._note = 0
        self._refused = 0
        self._connected = self._broken = False
        self._trouble = "not connected yet"
        self._since = clock(time.monotonic())
        self._ready, self._hurry = asyncio.Event(), asyncio.Event()
        self._noted = asyncio.Event()
        self._process = uuid.uuid4().hex
        self._lease = Lease(
            self.subjects.key, self._entry, since=self._since, process=self._process
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._jetstream: JetStream = JetStream(terms.stream, on_change=self._changed)
        self._writer: Writer = Writer(
            self._jetstream,
            relay=terms.relay,
            ready=self._ready,
            patience=self._patience,
            on_lost=self.tell,
            on_end=self._ended,
        )

    # --- its life -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect; returns at once."""
        loop = asyncio.get_running_loop()
        for work in (self._keep(), self._tell_notes()):
            task = loop.create_task(work)
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def aclose(self, *, drain: float) -> None:
        """Store what waits, for at most `drain` seconds, and give up the lease."""
        deadline = time.monotonic() + drain
        while (tasks := self._writer.tasks) and self._ready.is_set():
            left = deadline - time.monotonic()
            if left <= 0 or (await asyncio.wait(tasks, timeout=left))[1]:
                break
        ending = {*self._tasks, *self._writer.tasks}
        while ending:
            for task in ending:
                task.cancel()
            # Again, if need be: wait_for of Python 3.11 may lose a cancellation.
            _, ending = await asyncio.wait(ending, timeout=0.05)
        if self._connected:
            from .jetstream import BusError

            # If it cannot be given up, it ends by itself.
            with suppress(BusError, TimeoutError):
                async with asyncio.timeout(LEAVE):
                    await self._lease.release(self._jetstream)
        await self._jetstream.close()

    @property
    def status(self) -> BusStatus:
        lanes = self._lanes
        return BusStatus(
            live=self._live,
            trouble=self._trouble or self._writer.trouble,
            stored=self._writer.stored,
            skipped=sum(lane.skipped for lane in lanes),
            waiting=sum(lane.waits for lane in lanes),
            dropped=sum(lane.dropped for lane in lanes) + self._refused,
            gaps=self._writer.gaps,
            notes=self._note - len(self._notes),
            leased=self._lease.held,
            peers=self._lease.peers or [],
        )

    # --- what the relay tells ---------------------------------------------------------

    def pass_on(self, channel: str, message: Message) -> None:
        """Have a message stored, in its turn."""
        data = message.data
        place = self._places.of(data)
        gap: GapNote | None = None
        lane: Lane | None
        if place is None:
            lane = self._lane_of_copies(channel)
            number = self._counts[channel] = self._counts.get(channel, 0) + 1
            place = Place(number - 1, number, counted=True, run=self._run)
            gap = self._owed.pop(channel, None)
        else:
            lane = self._lane(channel, place.symbol)
        if lane is None:
            self._refused += 1
            return
        entry = Entry(
            place,
            data.encode() if isinstance(data, str) else data,
            message.received_at,
            self._clock(message.received_at),
            isinstance(data, bytes),
            gap,
        )
        lane.put(entry)
        self._writer.wake(lane)

    def tell(self, note: Note) -> None:
        """Have a note of this relay's own stored; of many that wait the oldest go."""
        match note:
            # One of our own queue is seen by the numbers that are passed over.
            case GapNote(reason="outage" | "sequence" | "checksum", channel=channel):
                if channel in self._copies:
                    self._owed[channel] = note
            case _:
                pass
        self._note += 1
        self._notes.append((self._note, encode(note)))
        self._noted.set()
        # Whether we are healthy may have changed by it.
        self._hurry.set()

    @property
    def _lanes(self) -> list[Lane]:
        return [*self._once.values(), *self._copies.values()]

    def _lane(self, channel: str, symbol: str | None) -> Lane | None:
        lane = self._once.get((channel, symbol))
        if lane is None and len(self._once) < MOST_LANES:
            lane = self._new_lane(self.subjects.once(channel, symbol), channel)
            self._once[channel, symbol] = lane
        return lane

    def _lane_of_copies(self, channel: str) -> Lane:
        lane = self._copies.get(channel)
        if lane is None:
            lane = self._new_lane(self.subjects.copy(channel), channel)
            self._copies[channel] = lane
        return lane

    def _new_lane(self, subject: str, channel: str) -> Lane:
        return Lane(
            subject, channel, room=self._room, anew_after=self._terms.anew_after
        )

    # --- the connection, the notes and the lease --------------------------------------

    async def _keep(self) -> None:
        """Connect, and from then on see to the stream and the lease."""
        from .jetstream import BusError

        terms, jetstream = self._terms, self._jetstream
        await jetstream.connect(terms.urls, f"heartline relay {terms.relay}")
        while True:
            self._hurry.clear()
            pause = terms.lease / REFRESHES
            try:
                if not self._ready.is_set() and self._connected:
                    await jetstream.ensure(
                        size_bytes=terms.keep_bytes,
                        age=terms.keep_age,
                        duplicates=terms.duplicates,
                    )
                    await jetstream.open_bucket(BUCKET, ttl=terms.lease)
                    if self._lease.namesake is None:
                        self._ready.set()
                if self._connected:
                    await self._lease.refresh(jetstream)
                    self._trouble = self._heed_namesake()
                    if self._lease.namesake is not None:
                        await asyncio.sleep(pause)
                        continue
            except BusError as error:
                self._trouble, pause = str(error), RETRY
            if not self._ready.is_set():
                pause = RETRY
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()

    def _heed_namesake(self) -> str:
        """Store nothing beside an older relay of our name; what is wrong, if so."""
        other = self._lease.namesake
        if other is None:
            return ""
        self._ready.clear()
        return f"another relay is called {other.relay}, at {other.url}: rename one"

    async def _tell_notes(self) -> None:
        from .jetstream import BusError

        subject = self.subjects.note
        while True:
            await self._noted.wait()
            await self._ready.wait()
            if not self._notes:
                self._noted.clear()
                continue
            first = self._notes[0]
            headers = note_headers(subject, self._run, first[0])
            try:
                await self._jetstream.store(subject, first[1], headers)
            except BusError as error:
                self._trouble = str(error)
                await asyncio.sleep(RETRY)
                continue
            if self._notes and self._notes[0] is first:
                self._notes.popleft()

    def _changed(self, connected: bool, trouble: str) -> None:
        self._connected = connected
        self._trouble = trouble
        if not connected:
            self._ready.clear()
        self._hurry.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._broken = True
        self._trouble = f"internal error: {error!r}"
        context = {"message": "a task of the bus failed", "exception": error}
        task.get_loop().call_exception_handler(context)

    @property
    def _live(self) -> bool:
        oldest_at = self._writer.oldest_at
        late = oldest_at is not None and time.monotonic() - oldest_at > LATE
        return self._ready.is_set() and not late and not self._broken

    def _patience(self) -> float:
        # Nobody to wait for; as long as that is not known there may be somebody.
        return 0.0 if self._lease.peers == [] else self._terms.patience

    def _entry(self) -> LeaseEntry | None:
        if not (self._live and self._healthy()):
            return None
        return LeaseEntry(
            relay=self.subjects.relay,
            venue=self.subjects.venue,
            url=self._url(),
            since=self._since,
            process=self._process,
            at=self._clock(time.monotonic()),
            channels=len({channel for channel, _ in self._once} | self._copies.keys()),
            stored=self._writer.stored,
            waiting=sum(lane.waits for lane in self._lanes),
        )
