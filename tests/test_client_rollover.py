"""Planned ends: one link follows another, and not one message is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

import heartline
from heartline import Gap, Message, Venue
from heartline.client import driver as driving
from heartline.core.channel_events import EndPlanned, TookOver
from heartline.core.events import (
    Close,
    Connected,
    Dial,
    DialLost,
    DialSucceeded,
    Ended,
    Event,
    Joined,
    Lost,
    Ping,
    Ponged,
    Received,
    Start,
    Synced,
    Tick,
)
from heartline.core.items import Cause
from heartline.core.rollover import Lifetime
from heartline.core.session import Session
from heartline.core.terms import Terms
from heartline.testing import VenueServer
from rollover_kit import Played, PlayedVenue, Still, VirtualLoop
from stream_kit import in_loop

DAY = 86_400.0
SECONDS = 20.0
CHANNELS = {
    "binance": ["btcusdt@depth@100ms", "ethusdt@depth@100ms"],
    "deribit": ["book.BTC-PERPETUAL.100ms", "book.ETH-PERPETUAL.100ms"],
}
KINDS = pytest.mark.parametrize("kind", ["binance", "deribit"])


def played(
    kind: str, monkeypatch: pytest.MonkeyPatch, *, seed: int, every: float, **more: Any
) -> Played:
    # The pulse feels for stalls of a real loop, by the real clock.
    monkeypatch.setattr(driving.Pulse, "of", lambda loop: Still(loop, loop.time))
    channels = more.pop("channels", CHANNELS[kind])
    dice = random.Random(seed)
    venue = PlayedVenue(kind, channels, loop=VirtualLoop(), dice=dice, every=every)
    return Played(venue, monkeypatch, **more)


def assert_whole(stream: Played) -> None:
    """Every message once and in order, no gap, no outage; totals are the venue's."""
    assert [i for i in stream.items if isinstance(i, Gap)] == []
    assert stream.of(Lost) == []
    assert len(stream.of(Connected)) == 1
    ledger = stream.driver.session.ledger
    for channel in stream.venue.channels:
        got, said = stream.numbers(channel), stream.venue.said[channel]
        assert got == said[len(said) - len(got) :]
        assert len(said) - len(got) < 10
        account = ledger.account(channel)
        snapshots = account.received - len(got)
        assert snapshots == (stream.venue.kind == "deribit")
        assert account.missing == account.duplicated == account.unknown == 0
        assert account.sent == account.received


