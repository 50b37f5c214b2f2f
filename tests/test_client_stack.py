"""A whole stream against the whole venue simulator, for days of virtual time."""

from __future__ import annotations

import asyncio
import json
import random
from math import inf

import pytest
from prove.venue_books import in_order

from heartline.client.joining import Joining
from heartline.core.channel_events import EndPlanned, TookOver
from heartline.core.events import ConditionBegan, Connected, Event, Lost
from heartline.core.items import Cause, Condition, Gap, Message
from stack_kit import Stack

DAY = 86_400.0
SPARSE, DENSE = 0.01, 40.0
"""Messages a second, far from a change of links and around it."""
CHANNELS = ["btcusdt@depth", "ethusdt@depth"]
FUTURES = ["btcusdt@depth@100ms", "ethusdt@depth@100ms"]


def assert_whole(stack: Stack) -> None:
    """Each message once and in order: what was said, what came and what is known of it
    add up, and the books are those of the venue."""
    assert [i for i in stack.items if isinstance(i, Gap)] == []
    assert stack.of(Lost) == []
    assert len(stack.of(Connected)) == 1
    ledger = stack.driver.session.ledger
    for channel in stack.channels:
        series = stack.house.market.named(channel)
        numbers = stack.numbers(channel)
        account = ledger.account(channel)
        assert numbers == sorted(set(numbers))
        assert account.missing == account.unknown == 0
        assert account.received == account.duplicated + len(numbers)
        assert series.account.numbered == account.received + series.account.unheard
        assert stack.books[channel].as_listed() == in_order(series.book())


def test_a_day_with_a_notice_and_the_greatest_age_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = Stack(monkeypatch, "binance", "spot", CHANNELS, rate=DENSE)

    async def quiet_until(at: float) -> None:
        stack.set_rate(SPARSE)
        await asyncio.sleep(at - stack.now)
        stack.set_rate(DENSE)
        await asyncio.sleep(10.0)

    async def taken_over(links: int) -> None:
        await stack.until(lambda: len(stack.of(TookOver)) == links, within=600.0)
        await asyncio.sleep(10.0)

    async def story() -> None:
        await asyncio.sleep(20.0)
        await quiet_until(DAY / 3)
        stack.notice()
        await taken_over(1)
        end = stack.driver.session.handover.deadline
        assert DAY < end < DAY / 3 + DAY
        await quiet_until(end - 30.0)
        await taken_over(2)
        assert stack.now > DAY

    stack.run(story)
    assert [e.cause for e in stack.of(EndPlanned)] == [Cause.NOTICE, Cause.AGE]
    assert [e.epoch for e in stack.of(TookOver)] == [2, 3]
    assert stack.house.counts["connections"] == 3
    assert [name for name in stack.house.counts if name.startswith("breach")] == []
    assert_whole(stack)


# --- snapshots that are fetched, beside a change of links -----------------------------


def assert_in_place(stack: Stack) -> None:
    """Of each channel: a snapshot, and what follows it without a hole, or a gap."""
    for channel in stack.channels:
        last: int | None = None
        joins = False
        for item in stack.items:
            if isinstance(item, Gap) and item.channel in (channel, None):
                last = None
            elif isinstance(item, Message) and item.channel == channel:
                said = json.loads(item.data)
                if item.snapshot:
                    last, joins = said["lastUpdateId"], True
                    continue
                said = said.get("data", said)
                assert last is not None, "an update without its state"
                follows = said.get("pu", said["U"] - 1) == last
                within = said["U"] <= last + 1 and last <= said["u"]
                assert follows or (joins and within), (said, last)
                last, joins = said["u"], False


def assert_accounted(stack: Stack) -> None:
    """What the venue said to somebody is with us, or lies in a gap."""
    ledger = stack.driver.session.ledger
    for channel in stack.channels:
        said = stack.house.market.named(channel).account
        account = ledger.account(channel)
        came = len(stack.numbers(channel))
        voided = sum(
            gap.missing or 0
            for gap in stack.items
            if isinstance(gap, Gap) and gap.channel == channel
            if gap.reason in ("outage", "overflow")
        )
        assert account.received == came + account.duplicated + voided
        heard = said.numbered - said.unheard - said.dropped
        assert account.received == heard, (account.received, heard)
        listed = in_order(stack.house.market.named(channel).book())
        assert stack.books[channel].as_listed() == listed


SLOW = (0.05, 0.5, 2.0, 4.5)


