"""A stream ends within a second wherever it is, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import heartline
from heartline import Phase
from heartline.core.events import Stopped
from heartline.testing import FaultyServer
from heartline.testing.halfopen import available
from loopback import both_loops, clients_of, crowding, open_sockets, until
from stream_kit import FAST, fill, in_loop
from stream_phases import PHASES, address, enter, stubborn

AT_ONCE = 1.0
HERE = Path(__file__).resolve().parent

UNAVAILABLE = {"connecting"} if available() is not None else set()
phases = pytest.mark.parametrize(
    "phase",
    [
        pytest.param(
            phase,
            marks=pytest.mark.skipif(phase in UNAVAILABLE, reason=str(available())),
        )
        for phase in PHASES
    ],
)


@asynccontextmanager
async def venue(phase: str) -> AsyncIterator[FaultyServer]:
    """A venue that brings a stream into that phase, and keeps it there."""
    fault = PHASES[phase][0]
    async with FaultyServer(rate=2000 if fault == "burst" else 0) as server:
        if fault == "drop_filter":
            await server.do("drop_filter", scope="following")
        elif fault == "deaf":
            await server.do("deaf")
        elif fault == "hang":
            await server.do("hang")
        elif fault == "refuse":
            await server.do("refuse", status=500)
        yield server


@asynccontextmanager
async def nothing_left(*, threads: int = 0) -> AsyncIterator[None]:
    """No task, thread or socket more than before; checked in the very next pass."""
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    running = set(threading.enumerate())
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - tasks == set()
    assert open_sockets() - sockets == set()
    left = set(threading.enumerate()) - running
    # A look-up that hangs in the system's resolver cannot be ended; it is a daemon.
    assert len(left) <= threads
    assert all(thread.daemon for thread in left)


@phases
@pytest.mark.parametrize("way", ["leave", "aclose", "cancel", "raise"])
@in_loop
async def test_it_ends_at_once_in_every_phase(phase: str, way: str) -> None:
    threads = 1 if phase == "resolving-thread" else 0
    async with venue(phase) as server, nothing_left(threads=threads):
        stream = heartline.connect(address(phase, server.url), **PHASES[phase][1])
        leave, entered = asyncio.Event(), asyncio.Event()

        async def use() -> None:
            async with stream:
                await enter(phase, stream)
                entered.set()
                await leave.wait()
                if way == "raise":
                    raise LookupError("the body's own")

        task = asyncio.create_task(use())
        await asyncio.wait_for(entered.wait(), 10)
        began = time.monotonic()
        if way == "aclose":
            await stream.aclose()
            assert time.monotonic() - began < AT_ONCE * crowding()
        if way == "cancel":
            task.cancel()
        else:
            leave.set()
        await asyncio.wait([task])
        assert time.monotonic() - began < AT_ONCE * crowding()
        assert stream.status.phase is Phase.CLOSED
        if way == "cancel":
            assert task.cancelled()
        elif way == "raise":
            assert isinstance(task.exception(), LookupError)
        else:
            assert task.exception() is None


@both_loops
@in_loop
async def test_a_frozen_peer_holds_up_no_end(loop: str) -> None:
    async with FaultyServer(rate=50) as server, nothing_left():
        async with heartline.connect(server.url, outbox_limit_bytes=200_000) as stream:
            await stream.wait_live(5)
            server.freeze()
            fill(stream)
            first = asyncio.create_task(stream.aclose())
            await until(lambda: stream.status.phase is Phase.DRAINING, "DRAINING")
            # Twice at the same time, and a third time when it is over.
            began = time.monotonic()
            await stream.aclose()
            await first
            assert time.monotonic() - began < AT_ONCE * crowding()
            assert stream.status.phase is Phase.CLOSED
            assert stream.status.counts.unsent > 0
            await stream.aclose()
        server.thaw()


@in_loop
async def test_a_close_that_is_cancelled_drops_the_link_and_ends_every_reader() -> None:
    async with FaultyServer(rate=0) as server, nothing_left():
        stopped: list[object] = []

        def on_event(event: object) -> None:
            if isinstance(event, Stopped):
                stopped.append(event)

        dialling = heartline.Dialling(close=60 * AT_ONCE)
        stream = heartline.connect(server.url, on_event=on_event, dialling=dialling)
        async with stream:
            await stream.wait_live(5)
            reader = asyncio.create_task(read(stream))
            server.freeze()
            closing = asyncio.create_task(stream.aclose())
            await until(lambda: stream.status.phase is Phase.DRAINING, "DRAINING")
            began = time.monotonic()
            closing.cancel()
            await asyncio.wait([closing])
            assert closing.cancelled()
            await asyncio.wait_for(reader, AT_ONCE * crowding())
            assert stream.status.phase is Phase.CLOSED
            # The time of the closing handshake was not left to it.
            assert time.monotonic() - began < AT_ONCE * crowding()
            await stream.aclose()
        assert len(stopped) == 1
        server.thaw()


async def read(stream: heartline.Stream) -> int:
    return len([item async for item in stream])


@in_loop
async def test_a_callable_that_takes_no_cancellation_holds_up_no_end() -> None:
    async with FaultyServer(rate=0) as server:
        tasks, began = asyncio.all_tasks(), time.monotonic()
        async with heartline.connect(server.url, on_open=stubborn) as stream:
            await until(lambda: stream.status.phase is Phase.SYNCING, "SYNCING")
            await asyncio.sleep(0)
            began = time.monotonic()
        assert (
            time.monotonic() - began
            < (2 * heartline.Dialling().close + 0.2) * crowding()
        )
        (left,) = asyncio.all_tasks() - tasks
        while not left.done():
            left.cancel()
            await asyncio.sleep(0)


@in_loop
async def test_it_ends_after_giving_up_and_while_it_backs_off() -> None:
    async with FaultyServer(rate=0) as server, nothing_left():
        await server.do("refuse", status=401)
        async with heartline.connect(server.url, backoff=FAST) as stream:
            with pytest.raises(heartline.GaveUp):
                await read(stream)
            began = time.monotonic()
            await stream.aclose()
        assert time.monotonic() - began < AT_ONCE * crowding()


@in_loop
async def test_the_peer_is_told_goodbye_and_nothing_lingers() -> None:
    async with FaultyServer(rate=200) as server, nothing_left():
        dialling = heartline.Dialling(close=60 * AT_ONCE)
        async with heartline.connect(server.url, dialling=dialling) as stream:
            await stream.wait_live(5)
            began = time.monotonic()
        # A peer that answers the close frame ends it long before the deadline.
        assert time.monotonic() - began < AT_ONCE * crowding()
        counts = await server.until(lambda c: c.open == 0)
        assert counts.closes == 1
        assert counts.violations == 0


@in_loop
async def test_a_peer_that_closes_and_reads_no_more_leaves_no_socket_behind() -> None:
    async with FaultyServer(rate=0) as server:
        stream = heartline.connect(server.url, backoff=FAST, outbox_limit_bytes=200_000)
        async with stream:
            await stream.wait_live(5)
            await server.do("deaf", scope="present")
            fill(stream)
            await server.do("close")
            await until(lambda: stream.status.epoch == 2, "the next link")
            await stream.wait_live(5)
            # The close frame of the first cannot be flushed; it is not waited for.
            # What is left is the new socket and its duplicate, for the evidence.
            await until(lambda: len(clients_of(server.port)) == 2, "one link", 2.0)


@in_loop
async def test_a_stream_that_was_never_entered_has_nothing_to_close() -> None:
    async with nothing_left():
        stream = heartline.connect("ws://127.0.0.1:9/")
        await stream.aclose()
        assert stream.status.phase is Phase.IDLE


# --- signals ----------------------------------------------------------------------


@both_loops
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@in_loop
async def test_a_signal_ends_streams_in_all_phases_at_once(
    number: signal.Signals, loop: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        urls = {
            phase: (await stack.enter_async_context(venue(phase))).url
            for phase in PHASES
            if phase not in UNAVAILABLE
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "stream_phases.py"),
            json.dumps(urls),
            loop,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            assert child.stdout is not None
            async with asyncio.timeout(20):
                first = await child.stdout.readline()
            if first != b"ready\n":
                _, err = await child.communicate()
                raise AssertionError(first + err)
            began = time.monotonic()
            child.send_signal(number)
            async with asyncio.timeout(10):
                out, err = await child.communicate()
            # The interpreter's own way out is in it.
            assert time.monotonic() - began < (AT_ONCE + 0.5) * crowding()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
    lines = out.decode().splitlines()
    assert lines, err.decode()
    assert json.loads(lines[-1]) == {"tasks": 0, "sockets": 0, "threads": 1}
    last_words = err.decode().strip().splitlines()[-1]
    wanted = "KeyboardInterrupt" if number is signal.SIGINT else "CancelledError"
    assert wanted in last_words
    assert "never retrieved" not in err.decode()
    assert "was destroyed" not in err.decode()
