"""Looks at links at rest: the short way sees what the long one would see."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from heartline.compiled import compiled
from heartline.core.flow import Flow
from heartline.core.rest import SHARED_EVERY, Rest
from heartline.wire.alarms import Alarms
from heartline.wire.heard import Counted, add
from heartline.wire.kernel import KernelEyes
from heartline.wire.resting import PureResting, slept_through

_compiled = compiled("wire._resting")
KINDS = [pytest.param(PureResting, id="pure")]
if _compiled is not None:
    KINDS.append(pytest.param(_compiled.Resting, id="compiled"))

SHORT = 0.01
"""Seconds of waking in one pass."""
FAR = 1e9


@dataclass(eq=False)
class Bell:
    """Stands for the loop's alarms: remembers when it is to ring, and for whom."""

    due: dict[object, float] = field(default_factory=dict[object, float])
    wakes_until: float = FAR

    def set(self, sleeper: object, due_at: float) -> None:
        self.due[sleeper] = due_at

    def cancel(self, sleeper: object) -> None:
        self.due.pop(sleeper, None)


class Sleeper:
    """Takes itself back when it is woken, as it must."""

    def __init__(self, resting: PureResting) -> None:
        self.resting = resting
        self.number = -1
        self.woken = self.asked = 0
        self.fails = False

    def voice(self) -> None:
        """It has to be asked itself."""

    def wake(self) -> None:
        self.woken += 1
        self.resting.take(self.number)
        if self.fails:
            raise ZeroDivisionError

    def ask(self) -> None:
        self.asked += 1
        if self.fails:
            raise ZeroDivisionError


