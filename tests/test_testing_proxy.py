"""The fault proxy between plain sockets and in front of a venue."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from websockets.asyncio.client import connect

from faulty_peer import dial, in_loop, read_seq, silent
from heartline.errors import UsageError
from heartline.testing import FaultProxy, FaultyServer


@dataclass(frozen=True)
class Ends:
    """A connection through the proxy, seen from both sides."""

    proxy: FaultProxy
    client: asyncio.StreamWriter
    to_client: asyncio.StreamReader
    server: asyncio.StreamWriter
    to_server: asyncio.StreamReader


@asynccontextmanager
async def through_a_proxy(seed: int = 0) -> AsyncGenerator[Ends]:
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    accepted = asyncio.Queue()

    async def accept(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
        await accepted.put((r, w))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with FaultProxy(port, seed=seed) as proxy:
        to_client, client = await asyncio.open_connection("127.0.0.1", proxy.port)
        to_server, server = await accepted.get()
        try:
            yield Ends(proxy, client, to_client, server, to_server)
        finally:
            client.transport.abort()
            server.transport.abort()
            listener.close()


def reset(end: asyncio.StreamWriter) -> None:
    end.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    end.transport.abort()


@in_loop
async def test_a_faithful_proxy_is_not_noticed() -> None:
    async with FaultyServer(rate=100) as server, FaultProxy(server.port) as proxy:
        async with dial(proxy.url) as link:
            first = await read_seq(link)
            numbers = [await read_seq(link) for _ in range(20)]
            assert numbers == list(range(first + 1, first + 21))
            await (await link.ping())
        counts = await proxy.counts()
        assert counts.connections == 1
        assert counts.inbound_bytes > 20 * 100
        assert (await server.until(lambda c: c.closes == 1)).violations == 0


@in_loop
async def test_much_data_arrives_unchanged_both_ways() -> None:
    sent = os.urandom(5 << 20)
    async with through_a_proxy() as ends:
        ends.client.write(sent)
        ends.server.write(sent)
        got = await asyncio.gather(
            ends.to_client.readexactly(len(sent)), ends.to_server.readexactly(len(sent))
        )
        assert got == [sent, sent]


@in_loop
async def test_ends_are_passed_on_half_by_half() -> None:
    async with through_a_proxy() as ends:
        ends.client.write_eof()
        assert await ends.to_server.read() == b""
        ends.server.write(b"last words")
        ends.server.close()
        assert await ends.to_client.read() == b"last words"
    async with through_a_proxy() as ends:
        reset(ends.server)
        with pytest.raises(ConnectionResetError):
            await ends.to_client.read()


@in_loop
async def test_a_blackhole_holds_one_direction_and_gives_all_of_it_back() -> None:
    async with through_a_proxy() as ends:
        await ends.proxy.blackhole(direction="inbound")
        ends.server.write(b"held")
        ends.client.write(b"heard")
        assert await ends.to_server.readexactly(5) == b"heard"
        assert await silent(ends.to_client.read(64))
        await ends.proxy.restore()
        assert await ends.to_client.readexactly(4) == b"held"


@in_loop
async def test_a_blackhole_swallows_the_end_of_a_connection_until_restored() -> None:
    async with through_a_proxy() as ends:
        await ends.proxy.blackhole()
        reset(ends.server)
        ends.client.write(b"into the void")
        assert await silent(ends.to_client.read(64))
        assert not ends.client.is_closing()
        await ends.proxy.restore()
        with pytest.raises(ConnectionResetError):
            await ends.to_client.read(64)


@in_loop
async def test_connections_made_into_a_blackhole_hear_nothing() -> None:
    async with FaultyServer() as server, FaultProxy(server.port) as proxy:
        await proxy.blackhole()
        attempt = asyncio.ensure_future(connect(proxy.url))
        assert await silent(asyncio.shield(attempt))
        await proxy.restore()
        async with await attempt as link:
            await read_seq(link)


@in_loop
async def test_delay_makes_a_round_trip_longer_and_restore_ends_it() -> None:
    async with (
        FaultyServer(rate=0) as server,
        FaultProxy(server.port) as proxy,
        dial(proxy.url) as link,
    ):
        await proxy.delay(0.1)
        began = time.monotonic()
        await (await link.ping())
        assert 0.19 <= time.monotonic() - began < 2
        await proxy.delay(60)
        pong = await link.ping()
        await proxy.restore()
        await pong


@in_loop
async def test_jitter_keeps_the_order() -> None:
    async with through_a_proxy(seed=5) as ends:
        await ends.proxy.jitter(0.02)
        for number in range(100):
            ends.client.write(b"%03d" % number)
            await asyncio.sleep(0)
        got = await ends.to_server.readexactly(300)
        assert got == b"".join(b"%03d" % number for number in range(100))


@in_loop
async def test_a_trickle_keeps_its_rate_until_restored() -> None:
    async with through_a_proxy() as ends:
        await ends.proxy.trickle(100, direction="outbound")
        began = time.monotonic()
        ends.client.write(bytes(100_000))
        await ends.to_server.readexactly(30)
        assert time.monotonic() - began >= 0.25
        await ends.proxy.restore()
        await ends.to_server.readexactly(100_000 - 30)


@in_loop
async def test_cut_ends_both_sides_as_ordered() -> None:
    async with through_a_proxy() as ends:
        await ends.proxy.cut("fin")
        assert await ends.to_client.read() == b""
        assert await ends.to_server.read() == b""
    async with through_a_proxy() as ends:
        await ends.proxy.cut("rst")
        for reader in (ends.to_client, ends.to_server):
            with pytest.raises(ConnectionResetError):
                await reader.read()
        counts = await ends.proxy.counts()
        assert (counts.connections, counts.open) == (1, 0)


@in_loop
async def test_a_cut_works_inside_a_blackhole() -> None:
    async with through_a_proxy() as ends:
        await ends.proxy.blackhole()
        ends.server.write(b"never")
        await ends.proxy.cut("rst")
        with pytest.raises(ConnectionResetError):
            await ends.to_client.read()


@in_loop
async def test_a_target_that_is_not_there_resets_the_connection() -> None:
    async with FaultyServer() as server:
        port = server.port

    async def dial_and_read(port: int) -> None:
        # The reset may come while we are still being told that we are connected.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await reader.read()
        finally:
            writer.close()

    async with FaultProxy(port) as proxy:
        with pytest.raises(ConnectionResetError):
            await dial_and_read(proxy.port)


@in_loop
async def test_a_frozen_proxy_ends_at_once() -> None:
    async with through_a_proxy() as ends:
        pid = ends.proxy.pid
        ends.proxy.freeze()
        ends.client.write(b"held")
        assert await silent(ends.to_server.read(64))
        ends.proxy.thaw()
        assert await ends.to_server.readexactly(4) == b"held"
        ends.proxy.freeze()
        began = time.monotonic()
    assert time.monotonic() - began < 2
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@in_loop
async def test_what_cannot_be_is_refused() -> None:
    async with FaultProxy(1) as proxy:
        with pytest.raises(UsageError, match="delay: wanted a finite number"):
            await proxy.delay(-1)
        with pytest.raises(UsageError, match="bytes_per_second: wanted more than 0"):
            await proxy.trickle(0)
        with pytest.raises(UsageError, match="direction: wanted inbound"):
            await proxy.blackhole(direction="up")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="how: wanted rst"):
            await proxy.cut("off")  # type: ignore[arg-type]
