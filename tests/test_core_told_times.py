"""When something is due, and how old it is: small clocks, to the instant."""

from __future__ import annotations

import random
from itertools import pairwise
from math import inf

import pytest

from heartline import UsageError
from heartline.core.backoff import Backoff
from heartline.core.channel_bounds import ChannelBounds
from heartline.core.contracts import Freshness
from heartline.core.detector import Liveness, PathClock
from heartline.core.events import Stalled
from heartline.core.freshness import ChannelWatch
from heartline.core.latency import Delays, MaxAge, Recent
from heartline.core.misread import Misread
from heartline.core.offset import ClockOffset
from heartline.core.rhythm import Rhythm
from heartline.core.timers import Timers
from scripted_link import HEARD, kernel, quiet


@pytest.mark.parametrize("seed", range(10))
def test_a_heartbeat_is_due_by_the_clock_or_by_silence_whichever_is_first(
    seed: int,
) -> None:
    dice = random.Random(seed)
    every = dice.choice((None, dice.uniform(1.0, 30.0)))
    idle = dice.choice((None, dice.uniform(1.0, 30.0)))
    rhythm, now, heard_at = Rhythm(every=every, idle=idle, now=5.0), 5.0, 5.0
    sent_at = 5.0
    for _ in range(40):
        due = rhythm.due_at(heard_at=heard_at)
        by_clock = inf if every is None else sent_at + every
        by_silence = inf if idle is None else max(heard_at, sent_at) + idle
        assert due == min(by_clock, by_silence)
        if dice.random() < 0.5:
            now = heard_at = now + dice.uniform(0.0, 10.0)
        elif due < inf:
            now = sent_at = max(now, due)
            rhythm.sent(now=now)
    for name in ("every", "idle"):
        for refused in (0.0, -1.0):
            with pytest.raises(UsageError, match="more than 0"):
                Rhythm(**{name: refused, "now": 0.0})
        Rhythm(**{name: 0.001, "now": 0.0})


def test_what_is_stamped_teaches_how_far_the_clocks_lie_apart() -> None:
    """The fastest message so far is the measure, where no question is answered."""
    delays = Delays(resolution=0.0)
    assert delays.summary().age_uncertainty is None
    for delay in (0.5, 0.2, 0.9, 0.2):
        age = delays.stamped(1000.0, received_at=10.0 + delay)
        assert age is not None
    assert age.value == pytest.approx(0.0, abs=1e-3)
    told = delays.summary()
    assert told.age.samples == 4
    assert told.age.most == pytest.approx(0.7, abs=1e-3)
    assert (told.age_uncertainty, told.age_assumed) == (inf, False)
    delays.travelled(0.3)
    delays.travelled(0.1)
    delays.travelled(0.2)
    age = delays.stamped(1000.0, received_at=10.7)
    assert age is not None
    assert age.most == pytest.approx(0.6, abs=1e-3)
    told = delays.summary()
    assert told.age_assumed is True
    assert told.round_trip.samples == 3
    assert told.age_uncertainty == pytest.approx(0.05, abs=1e-3)


def test_of_a_delay_the_last_256_samples_are_told() -> None:
    recent = Recent()
    for nth in range(1, 301):
        recent.add(float(nth))
        spread = recent.spread()
        assert spread.samples == min(nth, 256)
        assert (spread.last, spread.most) == (nth, nth)
    assert spread.median == 45.0 + 128.0
    assert spread.p99 == 45.0 + 253.0


@pytest.mark.parametrize("hold", [0.0, 2.0])
def test_limits_at_their_edges_are_taken(hold: float) -> None:
    policy = MaxAge(limit=0.001, clear=1.0, hold=hold)
    assert policy.hold == hold
    assert MaxAge(limit=1.0).clear == 0.5
    assert MaxAge(limit=1.0).hold == 1.0
    for clear in (0.0, 1.01):
        with pytest.raises(UsageError, match="at most 1"):
            MaxAge(limit=1.0, clear=clear)


def test_stamps_that_are_no_time_of_day_are_counted_and_teach_nothing() -> None:
    offset = ClockOffset()
    for stamp in (0.0, -1.0, 1e11, inf, float("nan")):
        offset.heard(stamp, received_at=1.0)
        assert offset.age(stamp, received_at=1.0) is None
    assert offset.unreadable == 5
    for venue_in, venue_out in ((0.0, 5.0), (5.0, inf), (5.0, 4.0)):
        offset.answered(
            sent_at=1.0, received_at=1.1, venue_in=venue_in, venue_out=venue_out
        )
    offset.answered(sent_at=1.2, received_at=1.1, venue_in=5.0)
    assert offset.unreadable == 9
    assert offset.bounds(now=1.0) == (-inf, inf)
    offset.answered(sent_at=1.1, received_at=1.1, venue_in=5.0, venue_out=5.0)
    assert offset.unreadable == 9
    assert offset.bounds(now=1.1)[0] > 0.0


def test_eight_messages_in_a_row_from_the_future_show_that_a_clock_was_set() -> None:
    offset, now = ClockOffset(resolution=0.0), 100.0
    offset.answered(sent_at=now, received_at=now, venue_in=1000.0)
    for nth in range(1, 25):
        # Each time the venue's clock is an hour further on than it can be.
        now += 1.0
        low, high = offset.bounds(now=now)
        assert low <= high
        offset.heard(now + high + 3600.0, received_at=now)
        assert offset.contradicted == min(nth, 8)
        assert offset.steps == (nth >= 8)
    offset = ClockOffset(resolution=0.0)
    for step in (1, 2, 3):
        offset.answered(sent_at=now, received_at=now, venue_in=1000.0 + 1e6 * step)
        steps = offset.steps
        for nth in range(1, 9):
            offset.heard(now + offset.bounds(now=now)[1] + 60.0, received_at=now)
            assert offset.steps == steps + (nth == 8)
        now += 1.0


