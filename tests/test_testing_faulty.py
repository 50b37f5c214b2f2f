"""The faulty server's messages and faults, seen by a client that is not ours."""

from __future__ import annotations

import asyncio
import json
import time
from unittest.mock import Mock

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from faulty_peer import dial, dial_raw, in_loop, read_seq, silent
from heartline.errors import UsageError
from heartline.testing import FaultyServer, VenueCounts
from heartline.testing.faulty_link import FaultyLink, House
from heartline.testing.halfopen import available

# --- messages ---------------------------------------------------------------------


@in_loop
async def test_messages_are_numbered_and_stamped_with_our_own_clock() -> None:
    async with (
        FaultyServer(rate=200, text='{"a":1}') as server,
        dial(server.url) as link,
    ):
        messages = [json.loads(await link.recv()) for _ in range(20)]
    first = messages[0]["seq"]
    assert [m["seq"] for m in messages] == list(range(first, first + 20))
    assert all(set(m) == {"seq", "sent_at", "a"} for m in messages)
    ages = [time.monotonic() - m["sent_at"] for m in messages]
    assert all(0 < age < 5 for age in ages)


@in_loop
async def test_the_rate_is_kept() -> None:
    async with FaultyServer(rate=500) as server, dial(server.url) as link:
        first = json.loads(await link.recv())
        for _ in range(250):
            last = json.loads(await link.recv())
    seconds = last["sent_at"] - first["sent_at"]
    assert (last["seq"] - first["seq"]) / seconds == pytest.approx(500, rel=0.1)


@in_loop
async def test_numbers_run_on_while_nobody_is_connected() -> None:
    async with FaultyServer(rate=200) as server:
        async with dial(server.url) as link:
            before = await read_seq(link)
        await server.until(lambda counts: counts.sent >= before + 40)
        async with dial(server.url) as link:
            after = await read_seq(link)
        assert after > before + 40
        assert server.sent >= after


@in_loop
async def test_an_idle_server_sends_nothing_until_a_rate_is_set() -> None:
    async with FaultyServer(rate=0) as server, dial(server.url) as link:
        assert await silent(link.recv())
        await server.set_rate(100)
        assert await read_seq(link) == 1
        await server.set_rate(0)
        assert server.sent == (await server.counts()).sent


@in_loop
async def test_a_burst_comes_whole_and_in_order() -> None:
    async with FaultyServer(rate=0) as server, dial(server.url) as link:
        first, last = await server.burst(20_000)
        assert (first, last) == (1, 20_000)
        assert [await read_seq(link) for _ in range(20_000)] == list(range(1, 20_001))
        assert (await server.counts()).shed == 0


@in_loop
async def test_a_client_that_does_not_read_loses_what_is_over_the_limit() -> None:
    limit = 1 << 20
    async with (
        FaultyServer(rate=0, buffer_limit_bytes=limit) as server,
        dial_raw(server.port),
    ):
        await server.burst(200_000)
        counts = await server.counts()
        assert 0 < counts.shed < 200_000
        assert counts.sent == 200_000


# --- what a venue in order does ---------------------------------------------------


@in_loop
async def test_without_faults_it_answers_pings_closes_and_heartbeats() -> None:
    async with FaultyServer(rate=0, answers={"ping": "pong"}) as server:
        async with dial(server.url) as link:
            await (await link.ping(b"abc"))
            await link.send(b"\x00\xff")
            await link.send(["pi", "ng"])
            assert await link.recv() == "pong"
        assert link.close_code == 1000
        counts = await server.until(lambda counts: counts.open == 0)
        assert counts == VenueCounts(
            connections=1,
            handshakes=1,
            pings=1,
            messages=2,
            closes=1,
            bytes_received=counts.bytes_received,
        )
        assert counts.bytes_received > 100
        assert await server.received() == [b"\x00\xff", "ping"]
        (request,) = await server.requests()
        assert request["path"] == "/"
        assert request["headers"]["upgrade"] == "websocket"


@in_loop
async def test_what_a_client_does_wrong_is_counted_and_punished() -> None:
    async with FaultyServer(rate=0) as server:
        async with dial_raw(server.port) as (reader, writer):
            writer.write(b"\x81\x02hi")
            opcode, _, *code = (await reader.read())[:4]
            assert (opcode, bytes(code)) == (0x88, (1002).to_bytes(2, "big"))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        writer.close()
        assert (await server.counts()).violations == 2


# --- faults -----------------------------------------------------------------------


@in_loop
async def test_mute_stops_data_and_leaves_pongs() -> None:
    async with FaultyServer(rate=200) as server, dial(server.url) as link:
        await read_seq(link)
        await server.do("mute")
        while not await silent(link.recv()):
            pass
        await (await link.ping())
        await server.do("mute", on=False)
        await read_seq(link)


