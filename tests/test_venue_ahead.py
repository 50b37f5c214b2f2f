"""What is seen of messages ahead of their turn changes nothing of what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from bench.venues import SOURCES, Owner, made
from hypothesis import given
from hypothesis import strategies as st

from heartline.client.contract import Venue
from heartline.client.desk import Desk
from heartline.client.usual import pure_take_all, take_all
from heartline.compiled import compiled
from heartline.core.gaps import Ledger
from heartline.venue.ahead import Ahead, PureAhead
from heartline.venue.classify import Classifier, Contract
from heartline.venue.load import load
from heartline.venue.reading import Reading, Source, Update

SOURCE = SOURCES["coinbase"]
CHANNELS = 3
NAMES = [SOURCE.form.format(number) for number in range(CHANNELS)]
CONTRACT = Contract(load(SOURCE.venue).endpoint(SOURCE.endpoint))
ORDERLY = made(SOURCE, [number % CHANNELS for number in range(40 * CHANNELS)])
ODD = [
    "no JSON",
    "[]",
    "{}",
    '{"type":"match"}',
    '{"type":"match","product_id":[1]}',
    '{"type":"match","product_id":"COIN0-USD","sequence":"x","time":"y"}',
    '{"type":"match","product_id":"COIN1-USD","sequence":7}',
    '{"type":"heartbeat","sequence":90,"product_id":"COIN1-USD"}',
    '{"type":"error","message":"no"}',
    '{"type":"subscriptions","channels":[{"name":"matches",'
    '"product_ids":["COIN0-USD","COIN1-USD"]}]}',
    b"\xff",
]

messages = st.one_of(st.sampled_from(ORDERLY), st.sampled_from(ODD))
orders = st.lists(
    st.one_of(
        messages,
        st.tuples(st.sampled_from(["want", "unwant"]), st.sampled_from(NAMES)),
    ),
    max_size=30,
)


def plain(reading: Any) -> Any:
    """Comparable by value: sources are compared by identity else."""
    return type(reading).__name__, msgspec.to_builtins(reading)


def act(classifier: Classifier, order: tuple[str, str]) -> None:
    getattr(classifier, order[0])([order[1]])


@given(orders)
def test_messages_seen_ahead_are_told_as_one_by_one(orders: list[Any]) -> None:
    ahead, single = Classifier(CONTRACT), Classifier(CONTRACT)
    data = [each for each in orders if not isinstance(each, tuple)]
    readings = ahead.readings(data)
    for each in orders:
        if isinstance(each, tuple):
            act(ahead, each)
            act(single, each)
        else:
            assert plain(next(readings)) == plain(single.read(each))
    assert next(readings, None) is None
    assert next(readings, None) is None


def test_a_plan_that_was_dropped_is_not_followed_by_what_was_seen_ahead() -> None:
    classifier = Classifier(CONTRACT)
    same = [ORDERLY[0]] * 6
    before = _source(next(classifier.readings(same)))
    sources: list[object] = []
    for number, each in enumerate(classifier.readings(same)):
        if number == 2:
            classifier.want([NAMES[0]])
        sources.append(_source(each))
    assert all(source is before for source in sources[:3])
    assert all(source is not before for source in sources[3:])


def test_each_of_many_channels_is_read_by_its_own_plan() -> None:
    ahead, single = Classifier(CONTRACT), Classifier(CONTRACT)
    data = made(SOURCE, [number % 500 for number in range(1_000)])
    several = [plain(each) for each in ahead.readings(data)]
    assert several == [plain(single.read(each)) for each in data]
    again = [_source(each) for each in ahead.readings(data)]
    assert again[:500] == again[500:]
    assert len(set(again)) == 500
    ahead.want([NAMES[0]])
    assert not set(again) & {_source(each) for each in ahead.readings(data)}


class Frame(msgspec.Struct, frozen=True):
    key: str


@given(st.lists(st.text(max_size=20), unique=True, max_size=200))
def test_a_plan_that_was_kept_is_found_by_what_is_written_as_its_key(
    keys: list[str],
) -> None:
    decode = msgspec.json.Decoder(Frame).decode
    missed: list[str] = []

    def read(data: str | bytes) -> Any:
        missed.append(decode(data).key)
        return missed[-1]

    def follow(frame: Frame, plan: tuple[Any, ...]) -> Any:
        return plan[1]

    plans: dict[Any, Any] = {}
    ahead = Ahead(read, decode, plans, (("key",),))
    for key in keys:
        plans[key] = (follow, key)
        ahead.keep(plans, key, plans[key])
    data: list[str | bytes] = [msgspec.json.encode(Frame(key)) for key in keys]
    strange = msgspec.json.encode(Frame("so long that none of the keys is it"))
    assert list(ahead.readings([*data, strange]))[:-1] == keys
    if Ahead is not PureAhead:
        assert len(missed) == 1


def _source(reading: Reading) -> Source:
    assert isinstance(reading, Update)
    return reading.source


@pytest.mark.skipif(compiled("venue._ahead") is None, reason="nothing is compiled")
def test_what_was_compiled_is_used() -> None:
    assert Ahead is not PureAhead
    assert take_all is not pure_take_all
    assert isinstance(Classifier(CONTRACT)._ahead, Ahead)  # pyright: ignore[reportPrivateUsage]


# --- what comes of it -------------------------------------------------------------

jumps = st.lists(
    st.tuples(st.integers(0, CHANNELS - 1), st.sampled_from([1, 1, 1, 1, 2, 0, -3])),
    max_size=40,
)
reads = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def numbered(jumps: list[tuple[int, int]]) -> list[str | bytes]:
    last = [100] * CHANNELS
    texts: list[str | bytes] = []
    for channel, jump in jumps:
        last[channel] += jump
        document = {
            "type": "match",
            "product_id": f"COIN{channel}-USD",
            "sequence": last[channel],
            "time": "2023-11-14T22:13:20.010000Z",
        }
        texts.append(msgspec.json.encode(document).decode())
    return texts


def taken(way: Callable[..., None], data: list[str | bytes], sizes: list[int]) -> Any:
    """All that a desk makes of these messages, and what its ledger says then."""
    loop = asyncio.new_event_loop()
    now = [1000.0]
    desk = Desk(
        Venue(name=SOURCE.venue, endpoint=SOURCE.endpoint, snapshots=None),
        Owner(),  # type: ignore[arg-type]
        ledger=(ledger := Ledger()),
        loop=loop,
        clock=lambda: now[0],
    )
    items: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heartline.client.conversation.take_all", way)
        desk.begin(1, {})
        desk.want(NAMES)
        # Each text has its turn within reads of these sizes, again and again.
        turn = at = 0
        while at < len(data):
            size = sizes[turn % len(sizes)]
            now[0] += 0.001
            items += desk.read(1, data[at : at + size], age=0.0, now=now[0])
            at, turn = at + size, turn + 1
    desk.alarm.stop()
    loop.close()
    gaps = [ledger.open_gaps(name) for name in NAMES]
    return items, gaps, desk.feed.unknown, desk.feed.malformed


@given(
    st.tuples(jumps, st.lists(st.sampled_from(ODD), max_size=4), st.randoms()), reads
)
def test_a_read_is_taken_alike_by_both(play: Any, sizes: list[int]) -> None:
    steps, odd, random = play
    data = numbered(steps)
    for each in odd:
        data.insert(random.randint(0, len(data)), each)
    assert taken(take_all, data, sizes) == taken(pure_take_all, data, sizes)
