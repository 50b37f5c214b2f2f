"""`heartline audit`: a recording's losses as a table, as JSON and as an exit status."""

from __future__ import annotations

import gzip
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner, Result

from audit_recordings import (
    RECORDED,
    Edit,
    book,
    chains,
    dial,
    edited,
    frame,
    made_up,
    recorded,
    subscribed,
    trade,
)
from heartline.cli import app
from heartline.cli.audit import dialled, lost, moment, row_of
from heartline.cli.lines import encode
from heartline.core.items import Bounds, Gap, Item, Message, Phase, Status, Verdict
from heartline.testing import Capture, CapturedFrame, read_capture, write_capture
from heartline.testing.audit import audit_capture
from heartline.ui.audit import table
from heartline.venue.classify import Contract
from heartline.venue.load import load

NAME = "BTC-PERPETUAL"
BOOK = f"book.{NAME}.100ms"


def ask(path: Path, *options: str, venue: str = "deribit") -> Result:
    return CliRunner().invoke(app, ["audit", str(path), "--venue", venue, *options])


def flat(text: str) -> str:
    """Without the line breaks that the width has made."""
    return re.sub(r"\s+", " ", text)


def lacking() -> Capture:
    """The made-up recording, three of its messages lost and one doubled."""
    capture = made_up()
    of = chains(capture, read_book)
    edits = [Edit("lose", BOOK, 5, 3), Edit("double", BOOK, 20), Edit("swap", BOOK, 30)]
    return edited(capture, edits, of)


def read_book(document: Any) -> Any:
    from audit_recordings import READERS

    return READERS["deribit"](document)


def written(capture: Capture, path: Path) -> Path:
    write_capture(capture, path)
    return path


# --- exit status ------------------------------------------------------------------


def test_a_whole_recording_is_told_so_and_ends_well(tmp_path: Path) -> None:
    result = ask(written(made_up(), tmp_path / "whole.jsonl.gz"))
    assert result.exit_code == 0, result.output
    assert "Nothing is missing." in result.stdout
    told = flat(result.stdout)
    assert "In 2 of 2 channels the stamp tells when something happened" in told
    assert "80 sent + 0 twice + 0 unplaced = 80 received + 0 missing" in result.stdout


def test_what_is_missing_is_told_and_is_the_exit_status(tmp_path: Path) -> None:
    result = ask(written(lacking(), tmp_path / "lacking.jsonl.gz"))
    assert result.exit_code == 1
    told = flat(result.stdout)
    (gap,) = (g for g in audit_capture(lacking(), contract()).channels[0].gaps[:1])
    assert f"{BOOK}: numbers {gap.first} to {gap.last} missing" in told
    assert "came late" in told
    assert "Messages are missing: 1 channel." in told
    row = next(line.split() for line in result.stdout.splitlines() if BOOK in line)
    assert row[:6] == [BOOK, "38", "2", "?", "1", "1"]


def test_an_outage_alone_makes_a_recording_lack_something(tmp_path: Path) -> None:
    frames = (dial(0), book(1, NAME, None, 1), dial(5), book(6, NAME, None, 9))
    result = ask(written(Capture(frames), tmp_path / "two.jsonl"))
    assert result.exit_code == 1
    assert "nothing received for 5 s, over a reconnect" in result.stdout
    assert "over 2 connections" in result.stdout


def test_a_suspicion_is_told_and_changes_nothing(tmp_path: Path) -> None:
    frames = tuple(trade(n, NAME, number) for n, number in enumerate((4, 5, 9)))
    result = ask(written(Capture(frames), tmp_path / "trades.jsonl"))
    assert result.exit_code == 0
    told = flat(result.stdout)
    assert f"Suspicion: trades.{NAME}.100ms: 1 jump in its numbers (3 lost)" in told
    assert "Nothing is known to be missing. Numbers would show a loss in 0" in told


# --- what watch wrote -----------------------------------------------------------


