"""A dial can be cancelled at any instant, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import pytest

from heartline.core.events import Stage
from heartline.wire.resolve import AddrInfo
from loopback import (
    Fixed,
    both_loops,
    clients_of,
    knock,
    make_ears,
    open_sockets,
    run,
    server_tls,
    serving,
    silent,
    trusting,
    try_dial,
    until,
    upgrading,
)


class Never:
    async def resolve(self, host: str, port: int) -> list[AddrInfo]:
        await asyncio.Event().wait()
        raise AssertionError


async def cancelled_in(
    stage: Stage, port: int, url: str, heard: list[bytes] | None = None, **how: Any
) -> None:
    """Cancel a dial in the middle of `stage`; see that nothing is left of it.

    The middle is when the peer has `heard` something, where it can hear.
    """
    stages: list[Stage] = []
    before, tasks = open_sockets(), asyncio.all_tasks()
    dialling = asyncio.create_task(
        try_dial(url, listener=make_ears, stages=stages, **how)
    )
    await until(lambda: stages[-1:] == [stage], f"stage {stage}")
    if heard is not None:
        await until(lambda: heard != [], "the peer heard of it")
        heard.clear()
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert clients_of(port) == []
    await until(lambda: open_sockets() <= before, "all sockets closed")
    assert asyncio.all_tasks() - tasks <= {
        task for task in asyncio.all_tasks() if "guarded" in repr(task.get_coro())
    }
    await until(lambda: asyncio.all_tasks() <= tasks, "all tasks ended")


@both_loops
def test_a_dial_can_be_cancelled_in_every_stage_and_leaves_nothing(loop: str) -> None:
    async def main() -> None:
        heard: list[bytes] = []
        async with serving(silent(heard)) as port:
            plain, secure = f"ws://localhost:{port}/", f"wss://localhost:{port}/"
            await cancelled_in(Stage.RESOLVING, port, plain, resolver=Never())
            await cancelled_in(Stage.SECURING, port, secure, heard)
            await cancelled_in(Stage.UPGRADING, port, plain, heard)
            proxy = f"http://127.0.0.1:{port}"
            await cancelled_in(Stage.UPGRADING, port, "ws://x/", heard, proxy=proxy)
            await cancelled_in(Stage.SECURING, port, "wss://x/", heard, proxy=proxy)
            proxy = f"socks5://127.0.0.1:{port}"
            await cancelled_in(Stage.UPGRADING, port, "ws://x/", heard, proxy=proxy)
        async with serving(silent(heard), tls=server_tls("localhost")) as port:
            secure, context = f"wss://localhost:{port}/", trusting()
            await cancelled_in(
                Stage.UPGRADING, port, secure, heard, ssl_context=context
            )
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            crowd = [knock(deaf.getsockname()) for _ in range(4)]
            port = deaf.getsockname()[1]
            two = Fixed(("127.0.0.1", port), ("127.0.0.1", port))
            await cancelled_in(Stage.CONNECTING, 0, "ws://x/", resolver=two)
            for knocker in crowd:
                knocker.close()

    run(loop, main())


@both_loops
def test_cancelled_at_any_pass_of_the_loop_a_dial_leaves_nothing(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Sweep the instant of the cancel over a whole successful dial."""

    async def main() -> int:
        finished = 0
        tls = server_tls("localhost")
        async with serving(upgrading([]), tls=tls) as port:
            before, context = open_sockets(), trusting()
            for passes in range(0, 60):
                dialling = asyncio.create_task(
                    try_dial(
                        f"wss://localhost:{port}/",
                        listener=make_ears,
                        ssl_context=context,
                    )
                )
                for _ in range(passes):
                    await asyncio.sleep(0)
                if dialling.done():
                    finished += 1
                    dialling.result().underlying_transport.abort()
                dialling.cancel()
                await asyncio.wait([dialling])
                if dialling.cancelled():
                    assert clients_of(port) == []
            await until(lambda: open_sockets() <= before, "all sockets closed")
        return finished

    run(loop, main())
    gc.collect()
    assert "never retrieved" not in caplog.text
