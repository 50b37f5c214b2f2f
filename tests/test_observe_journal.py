"""The journal survives its process, stays small, and answers what happened."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heartline import connect
from heartline.core.events import (
    ConditionBegan,
    ConditionEnded,
    Connecting,
    Event,
    RoundTripMeasured,
)
from heartline.core.items import Bounds, Cause, Condition, Status
from heartline.errors import UsageError
from heartline.observe import Journal, Missed, Record, read_journal
from heartline.observe.journal import RETRY_AFTER, ROUND_TRIP_EVERY, TELL_AFTER, _File
from heartline.observe.records import decode, encode
from observe_samples import any_event, any_status, connected, dial_lost, lost, status

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def written(path: Path) -> list[Record]:
    """All records that are not repetitions; no line may be torn."""
    reading = read_journal(path)
    records = [record for record in reading if not record.carried]
    assert reading.torn == 0
    return records


def attempts(records: list[Record]) -> list[int]:
    news = [record.news() for record in records]
    return [event.attempt for event in news if isinstance(event, Connecting)]


def connecting(n: int) -> Connecting:
    return Connecting(at=float(n), epoch=n, attempt=n)


# --- lines ------------------------------------------------------------------------


@given(news=st.one_of(any_event, any_status), stream=st.text(), utc=st.datetimes())
def test_every_line_is_json_and_comes_back_as_what_it_was(
    news: Event | Status, stream: str, utc: datetime
) -> None:
    utc = utc.replace(tzinfo=UTC)
    line = encode(news, stream=stream, utc=utc)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    fields = json.loads(line)
    assert fields["stream"] == stream
    assert fields["event"] == type(news).__name__
    assert fields["utc"].endswith("Z")
    record = decode(line)
    assert record is not None
    assert record.news() == news
    assert (record.utc, record.at, record.stream) == (utc, news.at, stream)


@given(news=any_event, cut=st.integers(0, 10_000))
def test_a_torn_line_is_never_taken_for_a_record(news: Event, cut: int) -> None:
    line = encode(news, stream="btc", utc=NOON)[:-1]
    assert decode(line[: cut % len(line)]) is None


def test_text_that_is_no_unicode_is_kept_escaped() -> None:
    line = encode(dial_lost(reason="bad \udcff"), stream="b\udcff", utc=NOON)
    record = decode(line)
    assert record is not None
    assert record.fields()["reason"] == "bad \\udcff"
    assert record.stream == "b\\udcff"


def test_a_record_of_another_version_is_still_a_record() -> None:
    line = b'{"utc":"2026-03-01T12:00:00Z","stream":"btc","event":"New","at":1.0,"x":2}'
    record = decode(line)
    assert record is not None
    assert record.news() is None
    assert record.fields()["x"] == 2
    assert record.in_words().endswith("btc: New (not known to this version)")


def test_a_record_says_itself_in_words_with_its_time() -> None:
    record = decode(
        encode(lost(), stream="btc", utc=NOON + timedelta(microseconds=1500))
    )
    assert record is not None
    assert record.in_words().startswith(
        "2026-03-01 12:00:00.001 UTC btc: DEAD PATH_DEAD (both ways) 1.21 s after"
    )


# --- what survives ----------------------------------------------------------------


def test_what_was_written_is_read_in_order(path: Path) -> None:
    history = [connecting(1), connected(), lost(), dial_lost()]
    with Journal(path, name="btc") as journal:
        for event in history:
            journal(event)
        journal.sync()
    journal(connecting(9))
    assert [record.news() for record in written(path)] == history
    assert {record.stream for record in written(path)} == {"btc"}


def run(code: str, *args: object) -> subprocess.Popen[str]:
    """Start Python on `code`, which may use this project and these tests."""
    places = [str(Path(__file__).parent), *sys.path]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))},
        stdout=subprocess.PIPE,
        text=True,
    )


WRITER = """
    import sys
    from heartline.core.events import Connecting
    from heartline.observe import Journal
    journal = Journal(sys.argv[1], name=sys.argv[2], max_bytes=int(sys.argv[3]), keep=9)
    last = int(sys.argv[4])
    for n in range(1, last + 1):
        journal(Connecting(at=float(n), epoch=n, attempt=n))
        print(n, flush=True)
