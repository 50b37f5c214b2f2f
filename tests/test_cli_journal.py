"""`heartline journal`: what a journal holds about a time, told to a person."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from heartline.cli.times import moment, span
from heartline.core.events import Connected, DialLost
from heartline.core.items import Cause
from heartline.observe import Journal

NIGHT = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Connected at 03:02, refused at 03:12 and 03:13, connected again at 03:30."""
    path = tmp_path / "events.jsonl"
    now = [NIGHT]
    with Journal(path, name="venue", utc_now=lambda: now[0]) as kept:
        for minute, event in (
            (-10, connected(1)),
            (0, refused(2)),
            (1, refused(3)),
            (18, connected(4)),
        ):
            now[0] = NIGHT + timedelta(minutes=minute)
            kept(event)
    return path


def connected(epoch: int) -> Connected:
    return Connected(
        at=60.0 * epoch,
        epoch=epoch,
        address="203.0.113.7:443",
        attempt=1,
        outage=0.0,
        kernel=True,
    )


def refused(epoch: int) -> DialLost:
    return DialLost(
        at=60.0 * epoch,
        epoch=epoch,
        attempt=epoch,
        cause=Cause.REFUSED,
        where=None,
        status=503,
        reason="maintenance",
    )


def told(*arguments: str) -> tuple[int, list[str], str]:
    done = subprocess.run(
        (sys.executable, "-m", "heartline", "journal", *arguments),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_without_a_time_all_is_told_in_order(journal: Path) -> None:
    status, lines, err = told(str(journal))
    assert (status, err) == (0, "")
    times = [line.split()[1] for line in lines]
    assert times == ["03:02:00.000", "03:12:00.000", "03:13:00.000", "03:30:00.000"]
    assert "REFUSED 503: maintenance" in lines[1]


def test_a_time_is_told_with_what_stood_then(journal: Path) -> None:
    status, lines, _ = told(str(journal), "--at", "2026-03-01T03:12", "--around", "5m")
    assert status == 0
    assert lines[0] == "From 2026-03-01 03:07:00 UTC to 2026-03-01 03:17:00 UTC:"
    assert lines[1] == "In force at the start:"
    assert "03:02:00.000" in lines[2]
    assert lines[3] == "What happened:"
    assert [line.split()[1] for line in lines[4:]] == ["03:12:00.000", "03:13:00.000"]


def test_a_time_nobody_watched_is_said_to_be_one(journal: Path) -> None:
    _, lines, _ = told(str(journal), "--at", "2026-03-02T03:12", "--around", "60")
    assert "Nothing happened." in lines
    assert lines[-1] == (
        "The journal has records from 2026-03-01 03:02:00 UTC "
        "to 2026-03-01 03:30:00 UTC only."
    )


def test_torn_lines_are_counted(journal: Path) -> None:
    with journal.open("a") as file:
        file.write('{"utc": "2026-03-01T03:4\n')
    assert told(str(journal))[1][-1] == "Lines that could not be read: 1."


def test_as_json_all_is_told_as_it_was_written(journal: Path) -> None:
    status, lines, err = told(str(journal), "--json")
    assert (status, err) == (0, "")
    assert lines == journal.read_text().splitlines()


def test_as_json_a_time_is_told_with_what_stood_then(journal: Path) -> None:
    status, lines, _ = told(str(journal), "--json", "--at", "2026-03-01T03:12")
    assert status == 0
    before, *records = [json.loads(line) for line in lines]
    assert (before["event"], before["epoch"], before["carried"]) == (
        "Connected",
        1,
        True,
    )
    assert [(each["event"], each["epoch"]) for each in records] == [
        ("DialLost", 2),
        ("DialLost", 3),
    ]


def test_as_json_torn_lines_are_counted_aside(journal: Path) -> None:
    whole = journal.read_text().splitlines()
    with journal.open("a") as file:
        file.write('{"utc": "2026-03-01T03:4\n')
    status, lines, err = told(str(journal), "--json")
    assert (status, lines) == (0, whole)
    assert err == "Lines that could not be read: 1.\n"


@pytest.mark.parametrize("option", [(), ("--json",), ("--at", "2026-03-01T03:12")])
def test_a_file_of_something_else_is_no_journal(
    option: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("bought\nsold\n")
    status, lines, err = told(str(path), *option)
    assert (status, lines) == (2, [])
    assert err == f"heartline: {path} is no journal: no line of it is a record\n"


def test_no_journal_is_bad_usage_in_one_line(tmp_path: Path) -> None:
    status, lines, err = told(str(tmp_path / "none.jsonl"))
    assert (status, lines) == (2, [])
    assert err.startswith("heartline: no journal at ")
    assert err.count("\n") == 1


def test_a_directory_is_refused_in_words_without_a_number(tmp_path: Path) -> None:
    status, lines, err = told(str(tmp_path))
    assert (status, lines) == (2, [])
    wanted = "wanted a journal to read, got Is a directory"
    assert err == f"heartline: {tmp_path}: {wanted}\n"


@pytest.mark.parametrize("option", [("--at", "25:00"), ("--around", "5x")])
def test_a_time_that_is_none_is_bad_usage(
    option: tuple[str, str], journal: Path
) -> None:
    status, lines, err = told(str(journal), *option)
    assert (status, lines) == (2, [])
    assert option[0] in err
    assert option[1] in err


def test_it_ends_quietly_when_its_reader_goes_away(journal: Path) -> None:
    with journal.open("a") as file:
        file.write(journal.read_text() * 2000)
    with subprocess.Popen(
        (sys.executable, "-m", "heartline", "journal", str(journal)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("03:12", NIGHT),
        ("3:12:45", NIGHT.replace(second=45)),
        ("03:20", NIGHT.replace(minute=20)),
        ("03:21", NIGHT.replace(minute=21) - timedelta(days=1)),
        ("2026-01-31T03:12", datetime(2026, 1, 31, 3, 12, tzinfo=UTC)),
        ("2026-01-31 04:12+01:00", datetime(2026, 1, 31, 3, 12, tzinfo=UTC)),
    ],
)
def test_a_clock_time_is_the_last_one_in_utc(text: str, at: datetime) -> None:
    assert moment(text, option="--at", now=NIGHT.replace(minute=20)) == at


@pytest.mark.parametrize("text", ["", "noon", "24:00", "03:60", "2026-02-30T00:00"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="wanted 03:12"):
        moment(text, option="--at", now=NIGHT)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("2 d", 172_800)],
)
def test_a_span(text: str, seconds: float) -> None:
    assert span(text, option="--around") == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "m", "-5m", "5w", "9" * 400 + "d", "1e3"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="wanted"):
        span(text, option="--around")
