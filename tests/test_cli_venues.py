"""`heartline venues`: contracts in plain words, and what is wrong with a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from heartline.cli import app
from heartline.cli.running import fail
from heartline.ui.contract import chapters, clocks, kept_alive
from heartline.ui.contract_words import span
from heartline.venue.load import load as load_anew
from heartline.venue.load import names

load = cache(load_anew)
OKX = (files("heartline") / "venues" / "okx.toml").read_text(encoding="utf-8")


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["venues", *arguments])


def told(*arguments: str) -> str:
    result = ask(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def flat(text: str) -> str:
    """Without the line breaks that the width has made."""
    return re.sub(r"\s+", " ", text)


def test_the_table_has_every_endpoint_of_every_venue() -> None:
    table = told()
    rows = [line.split() for line in table.splitlines()]
    for name in names():
        assert any(row[:1] == [name] for row in rows)
        for endpoint in load(name).endpoints:
            assert any(endpoint in row for row in rows)
    assert "answer to its probe every 10 s" in flat(table.replace("\xa0", " "))


@pytest.mark.parametrize(
    ("venue", "endpoint", "kept", "closed"),
    [
        ("deribit", "main", "answer to its probe every 10 s", "10 s without a message"),
        ("binance", "usdm", "pong to its ping every 3 min", "10 min without our pong"),
        (
            "okx",
            "public",
            "our message after 15 s of silence",
            "30 s without a message",
        ),
        ("kraken", "futures", "our ping every 30 s", "60 s without our ping"),
        ("kucoin", "spot", "our message every ping_interval_s", "60.5 s without a"),
        ("bybit", "public", "our message every 20 s", "not stated"),
        ("coinbase", "exchange", "its beacon every 1 s", "5 s without a subscription"),
        ("massive", "stocks", "nothing documented", ""),
    ],
)
def test_few_words_say_what_keeps_a_link(
    venue: str, endpoint: str, kept: str, closed: str
) -> None:
    one = load(venue).endpoint(endpoint)
    assert kept_alive(one) == kept
    assert closed in clocks(one)


@pytest.mark.parametrize(
    ("name", "width"),
    [*((name, 80) for name in names()), ("binance", 120), ("deribit", 120)],
)
def test_a_contract_fits_the_terminal(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["heartline.cli.venues"]
    monkeypatch.setattr(module, "PIPE_WIDTH", width)
    text = told(name)
    lines = (line for line in text.splitlines() if "https://" not in line)
    assert max(map(cell_len, lines)) <= width
    profile = load(name)
    assert text.startswith(f"{profile.title} ({name})")
    for endpoint in profile.endpoints.values():
        for chapter in chapters(endpoint):
            assert chapter.title in text
            for line in chapter.lines:
                assert flat(line)[:30] in flat(text)


def test_a_contract_says_duty_limit_and_source() -> None:
    text = flat(told("deribit"))
    assert "It asks method = " in text
    assert 'we answer {"jsonrpc": "2.0", "id": "${id}", "method": "public/test"' in text
    assert "within 10 s" in text
    assert "At most 32 connections." in text
    assert "private-enable_cancel_on_disconnect" in told("deribit")
    assert "the venue says so, 2026-11-22" in text


def test_only_one_endpoint_is_told_on_request() -> None:
    text = told("binance", "--endpoint", "coinm")
    assert "wss://dstream.binance.com" in text
    assert "wss://stream.binance.com" not in text
    assert list(msgspec.json.decode(told("binance", "--endpoint", "api", "--json"))[
        "endpoints"
    ]) == ["api"]  # fmt: skip


def test_json_holds_the_same() -> None:
    rows = msgspec.json.decode(told("--json"))
    assert len(rows) == sum(len(load(name).endpoints) for name in names())
    usdm = next(row for row in rows if row["endpoint"] == "usdm")
    assert usdm["max_age_s"] == 86400.0
    assert usdm["kept_alive"] == "pong to its ping every 3 min"
    okx = msgspec.json.decode(told("okx", "--json"))
    (ping,) = okx["endpoints"]["public"]["liveness"]["msg_out"]
    assert ping["send"] == {"text": "ping"}
    assert ping["idle_s"] == 15.0


def test_a_usable_file_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OKX, encoding="utf-8")
    text = told("check", str(path))
    assert text.startswith(f"{path} can be used: 1 endpoint. What it says:")
    assert "We must send ping after 15 s of silence; it answers pong" in flat(text)
    assert told(str(path)) == told("okx")
    assert told("check", str(path), "--json") == told("okx", "--json")


def test_a_wrong_file_is_told_by_file_key_wanted_and_got(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OKX.replace("idle_s = 15.0", "idle_s = 45.0"), encoding="utf-8")
    result = ask("check", str(path))
    assert result.exit_code == 2
    assert result.stdout == ""
    key = "endpoints.public.liveness.msg_out[0].idle_s"
    wanted = "less than 30.0 s, when the venue closes"
    assert result.stderr == f"heartline: {path}: {key}: wanted {wanted}, got 45.0\n"
    result = ask("check", str(path), "--json")
    assert result.exit_code == 2
    assert msgspec.json.decode(result.stdout) == {
        "file": str(path),
        "key": key,
        "wanted": wanted,
        "got": 45.0,
    }


def test_a_file_needs_no_slash_to_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").write_text(OKX, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert "can be used" in told("check", "mine")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("derbit",),
            "venue: wanted deribit or a file such as ./mine.toml (`heartline venues` ",
        ),
        (("zzz",), "venue: wanted a file such as ./mine.toml (`heartline venues` "),
        (("derbit/main",), "venue: wanted deribit or a file such as ./mine.toml"),
        (("./derbit",), "./derbit: the file: wanted one to read"),
        (("check",), "FILE: wanted a profile to check"),
        (("check", "nowhere.toml"), "nowhere.toml: the file: wanted one to read"),
        (("okx", "./mine.toml"), "FILE: wanted only with check"),
        (("okx", "--endpoint", "spot"), "endpoint of okx: wanted public"),
        (("--endpoint", "spot"), "--endpoint: wanted a venue's NAME"),
    ],
    ids=[
        "name",
        "no name like it",
        "name of an endpoint's venue",
        "absent path",
        "no file",
        "absent file",
        "extra file",
        "endpoint",
        "no name",
    ],
)
def test_bad_usage_ends_with_2(arguments: tuple[str, ...], said: str) -> None:
    result = ask(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"heartline: {said}")
    assert result.stderr.count("\n") == 1


def test_an_unknown_venue_is_told_the_nearest_and_where_all_are() -> None:
    told = f"lists all {len(names())}), got 'binanse'\n"
    said = ask("binanse").stderr
    assert said.startswith("heartline: venue: wanted binance, ")
    assert said.endswith(told)
    assert len(said) < 160


def test_an_error_is_folded_between_words_where_a_terminal_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    path = "x" * 70
    with pytest.raises(typer.Exit):
        fail(f"venue: wanted a file such as ./mine.toml, got {path} and no more")
    lines = capsys.readouterr().err.splitlines()
    assert path in lines
    assert max(len(line) for line in lines if line != path) <= 60
    assert " ".join(lines).endswith(f"got {path} and no more")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.5, "0.5 s"),
        (60.0, "60 s"),
        (120.0, "2 min"),
        (86400.0, "24 h"),
        (7776000.0, "90 d"),
        (3723.0, "1 h 2 min"),
    ],
)
def test_round_durations_lose_their_noughts(seconds: float, said: str) -> None:
    assert span(seconds) == said


@pytest.mark.parametrize(
    "arguments", ["venues", "venues deribit", "lab --list"], ids=lambda text: text
)
def test_a_reader_that_has_gone_is_no_failure(arguments: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "heartline", *arguments.split()],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "arguments", ["venues", "replay missing.jsonl", "demo --only refuse"]
)
def test_closed_standard_streams_change_nothing_else(
    arguments: str, closed: str
) -> None:
    command = f"{sys.executable} -m heartline {arguments}"
    plain, ended = (
        subprocess.run(
            ["sh", "-c", f"{command} {redirected}"],
            capture_output=True,
            timeout=60,
            check=False,
        )
        for redirected in ("", closed)
    )
    assert ended.returncode == plain.returncode
    assert ended.stderr == (b"" if "2>" in closed else plain.stderr)


@pytest.mark.parametrize(
    "command",
    [each.callback.__name__ for each in app.registered_commands if each.callback],
)
def test_help_names_no_type_of_python(command: str) -> None:
    told = CliRunner().invoke(app, [command, "--help"]).output
    assert "--help" in told
    assert not re.search(r"<[a-z]|\b(bool|str|int range|list\[|TEXT|INTEGER)\b", told)


@pytest.mark.parametrize("command", ["watch", "relay", "venue"])
def test_a_profile_that_is_wrong_is_bad_usage_of_every_command(
    command: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "x\n')
    result = CliRunner().invoke(app, [command, str(path)])
    assert result.exit_code == 2
    assert f"{path}: the file: wanted TOML" in result.stderr
