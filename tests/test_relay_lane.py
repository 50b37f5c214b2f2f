"""What relays store in one subject, whatever becomes of them: once, in order, and with
every gap told; pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline.relay.lane import (
    BATCH_FROM,
    Cursor,
    Entry,
    Hold,
    Lane,
    Publish,
    Read,
    Room,
)
from heartline.relay.notes import GapNote
from heartline.relay.place import Place
from heartline.relay.stored import cursor_of, headers_of
from heartline.relay.subjects import Subjects, message_id, name_of, token

PATIENCE = 1.0


def entry(last: int, low: int | None = None, at: float = 0.0, **place: bool) -> Entry:
    follows = last - 1 if low is None else low
    return Entry(Place(follows, last, **place), b"x" * 10, at, f"at {last}")


@dataclass
class Subject:
    """One subject of a stream, as the server keeps it."""

    seq: int = 0
    stored: list[tuple[int, int, GapNote | None]] = field(default_factory=list)
    """Run, number and gap of every message."""

    @property
    def last(self) -> Cursor | None:
        if not self.stored:
            return None
        run, number, _ = self.stored[-1]
        return Cursor(self.seq, run, number, f"at {number}")

    def take(self, step: Publish) -> int | None:
        """Their sequence; None if another is the last of the subject."""
        if step.expect != self.seq:
            return None
        for at, each in enumerate(step.entries):
            gap = step.gap if at == 0 else None
            self.stored.append((step.run, each.place.last, gap))
        # Other subjects are written to as well.
        self.seq += 3 * len(step.entries)
        return self.seq


def turn(lane: Lane, subject: Subject, now: float, fate: str = "good") -> bool:
    """One step of a relay; whether it had any. `fate` of what it asks for."""
    step = lane.plan(now, PATIENCE)
    match step:
        case None:
            return False
        case Read() | Hold():
            if fate == "good":
                lane.read(subject.last)
        case Publish() if fate == "never sent":
            lane.failed()
        case Publish():
            seq = subject.take(step)
            if seq is None or fate == "answer lost":
                lane.failed()
            else:
                lane.stored(seq)
    return True


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["hear", "hear", "hear", "step", "step", "step"]),
        st.integers(0, 1),
        st.sampled_from(["good"] * 6 + ["answer lost", "never sent", "miss", "die"]),
    ),
    max_size=120,
)


@given(MOVES, st.booleans())
def test_two_relays_store_each_message_once_in_order_and_tell_what_is_missing(
    moves: list[tuple[str, int, str]], patient: bool
) -> None:
    subject = Subject()
    lanes = [Lane("s", "c"), Lane("s", "c")]
    heard = [0, 0]
    had: set[int] = set()
    now = 0.0
    for move, who, fate in moves:
        now += 0.01 if patient else 0.4
        if fate == "die":
            # What it comes back to, it has not heard.
            lanes[who] = Lane("s", "c")
            heard[who] = max(heard)
        elif move == "hear":
            heard[who] += 1
            if fate != "miss":
                lanes[who].put(entry(heard[who], at=now, counted=True))
                had.add(heard[who])
        else:
            turn(lanes[who], subject, now, fate)
    for _ in range(400):
        now += 0.05
        if not [each for each in lanes if turn(each, subject, now)]:
            break
    else:
        pytest.fail("they never came to an end")
    numbers = [number for _, number, _ in subject.stored]
    assert numbers == sorted(set(numbers))
    assert had.issuperset(numbers)
    for (_, before, _), (_, number, gap) in zip(
        subject.stored, subject.stored[1:], strict=False
    ):
        if gap is None:
            assert number == before + 1
        else:
            assert (gap.first, gap.last) == (before + 1, number - 1)
            assert gap.missing == number - 1 - before


@settings(max_examples=40)
@given(st.lists(st.integers(0, 1), min_size=4, max_size=80), st.data())
def test_as_long_as_one_of_two_hears_all_nothing_is_missing(
    turns: list[int], data: st.DataObject
) -> None:
    subject = Subject()
    lanes = [Lane("s", "c"), Lane("s", "c")]
    lanes[0].put(entry(0))
    settled(lanes[0], subject, 0.0)
    for number in range(1, 40):
        lanes[0].put(entry(number))
        if data.draw(st.booleans()):
            lanes[1].put(entry(number))
        if turns[number % len(turns)]:
            turn(lanes[data.draw(st.integers(0, 1))], subject, number * 0.001)
    while [each for each in lanes if turn(each, subject, 0.1)]:
        turn(lanes[0], subject, 0.1)
    assert subject.stored == [(0, number, None) for number in range(40)]


def settled(lane: Lane, subject: Subject, now: float) -> None:
    for _ in range(100):
        if not turn(lane, subject, now):
            return
    pytest.fail(f"still busy: {subject.stored}")


def test_a_relay_that_is_started_anew_goes_on_where_the_stream_is() -> None:
    subject, lane = Subject(), Lane("s", "c")
    for number in (1, 2, 3):
        lane.put(entry(number))
    settled(lane, subject, 0.0)
    other = Lane("s", "c")
    # A snapshot of what is there already, and what follows it.
    for each in (entry(3, 3, whole=True), entry(4)):
        other.put(each)
    settled(other, subject, 0.0)
    assert subject.stored == [(0, number, None) for number in (1, 2, 3, 4)]
    assert other.skipped == 1


def test_a_snapshot_waits_for_the_messages_it_stands_for_and_then_tells_of_them() -> (
    None
):
    subject, lane = Subject(), Lane("s", "c")
    lane.put(entry(1))
    settled(lane, subject, 0.0)
    lane.put(entry(5, 5, whole=True))
    assert isinstance(lane.plan(1.0, PATIENCE), Hold)
    lane.read(subject.last)
    assert isinstance(lane.plan(1.9, PATIENCE), Hold)
    lane.read(subject.last)
    settled(lane, subject, 2.0)
    _, (run, number, gap) = subject.stored
    assert (run, number) == (0, 5)
    assert gap is not None
    assert (gap.reason, gap.first, gap.last) == ("sequence", 2, 5)


def test_numbers_that_begin_anew_are_a_run_of_their_own_with_a_gap_before() -> None:
    subject = Subject()
    lanes = [Lane("s", "c", anew_after=10.0), Lane("s", "c", anew_after=10.0)]
    for lane in lanes:
        lane.put(entry(1000))
        settled(lane, subject, 0.0)
    now = 20.0
    for number in range(1, 20):
        for lane in lanes:
            lane.put(entry(number, at=now))
        if now < 30.0:
            # Late messages of the old numbers would look the same for a while.
            assert subject.stored == [(0, 1000, None)]
        for _ in range(20):
            now += 0.05
            for lane in lanes:
                turn(lane, subject, now)
    for lane in lanes:
        settled(lane, subject, now)
    new = subject.stored[1:]
    assert [(run, number) for run, number, _ in new] == [
        (1, number) for number in range(1, 20)
    ]
    assert [gap.reason for _, _, gap in new if gap is not None] == ["sequence"]
    assert new[0][2] is not None


def test_one_that_is_only_late_is_not_held_for_a_new_beginning() -> None:
    subject, lane = Subject(), Lane("s", "c", anew_after=10.0)
    lane.put(entry(100))
    settled(lane, subject, 0.0)
    for number in range(50, 60):
        lane.put(entry(number, at=float(number)))
        # Another relay is at work, and stores what lies above.
        subject.stored.append((0, 100 + number, None))
        subject.seq += 1
        settled(lane, subject, 200.0)
    assert {run for run, _, _ in subject.stored} == {0}
    assert lane.skipped == 10


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40))
def test_what_may_wait_is_bounded_and_what_is_dropped_is_counted_and_told(
    sizes: list[int],
) -> None:
    room = Room(most_messages=10, most_bytes=1000)
    lane, subject = Lane("s", "c", room=room), Subject()
    kept = 0
    for number, size in enumerate(sizes, 1):
        place = Place(number - 1, number, counted=True)
        lane.put(Entry(place, b"x" * size, 0.0, f"at {number}"))
        kept = lane.waits
        assert kept <= 10
        assert room.size_bytes <= 1000
    assert lane.dropped == len(sizes) - kept
    lost = lane.lost()
    assert (lost.missing if lost else 0) == lane.dropped
    assert lane.lost() is None
    settled(lane, subject, 0.0)
    assert [number for _, number, _ in subject.stored] == list(
        range(len(sizes) - kept + 1, len(sizes) + 1)
    )
    assert (room.messages, room.size_bytes) == (0, 0)


def test_many_that_wait_are_stored_at_once_and_singly_where_some_were_known() -> None:
    subject, lane = Subject(), Lane("s", "c")
    lane.read(None)
    for number in range(1, BATCH_FROM + 3):
        lane.put(entry(number, at=0.0))
    step = lane.plan(0.0, PATIENCE)
    assert isinstance(step, Publish)
    assert len(step.entries) == BATCH_FROM + 2
    lane.failed(singly=True)
    assert isinstance(lane.plan(0.0, PATIENCE), Read)
    lane.read(None)
    step = lane.plan(0.0, PATIENCE)
    assert isinstance(step, Publish)
    assert len(step.entries) == 1
    # Its id is known, though nothing of it is in the stream any more.
    lane.stored(None)
    settled(lane, subject, 0.0)
    assert [number for _, number, _ in subject.stored] == list(range(2, BATCH_FROM + 3))


def test_what_the_bus_never_takes_is_let_go_of_and_told() -> None:
    subject, lane = Subject(), Lane("s", "c")
    lane.put(entry(1))
    settled(lane, subject, 0.0)
    for number in (2, 3):
        lane.put(entry(number))
    assert isinstance(lane.plan(0.0, 0.0), Publish)
    lane.refused()
    step = lane.plan(0.0, 0.0)
    assert isinstance(step, Publish)
    assert step.gap is not None
    assert (step.gap.first, step.gap.last) == (2, 2)
    lost = lane.lost()
    assert lost is not None
    assert (lost.reason, lost.missing, lane.dropped) == ("overflow", 1, 1)


def test_a_copy_of_a_process_before_is_followed_by_a_gap() -> None:
    subject = Subject(seq=4, stored=[(7, 12, None)])
    lane = Lane("s", "c")
    for number in (1, 2):
        lane.put(Entry(Place(number - 1, number, run=9), b"x", 0.0, "now"))
    settled(lane, subject, 0.0)
    (_, first, second) = subject.stored
    assert first[:2] == (9, 1)
    assert first[2] is not None
    assert (first[2].reason, first[2].from_at) == ("outage", "at 12")
    assert second == (9, 2, None)


@given(st.text(min_size=1, max_size=40))
def test_a_name_is_one_token_and_can_be_read_again(name: str) -> None:
    written = token(name)
    assert name_of(written) == name
    assert not set(written) & set(". *>\t\r\n")
    assert written.isascii()


def test_ids_are_of_venue_channel_and_sequence_and_the_same_from_all_relays() -> None:
    one, other = Subjects("deribit", "one"), Subjects("deribit", "other")
    subject = one.once("book.A.100ms")
    assert subject == other.once("book.A.100ms")
    assert subject == "heartline.once.deribit.book%2EA%2E100ms"
    assert message_id(subject, 0, 17) == "deribit/book%2EA%2E100ms/17"
    assert message_id(subject, 2, 17) == "deribit/book%2EA%2E100ms/2.17"
    assert one.copy("a") != other.copy("a")
    assert Subjects("a~b", "x.y").key == "a=7Eb.x=2Ey"


def test_headers_say_where_a_message_stands_and_what_is_missing_before_it() -> None:
    gap = GapNote(
        channel="büch", reason="sequence", from_at="a", until="b", first=2, last=4
    )
    step = Publish((entry(5, 4), entry(6, 5)), 1, 3, gap)
    headers = headers_of(step, 0, "heartline.once.v.c", "one")
    assert all(text.isascii() for text in headers.values())
    assert headers["Nats-Msg-Id"] == "v/c/1.5"
    assert '"first": 2' in headers["Heartline-Gap"]
    assert "Heartline-Gap" not in headers_of(step, 1, "heartline.once.v.c", "one")
    assert cursor_of(9, headers) == Cursor(9, 1, 5, "at 5")
    assert cursor_of(9, {}) == Cursor(9)
    assert cursor_of(9, {"Heartline-Number": "x", "Heartline-Run": ""}) == Cursor(9)
