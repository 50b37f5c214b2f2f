"""Who is let in, and what the others are told, before and at the upgrade."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from picows import WSUpgradeRequest
from websockets.exceptions import InvalidStatus

import heartline
from heartline.server.gate import Gate, agree
from heartline.server.limits import SPARE
from loopback import both_loops, server_tls, trusting, until
from server_kit import (
    HEADERS,
    RawClient,
    dial,
    heard,
    in_loop,
    joined,
    raw,
    speaking,
    status_of,
)

GOOD_TOKEN = "s3cret"


def bearer(request: heartline.Request) -> bool | heartline.Answer:
    said = request.headers.get("Authorization", "")
    if said == "Bearer expired":
        return heartline.Answer(403, "this token has expired")
    return said == f"Bearer {GOOD_TOKEN}"


async def refused(url: str, **options: object) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        async with dial(url, **options):
            pass
    response = caught.value.response
    return response.status_code, bytes(response.body or b"").decode()


@both_loops
@in_loop
async def test_only_the_right_token_gets_in(loop: str) -> None:
    async with heartline.serve(authorize=bearer) as server:
        status, _ = await refused(server.url)
        assert status == 401
        wrong = {"Authorization": "Bearer guess"}
        assert (await refused(server.url, additional_headers=wrong))[0] == 401
        expired = {"Authorization": "Bearer expired"}
        assert await refused(server.url, additional_headers=expired) == (
            403,
            "this token has expired",
        )
        right = {"Authorization": f"Bearer {GOOD_TOKEN}"}
        async with dial(server.url, additional_headers=right):
            await joined(server)
        assert server.status.refused == {401: 2, 403: 1}


@in_loop
async def test_a_rule_that_fails_tells_the_client_nothing_of_it() -> None:
    def fails(request: heartline.Request) -> bool:
        raise ValueError(f"token was {GOOD_TOKEN}")

    failures: list[dict[str, object]] = []
    handler = lambda _, context: failures.append(context)  # noqa: E731
    asyncio.get_running_loop().set_exception_handler(handler)
    async with heartline.serve(authorize=fails) as server:
        status, body = await refused(server.url)
    assert status == 500
    assert GOOD_TOKEN not in body
    assert len(failures) == 1


@in_loop
async def test_what_was_asked_for_cannot_add_headers_to_the_answer() -> None:
    def elsewhere(request: heartline.Request) -> heartline.Answer:
        return heartline.Answer(302, "moved", {"Location": request.query["to"]})

    failures: list[dict[str, object]] = []
    handler = lambda _, context: failures.append(context)  # noqa: E731
    asyncio.get_running_loop().set_exception_handler(handler)
    async with heartline.serve(authorize=elsewhere) as server:
        with pytest.raises(InvalidStatus) as caught:
            async with dial(f"{server.url}?to=/%0d%0aSet-Cookie:%20a=b"):
                pass
    assert caught.value.response.status_code == 500
    assert "Set-Cookie" not in caught.value.response.headers
    assert len(failures) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": {"X-Key": "SECRET\r\nX-Other: 1"}},
        {"headers": {"X-Key\r\nX-Other": "SECRET"}},
        {"headers": {"": "SECRET"}},
        {"headers": {"X-Key": 5}},
        {"body": "SECRET \ud800"},
        {"body": b"SECRET"},
    ],
    ids=["line in value", "line in name", "no name", "figure", "surrogate", "bytes"],
)
def test_an_answer_that_cannot_be_sent_is_refused_where_it_is_made(wrong: Any) -> None:
    with pytest.raises(heartline.UsageError, match=r"^Answer\.") as caught:
        heartline.Answer(403, **wrong)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("origins", "origin", "welcome"),
    [
        (None, None, True),
        (None, "http://x", False),
        (None, "https://evil.example", False),
        (None, "null", False),
        (["https://desk.example"], "https://desk.example", True),
        (["https://desk.example"], "http://x", False),
        (["https://desk.example"], None, True),
        (["*"], "https://evil.example", True),
    ],
)
def test_pages_of_other_sites_are_refused_before_the_upgrade(
    origins: list[str] | None, origin: str | None, welcome: bool
) -> None:
    @in_loop
    async def knock() -> None:
        async with heartline.serve(origins=origins) as server:
            client = RawClient(server.port)
            extra = f"Origin: {origin}\r\n" if origin else ""
            head = await client.open(extra)
            client.close()
            assert status_of(head) == (101 if welcome else 403)

    knock()


@pytest.mark.parametrize(
    ("name", "welcome"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("[::1]", True),
        ("site.example", False),
    ],
)
def test_a_page_of_a_site_whose_name_leads_here_is_no_page_of_ours(
    name: str, welcome: bool
) -> None:
    @in_loop
    async def knock() -> None:
        async with heartline.serve() as server:
            host = f"{name}:{server.port}"
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            lines = f"GET / HTTP/1.1\r\n{HEADERS}Origin: http://{host}\r\n\r\n"
            writer.write(lines.replace("Host: x", f"Host: {host}").encode())
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            assert status_of(head) == (101 if welcome else 403)

    knock()


@pytest.mark.parametrize("host", ["x", "desk.example:443", "[", "a:b", ""])
@pytest.mark.parametrize("local", [True, False])
def test_where_others_reach_a_server_too_its_name_is_its_own(
    host: str, local: bool
) -> None:
    gate = Gate(local=local)
    request = WSUpgradeRequest()
    request.method, request.path, request.version = b"GET", b"/", b"HTTP/1.1"
    request.headers = CIMultiDict(
        {
            "Host": host,
            "Origin": f"https://{host}",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
        }
    )
    answer = gate.judge(request)
    assert isinstance(answer, heartline.Answer) is local


@in_loop
async def test_a_browsers_connection_header_is_understood() -> None:
    async with heartline.serve() as server:
        client = RawClient(server.port)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client.sock, ("127.0.0.1", server.port))
        await client.send(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert (await loop.sock_recv(client.sock, 12)) == b"HTTP/1.1 101"
        client.close()


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
            "\r\n\r\n",
            426,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
    ],
    ids=["no upgrade", "old version", "bad key", "post", "nonsense"],
)
def test_what_is_no_upgrade_gets_its_status(request_text: str, status: int) -> None:
    @in_loop
    async def knock() -> None:
        async with heartline.serve() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request_text.encode())
            answer = await reader.read()
            writer.close()
            assert status_of(answer) == status

    knock()


@in_loop
async def test_a_page_is_answered_on_the_same_port() -> None:
    pages = {"/healthz": lambda: heartline.Answer(200, "fine")}
    async with heartline.serve(pages=pages) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert status_of(answer) == 200
        assert answer.endswith(b"\r\n\r\nfine")
        async with dial(server.url + "healthz"):
            await joined(server)


@both_loops
@in_loop
async def test_half_open_handshakes_end_at_their_deadline(loop: str) -> None:
    limits = heartline.Limits(upgrade=0.3)
    async with heartline.serve(limits=limits) as server:
        began = time.monotonic()
        mute = await asyncio.open_connection("127.0.0.1", server.port)
        loris_reader, loris = await asyncio.open_connection("127.0.0.1", server.port)

        async def trickle() -> None:
            for letter in "GET / HTTP/1.1\r\nHost: a-slow-one" * 100:
                loris.write(letter.encode())
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        for reader in (mute[0], loris_reader):
            # With letters unread the kernel resets instead.
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        assert 0.25 <= time.monotonic() - began < 2.0
        trickling.cancel()
        for writer in (mute[1], loris):
            writer.close()
        assert server.status.joined == 0


@in_loop
async def test_one_client_too_many_is_refused_and_let_in_when_there_is_room() -> None:
    async with heartline.serve(limits=heartline.Limits(connections=1)) as server:
        async with dial(server.url):
            await joined(server)
            assert (await refused(server.url))[0] == 503
        await until(lambda: server.status.clients == 0, "room")
        async with dial(server.url):
            await joined(server)


@in_loop
async def test_a_server_is_full_before_its_process_runs_out_of_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resource = pytest.importorskip("resource")
    async with heartline.serve() as server, dial(server.url):
        await joined(server)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        monkeypatch.setattr(resource, "getrlimit", lambda _: (SPARE + 1, hard))
        assert (await refused(server.url))[0] == 503
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
        async with dial(server.url):
            await joined(server, 2)


@in_loop
async def test_whoever_asks_for_the_sub_protocol_hears_the_terms_first() -> None:
    liveness = heartline.Liveness(ping_every=5.0)
    resume = heartline.Resume(window=60.0, messages=10)
    async with heartline.serve(liveness=liveness, resume=resume) as server:
        async with speaking(server.url) as link:
            assert link.subprotocol == "heartline.v1"
            terms = await heard(link)
            assert terms == {
                "type": "terms",
                "interval": 5.0,
                "bound": terms["bound"],
                "epoch": server.epoch,
                "window": 60.0,
                "messages": 10,
            }
            assert 5.0 < terms["bound"] < 10.0
        async with dial(server.url, subprotocols=["chat"]) as link:
            assert link.subprotocol is None
            await until(lambda: server.status.joined == 2, "joined")
            server.broadcast("first")
            assert await link.recv() == "first"


@in_loop
async def test_it_serves_over_tls() -> None:
    async with heartline.serve(ssl_context=server_tls("127.0.0.1")) as server:
        assert server.url.startswith("wss://")
        async with speaking(server.url, ssl=trusting()) as link:
            assert (await heard(link))["type"] == "terms"


@in_loop
async def test_a_tls_handshake_that_stands_still_ends_at_the_deadline() -> None:
    limits = heartline.Limits(upgrade=0.3)
    tls = server_tls("127.0.0.1")
    async with heartline.serve(limits=limits, ssl_context=tls) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        began = time.monotonic()
        assert await reader.read() == b""
        assert time.monotonic() - began < 2.0
        writer.close()


OFFERS = st.lists(
    st.sampled_from(
        [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=99",
            "permessage-deflate; mystery",
            "permessage-deflate; client_max_window_bits=8; client_max_window_bits=8",
            "x-other",
        ]
    ),
    max_size=4,
)


@given(offers=OFFERS)
def test_only_a_sound_offer_of_compression_is_agreed_to(offers: list[str]) -> None:
    unsound = ("99", "mystery", "=8;", "x-other")
    sound = [o for o in offers if not any(mark in o for mark in unsound)]
    agreed = agree(", ".join(offers))
    assert (agreed is None) == (not sound)
    if agreed is not None:
        assert ("server_max_window_bits=10" in agreed) == ("=10" in sound[0])


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(heartline.UsageError, match="port"):
        heartline.serve(port=port)


def test_a_server_that_blocks_for_slow_clients_is_refused() -> None:
    with pytest.raises(heartline.UsageError, match=r"slow\.policy"):
        heartline.serve(slow=heartline.Inbox(policy="block"))


@in_loop
async def test_a_port_in_use_is_an_error_of_the_system() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = heartline.serve(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="address already in use"):
            await server.__aenter__()
        await server.aclose()


@in_loop
async def test_the_raw_client_of_these_tests_is_let_in() -> None:
    async with heartline.serve() as server, raw(server.port):
        await joined(server)
