"""The call for a channel's state: what any host may answer, and what is made of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any

import pytest

import heartline.client.restoring as restoring_module
from heartline import Message, Snapshots, Venue
from heartline.client.restoring import Restoring
from heartline.core.channel_events import ChannelLive, SnapshotFailed
from heartline.core.events import Connected, Lost
from heartline.core.feed import Feed, FeedOutput
from heartline.core.fetches import Fetch
from heartline.core.gaps import Ledger
from heartline.core.items import Cause
from heartline.core.restoring import Release
from heartline.errors import WireError
from heartline.testing.venue_side.http import answered
from stream_kit import in_loop
from virtual_venue import Client, virtual

CHANNEL = "btcusdt@depth"
TARGET = "/api/v3/depth?symbol=BTCUSDT&limit=5000"


class Asking:
    """Holds a channel that is subscribed, and does what its feed wants."""

    def __init__(
        self, url: str, *, within: float = 5.0, proxy: str | None = None
    ) -> None:
        policy = Snapshots(rest=url, within=within)
        venue = Venue(name="binance", channels=[CHANNEL], snapshots=policy)
        self.loop = asyncio.get_running_loop()
        now = self.loop.time()
        self.feed = Feed(venue.feed_terms(), ledger=Ledger(), now=now)
        clock = self.loop.time
        self.restoring = Restoring(venue, self, clock=clock, proxy=proxy)
        self.told: list[FeedOutput] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.feed.want([CHANNEL], now=now)
        self.feed.begin(1, now=now)
        self.feed.open(now=now)
        self.obey(self.feed.acked(1, [CHANNEL], of="subscribe", now=now))

    def obey(self, outputs: Iterable[FeedOutput]) -> None:
        for each in outputs:
            if isinstance(each, Fetch):
                self.restoring.fetch(each)
            else:
                self.told.append(each)

    def run(self, what: str, epoch: int, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self.loop.create_task(work))

    async def done(self) -> None:
        await asyncio.wait_for(asyncio.gather(*self.tasks), 15.0)

    @property
    def failed(self) -> list[str]:
        return [e.reason for e in self.told if isinstance(e, SnapshotFailed)]


@contextlib.asynccontextmanager
async def host(answer: bytes, asked: list[bytes]) -> AsyncIterator[str]:
    """A host that says `answer` to any call; with none it hangs up, or never says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if answer == b"never":
            held.append(writer)
        else:
            writer.close()

    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        for writer in held:
            writer.close()


