"""The simulator over real sockets, with a client and a caller that are not ours."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from faulty_peer import dial, in_loop
from heartline.errors import UsageError, VenueError
from heartline.testing import (
    Capture,
    CapturedFrame,
    VenueServer,
    write_capture,
)
from heartline.venue.classify import Classifier, Contract
from heartline.venue.load import load
from heartline.venue.reading import Update
from heartline.venue.writer import Writer
from loopback import crowding, until

FIRST = [
    ("deribit", "main"),
    ("binance", "spot"),
    ("binance", "usdm"),
    ("okx", "public"),
    ("bybit", "public"),
    ("coinbase", "exchange"),
    ("kraken", "spot"),
    ("kucoin", "spot"),
    ("gate", "spot"),
    ("bitmex", "main"),
    ("htx", "spot"),
]
# `heartline.cli` has a function of the same name.
venue_command = import_module("heartline.cli.venue")
COMMAND = (sys.executable, "-m", "heartline")
SECONDS = 10.0
BOOK = "book.BTC-PERPETUAL.100ms"


async def subscribe(server: VenueServer, link: ClientConnection) -> Classifier:
    """Ask for the first channel that the profile gives as an example."""
    contract = Contract(server.endpoint)
    classifier = Classifier(contract)
    writer = Writer(contract, pending=classifier.pending, book=classifier.book)
    channel = example(server)
    classifier.want([channel])
    for request in writer.subscribe([channel], unix=time.time()):
        await link.send(request.text)
    deadline = time.monotonic() + SECONDS
    while [channel] not in await server.subscribed():
        assert time.monotonic() < deadline, "never subscribed"
        await asyncio.sleep(0.01)
    return classifier


def example(server: VenueServer) -> str:
    assert server.endpoint.subscribe is not None
    return server.endpoint.subscribe.forms[0].example


async def read_updates(
    link: ClientConnection, classifier: Classifier, count: int
) -> list[Update]:
    found: list[Update] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < count:
            reading = classifier.read(await link.recv())
            if isinstance(reading, Update) and not reading.restarts:
                found.append(reading)
    return found


@pytest.mark.parametrize(("venue", "endpoint"), FIRST)
@in_loop
async def test_what_it_says_it_sent_is_what_arrives(venue: str, endpoint: str) -> None:
    async with VenueServer(venue, endpoint) as server:
        async with dial(server.url) as link:
            classifier = await subscribe(server, link)
            channel = example(server)
            first, last = await server.burst(channel, 50)
            read = await read_updates(link, classifier, 50)
            account = (await server.accounts())[channel]
        assert {update.channel for update in read} == {channel}
        assert (account.numbered, account.sent, account.last) == (50, 50, last)
        numbers = [u.last for u in read if u.last is not None]
        assert numbers in ([], sorted(numbers))
        if numbers:
            assert (numbers[0], numbers[-1]) == (first, last)


@in_loop
async def test_faults_are_ordered_while_it_runs() -> None:
    async with VenueServer("deribit") as server, dial(server.url) as link:
        classifier = await subscribe(server, link)
        await server.drop(BOOK, 2)
        await server.duplicate(BOOK, 1)
        await server.burst(BOOK, 4)
        first, second, third = await read_updates(link, classifier, 3)
        assert first == second
        assert third.prev == first.last
        await server.mute(BOOK)
        await server.burst(BOOK, 3)
        await server.unmute(BOOK)
        await server.burst(BOOK, 1)
        (after,) = await read_updates(link, classifier, 1)
        assert after.prev != third.last
        account = (await server.accounts())[BOOK]
        assert (account.numbered, account.dropped, account.muted) == (8, 2, 3)
        await server.cut(1001, "maintenance")
        with pytest.raises(ConnectionClosed) as closed:
            await read_updates(link, classifier, 1)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        await server.refuse(503)
        with pytest.raises(InvalidStatus, match="503"):
            await connect(server.url)


@in_loop
async def test_a_profile_of_ones_own_is_kept_in_real_time() -> None:
    """Coinbase's, in a hurry: who subscribes nothing has half a second."""
    profile = load("coinbase")
    endpoint = profile.endpoint("exchange")
    assert endpoint.idle is not None
    clock = structs.replace(endpoint.idle.clocks[0], close_after_s=0.5)
    idle = structs.replace(endpoint.idle, clocks=(clock,))
    mine = structs.replace(endpoint, idle=idle)
    hurried = structs.replace(profile, endpoints={"exchange": mine})
    async with VenueServer(hurried) as server:
        async with dial(server.url) as link:
            began = time.monotonic()
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(link.recv(), SECONDS)
        assert 0.4 < time.monotonic() - began < 2.0
        assert (await server.counts())["breach: no subscription"] == 1


