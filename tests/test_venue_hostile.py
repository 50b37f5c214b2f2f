"""Whatever a venue sends: nothing breaks, it is counted, and what follows is right.

The long run of this is `python -m prove fuzz`; here each kind of endpoint has a short
one.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from prove import fuzzed
from prove.fuzz import one_life
from prove.jumping import StrictLoop
from prove.owner import Broken, Owner

from heartline.client.contract import Venue
from heartline.client.desk import Desk
from heartline.client.snapshot_call import SnapshotCall
from heartline.core.feed import Feed
from heartline.core.gaps import Ledger
from heartline.core.items import Cause
from heartline.core.misread import Misread
from heartline.core.restore import Joins, Restored
from heartline.core.subscriptions import Subscriptions
from heartline.errors import UsageError, WireError
from heartline.venue.bootstrap import extracted
from heartline.venue.classify import Classifier, Contract
from heartline.venue.load import load
from heartline.venue.reading import Beacon, Probe, Update
from heartline.venue.stamps import unix_seconds
from heartline.venue.writer import Writer
from heartline.wire.resume import decode_client, decode_server

PLACES = (
    "binance/spot",
    "bitfinex/public",
    "deribit/main",
    "dydx/indexer",
    "gate/spot",
    "htx/spot",
    "kucoin/spot",
    "mexc/spot",
    "okx/public",
)


@pytest.fixture(autouse=True)
def _short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzed, "LINKS", 3)
    monkeypatch.setattr(fuzzed, "STEPS", 5)
    monkeypatch.setattr(fuzzed, "FLOODS", 0.0)
    monkeypatch.setattr("prove.fuzz.samples", lambda place: ())


@pytest.mark.parametrize("place", PLACES)
def test_hostile_messages_break_nothing(place: str) -> None:
    world = one_life(place, "tests")
    assert world.messages > 50
    assert world.bad > 0


# --- the proof can fail -----------------------------------------------------------


def _told_each_time(self: Misread, reason: str, *, epoch: int, now: float) -> list[Any]:
    self._told = -1
    return _TOLD(self, reason, epoch=epoch, now=now)


def _takes_all(self: Subscriptions, name: str, *_: object) -> bool:
    self._wanted.setdefault(name, next(iter(self._wanted.values())))
    return True


def _raises(self: Feed, *_: object, **__: object) -> Any:
    raise ValueError("a message that was not foreseen")


_TOLD = Misread.tell


def some_lives(place: str) -> None:
    for seed in range(12):
        one_life(place, f"planted {seed}")


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (Misread, "tell", _told_each_time),
        (Misread, "tell", lambda self, reason, *, epoch, now: []),
        (Subscriptions, "_was_asked", _takes_all),
        (Feed, "take_malformed", _raises),
    ],
    ids=["told each time", "never told", "takes what was not asked", "raises"],
)
def test_a_planted_fault_is_found(
    owner: type, name: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzzed, "LINKS", 6)
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises((Broken, ValueError, KeyError)):
        some_lives("deribit/main")


# --- what it found ----------------------------------------------------------------


def test_numbers_of_the_link_in_a_beacon_leave_no_gap() -> None:
    """Coinbase counts its heartbeats among all other messages of the link."""
    loop = StrictLoop()
    owner = Owner(loop)
    venue = Venue(name="coinbase", endpoint="advanced", channels=["heartbeats"])
    desk = Desk(venue, owner, ledger=Ledger(), loop=loop, clock=loop.time)
    desk.begin(1, {})
    desk.feed.begin(1, now=loop.time())
    for number in range(6):
        events = [{"heartbeat_counter": number}]
        beat = f'{{"channel":"heartbeats","sequence_num":{number},"events":{events}}}'
        desk.read(1, [beat.replace("'", '"')], age=0.0, now=loop.time())
    assert owner.gaps == []
    lost = '{"channel":"heartbeats","sequence_num":8}'
    desk.read(1, [lost], age=0.0, now=loop.time())
    assert [(gap.first, gap.last) for gap in owner.gaps] == [(6, 7)]
    desk.alarm.stop()
    loop.close()


@pytest.mark.parametrize("first", ['"x":1', '"heartbeat_counter":"?"'])
def test_a_sign_of_life_that_lacked_its_count_is_no_rule_for_the_next(
    first: str,
) -> None:
    said = '{"channel":"heartbeats","sequence_num":1,"events":[{%s}]}'
    classifier = Classifier(load("coinbase").endpoint("advanced"))
    for events in (first, first, '"heartbeat_counter":7', first):
        read = classifier.read(said % events)
        assert type(read) is type(classifier.decide(said % events))
        count = read.counter if isinstance(read, Beacon) else None
        assert count == (7 if "7" in events else None)


@pytest.mark.parametrize("full", ["1", "1.0", '"true"', "null", "[true]", "false"])
def test_what_only_equals_true_marks_no_snapshot_at_the_second_look_either(
    full: str,
) -> None:
    said = (
        '{"time_ms":1,"channel":"futures.obu","event":"update",'
        '"result":{"full":%s,"t":1,"s":"ob.BTC_USDT.400","U":4,"u":6}}'
    )
    classifier = Classifier(load("gate").endpoint("futures"))
    for first, anew in (("true", True), (full, False), ("true", True)):
        read = classifier.read(said % first)
        assert isinstance(read, Update)
        assert read.restarts is anew


@pytest.mark.parametrize(
    "text",
    ["2026-11-22T10:00:59e300Z", "2026-11-22T10:00:59e9Z", "0001-01-01T00:00:00+00:00"],
)
def test_a_stamp_out_of_all_reason_is_none(text: str) -> None:
    assert unix_seconds(text, "rfc3339") is None


@pytest.mark.parametrize("interval", [0, -1, 10**400, 1e300, True, "18000", None])
def test_an_interval_that_cannot_be_is_refused_by_its_field(interval: object) -> None:
    bootstrap = load("kucoin").endpoint("spot").bootstrap
    assert bootstrap is not None
    server = {"endpoint": "wss://x", "pingInterval": interval, "pingTimeout": 10_000}
    answer = {"data": {"token": "t", "instanceServers": [server]}}
    with pytest.raises(UsageError) as refused:
        extracted(bootstrap, answer)
    assert refused.value.field == "bootstrap.extract.ping_interval_s"


@pytest.mark.parametrize("body", [b"[" * 100_000, b"\xff", b'{"id":1e9999}', b"{}"])
def test_a_state_that_cannot_be_read_is_a_call_that_failed(body: bytes) -> None:
    terms = Restored(host="venue.test", joins=Joins("next"), contiguous=True)
    call = SnapshotCall(url="https://venue.test", number=("id",), terms=terms)
    with pytest.raises(WireError):
        call.number_in(body)


@pytest.mark.parametrize("number", ["abc", None, [1], 1.5, 10**30, {"id": 1}])
def test_a_question_is_answered_with_the_id_it_carried(number: object) -> None:
    contract = Contract(load("cryptocom").endpoint("market"))
    classifier = Classifier(contract)
    pending, book = classifier.pending, classifier.book
    writer = Writer(contract, pending=pending, book=book)
    asked = classifier.decide(json.dumps({"id": number, "method": "public/heartbeat"}))
    assert isinstance(asked, Probe)
    said = writer.reply(asked, unix=0.0)
    assert json.loads(said.text)["id"] == number
    assert said.number == 1


@pytest.mark.parametrize("levels", [1, 900, 960, 980, 990])
def test_what_a_question_carried_is_repeated_only_if_it_is_shallow(levels: int) -> None:
    """A decoder gets further down than whoever writes the answer, deeper in calls."""
    contract = Contract(load("apex").endpoint())
    classifier = Classifier(contract)
    pending, book = classifier.pending, classifier.book
    writer = Writer(contract, pending=pending, book=book)
    deep = "[" * levels + "]" * levels
    asked = classifier.read(f'{{"op":"ping","args":{deep}}}')
    assert isinstance(asked, Probe) == (levels == 1)
    if isinstance(asked, Probe):
        assert json.loads(writer.reply(asked, unix=0.0).text)["args"] == []


def test_frames_nested_without_end_are_told_as_no_frames() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for decode in (decode_client, decode_server):
        with pytest.raises(WireError) as refused:
            decode(f'{{"type":"message","data":{deep}}}')
        assert refused.value.cause == Cause.PROTOCOL
