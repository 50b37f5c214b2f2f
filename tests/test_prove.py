"""What the long proofs write down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prove import __main__ as prove
from prove import page


def test_a_proof_that_breaks_is_told_and_its_result_names_machine_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Any] = {
        "broken": ["calm: 3 false alarms"],
        "text": "what was seen",
    }
    written: list[str] = []
    monkeypatch.setattr(prove, "RESULTS", tmp_path)
    monkeypatch.setattr(prove, "PROOFS", {"calm": lambda asked: found})
    monkeypatch.setattr(page, "PROVED", {"calm": lambda found: [found["text"]]})
    monkeypatch.setattr(page, "write", lambda: written.append("the page"))
    monkeypatch.setattr("sys.argv", ["prove", "calm"])
    (tmp_path / "prove.json").write_text('{"relay": {"kept": true}}')
    assert prove.main() == 1
    assert "broken: calm: 3 false alarms" in capsys.readouterr().out
    kept = json.loads((tmp_path / "prove.json").read_text())
    assert kept["relay"] == {"kept": True}
    assert kept["calm"]["broken"] == found["broken"]
    text = (tmp_path / "prove.md").read_text()
    assert found["text"] in text
    assert kept["calm"]["where"]["python"] in text
    assert written == ["the page"]


@pytest.mark.parametrize(
    ("lacks", "told", "said"),
    [
        ([], "All of it, the lab included, in one run: every promise kept.", "kept\n"),
        (
            ["root"],
            "All but the lab in one run: every promise kept.",
            "kept, but the lab was not tried\n",
        ),
    ],
)
def test_a_run_without_the_lab_does_not_say_that_all_was_tried(
    lacks: list[str],
    told: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(prove, "RESULTS", tmp_path)
    monkeypatch.setattr(prove, "PROOFS", {"calm": lambda asked: {"broken": []}})
    monkeypatch.setattr(page, "PROVED", {})
    monkeypatch.setattr(page, "write", lambda: None)
    monkeypatch.setattr(prove.lab, "missing", lambda: lacks)
    monkeypatch.setattr(prove.lab, "run", lambda *_, **__: [])
    monkeypatch.setattr("sys.argv", ["prove"])
    assert prove.main() == 0
    assert json.loads((tmp_path / "prove.json").read_text())["whole"]["told"] == told
    assert capsys.readouterr().out.endswith(said)


def test_the_page_of_proofs_shows_the_results_that_are_kept() -> None:
    text = page.PAGE.read_text()
    proved = json.loads((page.RESULTS / "prove.json").read_text())
    lab = json.loads((page.RESULTS / "lab.json").read_text())
    assert page.render(text, proved, lab) == text
