"""What is done in each row to a link that must outlive it, and to one not yet there."""

from __future__ import annotations

import asyncio
import time

from heartline.core.backoff import Backoff

from . import links
from .limits import Group
from .trial import AT_ONCE, PATIENCE, RATE, RHYTHM, WARM_UP, Trial

OBSERVED = 12.0
"""Seconds that a link under a harmless fault is watched."""
LOSS_OBSERVED = 25.0
SILENT_FOR = 1.0
"""Fifty messages overdue: a link that brings nothing for so long is not healthy."""
LATE_BY = 1.0
BLOCKED = 3.0
SUSPENDED = 20.0
ARMED = 1.15
"""The timer that finds a stall may have been armed this long ahead, seconds."""
BURST = 200_000
MUCH = 4_000.0
SLOW = 5_000.0
SHARE = 0.05
HOG_BYTES = 48 << 20
SHORT = {"resolve": 1.0, "connect": 2.0}
"""Shorter deadlines for a dial than the defaults of 5 and 10 s."""
FLAPPING = 10.0
TRY_AGAIN_LATER = 1013
WITHOUT_FILES = 4.0
NAMED = "ws://venue.example:80/"


# --- odd, and alive ---------------------------------------------------------------


async def healthy(trial: Trial) -> None:
    await trial.live()
    await asyncio.sleep(OBSERVED)


async def no_pong(trial: Trial) -> None:
    await trial.stage.fault("no_pong")
    await healthy(trial)


async def unsolicited(trial: Trial) -> None:
    await trial.stage.fault("unsolicited")
    await healthy(trial)


async def late_pong(trial: Trial) -> None:
    """On an idle link, where a pong is all there is to go by."""
    await trial.stage.fault("late_pong", delay=LATE_BY)
    await trial.live(rate=0.0)
    await asyncio.sleep(OBSERVED)


async def loses_1(trial: Trial) -> None:
    await _lossy(trial, 1)


async def loses_5(trial: Trial) -> None:
    await _lossy(trial, 5)


async def loses_20(trial: Trial) -> None:
    trial.excused_silence = SILENT_FOR
    await _lossy(trial, 20)


async def _lossy(trial: Trial, percent: float) -> None:
    await trial.live()
    await trial.stage.client.ask("bounds", {})
    await trial.warm(WARM_UP)
    trial.stage.rules(links.losing(percent))
    await asyncio.sleep(LOSS_OBSERVED)
    trial.stage.rules(links.heal())
    await trial.flows_again()


async def reorders(trial: Trial) -> None:
    """20 ms each way; of a hundred packets five are overtaken by up to 30 ms."""
    await _userspace(trial, overtaken=0.05)
    await asyncio.sleep(OBSERVED)
    await _count_packets(trial)


async def delay_spikes(trial: Trial) -> None:
    """Nothing passes for 0.1 to 0.4 s, again and again; then all of it, in order."""
    await _userspace(trial, overtaken=0.0)
    assert trial.stage.tun is not None
    until = time.monotonic() + OBSERVED
    while time.monotonic() < until:
        await asyncio.sleep(trial.dice.uniform(0.5, 2.5))
        await trial.stage.tun.ask("spike", {"seconds": trial.dice.uniform(0.1, 0.4)})
    await _count_packets(trial)


async def _userspace(trial: Trial, *, overtaken: float) -> None:
    assert trial.stage.tun is not None
    setting = {"delay": 0.02, "overtaken": overtaken, "held_for": 0.03}
    await trial.stage.tun.ask("set", setting)
    await trial.live()


async def _count_packets(trial: Trial) -> None:
    assert trial.stage.tun is not None
    counts: dict[str, int] = await trial.stage.tun.ask("counts", {})
    trial.figures |= {f"packets_{name}": count for name, count in counts.items()}


async def wall_clock(trial: Trial) -> None:
    await trial.stage.client.ask("clock", {"seed": trial.dice.randrange(1 << 30)})
    await healthy(trial)


# --- our own process --------------------------------------------------------------


async def self_stall(trial: Trial) -> None:
    await trial.live()
    await trial.warm(RHYTHM)
    await trial.strike(
        lambda: trial.stage.client.ask("stall", {"seconds": BLOCKED}), bound=AT_ONCE
    )
    await _own_stall(trial, BLOCKED)


