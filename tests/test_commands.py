"""The long proofs run seldom: that each of them still finds its parts is tried here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("bench", "mutate", "prove", "quality")
    for path in sorted((ROOT / package).rglob("*.py"))
]


@pytest.mark.parametrize("name", MODULES)
def test_what_it_imports_is_there(name: str) -> None:
    if name == "quality.plots":
        pytest.importorskip("matplotlib", reason="only make quality needs matplotlib")
    assert import_module(name).__doc__
