"""What is done in each row to a link that stood: paths cut, venues frozen, ends."""

from __future__ import annotations

import asyncio
import time

from . import links
from .namespaces import ip
from .trial import AT_ONCE, RATE, RHYTHM, WARM_UP, Trial

FLAPS = 4
FLAP = 1.0
"""Seconds that a flapping link is down, and up."""
BETWEEN = (0.05, 0.3)
"""Seconds between the death of one direction and that of the other."""
SNAPSHOT_BYTES = 4000
SNAPSHOT_EVERY = 0.5
CONTRACT = 2.0
DOWN = 1.0


# --- ends that are told -----------------------------------------------------------


async def close(trial: Trial) -> None:
    await _told_end(trial, "close")


async def reset(trial: Trial) -> None:
    await _told_end(trial, "reset")


async def eof(trial: Trial) -> None:
    await _told_end(trial, "eof")


async def _told_end(trial: Trial, fault: str) -> None:
    await trial.live()
    await trial.warm(WARM_UP)
    match fault:
        case "close":
            await trial.strike(lambda: trial.stage.fault("close"), bound=AT_ONCE)
        case "reset":
            await trial.strike(lambda: trial.stage.fault("reset"), bound=AT_ONCE)
        case _:
            await trial.strike(lambda: trial.stage.fault("eof"), bound=AT_ONCE)
    await trial.loss()
    trial.healed()
    await trial.recovery(since="the loss was told")


async def restart(trial: Trial) -> None:
    """The venue's process is killed, and a second later another has its address."""
    await trial.live()
    await trial.warm(WARM_UP)
    await trial.strike(trial.stage.venue.kill, bound=AT_ONCE)
    await trial.loss()
    await asyncio.sleep(DOWN)
    await trial.stage.restart_venue()
    trial.healed()
    await trial.begin(RATE)
    await trial.recovery(since="the venue was there again")


async def lost_compression(trial: Trial) -> None:
    await trial.live()
    await trial.warm(WARM_UP)
    await trial.strike(
        lambda: trial.stage.venue.ask("lose_compression", {}), bound=AT_ONCE
    )
    await trial.loss()
    trial.healed()
    await trial.recovery(since="the loss was told")


# --- dead paths -------------------------------------------------------------------


async def blackhole(trial: Trial) -> None:
    await _dead_path(trial, links.BOTH)


async def blackhole_idle(trial: Trial) -> None:
    await _dead_path(trial, links.BOTH, rate=0.0)


async def blackhole_in(trial: Trial) -> None:
    await _dead_path(trial, links.INBOUND)


async def blackhole_out(trial: Trial) -> None:
    await _dead_path(trial, links.OUTBOUND)


async def _dead_path(trial: Trial, rule: str, *, rate: float = RATE) -> None:
    await trial.live(rate=rate)
    await trial.warm(RHYTHM)
    await trial.strike(lambda: trial.stage.rules(rule), bound="path")
    await trial.loss()
    if rule == links.OUTBOUND:
        await trial.count_from("segment")
    trial.heal()
    await trial.recovery()


async def in_then_out(trial: Trial) -> None:
    await _one_after_the_other(trial, links.INBOUND, links.OUTBOUND)


async def out_then_in(trial: Trial) -> None:
    await _one_after_the_other(trial, links.OUTBOUND, links.INBOUND)


async def _one_after_the_other(trial: Trial, first: str, second: str) -> None:
    """Two routes, each for one direction, and both die, but not together."""
    await trial.live()
    await trial.warm(RHYTHM)
    await trial.strike(lambda: trial.stage.rules(first), bound="path")
    await asyncio.sleep(trial.dice.uniform(*BETWEEN))
    trial.stage.rules(second)
    trial.figures["second_after_s"] = time.monotonic() - (trial.struck_at or 0.0)
    await trial.loss()
    if first == links.OUTBOUND:
        await trial.count_from("segment")
    trial.heal()
    await trial.recovery()


async def nat_forgets(trial: Trial) -> None:
    """The NAT on the way loses its table; what it does not know it drops."""
    assert trial.stage.connections is not None
    await trial.live(rate=0.0)
    await trial.warm(RHYTHM)
    await trial.strike(trial.stage.connections.forget, bound="path")
    await trial.loss()
    trial.healed()
    await trial.recovery(since="the loss was told")


