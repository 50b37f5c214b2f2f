"""Every way a stream dies or limps: the cause told, the bound kept, the loss reported.

Times are held against what the stream itself promises, plus `SLACK` for the way
through the loops of two processes and the stalls of the loop that it reports.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import heartline
from heartline import Cause, Condition, Phase, Verdict
from heartline.core.events import (
    ChannelStalled,
    Cleared,
    ConditionBegan,
    ConditionEnded,
    Connected,
    Connecting,
    DialLost,
    Doubted,
    Dropped,
    Lost,
    RoundTripMeasured,
    Stalled,
)
from heartline.errors import WireError
from heartline.testing import FaultyServer
from heartline.testing.halfopen import drop_inbound
from loopback import both_loops, crowding
from stream_kit import (
    Watched,
    check_ledger,
    fill,
    in_loop,
    needs_filters,
    seq,
    watching,
)

SLACK = 0.2
TOLD_WITHIN = 0.1
"""What the end of a connection, told by the peer's kernel, may take."""


async def lost_since(w: Watched, at: float, bound: float) -> Lost:
    """The loss that began at that instant; it was told within the bound."""
    lost = await w.told(Lost, within=bound + 10)
    assert lost.at - at <= bound + SLACK * crowding() + w.late()
    return lost


async def recovered(w: Watched, server: FaultyServer, epoch: int = 2) -> None:
    """The stream is back, and whatever is missing is missing at a Gap."""
    await w.fed(epoch, messages=10)
    missing = check_ledger(w.items)
    numbers = [seq(m) for m in w.messages]
    assert len(numbers) + missing == numbers[-1] - numbers[0] + 1
    assert (await server.counts()).violations == 0


# --- told ends --------------------------------------------------------------------


@both_loops
@pytest.mark.parametrize(
    ("fault", "options", "cause", "status"),
    [
        ("close", {"code": 1001}, Cause.CLOSED_BY_PEER, 1001),
        ("close", {"code": 1012, "reason": "restart"}, Cause.CLOSED_BY_PEER, 1012),
        ("reset", {}, Cause.RESET, None),
        ("eof", {}, Cause.CLOSED_BY_PEER, 1006),
    ],
    ids=["close", "restart", "reset", "eof"],
)
@in_loop
async def test_an_end_that_is_told_is_told_at_once(
    loop: str, fault: Any, options: dict[str, Any], cause: Cause, status: int | None
) -> None:
    async with FaultyServer(rate=100) as server, watching(server.url) as w:
        await w.fed(messages=5)
        at = time.monotonic()
        await server.do(fault, **options)
        # uvloop loses a reset now and then: the next look at the kernel finds it.
        slow = loop == "uvloop" and fault == "reset"
        lost = await lost_since(
            w, at, TOLD_WITHIN + slow * heartline.Liveness().kernel_interval
        )
        assert (lost.cause, lost.status, lost.bound) == (cause, status, None)
        assert options.get("reason", "") in lost.reason
        await recovered(w, server)
        assert w.stream.status.outages == 1
        assert w.of(Doubted) == []


# --- silences ---------------------------------------------------------------------


@asynccontextmanager
async def fed(**options: Any) -> AsyncIterator[tuple[FaultyServer, Watched]]:
    """A feed of 50 messages a second whose rhythm the stream has learned."""
    async with FaultyServer(rate=50) as server, watching(server.url, **options) as w:
        await w.until(lambda: w.stream.status.bounds.peer < 5.0, "a rhythm", 20.0)
        yield server, w


async def dead_path(*, inbound: bool, outbound: bool, where: str) -> None:
    async with fed() as (server, w):
        bounds = w.stream.status.bounds
        # Where only our way out is dead it is answers that are missed.
        promised = bounds.path if inbound else max(bounds.path, bounds.peer)
        at = time.monotonic()
        if inbound:
            sock = w.stream.socket
            assert sock is not None
            drop_inbound(sock)
        if outbound:
            await server.do("drop_filter", scope="present")
        w.stream.send("are you there?")
        lost = await lost_since(w, at, promised)
        assert (lost.cause, lost.where) == (Cause.PATH_DEAD, where)
        assert lost.bound is not None
        assert lost.evidence
        assert w.of(Doubted)[-1].at <= lost.at
        await recovered(w, server)


async def frozen_peer() -> None:
    async with fed() as (server, w):
        promised = w.stream.status.bounds.peer
        server.freeze()
        lost = await lost_since(w, time.monotonic(), promised)
        assert lost.cause is Cause.PEER_FROZEN
        assert "acknowledged" in lost.evidence
        suspects = [s for s in w.statuses if s.verdict is Verdict.SUSPECT and s.epoch]
        assert suspects
        assert not any(s.live for s in suspects)
        server.thaw()
        await recovered(w, server)


