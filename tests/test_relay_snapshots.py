"""What a late reader starts from where the state comes another way than the data."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from websockets.asyncio.client import connect

from heartline import Snapshots, UsageError, Venue
from heartline.relay import Binary, Relay, StateNote
from heartline.relay.relay import STREAM
from heartline.relay.state import Reader, States
from heartline.testing import VenueServer
from loopback import until
from relay_kit import FAST, reading
from stream_kit import in_loop
from venue_talk import PLACES, Talk

UPDATES = "btcusdt@depth"


def update(last: int) -> str:
    said = {"e": "depthUpdate", "s": "BTCUSDT", "U": last, "u": last}
    return json.dumps(said)


def test_a_snapshot_that_was_fetched_is_the_state_and_updates_follow_it() -> None:
    states = States(Venue(name="binance", endpoint="spot").contract)
    states.take(UPDATES, update(4))
    assert states.of(UPDATES) is None
    for number in (10, 20):
        whole = json.dumps({"lastUpdateId": number, "bids": [], "asks": []})
        states.take(UPDATES, whole, is_whole=True)
        assert states.is_fetched(UPDATES)
        states.take(UPDATES, update(number + 1))
        assert states.of(UPDATES) == (whole, update(number + 1))
    states.breach(UPDATES)
    assert states.of(UPDATES) == ()
    assert not states.is_fetched(UPDATES)


def test_a_snapshot_in_an_acknowledgement_is_a_state() -> None:
    talk, channel = Talk("dydx/indexer"), "v4_orderbook:BTC-USD"
    states, said = States(talk.contract), list[str]()
    read = talk.classifier.read

    def keep(data: str | bytes) -> object:
        said.append(str(data))
        return read(data)

    talk.classifier.read = keep  # type: ignore[assignment]
    talk.subscribe([channel])
    talk.emit(channel, 2)
    for text in said[-3:]:
        states.take(channel, text)
    assert states.of(channel) == tuple(said[-3:])


def test_a_name_that_the_venue_gave_a_channel_is_learned_from_its_messages() -> None:
    reader = Reader(PLACES["bitfinex/public"])
    one, other = "book-P0-25:tBTCUSD", "book-P0-25:tETHUSD"
    for channel, number in ((one, 5), (other, 6), (one, 5), (one, 6), (other, 5)):
        said = reader.update(channel, json.dumps([number, [1.0, 1, 1.0], 7]))
        assert said is not None
        assert said.channel == channel
    assert reader.update("no such channel", "[5, [1]]") is None
    assert reader.update(one, "{no json") is None


@in_loop
async def test_readers_are_told_that_a_snapshot_was_fetched() -> None:
    async with VenueServer("binance", "spot", channels=[UPDATES]) as server:
        policy = Snapshots(rest=server.http_url, rates=(), backoff=FAST)
        venue = Venue(name="binance", endpoint="spot", snapshots=policy)
        async with (
            Relay(server.url, venue=venue, backoff=FAST) as relay,
            reading(relay.url, UPDATES) as first,
        ):
            await until(lambda: len(first.data(UPDATES)) == 1, "the snapshot")
            await server.burst(UPDATES, 3)
            await until(lambda: len(first.data(UPDATES)) == 4, "all")
            async with reading(relay.url, UPDATES) as late:
                await until(lambda: bool(late.of("subscribed")), "subscribed")
    kinds = [isinstance(m["data"], str) for m in first.of("message") if "channel" in m]
    assert kinds[:2] == [False, True]
    (note,) = first.notes("snapshot", UPDATES)
    assert note["channel"] == UPDATES
    assert "lastUpdateId" in first.data(UPDATES)[0]
    (state,) = late.notes("state")
    assert state["fetched"] is True
    assert state["messages"] == first.data(UPDATES)


HANDED = [
    ("htx", "swap", "market.BTC-USDT.depth.size_20.high_freq"),
    ("htx", "spot", "market.btcusdt.mbp.refresh.20"),
    ("bingx", "swap", "BTC-USDT@incrDepth"),
    ("kraken", "spot_v1", "book-10:XBT/USD"),
    ("bitfinex", "public", "book-P0-25:tBTCUSD"),
    ("okx", "public", "books:BTC-USDT"),
]


@pytest.mark.parametrize(("name", "endpoint", "channel"), HANDED)
@in_loop
async def test_channels_of_a_venue_that_is_handed_over_have_names_and_states(
    name: str, endpoint: str, channel: str
) -> None:
    """Binary messages as well: as they came, to whoever reads them in whatever way."""
    venue = Venue(name=name, endpoint=endpoint, channels=[channel])
    async with (
        VenueServer(name, endpoint) as server,
        Relay(server.url, venue=venue, backoff=FAST) as relay,
        reading(relay.url, channel) as first,
    ):

        def got() -> list[str | bytes]:
            told = [m for m in first.of("message") if m.get("channel") == channel]
            came = [m.get("data") or base64.b64decode(m["base64"]) for m in told]
            return [each for each in came if isinstance(each, str | bytes)]

        await relay.stream.wait_live(10.0)
        await server.burst(channel, 8)
        await until(lambda: len(got()) >= 8, "the messages")
        assert relay.accounts[STREAM].messages == 0
        assert relay.accounts[channel].messages >= len(got())
        async with reading(relay.url, channel) as late:
            await until(lambda: bool(late.of("subscribed")), "subscribed")
        (state,) = late.notes("state")
        note = msgspec.convert({**state, "relay": "state"}, StateNote)
        kept = [m.base64 if isinstance(m, Binary) else m for m in note.messages]
        assert kept
        assert kept[-len(got()) :] == got()[-len(kept) :]
        async with connect(f"{relay.url}?channels={channel.replace('/', '%2F')}") as to:
            assert [await to.recv() for _ in kept] == kept


@pytest.mark.parametrize("more", [(), ("book.A.100ms", "book.B.100ms")])
@in_loop
async def test_channels_given_beside_those_of_the_venue_are_relayed_too(
    more: tuple[str, ...],
) -> None:
    venue = Venue(name="deribit", channels=["book.A.100ms"])
    async with (
        VenueServer("deribit") as server,
        Relay(server.url, more, venue=venue, backoff=FAST) as relay,
    ):
        named = dict.fromkeys(("book.A.100ms", *more))
        assert relay.channels == [STREAM, *named]
        await relay.stream.wait_live(10.0)
        assert sorted((await server.subscribed())[0]) == sorted(named)


@pytest.mark.parametrize("name", ["a,b", "stream"])
def test_a_channel_of_a_venue_that_no_reader_could_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        Relay("ws://127.0.0.1:1/", venue=Venue(name="deribit", channels=[name]))
    assert refused.value.field == "channels"
