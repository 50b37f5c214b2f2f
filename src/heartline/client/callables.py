"""The user's callables, called so that what they raise never breaks a stream."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from heartline.core.inbox import Inbox
from heartline.core.items import Message

T = TypeVar("T")
R = TypeVar("R")


def report(what: str, error: Exception) -> None:
    """Hand an exception of the user's own code to the loop's exception handler."""
    loop = asyncio.get_running_loop()
    loop.call_exception_handler(
        {
            "message": f"heartline: {what} raised {type(error).__name__}",
            "exception": error,
        }
    )


def report_discreetly(what: str, error: Exception) -> None:
    """The same of code that handles secrets, whose exceptions may say them.

    A handler that the user has set is given all. The loop's own would log the text: it
    is told where the exception was raised, and not what it says.
    """
    loop = asyncio.get_running_loop()
    if loop.get_exception_handler() is not None:
        report(what, error)
        return
    # The first frame is our own, which called.
    frames = traceback.extract_tb(error.__traceback__)[1:]
    way = ", ".join(f"{Path(f.filename).name}:{f.lineno} in {f.name}" for f in frames)
    kind = type(error).__name__
    message = f"heartline: {what} raised {kind} ({way or 'when it was called'})"
    loop.call_exception_handler({"message": message})


def careful(
    what: str, call: Callable[[T], R], otherwise: Callable[[], R]
) -> Callable[[T], R]:
    """Make `call` answer `otherwise()` where it raises; told the first time only.

    It is called for each message: a report for each would be a storm.
    """
    told = False

    def calling(value: T) -> R:
        nonlocal told
        try:
            return call(value)
        except Exception as error:
            if not told:
                told = True
                report(what, error)
            return otherwise()

    return calling


def with_careful_key(inbox: Inbox) -> Inbox:
    """A message whose key cannot be told stands for itself: nothing replaces it."""
    key = inbox.key
    if key is None:
        return inbox

    def hashable(message: Message) -> Hashable:
        name = key(message)
        hash(name)
        return name

    return replace(inbox, key=careful("Inbox.key", hashable, object))