def watched(capture: Capture) -> bytes:
    """The lines of `heartline watch --json` over the same messages."""
    items: list[Item] = []
    epoch = 0
    for each in capture.frames:
        if each.direction == "open":
            if epoch:
                items.append(Gap("outage", each.at, each.at, epoch))
            epoch += 1
            items.append(Message("{}", each.at, BOOK, epoch, snapshot=True))
        elif each.direction == "in":
            items.append(Message(each.data, each.at, None, epoch))
    return encode(items, utc_offset=0.0)


def test_what_watch_wrote_is_a_recording(tmp_path: Path) -> None:
    frames = (dial(0), book(1, NAME, None, 1), dial(5), book(6, NAME, None, 9))
    for name, capture in (("lacking", lacking()), ("two", Capture(frames))):
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(watched(capture))
        found = audit_capture(read_capture(path), contract())
        same = audit_capture(capture, contract())
        assert (found.totals, found.data) == (same.totals, same.data)
        assert found.connections == same.connections
        assert [o.from_at for o in found.outages] == [o.from_at for o in same.outages]


def status(at: float, epoch: int) -> Status:
    bounds = Bounds(1.0, 1.0)
    return Status(
        at=at,
        phase=Phase.OPEN,
        verdict=Verdict.ALIVE,
        live=True,
        cause=None,
        bounds=bounds,
        ceilings=bounds,
        detection_bound=1.0,
        epoch=epoch,
    )


def of_watch(path: Path, *items: Item) -> Path:
    path.write_bytes(encode(list(items), utc_offset=0.0))
    return path


def on(epoch: int, each: CapturedFrame) -> Message:
    return Message(each.data, each.at, None, epoch)


def test_what_a_recording_says_was_dropped_is_missing(tmp_path: Path) -> None:
    of = f"trades.{NAME}.100ms"
    path = of_watch(
        tmp_path / "slow.jsonl",
        on(1, trade(1, NAME, 1)),
        Gap("overflow", 2.0, 3.0, 1, missing=500),
        Gap("overflow", 3.0, 3.5, 1, of),
        Gap("sequence", 3.0, 3.5, 1, of, 5, 6, 2),
        Gap("sequence", 3.0, 3.5, 1, missing=44),
        on(1, trade(4, NAME, 2)),
    )
    result = ask(path)
    assert result.exit_code == 1
    told = flat(result.stdout)
    assert "not recorded: 500 messages, within 1 s" in told
    assert f"not recorded: messages of {of}, within 0.5 s" in told
    assert "not recorded: 44 messages, within" in told, "gaps that an inbox merged"
    assert told.count("not recorded:") == 3
    assert "Messages are missing: what was not recorded." in told
    again = written(read_capture(path), tmp_path / "again.jsonl")
    assert read_capture(again) == read_capture(path)


def test_links_that_met_without_an_outage_make_none_in_a_recording(
    tmp_path: Path,
) -> None:
    chain = [book(n, NAME, n - 1 if n > 1 else None, n) for n in range(1, 6)]
    turns = zip((1, 1, 2, 1, 2), chain, strict=True)
    whole = [status(0.0, 1), *(on(epoch, each) for epoch, each in turns)]
    path = of_watch(tmp_path / "met.jsonl", *whole)
    result = ask(path)
    assert result.exit_code == 0, result.output
    assert "over 2 connections" in result.stdout
    again = written(read_capture(path), tmp_path / "again.jsonl")
    assert read_capture(again) == read_capture(path)
    lost = [on(3, book(9, NAME, None, 9)), Gap("outage", 6.0, 9.5, 3)]
    lost += [on(4, book(10, NAME, None, 12))]
    found = audit_capture(read_capture(of_watch(path, *whole, *lost)), contract())
    assert [o.from_at for o in found.outages] == [chain[0].at + 8]
    assert found.connections == 4