"""


@pytest.mark.parametrize("after", [1, 500, 1000, 1500])
def test_kill_9_loses_nothing_that_was_written(path: Path, after: int) -> None:
    with run(WRITER, path, "btc", 4096, 10**9) as child:
        assert child.stdout is not None
        told = 0
        while told < after:
            told = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        told = max([told, *map(int, child.stdout.read().split("\n")[:-1])])
    assert child.returncode == -signal.SIGKILL
    found = attempts(written(path))
    assert len(found) > 9 * 4096 // 200 or found[0] == 1
    assert found == list(range(found[0], found[-1] + 1))
    # The one being told when it was killed may be there as well.
    assert found[-1] in (told, told + 1)


def test_a_torn_last_line_is_skipped_and_ended_at_the_next_open(path: Path) -> None:
    Journal(path)(connecting(1))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    reading = read_journal(path)
    assert [record.at for record in reading] == [1.0]
    assert reading.torn == 1
    Journal(path)(connecting(2))
    reading = read_journal(path)
    assert [record.at for record in reading] == [1.0, 2.0]
    assert reading.torn == 1


def test_megabytes_of_zeros_are_one_torn_line(path: Path) -> None:
    Journal(path)(connecting(1))
    path.write_bytes(path.read_bytes() + bytes(3 << 20))
    Journal(path, max_bytes=16 << 20)(connecting(2))
    reading = read_journal(path)
    assert [record.at for record in reading] == [1.0, 2.0]
    assert reading.torn == 1


# --- size -------------------------------------------------------------------------


def sizes(path: Path) -> list[int]:
    return [file.stat().st_size for file in path.parent.glob(f"{path.name}*")]


def test_renaming_bounds_the_total_and_loses_nothing_younger(path: Path) -> None:
    journal = Journal(path, max_bytes=4096, keep=3)
    for n in range(1, 501):
        journal(connecting(n))
        assert sum(sizes(path)) <= 4 * 4096
    assert len(sizes(path)) == 4
    found = attempts(written(path))
    assert found == list(range(500 - len(found) + 1, 501))
    assert len(found) >= 3 * 4096 // 130


def test_a_record_larger_than_a_file_is_written_all_the_same(path: Path) -> None:
    journal = Journal(path, max_bytes=4096)
    journal(connecting(1))
    journal(dial_lost(reason="x" * 10_000))
    journal(connecting(2))
    assert [record.event for record in written(path)] == [
        "Connecting",
        "DialLost",
        "Connecting",
    ]


def test_a_new_file_begins_with_what_is_in_force(path: Path) -> None:
    journal = Journal(path, name="btc", max_bytes=4096, keep=1)
    journal(connected(at=1.0))
    journal(ConditionBegan(at=2.0, epoch=1, condition=Condition.SLOW_CONSUMER))
    journal(ConditionBegan(at=2.5, epoch=1, condition=Condition.LATE))
    journal(ConditionEnded(at=3.0, epoch=1, condition=Condition.LATE, after=0.5))
    for n in range(200):
        event = RoundTripMeasured(at=n * ROUND_TRIP_EVERY, epoch=1, round_trip=0.1)
        journal(event)
    first = [json.loads(line) for line in path.read_bytes().splitlines()[:3]]
    assert [(r.get("carried"), r["event"], r["at"]) for r in first[:2]] == [
        (True, "Connected", 1.0),
        (True, "ConditionBegan", 2.0),
    ]
    assert "carried" not in first[2]


def test_a_quiet_day_is_96_lines_and_less_than_20_kb(path: Path) -> None:
    journal = Journal(path, name="deribit book.BTC-PERPETUAL")
    journal(connected(at=1e6))
    journal.status(status(at=1e6, epoch=1))
    before = path.stat().st_size
    for second in range(0, 86_400, 10):
        at = 1e6 + second + 0.123456
        journal(RoundTripMeasured(at=at, epoch=1, round_trip=0.012345678901234567))
        journal.status(status(at=at, epoch=1))
    assert len(written(path)) == 2 + 96
    assert 96 * 100 < path.stat().st_size - before < 20_000


def test_only_a_status_that_says_something_new_is_written(path: Path) -> None:
    journal = Journal(path)
    bounds = Bounds(path=1.5, peer=2.5, channels={None: 3.0, "book": 4.0})
    for at in range(5):
        journal.status(status(at=float(at), bounds=bounds))
    journal.status(status(at=9.0, live=False, cause=Cause.SELF_STALLED))
    first, second = (record.news() for record in written(path))
    assert isinstance(first, Status)
    assert first.bounds == Bounds(path=1.5, peer=2.5)
    assert isinstance(second, Status)
    assert (second.at, second.cause) == (9.0, Cause.SELF_STALLED)


# --- several writers --------------------------------------------------------------


def test_two_processes_share_a_file_without_loss(path: Path) -> None:
    each = 400
    children = [run(WRITER, path, name, 16384, each) for name in ("btc", "eth")]
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    records = written(path)
    for name in ("btc", "eth"):
        own = [record for record in records if record.stream == name]
        assert sorted(attempts(own)) == list(range(1, each + 1))
    assert len(sizes(path)) >= 2 * each * 100 // 16384
    # While one renames, or is put to sleep by the system, the other writes on.
    assert max(sizes(path)) < 2 * 16384


def test_a_renamed_file_is_noticed_by_the_other_writer(path: Path) -> None:
    one, two = Journal(path, name="one"), Journal(path, name="two")
    one(connecting(1))
    two(connected(at=1.0))
    os.rename(path, f"{path}.1")
    one(connecting(2))
    two(lost(at=3.0))
    assert [(r.stream, r.at, r.carried) for r in read_journal(path)] == [
        ("one", 1.0, False),
        ("two", 1.0, False),
        ("one", 2.0, False),
        ("two", 3.0, False),
    ]


def test_while_another_renames_the_record_goes_to_the_old_file(path: Path) -> None:
    journal = Journal(path, max_bytes=4096, keep=1)
    journal(connecting(0))
    other = os.open(path, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    for n in range(1, 60):
        journal(connecting(n))
    assert len(sizes(path)) == 1
    os.close(other)
    journal(connecting(60))
    assert len(sizes(path)) == 2
    assert attempts(written(path)) == list(range(61))


def test_a_file_that_another_renamed_is_not_renamed_again(path: Path) -> None:
    one, two = _File(path), _File(path)
    assert one.rotate(path, 1)
    one.close()
    new = _File(path)
    new.write(b"new\n")
    assert two.rotate(path, 1)
    assert path.read_bytes() == b"new\n"
    two.close()
    new.close()


# --- trouble ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("below", "told"),
    [
        ("los/journal", r"a file in a directory that exists, which .*/los does not"),
        ("file/journal", r"a file in a directory that exists, which .*/file does not"),
        ("logs", "a file, not a directory"),
    ],
)
def test_a_path_where_no_file_can_be_is_refused_at_once_and_nothing_made(
    below: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "file").touch()
    path = tmp_path / below
    refused = f"^journal: wanted {told}, got '{path}'$"
    with pytest.raises(UsageError, match=refused):
        Journal(path)
    with pytest.raises(UsageError, match=refused):
        connect("ws://127.0.0.1:1/", journal=path)
    assert {each.name for each in tmp_path.iterdir()} == {"file", "logs"}


def test_a_removed_directory_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "journal.jsonl"
    path.parent.mkdir()
    journal = Journal(path)
    journal(connected(at=1.0))
    shutil.rmtree(path.parent)
    journal(ConditionBegan(at=2.0, epoch=1, condition=Condition.LATE))
    assert [(r.event, r.carried) for r in read_journal(path)] == [
        ("Connected", True),
        ("ConditionBegan", False),
    ]
    assert journal.missed == 0


def test_trouble_is_counted_told_once_and_retried_at_a_bounded_rate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "logs"
    place.mkdir()
    path = place / "journal.jsonl"
    opened: list[object] = []
    real = os.open

    def counting(target: object, *rest: int) -> int:
        opened.append(target)
        return real(target, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", counting)
    journal = Journal(path, utc_now=lambda: NOON)
    place.rmdir()
    place.write_text("a file where the directory was")
    for tenth in range(1000):
        journal(Connecting(at=tenth / 10, epoch=1, attempt=tenth))
    assert journal.missed == 1000
    assert len(opened) <= 100 / RETRY_AFTER + 1
    assert len(caplog.records) == 1
    place.unlink()
    condition = Condition.LATE
    journal(ConditionBegan(at=100.0 + RETRY_AFTER, epoch=1, condition=condition))
    carried, missed, last = (record.news() for record in read_journal(path))
    assert carried == Connecting(at=99.9, epoch=1, attempt=999)
    assert isinstance(missed, Missed)
    assert missed.records == 1000
    assert missed.since == NOON
    assert isinstance(last, ConditionBegan)
    journal(connecting(200))
    assert journal.missed == 1000
    assert len(list(read_journal(path))) == 4


def test_long_trouble_is_told_again_but_seldom(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.path.mkdir()
    for minute in range(60):
        journal(Connecting(at=minute * 60.0, epoch=1, attempt=minute))
    assert len(caplog.records) == 3600 / TELL_AFTER


FULL = """
    import resource, sys
    from heartline.core.events import Connecting
    from heartline.observe import Journal
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    journal = Journal(sys.argv[1], name="btc")
    for n in range(1, 101):
        journal(Connecting(at=n * 10.0, epoch=n, attempt=n))
    assert journal.missed, "the disk was never full"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    for n in range(101, 104):
        journal(Connecting(at=n * 10.0, epoch=n, attempt=n))
    print(journal.missed)
