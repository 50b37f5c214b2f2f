"""What the simulator sends is what the profile describes: read back, and counted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.errors import UsageError
from heartline.testing.capture import Capture, CapturedFrame
from heartline.testing.rfc6455 import Frame, Opcode
from heartline.testing.venue_side import Cut, Link, Options, Venue
from heartline.testing.venue_side.http import answered
from heartline.testing.venue_side.recording import recorded
from heartline.venue.classify import Classifier, Contract
from heartline.venue.load import load, names
from heartline.venue.reading import Acked, Beacon, Reading, Refused, Update, Welcome
from heartline.venue.writer import Writer

UNIX = 1_767_225_600.0

PLACES = {
    f"{name}/{endpoint.name}": Contract(endpoint)
    for name in names()
    for endpoint in load(name).endpoints.values()
    if endpoint.subscribe is not None
}


@dataclass
class Talk:
    """A client of heartline's reader and writer, on a simulated link."""

    place: str
    options: Options = field(default_factory=Options)
    now: float = 2.0

    def __post_init__(self) -> None:
        self.contract = PLACES[self.place]
        self.venue = Venue(self.contract.endpoint, self.options, unix=UNIX)
        self.link: Link = self.venue.connect(now=0.0)
        self.classifier = Classifier(self.contract)
        pending, book = self.classifier.pending, self.classifier.book
        self.writer = Writer(self.contract, pending=pending, book=book)
        self.cut: Cut | None = None

    @property
    def examples(self) -> list[str]:
        told = self.contract.endpoint.subscribe
        assert told is not None
        return [form.example for form in told.forms]

    def hear(self) -> list[Reading]:
        readings: list[Reading] = []
        for out in self.link.drain():
            if isinstance(out, Cut):
                self.cut = out
            elif out.opcode in (Opcode.TEXT, Opcode.BINARY):
                text = out.opcode is Opcode.TEXT
                data = out.payload.decode() if text else out.payload
                readings.append(self.classifier.read(data))
        return readings

    def subscribe(self, channels: list[str]) -> list[Reading]:
        """Ask for them, slowly enough for any limit."""
        self.classifier.want(channels)
        readings: list[Reading] = []
        for request in self.writer.subscribe(channels, unix=UNIX):
            self.now += 1.0
            self.say(request.text)
            readings += self.hear()
        return readings

    def unsubscribe(self, channels: list[str]) -> list[Reading]:
        readings: list[Reading] = []
        for request in self.writer.unsubscribe(channels, unix=UNIX):
            self.now += 1.0
            self.say(request.text)
            readings += self.hear()
        return readings

    def say(self, text: str) -> None:
        self.link.receive(Frame(Opcode.TEXT, text.encode()), now=self.now)

    def emit(self, channel: str, messages: int = 1) -> list[Reading]:
        self.venue.burst(channel, messages, now=self.now)
        return self.hear()


def updates(readings: list[Reading]) -> list[Update]:
    """The data among them; where an acknowledgement holds some, that too."""
    found: list[Update] = []
    for reading in readings:
        held = reading.update if isinstance(reading, Beacon | Acked) else reading
        if isinstance(held, Update):
            found.append(held)
    return found


def numbered(update: Update) -> tuple[object, object, object]:
    return update.prev, update.first, update.last


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
    assert len(tape) == len(texts)
    talk.venue.play(tape)
    talk.venue.tick(now=talk.now)
    talk.subscribe(["book.A.100ms"])
    talk.venue.tick(now=talk.now + 2.0)
    assert len(updates(talk.hear())) == 3
    talk.venue.tick(now=talk.now + 60.0)
    assert talk.venue.market.named("book.A.100ms").account.sent == len(texts)
