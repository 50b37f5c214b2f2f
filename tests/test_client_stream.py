"""What a user does with a stream: read, send, ask; over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import heartline
from faulty_peer import silent
from heartline.core.events import (
    Connected,
    DialLost,
    Lost,
    RoundTripMeasured,
    Surrendered,
)
from heartline.testing import FaultyServer
from loopback import both_loops, until
from stream_kit import (
    FAST,
    check_ledger,
    fill,
    in_loop,
    seq,
    watching,
)


@contextlib.asynccontextmanager
async def loop_errors() -> AsyncIterator[list[dict[str, Any]]]:
    """What is reported to the loop's exception handler meanwhile."""
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        yield told
    finally:
        loop.set_exception_handler(None)


# --- reading ----------------------------------------------------------------------


@both_loops
@in_loop
async def test_a_status_comes_first_then_every_message_in_order(loop: str) -> None:
    async with FaultyServer(rate=0) as server, watching(server.url) as w:
        await w.live()
        await server.burst(5000)
        await w.until(lambda: len(w.messages) >= 5000, "5000 messages")
        assert [seq(m) for m in w.messages] == list(range(1, 5001))
        assert isinstance(w.items[0], heartline.Status)
        assert {m.epoch for m in w.messages} == {1}
        assert {m.age for m in w.messages} == {0.0}
        assert w.gaps == []
        counts = w.stream.status.counts
        assert counts.messages == counts.delivered == 5000


@both_loops
@in_loop
async def test_text_and_binary_come_byte_for_byte(loop: str) -> None:
    sent: list[str | bytes] = ["", b"", "é\u2028\U0001f600", b"\x00\xff" * 9]
    sent += ["x" * n for n in (125, 126, 65535, 65536)] + [bytes(range(256)) * 300]
    async with FaultyServer(rate=0) as server, watching(server.url) as w:
        await server.do("echo")
        await w.live()
        for data in sent:
            w.stream.send(data)
        await w.until(lambda: len(w.data) >= len(sent), "the echoes")
        assert w.data == sent
        assert [type(data) for data in w.data] == [type(data) for data in sent]
        assert w.stream.status.counts.sent == len(sent)
        assert (await server.counts()).violations == 0


@in_loop
async def test_whoever_breaks_off_reading_loses_nothing() -> None:
    async with (
        FaultyServer(rate=0) as server,
        heartline.connect(server.url) as stream,
    ):
        await stream.wait_live(5)
        await server.burst(2000)
        got: list[heartline.Item] = []

        async def read(most: int) -> None:
            async for item in stream:
                got.append(item)
                if len(got) >= most:
                    break

        while len(got) < 1000:  # broken off after every seventh item
            await read(len(got) + 7)
        while len(got) < 1500:  # cancelled, while it waits or after it has read
            task = asyncio.create_task(read(len(got) + 100))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await server.burst(1)
        waiting = asyncio.create_task(read(1_000_000))
        await server.burst(1)
        _, last = await server.burst(1)
        await until(lambda: seq_of_last(got) >= last, "the last")
        waiting.cancel()
        await asyncio.wait([waiting])
        _, last = await server.burst(1)
        async for batch in stream.batches():
            got += batch
            if seq_of_last(got) == last:
                break
        numbers = [seq(m) for m in got if isinstance(m, heartline.Message)]
        assert numbers == list(range(1, last + 1))


def seq_of_last(items: list[heartline.Item]) -> int:
    last = items[-1] if items else None
    return seq(last) if isinstance(last, heartline.Message) else 0


@in_loop
async def test_batches_hold_what_waits_in_order() -> None:
    async with (
        FaultyServer(rate=0) as server,
        heartline.connect(server.url) as stream,
    ):
        await stream.wait_live(5)
        await server.burst(5000)
        batches: list[list[heartline.Item]] = []
        async for batch in stream.batches():
            batches.append(batch)
            if seq_of_last(batch) == 5000:
                break
        assert all(batches)
        assert max(map(len, batches)) > 10
        items = [item for batch in batches for item in batch]
        assert isinstance(items[0], heartline.Status)
        numbers = [seq(m) for m in items if isinstance(m, heartline.Message)]
        assert numbers == list(range(1, 5001))


