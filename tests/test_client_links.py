"""A stream over what lies between: TLS, proxies, compression, limits, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import Server, ServerConnection, serve

import heartline
from heartline.core.events import BackingOff, DialLost, Lost
from heartline.testing import FaultyServer
from heartline.testing.rfc6455 import frame
from loopback import accept_for, both_loops, connect_proxy, serving, socks5_proxy
from stream_kit import FAST, check_ledger, in_loop, watching

BOOK = '{"channel":"book","bids":[["64250.10","0.015"]],"symbol":"BTC-USD"}'


@contextlib.asynccontextmanager
async def echoing(
    *, tls: ssl.SSLContext | None = None, compression: str | None = None
) -> AsyncIterator[tuple[int, list[ServerConnection]]]:
    """An echo of the `websockets` library; its port, and who connected."""
    seen: list[ServerConnection] = []

    async def echo(link: ServerConnection) -> None:
        seen.append(link)
        async for message in link:
            await link.send(message)

    async with serve(
        echo, "127.0.0.1", 0, ssl=tls, compression=compression, max_size=None
    ) as server:
        yield port_of(server), seen


def port_of(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# --- compression ------------------------------------------------------------------


@both_loops
@in_loop
async def test_compressed_messages_come_whole_and_in_order(loop: str) -> None:
    sent = [f"{BOOK}{n}" for n in range(300)] + ["é" * 40_000, "", "x"]
    async with (
        echoing(compression="deflate") as (port, seen),
        watching(f"ws://127.0.0.1:{port}/") as w,
    ):
        await w.live()
        for text in sent:
            w.stream.send(text)
        await w.until(lambda: len(w.data) == len(sent), "the echoes")
        assert w.data == sent
        agreed = [e.name for e in seen[0].protocol.extensions]
        assert agreed == ["permessage-deflate"]
        # The status counts what came over the wire, which is less than the text.
        assert w.stream.status.counts.size_bytes < sum(map(len, sent)) / 2


@in_loop
async def test_compression_is_not_offered_if_not_wanted() -> None:
    async with (
        echoing(compression="deflate") as (port, seen),
        watching(f"ws://127.0.0.1:{port}/", compression=False) as w,
    ):
        await w.live()
        w.stream.send(BOOK)
        await w.until(lambda: w.data == [BOOK], "the echo")
        assert seen[0].protocol.extensions == []


# --- TLS and proxies --------------------------------------------------------------


@both_loops
@in_loop
async def test_tls_with_a_certificate_that_is_trusted(loop: str) -> None:
    authority = trustme.CA()
    sent: list[str | bytes] = [BOOK, b"\x00" * 200_000, "last"]
    async with (
        echoing(tls=server_tls(authority)) as (port, _),
        watching(f"wss://localhost:{port}/", ssl_context=client_tls(authority)) as w,
    ):
        await w.live()
        for data in sent:
            w.stream.send(data)
        await w.until(lambda: w.data == sent, "the echoes")
        assert w.stream.status.kernel
        assert w.stream.status.bounds.path > 0


@in_loop
async def test_a_certificate_that_is_not_trusted_is_called_tls() -> None:
    async with (
        echoing(tls=server_tls(trustme.CA())) as (port, seen),
        watching(f"wss://localhost:{port}/", ssl_context=client_tls(trustme.CA())) as w,
    ):
        failed = await w.told(DialLost, nth=2)  # it may be mended: tried again
        assert failed.cause is heartline.Cause.TLS
        assert "certificate not accepted" in failed.reason
        assert w.stream.status.cause is heartline.Cause.TLS
        assert seen == []


@pytest.mark.parametrize("kind", ["http", "socks5"])
@in_loop
async def test_a_stream_goes_through_a_proxy(kind: str) -> None:
    seen: list[bytes] = []
    proxy = connect_proxy(seen) if kind == "http" else socks5_proxy(map_to="127.0.0.1")
    async with FaultyServer(rate=100) as server, serving(proxy) as proxy_port:
        async with watching(server.url, proxy=f"{kind}://127.0.0.1:{proxy_port}") as w:
            await w.fed(1, messages=5)
            await server.do("close")
            await w.fed(2, messages=5)
            check_ledger(w.items)
        if kind == "http":
            assert len(seen) == 2
            assert seen[0].startswith(b"CONNECT 127.0.0.1:%d " % server.port)


@in_loop
async def test_a_proxy_that_refuses_is_named_without_its_password() -> None:
    proxy = connect_proxy([], credentials="user:s3cret-pw")
    async with FaultyServer(rate=0) as server, serving(proxy) as proxy_port:
        url = f"http://user:wr0ng-pw@127.0.0.1:{proxy_port}"
        async with watching(server.url, proxy=url) as w:
            await w.until(lambda: w.over, "the end")
            assert isinstance(w.error, heartline.GaveUp)
            assert (w.error.cause, w.error.status) == ("REFUSED", 407)
            assert f"127.0.0.1:{proxy_port}" in w.error.reason
            assert "wr0ng" not in repr(w.events) + repr(w.items) + str(w.error)


# --- limits and rules -------------------------------------------------------------


@in_loop
async def test_a_message_over_the_limit_ends_the_link() -> None:
    async with (
        FaultyServer(rate=0) as server,
        watching(server.url, max_message_bytes=1000) as w,
    ):
        await server.do("echo")
        await w.live()
        w.stream.send("x" * 1000)
        await w.until(lambda: len(w.data) == 1, "the echo at the limit")
        w.stream.send("x" * 1001)
        lost = await w.told(Lost)
        assert lost.cause is heartline.Cause.TOO_BIG
        assert "1000 bytes" in lost.reason
        await w.live(2)
        assert len(w.data) == 1


@pytest.mark.parametrize(
    ("spoken", "data", "reason"),
    [
        (frame(1, b"good") + frame(1, b"\xff\xfe"), ["good"], "not UTF-8"),
        (frame(1, b"good") + b"\xc1\x01x", ["good"], "extension bits"),
        (frame(0, b"tail"), [], "continues nothing"),
        (frame(8, b"\x00\x01"), [], "close code"),
        (b"\x83\x00", [], ""),
    ],
    ids=["utf-8", "rsv", "continuation", "close-code", "opcode"],
)
@in_loop
async def test_who_breaks_the_protocol_is_told_so(
    spoken: bytes, data: list[str], reason: str
) -> None:
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(accept_for(request) + spoken)
        while await reader.read(65536):
            pass

    async with serving(handle) as port, watching(f"ws://127.0.0.1:{port}/") as w:
        lost = await w.told(Lost, nth=2)
        assert lost.cause is heartline.Cause.PROTOCOL
        assert reason in lost.reason
        assert w.data[: len(data)] == data
        assert w.gaps  # what stood behind it is missing, and told to be


# --- refusals ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "least", "most"),
    [
        (503, {"Retry-After": "2"}, 2.0, 2.1),
        (429, {"Retry-After": "3600"}, 900.0, 900.1),
        (503, {}, 0.05, 0.1),  # half of the gentle spread, at least
        (500, {}, 0.0, 0.02),
    ],
)
@in_loop
async def test_whoever_refuses_us_is_given_the_time_asked_for(
    status: int, headers: dict[str, str], least: float, most: float
) -> None:
    async with FaultyServer(rate=0) as server:
        await server.do("refuse", status=status, headers=headers)
        async with watching(server.url) as w:
            failed = await w.told(DialLost)
            assert (failed.cause, failed.status) == (heartline.Cause.REFUSED, status)
            backing_off = await w.told(BackingOff)
            assert least <= backing_off.delay <= most
            if least >= 1:
                told = w.stream.status
                assert told.phase is heartline.Phase.BACKOFF
                assert told.retry_at == pytest.approx(
                    backing_off.at + backing_off.delay
                )
                assert (await server.counts()).connections == 1


@pytest.mark.parametrize("code", [1001, 1008])
@in_loop
async def test_a_token_that_the_peer_echoes_gets_no_further(code: int) -> None:
    token = "s3cret-token-0123456789"
    async with (
        FaultyServer(rate=0) as server,
        watching(f"{server.url}?token={token}", headers={"X-Key": token[::-1]}) as w,
    ):
        await w.live()
        reason = f"bad {token} {token[::-1]}"
        await server.do("close", code=code, reason=reason)
        lost = await w.told(Lost)
        assert lost.status == code
        assert lost.reason.startswith("bad ")
        if code == 1008:
            await w.until(lambda: w.over, "the end")
        told = f"{w.events} {w.items} {w.stream.status} {w.error!r} {w.error}"
        assert token not in told
        assert token[::-1] not in told


@in_loop
async def test_give_up_after_ends_an_outage() -> None:
    patience: dict[str, Any] = {"base": 0.02, "cap": 0.05, "give_up_after": 0.3}
    async with (
        FaultyServer(rate=50) as server,
        watching(server.url, backoff=heartline.Backoff(**patience)) as w,
    ):
        await w.fed()
        server.kill()
        await w.until(lambda: w.over, "the end")
        assert isinstance(w.error, heartline.GaveUp)
        assert w.error.cause == "REFUSED"
        assert w.error.attempts > 2
        # The outage that was never over is closed all the same.
        assert isinstance(w.items[-2], heartline.Gap)
        assert w.items[-2].until_at - w.items[-2].from_at >= 0.3


@in_loop
async def test_an_answer_that_is_no_upgrade_is_a_failed_attempt() -> None:
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with (
        serving(handle) as port,
        watching(f"ws://127.0.0.1:{port}/", backoff=FAST) as w,
    ):
        failed = await w.told(DialLost, nth=2)
        assert (failed.cause, failed.status) == (heartline.Cause.REFUSED, 200)
