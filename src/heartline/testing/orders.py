"""The child's side of the kit's control channel: orders in, answers out.

One JSON object a line: `{"id": 7, "do": "counts", "with": {...}}` on standard input,
`{"id": 7, "ok": ...}` or `{"id": 7, "errno": 98, "error": "..."}` on standard output.
Orders are carried out one after the other; what is wrong with one is the asker's to
find before it is sent, only the system may still refuse it. The end of standard input
ends the process, and so does the death of its parent. Standard library only, few
imports: a child must be up in a fraction of a second.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Carry out one order by its name and options; what it returns must fit JSON."""

Begin: TypeAlias = Callable[[dict[str, Any]], Awaitable[tuple[object, Handler]]]
"""Make ready by the options of the first order; return its answer and a handler."""

_PR_SET_PDEATHSIG = 1
_LINE_LIMIT = 64 << 20


def run(begin: Begin, *, parent: int) -> None:
    """Serve until standard input ends; never returns."""
    die_with(parent)
    asyncio.run(_serve(begin))
    # Nothing is left to save: skip the interpreter's own farewell.
    os._exit(0)


def die_with(parent: int) -> None:
    """Also when frozen: a stopped process reads no end of input, but dies of SIGKILL.

    The signal comes when the *thread* that started us ends, which is the one that
    runs the parent's loop.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        os._exit(1)


async def _serve(begin: Begin) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    # Never blocks: a parent that does not read must not stall the venue.
    out, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout.buffer)
    handler: Handler | None = None
    while line := await reader.readline():
        order = json.loads(line)
        answer: dict[str, object] = {"id": order["id"]}
        try:
            if handler is None:
                answer["ok"], handler = await begin(order["with"])
            else:
                answer["ok"] = await handler(order["do"], order["with"])
        except OSError as error:
            answer["errno"] = error.errno or 0
            answer["error"] = error.strerror or str(error)
        out.write(json.dumps(answer).encode() + b"\n")
