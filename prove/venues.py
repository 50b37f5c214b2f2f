"""`python -m prove venues`: ten venues at once, and thirty seconds of silence.

Half of the venues are stopped (SIGSTOP), the path to the others is cut while they go on
sending. Nobody closes anything. What each venue sent it counts itself, in a process of
its own, and for each connection apart: what of that is not with us has to lie between
the ends of a gap that was told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any

import heartline
from heartline import Gap, Message, Phase, Snapshots, Venue
from heartline.core.channel_events import GapClosed, SubscriptionFailed
from heartline.core.events import Connected, Event, Lost
from heartline.testing import FaultProxy, VenueServer
from heartline.testing.halfopen import available, drop_inbound
from heartline.wire.resolve import AddrInfo, SystemResolver

from .venue_books import BOOKS, UPDATES, Book, in_order

CHANNELS = sorted(BOOKS + UPDATES)
STOPPED, CUT = "stopped", "path cut"
RATE = 40.0
"""Messages a second of each venue."""
FLOW = 15.0
"""Seconds before the outage: a link that brought data for ten was useful."""
OUTAGE = 30.0
AFTER = 5.0
"""Seconds of traffic once all are back."""
WITHIN = 75.0
"""Seconds for a stream to come back, or for its last message to arrive."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One venue. Messages are those of its channel; durations are seconds."""

    venue: str
    way: str
    sent: int
    """As the venue counted it, on all connections."""
    unheard: int
    """Numbered by the venue while nobody was subscribed."""
    delivered: int
    lost: int
    """Sent, and not delivered: on the link that died, inside the gap told."""
    gaps: int
    closed: int
    cause: str
    told_after: float
    bound: float
    """That held when the silence began."""
    back_after: float
    """From the end of the outage until the stream was live again."""
    book: bool
    """Whether the local book is the venue's."""
    broken: list[str]


class _Local:
    """Every venue has a name of its own, as in life: a host is dialled once a second at
    most, and these are not one host."""

    def __init__(self) -> None:
        self._system = SystemResolver()

    async def resolve(self, host: str, port: int) -> list[AddrInfo]:
        return await self._system.resolve("127.0.0.1", port)


class Reading:
    """One stream of one venue, and all that it told."""

    def __init__(self, name: str, endpoint: str, channel: str, way: str) -> None:
        self.name, self.endpoint, self.channel, self.way = name, endpoint, channel, way
        self.items: list[Message | Gap] = []
        self.book = Book()
        self.events: list[Event] = []
        self.received: list[int] = []
        """Messages of each link that was lost, in the ledger's count."""
        self.cut_at = self.whole_at = 0.0
        self.bounds: heartline.Status | None = None
        self.server: VenueServer
        self.stream: heartline.Stream
        self.proxy: FaultProxy
        self.reader: asyncio.Task[None]

    async def start(self, stack: AsyncExitStack, seed: int) -> None:
        self.server = await stack.enter_async_context(
            VenueServer(self.name, self.endpoint, rate=RATE, seed=seed)
        )
        self.proxy = await stack.enter_async_context(FaultProxy(self.server.port))
        rest = f"http://127.0.0.1:{self.proxy.port}"
        venue = Venue(
            name=self.name,
            endpoint=self.endpoint,
            channels=[self.channel],
            token_url=f"{rest}/api/v1/bullet-public",
            snapshots=Snapshots(rest=rest),
        )
        self.stream = heartline.connect(
            f"ws://{self.name}-{self.endpoint}.test:{self.proxy.port}/",
            venue=venue,
            resolver=_Local(),
            on_event=self._heed,
        )
        await stack.enter_async_context(self.stream)
        self.reader = asyncio.create_task(self._read())
        stack.callback(self.reader.cancel)

    def _heed(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Lost):
            self.received.append(self.total)

    async def _read(self) -> None:
        async for item in self.stream:
            if isinstance(item, Message | Gap):
                self.items.append(item)
                self.book.take(item)

    @property
    def total(self) -> int:
        """Messages of the channel, by the ledger."""
        return self._account.received

    @property
    def _account(self) -> Any:
        return self.stream._driver.session.ledger.account(self.channel)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    # --- the outage ---------------------------------------------------------------

    async def silence(self) -> None:
        """End every sign of life, and close nothing."""
        self.bounds = self.stream.status
        self.cut_at = time.monotonic()
        if self.way == STOPPED:
            self.server.freeze()
            return
        carrier = self.stream._driver.carrier
        if available() is None and carrier is not None:
            # A proxy's kernel would still acknowledge what we send.
            drop_inbound(carrier.socket)
        await self.proxy.blackhole()

    async def restore(self) -> None:
        if self.way == STOPPED:
            self.server.thaw()
        else:
            await self.proxy.restore()

    async def back(self) -> None:
        """Wait until it is live, and its book is whole again."""
        end = time.monotonic() + WITHIN
        while time.monotonic() < end:
            status = self.stream.status
            if self.of(GapClosed) and status.live and self.book.sides is not None:
                break
            await asyncio.sleep(0.02)
        self.whole_at = time.monotonic()

    async def settle(self) -> None:
        """Let the venue be silent, and all that it sent arrive."""
        await self.server.set_rate(0.0)
        end = time.monotonic() + WITHIN
        while time.monotonic() < end:
            written = await self.server.written()
            if written and self.total - sum(self.received[-1:]) >= written[-1]:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)

    # --- what came of it ----------------------------------------------------------

    async def found(self, restored_at: float) -> Found:
        written = [count for count in await self.server.written() if count]
        account = (await self.server.accounts())[self.channel]
        listed = in_order(await self.server.book(self.channel))
        status = self.stream.status
        messages = [item for item in self.items if isinstance(item, Message)]
        gaps = [item for item in self.items if isinstance(item, Gap)]
        mine = [item for item in messages if item.channel == self.channel]
        delivered = sum(not item.snapshot for item in mine)
        losses, opened = self.of(Lost), self.of(Connected)
        told = losses[0] if losses else None
        assert self.bounds is not None
        promised = self.bounds.bounds
        is_path = told is not None and told.cause is heartline.Cause.PATH_DEAD
        bound = promised.path if is_path else promised.peer
        delay = told.at - self.cut_at if told is not None else -1.0
        sent, book = sum(written), self.book.as_listed()
        covered = self._account.duplicated
        kept: dict[str, Callable[[], bool]] = {
            "the simulator's own counts differ": lambda: (
                sent == account.sent + account.snapshots + account.repeated
                and account.numbered == account.sent + account.unheard
            ),
            "not told within the bound": lambda: 0 <= delay <= bound,
            "blamed for something else": lambda: (
                told is not None and told.cause.value in ("PATH_DEAD", "PEER_FROZEN")
            ),
            "one loss and two links were to be expected": lambda: (
                len(losses) == 1 and len(opened) == len(written) == 2
            ),
            "the new link did not bring what was sent on it": lambda: (
                self.total - self.received[0] == written[1]
            ),
            "the old link brought more than was sent": lambda: (
                self.received[0] <= written[0]
            ),
            "not all that came was delivered": lambda: (
                delivered == self.total - covered
            ),
            "the ledger misses messages besides": lambda: self._account.missing == 0,
            "the gap does not hold what is lost": lambda: _holds(gaps, messages),
            "the gap was not closed by a snapshot": lambda: (
                [(e.gap.channel, e.gap.reason, e.by) for e in self.of(GapClosed)]
                == [(self.channel, "outage", "snapshot")]
            ),
            "whoever read the stream has ended": lambda: not self.reader.done(),
            "a subscription failed": lambda: not self.of(SubscriptionFailed),
            "not live": lambda: status.live and status.phase is Phase.OPEN,
            "the books differ": lambda: book == listed,
        }
        return Found(
            venue=f"{self.name}/{self.endpoint} {self.channel}",
            way=self.way,
            sent=sent,
            unheard=account.unheard,
            delivered=delivered + covered,
            lost=sent - self.total,
            gaps=len(gaps),
            closed=len(self.of(GapClosed)),
            cause=told.cause.value if told is not None else "",
            told_after=round(delay, 3),
            bound=round(bound, 3),
            back_after=round(self.whole_at - restored_at, 3),
            book=book == listed,
            broken=[what for what, holds in kept.items() if not _is(holds)],
        )


