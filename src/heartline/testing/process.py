"""A child process of the kit, seen from its parent: start, ask, freeze, end.

The fault kit's servers live in processes of their own, so that a stall of the loop
under test never stalls its venue, and a frozen venue never freezes the test. Each
child leads its own process session, out of reach of a terminal's signals. It ends
with `end()`, with the end of its standard input, and with its parent.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent.parent

# The package's own __init__ would import the client and all it needs, ten times the
# start-up of what a child uses. Bare parents of the same names let a child import
# the modules it wants and nothing else.
_BOOT = """
import importlib, sys, types
root, module, parent = sys.argv[1:4]
for name, path in (("heartline", root), ("heartline.testing", root + "/testing")):
    package = types.ModuleType(name)
    package.__path__ = [path]
    sys.modules[name] = package
importlib.import_module("heartline.testing." + module).main(int(parent))
"""

ANSWER_TIMEOUT = 10.0
"""Seconds an order may take; far more than any needs, on a busy machine too."""

REAP_TIMEOUT = 2.0


class ChildProcess:
    """One child of `module` (in `heartline.testing`), driven over pipes.

    Not to be shared between threads. The child dies with the thread that called
    `start`, which must therefore be the one that runs the loop.
    """

    def __init__(self, module: str, *, what: str) -> None:
        self._module = module
        self._what = what
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: _Answers | None = None
        self._orders: asyncio.WriteTransport | None = None
        self._last_id = 0

    @property
    def pid(self) -> int:
        return self._running().pid

    async def start(
        self, options: Mapping[str, Any], *, pass_fds: Sequence[int] = ()
    ) -> Any:
        """Start it and return what it says when it is ready.

        Raises `OSError` if the child could not make ready, `TimeoutError` if it
        took more than 10 s. Leaves no process behind then, nor when cancelled.
        """
        assert self._process is None, "started twice"
        command = [sys.executable, "-I", "-S", "-c", _BOOT, str(_PACKAGE)]
        self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork takes about 1 ms
            [*command, self._module, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        try:
            loop = asyncio.get_running_loop()
            _, self._answers = await loop.connect_read_pipe(
                lambda: _Answers(self._what), self._process.stdout
            )
            self._orders, _ = await loop.connect_write_pipe(
                asyncio.BaseProtocol, self._process.stdin
            )
            return await self.ask("begin", options)
        except BaseException:
            self.end()
            raise

    async def ask(self, order: str, options: Mapping[str, Any]) -> Any:
        """Have one order carried out and return the answer.

        Raises `ConnectionError` if the process is gone, `TimeoutError` if it does
        not answer within 10 s (it may be frozen), `OSError` if the system refused.
        """
        if self._orders is None or self._answers is None or self._answers.gone.is_set():
            raise ConnectionError(f"{self._what}: wanted a running process, got none")
        self._last_id += 1
        answer = self._answers.expect(self._last_id)
        line = json.dumps({"id": self._last_id, "do": order, "with": options})
        self._orders.write(line.encode() + b"\n")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await answer
        except TimeoutError:
            raise TimeoutError(
                f"{self._what}: no answer to {order!r} within {ANSWER_TIMEOUT:g} s; "
                "a frozen process takes no orders"
            ) from None

    async def ended(self) -> None:
        """Return as soon as the process has ended, whoever ended it."""
        if self._answers is not None:
            await self._answers.gone.wait()

    def freeze(self) -> None:
        """SIGSTOP: its kernel still acknowledges, it does nothing any more."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: its kernel ends its connections at once, with FIN or RST."""
        self._running().kill()

    def end(self) -> None:
        """Kill and reap it, frozen or not; harmless if it is gone already.

        Takes some milliseconds of the caller's loop, on purpose: a cancelled test
        cannot leave a process behind.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(timeout=REAP_TIMEOUT)
        if self._answers is not None:
            self._answers.close()
        elif process.stdout is not None:
            process.stdout.close()
        if self._orders is not None:
            # It closes by itself when the process is gone; once is enough.
            if not self._orders.is_closing():
                self._orders.abort()
        elif process.stdin is not None:
            process.stdin.close()
        self._answers = self._orders = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessLookupError(f"{self._what}: it was never started")
        return self._process


class _Answers(asyncio.Protocol):
    """Match the lines of the child's standard output to the orders they answer."""

    def __init__(self, what: str) -> None:
        self.gone = asyncio.Event()
        self._what = what
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._partial = bytearray()
        self._transport: asyncio.BaseTransport | None = None

    def expect(self, number: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        return future

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._abandon()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._partial += data
        *lines, rest = self._partial.split(b"\n")
        self._partial = bytearray(rest)
        for line in lines:
            self._settle(json.loads(line))

    def connection_lost(self, exc: Exception | None) -> None:
        self._abandon()

    def _settle(self, answer: dict[str, Any]) -> None:
        future = self._waiting.pop(answer["id"], None)
        if future is None or future.done():
            return
        if "error" in answer:
            text = f"{self._what}: {answer['error']}"
            future.set_exception(OSError(answer["errno"], text))
        else:
            future.set_result(answer["ok"])

    def _abandon(self) -> None:
        self.gone.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(f"{self._what}: it is gone"))
        self._waiting.clear()
