"""A link at rest: the short look decides as the long one would."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from heartline.core.detector import Liveness
from heartline.core.events import Ping, Ponged, Received, Tick
from heartline.core.evidence import Evidence
from heartline.core.link import LEAST_STEP, Link
from heartline.core.rest import SHARED_EVERY, Rest
from scripted_link import kernel

QUIET = kernel(segments_in=3, heard_age=0.03, acked_bytes=200, received_bytes=300)


def quiet(**changed: Any) -> Evidence:
    return Evidence(msgspec.structs.replace(QUIET, **changed))


def rested(*, now: float = 100.0) -> Link:
    """A link whose first ping has been answered, after its next look."""
    link = Link(1, policy=Liveness(), now=now, evidence=quiet(heard_age=0.0))
    (ping,) = link.open(now=now)
    assert isinstance(ping, Ping)
    link.handle(Ponged(1, ping.payload), now=now + 0.02)
    link.handle(Received(1, 1, 0, 8), now=now + 0.02)
    for _ in range(3):
        look(link)
    return link


def look(link: Link, *, age: float = 0.03, **changed: Any) -> list[Any]:
    """A punctual tick that finds a segment of so long ago, and what else changed."""
    evidence = quiet(heard_age=age, **changed)
    return link.handle(Tick(1, evidence), now=link.deadline)


@pytest.mark.parametrize(
    "changed",
    [
        {"outstanding_bytes": 1},
        {"acked_bytes": 201},
        {"received_bytes": 301},
        {"round_trip": 0.021},
        {"round_trip_deviation": 0.003},
        {"min_round_trip": 0.018},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_whatever_more_the_kernel_tells_needs_the_whole_judgement(
    changed: dict[str, Any],
) -> None:
    rest = Rest(QUIET, patience=1.1, ask_at=110.0)
    assert rest.until(quiet(), now=100.0) is not None
    assert rest.until(quiet(**changed), now=100.0) is None
    assert rest.until(Evidence(QUIET, unread_bytes=1), now=100.0) is None
    assert rest.until(Evidence(), now=100.0) is None


def test_the_next_look_is_never_later_than_the_doubt_or_the_question() -> None:
    dice = random.Random(7)
    for _ in range(2000):
        now, age = dice.uniform(0, 1e6), dice.uniform(0, 1.2)
        patience, ask_at = dice.uniform(1.0, 1.5), now + dice.uniform(-1, 3)
        rest = Rest(QUIET, patience=patience, ask_at=ask_at)
        until = rest.until(quiet(heard_age=age), now=now)
        due = min(now - age + patience, ask_at)
        if due <= now:
            assert until is None
        else:
            assert until is not None
            assert now < until <= due
            assert due - until < SHARED_EVERY


@pytest.mark.parametrize("ours", ["stalled", "suspended"])
def test_a_stall_or_a_suspend_alone_ends_the_rest_of_a_link(ours: str) -> None:
    link = rested()
    assert link.rest is not None
    tick = Tick(1, quiet(heard_age=0.03), **{ours: 0.05})
    link.handle(tick, now=link.deadline)
    assert link.rest is None


def test_a_link_at_rest_is_looked_at_a_millisecond_later_at_the_earliest() -> None:
    link = rested()
    assert link.rest is not None
    now = link.deadline - 0.1
    soon = link.rest.until_at(now + 0.0004)
    assert link.rests(soon, Tick(1, quiet(heard_age=0.03)), now)
    assert link.deadline == now + LEAST_STEP


def test_links_at_rest_share_their_looks() -> None:
    links = [rested(now=100.0 + nth / 1000) for nth in range(40)]
    assert len({link.deadline for link in links}) <= 4


def test_a_link_at_rest_asks_and_doubts_when_it_would_have_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[list[tuple[float, str]]] = []
    for short in (True, False):
        if not short:
            monkeypatch.setattr(Rest, "until", lambda *_, **__: None)
        dice = random.Random(11)
        for _ in range(30):
            told.append(life(random.Random(dice.random())))
    short_told, long_told = told[:30], told[30:]
    for short_life, long_life in zip(short_told, long_told, strict=True):
        assert [what for _, what in short_life] == [what for _, what in long_life]
        for (short_at, _), (long_at, _) in zip(short_life, long_life, strict=True):
            assert abs(short_at - long_at) <= 2 * LEAST_STEP


def life(dice: random.Random) -> list[tuple[float, str]]:
    """What a link wants and tells while its peer answers, and then no more.

    The kernels talk every second, pings are answered; from `dead_at` on nothing comes.
    """
    began = 100.0
    link = Link(1, policy=Liveness(), now=began, evidence=quiet(heard_age=0.0))
    told: list[tuple[float, str]] = []
    dead_at, jitter = began + dice.uniform(12, 40), dice.uniform(0.0, 0.03)
    heard_at, segments, now = began, 3, began
    out = link.open(now=now)
    while link.found is None and now < began + 60:
        for wanted in out:
            told.append((now, type(wanted).__name__))
            if isinstance(wanted, Ping) and now < dead_at:
                heard_at, segments = now, segments + 1
                link.handle(Ponged(1, wanted.payload), now=now)
                link.handle(Received(1, 1, 0, 8), now=now)
        now = link.deadline
        while heard_at + 1.0 + jitter <= min(now, dead_at):
            heard_at, segments = heard_at + 1.0 + jitter, segments + 1
        evidence = quiet(heard_age=now - heard_at, segments_in=segments)
        out = link.handle(Tick(1, evidence), now=now)
    told.append((now, "dead" if link.found else "alive"))
    return told
