"""Proxies, redirects, and what must never be shown of a URL or a header."""

from __future__ import annotations

import logging
import ssl
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from picows import WSListener

from heartline.core.events import Stage
from heartline.core.items import Cause
from heartline.errors import UsageError, WireError
from loopback import (
    Fixed,
    Streams,
    answering,
    both_loops,
    clients_of,
    connect_proxy,
    failure_of,
    make_ears,
    open_sockets,
    run,
    server_tls,
    serving,
    socks5_proxy,
    target,
    trusting,
    try_dial,
    until,
    upgrading,
)


def through(
    loop: str,
    proxy: Streams,
    scheme: str = "http",
    login: str = "",
    *,
    secure: bool = False,
    host: str = "127.0.0.1",
    proxy_tls: ssl.SSLContext | None = None,
) -> tuple[list[bytes], list[Stage], Fixed]:
    """Dial a server through a proxy; return what the server and the resolver saw."""
    requests: list[bytes] = []
    stages: list[Stage] = []
    resolver = Fixed()

    async def main() -> None:
        tls = server_tls(host) if secure else None
        async with (
            serving(upgrading(requests), tls=tls) as port,
            serving(proxy, tls=proxy_tls) as via,
        ):
            before = open_sockets()
            resolver.addresses = (("127.0.0.1", via),)
            transport = await try_dial(
                f"{'wss' if secure else 'ws'}://{host}:{port}/x",
                listener=make_ears,
                proxy=f"{scheme}://{login}proxy.test:{via}",
                resolver=resolver,
                stages=stages,
                ssl_context=trusting() if secure else None,
            )
            transport.underlying_transport.abort()
            assert await _soon(lambda: clients_of(via) == [])
            await until(lambda: open_sockets() <= before, "all sockets closed")

    run(loop, main())
    return requests, stages, resolver


async def _soon(condition: Callable[[], bool]) -> bool:
    await until(condition, "soon")
    return True


# --- proxies ----------------------------------------------------------------------


@both_loops
@pytest.mark.parametrize("secure", [False, True])
def test_a_stream_goes_through_an_http_proxy(loop: str, secure: bool) -> None:
    seen: list[bytes] = []
    proxy = connect_proxy(seen, credentials="us er:pa:ss")
    requests, stages, resolver = through(
        loop, proxy, login="us%20er:pa%3Ass@", secure=secure, host="localhost"
    )
    assert len(requests) == 1
    assert seen[0].startswith(b"CONNECT localhost:")
    assert [host for host, _ in resolver.asked] == ["proxy.test"]
    left_out = {Stage.ADDRESSING} if secure else {Stage.ADDRESSING, Stage.SECURING}
    assert stages == [stage for stage in Stage if stage not in left_out]