"""


@pytest.mark.parametrize("limit", range(1000, 1120, 17))
def test_a_full_disk_costs_the_records_it_has_no_room_for_and_no_other(
    path: Path, limit: int
) -> None:
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    assert soft == resource.RLIM_INFINITY
    with run(FULL, path, limit) as child:
        told, _ = child.communicate(timeout=30)
    assert child.returncode == 0
    missed = int(told)
    reading = read_journal(path)
    records = list(reading)
    assert reading.torn <= 1
    found = attempts([record for record in records if not record.carried])
    before = 100 - missed
    assert found == [*range(1, before + 1), 101, 102, 103]
    (gap,) = [record.news() for record in records if record.event == "Missed"]
    assert isinstance(gap, Missed)
    assert gap.records == missed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(any_event, any_status), max_size=30))
def test_nothing_is_ever_raised_into_the_stream(
    tmp_path: Path, history: list[Event | Status]
) -> None:
    place = Path(os.devnull).with_name("full")
    taken = Path(tempfile.mkdtemp(dir=tmp_path)) / "taken"
    for target in (place, taken, tmp_path / "ok.jsonl"):
        with Journal(target, name="btc") as journal:
            if target is taken:
                target.mkdir()  # where a file could be when the journal began
            for news in history:
                if isinstance(news, Status):
                    journal.status(news)
                else:
                    journal(news)
    assert journal.missed == 0


@pytest.mark.parametrize(
    ("kwargs", "field"), [({"max_bytes": 4095}, "max_bytes"), ({"keep": 0}, "keep")]
)
def test_senseless_limits_are_refused(
    path: Path, kwargs: dict[str, int], field: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Journal(path, **kwargs)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_no_journal_is_told_at_once(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no journal"):
        read_journal(path)
