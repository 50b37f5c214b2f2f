"""Silences that are learned, and two links that meet: figures, one call at a time."""

from __future__ import annotations

from math import inf

import pytest

from heartline.core.adaptive import Arrivals
from heartline.core.channel import ChannelClock
from heartline.core.contracts import Freshness
from heartline.core.events import Ping, Received
from heartline.core.excuses import Excuses
from heartline.core.freshness import ChannelWatch
from heartline.core.losses import lost
from heartline.core.promises import bounds
from heartline.core.seam import Seam
from heartline.core.watched import Outcome, Watched, Watching
from scripted_link import Scripted, alive, feed, quiet


def test_no_silence_is_expected_beyond_36_seconds() -> None:
    rhythm = Arrivals(now=0.0)
    for _ in range(30):
        rhythm.count()
    for _ in range(9):
        rhythm.learn(1000.0, now=50.0)
    rare = rhythm.rare_silence(per_minute=1.0, now=50.0)
    assert rare == pytest.approx(0.1 * 2.0**8.5)


def test_a_longest_silence_is_trusted_once_others_came_near_it() -> None:
    policy, channel = Watching(), Watched("a", None, now=0.0)
    steps = [
        (1.0, 1.0, 0),
        (1.5, 1.5, 1),
        (0.75, 1.5, 2),
        (0.74, 1.5, 2),
        (1.5, 1.5, 3),
        (2.3, 2.3, 0),
        (2.2, 2.3, 1),
    ]
    for nth, (silence, longest, alike) in enumerate(steps):
        assert channel.learn(policy, silence, now=float(nth)) is False
        assert (channel.longest, channel.alike) == (longest, alike)
    channel.calm_down()
    assert channel.alert == 2.3 / 2
    for _ in range(4):
        channel.learn(policy, 2.0, now=9.0)
    channel.calm_down()
    assert channel.alert == 2.3
    # After as long as it remembers, the longest of before counts, and then none.
    channel.data_at = 1809.0
    assert channel.age(policy, now=1809.0) is True
    assert (channel.former, channel.former_alike) == (2.3, 5)
    assert (channel.longest, channel.alike, channel.alert) == (0.0, 0, 0.0)
    channel.learn(policy, 1.0, now=1809.0)
    channel.data_at = 1809.0 + 3600.0
    assert channel.age(policy, now=1809.0 + 3600.0) is True
    assert (channel.former, channel.former_alike) == (0.0, 0)


def test_a_channel_that_was_told_stalled_is_allowed_twice_as_much_the_next_time() -> (
    None
):
    for silence, longest in ((10.0, 2.0), (1.5, 1.5), (0.5, 1.0)):
        channel = Watched("a", None, now=100.0)
        channel.learn(Watching(), 1.0, now=101.0)
        channel.outcome, channel.granted = Outcome.STALLED, 16.0
        channel.data_at = 200.0
        channel.learn(Watching(), silence, now=200.0)
        # Four times, and four times more for a history of a hundred seconds.
        assert channel.longest == longest


def test_64_stalls_of_ours_are_told_apart_and_of_more_the_oldest_count_as_one() -> None:
    excuses = Excuses()
    for nth in range(64):
        excuses.add(lag=0.25, now=float(nth))
        assert excuses.since(-1.0) == 0.25 * (nth + 1)
    excuses.add(lag=0.25, now=64.0)
    assert excuses.since(-1.0) == 0.25 * 65 + 0.75
    assert excuses.since(63.0) == 0.25


def test_data_that_waited_out_a_stall_of_ours_begins_the_silence_anew() -> None:
    clock = ChannelClock(Freshness(every=2.0), now=0.0)
    assert clock.due_at == 2.0
    clock.fed(Received(1, 1, 1), now=1.0)
    assert (clock.due_at, clock.count) == (3.0, 1)
    clock.fed_stale(3, now=2.5)
    assert (clock.due_at, clock.count) == (4.5, 4)
    assert (clock.data_at, clock.fresh_at) == (1.0, 1.0)
    clock.extend(0.5, now=3.0)
    assert clock.due_at == 5.0
    clock.extend(9.0, now=4.0)
    assert clock.due_at == 6.0


POLICY = Watching(warm_up=60.0, warm_up_messages=20)


def heard_for_long(*names: str, every: float = 0.1) -> tuple[ChannelWatch, float]:
    """Channels that spoke as often for five minutes; and now."""
    watch = ChannelWatch(POLICY, now=0.0)
    for name in names:
        watch.watch(name, now=0.0)
    watch.open(now=0.0)
    now = 0.0
    while now < 300.0:
        now += every
        for name in names:
            watch.feed(name, now)
        while watch.deadline <= now:
            assert watch.look(proven_at=now, now=now) == []
    return watch, now


