"""The inbox against a history: nothing is lost unannounced, under every policy.

A machine puts, notes, takes and passes by; at the end everything is read and compared
with what was put, in order. The last tests plant faults the machine must find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError
from functools import partial
from typing import Any

import pytest
from hypothesis import Phase as Effort
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from heartline import Gap, Inbox, Item, Message, Phase, Status, UsageError
from heartline.core import inbox
from heartline.core.inbox import KEPT_NOTES, Buffer, Overflow
from inbox_kit import status

KEYS = 3


def key_of(message: Message) -> int:
    return int(message.data) % KEYS


def policy_of(policy: Overflow | str, limit: int, limit_bytes: int = 1 << 20) -> Inbox:
    conflates = Overflow(policy) is Overflow.CONFLATE
    return Inbox(
        limit=limit,
        limit_bytes=limit_bytes,
        policy=policy,
        key=key_of if conflates else None,
    )


# --- what was read, held against what was put ---------------------------------------


class Part:
    """What lies between two notes of one order: messages, and gaps of overflows."""

    def __init__(self) -> None:
        self.items: list[Message | Gap] = []

    @property
    def messages(self) -> list[Message]:
        return [item for item in self.items if isinstance(item, Message)]

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]


def is_note(item: Item) -> bool:
    return isinstance(item, Status) or (
        isinstance(item, Gap) and item.reason == "outage"
    )


def parts_between(items: Sequence[Item], notes: Sequence[Item]) -> list[Part]:
    """Cut a sequence at the notes, which are unique; what is said in between."""
    parts = [Part()]
    cuts = set(map(id, notes))
    for item in items:
        if id(item) in cuts:
            parts.append(Part())
        elif not is_note(item):
            assert not isinstance(item, Status)
            parts[-1].items.append(item)
    return parts


def check_notes(history: list[Item], read: list[Item]) -> list[Item]:
    """Notes are told in order, and only a Status is left out: for its successor."""
    told = [item for item in read if is_note(item)]
    noted = iter(range(len(history)))
    places = [next((n for n in noted if history[n] is item), None) for item in told]
    assert None not in places, "a note is told twice, or out of order"
    left_out = set(range(len(history))) - set(places)
    for at in left_out:
        item = history[at]
        if not is_note(item):
            continue
        assert isinstance(item, Status), "a gap is not told"
        following = history[at + 1]
        assert isinstance(following, Status)
        assert following.phase is item.phase
    return told


def check_read(history: list[Item], read: list[Item]) -> None:
    """Everything was put once and is now told: as itself, or inside a gap there."""
    put = [item for item in history if isinstance(item, Message)]
    order = {id(message): n for n, message in enumerate(put)}
    survivors = [item for item in read if isinstance(item, Message)]
    at = [order[id(message)] for message in survivors]
    assert at == sorted(set(at)), "messages are out of order, or twice"

    notes = check_notes(history, read)
    survived = set(map(id, survivors))
    before, after = parts_between(history, notes), parts_between(read, notes)
    for had, has in zip(before, after, strict=True):
        assert [m for m in had.messages if id(m) in survived] == has.messages
        lost = [m for m in had.messages if id(m) not in survived]
        assert sum(gap.missing or 0 for gap in has.gaps) == len(lost)
        for message in lost:
            assert any(
                gap.from_at <= message.received_at <= gap.until_at for gap in has.gaps
            )
        check_places(order, lost, has)


def check_places(order: dict[int, int], lost: list[Message], has: Part) -> None:
    """A gap stands where its messages were."""
    told = 0
    for item in has.items:
        if isinstance(item, Gap):
            assert item.reason == "overflow"
            assert item.missing, "a gap of nothing"
            told += item.missing
        else:
            due = sum(order[id(m)] < order[id(item)] for m in lost)
            assert told == due


def check_latest_of_each_key(history: list[Item], read: list[Item]) -> None:
    """What was replaced was replaced by a later message of the same key."""
    put = [item for item in history if isinstance(item, Message)]
    survived = {id(item) for item in read}
    latest = {key_of(message): message for message in put}
    assert all(id(message) in survived for message in latest.values())


# --- the machine --------------------------------------------------------------------

sizes = st.lists(st.integers(1, 30), min_size=1, max_size=6)
phases = st.sampled_from([Phase.CONNECTING, Phase.OPEN, Phase.BACKOFF])


class Machine(RuleBasedStateMachine):
    """A buffer between an owner that keeps to its policy and a consumer that lags."""

    def __init__(self, policy: Overflow) -> None:
        super().__init__()
        self.kind = policy
        self.at = 0.0
        self.paused = False
        self.history: list[Item] = []
        self.read: list[Item] = []
        self.put_messages = self.lost = self.largest = self.largest_bytes = 0

    @initialize(limit=st.integers(KEYS, 12), limit_bytes=st.sampled_from([60, 1 << 20]))
    def begin(self, limit: int, limit_bytes: int) -> None:
        self.policy = policy_of(self.kind, limit, limit_bytes)
        self.buffer = Buffer(self.policy)

    def _messages(self, count: int) -> list[Message]:
        made: list[Message] = []
        for _ in range(count):
            self.at += 1.0
            self.put_messages += 1
            made.append(Message(str(self.put_messages), self.at))
        self.history += made
        return made

    @precondition(lambda self: not self.paused)
    @rule(sizes=sizes)
    def put(self, sizes: list[int]) -> None:
        messages = self._messages(len(sizes))
        before = self.buffer.dropped
        left = self.buffer.put(messages, sum(sizes))
        assert left == self.buffer.dropped - before
        self.lost += left
        self.largest = max(self.largest, len(sizes))
        self.largest_bytes = max(self.largest_bytes, sum(sizes))
        # The owner of a blocking inbox reads no further until half is consumed.
        self.paused = self.kind is Overflow.BLOCK and self.buffer.full

    @rule(phase=phases)
    def note_status(self, phase: Phase) -> None:
        self.at += 1.0
        self._note(status(phase, self.at))

    @rule()
    def note_gap(self) -> None:
        self.at += 1.0
        self._note(Gap("outage", self.at - 0.75, self.at - 0.25, 1))

    def _note(self, item: Gap | Status) -> None:
        self.history.append(item)
        self.buffer.note(item)

    @rule(most=st.integers(1, 20))
    def take(self, most: int) -> None:
        batch = self.buffer.take(most)
        messages = sum(isinstance(item, Message) for item in batch)
        assert messages >= most or self.buffer.empty
        assert messages < most + max(self.largest, 1)
        self.read += batch
        if self.paused and self.buffer.half_empty:
            self.paused = False

    @invariant()
    def every_message_is_delivered_dropped_or_waiting(self) -> None:
        buffer = self.buffer
        assert buffer.received == self.put_messages
        assert buffer.received == buffer.delivered + buffer.dropped + buffer.waiting
        assert buffer.dropped == self.lost
        delivered = sum(isinstance(item, Message) for item in self.read)
        assert buffer.delivered == delivered

    @invariant()
    def no_more_waits_than_the_policy_says(self) -> None:
        buffer, policy = self.buffer, self.policy
        over = self.kind in (Overflow.BLOCK, Overflow.DISCONNECT)
        times = 2 if self.kind is Overflow.CONFLATE else 1
        most = times * policy.limit + over * self.largest
        most_bytes = times * policy.limit_bytes + over * self.largest_bytes
        assert 0 <= buffer.waiting <= most
        assert 0 <= buffer.waiting_bytes <= most_bytes

    def teardown(self) -> None:
        if not hasattr(self, "buffer"):
            return
        while not self.buffer.empty:
            self.take(5)
        assert self.buffer.waiting == self.buffer.waiting_bytes == 0
        assert self.buffer.take(5) == []
        check_read(self.history, self.read)
        if self.kind is Overflow.CONFLATE and self.policy.limit_bytes > 60:
            check_latest_of_each_key(self.history, self.read)


THOROUGH = settings(max_examples=80, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("policy", list(Overflow))
def test_nothing_is_lost_unannounced(policy: Overflow) -> None:
    run_state_machine_as_test(partial(Machine, policy), settings=THOROUGH)


# --- too many notes are merged, and nothing in them is forgotten --------------------

flaps = st.lists(
    st.one_of(
        st.just("put"),
        st.sampled_from([Phase.CONNECTING, Phase.OPEN, Phase.BACKOFF]),
        st.just("gap"),
    ),
    max_size=40,
)


def check_merging(policy: Overflow, flaps: Sequence[str]) -> None:
    """With many notes unread: the last Status is right at each message and at the
    end, every outage and every lost message lies inside a gap that is told there."""
    buffer = Buffer(policy_of(policy, KEYS))
    history: list[Item] = []
    for nth, flap in enumerate(flaps):
        at = float(nth)
        if flap == "put":
            message = Message(str(nth), at)
            history.append(message)
            buffer.put([message], 1)
            continue
        note: Gap | Status = (
            Gap("outage", at - 0.5, at, nth)
            if flap == "gap"
            else status(Phase(flap), at)
        )
        history.append(note)
        buffer.note(note)
    read = buffer.take(10**6)
    assert _latest_statuses(history, read) == _latest_statuses(read, read)
    assert _latest(history) == _latest(read)
    own = [i for i in read if isinstance(i, Gap) and i.reason == "overflow"]
    assert sum(gap.missing or 0 for gap in own) == buffer.dropped
    survived = {id(item) for item in read}
    for place, item in enumerate(history):
        lost = isinstance(item, Message) and id(item) not in survived
        if not lost and not isinstance(item, Gap):
            continue
        from_at, until_at = (
            (item.from_at, item.until_at)
            if isinstance(item, Gap)
            else (item.received_at, item.received_at)
        )
        covers = [
            at
            for at, told in enumerate(read)
            if isinstance(told, Gap)
            and told.from_at <= from_at
            and until_at <= told.until_at
        ]
        assert covers, f"{item} is told nowhere"
        later = [i for i in history[place + 1 :] if id(i) in survived]
        after = next((i for i in later if isinstance(i, Message)), None)
        if after is not None:
            covers = [at for at in covers if at < read.index(after)]
            assert covers, "told too late"
        earlier = [i for i in history[:place] if id(i) in survived]
        last = next((i for i in reversed(earlier) if isinstance(i, Message)), None)
        if last is not None:
            covers = [at for at in covers if at > read.index(last)]
            assert covers, "told too early"
        told_before = next((i for i in reversed(earlier) if is_note(i)), None)
        if told_before is not None and isinstance(told_before, Status):
            assert any(at > read.index(told_before) for at in covers), "told too early"


def _latest(items: Sequence[Item]) -> Status | None:
    return next((i for i in reversed(items) if isinstance(i, Status)), None)


def _latest_statuses(
    items: Sequence[Item], read: Sequence[Item]
) -> list[Status | None]:
    """The Status that stands at each message that was read."""
    survived = {id(item) for item in read}
    return [
        _latest(items[:place])
        for place, item in enumerate(items)
        if isinstance(item, Message) and id(item) in survived
    ]


@settings(max_examples=150)
@given(flaps=flaps, policy=st.sampled_from(list(Overflow)), kept=st.integers(2, 5))
def test_merged_notes_still_say_how_it_stands_and_what_is_missing(
    flaps: list[str], policy: Overflow, kept: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox, "KEPT_NOTES", kept)
        check_merging(policy, flaps)


def test_up_to_the_limit_notes_are_told_one_by_one() -> None:
    buffer = Buffer(Inbox())
    notes = [Gap("outage", float(n), n + 0.5, n) for n in range(KEPT_NOTES)]
    for note in notes:
        buffer.note(note)
    assert buffer.take(1) == notes


def test_beyond_it_one_gap_covers_all_and_the_last_status_stands() -> None:
    buffer = Buffer(Inbox())
    for nth in range(KEPT_NOTES):
        buffer.note(Gap("outage", float(nth), nth + 0.5, nth))
    last = status(Phase.OPEN, 99.0)
    buffer.note(last)
    assert buffer.take(1) == [
        Gap("outage", 0.0, KEPT_NOTES - 0.5, KEPT_NOTES - 1),
        last,
    ]


def test_two_statuses_of_one_phase_in_a_row_are_one() -> None:
    buffer = Buffer(Inbox())
    first, second = status(Phase.OPEN, 1.0), status(Phase.OPEN, 2.0)
    buffer.note(first)
    buffer.note(second)
    assert buffer.take(1) == [second]


# --- an unread stream for days ------------------------------------------------------


def flap_for_days(policy: Overflow | str, *, messages: bool, links: int) -> Buffer:
    """A consumer that never reads, and a link that comes and goes."""
    buffer = Buffer(policy_of(policy, 10))
    for nth in range(links):
        at = float(nth)
        buffer.note(status(Phase.BACKOFF, at))
        buffer.note(status(Phase.CONNECTING, at))
        buffer.note(Gap("outage", at, at + 0.5, nth))
        buffer.note(status(Phase.OPEN, at))
        if messages:
            buffer.put([Message(str(nth), at)], 10)
    return buffer


def check_flapping(policy: Overflow | str, *, messages: bool) -> None:
    buffer = flap_for_days(policy, messages=messages, links=3000)
    waits = len(buffer._runs)
    assert waits <= 2 * KEPT_NOTES + 10 * 20, f"{waits} runs wait"
    items = buffer.take(10**6)
    gaps = [item for item in items if isinstance(item, Gap)]
    assert min(gap.from_at for gap in gaps) == 0.0
    if messages:
        assert buffer.received == 3000 == buffer.delivered + buffer.dropped


@pytest.mark.parametrize(
    "policy", [Overflow.DROP_OLDEST, Overflow.DISCONNECT, Overflow.CONFLATE]
)
def test_a_flapping_link_with_data_takes_bounded_memory(policy: Overflow) -> None:
    check_flapping(policy, messages=True)


@pytest.mark.parametrize("policy", list(Overflow))
def test_a_flapping_link_without_data_takes_bounded_memory(policy: Overflow) -> None:
    check_flapping(policy, messages=False)


def _read_promptly(rounds: int, notes: Callable[[int], list[Item]]) -> None:
    buffer = Buffer(Inbox())
    for nth in range(rounds):
        told = notes(nth)
        for note in told:
            assert not isinstance(note, Message)
            buffer.note(note)
        assert buffer.take(4096) == told


def test_a_prompt_consumer_is_told_every_note_however_long_the_stream() -> None:
    def link(nth: int) -> list[Item]:
        at = float(nth)
        return [
            Gap("outage", at, at + 0.1, nth),
            status(Phase.OPEN, at),
            Gap("outage", at + 0.2, at + 0.3, nth),
            status(Phase.BACKOFF, at),
            status(Phase.CONNECTING, at),
        ]

    _read_promptly(100, link)


def test_a_gap_that_waits_alone_keeps_its_channel_and_numbers() -> None:
    def gap(nth: int) -> list[Item]:
        at = float(nth)
        return [
            Gap("sequence", at, at, 1, channel="book", first=nth, last=nth, missing=1)
        ]

    _read_promptly(100, gap)


# --- single cases -------------------------------------------------------------------


def messages_of(*texts: str) -> list[Message]:
    return [Message(text, float(text)) for text in texts]


def test_the_oldest_go_and_a_gap_stands_in_their_place() -> None:
    buffer = Buffer(policy_of("drop_oldest", 3))
    first = messages_of("1", "2", "3", "4")
    assert buffer.put(first, 40) == 1
    assert buffer.put(messages_of("5"), 10) == 1
    assert buffer.take(9) == [
        Gap("overflow", 1.0, 2.0, 0, missing=2),
        *first[2:],
        Message("5", 5.0),
    ]


def test_bytes_are_a_limit_as_well_and_drop_whole_reads() -> None:
    buffer = Buffer(policy_of("drop_oldest", 100, 50))
    assert buffer.put(messages_of("1", "2"), 30) == 0
    assert buffer.put(messages_of("3"), 30) == 2
    assert (buffer.waiting, buffer.waiting_bytes) == (1, 30)
    assert buffer.put(messages_of("4"), 51) == 2, "it alone is too large"
    assert buffer.take(9) == [Gap("overflow", 1.0, 4.0, 0, missing=4)]


def test_conflating_keeps_the_latest_of_each_key_at_its_place() -> None:
    buffer = Buffer(policy_of("conflate", 3))
    one, two, three, four, five = messages_of("1", "2", "3", "4", "5")
    assert buffer.put([one, two], 2) == 0
    assert buffer.put([three, four, five], 3) == 2
    gap = Gap("overflow", 1.0, 2.0, 0, missing=2)
    assert buffer.take(9) == [gap, three, four, five]


def test_more_keys_than_the_limit_are_bounded_all_the_same() -> None:
    policy = Inbox(limit=5, policy="conflate", key=lambda message: message.data)
    buffer = Buffer(policy)
    for nth in range(100):
        buffer.put(messages_of(str(nth)), 1)
        assert buffer.waiting <= 10
    items = buffer.take(1000)
    assert isinstance(items[0], Gap)
    assert items[0].missing == buffer.dropped == 100 - buffer.delivered


def test_disconnecting_keeps_what_waits_and_drops_what_comes() -> None:
    buffer = Buffer(policy_of("disconnect", 2))
    waiting = messages_of("1", "2", "3")
    assert buffer.put(waiting, 3) == 0
    assert buffer.full
    assert buffer.put(messages_of("4"), 1) == 1
    assert buffer.put(messages_of("5", "6"), 2) == 2
    assert buffer.take(9) == [*waiting, Gap("overflow", 4.0, 6.0, 0, missing=3)]


def test_blocking_drops_nothing_and_says_when_half_is_consumed() -> None:
    buffer = Buffer(policy_of("block", 4))
    for texts in (("1", "2"), ("3", "4"), ("5",)):
        assert buffer.put(messages_of(*texts), len(texts)) == 0
    assert buffer.full
    buffer.take(1)
    assert not buffer.full
    assert not buffer.half_empty
    buffer.take(1)
    assert buffer.half_empty
    assert buffer.dropped == 0


# --- validation ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"limit": 0}, "Inbox.limit: wanted at least 1, got 0"),
        ({"limit": -3}, "Inbox.limit: wanted at least 1, got -3"),
        ({"limit": float("nan")}, "Inbox.limit: wanted at least 1, got nan"),
        ({"limit_bytes": 0}, "Inbox.limit_bytes: wanted at least 1, got 0"),
        (
            {"policy": "forget"},
            "Inbox.policy: wanted one of block, drop_oldest, conflate, disconnect, "
            "got 'forget'",
        ),
        (
            {"policy": "conflate"},
            "Inbox.key: wanted a key exactly with policy conflate, got None",
        ),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Inbox(**options)
    assert str(caught.value) == text


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "disconnect"])
def test_a_key_is_refused_where_nothing_is_conflated(policy: str) -> None:
    with pytest.raises(UsageError, match=r"^Inbox\.key: wanted a key exactly with"):
        Inbox(policy=policy, key=key_of)


def test_a_policy_is_a_value_and_may_be_given_by_name() -> None:
    assert Inbox(policy="block") == Inbox(policy=Overflow.BLOCK)
    assert Inbox(policy="block").policy is Overflow.BLOCK
    with pytest.raises(FrozenInstanceError):
        Inbox().limit = 3  # type: ignore[misc]


# --- the machine can fail -----------------------------------------------------------

QUICK = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Effort.generate,),
    report_multiple_bugs=False,
)

_lose, _take, _merge, _note = Buffer._lose, Buffer.take, inbox._merge, Buffer.note
_drop_oldest, _conflate = Buffer._drop_oldest, Buffer._conflate


def _counts_one_less(self: Buffer, messages: list[Message], size_bytes: int) -> Any:
    hole = _lose(self, messages, size_bytes)
    self.dropped -= 1
    return hole


def _tells_one_less(self: Buffer, messages: list[Message], size_bytes: int) -> Any:
    hole = _lose(self, messages, size_bytes)
    hole.missing -= 1
    return hole


def _forgets_bytes(self: Buffer, messages: list[Message], size_bytes: int) -> Any:
    return _lose(self, messages, size_bytes // 2)


def _forgets_the_notes(self: Buffer) -> int:
    dropped = _drop_oldest(self)
    while self._runs and isinstance(self._runs[0], Gap | Status):
        del self._runs[0]
    return dropped


def _cuts_a_read(self: Buffer, most: int) -> list[Item]:
    return _take(self, most)[:most]


def _tells_notes_first(self: Buffer, item: Gap | Status) -> None:
    self._runs.insert(0, item)


def _keeps_the_first(self: Buffer) -> int:
    self._runs.reverse()
    lost = _conflate(self)
    self._runs.reverse()
    return lost


FAULTS: tuple[tuple[str, Callable[..., Any], Overflow], ...] = (
    ("_lose", _counts_one_less, Overflow.DROP_OLDEST),
    ("_lose", _tells_one_less, Overflow.DROP_OLDEST),
    ("_lose", _tells_one_less, Overflow.CONFLATE),
    ("_lose", _forgets_bytes, Overflow.DROP_OLDEST),
    ("_drop_oldest", _forgets_the_notes, Overflow.DROP_OLDEST),
    ("take", _cuts_a_read, Overflow.BLOCK),
    ("note", _tells_notes_first, Overflow.DISCONNECT),
    ("_conflate", _keeps_the_first, Overflow.CONFLATE),
    ("_drop_oldest", lambda self: 0, Overflow.DROP_OLDEST),
)


@pytest.mark.parametrize(("name", "fault", "policy"), FAULTS)
def test_a_planted_fault_is_found(
    name: str,
    fault: Callable[..., Any],
    policy: Overflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Buffer, name, fault)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(partial(Machine, policy), settings=QUICK)


@pytest.mark.parametrize(
    "fault",
    [
        lambda notes: _merge(notes)[-1:],
        lambda notes: _merge(notes)[::-1],
        lambda notes: [note for note in notes if isinstance(note, Gap)],
    ],
)
def test_a_planted_merge_is_found(
    fault: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    early = [Phase.BACKOFF, "gap", Phase.CONNECTING, Phase.OPEN]
    late = [Phase.BACKOFF, Phase.OPEN, Phase.CONNECTING, "gap"]
    flapping = [*early, "put", *late]
    monkeypatch.setattr(inbox, "KEPT_NOTES", 3)
    check_merging(Overflow.BLOCK, flapping)
    monkeypatch.setattr(inbox, "_merge", fault)
    with pytest.raises(AssertionError):
        check_merging(Overflow.BLOCK, flapping)
