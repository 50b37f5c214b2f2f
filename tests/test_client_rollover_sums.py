"""Planned ends of streams whose books a checksum proves: all arrives once, and agrees.

The whole stack in virtual time; what the venue said is written down as it says it.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from heartline import Gap, Lifetime
from heartline.core.channel_events import EndPlanned, TookOver
from heartline.core.events import Connected, Lost
from heartline.core.items import Cause
from heartline.testing.venue_side.service import Service
from stack_kit import Stack

PLACES = [
    ("kraken", "spot", ["book-10:BTC/USD", "book-10:ETH/USD"]),
    ("kraken", "spot_v1", ["book-10:XBT/USD", "book-25:ETH/USD"]),
    ("bitfinex", "public", ["book-P0-25:tBTCUSD", "book-P0-25:tETHUSD"]),
]
IDS = ["kraken", "kraken-v1", "bitfinex"]


class Heard:
    """What a venue said of each channel, in its order, whoever was sent it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: dict[str, list[str]] = {}
        known = dict[int, Any]()
        data = Service.data

        def noted(service: Service, event: Any, *, unix: float) -> object:
            document = data(service, event, unix=unix)
            if id(event) not in known:
                # Kept, so that no other event gets its id.
                known[id(event)] = event
                told = self.said.setdefault(event.series.name, [])
                told.append(content(msgspec.json.encode(document)))
            return document

        begin = Service.__init__

        def began(service: Service, venue: Any) -> None:
            begin(service, venue)
            # A link's numbers of its channels are its own.
            service._last_bound = 100 * len(venue.links)

        monkeypatch.setattr(Service, "data", noted)
        monkeypatch.setattr(Service, "__init__", began)

    def got(self, stack: Stack, channel: str) -> list[str]:
        """What the consumer got of it, but snapshots and signs of life."""
        said = set(self.said[channel])
        found = [content(each.data) for each in stack.messages(channel)]
        return [each for each in found if each in said]


def content(data: str | bytes) -> str:
    """A message without the channel's number and the count of Bitfinex's link."""
    said = json.loads(data)
    if isinstance(said, list) and isinstance(said[-1], int):
        said = said[1:-1]
    return json.dumps(said)


def proofs(stack: Stack) -> list[Any]:
    desk = stack.driver.desk
    assert desk is not None
    return list(desk.feed.mending.proofs)


def still_open(stack: Stack) -> list[Gap]:
    ledger = stack.driver.session.ledger
    return [gap for name in stack.channels for gap in ledger.open_gaps(name)]


def assert_whole(stack: Stack, heard: Heard) -> None:
    """Each message once and in order, from the first link's first to the last."""
    assert [i for i in stack.items if isinstance(i, Gap)] == []
    assert stack.of(Lost) == []
    assert len(stack.of(Connected)) == 1
    for channel in stack.channels:
        got, said = heard.got(stack, channel), heard.said[channel]
        assert got == said[len(said) - len(got) :]
        assert len(got) > len(said) / 2
        account = stack.driver.session.ledger.account(channel)
        assert account.missing == account.unknown == account.duplicated == 0
    for proof in proofs(stack):
        assert proof.disagreed == 0
        assert proof.agreed > 4
        assert not proof.doubted
    assert {each.name for each in proofs(stack)} == set(stack.channels)


ENDS = {
    Cause.NOTICE: {},
    Cause.AGE: {"lifetime": Lifetime(max_age=70.0, lead=30.0, spread=10.0)},
}


@pytest.mark.parametrize("place", PLACES, ids=IDS)
@pytest.mark.parametrize("why", ENDS)
def test_a_planned_end_loses_and_doubles_nothing_of_books_that_agree_throughout(
    place: tuple[str, str, list[str]], why: Cause, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, endpoint, channels = place
    seed, more = list(ENDS).index(why), ENDS[why]
    stack = Stack(monkeypatch, name, endpoint, channels, seed=seed, rate=6.0, **more)
    heard = Heard(monkeypatch)

    async def story() -> None:
        await asyncio.sleep(15.0)
        for links in (1, 2):
            if why is Cause.NOTICE:
                stack.end_planned()
            done = lambda n=links: len(stack.of(TookOver)) >= n  # noqa: E731
            await stack.until(done, within=80.0)
            await asyncio.sleep(15.0)

    stack.run(story)
    assert {e.cause for e in stack.of(EndPlanned)} == {why}
    assert_whole(stack, heard)


@pytest.mark.parametrize("place", PLACES, ids=IDS)
def test_books_in_which_nothing_happens_meanwhile_are_not_said_to_miss_anything(
    place: tuple[str, str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, endpoint, channels = place
    stack = Stack(monkeypatch, name, endpoint, channels, rate=20.0)
    heard = Heard(monkeypatch)

    async def story() -> None:
        await asyncio.sleep(10.0)
        stack.set_rate(0.0)
        await asyncio.sleep(5.0)
        stack.end_planned()
        await stack.until(lambda: stack.of(TookOver), within=60.0)
        # Not only when the overlap was out.
        assert stack.of(TookOver)[0].at - stack.of(EndPlanned)[0].at < 5.0
        stack.set_rate(20.0)
        await asyncio.sleep(10.0)

    stack.run(story)
    assert_whole(stack, heard)


@pytest.mark.parametrize("place", PLACES, ids=IDS)
def test_an_old_link_that_dies_early_leaves_a_book_that_agrees_or_a_gap(
    place: tuple[str, str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, endpoint, channels = place
    for seed in range(3):
        stack = Stack(monkeypatch, name, endpoint, channels, seed=seed, rate=20.0)
        heard = Heard(monkeypatch)

        async def story(stack: Stack = stack, seed: int = seed) -> None:
            await asyncio.sleep(5.0)
            stack.end_planned()
            await stack.until(lambda: len(stack.wires) == 2)
            await asyncio.sleep(seed / 4)
            if len(stack.wires) == 2:
                stack.wires[0].cut()
            await asyncio.sleep(10.0)
            # Until a checksum has proven what was sent whole.
            await stack.until(lambda: not still_open(stack), within=300.0)

        stack.run(story)
        for proof in proofs(stack):
            assert proof.disagreed == 0
            got, said = heard.got(stack, proof.name), heard.said[proof.name]
            if not any(isinstance(each, Gap) for each in stack.items):
                assert got == said[len(said) - len(got) :]
