"""Which test enters which function of the core, and what it costs.

A test that never enters a function cannot tell a fault in it: it need not be run. What
is entered while the tests are collected is taken for entered by all of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import pytest

OPTIMIZED = 0x1
"""Flag of the code of functions: the body of a class has it not."""
CORE = "/heartline/core/"

Function = tuple[str, str]
"""A file of the core, and the name of a function in it with its class."""


@dataclass(frozen=True, slots=True)
class Reach:
    """All tests from the cheapest on: processor seconds, and functions entered."""

    seconds: dict[str, float] = field(default_factory=dict)
    entered: dict[str, frozenset[Function]] = field(default_factory=dict)
    by_all: frozenset[Function] = frozenset()

    def of(self, function: Function | None) -> list[str]:
        """The tests that can tell a fault in a function; None: outside of any."""
        if function is None or function in self.by_all:
            return [*self.seconds]
        return [test for test in self.seconds if function in self.entered[test]]


def functions(code: CodeType) -> Iterator[CodeType]:
    """The functions and methods in the code of a module, none that lies in another."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & OPTIMIZED:
                yield constant
            else:
                yield from functions(constant)


def outermost(qualified: str) -> str:
    """The function that one lies in, or is."""
    return qualified.partition(".<locals>")[0]


class Recorder:
    """A plugin of pytest that records what each test enters."""

    def __init__(self) -> None:
        self.failed = ""
        self._codes: dict[int, CodeType] = {}
        """By identity: functions that are written alike are not one."""
        self._by_all: frozenset[Function] = frozenset()
        self._seconds: dict[str, float] = {}
        self._entered: dict[str, frozenset[Function]] = {}

    def start(self) -> None:
        """Record from now on, in this thread."""
        sys.settrace(self._enter)

    def reach(self) -> Reach:
        seconds = dict(sorted(self._seconds.items(), key=lambda item: item[1]))
        return Reach(seconds, self._entered, self._by_all)

    def _enter(self, frame: Any, event: str, arg: object) -> None:
        code = frame.f_code
        self._codes[id(code)] = code

    def pytest_collection_finish(self) -> None:
        sys.settrace(None)
        self._by_all = self._of_core()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        self._codes.clear()
        began = time.process_time()
        self.start()
        yield
        sys.settrace(None)
        self._seconds[item.nodeid] = time.process_time() - began
        self._entered[item.nodeid] = self._of_core()

    def pytest_collectreport(self, report: Any) -> None:
        self.pytest_runtest_logreport(report)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = f"{report.nodeid}: {report.longreprtext}"

    def _of_core(self) -> frozenset[Function]:
        found: set[Function] = set()
        for code in self._codes.values():
            _, core, name = code.co_filename.rpartition(CORE)
            if core and code.co_flags & OPTIMIZED:
                found.add((name, outermost(code.co_qualname)))
        return frozenset(found)
