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


def test_the_page_of_proofs_shows_the_results_that_are_kept() -> None:
    text = page.PAGE.read_text()
    proved = json.loads((page.RESULTS / "prove.json").read_text())
    lab = json.loads((page.RESULTS / "lab.json").read_text())
    assert page.render(text, proved, lab) == text