@both_loops
@pytest.mark.parametrize("secure", [False, True])
def test_a_stream_goes_through_a_proxy_that_is_spoken_to_over_tls(
    loop: str, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heartline.wire.dial._default_context", trusting)
    seen: list[bytes] = []
    requests, _, _ = through(
        loop,
        connect_proxy(seen),
        "https",
        secure=secure,
        host="localhost",
        proxy_tls=server_tls("proxy.test"),
    )
    assert len(seen) == len(requests) == 1


@both_loops
@pytest.mark.parametrize("secure", [False, True])
def test_a_stream_goes_through_a_socks_proxy(loop: str, secure: bool) -> None:
    proxy = socks5_proxy(login=(b"user", b"word"), map_to="127.0.0.1")
    requests, stages, resolver = through(
        loop, proxy, "socks5", "user:word@", secure=secure, host="venue.test"
    )
    assert len(requests) == 1
    assert [host for host, _ in resolver.asked] == ["proxy.test"]
    assert stages[0] == Stage.RESOLVING
    assert stages[-1] == Stage.UPGRADING


@both_loops
@pytest.mark.parametrize(
    ("scheme", "login", "proxy", "words", "status"),
    [
        ("http", "user:SECRET@", connect_proxy([], credentials="a:b"), "407", 407),
        ("http", "", answering(b"HTTP/1.1 502 Bad\r\n\r\n"), "502", 502),
        ("http", "", answering(b""), "closed the connection", None),
        ("socks5", "", socks5_proxy(code=2), "not allowed by ruleset", None),
        ("socks5", "", socks5_proxy(code=5), "refused by destination", None),
        ("socks5", "u:SECRET@", socks5_proxy(login=(b"u", b"x")), "password", None),
    ],
)
def test_a_proxy_that_refuses_is_named_without_its_credentials(
    loop: str, scheme: str, login: str, proxy: Streams, words: str, status: int | None
) -> None:
    async def main() -> WireError:
        async with serving(proxy) as via:
            before = open_sockets()
            with pytest.raises(WireError) as caught:
                await try_dial(
                    "ws://venue.test/",
                    listener=make_ears,
                    proxy=f"{scheme}://{login}127.0.0.1:{via}",
                )
            assert clients_of(via) == []
            await until(lambda: open_sockets() <= before, "all sockets closed")
            assert f"proxy 127.0.0.1:{via}" in caught.value.reason
            return caught.value

    error = run(loop, main())
    assert (error.cause, error.status) == (Cause.REFUSED, status)
    assert words in error.reason
    assert "SECRET" not in everything_shown(error)


@both_loops
def test_a_socks_proxy_that_hangs_up_closed(loop: str) -> None:
    async def main() -> WireError:
        async def leave(reader: Any, writer: Any) -> None:
            await reader.read(100)

        async with serving(leave) as via:
            with pytest.raises(WireError) as caught:
                await try_dial(
                    "ws://venue.test/",
                    listener=make_ears,
                    proxy=f"socks5://127.0.0.1:{via}",
                )
            assert clients_of(via) == []
            assert f"proxy 127.0.0.1:{via}" in caught.value.reason
            return caught.value

    assert run(loop, main()).cause in (Cause.CLOSED_BY_PEER, Cause.RESET)


# --- redirects --------------------------------------------------------------------


def redirecting(location: str, status: int = 302) -> Streams:
    return answering(f"HTTP/1.1 {status} Go\r\nLocation: {location}\r\n\r\n".encode())


def follow(location: str, headers: dict[str, str], *, url: str = "ws://a.test") -> Any:
    """Dial a server that redirects to `location`; PORT in it is a good server."""

    async def main() -> list[bytes]:
        requests: list[bytes] = []
        async with serving(upgrading(requests)) as good:
            where = location.replace("PORT", str(good))
            async with serving(redirecting(where)) as port:
                transport = await try_dial(
                    f"{url}:{port}/old?token=SECRET",
                    listener=make_ears,
                    headers=headers,
                )
                transport.underlying_transport.abort()
        return requests

    return run("asyncio", main())


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_a_redirect_is_followed_while_there_is_nothing_to_leak(scheme: str) -> None:
    requests = follow(f"{scheme}://b.test:PORT/new?x=1", {})
    assert requests[0].startswith(b"GET /new?x=1 HTTP/1.1\r\n")
    assert b"SECRET" not in requests[0]


@pytest.mark.parametrize("host", ["b.test", "a.test"])
def test_a_redirect_elsewhere_never_takes_our_headers_along(host: str) -> None:
    """Another port of the same host is elsewhere, too."""
    with pytest.raises(WireError) as caught:
        follow(f"ws://{host}:PORT/new", {"X-Key": "SECRET"})
    assert (caught.value.cause, caught.value.status) == (Cause.REFUSED, 302)
    assert f"{host}:" in caught.value.reason
    with pytest.raises(WireError):
        follow(f"ws://{host}:PORT/new", {}, url="ws://user:SECRET@a.test")


def test_a_redirect_on_the_same_host_and_port_takes_our_headers_along() -> None:
    requests: list[bytes] = []

    async def twice(reader: Any, writer: Any) -> None:
        if requests:
            await upgrading(requests)(reader, writer)
        requests.append(b"")
        await redirecting("/second")(reader, writer)

    async def main() -> None:
        async with serving(twice) as port:
            transport = await try_dial(
                f"ws://a.test:{port}/", listener=make_ears, headers={"X-Key": "k"}
            )
            transport.underlying_transport.abort()

    run("asyncio", main())
    assert requests[1].startswith(b"GET /second")
    assert b"X-Key: k" in requests[1]


@pytest.mark.parametrize("location", ["ftp://a.test/", "ws://[oops/", "ws://a b/"])
def test_a_redirect_to_what_is_no_stream_is_a_refusal(location: str) -> None:
    error = failure_of("asyncio", redirecting(location))
    assert (error.cause, error.status) == (Cause.REFUSED, 302)


def test_redirects_are_followed_five_times_and_not_for_ever() -> None:
    error = failure_of("asyncio", redirecting("/again", 307))
    assert error.cause == Cause.REFUSED
    assert "more than 5 redirects" in error.reason


def test_a_redirect_never_leads_from_tls_to_plain_text() -> None:
    error = failure_of(
        "asyncio",
        redirecting("ws://localhost/"),
        tls=server_tls("localhost"),
        ssl_context=trusting(),
    )
    assert (error.cause, error.status) == (Cause.REFUSED, 302)
    assert "plain text" in error.reason


# --- secrets ----------------------------------------------------------------------


def everything_shown(error: BaseException) -> str:
    """All an exception may put into a log: texts of it and of its whole chain."""
    shown = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        shown += f"{link} {link!r} {link.args} {vars(link)}"
        link = link.__cause__ or link.__context__
    return shown


def test_user_information_becomes_a_header_and_not_a_host() -> None:
    async def main() -> bytes:
        requests: list[bytes] = []
        async with serving(upgrading(requests)) as port:
            transport = await try_dial(
                f"ws://us%20er:pass@localhost:{port}/", listener=make_ears
            )
            transport.underlying_transport.abort()
        assert f"Host: localhost:{port}\r\n".encode() in requests[0]
        return requests[0]

    assert b"Authorization: Basic dXMgZXI6cGFzcw==\r\n" in run("asyncio", main())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 401 Unauthorized SECRET\r\n\r\n",
        b"HTTP/1.1 101 SECRET\r\nSECRET\r\n\r\n",
        b"HTTP/1.1 101 Ok\r\nUpgrade: SECRET\r\n\r\n",
        b"HTTP/1.1 302 Ok\r\nLocation: ws://b.test/?SECRET\r\n\r\n",
    ],
)
def test_no_failure_shows_a_secret(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)

    async def main() -> WireError:
        async with serving(answering(answer)) as port:
            with pytest.raises(WireError) as caught:
                await try_dial(
                    f"ws://user:SECRET@localhost:{port}/SECRET?token=SECRET",
                    listener=make_ears,
                    headers={"X-Key": "SECRET"},
                )
            return caught.value

    assert "SECRET" not in everything_shown(run("asyncio", main()))
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize(
    "how",
    [
        {"url": "https://user:SECRET@a.test/?k=SECRET"},
        {"url": "ws:///SECRET"},
        {"url": "ws://a.test:SECRET/"},
        {"url": "ws://a.test:99999/SECRET"},
        {"url": "ws://SECRET\x00.test/"},
        {"url": "ws://[SECRET/"},
        {"url": "ws://a.test/SECRET#SECRET"},
        {"url": "ws://a.test/SECRET\ud800"},
        {"proxy": "ftp://user:SECRET@p.test"},
        {"proxy": "socks5://user:SECRET\u00e9@p.test"},
        {"headers": {"X-Key": "SECRET\r\nX-Other: 1"}},
        {"headers": {"X-Key": "SECRET\ud800"}},
        {"headers": {"X Key": "SECRET"}},
        {"headers": {"Authorization: Bearer SECRET": ""}},
        {"headers": {"Bearer SECRET": ""}},
        {"headers": {"Sec-WebSocket-Key": "SECRET"}},
    ],
)
def test_what_cannot_be_dialled_blames_the_caller_without_a_secret(
    how: dict[str, Any],
) -> None:
    stages: list[Stage] = []
    with pytest.raises(UsageError) as caught:
        run(
            "asyncio",
            try_dial(
                how.pop("url", "ws://a.test/"),
                listener=make_ears,
                stages=stages,
                **how,
            ),
        )
    assert "SECRET" not in everything_shown(caught.value)
    assert stages == []


def test_a_target_does_not_show_its_secrets() -> None:
    shown = repr(
        target(
            "ws://u:SECRET@h/?SECRET",
            headers={"k": "SECRET"},
            proxy="http://u:SECRET@p",
        )
    )
    assert "SECRET" not in shown


def test_picows_logs_nothing_even_with_everything_turned_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(1)
    logging.getLogger("picows").setLevel(1)

    async def main() -> None:
        async with serving(upgrading([])) as port:
            transport = await try_dial(
                f"ws://localhost:{port}/?k=SECRET",
                listener=lambda request, response: WSListener(),
            )
            transport.underlying_transport.abort()
            await transport.wait_disconnected()

    run("asyncio", main())
    assert [r for r in caplog.records if r.name.startswith(("picows", "heart"))] == []
    assert "SECRET" not in caplog.text
