"""Venues whose data is protobuf: read, sent by the simulator, and broken on the way.

The messages are made here from the schema that MEXC publishes, in Google's library and
with all members that a client of MEXC sees; the profile names only some of them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import descriptor_pb2 as described
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import heartline
from heartline import Gap, Message, Snapshots, Venue
from heartline.cli import app
from heartline.core.channel_events import GapClosed
from heartline.errors import UsageError, VenueError
from heartline.testing import Capture, VenueServer, write_capture
from heartline.testing.capture import CapturedFrame
from heartline.testing.rfc6455 import Frame, Opcode
from heartline.venue.channels import Rule
from heartline.venue.classify import Classifier, Contract
from heartline.venue.field import parse_field
from heartline.venue.load import load
from heartline.venue.profile import Member
from heartline.venue.protobuf import Codec
from heartline.venue.reading import Malformed, Reading, Unknown, Update
from stream_kit import FAST, in_loop
from venue_talk import Talk, updates

DEPTH = "spot@public.aggre.depth.v3.api.pb@100ms@BTCUSDT"
DEALS = "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"
KLINE = "spot@public.kline.v3.api.pb@BTCUSDT@Min15"
SENT_MS = 1_767_225_600_123

PUBLISHED = {
    "Level": "price 1 string, quantity 2 string",
    "Depths": "asks 1 *Level, bids 2 *Level, eventType 3 string, "
    "fromVersion 4 string, toVersion 5 string",
    "Deal": "price 1 string, quantity 2 string, tradeType 3 int32, time 4 int64",
    "Deals": "deals 1 *Deal, eventType 2 string",
    "Kline": "interval 1 string, windowStart 2 int64, openingPrice 3 string",
    "Wrapper": "channel 1 string, symbol 3 string, symbolId 4 string, "
    "createTime 5 int64, sendTime 6 int64, publicSpotKline 308 Kline, "
    "publicAggreDepths 313 Depths, publicAggreDeals 314 Deals",
}
"""https://github.com/mexcdevelop/websocket-proto; `*` is repeated."""

KINDS = {"string": 9, "int64": 3, "int32": 5}


def published() -> Any:
    file = described.FileDescriptorProto(name="published.proto", syntax="proto3")
    for name, fields in PUBLISHED.items():
        message = file.message_type.add(name=name)
        for each in fields.split(", "):
            called, number, kind = each.split()
            field = message.field.add(name=called, number=int(number))
            field.label = 3 if kind.startswith("*") else 1  # type: ignore[assignment]
            kind = kind.removeprefix("*")
            field.type = KINDS.get(kind, 11)  # type: ignore[assignment]
            if kind not in KINDS:
                field.type_name = f".{kind}"
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("Wrapper"))


Wrapper = published()
CONTRACT = Contract(load("mexc").endpoint("spot"))


def reader(*channels: str) -> Classifier:
    classifier = Classifier(CONTRACT)
    classifier.want(channels or (DEPTH, DEALS, KLINE))
    return classifier


def depth(first: int, last: int, *, levels: int = 2) -> bytes:
    wrapper = Wrapper(channel=DEPTH, symbol="BTCUSDT", sendTime=SENT_MS)
    book = wrapper.publicAggreDepths
    book.fromVersion, book.toVersion = str(first), str(last)
    for number in range(levels):
        book.bids.add(price=str(90_000 - number), quantity="0.10")
        book.asks.add(price=str(90_001 + number), quantity="0.20")
    return bytes(wrapper.SerializeToString())


def deals(*times: int, sent: int | None = SENT_MS) -> bytes:
    wrapper = Wrapper(channel=DEALS, symbol="BTCUSDT", sendTime=sent)
    for at in times:
        wrapper.publicAggreDeals.deals.add(price="1", quantity="2", time=at)
    return bytes(wrapper.SerializeToString())


# --- what is read -----------------------------------------------------------------


@given(
    first=st.integers(1, 2**62),
    span=st.integers(0, 1000),
    levels=st.integers(0, 5),
)
def test_a_change_of_a_book_tells_its_channel_range_and_time(
    first: int, span: int, levels: int
) -> None:
    classifier = reader()
    for _ in range(2):  # the long way, then by the plan
        update = classifier.read(depth(first, first + span, levels=levels))
        assert isinstance(update, Update)
        assert update.channel == DEPTH
        assert (update.first, update.last) == (first, first + span)
        assert update.unix == SENT_MS / 1000
        assert not update.restarts


