"""Whether a fault is noticed: the core's tests and the simulator, quickest first.

Each fault is judged in a process of its own, forked from one that has everything loaded
but heartline itself; the faulty module is given to the importer from memory, so that
nothing is ever written into the tree.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

MEMORY_BYTES = 3 << 30
QUICK, MORE = range(1), range(1, 6)
"""Random cases of each property: before most tests are collected, and at last."""
SWARM = range(60)
"""Simulated histories: the first of those that test_core_swarm judges."""
SLOW = "test_core_promises"
NOT_ASKED = ("test_core_planted", "test_core_swarm")
"""The first plants faults itself, the second is the swarm again."""
DEFAULTS = "test_readme.py::test_every_default_of_a_policy_is_in_the_readme"
FIRST = tuple(
    f"test_core_{name}" for name in ("timelines", "figures", "spans", "told", "windows")
)
"""Quick, and strict about every figure."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Who noticed; None if nobody did."""

    noticed_by: str | None
    detail: str = ""


class _Faulty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a source of our own."""

    def __init__(self, module: str, source: str, path: Path) -> None:
        self._module = module
        self._code = compile(source, str(path), "exec")

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        if name != self._module:
            return None
        return importlib.util.spec_from_loader(name, self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


def prepare(tree: Path) -> None:
    """Load what every judgement needs and no fault can touch."""
    os.environ.pop("HEARTLINE_EXPLORE", None)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(tree / ".hypothesis")
    os.chdir(tree)
    for place in ("tests", "src"):
        sys.path.insert(0, str(tree / place))
    sys.path.insert(0, str(tree))
    import hypothesis.strategies
    import pytest

    import heartline
    import heartline.testing.simulation

    assert heartline.__file__ is not None
    assert Path(heartline.__file__).is_relative_to(tree), heartline.__file__
    assert pytest, hypothesis
    for name in [*sys.modules]:
        if name.partition(".")[0] == "heartline":
            del sys.modules[name]


def judge(tree: Path, module: str, source: str | None, *, thorough: bool) -> Judgement:
    """Judge a faulty source of one module; None plants nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with contextlib.suppress(BaseException):
            said = _in_child(tree, module, source, thorough)
            os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if not said:
        return Judgement("endless", f"status {status}")
    noticed_by, _, detail = said.partition("\n")
    return Judgement(noticed_by if noticed_by != "nobody" else None, detail)


def _in_child(tree: Path, module: str, source: str | None, thorough: bool) -> str:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    sys.dont_write_bytecode = True
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    random.seed(0)
    if source is not None:
        path = tree / "src" / (module.replace(".", "/") + ".py")
        sys.meta_path.insert(0, _Faulty(module, source, path))
    own, others = _quick_tests(tree, module)
    stages: list[tuple[str, int, Callable[[], str]]] = [
        ("own tests", 40, lambda: _tests(own)),
        ("properties", 25, lambda: _properties(QUICK)),
        ("swarm", 15, lambda: _swarm(SWARM[:10])),
        ("tests", 60, lambda: _tests(others)),
        ("more swarm", 40, lambda: _swarm(SWARM[10:])),
        ("more properties", 75, lambda: _properties(MORE)),
    ]
    if thorough:
        slow = tree / "tests" / f"{SLOW}.py"
        stages.append(("promises", 300, lambda: _tests([slow])))
    for name, cpu_seconds, stage in stages:
        _allow(cpu_seconds)
        try:
            detail = stage()
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            return f"{name}\n{type(error).__name__} in {where.name}: {error}"[:500]
        if detail:
            return f"{name}\n{detail}"
    return "nobody\n"


def _allow(cpu_seconds: int) -> None:
    """A stage that takes longer has met an endless loop: the fault is noticed."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(spent.ru_utime + spent.ru_stime) + cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _properties(seeds: range) -> str:
    import core_properties
    import core_pure_properties

    promises: list[Any] = [*core_pure_properties.PURE, *core_properties.SIMULATED]
    for seed in seeds:
        for promise in promises:
            try:
                promise(random.Random(seed))
            except BaseException as error:
                return f"{promise.__name__} ({type(error).__name__})"
    return ""


def _swarm(seeds: range) -> str:
    from heartline.testing.checkers import complaints
    from heartline.testing.swarm import swarm

    for seed in seeds:
        if found := complaints(swarm(seed)):
            return f"seed {seed}: {found[0]}"[:300]
    return ""


def _quick_tests(tree: Path, module: str) -> tuple[list[Path], list[Path]]:
    """The core's quick tests: those to begin with, and the others."""
    own: list[Path] = []
    others: list[Path] = []
    for path in sorted((tree / "tests").glob("test_core_*.py")):
        if path.stem not in (SLOW, *NOT_ASKED):
            named = f"from {module} import" in path.read_text(encoding="utf-8")
            first = named or path.stem in FIRST
            (own if first else others).append(path)
    return own, [tree / "tests" / DEFAULTS, *others]


class _Plugin:
    """Stops at the first failure and keeps its name; failures need not be shrunk."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings

        found = (Phase.explicit, Phase.generate)
        usual = settings.get_profile("the same")
        settings.register_profile("judged", usual, phases=found, database=None)
        settings.load_profile("judged")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def _tests(paths: list[Path]) -> str:
    import pytest

    if not paths:
        return ""
    plugin = _Plugin()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no"]
    code = pytest.main([*options, *map(str, paths)], plugins=[plugin])
    if code == 0:
        return ""
    return plugin.failed or f"pytest said {code}"
