"""A process of clients, seen from both ends: orders in, news out, JSON lines.

Unlike the kit's children these speak without being asked: what happens to a client is
told when it happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from heartline.testing.orders import die_with

ROOT = Path(__file__).resolve().parent.parent
_LINE_LIMIT = 16 << 20
_PATIENCE = 120.0
"""Seconds any news may take."""


class Child:
    """The parent's end."""

    def __init__(self, process: asyncio.subprocess.Process, module: str) -> None:
        self._process = process
        self._module = module

    @classmethod
    async def start(cls, module: str, **options: Any) -> Child:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, str(os.getpid()), json.dumps(options)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=_LINE_LIMIT,
            cwd=ROOT,
        )
        return cls(process, module)

    def tell(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        """The next news. Raises `ConnectionError` if it has ended."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), _PATIENCE)
        if not line:
            raise ConnectionError(f"{self._module} has ended")
        news: dict[str, Any] = json.loads(line)
        return news

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        """Kill it, frozen or not."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def tell(**news: Any) -> None:
    """The child's end: say something to the parent."""
    print(json.dumps(news), flush=True)


async def orders() -> AsyncIterator[dict[str, Any]]:
    """The child's end: what it is told, until the parent has had enough."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield json.loads(line)


def be_child(main: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Run the child's end; it dies with its parent, also when frozen."""
    die_with(int(sys.argv[1]))
    raise_file_limit()

    async def whole() -> None:
        asyncio.get_running_loop().set_exception_handler(_give_up)
        await main(json.loads(sys.argv[2]))

    # Clients that cost less leave the machine to the server.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A proof with a client that fails in a callback is none."""
    print(f"{context['message']}: {context.get('exception')!r}", file=sys.stderr)
    os._exit(1)


def raise_file_limit() -> int:
    """Allow as many open files as the system lets us; how many that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
