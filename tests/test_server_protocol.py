"""Clients that break the rules: each is refused with the right code, others live on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib

import pytest

import heartline
from heartline.core import events
from loopback import both_loops, until
from server_kit import (
    Told,
    close_code,
    dial,
    in_loop,
    joined,
    masked,
    raw,
    speaking,
)

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
BIG = 10_000
LIMITS = heartline.Limits(message_bytes=BIG, pings_per_minute=20)

VIOLATIONS = {
    "unmasked": (b"\x81\x02hi", 1002),
    "reserved bit": (masked(TEXT, b"x", rsv1=True), 1002),
    "unknown opcode": (masked(0x3, b"x"), 1002),
    "long ping": (masked(PING, b"x" * 126), 1002),
    "continues nothing": (masked(0x0, b"x"), 1002),
    "not text": (masked(TEXT, b"\xff\xfe"), 1007),
    "frame too big": (masked(BINARY, b"x" * (BIG + 1)), 1009),
    "message too big": (
        masked(BINARY, b"x" * BIG, fin=False) + masked(0x0, b"x" * BIG),
        1009,
    ),
    "huge announced": (b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1009),
    "bad close code": (masked(CLOSE, (1005).to_bytes(2, "big")), 1002),
    "ping flood": (masked(PING, b"") * 40, 1008),
}


@both_loops
@pytest.mark.parametrize("violation", sorted(VIOLATIONS))
def test_a_violation_is_closed_with_its_code_and_nobody_else_notices(
    loop: str, violation: str
) -> None:
    @in_loop
    async def run(loop: str) -> None:
        sent, code = VIOLATIONS[violation]
        async with heartline.serve(limits=LIMITS) as server, dial(server.url) as good:
            async with raw(server.port) as bad:
                await bad.send(sent)
                assert close_code(await bad.read()) == code
            await joined(server)
            server.broadcast("still here")
            assert await good.recv() == "still here"

    run(loop=loop)


@in_loop
async def test_a_compression_bomb_is_refused_before_it_is_inflated() -> None:
    deflater = zlib.compressobj(wbits=-15)
    bomb = deflater.compress(bytes(50 << 20)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    frame = masked(BINARY, bomb[:-4], rsv1=True)
    limits = heartline.Limits(message_bytes=1 << 20)
    assert len(frame) < limits.message_bytes
    offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    told = Told()
    async with (
        heartline.serve(limits=limits, compression=True, on_event=told) as server,
        raw(server.port, offer) as client,
    ):
        await client.send(frame)
        assert close_code(await client.read()) == 1009
    assert told.of(events.Lost)[0].cause is heartline.Cause.TOO_BIG


@in_loop
async def test_compressed_messages_are_read_where_that_was_agreed() -> None:
    async def echo(client: heartline.Client) -> None:
        async for message in client:
            client.send(message.data)

    async with (
        heartline.serve(echo, compression=True) as server,
        dial(server.url, compression="deflate") as link,
    ):
        for text in ("first", "second " * 100):
            await link.send(text)
            assert await link.recv() == text


@in_loop
async def test_pings_within_the_allowance_are_all_answered() -> None:
    async with heartline.serve(limits=LIMITS) as server, raw(server.port) as client:
        for number in range(LIMITS.pings_per_minute):
            await client.send(masked(PING, b"%d" % number))
            assert await client.frame() == (0xA, b"%d" % number)


@in_loop
async def test_one_ping_too_many_is_not_answered_and_none_after_it() -> None:
    async with heartline.serve(limits=LIMITS) as server, raw(server.port) as client:
        await client.send(masked(PING, b"") * 3 * LIMITS.pings_per_minute)
        data = await client.read()
        assert data[: 2 * LIMITS.pings_per_minute] == (
            b"\x8a\x00" * LIMITS.pings_per_minute
        )
        assert data[2 * LIMITS.pings_per_minute] == 0x88
        assert close_code(data) == 1008


@both_loops
@in_loop
async def test_whoever_asks_and_does_not_read_is_closed_while_it_costs_little(
    loop: str,
) -> None:
    class Closed(heartline.Hub):
        def may_subscribe(self, client: heartline.Client, channel: str) -> bool:
            return False

    told = Told()
    question = {"type": "subscribe", "channel": "x" * 256}
    questions = masked(TEXT, json.dumps(question).encode()) * 100
    async with heartline.serve(Closed(), on_event=told) as server:
        offer = "Sec-WebSocket-Protocol: heartline.v1\r\n"
        async with raw(server.port, offer, receive_buffer=4096) as client:
            await joined(server)
            with contextlib.suppress(ConnectionError):
                while server.status.clients:
                    await client.send(questions)
    (lost,) = told.of(events.Lost)
    assert (lost.cause, lost.status) == (heartline.Cause.CLOSED_BY_US, 1008)


@pytest.mark.parametrize(
    "said",
    ["no json", "[]", "{}", '{"type":"dance"}', '{"type":"subscribe"}'],
)
def test_words_outside_the_sub_protocol_end_the_link_with_1002(said: str) -> None:
    @in_loop
    async def run() -> None:
        async with heartline.serve() as server, speaking(server.url) as link:
            await link.send(said)
            await link.wait_closed()
            assert link.close_code == 1002

    run()


@in_loop
async def test_a_close_is_answered_and_the_socket_ended_by_the_server() -> None:
    async with heartline.serve() as server, raw(server.port) as client:
        await client.send(masked(CLOSE, (4001).to_bytes(2, "big") + b"bye"))
        assert close_code(await client.read()) == 4001
        await until(lambda: server.status.clients == 0, "gone")


@in_loop
async def test_our_close_does_not_wait_for_a_client_that_never_answers() -> None:
    limits = heartline.Limits(close=0.2)
    told = Told()
    async with (
        heartline.serve(limits=limits, on_event=told) as server,
        raw(server.port) as client,
    ):
        await joined(server)
        for mine in list(server.clients):
            mine.close(4000, "enough")
        assert close_code(await client.read()) == 4000
    (lost,) = told.of(events.Lost)
    assert (lost.cause, lost.status) == (heartline.Cause.CLOSED_BY_US, 4000)


@in_loop
async def test_a_client_that_is_reset_is_told_as_reset() -> None:
    told = Told()
    async with heartline.serve(on_event=told) as server, raw(server.port) as client:
        await joined(server)
        await client.send(masked(TEXT, b"unread"))
        server.broadcast("x" * 1000)
        await asyncio.sleep(0)
        client.close()  # with data unread the kernel resets
        await until(lambda: server.status.clients == 0, "gone")
    assert told.of(events.Lost)[0].cause in (
        heartline.Cause.RESET,
        heartline.Cause.CLOSED_BY_PEER,
    )
