"""Who is told what happens to one stream: the user's sink, log, journal, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from heartline.core.demands import demand_prompt
from heartline.core.events import Event
from heartline.core.items import Status
from heartline.core.latency import Latency
from heartline.errors import UsageError
from heartline.observe import Journal, LogSink, MetricsSink, demand_place

from .callables import report
from .scraped import Scraped


class Observers:
    """Fans one stream's events out. What an observer raises never ends the stream."""

    __slots__ = (
        "_journal",
        "_log",
        "_metrics",
        "_on_event",
        "_path",
        "_registry",
        "name",
    )

    def __init__(
        self,
        name: str,
        *,
        on_event: Callable[[Event], None] | None,
        journal: Path | str | None,
        metrics: CollectorRegistry | None,
    ) -> None:
        demand_prompt("on_event", on_event)
        if not name.isprintable():  # it stands in lines of logs
            wanted = "a text of one line, without control characters"
            raise UsageError("name", wanted=wanted, got="another")
        if journal is not None:
            demand_place(journal)
        self.name = name
        self._on_event = on_event
        self._path = journal
        self._registry = metrics
        self._log = LogSink(name)
        self._journal: Journal | None = None
        self._metrics: MetricsSink | None = None

    def open(
        self, status: Callable[[], Status], latency: Callable[[], Latency]
    ) -> None:
        if self._path is not None:
            self._journal = Journal(self._path, name=self.name)
        if self._registry is not None:
            self._metrics = MetricsSink(self.name, self._registry)
            scraped = Scraped.of(asyncio.get_running_loop())
            self._metrics.watch(scraped.asking(status), scraped.asking(latency))

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._metrics is not None:
            self._metrics.close()

    def tell(self, event: Event) -> None:
        self._log(event)
        if self._journal is not None:
            self._journal(event)
        if self._metrics is not None:
            self._metrics(event)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:
            report("on_event", error)

    def status(self, status: Status) -> None:
        if self._journal is not None:
            self._journal.status(status)