class Line:
    """A connection on loopback whose two ends have exchanged something."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.ours = socket.create_connection(listening.getsockname())
            self.theirs, _ = listening.accept()
        self.held = 0
        self.eyes = KernelEyes(self.ours, lambda: self.held)
        self.ours.sendall(b"ping")
        assert self.theirs.recv(4) == b"ping"
        self.theirs.sendall(b"pong")
        assert self.ours.recv(4) == b"pong"
        self.settle()

    def settle(self) -> None:
        """Until all that is out has been acknowledged."""
        deadline = time.monotonic() + 10.0
        while (seen := self.eyes.read().kernel) and seen.outstanding_bytes:
            assert time.monotonic() < deadline

    def rest(
        self, *, ask_at: float = FAR, patience: float = 60.0, pings: bool = True
    ) -> Rest:
        seen = self.eyes.read().kernel
        if seen is None:
            pytest.skip("this system gives no kernel evidence")
        return Rest(seen, patience=patience, ask_at=ask_at, pings=pings)

    def close(self) -> None:
        self.eyes.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture(params=KINDS)
def resting(request: pytest.FixtureRequest, bell: Bell) -> PureResting:
    kind: Callable[..., PureResting] = request.param
    return kind(cast(Alarms, bell), time.monotonic, slept_through)


def lie_down(
    resting: PureResting,
    line: Line,
    rest: Rest,
    *,
    late_after: float = 30.0,
    late: float = 0.0,
    **flows: Any,
) -> Sleeper:
    """A link whose look is due now, or was a moment ago."""
    sleeper = Sleeper(resting)
    sleeper.number = resting.add(
        sleeper,
        rest,
        line.eyes,
        late_after=late_after,
        due_at=time.monotonic() - late,
        **flows,
    )
    return sleeper


def test_a_link_as_it_was_sleeps_on_until_the_whole_look_would_be_due(
    resting: PureResting, line: Line, bell: Bell
) -> None:
    rest = line.rest()
    sleeper = lie_down(resting, line, rest)
    before = time.monotonic()
    resting.wake()
    after = time.monotonic()
    assert not sleeper.woken
    until, looked_at = resting.take(sleeper.number)
    assert before <= looked_at <= after
    wanted = [rest.until(line.eyes.read(), now=looked_at + d) for d in (0.0, -0.002)]
    # The age is told in whole milliseconds: one may have passed between two looks.
    assert min(abs(until - each) for each in wanted if each is not None) <= 0.051
    assert until <= before + rest.patience


def test_the_alarm_is_set_for_the_first_who_is_due(
    resting: PureResting, line: Line, bell: Bell
) -> None:
    soon = time.monotonic() + 200.0
    first = lie_down(resting, line, line.rest(ask_at=soon, patience=900.0))
    lie_down(resting, line, line.rest(ask_at=soon + 1.0, patience=900.0))
    resting.wake()
    due = bell.due[resting]
    until, _ = resting.take(first.number)
    assert due == until == soon


def heard(line: Line) -> None:
    line.theirs.sendall(b"news")


def heard_and_read(line: Line) -> None:
    line.theirs.sendall(b"news")
    assert line.ours.recv(4) == b"news"


def said(line: Line) -> None:
    line.ours.sendall(b"more")
    line.settle()


def holds(line: Line) -> None:
    line.held = 1


def closed(line: Line) -> None:
    line.eyes.close()


def reset(line: Line) -> None:
    line.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.theirs.close()
    deadline = time.monotonic() + 10.0
    while not line.eyes.was_reset():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("happens", [heard, heard_and_read, said, holds, closed, reset])
def test_whatever_has_happened_wakes_it(
    resting: PureResting, line: Line, happens: Callable[[Line], None]
) -> None:
    sleeper = lie_down(resting, line, line.rest())
    happens(line)
    resting.wake()
    assert sleeper.woken == 1
    assert not len(resting)


def test_silence_past_its_patience_wakes_it(resting: PureResting, line: Line) -> None:
    sleeper = lie_down(resting, line, line.rest(patience=-0.001))
    resting.wake()
    assert sleeper.woken == 1


def test_a_ping_that_is_due_is_asked_for_and_nobody_woken(
    resting: PureResting, line: Line
) -> None:
    sleeper = lie_down(resting, line, line.rest(ask_at=time.monotonic()))
    resting.wake()
    assert (sleeper.asked, sleeper.woken) == (1, 0)
    assert len(resting) == 1


@pytest.mark.parametrize(
    "rest",
    [{"pings": False}, {"patience": -0.001}],
    ids=["not a ping that is due", "a doubt that is due as well"],
)
def test_whatever_else_is_due_wakes_it(
    resting: PureResting, line: Line, rest: dict[str, Any]
) -> None:
    at_once = line.rest(ask_at=time.monotonic(), **rest)
    sleeper = lie_down(resting, line, at_once)
    resting.wake()
    assert (sleeper.asked, sleeper.woken) == (0, 1)


def test_a_ping_is_left_to_the_machine_where_something_has_happened(
    resting: PureResting, line: Line
) -> None:
    sleeper = lie_down(resting, line, line.rest(ask_at=time.monotonic()))
    heard(line)
    resting.wake()
    assert (sleeper.asked, sleeper.woken) == (0, 1)


def test_who_waits_for_an_answer_is_not_looked_at_but_woken_in_time(
    resting: PureResting, line: Line, bell: Bell
) -> None:
    soon = time.monotonic() + 200.0
    sleeper = lie_down(resting, line, line.rest())
    resting.wait(sleeper.number, soon)
    heard(line)
    resting.wake()
    assert not sleeper.woken
    assert bell.due[resting] == soon
    resting.wait(sleeper.number, time.monotonic())
    resting.wake()
    assert sleeper.woken == 1


def test_who_has_its_answer_is_looked_at_again_as_it_is_now(
    resting: PureResting, line: Line
) -> None:
    sleeper = lie_down(resting, line, line.rest())
    resting.wait(sleeper.number, FAR)
    heard_and_read(line)
    resting.renew(sleeper.number, line.rest(patience=30.0), time.monotonic())
    resting.wake()
    assert not sleeper.woken
    heard_and_read(line)
    resting.renew(sleeper.number, line.rest(patience=30.0), time.monotonic())
    heard(line)
    resting.wake()
    assert sleeper.woken == 1


def test_nobody_waits_who_does_not_rest(resting: PureResting, line: Line) -> None:
    sleeper = lie_down(resting, line, line.rest())
    resting.take(sleeper.number)
    with pytest.raises(KeyError):
        resting.wait(sleeper.number, FAR)
    with pytest.raises(KeyError):
        resting.renew(sleeper.number, line.rest(), FAR)


def test_a_look_that_comes_too_late_is_left_to_the_machine(
    resting: PureResting, line: Line
) -> None:
    due_at = time.monotonic() - 0.2
    sleeper = Sleeper(resting)
    sleeper.number = resting.add(
        sleeper, line.rest(), line.eyes, late_after=0.1, due_at=due_at
    )
    taken: list[Any] = []
    sleeper.wake = lambda: taken.append(resting.take(sleeper.number))  # type: ignore[method-assign]
    resting.wake()
    # And it learns how late: the look it was promised is the one that did not come.
    assert [until for until, _ in taken] == [due_at]


def test_who_was_taken_back_is_not_looked_at(
    resting: PureResting, line: Line, bell: Bell
) -> None:
    sleeper = lie_down(resting, line, line.rest())
    heard(line)
    resting.take(sleeper.number)
    assert resting not in bell.due
    resting.wake()
    assert not sleeper.woken
    with pytest.raises(KeyError):
        resting.take(sleeper.number)


def test_a_fault_of_one_forgets_nobody_else(
    resting: PureResting, line: Line, bell: Bell
) -> None:
    rest = line.rest()
    sleepers = [lie_down(resting, line, rest) for _ in range(3)]
    sleepers[0].fails = sleepers[1].fails = True
    heard(line)
    with pytest.raises(ZeroDivisionError):
        resting.wake()
    assert resting in bell.due
    deadline = time.monotonic() + 10.0
    while not all(sleeper.woken for sleeper in sleepers):
        assert time.monotonic() < deadline
        with contextlib.suppress(ZeroDivisionError):
            resting.wake()
    assert [sleeper.woken for sleeper in sleepers] == [1, 1, 1]


@pytest.mark.parametrize("asks", [False, True])
def test_whom_a_pass_has_no_time_for_is_looked_at_in_the_next(
    resting: PureResting, line: Line, bell: Bell, asks: bool
) -> None:
    """A thousand woken in one pass would be a stall of our own."""

    class Slow(Sleeper):
        def _spend(self) -> None:
            until = time.monotonic() + SHORT * 1.1
            while time.monotonic() < until:
                pass

        def wake(self) -> None:
            super().wake()
            self._spend()

        def ask(self) -> None:
            super().ask()
            self.resting.wait(self.number, FAR)
            self._spend()

    due_at = time.monotonic() - 0.01
    crowd = [Slow(resting) for _ in range(3)]
    for who in crowd:
        rest = line.rest(ask_at=due_at) if asks else line.rest(patience=-0.001)
        who.number = resting.add(who, rest, line.eyes, late_after=30.0, due_at=due_at)
    for done in (1, 2, 3):
        bell.due.clear()
        bell.wakes_until = time.monotonic() + SHORT
        resting.wake()
        assert sum(who.asked if asks else who.woken for who in crowd) == done
        if done < 3:
            assert bell.due[resting] <= time.monotonic()


class Costly:
    """What takes its time, and is counted."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.times = seconds, 0

    def __call__(self) -> int:
        self.times += 1
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            pass
        return 0