def http(status: str, body: bytes, *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(head).encode() + body


@in_loop
async def test_the_state_is_passed_on_as_it_came() -> None:
    asked: list[bytes] = []
    body = '{"lastUpdateId": 7, "bids": [], "asks": [], "word": "é"}'
    async with host(http("200 OK", body.encode()), asked) as url:
        it = Asking(f"{url}/", within=5.0)
        await it.done()
    assert asked[0].split(b"\r\n")[0] == f"GET {TARGET} HTTP/1.1".encode()
    (release,) = [each for each in it.told if isinstance(each, Release)]
    (message,) = release.messages
    assert message == Message(body, message.received_at, CHANNEL, 1, snapshot=True)


@in_loop
async def test_a_call_goes_by_the_proxy_of_the_stream() -> None:
    asked: list[bytes] = []
    async with host(http("200 OK", b'{"lastUpdateId": 7}'), asked) as proxy:
        it = Asking("http://venue.example", proxy=proxy)
        await it.done()
        other = Asking("http://venue.example", proxy="socks4://u:secret@127.0.0.1:1")
        await other.done()
    line = f"GET http://venue.example{TARGET} HTTP/1.1"
    assert [each.split(b"\r\n")[0] for each in asked] == [line.encode()]
    assert it.failed == []
    assert other.failed == ["the call failed: ValueError"]


ANSWERS = [
    (http("503 No", b"a secret", "Retry-After: 30"), "HTTP 503"),
    (http("302 Found", b"", "Location: http://127.0.0.1:1/"), "HTTP 302"),
    (http("200 OK", b"{no json"), "the answer is no JSON"),
    (http("200 OK", b"\xff\xfe{}"), "the answer is no JSON"),
    (http("200 OK", b'{"code": 1}'), "the answer holds no number"),
    (http("200 OK", b'{"lastUpdateId": true}'), "the answer holds no number"),
    (http("200 OK", b'{"lastUpdateId": -4}'), "the answer holds no number"),
    (http("200 OK", b'{"lastUpdateId": "9' + b"9" * 5000 + b'"}'), "holds no number"),
    (http("200 OK", b"9" * 5000), "no JSON"),
    (http("200 OK", b"x" * 300), "it has more than 200 bytes"),
    (b"gibberish", "the call failed: RemoteProtocolError"),
    (b"", "the call failed: RemoteProtocolError"),
    (b"never", "it was not answered within 0.2 s"),
]


@pytest.mark.parametrize(("answer", "reason"), ANSWERS, ids=range(len(ANSWERS)))
@in_loop
async def test_whatever_a_host_answers_is_told_in_words_of_our_own(
    answer: bytes, reason: str
) -> None:
    within = 0.2 if answer == b"never" else 10.0
    most, restoring_module.MOST_BYTES = restoring_module.MOST_BYTES, 200
    if b"9" * 300 in answer:
        restoring_module.MOST_BYTES = most
    try:
        async with host(answer, []) as url:
            it = Asking(url, within=within)
            await it.done()
            wanted_at = it.feed.deadline
    finally:
        restoring_module.MOST_BYTES = most
    (failed,) = it.failed
    assert reason in failed
    assert "secret" not in failed
    assert "127.0.0.1" not in failed
    if b"Retry-After" in answer:
        assert wanted_at >= it.loop.time() + 20.0


@in_loop
async def test_nobody_there_is_told_and_a_cancelled_call_says_nothing() -> None:
    it = Asking("http://127.0.0.1:1", within=10.0)
    await it.done()
    assert it.failed == ["the call failed: ConnectError"]
    async with host(b"never", []) as url:
        it = Asking(url)
        await asyncio.sleep(0)
        it.restoring.cancel()
        await asyncio.wait(it.tasks, timeout=10.0)
        assert it.tasks[0].cancelled()
        assert it.failed == []


# --- before LIVE, on a virtual clock ----------------------------------------------


def ask_the_house(client: Client, works_from: float) -> Any:
    """Calls reach the simulator from that time on, a second after they are made."""

    async def asked(self: Restoring, url: str) -> bytes:
        await asyncio.sleep(1.0)
        if client.loop.time() < works_from:
            raise WireError(Cause.REFUSED, "HTTP 503", status=503)
        status, body = answered(client.house, "GET", "/" + url.split("/", 3)[3])
        assert status == 200
        return body

    return asked


@pytest.mark.parametrize("works_from", [0.0, 300.0])
def test_no_stream_waits_for_ever_for_a_state_and_none_is_live_without(
    monkeypatch: pytest.MonkeyPatch, works_from: float
) -> None:
    """It opens once the state is known, or after a while; then it says what lacks."""

    async def run() -> Client:
        client = Client(Venue(name="binance", channels=[CHANNEL]))
        monkeypatch.setattr(Restoring, "_asked", ask_the_house(client, works_from))
        for _ in range(20):
            await client.live_for(1.0)
            client.house.burst(CHANNEL, 3, now=client.loop.time())
            client.settle()
        (connected,) = client.of(Connected)
        assert connected.at < 8.0
        troubles = dict(client.desk.feed.troubles)
        assert (CHANNEL in troubles) == (works_from > 0)
        assert (client.of(ChannelLive) == []) == (works_from > 0)
        await client.live_for(works_from + 100.0)
        client.stop()
        return client

    client = virtual(run)
    assert client.desk.feed.troubles == {}
    assert client.of(Lost) == []
    assert len(client.of(ChannelLive)) == 1
    messages = [item for item in client.items if isinstance(item, Message)]
    assert messages[0].snapshot
    last = json.loads(messages[-1].data)
    end = client.house.market.named(CHANNEL).account.last
    last = last.get("data", last)
    assert last.get("lastUpdateId", last.get("u")) == end
    failures = len(client.of(SnapshotFailed))
    assert (5 < failures < 60) if works_from else failures == 0
