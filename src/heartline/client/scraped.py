"""What is asked of a loop's streams from other threads, as a scrape of metrics is.

A machine that is asked tells itself first what it put off, sets its timers and wakes
its consumer. None of that may be done in another thread than its loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import get_ident
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

PATIENCE = 1.0
"""Longest wait for a loop, seconds: one that stands still longer is not to keep
whoever scrapes, who asks for all of its streams one after the other."""


class Scraped:
    """One loop, as it is asked from elsewhere. Made in the thread of that loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, patience: float = PATIENCE
    ) -> None:
        self._loop = loop
        self._thread = get_ident()
        self._patience = patience
        self._late: Future[Any] | None = None
        """The last one that was not waited for, until the loop answers it."""

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Scraped:
        """The one of `loop`, which lasts as long as somebody holds it."""
        scraped = _SCRAPED.get(id(loop))
        if scraped is None:
            scraped = _SCRAPED[id(loop)] = cls(loop)
        return scraped

    def asking(self, call: Callable[[], T]) -> Callable[[], T]:
        """Make `call` one that may be called in any thread; it runs in the loop's.

        Elsewhere it raises TimeoutError where the loop does not answer in time, at
        once while it owes an answer, and RuntimeError once the loop is closed.
        """

        def asked() -> T:
            return call() if get_ident() == self._thread else self._ask(call)

        return asked

    def _ask(self, call: Callable[[], T]) -> T:
        if self._late is not None and not self._late.done():
            raise TimeoutError("the loop stands still")
        answer: Future[T] = Future()
        self._loop.call_soon_threadsafe(_answer, answer, call)
        try:
            return answer.result(self._patience)
        except TimeoutError:
            self._late = answer
            raise


def _answer(answer: Future[T], call: Callable[[], T]) -> None:
    try:
        answer.set_result(call())
    except Exception as error:
        answer.set_exception(error)


_SCRAPED: WeakValueDictionary[int, Scraped] = WeakValueDictionary()
"""By the id of the loop, as alarms are."""
