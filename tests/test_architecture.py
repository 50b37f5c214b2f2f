"""The shape of the source, held by rules; each rule is shown to be able to fail.

A rule takes the package's directory and returns what breaks it, one line each.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import get_args

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "src" / "heartline"

# Import only from lower rows, never sideways.
ROWS = (
    {"__init__", "__main__"},
    {"cli"},
    {"ui", "testing"},
    {"relay", "guard"},
    {"client", "server"},
    {"venue", "wire", "observe", "events"},
    {"core"},
    {"errors", "compiled"},
)
LEVEL = {name: -row for row, names in enumerate(ROWS) for name in names}

IMPURE = {
    *("asyncio", "concurrent", "contextvars", "ctypes", "http", "io", "logging"),
    *("multiprocessing", "os", "pathlib", "queue", "random", "sched", "secrets"),
    *("select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess"),
    *("tempfile", "threading", "time", "urllib", "uuid"),
}
STDLIB = sys.stdlib_module_names
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
THIRD_PARTIES_OF_CORE = {"msgspec"}

FILE_LINES = 420
FUNCTION_LINES = 60
VAGUE_NAMES = {
    *("utils", "util", "helpers", "helper", "manager", "managers"),
    *("base", "common", "misc"),
}

# Written in pieces, or this file would break its own rule.
MACHINE_PATHS = (
    "/" + "work/",
    "/" + "tmp/notes",
    "/" + "root/",
    "/" + "home/",
    "/" + "Users/",
)


# --- the rules --------------------------------------------------------------------


def sources(package: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(package.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(path: Path, tree: ast.Module, package: Path) -> Iterator[str]:
    """Absolute names of all that is imported anywhere, in functions and guards too."""
    inside = (package.name, *path.relative_to(package).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = inside[: len(inside) - node.level + 1] if node.level else ()
            module = ".".join((*parents, *(node.module or "").split("."))).rstrip(".")
            # `from heartline import core` imports heartline.core, not the package.
            bare = module == package.name
            yield from (f"{module}.{a.name}" for a in node.names) if bare else [module]


def part_of(path: Path, package: Path) -> str:
    """The entry of the table a file belongs to: its package, or its own name."""
    first = path.relative_to(package).parts[0]
    return first.removesuffix(".py")


def imports_that_do_not_point_down(package: Path) -> list[str]:
    found: list[str] = []
    for path, tree in sources(package):
        here = part_of(path, package)
        if here not in LEVEL:
            found.append(f"{path}: {here!r} has no row in the table")
            continue
        for module in imported_modules(path, tree, package):
            top, _, rest = module.partition(".")
            there = rest.partition(".")[0]
            if top != package.name or there == here:
                continue
            # The package itself, or a public name of it: for the top rows only.
            there = there if there in LEVEL else "__init__"
            allowed = LEVEL[there] < LEVEL[here] or (
                there == "__init__" and here in {"cli", "__main__"}
            )
            if not allowed:
                found.append(f"{path}: {here} imports {module}")
    return found


def impurities_of_the_core(package: Path) -> list[str]:
    found: list[str] = []
    for path, tree in sources(package / "core"):
        for module in imported_modules(path, tree, package):
            top = module.partition(".")[0]
            if top in IMPURE:
                found.append(f"{path}: imports {module}")
            elif top not in THIRD_PARTIES_OF_CORE | STDLIB | {package.name}:
                found.append(f"{path}: imports {module}, a third party")
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in IMPURE_CALLS
            ):
                found.append(f"{path}:{node.lineno}: calls {node.func.id}()")
    return found


def files_too_long(package: Path) -> list[str]:
    return [
        f"{path}: {lines} lines"
        for path in sorted(package.rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > FILE_LINES
    ]


def functions_too_long(package: Path) -> list[str]:
    return [
        f"{path}:{node.lineno}: {node.name} has {lines} lines"
        for path, tree in sources(package)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]


def names_that_say_nothing(package: Path) -> list[str]:
    return [
        str(path)
        for path in sorted(package.rglob("*"))
        if path.stem.strip("_") in VAGUE_NAMES
        and (path.suffix == ".py" or path.is_dir())
    ]


def modules_without_a_docstring(package: Path) -> list[str]:
    return [
        str(path) for path, tree in sources(package) if ast.get_docstring(tree) is None
    ]


def machine_paths_in(root: Path, files: list[str]) -> list[str]:
    """Lines of text files that name a place on somebody's machine."""
    found: list[str] = []
    for name in files:
        path = root / name
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # not text, or deleted and not yet committed
        found += [
            f"{name}:{number}: {forbidden}"
            for number, line in enumerate(lines, 1)
            for forbidden in MACHINE_PATHS
            if forbidden in line
        ]
    return found


def public_names_that_are_not(module: object) -> list[str]:
    """What `__all__` promises and the module does not keep: existence, a docstring."""
    found: list[str] = []
    for name in getattr(module, "__all__"):  # noqa: B009 - any object is a module here
        value = getattr(module, name, None)
        if value is None:
            found.append(f"{name}: does not exist")
        elif (inspect.isclass(value) or inspect.isroutine(value)) and not (
            vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
        ):
            found.append(f"{name}: has no docstring")
    return found


