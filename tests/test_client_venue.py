"""A stream of a venue: its contract is kept, and its channels are known one by one.

The venue here speaks Deribit's words by hand, so that nothing of ours judges ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

import heartline
from faulty_peer import in_loop
from heartline import Gap, Message, Status
from heartline.core.channel_events import ChannelLive, GapClosed, SubscriptionFailed
from heartline.core.events import ChannelRevived, ChannelStalled, Event, Lost
from heartline.core.subscribing import Standing

BOOK, OTHER, ABSENT = "book.A.100ms", "book.B.100ms", "book.NONE.100ms"
SECONDS = 10.0


class Deribit:
    """One connection at a time; `say` numbers the updates of a book."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        """It takes subscriptions, and sends no data for them by itself."""
        self.link: ServerConnection | None = None
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.tests = 0
        self.links = 0
        self.last: dict[str, int] = {}
        self.url = ""

    async def handle(self, link: ServerConnection) -> None:
        self.link, self.links = link, self.links + 1
        async for text in link:
            await self.take(json.loads(text))

    async def take(self, said: dict[str, Any]) -> None:
        match said["method"]:
            case "public/set_heartbeat":
                await self.answer(said, "ok")
            case "public/test":
                self.tests += 1
                await self.answer(said, {"version": "1"})
            case "public/subscribe" | "public/unsubscribe" as method:
                channels = said["params"]["channels"]
                self.asked.append((method.split("/")[1], tuple(channels)))
                there = [channel for channel in channels if channel != ABSENT]
                await self.answer(said, there)
                if method == "public/subscribe" and not self.silent:
                    for channel in there:
                        await self.snapshot(channel)

    async def answer(self, said: dict[str, Any], result: object) -> None:
        await self.send({"jsonrpc": "2.0", "id": said["id"], "result": result})

    async def send(self, message: dict[str, Any]) -> None:
        assert self.link is not None
        with contextlib.suppress(Exception):
            await self.link.send(json.dumps(message))

    async def snapshot(self, channel: str) -> None:
        number = self.last[channel] = self.last.get(channel, 100) + 1000
        await self.book(channel, {"type": "snapshot", "change_id": number})

    async def say(self, channel: str, *, skip: int = 0) -> None:
        before = self.last[channel] + skip
        self.last[channel] = before + 1
        update = {"type": "change", "change_id": before + 1, "prev_change_id": before}
        await self.book(channel, update)

    async def book(self, channel: str, data: dict[str, Any]) -> None:
        whole = {"timestamp": 1, "instrument_name": channel.split(".")[1], **data}
        params = {"channel": channel, "data": whole}
        await self.send({"jsonrpc": "2.0", "method": "subscription", "params": params})


class Watched:
    """A stream, what it yielded, and what it told."""

    def __init__(self, url: str, channels: list[str], **more: Any) -> None:
        self.events: list[Event] = []
        self.items: list[Any] = []
        self.stream = heartline.connect(
            url, venue="deribit", channels=channels, on_event=self.events.append, **more
        )

    async def read(self) -> None:
        async for item in self.stream:
            self.items.append(item)

    async def until(self, what: Any) -> None:
        end = time.monotonic() + SECONDS
        while not what():
            assert time.monotonic() < end, self.events
            await asyncio.sleep(0.005)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def data(self, channel: str) -> list[int]:
        return [
            json.loads(item.data)["params"]["data"]["change_id"]
            for item in self.items
            if isinstance(item, Message) and item.channel == channel
        ]


@contextlib.asynccontextmanager
async def watching(
    channels: list[str], *, venue: Deribit | None = None, **more: Any
) -> AsyncIterator[tuple[Deribit, Watched]]:
    venue = venue or Deribit()
    async with serve(venue.handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        venue.url = f"ws://127.0.0.1:{port}/"
        watched = Watched(venue.url, channels, **more)
        async with watched.stream:
            reading = asyncio.create_task(watched.read())
            try:
                yield venue, watched
            finally:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading


@in_loop
async def test_channels_are_live_with_their_first_data_and_named_in_each_message() -> (
    None
):
    async with watching([BOOK, OTHER]) as (venue, w):
        await w.stream.wait_live(SECONDS)
        await w.until(lambda: len(w.of(ChannelLive)) == 2)
        assert w.stream.standing(BOOK) is w.stream.standing(OTHER) is Standing.LIVE
        assert venue.asked == [("subscribe", (BOOK, OTHER))]
        for _ in range(3):
            await venue.say(BOOK)
        await venue.say(OTHER)
        await w.until(lambda: len(w.data(BOOK)) == 4 and len(w.data(OTHER)) == 2)
        assert w.data(BOOK) == [1100, 1101, 1102, 1103]
        assert w.stream.is_fresh(BOOK, max_age=SECONDS)
        assert not [item for item in w.items if isinstance(item, Gap)]
        assert isinstance(w.items[0], Status)


@in_loop
async def test_what_a_venue_answers_or_asks_by_itself_is_no_fresh_data() -> None:
    venue = Deribit(silent=True)
    async with watching([BOOK], venue=venue) as (_, w):
        await w.stream.wait_live(SECONDS)
        # Its acknowledgements came within the last seconds, and no data.
        assert not w.stream.is_fresh(max_age=SECONDS)
        await venue.snapshot(BOOK)
        await w.until(lambda: w.data(BOOK))
        assert w.stream.is_fresh(max_age=SECONDS)
        await asyncio.sleep(0.2)
        for asked in range(1, 3):
            question = {"type": "test_request"}
            await venue.send({"method": "heartbeat", "params": question})
            await w.until(lambda asked=asked: venue.tests == asked)
        assert not w.stream.is_fresh(max_age=0.15)
        assert w.stream.is_fresh(max_age=SECONDS)
        assert venue.link is not None
        venue.link.transport.abort()
        await w.until(lambda: venue.links == 2 and w.stream.status.live)
        # What the link before it brought is not of this one.
        assert not w.stream.is_fresh(max_age=SECONDS)


@in_loop
async def test_a_jump_in_the_numbers_is_a_gap_in_its_place_until_a_snapshot() -> None:
    async with watching([BOOK, OTHER]) as (venue, w):
        await w.until(lambda: len(w.of(ChannelLive)) == 2)
        await venue.say(BOOK)
        await venue.say(BOOK, skip=3)
        await w.until(lambda: w.of(GapClosed))
        gaps = [item for item in w.items if isinstance(item, Gap)]
        assert [(gap.reason, gap.channel) for gap in gaps] == [("sequence", BOOK)]
        at = w.items.index(gaps[0])
        assert json.loads(w.items[at + 1].data)["params"]["data"]["change_id"] == 1105
        assert (gaps[0].first, gaps[0].last) == (1102, 1104)
        # It was asked for anew, and no other channel was touched.
        assert venue.asked[1:] == [("unsubscribe", (BOOK,)), ("subscribe", (BOOK,))]
        assert w.of(GapClosed)[0].by == "snapshot"
        assert w.of(Lost) == []


@in_loop
async def test_a_channel_that_is_not_there_is_told_and_the_others_flow() -> None:
    async with watching([BOOK, ABSENT]) as (venue, w):
        await w.until(lambda: w.of(ChannelLive))
        await w.until(lambda: w.stream.status.phase is heartline.Phase.OPEN)
        await venue.say(BOOK)
        await w.until(lambda: w.of(SubscriptionFailed))
        failed = w.of(SubscriptionFailed)[0]
        assert failed.channel == ABSENT
        assert "left out" in failed.reason
        assert w.stream.standing(ABSENT) is Standing.FAILED
        status = w.stream.status
        assert not status.live
        assert status.cause is heartline.Cause.CHANNEL_STALLED
        assert ABSENT in status.evidence
        assert w.stream.is_fresh(BOOK, max_age=SECONDS)
        assert not w.stream.is_fresh(ABSENT, max_age=SECONDS)


@in_loop
async def test_the_venues_own_question_is_answered() -> None:
    async with watching([BOOK]) as (venue, w):
        await w.stream.wait_live(SECONDS)
        await venue.send(
            {
                "method": "heartbeat",
                "params": {"type": "test_request"},
                "jsonrpc": "2.0",
            }
        )
        await w.until(lambda: venue.tests == 1)
        assert len([i for i in w.items if isinstance(i, Message)]) == 1, "not data"


@in_loop
async def test_after_a_loss_all_channels_are_asked_for_again_before_it_is_live() -> (
    None
):
    async with watching([BOOK, OTHER]) as (venue, w):
        await w.until(lambda: len(w.of(ChannelLive)) == 2)
        assert venue.link is not None
        venue.link.transport.abort()
        await w.until(lambda: len(w.of(ChannelLive)) == 4)
        await w.stream.wait_live(SECONDS)
        assert venue.links == 2
        assert venue.asked == [("subscribe", (BOOK, OTHER))] * 2
        gaps = [item for item in w.items if isinstance(item, Gap)]
        assert [gap.reason for gap in gaps] == ["outage"]
        closed = {event.by for event in w.of(GapClosed)}
        assert closed == {"snapshot"}


@in_loop
async def test_channels_come_and_go_while_it_runs() -> None:
    async with watching([BOOK]) as (venue, w):
        await w.until(lambda: len(w.of(ChannelLive)) == 1)
        w.stream.subscribe(OTHER)
        await w.until(lambda: len(w.of(ChannelLive)) == 2)
        w.stream.unsubscribe(BOOK)
        await w.until(lambda: ("unsubscribe", (BOOK,)) in venue.asked)
        assert w.stream.standing(BOOK) is None
        await venue.say(OTHER)
        await w.until(lambda: len(w.data(OTHER)) == 2)
        with pytest.raises(heartline.UsageError, match="channel"):
            w.stream.subscribe("")
        with pytest.raises(heartline.UsageError, match="channel"):
            w.stream.unsubscribe(OTHER, 5)  # type: ignore[arg-type]
        assert w.stream.standing(OTHER) is not None


@in_loop
async def test_what_the_profile_does_not_know_is_delivered_and_counted() -> None:
    async with watching([BOOK]) as (venue, w):
        await w.stream.wait_live(SECONDS)
        assert venue.link is not None
        await venue.link.send("{no json")
        await venue.link.send('{"something":"else"}')
        await w.until(lambda: len([i for i in w.items if isinstance(i, Message)]) == 3)
        told = [i.data for i in w.items if isinstance(i, Message)][1:]
        assert told == ["{no json", '{"something":"else"}']
        assert w.of(Lost) == w.of(ChannelStalled) == w.of(ChannelRevived) == []


@pytest.mark.parametrize(
    ("name", "channel", "is_loaded"),
    [
        ("binance/usdm", "btcusdt@depth@100ms", True),
        ("binance/usdm", "btcusdt@aggTrade", False),
        ("kucoin/spot", "/market/match:BTC-USDT", True),
        ("deribit", BOOK, False),
    ],
)
def test_what_calls_need_is_loaded_before_the_loop_could_stand_still_for_it(
    name: str, channel: str, is_loaded: bool
) -> None:
    script = (
        f"import sys, heartline; heartline.Venue(name={name!r}, channels=[{channel!r}])"
        "; print('httpx' in sys.modules)"
    )
    done = subprocess.run(
        (sys.executable, "-c", script), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(is_loaded)


@pytest.mark.parametrize(
    ("url", "more", "field"),
    [
        ("no-such-venue", {}, "no-such-venue"),
        ("deribit", {"venue": "okx"}, "url"),
        ("ws://127.0.0.1:1/", {"channels": ["x" * 257]}, "channels"),
        ("deribit", {"channels": "book"}, "channels"),
    ],
)
def test_what_cannot_be_is_refused_before_it_begins(
    url: str, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(heartline.HeartlineError, match=field):
        heartline.connect(url, **more)


class Echoing(Deribit):
    """It refuses every channel, and says what it was shown."""

    async def take(self, said: dict[str, Any]) -> None:
        if said["method"] != "public/subscribe":
            return await super().take(said)
        assert self.link is not None
        shown = self.link.request.headers["Authorization"]  # type: ignore[union-attr]
        error = {"code": 13009, "message": f"{shown} may not read this"}
        await self.send({"jsonrpc": "2.0", "id": said["id"], "error": error})


@in_loop
async def test_a_refusal_that_echoes_a_token_does_not_show_it() -> None:
    headers = {"Authorization": "Bearer hush-hush-123"}
    async with watching([BOOK], venue=Echoing(), headers=headers) as (_, w):
        await w.until(lambda: w.of(SubscriptionFailed))
        assert "13009" in w.of(SubscriptionFailed)[0].reason
        assert "hush-hush" not in repr(w.events) + repr(w.stream.status)


def send_all(stream: heartline.Stream, messages: list[str]) -> None:
    for message in messages:
        stream.send(message)


@in_loop
async def test_a_full_outbox_holds_up_no_subscription() -> None:
    async with watching([BOOK], outbox_limit_bytes=200_000) as (venue, w):
        await w.stream.wait_live(SECONDS)
        assert venue.link is not None
        venue.link.transport.pause_reading()
        # It would be deflated to nothing, were it all alike.
        noise = random.Random(1).randbytes(20_000).hex()
        own = json.dumps({"method": "public/own", "text": noise})
        with pytest.raises(heartline.OutboxFull):
            send_all(w.stream, [own] * 10_000)
        with pytest.raises(heartline.OutboxFull):
            send_all(w.stream, ['{"method":"public/own"}'] * 10_000)
        w.stream.subscribe(OTHER)
        venue.link.transport.resume_reading()
        await w.until(lambda: w.stream.standing(OTHER) is Standing.LIVE)
        assert w.of(Lost) == []