def test_deals_are_stamped_by_their_sending_and_else_by_the_first_of_them() -> None:
    classifier = reader()
    for _ in range(2):
        sent = classifier.read(deals(SENT_MS - 9, SENT_MS - 7))
        alone = classifier.read(deals(SENT_MS - 9, SENT_MS - 7, sent=None))
        assert isinstance(sent, Update)
        assert isinstance(alone, Update)
        assert (sent.channel, sent.unix) == (DEALS, SENT_MS / 1000)
        assert (alone.channel, alone.unix) == (DEALS, (SENT_MS - 9) / 1000)
        assert sent.last is None


def test_a_message_of_which_the_profile_knows_no_body_has_a_channel_and_a_time() -> (
    None
):
    wrapper = Wrapper(channel=KLINE, sendTime=SENT_MS)
    wrapper.publicSpotKline.interval = "Min15"
    update = reader().read(wrapper.SerializeToString())
    assert isinstance(update, Update)
    assert (update.channel, update.unix) == (KLINE, SENT_MS / 1000)


def test_all_that_the_facts_of_mexc_speak_of_is_described() -> None:
    endpoint = CONTRACT.endpoint
    assert endpoint.sequence is not None
    assert endpoint.timestamps is not None
    named = [stamp.field for stamp in endpoint.timestamps.stamps]
    for rule in endpoint.sequence.rules:
        named += [field for field in fields_of(rule) if field is not None]
    assert len(named) >= 5
    for field in named:
        members = endpoint.decode.message
        for step in parse_field(field):
            if isinstance(step, str):
                member = members[step]
                members = member.message


def fields_of(rule: Rule) -> list[str | None]:
    return [rule.prev, rule.cur, rule.first, rule.last, rule.symbol]


SCALARS = {
    "string": st.text(st.characters(codec="utf-8")),
    "bool": st.booleans(),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    **{
        f"{kind}{bits}": st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        for kind in ("int", "sint", "sfixed")
        for bits in (32, 64)
    },
    **{
        f"{kind}{bits}": st.integers(0, 2**bits - 1)
        for kind in ("uint", "fixed")
        for bits in (32, 64)
    },
}
"""All types but float, of which not every number comes back the same."""


@given(st.data())
def test_what_was_written_is_read_back_zeros_and_empty_texts_too(
    data: st.DataObject,
) -> None:
    kinds = data.draw(st.lists(st.sampled_from([*SCALARS]), min_size=1, max_size=6))
    inner: dict[str, Member] = {}
    told: dict[str, Any] = {}
    for number, kind in enumerate(kinds, 1):
        many = data.draw(st.booleans())
        inner[f"a b-{number}"] = Member(number=number, type=kind, many=many)  # type: ignore[arg-type]
        value = SCALARS[kind]
        told[f"a b-{number}"] = data.draw(
            st.lists(value, min_size=1) if many else value
        )
    codec = Codec(
        {
            "one": Member(number=7, message=inner),
            "all": Member(number=400, message=inner, many=True),
        }
    )
    said = {"one": told, "all": [told, {}, told]}
    assert msgspec.json.decode(codec.opened(codec.packed(said))) == said


# --- what is broken ---------------------------------------------------------------


def is_told_without_a_word_of_it(reading: Reading) -> bool:
    return not isinstance(reading, Malformed) or len(reading.reason) < 80


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    classifier = reader()
    quick, slow = classifier.read(data), classifier.decide(data)
    assert type(quick) is type(slow)
    assert isinstance(quick, Malformed | Update | Unknown)
    assert is_told_without_a_word_of_it(quick)


@given(st.data())
def test_a_message_with_bytes_gone_wrong_raises_nothing(data: st.DataObject) -> None:
    whole = bytearray(depth(5, 7))
    classifier = reader()
    classifier.read(bytes(whole))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    reading = classifier.read(bytes(whole))
    assert isinstance(reading, Malformed | Update | Unknown)
    assert is_told_without_a_word_of_it(reading)


def test_a_message_cut_short_within_a_member_is_malformed() -> None:
    whole, wrapper = depth(5, 7), Wrapper()
    bad = 0
    for length in range(len(whole)):
        reading = reader().read(whole[:length])
        try:
            wrapper.ParseFromString(whole[:length])
            assert isinstance(reading, Malformed) is (length == 0)
        except DecodeError:
            assert isinstance(reading, Malformed)
            bad += 1
    assert bad > 0.9 * len(whole)


VARINT, FIXED64, LENGTH, GROUP, FIXED32 = 0, 1, 2, 3, 5


def varint(value: int) -> bytes:
    text = b""
    while value > 127:
        text += bytes([value & 127 | 128])
        value >>= 7
    return text + bytes([value])


def member(number: int, wire: int, value: bytes) -> bytes:
    return varint(number << 3 | wire) + value


