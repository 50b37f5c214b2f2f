"""One upstream stream for many local readers, each with channels of its own.

The relay reads without ever waiting for a reader: what a slow one cannot take is its
own backlog's matter. A lost upstream is dialled again by its stream; the readers stay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from heartline.client import Stream, connect
from heartline.client.contract import Venue
from heartline.core.backoff import Backoff
from heartline.core.channel_events import (
    ChannelLive,
    GapClosed,
    SnapshotFailed,
    SubscriptionFailed,
)
from heartline.core.detector import Liveness
from heartline.core.events import ChannelRevived, ChannelStalled, Event
from heartline.core.items import Gap, Message, Phase, Status, Verdict
from heartline.core.terms import Dialling
from heartline.errors import HeartlineError, UsageError
from heartline.server import Answer, Limits, Server, browser_client, serve
from heartline.server.gate import Page
from heartline.server.plan import Slow
from heartline.server.serve import SLOW
from heartline.wire.resume import LONGEST_NAME, Resume

from . import notes, pages
from .bus import Bus
from .notes import Binary, Note, SnapshotNote, StateNote, StatusNote
from .pages import Account
from .readers import Readers
from .state import States
from .terms import BusStatus, BusTerms

STREAM = "stream"
"""The channel of what the upstream sends outside any that is known: from a plain URL,
all of it."""
_OF_CHANNELS = (
    GapClosed,
    ChannelStalled,
    ChannelRevived,
    ChannelLive,
    SubscriptionFailed,
    SnapshotFailed,
)
CLOSE = 0.3
"""Seconds that a closing handshake may take, on either side."""


class Relay:
    """One upstream, and the server of its readers; `async with`, one use.

    `source` is a venue's name or a URL, `venue` whose contract holds there; `channels`
    are read from the start, others as soon as a client asks for them, up to
    `most_channels`. They are kept until the end, for those who come back. `headers`,
    `on_open`, `backoff`, `liveness` and `journal` as in `heartline.connect`; `resume`,
    `slow`, `limits` and `origins` as in `heartline.serve`. With a `bus` all is stored
    there too. Port 0 takes a free one; the address is `url`. Raises `UsageError` and
    `VenueError`.
    """

    def __init__(
        self,
        source: str,
        channels: Sequence[str] = (),
        *,
        venue: Venue | str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        headers: Mapping[str, str] | None = None,
        on_open: Sequence[str | bytes] = (),
        backoff: Backoff | None = None,
        liveness: Liveness | None = None,
        journal: Path | str | None = None,
        resume: Resume | None = None,
        slow: Slow = SLOW,
        limits: Limits | None = None,
        origins: Sequence[str] | None = None,
        bus: BusTerms | None = None,
        most_channels: int = 256,
        drain: float = 0.3,
    ) -> None:
        url, self._venue = _upstream(source, venue, channels)
        asked = self._venue.channels if self._venue else ()
        self._accounts = {name: Account() for name in (STREAM, *asked)}
        self._most = min(most_channels, _most_there(self._venue) or most_channels)
        self._drain = drain
        self._states = States(self._venue.contract if self._venue else None)
        self._troubles: dict[str, Note] = {}
        self._events: list[Event] = []
        self.status = _before(time.time())
        """What its readers were told last of the upstream."""
        self._since = self.status.at
        self._task: asyncio.Task[None] | None = None
        self._registry = CollectorRegistry()
        self.stream: Stream = connect(
            url,
            venue=self._venue,
            headers=dict(headers) if headers else None,
            on_open=on_open,
            backoff=backoff,
            liveness=liveness,
            dialling=Dialling(close=CLOSE),
            on_event=self._heed,
            journal=journal,
            metrics=self._registry,
        )
        self._readers = Readers(self)
        self.server: Server = serve(
            self._readers,
            host,
            port,
            limits=limits or Limits(close=CLOSE),
            slow=slow,
            resume=resume,
            origins=origins,
            authorize=self._readers.authorize,
            pages=self._pages(),
        )
        self._readers.server = self.server
        self.bus: Bus | None = None if bus is None else self._bus_of(bus, source)

    # --- its life -------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.stream.__aenter__()
        try:
            await self.server.__aenter__()
        except BaseException:
            await self.stream.aclose()
            raise
        if self.bus is not None:
            self.bus.start()
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def wait_closed(self) -> None:
        """Wait until the upstream has ended for good; raises `GaveUp` if by itself."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def aclose(self) -> None:
        """Send the readers away with 1012, let go of the upstream; within `drain`, and
        the time of the closing handshakes."""
        leaving = self.server.aclose(drain=self._drain, reason="shutdown")
        try:
            await asyncio.gather(leaving, self.stream.aclose())
        finally:
            if self._task is not None:
                # Its failure is for `wait_closed`, and here it is seen.
                await asyncio.gather(self._task, return_exceptions=True)
            if self.bus is not None:
                await self.bus.aclose(drain=self._drain)

    @property
    def url(self) -> str:
        """Where clients on this machine reach it."""
        return self.server.url

    @property
    def accounts(self) -> Mapping[str, Account]:
        """The totals of each channel."""
        return self._accounts

    # --- what the upstream tells ----------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._relay()
        finally:
            # Whatever ended it: from here on nothing is passed on, and nobody is to
            # take the upstream for live.
            await self.stream.aclose()
            self._stand(self.stream.status)

    async def _relay(self) -> None:
        async for batch in self.stream.batches():
            for item in batch:
                match item:
                    case Message():
                        self._pass_on(item)
                    case Gap():
                        self._tell_gap(item)
                    case Status():
                        self._stand(item)
            # Only now: what an event speaks of may have waited among the items.
            events, self._events = self._events, []
            for event in events:
                self._tell_event(event)

    def _pass_on(self, message: Message) -> None:
        channel = message.channel
        # A venue may send what nobody asked for: its names must not fill our memory.
        if channel is None or channel not in self._accounts:
            channel = STREAM
        account = self._accounts[channel]
        if message.snapshot:
            at = self._clock(message.received_at)
            self._tell(channel, SnapshotNote(channel=channel, at=at))
        account.offset = self._readers.pass_on(channel, message.data)
        account.messages += 1
        self._states.take(channel, message.data, is_whole=message.snapshot)
        if self.bus is not None:
            self.bus.pass_on(channel, message)

    def _tell_gap(self, gap: Gap) -> None:
        for channel in self._touched(gap):
            account = self._accounts[channel]
            account.gaps += 1
            if gap.channel is not None or channel == STREAM:
                account.missing += gap.missing or 0
            self._states.breach(channel)
            self._tell(channel, notes.of_gap(gap, channel, self._clock))

    def _stand(self, status: Status) -> None:
        note, told = notes.of_status(status, self._clock), self.status
        if (note.live, note.cause) != (told.live, told.cause):
            self._since = note.at
        self.status = note
        if (note.live, note.verdict, note.cause) != (
            told.live,
            told.verdict,
            told.cause,
        ):
            self._readers.tell_all(note)
            if self.bus is not None:
                self.bus.tell(note)

    def _heed(self, event: Event) -> None:
        """Keep what is told of channels; the stream itself is told by its items."""
        if isinstance(event, _OF_CHANNELS):
            self._events.append(event)

    def _tell_event(self, event: Event) -> None:
        if isinstance(event, GapClosed):
            channel = event.gap.channel
            if channel is not None and channel in self._accounts:
                self._tell(channel, notes.of_closed(event, channel, self._clock))
            return
        note = notes.of_channel(event, self._clock)
        if note is None or note.channel not in self._accounts:
            return
        if note.live and self._troubles.pop(note.channel, None) is None:
            return
        if not note.live:
            self._troubles[note.channel] = note
        self._tell(note.channel, note)

    def _touched(self, gap: Gap) -> list[str]:
        if gap.channel is None:
            return list(self._accounts)
        return [gap.channel] if gap.channel in self._accounts else [STREAM]

    def _tell(self, channel: str, note: Note) -> None:
        account = self._accounts[channel]
        account.offset = self._readers.tell(channel, note)
        account.notes += 1
        if self.bus is not None:
            self.bus.tell(note)

    # --- what its readers ask -------------------------------------------------------

    @property
    def channels(self) -> list[str]:
        """All that are relayed."""
        return list(self._accounts)

    def want(self, channel: str) -> str | None:
        """Have a channel, if the upstream has it; why not, if it cannot be."""
        if channel in self._accounts:
            return None
        if self._venue is None:
            return f"no such channel: the upstream is a plain URL, it has {STREAM!r}"
        if len(self._accounts) > self._most or len(channel) > LONGEST_NAME:
            return f"at most {self._most} channels, of {LONGEST_NAME} characters"
        try:
            self.stream.subscribe(channel)
        except HeartlineError as error:
            return str(error)
        self._accounts[channel] = Account()
        return None

    def welcome(self, channel: str) -> list[Note]:
        """What a late reader of it has to know before its next message."""
        told: list[Note] = []
        trouble, state = self._troubles.get(channel), self._states.of(channel)
        if trouble is not None:
            told.append(trouble)
        if state is not None:
            offset = self._accounts[channel].offset
            fetched = self._states.is_fetched(channel)
            kept = tuple(m if isinstance(m, str) else Binary(m) for m in state)
            told.append(
                StateNote(
                    channel=channel, offset=offset, messages=kept, fetched=fetched
                )
            )
        return told

    def _pages(self) -> dict[str, Page]:
        """What it answers to plain HTTP."""
        metrics = pages.RelayMetrics(
            lambda: self.server.status, lambda: self._accounts, self._bus_status
        )
        self._registry.register(metrics)
        return {
            "/healthz": self._health,
            "/channels": lambda: pages.channels(self._accounts),
            "/metrics": lambda: pages.metrics(self._registry),
            "/heartline.js": browser_client,
        }

    def _health(self) -> Answer:
        status = notes.of_status(self.stream.status, self._clock)
        server = self.server.status
        return pages.health(status, self._since, server, self._bus_status())

    def _bus_status(self) -> BusStatus | None:
        return None if self.bus is None else self.bus.status

    def _bus_of(self, terms: BusTerms, source: str) -> Bus:
        venue = self._venue
        return Bus(
            terms,
            venue=_name_there(venue, source),
            contract=None if venue is None else venue.contract,
            clock=self._clock,
            healthy=lambda: self.stream.status.live,
            url=lambda: self.url,
        )

    def _clock(self, at: float) -> str:
        return notes.utc(time.time() - self.server.clock() + at)


