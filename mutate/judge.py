"""Whether a fault is noticed: the tests that can, the cheapest first, to the first.

Nothing is ever written into the tree. A fault in a function is judged in a process
forked from one that has all tests collected: there the code of that function alone is
changed. Any other fault is given to the importer from memory, in a process forked from
one that has everything loaded but heartline itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import importlib.util
import os
import pickle
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import BinaryIO

import pytest

from . import tests
from .plant import Fault, planted
from .reach import Function, Reach, Recorder, functions
from .tests import Chosen, Watch

CORE = Path("src/heartline/core")


@dataclass(frozen=True, slots=True)
class Judgement:
    """Who noticed, None if nobody did; of how many tests that can."""

    noticed_by: str | None
    of: int


def prepare(tree: Path) -> None:
    """Load what every judgement needs and no fault can touch."""
    os.environ.pop("HEARTLINE_EXPLORE", None)
    # What is compiled would do the work of the Python that a fault is planted in.
    os.environ["HEARTLINE_PURE"] = "1"
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(tree / ".hypothesis")
    os.chdir(tree)
    for place in ("tests", "src", ""):
        sys.path.insert(0, str(tree / place))
    import hypothesis.strategies

    import heartline
    import heartline.testing.simulation

    assert heartline.__file__ is not None
    assert Path(heartline.__file__).is_relative_to(tree), heartline.__file__
    assert hypothesis
    for name in [*sys.modules]:
        if name.partition(".")[0] == "heartline":
            del sys.modules[name]


def measure(tree: Path, *, thorough: bool) -> Reach:
    """Run all tests on the core as it is; `SystemExit` if one fails."""

    def run() -> Reach | str:
        recorder = Recorder()
        recorder.start()
        code = tests.run(tests.paths(tree, thorough=thorough), recorder, Chosen())
        return recorder.failed or (f"pytest said {code}" if code else recorder.reach())

    said = _in_child(run)
    found = pickle.loads(said) if said else "the process died"
    if not isinstance(found, Reach):
        raise SystemExit(f"without any fault: {found}")
    return found


class Judge:
    """Judges one fault after the other in a prepared tree."""

    def __init__(self, tree: Path, reach: Reach, *, thorough: bool) -> None:
        self._tree = tree
        self._reach = reach
        self._paths = tests.paths(tree, thorough=thorough)
        self._ask, self._answer = self._collected()

    def judge(self, fault: Fault) -> Judgement:
        path = self._tree / CORE / fault.file
        source = planted(path, fault)
        function = _function(path, fault)
        can = self._reach.of(function)
        if function is not None and function not in self._reach.by_all:
            if not can:
                return Judgement(None, 0)
            # A default is bound by the import, and not in the code of the function.
            default = fault.before.startswith("def ")
            if not default and _code(source, path, function) is not None:
                pickle.dump((function, source, can), self._ask)
                self._ask.flush()
                return Judgement(_named(pickle.load(self._answer)), len(can))
        said = _in_child(lambda: self._anew(path, source, can))
        return Judgement(_named(said), len(can))

    def _anew(self, path: Path, source: str, can: list[str]) -> str:
        """Import everything with the fault in it."""
        module = f"heartline.core.{path.stem}"
        sys.meta_path.insert(0, _Faulty(module, source, path))
        wanted = {test.partition("::")[0] for test in can}
        where = [p for p in self._paths if os.path.relpath(p, self._tree) in wanted]
        watch = Watch(self._reach)
        try:
            code = tests.run(where, Chosen(can), watch)
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        return watch.failed or (f"pytest said {code}" if code else "nobody")

    def _collected(self) -> tuple[BinaryIO, BinaryIO]:
        """Start a process that has all tests collected; how to ask it."""
        asked, ask = os.pipe()
        answered, answer = os.pipe()
        if os.fork() == 0:
            os.close(ask)
            os.close(answered)
            with contextlib.suppress(BaseException):
                tests.be_quiet()
                with os.fdopen(asked, "rb") as reader, os.fdopen(answer, "wb") as pipe:
                    server = _Server(self._tree, self._reach, reader, pipe)
                    tests.run(self._paths, Chosen(), server)
            os._exit(0)
        os.close(asked)
        os.close(answer)
        return os.fdopen(ask, "wb"), os.fdopen(answered, "rb")


class _Server:
    """A plugin: instead of the collected tests, runs those that it is asked for."""

    def __init__(
        self, tree: Path, reach: Reach, asked: BinaryIO, answer: BinaryIO
    ) -> None:
        self._tree = tree
        self._reach = reach
        self._asked = asked
        self._answer = answer
        self._items: dict[str, pytest.Item] = {}
        self._functions: dict[Function, list[FunctionType]] = defaultdict(list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        for known in gc.get_objects():
            if isinstance(known, FunctionType):
                path = Path(known.__code__.co_filename)
                if path.parent == self._tree / CORE:
                    name = known.__code__.co_qualname
                    self._functions[path.name, name].append(known)
        while True:
            try:
                asked = pickle.load(self._asked)
            except EOFError:
                return True
            said = _in_child(partial(self._try, *asked))
            pickle.dump(said, self._answer)
            self._answer.flush()

    def _try(self, function: Function, source: str, can: list[str]) -> str:
        code = _code(source, self._tree / CORE / function[0], function)
        assert code is not None
        assert self._functions[function], function
        for changed in self._functions[function]:
            changed.__code__ = code
        watch = Watch(self._reach)
        items = [self._items[name] for name in can]
        items[0].config.pluginmanager.register(watch)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if watch.failed:
                return watch.failed
        return "nobody"


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


# --- where a fault lies ---------------------------------------------------------------


def _function(path: Path, fault: Fault) -> Function | None:
    """The function around a fault; None outside of any."""
    whole = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    for code in functions(whole):
        if f"{fault.where}.".startswith(f"{code.co_qualname}."):
            return path.name, code.co_qualname
    return None


def _code(source: str, path: Path, function: Function) -> CodeType | None:
    """The code of a function in a source, None if there is not just one."""
    whole = compile(source, str(path), "exec")
    found = [code for code in functions(whole) if code.co_qualname == function[1]]
    return found[0] if len(found) == 1 else None


# --- processes ------------------------------------------------------------------------


def _in_child(act: Callable[[], object]) -> bytes:
    """What it returns, pickled, from a process of its own; nothing if that died."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with contextlib.suppress(BaseException):
            tests.be_quiet()
            said = pickle.dumps(act())
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(said)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def _named(answer: bytes) -> str | None:
    """Who noticed; a process that died of the fault noticed it as well."""
    said = pickle.loads(answer) if answer else "endless"
    return None if said == "nobody" else str(said)
