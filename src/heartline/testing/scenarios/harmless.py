"""Faults that must not end a link: silent channels, odd pongs, stalls of our own."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from statistics import median

from heartline.client import Stream
from heartline.core.events import (
    ChannelRevived,
    ChannelStalled,
    Cleared,
    ConditionBegan,
    ConditionEnded,
    Dropped,
    Lost,
    RoundTripMeasured,
    Stalled,
)
from heartline.core.items import Cause, Condition, Message
from heartline.core.subscriptions import Freshness
from heartline.observe.words import duration, in_words
from heartline.testing.faults import Fault
from heartline.testing.faulty import FaultyServer

from .trial import (
    AFTERWARDS,
    RATE,
    RHYTHM,
    TOLD_AT_ONCE,
    WARM_UP,
    Suspend,
    Trial,
)

CONTRACT = 2.0
OBSERVED = 10.0
"""Seconds that odd pongs are watched for a false alarm."""
WATCHED = f"watched for {OBSERVED:g} s"
LATE_BY = 1.0
BLOCKED = 3.0
SUSPENDED = 20.0
LEAST_OF_SUSPENDED = 18.5
ARMED = 1.15
"""The timer that finds a stall may have been armed this long ahead, seconds."""
BURST = 200_000
SLOW = 5_000.0
STAYS_SLOW = 3.0
GROWTH_LIMIT_BYTES = 64 << 20
"""What the default inbox may hold, at most (`Inbox.limit_bytes`)."""


async def mute(trial: Trial) -> None:
    """The venue's socket lives and one channel is silent, against a declared contract.

    Its numbering stops with it: nothing is sent, and so nothing is lost.
    """
    async with (
        FaultyServer(rate=RATE) as server,
        trial.streaming(server.url, freshness=Freshness(every=CONTRACT)) as stream,
    ):
        await trial.settle_in(stream, WARM_UP)
        bound = stream.status.bounds.channels[None]
        await server.set_rate(0.0)
        trial.strike(f"data stops, pongs come; data was due every {CONTRACT:g} s")
        await server.do("mute")
        struck_at, within = trial.struck_at, bound + 1.0
        trial.bound, trial.since = bound, "the last data"
        seen = await trial.witness.first(ChannelStalled, since=struck_at, within=within)
        trial.expect(seen is not None, f"nothing was told {within:.1f} s on")
        if seen is not None:
            at, stalled = seen
            trial.cause = Cause.CHANNEL_STALLED
            trial.evidence = stream.status.evidence
            trial.told(at, trial.witness.heard_at)
            trial.right(Cause.CHANNEL_STALLED)
            trial.figures["silence_s"] = stalled.silence
        await asyncio.sleep(AFTERWARDS)
        lifted_at = time.monotonic()
        await server.do("mute", on=False)
        await server.set_rate(RATE)
        await _revival(trial, stream, lifted_at)


async def _revival(trial: Trial, stream: Stream, lifted_at: float) -> None:
    trial.recovered_since = "data flows again"
    revived = await trial.witness.first(ChannelRevived, since=lifted_at, within=2.0)
    trial.expect(revived is not None, "the channel was not told alive again")
    if revived is not None:
        at, event = revived
        trial.recovered_after = at - lifted_at
        trial.tell("stream", in_words(event), at=at)
        trial.excuse(Cause.CHANNEL_STALLED, until_at=at, doubt=False)
    await asyncio.sleep(AFTERWARDS)
    _kept(trial, stream)


def _kept(trial: Trial, stream: Stream) -> None:
    """The link must have outlived the fault."""
    kept = stream.status.live and trial.witness.past(Lost, since=0.0) is None
    trial.link_kept = kept and stream.status.epoch == 1
    trial.expect(trial.link_kept, "the link was not kept")


# --- odd pongs --------------------------------------------------------------------


async def no_pong(trial: Trial) -> None:
    trial.strike(f"the venue never answers a ping; data flows; {WATCHED}")
    await _odd_pongs(trial, "no_pong")
    began = trial.witness.past(ConditionBegan, since=trial.struck_at)
    trial.expect(trial.conditions() == ["NO_PONG"], "NO_PONG was not told")
    if began is not None:
        trial.told_after, trial.since = began[0] - trial.struck_at, "the first ping"
        trial.tell("stream", in_words(began[1]), at=began[0])


async def unsolicited(trial: Trial) -> None:
    trial.strike(f"the venue sends stray pongs, answers every ping twice; {WATCHED}")
    stray = await _odd_pongs(trial, "unsolicited")
    trial.figures["stray_pongs"] = stray
    trial.expect(stray > 0, "no stray pong was counted")
    trial.expect(not trial.conditions(), f"told {trial.conditions()}")
    trial.tell("stream", f"{stray} stray pongs counted, and nothing made of them")


async def late_pong(trial: Trial) -> None:
    """On a quiet venue, where a pong is all there is to go by."""
    trial.strike(f"a quiet venue answers every ping {LATE_BY:g} s late; {WATCHED}")
    await _odd_pongs(trial, "late_pong")
    trips = [event.round_trip for _, event in trial.witness.every(RoundTripMeasured)]
    late = [trip for trip in trips if LATE_BY <= trip <= LATE_BY + TOLD_AT_ONCE]
    trial.expect(len(late) >= 2, f"round trips told: {trips}")
    trial.expect(not trial.conditions(), f"told {trial.conditions()}")
    if late:
        trial.figures["round_trip_s"] = median(late)
        shown = duration(median(late))
        trial.tell("stream", f"round trip {shown}, told {len(late)} times, no doubt")


async def _odd_pongs(trial: Trial, fault: Fault) -> int:
    """Watch a stream whose venue has had the fault from the start; its stray pongs."""
    quiet = fault == "late_pong"
    async with FaultyServer(rate=RATE) as server:
        if quiet:
            await server.do(fault, delay=LATE_BY)
        else:
            await server.do(fault)
        async with trial.streaming(server.url) as stream:
            await stream.wait_live(timeout=10.0)
            if quiet:
                # One message, or there would be nothing to deliver and to count.
                await server.burst(1)
                await server.set_rate(0.0)
            trial.struck_at = time.monotonic()
            # A quiet link is pinged after 10 s: its answer must be seen as well.
            await asyncio.sleep(OBSERVED + (2.5 if quiet else 0.0))
            _kept(trial, stream)
            return stream.status.counts.stray_pongs


# --- stalls of our own ------------------------------------------------------------


async def self_stall(trial: Trial) -> None:
    async with FaultyServer(rate=RATE) as server, trial.streaming(server.url) as stream:
        await trial.settle_in(stream, RHYTHM)
        trial.strike(f"our own program blocks its loop for {BLOCKED:g} s; data waits")
        asyncio.get_running_loop().call_soon(time.sleep, BLOCKED)
        await asyncio.sleep(0)
        woke_at = time.monotonic()
        await _own_stall(trial, stream, woke_at, least=BLOCKED - ARMED)


async def suspend(trial: Trial, stop_us: Suspend) -> None:
    async with FaultyServer(rate=RATE) as server, trial.streaming(server.url) as stream:
        await trial.settle_in(stream, WARM_UP)
        _watch_freshness(trial, stream)
        trial.strike(f"our own process is stopped for {SUSPENDED:g} s, then goes on")
        woke_at = await stop_us(SUSPENDED)
        await _own_stall(trial, stream, woke_at, least=LEAST_OF_SUSPENDED)
        trial.expect(
            trial.figures.get("fresh_too_early", 0) == 0,
            "is_fresh was True on data that had waited out the stop",
        )
        trial.expect(stream.is_fresh(max_age=1.0), "is_fresh is not True again")
        trial.expect(
            trial.witness.oldest_age >= LEAST_OF_SUSPENDED,
            f"oldest age told of buffered data: {trial.witness.oldest_age:.2f} s",
        )


async def _own_stall(
    trial: Trial, stream: Stream, woke_at: float, *, least: float
) -> None:
    """It must be told at once after waking, as our own, with its length."""
    witness, struck_at = trial.witness, trial.struck_at
    trial.bound, trial.since = TOLD_AT_ONCE, "our waking"
    seen = await witness.first(Stalled, since=struck_at, within=2.0)
    trial.expect(seen is not None, "no stall was told")
    if seen is not None:
        at, stalled = seen
        trial.cause = Cause.SELF_STALLED
        trial.figures["stall_s"] = stalled.lag
        trial.told(at, woke_at)
        trial.tell("stream", in_words(stalled))
        most = at - struck_at + 0.1
        trial.expect(
            least <= stalled.lag <= most,
            f"a stall of {stalled.lag:.2f} s was told, "
            f"wanted {least:.2f} to {most:.2f}",
        )
    trial.recovered_since = "our waking"
    cleared = await witness.first(Cleared, since=woke_at, within=2.0)
    trial.expect(cleared is not None, "the stream was not live again")
    until_at = trial.struck_at
    if cleared is not None:
        until_at = cleared[0]
        trial.recovered_after = until_at - woke_at
        trial.tell("stream", "live again: the venue has answered", at=until_at)
    await asyncio.sleep(AFTERWARDS)
    trial.figures["aged_messages"] = witness.aged
    trial.figures["oldest_age_s"] = witness.oldest_age
    trial.expect(witness.aged > 0, "data that had waited was not marked with its age")
    told = [status.cause for status in witness.statuses]
    trial.expect(Cause.SELF_STALLED in told, "no Status said SELF_STALLED")
    oldest = duration(witness.oldest_age)
    trial.tell(
        "stream", f"{witness.aged} messages marked as up to {oldest} old, not as fresh"
    )
    _kept(trial, stream)
    trial.excuse(Cause.SELF_STALLED, until_at=until_at, doubt=False)


def _watch_freshness(trial: Trial, stream: Stream) -> None:
    """Nothing that waited out the stop may make the stream look fresh."""

    def on_message(message: Message) -> None:
        witness, figures = trial.witness, trial.figures
        woken = witness.past(Stalled, since=trial.struck_at) is not None
        proven = witness.past(Cleared, since=trial.struck_at) is not None
        if woken and not proven and message.age > 0 and stream.is_fresh(max_age=1.0):
            figures["fresh_too_early"] = figures.get("fresh_too_early", 0) + 1

    trial.witness.on_message = on_message


# --- a slow consumer --------------------------------------------------------------


async def slow_consumer(trial: Trial) -> None:
    witness = trial.witness
    async with FaultyServer(rate=RATE) as server, trial.streaming(server.url) as stream:
        await trial.settle_in(stream, WARM_UP)
        witness.pace = SLOW
        before = _most_memory_bytes()
        trial.strike(
            f"{BURST:,} messages at once; our own program takes {SLOW:,.0f} a second"
        )
        await server.burst(BURST)
        for _ in range(400):
            if stream.status.counts.messages >= BURST:
                break
            await asyncio.sleep(0.05)
        read_at = time.monotonic()
        began = witness.past(ConditionBegan, since=trial.struck_at)
        trial.expect(began is not None, "SLOW_CONSUMER was not told")
        if began is not None:
            trial.told_after = began[0] - trial.struck_at
            trial.since = "the burst"
            trial.tell("stream", in_words(began[1]), at=began[0])
        trial.tell("stream", "all of the burst has been read", at=read_at)
        await asyncio.sleep(STAYS_SLOW)
        trial.expect(stream.status.live, "not live while our own program is slow")
        witness.pace = None
        ended = await witness.first(ConditionEnded, since=read_at, within=10.0)
        trial.expect(ended is not None, "the end of SLOW_CONSUMER was not told")
        growth = _most_memory_bytes() - before
        await asyncio.sleep(AFTERWARDS)
        _kept(trial, stream)
        _check_drops(trial, stream, growth)


def _check_drops(trial: Trial, stream: Stream, growth_bytes: int) -> None:
    trial.figures["memory_growth_bytes"] = growth_bytes
    trial.expect(
        growth_bytes <= GROWTH_LIMIT_BYTES,
        f"memory grew by {growth_bytes / 1e6:.0f} MB",
    )
    told = [event.total for _, event in trial.witness.every(Dropped)]
    total = told[-1] if told else 0
    in_gaps = sum(gap.missing or 0 for _, gap in trial.witness.gaps)
    trial.figures["dropped"] = total
    trial.expect(total > 0, "nothing was told dropped")
    trial.expect(
        total == stream.status.counts.dropped == in_gaps,
        f"dropped by event {total}, status {stream.status.counts.dropped}, "
        f"gaps {in_gaps}",
    )
    wanted = [Condition.SLOW_CONSUMER.value]
    trial.expect(trial.conditions() == wanted, f"told {trial.conditions()}")
    grown = f"memory grew by {growth_bytes / 1e6:.0f} MB"
    trial.tell("stream", f"{total:,} messages dropped, all counted; {grown}")


def _most_memory_bytes() -> int:
    """The most this process has ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