def _is(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except IndexError:
        # A link or a loss that should be there is not.
        return False


def _holds(gaps: list[Gap], messages: list[Message]) -> bool:
    """Whether one gap is told, between the last message before and the first after."""
    if len(gaps) != 1 or gaps[0].reason != "outage":
        return False
    old = [m.received_at for m in messages if m.epoch == gaps[0].epoch]
    new = [m.received_at for m in messages if m.epoch > gaps[0].epoch]
    return max(old) <= gaps[0].from_at and gaps[0].until_at <= min(new)


async def venues(seed: int) -> dict[str, Any]:
    readings = [
        Reading(*each, STOPPED if (nth + seed) % 2 else CUT)
        for nth, each in enumerate(CHANNELS)
    ]
    began_at = time.monotonic()
    async with AsyncExitStack() as stack:
        for nth, each in enumerate(readings):
            await each.start(stack, seed + nth)
        for each in readings:
            await each.stream.wait_live(timeout=WITHIN)
        await asyncio.sleep(FLOW)
        await asyncio.gather(*(each.silence() for each in readings))
        await asyncio.sleep(OUTAGE)
        restored_at = time.monotonic()
        await asyncio.gather(*(each.restore() for each in readings))
        await asyncio.gather(*(each.back() for each in readings))
        await asyncio.sleep(AFTER)
        await asyncio.gather(*(each.settle() for each in readings))
        rows = [await each.found(restored_at) for each in readings]
    return {
        "seed": seed,
        "outage": OUTAGE,
        "seconds": round(time.monotonic() - began_at, 1),
        "path_filtered": available() is None,
        "rows": [asdict(row) for row in rows],
        "broken": [f"{row.venue}: {what}" for row in rows for what in row.broken],
    }


def run(seed: int) -> dict[str, Any]:
    """Run it and say what was found."""
    print(f"venues: seed {seed}, an outage of {OUTAGE:g} s", flush=True)
    found = asyncio.run(venues(seed))
    for line in markdown(found)[2:]:
        print(line, flush=True)
    for line in found["broken"]:
        print(f"venues: {line}", flush=True)
    return found


def markdown(found: dict[str, Any]) -> list[str]:
    """The lines of a table."""
    rows = found["rows"]
    verdict = "BROKEN" if found["broken"] else "all add up"
    return [
        f"Venues: {len(rows)} channels of venues at once, {found['outage']:g} s stopped"
        f" or with their path cut (seed {found['seed']}): {verdict}.",
        "",
        "| venue | way | sent | delivered | lost in the gap | unheard | gaps, closed |"
        " told after, bound | as | back after | book |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['venue']} | {row['way']} | {row['sent']} | {row['delivered']} |"
            f" {row['lost']} | {row['unheard']} | {row['gaps']}, {row['closed']} |"
            f" {row['told_after']:.2f} s, {row['bound']:.2f} s | {row['cause']} |"
            f" {row['back_after']:.1f} s | {'equal' if row['book'] else 'NOT EQUAL'} |"
            for row in rows
        ),
    ]
