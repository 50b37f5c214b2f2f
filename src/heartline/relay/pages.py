"""What a relay answers to plain HTTP: `/healthz`, `/channels` and `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from heartline.server import Answer, ServerStatus

from .notes import StatusNote
from .terms import BusStatus

JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}


@dataclass(slots=True)
class Account:
    """One channel's totals since the relay was started.

    `offset` is its last message's, which is `messages` of the upstream and `notes`
    of the relay together. `gaps` were told, `missing` is how many messages they
    lack as far as that is known.
    """

    offset: int = 0
    messages: int = 0
    notes: int = 0
    gaps: int = 0
    missing: int = 0


def health(
    status: StatusNote, since: str, server: ServerStatus, bus: BusStatus | None
) -> Answer:
    """200 only while the upstream is live; `since` is when that began, or ended.

    The bus changes nothing of it: what it cannot take, clients still get.
    """
    body: dict[str, object] = {
        "status": "LIVE" if status.live else "NOT LIVE",
        "since": status.since or since,
        "cause": status.cause,
        "phase": status.phase,
        "verdict": status.verdict,
        "evidence": status.evidence,
        "clients": server.clients,
    }
    if bus is not None:
        body["bus"] = bus
    found = HTTPStatus.OK if status.live else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(found, msgspec.json.encode(body).decode(), JSON)


def channels(accounts: dict[str, Account]) -> Answer:
    return Answer(HTTPStatus.OK, msgspec.json.encode(accounts).decode(), JSON)


def metrics(registry: CollectorRegistry) -> Answer:
    text = generate_latest(registry).decode()
    return Answer(HTTPStatus.OK, text, {"Content-Type": CONTENT_TYPE_LATEST})


class RelayMetrics(Collector):
    """The relay's own metrics, beside those of its upstream's stream."""

    def __init__(
        self,
        server: Callable[[], ServerStatus],
        accounts: Callable[[], dict[str, Account]],
        bus: Callable[[], BusStatus | None],
    ) -> None:
        self._server = server
        self._accounts = accounts
        self._bus = bus

    def describe(self) -> Iterator[Metric]:
        """Nothing is known of it beforehand."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        server, accounts = self._server(), self._accounts()
        yield _gauge("clients", "Clients connected.", server.clients)
        yield _gauge("slow_clients", "Those for whom messages wait.", server.slow)
        yield _gauge("channels", "Channels that are relayed.", len(accounts))
        totals = accounts.values()
        yield _counter("joined", "Clients that came.", server.joined)
        for name, text in (
            ("messages", "Messages of the upstream that were passed on."),
            ("notes", "Notes that were numbered among them."),
            ("gaps", "Gaps that were told, one for each channel."),
            ("missing", "Messages known to lie in them."),
        ):
            yield _counter(name, text, sum(getattr(each, name) for each in totals))
        if (bus := self._bus()) is not None:
            yield from _of_bus(bus)
        ended = CounterMetricFamily(
            "heartline_relay_ended", "Clients that left, by cause.", labels=["cause"]
        )
        for cause, count in server.ended.items():
            ended.add_metric([cause], count)
        yield ended


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"heartline_relay_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"heartline_relay_{name}", text, value=value)


def _of_bus(bus: BusStatus) -> Iterator[Metric]:
    yield _gauge("bus_live", "Whether the bus takes all in time.", bus.live)
    yield _gauge("bus_waiting", "Messages that wait for the bus.", bus.waiting)
    yield _gauge("bus_peers", "Other healthy relays of this upstream.", len(bus.peers))
    yield _counter("bus_stored", "Messages that were stored.", bus.stored)
    yield _counter("bus_skipped", "Messages that the stream had.", bus.skipped)
    yield _counter("bus_dropped", "Messages that found no room.", bus.dropped)
    yield _counter("bus_gaps", "Gaps that were told in the stream.", bus.gaps)
