"""The kit's child processes: quick up, always gone, back on the same port."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from faulty_peer import DEADLINE, dial, in_loop, read_seq, silent
from heartline.testing import FaultyServer


def is_gone(pid: int, *, within: float) -> bool:
    """Whether the process ends in time; a zombie has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(fd) as handle:
        return bool(select.select([handle], [], [], within)[0])


@in_loop
async def test_it_is_up_in_half_a_second() -> None:
    fastest = 9.0
    for _ in range(3):
        began = time.perf_counter()
        async with FaultyServer():
            fastest = min(fastest, time.perf_counter() - began)
    assert fastest < 0.5


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_frozen_server_ends_and_is_reaped_on_either_loop(loop) -> None:
    async def scenario() -> None:
        async with FaultyServer(rate=200) as server, dial(server.url) as link:
            await read_seq(link)
            assert os.getsid(server.pid) == server.pid
            server.freeze()
            while not await silent(link.recv()):
                pass
            frozen_at = server.sent
            server.thaw()
            await server.until(lambda counts: counts.sent >= frozen_at + 20)
            server.freeze()
            pid, began = server.pid, time.monotonic()
            link.transport.abort()
        assert time.monotonic() - began < 2
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(scenario(), DEADLINE))


@pytest.mark.parametrize("frozen", [True, False])
def test_it_dies_with_its_parent(frozen: bool) -> None:
    script = f"""
import asyncio
from heartline.testing.faulty import FaultyServer
async def main():
    async with FaultyServer() as server:
        if {frozen}: server.freeze()
        print(server.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert parent.stdout is not None
    try:
        pid = int(parent.stdout.readline())
        assert not is_gone(pid, within=0)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert is_gone(pid, within=2)


@in_loop
async def test_a_killed_server_comes_back_on_its_port_and_goes_on_counting() -> None:
    async with FaultyServer(rate=200) as server:
        url, pid = server.url, server.pid
        async with dial(server.url) as link:
            before = await read_seq(link)
            server.kill()
            await link.wait_closed()
            assert link.close_code == 1006
        assert server.sent >= before
        with pytest.raises(ConnectionError, match="faulty server"):
            await _until_raises(server.counts)
        lost_until = server.sent
        await server.restart()
        assert (server.url, server.pid != pid) == (url, True)
        async with dial(server.url) as link:
            assert await read_seq(link) > lost_until
        assert (await server.counts()).handshakes == 1


@in_loop
async def test_a_frozen_server_can_be_restarted() -> None:
    async with FaultyServer(rate=200) as server:
        await server.do("hang")
        server.freeze()
        await server.restart()
        async with dial(server.url) as link:
            await read_seq(link)


@in_loop
async def test_a_start_that_fails_or_is_cancelled_leaves_no_process() -> None:
    def children() -> list[str]:
        task = Path(f"/proc/self/task/{os.getpid()}/children")
        return task.read_text().split()

    before = children()
    async with FaultyServer() as server:
        with pytest.raises(OSError, match=r"faulty server: .*in use"):
            await FaultyServer(port=server.port).__aenter__()
        start = asyncio.ensure_future(FaultyServer().__aenter__())
        await asyncio.sleep(0)
        assert len(children()) == len(before) + 2
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert len(children()) == len(before) + 1
    assert children() == before


@in_loop
async def test_the_exit_survives_an_error_and_a_server_that_is_gone() -> None:
    server = FaultyServer()

    async def fail() -> None:
        async with server:
            os.kill(server.pid, signal.SIGKILL)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    with pytest.raises(ConnectionError):
        await server.counts()


async def _until_raises(call: Callable[[], Awaitable[object]]) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        await call()
