"""What venues send is told apart, quickly and slowly alike, whatever comes."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prove.recordings import CAPTURES, RECORDED

from heartline.errors import UsageError
from heartline.venue.classify import Classifier, Contract
from heartline.venue.decode import INFLATED_BYTES
from heartline.venue.load import load
from heartline.venue.reading import (
    Acked,
    Answer,
    Beacon,
    Malformed,
    Notice,
    Probe,
    Reading,
    Refused,
    Unknown,
    Update,
    Welcome,
)
from heartline.venue.stamps import unix_seconds
from heartline.venue.writer import Writer


@cache
def contract_of(place: str) -> Contract:
    venue, _, name = place.partition("/")
    return Contract(load(venue).endpoint(name))


def link(place: str) -> tuple[Classifier, Writer]:
    contract = contract_of(place)
    classifier = Classifier(contract)
    pending, book = classifier.pending, classifier.book
    return classifier, Writer(contract, pending=pending, book=book)


def leaner(classifier: Classifier) -> Classifier:
    """One that leaves stamps where they are, and knows all else of the same link."""
    lean = Classifier(classifier.contract.unstamped, pending=classifier.pending)
    lean.book = classifier.book
    return lean


def frame(document: Any) -> str:
    return msgspec.json.encode(document).decode()


def read(place: str, *documents: Any) -> Any:
    """The last of these, on one link; each is read twice, as plans come second."""
    classifier, _ = link(place)
    for document in documents:
        first = classifier.read(frame(document))
        reading = classifier.read(frame(document))
        if isinstance(first, Update):
            assert plain(reading) == plain(first)
    return reading


def plain(reading: Any) -> Any:
    """Comparable by value: sources are compared by identity else."""
    return type(reading).__name__, msgspec.to_builtins(reading)


def timeless(reading: Any) -> Any:
    """The same without the venue's time: where it stands, and what it is."""
    kind, document = plain(reading)
    return kind, _without_stamps(document)


def _without_stamps(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_stamps(each)
            for key, each in value.items()
            if key not in ("at", "stamp", "unit")
        }
    if isinstance(value, list | tuple):
        return [_without_stamps(each) for each in value]
    return value


@cache
def recorded(name: str) -> tuple[str | bytes, ...]:
    path = CAPTURES / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("the recordings are not beside this repository")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return tuple(
        record["text"] if "text" in record else base64.b64decode(record["b64"])
        for record in records
        if record["dir"] == "in"
    )


# --- recordings -------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_is_understood(name: str) -> None:
    classifier, _ = link(RECORDED[name])
    lean = leaner(classifier)
    kinds: Counter[str] = Counter()
    channels: Counter[str | None] = Counter()
    for number, data in enumerate(recorded(name)):
        reading = classifier.read(data)
        kinds[type(reading).__name__] += 1
        if isinstance(reading, Update):
            channels[reading.channel] += 1
        if number % 29 == 0:
            assert plain(classifier.read(data)) == plain(classifier.decide(data))
        if number % 31 == 0 and isinstance(reading, Update):
            for _ in range(2):
                other = lean.read(data)
                assert timeless(other) == timeless(reading)
                assert isinstance(other, Update)
                assert other.at is None
            dated = lean.dated(data)
            assert dated is not None
            assert dated.at == reading.at
            assert dated.source.stamp == reading.source.stamp
            assert dated.source.channel == reading.source.channel
    assert kinds["Malformed"] == 0
    assert kinds["Unknown"] <= 0.01 * kinds.total()
    assert kinds["Update"] > 0.5 * kinds.total()
    assert channels[None] <= 0.01 * kinds.total()
    assert len(channels) >= 8