@in_loop
async def test_a_second_consumer_and_a_second_use_are_refused() -> None:
    async with FaultyServer(rate=0) as server:
        stream = heartline.connect(server.url)
        with pytest.raises(heartline.UsageError, match="async with"):
            await anext(aiter(stream))
        async with stream:
            with pytest.raises(heartline.UsageError, match="got 'another'"):
                async with stream:
                    pass
            await stream.wait_live(5)
            first = aiter(stream)
            while isinstance(item := await anext(first), heartline.Status):
                if item.live:
                    break
            waiting = asyncio.create_task(anext(first))
            await asyncio.sleep(0)
            with pytest.raises(heartline.UsageError, match="one consumer"):
                await anext(aiter(stream))
            waiting.cancel()
            # At once, without waiting for the cancelled one to notice.
            second = asyncio.create_task(anext(aiter(stream)))
            await server.burst(1)
            assert seq(await second) == 1
        with pytest.raises(heartline.UsageError, match="got 'another'"):
            async with stream:
                pass


@in_loop
async def test_openings_in_a_row_let_what_is_open_go_on() -> None:
    loop, ran = asyncio.get_running_loop(), list[int]()
    async with FaultyServer(rate=0) as server, contextlib.AsyncExitStack() as stack:
        for number in range(3):
            loop.call_soon(ran.append, number)
            await stack.enter_async_context(heartline.connect(server.url))
            assert ran == list(range(number + 1))


@both_loops
@in_loop
async def test_openings_at_once_have_a_pass_of_the_loop_each(loop: str) -> None:
    running, passes, opened = asyncio.get_running_loop(), 0, list[int]()

    def count() -> None:
        nonlocal passes
        passes += 1
        counting.append(running.call_soon(count))

    async def enter() -> None:
        await stack.enter_async_context(heartline.connect(server.url))
        opened.append(passes)

    async with FaultyServer(rate=0) as server, contextlib.AsyncExitStack() as stack:
        counting = [running.call_soon(count)]
        await asyncio.gather(*(enter() for _ in range(5)))
        counting[-1].cancel()
    assert opened == sorted(set(opened))


