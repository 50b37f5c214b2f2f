"""How a command runs until it is done or told to stop, and the status it exits with."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine
from enum import IntEnum
from importlib.util import find_spec
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, NoReturn

import typer

from heartline.errors import GaveUp, HeartlineError, UsageError, VenueError

STDOUT = 1
_ERRNO = re.compile(r"\[errno -?\d+\] ", re.IGNORECASE)


class Exit(IntEnum):
    """Exit statuses of every command. A signal adds 128: 130 for SIGINT."""

    ENDED = 0
    GAVE_UP = 1
    USAGE = 2


EXIT_STATUSES = (
    "Exit status: 0 ended as asked; 1 gave up, or the work failed; 2 bad usage; "
    "130 and 143 ended by SIGINT or SIGTERM."
)


def fail(message: str, status: Exit = Exit.USAGE) -> NoReturn:
    """End the command with one line that says why, folded where a terminal ends."""
    line = f"heartline: {message}"
    if sys.stderr.isatty():
        width = get_terminal_size().columns
        line = fill(line, width, break_long_words=False, break_on_hyphens=False)
    print(line, file=sys.stderr)
    raise typer.Exit(status)


def leave_stdout() -> None:
    """Forget a reader that has gone; else Python complains at exit, in two lines."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `main` to its end, or until SIGINT or SIGTERM cancels it; then exit.

    A second signal acts as if nobody had asked to be told. Runs on uvloop where that
    is installed.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            status = runner.run(_until_signal(main()))
    except GaveUp as error:
        fail(str(error), Exit.GAVE_UP)
    except (UsageError, VenueError) as error:
        fail(str(error), Exit.USAGE)
    except (HeartlineError, OSError) as error:
        fail(_ERRNO.sub("", str(error)), Exit.GAVE_UP)
    raise typer.Exit(status)


async def _until_signal(main: Coroutine[Any, Any, None]) -> int:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    caught: list[int] = []

    def stop(number: int) -> None:
        caught.append(number)
        release()
        task.cancel()

    def release() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not caught:
            raise
    finally:
        release()
    return 128 + caught[0] if caught else Exit.ENDED


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