def _upstream(
    source: str, venue: Venue | str | None, channels: Sequence[str]
) -> tuple[str, Venue | None]:
    """The URL, and whose contract holds there with all channels that are asked for."""
    url = source
    if isinstance(venue, str):
        venue = Venue(name=venue, channels=channels)
    elif venue is not None:
        if channels:
            both = dict.fromkeys((*venue.channels, *channels))
            venue = replace(venue, channels=tuple(both))
    elif "://" not in source:
        venue = Venue(name=source, channels=channels)
        url = venue.url
    elif channels:
        raise UsageError("channels", wanted="a venue that has channels", got="a URL")
    for name in venue.channels if venue else ():
        if not 0 < len(name) <= LONGEST_NAME or name == STREAM or "," in name:
            wanted = f"1 to {LONGEST_NAME} characters, no comma, not {STREAM!r}"
            raise UsageError("channels", wanted=wanted, got=name)
    return url, venue


def _name_there(venue: Venue | None, source: str) -> str:
    """What the upstream is called on a bus: the same by every relay of it."""
    if venue is None:
        return urlsplit(source).netloc.rpartition("@")[2]
    name = Path(venue.name).stem if venue.name.endswith(".toml") else venue.name
    return name if venue.endpoint is None else f"{name}/{venue.endpoint}"


def _most_there(venue: Venue | None) -> int | None:
    """How many channels the venue allows on one link, if it says so."""
    limits = None if venue is None else venue.profile.limits
    return None if limits is None else limits.subscriptions


def _before(unix: float) -> StatusNote:
    """How it stands before anything is known."""
    at = notes.utc(unix)
    return StatusNote(
        at=at, live=False, phase=Phase.IDLE, verdict=Verdict.SUSPECT, since=None
    )
