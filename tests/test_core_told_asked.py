"""What a venue says of requests, call by call: what it moves, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from heartline.core.channel_events import (
    AckIgnored,
    Subscribe,
    SubscriptionFailed,
    Unsubscribe,
)
from heartline.core.subscribing import Standing, Subscribing
from heartline.core.subscriptions import Subscriptions

POLICY = Subscribing(channels=2, in_flight=3, tries=2, retry_after=1.0)
WANTED, PENDING, CONFIRMED = Standing.WANTED, Standing.PENDING, Standing.CONFIRMED
Answer = tuple[int | None, list[object] | None]


def asked(policy: Subscribing = POLICY) -> Subscriptions:
    """`a` and `b` are asked for by request 1, `c` by request 2."""
    machine = Subscriptions(policy)
    machine.open(4, now=0.0)
    machine.want(["a", "b", "c"], now=0.0)
    return machine


def standings(machine: Subscriptions) -> list[Standing | None]:
    return [machine.standing(name) for name in "abc"]


REFUSED: dict[str, tuple[Answer, str]] = {
    "by number": ((1, None), "ab"),
    "by number and name": ((1, ["b"]), "b"),
    "by name": ((None, ["c", "a"]), "ac"),
    "by its turn": ((None, None), "ab"),
    "a name of another request": ((1, ["c"]), ""),
    "not a name": ((None, [7, None, "a"]), "a"),
    "an unknown number": ((9, None), ""),
    "an unknown number and a name": ((9, ["a"]), ""),
    "a name nobody asked for": ((None, ["z"]), ""),
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_refusal_moves_what_it_means_and_nothing_else(how: str) -> None:
    machine = asked()
    (number, names), moved = REFUSED[how]
    out = machine.refused(4, number, names, reason="busy", now=0.5)
    expected = [WANTED if name in moved else PENDING for name in "abc"]
    assert standings(machine) == expected
    ignored = how.startswith("an unknown number")
    assert [type(each) for each in out] == [AckIgnored] * ignored
    assert machine.ignored.stray == ignored
    if moved:
        # Asked for again after the pause, and given up after the second refusal.
        assert machine.deadline == 1.5
        [again] = machine.tick(now=1.5)
        assert isinstance(again, Subscribe)
        assert sorted(again.channels) == sorted(moved)
        told = machine.refused(4, again.request, None, reason="no", now=1.6)
        failed = [each for each in told if isinstance(each, SubscriptionFailed)]
        assert sorted(each.channel for each in failed) == sorted(moved)
        assert {(f.at, f.epoch, f.reason, f.attempts) for f in failed} == {
            (1.6, 4, "no", 2)
        }


@pytest.mark.parametrize("answer", ["acked", "refused"])
def test_an_answer_to_nothing_is_told_once_a_link_and_counted_each_time(
    answer: str,
) -> None:
    machine = asked()
    say: Any = machine.acked
    if answer == "refused":
        say = lambda *args, **named: machine.refused(*args, reason="x", **named)  # noqa: E731
    [told] = say(4, 9, None, now=0.5)
    expected = AckIgnored(at=0.5, epoch=4, reason="it answers no open request")
    assert told == expected
    assert say(4, 9, ["a"], now=0.6) == []
    assert machine.ignored.stray == 2
    assert say(3, 1, None, now=0.7) == []
    assert say(5, 1, None, now=0.7) == []
    assert (machine.ignored.stale, machine.ignored.stray) == (2, 2)
    assert standings(machine) == [PENDING] * 3
    machine.close()
    assert say(4, 1, None, now=0.8) == []
    assert machine.ignored.stale == 3
    machine.open(5, now=1.0)
    assert [type(each) for each in say(5, 99, None, now=1.1)] == [AckIgnored]


def test_a_refusal_of_what_already_brings_data_changes_nothing() -> None:
    machine = asked()
    machine.data("a", now=0.1)
    machine.refused(4, 1, None, reason="already", now=0.2)
    assert standings(machine) == [Standing.LIVE, WANTED, PENDING]
    machine.acked(4, 2, None, now=0.3)
    machine.refused(4, None, ["c"], reason="no", now=0.4)
    assert machine.standing("c") is CONFIRMED


def test_an_answered_request_makes_room_for_the_next() -> None:
    for refused in (True, False):
        machine = asked(Subscribing(channels=1, in_flight=1))
        assert standings(machine) == [PENDING, WANTED, WANTED]
        if refused:
            out = machine.refused(4, 1, None, reason="no", final=True, now=0.1)
        else:
            out = machine.acked(4, 1, None, now=0.1)
        assert [o.channels for o in out if isinstance(o, Subscribe)] == [("b",)]
        # Of a name alone as well, once nothing of the request is open.
        out = machine.acked(4, None, ["b"], now=0.2)
        assert [o.channels for o in out if isinstance(o, Subscribe)] == [("c",)]


def left() -> Subscriptions:
    """`a` is wanted again while it is being left, by request 3."""
    machine = asked()
    machine.acked(4, 1, None, now=0.1)
    machine.acked(4, 2, None, now=0.1)
    [leave] = machine.unwant(["a"], now=0.2)
    assert leave == Unsubscribe(4, 3, ("a",))
    assert machine.want(["a"], now=0.3) == []
    assert machine.data("a", now=0.35) == []
    return machine


LEAVING: dict[str, Any] = {
    "left": lambda m: m.acked(4, 3, None, of="unsubscribe", now=0.4),
    "left by name": lambda m: m.acked(4, None, ["a"], of="unsubscribe", now=0.4),
    "it was not there": lambda m: m.refused(4, 3, None, reason="none", now=0.4),
    "it was not there by name": lambda m: m.refused(4, 3, ["a"], reason="", now=0.4),
    "never answered": lambda m: m.tick(now=0.2 + m.policy.ack_within),
}


@pytest.mark.parametrize("how", LEAVING)
def test_what_was_left_or_could_not_be_left_is_asked_for_again(how: str) -> None:
    machine = left()
    out = LEAVING[how](machine)
    assert out == [Subscribe(4, 4, ("a",))]
    assert machine.standing("a") is PENDING
    assert machine.ignored.stray == machine.ignored.unasked == 0


def test_an_answer_of_the_other_kind_means_another_request() -> None:
    machine = left()
    [told] = machine.acked(4, 3, None, of="subscribe", now=0.4)
    assert isinstance(told, AckIgnored)
    assert machine.standing("a") is WANTED
    assert machine.acked(4, None, ["a"], of="subscribe", now=0.5) == []
    assert machine.ignored.unasked == 1
    assert machine.acked(4, None, None, of="unsubscribe", now=0.6) == [
        Subscribe(4, 4, ("a",))
    ]


def test_what_an_acknowledgement_leaves_out_was_refused_if_it_is_complete() -> None:
    for complete in (True, False):
        machine = asked()
        machine.acked(4, 1, ["b"], complete=complete, now=0.5)
        expected = [WANTED if complete else PENDING, CONFIRMED, PENDING]
        assert standings(machine) == expected
        assert machine.deadline == (1.5 if complete else POLICY.ack_within)


def test_where_a_request_replaces_all_one_that_is_dropped_makes_a_new_list() -> None:
    policy = Subscribing(acks=False, unsubscribes=False, replaces=True)
    machine = Subscriptions(policy)
    assert machine.open(4, now=0.0) == []
    assert machine.want(["a", "b"], now=0.0) == [Subscribe(4, 1, ("a", "b"))]
    assert machine.tick(now=5.0) == []
    assert machine.unwant(["b"], now=6.0) == [Subscribe(4, 2, ("a",))]
    assert machine.tick(now=7.0) == []
    [again] = machine.open(5, now=8.0)
    assert again == Subscribe(5, 3, ("a",))
    assert machine.tick(now=9.0) == []


def test_nothing_is_sent_while_there_is_no_link() -> None:
    machine = Subscriptions(POLICY)
    assert machine.want(["a", "b"], now=0.0) == []
    assert machine.unwant(["b"], now=0.0) == []
    assert machine.tick(now=9.0) == []
    assert machine.deadline == float("inf")
    assert not machine.settled
    [only] = machine.open(1, now=10.0)
    assert only == Subscribe(1, 1, ("a",))
    machine.close()
    assert machine.standing("a") is WANTED
    assert machine.tick(now=99.0) == []
    assert machine.deadline == float("inf")


@pytest.mark.parametrize("answer", ["acked", "refused"])
def test_a_request_is_open_until_the_last_of_it_is_answered_wanted_or_not(
    answer: str,
) -> None:
    machine = asked(Subscribing(channels=2, in_flight=1))
    assert machine.unwant(["b"], now=0.1) == []
    if answer == "acked":
        assert machine.acked(4, 1, ["a"], now=0.2) == []
    else:
        assert machine.refused(4, 1, ["a"], reason="no", final=True, now=0.2) != []
        assert machine.standing("a") is Standing.FAILED
    # Its answer for `b` is still to come: no other request may be on its way.
    assert machine.want(["d"], now=0.3) == []
    [left] = machine.acked(4, 1, ["b"], now=0.4)
    assert left == Unsubscribe(4, 2, ("b",))


def test_what_is_still_to_be_left_was_not_left_whatever_an_answer_lists() -> None:
    machine = asked(Subscribing(channels=2, in_flight=1))
    machine.acked(4, 1, None, now=0.1)
    assert machine.standing("c") is PENDING
    assert machine.unwant(["a"], now=0.2) == []
    machine.want(["a"], now=0.2)
    for name in ("a", "b", "z"):
        before = machine.ignored.unasked
        machine.acked(4, None, [name], of="unsubscribe", now=0.3)
        # `b` is subscribed: of what is there an answer may speak in vain.
        assert machine.ignored.unasked == before + (name != "b")
        assert machine.standing("a") is WANTED
    [leave] = machine.acked(4, 2, None, now=0.4)
    assert leave == Unsubscribe(4, 3, ("a",))
    [again] = machine.acked(4, 3, None, of="unsubscribe", now=0.5)
    assert again == Subscribe(4, 4, ("a",))