def test_another_run_in_the_same_recording_is_an_outage(tmp_path: Path) -> None:
    path = of_watch(
        tmp_path / "twice.jsonl",
        status(0.0, 1),
        on(1, book(1, NAME, None, 1)),
        on(2, book(2, NAME, 1, 2)),
        status(3.0, 1),
        on(1, book(4, NAME, None, 9)),
    )
    found = audit_capture(read_capture(path), contract())
    assert len(found.outages) == 1


def test_a_line_of_watch_without_its_instant_is_named(tmp_path: Path) -> None:
    path = tmp_path / "watched.jsonl"
    path.write_text('{"type": "message", "text": "{}", "utc": "noon", "epoch": 1}\n')
    assert "watched.jsonl, line 1, utc: wanted an instant, got 'noon'" in bad(ask(path))


# --- bad use ----------------------------------------------------------------------


def bad(result: Result) -> str:
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("heartline: ")
    return result.stderr


def test_an_unknown_venue_is_bad_use(tmp_path: Path) -> None:
    path = written(made_up(), tmp_path / "one.jsonl")
    assert "wanted a file such as ./mine.toml (`heartline venues`" in bad(
        ask(path, venue="x")
    )


def test_an_unknown_endpoint_is_bad_use(tmp_path: Path) -> None:
    path = written(made_up(), tmp_path / "one.jsonl")
    said = bad(ask(path, "--endpoint", "spot"))
    assert "endpoint of deribit: wanted main, got 'spot'" in said


def test_a_file_that_is_not_there_is_bad_use(tmp_path: Path) -> None:
    said = bad(ask(tmp_path / "nothing.jsonl"))
    assert "nothing.jsonl: wanted a file to read, got No such file" in said
    assert "wanted a file to read" in bad(ask(tmp_path))


WHOLE = gzip.compress(b'{"t":1,"dir":"in","text":"a"}\n' * 99, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl.gz", WHOLE[: len(WHOLE) // 2], "wanted a gzip file"),
        ("b.jsonl.gz", b"no gzip", "wanted a gzip file"),
        ("c.jsonl", b"\xff\xfe", "wanted UTF-8"),
        ("d.jsonl", b"no JSON", "wanted a JSON object"),
        ("e.jsonl", b'{"t":1,"dir":"out","text":"a"}', "wanted an inbound frame"),
        ("f.jsonl", b"", "wanted an inbound frame"),
        (
            "g.jsonl",
            b'{"utc":"2026","event":"Lost","at":1}',
            "line 1: wanted a frame of a recording: t, dir",
        ),
    ],
)
def test_what_is_no_recording_is_bad_use(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert said in bad(ask(path))


def test_a_profile_of_ones_own_that_is_wrong_is_bad_use(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('name = "mine"\ntitle = "Mine"\n')
    path = written(made_up(), tmp_path / "one.jsonl")
    assert "endpoints" in bad(ask(path, venue=str(mine)))


def test_a_recording_of_another_venue_is_not_said_to_lack_nothing(
    tmp_path: Path,
) -> None:
    path = written(made_up(), tmp_path / "one.jsonl")
    told = bad(ask(path, venue="binance"))
    assert "wanted messages of binance, spot, got" in told
    assert "messages unknown to it" in told


# --- JSON -------------------------------------------------------------------------


def test_json_is_one_object_that_adds_up(tmp_path: Path) -> None:
    result = ask(written(lacking(), tmp_path / "lacking.jsonl.gz"), "--json")
    assert result.exit_code == 1
    told = msgspec.json.decode(result.stdout)
    assert (told["file"], told["venue"]) == ("lacking.jsonl.gz", "deribit")
    assert (told["endpoint"], told["whole"]) == ("main", False)
    assert told["control"] == {"acked": 1}
    channels = {each["channel"]: each for each in told["channels"]}
    lost_gap, late_gap = channels[BOOK]["gaps"]
    assert (lost_gap["closed_by"], late_gap["closed_by"]) == (None, "late")
    assert lost_gap["last"] >= lost_gap["first"]
    totals = channels[BOOK]["totals"]
    assert (totals["gaps"], totals["unknown"], totals["sent"]) == (2, 1, None)
    assert totals["duplicated"] == totals["disordered"] == 1
    other = channels["book.ETH-PERPETUAL.100ms"]["totals"]
    assert other["sent"] == other["received"] == 40


# --- the endpoint -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "url", "endpoint"),
    [
        ("binance", "wss://fstream.binance.com/stream?streams=a@depth", "usdm"),
        ("binance", "wss://stream.binance.com:9443/stream?streams=a@depth", "spot"),
        ("kraken", "wss://ws.kraken.com", "spot_v1"),
        ("kraken", "wss://ws.kraken.com/v2", "spot"),
        ("bybit", "wss://stream.bybit.com/v5/private", "private"),
        ("deribit", "wss://test.invalid/", "main"),
        ("deribit", None, "main"),
    ],
)
def test_the_endpoint_is_the_one_that_was_dialled(
    venue: str, url: str | None, endpoint: str
) -> None:
    assert dialled(load(venue), url).name == endpoint


# --- the table --------------------------------------------------------------------


@cache
def contract() -> Contract:
    return Contract(load("deribit").endpoint())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["deribit", "made up"])
