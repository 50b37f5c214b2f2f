"""Ten venues end to end: an outage in the middle, and afterwards everything adds up.

The venue simulator keeps each contract from the other side and its own account of what
it sent; books are built here from the messages alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from prove.venue_books import BOOKS, UPDATES, Book, in_order

import heartline
from heartline import Gap, Message, Venue
from heartline.core.channel_events import GapClosed, SnapshotFailed, SubscriptionFailed
from heartline.core.events import Event, Lost
from heartline.core.fetches import Snapshots
from heartline.testing import VenueServer
from stream_kit import FAST, in_loop

SECONDS = 15.0


class Reading:
    def __init__(self, server: VenueServer, name: str, endpoint: str, *channels: str):
        self.items: list[Any] = []
        self.events: list[Event] = []
        self.book = Book()
        venue = Venue(
            name=name,
            endpoint=endpoint,
            channels=channels,
            token_url=f"{server.http_url}/api/v1/bullet-public",
            snapshots=Snapshots(rest=server.http_url, rates=(), backoff=FAST),
        )
        self.stream = heartline.connect(
            server.url, venue=venue, backoff=FAST, on_event=self.events.append
        )

    async def read(self) -> None:
        async for item in self.stream:
            self.items.append(item)
            self.book.take(item)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def messages(self) -> Counter[str | None]:
        return Counter(i.channel for i in self._messages if not i.snapshot)

    @property
    def snapshots(self) -> Counter[str | None]:
        return Counter(i.channel for i in self._messages if i.snapshot)

    @property
    def _messages(self) -> list[Message]:
        return [item for item in self.items if isinstance(item, Message)]

    def covered(self, channel: str) -> int:
        """Messages that a fetched snapshot made void."""
        return self.stream._driver.session.ledger.account(channel).duplicated

    def came(self, channel: str) -> int:
        return self.messages[channel] + self.covered(channel)

    @property
    def gaps(self) -> list[tuple[str, str | None]]:
        return [(i.reason, i.channel) for i in self.items if isinstance(i, Gap)]

    async def until(self, what: Callable[[], object], of: str) -> None:
        end = time.monotonic() + SECONDS
        while not what():
            assert time.monotonic() < end, f"never: {of}\n{self.events}\n{self.gaps}"
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(("name", "endpoint", "channel"), BOOKS + UPDATES)
@in_loop
async def test_after_an_outage_totals_and_books_are_those_of_the_venue(
    name: str, endpoint: str, channel: str
) -> None:
    async with VenueServer(name, endpoint, rate=300.0) as server:
        it = Reading(server, name, endpoint, channel)
        async with it.stream:
            reading = asyncio.create_task(it.read())
            await it.until(lambda: it.messages[channel] > 40, "messages")
            await server.refuse(503)
            # With a closing handshake, so that nothing is lost on its way.
            await server.cut(1001)
            await it.until(lambda: it.of(Lost), "the loss")
            before = it.messages[channel]
            await server.until(lambda told: told[channel].unheard > 0, within=SECONDS)
            await server.refuse(None)
            await it.until(lambda: it.messages[channel] > before + 40, "it came back")
            await server.set_rate(0.0)
            account = (await server.accounts())[channel]
            sent = account.sent + account.snapshots + account.repeated
            await it.until(lambda: it.came(channel) >= sent, f"all {sent}")
            listed = await server.book(channel)
            status = it.stream.status
            reading.cancel()
        assert it.messages[channel] == sent - it.covered(channel)
        assert account.numbered == account.sent + account.unheard
        assert account.unheard > 0
        assert it.gaps == [("outage", None)]
        assert {(e.gap.channel, e.by) for e in it.of(GapClosed)} == {
            (channel, "snapshot")
        }
        assert it.of(SubscriptionFailed) == []
        assert len(it.of(Lost)) == 1
        assert status.live, status.evidence
        ledger = it.stream._driver.session.ledger
        assert ledger.account(channel).received == sent
        assert ledger.account(channel).missing == 0
        assert it.snapshots[channel] >= 2 * ((name, endpoint, channel) in UPDATES)
        assert it.book.as_listed() == in_order(listed)


NUMBERED = [each for each in BOOKS if each[0] in ("deribit", "okx", "gate")]


@pytest.mark.parametrize(("name", "endpoint", "channel"), NUMBERED)
@in_loop
async def test_a_message_that_never_came_is_a_gap_and_a_new_snapshot_closes_it(
    name: str, endpoint: str, channel: str
) -> None:
    async with VenueServer(name, endpoint, rate=200.0) as server:
        it = Reading(server, name, endpoint, channel)
        async with it.stream:
            reading = asyncio.create_task(it.read())
            await it.until(lambda: it.messages[channel] > 5, "messages")
            await server.drop(channel, 2)
            await it.until(lambda: it.of(GapClosed), "the gap is closed")
            await server.set_rate(0.0)
            account = (await server.accounts())[channel]
            sent = account.sent + account.snapshots + account.repeated
            await it.until(lambda: it.messages[channel] >= sent, f"all {sent}")
            listed = await server.book(channel)
            reading.cancel()
        assert it.gaps == [("sequence", channel)]
        assert it.of(GapClosed)[0].by == "snapshot"
        assert it.of(Lost) == [], "no link was touched for it"
        assert account.snapshots == 2
        assert it.book.as_listed() == in_order(listed)


@pytest.mark.parametrize(("name", "endpoint", "channel"), UPDATES)
@in_loop
async def test_a_state_that_cannot_be_fetched_is_told_and_is_had_as_soon_as_it_can(
    name: str, endpoint: str, channel: str
) -> None:
    async with VenueServer(name, endpoint, rate=200.0) as server:
        it = Reading(server, name, endpoint, channel)
        async with it.stream:
            reading = asyncio.create_task(it.read())
            await it.until(lambda: it.messages[channel] > 5, "messages")
            assert it.snapshots[channel] >= 1
            await server.refuse_calls(503)
            await server.drop(channel, 2)
            await it.until(lambda: len(it.of(SnapshotFailed)) > 1, "no snapshot")
            before = it.messages[channel]
            status, standing = it.stream.status, it.stream.standing(channel)
            assert it.gaps == [("sequence", channel)]
            assert not status.live
            assert status.cause is heartline.Cause.CHANNEL_STALLED
            assert f"{channel} is not restored" in status.evidence
            assert standing is heartline.Standing.CONFIRMED
            assert not it.stream.is_fresh(channel, max_age=SECONDS)
            assert it.messages[channel] == before, "what follows a gap waits"
            await server.refuse_calls(None)
            await it.until(lambda: it.messages[channel] > before, "it came back")
            await server.set_rate(0.0)
            account = (await server.accounts())[channel]
            await it.until(lambda: it.came(channel) >= account.sent, "all of it")
            listed = await server.book(channel)
            assert it.stream.status.live
            reading.cancel()
        closed = [(e.gap.channel, e.gap.reason, e.by) for e in it.of(GapClosed)]
        assert closed == [(channel, "sequence", "snapshot")]
        assert it.of(Lost) == [], "no link was touched for it"
        assert it.snapshots[channel] >= 2
        assert it.book.as_listed() == in_order(listed)