def test_looks_that_take_long_leave_the_time_to_wake_whom_they_found(
    resting: PureResting, line: Line, bell: Bell
) -> None:
    """Else each of ten thousand looks would be taken again for every one woken."""
    rest = line.rest(patience=-0.001)
    look = Costly(0.04)
    slow = KernelEyes(line.ours, look)
    crowd = [Sleeper(resting) for _ in range(8)]
    due_at = time.monotonic() - 0.01
    for who in crowd:
        who.number = resting.add(who, rest, slow, late_after=30.0, due_at=due_at)
    bell.wakes_until = time.monotonic() + 0.25
    resting.wake()
    slow.close()
    assert look.times == 8
    assert [who.woken for who in crowd] == [1] * 8


def test_who_is_due_again_and_again_keeps_nobody_from_being_woken(
    resting: PureResting, line: Line, bell: Bell
) -> None:
    rest = line.rest(patience=-0.001)
    spend = Costly(SHORT * 1.1)

    class Busy(Sleeper):
        def rest(self) -> None:
            due_at = time.monotonic()
            self.number = self.resting.add(
                self, rest, line.eyes, late_after=30.0, due_at=due_at
            )

        def wake(self) -> None:
            super().wake()
            spend()
            self.rest()

    crowd = [Busy(resting) for _ in range(3)]
    for who in crowd:
        who.rest()
    for _ in range(6):
        bell.wakes_until = time.monotonic() + SHORT
        resting.wake()
    assert [who.woken for who in crowd] == [2, 2, 2]


