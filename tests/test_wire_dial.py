"""A dial succeeds, or says truly why not, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import time
from typing import Any

import pytest
from picows import WSListener

from heartline.core.events import Stage
from heartline.core.items import Cause
from heartline.errors import WireError
from loopback import (
    Fixed,
    accept_for,
    answering,
    both_loops,
    clients_of,
    failure_of,
    knock,
    make_ears,
    open_sockets,
    resetting,
    run,
    server_tls,
    serving,
    trusting,
    try_dial,
    until,
    upgrading,
)


@both_loops
def test_a_dial_goes_through_its_stages_to_an_upgraded_transport(loop: str) -> None:
    async def main() -> None:
        stages: list[Stage] = []
        requests: list[bytes] = []
        async with serving(upgrading(requests)) as port:
            before = open_sockets()
            transport = await try_dial(
                f"ws://localhost:{port}/feed;v=1?a=b%20c",
                listener=make_ears,
                stages=stages,
                headers={"X-Api-Key": "k"},
            )
            assert stages == [Stage.RESOLVING, Stage.CONNECTING, Stage.UPGRADING]
            assert len(clients_of(port)) == 1
            transport.underlying_transport.abort()
            await until(lambda: open_sockets() <= before, "all sockets closed")
        assert requests[0].startswith(b"GET /feed%3Bv=1?a=b%20c HTTP/1.1\r\n")
        assert f"Host: localhost:{port}\r\n".encode() in requests[0]
        assert b"X-Api-Key: k\r\n" in requests[0]
        assert b"Sec-WebSocket-Extensions" not in requests[0]

    run(loop, main())


@both_loops
def test_a_port_nobody_listens_on_refuses(loop: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    async def main() -> None:
        before = open_sockets()
        with pytest.raises(WireError) as caught:
            await try_dial(f"ws://localhost:{port}/", listener=make_ears)
        assert (caught.value.cause, caught.value.status) == (Cause.REFUSED, None)
        assert caught.value.reason == f"localhost:{port}: connection refused"
        two = Fixed(("127.0.0.1", port), ("127.0.0.2", port))
        with pytest.raises(WireError) as caught:
            await try_dial(f"ws://localhost:{port}/", listener=make_ears, resolver=two)
        assert caught.value.cause == Cause.REFUSED
        mixed = Fixed(("255.255.255.255", 9), ("127.0.0.1", port))
        with pytest.raises(WireError) as caught:
            await try_dial("ws://localhost/", listener=make_ears, resolver=mixed)
        assert caught.value.cause == Cause.REFUSED, "one of the addresses answered"
        assert open_sockets() == before

    run(loop, main())


def test_an_unreachable_network_is_a_dead_path_and_says_which() -> None:
    async def main() -> WireError:
        broadcast = Fixed(("255.255.255.255", 9))
        with pytest.raises(WireError) as caught:
            await try_dial("ws://x:9/", listener=make_ears, resolver=broadcast)
        return caught.value

    error = run("asyncio", main())
    assert error.cause == Cause.PATH_DEAD
    assert "ENETUNREACH" in error.reason or "EACCES" in error.reason


@both_loops
def test_an_address_that_does_not_answer_does_not_hold_up_the_next(loop: str) -> None:
    async def main() -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            crowd = [knock(deaf.getsockname()) for _ in range(4)]
            async with serving(upgrading([])) as port:
                before = open_sockets()
                began = time.monotonic()
                transport = await try_dial(
                    "ws://two.test/",
                    listener=make_ears,
                    resolver=Fixed(deaf.getsockname(), ("127.0.0.1", port)),
                )
                took = time.monotonic() - began
                assert 0.2 < took < 5.0
                transport.underlying_transport.abort()
                await until(lambda: open_sockets() <= before, "all sockets closed")
            for knocker in crowd:
                knocker.close()

    run(loop, main())


@both_loops
@pytest.mark.parametrize(
    ("wait", "least", "most"),
    [
        (b"7", 7, 7),
        (b"0", 0, 0),
        (b"-5", None, None),
        (b"soon", None, None),
        (b"in an hour", 3400, 3600),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
    ],
    ids=["seconds", "zero", "negative", "words", "date ahead", "date past"],
)
def test_a_refusal_carries_status_and_retry_after(
    loop: str, wait: bytes, least: float | None, most: float | None
) -> None:
    if wait == b"in an hour":
        # As of now: the tests before this one may have taken long.
        in_an_hour = time.time() + 3600
        wait = email.utils.formatdate(in_an_hour, usegmt=True).encode()
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: " + wait + b"\r\n\r\nbody"
    error = failure_of(loop, answering(answer))
    assert (error.cause, error.status) == (Cause.REFUSED, 503)
    assert error.reason == "HTTP 503 Service Unavailable"
    if least is None or most is None:
        assert error.retry_after is None
    else:
        assert error.retry_after is not None
        assert least <= error.retry_after <= most


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 401 Unauthorized", 401),
        (b"HTTP/1.1 200 OK", 200),
        (b"HTTP/1.1 522 ", 522),  # unknown to http.HTTPStatus
        (b"HTTP/1.1 429", 429),  # no phrase
        (b"HTTP/1.0 502 Bad Gateway", 502),
        (b"HTTP/1.1 302 Found", 302),  # without a Location
    ],
)
def test_any_status_but_101_is_a_refusal(line: bytes, status: int) -> None:
    error = failure_of("asyncio", answering(line + b"\r\n\r\n"))
    assert (error.cause, error.status) == (Cause.REFUSED, status)


@both_loops
@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nbroken\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"X" * 20_000,
    ],
)
def test_an_answer_that_is_no_upgrade_breaks_the_protocol(
    loop: str, answer: bytes
) -> None:
    error = failure_of(loop, answering(answer))
    assert (error.cause, error.status) == (Cause.PROTOCOL, None)


@both_loops
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Swi"])
def test_a_peer_that_hangs_up_during_the_upgrade_closed(
    loop: str, answer: bytes
) -> None:
    error = failure_of(loop, answering(answer))
    assert (error.cause, error.status) == (Cause.CLOSED_BY_PEER, 1006)


@both_loops
def test_a_reset_during_the_upgrade_is_a_reset(loop: str) -> None:
    assert failure_of(loop, resetting).cause == Cause.RESET


def test_an_extension_nobody_offered_breaks_the_protocol() -> None:
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        answer = accept_for(await reader.readuntil(b"\r\n\r\n"))
        extra = b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        writer.write(answer.replace(b"\r\n\r\n", extra))
        while await reader.read(100):
            pass

    assert failure_of("asyncio", handle).cause == Cause.PROTOCOL


@both_loops
def test_what_make_listener_raises_ends_the_dial_as_it_is(loop: str) -> None:
    faults = [
        WireError(Cause.PROTOCOL, "bad negotiation"),
        OSError("a bug of ours"),
        TypeError("another"),
    ]

    async def main() -> None:
        async with serving(upgrading([])) as port:
            before = open_sockets()
            for fault in faults:

                def raising(
                    request: Any, response: Any, fault: Exception = fault
                ) -> WSListener:
                    raise fault

                with pytest.raises(type(fault)) as caught:
                    await try_dial(f"ws://localhost:{port}/", listener=raising)
                assert caught.value is fault
                assert clients_of(port) == []
            await until(lambda: open_sockets() <= before, "all sockets closed")

    run(loop, main())


# --- TLS --------------------------------------------------------------------------


@both_loops
def test_a_certificate_nobody_vouches_for_is_refused(loop: str) -> None:
    error = failure_of(loop, upgrading([]), tls=server_tls("localhost"))
    assert error.cause == Cause.TLS
    assert "certificate not accepted" in error.reason


@both_loops
def test_a_certificate_for_another_host_is_refused(loop: str) -> None:
    tls = server_tls("other.test")
    error = failure_of(loop, upgrading([]), tls=tls, ssl_context=trusting())
    assert error.cause == Cause.TLS
    assert "localhost" in error.reason


@both_loops
def test_a_refusal_over_tls_leaves_no_socket_waiting_for_a_farewell(loop: str) -> None:
    """The peer stops reading: it will never answer TLS's own goodbye."""

    async def refuse_and_freeze(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        await asyncio.Event().wait()

    async def main() -> WireError:
        async with serving(refuse_and_freeze, tls=server_tls("localhost")) as port:
            with pytest.raises(WireError) as caught:
                await try_dial(
                    f"wss://localhost:{port}/",
                    listener=make_ears,
                    ssl_context=trusting(),
                )
            assert clients_of(port) == []
            return caught.value

    error = run(loop, main())
    assert (error.cause, error.status) == (Cause.REFUSED, 403)


@both_loops
def test_tls_spoken_to_a_server_without_it_is_named(loop: str) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    error = failure_of(loop, http, ssl_context=trusting())
    assert error.cause == Cause.TLS


@both_loops
def test_a_peer_that_hangs_up_in_the_tls_handshake_closed(loop: str) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.close()
        await writer.wait_closed()

    error = failure_of(loop, leave, ssl_context=trusting())
    assert (error.cause, error.status) == (Cause.CLOSED_BY_PEER, 1006)


@both_loops
def test_a_trusted_certificate_is_accepted_and_securing_is_a_stage(loop: str) -> None:
    async def main() -> None:
        stages: list[Stage] = []
        tls = server_tls("localhost")
        async with serving(upgrading([]), tls=tls) as port:
            before = open_sockets()
            transport = await try_dial(
                f"wss://localhost:{port}/",
                listener=make_ears,
                stages=stages,
                ssl_context=trusting(),
            )
            sock = transport.underlying_transport.get_extra_info("socket")
            assert sock.fileno() in clients_of(port)
            assert transport.is_secure
            transport.underlying_transport.abort()
            await until(lambda: open_sockets() <= before, "all sockets closed")
        assert stages == list(Stage)[1:]

    run(loop, main())
