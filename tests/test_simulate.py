"""`make simulate` runs a compiled copy of this very source, or the source itself."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from simulate import __main__ as simulate
from simulate import compiled_copy as copies
from simulate.compiled_copy import COMPILED, MODULES, NotCompiled, compiled_copy

CLOCK = "heartline/testing/sim_clock.py"


class Compilers:
    """Stand for those that take half a minute; they keep what they were given."""

    def __init__(self) -> None:
        self.compiled: list[list[str]] = []
        self.left_out: set[str] = set()
        self.compiled_tells = "the same"
        self.says = ""

    def run(self, tree: Path, log: Path, script: Path, *arguments: str) -> str:
        if script == copies.HISTORIES:
            is_compiled = (tree / CLOCK).with_suffix(COMPILED).exists()
            return self.compiled_tells if is_compiled else "the same"
        if self.says:
            raise NotCompiled(self.says)
        for module in {*arguments} - self.left_out:
            (tree / module).with_suffix(COMPILED).touch()
        (tree / "build").mkdir()
        self.compiled.append([*arguments])
        return ""


@pytest.fixture
def compilers(monkeypatch: pytest.MonkeyPatch) -> Compilers:
    found = Compilers()
    monkeypatch.setattr(copies, "_run", found.run)
    monkeypatch.setattr(copies, "_tools", lambda: ("quick",))
    return found


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package that has all modules to be compiled, and little in them."""
    for module in (*MODULES, "heartline/core.py"):
        path = tmp_path / "src" / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a = 1\n")
    return tmp_path / "src" / "heartline"


def files(of: Path) -> set[str]:
    return {str(each.relative_to(of)) for each in of.rglob("*") if each.is_file()}


def test_every_module_that_is_compiled_is_there() -> None:
    assert [name for name in MODULES if not (simulate.SOURCE / name).is_file()] == []
    assert len(set(MODULES)) == len(MODULES)


def test_a_copy_is_made_once_for_a_source_and_leaves_that_as_it_is(
    package: Path, compilers: Compilers, tmp_path: Path
) -> None:
    before = files(package.parent)
    first = compiled_copy(package, tmp_path / "builds")
    assert compiled_copy(package, tmp_path / "builds") == first
    assert compilers.compiled == [[*MODULES]]
    assert files(package.parent) == before
    built = {str(Path(module).with_suffix(COMPILED)) for module in MODULES}
    assert files(first) == before | built


def change(package: Path) -> None:
    (package / "core.py").write_text("a = 2\n")


def add(package: Path) -> None:
    (package / "wire.py").touch()


def remove(package: Path) -> None:
    (package / "core.py").unlink()


def rename(package: Path) -> None:
    (package / "core.py").rename(package / "wire.py")


def build_a_twin(package: Path) -> None:
    (package / "_figures").with_suffix(COMPILED).touch()


@pytest.mark.parametrize("act", [change, add, remove, rename, build_a_twin])
def test_a_source_that_changed_is_compiled_anew_and_the_old_copy_goes(
    act: Callable[[Path], None],
    package: Path,
    compilers: Compilers,
    tmp_path: Path,
) -> None:
    first = compiled_copy(package, tmp_path / "builds")
    act(package)
    second = compiled_copy(package, tmp_path / "builds")
    assert len(compilers.compiled) == 2
    assert not first.exists()
    assert files(package) <= files(second / "heartline")


def test_a_source_that_changes_meanwhile_is_not_taken_for_the_copy(
    package: Path,
    compilers: Compilers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied = shutil.copytree

    def copytree(*arguments: Any, **options: Any) -> None:
        copied(*arguments, **options)
        change(package)

    monkeypatch.setattr(shutil, "copytree", copytree)
    first = compiled_copy(package, tmp_path / "builds")
    assert (first / "heartline" / "core.py").read_text() == "a = 1\n"
    assert compiled_copy(package, tmp_path / "builds") != first


def test_bytecode_is_no_source(
    package: Path, compilers: Compilers, tmp_path: Path
) -> None:
    first = compiled_copy(package, tmp_path / "builds")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "core.pyc").touch()
    assert compiled_copy(package, tmp_path / "builds") == first
    assert len(compilers.compiled) == 1


@pytest.mark.parametrize("amiss", ["says no", "leaves one out", "other histories"])
def test_a_copy_that_is_not_what_it_has_to_be_is_never_run(
    amiss: str, package: Path, compilers: Compilers, tmp_path: Path
) -> None:
    match amiss:
        case "says no":
            compilers.says = amiss
        case "leaves one out":
            compilers.left_out = {CLOCK}
        case _:
            compilers.compiled_tells = "others"
    for _ in range(2):
        with pytest.raises(NotCompiled):
            compiled_copy(package, tmp_path / "builds")


def run_by(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str
) -> tuple[list[str], str]:
    """The command that `make simulate` ends in, and where it finds the package."""
    ran: list[tuple[list[str], str]] = []

    def execve(_: str, command: list[str], environment: dict[str, str]) -> None:
        ran.append((command, environment["PYTHONPATH"].split(os.pathsep)[0]))

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(sys, "argv", ["simulate", *arguments])
    monkeypatch.setattr(simulate, "BUILDS", tmp_path / "builds")
    simulate.main()
    return ran[0]


def test_the_copy_is_run_with_the_options_given(
    package: Path,
    compilers: Compilers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulate, "SOURCE", package.parent)
    command, home = run_by(monkeypatch, tmp_path, "--histories", "9", "--seed", "7")
    assert command[1:3] == ["-m", "heartline.testing.simulation"]
    assert command[3:] == ["--histories", "9", "--seed", "7"]
    assert Path(home).parent == tmp_path / "builds"


def test_without_a_compiler_the_source_is_run_and_one_line_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    _, home = run_by(monkeypatch, tmp_path, "--histories", "9")
    assert Path(home) == simulate.SOURCE
    said = capsys.readouterr().err
    assert "no-such-compiler" in said
    assert said.count("\n") == 1


def test_without_mypy_the_source_is_run_and_one_line_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setenv("CC", sys.executable)
    monkeypatch.setattr(copies, "version", version)
    _, home = run_by(monkeypatch, tmp_path, "--histories", "9")
    assert Path(home) == simulate.SOURCE
    said = capsys.readouterr().err
    assert said.endswith(": mypy, which mypyc needs, is missing\n")
    assert said.count("\n") == 1


def test_a_compiler_that_fails_is_quoted_with_its_last_line(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('much')\nsys.exit('no Python.h')\n")
    with pytest.raises(NotCompiled, match=r"script\.py failed: no Python\.h"):
        copies._run(tmp_path, tmp_path / "log", script)
    assert "much" in (tmp_path / "log").read_text()
