"""Every example in a public docstring is compiled and run.

An example is an indented block of a docstring, or lines after `>>>`. It may use
`await`, the package `heartline` and the public names of `heartline.testing`.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import textwrap
from collections.abc import Iterator
from types import CodeType
from typing import Any, Self

import pytest

import heartline
import heartline.testing

PUBLIC = (heartline, heartline.events, heartline.testing)
SECONDS = 20.0
"""Far more than any example may take."""

NEEDED = {"heartline.connect", "testing.FaultyServer", "testing.FaultProxy"}
"""Who reads of these wants to see how they are used."""


def examples_in(docstring: str) -> list[str]:
    """The indented blocks, or the code of doctests where there are such."""
    dialogue = doctest.DocTestParser().get_examples(docstring)
    if dialogue:
        return ["".join(example.source for example in dialogue)]
    blocks: list[list[str]] = [[]]
    for line in inspect.cleandoc(docstring).splitlines():
        if line.startswith("    ") or (blocks[-1] and not line.strip()):
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [textwrap.dedent("\n".join(block)).strip() for block in blocks if block]


def docstrings_of(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A public value's docstring, and those of its public methods and properties."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return
    if value.__doc__:
        yield name, value.__doc__
    if inspect.isclass(value):
        for member_name, member in vars(value).items():
            if member_name.startswith("_") and member_name != "__init__":
                continue
            if doc := getattr(member, "__doc__", None):
                described = inspect.isroutine(member) or isinstance(member, property)
                if described or isinstance(member, classmethod | staticmethod):
                    yield f"{name}.{member_name}", doc


def examples_of(modules: tuple[Any, ...]) -> list[tuple[str, str]]:
    return [
        (where, example)
        for module in modules
        for name in module.__all__
        for where, doc in docstrings_of(
            f"{module.__name__.rpartition('.')[2]}.{name}", getattr(module, name)
        )
        for example in examples_in(doc)
    ]


def compiled(example: str, where: str) -> CodeType:
    return compile(example, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def run_example(example: str, where: str) -> dict[str, Any]:
    names: dict[str, Any] = {"heartline": heartline}
    names |= {n: getattr(heartline.testing, n) for n in heartline.testing.__all__}
    code = compiled(example, where)

    async def main() -> None:
        async with asyncio.timeout(SECONDS):
            running = eval(code, names)
            if inspect.isawaitable(running):
                await running

    asyncio.run(main())
    return names


EXAMPLES = examples_of(PUBLIC)


def test_what_needs_an_example_has_one() -> None:
    assert {where for where, _ in EXAMPLES} >= NEEDED


@pytest.mark.parametrize(
    ("where", "example"), EXAMPLES, ids=[where for where, _ in EXAMPLES]
)
def test_the_example_runs(where: str, example: str) -> None:
    run_example(example, where)


# --- the rules can fail -----------------------------------------------------------


class Shown:
    """Stands for a public class.

        async with Shown() as shown:
            seen = shown.value()

    Prose again, and a table:

    | a   | b   |
    |-----|-----|
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def value(self) -> int:
        """Answer.

        It is used so::

            answer = 6 * 7

            assert answer == 42
        """
        return 42

    @property
    def told(self) -> int:
        """
        >>> told = 1
        >>> told += 1
        """
        return 2

    def _hidden(self) -> None:
        """No example of ours:

        nonsense nobody reads
        """


class Surface:
    """Stands for a module."""

    __name__ = "surface"
    __all__ = ("Shown", "number")
    Shown = Shown
    number = 5


def test_examples_are_found_wherever_they_stand() -> None:
    assert examples_of((Surface(),)) == [
        ("surface.Shown", "async with Shown() as shown:\n    seen = shown.value()"),
        ("surface.Shown.value", "answer = 6 * 7\n\nassert answer == 42"),
        ("surface.Shown.told", "told = 1\ntold += 1\n"),
    ]


def test_without_examples_there_is_something_missing() -> None:
    class Empty:
        __name__ = "empty"
        __all__ = ("silent",)

        @staticmethod
        def silent() -> None:
            """Say nothing."""

    assert examples_of((Empty(),)) == []


def test_an_example_leaves_what_it_made() -> None:
    names = run_example("import asyncio\nawait asyncio.sleep(0)\nmade = 1", "here")
    assert names["made"] == 1


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("...connect to server.url...", SyntaxError),
        ("async with FaultyServer() as server:\n    server.nothing()", AttributeError),
        ("heartline.connect('http://x')", heartline.UsageError),
        ("await asyncio.sleep(0)", NameError),
        ("for", SyntaxError),
    ],
)
def test_a_planted_example_that_does_not_work_is_found(
    broken: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run_example(broken, "planted")


def test_an_example_that_never_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SECONDS", 0.05)
    with pytest.raises(TimeoutError), contextlib.suppress(asyncio.CancelledError):
        run_example("import asyncio\nawait asyncio.Event().wait()", "planted")
