"""The process of one scenario: `python -m heartline.testing.scenarios FAULT PARENT`.

Writes the outcome as one line of JSON and ends. Before that it may ask its parent to
stop it: `{"suspend_s": 20.0}`, answered on standard input when it goes on by
`{"continued_at": ...}`, on the monotonic clock. The end of standard input, and the
parent's death, end it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable

import msgspec

from heartline.testing.orders import die_with

from .outcome import Outcome
from .repertoire import play


class Order(msgspec.Struct, frozen=True):
    suspend_s: float


class Answer(msgspec.Struct, frozen=True):
    continued_at: float


def main(fault: str, parent: int) -> None:
    die_with(parent)
    # What happens here is wanted to happen: it is told by the outcome, not by logs.
    logging.getLogger("heartline").setLevel(logging.CRITICAL)
    outcome = asyncio.run(_play(fault))
    os.write(sys.stdout.fileno(), msgspec.json.encode(outcome) + b"\n")


async def _play(fault: str) -> Outcome:
    parent = _Parent()
    await asyncio.get_running_loop().connect_read_pipe(lambda: parent, sys.stdin.buffer)
    playing = asyncio.ensure_future(play(fault, parent.suspend_us))
    parent.on_end = playing.cancel
    return await playing


class _Parent(asyncio.Protocol):
    """Who started this process, at the other end of its standard streams."""

    def __init__(self) -> None:
        self.on_end: Callable[[], object] = lambda: None
        self._partial = b""
        self._answer: asyncio.Future[bytes] | None = None

    async def suspend_us(self, seconds: float) -> float:
        self._answer = asyncio.get_running_loop().create_future()
        order = msgspec.json.encode(Order(seconds))
        os.write(sys.stdout.fileno(), order + b"\n")
        line = await self._answer
        return msgspec.json.decode(line, type=Answer).continued_at

    def data_received(self, data: bytes) -> None:
        self._partial += data
        if self._partial.endswith(b"\n") and self._answer is not None:
            self._answer.set_result(self._partial)
            self._partial = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_end()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