BROKEN = {
    "nothing": b"",
    "a text as a number": member(1, VARINT, b"\x05"),
    "a text as eight bytes": member(1, FIXED64, bytes(8)),
    "a time as a text": depth(1, 2) + member(6, LENGTH, b"\x0212"),
    "a time as four bytes": depth(1, 2) + member(6, FIXED32, bytes(4)),
    "a body as a number": depth(1, 2) + member(313, VARINT, b"\x01"),
    "a version as a number": member(313, LENGTH, b"\x02" + member(4, VARINT, b"\x01")),
    "only what is not known": member(200, VARINT, b"\x01"),
    "an endless varint": member(6, VARINT, b"\xff" * 11),
    "a length past the end": member(1, LENGTH, varint(2**31 - 1) + b"abc"),
    "a length of 2**64": member(1, LENGTH, b"\xff" * 9 + b"\x01"),
    "text that is no UTF-8": member(1, LENGTH, b"\x02\xc3\x28"),
    "the number zero": member(0, VARINT, b"\x01"),
    "a wire type that is none": b"\x0e",
    "a group without end": member(99, GROUP, b""),
    "groups within each other": member(99, GROUP, b"") * 100_000,
    "too long": depth(1, 2) + member(99, LENGTH, varint(1 << 20) + bytes(1 << 20)),
    "too many deals": deals(*[1] * 20_001),
    "JSON": b'{"channel":"spot@public.aggre.depth.v3.api.pb@100ms@BTCUSDT"}',
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_malformed_and_what_follows_is_read(case: str) -> None:
    classifier = reader()
    for _ in range(2):
        assert isinstance(classifier.read(BROKEN[case]), Malformed)
        assert isinstance(classifier.decide(BROKEN[case]), Malformed)
        assert isinstance(classifier.read(depth(3, 4)), Update)


# --- the simulator ----------------------------------------------------------------


@pytest.mark.parametrize("channel", [DEPTH, DEALS])
def test_the_simulator_sends_what_the_published_schema_reads(channel: str) -> None:
    talk = Talk("mexc/spot")
    talk.subscribe([channel])
    talk.venue.burst(channel, 3, now=talk.now)
    frames = [out for out in talk.link.drain() if isinstance(out, Frame)]
    assert [frame.opcode for frame in frames] == [Opcode.BINARY] * 3
    last = None
    for frame in frames:
        said = Wrapper.FromString(frame.payload)
        assert said.channel == channel
        assert said.sendTime > 1_700_000_000_000
        bodies = {f.name for f, _ in said.ListFields() if f.message_type is not None}
        if channel == DEALS:
            assert bodies == {"publicAggreDeals"}
            continue
        assert bodies == {"publicAggreDepths"}
        book = said.publicAggreDepths
        assert said.symbol == "BTCUSDT"
        assert last is None or int(book.fromVersion) == last + 1
        last = int(book.toVersion)


def test_control_messages_of_the_simulator_stay_text() -> None:
    talk = Talk("mexc/spot")
    said = talk.subscribe([DEPTH])
    assert [type(each).__name__ for each in said] == ["Acked"]
    assert len(updates(talk.emit(DEPTH, 2))) == 2


@in_loop
async def test_a_gap_in_the_versions_is_told_and_a_snapshot_by_rest_closes_it() -> None:
    events: list[Any] = []
    items: list[Any] = []
    async with VenueServer("mexc", "spot", rate=100.0) as server:
        venue = Venue(
            name="mexc",
            endpoint="spot",
            channels=[DEPTH],
            snapshots=Snapshots(rest=server.http_url, rates=(), backoff=FAST),
        )
        stream = heartline.connect(
            server.url, venue=venue, backoff=FAST, on_event=events.append
        )

        async def read() -> None:
            async for item in stream:
                items.append(item)

        async def until(what: Any, of: str) -> None:
            end = time.monotonic() + 20.0
            while not what():
                assert time.monotonic() < end, f"never: {of}\n{events}"
                await asyncio.sleep(0.005)

        def messages() -> list[Message]:
            every = [i for i in items if isinstance(i, Message)]
            return [i for i in every if not i.snapshot]

        async with stream:
            reading = asyncio.create_task(read())
            await until(lambda: len(messages()) > 5, "messages")
            await server.drop(DEPTH, 2)
            await until(
                lambda: any(isinstance(e, GapClosed) for e in events), "it is closed"
            )
            before = len(messages())
            await until(lambda: len(messages()) > before, "it goes on")
            live = stream.status.live
            reading.cancel()
    gaps = [(i.reason, i.channel) for i in items if isinstance(i, Gap)]
    assert gaps == [("sequence", DEPTH)]
    assert [e.by for e in events if isinstance(e, GapClosed)] == ["snapshot"]
    assert live
    assert all(isinstance(i.data, bytes) for i in messages())


# --- the command line -------------------------------------------------------------


def test_the_venue_is_explained_with_the_members_and_what_they_need() -> None:
    said = CliRunner().invoke(app, ["venues", "mexc", "--endpoint", "spot"])
    flat = " ".join(said.output.replace("│", " ").split())
    assert said.exit_code == 0
    assert "heartline[protobuf]" in flat
    assert "channel = 1, string" in flat
    assert "publicAggreDepths = 313, (fromVersion = 4, string" in flat


def test_a_binary_recording_is_audited(tmp_path: Path) -> None:
    ranges = [(10 * n + 1, 10 * n + 10) for n in range(40) if n not in (20, 21)]
    frames = [
        CapturedFrame(1_767_225_600.0 + 0.1 * number, "in", depth(first, last))
        for number, (first, last) in enumerate(ranges)
    ]
    path = tmp_path / "mexc.jsonl.gz"
    write_capture(Capture(tuple(frames)), path)
    said = CliRunner().invoke(app, ["audit", str(path), "--venue", "mexc", "--json"])
    told = msgspec.json.decode(said.output)
    assert (told["data"], told["malformed"]["count"]) == (38, 0)
    (channel,) = told["channels"]
    assert (channel["channel"], channel["rule"]) == (DEPTH, "range")
    (gap,) = channel["gaps"]
    assert (gap["first"], gap["last"]) == (201, 220)


# --- without the library ----------------------------------------------------------


def test_without_the_library_a_venue_that_needs_it_is_refused_before_the_dial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "heartline.venue.protobuf")
    monkeypatch.setitem(sys.modules, "google.protobuf.descriptor_pb2", None)
    with pytest.raises(UsageError, match=r"heartline\[protobuf\]"):
        Venue(name="mexc", channels=[DEPTH])
    with pytest.raises(UsageError, match=r"heartline\[protobuf\]"):
        VenueServer("mexc")
    assert Venue(name="mexc", endpoint="futures").name == "mexc"
    assert "[protobuf]" in CliRunner().invoke(app, ["venues", "mexc"]).output


