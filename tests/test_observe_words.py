"""Every event and status has one plain line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    Connecting,
    Doubted,
    Dropped,
    Event,
    GapFound,
    RoundTripMeasured,
    Stalled,
    Stopped,
    Surrendered,
)
from heartline.core.items import (
    Cause,
    Condition,
    Gap,
    Phase,
    RoundTrips,
    Status,
    Verdict,
)
from heartline.observe import duration, in_words
from heartline.observe.words import LONGEST
from observe_samples import (
    KINDS,
    any_event,
    any_status,
    connected,
    dial_lost,
    lost,
    status,
    structs,
)

GAP = Gap(reason="outage", from_at=1.0, until_at=3.3, epoch=2)

LINES: list[tuple[Event | Status, str]] = [
    (Connecting(at=1, epoch=1, attempt=2), "connecting, attempt 2"),
    (connected(), "connected to 127.0.0.1:8765, attempt 1"),
    (
        connected(outage=2.3, attempt=2),
        "connected to 127.0.0.1:8765 after 2.3 s outage, attempt 2",
    ),
    (
        lost(),
        "DEAD PATH_DEAD (both ways) 1.21 s after the last sign of life (bound 1.57 s):"
        " 3 pings in 0.51 s, no segment came back",
    ),
    (
        lost(
            cause=Cause.CLOSED_BY_PEER,
            where=None,
            status=1012,
            reason="service restart",
            evidence="",
            bound=None,
            unsent=1,
            unconfirmed_bytes=60,
        ),
        "DEAD CLOSED_BY_PEER 1012 1.21 s after the last sign of life: service restart;"
        " 1 message unsent; 60 bytes sent but not confirmed",
    ),
    (dial_lost(attempt=3), "attempt 3 failed: REFUSED 503: overloaded"),
    (BackingOff(at=1, epoch=1, attempt=4, delay=1.7), "attempt 4 in 1.7 s"),
    (
        Doubted(at=1, epoch=1, of="path", silence=0.8),
        "SUSPECT: no sign of life on the path for 0.8 s",
    ),
    (Cleared(at=1, epoch=1, after=0.004), "ALIVE again after 4 ms of doubt"),
    (
        Stalled(at=1, epoch=1, lag=3.02, suspended=0.0),
        "SELF_STALLED 3.02 s: our own loop was late; the link is kept",
    ),
    (
        Stalled(at=1, epoch=1, lag=7500.0, suspended=7440.0),
        "SELF_STALLED 2 h 5 min: our own loop was late"
        " (the machine slept for 2 h 4 min of it); the link is kept",
    ),
    (
        ChannelStalled(at=1, epoch=1, channel="trades", silence=5.2, contract=2.0),
        "CHANNEL_STALLED trades: no data for 5.2 s (contract 2 s);"
        " the link itself answers",
    ),
    (
        ChannelRevived(at=1, epoch=1, channel=None, after=7.1),
        "the stream has data again after 7.1 s",
    ),
    (
        ChannelLive(at=1, epoch=1, channel="book", after=0.2, acknowledged=True),
        "book has data after 0.2 s",
    ),
    (
        ChannelLive(at=1, epoch=1, channel="book", after=0.2, acknowledged=False),
        "book has data after 0.2 s, though it was not acknowledged",
    ),
    (
        SubscriptionFailed(
            at=1, epoch=1, channel="book", reason="no such market", attempts=3
        ),
        "NOT SUBSCRIBED book: no such market; asked for 3 times",
    ),
    (
        SnapshotFailed(at=1, epoch=1, channel="book", reason="HTTP 503", attempts=2),
        "NO SNAPSHOT of book: HTTP 503; asked for 2 times",
    ),
    (
        AckIgnored(at=1, epoch=1, reason="it lists what was not asked for"),
        "an acknowledgement was ignored: it lists what was not asked for",
    ),
    (
        MalformedFound(at=1, epoch=1, reason="last: wanted a number, got a list"),
        "a message broke the venue's own rules: last: wanted a number, got a list",
    ),
    (
        GapClosed(
            at=3,
            epoch=1,
            gap=Gap("sequence", 1.0, 2.0, 1, "book", 5, 7, 3),
            by="snapshot",
        ),
        "GAP CLOSED (sequence) in book: a snapshot taken after it holds what was "
        "missed; sequence 5 to 7",
    ),
    (
        GapClosed(at=3, epoch=1, gap=Gap("outage", 1.0, 2.5, 1), by="replay"),
        "GAP CLOSED (outage) in the stream: nothing was lost, all of it was fetched; "
        "it spanned 1.5 s",
    ),
    (
        EndPlanned(at=1, epoch=1, cause=Cause.NOTICE, reason="bye", ends_at=61.0),
        "the end of this link is planned (NOTICE), another is made: bye; in 60 s",
    ),
    (
        TookOver(at=1, epoch=2, from_epoch=1, overlap=0.5),
        "link 2 took over from 1; both lived for 0.5 s",
    ),
    (
        ConditionBegan(at=1, epoch=1, condition=Condition.NO_PONG),
        "NO_PONG: data flows, but pings are not answered",
    ),
    (
        ConditionEnded(at=1, epoch=1, condition=Condition.NO_PONG, after=200.0),
        "NO_PONG is over after 3 min 20 s",
    ),
    (RoundTripMeasured(at=1, epoch=1, round_trip=0.00043), "round trip 0.43 ms"),
    (
        Dropped(at=1, epoch=1, messages=12, total=40),
        "12 messages dropped unread, 40 in all",
    ),
    (
        GapFound(at=1, epoch=2, gap=GAP),
        "GAP (outage) in the stream: what was sent within 2.3 s may be incomplete",
    ),
    (
        Surrendered(
            at=1, epoch=1, cause=Cause.REFUSED, status=401, reason="", attempts=1
        ),
        "GAVE UP after 1 attempt: REFUSED 401",
    ),
    (Stopped(at=1, epoch=1), "stopped, as we asked"),
    (
        status(silence=0.02, round_trip=RoundTrips(last=0.0004)),
        "LIVE (OPEN, ALIVE) on 127.0.0.1:8765: silent for 0.02 s; round trip 0.4 ms;"
        " told within 2.5 s",
    ),
    (
        status(
            at=10.0,
            live=False,
            phase=Phase.BACKOFF,
            verdict=Verdict.DEAD,
            cause=Cause.RESET,
            since_at=6.8,
            retry_at=10.5,
            attempt=4,
            conditions=frozenset({Condition.SLOW_CONSUMER}),
        ),
        "NOT LIVE (BACKOFF, DEAD) on 127.0.0.1:8765: RESET;"
        " last sign of life 3.2 s ago; told within 2.5 s; attempt 4 in 0.5 s;"
        " SLOW_CONSUMER",
    ),
]


@pytest.mark.parametrize(("news", "line"), LINES)
def test_a_line_says_what_happened(news: Event | Status, line: str) -> None:
    assert in_words(news) == line
    assert in_words(news, name="btc feed") == f"btc feed: {line}"


def test_every_kind_of_event_has_an_example_here() -> None:
    assert {type(news) for news, _ in LINES} == {*KINDS, Status}


def test_a_sequence_gap_names_its_first_and_last() -> None:
    gap = Gap("sequence", 1.0, 2.0, 1, channel="book", first=100, last=111, missing=12)
    line = in_words(GapFound(at=1, epoch=1, gap=gap))
    assert line == "GAP (sequence) in book: 12 messages missing; sequence 100 to 111"


@given(st.one_of(any_event, any_status), st.text(max_size=20))
def test_any_news_is_one_printable_line(news: Event | Status, name: str) -> None:
    line = in_words(news, name=name)
    assert line.isprintable()
    assert len(line) <= LONGEST
    assert len(line) > len(name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_has_words(kind: type) -> None:
    @given(structs(kind))
    def has_words(event: Event) -> None:
        assert in_words(event).strip()

    has_words()


def test_a_peer_cannot_forge_a_second_line_or_move_the_cursor() -> None:
    reason = "bye\r\n2026-01-01 btc: LIVE\x1b[2J\u202e"
    line = in_words(dial_lost(reason=reason))
    assert line.endswith("bye  2026-01-01 btc: LIVE [2J ")


def test_a_reason_without_end_is_cut() -> None:
    line = in_words(dial_lost(reason="x" * 10_000))
    assert len(line) == LONGEST
    assert line.endswith("x…")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 s"),
        (0.00043, "0.43 ms"),
        (0.0099, "9.9 ms"),
        (0.01, "0.01 s"),
        (1.21, "1.21 s"),
        (99.0, "99 s"),
        (200.0, "3 min 20 s"),
        (7500.0, "2 h 5 min"),
        (190_800.0, "2 d 5 h"),
        (86400.0 * 400, "400 d"),
        (-3.0, "-3 s"),
        (float("inf"), "inf s"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
