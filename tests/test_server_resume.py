"""heartline.v1: whoever comes back gets what it missed, or is told what is gone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import heartline
from heartline.client.resume import HEADERS, Numbered, Resumption
from heartline.core.items import Gap, Message
from heartline.wire import resume as wire
from heartline.wire.resume import History
from loopback import until
from server_kit import ask, heard, in_loop, joined, only, speaking

# --- the history, pure -------------------------------------------------------------


@given(
    gaps=st.lists(st.floats(min_value=0.0, max_value=5.0), max_size=60),
    sizes=st.integers(min_value=1, max_value=40),
    offset=st.integers(min_value=0, max_value=60),
    messages=st.integers(min_value=0, max_value=20),
    size_bytes=st.integers(min_value=0, max_value=400),
    window=st.floats(min_value=0.0, max_value=30.0),
)
def test_what_was_sent_is_kept_or_told_gone_for_any_place_one_comes_back_from(
    gaps: list[float],
    sizes: int,
    offset: int,
    messages: int,
    size_bytes: int,
    window: float,
) -> None:
    limits = heartline.Resume(window=window, messages=messages, size_bytes=size_bytes)
    history: History[int] = History(limits)
    now, ats = 0.0, list[float]()
    for number, gap in enumerate(gaps, 1):
        now += gap
        ats.append(now)
        history.append(number, sizes, now=now)
    offset = min(offset, len(gaps))
    missed = history.after(offset, now=now)
    gone: list[int] = []
    if missed.first is not None:
        assert missed.last is not None
        gone = list(range(missed.first, missed.last + 1))
        assert gone
    assert gone + missed.messages == list(range(offset + 1, len(gaps) + 1))
    assert len(missed.messages) <= messages
    assert len(missed.messages) * sizes <= size_bytes
    assert all(ats[number - 1] >= now - window for number in missed.messages)


def test_an_offset_that_was_never_given_is_refused() -> None:
    history: History[int] = History(heartline.Resume())
    with pytest.raises(heartline.UsageError, match="0 to 0"):
        history.after(1, now=0.0)


@given(
    frame=st.one_of(
        st.builds(
            wire.Subscribe,
            channel=st.text(min_size=1, max_size=20),
            epoch=st.just("e"),
            offset=st.integers(min_value=0, max_value=1 << 50),
        ),
        st.builds(wire.Unsubscribe, channel=st.text(min_size=1, max_size=20)),
        st.just(wire.Ask()),
    )
)
def test_what_a_client_says_is_read_as_it_was_meant(frame: wire.Subscribe) -> None:
    assert wire.decode_client(wire.encode(frame)) == frame


@given(said=st.one_of(st.text(max_size=60), st.binary(max_size=60)))
def test_any_other_words_are_an_error_with_a_name(said: str | bytes) -> None:
    for decode in (wire.decode_client, wire.decode_server):
        with pytest.raises(heartline.WireError) as caught:
            decode(said)
        assert caught.value.cause == heartline.Cause.PROTOCOL
        told = str(caught.value).removeprefix(heartline.Cause.PROTOCOL)
        assert len(said) < 8 or str(said) not in told


# --- the client's memory, pure -------------------------------------------------------

ACTIONS = st.lists(
    st.sampled_from(["publish", "publish", "drop", "cut", "restart"]), max_size=60
)


@given(actions=ACTIONS, kept=st.integers(min_value=0, max_value=5))
def test_sent_is_received_and_told_missing_for_any_cuts_drops_and_restarts(
    actions: list[str], kept: int
) -> None:
    """A server's history, a link that loses messages, and a client's memory."""
    limits = heartline.Resume(messages=kept)
    epochs = {"e0": History[bytes](limits)}
    epoch, place = "e0", Resumption(["c"])
    accounted: dict[str, list[int]] = {"e0": []}

    def hear(text: bytes) -> None:
        for news in place.take(Message(text.decode(), 0.0)):
            if isinstance(news, Numbered):
                accounted[news.of_epoch].append(news.offset)
            elif isinstance(news, Gap) and news.last is not None:
                assert news.first is not None
                accounted[epoch] += range(news.first, news.last + 1)

    def connect() -> None:
        asked: dict[str, Any] = json.loads(place.opening()[0])
        history = epochs[epoch]
        subscribed = wire.SubscribedFrame(channel="c", epoch=epoch, offset=history.head)
        hear(wire.encode(subscribed))
        if "offset" not in asked:
            return
        same = asked["epoch"] == epoch
        missed = history.after(asked["offset"] if same else 0, now=0.0)
        if missed.first is not None:
            gap = wire.GapFrame(
                reason="history", channel="c", first=missed.first, last=missed.last
            )
            hear(wire.encode(gap))
        for text in missed.messages:
            hear(text)

    connect()
    for action in actions:
        history = epochs[epoch]
        if action in ("publish", "drop"):
            text = wire.message_text("c", history.head + 1, "x")
            history.append(text, 1, now=0.0)
            if action == "publish":
                hear(text)
        elif action == "restart":
            epoch = f"e{len(epochs)}"
            epochs[epoch], accounted[epoch] = History(limits), []
            connect()
        else:
            connect()
    connect()
    assert accounted[epoch] == list(range(1, epochs[epoch].head + 1))
    for numbers in accounted.values():
        assert numbers == list(range(1, len(numbers) + 1))


# --- on real sockets ---------------------------------------------------------------


async def come_back(server: heartline.Server, **place: Any) -> list[dict[str, Any]]:
    """Subscribe from a place; all frames until a beat that was asked for."""
    async with speaking(server.url) as link:
        await heard(link, "terms")
        await ask(link, "subscribe", channel="book", **place)
        await ask(link, "beat")
        told: list[dict[str, Any]] = []
        while not told or told[-1]["type"] != "beat":
            told.append(json.loads(await link.recv()))
        return told[:-1]


@in_loop
async def test_a_client_that_returns_gets_what_it_missed() -> None:
    async with heartline.serve() as server:
        for number in range(1, 6):
            server.publish("book", number)
        told = await come_back(server, epoch=server.epoch, offset=2)
        assert told[0] == {
            "type": "subscribed",
            "channel": "book",
            "epoch": server.epoch,
            "offset": 5,
        }
        assert [(m["offset"], m["data"]) for m in told[1:]] == [(3, 3), (4, 4), (5, 5)]
        assert (await come_back(server, epoch=server.epoch, offset=5))[1:] == []
        assert (await come_back(server))[1:] == []


@in_loop
async def test_what_is_no_longer_kept_is_told_as_a_gap_with_its_numbers() -> None:
    async with heartline.serve(resume=heartline.Resume(messages=2)) as server:
        for number in range(1, 11):
            server.publish("book", number)
        told = await come_back(server, epoch=server.epoch, offset=3)
        assert told[1] == {
            "type": "gap",
            "reason": "history",
            "channel": "book",
            "epoch": server.epoch,
            "first": 4,
            "last": 8,
            "missing": 5,
        }
        assert [m["offset"] for m in told[2:]] == [9, 10]


@in_loop
async def test_of_an_epoch_that_ended_nothing_is_known_but_where_it_was_left() -> None:
    async with heartline.serve() as server:
        server.publish("book", 1)
        told = await come_back(server, epoch="other", offset=41)
        assert told[1] == {
            "type": "gap",
            "reason": "epoch",
            "channel": "book",
            "epoch": "other",
            "first": 42,
        }
        assert [m["offset"] for m in told[2:]] == [1]


@in_loop
async def test_a_numbering_has_a_name_only_once_the_server_runs() -> None:
    # Made before a fork, it would run twice: two numberings need two names.
    server = heartline.serve(port=0)
    assert server.epoch == ""
    async with server:
        assert len(server.epoch) == 12


@pytest.mark.parametrize("offset", [-1, 99])
def test_a_place_that_cannot_be_is_refused(offset: int) -> None:
    @in_loop
    async def run() -> None:
        async with heartline.serve() as server:
            server.publish("book", 1)
            told = await come_back(server, epoch=server.epoch, offset=offset)
            assert [frame["type"] for frame in told] == ["refused"]

    run()


@in_loop
async def test_our_own_client_resumes_by_itself_and_misses_nothing() -> None:
    place, got = Resumption(["book"]), list[Any]()
    backoff = heartline.Backoff(base=0.02, cap=0.1, gentle_base=0.1)

    async def read() -> None:
        async for item in place.items(stream):
            got.append(item)

    def offsets() -> list[int]:
        return [item.offset for item in got if isinstance(item, Numbered)]

    async with heartline.serve() as server:
        stream = heartline.connect(
            server.url, headers=HEADERS, on_open=place.opening, backoff=backoff
        )
        async with stream:
            reading = asyncio.create_task(read())
            await until(lambda: place.place("book")[0] is not None, "subscribed")
            for number in range(1, 4):
                server.publish("book", number)
            await until(lambda: offsets() == [1, 2, 3], "live data")
            only(server).abort("a cut")
            for number in range(4, 8):
                server.publish("book", number)
            await until(lambda: len(offsets()) >= 7, "what was missed")
            only(server).abort("another")
            await joined(server, 0)
            server.publish("book", 8)
            await until(lambda: len(offsets()) >= 8, "what was missed then")
        await reading
        assert place.terms is not None
        assert place.terms.epoch == server.epoch
    assert offsets() == list(range(1, 9))
    assert [json.loads(m.data) for m in got if isinstance(m, Numbered)] == offsets()
    # Told by time, as for any stream; by number nothing is missing.
    assert all(item.first is None for item in got if isinstance(item, Gap))