def test_whoever_needs_no_protobuf_does_not_load_it() -> None:
    text = (
        "import sys, heartline; heartline.Venue(name='deribit');"
        "print(any(name.startswith('google') for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


# --- the file ---------------------------------------------------------------------

MINE = """
name = "mine"
title = "Mine"

[endpoints.main]
product = "all"

[endpoints.main.address]
url = "wss://example.org/ws"
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.liveness]
ws_ping_out = [{}]
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.decode]
payload = "protobuf"
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.decode.message]
channel = { number = 1, type = "string" }
body = { number = 2, message = { seq = { number = 1, type = "uint64" } } }
"""

CHANNEL = 'channel = { number = 1, type = "string" }'
CONTRADICTIONS = {
    "members of no protobuf": ('"protobuf"', '"text"', "decode.message", "no others"),
    "a word that is no type": ('"string"', '"text"', "channel.type", "string"),
    "no type": (', type = "string"', "", "message.channel", "type or message"),
    "both": ('= 2, message', '= 2, type = "bool", message', "body", "type or message"),
    "a number twice": ("number = 2", "number = 1", "body.number", "of its own"),
    "a number kept": ("number = 2", "number = 19500", "body.number", "19000"),
    "a number of none": ("number = 2", "number = 0", "body.number", "1"),
    "a number too large": ("number = 2", "number = 536870912", "body.number", "5368"),
    "an unknown key": ("number = 2", "number = 2, of = 1", "body.of", "many"),
    "nested too deep": (
        CHANNEL,
        "a = " + "{ number = 1, message = { a = " * 13 + "{ number = 1, "
        'type = "bool" }' + " } }" * 13,
        "message",
        "within each other",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_description_that_cannot_be_is_refused_with_its_key(
    case: str, tmp_path: Path
) -> None:
    old, new, key, wanted = CONTRADICTIONS[case]
    assert old in MINE
    path = tmp_path / "mine.toml"
    path.write_text(MINE.replace(old, new, 1))
    with pytest.raises(VenueError) as caught:
        load(str(path))
    assert caught.value.key.endswith(key)
    assert wanted in str(caught.value)


def test_a_description_of_ones_own_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    codec = Codec(load(str(path)).endpoint().decode.message)
    said = {"channel": "a", "body": {"seq": 2**64 - 1}}
    assert msgspec.json.decode(codec.opened(codec.packed(said))) == said


def test_protobuf_without_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE.partition("[endpoints.main.decode.message]")[0])
    with pytest.raises(VenueError, match=r"decode\.message"):
        load(str(path))
