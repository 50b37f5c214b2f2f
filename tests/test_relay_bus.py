"""A relay's bus against the real nats-server: ids, leases, restarts, and no waiting."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from prove import nats_server
from prove.nats_server import NatsServer

from heartline.errors import UsageError
from heartline.relay import BusTerms, Relay, terms
from heartline.testing import VenueServer
from loopback import until
from relay_kit import BOOK, FAST, Deribit, reading, relaying
from server_kit import in_loop
from test_relay_readers import page

pytestmark = pytest.mark.skipif(
    bool(nats_server.missing()), reason=f"needs {nats_server.missing()}"
)

BTC = "book.BTC-PERPETUAL.100ms"
TRADES = "trades.BTC-PERPETUAL.100ms"
LONG = 15.0


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@asynccontextmanager
async def stream_of(url: str) -> AsyncIterator[Any]:
    """A JetStream context on an empty bus, as a consumer has it."""
    import nats
    from nats.js.errors import NotFoundError

    client = await nats.connect(url)
    context = client.jetstream()
    try:
        for stream in ("HEARTLINE", "KV_heartline_relays"):
            try:
                await context.delete_stream(stream)
            except NotFoundError:
                continue
        yield context
    finally:
        await client.close()


async def read(context: Any, subject: str, count: int, durable: str) -> list[Any]:
    """The next messages of a durable consumer, each acknowledged."""
    pull = await context.pull_subscribe(subject, durable=durable, stream="HEARTLINE")
    found: list[Any] = []
    while len(found) < count:
        for message in await pull.fetch(count - len(found), timeout=LONG):
            await message.ack_sync()
            found.append(message)
    await pull.unsubscribe()
    return found


def numbers(messages: list[Any]) -> list[tuple[int, int]]:
    """What each follows, and its own number."""
    return [
        (int(m.headers["Heartline-Follows"]), int(m.headers["Heartline-Number"]))
        for m in messages
    ]


def bus(server: NatsServer, name: str, **options: Any) -> BusTerms:
    return BusTerms(url=server.url, name=name, lease=3.0, **options)


def once(channel: str) -> str:
    return "heartline.once.deribit." + channel.replace(".", "%2E")


def told(relay: Relay) -> Any:
    assert relay.bus is not None
    return relay.bus.status


@in_loop
async def test_two_relays_store_each_message_once_and_in_order(
    server: NatsServer,
) -> None:
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(stream_of(server.url))
        venue = await stack.enter_async_context(VenueServer("deribit"))
        relays = [
            await stack.enter_async_context(
                Relay(venue.url, [BTC], venue="deribit", bus=bus(server, name))
            )
            for name in ("one", "other")
        ]
        for relay in relays:
            await relay.stream.wait_live(LONG)
        await until(lambda: all(told(r).peers for r in relays), "leases", LONG)
        assert told(relays[0]).peers == ["deribit.other"]
        for _ in range(10):
            await venue.burst(BTC, 20)
        await until(
            lambda: all(r.accounts[BTC].messages == 201 for r in relays), "all", LONG
        )
        await until(lambda: not any(told(r).waiting for r in relays), "stored", LONG)

        messages = await read(context, once(BTC), 201, "all")
        places = numbers(messages)
        assert all(m.headers.get("Heartline-Gap") is None for m in messages)
        assert [low for low, _ in places[1:]] == [last for _, last in places[:-1]]
        assert sum(told(r).stored for r in relays) == 201
        ids = [m.headers["Nats-Msg-Id"] for m in messages]
        place = once(BTC).removeprefix("heartline.once.").replace(".", "/")
        assert ids == [f"{place}/{last}" for _, last in places]
        bodies = [json.loads(m.data)["params"]["data"]["change_id"] for m in messages]
        assert bodies == [last for _, last in places]
        info = await context.stream_info("HEARTLINE")
        assert info.config.max_bytes > 0
        assert info.config.max_age > 0


@in_loop
async def test_a_relay_and_a_consumer_go_on_where_they_were(
    server: NatsServer,
) -> None:
    venue = Deribit()
    await venue.open()
    async with stream_of(server.url) as context:
        options: dict[str, Any] = {"venue": "deribit", "backoff": FAST}
        options["bus"] = bus(server, "one")
        async with Relay(venue.url, [BOOK], **options) as relay:
            await relay.stream.wait_live(LONG)
            for _ in range(5):
                await venue.change(BOOK)
            await until(lambda: told(relay).stored == 6, "stored", LONG)
            first = await read(context, once(BOOK), 4, "reader")
        # Nobody hears these; the snapshot after them stands for them.
        venue.last[BOOK] += 7
        async with Relay(venue.url, [BOOK], **options) as relay:
            await relay.stream.wait_live(LONG)
            await venue.change(BOOK)
            await until(lambda: told(relay).stored == 2, "stored", LONG)
            assert told(relay).gaps == 1
        rest = await read(context, once(BOOK), 4, "reader")
    await venue.close()
    assert [m.data.decode() for m in first + rest] == venue.said[BOOK]
    (gap,) = [m for m in first + rest if "Heartline-Gap" in m.headers]
    assert gap is rest[2]
    note = json.loads(gap.headers["Heartline-Gap"])
    before = numbers(first + rest)[5][1]
    assert (note["relay"], note["first"]) == ("gap", before + 1)
    assert note["last"] == numbers([gap])[0][1]


@in_loop
async def test_where_the_venue_does_not_number_each_relay_stores_its_own_copy(
    server: NatsServer,
) -> None:
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(stream_of(server.url))
        venue = await stack.enter_async_context(VenueServer("deribit"))
        for name in ("one", "other"):
            relay = await stack.enter_async_context(
                Relay(venue.url, [TRADES], venue="deribit", bus=bus(server, name))
            )
            await relay.stream.wait_live(LONG)
        await venue.burst(TRADES, 10)
        await until(lambda: told(relay).stored == 10, "stored", LONG)
        copy = "heartline.copy.deribit." + TRADES.replace(".", "%2E")
        ones = await read(context, f"{copy}.one", 10, "one")
        others = await read(context, f"{copy}.other", 10, "other")
        assert [m.data for m in ones] == [m.data for m in others]
        assert numbers(ones) == [(n - 1, n) for n in range(1, 11)]
        # What the venue cuts is a gap of the copy.
        await venue.cut()
        await until(lambda: relay.accounts[TRADES].gaps == 1, "the gap", LONG)
        await relay.stream.wait_live(LONG)
        await venue.burst(TRADES, 1)
        (after,) = await read(context, f"{copy}.other", 1, "other")
        assert json.loads(after.headers["Heartline-Gap"])["reason"] == "outage"
        notes = await read(context, "heartline.note.deribit.other", 4, "notes")
        kinds = [json.loads(m.data)["relay"] for m in notes]
        assert kinds.count("gap") + kinds.count("status") == 4


@in_loop
async def test_a_bus_that_is_gone_delays_no_reader_and_what_finds_no_room_is_told() -> (
    None
):
    with NatsServer() as server:
        terms = bus(server, "one", most_messages=10)
        async with relaying(BOOK, bus=terms) as (venue, relay):
            async with reading(relay.url, BOOK) as reader:
                await until(lambda: told(relay).stored == 1, "the snapshot", LONG)
                await until(lambda: bool(reader.of("subscribed")), "there", LONG)
                server.kill()
                await until(lambda: not told(relay).live, "told", LONG)
                for _ in range(25):
                    await venue.change(BOOK)
                await until(lambda: len(reader.data(BOOK)) == 25, "all of it", LONG)
                status = told(relay)
                assert status.trouble
                assert (status.waiting, status.dropped) == (10, 15)
                found, _, body = await page(relay, "/healthz")
                assert found == 200
                assert json.loads(body)["bus"]["dropped"] == 15
                _, _, metrics = await page(relay, "/metrics")
                assert "heartline_relay_bus_waiting 10.0" in metrics
            server.start()
            await until(lambda: told(relay).stored == 11, "stored", LONG)
            async with stream_again(server.url) as context:
                messages = await read(context, once(BOOK), 11, "all")
                notes = await overflow(context, "heartline.note.deribit.one")
            gaps = [m.headers.get("Heartline-Gap") for m in messages]
            assert [bool(gap) for gap in gaps] == [False, True] + [False] * 9
            assert notes["missing"] == 15
            await until(lambda: not told(relay).trouble, "all is well", LONG)


@asynccontextmanager
async def stream_again(url: str) -> AsyncIterator[Any]:
    import nats

    client = await nats.connect(url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def overflow(context: Any, subject: str) -> dict[str, Any]:
    """The note of what found no room."""
    while True:
        (message,) = await read(context, subject, 1, "notes")
        note: dict[str, Any] = json.loads(message.data)
        if note.get("reason") == "overflow":
            return note


@in_loop
async def test_a_lease_stands_only_while_the_upstream_is_live(
    server: NatsServer,
) -> None:
    async with stream_of(server.url) as context:
        async with relaying(BOOK, bus=bus(server, "one")) as (venue, relay):
            await until(lambda: told(relay).leased, "leased", LONG)
            bucket = await context.key_value("heartline_relays")
            entry = json.loads((await bucket.get("deribit.one")).value)
            assert (entry["relay"], entry["url"]) == ("one", relay.url)
            status = await bucket.status()
            assert status.ttl == 3.0
            port = int(venue.url.rpartition(":")[2].rstrip("/"))
            await venue.close()
            await until(lambda: not told(relay).leased, "given up", LONG)
            await venue.open(port)
            await until(lambda: told(relay).leased, "leased again", LONG)
        assert not told(relay).leased


@in_loop
async def test_of_two_relays_with_one_name_the_younger_stores_nothing_and_says_so(
    server: NatsServer,
) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stream_of(server.url))
        venue = await stack.enter_async_context(VenueServer("deribit"))

        async def another(name: str) -> Relay:
            relay = Relay(venue.url, [BTC], venue="deribit", bus=bus(server, name))
            return await stack.enter_async_context(relay)

        older = await another("one")
        await until(lambda: told(older).leased, "leased", LONG)
        younger = await another("one")
        await until(lambda: "is called one" in told(younger).trouble, "told", LONG)
        assert older.url in told(younger).trouble
        assert not told(younger).live
        assert not told(younger).leased
        await until(lambda: told(older).leased, "still leased", LONG)
        assert told(older).trouble == ""
        assert told(older).live
        stored = told(younger).stored
        await venue.burst(BTC, 20)
        await until(lambda: younger.accounts[BTC].messages >= 21, "relayed", LONG)
        await until(lambda: not told(older).waiting, "stored by the other", LONG)
        assert told(younger).stored == stored
        assert told(younger).waiting
        await older.aclose()
        await until(lambda: told(younger).leased, "its turn", LONG)
        await until(lambda: not told(younger).waiting, "nothing was lost", LONG)


@in_loop
async def test_a_bus_over_tls_is_trusted_as_its_authority_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, trust = tmp_path / "certificate.pem", tmp_path / "authority.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(trust))
    with NatsServer(str(certificate)) as secured:
        assert secured.url.startswith("tls://")
        async with relaying(BOOK, bus=bus(secured, "one")) as (_, stranger):
            await until(lambda: "certificate" in told(stranger).trouble.lower(), "no")
            assert not told(stranger).live
        monkeypatch.setenv("SSL_CERT_FILE", str(trust))
        async with relaying(BOOK, bus=bus(secured, "one")) as (venue, relay):
            await until(lambda: told(relay).leased, "leased", LONG)
            before = told(relay).stored
            await venue.change(BOOK)
            await until(lambda: told(relay).stored > before, "stored", LONG)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"url": "http://127.0.0.1:4222"}, "bus"),
        ({"url": "127.0.0.1:4222"}, "bus"),
        ({"url": "nats://127.0.0.1:4222", "name": "a b"}, "name"),
    ],
    ids=["scheme", "no scheme", "name"],
)
def test_terms_that_cannot_be_name_the_field(
    options: dict[str, Any], field: str
) -> None:
    with pytest.raises(UsageError) as caught:
        BusTerms(**options)
    assert caught.value.field == field


def test_an_address_with_a_password_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        BusTerms(url="http://user:secret@127.0.0.1:4222")
    assert "secret" not in str(caught.value)


def test_the_command_says_what_is_wrong_with_its_bus() -> None:
    command = (sys.executable, "-m", "heartline", "relay", "deribit")
    ended = subprocess.run(
        [*command, "--bus", "http://user:secret@127.0.0.1:1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("heartline: bus: wanted nats://HOST:PORT")
    assert "secret" not in ended.stderr


def test_without_nats_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"heartline\[nats\]"):
        BusTerms(url="nats://127.0.0.1:4222", name="one")
