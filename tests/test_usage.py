"""What a user gets who gives the wrong thing: the field, what was wanted, what came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from http import HTTPStatus
from math import nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import heartline
from heartline import UsageError, connect, serve
from heartline.core.budget import Rate
from loopback import until
from server_kit import in_loop

POLICIES = (
    heartline.Backoff,
    heartline.Dialling,
    heartline.Freshness,
    heartline.Inbox,
    heartline.Lifetime,
    heartline.Limits,
    heartline.Liveness,
    heartline.MaxAge,
    heartline.Resume,
    heartline.Snapshots,
    Rate,
)
NEEDED: dict[type[Any], dict[str, Any]] = {
    heartline.Freshness: {"every": 1.0},
    heartline.MaxAge: {"limit": 1.0},
    Rate: {"count": 1, "per": 1.0},
}
NUMBERS = [
    pytest.param(policy, field.name, id=f"{policy.__name__}.{field.name}")
    for policy in POLICIES
    for field in fields(policy)
    if str(field.type).removesuffix(" | None") in ("int", "float")
]
no_numbers = st.one_of(
    st.text(max_size=8),
    st.binary(max_size=8),
    st.booleans(),
    st.timedeltas(),
    st.lists(st.integers(), max_size=2),
    st.complex_numbers(),
)


@pytest.mark.parametrize(("policy", "field"), NUMBERS)
@settings(max_examples=12)
@given(got=no_numbers)
def test_what_is_no_number_is_refused_by_its_field(
    policy: type[Any], field: str, got: object
) -> None:
    with pytest.raises(UsageError) as refused:
        policy(**NEEDED.get(policy, {}) | {field: got})
    assert refused.value.field == f"{policy.__name__}.{field}"
    assert "number" in refused.value.wanted


@pytest.mark.parametrize(("policy", "field"), NUMBERS)
def test_a_number_that_is_none_is_refused(policy: type[Any], field: str) -> None:
    with pytest.raises(UsageError, match=rf"{policy.__name__}\.{field}: wanted .+ nan"):
        policy(**NEEDED.get(policy, {}) | {field: nan})


@pytest.mark.parametrize("got", [1.5, 2.0001])
def test_probes_are_counted_in_whole_numbers(got: float) -> None:
    with pytest.raises(UsageError, match=r"Liveness\.pings: wanted a whole number"):
        heartline.Liveness(pings=got)  # type: ignore[arg-type]


ARGUMENTS = [
    "headers",
    "on_open",
    "heartbeat",
    "liveness",
    "freshness",
    "backoff",
    "dialling",
    "lifetime",
    "inbox",
    "outbox_limit_bytes",
    "max_message_bytes",
    "proxy",
    "ssl_context",
    "compression",
    "resolver",
    "on_event",
    "journal",
    "metrics",
    "name",
    "venue",
    "channels",
    "restore",
]


@pytest.mark.parametrize(
    "got", [0, 0.5, timedelta(1), object()], ids=("zero", "half", "day", "object")
)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_connect_refuses_what_is_of_another_kind(name: str, got: object) -> None:
    given: dict[str, Any] = {name: got}
    with pytest.raises(UsageError) as refused:
        connect("ws://127.0.0.1:1", **given)
    assert refused.value.field == name


@pytest.mark.parametrize(
    "name",
    [
        "program",
        "host",
        "port",
        "liveness",
        "limits",
        "slow",
        "resume",
        "origins",
        "authorize",
        "pages",
        "ssl_context",
        "compression",
        "on_event",
    ],
)
def test_serve_refuses_what_is_of_another_kind(name: str) -> None:
    given: dict[str, Any] = {name: 0.5}
    with pytest.raises(UsageError) as refused:
        serve(**given)
    assert refused.value.field == name


ONE_WORD = "a URL without blanks, line ends or control characters"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "url: wanted a URL, a venue's name or a callable, got 'NoneType'"),
        (b"ws://a", "url: wanted a URL, a venue's name or a callable, got 'bytes'"),
        ("ws://a:99999", "url: wanted a port of 0 to 65535, got 'another'"),
        ("ws://a:b", "url: wanted a port of 0 to 65535, got 'another'"),
        ("ws:///x", "url: wanted a host, as in a URL with ws:// or wss://, got 'none'"),
        ("http://a", "url: wanted a URL with ws:// or wss://, got 'http scheme'"),
        ("ws://a b/", f"url: wanted {ONE_WORD}, got 'one with'"),
        ("ws://a/hunter2 hunter2", f"url: wanted {ONE_WORD}, got 'one with'"),
        ("ws://a/?token=hunter2\n", f"url: wanted {ONE_WORD}, got 'one with'"),
        (" ws://a/", f"url: wanted {ONE_WORD}, got 'one with'"),
        ("ws://a/\x7f", f"url: wanted {ONE_WORD}, got 'one with'"),
        ("ws://a/#x", "url: wanted a URL without a fragment, got 'one with'"),
        (
            "ws://a,b/",
            "url: wanted a host, as in a ws:// or wss:// URL, got 'none of use'",
        ),
    ],
)
def test_an_address_is_refused_for_what_is_wrong_with_it(url: Any, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        connect(url)
    assert str(refused.value) == told


@pytest.mark.parametrize(
    ("say", "told"),
    [
        ({"headers": {"a": 1}}, "headers: wanted names and values of str, got 'int'"),
        ({"headers": {1: "a"}}, "headers: wanted names and values of str, got 'int'"),
        ({"headers": {"A": "x\ny: z"}}, "headers: wanted a value of one line for A"),
        ({"headers": {"A b": "x"}}, "headers: wanted names that are tokens, got"),
        ({"headers": {"Upgrade": "x"}}, "headers: wanted none of the handshake's own"),
        ({"proxy": "http://a:1\n"}, f"proxy: wanted {ONE_WORD}, got 'one with'"),
        ({"proxy": "http://a,b:1"}, "proxy: wanted a host, as in an http://,"),
        ({"name": "x\ny"}, "name: wanted a text of one line, without control"),
        ({"name": "x\x1b[2J"}, "name: wanted a text of one line, without control"),
        ({"on_open": [{"op": "x"}]}, "on_open: wanted messages of str or bytes"),
        ({"on_open": "x"}, "on_open: wanted a sequence of messages, got 'one'"),
        ({"channels": [1]}, "channels: wanted names of 1 to"),
        ({"venue": "deribit", "channels": [1]}, "channels: wanted names of str"),
    ],
    ids=str,
)
def test_what_is_said_on_a_link_is_checked_before_any(
    say: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as refused:
        connect("ws://127.0.0.1:1", **say)
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize(
    ("say", "told"),
    [
        ({"headers": lambda: ["a"]}, "headers: wanted a mapping, got 'list'"),
        ({"headers": lambda: {"a": 1}}, "headers: wanted names and values of str"),
        ({"url": lambda: 5}, "url: wanted str, got 'int'"),
        ({"url": lambda: "ws://127.0.0.1:1/\n"}, f"url: wanted {ONE_WORD}, got"),
        (
            {"headers": lambda: {"a": "x\n"}},
            "headers: wanted a value of one line for a",
        ),
    ],
    ids=["a list", "a number", "no URL", "two lines", "two lines of a header"],
)
def test_what_a_callable_answers_is_checked_too(
    say: dict[str, Callable[[], Any]], told: str
) -> None:
    async def dialled() -> None:
        url = say.get("url", "ws://127.0.0.1:1")
        headers: Any = say.get("headers")
        made = connect(url, headers=headers)  # type: ignore[arg-type]
        async with asyncio.timeout(15.0), made as stream:
            async for _ in stream:
                pass

    with pytest.raises(UsageError) as refused:
        asyncio.run(dialled())
    assert str(refused.value).startswith(told)


def test_no_repr_of_what_a_user_holds_shows_a_secret() -> None:
    secret = "hunter2hunter2"
    stream = connect(
        f"wss://me:{secret}@venue.example/{secret}?token={secret}",
        headers={"Authorization": secret},
        on_open=[secret],
        proxy=f"http://me:{secret}@127.0.0.1:1",
    )
    assert repr(stream) == "<heartline.Stream venue.example:wss IDLE SUSPECT>"
    venue = heartline.Venue(
        name="deribit", variables={"key": secret}, token_url=f"https://a/{secret}"
    )
    request = heartline.Request("/", {"token": secret}, {"Cookie": secret})
    for held in (stream, stream._driver._route, venue, request):
        assert secret not in repr(held)


@in_loop
async def test_a_key_said_on_open_that_comes_back_in_a_close_is_not_told() -> None:
    key, told = "hunter2hunter2", list[str]()

    async def refuse(client: heartline.Client) -> None:
        async for message in client:
            client.close(1008, f"bad login {message.data!s}")

    async def read(stream: heartline.Stream) -> None:
        async for item in stream:
            told.append(str(item))

    async with serve(refuse) as server:
        opening = [f'{{"op":"login","args":[{{"apiKey":"{key}"}}]}}']
        stream = connect(
            server.url, on_open=opening, on_event=lambda event: told.append(str(event))
        )
        async with stream:
            with pytest.raises(heartline.GaveUp, match="bad login") as gone:
                await read(stream)
    assert gone.value.status == 1008
    assert key not in str(gone.value) + "".join(told)


async def _shown() -> tuple[str, str]:
    server = serve()
    async with server:
        return repr(server), f"<heartline.Server {server.url} 0 clients>"


def test_a_server_shows_where_it_listens() -> None:
    shown, expected = asyncio.run(_shown())
    assert shown == expected
    assert repr(serve()) == "<heartline.Server closed 0 clients>"


# --- what is called must not wait ---------------------------------------------------


async def waits(*_: object) -> Any:
    return True


class _Waits(heartline.Hub):
    async def may_subscribe(  # type: ignore[override]
        self, client: heartline.Client, channel: str
    ) -> bool:
        return False


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: connect("ws://a", on_event=waits), "on_event"),
        (lambda: serve(on_event=waits), "on_event"),
        (lambda: serve(authorize=waits), "authorize"),
        (lambda: serve(slow=waits), "slow"),
        (lambda: serve(pages={"/x": waits}), "pages['/x']"),
        (lambda: serve(_Waits()), "_Waits.may_subscribe"),
        (lambda: heartline.Heartbeat(send=waits), "Heartbeat.send"),
        (lambda: heartline.Heartbeat(send="x", answer=waits), "Heartbeat.answer"),
        (lambda: heartline.Inbox(policy="conflate", key=waits), "Inbox.key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_coroutine_function_is_refused_where_nobody_awaits_it(
    make: Callable[[], object], field: str
) -> None:
    with pytest.raises(UsageError) as refused:
        make()
    assert refused.value.field == field
    assert refused.value.got == "a coroutine function"


@in_loop
async def test_an_answer_that_is_neither_yes_nor_no_lets_nobody_in() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))

    class Later(heartline.Hub):
        def may_subscribe(self, client: heartline.Client, channel: str) -> bool:
            # True to Python, as a coroutine behind a decorator is.
            later: Any = asyncio.get_running_loop().create_future()
            return later  # type: ignore[no-any-return]

    async with serve(Later()) as server:
        server.publish("secret", "x")
        async with connect(server.url, channels=["secret"]) as stream:
            await until(lambda: bool(told), "the program's fault", 15.0)
            assert stream.status.counts.messages == 0
        assert [len(channel.audience) for channel in server._channels.values()] == [0]
    assert "may_subscribe: wanted True or False" in str(told[0]["exception"])


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (heartline.Inbox(policy="block"), "slow.policy: wanted drop_oldest"),
        (None, "slow: wanted an Inbox, got 'NoneType'"),
    ],
    ids=["block", "nothing"],
)
@in_loop
async def test_no_client_is_given_an_inbox_without_a_bound(
    chosen: Any, told: str
) -> None:
    raised: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, what: raised.append(str(what["exception"]))
    )
    async with serve(slow=lambda _: chosen) as server, connect(server.url) as stream:
        refusal = HTTPStatus.INTERNAL_SERVER_ERROR
        await until(lambda: stream.status.status == refusal, "a refusal", 15.0)
        assert server.status.clients == 0
    assert raised[0].startswith(told)


NO_NAMES = [
    pytest.param(got, id=name)
    for name, got in {
        "figure": 5,
        "none": None,
        "list": ["a"],
        "bytes": b"a",
        "surrogate": "book.\ud800.100ms",
    }.items()
]


@pytest.mark.parametrize("got", NO_NAMES)
def test_a_channel_that_cannot_be_named_is_refused_where_it_is_asked_for(
    got: Any,
) -> None:
    for source in ("deribit", "ws://127.0.0.1:1/"):
        with pytest.raises(UsageError, match=r"^channels?: "):
            connect(source, channels=[got])


@pytest.mark.parametrize("got", NO_NAMES)
@in_loop
async def test_nor_is_it_taken_by_a_stream_or_a_server_that_runs(got: Any) -> None:
    book = "book.BTC-PERPETUAL.100ms"
    venue = heartline.Venue(name="deribit", channels=(book,))
    for options in ({"venue": venue}, {"channels": [book]}):
        async with connect("ws://127.0.0.1:1/", **options) as stream:
            with pytest.raises(UsageError, match=r"^channels?: "):
                stream.subscribe("trades.BTC-PERPETUAL.100ms", got)
            assert stream.standing("trades.BTC-PERPETUAL.100ms") is None
    async with serve() as server:
        before = server.status
        if not isinstance(got, list):
            with pytest.raises(UsageError, match=r"^channel: "):
                server.publish(got, "data")
        assert server.status == before
