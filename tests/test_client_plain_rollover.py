"""Planned ends of a plain URL: the next link takes over, and what is unsure is said."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from typing import Any

import pytest

import heartline
from heartline import Gap, Heartbeat, Message
from heartline.client import driver as driving
from heartline.client.connect import connect
from heartline.core.channel_events import EndPlanned, TookOver
from heartline.core.events import Connected, DialLost, Event, Lost
from heartline.core.rollover import Lifetime
from heartline.testing import FaultyServer
from rollover_kit import Played, PlayedVenue, Still, VirtualLoop, Wire, retimed
from stream_kit import in_loop

LIFETIME = Lifetime(max_age=100.0, lead=30.0, spread=20.0)
BEAT = Heartbeat(send="beat", every=1.7, answer="beating")


class PlainVenue(PlayedVenue):
    """Says the same to whoever asked; `ticks` is the share of what is always alike."""

    def __init__(self, *, seed: int, every: float, ticks: float = 0.0) -> None:
        dice = random.Random(seed)
        super().__init__("plain", [""], loop=VirtualLoop(), dice=dice, every=every)
        self.ticks = ticks
        self.told: list[str] = []
        self.asked: list[str] = []

    def worded(self, channel: str, low: int, high: int) -> str:
        text = "tick" if self.dice.random() < self.ticks else f"m{high}"
        self.told.append(text)
        return text

    def say(self, channel: str) -> None:
        if any(wire.channels for wire in self.wires):
            super().say(channel)

    def hear(self, wire: Wire, text: str) -> None:
        if wire not in self.wires:
            return
        if text == "beat":
            wire.say("beating")
            return
        self.asked.append(text)
        wire.say(f"{text} granted")
        wire.channels.add("")


class Plain(Played):
    def __init__(self, venue: PlainVenue, monkeypatch: Any, **options: Any) -> None:
        monkeypatch.setattr(driving.Pulse, "of", lambda loop: Still(loop, loop.time))
        self.venue = venue
        self.items: list[Any] = []
        self.events: list[Event] = []
        tokens = iter(range(1, 1000))
        stream = connect(
            "wss://localhost/ws",
            on_open=lambda: [f"token {next(tokens)}"],
            on_event=self.events.append,
            **options,
        )
        self.driver = retimed(stream, draw=venue.dice.random, clock=venue.loop.time)
        monkeypatch.setattr(
            self.driver._attempts, "dial", lambda epoch: venue.dial(self.driver, epoch)
        )

    @property
    def texts(self) -> list[str]:
        """The data that came, without the answers to what was sent on open."""
        found = [i.data for i in self.items if isinstance(i, Message)]
        return [text for text in found if "granted" not in text]

    @property
    def gaps(self) -> list[Gap]:
        return [i for i in self.items if isinstance(i, Gap)]

    def assert_adds_up(self) -> None:
        """What was read of it, and what the ledger says is missing."""
        assert self.driver.session.ledger.gaps == len(self.gaps)
        counts = self.driver.snapshot().counts
        assert counts.gaps == len(self.gaps)
        messages = [i for i in self.items if isinstance(i, Message)]
        assert counts.messages == counts.delivered == len(messages)


@pytest.mark.parametrize("beat", [None, BEAT], ids=["silent", "beating"])
@pytest.mark.parametrize("ticks", [0.0, 0.6])
@pytest.mark.parametrize("seed", range(4))
def test_a_plain_url_goes_from_link_to_link_and_nothing_is_lost_or_doubled(
    monkeypatch: pytest.MonkeyPatch, seed: int, ticks: float, beat: Heartbeat | None
) -> None:
    venue = PlainVenue(seed=seed, every=0.2, ticks=ticks)
    stream = Plain(venue, monkeypatch, lifetime=LIFETIME, heartbeat=beat)

    async def story() -> None:
        for count in (1, 2, 3):
            await stream.until(lambda: len(stream.of(TookOver)) == count)  # noqa: B023
        await asyncio.sleep(10.0)

    stream.run(story)
    assert stream.of(Lost) == stream.gaps == []
    assert len(stream.of(Connected)) == 1
    took = stream.of(TookOver)
    assert len(took) == len(stream.of(EndPlanned)) == 3
    # As soon as it is shown that they have met, and not only when time is out.
    assert all(5.0 < each.overlap < 10.0 for each in took)
    assert stream.texts == venue.told
    # What a new link is answered is said to the consumer, as of any new link.
    links = [f"token {n + 1}" for n in range(len(took) + 1)]
    assert venue.asked == links
    granted = [i.data for i in stream.items if "granted" in getattr(i, "data", "")]
    assert granted == [f"{each} granted" for each in links]
    stream.assert_adds_up()


@pytest.mark.parametrize("every", [0.05, 1000.0])
def test_what_cannot_be_shown_to_meet_takes_over_in_time_with_a_gap(
    monkeypatch: pytest.MonkeyPatch, every: float
) -> None:
    """Nothing but equal ticks, or nothing at all."""
    venue = PlainVenue(seed=3, every=every, ticks=1.0)
    stream = Plain(venue, monkeypatch, lifetime=LIFETIME)

    async def story() -> None:
        await stream.until(lambda: bool(stream.of(TookOver)))

    stream.run(story)
    assert stream.of(Lost) == []
    [took] = stream.of(TookOver)
    assert took.overlap == pytest.approx(LIFETIME.overlap, abs=0.1)
    [gap] = stream.gaps
    assert gap.channel is None
    assert gap.from_at <= took.at - took.overlap + 1e-6
    assert gap.until_at == took.at
    assert len(stream.texts) >= len(venue.told)
    stream.assert_adds_up()


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_while_both_live_costs_nothing_or_is_told(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    venue = PlainVenue(seed=seed, every=0.1, ticks=0.5)
    stream = Plain(venue, monkeypatch, lifetime=LIFETIME)

    async def story() -> None:
        await stream.until(lambda: len(venue.wires) > 1)
        await asyncio.sleep(venue.dice.uniform(0.0, 8.0))
        venue.wires[seed % 2].cut() if len(venue.wires) > 1 else None
        await asyncio.sleep(150.0)

    stream.run(story)
    if not stream.gaps:
        assert stream.texts == venue.told
    if stream.of(Lost) == []:
        assert not Counter(venue.told) - Counter(stream.texts) or stream.gaps
    stream.assert_adds_up()


class Hasty(PlainVenue):
    """Says what there is to say on a link before the client knows that it has one."""

    accepts_after = 0.15

    async def dial(self, driver: Any, epoch: int) -> None:
        self.dials += 1
        wire = Wire(epoch, driver, self)
        wire.delay = 0.001 if self.dials == 1 else 0.2
        self.wires.append(wire)
        if self.dials > 1:
            wire.channels.add("")
            await asyncio.sleep(self.accepts_after)
        driver.on_carried(wire)


@pytest.mark.parametrize("seed", range(4))
def test_what_a_link_is_sent_before_it_is_known_to_be_accepted_is_not_doubled(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    venue = Hasty(seed=seed, every=0.01)
    stream = Plain(venue, monkeypatch, lifetime=LIFETIME)

    async def story() -> None:
        await stream.until(lambda: bool(stream.of(TookOver)))
        await asyncio.sleep(10.0)

    stream.run(story)
    assert stream.gaps == stream.of(Lost) == []
    assert stream.texts == venue.told


@pytest.mark.parametrize("after", [0.4, 1.0, 2.4, 4.0])
@pytest.mark.parametrize("accepts_after", [0.15, 1.7])
@pytest.mark.parametrize("seed", range(3))
def test_what_the_next_link_held_as_the_old_one_was_cut_is_given_or_in_a_gap(
    monkeypatch: pytest.MonkeyPatch, seed: int, accepts_after: float, after: float
) -> None:
    """The next link is far ahead: what it held the old one never came to bring."""
    venue = Hasty(seed=seed, every=0.02)
    venue.accepts_after = accepts_after
    stream = Plain(venue, monkeypatch, lifetime=LIFETIME)
    held: list[str] = []

    async def story() -> None:
        await stream.until(lambda: bool(stream.texts))
        venue.wires[0].delay = 0.8
        await stream.until(lambda: len(venue.wires) > 1)
        venue.wires[1].delay = 0.001
        await asyncio.sleep(after)
        abreast = stream.driver.intake.abreast
        assert abreast is not None
        held.extend(each.data for *_, each in abreast._meeting._new)
        venue.wires[0].cut()
        await asyncio.sleep(20.0)

    stream.run(story)
    place = {text: nth for nth, text in enumerate(venue.told)}
    held = [text for text in held if text in place]
    ahead = set(held) - set(stream.texts)
    if after > accepts_after:
        # It takes over: all that it held is given.
        assert held
        assert stream.of(Lost) == []
    else:
        assert len(stream.of(Lost)) == 1
    assert not ahead
    [gap] = stream.gaps
    cut = stream.items.index(gap)
    before, since = (
        [place[i.data] for i in some if getattr(i, "data", None) in place]
        for some in (stream.items[:cut], stream.items[cut + 1 :])
    )
    # What neither of them brought lies at the gap, and nowhere else.
    assert before == list(range(len(before)))
    assert sorted(set(since)) == list(range(min(since), max(since) + 1))
    stream.assert_adds_up()


def test_a_next_link_that_fails_costs_nothing_and_is_dialled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    venue = PlainVenue(seed=5, every=0.2)
    stream = Plain(venue, monkeypatch, lifetime=LIFETIME)

    async def story() -> None:
        venue.refusals = 2
        await stream.until(lambda: len(venue.wires) > 1)
        await asyncio.sleep(3.0)
        venue.wires[1].cut()
        await stream.until(lambda: bool(stream.of(TookOver)))
        await asyncio.sleep(10.0)

    stream.run(story)
    assert len(stream.of(DialLost)) == 3
    assert stream.of(Lost) == stream.gaps == []
    assert stream.texts == venue.told
    assert stream.driver.intake.abreast is None
    stream.assert_adds_up()


@in_loop
async def test_real_links_of_a_plain_url_follow_each_other() -> None:
    events: list[Event] = []
    lifetime = Lifetime(max_age=3.0, lead=2.0, spread=0.0, overlap=1.6)
    numbers: list[int] = []
    gaps: list[Gap] = []
    async with (
        FaultyServer(rate=200.0) as server,
        heartline.connect(
            server.url, lifetime=lifetime, on_event=events.append
        ) as stream,
    ):
        ends_by = time.monotonic() + 30.0
        reader, intake = stream._driver.reader, stream._driver.intake
        by_lane: list[int] = []
        async for item in stream:
            assert time.monotonic() < ends_by
            if isinstance(item, Gap):
                gaps.append(item)
            elif isinstance(item, Message):
                numbers.append(json.loads(item.data)["seq"])
            if intake.abreast is not None:
                by_lane.append(reader.lane.passed)
            elif by_lane and reader.lane.passed > by_lane[-1]:
                # The lane is as free as it was.
                break
    assert any(isinstance(event, TookOver) for event in events)
    assert len(set(by_lane)) == 1
    assert [event for event in events if isinstance(event, Lost)] == []
    assert sorted(set(numbers)) == list(range(numbers[0], max(numbers) + 1))
    if not gaps:
        assert numbers == sorted(set(numbers))
