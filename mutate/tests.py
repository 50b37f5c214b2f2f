"""The tests that judge a fault, run by pytest within this process."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from .reach import Reach

MEMORY_BYTES = 3 << 30
LONGEST, LONGER = 8.0, 20.0
"""A test that takes so many seconds of processor, and so many times the usual, has met
an endless loop: the fault is noticed."""
SLOW = "test_core_promises"
NOT_ASKED = ("test_core_planted", "test_core_swarm")
"""The first plants faults itself, the second is the histories again."""
BESIDE = ("core_histories", "test_venue_checksums")
"""The second holds the books of `orderbook.py` against what venues say of them."""
README = "tests/test_readme.py"
DEFAULTS = "test_every_default_of_a_policy_is_in_the_readme"
QUIETLY = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short")


def paths(tree: Path, *, thorough: bool) -> list[str]:
    """Where the tests are."""
    skipped = NOT_ASKED if thorough else (SLOW, *NOT_ASKED)
    own = sorted((tree / "tests").glob("test_core_*.py"))
    found = [path for path in own if path.stem not in skipped]
    found += [tree / "tests" / f"{name}.py" for name in BESIDE]
    return [str(path) for path in [*found, tree / README]]


def run(where: list[str], *plugins: object) -> int:
    return int(pytest.main([*QUIETLY, *where], plugins=[*plugins]))


def be_quiet() -> None:
    """Say nothing, write nothing, and die at too much memory or time."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    sys.dont_write_bytecode = True
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    random.seed(0)


class Chosen:
    """A plugin: the tests to run, in this order; None: all. Nothing is shrunk."""

    def __init__(self, chosen: list[str] | None = None) -> None:
        self._chosen = chosen

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings

        found = (Phase.explicit, Phase.generate)
        usual = settings.get_profile("the same")
        settings.register_profile("judged", usual, phases=found, database=None)
        settings.load_profile("judged")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        by_name = {
            item.nodeid: item
            for item in items
            if not item.nodeid.startswith(README) or item.name == DEFAULTS
        }
        names = by_name if self._chosen is None else self._chosen
        items[:] = [by_name[name] for name in names]


class Watch:
    """A plugin: bounds what each test may take, and keeps the first that failed."""

    def __init__(self, reach: Reach) -> None:
        self.failed = ""
        self._reach = reach

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        spent = resource.getrusage(resource.RUSAGE_SELF)
        allowed = LONGEST + LONGER * self._reach.seconds[nodeid]
        limit = int(spent.ru_utime + spent.ru_stime + allowed) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = f"collecting {report.nodeid}"
