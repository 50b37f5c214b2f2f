"""The long proofs themselves are run apart; that they can be, is seen here."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from prove import __main__ as prove
from prove import page

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    f"{path.parent.name}.{path.stem}"
    for folder in ("prove", "bench", "mutate")
    for path in (ROOT / folder).glob("*.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_of_a_long_proof_can_be_imported(name: str) -> None:
    importlib.import_module(name)


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
