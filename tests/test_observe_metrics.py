"""Metrics of several streams share a registry, and status is pulled when scraped."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from heartline.core.events import (
    ChannelStalled,
    Event,
    GapFound,
    RoundTripMeasured,
    Stalled,
    Stopped,
    Surrendered,
)
from heartline.core.items import Cause, Condition, Counts, Gap, Phase, Status
from heartline.observe import MetricsSink
from observe_samples import any_event, any_status, connected, dial_lost, lost, status


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def scraped(registry: CollectorRegistry) -> dict[str, float]:
    """One scrape, through the text format and back, as `name{label="x"}` -> value."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}"
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def of(found: dict[str, float], stream: str) -> set[str]:
    return {key for key in found if f'stream="{stream}"' in key}


def test_outages_and_failed_dials_are_counted_by_cause(
    registry: CollectorRegistry,
) -> None:
    sink = MetricsSink("btc", registry)
    sink(lost())
    sink(lost())
    sink(lost(cause=Cause.RESET, bound=None))
    sink(dial_lost())
    found = scraped(registry)
    assert found['heartline_outages_total{cause="PATH_DEAD",stream="btc"}'] == 2
    assert found['heartline_outages_total{cause="RESET",stream="btc"}'] == 1
    assert found['heartline_dial_failures_total{cause="REFUSED",stream="btc"}'] == 1


def test_detection_is_told_minus_since_and_only_of_silent_deaths(
    registry: CollectorRegistry,
) -> None:
    sink = MetricsSink("btc", registry)
    sink(lost(at=101.25, since_at=100.0))
    sink(lost(at=200.0, since_at=100.0, cause=Cause.CLOSED_BY_PEER, bound=None))
    found = scraped(registry)
    name, labels = "heartline_detection_seconds", 'cause="PATH_DEAD",stream="btc"'
    assert found[f"{name}_sum{{{labels}}}"] == 1.25
    assert found[f"{name}_count{{{labels}}}"] == 1
    assert not [key for key in found if name in key and "CLOSED_BY_PEER" in key]


def test_round_trips_and_stalls_are_in_seconds(registry: CollectorRegistry) -> None:
    sink = MetricsSink("btc", registry)
    sink(RoundTripMeasured(at=1, epoch=1, round_trip=0.25))
    sink(Stalled(at=1, epoch=1, lag=3.0, suspended=0.0))
    sink(Stalled(at=1, epoch=1, lag=100.5, suspended=100.0))
    sink(ChannelStalled(at=1, epoch=1, channel="book", silence=3, contract=2))
    gap = Gap(reason="overflow", from_at=1.0, until_at=3.5, epoch=1)
    sink(GapFound(at=4, epoch=1, gap=gap))
    found = scraped(registry)
    assert found['heartline_round_trip_seconds_sum{stream="btc"}'] == 0.25
    assert found['heartline_stall_seconds_total{stream="btc"}'] == 3.5
    assert found['heartline_suspended_seconds_total{stream="btc"}'] == 100.0
    assert found['heartline_channel_stalls_total{stream="btc"}'] == 1
    assert found['heartline_gaps_total{reason="overflow",stream="btc"}'] == 1
    assert found['heartline_gap_seconds_total{reason="overflow",stream="btc"}'] == 2.5


def test_an_outage_grows_while_it_lasts_and_never_shrinks(
    registry: CollectorRegistry,
) -> None:
    sink = MetricsSink("btc", registry)
    now = 0.0
    sink.watch(lambda: status(at=now))
    key = 'heartline_outage_seconds_total{stream="btc"}'
    seen: list[float] = []
    for at, event in (
        (99.0, None),
        (102.0, lost(at=101.0, since_at=100.0)),
        (110.0, lost(at=109.0, since_at=108.0)),
        (111.0, connected(at=110.5, outage=9.5)),
        (150.0, None),
    ):
        now = at
        if event is not None:
            sink(event)
        seen.append(scraped(registry)[key])
    assert seen == [0.0, 2.0, 10.0, 10.5, 10.5]