@in_loop
async def test_its_calls_are_on_the_same_port() -> None:
    def call(method: str, url: str) -> Any:
        request = urllib.request.Request(url, method=method)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.load(answer)

    async with VenueServer("kucoin") as server:
        base = server.http_url
        told = await asyncio.to_thread(call, "POST", f"{base}/api/v1/bullet-public")
        assert told["data"]["instanceServers"][0]["endpoint"] == server.url
        channel = example(server)
        await server.burst(channel, 3)
        path = "/api/v1/market/orderbook/level2_100?symbol=BTC-USDT"
        whole = await asyncio.to_thread(call, "GET", base + path)
        account = (await server.accounts())[channel]
        assert whole["data"]["sequence"] == account.last
        assert whole["data"]["bids"] == (await server.book(channel))["bids"]


@in_loop
async def test_a_frozen_venue_goes_on_when_it_is_thawed() -> None:
    async with VenueServer("deribit") as server, dial(server.url) as link:
        classifier = await subscribe(server, link)
        server.freeze()
        burst = asyncio.create_task(server.burst(BOOK, 5))
        await asyncio.wait([burst], timeout=0.2)
        assert not burst.done()
        server.thaw()
        await burst
        assert len(await read_updates(link, classifier, 5)) == 5


def test_what_cannot_be_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rate"):
        VenueServer("deribit", rate=500.0)
    with pytest.raises(UsageError, match="endpoint of deribit"):
        VenueServer("deribit", "none")
    with pytest.raises(UsageError, match="channel"):
        VenueServer("okx", channels=["x" * 600])
    with pytest.raises(VenueError, match=r"mine\.toml"):
        VenueServer(str(tmp_path / "mine.toml"))


def test_only_what_a_venue_can_have_is_all_that_it_has() -> None:
    with pytest.raises(UsageError, match=r"^channel: wanted "):
        VenueServer("okx", only=["x" * 600])
    with pytest.raises(UsageError, match=r"^only: wanted a sequence of names"):
        VenueServer("deribit", only=BOOK)
    silent = r"^only: wanted none: venue alpaca does not say how it refuses"
    with pytest.raises(UsageError, match=silent):
        VenueServer("alpaca", "trading", only=["*"])


@in_loop
async def test_a_venue_says_which_channels_alone_it_takes() -> None:
    async with VenueServer("deribit", only=[BOOK, "trades.*"]) as server:
        assert server.refuses == "left out"
        said = f"only {BOOK}, trades.* (others are left out of what it says it took)"
        assert said in venue_command.told(server, "nothing")
        async with dial(server.url) as link:
            asked = {"channels": [BOOK, "book.OTHER.100ms"]}
            ask = {"jsonrpc": "2.0", "method": "public/subscribe", "params": asked}
            await link.send(json.dumps({**ask, "id": 1}))
            async with asyncio.timeout(SECONDS):
                assert json.loads(await link.recv())["result"] == [BOOK]


@in_loop
async def test_an_order_for_a_channel_without_data_is_refused_and_it_lives_on() -> None:
    async with VenueServer("coinbase", "exchange") as server:
        with pytest.raises(OSError, match="describes no data"):
            await server.burst("nothing:BTC-USD", 1)
        assert (await server.counts())["open"] == 0


def test_the_command_says_where_it_is_and_ends_at_once(tmp_path: Path) -> None:
    text = '{"method":"subscription","params":{"channel":"%s","data":{"change_id":7}}}'
    frames = [CapturedFrame(0.0, "in", text % BOOK)]
    path = tmp_path / "day.jsonl"
    write_capture(Capture(tuple(frames)), path)
    process = subprocess.Popen(
        (*COMMAND, "venue", "deribit", "--capture", str(path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url, told = line.strip().split("  ")
        told, _, pid = told.rpartition(", by process ")
        assert told == f"{load('deribit').endpoint().product}: channels such as " + (
            f"{BOOK}, plays day.jsonl"
        )
        assert int(pid) != process.pid

        async def listen() -> object:
            async with connect(url, compression=None) as link:
                ask = {"method": "public/subscribe", "params": {"channels": [BOOK]}}
                await link.send(json.dumps({"jsonrpc": "2.0", "id": 1, **ask}))
                async with asyncio.timeout(SECONDS):
                    while True:
                        said = json.loads(await link.recv())
                        data = said.get("params", {}).get("data", {})
                        if data.get("change_id") == 7:
                            return data

        assert asyncio.run(listen()) == {"change_id": 7}
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert time.monotonic() - began < 1.0 * crowding()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


@in_loop
async def test_the_command_outlives_a_frozen_venue_and_tells_at_once_if_it_is_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = venue_command._serve("kucoin", None, rate=0.0)
    serving, said = asyncio.ensure_future(made), ""

    def told() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return said.endswith("\n")

    await until(told, "told", SECONDS)
    found = re.search(r", by process (\d+); HTTP calls at (\S+)", said)
    assert found is not None
    assert found[2].startswith("http://127.0.0.1:")
    os.kill(int(found[1]), signal.SIGSTOP)
    done, _ = await asyncio.wait([serving], timeout=0.5)
    assert not done
    os.kill(int(found[1]), signal.SIGKILL)
    killed_at = time.monotonic()
    with pytest.raises(ConnectionError, match="venue kucoin: its serving process has"):
        await serving
    assert time.monotonic() - killed_at < 1.0 * crowding()
