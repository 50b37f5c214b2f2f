"""A desk judges the channels of a link whatever else its socket is busy with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from bench.venues import SOURCES, in_turn, made
from prove.jumping import VirtualLoop

from heartline.client.contract import Venue
from heartline.client.desk import Desk
from heartline.core.budget import Budget
from heartline.core.channel_events import ChannelLive
from heartline.core.events import (
    ChannelRevived,
    ChannelStalled,
    ConditionEnded,
    Event,
)
from heartline.core.gaps import Ledger
from heartline.core.items import Condition

CHANNELS = 4
EVERY = 0.02


@dataclass
class Owner:
    """Keeps what it is told, and counts how often it is asked."""

    loop: asyncio.AbstractEventLoop
    unread: bool = False
    is_paused: bool = False
    asked: int = 0
    events: list[Event] = field(default_factory=list[Event])
    secrets: frozenset[str] = frozenset()

    @property
    def paused(self) -> bool:
        self.asked += 1
        return self.is_paused

    def tell(self, event: Event) -> None:
        self.events.append(event)

    def post(self, epoch: int, text: str | bytes, *, first: bool) -> None: ...
    def give_up(self, epoch: int, cause: object, reason: str) -> None: ...
    def prove(self, epoch: int) -> None: ...
    def announced(self, epoch: int, reason: str, lead: float | None) -> None: ...
    def run(self, what: str, epoch: int, work: Any) -> None: ...
    def deliver(self, items: list[Any]) -> None: ...

    def heard_at(self, epoch: int) -> float:
        return self.loop.time()

    def told(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Market:
    """Some channels of one venue, each of which speaks every `EVERY` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        source = SOURCES["coinbase"]
        self.texts = made(source, in_turn(CHANNELS, CHANNELS))
        self.names = [source.form.format(number) for number in range(CHANNELS)]
        self.loop, self.owner = loop, Owner(loop)
        venue = Venue(name=source.venue, endpoint=source.endpoint, snapshots=None)
        self.desk = Desk(venue, self.owner, ledger=Ledger(), loop=loop, clock=loop.time)
        self.desk.feed.subscriptions.budget = Budget()
        self.desk.begin(1, {})
        self.desk.want(self.names)
        self.desk.feed.begin(1, now=loop.time())
        self.desk.obey(self.desk.feed.open(now=loop.time()))

    async def speak(self, channels: list[int], seconds: float) -> None:
        until = self.loop.time() + seconds
        while self.loop.time() < until:
            texts = [self.texts[number] for number in channels]
            self.desk.read(1, texts, age=0.0, now=self.loop.time())
            await asyncio.sleep(EVERY)


def run(story: Any) -> None:
    async def told() -> None:
        market = Market(asyncio.get_running_loop())
        await market.speak([0, 1, 2, 3], 170.0)
        assert len(market.owner.told(ChannelLive)) == CHANNELS
        await story(market)
        market.desk.alarm.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(told())


def test_a_muted_channel_beside_a_flood_is_told_within_its_bound() -> None:
    async def story(market: Market) -> None:
        owner, feed, muted = market.owner, market.desk.feed, market.names[0]
        bound = feed.bounds(now=market.loop.time())[muted]
        silent_since = market.loop.time() - feed.watch.silence(
            muted, now=market.loop.time()
        )
        owner.unread = True
        await market.speak([1, 2, 3], bound + 5.0)
        (stalled,) = owner.told(ChannelStalled)
        assert stalled.channel == muted
        assert stalled.at - silent_since <= bound
        await market.speak([0, 1, 2, 3], 1.0)
        (revived,) = owner.told(ChannelRevived)
        assert revived.channel == muted

    run(story)


def test_nothing_is_judged_nor_often_asked_while_reading_is_paused() -> None:
    async def story(market: Market) -> None:
        owner, loop = market.owner, market.loop
        owner.is_paused, owner.asked = True, 0
        began = loop.time()
        await asyncio.sleep(60.0)
        assert not owner.told(ChannelStalled)
        assert 0 < owner.asked <= 61
        owner.is_paused = False
        market.desk.heed(
            ConditionEnded(
                at=loop.time(),
                epoch=1,
                condition=Condition.PAUSED,
                after=loop.time() - began,
            )
        )
        await market.speak([1, 2, 3], 30.0)
        (stalled,) = owner.told(ChannelStalled)
        assert stalled.channel == market.names[0]
        assert stalled.at > began + 60.0

    run(story)