def test_the_table_fits_and_names_every_channel(name: str, width: int) -> None:
    capture = lacking() if name == "made up" else recorded(name)
    report = audit_capture(capture, contract())
    out = io.StringIO()
    console = Console(file=out, width=width)
    console.print(table([row_of(each) for each in report.channels], width=width))
    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    joined = "".join(line.split()[0] for line in lines if line.split())
    for each in report.channels:
        assert each.channel is not None
        assert each.channel in joined
    assert ("skew" in lines[0]) == (width == 120)


def test_what_a_peer_wrote_cannot_steer_a_terminal(tmp_path: Path) -> None:
    evil = "book.\x1b[2J[bold]x.100ms"
    told = {"method": "subscription", "params": {"channel": evil, "data": {}}}
    path = written(Capture((frame(0, told),)), tmp_path / "evil.jsonl")
    result = ask(path)
    assert "\x1b" not in result.stdout
    assert result.exit_code == 0


def test_channels_that_never_spoke_are_named(tmp_path: Path) -> None:
    frames = (*subscribed(0, BOOK, "ticker.X.raw"), book(1, NAME, None, 1))
    result = ask(written(Capture(frames), tmp_path / "quiet.jsonl"))
    told = flat(result.stdout)
    assert "Asked for and silent throughout: 1 channel: ticker.X.raw." in told


def test_a_recording_that_is_mostly_of_another_venue_is_told_to_be_one(
    tmp_path: Path,
) -> None:
    others = tuple(frame(n, {"e": "trade", "p": n}) for n in range(9))
    frames = (*others, book(10, NAME, None, 1))
    result = ask(written(Capture(frames), tmp_path / "other.jsonl"))
    assert "it may be of another venue or endpoint" in flat(result.stdout)


@pytest.mark.parametrize(
    ("missing", "unknown", "said"),
    [(0, 0, ""), (3, 0, "3"), (0, 2, "?"), (3, 1, "3+?")],
)
def test_what_is_lost_says_whether_it_can_be_counted(
    missing: int, unknown: int, said: str
) -> None:
    assert lost(missing, unknown) == said


def test_receipts_are_times_of_day_where_they_can_be() -> None:
    assert moment(1_700_000_000.25) == "22:13:20.250"
    assert moment(12.5) == "12.5 s"
    assert moment(1e300) == "1e+300 s"


def test_a_real_recording_is_audited_from_its_file() -> None:
    recorded("binance-usdm")
    from audit_recordings import CAPTURES

    assert "binance-usdm" in RECORDED
    result = ask(CAPTURES / "binance-usdm.jsonl.gz", venue="binance")
    assert result.exit_code == 0, result.output
    assert "binance, usdm" in result.stdout
    assert "Numbers would show a loss in 4 of 16 channels." in result.stdout
