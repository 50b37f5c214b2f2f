"""Readers of a relay: their channels, in order; what late ones start from; pages."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

import heartline
from heartline.core.channel_events import ChannelLive, SubscriptionFailed
from heartline.core.events import ChannelRevived, ChannelStalled, Event
from heartline.relay import GapNote, Relay, heard
from heartline.relay.notes import of_channel
from loopback import until
from relay_kit import BOOK, OTHER, Deribit, reading, relaying
from server_kit import RawClient, ask, dial, in_loop


async def page(relay: Relay, path: str) -> tuple[int, str, str]:
    """Status, head and body of a plain HTTP request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.server.port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ", 2)[1]), head, body


@in_loop
async def test_each_reader_gets_its_channels_whole_and_numbered() -> None:
    async with (
        relaying(BOOK, OTHER) as (venue, relay),
        reading(relay.url, BOOK) as one,
        reading(relay.url, OTHER) as other,
        reading(relay.url, BOOK, OTHER) as both,
    ):
        for reader, count in ((one, 1), (other, 1), (both, 2)):
            await until(lambda r=reader, n=count: len(r.of("subscribed")) == n, "there")
        for _ in range(20):
            await venue.change(BOOK)
            await venue.change(OTHER)
        await until(lambda: len(both.data(OTHER)) == 20, "all of it")
        await until(lambda: len(one.data(BOOK)) == len(other.data(OTHER)) == 20, "all")
        # The snapshots came before anybody read.
        assert one.data(BOOK) == both.data(BOOK) == venue.said[BOOK][1:]
        assert other.data(OTHER) == both.data(OTHER) == venue.said[OTHER][1:]
        assert one.data(OTHER) == other.data(BOOK) == []
        assert one.offsets(BOOK) == both.offsets(BOOK) == list(range(2, 22))
        (status,) = one.notes("status")
        assert status["live"] is True
        assert heard(heartline.Message(json.dumps(status), 0.0)) == relay.status
        account = relay.accounts[BOOK]
        assert (account.messages, account.offset) == (len(venue.said[BOOK]), 21)


@in_loop
async def test_a_late_reader_starts_from_the_snapshot_and_all_that_followed() -> None:
    async with relaying(BOOK) as (venue, relay):
        for _ in range(3):
            await venue.change(BOOK)
        await until(lambda: relay.accounts[BOOK].messages == 4, "all relayed")
        async with reading(relay.url, BOOK) as late:
            await until(lambda: bool(late.of("subscribed")), "subscribed")
            await venue.change(BOOK)
            await until(lambda: len(late.data(BOOK)) == 1, "what follows")
        (state,) = late.notes("state")
        assert state["offset"] == late.of("subscribed")[0]["offset"] == 4
        assert state["messages"] + late.data(BOOK) == venue.said[BOOK]
        async with dial(f"{relay.url}?channels={BOOK}") as plain:
            assert [await plain.recv() for _ in range(5)] == venue.said[BOOK]


@in_loop
async def test_after_a_gap_a_late_reader_is_given_nothing_that_is_not_whole() -> None:
    async with relaying(BOOK) as (venue, relay), reading(relay.url, BOOK) as reader:
        await until(lambda: bool(reader.of("subscribed")), "subscribed")
        last = venue.last[BOOK]
        await venue.change(BOOK, skip=2)
        await until(lambda: bool(reader.notes("gap", BOOK)), "the gap")
        (gap,) = reader.notes("gap", BOOK)
        note = heard(heartline.Message(json.dumps(gap), 0.0, BOOK))
        assert isinstance(note, GapNote)
        assert (note.reason, note.first, note.channel) == ("sequence", last + 1, BOOK)
        # Asked for anew, the book is whole again, and the gap is closed.
        await until(lambda: bool(reader.notes("closed", BOOK)), "closed")
        offsets = reader.offsets(BOOK)
        assert offsets == list(range(offsets[0], offsets[-1] + 1))
        async with reading(relay.url, BOOK) as late:
            await until(lambda: bool(late.of("subscribed")), "subscribed")
        (state,) = late.notes("state")
        assert state["messages"] == venue.said[BOOK][-1:]


@in_loop
async def test_who_was_away_gets_what_it_missed_and_the_gap_at_its_place() -> None:
    async with relaying(BOOK) as (venue, relay):
        await until(lambda: relay.accounts[BOOK].messages == 1, "the snapshot")
        await venue.change(BOOK)
        await venue.change(BOOK, skip=1)
        # The jump makes the book be asked for anew: a snapshot closes the gap.
        await until(lambda: relay.accounts[BOOK].messages == 4, "all relayed")
        await until(lambda: relay.accounts[BOOK].notes == 2, "gap and closed")
        place = {"epoch": relay.server.epoch, "offset": 1}
        async with reading(relay.url) as reader:
            await ask(reader.link, "subscribe", channel=BOOK, **place)
            await until(lambda: len(reader.data(BOOK)) == 3, "what was missed")
            await until(lambda: bool(reader.notes("closed", BOOK)), "closed")
        assert reader.data(BOOK) == venue.said[BOOK][1:]
        assert reader.offsets(BOOK) == [2, 3, 4, 5, 6]
        numbered = [m for m in reader.of("message") if m.get("channel")]
        assert isinstance(numbered[1]["data"], dict)
        assert numbered[1]["data"]["relay"] == "gap"