@pytest.mark.parametrize("status", [1012, 1013, 429, 503])
@pytest.mark.parametrize("attempt", [1, 2, 5, 40])
def test_a_server_in_trouble_is_given_half_its_time_at_least_and_all_of_it_at_most(
    status: int, attempt: int
) -> None:
    backoff = Backoff()
    spread = backoff.delay(attempt, draw=1.0, status=status)
    usual = min(backoff.cap, backoff.base * 2.0 ** (attempt - 1))
    assert spread == max(backoff.gentle_base, usual)
    for draw in (0.0, 0.25, 0.5, 0.999):
        expected = spread / 2 + draw * spread / 2
        delay = backoff.delay(attempt, draw=draw, status=status)
        assert delay == pytest.approx(expected)


@pytest.mark.parametrize("count", [256, 257])
def test_256_channels_have_bounds_of_their_own_and_of_more_the_largest_is_told(
    count: int,
) -> None:
    watch = ChannelWatch(now=0.0)
    names = [f"{nth}" for nth in range(count)]
    for nth, name in enumerate(names):
        watch.watch(name, Freshness(every=1.0 + nth), now=0.0)
    bounds = ChannelBounds(watch)
    told = bounds.of(names, now=0.0)
    largest = count + 0.2
    if count == 256:
        assert told == {f"{n}": pytest.approx(1.2 + n) for n in range(256)}
    else:
        assert told == {None: pytest.approx(largest)}
    # For a second they are told unchanged, unless other channels are wanted.
    few = names[:3]
    assert bounds.of(few, now=0.99) is told
    assert set(bounds.of(few, now=1.0)) == set(few)
    assert set(bounds.of(names[:2], now=1.5)) == set(few)
    bounds.renew()
    assert set(bounds.of(names[:2], now=1.5)) == set(names[:2])
    assert bounds.of([*few, "nobody promised"][:3], now=3.0).keys() == set(few)


def test_of_what_breaks_the_rules_one_is_told_on_each_link() -> None:
    misread = Misread()
    for epoch in (0, 1, 2):
        [told] = misread.tell("why", epoch=epoch, now=5.0)
        assert (told.at, told.epoch, told.reason) == (5.0, epoch, "why")
        assert misread.tell("again", epoch=epoch, now=6.0) == []


def test_a_timer_that_was_set_anew_or_cancelled_never_rings_by_its_old_time() -> None:
    timers: Timers[str] = Timers()
    for nth in range(500):
        timers.set("a", 1000.0 - nth)
        timers.set("b", 5.0)
        timers.set("c", 2.0)
        timers.cancel("c")
        assert len(timers) == 2
        assert timers.next_at == 5.0
    assert timers.pop(now=4.99) is None
    assert timers.pop(now=5.0) == "b"
    assert timers.next_at == 1000.0 - 499
    timers.cancel("a")
    assert (timers.next_at, timers.pop(now=1e9)) == (inf, None)


def test_a_path_in_doubt_is_looked_at_some_twenty_times_a_second_and_no_more() -> None:
    """However long the verdict takes to be sure."""
    world = quiet()
    doubted = False
    looks: list[float] = []
    while not world.link.found:
        world.tick()
        assert world.now < HEARD + 60.0
        if world.link.path.ladder is not None:
            doubted = True
            looks.append(world.now)
    assert doubted
    spans = [after - before for before, after in pairwise(looks)]
    assert len(looks) < 5 + 40 * (looks[-1] - looks[0])
    assert sum(span < 0.0009 for span in spans) == 0


def test_a_ladder_that_waits_for_certainty_is_polled_every_50_ms() -> None:
    shut = kernel(send_window_bytes=0, outstanding_bytes=20, unsent_bytes=20)
    path = PathClock(Liveness(), kernel=shut, now=0.0)
    path.doubt(now=10.0)
    for nth in range(Liveness().pings):
        path.pinged(now=10.0 + nth)
    for nth in range(100):
        now = 60.0 + nth
        assert path.judge(now=now) is None
        assert path.next_at(now=now) == now + 0.05


@pytest.mark.parametrize("suspended", [0.0, 30.0])
def test_the_time_of_a_suspend_is_lateness_of_ours(suspended: float) -> None:
    world = quiet()
    world.tick(late=0.0 if suspended else 1.5, suspended=suspended)
    stalled = world.only(Stalled)
    assert stalled.suspended == suspended
    assert stalled.lag == pytest.approx(suspended or 1.5)
    assert world.link.lateness.stalled_for == pytest.approx(suspended or 1.5)


@pytest.mark.parametrize("resolution", [0.0, 0.001, 1.0])
def test_a_stamp_before_the_one_that_is_said_is_certainly_older(
    resolution: float,
) -> None:
    """Which saves asking for the age of every message of a read."""
    offset = ClockOffset(resolution=resolution)
    offset.answered(sent_at=50.0, received_at=50.2, venue_in=1050.1)
    for read_at, age in ((51.0, 0.5), (500.0, 3.0), (60.0, 0.0)):
        edge = offset.stamp_of(age, received_at=read_at)
        older = offset.age(edge - 1e-6, received_at=read_at)
        younger = offset.age(edge + 1e-3, received_at=read_at)
        assert older is not None
        assert younger is not None
        assert older.least > age
        assert younger.least <= age
