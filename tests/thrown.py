"""Properties over plain dice: each is tried with the first so many seeds, and again
with a fault planted in what it watches."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

FOUND = (AssertionError, KeyError, TypeError, OverflowError)
Property = Callable[[random.Random], None]
Planted = tuple[Property, Any, str, Any]
"""A property, and the attribute of an owner that a fault takes the place of."""


def tried(check: Property, *, tries: int) -> None:
    for seed in range(tries):
        check(random.Random(seed))


def properties(each: Sequence[Property], *, tries: int) -> Callable[..., None]:
    """A test that each of them holds."""

    @pytest.mark.parametrize("check", each, ids=lambda check: check.__name__)
    def test(check: Property) -> None:
        tried(check, tries=tries)

    return test


def planted(each: Sequence[Planted], *, tries: int) -> Callable[..., None]:
    """A test that each fault is found by its property."""

    @pytest.mark.parametrize(
        ("check", "owner", "name", "fault"),
        each,
        ids=[str(n) for n in range(len(each))],
    )
    def test(
        check: Property,
        owner: Any,
        name: str,
        fault: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(owner, name, fault)
        with pytest.raises(FOUND):
            tried(check, tries=tries)

    return test
