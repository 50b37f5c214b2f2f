"""Which tests judge a planted fault: those that enter its function."""

from __future__ import annotations

from mutate.reach import Reach, functions, outermost

SOURCE = """
LEAST = min(1, 2)


def free(now, *, late=False):
    def inner():
        return [each for each in now]
    return inner


class Clock:
    due = 1.0
    always = lambda self: True

    @property
    def next_at(self):
        return max((each for each in ()), default=self.due)

    class Hand:
        def turn(self):
            return lambda: 1
"""
ENTERED = {
    "cheap": frozenset({("clock.py", "free")}),
    "dear": frozenset({("clock.py", "free"), ("clock.py", "Clock.next_at")}),
}
REACH = Reach({"cheap": 0.1, "dear": 2.0}, ENTERED, frozenset({("clock.py", "made")}))


def test_a_function_is_judged_by_the_tests_that_enter_it() -> None:
    assert REACH.of(("clock.py", "free")) == ["cheap", "dear"]
    assert REACH.of(("clock.py", "Clock.next_at")) == ["dear"]
    assert REACH.of(("other.py", "free")) == []


def test_what_is_run_by_the_import_is_judged_by_all_tests() -> None:
    assert REACH.of(None) == ["cheap", "dear"]
    assert REACH.of(("clock.py", "made")) == ["cheap", "dear"]


def test_what_lies_in_a_function_belongs_to_it_and_a_class_is_none() -> None:
    code = compile(SOURCE, "clock.py", "exec")
    assert [each.co_qualname for each in functions(code)] == [
        "free",
        "Clock.<lambda>",
        "Clock.next_at",
        "Clock.Hand.turn",
    ]
    assert outermost("free.<locals>.inner.<locals>.<listcomp>") == "free"
    assert outermost("Clock.Hand.turn") == "Clock.Hand.turn"