@in_loop
async def test_no_pong_stops_pongs_and_leaves_data() -> None:
    async with FaultyServer(rate=200) as server, dial(server.url) as link:
        await server.do("no_pong")
        pong = await link.ping()
        await server.until(lambda counts: counts.pings == 1)
        assert [await read_seq(link) for _ in range(20)]
        assert not pong.done()
        await server.do("no_pong", on=False)
        await (await link.ping())


@in_loop
async def test_late_pong_answers_as_much_later() -> None:
    async with FaultyServer(rate=0) as server, dial(server.url) as link:
        await server.do("late_pong", delay=0.3)
        before = time.monotonic()
        await (await link.ping())
        assert time.monotonic() - before >= 0.29


@in_loop
async def test_unsolicited_pongs_are_strays_and_duplicates() -> None:
    async with (
        FaultyServer(rate=0) as server,
        dial_raw(server.port) as (reader, writer),
    ):
        await server.do("unsolicited", every=0.01)
        strays = {await _pong(reader) for _ in range(5)}
        assert len(strays) == 5
        writer.write(b"\x89\x84\x00\x00\x00\x00mine")
        answers = 0
        while answers < 2:
            answers += await _pong(reader) == b"mine"
        await server.do("unsolicited", on=False)


@in_loop
async def test_no_answer_leaves_heartbeats_unanswered() -> None:
    venue = FaultyServer(rate=0, answers={"a": "b"})
    async with venue as server, dial(server.url) as link:
        await server.do("no_answer")
        await link.send("a")
        await server.until(lambda counts: counts.messages == 1)
        await server.do("no_answer", on=False)
        await link.send("a")
        assert await link.recv() == "b"
        assert await silent(link.recv())


@in_loop
async def test_echo_sends_messages_back_as_they_were() -> None:
    async with FaultyServer(rate=0) as server, dial(server.url) as link:
        await server.do("echo")
        for message in ("x" * 70_000, b"\x00" * 300, ""):
            await link.send(message)
            assert await link.recv() == message


@in_loop
async def test_trickle_drips_one_frame_and_ends_at_a_frame_border() -> None:
    async with (
        FaultyServer(rate=0) as server,
        dial_raw(server.port) as (reader, writer),
    ):
        await server.do("trickle", every=0.05)
        await server.burst(3)
        began = time.monotonic()
        dripped = await reader.readexactly(5)
        assert time.monotonic() - began >= 4 * 0.05 - 0.02
        writer.write(b"\x89\x84\x00\x00\x00\x00mine")
        await server.until(lambda counts: counts.pings == 1)
        await server.do("trickle", on=False)
        rest = await reader.readuntil(b"mine")
        frames = (dripped + rest).split(b"\x81")
        assert [b'"seq":%d,' % n in frames[n] for n in (1, 2, 3)] == [True] * 3
        assert rest.endswith(b"\x8a\x04mine")


@in_loop
async def test_cork_holds_everything_back_and_lets_it_go_in_order() -> None:
    async with FaultyServer(rate=0) as server, dial(server.url) as link:
        await server.do("cork")
        await server.burst(3)
        pong = await link.ping()
        assert await silent(link.recv())
        assert not pong.done()
        await server.do("cork", on=False)
        assert [await read_seq(link) for _ in range(3)] == [1, 2, 3]
        await pong


@in_loop
async def test_a_deaf_server_lets_the_clients_pipe_fill() -> None:
    async with (
        FaultyServer(rate=50) as server,
        dial_raw(server.port) as (reader, writer),
    ):
        await server.do("deaf")
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(
            b"\x82\xff" + (32 << 20).to_bytes(8, "big") + bytes(4 + (32 << 20))
        )
        assert await silent(writer.drain())
        assert await reader.readuntil(b'"seq":')
        assert (await server.counts()).messages == 0
        await server.do("deaf", on=False)
        await server.until(lambda counts: counts.messages == 1)


@in_loop
async def test_close_says_code_and_reason_and_completes_the_handshake() -> None:
    async with FaultyServer(rate=50) as server, dial(server.url) as link:
        await server.do("close", code=1001, reason="maintenance")
        await link.wait_closed()
        assert (link.close_code, link.close_reason) == (1001, "maintenance")
        await server.until(lambda counts: counts.closes == 1)


@in_loop
async def test_reset_is_a_reset() -> None:
    async with FaultyServer(rate=0) as server, dial_raw(server.port) as (reader, _):
        await server.do("reset")
        with pytest.raises(ConnectionResetError):
            await reader.read()


