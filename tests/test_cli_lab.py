"""`heartline lab`: what it needs, what it refuses, what it prints."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from heartline.cli import app
from heartline.testing.lab import namespaces
from heartline.testing.lab.rows import ROWS

LACKS = namespaces.missing()
needs_the_lab = pytest.mark.skipif(bool(LACKS), reason=f"needs {'; '.join(LACKS)}")


def test_it_lists_every_fault() -> None:
    said = CliRunner().invoke(app, ["lab", "--list"])
    assert said.exit_code == 0
    assert [line.split()[0] for line in said.output.splitlines()] == [
        row.name for row in ROWS
    ]


def test_a_fault_that_does_not_exist_is_refused() -> None:
    said = CliRunner().invoke(app, ["lab", "earthquake"])
    assert said.exit_code == 2
    assert "earthquake" in said.output


def test_it_says_what_is_missing_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(namespaces, "missing", lambda: ["root", "the `ip` command"])
    said = CliRunner().invoke(app, ["lab"])
    assert said.exit_code == 2
    assert "the lab needs root; and the `ip` command" in said.output


@needs_the_lab
def test_with_json_every_trial_is_one_object() -> None:
    said = CliRunner().invoke(app, ["lab", "close", "--repeats", "2", "--json"])
    trials = [json.loads(line) for line in said.output.splitlines()]
    assert said.exit_code == 0, said.output
    assert sorted(trial["repeat"] for trial in trials) == [0, 1]
    for trial in trials:
        assert trial["told"] == "CLOSED_BY_PEER"
        assert trial["broken"] == trial["false_alarms"] == []
        account = trial["account"]
        assert account["sent"] == account["delivered"] + account["reported_lost"]