@in_loop
async def test_an_opening_that_is_cut_short_has_opened_nothing() -> None:
    stream = heartline.connect("ws://127.0.0.1:1/")
    opening = asyncio.create_task(stream.__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert stream.status.phase is heartline.Phase.IDLE


@in_loop
async def test_what_waits_can_be_read_after_the_end() -> None:
    async with FaultyServer(rate=0) as server:
        async with heartline.connect(server.url) as stream:
            await stream.wait_live(5)
            await server.burst(100)
            await until(lambda: stream.status.counts.messages == 100, "all of them")
        items = [item async for item in stream]
        numbers = [seq(m) for m in items if isinstance(m, heartline.Message)]
        assert numbers == list(range(1, 101))
        assert isinstance(items[-1], heartline.Status)
        assert items[-1].phase is heartline.Phase.CLOSED
        assert [item async for item in stream] == []


@in_loop
async def test_each_link_has_its_number_and_a_gap_comes_before_it() -> None:
    async with FaultyServer(rate=200) as server, watching(server.url) as w:
        for epoch in (1, 2, 3):
            await w.live(epoch)
            await w.fed(epoch)
            if epoch < 3:
                await server.do("close")
                await w.told(Lost, nth=epoch)
        assert {m.epoch for m in w.messages} == {1, 2, 3}
        assert [gap.epoch for gap in w.gaps] == [1, 2]
        for epoch in (2, 3):
            notes = [i for i in w.items if not isinstance(i, heartline.Message)]
            opened = next(
                n
                for n, i in enumerate(notes)
                if isinstance(i, heartline.Status) and i.live and i.epoch == epoch
            )
            assert isinstance(notes[opened - 1], heartline.Gap)
            before = w.items.index(notes[opened - 1])
            data = next(
                n
                for n, i in enumerate(w.items)
                if isinstance(i, heartline.Message) and i.epoch == epoch
            )
            assert before < w.items.index(notes[opened]) < data
            lost = w.items[:before]
            phases = [i.phase for i in lost if isinstance(i, heartline.Status)]
            assert phases[-2:] == [heartline.Phase.BACKOFF, heartline.Phase.CONNECTING]
        check_ledger(w.items)


# --- sending ----------------------------------------------------------------------


@in_loop
async def test_nothing_is_taken_while_the_stream_is_not_open() -> None:
    async with FaultyServer(rate=0) as server:
        stream = heartline.connect(server.url, backoff=FAST)
        with pytest.raises(heartline.NotOpen, match="IDLE"):
            stream.send("x")
        async with stream:
            with pytest.raises(heartline.NotOpen, match="CONNECTING"):
                stream.send("x")
            await stream.wait_live(5)
            stream.send("y")
            await server.until(lambda c: c.messages == 1)
        with pytest.raises(heartline.NotOpen, match="CLOSED"):
            stream.send("z")
        assert await server.received() == ["y"]
        assert stream.status.counts.sent == 1


@in_loop
async def test_a_full_outbox_takes_no_more_and_the_stream_lives_on() -> None:
    async with (
        FaultyServer(rate=50) as server,
        watching(server.url, outbox_limit_bytes=200_000) as w,
    ):
        await w.live()
        await server.do("deaf")
        sent = fill(w.stream)
        assert w.stream.status.counts.sent == sent
        await server.do("deaf", on=False)
        await server.until(lambda c: c.messages == sent)
        w.stream.send("after")
        await server.until(lambda c: c.messages == sent + 1)
        assert (await server.received())[-1] == "after"
        assert w.of(Lost) == []
        assert w.stream.status.counts.unsent == 0


@in_loop
async def test_what_was_not_sent_is_told_and_not_sent_again() -> None:
    async with (
        FaultyServer(rate=50) as server,
        watching(server.url, outbox_limit_bytes=200_000) as w,
    ):
        await w.live()
        await server.do("deaf")
        fill(w.stream)
        await server.do("reset")
        lost = await w.told(Lost)
        assert lost.unsent > 0
        assert lost.unconfirmed_bytes > 0 or lost.cause is heartline.Cause.RESET
        assert w.stream.status.counts.unsent == lost.unsent
        await server.do("restore")
        before = (await server.counts()).messages
        await w.live(2)
        assert w.stream.status.counts.unsent == lost.unsent
        w.stream.send("fresh")
        await server.until(lambda c: c.messages > before)
        assert (await server.received())[-1] == "fresh"


# --- what is sent on open ---------------------------------------------------------


def fixed() -> Any:
    return ["sub", b"\x01"]


def counted(make: Callable[[list[str]], Any]) -> Any:
    asked: list[str] = []

    def on_open() -> Any:
        asked.append("")
        return make([f"sub {len(asked)}"])

    return on_open


async def later(messages: list[str]) -> list[str]:
    await asyncio.sleep(0)
    return messages


@pytest.mark.parametrize(
    ("on_open", "wanted"),
    [
        (fixed(), ["sub", b"\x01"] * 2),
        (counted(list), ["sub 1", "sub 2"]),
        (counted(later), ["sub 1", "sub 2"]),
    ],
    ids=["fixed", "callable", "async"],
)
@in_loop
async def test_what_opens_the_stream_is_sent_after_each_redial(
    on_open: Any, wanted: list[str | bytes]
) -> None:
    async with (
        FaultyServer(rate=0) as server,
        watching(server.url, on_open=on_open) as w,
    ):
        await w.live()
        await server.until(lambda c: c.messages == len(wanted) // 2)
        await server.do("close")
        await w.live(2)
        await server.until(lambda c: c.messages == len(wanted))
        assert await server.received() == wanted
        assert w.stream.status.counts.sent == len(wanted)


@in_loop
async def test_an_on_open_that_fails_is_tried_again_and_keeps_its_secret() -> None:
    asked = 0

    async def on_open() -> list[str]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise RuntimeError("login failed for s3cret-token")
        return ["sub"]

    async with (
        FaultyServer(rate=0) as server,
        watching(server.url, on_open=on_open) as w,
    ):
        await w.live(3)
        await server.until(lambda c: c.messages == 1)
        losses = w.of(Lost)
        assert [lost.cause for lost in losses] == [heartline.Cause.CLOSED_BY_US] * 2
        assert "on_open" in losses[0].reason
        assert "RuntimeError" in losses[0].reason
        assert "s3cret" not in repr(w.events) + repr(w.items)
        assert w.gaps == []  # nothing had been open, so nothing can be missing
        await server.until(lambda c: c.open == 1)


@in_loop
async def test_on_open_that_hangs_is_given_up_and_left_behind_nowhere() -> None:
    never = asyncio.Event()
    before = asyncio.all_tasks()

    async def on_open() -> list[str]:
        await never.wait()
        return []

    dialling = heartline.Dialling(sync=0.1)
    async with FaultyServer(rate=0) as server:
        before = asyncio.all_tasks()
        async with watching(server.url, on_open=on_open, dialling=dialling) as w:
            lost = await w.told(Lost, nth=3)
            assert lost.cause is heartline.Cause.HANDSHAKE_TIMEOUT
            # Its reader and one attempt at a time: hanging callables do not pile up.
            assert len(asyncio.all_tasks() - before) <= 3
            await server.do("reset", scope="following")
            await w.until(
                lambda: [e.cause for e in w.of(Lost)].count(heartline.Cause.RESET) > 4,
                "resets while on_open hangs",
            )
            assert len(asyncio.all_tasks() - before) <= 3


@in_loop
async def test_data_that_comes_before_open_stands_behind_gap_and_status() -> None:
    gate = asyncio.Event()

    async def on_open() -> list[str]:
        await gate.wait()
        return []

    async with (
        FaultyServer(rate=300) as server,
        watching(server.url, on_open=on_open) as w,
    ):
        for epoch in (1, 2, 3):
            await w.until(
                lambda: w.stream.status.phase is heartline.Phase.SYNCING, "SYNCING"
            )
            sent = server.sent
            await w.until(lambda n=sent: server.sent > n + 30, "data meanwhile")
            gate.set()
            await w.live(epoch)
            await w.fed(epoch)
            gate.clear()
            if epoch < 3:
                await server.do("eof")
                await w.told(Lost, nth=epoch)
        opened: set[int] = set()
        for item in w.items:
            if isinstance(item, heartline.Status) and item.live:
                opened.add(item.epoch)
            elif isinstance(item, heartline.Message):
                assert item.epoch in opened
        check_ledger(w.items)
        assert len(w.gaps) == 2


@in_loop
async def test_an_on_open_that_does_not_fit_is_told_loudly() -> None:
    async with FaultyServer(rate=0) as server:
        stream = heartline.connect(
            server.url, on_open=["x" * 5000], outbox_limit_bytes=1000
        )
        async with stream:
            with pytest.raises(heartline.OutboxFull):
                async for _ in stream:
                    pass
            with pytest.raises(heartline.OutboxFull):
                await stream.wait_live(1)


# --- every attempt anew -----------------------------------------------------------


@in_loop
async def test_url_and_headers_are_made_afresh_for_every_attempt() -> None:
    asked: list[str] = []

    async with FaultyServer(rate=0) as server:

        def url() -> str:
            asked.append("url")
            if len(asked) == 1:
                raise OSError("no token for s3cret-user")
            return f"{server.url}ws?token={len(asked)}"

        async def headers() -> dict[str, str]:
            return {"X-Key": f"key-{len(asked)}"}

        async with watching(url, headers=headers) as w:
            failed = await w.told(DialLost)
            assert failed.cause is heartline.Cause.CLOSED_BY_US
            assert failed.reason == "url: the callable raised OSError"
            await w.live()
            await server.do("close")
            await w.live(3)
            requests = await server.requests()
            assert [r["path"] for r in requests] == ["/ws?token=2", "/ws?token=3"]
            assert [r["headers"]["x-key"] for r in requests] == ["key-2", "key-3"]
            assert "s3cret" not in repr(w.events) + repr(w.items)


@in_loop
async def test_a_url_that_is_none_ends_the_stream_loudly() -> None:
    async with heartline.connect(lambda: 7) as stream:  # type: ignore[arg-type,return-value]
        with pytest.raises(heartline.UsageError, match="url: wanted str"):
            async for _ in stream:
                pass
        assert stream.status.phase is heartline.Phase.CLOSED


# --- heartbeats -------------------------------------------------------------------

PING_JSON, PONG_JSON = '{"op":"ping"}', '{"op":"pong","ts":17}'


@pytest.mark.parametrize(
    ("send", "answer", "words", "reply"),
    [
        ("ping", "pong", "ping", "pong"),
        (lambda: PING_JSON, {"op": "pong"}, PING_JSON, PONG_JSON),
        ("ping", lambda data: data == "pong", "ping", "pong"),
    ],
    ids=["text", "json", "callable"],
)
@in_loop
async def test_heartbeats_are_sent_and_their_answers_kept_from_the_consumer(
    send: Any, answer: Any, words: str, reply: str
) -> None:
    heartbeat = heartline.Heartbeat(send=send, every=0.1, answer=answer)
    async with (
        FaultyServer(rate=50, answers={words: reply}) as server,
        watching(server.url, heartbeat=heartbeat) as w,
    ):
        # The first is the ping's; the others can only be the heartbeat's.
        await w.told(RoundTripMeasured, nth=4)
        assert reply not in w.data
        status = w.stream.status
        assert status.counts.beats >= 3
        assert status.counts.pings < 3
        assert status.round_trip.samples >= 4
        assert status.round_trip.last is not None
        assert 0 < status.round_trip.last < 1.0
        assert words in await server.received()
        samples = status.round_trip.samples
        await server.do("no_answer")
        beats = w.stream.status.counts.beats
        await w.until(lambda: w.stream.status.counts.beats > beats + 3, "beats")
        assert w.stream.status.round_trip.samples <= samples + 2
        assert w.stream.status.live  # data and pongs prove it
        check_ledger(w.items)


@in_loop
async def test_heartbeat_callables_that_fail_are_reported_and_break_nothing() -> None:
    def words() -> str:
        raise LookupError("words")

    def is_answer(data: str | bytes) -> bool:
        raise LookupError("answer")

    heartbeat = heartline.Heartbeat(send=words, every=0.1, answer=is_answer)
    async with (
        loop_errors() as told,
        FaultyServer(rate=50) as server,
        watching(server.url, heartbeat=heartbeat) as w,
    ):
        await w.live()
        await w.until(lambda: w.stream.status.counts.beats >= 3, "beats go on")
        await w.until(lambda: len(w.messages) >= 20, "data")
        assert w.of(Lost) == []
        reports = [str(context["exception"]) for context in told]
        assert reports.count("answer") == 1  # not one for each message
        assert reports.count("words") >= 3


@in_loop
async def test_a_key_that_fails_keeps_its_message() -> None:
    async with (
        loop_errors() as told,
        FaultyServer(rate=0) as server,
        heartline.connect(
            server.url,
            inbox=heartline.Inbox(
                limit=10, policy="conflate", key=lambda m: json.loads(m.data)["symbol"]
            ),
        ) as stream,
    ):
        await stream.wait_live(5)
        await server.do("echo")
        stream.send("welcome")
        await server.until(lambda c: c.messages == 1)
        await server.burst(1000)
        await until(lambda: stream.status.counts.messages == 1001, "all of them")
        got: list[heartline.Item] = []
        async for item in stream:
            got.append(item)
            if seq_of_welcome(item) == 1000:
                break
        data = [m.data for m in got if isinstance(m, heartline.Message)]
        assert "welcome" in data
        missing = [g.missing for g in got if isinstance(g, heartline.Gap)]
        assert sum(n or 0 for n in missing) + len(data) == 1001
        assert len(told) == 1
        assert isinstance(told[0]["exception"], ValueError)


def seq_of_welcome(item: heartline.Item) -> int:
    if not isinstance(item, heartline.Message) or item.data == "welcome":
        return 0
    return seq(item)


# --- asking -----------------------------------------------------------------------


@in_loop
async def test_wait_live_has_an_end() -> None:
    async with FaultyServer(rate=0) as server:
        await server.do("hang")
        async with heartline.connect(server.url, backoff=FAST) as stream:
            with pytest.raises(TimeoutError):
                await stream.wait_live(0.1)
            waiting = asyncio.create_task(stream.wait_live())
            await server.do("restore")
        with pytest.raises(heartline.NotOpen, match=r"wait_live: .* CLOSED"):
            await waiting
        async with heartline.connect(server.url) as stream:
            status = await stream.wait_live()
            assert status.live
            assert status.epoch == 1


@in_loop
async def test_freshness_expires_by_itself() -> None:
    async with FaultyServer(rate=100) as server:
        stream = heartline.connect(server.url, backoff=FAST)
        assert not stream.is_fresh(max_age=60)
        async with stream:
            await stream.wait_live(5)
            await until(lambda: stream.is_fresh(max_age=1.0), "fresh data")
            await server.do("mute")
            await until(lambda: not stream.is_fresh(max_age=0.2), "old data")
            assert stream.is_fresh(max_age=60)
            assert stream.status.live  # the link is; the data are not
            await server.do("refuse")
            await server.do("reset")
            await until(lambda: not stream.status.live, "the loss")
            assert not stream.is_fresh(max_age=60)
            await server.do("refuse", on=False)
            # A new link is not fresh before it has brought something.
            await stream.wait_live(5)
            assert not stream.is_fresh(max_age=60)
        assert not stream.is_fresh(max_age=60)


@in_loop
async def test_the_status_is_plausible() -> None:
    async with FaultyServer(rate=100) as server, watching(server.url) as w:
        await w.told(RoundTripMeasured)
        await w.until(lambda: len(w.messages) >= 30, "data")
        status = w.stream.status
        assert (status.phase, status.verdict) == ("OPEN", "ALIVE")
        assert status.live
        assert status.cause is status.since_at is status.retry_at is None
        assert status.address == f"127.0.0.1:{server.port}"
        assert status.silence is not None
        assert 0 <= status.silence < 1
        assert 0 < status.bounds.path <= status.ceilings.path
        assert 0 < status.bounds.peer <= status.ceilings.peer
        assert status.bounds.channels == {}
        assert status.detection_bound == max(status.bounds.path, status.bounds.peer)
        assert (status.epoch, status.attempt, status.outages) == (1, 1, 0)
        counts = status.counts
        assert counts.messages == counts.delivered >= 30
        assert counts.frames > counts.messages  # pongs are frames
        assert counts.size_bytes > 30 * 100
        assert (counts.attempts, counts.pings) == (1, 1)
        await server.do("close", code=1001)
        await w.told(Lost)
        await w.live(2)
        status = w.stream.status
        assert (status.epoch, status.outages, status.counts.gaps) == (2, 1, 1)
        assert status.counts.frames > counts.frames


# --- observers --------------------------------------------------------------------


@in_loop
async def test_an_observer_that_raises_is_reported_and_changes_nothing() -> None:
    def refuse(event: object) -> None:
        raise LookupError(type(event).__name__)

    async with (
        loop_errors() as told,
        FaultyServer(rate=100) as server,
        watching(server.url, on_event=refuse) as w,
    ):
        await w.live()
        await server.do("close")
        await w.live(2)
        await w.fed(2)
        names = {str(context["exception"]) for context in told}
        assert {"Connecting", "Connected", "Lost", "BackingOff"} <= names
        check_ledger(w.items)


# --- the end ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "options", "cause"),
    [
        ("refuse", {"status": 401}, heartline.Cause.REFUSED),
        ("refuse", {"status": 403}, heartline.Cause.REFUSED),
        ("flap", {"code": 1008}, heartline.Cause.CLOSED_BY_PEER),
    ],
)
@in_loop
async def test_who_is_not_wanted_gives_up(
    fault: Any, options: dict[str, int], cause: heartline.Cause
) -> None:
    status = next(iter(options.values()))
    async with FaultyServer(rate=0) as server:
        await server.do(fault, **options)
        async with watching(server.url) as w:
            await w.until(lambda: w.over, "the end")
            assert isinstance(w.error, heartline.GaveUp)
            assert (w.error.cause, w.error.status) == (cause, status)
            assert w.error.attempts == 1
            assert len(w.of(Surrendered)) == 1
            with pytest.raises(heartline.GaveUp):
                await w.stream.wait_live()
            with pytest.raises(heartline.GaveUp):
                await anext(aiter(w.stream))
            assert w.statuses[-1].phase is heartline.Phase.CLOSED
            assert w.statuses[-1].cause is cause
        assert (await server.counts()).connections == 1


@in_loop
async def test_closing_ends_an_iteration_in_another_task() -> None:
    async with FaultyServer(rate=20) as server, watching(server.url) as w:
        await w.live()
        await w.stream.aclose()
        await w.until(lambda: w.over, "the end of the iteration", 1.0)
        assert w.error is None
        assert w.statuses[-1].phase is heartline.Phase.CLOSED
        assert await silent(asyncio.Event().wait(), seconds=0.01)
        assert len(w.of(Connected)) == 1