@pytest.mark.parametrize("name", RECORDED)
def test_the_long_way_is_taken_once_for_each_kind_of_data(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, taken = counted(RECORDED[name], monkeypatch)
    messages = recorded(name)[:2000]
    for data in messages:
        classifier.read(data)
    taken.clear()
    for data in messages:
        classifier.read(data)
    updates = sum(isinstance(each, Update) for each in taken)
    assert updates <= 0.05 * len(messages)


def counted(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Classifier, list[Reading]]:
    """A classifier, and what it reads the long way."""
    taken: list[Reading] = []
    long_way = Classifier._long_way

    def noted(self: Classifier, data: str | bytes, error: Exception) -> Reading:
        taken.append(long_way(self, data, error))
        return taken[-1]

    monkeypatch.setattr(Classifier, "_long_way", noted)
    return link(place)[0], taken


# --- data -------------------------------------------------------------------------


def book(change: int, prev: int | None = None, **more: Any) -> dict[str, Any]:
    data = {"type": "change" if prev is not None else "snapshot", "timestamp": 1500}
    data |= {"instrument_name": "X", "change_id": change, **more}
    if prev is not None:
        data["prev_change_id"] = prev
    params = {"channel": "book.X.raw", "data": data}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


def test_a_chain_is_read_with_its_channel_and_stamp() -> None:
    update = read("deribit/main", book(9, 5))
    assert (update.channel, update.prev, update.last) == ("book.X.raw", 5, 9)
    assert (update.restarts, update.unix) == (False, 1.5)


def test_a_snapshot_restarts_the_numbers_of_the_same_track() -> None:
    whole, change = read("deribit/main", book(5)), read("deribit/main", book(9, 5))
    assert whole.restarts
    assert whole.prev is None
    assert whole.track == change.track


def trades(*numbers: int, symbol: str = "X") -> dict[str, Any]:
    rows = [{"trade_seq": n, "instrument_name": symbol} for n in numbers]
    params = {"channel": f"trades.{symbol}.raw", "data": rows}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8))
def test_rows_become_as_few_updates_as_say_the_same(numbers: list[int]) -> None:
    update = read("deribit/main", trades(7), trades(*numbers))
    told: list[int] = []
    for each in (update, *update.rest):
        told += range(each.first, each.last + 1)
    assert told == numbers
    breaks = sum(b != a + 1 for a, b in pairwise(numbers))
    assert len(update.rest) == breaks


def test_numbers_of_the_whole_link_stand_beside_those_of_a_channel() -> None:
    message = {"channel": "l2_data", "sequence_num": 4, "events": []}
    message["events"] = [{"type": "update", "product_id": "A-B", "updates": []}]
    update = read("coinbase/advanced", message)
    assert [link.last for link in update.links] == [4]
    acked = read("coinbase/advanced", {"channel": "subscriptions", "sequence_num": 5})
    assert [link.last for link in acked.links] == [5]


def test_a_key_that_is_wanted_otherwise_is_told_so() -> None:
    classifier, _ = link("binance/spot")
    message = frame({"e": "depthUpdate", "s": "AB", "U": 1, "u": 2, "b": [], "a": []})
    told = [classifier.read(message).channel]
    classifier.want(["ab@depth@100ms"])
    told.append(classifier.read(message).channel)
    classifier.unwant(["ab@depth@100ms"])
    told.append(classifier.read(message).channel)
    assert told == ["ab@depth", "ab@depth@100ms", "ab@depth"]


@pytest.mark.parametrize(
    ("value", "unit", "unix"),
    [
        (1_500, "ms", 1.5),
        ("1500", "ms", 1.5),
        (2_000_000, "us", 2.0),
        (1_700_000_000_500_000_000, "ns", 1_700_000_000.5),
        (1.25, "s", 1.25),
        ("1970-01-01T00:00:01.250000Z", "rfc3339", 1.25),
        ("1970-01-01T01:00:02+01:00", "rfc3339", 2.0),
        ("1970-01-01T00:00:03.123456789Z", "rfc3339", 3.123456789),
        ("soon", "ms", None),
        ("soon", "rfc3339", None),
        ("1970-13-01T00:00:03Z", "rfc3339", None),
        (True, "s", None),
        (10**30, "s", None),
        (-5, "s", None),
        ([], "ms", None),
    ],
)
def test_a_stamp_is_read_in_its_unit(value: Any, unit: Any, unix: float | None) -> None:
    assert unix_seconds(value, unit) == unix


def test_a_message_of_many_elements_speaks_of_each_channel() -> None:
    elements = [{"ev": "T", "sym": s, "q": n, "t": 1} for s, n in (("A", 1), ("B", 5))]
    update = read("massive/stocks", elements)
    told = [(each.channel, each.last) for each in (update, *update.rest)]
    assert told == [("T.A", 1), ("T.B", 5)]