BOTH = pytest.mark.parametrize(
    ("endpoint", "channels"), [("spot", CHANNELS), ("usdm", FUTURES)]
)


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_a_change_of_links_beside_calls_for_snapshots_loses_and_doubles_nothing(
    endpoint: str, channels: list[str], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that are slow or fail, jumps, and planned ends at any moment of it."""
    stack = Stack(monkeypatch, "binance", endpoint, channels, seed=seed, rate=10.0)
    dice = random.Random(3000 + seed)
    fails = dice.choice((0.0, 0.0, 0.3))

    def takes() -> float:
        return inf if dice.random() < fails else dice.choice(SLOW)

    stack.call_takes = takes

    async def story() -> None:
        for nth in range(4):
            if dice.random() < 0.6:
                stack.house.drop(dice.choice(channels), dice.randrange(1, 4))
            await asyncio.sleep(dice.uniform(0.0, 6.0))
            stack.end_planned()
            await stack.until(lambda n=nth: len(stack.of(TookOver)) > n, within=600.0)
            await asyncio.sleep(dice.choice((0.0, 0.5, 8.0)))
        await asyncio.sleep(60.0)

    stack.run(story)
    assert stack.of(Lost) == []
    assert {i.reason for i in stack.items if isinstance(i, Gap)} <= {"sequence"}
    assert_in_place(stack)
    assert_accounted(stack)


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_links_that_die_beside_calls_for_snapshots_lose_nothing_that_is_not_told(
    endpoint: str, channels: list[str], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old link, the new one or both end in the middle of it, and dials fail."""
    stack = Stack(monkeypatch, "binance", endpoint, channels, seed=seed, rate=10.0)
    dice = random.Random(4000 + seed)
    stack.call_takes = lambda: inf if dice.random() < 0.1 else dice.choice(SLOW)

    async def story() -> None:
        for _ in range(3):
            if dice.random() < 0.6:
                stack.house.drop(dice.choice(channels), dice.randrange(1, 4))
            await asyncio.sleep(dice.uniform(0.0, 6.0))
            stack.refusals = dice.choice((0, 0, 2))
            stack.end_planned()
            dialled = stack.house.counts["connections"]
            joins = lambda n=dialled: stack.house.counts["connections"] > n  # noqa: E731
            await stack.until(joins, within=600.0)
            await asyncio.sleep(dice.uniform(0.0, 3.0))
            for wire in dice.sample(stack.wires, dice.randrange(len(stack.wires) + 1)):
                wire.cut()
            await asyncio.sleep(dice.choice((0.0, 0.5, 8.0)))
            settled = lambda: len(stack.wires) == 1 and stack.live  # noqa: E731
            await stack.until(settled, within=600.0)
        await asyncio.sleep(60.0)

    stack.run(story)
    assert_in_place(stack)
    for channel in channels:
        listed = in_order(stack.house.market.named(channel).book())
        assert stack.books[channel].as_listed() == listed


@pytest.mark.parametrize("delays", [(0.4, 0.001), (0.001, 0.4)], ids=["slow", "fast"])
def test_the_only_message_of_a_quiet_channel_is_not_lost_with_the_old_link(
    delays: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent on the old link before the new one is subscribed, read after it could take
    over: nothing of the other link shows that it is missing."""
    for nth in range(16):
        quiet = ["btcusdt@trade", "btcusdt@depth"]
        stack = Stack(monkeypatch, "binance", "spot", quiet, seed=nth, delays=(0.001,))
        stack.ways = list(delays)

        async def story(stack: Stack = stack, nth: int = nth) -> None:
            await asyncio.sleep(1.0)
            stack.end_planned()
            await asyncio.sleep(nth * 0.06)
            for channel in stack.channels:
                stack.house.burst(channel, 1, now=stack.now)
            stack.settle()
            await stack.until(lambda: stack.of(TookOver), within=60.0)
            await asyncio.sleep(20.0)

        stack.run(story)
        for channel in quiet:
            assert len(list(stack.messages(channel))) == 1, (channel, nth)
        # Where only the content tells messages apart, one that the old link alone has
        # brought leaves a doubt.
        gaps = {item.channel for item in stack.items if isinstance(item, Gap)}
        assert gaps <= {"btcusdt@trade"}


def test_data_that_is_late_while_two_links_live_is_told_as_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However soon the two have met: both live until the overlap is out.
    monkeypatch.setattr(Joining, "complete", False)
    stack = Stack(monkeypatch, "binance", "spot", CHANNELS, delays=(0.02,), max_age=1.0)
    busy, quiet = CHANNELS
    in_time: list[Event] = []

    async def talk(seconds: float) -> None:
        for _ in range(int(seconds / 0.05)):
            stack.house.burst(busy, 1, now=stack.now)
            stack.settle()
            await asyncio.sleep(0.05)

    def late() -> list[Event]:
        told = stack.of(ConditionBegan)
        return [each for each in told if each.condition is Condition.LATE]

    async def story() -> None:
        stack.house.burst(quiet, 1, now=stack.now)
        await talk(20.0)
        stack.end_planned()
        await talk(3.0)
        assert len(stack.wires) == 2
        in_time.extend(late())
        for _ in range(20):
            for wire in stack.wires:
                wire.delay += 0.1
            await talk(0.25)
        assert stack.of(TookOver) == []
        assert late()

    stack.run(story)
    assert in_time == []
