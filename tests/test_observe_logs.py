"""Records are structured, and what repeats is bounded."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.core.channel_events import GapClosed
from heartline.core.events import (
    BackingOff,
    ChannelStalled,
    Connecting,
    Event,
    GapFound,
    Surrendered,
)
from heartline.core.items import Cause, Gap
from heartline.observe import LogSink
from heartline.observe.logs import FORGET_AFTER
from heartline.observe.logs import KINDS as MOST_KINDS
from observe_samples import KINDS, any_event, connected, dial_lost, lost, structs


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def at_least(self, level: int) -> list[logging.LogRecord]:
        return [record for record in self.records if record.levelno >= level]


@pytest.fixture
def kept() -> tuple[logging.Logger, Kept]:
    return _logger()


def _logger() -> tuple[logging.Logger, Kept]:
    logger, handler = logging.Logger("test", logging.DEBUG), Kept()
    logger.addHandler(handler)
    return logger, handler


def fields(record: logging.LogRecord) -> dict[str, object]:
    return record.__dict__["heartline"]  # type: ignore[no-any-return]


def test_a_record_has_a_fixed_name_a_line_and_fields(
    kept: tuple[logging.Logger, Kept],
) -> None:
    logger, handler = kept
    LogSink("btc", logger)(dial_lost(at=7.0, attempt=3))
    (record,) = handler.records
    assert record.msg == "DialLost: %s"
    assert record.getMessage() == (
        "DialLost: btc: attempt 3 failed: REFUSED 503: overloaded"
    )
    assert fields(record) == {
        "stream": "btc",
        "event": "DialLost",
        "at": 7.0,
        "epoch": 1,
        "attempt": 3,
        "cause": "REFUSED",
        "where": None,
        "status": 503,
        "reason": "overloaded",
        "count": 1,
    }


LEVELS = {
    "Surrendered": "ERROR",
    "Lost": "WARNING",
    "DialLost": "WARNING",
    "Stalled": "WARNING",
    "ChannelStalled": "WARNING",
    "ConditionBegan": "WARNING",
    "Dropped": "WARNING",
    "GapFound": "WARNING",
    "SubscriptionFailed": "WARNING",
    "SnapshotFailed": "WARNING",
    "AckIgnored": "WARNING",
    "MalformedFound": "WARNING",
    "GapClosed": "WARNING",
    "EndPlanned": "INFO",
    "TookOver": "INFO",
    "ChannelLive": "DEBUG",
    "Connected": "INFO",
    "ChannelRevived": "INFO",
    "ConditionEnded": "INFO",
    "Stopped": "INFO",
    "Connecting": "DEBUG",
    "BackingOff": "DEBUG",
    "RoundTripMeasured": "DEBUG",
    "Doubted": "DEBUG",
    "Cleared": "DEBUG",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_has_its_level(kind: type) -> None:
    @given(structs(kind))
    def has_its_level(event: Event) -> None:
        logger, handler = _logger()
        LogSink("btc", logger)(event)
        (record,) = handler.records
        assert record.levelname == LEVELS[kind.__name__]
        assert fields(record)["event"] == kind.__name__

    has_its_level()


def test_hours_offline_cost_a_bounded_log(kept: tuple[logging.Logger, Kept]) -> None:
    logger, handler = kept
    sink = LogSink("btc", logger)
    for attempt in range(1, 10_001):
        at = attempt * 30.0
        sink(Connecting(at=at, epoch=attempt, attempt=attempt))
        sink(dial_lost(at=at, attempt=attempt, reason=f"refused, port {attempt}"))
        sink(BackingOff(at=at, epoch=attempt, attempt=attempt + 1, delay=30.0))
    told = handler.at_least(logging.INFO)
    counts = [fields(record)["count"] for record in told]
    assert counts == [1, 2, 3, 4, 5, *[2**n for n in range(3, 14)]]
    assert len(counts) == 16
    assert told[-1].getMessage().endswith(" (8192 times in a row)")


@given(
    st.lists(st.tuples(st.sampled_from(["outage", "sequence"]), st.booleans())),
    st.sampled_from(["late", "replay", "snapshot"]),
)
def test_who_reads_warnings_alone_is_told_of_each_gap_that_it_was_closed(
    found: list[tuple[Any, bool]], by: Any
) -> None:
    logger, handler = _logger()
    sink = LogSink("btc", logger)
    for at, (reason, in_book) in enumerate(found):
        gap = Gap(reason, at, at + 0.5, 1, "book" if in_book else "trades")
        sink(GapFound(at=at, epoch=1, gap=gap))
        sink(GapClosed(at=at + 0.6, epoch=1, gap=gap, by=by))
    warned = [fields(record) for record in handler.at_least(logging.WARNING)]
    opened, closed = warned[::2], warned[1::2]
    assert len(warned) >= min(2 * len(found), 10)
    assert [each["gap"] for each in opened] == [each["gap"] for each in closed]
    assert {each["event"] for each in closed} <= {"GapClosed"}


def test_a_server_that_accepts_and_closes_costs_a_bounded_log(
    kept: tuple[logging.Logger, Kept],
) -> None:
    logger, handler = kept
    sink = LogSink("btc", logger)
    for link in range(4096):
        sink(connected(at=link * 30.0))
        sink(lost(at=link * 30.0 + 1, cause=Cause.CLOSED_BY_PEER, status=1008))
    assert len(handler.at_least(logging.INFO)) == 2 * (5 + 10)


def test_other_causes_are_news(kept: tuple[logging.Logger, Kept]) -> None:
    logger, handler = kept
    sink = LogSink("btc", logger)
    for _ in range(7):
        sink(dial_lost())
    sink(dial_lost(cause=Cause.NAME_RESOLUTION, status=None))
    last = handler.at_least(logging.WARNING)[-1]
    assert fields(last)["cause"] == "NAME_RESOLUTION"


def test_after_a_quiet_time_the_same_is_news_again(
    kept: tuple[logging.Logger, Kept],
) -> None:
    logger, handler = kept
    sink = LogSink("btc", logger)
    for _ in range(7):
        sink(dial_lost(at=0.0))
    sink(dial_lost(at=FORGET_AFTER))
    sink(dial_lost(at=2 * FORGET_AFTER + 0.1))
    counts = [fields(record)["count"] for record in handler.at_least(logging.WARNING)]
    assert counts == [1, 2, 3, 4, 5, 8, 1]


def test_what_is_held_back_is_still_there_for_who_debugs(
    kept: tuple[logging.Logger, Kept],
) -> None:
    logger, handler = kept
    sink = LogSink("btc", logger)
    for _ in range(7):
        sink(dial_lost())
    assert [r.levelname for r in handler.records] == ["WARNING"] * 5 + ["DEBUG"] * 2


def test_the_memory_of_kinds_is_bounded(kept: tuple[logging.Logger, Kept]) -> None:
    sink = LogSink("btc", kept[0])
    for n in range(3 * MOST_KINDS):
        sink(ChannelStalled(at=1, epoch=1, channel=str(n), silence=1, contract=1))
    assert len(sink._seen) == MOST_KINDS


@given(any_event)
def test_a_handler_that_raises_never_reaches_the_stream(event: Event) -> None:
    logger, handler = _logger()
    handler.emit = _raise  # type: ignore[method-assign]
    sink = LogSink("btc", logger)
    sink(event)
    assert sink.errors == 1


def test_the_first_error_of_a_handler_is_told(
    kept: tuple[logging.Logger, Kept], capsys: pytest.CaptureFixture[str]
) -> None:
    logger, handler = kept
    handler.emit = _raise  # type: ignore[method-assign]
    sink = LogSink("btc", logger)
    sink(lost())
    sink(lost())
    assert sink.errors == 2
    assert capsys.readouterr().err.count("RuntimeError: full") == 1


def _raise(record: logging.LogRecord) -> None:
    raise RuntimeError("full")


def test_the_end_is_an_error(kept: tuple[logging.Logger, Kept]) -> None:
    logger, handler = kept
    LogSink("btc", logger)(
        Surrendered(
            at=1, epoch=1, cause=Cause.REFUSED, status=401, reason="", attempts=1
        )
    )
    assert handler.records[0].levelno == logging.ERROR


def test_the_usual_logger_is_named_heartline(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="heartline"):
        LogSink("btc")(lost())
    assert [record.name for record in caplog.records] == ["heartline"]