@pytest.mark.parametrize(
    ("place", "element"),
    [
        ("massive/stocks", {"ev": "T", "sym": "A", "q": 1, "t": 1}),
        ("alpaca/data", {"T": "t", "S": "A", "i": 1, "t": "2026-01-02T03:04:05Z"}),
    ],
)
def test_elements_of_one_channel_are_read_the_short_way(
    place: str, element: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, taken = counted(place, monkeypatch)
    for count in (1, 2, 3):
        text = frame([element] * count)
        assert plain(classifier.read(text)) == plain(classifier.decide(text))
    assert len(taken) == 1


def test_the_stamp_is_that_of_the_last_row_with_a_number() -> None:
    rows = [{"ev": "T", "sym": "A", "q": 2, "t": 6}, {"ev": "T", "sym": "A", "t": 7}]
    assert read("massive/stocks", rows[:1], rows).at == 6


def test_links_of_one_venue_learn_from_each_other_and_stay_right() -> None:
    """They share the decoder, which grows with every new kind that one of them sees."""
    one, other = (Classifier(contract_of("deribit/main")) for _ in range(2))
    texts = [frame(document) for document in (trades(1, 2), book(9, 5), book(5))]
    for classifier, text in [(one, texts[0]), *((other, each) for each in texts)]:
        classifier.read(text)
    for text in texts * 2:
        assert plain(one.read(text)) == plain(one.decide(text))


# --- control ----------------------------------------------------------------------


def test_an_acknowledgement_is_compared_with_what_was_asked() -> None:
    classifier, writer = link("deribit/main")
    names = ["book.X.raw", "book.GONE.raw"]
    classifier.want(names)
    (request,) = writer.subscribe(names, unix=1.0)
    assert request.channels == tuple(names)
    answer = {"id": request.number, "result": ["book.X.raw"]}
    acked = classifier.read(frame(answer))
    assert isinstance(acked, Acked)
    assert (acked.channels, acked.absent) == (("book.X.raw",), ("book.GONE.raw",))
    assert acked.number == request.number


def test_an_acknowledgement_that_holds_the_first_data_tells_it() -> None:
    classifier, writer = link("dydx/indexer")
    name = "v4_orderbook:BTC-USD"
    classifier.want([name])
    writer.subscribe([name], unix=0.0)
    ack = {"type": "subscribed", "channel": "v4_orderbook", "id": "BTC-USD"}
    said = classifier.read(frame({**ack, "message_id": 1, "contents": {"bids": []}}))
    assert isinstance(said, Acked)
    assert said.channels == (name,)
    assert said.update is not None
    assert (said.update.channel, said.update.restarts) == (name, True)
    assert [each.last for each in said.links] == [1]
    assert said.update.links == ()


def test_a_refusal_names_the_channels_of_its_request() -> None:
    classifier, writer = link("deribit/main")
    (request,) = writer.subscribe(["book.X.raw"], unix=1.0)
    error = {"code": 13778, "message": "raw needs a login"}
    refused = classifier.read(frame({"id": request.number, "error": error}))
    assert isinstance(refused, Refused)
    assert refused.channels == ("book.X.raw",)
    assert (refused.code, refused.reason) == ("13778", "raw needs a login")


def test_a_channel_is_known_by_what_its_acknowledgement_bound() -> None:
    classifier, writer = link("bitfinex/public")
    name = "trades:tBTCUSD"
    classifier.want([name])
    writer.subscribe([name], unix=1.0)
    assert writer.unsubscribe([name], unix=1.0) == []
    said = {"event": "subscribed", "channel": "trades", "chanId": 17}
    acked = classifier.read(frame({**said, "symbol": "tBTCUSD"}))
    assert isinstance(acked, Acked)
    assert acked.channels == (name,)
    update = classifier.read(frame([17, "te", [1, 2, 3, 4], 5]))
    assert isinstance(update, Update)
    assert (update.channel, [link.last for link in update.links]) == (name, [5])
    assert json.loads(writer.unsubscribe([name], unix=1.0)[0].text)["chanId"] == 17


def test_a_number_that_is_bound_anew_names_the_other_channel() -> None:
    classifier, _ = link("bitfinex/public")
    said = {"event": "subscribed", "channel": "trades", "chanId": 17}
    told: list[str | None] = []
    for symbol in ("tA", "tB"):
        classifier.read(frame({**said, "symbol": symbol}))
        for number in (1, 2):
            told.append(
                classifier.read(frame([17, "te", [1, 2, 3, 4], number])).channel
            )
    assert told == ["trades:tA", "trades:tA", "trades:tB", "trades:tB"]


@pytest.mark.parametrize(
    ("place", "text", "kind"),
    [
        ("okx/public", "pong", Answer),
        (
            "deribit/main",
            '{"method":"heartbeat","params":{"type":"test_request"}}',
            Probe,
        ),
        (
            "deribit/main",
            '{"method":"heartbeat","params":{"type":"heartbeat"}}',
            Beacon,
        ),
        ("binance/spot", '{"e":"serverShutdown","E":1}', Notice),
        ("kucoin/spot", '{"id":"x","type":"welcome"}', Welcome),
        ("deribit/main", '{"jsonrpc":"2.0","method":"novelty"}', Unknown),
        ("deribit/main", "3", Unknown),
        ("deribit/main", '{"jsonrpc":', Malformed),
        ("deribit/main", "pong", Malformed),
        ("upbit/public", b'{"status":"UP"}', Beacon),
        ("mexc/spot", b"\x0a\x04abcd", Update),
        ("mexc/spot", b"\x0a\x05abcd", Malformed),
        ("mexc/spot", '{"id":0,"code":0,"msg":"spot@abcd"}', Acked),
        ("htx/spot", b'{"ping":1}', Malformed),
        ("htx/spot", gzip.compress(b'{"ping":1}', mtime=0), Probe),
        ("htx/spot", '{"ping":1}', Probe),
    ],
)
def test_each_kind_of_message_is_known(
    place: str, text: str | bytes, kind: type[object]
) -> None:
    classifier, _ = link(place)
    assert isinstance(classifier.read(text), kind)
    assert isinstance(classifier.read(text), kind)


def test_a_pong_is_an_answer_while_one_is_awaited_and_a_beacon_else() -> None:
    classifier, writer = link("upbit/public")
    sent = writer.beat(0, unix=1.0)
    assert sent.text == "PING"
    first = classifier.read(b'{"status":"UP"}')
    assert isinstance(first, Answer)
    assert first.number == sent.number
    assert isinstance(classifier.read(b'{"status":"UP"}'), Beacon)


def test_the_answer_to_an_older_beat_is_told_by_its_number() -> None:
    classifier, writer = link("kraken/spot")
    sent = [writer.beat(0, unix=1.0).number for _ in range(3)]
    answer = {"method": "pong", "req_id": sent[1]}
    told = [classifier.read(frame(answer)).number for _ in range(2)]
    assert told == [sent[1], None]


def test_a_welcome_tells_variables() -> None:
    welcome = {"message": "welcome", "sessionId": "s", "pingInterval": 18_000}
    reading = read("kucoin/uta", welcome)
    assert reading.variables == {"ping_interval_s": 18.0}


def test_a_probe_of_another_type_is_echoed_with_its_type() -> None:
    classifier, writer = link("htx/swap_private")
    for stamp in ("17", 17):
        probe = classifier.read(
            gzip.compress(frame({"op": "ping", "ts": stamp}).encode())
        )
        assert isinstance(probe, Probe)
        reply = json.loads(writer.reply(probe, unix=1.0).text)
        assert reply == {"op": "pong", "ts": stamp}


# --- requests ---------------------------------------------------------------------


@pytest.mark.parametrize("place", ["deribit/main", "okx/public", "kucoin/spot"])
@pytest.mark.parametrize("count", [1, 7, 1100])
def test_requests_are_few_and_within_the_limits(place: str, count: int) -> None:
    _, writer = link(place)
    form = contract_of(place).endpoint.subscribe.forms[0]  # type: ignore[union-attr]
    names = [f"{form.example}{n}" for n in range(count)]
    requests = writer.subscribe(names, unix=1.0)
    assert [name for each in requests for name in each.channels] == names
    limits = contract_of(place).endpoint.limits
    assert limits is not None
    most = limits.channels_per_request or 200
    assert all(len(each.channels) <= most for each in requests)
    assert all(len(each.text) <= (limits.request_bytes or 10**9) for each in requests)
    assert len({each.number for each in requests}) == len(requests)
    assert len(requests) <= count / most * 4 + 1


def test_a_name_of_no_form_is_refused_with_the_forms_there_are() -> None:
    _, writer = link("coinbase/exchange")
    with pytest.raises(UsageError, match="channel: wanted"):
        writer.subscribe([""], unix=1.0)


# --- what no venue should send ----------------------------------------------------

HOSTILE = [
    "",
    " ",
    "null",
    "[]",
    "{}",
    "[[[[[[[[",
    "[" * 100_000,
    '{"a":' * 50_000,
    "1e999",
    "9" * 400,
    "9" * 5000,
    '"\ud800"',
    '{"id":true,"result":[]}',
    '{"id":1,"result":{}}',
    '{"id":1e400}',
    b"\xff\xfe\x00",
    b"\x1f\x8b\x08",
    gzip.compress(b'{"ping":1}', mtime=0)[:-6],
    gzip.compress(b'{"ping":1}', mtime=0) + b"more",
    gzip.compress(b"[" * 1000, mtime=0),
]


@pytest.mark.parametrize("place", sorted(set(RECORDED.values())))
def test_what_is_hostile_is_told_and_never_raises(place: str) -> None:
    classifier, _ = link(place)
    for data in HOSTILE:
        for reading in (classifier.read(data), classifier.decide(data)):
            assert isinstance(reading, Malformed | Unknown | Acked | Refused | Update)


def test_a_bomb_is_not_inflated() -> None:
    classifier, _ = link("htx/spot")
    bomb = gzip.compress(b" " * (INFLATED_BYTES + 1), compresslevel=1)
    reading = classifier.read(bomb)
    assert isinstance(reading, Malformed)
    assert "past" in reading.reason


@pytest.mark.parametrize("length", [1, 5, 12, 18, 25])
def test_a_gzip_cut_short_is_told(length: int) -> None:
    classifier, _ = link("htx/spot")
    reading = classifier.read(gzip.compress(b'{"ping":1}', mtime=0)[:length])
    assert isinstance(reading, Malformed)
    assert "gzip" in reading.reason


@pytest.mark.parametrize(
    "wrong", [[], {}, True, 1.5, "x", "", 2**63, 10**30, "9" * 30, "1.5", "٣"]
)
def test_a_number_that_is_none_is_told_by_its_field(wrong: Any) -> None:
    classifier, _ = link("kucoin/spot")
    data = {"symbol": "A-B", "sequenceStart": 1, "sequenceEnd": 2}
    message = {"type": "message", "topic": "/market/level2:A-B", "data": data}
    assert isinstance(classifier.read(frame(message)), Update)
    data["sequenceEnd"] = wrong
    reading = classifier.read(frame(message))
    assert isinstance(reading, Malformed)
    if not isinstance(wrong, int) or wrong < 2**64:
        assert "sequenceEnd" in reading.reason


def test_an_acknowledgement_of_everything_in_the_world_is_cut() -> None:
    classifier, writer = link("deribit/main")
    (request,) = writer.subscribe(["book.X.raw"], unix=1.0)
    hostile = {"id": request.number, "result": [f"c{n}" for n in range(50_000)]}
    assert isinstance(classifier.read(frame(hostile)), Malformed)
    odd = {"id": request.number, "result": [None, {}, [], 1, "book.X.raw"]}
    acked = classifier.read(frame(odd))
    assert isinstance(acked, Acked)
    assert "book.X.raw" in acked.channels


SOUND: dict[str, tuple[Any, ...]] = {
    "deribit/main": (book(9, 5), book(5), trades(1, 2), {"id": 1, "result": ["a"]}),
    "binance/usdm": (
        {
            "stream": "ab@depth",
            "data": {"e": "depthUpdate", "E": 5, "s": "AB", "U": 1, "u": 2, "pu": 0},
        },
        {"e": "aggTrade", "E": 5, "s": "AB", "a": 4},
        {"result": None, "id": 1},
    ),
    "coinbase/exchange": (
        {"type": "l2update", "product_id": "A-B", "time": "2026-01-02T03:04:05.5Z"},
        {"type": "match", "product_id": "A-B", "sequence": 4, "trade_id": 2},
        {"type": "subscriptions", "channels": [{"name": "x", "product_ids": ["A-B"]}]},
    ),
    "bitfinex/public": (
        {"event": "subscribed", "channel": "trades", "symbol": "t", "chanId": 1},
        [1, "te", [1, 2, 3, 4], 5],
        [1, "hb", 6],
    ),
    "okx/public": (
        {
            "arg": {"channel": "books", "instId": "A-B"},
            "action": "update",
            "data": [{"asks": [], "bids": [["1", "2"]], "seqId": 5, "prevSeqId": 4}],
        },
        {"event": "subscribe", "arg": {"channel": "books", "instId": "A-B"}},
    ),
    "massive/stocks": (
        [{"ev": "T", "sym": "A", "q": 1}, {"ev": "Q", "sym": "B"}],
        [{"ev": "T", "sym": "A", "q": 2, "t": 6}, {"ev": "T", "sym": "A", "q": 3}],
    ),
    "bitmex/main": (
        {"table": "trade", "data": [{"symbol": "A", "timestamp": "x"}] * 2},
        {"table": "orderBookL2", "filter": {"symbol": "A"}, "data": []},
        {"table": "orderBookL2", "data": [{"symbol": "A", "id": 7}]},
    ),
    "polymarket/clob": (
        {"event_type": "price_change", "price_changes": [{"asset_id": "A"}] * 2},
        {"event_type": "book", "asset_id": "A", "timestamp": "9", "bids": []},
    ),
}
ODD_VALUES = st.sampled_from(
    [None, True, 0, -1, 2**63, 10**25, 1.5, "", "x", "1", [], [[]], {}, {"a": 1}, [1]]
)


def places_in(document: Any) -> Iterator[tuple[Any, Any]]:
    members: Any = ()
    if isinstance(document, dict):
        members = list(document.items())
    elif isinstance(document, list):
        members = list(enumerate(document))
    for key, value in members:
        yield document, key
        yield from places_in(value)


@given(st.data())
def test_a_mutated_message_is_read_alike_both_ways(data: st.DataObject) -> None:
    """Plans were made for the sound ones; what is merely like them is no update."""
    place = data.draw(st.sampled_from(sorted(SOUND)))
    classifier, writer = link(place)
    if place == "deribit/main":
        writer.subscribe(["a", "b"], unix=1.0)
    for document in SOUND[place]:
        classifier.read(frame(document))
    for _ in range(data.draw(st.integers(1, 4))):
        document = json.loads(frame(data.draw(st.sampled_from(SOUND[place]))))
        spots = list(places_in(document))
        for spot, key in data.draw(st.lists(st.sampled_from(spots), max_size=3)):
            if data.draw(st.booleans()):
                spot[key] = data.draw(ODD_VALUES)
            elif isinstance(spot, dict):
                spot.pop(key, None)
        text = frame(document)
        slow = classifier.decide(text)
        for reading in (classifier.read(text), classifier.read(text)):
            if isinstance(slow, Update) or isinstance(reading, Update):
                assert plain(reading) == plain(slow)
            assert isinstance(reading, Malformed) == isinstance(slow, Malformed)
        lean = leaner(classifier)
        for reading in (lean.read(text), lean.read(text)):
            if isinstance(slow, Update) or isinstance(reading, Update):
                assert timeless(reading) == timeless(slow)
            assert isinstance(reading, Malformed) == isinstance(slow, Malformed)


def test_a_stamp_is_told_of_a_message_that_was_read_without_it() -> None:
    classifier, _ = link("coinbase/exchange")
    lean = Classifier(classifier.contract.unstamped)
    ticker = {"type": "ticker", "product_id": "BTC-USD", "sequence": 1}
    data = frame({**ticker, "time": "2026-01-01T00:00:00.5Z"})
    for each in (classifier, lean):
        each.want(["ticker:BTC-USD"])
    for _ in range(2):
        read = lean.read(data)
        assert isinstance(read, Update)
        assert read.at is None
        assert read.channel == "ticker:BTC-USD"
        assert plain(lean.dated(data)) == plain(classifier.read(data))
    undated = lean.dated(frame(ticker))
    assert undated is None or undated.at is None
    assert lean.dated("{") is None


@given(st.data())
def test_a_broken_text_never_raises(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(sorted(SOUND)))
    classifier, _ = link(place)
    text = frame(data.draw(st.sampled_from(SOUND[place])))
    classifier.read(text)
    cut = data.draw(st.integers(0, len(text)))
    put = data.draw(st.text(max_size=4) | st.sampled_from(["[", "{", '"', "\\", "1e9"]))
    skip = data.draw(st.integers(0, 5))
    classifier.read(text[:cut] + put + text[cut + skip :])
    classifier.read((text[:cut] + put).encode("utf-8", "surrogatepass"))
