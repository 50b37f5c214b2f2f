"""Publishing: who gets what, what slow clients miss, how a server takes its leave."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import Any

import msgspec
import pytest

import heartline
from heartline.core import events
from loopback import both_loops, crowding, until
from server_kit import (
    QUICK,
    Told,
    ask,
    dial,
    emptied,
    heard,
    in_loop,
    joined,
    only,
    raw,
    speaking,
)

FEW = heartline.Inbox(limit=4, limit_bytes=1 << 20, policy="drop_oldest")
BULK = "x" * 100_000
"""A few of these fill every buffer on the way to a client that does not read."""


async def subscribed(link: Any, channel: str, **fields: Any) -> dict[str, Any]:
    await ask(link, "subscribe", channel=channel, **fields)
    return await heard(link, "subscribed")


@both_loops
@in_loop
async def test_who_reads_a_channel_gets_its_messages_in_order(loop: str) -> None:
    async with (
        heartline.serve() as server,
        speaking(server.url) as first,
        speaking(server.url) as second,
    ):
        assert (await subscribed(first, "book"))["offset"] == 0
        assert [server.publish("book", n) for n in range(3)] == [1, 2, 3]
        assert (await subscribed(second, "book"))["offset"] == 3
        server.publish("trades", "for nobody")
        server.publish("book", {"n": 3})
        told = [await heard(first, "message") for _ in range(4)]
        assert [m["offset"] for m in told] == [1, 2, 3, 4]
        assert [m["data"] for m in told] == [0, 1, 2, {"n": 3}]
        assert (await heard(second, "message"))["offset"] == 4
        await ask(first, "unsubscribe", channel="book")
        await ask(first, "beat")
        await heard(first, "beat")
        server.publish("book", "last")
        assert (await heard(second, "message"))["data"] == "last"
        await ask(first, "beat")
        assert (await heard(first, "beat"))["type"] == "beat"


@pytest.mark.parametrize(
    ("data", "plain", "framed"),
    [
        ("hello", "hello", {"data": "hello"}),
        (b"\x00\xff", b"\x00\xff", {"base64": "AP8="}),
        ({"a": [1]}, '{"a":[1]}', {"data": {"a": [1]}}),
        (msgspec.Raw(b'{"b": 2}'), '{"b": 2}', {"data": {"b": 2}}),
    ],
    ids=["text", "bytes", "object", "raw JSON"],
)
def test_a_plain_client_gets_the_data_and_the_other_gets_it_in_a_frame(
    data: object, plain: str | bytes, framed: dict[str, object]
) -> None:
    @in_loop
    async def run() -> None:
        async with (
            heartline.serve() as server,
            dial(server.url) as bare,
            speaking(server.url) as knowing,
        ):
            await joined(server, 2)
            assert server.broadcast(data) == 2
            assert await bare.recv() == plain
            assert await heard(knowing, "message") == {"type": "message"} | framed
            for client in server.clients:
                server.subscribe(client, "c")
            server.publish("c", data)
            assert await bare.recv() == plain
            numbered = {"type": "message", "channel": "c", "offset": 1} | framed
            assert await heard(knowing, "message") == numbered

    run()


def test_what_json_cannot_say_is_refused() -> None:
    @in_loop
    async def run() -> None:
        async with heartline.serve() as server:
            with pytest.raises(heartline.UsageError, match="publish"):
                server.publish("c", object())
            with pytest.raises(heartline.UsageError, match="publish"):
                server.publish("c", "\ud800")
            assert server.publish("c", "good") == 1

    run()


@in_loop
async def test_a_hub_is_told_of_everybody_and_may_refuse_a_channel() -> None:
    class Desk(heartline.Hub):
        def __init__(self) -> None:
            self.story: list[object] = []

        def on_join(self, client: heartline.Client) -> None:
            self.story.append("join")

        def on_message(
            self, client: heartline.Client, message: heartline.Message
        ) -> None:
            self.story.append(message.data)
            client.send("heard")

        def on_leave(self, client: heartline.Client, lost: events.Lost) -> None:
            self.story.append(lost.cause)

        def may_subscribe(self, client: heartline.Client, channel: str) -> bool:
            return channel == "open"

    desk = Desk()
    async with heartline.serve(desk) as server:
        async with speaking(server.url) as link:
            await ask(link, "subscribe", channel="closed")
            assert await heard(link, "refused") == {
                "type": "refused",
                "channel": "closed",
                "reason": "not allowed",
            }
            await subscribed(link, "open")
            await ask(link, "message", data={"buy": 1})
            assert (await heard(link, "message"))["data"] == "heard"
        await emptied(server)
    assert desk.story == ["join", '{"buy": 1}', heartline.Cause.CLOSED_BY_PEER]


@in_loop
async def test_a_hub_that_fails_costs_its_client_and_no_other() -> None:
    class Broken(heartline.Hub):
        def on_message(
            self, client: heartline.Client, message: heartline.Message
        ) -> None:
            raise RuntimeError("a defect")

    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(context["exception"])
    )
    async with (
        heartline.serve(Broken()) as server,
        dial(server.url) as talker,
        dial(server.url) as other,
    ):
        await joined(server, 2)
        await talker.send("hi")
        await talker.wait_closed()
        assert talker.close_code == 1011
        server.broadcast("on it goes")
        assert await other.recv() == "on it goes"
    assert len(failures) == 1


@in_loop
async def test_what_is_refused_without_the_program_never_reaches_it() -> None:
    class Asked(heartline.Hub):
        asked = granted = 0

        def may_subscribe(self, client: heartline.Client, channel: str) -> bool:
            self.asked += 1
            return True

        def on_subscribe(self, client: heartline.Client, channel: str) -> None:
            self.granted += 1
            client.send("a long welcome")

    hub, limits = Asked(), heartline.Limits(subscriptions=2)
    async with (
        heartline.serve(hub, limits=limits) as server,
        speaking(server.url) as link,
    ):
        await heard(link, "terms")
        await ask(link, "subscribe", channel="a")
        assert (await heard(link))["data"] == "a long welcome"
        assert (await heard(link))["type"] == "subscribed"
        for _ in range(5):
            await ask(link, "subscribe", channel="a")
            assert (await heard(link))["reason"] == "subscribed already"
        assert (hub.asked, hub.granted) == (1, 1)
        # Where it may be is told to those alone who may read it; no welcome goes out.
        await ask(link, "subscribe", channel="b", epoch=server.epoch, offset=7)
        assert (await heard(link))["reason"] == "offset: wanted 0 to 0, got 7"
        assert (hub.asked, hub.granted) == (2, 1)
        await subscribed(link, "b")
        await ask(link, "subscribe", channel="c")
        assert (await heard(link))["reason"] == "at most 2 channels"
        assert (hub.asked, hub.granted) == (3, 2)


@in_loop
async def test_a_hub_that_fails_at_a_subscription_costs_its_client() -> None:
    class Broken(heartline.Hub):
        def may_subscribe(self, client: heartline.Client, channel: str) -> bool:
            raise RuntimeError("a defect")

    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(context["exception"])
    )
    async with heartline.serve(Broken()) as server, speaking(server.url) as link:
        await ask(link, "subscribe", channel="any")
        await link.wait_closed()
        assert link.close_code == 1011
    assert len(failures) == 1


@in_loop
async def test_a_handler_reads_its_client_and_its_end_closes_the_client() -> None:
    async def greeter(client: heartline.Client) -> None:
        async for message in client:
            if message.data == "leave":
                return
            client.send(f"you said {message.data!r}")

    async with heartline.serve(greeter) as server, dial(server.url) as link:
        await link.send("hi")
        assert await link.recv() == "you said 'hi'"
        await link.send("leave")
        await link.wait_closed()
        assert link.close_code == 1000


@in_loop
async def test_a_handler_that_leaves_its_loop_or_times_out_reads_on() -> None:
    read: list[str | bytes] = []
    began, waited = asyncio.Event(), asyncio.Event()

    async def handler(client: heartline.Client) -> None:
        await began.wait()
        async for message in client:
            read.append(message.data)
            break
        said = aiter(client)
        for _ in range(2):
            read.append((await anext(said)).data)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(said)
        waited.set()
        async for message in said:
            read.append(message.data)

    async with heartline.serve(handler) as server, dial(server.url) as link:
        for number in range(3):
            await link.send(str(number))
        await (await link.ping())
        began.set()
        await waited.wait()
        await link.send("after the wait")
        await until(lambda: len(read) == 4, "all was read")
    assert read == ["0", "1", "2", "after the wait"]


@in_loop
async def test_a_close_that_cannot_be_said_is_refused_and_leaves_the_client() -> None:
    async with heartline.serve() as server, dial(server.url) as link:
        [client] = server.clients
        codes: list[Any] = [0, -1, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70_000]
        for code in [*codes, 1000.5, "1000", None]:
            with pytest.raises(heartline.UsageError, match="code"):
                client.close(code)
        client.send("still here")
        assert await link.recv() == "still here"


@in_loop
async def test_a_reason_that_utf_8_cannot_say_still_closes_the_client() -> None:
    told = Told()
    async with heartline.serve(on_event=told) as server, dial(server.url) as link:
        [client] = server.clients
        client.close(1008, "you said \ud800")
        await link.wait_closed()
        assert (link.close_code, link.close_reason) == (1008, "you said ?")
        await until(lambda: bool(told.of(events.Lost)), "its end is told")
    [lost] = told.of(events.Lost)
    assert (lost.status, lost.reason) == (1008, "you said ?")


@in_loop
async def test_a_slow_handler_makes_only_its_own_client_wait() -> None:
    gate = asyncio.Event()
    read: list[str | bytes] = []

    async def slow(client: heartline.Client) -> None:
        await gate.wait()
        async for message in client:
            read.append(message.data)

    told = Told()
    liveness = heartline.Liveness(
        ping_every=0.2, peer_busy=0.3, peer_idle=0.4, stall_after=0.5
    )
    async with (
        heartline.serve(slow, liveness=liveness, on_event=told) as server,
        dial(server.url) as link,
    ):
        for number in range(2000):
            await link.send(str(number))
        await until(
            lambda: any(
                event.condition is heartline.Condition.PAUSED
                for event in told.of(events.ConditionBegan)
            ),
            "reading is paused",
        )
        # Longer than its bound: nobody is judged while nothing is read.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(link.wait_closed(), 1.0)
        gate.set()
        await until(lambda: len(read) == 2000, "all was read")
    assert read == [str(number) for number in range(2000)]


# --- slow clients ----------------------------------------------------------------


async def stop_up(server: heartline.Server, client: heartline.Client) -> None:
    """Fill the pipe to a client that does not read, until messages wait."""
    while not client.waiting:
        client.send("." * 60_000)
        await asyncio.sleep(0)


@both_loops
@in_loop
async def test_drop_oldest_tells_exactly_what_is_missing(loop: str) -> None:
    async with (
        heartline.serve(slow=FEW) as server,
        speaking(server.url, max_queue=1) as link,
    ):
        await heard(link, "terms")
        client = only(server)
        await subscribed(link, "book")
        link.transport.pause_reading()
        await stop_up(server, client)
        for number in range(1, 51):
            server.publish("book", number)
        assert client.waiting <= 4
        link.transport.resume_reading()
        accounted: list[int] = []
        while len(accounted) < 50:
            frame = await heard(link)
            if frame["type"] == "gap" and "channel" in frame:
                assert frame["reason"] == "overflow"
                accounted += range(frame["first"], frame["last"] + 1)
            elif "offset" in frame:
                accounted.append(frame["offset"])
                assert frame["data"] == frame["offset"]
        assert accounted == list(range(1, 51))
        # It has caught up: what follows comes at once.
        await until(lambda: not client.waiting, "nothing waits")
        server.publish("book", 51)
        assert (await heard(link, "message"))["offset"] == 51


@in_loop
async def test_conflation_brings_the_latest_of_each_key() -> None:
    def symbol(message: heartline.Message) -> object:
        return json.loads(message.data)["s"] if message.channel else message

    latest = heartline.Inbox(limit=3, policy="conflate", key=symbol)
    async with (
        heartline.serve(slow=latest) as server,
        speaking(server.url, max_queue=1) as link,
    ):
        await subscribed(link, "quotes")
        client = only(server)
        link.transport.pause_reading()
        await stop_up(server, client)
        for number in range(40):
            server.publish("quotes", {"s": "AB"[number % 2], "n": number})
        link.transport.resume_reading()
        last: dict[str, int] = {}
        while set(last.values()) != {38, 39}:
            frame = await heard(link)
            if frame["type"] == "message" and "channel" in frame:
                last[frame["data"]["s"]] = frame["data"]["n"]
        assert last == {"A": 38, "B": 39}


@in_loop
async def test_a_class_that_disconnects_says_why_and_harms_nobody_else() -> None:
    strict = heartline.Inbox(limit=2, policy="disconnect")

    def choose(request: heartline.Request) -> heartline.Inbox:
        return strict if request.query.get("class") == "strict" else FEW

    told = Told()
    async with (
        heartline.serve(slow=choose, on_event=told) as server,
        raw(server.port) as lazy,
        dial(server.url) as good,
    ):
        await joined(server, 2)
        async with dial(server.url + "?class=strict", max_queue=1) as strict_one:
            await joined(server, 3)
            strict_one.transport.pause_reading()
            asked = [c for c in server.clients if c.request.query]
            while not told.of(events.Lost):
                server.broadcast(BULK)
                assert await good.recv() == BULK
            assert asked[0].lost is not None
            assert asked[0].lost.status == 1008
            assert "slow consumer" in asked[0].lost.reason
        await until(lambda: server.status.clients == 2, "the lazy one stays")
        assert lazy


@in_loop
async def test_a_client_that_takes_nothing_any_more_is_closed_at_the_outbound_age() -> (
    None
):
    limits = heartline.Limits(outbound_age=0.3, close=0.1)
    told = Told()
    async with (
        heartline.serve(limits=limits, slow=FEW, on_event=told) as server,
        raw(server.port),
    ):
        await joined(server)
        await stop_up(server, only(server))
        began = time.monotonic()
        await emptied(server)
        assert time.monotonic() - began < 1.5 * crowding()
    assert told.of(events.Lost)[0].status == 1008


@in_loop
async def test_what_still_waits_at_a_close_is_counted_as_unsent_though_it_reads() -> (
    None
):
    told = Told()
    async with heartline.serve(on_event=told) as server:
        async with dial(server.url, max_queue=1) as link:
            [client] = server.clients
            link.transport.pause_reading()
            await stop_up(server, client)
            for number in range(7):
                client.send(f"{number}")
            waits = client.waiting
            client.close(1000)
            link.transport.resume_reading()
            read = [said async for said in link]
            assert "6" not in read
        await until(lambda: bool(told.of(events.Lost)), "its end is told")
    [lost] = told.of(events.Lost)
    assert lost.unsent == waits >= 7


@in_loop
async def test_one_that_never_reads_costs_no_more_than_its_class_allows() -> None:
    async with heartline.serve(slow=FEW) as server, raw(server.port) as client:
        await joined(server)
        mine = only(server)
        for number in range(500):
            mine.send(f"{number}" * 10_000)
            if number % 50 == 0:
                await asyncio.sleep(0)
        assert client
        assert mine.outlet is not None
        assert mine.outlet.backlog is not None
        assert mine.waiting <= 4
        assert mine.outlet.backlog.waiting_bytes <= FEW.limit_bytes


# --- leaving ---------------------------------------------------------------------


@both_loops
@in_loop
async def test_a_drain_tells_where_to_go_and_spreads_the_closes(loop: str) -> None:
    async with heartline.serve() as server:
        links = [speaking(server.url) for _ in range(3)]
        opened = [await link.__aenter__() for link in links]
        async with dial(server.url) as plain:
            await joined(server, 4)
            port, began = server.port, time.monotonic()
            closing = asyncio.create_task(
                server.aclose(drain=0.6, go="wss://other.example/", reason="update")
            )
            notice = await heard(opened[0], "notice")
            assert notice == {
                "type": "notice",
                "code": 1012,
                "reason": "update",
                "within": 0.6,
                "go": "wss://other.example/",
            }
            with pytest.raises(OSError, match=r"[Cc]onnect"):
                await asyncio.open_connection("127.0.0.1", port)
            ended: list[float] = []
            for link in (*opened, plain):
                await link.wait_closed()
                ended.append(time.monotonic() - began)
                assert link.close_code == 1012
                assert link.close_reason == "wss://other.example/"
            await closing
            assert max(ended) - min(ended) > 0.2
            assert max(ended) < 1.5
        for link in links:
            await link.__aexit__(None, None, None)


@in_loop
async def test_sigterm_drains_and_ends_the_server() -> None:
    async with heartline.serve() as server, dial(server.url) as link:
        await joined(server)
        server.drain_on(drain=0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        await server.wait_closed()
        assert link.close_code == 1012 or (await link.wait_closed()) is None
        assert server.status.draining


@in_loop
async def test_a_close_is_bounded_though_nobody_reads_or_answers() -> None:
    limits = heartline.Limits(close=0.2)
    async with (
        heartline.serve(limits=limits, slow=FEW) as server,
        raw(server.port),
        raw(server.port),
    ):
        await joined(server, 2)
        for client in server.clients:
            await stop_up(server, client)
        began = time.monotonic()
        await server.aclose()
        assert time.monotonic() - began < 1.0 * crowding()
        assert server.status.clients == 0


# --- nothing grows ---------------------------------------------------------------


@in_loop
async def test_channels_nobody_published_to_are_forgotten_with_their_readers() -> None:
    async with heartline.serve() as server:
        async with speaking(server.url) as link:
            await subscribed(link, "left")
            for number in range(20):
                await subscribed(link, f"random {number}")
                await ask(link, "unsubscribe", channel=f"never {number}")
            await ask(link, "unsubscribe", channel="left")
            await ask(link, "subscribe", channel="bad", epoch=server.epoch, offset=9)
            await heard(link, "refused")
            assert server.status.channels == 20
            server.publish("kept", 1)
        await until(lambda: server.status.channels == 1, "the one published to")


@in_loop
async def test_a_client_has_no_more_channels_than_its_limit() -> None:
    limits = heartline.Limits(subscriptions=2)
    async with heartline.serve(limits=limits) as server, speaking(server.url) as link:
        await subscribed(link, "a")
        await subscribed(link, "b")
        await ask(link, "subscribe", channel="c")
        assert (await heard(link, "refused"))["reason"] == "at most 2 channels"
        await ask(link, "subscribe", channel="a")
        assert (await heard(link, "refused"))["channel"] == "a"


@in_loop
async def test_a_defect_in_a_look_costs_one_client_and_not_the_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(context["exception"])
    )
    async with (
        heartline.serve(liveness=QUICK) as server,
        dial(server.url) as first,
        dial(server.url),
    ):
        await joined(server, 2)
        victim, other = server.clients

        def broken(self: heartline.Client, payload: bytes) -> None:
            if self is victim:
                raise RuntimeError("a defect")
            whole(self, payload)

        whole = heartline.Client.ping
        monkeypatch.setattr(heartline.Client, "ping", broken)
        await until(lambda: victim.lost is not None, "the victim is dropped")
        assert len(failures) == 1
        samples = other.round_trip.samples
        await until(lambda: other.round_trip.samples > samples, "the other is beaten")
        assert first


@pytest.mark.parametrize(
    "leaving", [{"drain": -1}, {"go": "x" * 124}, {"reason": "x" * 124}]
)
def test_a_farewell_that_cannot_be_said_is_refused(leaving: dict[str, Any]) -> None:
    @in_loop
    async def run() -> None:
        async with heartline.serve() as server:
            with pytest.raises(heartline.UsageError, match=next(iter(leaving))):
                await server.aclose(**leaving)

    run()
