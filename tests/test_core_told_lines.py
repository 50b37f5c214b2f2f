"""The way of a channel's messages across links: what stays, and what begins anew."""

from __future__ import annotations

from typing import Any

from heartline.core.channel_events import ChannelLive, GapClosed
from heartline.core.events import GapFound
from heartline.core.feed import Numbered
from heartline.core.sequence import Numbering, Rule
from test_core_told_channels import STEPPED, World, numbered

SURVIVING = Numbered(numbering=Numbering(rule=Rule.STEP, survives=True))
TEXTS = Numbered(numbering=Numbering(rule=Rule.CHAIN))


def found(outputs: list[Any], kind: type[Any]) -> list[Any]:
    return [each for each in outputs if isinstance(each, kind)]


def outage(world: World, epoch: int) -> Any:
    """The link is lost, and another one open a second later."""
    world.ledger.lose_link(world.feed.epoch, heard_at=world.now)
    world.hear(world.feed.lose(now=world.now))
    world.now += 1.0
    gap = world.ledger.regain_link(now=world.now)
    world.begin(epoch)
    return gap


def test_the_first_snapshot_of_a_channel_ends_an_outage_that_it_never_saw() -> None:
    for spoke in (False, True):
        world = numbered(STEPPED)
        if spoke:
            world.take("a", 5, rule=0)
            world.take("a", 6, rule=0, anew=True)
        gap = outage(world, 2)
        assert world.ledger.open_gaps("a") == [gap]
        [closed] = found(world.take("a", 9, rule=0, anew=True, after=1.0), GapClosed)
        assert (closed.gap.reason, closed.gap.channel) == ("outage", "a")
        assert world.ledger.open_gaps("a") == []
        assert world.ledger.open_gaps("b") == [gap]


def test_a_channel_dropped_and_wanted_again_begins_anew_and_is_counted_with_all() -> (
    None
):
    world = numbered(SURVIVING)
    world.take("a", 5, rule=0)
    world.hear(world.feed.unwant(["a"], now=world.now))
    world.hear(world.feed.want(["a"], now=world.now))
    # What was sent while nobody wanted it is not missing; after that all is.
    assert found(world.take("a", 90, rule=0), GapFound) == []
    [jump] = found(world.take("a", 93, rule=0), GapFound)
    assert jump.gap.missing == 2
    outage(world, 2)
    # On the next link it goes by the numbers of all again, and what cannot be read
    # of them is counted with all.
    world.take("a", 94, rule=0)
    before = world.feed.malformed
    world.take("a", "x", rule=0)
    assert world.feed.malformed == before + 1
    world.hear(world.feed.unwant(["a"], now=world.now))
    outage(world, 3)
    world.hear(world.feed.want(["a"], now=world.now))
    world.take("a", "y", rule=0)
    assert world.feed.malformed == before + 2


def test_every_channel_has_its_first_data_anew_when_it_is_asked_for_anew() -> None:
    world = numbered(STEPPED)
    for epoch in (1, 2, 3):
        if epoch > 1:
            outage(world, epoch)
        for number in (1, 2):
            lives = found(world.take("a", number, rule=0), ChannelLive)
            assert [each.epoch for each in lives] == [epoch] * (number == 1)


def test_texts_that_chain_are_forgotten_one_by_one_and_counted() -> None:
    from heartline.core import rules

    tracker = rules.tracker_of(TEXTS.numbering)
    most = rules.MOST_KEYS
    for nth in range(most + 3):
        assert tracker.feed(nth, "x", "w") is None
    assert tracker.evicted == 3
    # The first are forgotten, and the last are not.
    assert tracker.feed(0, "z", "other") is None
    assert tracker.feed(most + 2, "z", "other") is not None
    assert tracker.evicted == 4
