"""`heartline watch` for a person: the view of `heartline.ui`, painted as it changes."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

from rich.console import Console
from rich.live import Live

import heartline
from heartline.cli.aside import Aside
from heartline.observe.words import duration
from heartline.ui.terminal import render
from heartline.ui.view import WatchView

PAINT_EVERY = 0.25
"""Seconds between two pictures."""


async def show(stream: heartline.Stream, view: WatchView, aside: Aside) -> None:
    """Paint until the stream ends, and raise what it raises."""
    console = Console()
    log = logging.getLogger()
    handler = _IntoView(view)
    log.addHandler(handler)
    live = Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    try:
        with live:
            reader = asyncio.create_task(_read(stream))
            painter = asyncio.create_task(_paint(stream, view, live, aside))
            await _first_of(reader, painter)
    finally:
        log.removeHandler(handler)
        console.print(closing_words(view), highlight=False, soft_wrap=True)


def closing_words(view: WatchView) -> str:
    """Sum up what was watched, for when the view is gone."""
    status = view.status
    if status is None or view.since_at is None:
        return f"{view.title}: nothing was seen"
    counts = status.counts
    watched = duration(float(int(status.at - view.since_at)))
    return (
        f"{view.title}: {watched} watched; messages {counts.messages:,}, "
        f"outages {status.outages:,}, gaps {counts.gaps:,}, drops {counts.dropped:,}"
    )


async def _read(stream: heartline.Stream) -> None:
    """Empty the inbox, or it overflows; what is shown comes from status and events."""
    async for _ in stream.batches():
        pass


async def _paint(
    stream: heartline.Stream, view: WatchView, live: Live, aside: Aside
) -> None:
    while True:
        status = stream.status
        view.utc_offset = time.time() - status.at
        view.item(status)
        view.latency = stream.latency
        picture = render(view.copy(), status.at)
        await aside.run(partial(live.update, picture, refresh=True))
        await asyncio.sleep(PAINT_EVERY)


async def _first_of(*tasks: asyncio.Task[None]) -> None:
    """Wait for the first to end, end the others, and raise what it raised."""
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()


class _IntoView(logging.Handler):
    """Keep log lines off the screen that is painted: show them inside it."""

    def __init__(self, view: WatchView) -> None:
        super().__init__(logging.WARNING)
        self.view = view

    def emit(self, record: logging.LogRecord) -> None:
        self.view.note(record.getMessage())