async def frozen_peer_and_a_full_pipe() -> None:
    async with fed(outbox_limit_bytes=200_000) as (server, w):
        promised = w.stream.status.bounds.peer
        server.freeze()
        at = time.monotonic()
        fill(w.stream)
        lost = await lost_since(w, at, promised)
        assert lost.cause is Cause.PEER_FROZEN
        assert lost.unsent > 0
        assert lost.unconfirmed_bytes > 0
        assert w.stream.status.counts.unsent == lost.unsent
        server.thaw()
        await recovered(w, server)


@in_loop
async def test_a_frozen_peer_is_told_in_time_and_not_blamed_on_the_path() -> None:
    # At the same time, for most of it is waiting until the rhythm is learned.
    async with asyncio.TaskGroup() as group:
        group.create_task(frozen_peer())
        group.create_task(frozen_peer_and_a_full_pipe())


@needs_filters
@in_loop
async def test_a_dead_path_is_told_in_time_with_its_direction() -> None:
    async with asyncio.TaskGroup() as group:
        for way in (
            dead_path(inbound=True, outbound=False, where="both"),
            dead_path(inbound=False, outbound=True, where="outbound"),
            dead_path(inbound=True, outbound=True, where="both"),
        ):
            group.create_task(way)


@in_loop
async def test_a_mute_channel_is_told_while_the_link_lives() -> None:
    freshness = heartline.Freshness(every=0.5)
    async with (
        FaultyServer(rate=50) as server,
        watching(server.url, freshness=freshness) as w,
    ):
        await w.fed(messages=10)
        promised = w.stream.status.bounds.channels[None]
        assert promised < 1.0
        await server.do("mute")
        at = w.messages[-1].received_at
        stalled = await w.told(ChannelStalled)
        assert stalled.at - at <= promised + SLACK * crowding() + w.late()
        status = w.stream.status
        assert (status.verdict, status.live) == (Verdict.ALIVE, False)
        assert status.cause is Cause.CHANNEL_STALLED
        lost = await w.told(Lost)
        assert lost.cause is Cause.CHANNEL_STALLED
        await server.do("mute", on=False)
        await w.live(2)
        await w.fed(w.stream.status.epoch, messages=10)
        assert w.stream.status.live
        check_ledger(w.items)


# --- what is no end ---------------------------------------------------------------

QUICK = heartline.Liveness(peer_busy=0.3, peer_idle=0.4, measure_every=0.5)
"""Asks often, so that a test need not wait for the next question."""


@in_loop
async def test_a_peer_without_pongs_is_alive_while_data_flow() -> None:
    async with (
        FaultyServer(rate=50) as server,
        watching(server.url, liveness=QUICK) as w,
    ):
        await server.do("no_pong")
        began = await w.told(ConditionBegan)
        assert began.condition is Condition.NO_PONG
        status = w.stream.status
        assert (status.verdict, status.live) == (Verdict.ALIVE, True)
        assert status.conditions == {Condition.NO_PONG}
        # Whoever does not answer is granted more patience, and the bound says so.
        assert status.bounds.peer >= QUICK.no_pong_silence
        assert w.of(Lost) == []
        assert check_ledger(w.items) == 0


@in_loop
async def test_pongs_that_nobody_asked_for_are_ordinary_traffic() -> None:
    async with (
        FaultyServer(rate=50) as server,
        watching(server.url, liveness=QUICK) as w,
    ):
        await server.do("unsolicited", every=0.02)
        await w.until(lambda: w.stream.status.counts.stray_pongs >= 20, "stray pongs")
        await w.told(RoundTripMeasured, nth=3)
        assert w.of(Lost) + w.of(Doubted) == []
        # Each answer came twice; the second is nobody's.
        counts = w.stream.status.counts
        assert counts.pongs <= counts.pings
        assert check_ledger(w.items) == 0


@in_loop
async def test_late_pongs_are_measured_and_end_nothing() -> None:
    liveness = heartline.Liveness(measure_every=0.5)
    async with (
        FaultyServer(rate=50) as server,
        watching(server.url, liveness=liveness) as w,
    ):
        await w.told(RoundTripMeasured)
        await server.do("late_pong", delay=1.0)
        await w.until(
            lambda: any(e.round_trip >= 1.0 for e in w.of(RoundTripMeasured)),
            "a late answer",
        )
        assert w.of(Lost) == []
        assert w.stream.status.live
        assert check_ledger(w.items) == 0


