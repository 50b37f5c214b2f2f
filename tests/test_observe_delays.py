"""What is told of delays: to Prometheus, in words, and on the screen."""

from __future__ import annotations

import io
from math import inf

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from heartline.core.events import ConditionBegan, Stopped
from heartline.core.items import Condition, Status, Verdict
from heartline.core.latency import Latency, Spread
from heartline.observe import MetricsSink
from heartline.observe.words import in_words
from heartline.ui.terminal import headline, render
from heartline.ui.view import WatchView
from observe_samples import status

AGE = Spread(last=0.0123, median=0.011, p99=0.2, most=0.9, samples=4)
MEASURED = Latency(age=AGE, age_uncertainty=0.004, inbox=Spread(0.1, 0.1, 0.1, 0.1, 1))
EVIDENCE = "book.X: data 1.24 s old (±0.01 s), limit 0.5 s"


def late_status() -> Status:
    return status(
        verdict=Verdict.SUSPECT,
        live=False,
        cause=None,
        evidence=EVIDENCE,
        since_at=status().at - 3.0,
        conditions=frozenset({Condition.LATE}),
    )


def scrape(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def test_each_delay_is_a_gauge_of_its_own_where_there_are_samples() -> None:
    registry = CollectorRegistry()
    sink = MetricsSink("btc", registry)
    sink.watch(status, lambda: MEASURED)
    text = scrape(registry)
    assert 'heartline_age_seconds{quantile="0.5",stream="btc"} 0.011' in text
    assert 'heartline_age_seconds{quantile="0.99",stream="btc"} 0.2' in text
    assert 'heartline_age_seconds{quantile="1",stream="btc"} 0.9' in text
    assert 'heartline_age_uncertainty_seconds{stream="btc"} 0.004' in text
    assert 'heartline_inbox_wait_seconds{quantile="1",stream="btc"} 0.1' in text
    assert "heartline_loop_late_seconds{" not in text
    sink(Stopped(at=2.0, epoch=1))
    assert 'stream="btc"' not in scrape(registry)


def test_delays_that_cannot_be_read_spoil_no_status() -> None:
    def fails() -> Latency:
        raise RuntimeError("gone")

    registry = CollectorRegistry()
    MetricsSink("btc", registry).watch(status, fails)
    text = scrape(registry)
    assert 'heartline_up{stream="btc"}' in text
    assert "heartline_status_errors_total 1.0" in text


def test_late_is_told_in_words_with_the_channel_and_the_age() -> None:
    began = ConditionBegan(at=1.0, epoch=1, condition=Condition.LATE, detail=EVIDENCE)
    assert in_words(began).startswith("LATE: ")
    assert EVIDENCE in in_words(began)
    told = in_words(late_status())
    assert told.startswith("NOT LIVE (OPEN, SUSPECT)")
    assert "LATE for 3 s" in told
    assert EVIDENCE in told
    assert "last sign of life" not in told


def drawn(latency: Latency, width: int, shown: Status) -> str:
    view = WatchView("deribit")
    view.item(shown)
    view.latency = latency
    console = Console(file=io.StringIO(), width=width, height=40, record=True)
    console.print(render(view, shown.at))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_shows_ages_where_there_are_any(width: int) -> None:
    shown = drawn(MEASURED, width, status())
    assert "0.01 s ± 4 ms" in shown
    assert "median 0.01 s · p99 0.2 s" in shown
    assert "assumed" not in shown
    assumed = Latency(age=AGE, age_uncertainty=0.004, age_assumed=True)
    assert "± 4 ms assumed" in drawn(assumed, width, status())
    unknown = Latency(age=AGE, age_uncertainty=inf)
    assert "over the fastest" in drawn(unknown, width, status())
    assert "age  " not in drawn(Latency(), width, status())


def test_the_screen_says_that_data_is_late() -> None:
    view = WatchView("deribit")
    view.item(late_status())
    assert headline(view)[0] == "SUSPECT"
    assert "limit 0.5 s" in drawn(MEASURED, 120, late_status())
