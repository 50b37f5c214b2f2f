"""What the simulator is asked, and how it ends: answers, limits, notices, calls."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from heartline.errors import UsageError
from heartline.testing.rfc6455 import Frame, Opcode
from heartline.testing.venue_side import Cut, Options
from heartline.testing.venue_side.http import answered
from heartline.testing.venue_side.refusing import refusing
from heartline.venue.reading import Acked, Answer, Refused, Welcome
from venue_talk import PLACES, UNIX, Talk

# --- requests ---------------------------------------------------------------------

ANSWERED = [
    place
    for place, contract in PLACES.items()
    if contract.endpoint.subscribe and contract.endpoint.subscribe.acks
]


@pytest.mark.parametrize("place", ANSWERED)
def test_what_is_taken_is_acknowledged_by_name(place: str) -> None:
    talk = Talk(place)
    for channel in talk.examples:
        readings = talk.subscribe([channel])
        acked = [each for each in readings if isinstance(each, Acked)]
        listed = {name for each in acked for name in each.channels}
        assert channel in listed
        assert not [each for each in readings if isinstance(each, Refused)]
        assert channel in talk.link.service.subscribed


@pytest.mark.parametrize("place", ANSWERED)
def test_what_is_not_taken_is_refused_or_left_out(place: str) -> None:
    talk = Talk(place, Options(refuse=("*",)))
    told = talk.contract.endpoint.subscribe
    assert told is not None
    channel = talk.examples[0]
    readings = talk.subscribe([channel])
    assert talk.link.service.subscribed == {}
    acked = [each for each in readings if isinstance(each, Acked)]
    refused = [each for each in readings if isinstance(each, Refused)]
    if told.silent_acks:
        assert [channel in each.channels for each in acked] == [True]
    elif told.acks[0].lists == "request":
        assert [each.absent for each in acked] == [(channel,)]
    else:
        assert acked == []
        assert len(refused) == bool(told.refusals)


@pytest.mark.parametrize("place", ANSWERED)
def test_a_venue_may_be_told_the_channels_that_it_has(place: str) -> None:
    examples = Talk(place).examples
    talk = Talk(place, Options(only=(examples[0],)))
    talk.subscribe([examples[0]])
    for other in examples[1:]:
        readings = talk.subscribe([other])
        assert other not in talk.link.service.subscribed
        told = any(isinstance(each, Acked | Refused) for each in readings)
        assert told == (refusing(talk.contract.endpoint) is not None)
    if not talk.venue.replaces or len(examples) == 1:
        assert [*talk.link.service.subscribed] == [examples[0]]


def test_a_request_may_be_taken_in_part() -> None:
    talk = Talk("deribit/main", Options(refuse=("*.NONE.*",)))
    (acked, _) = talk.subscribe(["book.A.100ms", "book.NONE.100ms"])
    assert isinstance(acked, Acked)
    assert (acked.channels, acked.absent) == (("book.A.100ms",), ("book.NONE.100ms",))


def test_a_request_may_go_unanswered() -> None:
    talk = Talk("okx/public")
    talk.venue.drop_ack("books:*")
    assert talk.subscribe(["books:BTC-USDT"]) == []
    assert talk.link.service.subscribed == {}
    talk.venue.drop_ack("books:*", on=False)
    assert isinstance(talk.subscribe(["books:BTC-USDT"])[0], Acked)


def test_a_dead_channel_is_acknowledged_and_never_has_data() -> None:
    talk = Talk("okx/public", Options(dead=("books:*",)))
    (acked,) = talk.subscribe(["books:BTC-USDT"])
    assert isinstance(acked, Acked)
    assert talk.emit("books:BTC-USDT", 5) == []


def test_too_many_channels_in_one_request_are_refused() -> None:
    talk = Talk("kucoin/spot")
    symbols = ",".join(f"S{n}-USDT" for n in range(101))
    topic = f"/market/level2:{symbols}"
    request = {"id": "1", "type": "subscribe", "topic": topic, "response": True}
    talk.hear()
    talk.say(json.dumps(request))
    assert [type(each) for each in talk.hear()] == [Refused]


# --- limits, ends, notices --------------------------------------------------------


KEPT_BY_DATA = {
    "client_ping": False,
    "client_message": False,
    "server_message": True,
    "any_message": True,
}
"""Whether a client that falls silent stays, as long as the venue has data for it."""


@pytest.mark.parametrize(
    ("place", "clock"),
    [
        (place, contract.endpoint.idle.clocks[0].clock)
        for place, contract in PLACES.items()
        if contract.endpoint.idle and not contract.endpoint.liveness.msg_in
        if contract.endpoint.idle.clocks[0].clock in KEPT_BY_DATA
        if contract.endpoint.idle.clocks[0].close_after_s
    ],
)
def test_data_keeps_a_silent_client_where_the_clock_hears_it(
    place: str, clock: str
) -> None:
    talk = Talk(place)
    talk.subscribe([talk.examples[0]])
    assert talk.contract.endpoint.idle is not None
    after = talk.contract.endpoint.idle.clocks[0].close_after_s
    assert isinstance(after, float)
    for _ in range(12):
        talk.now += after / 5
        talk.venue.tick(now=talk.now)
        talk.emit(talk.examples[0])
    assert (talk.link.cut is None) == KEPT_BY_DATA[clock]


def test_the_clock_in_an_answer_is_the_venues_own() -> None:
    talk = Talk("deribit/main", Options(clock_offset=5.0))
    talk.say(talk.writer.beat(0, unix=UNIX).text)
    (answer,) = talk.hear()
    assert isinstance(answer, Answer)
    assert answer.unix == pytest.approx(UNIX + talk.now + 5.0, abs=1e-5)


def test_asking_again_for_what_beats_already_does_not_put_it_off() -> None:
    talk = Talk("upbit/public")
    for _ in range(6):
        talk.now += 4.0
        talk.venue.tick(now=talk.now)
        talk.say("PING")
    # Six answers, and the signs of 16 s and 26 s.
    assert len(talk.hear()) == 6 + 2


def test_nothing_follows_a_cut() -> None:
    talk = Talk("binance/spot")
    talk.venue.cut(1001, "maintenance")
    talk.venue.notice(0, now=talk.now)
    assert [type(out) for out in talk.link.drain()] == [Cut]


def test_a_client_that_sends_too_much_is_cut() -> None:
    talk = Talk("binance/spot")
    for _ in range(5):
        talk.link.receive(Frame(Opcode.PING, b""), now=talk.now)
    assert talk.link.cut is None
    talk.link.receive(Frame(Opcode.PING, b""), now=talk.now + 0.999)
    assert talk.link.cut is not None
    assert talk.link.breaches == ["too many messages"]


def test_a_pong_with_another_payload_keeps_nothing_alive() -> None:
    talk = Talk("binance/spot")
    for at in (20.0, 40.0, 60.0):
        talk.link.tick(now=at)
        talk.link.receive(Frame(Opcode.PONG, b"other"), now=at)
    talk.link.tick(now=79.999)
    assert talk.link.cut is None
    talk.link.tick(now=80.0)
    assert talk.link.cut is not None


def test_a_connection_ends_at_its_greatest_age() -> None:
    talk = Talk("kucoin/spot")
    now = 0.0
    while talk.link.cut is None:
        now = min(now + 18.0, 86_400.0)
        ping = Frame(Opcode.TEXT, b'{"id":"1","type":"ping"}')
        talk.link.receive(ping, now=now)
        talk.link.tick(now=now)
    assert (now, talk.link.cut.reason) == (86_400.0, "maximum age")


@pytest.mark.parametrize(
    ("place", "index"),
    [
        (place, index)
        for place, contract in PLACES.items()
        if contract.endpoint.lifetime
        for index in range(len(contract.endpoint.lifetime.notices))
    ],
)
def test_a_notice_is_read_back_as_what_it_announces(place: str, index: int) -> None:
    talk = Talk(place)
    talk.hear()
    talk.venue.notice(index, now=talk.now)
    (reading,) = talk.hear()
    assert getattr(reading, "index", None) == index
    assert type(reading).__name__ == "Notice"


def test_a_notice_that_there_is_not_is_told() -> None:
    with pytest.raises(UsageError, match="notice"):
        Talk("kucoin/spot").venue.notice(0, now=0.0)


# --- calls ------------------------------------------------------------------------


def test_the_token_call_tells_what_the_profile_reads_from_it() -> None:
    from heartline.venue.bootstrap import extracted

    talk = Talk("kucoin/spot", Options(variables={"endpoint": "ws://here/"}))
    bootstrap = talk.contract.endpoint.bootstrap
    assert bootstrap is not None
    status, body = answered(talk.venue, "POST", "/api/v1/bullet-public")
    assert status == 200
    told = extracted(bootstrap, json.loads(body))
    assert (told["endpoint"], told["ping_interval_s"]) == ("ws://here/", 18.0)
    assert isinstance(talk.hear()[0], Welcome)


@pytest.mark.parametrize(
    ("place", "channel", "target"),
    [
        ("binance/spot", "btcusdt@depth", "/api/v3/depth?symbol=BTCUSDT&limit=5000"),
        (
            "kucoin/spot",
            "/market/level2:BTC-USDT",
            "/api/v1/market/orderbook/level2_100?symbol=BTC-USDT",
        ),
    ],
)
def test_a_whole_book_comes_by_http_with_the_number_it_stands_at(
    place: str, channel: str, target: str
) -> None:
    talk = Talk(place)
    talk.subscribe([channel])
    talk.emit(channel, 7)
    assert urlsplit(target).query
    status, body = answered(talk.venue, "GET", target)
    assert status == 200
    last = str(talk.venue.market.named(channel).account.last)
    assert last in body.decode()
    assert answered(talk.venue, "GET", target.replace("BTC", "ETH"))[0] == 404