async def suspend(trial: Trial) -> None:
    await trial.live()
    await trial.warm(WARM_UP)
    await trial.strike(trial.stage.client.freeze, bound=AT_ONCE)
    await asyncio.sleep(SUSPENDED)
    trial.stage.client.thaw()
    await _own_stall(trial, SUSPENDED)


async def _own_stall(trial: Trial, seconds: float) -> None:
    """Told at once after waking, as our own, with its length; the link is kept."""
    assert trial.struck_at is not None
    await trial.loss("Stalled", "Lost")
    if trial.told is None or trial.told["event"] != "Stalled":
        return
    trial.since_at = max(trial.struck_at + seconds, trial.healed_at or 0.0)
    trial.since = "our waking"
    lag, at_most = trial.told["lag"], trial.told["told_at"] - trial.struck_at + 0.1
    trial.figures["stall_told_s"] = lag
    least = seconds - ARMED
    trial.expect(
        least <= lag <= at_most,
        f"a stall of {lag:.2f} s was told, wanted {least:.2f} to {at_most:.2f}",
    )
    trial.healed_at = trial.since_at
    back = await trial.event("Cleared", since=trial.told["told_at"], within=PATIENCE)
    if back is None:
        trial.broken.append("the stream was not live again")
        return
    trial.recovered_at, trial.recovered_since = back["told_at"], trial.since
    await asyncio.sleep(1.0)
    await _kept(trial)


async def _kept(trial: Trial) -> None:
    """The link is the first one, and live; a stall of ours may have to be proven."""
    deadline = time.monotonic() + PATIENCE
    while not (status := await trial.status())["live"]:
        if time.monotonic() > deadline:
            trial.broken.append(f"the stream is not live {PATIENCE:g} s on")
            break
        await asyncio.sleep(0.05)
    attempts = status["counts"]["attempts"]
    trial.expect(attempts == 1, f"the link was not kept: {attempts} dials")


async def slow_consumer(trial: Trial) -> None:
    client, venue = trial.stage.client, trial.stage.venue
    await trial.live()
    await trial.warm(WARM_UP)
    await client.ask("pace", {"rate": SLOW})
    began_at = time.monotonic()
    await venue.ask("burst", {"messages": BURST})
    slow = await trial.event("ConditionBegan", since=began_at, within=PATIENCE)
    trial.expect(slow is not None, "SLOW_CONSUMER was not told")
    if slow is not None:
        trial.figures["told_slow_after_s"] = slow["told_at"] - began_at
    await asyncio.sleep(3.0)
    await client.ask("pace", {"rate": None})
    await _kept(trial)
    dropped = (await trial.status())["counts"]["dropped"]
    trial.figures["dropped"] = dropped
    trial.expect(dropped > 0, "nothing was dropped")


async def starved(trial: Trial) -> None:
    """The client's process has a twentieth of a processor, and much to read."""
    group = Group("cpu")
    try:
        await trial.live(rate=MUCH)
        await trial.warm(WARM_UP)
        group.limit_processor(SHARE)
        group.add(trial.stage.client.pid)
        await asyncio.sleep(OBSERVED)
        trial.figures["throttled"] = group.throttled()
    finally:
        group.close()
    await asyncio.sleep(1.0)
    await _kept(trial)


async def squeezed(trial: Trial) -> None:
    """The client's process shares a small memory with one that takes all there is."""
    group = Group("memory")
    try:
        hog = await trial.stage.another("hog", {})
        await trial.live()
        await trial.warm(WARM_UP)
        group.add(trial.stage.client.pid)
        group.add(hog.pid)
        group.limit_memory(group.used_bytes() + HOG_BYTES)
        await hog.ask("press", {"size_bytes": HOG_BYTES})
        await asyncio.sleep(OBSERVED)
        trial.figures["reclaims"] = group.reclaims()
        trial.figures |= await hog.ask("pressed", {})
    finally:
        group.close()
    await _kept(trial)