@both_loops
@in_loop
async def test_a_stall_of_our_own_is_ours_and_kills_no_link(loop: str) -> None:
    async with FaultyServer(rate=100) as server, watching(server.url) as w:
        await w.fed(messages=50)
        before = len(w.messages)
        due_in = w.stream._driver.session.deadline - time.monotonic()
        time.sleep(max(0.8, due_in + 0.3))  # noqa: ASYNC251 - the stall is the test
        assert not w.stream.is_fresh(max_age=0.5)
        stalled = await w.told(Stalled)
        assert stalled.lag >= 0.25
        await w.told(Cleared)
        await w.fed(messages=before + 120)
        drained = [m for m in w.messages[before:] if m.age > 0]
        assert drained
        assert w.messages[-1].age == 0.0
        assert w.stream.is_fresh(max_age=0.5)
        told = next(s for s in w.statuses if s.cause is Cause.SELF_STALLED)
        assert not told.live
        assert w.statuses[-1].live
        assert w.of(Lost) + w.gaps == []
        assert check_ledger(w.items) == 0


# --- a consumer that is slow ------------------------------------------------------


@pytest.mark.parametrize("policy", ["drop_oldest", "conflate"])
@in_loop
async def test_what_a_slow_consumer_misses_is_counted_to_the_message(
    policy: str,
) -> None:
    key = (lambda message: seq(message) % 7) if policy == "conflate" else None
    inbox = heartline.Inbox(limit=100, policy=policy, key=key)
    async with FaultyServer(rate=0) as server, watching(server.url, inbox=inbox) as w:
        await w.live()
        w.gate.clear()
        for _ in range(3):
            await server.burst(2000)
        await w.told(Dropped)
        assert Condition.SLOW_CONSUMER in w.stream.status.conditions
        assert w.stream.status.live  # the link is not to blame
        w.gate.set()
        await w.told(ConditionEnded)
        last = (await server.burst(1))[1]
        await w.until(lambda: w.messages and seq(w.messages[-1]) >= last, "the rest")
        counts = w.stream.status.counts
        missing = sum(gap.missing or 0 for gap in w.gaps)
        assert missing == counts.dropped == w.of(Dropped)[-1].total > 5000
        assert counts.messages == counts.delivered + missing
        assert counts.delivered == len(w.messages)
        assert {gap.reason for gap in w.gaps} == {"overflow"}
        assert missing + len(w.messages) == last
        if policy == "drop_oldest":
            assert check_ledger(w.items, after=0) == missing
        assert w.of(Lost) == []


@in_loop
async def test_a_blocking_inbox_pauses_and_loses_nothing() -> None:
    inbox = heartline.Inbox(limit=100, policy="block")
    async with FaultyServer(rate=20) as server, watching(server.url, inbox=inbox) as w:
        await w.live()
        w.gate.clear()
        await server.burst(5000)
        await w.until(lambda: Condition.PAUSED in w.stream.status.conditions, "a pause")
        assert w.stream.status.counts.messages < 5000
        w.gate.set()
        await w.until(lambda: len(w.messages) >= 5000, "all of them")
        await w.until(lambda: not w.stream.status.conditions, "the end of the pause")
        assert check_ledger(w.items) == 0
        assert seq(w.messages[0]) == 1 or w.messages[0].epoch == 1
        assert w.gaps == []
        assert w.of(Lost) == []
        ended = {e.condition for e in w.of(ConditionEnded)}
        assert ended == {Condition.PAUSED, Condition.SLOW_CONSUMER}


@in_loop
async def test_a_link_lost_during_a_pause_is_told_and_the_next_is_read() -> None:
    inbox = heartline.Inbox(limit=100, policy="block")
    async with FaultyServer(rate=200) as server, watching(server.url, inbox=inbox) as w:
        await w.fed()
        w.gate.clear()
        await server.burst(1000)
        await w.until(lambda: Condition.PAUSED in w.stream.status.conditions, "a pause")
        promised = w.stream.status.bounds.path
        at = time.monotonic()
        await server.do("reset")
        await lost_since(w, at, promised)
        await w.until(
            lambda: Condition.PAUSED in w.stream.status.conditions, "another pause"
        )
        w.gate.set()
        await recovered(w, server)
        await w.until(lambda: not w.stream.status.conditions, "the end of it")
        assert [gap.reason for gap in w.gaps] == ["outage"]


