"""No silence outlasts the bound that was published as it began, whatever a path loses.

The kernel's figures are drawn: segments, acknowledgements and resends come and stay
out as they like. What may not happen is that nobody is told in time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.core.diagnosis import Finding
from heartline.core.evidence import Kernel
from heartline.core.items import Bounds, Where
from heartline.core.kept import Kept
from heartline.core.losses import lost
from heartline.core.pings import Pings
from heartline.core.promises import bounds, ceilings
from scripted_link import BEGAN, Scripted

QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)
ROUND_TRIPS = (0.001, 0.02, 0.1, 0.4, 1.0)
LONG = 100.0
"""More than any ceiling of the defaults, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """How likely it is that something comes through between two looks."""

    segment: float
    acknowledgement: float
    part: float
    resend: float
    window: float

    @staticmethod
    def drawn(dice: random.Random) -> Luck:
        return Luck(
            segment=dice.choice((0.0, 0.05, 0.3, 0.8)),
            acknowledgement=dice.choice((0.0, 0.02, 0.1, 0.5)),
            part=dice.choice((0.0, 0.02)),
            resend=dice.choice((0.0, 0.05, 0.3)),
            window=dice.choice((0.0, 0.0, 0.0, 0.1)),
        )


class Lossy:
    """A link whose kernel shows what the dice say. `live` it, then let it be silent."""

    def __init__(self, dice: random.Random) -> None:
        self.world = Scripted()
        self.world.acks = False
        self._dice = dice
        self._luck = Luck.drawn(dice)
        self._busy = dice.random() < 0.7

    @property
    def found(self) -> Finding | None:
        return self.world.link.found

    def live(self, until: float) -> None:
        """Frames come, some of them late; the link may be lost in it."""
        dice, world = self._dice, self.world
        world.now = BEGAN + 0.02
        world.acknowledge()
        world.read(pong=True)
        while world.now < until:
            usual = (
                [0.02] * 20 + [0.3, 0.6, 1.2] if self._busy else [0.5, 3.0, 9.0, 12.0]
            )
            next_at = world.now + dice.choice(usual)
            while world.link.deadline <= next_at and not self.found:
                world.tick()
                self._draw()
            if self.found:
                return
            world.now = next_at
            if dice.random() < 0.7:
                world.acknowledge()
            self._draw()
            answers = world.seen.outstanding_bytes == 0 and bool(world.link.pings)
            world.read(data=int(self._busy), pong=answers)

    def promised(self) -> Bounds:
        return bounds(self.world.link, now=self.world.now)

    def fall_silent(self, *, most: float) -> None:
        """No frame comes from now on, until the link is lost or `most` seconds are."""
        dice, world = self._dice, self.world
        self._luck = Luck.drawn(dice)
        until = world.now + most
        while not self.found and world.now < until:
            next_at = min(
                world.link.deadline, world.now + dice.choice((0.03, 0.1, 0.5))
            )
            if next_at >= world.link.deadline:
                world.tick()
            else:
                world.now = next_at
            self._draw()

    def _draw(self) -> None:
        """Change what the kernel shows."""
        dice, world, luck = self._dice, self.world, self._luck
        waits = world.seen.outstanding_bytes
        if dice.random() < luck.segment:
            world.hear()
        if waits and dice.random() < luck.acknowledgement:
            world.acknowledge()
            world.hear()
            world.show(retransmits=0)
        elif waits and dice.random() < luck.part:
            acked = dice.randint(1, waits)
            left, all_acked = waits - acked, world.seen.acked_bytes + acked
            world.show(acked_bytes=all_acked, outstanding_bytes=left)
            world.hear()
        if world.seen.outstanding_bytes and dice.random() < luck.resend:
            seen = world.seen
            resent, in_a_row = seen.total_retransmits + 1, seen.retransmits + 1
            world.show(total_retransmits=resent, retransmits=in_a_row)
        if dice.random() < 0.05:
            took = dice.choice(ROUND_TRIPS)
            deviation = took * dice.random()
            world.hear()
            world.show(round_trip=took, round_trip_deviation=deviation)
        if dice.random() < luck.window:
            world.hear()
            world.show(send_window_bytes=dice.choice((0, 100, 65_535)))


def silence_is_told_in_time(seed: int) -> None:
    dice = random.Random(seed)
    lossy = Lossy(dice)
    lossy.live(until=BEGAN + dice.uniform(1.0, 40.0))
    if lossy.found:
        return
    link, silent_at = lossy.world.link, lossy.world.now
    promised, most = lossy.promised(), ceilings(link)
    assert promised.path <= most.path + 1e-9
    assert promised.peer <= most.peer + 1e-9
    lossy.fall_silent(most=LONG)
    assert lossy.found is not None, "it waits for ever"
    took = lossy.world.now - silent_at
    assert took <= max(promised.path, promised.peer) + 1e-9
    assert lossy.promised().peer == promised.peer, "of the present silence"
    finding, now = lossy.found, lossy.world.now
    if finding.where is Where.BOTH or finding.where is Where.LOCAL:
        return
    event = lost(link, finding, where=finding.where, ended=None, now=now)
    assert event.bound is not None
    assert event.since_at == silent_at
    assert took <= event.bound + 1e-9, "as the loss itself says"


@QUICK
@given(st.integers(0, 10_000))
def test_no_silence_outlasts_the_bound_that_was_published_as_it_began(
    seed: int,
) -> None:
    silence_is_told_in_time(seed)


def test_that_is_found_out_where_nobody_keeps_the_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unsure(kept: Kept, kernel: Kernel | None, *, pings: Pings, now: float) -> None:
        return None

    def tried() -> None:
        for seed in range(40):
            silence_is_told_in_time(seed)

    monkeypatch.setattr(Kept, "judge", unsure)
    with pytest.raises(AssertionError):
        tried()