async def no_files(trial: Trial) -> None:
    """No descriptor is left when the lost link is to be dialled again."""
    await trial.live()
    await trial.warm(WARM_UP)
    await trial.stage.client.ask("exhaust", {})
    await trial.strike(lambda: trial.stage.fault("reset"), bound=AT_ONCE)
    lost = await trial.loss()
    if lost is None:
        return
    refused = await trial.event("DialLost", since=lost["told_at"], within=PATIENCE)
    trial.expect(refused is not None, "no failed dial was told")
    await asyncio.sleep(WITHOUT_FILES)
    counts = (await trial.status())["counts"]
    most = most_dials(WITHOUT_FILES + PATIENCE, status=None) + 1
    trial.expect(counts["attempts"] <= most, f"{counts['attempts']} dials, no files")
    await trial.stage.client.ask("restore", {})
    trial.healed()
    await trial.recovery(since="there were descriptors again")


# --- at the door ------------------------------------------------------------------


async def hangs(trial: Trial) -> None:
    await trial.stage.fault("hang")
    await _shut_door(trial, SHORT["connect"])


async def refuses(trial: Trial) -> None:
    await trial.stage.fault("refuse", status=503)
    await _shut_door(trial, 0.0)


async def _shut_door(trial: Trial, deadline: float) -> None:
    await trial.strike(lambda: trial.connect(dialling=SHORT), bound=deadline + AT_ONCE)
    await trial.loss("DialLost")
    trial.since = "the attempt"
    await _first_attempt_at(trial)
    await trial.stage.fault("restore")
    await _opened(trial, "the venue was well")


async def unknown_name(trial: Trial) -> None:
    await _no_name(trial, "unknown", 0.0)


async def hanging_resolver(trial: Trial) -> None:
    await _no_name(trial, "hangs", SHORT["resolve"])


async def _no_name(trial: Trial, resolver: str, deadline: float) -> None:
    await trial.strike(
        lambda: trial.connect(url=NAMED, dialling=SHORT, resolver=resolver),
        bound=deadline + AT_ONCE,
    )
    await trial.loss("DialLost")
    trial.since = "the attempt"
    await _first_attempt_at(trial)
    await trial.stage.client.ask("name", {})
    await _opened(trial, "the name was known")


async def _first_attempt_at(trial: Trial) -> None:
    """The first dial began when the process was told to, not when we asked it."""
    assert trial.struck_at is not None
    began = await trial.event("Connecting", since=trial.struck_at, within=1.0)
    if began is not None:
        trial.since_at = began["told_at"]


async def _opened(trial: Trial, since: str) -> None:
    trial.healed()
    await trial.recovery(since=since)
    await trial.begin(RATE)
    await asyncio.sleep(1.0)


async def slams(trial: Trial) -> None:
    """Every connection is accepted, and closed at once with 1013."""
    await trial.stage.fault("flap", code=TRY_AGAIN_LATER)
    await trial.strike(lambda: trial.connect(dialling=SHORT), bound=AT_ONCE)
    lost = await trial.loss()
    assert trial.struck_at is not None
    opened = await trial.event("Connected", since=trial.struck_at, within=1.0)
    if lost is None or opened is None:
        return
    trial.since_at, trial.since = opened["told_at"], "the accepted connection"
    await asyncio.sleep(max(0.0, trial.struck_at + FLAPPING - time.monotonic()))
    attempts = (await trial.status())["counts"]["attempts"]
    most = most_dials(FLAPPING, status=TRY_AGAIN_LATER)
    trial.figures["most_attempts"] = most
    trial.expect(attempts <= most, f"{attempts} dials, at most {most} wanted")
    await trial.stage.fault("restore")
    trial.healed()
    await _back(trial)
    await trial.begin(RATE)
    await asyncio.sleep(1.0)


async def _back(trial: Trial) -> None:
    assert trial.healed_at is not None
    since = trial.healed_at
    back = await trial.event("Connected", since=since, within=45.0)
    if back is None:
        trial.broken.append("not OPEN again 45 s on")
        return
    trial.recovered_at, trial.recovered_since = back["told_at"], "the venue was well"


def most_dials(seconds: float, *, status: int | None) -> int:
    """How many dials the default backoff allows in that time, if luck makes it hurry.

    Without a status luck may be zero: then it is what the mean of the draws allows.
    """
    backoff, at, dials = Backoff(), 0.0, 0
    draw = 0.0 if status is not None else 0.1
    while at <= seconds:
        dials += 1
        at += backoff.delay(dials, draw=draw, status=status)
    return dials