PACKAGE_RULES: tuple[Callable[[Path], list[str]], ...] = (
    imports_that_do_not_point_down,
    impurities_of_the_core,
    files_too_long,
    functions_too_long,
    names_that_say_nothing,
    modules_without_a_docstring,
)


# --- the source keeps them --------------------------------------------------------


@pytest.mark.parametrize("rule", PACKAGE_RULES)
def test_the_source_has_no(rule: Callable[[Path], list[str]]) -> None:
    assert rule(PACKAGE) == []


@pytest.mark.parametrize("name", ["heartline", "heartline.events"])
def test_every_public_name_exists_and_says_what_it_is_for(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__) > 0
    assert public_names_that_are_not(module) == []


def test_every_event_is_public() -> None:
    events = importlib.import_module("heartline").events
    told = {event.__name__ for event in get_args(events.Event)}
    assert set(events.__all__) == told | {"Event"}


def tracked_files() -> list[str]:
    """What git has, or would take: all that is not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in listing.stdout.split("\0") if name]


def test_no_tracked_file_names_a_path_of_somebodys_machine() -> None:
    files = tracked_files()
    assert "pyproject.toml" in files
    assert machine_paths_in(REPOSITORY, files) == []


# --- each rule can fail -----------------------------------------------------------


def long_function(lines: int) -> str:
    return "def f() -> None:\n" + "    pass\n" * (lines - 1)


PLANTED: tuple[tuple[Callable[[Path], list[str]], str, str], ...] = (
    (imports_that_do_not_point_down, "core/link.py", "import heartline.client"),
    (imports_that_do_not_point_down, "core/link.py", "from heartline import client"),
    (imports_that_do_not_point_down, "core/link.py", "from ..client import stream"),
    (imports_that_do_not_point_down, "core/link.py", "from .. import client"),
    (imports_that_do_not_point_down, "core/link.py", "from heartline import connect"),
    (imports_that_do_not_point_down, "wire/dial.py", "import heartline"),
    (imports_that_do_not_point_down, "wire/dial.py", "import heartline.observe"),
    (imports_that_do_not_point_down, "errors.py", "import heartline.core.events"),
    (imports_that_do_not_point_down, "parser/x.py", ""),
    (
        imports_that_do_not_point_down,
        "core/link.py",
        """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from heartline.client import Stream
        """,
    ),
    (
        imports_that_do_not_point_down,
        "client/stream.py",
        """
        def late() -> None:
            from heartline.ui import terminal
        """,
    ),
    (impurities_of_the_core, "core/link.py", "import time"),
    (impurities_of_the_core, "core/link.py", "from asyncio import Queue"),
    (impurities_of_the_core, "core/deep/er.py", "import os.path"),
    (impurities_of_the_core, "core/link.py", "import picows"),
    (impurities_of_the_core, "core/link.py", "print('here')"),
    (files_too_long, "wire/dial.py", "a = 1\n" * (FILE_LINES + 1)),
    (functions_too_long, "wire/dial.py", long_function(FUNCTION_LINES + 1)),
    (functions_too_long, "wire/dial.py", f"async {long_function(FUNCTION_LINES + 1)}"),
    (names_that_say_nothing, "wire/utils.py", ""),
    (names_that_say_nothing, "wire/_common.py", ""),
    (names_that_say_nothing, "helpers/deflate.py", ""),
    (modules_without_a_docstring, "wire/dial.py", "a = 1"),
)


@pytest.mark.parametrize(("rule", "name", "text"), PLANTED)
def test_a_planted_violation_is_found(
    rule: Callable[[Path], list[str]], name: str, text: str, tmp_path: Path
) -> None:
    package = tmp_path / "heartline"
    clean = package / "core" / "clean.py"
    clean.parent.mkdir(parents=True)
    clean.write_text(
        '"""A module that keeps every rule."""\n'
        "import math\nimport msgspec\nfrom . import events\n"
        "from ..errors import HeartlineError\n" + long_function(FUNCTION_LINES)
    )
    assert rule(package) == []

    planted = package / name
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(dedent(text))
    assert len(rule(package)) == 1


@pytest.mark.parametrize("forbidden", MACHINE_PATHS)
def test_a_planted_machine_path_is_found(forbidden: str, tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("run `make test`\n")
    (tmp_path / "binary.gz").write_bytes(b"\xff\xfe" + forbidden.encode())
    files = ["good.md", "binary.gz", "deleted.md"]
    assert machine_paths_in(tmp_path, files) == []

    (tmp_path / "bad.md").write_text(f"one\nsee {forbidden}x\n")
    assert machine_paths_in(tmp_path, [*files, "bad.md"]) == [f"bad.md:2: {forbidden}"]


class Surface:
    """Stands for a module whose `__all__` says too much."""

    __all__ = ("Documented", "Silent", "missing", "silent")

    class Documented:
        """Says what it is for."""

    class Silent(Documented):
        pass

    @staticmethod
    def silent() -> None:
        return None


def test_a_planted_public_name_without_substance_is_found() -> None:
    assert public_names_that_are_not(Surface) == [
        "Silent: has no docstring",
        "missing: does not exist",
        "silent: has no docstring",
    ]