def test_very_many_rest_and_are_found_again(resting: PureResting, line: Line) -> None:
    rest = line.rest()
    sleepers = [lie_down(resting, line, rest) for _ in range(200)]
    for sleeper in sleepers[::2]:
        resting.take(sleeper.number)
    more = [lie_down(resting, line, rest) for _ in range(150)]
    resting.wake()
    assert len(resting) == 250
    heard(line)
    for each in sleepers[1::2] + more:
        until, _ = resting.take(each.number)
        assert until > time.monotonic()
    assert not len(resting)


def test_a_look_that_fails_wakes_its_own_link_and_stops_nobody_elses(
    resting: PureResting, line: Line, bell: Bell
) -> None:
    def fails() -> int:
        raise ZeroDivisionError

    rest, eyes = line.rest(), KernelEyes(line.ours, fails)
    broken, well = Sleeper(resting), lie_down(resting, line, rest)
    broken.number = resting.add(
        broken, rest, eyes, late_after=30.0, due_at=time.monotonic()
    )
    resting.wake()
    assert (broken.woken, well.woken) == (1, 0)
    assert bell.due[resting] > time.monotonic()
    eyes.close()


# --- data that flows --------------------------------------------------------------


def let_flow(
    resting: PureResting,
    heard: Counted,
    *,
    patience: float = 60.0,
    ask_in: float = 4.0,
    tell_in: float = 5.0,
    late: float = 0.0,
) -> Sleeper:
    """A link that does not rest, whose look is due now, or was a moment ago."""
    sleeper, now = Sleeper(resting), time.monotonic()
    sleeper.number = resting.add(
        sleeper,
        None,
        None,
        late_after=30.0,
        due_at=now - late,
        heard=heard,
        flow=Flow(patience=patience, ask_at=now + ask_in, now=now),
        tell_by=now + tell_in,
    )
    return sleeper


def just_read() -> Counted:
    heard = Counted()
    add(heard, 1, 1, 10, now=time.monotonic())
    return heard


@pytest.mark.parametrize(
    ("patience", "ask_in", "tell_in"),
    [(2.0, 4.0, 5.0), (60.0, 3.0, 5.0), (60.0, 4.0, 2.5)],
    ids=["silence", "question", "telling"],
)
def test_data_read_since_puts_off_what_is_due_and_nobody_is_woken(
    resting: PureResting, patience: float, ask_in: float, tell_in: float
) -> None:
    heard, before = just_read(), time.monotonic()
    sleeper = let_flow(
        resting, heard, patience=patience, ask_in=ask_in, tell_in=tell_in
    )
    after, least = time.monotonic(), min(patience, ask_in, tell_in)
    resting.wake()
    assert not sleeper.woken
    until, _ = resting.take(sleeper.number)
    assert before + least - 0.01 <= heard.until_at <= after + least
    assert heard.until_at - SHARED_EVERY <= until <= heard.until_at


@pytest.mark.parametrize(
    "terms",
    [{"patience": 1e-9}, {"ask_in": -1.0}, {"tell_in": -1.0}, {"late": 31.0}],
    ids=["silence", "question", "telling", "late"],
)
def test_what_data_does_not_put_off_wakes_the_link(
    resting: PureResting, terms: dict[str, float]
) -> None:
    sleeper = let_flow(resting, just_read(), **terms)
    resting.wake()
    assert sleeper.woken == 1


def test_a_link_without_data_since_is_woken_when_it_is_due(
    resting: PureResting,
) -> None:
    sleeper = let_flow(resting, Counted())
    resting.wake()
    assert sleeper.woken == 1


def test_data_read_at_rest_puts_looks_off_though_the_kernel_heard_it(
    resting: PureResting, line: Line
) -> None:
    heard = Counted()
    sleeper = lie_down(resting, line, line.rest(), heard=heard, lull=5.0)
    before = time.monotonic()
    resting.wake()
    assert before < heard.until_at <= time.monotonic() + 5.0
    heard_and_read(line)
    add(heard, 1, 1, 4, now=time.monotonic())
    resting.renew(sleeper.number, line.rest(), time.monotonic())
    heard_and_read(line)
    resting.wake()
    assert not sleeper.woken
    resting.wait(sleeper.number, time.monotonic())
    resting.wake()
    assert sleeper.woken == 1
