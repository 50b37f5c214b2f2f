"""LATE over a real socket: data that comes late is not live, and this is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import pytest
from websockets.asyncio.server import ServerConnection, serve

import heartline
from heartline import Condition, Message, Verdict
from heartline.core.events import ConditionBegan, ConditionEnded, Lost, Stalled
from heartline.testing import FaultProxy, VenueServer
from heartline.wire.pulse import Pulse
from loopback import both_loops
from stream_kit import Watched, in_loop, watching

BOOK, TICKER = "book.BTC-PERPETUAL.100ms", "ticker.BTC-PERPETUAL.100ms"
LIMIT = heartline.MaxAge(limit=1.0, hold=0.2)


@asynccontextmanager
async def busy(*, clock_offset: float = 0.0) -> AsyncIterator[VenueServer]:
    """A venue whose channels are never silent for long."""
    async with VenueServer(
        "deribit", channels=[BOOK, TICKER], clock_offset=clock_offset
    ) as server:

        async def talk() -> None:
            while True:
                await server.burst(BOOK, 1)
                await server.burst(TICKER, 1)
                await asyncio.sleep(0.05)

        talking = asyncio.create_task(talk())
        try:
            yield server
        finally:
            talking.cancel()
            await asyncio.wait([talking])


def late(w: Watched, kind: type[ConditionBegan] | type[ConditionEnded]) -> int:
    return sum(event.condition is Condition.LATE for event in w.of(kind))


@in_loop
async def test_late_begins_and_ends_with_the_delay_and_no_link_is_touched() -> None:
    """The venue's clock is five seconds off, and that is no delay."""
    async with (
        busy(clock_offset=-5.0) as server,
        FaultProxy(server.port) as proxy,
        watching(
            proxy.url, venue="deribit", channels=[BOOK, TICKER], max_age=LIMIT
        ) as w,
    ):
        stream = w.stream
        await w.live()
        await w.until(lambda: stream.latency.age.samples >= 3, "ages")
        first = stream.latency
        assert first.age_uncertainty is not None
        assert first.age_uncertainty < inf
        assert not first.age_assumed
        assert first.age.median is not None
        assert first.age.median - first.age_uncertainty < 4.0, "5 s are no age"

        await proxy.delay(2.5, direction="inbound")
        await w.until(lambda: late(w, ConditionBegan), "LATE begins")
        await w.until(lambda: not stream.status.live, "not live")
        began = w.of(ConditionBegan)[-1]
        assert began.detail.startswith((BOOK, TICKER))
        assert "limit 1 s" in began.detail
        await w.until(lambda: Condition.LATE in stream.status.conditions, "LATE")
        status = stream.status
        assert status.verdict is Verdict.SUSPECT
        assert status.cause is None
        assert "limit 1 s" in status.evidence
        assert not stream.is_fresh(max_age=60.0)
        await w.until(
            lambda: (
                not stream.is_fresh(BOOK, max_age=60.0)
                and not stream.is_fresh(TICKER, max_age=60.0)
            ),
            "both channels are late",
        )

        await proxy.restore(direction="inbound")
        await w.until(lambda: late(w, ConditionEnded) == late(w, ConditionBegan), "end")
        await stream.wait_live(10.0)
        assert stream.is_fresh(BOOK, max_age=60.0)
        # What was late was told before it was handed out.
        told = next(i for i, item in enumerate(w.items) if _is_late(item))
        assert any(isinstance(item, Message) for item in w.items[told:])
        assert w.of(Lost) == []


def _is_late(item: heartline.Item) -> bool:
    return isinstance(item, heartline.Status) and Condition.LATE in item.conditions


@in_loop
async def test_a_lost_link_takes_its_lateness_along() -> None:
    async with (
        busy() as server,
        FaultProxy(server.port) as proxy,
        watching(proxy.url, venue="deribit", channels=[BOOK], max_age=LIMIT) as w,
    ):
        await w.live()
        await w.until(lambda: w.stream.latency.age.samples >= 3, "ages")
        await proxy.delay(2.5, direction="inbound")
        await w.until(lambda: late(w, ConditionBegan), "LATE begins")
        await proxy.restore(direction="inbound")
        await proxy.cut()
        await w.told(Lost)
        await w.until(lambda: late(w, ConditionEnded) == late(w, ConditionBegan), "end")
        await w.live(epoch=2)
        await w.stream.wait_live(10.0)


@in_loop
async def test_without_a_venue_three_delays_are_told_and_no_age() -> None:
    async with (
        heartline.testing.FaultyServer() as server,
        watching(server.url) as w,
    ):
        await w.live()
        await w.until(lambda: w.stream.latency.round_trip.samples, "a round trip")
        await w.until(lambda: w.stream.latency.loop.samples, "a beat of our own")
        latency = w.stream.latency
        assert latency.age.samples == 0
        assert latency.age_uncertainty is None
        assert latency.loop.most is not None
        assert latency.loop.most >= 0.0


@in_loop
async def test_what_waits_for_the_consumer_is_the_inboxs_delay() -> None:
    async with (
        busy() as server,
        watching(server.url, venue="deribit", channels=[BOOK]) as w,
    ):
        await w.fed()
        w.gate.clear()
        before = w.stream.status.counts.messages
        await w.until(lambda: w.stream.status.counts.messages > before + 3, "more")
        w.gate.set()
        await w.until(lambda: w.stream.latency.inbox.samples > 3, "samples")
        most = w.stream.latency.inbox.most
        assert most is not None
        assert most > 0.0


def test_before_it_is_entered_nothing_is_known() -> None:
    stream = heartline.connect("deribit", channels=[BOOK], max_age=0.5)
    assert stream.latency == heartline.Latency()


@pytest.mark.parametrize("kind", ["MaxAge", "Latency"])
def test_its_words_are_public(kind: str) -> None:
    assert kind in heartline.__all__


@both_loops
@in_loop
async def test_what_waited_out_a_suspend_tells_its_age(loop: str) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()

    async def talk(peer: ServerConnection) -> None:
        while word := await said.get():
            await peer.send(word)

    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with watching(f"ws://127.0.0.1:{port}", proxy=None) as w:
            for number in range(1, 4):
                said.put_nowait("fresh")
                await w.fed(messages=number)
            pump = w.stream._driver.pump
            assert pump is not None
            pump._asleep_before -= 3600.0
            Pulse.of(asyncio.get_running_loop()).slept -= 3600.0
            said.put_nowait("old")
            await w.fed(messages=4)
            stalled = await w.told(Stalled)
            assert stalled.suspended == pytest.approx(3600.0, abs=1.0)
            assert w.messages[3].age >= 3599.0
            assert not w.of(Lost)
        said.put_nowait("")
