"""The faults that `make mutate` plants: one each, all kinds, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mutate.plant import Fault, faults, planted

SOURCE = '''
"""Words are left alone: 1 < 2."""
from math import inf

LEAST = 0.5
__slots__ = ("a",)


class Clock:
    due: float = 2.0

    def __init__(self, now: float) -> None:
        self.now = now

    def tick(self, fact: Fact, *, now: float, late: bool = False) -> list[str]:
        """Numbers in here, 7, too."""
        assert now > 3
        if now >= self.due and not late:
            self.due = max(self.due, now + LEAST)
            return [f"{fact.epoch + 1} ticks", str(fact.epoch)]
        self.told(self.now * 2)
        return []
'''

EXPECTED = {
    "LEAST = 0.5 => LEAST = 1.0",
    "due: float = 2.0 => due: float = 4.0",
    "if now >= self.due and (not late): => if now > self.due and (not late):",
    "if now >= self.due and (not late): => if now >= self.due or not late:",
    "if now >= self.due and (not late): => if now >= self.due and late:",
    "if now >= self.due and (not late): => if not (now >= self.due and (not late)):",
    "self.due = max(self.due, now + LEAST) => self.due = min(self.due, now + LEAST)",
    "self.due = max(self.due, now + LEAST) => self.due = max(self.due, now - LEAST)",
    "self.due = max(self.due, now + LEAST) => (removed)",
    "return [f'{fact.epoch + 1} ticks', str(fact.epoch)] => return []",
    "return [f'{fact.epoch + 1} ticks', str(fact.epoch)] =>"
    " return [f'{fact.epoch + 1} ticks', str(fact.epoch - 1)]",
    "self.told(self.now * 2) => self.told(self.now / 2)",
    "self.told(self.now * 2) => self.told(self.now * 3)",
    "self.told(self.now * 2) => (removed)",
    "def tick(self, fact: Fact, *, now: float, late: bool=False) -> list[str]: =>"
    " def tick(self, fact: Fact, *, now: float, late: bool=True) -> list[str]:",
}


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "clock.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_every_kind_of_fault_is_found_and_words_are_left_alone(module: Path) -> None:
    found = faults(module)
    assert {f"{fault.before} => {fault.after}" for fault in found} == EXPECTED
    assert len(found) == len(EXPECTED)
    assert {fault.where for fault in found} == {"module", "Clock", "Clock.tick"}


def test_a_planted_fault_is_the_only_change(module: Path) -> None:
    usual = ast.unparse(ast.parse(SOURCE)).splitlines()
    for fault in faults(module):
        source = planted(module, fault)
        compile(source, "clock.py", "exec")
        changed = [
            (before, after)
            for before, after in zip(usual, source.splitlines(), strict=True)
            if before != after
        ]
        [(before, after)] = changed
        assert before.strip() == fault.before
        assert after.strip() == ("pass" if fault.after == "(removed)" else fault.after)


def test_a_fault_is_named_by_its_place_and_its_words(module: Path) -> None:
    names = [fault.key for fault in faults(module)]
    assert len(set(names)) == len(names)
    assert names[0] == "clock.py module: LEAST = 0.5 => LEAST = 1.0"
    assert isinstance(faults(module)[0], Fault)


def test_two_faults_of_the_same_words_are_told_apart(tmp_path: Path) -> None:
    """What is judged an equivalent in one place hides no fault in another."""
    path = tmp_path / "clock.py"
    same = "def tick(due, now):\n    {0}\n    {0}\n".format("wait(due < now)")
    path.write_text(same, encoding="utf-8")
    one, again = [f for f in faults(path) if "<=" in f.after]
    assert one.key == "clock.py tick: wait(due < now) => wait(due <= now)"
    assert again.key == f"{one.key} (2)"
    assert planted(path, one) != planted(path, again)
