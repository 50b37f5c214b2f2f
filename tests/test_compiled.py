"""A twin is used only where it was built from the text beside it."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import heartline
from heartline.compiled import compiled, source_sum

HOME = Path(heartline.__file__).parent
TWINS = [f"{path.parent.name}.{path.stem}" for path in sorted(HOME.glob("*/*.pyx"))]
BUILT = [name for name in TWINS if compiled(name) is not None]


@pytest.mark.parametrize("name", BUILT)
def test_a_twin_knows_the_source_that_it_was_built_from(name: str) -> None:
    twin = importlib.import_module(f"heartline.{name}")
    assert source_sum(HOME, name) == twin.SOURCE.decode()


@pytest.mark.parametrize(
    ("changed", "of", "not_of"),
    [
        ("venue/_ahead.pyx", "venue._ahead", "wire._plain"),
        ("venue/_members.pxd", "venue._ahead", "wire._plain"),
        ("core/_figures.pxd", "core._figures", "venue._ahead"),
        ("core/_figures.pxd", "client._usual", "wire._plain"),
    ],
)
def test_what_a_twin_is_compiled_from_is_its_own_text_and_what_it_shares(
    changed: str, of: str, not_of: str, tmp_path: Path
) -> None:
    for source in (*HOME.glob("*/*.pyx"), *HOME.rglob("*.pxd")):
        copy = tmp_path / source.relative_to(HOME)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(source.read_bytes())
    before = {name: source_sum(tmp_path, name) for name in TWINS}
    with (tmp_path / changed).open("a") as file:
        file.write("# changed since\n")
    others = {name for name in TWINS if source_sum(tmp_path, name) != before[name]}
    assert of in others
    assert not_of not in others


@pytest.mark.parametrize("error", [ImportError, TypeError, ValueError])
def test_a_twin_that_does_not_fit_another_is_left_aside(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise error(name)

    monkeypatch.delenv("HEARTLINE_PURE", raising=False)
    monkeypatch.setattr(importlib, "import_module", fail)
    assert compiled.__wrapped__("core._figures") is None


@pytest.mark.skipif(not BUILT, reason="no twin was built, or all are left aside")
def test_a_twin_of_another_source_is_left_aside_with_one_line_a_twin(
    tmp_path: Path,
) -> None:
    shutil.copytree(
        HOME, tmp_path / "heartline", ignore=shutil.ignore_patterns("__pycache__")
    )
    for source in tmp_path.glob("heartline/*/*.pyx"):
        source.write_text(source.read_text() + "\n# changed since\n")
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "import heartline.client.lane as l, heartline.core.figures as f\n"
            "import heartline.wire.plain, heartline.wire.resting\n"
            "import heartline.client.usual, heartline.venue.ahead\n"
            "print(l.__file__, l.Lane is l.PureLane)",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.split() == [
        str(tmp_path / "heartline/client/lane.py"),
        "True",
    ], ran.stderr
    told = [line for line in ran.stderr.splitlines() if "an older source" in line]
    assert sorted(line.split()[0] for line in told) == sorted(
        f"heartline.{name}" for name in BUILT
    )
