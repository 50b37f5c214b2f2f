"""What streams of several threads tell each other, each in a loop of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from heartline.client.neighbourhood import Neighbourhood
from heartline.core.neighbours import DialBudget

THREADS = 4
NOW = 1000.0


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns a thousand times as often as they do."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def at_once(work: Callable[[int], None]) -> list[Exception]:
    """Do `work` in several threads; what it raised."""
    raised: list[Exception] = []
    start = threading.Barrier(THREADS)

    def working(number: int) -> None:
        start.wait()
        try:
            work(number)
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=working, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.usefixtures("hurried")
def test_links_of_several_threads_may_be_in_doubt_at_once() -> None:
    """An outage of our own is the moment in which all of them ask."""
    neighbours = Neighbourhood()

    def fall_silent(number: int) -> None:
        for turn in range(3000):
            who = number * 1000 + turn % 300
            old = turn % 2 * 100.0
            neighbours.watch(who, f"venue{who}:443", doubted_at=NOW - old)
            neighbours.shared(who, now=NOW)
            if turn % 3 == 0:
                neighbours.clear(who)

    assert at_once(fall_silent) == []


@pytest.mark.usefixtures("hurried")
def test_threads_that_dial_one_host_share_its_budget() -> None:
    neighbours, budget = Neighbourhood(), DialBudget(every=1.0, burst=10)
    waits: list[float] = []

    def dial(number: int) -> None:
        for _ in range(500):
            waits.append(neighbours.reserve("venue:443", budget=budget, now=NOW))

    assert at_once(dial) == []
    every = [max(0.0, n - 9.0) for n in range(THREADS * 500)]
    assert sorted(waits) == every, "no two had the same dial"


@pytest.mark.usefixtures("hurried")
def test_dials_that_are_given_back_are_taken_by_one_thread_each() -> None:
    neighbours, budget = Neighbourhood(), DialBudget(every=1.0, burst=1)

    def come_and_go(number: int) -> None:
        for _ in range(2000):
            wait = neighbours.reserve("venue:443", budget=budget, now=NOW)
            neighbours.give_back("venue:443", NOW + wait)

    assert at_once(come_and_go) == []
    left = sorted(
        neighbours.reserve("venue:443", budget=budget, now=NOW) for _ in range(THREADS)
    )
    assert left == [0.0, 1.0, 2.0, 3.0]
