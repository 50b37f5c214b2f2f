"""Events and status as metrics for Prometheus.

What happened is counted from events; what is, and the totals of traffic, are read
from `Status` when somebody scrapes. Nothing here runs for each message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import chain
from threading import Lock
from typing import TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from heartline.core.channel_events import (
    AckIgnored,
    ChannelLive,
    EndPlanned,
    GapClosed,
    MalformedFound,
    SnapshotFailed,
    SubscriptionFailed,
    TookOver,
)
from heartline.core.events import (
    BackingOff,
    ChannelRevived,
    ChannelStalled,
    Cleared,
    ConditionBegan,
    ConditionEnded,
    Connected,
    Connecting,
    DialLost,
    Doubted,
    Dropped,
    Event,
    GapFound,
    Lost,
    RoundTripMeasured,
    Stalled,
    Stopped,
    Surrendered,
)
from heartline.core.items import Condition, Phase, Status
from heartline.core.latency import Latency

from .delays import delays

T = TypeVar("T")
_Pull: TypeAlias = Callable[[], Status]

_log = logging.getLogger("heartline")


class MetricsSink:
    """Count events into a Prometheus registry; pass it as `on_event`.

    `watch` adds what is read from the stream's status at each scrape; without it only
    the metrics marked * below are there. Every one carries the label `stream`: `name`,
    or `name#2` and so on while another open sink of the registry has that name, since
    two series of one name would spoil the whole scrape.

    Counters: * heartline_outages_total{cause}, * heartline_dial_failures_total{cause},
    * heartline_channel_stalls_total, * heartline_stall_seconds_total (our own loop),
    * heartline_suspended_seconds_total, * heartline_gaps_total{reason},
    * heartline_gap_seconds_total{reason}, * heartline_outage_seconds_total (from the
    last sign of life of a lost link to the next OPEN; while an outage lasts it grows
    only if watched), heartline_messages_total, heartline_delivered_total,
    heartline_dropped_total, heartline_frames_total, heartline_received_bytes_total,
    heartline_unknown_total, heartline_malformed_total, heartline_sent_total,
    heartline_pings_total, heartline_pongs_total.
    Histograms: * heartline_detection_seconds{cause} (from the last sign of life until
    told; only for links that died in silence, not for closes that were told to us),
    * heartline_round_trip_seconds.
    Gauges: heartline_up (OPEN), heartline_live, heartline_silence_seconds (absent
    without a link), heartline_detection_bound_seconds, heartline_attempt,
    heartline_condition{condition}; where the delays are watched too, and there are
    samples, heartline_age_seconds{quantile}, heartline_age_uncertainty_seconds,
    heartline_inbox_wait_seconds{quantile}, heartline_loop_late_seconds{quantile}.

    The sink removes all series of its stream on `Stopped`. After `Surrendered` they
    stay, with heartline_up 0, so that an alert can see it: call `close` when done.

    Raises ValueError at construction if the registry holds a foreign metric of one of
    these names; never into the stream: what prometheus_client raises while an event is
    counted (its files, in multiprocess mode) is counted in `errors`, the first logged.
    """

    def __init__(self, name: str, registry: CollectorRegistry = REGISTRY) -> None:
        self._families = _families_of(registry)
        self.stream = self._families.join(name, self)
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._histograms: dict[tuple[str, ...], Histogram] = {}
        self._pull: _Pull | None = None
        self._measured: Callable[[], Latency] | None = None
        self._outage_total = 0.0
        self._outage_since: float | None = None
        self._closed = False
        self.errors = 0
        for family in ("stalls", "stalled", "suspended"):
            self._counter(family)

    def watch(
        self, status: _Pull, latency: Callable[[], Latency] | None = None
    ) -> None:
        """Read `status` at every scrape, as in `sink.watch(lambda: stream.status)`.

        With `latency`, the delays of the stream are read as well.
        It is called by whoever scrapes: with prometheus_client's own HTTP server that
        is another thread, in which a stream must not be asked; `connect` sees to that.
        If it raises, this stream's pulled metrics are missing from that scrape,
        `heartline_status_errors_total` counts it, and the first is logged.
        """
        self._pull = status
        self._measured = latency

    def close(self) -> None:
        """Remove every series of this stream from the registry. May be repeated."""
        if self._closed:
            return
        self._closed = True
        self._families.leave(self.stream)
        for family, *labels in self._counters:
            self._families.counters[family].remove(self.stream, *labels)
        for family, *labels in self._histograms:
            self._families.histograms[family].remove(self.stream, *labels)

    def __call__(self, event: Event) -> None:
        try:
            if not self._closed:
                self._record(event)
        except Exception:
            self.errors += 1
            if self.errors == 1:
                _log.exception("metrics: an event of %s was not counted", self.stream)

    def _record(self, event: Event) -> None:
        match event:
            case Lost():
                self._lost(event)
            case Connected() | Surrendered():
                self._end_outage(event.at)
            case DialLost():
                self._counter("dials", event.cause).inc()
            case RoundTripMeasured():
                self._histogram("round_trip").observe(event.round_trip)
            case Stalled():
                self._counter("suspended").inc(max(0.0, event.suspended))
                awake = max(0.0, event.lag - event.suspended)
                self._counter("stalled").inc(awake)
            case ChannelStalled():
                self._counter("stalls").inc()
            case GapFound():
                gap = event.gap
                self._counter("gaps", gap.reason).inc()
                blind = max(0.0, gap.until_at - gap.from_at)
                self._counter("gap_seconds", gap.reason).inc(blind)
            case Stopped():
                self.close()
            case Connecting() | BackingOff() | Doubted() | Cleared():
                pass
            case ChannelLive() | SubscriptionFailed() | AckIgnored() | GapClosed():
                pass
            case EndPlanned() | TookOver():
                pass
            case ChannelRevived() | ConditionBegan() | ConditionEnded() | Dropped():
                pass
            case MalformedFound() | SnapshotFailed():
                pass

    def _lost(self, event: Lost) -> None:
        self._counter("outages", event.cause).inc()
        if event.bound is not None:
            silence = event.at - event.since_at
            self._histogram("detection", event.cause).observe(silence)
        if self._outage_since is None:
            self._outage_since = event.since_at

    def _end_outage(self, at: float) -> None:
        self._outage_total = self.outage_seconds(at)
        self._outage_since = None

    def outage_seconds(self, now: float | None) -> float:
        """Return the seconds spent blind, up to `now` if an outage is going on."""
        if now is None or self._outage_since is None:
            return self._outage_total
        return self._outage_total + max(0.0, now - self._outage_since)

    def pull(self) -> Status | None:
        """Ask the watched stream for its status; None if there is none to ask."""
        return None if self._pull is None else self._pull()

    def measured(self) -> Latency | None:
        """Ask it for its delays."""
        return None if self._measured is None else self._measured()

    def _counter(self, family: str, *labels: str) -> Counter:
        key = (family, *labels)
        if key not in self._counters:
            parent = self._families.counters[family]
            self._counters[key] = parent.labels(self.stream, *labels)
        return self._counters[key]

    def _histogram(self, family: str, *labels: str) -> Histogram:
        key = (family, *labels)
        if key not in self._histograms:
            parent = self._families.histograms[family]
            self._histograms[key] = parent.labels(self.stream, *labels)
        return self._histograms[key]


# --- what the sinks of one registry share -----------------------------------------

_SILENCES = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120)
_TRIPS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)

_COUNTERS = {
    "outages": ("heartline_outages", "Links lost, by cause.", ("cause",)),
    "dials": ("heartline_dial_failures", "Attempts that failed, by cause.", ("cause",)),
    "stalls": ("heartline_channel_stalls", "Channels found past their contract.", ()),
    "stalled": ("heartline_stall_seconds", "Seconds our own loop was late.", ()),
    "gaps": ("heartline_gaps", "Gaps reported, by reason.", ("reason",)),
    "gap_seconds": ("heartline_gap_seconds", "Seconds inside gaps.", ("reason",)),
    "suspended": ("heartline_suspended_seconds", "Seconds the machine slept.", ()),
}
_HISTOGRAMS = {
    "detection": (
        "heartline_detection_seconds",
        "Last sign of life until told, of links that died in silence.",
        ("cause",),
        _SILENCES,
    ),
    "round_trip": (
        "heartline_round_trip_seconds",
        "Probe sent to answer heard.",
        (),
        _TRIPS,
    ),
}

_TOTALS: tuple[tuple[str, str, Callable[[Status], float]], ...] = (
    ("messages", "Messages that arrived.", lambda s: s.counts.messages),
    ("delivered", "Messages the consumer took.", lambda s: s.counts.delivered),
    ("dropped", "Messages dropped unread, by policy.", lambda s: s.counts.dropped),
    ("frames", "Complete frames that arrived.", lambda s: s.counts.frames),
    ("received_bytes", "Bytes of frames that arrived.", lambda s: s.counts.size_bytes),
    ("unknown", "Messages the profile does not know.", lambda s: s.counts.unknown),
    ("malformed", "Messages against the venue's rules.", lambda s: s.counts.malformed),
    ("sent", "Messages handed to a link.", lambda s: s.counts.sent),
    ("pings", "Pings sent.", lambda s: s.counts.pings),
    ("pongs", "Pongs that answered a ping of ours.", lambda s: s.counts.pongs),
)
_LEVELS: tuple[tuple[str, str, Callable[[Status], float | None]], ...] = (
    ("up", "1 if the stream is OPEN.", lambda s: s.phase is Phase.OPEN),
    ("live", "1 if what is on the screen is live.", lambda s: s.live),
    ("silence_seconds", "Since any complete frame.", lambda s: s.silence),
    (
        "detection_bound_seconds",
        "Silence after which we tell at the latest.",
        lambda s: s.detection_bound,
    ),
    ("attempt", "Attempts since the stream was last useful.", lambda s: s.attempt),
)


class _Families(Collector):
    """The metrics of one registry, and the collector that pulls at scrape time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.counters = {
            key: Counter(name, text, ("stream", *labels), registry=registry)
            for key, (name, text, labels) in _COUNTERS.items()
        }
        self.histograms = {
            key: Histogram(
                name, text, ("stream", *labels), buckets=buckets, registry=registry
            )
            for key, (name, text, labels, buckets) in _HISTOGRAMS.items()
        }
        self._sinks: dict[str, MetricsSink] = {}
        self._lock = Lock()
        self._errors = 0
        registry.register(self)

    def join(self, name: str, sink: MetricsSink) -> str:
        """Admit a sink under `name`, or under the first free `name#n`."""
        with self._lock:
            # A label that cannot be encoded would spoil the whole scrape.
            name = name.encode(errors="replace").decode()
            label, number = name, 1
            while label in self._sinks:
                number += 1
                label = f"{name}#{number}"
            self._sinks[label] = sink
            return label

    def leave(self, label: str) -> None:
        with self._lock:
            del self._sinks[label]

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without asking any stream."""
        return chain(self._collected({}, {}), delays({}))

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            sinks = dict(self._sinks)
        found: dict[str, Status] = {}
        measured: dict[str, Latency] = {}
        for label, sink in sinks.items():
            status = self._ask(label, sink.pull)
            latency = self._ask(label, sink.measured)
            if status is not None:
                found[label] = status
            if latency is not None:
                measured[label] = latency
        return chain(self._collected(sinks, found), delays(measured))

    def _ask(self, label: str, read: Callable[[], T | None]) -> T | None:
        try:
            return read()
        except Exception:
            self._errors += 1
            if self._errors == 1:
                _log.exception("metrics: the status of %s cannot be read", label)
            return None

    def _collected(
        self, sinks: dict[str, MetricsSink], found: dict[str, Status]
    ) -> Iterator[Metric]:
        outages = _counter("outage_seconds", "Last sign of life to OPEN again.")
        for label, sink in sinks.items():
            now = found[label].at if label in found else None
            outages.add_metric([label], sink.outage_seconds(now))
        yield outages
        for name, text, total in _TOTALS:
            counter = _counter(name, text)
            for label, status in found.items():
                counter.add_metric([label], total(status))
            yield counter
        for name, text, level in _LEVELS:
            gauge = GaugeMetricFamily(f"heartline_{name}", text, labels=["stream"])
            for label, status in found.items():
                value = level(status)
                if value is not None:
                    gauge.add_metric([label], value)
            yield gauge
        yield _conditions(found)
        errors = CounterMetricFamily(
            "heartline_status_errors", "Times a stream's status could not be read."
        )
        errors.add_metric([], self._errors)
        yield errors


def _counter(name: str, text: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"heartline_{name}", text, labels=["stream"])


def _conditions(found: dict[str, Status]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(
        "heartline_condition", "1 while it stands.", labels=["stream", "condition"]
    )
    for label, status in found.items():
        for condition in Condition:
            gauge.add_metric([label, condition], condition in status.conditions)
    return gauge


_shared: WeakKeyDictionary[CollectorRegistry, _Families] = WeakKeyDictionary()
_sharing = Lock()


def _families_of(registry: CollectorRegistry) -> _Families:
    with _sharing:
        if registry not in _shared:
            _shared[registry] = _Families(registry)
        return _shared[registry]