async def mtu_blackhole(trial: Trial) -> None:
    """Long packets vanish, short ones pass: a tunnel on the way, and no ICMP."""
    await trial.live()
    every = {"every": SNAPSHOT_EVERY, "size_bytes": SNAPSHOT_BYTES}
    await trial.stage.venue.ask("snapshots", every)
    await trial.warm(RHYTHM)
    await trial.strike(lambda: trial.stage.rules(links.LARGE), bound="peer")
    await trial.loss()
    await trial.count_from("data")
    await trial.stage.venue.ask("snapshots", {"every": 0.0, "size_bytes": 0})
    trial.heal()
    await trial.recovery()


async def link_flaps(trial: Trial) -> None:
    """The router's interface goes down and up, a second each, four times."""
    await trial.live()
    await trial.warm(RHYTHM)
    router = trial.stage.names.router

    async def flap() -> None:
        for _ in range(FLAPS):
            await ip("link set near down\n", within=router)
            await asyncio.sleep(FLAP)
            await ip("link set near up\n", within=router)
            await asyncio.sleep(FLAP)

    flapping: list[asyncio.Task[None]] = []
    await trial.strike(
        lambda: flapping.append(asyncio.create_task(flap())), bound="path"
    )
    await trial.loss()
    await flapping[0]
    trial.healed()
    await _back_to_stay(trial)
    most = FLAPS + 2
    attempts = (await trial.status())["counts"]["attempts"] - 1
    trial.expect(attempts <= most, f"{attempts} dials for {FLAPS} flaps of the link")


async def _back_to_stay(trial: Trial) -> None:
    """OPEN when all is over: it may have come back and been lost several times."""
    deadline = time.monotonic() + 15.0
    while not (await trial.status())["live"]:
        if time.monotonic() > deadline:
            trial.broken.append("not live 15 s after the last flap")
            return
        await asyncio.sleep(0.02)
    trial.recovered_at = time.monotonic()
    trial.recovered_since = "the link stayed up"
    await asyncio.sleep(1.0)


# --- frozen venues ----------------------------------------------------------------


async def frozen(trial: Trial) -> None:
    await trial.live()
    await trial.warm(RHYTHM)
    await trial.strike(trial.stage.venue.freeze, bound="peer")
    await _found_frozen(trial)


async def frozen_writing(trial: Trial) -> None:
    await trial.live()
    await trial.warm(RHYTHM)
    await trial.stage.client.ask("write", {})
    await asyncio.sleep(0.1)
    await trial.strike(trial.stage.venue.freeze, bound="peer")
    await _found_frozen(trial)


async def half_a_record(trial: Trial) -> None:
    """The venue stops in the middle of a TLS record: bytes came, no frame."""

    async def stop() -> None:
        await trial.stage.venue.ask("half_record", {})
        trial.stage.venue.freeze()

    await trial.live()
    await trial.warm(RHYTHM)
    await trial.strike(stop, bound="peer")
    await _found_frozen(trial)


async def _found_frozen(trial: Trial) -> None:
    await trial.loss()
    trial.stage.venue.thaw()
    trial.healed()
    await trial.recovery(since="the venue went on")


# --- silent channels --------------------------------------------------------------


async def mute(trial: Trial) -> None:
    await trial.live(freshness=CONTRACT)
    await trial.warm(WARM_UP)

    async def fall_silent() -> None:
        await trial.stage.venue.ask("rate", {"rate": 0.0})

    await trial.strike(fall_silent, bound="channel")
    await trial.loss("ChannelStalled", "Lost")
    await trial.count_from("data")
    trial.healed()
    await trial.stage.venue.ask("rate", {"rate": RATE})
    await _revival(trial)


async def dead_behind_a_balancer(trial: Trial) -> None:
    """What answers our pings is not what sends our data."""
    await trial.live(freshness=CONTRACT)
    await trial.warm(WARM_UP)
    await trial.strike(trial.stage.venue.freeze, bound="channel")
    await trial.loss("ChannelStalled", "Lost")
    await trial.count_from("data")
    trial.healed()
    trial.stage.venue.thaw()
    await _revival(trial)


async def _revival(trial: Trial) -> None:
    """Data again on the same link: nothing was lost, and nobody dialled.

    The venue was healed after `healed_at`: what it sends may be read before we go on.
    """
    assert trial.healed_at is not None
    back = await trial.event("ChannelRevived", since=trial.healed_at, within=5.0)
    if back is None:
        trial.broken.append("the channel was not told alive again")
        return
    trial.recovered_at = back["told_at"]
    trial.recovered_since = "data flows again"
    attempts = (await trial.status())["counts"]["attempts"]
    trial.expect(attempts == 1, f"the link was not kept: {attempts} dials")
