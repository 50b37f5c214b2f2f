"""A channel's name goes into a request and comes back from the venue's messages.

The messages are made up after what each venue documents; the profiles are the shipped
ones, so that a profile that loses a channel is found here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest

from heartline.venue.classify import Classifier, Contract
from heartline.venue.load import load, names
from heartline.venue.naming import Book
from heartline.venue.pending import Pending
from heartline.venue.profile import Endpoint
from heartline.venue.reading import Acked, Refused, Update
from heartline.venue.writer import Writer


@cache
def endpoint_of(place: str) -> Endpoint:
    venue, _, name = place.partition("/")
    return load(venue).endpoint(name)


def reading(place: str, channels: list[str], message: Any) -> Any:
    classifier = Classifier(endpoint_of(place))
    classifier.want(channels)
    first = classifier.read(msgspec.json.encode(message).decode())
    again = classifier.read(msgspec.json.encode(message).decode())
    assert type(again) is type(first)
    assert getattr(again, "channel", None) == getattr(first, "channel", None)
    return first


def arg(**fields: Any) -> dict[str, Any]:
    return {"arg": fields, "data": [{"ts": "1", "seqId": 2, "prevSeqId": 1}]}


DATA: dict[str, list[tuple[str, Any]]] = {
    "deribit/main": [
        (
            "book.BTC-PERPETUAL.100ms",
            {
                "jsonrpc": "2.0",
                "method": "subscription",
                "params": {
                    "channel": "book.BTC-PERPETUAL.100ms",
                    "data": {"type": "snapshot", "change_id": 7, "timestamp": 1},
                },
            },
        )
    ],
    "binance/spot": [
        (
            "btcusdt@depth",
            {"stream": "btcusdt@depth", "data": {"e": "depthUpdate", "U": 1, "u": 2}},
        ),
        ("btcusdt@depth@100ms", {"e": "depthUpdate", "s": "BTCUSDT", "U": 1, "u": 2}),
        ("btcusdt@trade", {"e": "trade", "s": "BTCUSDT", "t": 3}),
        ("btcusdt@bookTicker", {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "A": "2"}),
    ],
    "binance/usdm": [
        (
            "btcusdt@depth@500ms",
            {"e": "depthUpdate", "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0},
        )
    ],
    "okx/public": [
        ("books:BTC-USDT", arg(channel="books", instId="BTC-USDT")),
        ("status", arg(channel="status")),
    ],
    "bybit/public": [
        (
            "orderbook.50.BTCUSDT",
            {
                "topic": "orderbook.50.BTCUSDT",
                "type": "delta",
                "ts": 1,
                "data": {"s": "BTCUSDT", "u": 5, "seq": 6},
            },
        )
    ],
    "coinbase/exchange": [
        ("level2:BTC-USD", {"type": "l2update", "product_id": "BTC-USD"}),
        ("level2_batch:BTC-USD", {"type": "l2update", "product_id": "BTC-USD"}),
        (
            "matches:BTC-USD",
            {"type": "match", "product_id": "BTC-USD", "sequence": 5, "trade_id": 1},
        ),
        ("full:BTC-USD", {"type": "match", "product_id": "BTC-USD", "sequence": 5}),
        ("full:BTC-USD", {"type": "done", "product_id": "BTC-USD", "sequence": 6}),
    ],
    "coinbase/advanced": [
        (
            "level2:BTC-USD",
            {
                "channel": "l2_data",
                "sequence_num": 3,
                "events": [{"type": "update", "product_id": "BTC-USD"}],
            },
        ),
        (
            "market_trades:ETH-USD",
            {
                "channel": "market_trades",
                "sequence_num": 4,
                "events": [{"trades": [{"product_id": "ETH-USD"}]}],
            },
        ),
    ],
    "kraken/spot": [
        (
            "book-25:BTC/USD",
            {"channel": "book", "type": "update", "data": [{"symbol": "BTC/USD"}]},
        ),
        (
            "trade:BTC/USD",
            {"channel": "trade", "data": [{"symbol": "BTC/USD", "trade_id": 1}]},
        ),
    ],
    "kraken/spot_v1": [
        (
            "book-10:XBT/USD",
            [7, {"a": []}, {"b": [], "c": "1"}, "book-10", "XBT/USD"],
        ),
        ("trade:XBT/USD", [9, [["1", "2", "3.5"]], "trade", "XBT/USD"]),
    ],
    "kraken/futures": [
        ("book:PI_XBTUSD", {"feed": "book", "product_id": "PI_XBTUSD", "seq": 1}),
        (
            "book:PI_XBTUSD",
            {"feed": "book_snapshot", "product_id": "PI_XBTUSD", "seq": 1},
        ),
    ],
    "kucoin/spot": [
        (
            "/market/level2:BTC-USDT",
            {
                "type": "message",
                "topic": "/market/level2:BTC-USDT",
                "data": {"sequenceStart": 1, "sequenceEnd": 2, "symbol": "BTC-USDT"},
            },
        )
    ],
    "kucoin/uta": [
        (
            "obu.SPOT:BTC-USDT",
            {"T": "obu.SPOT", "t": "delta", "d": {"O": 1, "C": 2, "s": "BTC-USDT"}},
        )
    ],
    "bitget/public": [
        (
            "books:SPOT:BTCUSDT",
            {
                "arg": {"instType": "SPOT", "channel": "books", "instId": "BTCUSDT"},
                "action": "update",
                "data": [{"seq": 2, "pseq": 1, "ts": "1"}],
            },
        )
    ],
    "gate/spot": [
        (
            "spot.order_book_update:BTC_USDT:100ms",
            {
                "channel": "spot.order_book_update",
                "event": "update",
                "result": {"s": "BTC_USDT", "U": 1, "u": 2, "t": 1},
            },
        ),
        (
            "spot.candlesticks:1m:BTC_USDT",
            {
                "channel": "spot.candlesticks",
                "event": "update",
                "result": {"n": "1m_BTC_USDT"},
            },
        ),
        (
            "spot.trades:BTC_USDT",
            {
                "channel": "spot.trades",
                "event": "update",
                "result": {"id": 1, "currency_pair": "BTC_USDT"},
            },
        ),
    ],
    "gate/futures": [
        (
            "futures.order_book_update:BTC_USDT:100ms:100",
            {
                "channel": "futures.order_book_update",
                "event": "update",
                "result": {"s": "BTC_USDT", "U": 1, "u": 2},
            },
        ),
        (
            "futures.trades:BTC_USDT",
            {
                "channel": "futures.trades",
                "event": "update",
                "result": [{"contract": "BTC_USDT", "id": 1}],
            },
        ),
    ],
    "bitmex/main": [
        (
            "trade:XBTUSD",
            {"table": "trade", "action": "insert", "data": [{"symbol": "XBTUSD"}]},
        ),
        ("trade", {"table": "trade", "action": "insert", "data": [{"symbol": "X"}]}),
        (
            "quote:XBTUSD",
            {
                "table": "quote",
                "action": "partial",
                "filter": {"symbol": "XBTUSD"},
                "data": [],
            },
        ),
    ],
    "bitstamp/main": [
        (
            "diff_order_book_btcusd",
            {
                "event": "data",
                "channel": "diff_order_book_btcusd",
                "data": {"microtimestamp": "5"},
            },
        )
    ],
    "gemini/main": [
        ("btcusd@depth", {"e": "depthUpdate", "s": "BTCUSD", "U": 1, "u": 2})
    ],
    "cryptocom/market": [
        (
            "book.BTCUSD-PERP.50",
            {
                "id": -1,
                "method": "subscribe",
                "code": 0,
                "result": {
                    "channel": "book.update",
                    "subscription": "book.BTCUSD-PERP.50",
                    "data": [{"u": 2, "pu": 1, "update": {"asks": [[1]], "bids": []}}],
                },
            },
        )
    ],
    "mexc/futures": [
        ("depth:BTC_USDT", {"channel": "push.depth", "symbol": "BTC_USDT", "data": {}}),
        (
            "depth-merged:BTC_USDT",
            {"channel": "push.depth", "symbol": "BTC_USDT", "data": {"begin": 1}},
        ),
    ],
    "phemex/main": [
        (
            "orderbook_p:BTCUSDT",
            {"orderbook_p": {}, "symbol": "BTCUSDT", "sequence": 1, "type": "x"},
        ),
        ("trade:BTCUSD", {"trades": [], "symbol": "BTCUSD", "sequence": 1}),
    ],
    "hyperliquid/main": [
        (
            "candle:BTC:1m",
            {"channel": "candle", "data": {"s": "BTC", "i": "1m", "t": 1}},
        ),
        ("trades:BTC", {"channel": "trades", "data": [{"coin": "BTC", "time": 1}]}),
        ("allMids", {"channel": "allMids", "data": {"mids": {}}}),
    ],
    "dydx/indexer": [
        (
            "v4_trades:BTC-USD",
            {
                "type": "channel_data",
                "channel": "v4_trades",
                "id": "BTC-USD",
                "message_id": 2,
                "contents": {},
            },
        )
    ],
    "upbit/public": [
        ("trade:KRW-BTC", {"type": "trade", "code": "KRW-BTC", "sequential_id": 1}),
        ("trade:KRW-BTC", {"ty": "trade", "cd": "KRW-BTC"}),
    ],
    "whitebit/main": [
        (
            "depth:BTC_USDT",
            {"method": "depth_update", "params": [False, {"update_id": 2}, "BTC_USDT"]},
        ),
        ("trades:BTC_USDT", {"method": "trades_update", "params": ["BTC_USDT", []]}),
    ],
    "kalshi/main": [
        (
            "orderbook_delta:X",
            {
                "type": "orderbook_snapshot",
                "sid": 2,
                "seq": 1,
                "msg": {"market_ticker": "X"},
            },
        )
    ],
    "alpaca/data": [
        ("trades:AAPL", [{"T": "t", "S": "AAPL", "i": 1}]),
        ("quotes:AAPL", [{"T": "q", "S": "AAPL"}]),
    ],
    "massive/stocks": [("T.AAPL", [{"ev": "T", "sym": "AAPL", "q": 1, "t": 1}])],
    "finnhub/trades": [("trade:AAPL", {"type": "trade", "data": [{"s": "AAPL"}]})],
}

CASES = [(place, name, m) for place, rows in DATA.items() for name, m in rows]


@pytest.mark.parametrize(
    ("place", "channel", "message"),
    CASES,
    ids=[f"{place} {name} {at}" for at, (place, name, _) in enumerate(CASES)],
)
def test_data_is_told_by_the_name_it_was_asked_for(
    place: str, channel: str, message: Any
) -> None:
    update = reading(place, [channel], message)
    assert isinstance(update, Update)
    assert update.channel == channel


ANSWERS: list[tuple[str, list[str], Any, type, tuple[str, ...]]] = [
    (
        "okx/public",
        ["books:BTC-USDT", "books:ETH-USDT"],
        {"event": "subscribe", "arg": {"channel": "books", "instId": "ETH-USDT"}},
        Acked,
        ("books:ETH-USDT",),
    ),
    (
        "coinbase/exchange",
        ["level2:A", "level2:B", "ticker:A"],
        {
            "type": "subscriptions",
            "channels": [{"name": "level2", "product_ids": ["A", "B"]}],
        },
        Acked,
        ("level2:A", "level2:B"),
    ),
    (
        "coinbase/advanced",
        ["level2:A", "ticker:B"],
        {
            "channel": "subscriptions",
            "events": [{"subscriptions": {"level2": ["A"], "ticker": ["B"]}}],
        },
        Acked,
        ("level2:A", "ticker:B"),
    ),
    (
        "kraken/spot_v1",
        ["book-10:XBT/USD"],
        {
            "event": "subscriptionStatus",
            "status": "error",
            "pair": "XBT/USD",
            "subscription": {"name": "book", "depth": 10},
            "errorMessage": "no",
        },
        Refused,
        ("book-10:XBT/USD",),
    ),
    (
        "bitmex/main",
        ["quote:XBTUSD"],
        {"success": True, "subscribe": "quote:XBTUSD", "request": {}},
        Acked,
        ("quote:XBTUSD",),
    ),
    (
        "bitmex/main",
        ["quote:NONE"],
        {"status": 400, "error": "unknown", "request": {"args": ["quote:NONE"]}},
        Refused,
        ("quote:NONE",),
    ),
    (
        "bitget/public",
        ["books:SPOT:X"],
        {
            "event": "error",
            "arg": {"instType": "SPOT", "channel": "books", "instId": "X"},
            "code": 30001,
            "msg": "no",
        },
        Refused,
        ("books:SPOT:X",),
    ),
    (
        "alpaca/data",
        ["trades:AAPL", "quotes:AAPL"],
        [{"T": "subscription", "trades": ["AAPL"], "quotes": ["AAPL"], "bars": []}],
        Acked,
        ("trades:AAPL", "quotes:AAPL"),
    ),
    (
        "hyperliquid/main",
        ["candle:BTC:1m"],
        {
            "channel": "subscriptionResponse",
            "data": {
                "method": "subscribe",
                "subscription": {"type": "candle", "coin": "BTC", "interval": "1m"},
            },
        },
        Acked,
        ("candle:BTC:1m",),
    ),
]


@pytest.mark.parametrize(
    ("place", "channels", "message", "kind", "named"),
    ANSWERS,
    ids=[f"{place} {at}" for at, (place, *_) in enumerate(ANSWERS)],
)
def test_an_answer_names_the_channels_it_speaks_of(
    place: str, channels: list[str], message: Any, kind: type, named: tuple[str, ...]
) -> None:
    answer = reading(place, channels, message)
    assert isinstance(answer, kind)
    assert {each for each in answer.channels if each in channels} == set(named)


def test_a_number_that_an_acknowledgement_gave_names_the_channel() -> None:
    classifier = Classifier(endpoint_of("bitfinex/public"))
    classifier.want(["book-P0-25:tBTCUSD", "candles:trade:1m:tBTCUSD"])
    for told in (
        {"event": "subscribed", "channel": "book", "chanId": 17, "symbol": "tBTCUSD"}
        | {"prec": "P0", "freq": "F0", "len": "25"},
        {"event": "subscribed", "channel": "candles", "chanId": 18}
        | {"key": "trade:1m:tBTCUSD"},
    ):
        assert isinstance(classifier.read(msgspec.json.encode(told).decode()), Acked)
    book = classifier.read("[17,[101.5,1,2],44]")
    assert isinstance(book, Update)
    assert book.channel == "book-P0-25:tBTCUSD"
    candle = classifier.read("[18,[1,2,3,4,5,6],45]")
    assert isinstance(candle, Update)
    assert candle.channel == "candles:trade:1m:tBTCUSD"


REQUESTS: list[tuple[str, list[str], list[Any]]] = [
    (
        "deribit/main",
        ["book.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.100ms"],
        [
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "public/subscribe",
                "params": {
                    "channels": [
                        "book.BTC-PERPETUAL.100ms",
                        "trades.BTC-PERPETUAL.100ms",
                    ]
                },
            }
        ],
    ),
    (
        "binance/usdm",
        ["btcusdt@depth@100ms", "ethusdt@aggTrade"],
        [
            {
                "method": "SUBSCRIBE",
                "params": ["btcusdt@depth@100ms", "ethusdt@aggTrade"],
                "id": 1,
            }
        ],
    ),
    (
        "okx/public",
        ["books:BTC-USDT", "trades:ETH-USDT"],
        [
            {
                "id": "1",
                "op": "subscribe",
                "args": [
                    {"channel": "books", "instId": "BTC-USDT"},
                    {"channel": "trades", "instId": "ETH-USDT"},
                ],
            }
        ],
    ),
    (
        "bybit/public",
        ["orderbook.50.BTCUSDT"],
        [{"req_id": "1", "op": "subscribe", "args": ["orderbook.50.BTCUSDT"]}],
    ),
    (
        "coinbase/exchange",
        ["level2:BTC-USD", "level2:ETH-USD", "ticker:BTC-USD"],
        [
            {
                "type": "subscribe",
                "product_ids": ["BTC-USD", "ETH-USD"],
                "channels": ["level2"],
            },
            {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["ticker"]},
        ],
    ),
    (
        "coinbase/advanced",
        ["level2:BTC-USD"],
        [{"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "level2"}],
    ),
    (
        "kraken/spot",
        ["book-10:BTC/USD", "trade:BTC/USD"],
        [
            {
                "method": "subscribe",
                "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 10},
                "req_id": 1,
            },
            {
                "method": "subscribe",
                "params": {"channel": "trade", "symbol": ["BTC/USD"]},
                "req_id": 2,
            },
        ],
    ),
    (
        "kraken/spot_v1",
        ["book-10:XBT/USD", "book-10:ETH/USD"],
        [
            {
                "event": "subscribe",
                "pair": ["XBT/USD", "ETH/USD"],
                "subscription": {"name": "book", "depth": 10},
                "reqid": 1,
            }
        ],
    ),
    (
        "kucoin/spot",
        ["/market/level2:BTC-USDT", "/market/level2:ETH-USDT"],
        [
            {
                "id": "1",
                "type": "subscribe",
                "topic": "/market/level2:BTC-USDT,ETH-USDT",
                "response": True,
            }
        ],
    ),
    (
        "gate/spot",
        ["spot.order_book_update:BTC_USDT:100ms", "spot.trades:BTC_USDT"],
        [
            {
                "time": 1700000000,
                "id": 1,
                "channel": "spot.order_book_update",
                "event": "subscribe",
                "payload": ["BTC_USDT", "100ms"],
            },
            {
                "time": 1700000000,
                "id": 2,
                "channel": "spot.trades",
                "event": "subscribe",
                "payload": ["BTC_USDT"],
            },
        ],
    ),
    (
        "bitmex/main",
        ["orderBookL2_25:XBTUSD", "trade:XBTUSD"],
        [{"op": "subscribe", "args": ["orderBookL2_25:XBTUSD", "trade:XBTUSD"]}],
    ),
    (
        "upbit/public",
        ["trade:KRW-BTC", "trade:KRW-ETH", "orderbook:KRW-BTC"],
        [
            [
                {"ticket": "*"},
                {"type": "trade", "codes": ["KRW-BTC", "KRW-ETH"]},
                {"type": "orderbook", "codes": ["KRW-BTC"]},
                {"format": "DEFAULT"},
            ]
        ],
    ),
]


@pytest.mark.parametrize(
    ("place", "channels", "messages"),
    REQUESTS,
    ids=[place for place, _, _ in REQUESTS],
)
def test_names_become_the_venues_own_requests(
    place: str, channels: list[str], messages: list[Any]
) -> None:
    contract = Contract(endpoint_of(place))
    writer = Writer(contract, pending=Pending(), book=Book())
    sent = writer.subscribe(channels, unix=1_700_000_000.0)
    told = [msgspec.json.decode(each.text) for each in sent]
    for message in told:
        if isinstance(message, list):
            message[0]["ticket"] = "*"
    assert told == messages
    assert [name for each in sent for name in each.channels] == channels


@pytest.mark.parametrize("venue", names())
def test_every_example_can_be_asked_for(venue: str) -> None:
    for endpoint in load(venue).endpoints.values():
        if endpoint.subscribe is None:
            continue
        examples = [form.example for form in endpoint.subscribe.forms]
        writer = Writer(Contract(endpoint), pending=Pending(), book=Book())
        sent = writer.subscribe(examples, unix=1_700_000_000.0)
        assert sorted(n for each in sent for n in each.channels) == sorted(examples)
        for message in sent:
            assert "${" not in message.text
