"""The one-screen view: a picture of what it is given, at any size of terminal."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from heartline.core.events import (
    ConditionBegan,
    Connected,
    Connecting,
    Event,
    GapFound,
    Lost,
    RoundTripMeasured,
    Stopped,
    Surrendered,
)
from heartline.core.items import (
    Bounds,
    Cause,
    Condition,
    Counts,
    Gap,
    Message,
    Phase,
    RoundTrips,
    Status,
    Verdict,
    Where,
)
from heartline.ui.gauges import bar, number, size, sparkline
from heartline.ui.letters import big
from heartline.ui.terminal import headline, render
from heartline.ui.view import NEWS, ROUND_TRIPS, SAMPLES, WatchView

NOW = 1000.0
SIZES = [(80, 24), (120, 40), (108, 24), (100, 30), (60, 17), (46, 14)]
CORNERS = [(45, 24), (80, 13), (20, 5), (8, 1)]


def status(at: float = NOW, **changes: object) -> Status:
    fields: dict[str, object] = {
        "at": at,
        "phase": Phase.OPEN,
        "verdict": Verdict.ALIVE,
        "live": True,
        "cause": None,
        "silence": 0.5,
        "round_trip": RoundTrips(0.0012, 0.0011, 0.0031, 512),
        "bounds": Bounds(path=0.42, peer=2.0, channels={None: 4.0}),
        "ceilings": Bounds(path=3.0, peer=6.0, channels={None: 4.0}),
        "detection_bound": 4.0,
        "epoch": 3,
        "attempt": 1,
        "kernel": True,
        "address": "203.0.113.7:443",
        "counts": Counts(messages=123_456, size_bytes=17_800_000, pings=9, pongs=8),
    }
    return Status(**{**fields, **changes})  # type: ignore[arg-type]


DEAD = {
    "phase": Phase.BACKOFF,
    "verdict": Verdict.DEAD,
    "live": False,
    "cause": Cause.PATH_DEAD,
    "where": Where.OUTBOUND,
    "evidence": "3 retransmissions unanswered; 512 bytes outstanding",
    "silence": None,
    "since_at": NOW - 3,
    "retry_at": NOW + 2.44,
    "attempt": 2,
    "kernel": False,
    "outages": 2,
}


def lost(at: float = NOW - 30) -> Lost:
    return Lost(
        at=at,
        epoch=2,
        cause=Cause.PATH_DEAD,
        where=Where.OUTBOUND,
        status=None,
        reason="",
        evidence="3 retransmissions unanswered",
        since_at=at - 1.2,
        bound=1.23,
        unsent=0,
        unconfirmed_bytes=0,
    )


def connected(at: float = NOW - 28) -> Connected:
    return Connected(
        at=at, epoch=3, address="203.0.113.7:443", attempt=2, outage=3.2, kernel=True
    )


def view_of(last: Status | None, *events: Event) -> WatchView:
    view = WatchView("wss://stream.example/ws")
    for event in events:
        view.event(event)
    if last is not None:
        view.item(last)
    return view


def drawn(
    view: WatchView, *, width: int = 80, height: int = 24, now: float = NOW
) -> list[str]:
    """The lines of the picture, as a terminal of this size would be given them."""
    console = Console(width=width, height=height, color_system=None, file=io.StringIO())
    options = console.options.update(width=width, height=height)
    lines = console.render_lines(render(view, now), options, pad=False)
    return ["".join(segment.text for segment in line) for line in lines]


def row(lines: list[str], label: str) -> str:
    (found,) = [line for line in lines if line.lstrip("│ ").startswith(label)]
    return found


# --- it fits ----------------------------------------------------------------------


def crowded() -> WatchView:
    """As much as there can be of everything, and nothing that can be broken by it."""
    words = "very long evidence 証拠証拠証拠 [bold]no markup[/bold] \x1b[2J\r\n" * 20
    events: list[Event] = [lost(), connected()] * 20
    events += [RoundTripMeasured(at=NOW, epoch=3, round_trip=0.1)] * 100
    events.append(
        ConditionBegan(at=NOW, epoch=3, condition=Condition.SLOW_CONSUMER, detail=words)
    )
    counts = Counts(messages=10**12, size_bytes=10**15, gaps=10**6, dropped=10**9)
    view = view_of(None, *events)
    view.title = "wss://" + "a" * 300
    view.item(status(NOW - 60, counts=Counts()))
    channels = {f"book.{name}": 1.5 for name in "abcdefghijkl"}
    view.item(
        status(
            **{**DEAD, "evidence": words},
            counts=counts,
            conditions=frozenset(Condition),
            address="[2001:db8:1111:2222:3333:4444:5555:6666]:44300",
            bounds=Bounds(path=100.0, peer=100.0, channels={**channels}),
        )
    )
    return view


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("view", [crowded(), view_of(status(), connected())])
def test_the_picture_fills_the_screen_exactly(
    width: int, height: int, view: WatchView
) -> None:
    lines = drawn(view, width=width, height=height)
    assert len(lines) == height
    framed = lines[1:]
    assert {cell_len(line) for line in framed} == {width}
    assert {line[0] for line in framed} <= set("╭│╰")
    assert {line[-1] for line in framed} <= set("╮│╯")


@pytest.mark.parametrize(("width", "height"), CORNERS)
@pytest.mark.parametrize("view", [crowded(), view_of(status()), view_of(None)])
def test_in_a_corner_the_word_is_left(width: int, height: int, view: WatchView) -> None:
    lines = drawn(view, width=width, height=height)
    assert headline(view)[0] in lines[0]
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width


def test_what_a_peer_wrote_reaches_no_terminal_as_a_command() -> None:
    shown = "\n".join(drawn(crowded(), width=200, height=60))
    assert "\x1b" not in shown
    assert "[bold]no markup[/bold]" in shown


# --- it says what is --------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "tone", "changes"),
    [
        ("LIVE", "good", {}),
        ("DEAD", "bad", DEAD),
        ("DEAD", "bad", {**DEAD, "phase": Phase.CONNECTING}),
        ("SUSPECT", "doubtful", {"live": False, "verdict": Verdict.SUSPECT}),
        ("STALE", "doubtful", {"live": False, "cause": Cause.CHANNEL_STALLED}),
        ("NOT LIVE", "doubtful", {"live": False, "cause": Cause.SELF_STALLED}),
        (
            "CONNECTING",
            "plain",
            {"live": False, "phase": Phase.CONNECTING, "verdict": Verdict.SUSPECT},
        ),
        ("DRAINING", "plain", {"live": False, "phase": Phase.DRAINING}),
        ("CLOSED", "plain", {"live": False, "phase": Phase.CLOSED}),
    ],
)
def test_the_headline(word: str, tone: str, changes: dict[str, object]) -> None:
    assert headline(view_of(status(**changes))) == (word, tone)


def test_a_stream_that_gave_up_says_so() -> None:
    gave_up = Surrendered(
        at=NOW, epoch=1, cause=Cause.REFUSED, status=401, reason="", attempts=1
    )
    closed = status(live=False, phase=Phase.CLOSED, cause=Cause.REFUSED, status=401)
    assert headline(view_of(closed, gave_up)) == ("GAVE UP", "bad")
    stopped = Stopped(at=NOW, epoch=1)
    assert headline(view_of(closed, stopped)) == ("CLOSED", "plain")


def test_every_headline_can_be_drawn_big() -> None:
    for word in ("LIVE", "STALE", "NOT LIVE", "GAVE UP", *Phase, *Verdict):
        lines = big(word)
        assert len({len(line) for line in lines}) == 1
        assert set("".join(lines)) <= set(" ▀▄█")
        assert len(lines[0]) <= 50


def test_the_letters_are_these() -> None:
    assert big("LIVE") == (
        "█    █ █   █ █▀▀▀",
        "█    █  █ █  █▀▀ ",
        "▀▀▀▀ ▀   ▀   ▀▀▀▀",
    )


def test_a_loss_is_shown_with_cause_place_evidence_and_what_comes_next() -> None:
    shown = "\n".join(drawn(view_of(status(**DEAD), lost()), width=120))
    assert "PATH_DEAD (outbound)" in shown
    assert "3 retransmissions unanswered; 512 bytes outstanding" in shown
    assert "attempt 2 in 2.4 s" in shown
    assert "kernel evidence -" in shown
    assert "2 outages" in shown
    assert "no link, 3 s since life" in shown


def test_a_recovered_stream_still_tells_of_its_last_loss() -> None:
    view = view_of(status(NOW - 25), lost(), connected())
    view.item(status())
    shown = "\n".join(drawn(view))
    assert "live for 25 s" in shown
    assert "last loss 30 s ago: PATH_DEAD" in shown


@pytest.mark.parametrize(
    ("reason", "shown"), [("going away", "1001, going away"), ("", "1001")]
)
def test_a_loss_that_was_told_to_us_is_shown_with_its_code_and_reason(
    reason: str, shown: str
) -> None:
    told = replace(
        lost(), cause=Cause.CLOSED_BY_PEER, status=1001, reason=reason, evidence=""
    )
    view = view_of(status(NOW - 25), told, connected())
    view.item(status())
    lines = drawn(view, width=100)
    (line,) = [line for line in lines if "last loss" in line]
    assert line.rstrip("│ ").endswith(f"last loss 30 s ago: CLOSED_BY_PEER {shown}")


def test_silence_goes_on_between_two_statuses() -> None:
    view = view_of(status(silence=0.5))
    now = row(drawn(view), "silence")
    later = row(drawn(view, now=NOW + 1.25), "silence")
    assert "0.50 s of 2 s" in now
    assert "1.75 s of 2 s" in later
    assert later.count("█") > 2 * now.count("█")


def test_round_trips_are_drawn_and_summed_up() -> None:
    view = view_of(
        status(),
        *(
            RoundTripMeasured(at=NOW, epoch=3, round_trip=trip)
            for trip in (0.001, 0.002, 0.004, 0.008)
        ),
    )
    lines = drawn(view)
    assert "▂▃▅█" in row(lines, "round trip")
    assert any(
        "last 1.2 ms · median 1.1 ms · p99 3.1 ms · 512 measured" in line
        for line in lines
    )


def test_conditions_stand_beside_the_verdict() -> None:
    shown = drawn(view_of(status(conditions=frozenset({Condition.NO_PONG}))))
    assert any("OPEN · ALIVE · NO_PONG" in line for line in shown)


def test_the_newest_news_stand_below_and_long_ones_hang() -> None:
    gap = Gap(reason="outage", from_at=NOW - 31, until_at=NOW - 28, epoch=3)
    view = view_of(
        status(), lost(), GapFound(at=NOW - 28, epoch=3, gap=gap), connected()
    )
    view.utc_offset = 86400.0 * 20000 - NOW  # midnight, UTC
    lines = [line for line in drawn(view, height=30) if "│ 2" in line or "│  " in line]
    told = "\n".join(lines)
    assert "23:59:30  DEAD PATH_DEAD" in told
    assert told.index("DEAD PATH_DEAD") < told.index("GAP") < told.index("connected to")
    assert "│" + " " * 11 in told


@pytest.mark.parametrize("height", range(17, 26))
def test_no_line_of_the_news_is_shown_without_its_beginning(height: int) -> None:
    view = view_of(status(), *[lost(), connected()] * 8)
    lines = drawn(view, width=60, height=height)
    start = next(at for at, line in enumerate(lines) if "what happened" in line)
    assert lines[start + 1][2:4].isdigit(), lines[start:]


def test_how_an_attempt_ended_is_news_and_that_it_began_is_not() -> None:
    view = view_of(None, Connecting(at=NOW, epoch=1, attempt=1), connected())
    assert [news.words.split()[0] for news in view.news] == ["connected"]


# --- what the view keeps ----------------------------------------------------------


def test_rates_are_those_of_the_last_two_seconds() -> None:
    view = view_of(None)
    assert view.rates() is None
    for at in range(41):  # ten seconds of 100 a second, then one of silence
        count = min(at * 25, 900)
        view.item(
            status(NOW + at / 4, counts=Counts(messages=count, size_bytes=8 * count))
        )
    rates = view.rates()
    assert rates is not None
    assert rates.messages == pytest.approx(50.0)
    assert rates.size_bytes == pytest.approx(400.0)
    assert view.rate_history() == pytest.approx([100.0] * 9 + [0.0])
    assert "50 msg/s · 400 B/s" in row(drawn(view, now=NOW + 10), "traffic")


def test_history_is_bounded() -> None:
    view = view_of(None)
    for at in range(1000):
        view.item(status(NOW + at))
        view.item(Message("data", NOW))
        view.event(connected())
        view.event(RoundTripMeasured(at=NOW, epoch=3, round_trip=0.1))
    assert len(view.news) == NEWS
    assert len(view.round_trips) == ROUND_TRIPS
    assert len(view.samples) == SAMPLES


def test_a_copy_can_be_drawn_while_the_view_is_fed() -> None:
    view = view_of(status(), connected())
    copy = view.copy()
    before = drawn(copy)
    view.event(lost(NOW))
    view.event(RoundTripMeasured(at=NOW, epoch=3, round_trip=0.1))
    view.item(status(NOW + 10, **{**DEAD}))
    assert drawn(copy) == before
    assert drawn(view) != before


# --- gauges -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "drawing"),
    [
        (0.0, "        "),
        (0.001, "▏       "),
        (0.5, "████    "),
        (0.5 + 1 / 64, "████▏   "),
        (1.0, "████████"),
        (7.0, "████████"),
        (-1.0, "        "),
    ],
)
def test_bar(share: float, drawing: str) -> None:
    assert bar(share, width=8) == drawing


def test_a_sparkline_shows_the_last_values_and_needs_none() -> None:
    assert sparkline((9.0, 1.0, 2.0), width=2) == "▅█"
    assert sparkline((0.0, 0.0), width=5) == "▁▁"
    assert sparkline((), width=5) == ""
    assert sparkline((1.0,), width=0) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (7.34, "7.3"), (12.6, "13"), (25_603, "25,603"), (1_234_567, "1.23 M")],
)
def test_number(value: float, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1_200, "1.2 kB"), (630_000, "630 kB")],
)
def test_size(size_bytes: float, words: str) -> None:
    assert size(size_bytes) == words


def test_one_of_a_kind_is_counted_as_one() -> None:
    counts = Counts(messages=1, size_bytes=20, pings=1, pongs=2, beats=1)
    shown = "\n".join(drawn(view_of(status(counts=counts)), width=120))
    assert "1 ping · 2 pongs · 1 beat" in shown
