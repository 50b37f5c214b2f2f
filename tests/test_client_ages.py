"""The ages that a stream tells hold the truth, and LATE is told of late data alone."""

from __future__ import annotations

import asyncio
import random
from math import inf

import pytest

import heartline
from heartline.client.ages import Ages, Asked
from heartline.core.events import ConditionBegan, ConditionEnded
from heartline.core.items import Condition
from heartline.core.latency import MaxAge
from heartline.venue.reading import Answer
from heartline.venue.writer import Outgoing
from lopsided_venue import ROUNDING, UNIX, Road, World, run

STAMPED = ["book.BTC-PERPETUAL.100ms", "ticker.BTC-PERPETUAL.100ms"]
DERIBIT = [*STAMPED, "trades.BTC-PERPETUAL.100ms"]
COINBASE = ["matches:BTC-USD", "matches:ETH-USD"]
BINANCE = ["btcusdt@depth@100ms", "btcusdt@trade"]
SEEDS = range(8)


def road(dice: random.Random) -> Road:
    """A round trip of 2 to 600 ms, split between the two ways as it may come."""
    whole = dice.choice((0.002, 0.05, 0.6))
    out = whole * dice.choice((0.02, dice.random(), 0.98))
    return Road(out=out, back=whole - out, jitter=whole * dice.choice((0.0, 0.5, 3.0)))


async def a_minute(world: World) -> None:
    await world.go(60.0)


# --- the interval holds the truth -----------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_with_the_venues_clock_off_and_a_lopsided_road_the_interval_holds(
    seed: int,
) -> None:
    """Deribit tells its time in answers: nothing has to be assumed."""
    dice = random.Random(seed)
    shift = dice.choice((-5.0, 5.0, dice.uniform(-5.0, 5.0)))
    world = run(World("deribit", DERIBIT, road(dice), dice, shift), a_minute)
    assert len(world.told) > 50
    for told in world.told:
        assert told.uncertainty < inf
        assert not told.assumed
        assert abs(told.age - told.truth) <= told.uncertainty + ROUNDING
    whole = world.road.out + world.road.back
    widest = (whole + 2 * world.road.jitter) / 2 + 0.002 + 2e-4 * 60
    assert max(told.uncertainty for told in world.told) <= widest


@pytest.mark.parametrize("seed", SEEDS)
def test_without_the_venues_time_it_holds_as_far_as_pings_can_tell(seed: int) -> None:
    """Under the assumption that is told with it; the least age holds in any case."""
    dice = random.Random(seed)
    shift = dice.choice((-5.0, 5.0, dice.uniform(-5.0, 5.0)))
    world = World("binance", BINANCE, road(dice), dice, shift)
    run(world, a_minute)
    assert len(world.told) > 50
    assert world.told[-1].assumed
    fastest = inf
    for told in world.told:
        fastest = min(fastest, told.truth)
        least = told.age if told.uncertainty == inf else told.age - told.uncertainty
        assert least <= told.truth + ROUNDING
        assert (told.uncertainty == inf) is not told.assumed
        if told.assumed and fastest <= world.road.out + world.road.back:
            assert told.truth <= told.age + told.uncertainty + ROUNDING


def test_an_offset_outlives_its_link() -> None:
    async def two_links(world: World) -> None:
        await world.go(10.0)
        before = world.ages.delays.offset.bounds(now=world.loop.time())
        world.desk.begin(2, {})
        now = world.loop.time()
        assert world.ages.delays.offset.bounds(now=now) == before
        assert before[1] < inf

    dice = random.Random(1)
    run(World("deribit", DERIBIT, Road(out=0.01, back=0.04), dice, 5.0), two_links)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_suspend_voids_what_was_known_until_the_venue_answers_again(
    seed: int,
) -> None:
    """Our clock stood still in it: all that was learned of the difference is wrong."""
    dice = random.Random(seed)
    world = World("deribit", DERIBIT, road(dice), dice, 5.0)

    async def sleep_in_the_middle(world: World) -> None:
        running = asyncio.ensure_future(world.go(90.0))
        await asyncio.sleep(30.0 + dice.random() * 20)
        world.asleep = world.exchange.slept = dice.choice((1.0, 60.0, 3600.0))
        await running

    run(world, sleep_in_the_middle)
    for told in world.told:
        if told.uncertainty < inf and not told.assumed:
            assert abs(told.age - told.truth) <= told.uncertainty + ROUNDING
    # The venue has told its time again since, or is about to.
    assert world.told[-1].at > 80.0


# --- LATE -----------------------------------------------------------------------------


def told_of_late(world: World) -> list[ConditionBegan | ConditionEnded]:
    return [
        event
        for event in world.events
        if isinstance(event, ConditionBegan | ConditionEnded)
        and event.condition is Condition.LATE
    ]