def test_status_is_pulled_at_the_scrape_and_at_no_other_time(
    registry: CollectorRegistry,
) -> None:
    sink = MetricsSink("btc", registry)
    asked: list[int] = []

    def pull() -> Status:
        asked.append(1)
        counts = Counts(messages=7, dropped=2, size_bytes=900, pings=3, pongs=2)
        return status(
            silence=0.5,
            counts=counts,
            attempt=1,
            conditions=frozenset({Condition.NO_PONG}),
        )

    sink.watch(pull)
    sink(lost())
    assert not asked
    found = scraped(registry)
    assert len(asked) == 1
    expected = {
        "up": 1,
        "live": 1,
        "silence_seconds": 0.5,
        "detection_bound_seconds": 2.5,
        "attempt": 1,
        "messages_total": 7,
        "dropped_total": 2,
        "received_bytes_total": 900,
        "pings_total": 3,
        "pongs_total": 2,
    }
    for name, value in expected.items():
        assert found[f'heartline_{name}{{stream="btc"}}'] == value, name
    name = "heartline_condition"
    assert found[f'{name}{{condition="NO_PONG",stream="btc"}}'] == 1
    assert found[f'{name}{{condition="LATE",stream="btc"}}'] == 0


def test_without_a_link_there_is_no_silence(registry: CollectorRegistry) -> None:
    sink = MetricsSink("btc", registry)
    sink.watch(lambda: status(phase=Phase.BACKOFF, live=False))
    found = scraped(registry)
    assert found['heartline_up{stream="btc"}'] == 0
    assert found['heartline_live{stream="btc"}'] == 0
    assert not [key for key in found if "silence" in key]


def test_streams_share_a_registry_and_leave_it_alone(
    registry: CollectorRegistry,
) -> None:
    sinks = [MetricsSink(name, registry) for name in ("btc", "eth", "btc")]
    assert [sink.stream for sink in sinks] == ["btc", "eth", "btc#2"]
    for sink in sinks:
        sink.watch(status)
        sink(lost())
        sink(RoundTripMeasured(at=1, epoch=1, round_trip=0.25))
    assert all(of(scraped(registry), sink.stream) for sink in sinks)
    sinks[0](Stopped(at=1, epoch=1))
    sinks[2].close()
    sinks[2].close()
    sinks[2](lost())
    found = scraped(registry)
    assert not of(found, "btc")
    assert not of(found, "btc#2")
    assert of(found, "eth")
    assert MetricsSink("btc", registry).stream == "btc"


def test_a_stream_that_gave_up_stays_to_be_seen(registry: CollectorRegistry) -> None:
    sink = MetricsSink("btc", registry)
    sink.watch(lambda: status(phase=Phase.CLOSED, live=False))
    sink(
        Surrendered(
            at=1, epoch=1, cause=Cause.REFUSED, status=401, reason="", attempts=1
        )
    )
    assert scraped(registry)['heartline_up{stream="btc"}'] == 0


def test_a_status_that_raises_spoils_neither_the_scrape_nor_others(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = MetricsSink("bad", registry), MetricsSink("good", registry)

    def broken() -> Status:
        raise RuntimeError("changed during iteration")

    bad.watch(broken)
    good.watch(status)
    with caplog.at_level(logging.ERROR, logger="heartline"):
        scraped(registry)
        found = scraped(registry)
    assert found['heartline_live{stream="good"}'] == 1
    assert found["heartline_status_errors_total{}"] == 2
    assert len(caplog.records) == 1


def test_what_prometheus_raises_never_reaches_the_stream(
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: Counter, amount: float = 1, exemplar: object = None) -> None:
        raise OSError("no space left on device")

    sink = MetricsSink("btc", registry)
    monkeypatch.setattr(Counter, "inc", full)
    sink(lost())
    sink(lost())
    assert sink.errors == 2
    assert len(caplog.records) == 1


@given(st.lists(any_event, max_size=20), any_status)
def test_any_history_leaves_a_scrape_that_parses(
    history: list[Event], last: Status
) -> None:
    registry = CollectorRegistry()
    sink = MetricsSink("btc", registry)
    sink.watch(lambda: last)
    for event in history:
        sink(event)
    found = scraped(registry)
    assert sink.errors == 0
    stopped = any(isinstance(event, Stopped) for event in history)
    assert bool(of(found, "btc")) is not stopped


def test_a_name_that_cannot_be_encoded_does_not_spoil_the_scrape(
    registry: CollectorRegistry,
) -> None:
    MetricsSink("b\udcfftc", registry)(lost())
    assert of(scraped(registry), "b?tc")


def test_a_foreign_metric_of_the_same_name_is_refused(
    registry: CollectorRegistry,
) -> None:
    Counter("heartline_outages", "Not ours.", registry=registry)
    with pytest.raises(ValueError, match="heartline_outages"):
        MetricsSink("btc", registry)


def test_a_registry_is_not_kept_alive() -> None:
    registry = CollectorRegistry()
    MetricsSink("btc", registry).close()
    gone = weakref.ref(registry)
    del registry
    gc.collect()
    assert gone() is None
