"""The call for a token goes the way of the stream, and is blamed for its own time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

import heartline
from heartline import Backoff, Dialling, Venue
from heartline.client.token_call import addressed
from heartline.core.events import DialLost, Event
from heartline.core.items import Cause
from heartline.errors import WireError
from loopback import until
from stream_kit import in_loop

TOLD = (
    b'{"code":"200000","data":{"token":"t0","instanceServers":'
    b'[{"endpoint":"wss://kucoin.example/","pingInterval":18000,"pingTimeout":10000}]}}'
)
URL = "${endpoint}?token=${token}"


@contextlib.asynccontextmanager
async def host(answer: bytes | None, asked: list[bytes]) -> AsyncIterator[str]:
    """A host that says `answer` to any call, or never anything."""
    held: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        held.append(writer)
        if answer is not None:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n"
            writer.write(head.encode() + answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        for writer in held:
            writer.close()


@in_loop
async def test_the_token_call_goes_by_the_proxy_of_the_stream() -> None:
    asked: list[bytes] = []
    venue = Venue(name="kucoin", token_url="http://venue.example/bullet")
    async with host(TOLD, asked) as proxy:
        url, told = await addressed(URL, venue, proxy=proxy)
    assert asked[0].split(b"\r\n")[0] == b"POST http://venue.example/bullet HTTP/1.1"
    assert url == "wss://kucoin.example/?token=t0"
    assert told["token"] == "t0"


@in_loop
async def test_a_proxy_that_cannot_be_used_fails_the_call_and_is_not_shown() -> None:
    venue = Venue(name="kucoin", token_url="http://venue.example/bullet")
    with pytest.raises(WireError) as failed:
        await addressed(URL, venue, proxy="socks4://u:secret@127.0.0.1:1")
    assert failed.value.reason == "the token call failed: ValueError"


@in_loop
async def test_a_token_call_that_hangs_is_not_blamed_on_the_name_service() -> None:
    events: list[Event] = []
    async with host(None, []) as silent:
        venue = Venue(name="kucoin", token_url=f"{silent}/bullet")
        stream = heartline.connect(
            "ws://127.0.0.1:9/",
            venue=venue,
            dialling=Dialling(resolve=0.05, connect=0.3),
            backoff=Backoff(base=5.0),
            on_event=events.append,
        )
        async with stream:
            await until(
                lambda: any(isinstance(e, DialLost) for e in events), "lost", 20.0
            )
    lost = [e for e in events if isinstance(e, DialLost)]
    assert lost[0].cause is Cause.HANDSHAKE_TIMEOUT
    assert lost[0].reason == "asking where to dial took longer than 0.3 s"


@in_loop
async def test_no_log_has_the_address_of_a_token_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[bytes] = []
    caplog.set_level(logging.DEBUG)
    async with host(TOLD, asked) as there:
        venue = Venue(name="kucoin", token_url=f"{there}/bullet?key=secret-4711")
        await addressed(URL, venue)
        async with httpx.AsyncClient() as own:
            await own.get(f"{there}/of-the-user")
    assert b"secret-4711" in asked[0]
    assert "secret-4711" not in caplog.text
    assert "of-the-user" in caplog.text