@in_loop
async def test_an_inbox_that_disconnects_keeps_what_it_has() -> None:
    inbox = heartline.Inbox(limit=500, policy="disconnect")
    async with FaultyServer(rate=0) as server, watching(server.url, inbox=inbox) as w:
        await w.live()
        w.gate.clear()
        await server.burst(5000)
        lost = await w.told(Lost)
        assert (lost.cause, lost.evidence) == (Cause.CLOSED_BY_US, "slow consumer")
        w.gate.set()
        await w.live(2)
        await server.set_rate(100)
        # What is left of the burst may find the inbox full on the next links too.
        await recovered(w, server)
        first = [seq(m) for m in w.messages if m.epoch == 1]
        assert first == list(range(1, len(first) + 1))
        assert len(first) > 500


# --- dials that fail --------------------------------------------------------------


@in_loop
async def test_an_upgrade_that_hangs_has_a_deadline() -> None:
    dialling = heartline.Dialling(connect=0.3)
    async with FaultyServer(rate=50) as server:
        await server.do("hang")
        async with watching(server.url, dialling=dialling) as w:
            failed = await w.told(DialLost)
            assert failed.cause is Cause.HANDSHAKE_TIMEOUT
            assert "upgrading" in failed.reason
            took = failed.at - w.of(Connecting)[0].at
            assert 0.3 <= took <= 0.3 + SLACK * crowding() + w.late()
            await server.do("restore")
            await w.fed()  # of whichever attempt
            assert w.gaps == []  # there was nothing before


class Failing:
    async def resolve(self, host: str, port: int) -> list[Any]:
        raise WireError(Cause.NAME_RESOLUTION, f"{host}: no such name")


class Hanging:
    def __init__(self) -> None:
        self.under_way = 0

    async def resolve(self, host: str, port: int) -> list[Any]:
        self.under_way += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.under_way -= 1
        return []


@in_loop
async def test_a_name_that_is_not_known_is_said_so() -> None:
    async with watching("ws://venue.invalid/", resolver=Failing()) as w:
        failed = await w.told(DialLost, nth=2)
        assert failed.cause is Cause.NAME_RESOLUTION
        assert failed.reason == "venue.invalid: no such name"
        assert w.stream.status.cause is Cause.NAME_RESOLUTION
        assert w.stream.status.verdict is Verdict.DEAD


@in_loop
async def test_a_name_service_that_hangs_has_a_deadline() -> None:
    resolver = Hanging()
    dialling = heartline.Dialling(resolve=0.2)
    async with watching(
        "ws://venue.invalid/", resolver=resolver, dialling=dialling
    ) as w:
        failed = await w.told(DialLost)
        assert failed.cause is Cause.NAME_RESOLUTION
        took = failed.at - w.of(Connecting)[0].at
        assert 0.2 <= took <= 0.2 + SLACK * crowding() + w.late()
        await w.told(DialLost, nth=3)
        assert resolver.under_way <= 1
    assert resolver.under_way == 0


@in_loop
async def test_a_refusal_is_an_outage_that_ends_with_it() -> None:
    async with FaultyServer(rate=50) as server, watching(server.url) as w:
        await w.fed(messages=5)
        await server.do("refuse", status=503)
        await server.do("reset")
        failed = await w.told(DialLost, nth=3)
        assert (failed.cause, failed.status) == (Cause.REFUSED, 503)
        assert not w.stream.status.live
        await server.do("restore")
        await w.live(2)
        await recovered(w, server, epoch=w.stream.status.epoch)
        assert len(w.gaps) == 1
        assert w.stream.status.outages == 1


@in_loop
async def test_a_server_that_accepts_and_closes_is_dialled_with_patience() -> None:
    eager = heartline.Backoff(base=0.001, cap=0.002, gentle_base=0.001)
    async with FaultyServer(rate=50) as server:
        await server.do("flap", code=1001)
        began = time.monotonic()
        once = heartline.Dialling(per_second=1)
        async with watching(server.url, backoff=eager, dialling=once) as w:
            await w.until(lambda: len(w.of(Connecting)) >= 11, "dials", 15)
            took = time.monotonic() - began
            # Ten at once, then one a second: the budget of dials to a venue's host.
            assert took >= 1.0
            assert len(w.of(Connecting)) <= 10 + took + 1
            attempts = [e.attempt for e in w.of(Connected)]
            assert attempts == list(range(1, len(attempts) + 1))
            await server.do("restore")
            await w.until(
                lambda: w.stream.status.phase is Phase.OPEN and w.stream.status.live,
                "recovery",
            )
            await w.fed(w.stream.status.epoch, messages=10)
            check_ledger(w.items)
