"""A look-up never holds up anybody but those who wait for it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from heartline.core.items import Cause
from heartline.errors import WireError
from heartline.wire.resolve import AddrInfo, SystemResolver
from loopback import at, both_loops, run, until

THREAD_LIMIT = 8


class Desk:
    """A getaddrinfo that answers when it is let, and counts."""

    def __init__(self, *, open: bool = False) -> None:
        self.may_answer = threading.Event()
        self.calls: list[str] = []
        self.threads: list[threading.Thread] = []
        if open:
            self.may_answer.set()

    def __call__(self, host: str, port: int, **hints: Any) -> list[AddrInfo]:
        self.calls.append(host)
        self.threads.append(threading.current_thread())
        assert self.may_answer.wait(10), "the test forgot to open the desk"
        return at(("127.0.0.7", port))


@both_loops
def test_the_system_knows_localhost_and_not_a_name_that_cannot_be(loop: str) -> None:
    async def main() -> None:
        resolver = SystemResolver()
        found = await resolver.resolve("localhost", 80)
        assert {info[4][0] for info in found} <= {"127.0.0.1", "::1"}
        assert all(info[1] == socket.SOCK_STREAM for info in found)
        for name in ("a..b", "x" * 300):
            with pytest.raises(WireError) as caught:
                await resolver.resolve(name, 80)
            assert caught.value.cause == Cause.NAME_RESOLUTION

    run(loop, main())


def test_an_error_of_the_system_is_named_and_the_next_look_up_is_fresh() -> None:
    def failing(host: str, port: int, **hints: Any) -> list[AddrInfo]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def nothing(host: str, port: int, **hints: Any) -> list[AddrInfo]:
        return []

    def broken(host: str, port: int, **hints: Any) -> list[AddrInfo]:
        raise RuntimeError("a bug")

    async def main() -> None:
        resolver = SystemResolver(failing)
        for _ in range(2):
            with pytest.raises(WireError, match=r"gone\.test: Name or") as caught:
                await resolver.resolve("gone.test", 1)
            assert caught.value.cause == Cause.NAME_RESOLUTION
        with pytest.raises(WireError, match="no addresses"):
            await SystemResolver(nothing).resolve("gone.test", 1)
        with pytest.raises(RuntimeError, match="a bug"):
            await SystemResolver(broken).resolve("gone.test", 1)

    run("asyncio", main())


@pytest.mark.parametrize("literal", ["127.0.0.1", "::1"])
def test_an_address_needs_no_thread(literal: str) -> None:
    desk = Desk()

    async def main() -> list[AddrInfo]:
        return await SystemResolver(desk).resolve(literal, 443)

    found = run("asyncio", main())
    assert found[0][4][:2] == (literal, 443)
    assert desk.calls == []


@both_loops
def test_look_ups_of_one_name_share_a_thread_and_a_cancel_harms_no_other(
    loop: str,
) -> None:
    async def main() -> None:
        desk = Desk()
        resolver = SystemResolver(desk)
        waiting = [asyncio.create_task(resolver.resolve("a.test", 1)) for _ in "12345"]
        await until(lambda: len(desk.calls) == 1, "the look-up runs")
        began = time.monotonic()
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        assert time.monotonic() - began < 2.0
        desk.may_answer.set()
        found = await asyncio.gather(*waiting[1:])
        assert found == [at(("127.0.0.7", 1))] * 4
        assert desk.calls == ["a.test"]
        found[0].clear()
        assert found[1] != [], "each caller has a list of its own"

    run(loop, main())


def test_beyond_eight_hangs_a_look_up_fails_at_once() -> None:
    async def main() -> None:
        desk = Desk()
        resolver = SystemResolver(desk, hung_after=0.0)
        names = [f"{n}.test" for n in range(THREAD_LIMIT)]
        hanging = [asyncio.create_task(resolver.resolve(n, 1)) for n in names]
        await until(lambda: len(desk.calls) == THREAD_LIMIT, "eight hang")
        assert all(thread.daemon for thread in desk.threads)
        with pytest.raises(WireError, match="does not answer") as caught:
            await resolver.resolve("ninth.test", 1)
        assert caught.value.cause == Cause.NAME_RESOLUTION
        desk.may_answer.set()
        await asyncio.gather(*hanging)
        await resolver.resolve("ninth.test", 1)

    run("asyncio", main())


def test_a_burst_of_names_waits_for_a_thread_while_none_hangs() -> None:
    async def main() -> None:
        desk = Desk()
        resolver = SystemResolver(desk, hung_after=60.0)
        names = [f"{n}.test" for n in range(3 * THREAD_LIMIT)]
        waiting = [asyncio.create_task(resolver.resolve(n, 1)) for n in names]
        await until(lambda: len(desk.calls) == THREAD_LIMIT, "eight run")
        waiting[-1].cancel()
        await asyncio.wait([waiting[-1]])
        desk.may_answer.set()
        await asyncio.gather(*waiting[:-1])
        assert sorted(desk.calls) == sorted(names[:-1])
        assert len(set(desk.threads)) <= THREAD_LIMIT
        await until(lambda: not any(t.is_alive() for t in desk.threads), "threads end")

    run("asyncio", main())


def test_nobody_joins_a_look_up_that_hangs() -> None:
    """The network may have changed meanwhile: a fresh one answers at once."""

    async def main() -> None:
        desk = Desk()
        resolver = SystemResolver(desk, hung_after=0.0)
        stuck = asyncio.create_task(resolver.resolve("a.test", 1))
        await until(lambda: len(desk.calls) == 1, "the look-up runs")
        second = asyncio.create_task(resolver.resolve("a.test", 1))
        await until(lambda: len(desk.calls) == 2, "a second one runs")
        desk.may_answer.set()
        assert await stuck == await second

    run("asyncio", main())


def test_one_resolver_serves_one_loop_after_another() -> None:
    """What hung in a loop that is gone is answered into the void, without noise."""
    desk = Desk()
    resolver = SystemResolver(desk)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(resolver.resolve("a.test", 1), 0.01)

    run("asyncio", give_up())
    desk.may_answer.set()
    assert run("asyncio", resolver.resolve("a.test", 1)) == at(("127.0.0.7", 1))
    for thread in desk.threads:
        thread.join(5)
        assert not thread.is_alive()


def test_an_answer_for_a_loop_that_is_closed_goes_nowhere_quietly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    troubles: list[object] = []
    monkeypatch.setattr(threading, "excepthook", troubles.append)
    desk = Desk()
    resolver = SystemResolver(desk)
    loop = asyncio.new_event_loop()
    task = loop.create_task(resolver.resolve("a.test", 1))
    loop.run_until_complete(until(lambda: desk.threads != [], "the look-up runs"))
    loop.close()
    desk.may_answer.set()
    desk.threads[0].join(5)
    assert troubles == []
    assert not task.done()
    task.get_coro().close()  # type: ignore[union-attr]
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant
    del task


@both_loops
def test_a_cancel_that_crosses_the_answer_is_not_complained_about(loop: str) -> None:
    async def main() -> None:
        troubles: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: troubles.append(context)
        )
        desk = Desk()
        looking = asyncio.create_task(SystemResolver(desk).resolve("a.test", 1))
        await until(lambda: desk.threads != [], "the look-up runs")
        desk.may_answer.set()
        desk.threads[0].join(5)  # the loop stands still: the answer waits in it
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        assert troubles == []

    run(loop, main())


def test_a_hung_look_up_does_not_keep_the_interpreter_from_exiting() -> None:
    script = """
import asyncio, threading
from heartline.wire.resolve import SystemResolver
resolver = SystemResolver(lambda *a, **k: threading.Event().wait())
async def main():
    try:
        await asyncio.wait_for(resolver.resolve("a.test", 1), 0.05)
    except TimeoutError:
        print("gave up")
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=20,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
    )
    assert done.stdout == "gave up\n"
    assert done.stderr == ""
