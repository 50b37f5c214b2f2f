"""A stream of a plain URL with channels: `heartline.v1`, spoken by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import serve as serve_plain

import heartline
from heartline import Cause, Gap, Message, Status
from heartline.client.resume import Numbered, Resumption
from heartline.core.channel_events import GapClosed
from heartline.core.events import Event, GapFound
from heartline.core.inbox import Overflow
from heartline.core.subscribing import Standing
from heartline.wire import resume as wire
from loopback import until
from server_kit import in_loop, joined, only

BACKOFF = heartline.Backoff(base=0.02, cap=0.1, gentle_base=0.05)


class Heard:
    """A stream that is read, and all that it gave and told."""

    def __init__(self, url: str, *channels: str, **options: Any) -> None:
        self.events: list[Event] = []
        self.items: list[Any] = []
        self.stream = heartline.connect(
            url,
            channels=channels,
            backoff=BACKOFF,
            on_event=self.events.append,
            **options,
        )

    async def read(self) -> None:
        async for item in self.stream:
            self.items.append(item)

    @property
    def data(self) -> list[str | bytes]:
        return [item.data for item in self.items if isinstance(item, Message)]

    @property
    def offsets(self) -> list[int]:
        return [item.offset for item in self.items if isinstance(item, Numbered)]

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]

    @property
    def statuses(self) -> list[Status]:
        return [item for item in self.items if isinstance(item, Status)]


@asynccontextmanager
async def hearing(url: str, *channels: str, **options: Any) -> AsyncIterator[Heard]:
    heard = Heard(url, *channels, **options)
    async with heard.stream:
        reading = asyncio.create_task(heard.read())
        try:
            yield heard
        finally:
            await heard.stream.aclose()
            with suppress(heartline.HeartlineError):
                await reading


@in_loop
async def test_channels_of_a_plain_url_are_read_as_they_were_published() -> None:
    async with heartline.serve() as server:
        async with hearing(server.url, "book", "tick") as heard:
            status = await heard.stream.wait_live()
            assert status.live
            assert heard.stream.standing("book") is Standing.CONFIRMED
            server.publish("book", 'a "text"')
            server.publish("tick", b"\x00\xff")
            server.publish("book", {"bid": 1})
            server.publish("other", "not asked for")
            only(server).send("to you alone")
            await until(lambda: len(heard.data) == 4, "all of it")
            assert heard.data == ['a "text"', b"\x00\xff", '{"bid":1}', "to you alone"]
            told = [i for i in heard.items if isinstance(i, Numbered)]
            assert [(i.channel, i.offset, i.json) for i in told] == [
                ("book", 1, False),
                ("tick", 1, False),
                ("book", 2, True),
            ]
            assert {i.of_epoch for i in told} == {server.epoch}
            assert heard.stream.standing("book") is Standing.LIVE
            assert heard.stream.is_fresh("book", max_age=60.0)
        assert heard.gaps == []


@in_loop
async def test_an_outage_costs_nothing_and_is_told_closed_for_each_channel() -> None:
    async with heartline.serve() as server:
        async with hearing(server.url, "book", "idle") as heard:
            await heard.stream.wait_live()
            server.publish("book", 1)
            await until(lambda: heard.offsets == [1], "live data")
            for number in range(2, 5):
                only(server).abort("a cut")
                server.publish("book", number)
                await until(lambda n=number: len(heard.offsets) == n, "what was missed")
                await heard.stream.wait_live()
                await joined(server, 1)
            assert heard.offsets == [1, 2, 3, 4]
            assert heard.gaps == []
            closed = [e.gap for e in heard.events if isinstance(e, GapClosed)]
            assert [gap.channel for gap in closed] == ["book", "idle"] * 3
            assert sum(isinstance(e, GapFound) for e in heard.events) == 3
            assert heard.stream.status.outages == 3
        # LIVE is told again only before what is of now.
        order = [
            item.live if isinstance(item, Status) else item.offset
            for item in heard.items
            if isinstance(item, Numbered) or (isinstance(item, Status) and item.live)
        ]
        assert order == [True, 1, True, 2, True, 3, True, 4]


@in_loop
async def test_what_is_gone_is_a_gap_with_its_numbers_at_its_place() -> None:
    async with heartline.serve(resume=heartline.Resume(messages=2)) as server:
        async with hearing(server.url, "book") as heard:
            await heard.stream.wait_live()
            server.publish("book", 1)
            await until(lambda: heard.offsets == [1], "live data")
            only(server).abort("a cut")
            for number in range(2, 10):
                server.publish("book", number)
            await until(lambda: heard.offsets == [1, 8, 9], "what is kept")
            (gap,) = heard.gaps
            assert (gap.channel, gap.first, gap.last, gap.missing) == ("book", 2, 7, 6)
            place = heard.items.index(gap)
            assert [type(item) for item in heard.items[place + 1 :]] == [Numbered] * 2
            assert heard.stream.status.counts.gaps == 2
        # What is gone is not closed.
        assert not any(isinstance(e, GapClosed) for e in heard.events)


@in_loop
async def test_a_server_that_began_anew_is_an_open_gap_and_then_its_own_numbers() -> (
    None
):
    async with heartline.serve() as server:
        port = server.port
        heard = Heard(server.url, "book")
        await heard.stream.__aenter__()
        reading = asyncio.create_task(heard.read())
        await heard.stream.wait_live()
        for number in range(1, 4):
            server.publish("book", number)
        await until(lambda: heard.offsets == [1, 2, 3], "live data")
    async with heartline.serve(port=port) as server:
        server.publish("book", "anew")
        await until(lambda: heard.offsets == [1, 2, 3, 1], "the next epoch")
        (gap,) = heard.gaps
        assert (gap.reason, gap.channel, gap.first, gap.last) == (
            "outage",
            "book",
            4,
            None,
        )
        assert heard.items[-1].of_epoch == server.epoch
        await heard.stream.aclose()
        await reading


@in_loop
async def test_a_server_that_does_not_speak_it_is_named_at_once() -> None:
    async def handler(link: Any) -> None:
        await link.wait_closed()

    async with serve_plain(handler, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        stream = heartline.connect(f"ws://127.0.0.1:{port}/", channels=["book"])
        async with stream:
            with pytest.raises(heartline.UsageError, match=r"speaks heartline\.v1"):
                async for _ in stream:
                    pass


@pytest.mark.parametrize(
    ("channels", "options", "said"),
    [
        ("book", {}, "one text"),
        (["a", ""], {}, "1 to 256"),
        (["a"], {"heartbeat": heartline.Heartbeat(send="x")}, "beats by itself"),
    ],
)
def test_what_cannot_be_asked_for_is_an_error_with_a_name(
    channels: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(heartline.UsageError, match=said):
        heartline.connect("ws://127.0.0.1:1/", channels=channels, **options)


@in_loop
async def test_a_channel_that_is_not_granted_is_told_and_the_others_go_on() -> None:
    class Strict(heartline.Hub):
        def may_subscribe(self, client: heartline.Client, channel: str) -> bool:
            return channel != "secret"

    async with (
        heartline.serve(Strict()) as server,
        hearing(server.url, "book", "secret") as heard,
    ):
        await until(lambda: heard.stream.status.cause is Cause.CHANNEL_STALLED, "told")
        assert "secret is not subscribed: not allowed" in heard.stream.status.evidence
        assert heard.stream.standing("secret") is Standing.FAILED
        server.publish("book", 1)
        await until(lambda: heard.offsets == [1], "the other's data")
        only(server).abort("a cut")
        server.publish("book", 2)
        await until(lambda: heard.offsets == [1, 2], "what was missed")
        # Of what is not read nothing is known.
        await until(lambda: bool(heard.gaps), "its outage")
        assert [gap.channel for gap in heard.gaps] == ["secret"]


@in_loop
async def test_channels_come_and_go_while_it_runs() -> None:
    async with heartline.serve() as server, hearing(server.url, "a") as heard:
        await heard.stream.wait_live()
        heard.stream.subscribe("b")
        await until(lambda: heard.stream.standing("b") is Standing.CONFIRMED, "granted")
        heard.stream.unsubscribe("a")
        await until(lambda: server.status.channels == 1, "left")
        server.publish("a", "unheard")
        server.publish("b", "heard")
        await until(lambda: heard.data == ["heard"], "the new one alone")
        only(server).abort("a cut")
        server.publish("b", "missed")
        await until(lambda: heard.data == ["heard", "missed"], "resumed")
        with pytest.raises(heartline.UsageError, match="1 to 256"):
            heard.stream.subscribe("")


@in_loop
async def test_a_replay_longer_than_the_inbox_is_read_all_the_same() -> None:
    inbox = heartline.Inbox(limit=8, policy=Overflow.BLOCK)
    async with (
        heartline.serve() as server,
        hearing(server.url, "book", inbox=inbox) as heard,
    ):
        await heard.stream.wait_live()
        only(server).abort("a cut")
        for number in range(1, 101):
            server.publish("book", number)
        await until(lambda: heard.offsets == list(range(1, 101)), "all of it")
        assert heard.gaps == []
        assert heard.stream.status.outages == 1


@in_loop
async def test_a_server_that_goes_sends_its_clients_to_another() -> None:
    async with (
        heartline.serve() as there,
        heartline.serve() as here,
        hearing(here.url, "book") as heard,
    ):
        await heard.stream.wait_live()
        await here.aclose(drain=0.1, go=there.url)
        await joined(there, 1)
        await heard.stream.wait_live()
        there.publish("book", "there")
        await until(lambda: heard.data == ["there"], "data of the other")


@pytest.mark.parametrize(
    ("url", "proxy", "often"),
    [
        ("ws://127.0.0.1:9/", None, 50.0),
        ("ws://localhost/", None, 50.0),
        ("ws://[::1]:9/", None, 50.0),
        ("ws://127.0.0.1:9/", "http://127.0.0.1:3128", None),
        ("ws://10.0.0.1:9/", None, None),
        ("wss://localhost.example.com/", None, None),
    ],
)
def test_only_this_host_is_dialled_at_a_pace_that_no_venue_would_like(
    url: str, proxy: str | None, often: float | None
) -> None:
    def pace(**options: Any) -> float | None:
        stream = heartline.connect(url, proxy=proxy, **options)
        return stream._driver.session.terms.dialling.per_second

    assert pace() == often
    assert pace(dialling=heartline.Dialling(per_second=2.0)) == 2.0


@in_loop
async def test_forty_readers_of_one_process_come_back_without_waiting_in_line() -> None:
    # One dial a second would take longer than a test may.
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(heartline.serve())
        readers = [
            await stack.enter_async_context(hearing(server.url, "book"))
            for _ in range(40)
        ]
        await asyncio.gather(*(each.stream.wait_live() for each in readers))
        for client in list(server.clients):
            client.abort("a cut")
        server.publish("book", "missed")
        await until(lambda: all(each.data == ["missed"] for each in readers), "back")


@in_loop
async def test_it_is_offered_beside_what_the_user_offers() -> None:
    async with heartline.serve() as server:
        headers = {"sec-websocket-protocol": "chat", "X-Key": "k"}
        async with hearing(server.url, "book", headers=headers) as heard:
            await heard.stream.wait_live()
            request = only(server).request
            assert only(server).speaks
            assert request.headers["X-Key"] == "k"
            offered = request.headers["Sec-WebSocket-Protocol"]
            assert offered == "chat, heartline.v1"


STEPS = st.lists(
    st.sampled_from(["publish", "publish", "hear", "hear", "open", "lose"]),
    max_size=60,
)


@given(steps=STEPS, kept=st.integers(min_value=0, max_value=4))
def test_what_a_link_brought_before_it_was_open_comes_again_if_it_is_lost(
    steps: list[str], kept: int
) -> None:
    """The consumer has nothing of such a link, so its places count for nothing."""
    history: wire.History[bytes] = wire.History(wire.Resume(messages=kept))
    place = Resumption(["c"])
    had: list[int] = []
    early: list[int] = []
    pipe: list[bytes] = []
    is_open, began = False, place.begin()

    def dial() -> None:
        nonlocal is_open, began
        if not is_open:
            place.back_to(began)
        is_open, began = False, place.begin()
        early.clear()
        asked: dict[str, Any] = json.loads(place.opening()[0])
        subscribed = wire.SubscribedFrame(channel="c", epoch="e", offset=history.head)
        pipe[:] = [wire.encode(subscribed)]
        missed = history.after(asked.get("offset", history.head), now=0.0)
        if missed.first is not None:
            gap = wire.GapFrame(
                reason="history", channel="c", first=missed.first, last=missed.last
            )
            pipe.append(wire.encode(gap))
        pipe.extend(missed.messages)

    def hear() -> None:
        for news in place.take(Message(pipe.pop(0).decode(), 0.0)):
            numbers = had if is_open else early
            if isinstance(news, Numbered):
                numbers.append(news.offset)
            elif isinstance(news, Gap) and news.first and news.last:
                numbers += range(news.first, news.last + 1)

    def become_open() -> None:
        nonlocal is_open
        is_open = True
        had.extend(early)
        early.clear()

    dial()
    hear()
    become_open()
    for step in steps:
        if step == "publish":
            text = wire.message_text("c", history.head + 1, "x")
            history.append(text, 1, now=0.0)
            pipe.append(text)
        elif step == "hear" and pipe:
            hear()
        elif step == "open":
            become_open()
        elif step == "lose":
            dial()
    dial()
    while pipe:
        hear()
    assert not place.behind
    become_open()
    assert had == list(range(1, history.head + 1))