@in_loop
async def test_an_upstream_that_refuses_for_good_ends_the_relay() -> None:
    async with (
        heartline.serve(authorize=lambda request: False) as upstream,
        Relay(upstream.url) as relay,
    ):
        with pytest.raises(heartline.GaveUp, match="401"):
            await relay.wait_closed()
        assert (await page(relay, "/healthz"))[0] == 503


@in_loop
async def test_a_relay_that_fails_is_live_to_nobody_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with relaying(BOOK) as (venue, relay), reading(relay.url, BOOK) as reader:
        await until(lambda: bool(reader.notes("state")), "the state")

        def fails(*args: object, **kwargs: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(relay._states, "take", fails)
        await venue.change(BOOK)
        with pytest.raises(ZeroDivisionError):
            await relay.wait_closed()
        assert (await page(relay, "/healthz"))[0] == 503
        await until(lambda: not reader.notes("status")[-1]["live"], "told")


@in_loop
async def test_a_channel_nobody_read_yet_is_asked_for_and_kept() -> None:
    async with relaying(BOOK) as (venue, relay), reading(relay.url, OTHER) as reader:
        await until(lambda: len(reader.data(OTHER)) == 1, "its snapshot")
        assert venue.asked == [BOOK, OTHER]
        assert reader.data(OTHER) == venue.said[OTHER]
        async with reading(relay.url, OTHER) as second:
            await until(lambda: bool(second.notes("state")), "the state")
        assert venue.asked == [BOOK, OTHER]


@in_loop
async def test_what_cannot_be_had_is_refused() -> None:
    async with relaying(BOOK, most_channels=2) as (_, relay):
        async with reading(relay.url, OTHER, "book.C.100ms") as reader:
            await until(lambda: bool(reader.of("refused")), "too many")
            assert reader.of("refused")[0]["channel"] == "book.C.100ms"
            assert [s["channel"] for s in reader.of("subscribed")] == [OTHER]
        with pytest.raises(InvalidStatus) as caught:
            async with dial(f"{relay.url}?channels={BOOK},book.D.100ms"):
                pass
        assert caught.value.response.status_code == 404


@pytest.mark.parametrize(
    ("event", "live", "cause"),
    [
        (SubscriptionFailed(at=9, epoch=1, channel="c", reason="no", attempts=3), 0, 1),
        (ChannelStalled(at=9, epoch=1, channel="c", silence=2, contract=1), 0, 2),
        (ChannelRevived(at=9, epoch=1, channel="c", after=2), 1, 0),
        (ChannelLive(at=9, epoch=1, channel="c", after=2, acknowledged=True), 1, 0),
    ],
    ids=["refused", "stalled", "revived", "live"],
)
def test_how_a_channel_stands_is_told_as_a_note(
    event: Event, live: int, cause: int
) -> None:
    note = of_channel(event, lambda at: f"{at:g}")
    assert note is not None
    causes = (None, heartline.Cause.REFUSED, heartline.Cause.CHANNEL_STALLED)
    assert (note.channel, note.at) == ("c", "9")
    assert (note.live, note.cause) == (bool(live), causes[cause])
    assert note.since == ("7" if cause == 2 else None)


@in_loop
async def test_a_stalled_channel_is_told_in_it_until_it_has_data_again() -> None:
    """What the stream tells of a channel, put in where the stream puts it."""
    now = asyncio.get_running_loop().time()
    stalled = ChannelStalled(at=now, epoch=1, channel=BOOK, silence=2.0, contract=1.0)
    revived = ChannelRevived(at=now, epoch=1, channel=BOOK, after=3.0)
    live = ChannelLive(at=now, epoch=1, channel=BOOK, after=3.0, acknowledged=True)
    async with relaying(BOOK) as (venue, relay), reading(relay.url, BOOK) as reader:
        await until(lambda: bool(reader.of("subscribed")), "subscribed")
        relay._heed(stalled)
        await venue.change(BOOK)
        await until(lambda: len(reader.notes("channel", BOOK)) == 1, "the stall")
        async with reading(relay.url, BOOK) as late:
            await until(lambda: bool(late.of("subscribed")), "subscribed")
            assert late.notes("channel") == reader.notes("channel", BOOK)
        relay._heed(revived)
        relay._heed(live)
        await venue.change(BOOK)
        await venue.change(BOOK)
        await until(lambda: len(reader.notes("channel", BOOK)) == 2, "its end")
        await until(lambda: reader.data(BOOK)[-1] == venue.said[BOOK][-1], "data")
        told = [note["live"] for note in reader.notes("channel", BOOK)]
        assert told == [False, True]
        async with reading(relay.url, BOOK) as late:
            await until(lambda: bool(late.of("subscribed")), "subscribed")
            assert late.notes("channel") == []


@in_loop
async def test_plain_clients_get_the_messages_as_they_are() -> None:
    async with (
        relaying(BOOK, OTHER) as (venue, relay),
        dial(relay.url) as everything,
        dial(f"{relay.url}?channels={OTHER}&notes=1") as other,
    ):
        await until(lambda: relay.server.status.clients == 2, "both")
        assert json.loads(await other.recv())["relay"] == "status"
        assert json.loads(await other.recv())["relay"] == "state"
        said = [await everything.recv(), await everything.recv()]
        assert said == [venue.said[BOOK][0], venue.said[OTHER][0]]
        await venue.change(BOOK)
        await venue.change(OTHER, skip=1)
        assert await everything.recv() == venue.said[BOOK][1]
        assert await everything.recv() == venue.said[OTHER][1]
        assert json.loads(await other.recv())["relay"] == "gap"
        assert await other.recv() == venue.said[OTHER][1]


@in_loop
async def test_a_reader_that_does_not_read_delays_nobody() -> None:
    """8 MB, more than the kernel takes: its backlog drops, the other has it all."""
    small = heartline.Inbox(limit=4, limit_bytes=1 << 20)
    async with (
        relaying(BOOK, slow=small) as (venue, relay),
        reading(relay.url, BOOK) as reader,
    ):
        await until(lambda: bool(reader.of("subscribed")), "subscribed")
        stuck = RawClient(relay.server.port, receive_buffer=4096)
        await stuck.open(path=f"/?channels={BOOK}")
        await until(lambda: relay.server.status.clients == 2, "both")
        venue_link = venue.link
        assert venue_link is not None
        params: dict[str, Any] = {"channel": BOOK, "data": {"padding": "x" * 100_000}}
        padded = json.dumps({"method": "subscription", "params": params})
        for count in range(1, 81):
            await venue_link.send(padded)
            await until(lambda n=count: len(reader.data(BOOK)) == n, "the next")
        assert relay.server.status.slow == 1
        assert relay.server.status.clients == 2
        assert reader.of("gap") == []
        stuck.close()


@in_loop
async def test_pages_tell_how_the_upstream_stands() -> None:
    async with relaying(BOOK) as (venue, relay), reading(relay.url, BOOK) as reader:
        status, head, body = await page(relay, "/healthz")
        told = json.loads(body)
        assert (status, told["status"], told["cause"]) == (200, "LIVE", None)
        assert "application/json" in head
        assert told["since"].endswith("Z")
        await venue.close()
        await until(lambda: not reader.notes("status")[-1]["live"], "told")
        status, _, body = await page(relay, "/healthz")
        told = json.loads(body)
        assert (status, told["status"]) == (503, "NOT LIVE")
        assert told["cause"] in ("RESET", "CLOSED_BY_PEER", "REFUSED")
        await venue.open(int(venue.url.rsplit(":", 1)[1].strip("/")))
        await until(lambda: reader.notes("status")[-1]["live"], "live again")
        assert (await page(relay, "/healthz"))[0] == 200
        status, head, body = await page(relay, "/metrics")
        assert status == 200
        assert "text/plain" in head
        assert "heartline_relay_clients 1.0" in body
        assert f'heartline_live{{stream="{venue.url[5:-1]}"}} 1.0' in body
        assert "heartline_outages_total" in body
        _, _, body = await page(relay, "/channels")
        assert json.loads(body)[BOOK]["messages"] == len(venue.said[BOOK])


@in_loop
async def test_closing_tells_the_readers_and_leaves_within_a_second() -> None:
    venue = Deribit()
    await venue.open()
    relay = Relay(venue.url, [BOOK], venue="deribit")
    loop = asyncio.get_running_loop()
    async with relay, reading(relay.url, BOOK) as reader, dial(relay.url) as plain:
        await until(lambda: relay.server.status.clients == 2, "both")
        # One that never answers the closing handshake.
        stuck = RawClient(relay.server.port)
        await stuck.open()
        started = loop.time()
        await relay.aclose()
        assert loop.time() - started < 1.0
        await until(lambda: reader.closed, "closed")
        assert reader.of("notice")[0]["code"] == 1012
        await plain.wait_closed()
        assert plain.close_code == 1012
        stuck.close()
    await venue.close()


@pytest.mark.parametrize(
    ("source", "channels", "said"),
    [
        ("deribit", ["a,b"], "channels"),
        ("deribit", ["stream"], "channels"),
        ("ws://127.0.0.1:1/", [BOOK], "a venue that has channels"),
        ("no-such-venue", [BOOK], "no-such-venue"),
    ],
)
def test_what_cannot_be_relayed_is_an_error_with_a_name(
    source: str, channels: list[str], said: str
) -> None:
    with pytest.raises(heartline.HeartlineError, match=said):
        Relay(source, channels)


@in_loop
async def test_a_port_that_is_taken_leaves_nothing_running() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        relay = Relay("ws://127.0.0.1:1/", port=port)
        with pytest.raises(OSError, match="in use"):
            await relay.__aenter__()
        assert relay.stream.status.phase is heartline.Phase.CLOSED