@pytest.mark.parametrize(
    ("name", "channels"),
    [("deribit", STAMPED), ("binance", BINANCE), ("coinbase", COINBASE)],
    ids=["deribit", "binance", "coinbase"],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_late_is_told_of_data_that_is_late_and_of_no_other(
    name: str, channels: list[str], seed: int
) -> None:
    dice = random.Random(seed)
    limit = MaxAge(limit=dice.choice((0.1, 0.5, 2.0)))
    world = World(name, channels, road(dice), dice, -5.0, limit)

    async def slow_for_a_while(world: World) -> None:
        running = asyncio.ensure_future(world.go(60.0))
        await asyncio.sleep(20.0)
        world.road.more = dice.choice((0.0, 1.2 * limit.limit, 3 * limit.limit + 1.0))
        await asyncio.sleep(10.0)
        world.road.more = 0.0
        await running

    run(world, slow_for_a_while)
    told = told_of_late(world)
    for event in told:
        if isinstance(event, ConditionBegan):
            assert world.oldest[event.at] > limit.limit - ROUNDING
            assert f"limit {limit.limit:g} s" in event.detail
            named = event.detail.partition(": data ")[0]
            assert named in channels
    # Began and ended take turns.
    kinds = [type(event) for event in told]
    assert kinds == ([ConditionBegan, ConditionEnded] * len(kinds))[: len(kinds)]
    certain = limit.limit + world.road.out + world.road.back + 2 * world.road.jitter
    late = [at for at, age in world.oldest.items() if age > certain + 0.05 and at > 20]
    assert (ConditionBegan in kinds) or not late


def test_every_late_channel_is_known_and_the_condition_is_told_once() -> None:
    dice = random.Random(3)
    limit = MaxAge(limit=0.5)
    world = World("deribit", STAMPED, Road(out=0.01, back=0.01), dice, 5.0, limit)

    async def look(world: World) -> None:
        running = asyncio.ensure_future(world.go(60.0))
        await asyncio.sleep(20.0)
        late = world.ages.late
        assert late is not None
        assert not late
        world.road.more = 2.0
        await asyncio.sleep(10.0)
        assert all(channel in late for channel in STAMPED)
        assert "(and 1 more)" in late.evidence
        world.road.more = 0.0
        await running
        assert not late
        assert late.since_at is None

    run(world, look)
    assert [type(e) for e in told_of_late(world)] == [ConditionBegan, ConditionEnded]
    began, ended = told_of_late(world)
    assert isinstance(ended, ConditionEnded)
    assert ended.after == pytest.approx(ended.at - began.at)


def test_a_late_channel_that_is_wanted_no_more_is_forgotten() -> None:
    dice = random.Random(4)
    limit = MaxAge(limit=0.5)
    world = World("deribit", DERIBIT[:1], Road(out=0.01, back=0.01), dice, 5.0, limit)

    async def leave(world: World) -> None:
        running = asyncio.ensure_future(world.go(40.0))
        await asyncio.sleep(20.0)
        world.road.more = 2.0
        await asyncio.sleep(10.0)
        assert world.ages.late
        world.ages.forget(DERIBIT[:1], now=world.loop.time(), epoch=1)
        assert not world.ages.late
        world.road.more = 0.0
        world.desk.unwant(DERIBIT[:1])
        await running

    run(world, leave)
    assert isinstance(told_of_late(world)[1], ConditionEnded)


# --- what cannot be -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "more", "words"),
    [
        ("ws://127.0.0.1:1/", {}, "max_age: wanted a venue"),
        ("apex", {}, "max_age: wanted a venue whose messages say when"),
        ("deribit", {"max_age": 0.0}, "MaxAge.limit"),
        ("deribit", {"max_age": "1"}, "max_age: wanted seconds"),
        ("deribit", {"max_age": True}, "max_age: wanted seconds"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(
    url: str, more: dict[str, object], words: str
) -> None:
    with pytest.raises(heartline.UsageError, match=words):
        heartline.connect(url, **{"max_age": 0.5, **more})  # type: ignore[arg-type]


def test_an_answer_that_came_over_a_suspend_tells_nothing() -> None:
    """Nobody can say how long it took."""
    now = slept = 0.0
    venue = heartline.Venue(name="deribit")
    ages = Ages(
        venue, None, tell=list[object]().append, clock=lambda: now, asleep=lambda: slept
    )
    asked = Asked(ages)
    for number, asleep in ((1, 0.0), (2, 100.0)):
        asked.note(Outgoing(text="", number=number))
        slept, now = slept + asleep, now + 0.1
        answer = Answer("msg_in", 0, number, UNIX + now + slept)
        asked.answered(answer, now)
        known = ages.delays.offset.bounds(now=now)[1] < inf
        assert known is (asleep == 0.0)
        ages.delays.offset.reset()
    asked.answered(Answer("msg_in", 0, None, UNIX), now)
    asked.answered(Answer("msg_in", 0, 77, UNIX), now)
    assert ages.delays.offset.bounds(now=now) == (-inf, inf)
