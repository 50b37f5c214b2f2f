"""What the simulator sends is what the profile describes: read back, and counted."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.testing.capture import Capture, CapturedFrame, read_capture
from heartline.testing.rfc6455 import Frame
from heartline.testing.venue_side import Options
from heartline.testing.venue_side.recording import recorded
from heartline.venue.reading import Update
from venue_talk import PLACES, UNIX, Talk, numbered, updates

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"

# --- data -------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_each_channel_is_read_back_under_its_own_name(place: str) -> None:
    talk = Talk(place)
    for channel in talk.examples:
        talk.subscribe([channel])
        series = talk.venue.market.named(channel)
        if series.is_beacon:
            continue
        read = updates(talk.emit(channel, 3))
        assert [update.channel for update in read] == [channel] * 3
        account = series.account
        assert (account.numbered, account.sent) == (3, 3)
        own = series.shape.own
        if own is not None and own.numbered and not series.restarts_with_link:
            assert read[-1].last == account.last
        talk.unsubscribe([channel])


@pytest.mark.parametrize("place", PLACES)
def test_messages_follow_each_other_by_the_rule_of_their_channel(place: str) -> None:
    talk = Talk(place)
    for channel in talk.examples:
        read = updates(talk.subscribe([channel]))
        read += updates(talk.emit(channel, 20))
        own = talk.venue.market.named(channel).shape.own
        kind = own.rule.rule if own is not None and own.numbered else "none"
        for before, after in pairwise(u for u in read if u.channel == channel):
            assert follows(kind, before, after)


def follows(kind: str, before: Update, after: Update) -> bool:
    match kind:
        case "chain":
            return after.prev == before.last
        case "range" | "step":
            assert isinstance(before.last, int)
            return after.first == before.last + 1
        case "monotonic" | "snapshot_only":
            assert isinstance(before.last, int)
            assert isinstance(after.first, int)
            return after.first >= before.last
        case _:
            return True


@pytest.mark.parametrize("place", PLACES)
def test_the_numbers_of_a_link_count_every_message_that_bears_one(place: str) -> None:
    talk = Talk(place)
    readings = talk.hear()
    for channel in talk.examples:
        readings += talk.subscribe([channel])
        readings += talk.emit(channel, 5)
    links = [link for each in readings for link in getattr(each, "links", ())]
    for track in {link.track for link in links}:
        numbers = [link.last for link in links if link.track == track]
        first = numbers[0]
        assert isinstance(first, int)
        assert numbers == list(range(first, first + len(numbers)))


@pytest.mark.parametrize("place", PLACES)
def test_the_venues_time_is_in_the_unit_that_its_profile_names(place: str) -> None:
    """To the millisecond, the coarsest unit but one; seconds come as fractions."""
    talk = Talk(place)
    talk.now = 1000.125
    for channel in talk.examples:
        talk.classifier.want([channel])
        series = talk.venue.market.named(channel)
        talk.link.service.subscribed[channel] = series
        for update in updates(talk.emit(channel)):
            if update.at is not None:
                assert update.unix == pytest.approx(UNIX + talk.now, abs=0.002)


@pytest.mark.parametrize("place", PLACES)
def test_a_snapshot_starts_the_numbers_and_updates_join_it(place: str) -> None:
    talk = Talk(place)
    for channel in talk.examples:
        read = updates(talk.subscribe([channel]))
        series = talk.venue.market.named(channel)
        acks = talk.contract.endpoint.subscribe
        assert acks is not None
        if series.snapshot is None or any(ack.is_data for ack in acks.acks):
            continue
        assert [update.restarts for update in read] == [True]
        assert not any(update.restarts for update in updates(talk.emit(channel, 5)))


KEPT_ALIVE = {
    "bitfinex/public": "trades:tBTCUSD",
    "bybit/public": "orderbook.1.BTCUSDT",
    "coinbase/exchange": "heartbeat:BTC-USD",
    "cryptocom/market": "book.BTCUSD-PERP.50",
    "hyperliquid/main": "l2Book:BTC",
    "okx/public": "books:BTC-USDT",
    "phemex/main": "orderbook_p:BTCUSDT",
    "whitebit/main": "depth:BTC_USDT",
}


@pytest.mark.parametrize("place", KEPT_ALIVE)
def test_a_channel_that_is_promised_alive_speaks_that_often(place: str) -> None:
    """Without data of its own, and without a number that anybody would miss."""
    talk, channel = Talk(place), KEPT_ALIVE[place]
    freshness = talk.contract.endpoint.freshness
    assert freshness is not None
    every = freshness.contracts[0].every_s
    assert isinstance(every, float)
    before = updates(talk.subscribe([channel]))
    talk.emit(channel)
    last = talk.venue.market.named(channel).account.last
    for _ in range(3):
        (update,) = updates(talk.wait(every))
        assert update.channel == channel
        own = talk.venue.market.named(channel).shape.own
        is_time = talk.venue.market.named(channel).shape.time_unit is not None
        if own is not None and own.numbered and not is_time:
            assert update.last == last
    assert len(before) <= 1


def test_a_second_subscription_brings_a_snapshot_where_the_venue_says_so() -> None:
    for place, again in (("deribit/main", 0), ("bybit/public", 1)):
        talk = Talk(place)
        for times in (1, again):
            readings = talk.subscribe([talk.examples[0]])
            assert [u.restarts for u in updates(readings)] == [True] * times


# --- losses and the account -------------------------------------------------------

FAULTS = st.lists(st.sampled_from(["none", "drop", "duplicate", "swap"]), max_size=12)
NUMBERED = [
    place
    for place, contract in PLACES.items()
    if contract.endpoint.sequence
    and any(
        rule.rule in ("chain", "range", "step") and rule.scope != "connection"
        for rule in contract.endpoint.sequence.rules
    )
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NUMBERED), FAULTS)
def test_what_is_dropped_doubled_or_swapped_is_exactly_what_was_ordered(
    place: str, faults: list[str]
) -> None:
    """Beside a venue of the same seed without faults, whose messages are the truth."""
    faulty, sound = Talk(place), Talk(place)
    channel = faulty.examples[0]
    for talk in (faulty, sound):
        talk.subscribe([channel])
    got: list[tuple[object, object, object]] = []
    want: list[tuple[object, object, object]] = []
    for fault in faults:
        if fault != "none":
            getattr(faulty.venue, fault)(channel, 1)
        messages = 2 if fault == "swap" else 1
        got += map(numbered, updates(faulty.emit(channel, messages)))
        true = [*map(numbered, updates(sound.emit(channel, messages)))]
        want += {"none": true, "drop": [], "duplicate": true * 2, "swap": true[::-1]}[
            fault
        ]
    series = faulty.venue.market.named(channel)
    if not series.restarts_with_link:
        assert got == want
    account = series.account
    assert account.numbered == len(faults) + faults.count("swap")
    assert account.dropped == faults.count("drop")
    assert account.duplicated == faults.count("duplicate")
    assert account.swapped == faults.count("swap")
    assert account.sent == len(got) == len(want)
    gone = account.dropped + account.muted + account.unheard
    assert account.sent == account.numbered - gone + account.duplicated


def test_a_muted_channel_is_silent_until_it_is_subscribed_anew() -> None:
    talk = Talk("deribit/main")
    one, other = "book.A.100ms", "book.B.100ms"
    talk.subscribe([one, other])
    talk.venue.mute(one)
    assert talk.emit(one, 4) == []
    assert len(updates(talk.emit(other, 4))) == 4
    talk.unsubscribe([one])
    assert [u.restarts for u in updates(talk.subscribe([one]))] == [True]
    assert len(updates(talk.emit(one))) == 1
    account = talk.venue.market.named(one).account
    assert (account.numbered, account.muted, account.sent) == (5, 4, 1)


def test_a_lasting_mute_outlives_a_new_subscription() -> None:
    talk = Talk("deribit/main")
    talk.subscribe(["book.A.100ms"])
    talk.venue.mute("book.A.100ms", lasting=True)
    talk.unsubscribe(["book.A.100ms"])
    talk.subscribe(["book.A.100ms"])
    assert talk.emit("book.A.100ms", 4) == []
    talk.venue.unmute("book.A.100ms")
    assert len(talk.emit("book.A.100ms", 4)) == 4


def test_numbers_run_on_while_nobody_listens() -> None:
    talk = Talk("binance/spot")
    talk.subscribe(["btcusdt@depth"])
    (before,) = updates(talk.emit("btcusdt@depth"))
    talk.venue.gone(talk.link)
    talk.venue.burst("btcusdt@depth", 10, now=talk.now)
    talk.link = talk.venue.connect(now=talk.now)
    talk.subscribe(["btcusdt@depth"])
    (after,) = updates(talk.emit("btcusdt@depth"))
    assert isinstance(after.first, int)
    assert isinstance(before.last, int)
    assert after.first > before.last + 9
    account = talk.venue.market.named("btcusdt@depth").account
    assert (account.numbered, account.sent, account.unheard) == (12, 2, 10)


def test_traffic_comes_at_its_rate_and_to_every_channel() -> None:
    talk = Talk("deribit/main", Options(rate=100.0))
    channels = [f"book.C{n}.100ms" for n in range(7)]
    talk.subscribe(channels)
    before = sum(each.account.numbered for each in talk.venue.market)
    talk.venue.tick(now=talk.now + 8.0)
    accounts = [each.account.numbered for each in talk.venue.market]
    # The silences' variance is infinite: the mean is a long way off.
    assert 200 < sum(accounts) - before < 2400
    assert max(accounts) - min(accounts) <= 1


@given(st.floats(min_value=0.5, max_value=400.0))
@settings(max_examples=20)
def test_steady_traffic_comes_at_equal_distances(rate: float) -> None:
    talk = Talk("deribit/main", Options(rate=rate, steady=True))
    talk.subscribe(["book.A.100ms"])
    (series,) = talk.venue.market
    sent, instants = series.account.numbered, list[float]()
    for _ in range(100):
        at = talk.venue.deadline
        assert at is not None
        talk.venue.tick(now=at)
        if series.account.numbered > sent + len(instants):
            instants.append(at)
    assert len(instants) > 50, "all else that falls due is seldom"
    assert series.account.numbered == sent + len(instants)
    between = [later - at for at, later in pairwise(instants)]
    assert between == pytest.approx([1 / rate] * len(between))
    talk.venue.set_rate(rate / 2, now=at)
    assert talk.venue.deadline == pytest.approx(at + 2 / rate)


def test_the_book_is_what_its_snapshot_and_changes_make_of_it() -> None:
    talk = Talk("deribit/main")
    channel = "book.A.100ms"
    talk.subscribe([channel])
    talk.unsubscribe([channel])
    book: dict[str, dict[str, str]] = {}
    for request in talk.writer.subscribe([channel], unix=UNIX):
        talk.say(request.text)
    talk.venue.burst(channel, 200, now=talk.now)
    for out in talk.link.drain():
        assert isinstance(out, Frame)
        data = json.loads(out.payload).get("params", {}).get("data")
        if data is None:
            continue
        if data["type"] == "snapshot":
            book = {"bids": {}, "asks": {}}
        for side, levels in book.items():
            for price, size in data[side]:
                levels[price] = size
                if size == "0":
                    del levels[price]
    whole = talk.venue.market.named(channel).book()
    assert {side: [*map(list, best_first(book[side], side))] for side in book} == whole


def best_first(levels: dict[str, str], side: str) -> list[tuple[str, str]]:
    return sorted(
        levels.items(), key=lambda level: float(level[0]), reverse=side == "bids"
    )


# --- recordings -------------------------------------------------------------------


def test_a_recording_is_played_from_the_first_subscription_on() -> None:
    truth = Talk("deribit/main")
    truth.subscribe(["book.A.100ms"])
    truth.venue.burst("book.A.100ms", 5, now=0.0)
    texts = [f.payload.decode() for f in truth.link.drain() if isinstance(f, Frame)]
    frames = [CapturedFrame(50.0 + at, "in", text) for at, text in enumerate(texts)]
    control = CapturedFrame(50.5, "in", '{"method":"heartbeat"}')
    talk = Talk("deribit/main")
    tape = recorded(Capture((*frames[:1], control, *frames[1:])), talk.contract)
    assert len(tape.frames) == len(texts)
    assert tape.keys == ["book.A.100ms"]
    talk.venue.play(tape)
    talk.venue.tick(now=talk.now)
    talk.subscribe(["book.A.100ms"])
    talk.venue.tick(now=talk.now + 2.0)
    assert len(updates(talk.hear())) == 3
    talk.venue.tick(now=talk.now + 60.0)
    assert talk.venue.market.named("book.A.100ms").account.sent == len(texts)


def test_a_recording_of_channels_that_the_venue_names_itself_keeps_those_names() -> (
    None
):
    """Bitfinex says once what a number stands for, and then only the number."""
    said = {"event": "subscribed", "channel": "trades", "symbol": "tX", "chanId": 4711}
    texts = [json.dumps(said), json.dumps([4711, [[1, 2]], 5])]
    frames = [CapturedFrame(float(at), "in", text) for at, text in enumerate(texts)]
    talk = Talk("bitfinex/public")
    talk.venue.play(recorded(Capture(tuple(frames)), talk.contract))
    talk.subscribe(["trades:tX"])
    talk.venue.tick(now=talk.now + 5.0)
    assert [update.channel for update in updates(talk.hear())] == ["trades:tX"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("okx", "okx/public"),
        ("deribit", "deribit/main"),
        ("kucoin", "kucoin/spot"),
        ("bitfinex", "bitfinex/public"),
    ],
)
def test_a_real_recording_arrives_whole_at_who_subscribes_it(
    name: str, place: str
) -> None:
    path = CAPTURES / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the recording {path.name} is not on this machine")
    talk = Talk(place)
    tape = recorded(read_capture(path), talk.contract)
    channel = tape.keys[0]
    wanted = [one.frame.payload for one in tape.frames if channel in one.keys]
    talk.venue.play(tape)
    talk.subscribe([channel])
    talk.now += tape.frames[-1].at
    talk.venue.tick(now=talk.now)
    played = [out.payload for out in talk.link.drain() if isinstance(out, Frame)]
    assert len(wanted) > 20
    assert [payload for payload in played if payload in set(wanted)] == wanted