def looks(watch: ChannelWatch, *, now: float, until: float) -> tuple[int, list[str]]:
    """How often it wants to look until then, and whom it calls stalled."""
    count, stalled = 0, list[str]()
    while (due := watch.deadline) <= until:
        count += 1
        for change in watch.look(proven_at=inf, now=max(due, now)):
            stalled.append(change.channel)
    return count, stalled


def test_what_siblings_said_before_an_excuse_bears_no_witness() -> None:
    for excused in (False, True):
        watch, now = heard_for_long("a", "b", "c")
        for _ in range(30):
            now += 0.05
            watch.feed("b", now)
            watch.feed("c", now)
        if excused:
            watch.excuse(now=now)
        _, stalled = looks(watch, now=now, until=now + 20.0)
        assert ("a" in stalled) is not excused
        if excused:
            assert watch.outcome("a") is Outcome.QUIET


def test_a_quiet_market_is_looked_at_less_and_less() -> None:
    watch, now = heard_for_long("a", "b", "c")
    count, stalled = looks(watch, now=now, until=now + 25.0)
    assert stalled == []
    assert {watch.outcome(name) for name in "abc"} == {Outcome.QUIET}
    assert count < 120, "a look each 0.1 s would be 250"


def test_a_channel_is_held_to_its_rhythm_on_the_next_link_too() -> None:
    watch, now = heard_for_long("a", "b", "c")
    watch.open(now=now)
    for nth in range(400):
        now += 0.1
        for name in "abc" if nth < 100 else "bc":
            watch.feed(name, now)
        if "a" in looks(watch, now=now, until=now)[1]:
            break
    assert watch.outcome("a") is Outcome.STALLED
    assert watch.outcome("b") is Outcome.LIVE


# --- a seam -----------------------------------------------------------------------


def test_the_new_link_takes_over_where_its_numbers_follow_and_doubles_go() -> None:
    seam: Seam[str] = Seam([("a", 5)])
    assert seam.new("a", 4, 4, "old news") == []
    assert seam.doubled == 1
    assert seam.old("a", 5, 6, "six") == ["six"]
    assert seam.new("a", 4, 5, "five again") == []
    assert not seam.complete
    assert seam.new("a", 5, 6, "six again") == []
    assert seam.complete
    assert (seam.doubled, seam.held) == (3, 0)
    assert seam.new("a", 6, 7, "seven") == ["seven"]
    assert seam.old("a", 6, 7, "seven again") == []
    assert seam.new("a", 5, 6, "six once more") == []
    assert seam.doubled == 5
    assert seam.new("a", 7, 8, "eight") == ["eight"]


def test_a_key_without_a_number_on_the_old_link_is_the_new_ones_in_the_end() -> None:
    for held in (4096, 4097):
        seam: Seam[int] = Seam([("a", None)])
        passed = [m for n in range(held) for m in seam.new("a", n - 1, n, n)]
        full = held > 4096
        assert passed == (list(range(held)) if full else [])
        assert seam.complete is full
        assert seam.held == (0 if full else held)
        if full:
            assert seam.new("a", held - 1, held, held) == [held]
            assert seam.finish() == []
        else:
            assert seam.finish() == list(range(held))
        assert seam.complete


# --- what a loss says of its bound ---------------------------------------------------


def hushed(seconds: float) -> Scripted:
    """A link of 20 messages a second whose feed went quiet; its peer still answers."""
    world = quiet()
    feed(world, 120.0)
    until = world.now + seconds
    while world.link.deadline <= until:
        # The kernel at the other end answers within every second.
        if world.link.deadline >= world.heard_at + 1.0:
            world.now = max(world.now, world.heard_at + 1.0)
            world.hear()
        said = len(world.told)
        world.tick()
        if any(isinstance(o, Ping) for _, o in world.told[said:]):
            world.read(pong=True)
    world.now = until
    return world


@pytest.mark.parametrize("seconds", [0.0, 2.0, 9.0, 11.0, 25.0])
@pytest.mark.parametrize("fault", ["frozen", "dark"])
def test_a_loss_is_told_with_a_bound_that_it_kept(seconds: float, fault: str) -> None:
    world = hushed(seconds)
    promised = bounds(world.link, now=world.now)
    if fault == "frozen":
        alive(world, inf)
    else:
        world.acks = False
        world.run()
    assert world.link.found is not None
    told = lost(world.link, world.link.found, where=None, ended=None, now=world.now)
    assert told.bound is not None
    assert told.at - told.since_at <= told.bound
    assert told.bound <= max(promised.peer, promised.path)
