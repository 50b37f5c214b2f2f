"""What links of one process tell each other: the budget of dials, and shared doubts.

Times are multiples of 1/1024 s and so exact. Each property is a function of the class
under test; the last tests plant faults it must find.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.core import neighbours
from heartline.core.events import Start, Stop
from heartline.core.items import Phase
from heartline.core.neighbours import MOST_REMEMBERED, DialBudget, Neighbours
from heartline.core.session import Session
from heartline.core.terms import Dialling, Terms
from heartline.errors import UsageError

TICK = 1 / 1024

# Waits between calls, from none at all to a quiet time that fills the bucket.
pauses = st.one_of(st.just(0), st.integers(0, 2048), st.integers(0, 40_960))
budgets = st.builds(
    DialBudget,
    every=st.integers(1, 4096).map(lambda ticks: ticks * TICK),
    burst=st.integers(1, 12),
)


# --- the budget of dials ----------------------------------------------------------


def check_budget(budget: DialBudget, waits: list[int], hosts: list[str]) -> None:
    """In no window are there more dials to one host than burst + length / every."""
    shared = Neighbours(budget=budget)
    now = 1000.0
    dials: dict[str, list[float]] = {}
    for nth, wait in enumerate(waits):
        now += wait * TICK
        host = hosts[nth % len(hosts)]
        delay = shared.reserve(host, now=now)
        assert delay >= 0.0
        dials.setdefault(host, []).append(now + delay)
    for at in dials.values():
        assert at == sorted(at), "a later session was let in before an earlier one"
        for first in range(len(at)):
            for last in range(first, len(at)):
                allowed = budget.burst + (at[last] - at[first]) / budget.every
                assert last - first + 1 <= allowed


def check_slots(budget: DialBudget, sessions: int) -> None:
    """Sessions that come at once: a burst, then one slot each, nobody delayed more."""
    shared = Neighbours(budget=budget)
    at = [shared.reserve("a:443", now=50.0) for _ in range(sessions)]
    assert at[: budget.burst] == [0.0] * min(sessions, budget.burst)
    late = at[budget.burst - 1 :]
    assert all(after - before == budget.every for before, after in pairwise(late))


def check_independence(budget: DialBudget, sessions: int) -> None:
    shared = Neighbours(budget=budget)
    for _ in range(sessions):
        shared.reserve("busy.example:443", now=7.0)
    assert shared.reserve("other.example:443", now=7.0) == 0.0


def test_a_caller_with_a_budget_of_its_own_is_held_to_that() -> None:
    shared, quick = Neighbours(), Dialling(per_second=50.0).budget
    assert quick == DialBudget(every=0.02, burst=500)
    waits = [shared.reserve("a:443", budget=quick, now=5.0) for _ in range(600)]
    assert waits[:500] == [0.0] * 500
    assert waits[-1] == pytest.approx(2.0)
    rare = Dialling(per_second=0.05).budget
    assert rare == DialBudget(every=20.0, burst=1)


@pytest.mark.parametrize("often", [0.0, -1.0, float("inf"), float("nan")])
def test_a_budget_that_cannot_be_is_named(often: float) -> None:
    with pytest.raises(UsageError, match=r"Dialling\.per_second"):
        Dialling(per_second=often)


def check_memory(hosts: int) -> None:
    """However many hosts are dialled, not more than `MOST_REMEMBERED` are known."""
    shared = Neighbours()
    for nth in range(hosts):
        shared.reserve(f"host{nth}:443", now=float(nth))
        assert len(shared._free_at) <= MOST_REMEMBERED
    # Those whose bucket is not full again are the last to be forgotten.
    latest = f"host{hosts - 1}:443"
    waits = [shared.reserve(latest, now=float(hosts - 1)) for _ in range(10)]
    assert waits == [0.0] * 9 + [1.0]


@settings(max_examples=60)
@given(
    budget=budgets,
    waits=st.lists(pauses, min_size=1, max_size=40),
    hosts=st.sampled_from([["a:443"], ["a:443", "b:443"]]),
)
def test_no_window_has_more_dials_than_the_budget(
    budget: DialBudget, waits: list[int], hosts: list[str]
) -> None:
    check_budget(budget, waits, hosts)


@given(budget=budgets, sessions=st.integers(1, 40))
def test_sessions_that_wait_get_a_slot_each(budget: DialBudget, sessions: int) -> None:
    check_slots(budget, sessions)


@given(budget=budgets, sessions=st.integers(1, 40))
def test_hosts_have_budgets_of_their_own(budget: DialBudget, sessions: int) -> None:
    check_independence(budget, sessions)


@given(budget=budgets, sessions=st.integers(1, 40), early=st.integers(0, 4096))
def test_a_quiet_time_fills_the_bucket_and_not_beyond(
    budget: DialBudget, sessions: int, early: int
) -> None:
    shared = Neighbours(budget=budget)
    waits = [shared.reserve("a:443", now=0.0) for _ in range(sessions)]
    quiet = max(waits) + budget.every * budget.burst + early * TICK
    again = [shared.reserve("a:443", now=quiet) for _ in range(budget.burst + 1)]
    assert again == [0.0] * budget.burst + [budget.every]


def test_the_default_is_ten_at_once_and_then_one_a_second() -> None:
    shared = Neighbours()
    waits = [shared.reserve("a:443", now=0.0) for _ in range(14)]
    assert waits == [0.0] * 10 + [1.0, 2.0, 3.0, 4.0]


def test_the_memory_of_hosts_is_bounded() -> None:
    check_memory(MOST_REMEMBERED + 200)


def test_hosts_with_a_full_bucket_are_forgotten_first() -> None:
    shared = Neighbours()
    for nth in range(MOST_REMEMBERED):
        shared.reserve(f"host{nth}:443", now=0.0)
    for _ in range(20):
        shared.reserve("host0:443", now=0.0)
    # One dial is made good after a second; host0 is 20 in debt until 11.
    shared.reserve("new:443", now=5.0)
    assert set(shared._free_at) == {"host0:443", "new:443"}
    assert shared.reserve("host0:443", now=5.0) == 7.0


@given(
    budget=budgets,
    asked=st.lists(st.tuples(pauses, st.booleans()), min_size=1, max_size=60),
)
def test_dials_given_back_are_made_by_others_and_no_window_holds_more(
    budget: DialBudget, asked: list[tuple[int, bool]]
) -> None:
    shared, now = Neighbours(budget=budget), 1000.0
    made: list[float] = []
    for pause, leaves in asked:
        now += pause * TICK
        dials_at = now + shared.reserve("a", now=now)
        if leaves and dials_at > now:
            shared.give_back("a", dials_at)
        else:
            made.append(dials_at)
    made.sort()
    for first in range(len(made)):
        for last in range(first, len(made)):
            room = budget.burst + (made[last] - made[first]) / budget.every
            assert last - first + 1 <= room + 1e-6


def test_streams_that_end_before_they_dial_put_nobody_off() -> None:
    shared = Neighbours()
    for who in range(100):
        session = Session(Terms(host="a"), draw=lambda: 0.5, neighbours=shared, who=who)
        session.handle(Start(), now=10.0)
        session.handle(Stop(), now=10.0)
        assert session.phase is Phase.CLOSED
    # Ten were let go at once; the eleventh dial was never made.
    assert shared.reserve("a", now=10.0) == 1.0
    assert shared.reserve("a", now=10.0) == 2.0


def test_what_was_given_back_and_is_past_is_nobodys() -> None:
    shared = Neighbours(budget=DialBudget(every=2.0, burst=1))
    assert [shared.reserve("a", now=0.0) for _ in range(3)] == [0.0, 2.0, 4.0]
    shared.give_back("a", 2.0)
    shared.give_back("a", 4.0)
    assert shared.reserve("a", now=3.0) == 1.0
    assert shared.reserve("a", now=3.0) == 3.0
    shared.give_back("b", 4.0)
    assert shared.reserve("b", now=3.0) == 0.0


# --- doubts that are shared -------------------------------------------------------

SAME, TOGETHER, MINUTE = 0.1, 2.0, 60.0

ticks = st.integers(0, 4096).map(lambda n: 100.0 + n * TICK)
places = st.sampled_from(["a:443", "a:80", "b:443", "c:443", "::1:443", "nohost"])
doubts = st.lists(st.tuples(st.integers(1, 6), places, ticks), max_size=8)


def name_of(place: str) -> str:
    return place.rpartition(":")[0] or place


def check_shared(told: list[tuple[int, str, float]], now: float) -> None:
    """Against a plain reading: another host, within 2 s, and not just a lost packet."""
    shared, standing = Neighbours(), dict[int, tuple[str, float]]()
    for who, place, at in told:
        shared.doubt(who, place, now=at)
        standing[who] = (name_of(place), at)
    for who, (host, at) in standing.items():
        expected = any(
            other != host
            and abs(since - at) <= TOGETHER
            and (abs(since - at) <= SAME or now - since > SAME)
            for other, since in standing.values()
        )
        assert shared.shared(who, now=now) is expected
    assert not shared.shared(99, now=now)


@given(told=doubts, wait=st.integers(0, 4096))
def test_doubts_of_other_hosts_at_one_time_are_shared(
    told: list[tuple[int, str, float]], wait: int
) -> None:
    check_shared(told, 104.0 + wait * TICK)


def test_one_instant_is_enough() -> None:
    shared = Neighbours()
    shared.doubt(1, "a:443", now=10.0)
    shared.doubt(2, "b:443", now=10.09)
    assert shared.shared(1, now=10.09)
    assert shared.shared(2, now=10.09)


def test_a_doubt_up_to_two_seconds_apart_counts_when_it_does_not_heal() -> None:
    shared = Neighbours()
    shared.doubt(1, "a:443", now=10.0)
    shared.doubt(2, "b:443", now=11.5)
    assert not shared.shared(1, now=11.55), "it may be a lost packet still"
    assert shared.shared(1, now=11.75)
    shared.doubt(2, "b:443", now=12.5)
    assert not shared.shared(1, now=13.0), "too far apart to be one event"


def test_ports_of_one_host_say_nothing_of_our_own_path() -> None:
    shared = Neighbours()
    for who, port in enumerate((80, 443, 8443)):
        shared.doubt(who, f"a.example:{port}", now=10.0)
    assert not any(shared.shared(who, now=10.5) for who in range(3))
    shared.doubt(9, "b.example:443", now=10.0)
    assert all(shared.shared(who, now=10.5) for who in (0, 1, 2, 9))


def check_clearing() -> None:
    shared = Neighbours()
    shared.doubt(1, "a:443", now=10.0)
    shared.doubt(2, "b:443", now=10.0)
    assert shared.shared(1, now=10.5)
    shared.clear(2)
    assert not shared.shared(1, now=10.5)
    assert not shared.shared(2, now=10.5)
    shared.clear(2)  # twice is no trouble
    shared.watch(2, "b:443", doubted_at=10.0)
    assert shared.shared(1, now=10.5)
    shared.watch(2, "b:443", doubted_at=None)
    assert not shared.shared(1, now=10.5)


def test_who_has_heard_something_is_in_no_doubt() -> None:
    check_clearing()


def check_forgetting() -> None:
    shared = Neighbours()
    for who in range(500):
        shared.doubt(who, f"h{who}:443", now=10.0)
    shared.doubt(1000, "a:443", now=69.0)
    assert shared.shared(1, now=10.0 + MINUTE)
    assert not shared.shared(1000, now=10.1 + MINUTE)
    assert set(shared._doubts) == {1000}
    assert not shared.shared(1, now=10.1 + MINUTE)


def test_doubts_are_forgotten_after_a_minute() -> None:
    check_forgetting()


# --- the properties can fail ------------------------------------------------------


def _never_waits(self: Neighbours, host: str, *, now: float) -> float:
    return 0.0


def _one_slot_for_all(self: Neighbours, host: str, *, now: float) -> float:
    taken = self._free_at.get(host, 0.0)
    self._free_at[host] = taken + 1
    return 0.0 if taken < self.budget.burst else self.budget.every


def _one_budget(self: Neighbours, host: str, *, now: float) -> float:
    return _reserve(self, "everybody", now=now)


def _forgets_nobody(self: Neighbours, now: float) -> None:
    return None


def _with_ports(self: Neighbours, who: int, host: str, *, now: float) -> None:
    self._doubts[who] = (host, now)


def _keeps_doubting(self: Neighbours, who: int) -> None:
    return None


_reserve = Neighbours.reserve
BUDGET = DialBudget(every=1.0, burst=3)
TOLD = [(1, "a:443", 100.0), (2, "a:80", 100.0), (3, "c:443", 103.0)]

PLANTED: tuple[tuple[str, Callable[..., object], Callable[[], None]], ...] = (
    ("reserve", _never_waits, lambda: check_budget(BUDGET, [0] * 8, ["a:443"])),
    ("reserve", _one_slot_for_all, lambda: check_budget(BUDGET, [0] * 8, ["a:443"])),
    ("reserve", _one_slot_for_all, lambda: check_slots(BUDGET, 8)),
    ("reserve", _one_budget, lambda: check_independence(BUDGET, 8)),
    ("_forget", _forgets_nobody, lambda: check_memory(MOST_REMEMBERED + 5)),
    ("doubt", _with_ports, lambda: check_shared(TOLD, 104.0)),
    ("clear", _keeps_doubting, check_clearing),
)


@pytest.mark.parametrize(("name", "fault", "check"), PLANTED)
def test_a_planted_fault_is_found(
    name: str,
    fault: Callable[..., object],
    check: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check()
    monkeypatch.setattr(Neighbours, name, fault)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize(
    ("name", "value", "now"),
    [
        ("SAME_INSTANT", 5.0, 101.05),
        ("TOGETHER", 0.0, 104.05),
        ("TOGETHER", 9.0, 104.05),
    ],
)
def test_a_planted_span_is_found(
    name: str, value: float, now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [(1, "a:443", 100.0), (2, "b:443", 101.0), (3, "c:443", 104.0)]
    check_shared(told, now)
    monkeypatch.setattr(neighbours, name, value)
    with pytest.raises(AssertionError):
        check_shared(told, now)


def test_dials_given_back_are_forgotten_with_their_host() -> None:
    shared = Neighbours()
    for nth in range(3 * MOST_REMEMBERED):
        host = f"{nth}.example"
        shared.reserve(host, now=100.0 * nth)
        shared.give_back(host, 100.0 * nth)
    assert len(shared._returned) <= MOST_REMEMBERED