@in_loop
async def test_eof_is_an_end_without_close_frame_that_still_reads() -> None:
    async with (
        FaultyServer(rate=0) as server,
        dial_raw(server.port) as (reader, writer),
    ):
        before = (await server.counts()).bytes_received
        await server.do("eof")
        assert await reader.read() == b""
        writer.write(bytes(5))
        await server.until(lambda counts: counts.bytes_received == before + 5)


@in_loop
async def test_refuse_answers_the_upgrade_with_a_status_and_headers() -> None:
    async with FaultyServer() as server:
        await server.do("refuse", status=429, headers={"Retry-After": "7"}, body="no")
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url)
        response = refused.value.response
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "7"
        assert response.body == b"no"
        await server.do("refuse", on=False)
        async with dial(server.url) as link:
            await read_seq(link)
        counts = await server.counts()
        assert (counts.refused, counts.handshakes) == (1, 1)


@in_loop
async def test_hang_takes_the_connection_and_never_answers() -> None:
    async with FaultyServer() as server:
        await server.do("hang")
        attempt = asyncio.ensure_future(connect(server.url))
        await server.until(lambda counts: counts.connections == 1)
        assert await silent(asyncio.shield(attempt))
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt


@in_loop
async def test_flap_accepts_and_closes_at_once() -> None:
    async with FaultyServer() as server:
        await server.do("flap", code=1013, reason="try later")
        for _ in range(3):
            async with dial(server.url) as link:
                await link.wait_closed()
            assert (link.close_code, link.close_reason) == (1013, "try later")
        await server.do("restore")
        async with dial(server.url) as link:
            await read_seq(link)


@pytest.mark.skipif(available() is not None, reason=str(available()))
@in_loop
async def test_drop_filter_makes_clients_unheard_and_undialable() -> None:
    async with FaultyServer(rate=0) as server, dial(server.url) as link:
        await server.do("drop_filter")
        await link.ping()
        assert await silent(connect(server.url))
        counts = await server.counts()
        assert (counts.pings, counts.connections) == (0, 1)
        await server.do("restore")
        await server.until(lambda counts: counts.pings == 1)


@in_loop
async def test_a_fault_holds_for_the_connections_it_was_meant_for() -> None:
    async with FaultyServer(rate=200) as server, dial(server.url) as present:
        await server.do("mute", scope="following")
        async with dial(server.url) as following:
            await (await following.ping())
            assert await silent(following.recv())
            await read_seq(present)
        await server.do("restore")
        await server.do("mute", scope="present")
        async with dial(server.url) as following:
            await read_seq(following)


def test_a_fault_ended_before_a_connection_is_made_does_not_hold_for_it() -> None:
    house = House(answers={}, buffer_limit_bytes=1)
    house.following["deaf"] = {"scope": "all", "on": True}
    link = FaultyLink(house)  # the loop accepts here, and tells us a pass later
    house.following.clear()
    link.connection_made(Mock(spec=asyncio.Transport))
    assert link.active == {}


@in_loop
async def test_an_end_meant_for_following_connections_comes_after_the_upgrade() -> None:
    async with FaultyServer(rate=0) as server, dial(server.url) as present:
        await server.do("reset", scope="following")
        with pytest.raises((ConnectionClosedError, ConnectionResetError, EOFError)):
            async with dial(server.url) as link:
                await link.recv()
        await (await present.ping())


@in_loop
async def test_what_cannot_be_is_refused_before_it_is_ordered() -> None:
    with pytest.raises(UsageError, match="rate: wanted 0 to"):
        FaultyServer(rate=-1)
    with pytest.raises(UsageError, match="text: wanted a JSON object"):
        FaultyServer(text='{"seq":1}')
    async with FaultyServer(rate=0) as server:
        with pytest.raises(UsageError, match="fault: wanted mute"):
            await server.do("moot")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"close\.code: wanted a code of 0"):
            await server.do("close", code="1001")
        with pytest.raises(UsageError, match=r"mute\.delay: wanted on, got 'delay'"):
            await server.do("mute", delay=1.0)
        with pytest.raises(UsageError, match=r"hang\.scope: wanted following"):
            await server.do("hang", scope="present")
        with pytest.raises(UsageError, match=r"late_pong\.delay: wanted finite"):
            await server.do("late_pong", delay=float("nan"))
        with pytest.raises(UsageError, match="messages: wanted at least 1"):
            await server.burst(0)
    with pytest.raises(UsageError, match="wanted `async with`"):
        await FaultyServer().counts()


async def _pong(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    assert head[0] == 0x8A
    return await reader.readexactly(head[1])
