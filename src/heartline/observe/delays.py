"""The delays of streams as gauges for Prometheus; a family each, as no sum is meant.

The round trip has a histogram of its own, which `metrics` counts from events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from heartline.core.latency import Latency, Spread

_DELAYS: tuple[tuple[str, str, Callable[[Latency], Spread]], ...] = (
    ("age", "From the venue's stamp to our reading.", lambda d: d.age),
    ("inbox_wait", "From our reading to the consumer.", lambda d: d.inbox),
    ("loop_late", "How late our own timers fired.", lambda d: d.loop),
)
_QUANTILES: tuple[tuple[str, Callable[[Spread], float | None]], ...] = (
    ("0.5", lambda s: s.median),
    ("0.99", lambda s: s.p99),
    ("1", lambda s: s.most),
)


def delays(measured: Mapping[str, Latency]) -> Iterator[Metric]:
    """Of the recent past, by stream; a delay without a sample has no series."""
    labels = ["stream", "quantile"]
    for name, text, delay in _DELAYS:
        gauge = GaugeMetricFamily(f"heartline_{name}_seconds", text, labels=labels)
        for stream, latency in measured.items():
            for quantile, read in _QUANTILES:
                value = read(delay(latency))
                if value is not None:
                    gauge.add_metric([stream, quantile], value)
        yield gauge
    unsure = GaugeMetricFamily(
        "heartline_age_uncertainty_seconds",
        "Half the width of what the clocks leave open; +Inf if nothing bounds it.",
        labels=["stream"],
    )
    for stream, latency in measured.items():
        if latency.age_uncertainty is not None:
            unsure.add_metric([stream], latency.age_uncertainty)
    yield unsure