@KINDS
def test_the_greatest_age_is_met_by_a_new_link_before_the_old_one_ends(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    age = 1000.0
    lifetime = Lifetime(max_age=age, lead=120.0, spread=100.0)
    stream = played(kind, monkeypatch, seed=1, every=2.0, lifetime=lifetime)

    async def story() -> None:
        await asyncio.sleep(2 * age)

    stream.run(story)
    assert_whole(stream)
    assert [e.cause for e in stream.of(EndPlanned)] == [Cause.AGE] * 2
    assert [e.epoch for e in stream.of(TookOver)] == [2, 3]


def test_a_day_passes_and_the_venues_own_limit_is_met() -> None:
    """The real session under the profile's terms; what it dials is accepted at once.

    Most of the day our own loop stands still, which costs no link.
    """
    venue = Venue(name="binance", channels=CHANNELS["binance"])
    terms = venue.heeded(Terms(host="h", syncs=True))
    assert terms.lifetime is not None
    assert terms.lifetime.max_age == DAY
    session, now = Session(terms, draw=lambda: 0.5), 0.0
    todo: list[Any] = [Start()]
    told: list[Any] = []
    opened = {1: 0.0}
    while now < DAY + 100.0:
        while todo:
            for out in session.handle(todo.pop(0), now=now):
                match out:
                    case Dial(epoch=epoch):
                        opened[epoch] = now
                        todo += [DialSucceeded(epoch, "h"), Synced(epoch, 1)]
                        if epoch > 1:
                            todo.append(Joined(epoch))
                    case Ping(epoch=epoch, payload=payload):
                        todo.append(Ponged(epoch, payload))
                        todo.append(Received(epoch, 1, 1, 10))
                    case Close(epoch=epoch):
                        todo.append(Ended(epoch, Cause.CLOSED_BY_PEER, 1000))
                    case _:
                        told.append(out)
        assert now - opened[session.epoch] < DAY
        now = session.deadline
        if 10.0 < now < 100.0:
            now = DAY - 600.0
        todo.append(Tick(session.epoch))
    assert [e.epoch for e in told if isinstance(e, TookOver)] == [2]
    planned = [e.at for e in told if isinstance(e, EndPlanned)]
    assert [DAY - 500 < at < DAY for at in planned] == [True]
    assert not [e for e in told if isinstance(e, Lost)]


def test_a_notice_of_shutdown_is_met_by_a_new_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = played("binance", monkeypatch, seed=2, every=0.05)

    async def story() -> None:
        await asyncio.sleep(20.0)
        stream.venue.notice()
        await stream.until(lambda: bool(stream.of(TookOver)), within=60.0)
        await asyncio.sleep(20.0)

    stream.run(story)
    assert_whole(stream)
    assert [e.cause for e in stream.of(EndPlanned)] == [Cause.NOTICE]
    assert len(stream.of(TookOver)) == 1
    assert stream.driver.session.epoch == 2


@KINDS
@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_faster_and_whatever_fails_all_arrives_once(
    kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links of any delay, dials that fail, new links that end before they took over."""
    dice = random.Random(1000 + seed)
    lifetime = Lifetime(max_age=400.0, lead=120.0, spread=60.0)
    every = dice.choice((0.1, 0.5, 3.0))
    stream = played(kind, monkeypatch, seed=seed, every=every, lifetime=lifetime)
    venue = stream.venue

    async def story() -> None:
        for _ in range(3):
            links = len(stream.of(TookOver))
            await stream.until(lambda: len(venue.wires) == 1)
            venue.refusals = dice.choice((0, 0, 2))
            if dice.random() < 0.5:
                await stream.until(lambda: len(venue.wires) == 2)
                await asyncio.sleep(dice.uniform(0.0, 1.0))
                if len(venue.wires) == 2:
                    venue.wires[-1].cut()
            done = lambda n=links: len(stream.of(TookOver)) > n  # noqa: E731
            await stream.until(done, within=1000.0)

    stream.run(story)
    assert_whole(stream)
    assert len(stream.of(TookOver)) >= 3


@KINDS
@pytest.mark.parametrize("seed", range(4))
def test_an_old_link_that_dies_early_loses_nothing_that_is_not_told(
    kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(2000 + seed)
    lifetime = Lifetime(max_age=400.0, lead=120.0, spread=60.0)
    stream = played(kind, monkeypatch, seed=seed, every=0.05, lifetime=lifetime)
    venue = stream.venue

    async def story() -> None:
        await stream.until(lambda: len(venue.wires) == 2)
        await asyncio.sleep(dice.uniform(0.0, 1.5))
        # All that was on its way is gone with it.
        venue.wires[0].cut()
        await asyncio.sleep(30.0)

    stream.run(story)
    for channel in venue.channels:
        got = stream.numbers(channel)
        assert got == sorted(set(got))
        said = venue.said[channel]
        missing = set(said[said.index(got[0]) :]) - set(got)
        if missing:
            gaps = [i for i in stream.items if isinstance(i, Gap)]
            assert gaps


def test_a_channel_without_numbers_is_joined_by_its_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channels = ["btcusdt@ticker", "btcusdt@depth@100ms"]
    for seed in range(5):
        stream = played("binance", monkeypatch, seed=seed, every=0.2, channels=channels)

        async def story(stream: Played = stream) -> None:
            await asyncio.sleep(20.0)
            stream.venue.notice()
            await stream.until(lambda: bool(stream.of(TookOver)), within=60.0)
            await asyncio.sleep(20.0)

        stream.run(story)
        assert_whole(stream)


def test_a_venue_that_takes_no_second_link_is_dialled_again_after_an_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = played(
        "binance", monkeypatch, seed=4, every=0.2, lifetime=Lifetime(max_age=DAY)
    )
    stream.venue.refusals = 0

    async def story() -> None:
        await asyncio.sleep(20.0)
        stream.venue.refusals = 10**6
        stream.venue.notice()
        await stream.until(lambda: len(stream.of(DialLost)) > 3)
        assert stream.driver.session.phase == "OPEN"
        stream.venue.wires[0].end()
        await stream.until(lambda: bool(stream.of(Lost)))
        stream.venue.refusals = 0
        await stream.until(lambda: len(stream.of(Connected)) == 2)

    stream.run(story)
    assert [e.cause for e in stream.of(Lost)] == [Cause.CLOSED_BY_PEER]
    assert next(i.reason for i in stream.items if isinstance(i, Gap)) == "outage"


@in_loop
async def test_a_notice_over_a_real_socket_leads_to_another_link_without_a_gap() -> (
    None
):
    channel = "btcusdt@depth"
    async with VenueServer("binance", "spot", rate=60.0) as server:
        venue = Venue(
            name="binance", endpoint="spot", channels=[channel], snapshots=None
        )
        events: list[Event] = []
        items: list[Any] = []
        stream = heartline.connect(server.url, venue=venue, on_event=events.append)

        async def read() -> None:
            async for item in stream:
                items.append(item)

        async def until(what: Callable[[], object]) -> None:
            end = time.monotonic() + SECONDS
            while not what():
                assert time.monotonic() < end, events
                await asyncio.sleep(0.01)

        def messages() -> int:
            return sum(isinstance(item, Message) for item in items)

        async with stream:
            reading = asyncio.ensure_future(read())
            await until(lambda: messages() > 20)
            assert await server.notice() == 1
            await until(lambda: any(isinstance(e, TookOver) for e in events))
            before = messages()
            await until(lambda: messages() > before + 20)
            assert stream.status.live
            assert stream.status.epoch == 2
            await server.set_rate(0.0)
            account = (await server.accounts())[channel]
            await until(lambda: str(account.last) in items[-1].data)
            desk = stream._driver.desk
            assert desk is not None
            mine = desk.feed.ledger.account(channel)
        reading.cancel()
    said = [json.loads(i.data) for i in items if isinstance(i, Message)]
    numbers = [
        each.get("data", each)["u"]
        for each in said
        if "serverShutdown" not in str(each)
    ]
    assert numbers == sorted(set(numbers))
    assert not any(isinstance(item, Gap) for item in items)
    assert not any(isinstance(event, Lost) for event in events)
    assert mine.duplicated == mine.missing == 0
    assert mine.received == len(numbers) > 40
