"""Each promise of the core is shown able to fail: a fault is planted, and it does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import pytest

import core_properties as simulated
import core_pure_properties as pure
from core_properties import SIMULATED, Property
from core_pure_properties import PURE
from heartline.core import channel, losses, promises, snapshot
from heartline.core import inbox as inboxes
from heartline.core import session as sessions
from heartline.core.backoff import Backoff
from heartline.core.beats import BeatClock
from heartline.core.channel import ChannelClock
from heartline.core.clocks import Clocks
from heartline.core.detector import PathClock
from heartline.core.events import Tick
from heartline.core.inbox import Buffer
from heartline.core.items import Bounds
from heartline.core.link import Link
from heartline.core.neighbours import Neighbours
from heartline.core.peer import PeerClock
from heartline.core.session import Session

TRIES = 150
"""Random cases of which at least one must betray the planted fault."""


def returns(value: object) -> Callable[..., object]:
    return lambda *_args, **_named: value


def changed(original: Any, change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *args, **named: change(original(*args, **named))


# --- mutations that need more than a changed result ----------------------------------


def send_to_link_whatever_epoch(self: Session, fact: Any, now: float) -> Any:
    return [] if self.link is None else self.link.handle(fact, now=now)


handle = Session.handle


def handle_and_keep_the_deadline(self: Session, fact: Any, *, now: float) -> Any:
    out = handle(self, fact, now=now)
    if isinstance(fact, Tick) and self.deadline < inf:
        self.deadline = now
    return out


on_tick = Link._on_tick


def tick_never_late(self: Link, fact: Any, now: float) -> Any:
    self.deadline = now
    return on_tick(self, type(fact)(fact.epoch, fact.evidence), now)


def overdue_while_bytes_move(self: PeerClock, kernel: Any, *, now: float) -> float:
    assert self.wait is not None
    return max(self.wait.began_at, self._received_at) + self.allowance(now=now)


find = Clocks.find


overdue_at = PeerClock.overdue_at


def overdue_whatever_the_path_did(self: PeerClock, kernel: Any, *, now: float) -> float:
    """The judge with neither an excuse nor anything spared."""
    self.excused_until = self.spared_until = -inf
    return overdue_at(self, kernel, now=now)


def find_path_only_when_peer_is_not_waited_for(self: Clocks, *, now: float) -> Any:
    return self._judge_peer(now) if self.peer.wait else find(self, now=now)


drop_oldest = Buffer._drop_oldest


def drop_and_forget_the_gap(self: Buffer) -> int:
    dropped = drop_oldest(self)
    holes = [run for run in self._runs if isinstance(run, inboxes._Hole)]
    for hole in holes:
        self._runs.remove(hole)
    return dropped


def drop_newest_first(self: Buffer) -> int:
    self._runs.reverse()
    dropped = drop_oldest(self)
    self._runs.reverse()
    return dropped


def gap_before_everything(self: Buffer) -> int:
    dropped = drop_oldest(self)
    holes = [run for run in self._runs if isinstance(run, inboxes._Hole)]
    for hole in holes:
        self._runs.remove(hole)
    for hole in holes:
        self._runs.insert(0, hole)
    return dropped


lose = Buffer._lose


def lose_one_too_many(self: Buffer, messages: Any, size_bytes: int) -> Any:
    self.dropped += 1
    return lose(self, messages, size_bytes)


def take_reversed(self: Buffer, most: int) -> Any:
    return take(self, most)[::-1]


take = Buffer.take


def never_conflate(self: Buffer) -> int:
    return drop_oldest(self)


def low_ceilings(_link: Link) -> Bounds:
    return Bounds(0.5, 0.5)


Planted = tuple[Property, object, str, object]

PLANTED: tuple[Planted, ...] = (
    (simulated.the_path_bound_is_kept, PathClock, "judge", returns(None)),
    (simulated.the_path_bound_is_kept, PathClock, "doubt_at", returns(inf)),
    (
        simulated.the_path_bound_is_kept,
        PathClock,
        "bound",
        changed(PathClock.bound, lambda seconds: seconds / 2),
    ),
    (simulated.the_peer_bound_is_kept, PeerClock, "overdue_at", returns(inf)),
    (simulated.the_peer_bound_is_kept, PeerClock, "is_accused", returns(False)),
    (simulated.the_peer_bound_is_kept, Clocks, "ping_due", returns(inf)),
    (simulated.the_channel_bound_is_kept, Link, "_judge_channel", returns([])),
    (
        simulated.a_fault_between_acknowledgement_and_pong_is_found_in_time,
        Clocks,
        "find",
        find_path_only_when_peer_is_not_waited_for,
    ),
    (
        simulated.trickled_bytes_hold_the_peer_only_to_the_message_deadline,
        PeerClock,
        "overdue_at",
        overdue_while_bytes_move,
    ),
    (
        simulated.trickled_bytes_hold_the_peer_only_to_the_message_deadline,
        PeerClock,
        "observe",
        returns(None),
    ),
    (simulated.bounds_stay_under_their_ceilings, snapshot, "ceilings", low_ceilings),
    (
        simulated.a_shut_window_that_is_answered_blames_the_peer,
        PeerClock,
        "is_accused",
        returns(False),
    ),
    (
        simulated.a_shut_window_that_nobody_answers_blames_the_path,
        PathClock,
        "judge",
        returns(None),
    ),
    (
        simulated.links_that_die_together_blame_this_host,
        Neighbours,
        "shared",
        returns(False),
    ),
    (
        simulated.without_pongs_there_is_no_verdict_and_hardly_a_question,
        Clocks,
        "no_pong_due",
        returns(inf),
    ),
    (
        simulated.a_lossy_path_makes_no_peer_one_that_does_not_answer,
        channel,
        "INTERRUPTED",
        inf,
    ),
    (
        simulated.an_unanswered_heartbeat_blames_the_venue,
        BeatClock,
        "unanswered_for",
        returns(None),
    ),
    (
        simulated.an_unanswered_heartbeat_beside_data_is_a_condition,
        BeatClock,
        "is_ignored",
        returns(False),
    ),
    (simulated.a_late_tick_judges_nothing, Link, "_on_tick", tick_never_late),
    (
        simulated.a_stall_of_ours_kills_no_healthy_link,
        Link,
        "_on_tick",
        tick_never_late,
    ),
    (
        simulated.a_pause_holds_the_peers_clock_and_not_the_paths,
        Clocks,
        "paused",
        False,
    ),
    (
        simulated.a_pause_holds_the_peers_clock_and_not_the_paths,
        Clocks,
        "_judge_path",
        returns(None),
    ),
    (
        simulated.heartbeats_stay_in_their_budget,
        Clocks,
        "ping_due",
        lambda self, *, now: self.pings.last_at + 2.0,
    ),
    (
        simulated.a_tick_always_moves_the_deadline,
        Session,
        "handle",
        handle_and_keep_the_deadline,
    ),
    (
        simulated.random_histories_keep_every_promise,
        PathClock,
        "judge",
        returns(None),
    ),
    (
        simulated.a_path_that_came_back_is_no_frozen_peer,
        PeerClock,
        "excuse",
        returns(None),
    ),
    (
        simulated.a_ping_that_was_long_on_its_way_accuses_nobody,
        PeerClock,
        "overdue_at",
        overdue_whatever_the_path_did,
    ),
    (
        simulated.a_suspend_of_ours_accuses_no_peer_that_lives,
        PeerClock,
        "excuse",
        returns(None),
    ),
    (
        simulated.a_suspend_of_ours_prolongs_a_contract_by_what_it_took,
        ChannelClock,
        "slept",
        lambda self, suspended, *, now: self.resume(now=now),
    ),
    (
        simulated.a_dead_way_out_is_told_in_time_though_segments_come_in,
        losses,
        "bound_of",
        lambda promised, cause, where: promised.path,
    ),
    (
        simulated.random_histories_keep_every_promise,
        Session,
        "_close_gap",
        returns([]),
    ),
    (
        simulated.facts_of_an_old_epoch_change_nothing,
        Session,
        "_to_link",
        send_to_link_whatever_epoch,
    ),
    (pure.delays_have_full_jitter, Backoff, "delay", returns(1.0)),
    (pure.a_server_that_asks_for_patience_gets_it, Backoff, "delay", returns(0.1)),
    (pure.what_is_final_ends_the_stream, Backoff, "is_final", returns(False)),
    (pure.what_is_final_ends_the_stream, Backoff, "is_final", returns(True)),
    (
        pure.only_useful_uptime_resets_the_attempt,
        sessions,
        "was_useful",
        returns(True),
    ),
    (pure.dials_to_one_host_share_one_budget, Neighbours, "reserve", returns(0.0)),
    (
        pure.nonsense_never_leaves_a_session_waiting,
        Session,
        "_next_deadline",
        returns(inf),
    ),
    (
        pure.nonsense_never_leaves_a_session_waiting,
        Session,
        "_next_deadline",
        returns(1e9),
    ),
    (pure.the_inbox_accounts_for_every_message, Buffer, "_lose", lose_one_too_many),
    (
        pure.the_inbox_accounts_for_every_message,
        Buffer,
        "_drop_oldest",
        drop_and_forget_the_gap,
    ),
    (
        pure.the_inbox_accounts_for_every_message,
        Buffer,
        "_drop_oldest",
        drop_newest_first,
    ),
    (pure.the_inbox_accounts_for_every_message, Buffer, "take", take_reversed),
    (
        pure.conflation_keeps_the_last_of_each_key,
        Buffer,
        "_conflate",
        never_conflate,
    ),
    (pure.notes_of_a_flapping_stream_stay_few, inboxes, "KEPT_NOTES", 1 << 30),
    (
        pure.a_gap_never_stands_before_the_status_it_came_after,
        Buffer,
        "_drop_oldest",
        gap_before_everything,
    ),
)


def cases() -> Iterator[Any]:
    for promise, owner, name, fault in PLANTED:
        title = f"{promise.__name__}-{getattr(owner, '__name__', owner)}.{name}"
        yield pytest.param(promise, owner, name, fault, id=title)


@pytest.mark.parametrize(("promise", "owner", "name", "fault"), [*cases()])
def test_a_planted_fault_is_found(
    promise: Property,
    owner: object,
    name: str,
    fault: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promise(random.Random(0))
    monkeypatch.setattr(owner, name, fault)
    assert any(fails(promise, seed) for seed in range(TRIES))


def fails(promise: Property, seed: int) -> bool:
    try:
        promise(random.Random(seed))
    except AssertionError:
        return True
    return False


def test_every_promise_has_a_fault_planted() -> None:
    assert {promise for promise, *_ in PLANTED} == {*SIMULATED, *PURE}
    assert promises.ceilings is not low_ceilings
