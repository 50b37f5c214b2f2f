"""What a late reader starts from where the state comes another way than the data."""

from __future__ import annotations

import json

from heartline import Snapshots, Venue
from heartline.relay import Relay
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
