"""The bell that wakes a reader: at once from a callback, in order, and cancellable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
import uvloop

from heartline.client.lane import Lane, PureLane

BELLS = [PureLane] if Lane is PureLane else [PureLane, Lane]
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])


@pytest.fixture(params=BELLS, ids=["pure", "compiled"][: len(BELLS)])
def make_bell(request: pytest.FixtureRequest) -> Callable[..., PureLane]:
    """A lane is a doorbell, and more than its bell is not used here."""
    return partial(request.param, waiting=None)


@LOOPS
def test_a_ring_from_a_callback_runs_the_waiter_before_it_returns(
    run, make_bell
) -> None:
    async def main() -> list[str]:
        loop, told = asyncio.get_running_loop(), []
        bell, done = make_bell(loop), asyncio.Event()

        async def wait() -> None:
            for _ in range(3):
                await bell
                told.append("woken")
            done.set()

        def ring() -> None:
            told.append("ring")
            bell.ring(at_once=True)
            told.append("returned")
            if not done.is_set():
                loop.call_soon(ring)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        loop.call_soon(ring)
        await task
        return told

    assert run(main()) == ["ring", "woken", "returned"] * 3


@LOOPS
def test_a_ring_from_a_task_waits_for_the_next_pass(run, make_bell) -> None:
    async def main() -> list[str]:
        bell, told = make_bell(asyncio.get_running_loop()), []

        async def wait() -> None:
            await bell
            told.append("woken")

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        bell.ring(at_once=True)
        told.append("returned")
        await task
        return told

    assert run(main()) == ["returned", "woken"]


@LOOPS
@pytest.mark.parametrize("rung_first", [False, True])
def test_a_cancelled_waiter_is_told_and_the_bell_can_be_used_again(
    run, make_bell, rung_first: bool
) -> None:
    async def main() -> None:
        bell = make_bell(asyncio.get_running_loop())

        async def wait() -> None:
            await bell

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        if rung_first:
            bell.ring()
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not bell.awaited
        again = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert bell.awaited
        asyncio.get_running_loop().call_soon(lambda: bell.ring(at_once=True))
        await asyncio.wait_for(again, 5)

    run(main())


@LOOPS
def test_a_timeout_around_the_wait_works_as_with_a_future(run, make_bell) -> None:
    async def main() -> None:
        bell = make_bell(asyncio.get_running_loop())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bell
        assert not bell.awaited

    run(main())


@LOOPS
def test_nobody_waiting_is_no_trouble(run, make_bell) -> None:
    async def main() -> None:
        bell = make_bell(asyncio.get_running_loop())
        bell.ring()
        bell.ring(at_once=True)
        assert not bell.awaited

    run(main())


@LOOPS
def test_a_cancelled_waiter_is_told_though_another_waits_before_it_wakes(
    run, make_bell
) -> None:
    async def main() -> None:
        bell = make_bell(asyncio.get_running_loop())

        async def wait() -> None:
            await bell

        first = asyncio.create_task(wait())
        await asyncio.sleep(0)
        first.cancel("enough")
        asyncio.get_running_loop().call_soon(bell.ring)
        await bell  # in the same step, so before the first has woken
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await first

    run(main())
