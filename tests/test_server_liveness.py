"""Beats, deaths and their causes, seen from the serving end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest

import heartline
from heartline.core import events
from heartline.testing.halfopen import available, drop_inbound
from loopback import both_loops, open_sockets, until
from server_kit import (
    QUICK,
    RawClient,
    Told,
    dial,
    emptied,
    heard,
    in_loop,
    joined,
    masked,
    only,
    raw,
    speaking,
)

needs_filters = pytest.mark.skipif(available() is not None, reason=str(available()))

MARGIN = 0.6
"""Seconds a busy machine may be late with what it does at the bound."""

PING, PONG = 0x9, 0xA


@both_loops
@in_loop
async def test_a_living_client_is_beaten_to_measured_and_kept(loop: str) -> None:
    told = Told()
    async with heartline.serve(liveness=QUICK, on_event=told) as server:
        async with dial(server.url):
            await joined(server)
            client = only(server)
            await until(lambda: client.round_trip.samples >= 3, "round trips")
            assert client.lost is None
            assert 0.0 < client.round_trip.least <= client.round_trip.last < 0.5
            assert client.bounds is not None
            assert client.bounds.peer <= server.bound
        await emptied(server)
    (lost,) = told.of(events.Lost)
    assert (lost.cause, lost.status) == (heartline.Cause.CLOSED_BY_PEER, 1000)
    assert not told.of(events.Doubted)


@in_loop
async def test_a_client_that_knows_the_protocol_hears_beats_it_can_see() -> None:
    async with (
        heartline.serve(liveness=QUICK) as server,
        speaking(server.url) as link,
    ):
        terms = await heard(link, "terms")
        at = time.monotonic()
        for _ in range(3):
            await heard(link, "beat")
            silence, at = time.monotonic() - at, time.monotonic()
            assert silence < terms["bound"]
            assert silence < terms["interval"] + MARGIN


@in_loop
async def test_any_inbound_frame_counts_and_saves_the_ping() -> None:
    async with heartline.serve(liveness=QUICK) as server, raw(server.port) as client:
        # It answers no ping, but talks: that is a sign of life.
        end = time.monotonic() + 1.1 * server.bound
        while time.monotonic() < end:
            await client.send(masked(0x1, b"hello"))
            await asyncio.sleep(QUICK.ping_every / 3)
            assert server.status.clients == 1


@both_loops
@pytest.mark.parametrize("writing", [False, True], ids=["idle", "while writing to it"])
def test_a_frozen_client_is_dropped_within_the_bound(loop: str, writing: bool) -> None:
    @in_loop
    async def run(loop: str) -> None:
        told = Told()
        before = open_sockets()
        async with heartline.serve(liveness=QUICK, on_event=told) as server:
            async with raw(server.port, receive_buffer=4096) as client:
                await joined(server)
                number = only(server).number
                frozen_at = time.monotonic()
                while server.status.clients:
                    if writing:
                        server.broadcast(b"x" * 20_000)
                    await asyncio.sleep(0.01)
                    assert time.monotonic() < frozen_at + server.bound + MARGIN
                took = time.monotonic() - frozen_at
                assert number
                assert took <= server.bound + MARGIN
                (lost,) = told.of(events.Lost)
                assert lost.cause is heartline.Cause.PEER_FROZEN
                assert lost.bound is not None
                client.close()
            await until(
                lambda: len(open_sockets() - before) <= 1, "only the listening socket"
            )

    run(loop=loop)


@needs_filters
@in_loop
async def test_a_client_behind_a_dead_path_is_dropped_within_the_bound() -> None:
    told = Told()
    async with (
        heartline.serve(liveness=QUICK, on_event=told) as server,
        raw(server.port) as client,
    ):
        await joined(server)
        drop_inbound(client.sock)
        began = time.monotonic()
        await emptied(server)
        assert time.monotonic() - began <= server.bound + MARGIN
    (lost,) = told.of(events.Lost)
    assert lost.cause is heartline.Cause.PATH_DEAD


@in_loop
async def test_a_frame_that_trickles_for_ever_ends_at_the_message_deadline() -> None:
    told = Told()
    async with (
        heartline.serve(liveness=QUICK, on_event=told) as server,
        raw(server.port) as client,
    ):
        await joined(server)
        began = time.monotonic()
        most = QUICK.ping_every + QUICK.message_deadline + server.bound
        for byte in masked(0x1, b"x" * 1000):
            with contextlib.suppress(ConnectionError):
                await client.send(bytes((byte,)))
            await asyncio.sleep(0.01)
            if not server.status.clients:
                break
            assert time.monotonic() < began + most
    assert told.of(events.Lost)[0].cause is heartline.Cause.PEER_FROZEN


@in_loop
async def test_a_ping_is_answered_with_its_payload() -> None:
    async with heartline.serve() as server, raw(server.port) as client:
        await client.send(masked(PING, b"are you there"))
        assert await client.frame() == (PONG, b"are you there")


@in_loop
async def test_many_clients_that_came_at_once_do_not_beat_at_once() -> None:
    crowd, interval = 40, 1.0
    liveness = heartline.Liveness(
        kernel_interval=2, ping_every=interval, stall_after=0.5
    )
    told = Told()
    async with heartline.serve(liveness=liveness, on_event=told) as server:
        links = [dial(server.url) for _ in range(crowd)]
        began = time.monotonic()
        for link in links:
            await link.__aenter__()
        took = time.monotonic() - began
        measured = events.RoundTripMeasured
        await until(lambda: len(told.of(measured)) >= crowd, "a round trip of each")
        ats = sorted(event.at for event in told.of(measured))[:crowd]
        # In any tenth of an interval far fewer than all are asked.
        busiest = max(sum(at <= x < at + interval / 10 for x in ats) for at in ats)
        assert busiest <= crowd / 10 * (2 + 10 * took / interval)
        for link in links:
            await link.__aexit__(None, None, None)


@in_loop
async def test_a_client_that_has_reached_its_age_is_asked_to_come_back() -> None:
    limits = heartline.Limits(age=0.3)
    async with heartline.serve(limits=limits) as server, dial(server.url) as link:
        await link.wait_closed()
        assert link.close_code == 1001


@in_loop
async def test_a_client_we_dropped_leaves_nothing_behind() -> None:
    async with heartline.serve() as server, raw(server.port) as client:
        await joined(server)
        before = open_sockets()
        mine = only(server)
        mine.abort("for a reason")
        assert mine.lost is not None
        assert mine.lost.reason == "for a reason"
        assert server.status.clients == 0
        await client.read()
        await until(lambda: len(open_sockets()) < len(before), "its sockets are gone")
        mine.send("to nobody")
        mine.close()


@both_loops
@in_loop
async def test_a_server_that_closes_takes_the_lingering_with_it(loop: str) -> None:
    before = open_sockets()
    async with heartline.serve() as server:
        client = RawClient(server.port, receive_buffer=4096)
        await client.open()
        await joined(server)
        mine = only(server)
        while not mine.waiting:
            server.broadcast(b"x" * 20_000)
        # It says farewell and reads nothing: the last bytes to it cannot leave.
        await client.send(masked(0x8, (1000).to_bytes(2, "big")))
        await emptied(server)
    await until(
        lambda: len(open_sockets() - before) <= 1, "only the client's own socket"
    )
    client.close()


@in_loop
async def test_the_kernel_watches_every_client_from_its_first_moment() -> None:
    liveness = heartline.Liveness(kernel_interval=7)
    async with heartline.serve(liveness=liveness) as server, dial(server.url):
        await joined(server, 1)
        eyes = only(server).eyes()
        assert eyes is not None
        tcp, sock = socket.IPPROTO_TCP, eyes._sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(tcp, socket.TCP_NODELAY) == 1
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert sock.getsockopt(tcp, socket.TCP_KEEPIDLE) == 7
            assert sock.getsockopt(tcp, socket.TCP_KEEPINTVL) == 7
            assert sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 70_000
        eyes.close()
