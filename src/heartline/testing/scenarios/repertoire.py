"""Every fault there is a scenario for, in the order they are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from heartline.testing.halfopen import available

from . import doors, harmless, lethal
from .outcome import Outcome, skipped
from .trial import Suspend, Trial

Scene: TypeAlias = Callable[[Trial], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    title: str
    play: Scene
    unavailable: Callable[[], str | None] = lambda: None
    """Says why this system cannot make the fault; None if it can."""


def _scenarios(suspend_us: Suspend) -> Mapping[str, Scenario]:
    suspend = partial(harmless.suspend, stop_us=suspend_us)
    return {
        "close": Scenario("the venue says goodbye", lethal.close),
        "reset": Scenario("the connection is reset", lethal.reset),
        "eof": Scenario("the venue hangs up without a word", lethal.eof),
        "blackhole": Scenario("a dead network, both ways", lethal.blackhole, available),
        "blackhole-in": Scenario(
            "a dead network, towards us", lethal.blackhole_in, available
        ),
        "blackhole-out": Scenario(
            "a dead network, away from us", lethal.blackhole_out, available
        ),
        "frozen": Scenario("a frozen venue", lethal.frozen),
        "frozen-writing": Scenario(
            "a frozen venue, our pipe full", lethal.frozen_writing
        ),
        "mute": Scenario("a silent channel on a healthy link", harmless.mute),
        "no-pong": Scenario("pings never answered", harmless.no_pong),
        "unsolicited": Scenario("pongs nobody asked for", harmless.unsolicited),
        "late-pong": Scenario("pongs that come late", harmless.late_pong),
        "self-stall": Scenario("our own program stalls", harmless.self_stall),
        "suspend": Scenario("our own process is put to sleep", suspend),
        "slow-consumer": Scenario("a burst on a slow consumer", harmless.slow_consumer),
        "hang": Scenario("a handshake without end", doors.hang),
        "dns": Scenario("a name that does not resolve", doors.dns),
        "refuse": Scenario("the door is shut", doors.refuse),
        "flap": Scenario("a door that slams", doors.flap),
    }


async def _nobody(seconds: float) -> float:
    raise NotImplementedError


TITLES: Mapping[str, str] = {
    fault: scenario.title for fault, scenario in _scenarios(_nobody).items()
}
FAULTS = tuple(TITLES)


async def play(fault: str, suspend_us: Suspend) -> Outcome:
    """Play one scenario to its end. Raises `KeyError` for a fault that is not known.

    `suspend_us` has somebody outside stop this process and let it go on.
    """
    scenario = _scenarios(suspend_us)[fault]
    reason = scenario.unavailable()
    if reason is not None:
        return skipped(fault, scenario.title, reason)
    trial = Trial(fault, scenario.title)
    await scenario.play(trial)
    return trial.outcome()
