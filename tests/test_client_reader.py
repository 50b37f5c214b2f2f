"""The consumer's end, on a real loop: order and completeness in every interleaving.

A sequence of steps is played by the loop's callbacks or by a task, as drivers do it,
against a consumer that reads, is slow, or is cancelled and replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from math import inf
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heartline import Gap, Heartbeat, Inbox, Item, Message, UsageError
from heartline.client.doorbell import Doorbell
from heartline.client.lane import Lane, PureLane
from heartline.client.reader import Reader
from heartline.core.adaptive import MANY
from heartline.wire.pulse import STOOD_STILL, Pulse

LANES = [PureLane] if Lane is PureLane else [PureLane, Lane]
T = TypeVar("T")
Step = tuple[str, int]

SECONDS = 10.0
"""More than any test here may take."""

steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 5)),
        st.tuples(st.just("ahead"), st.integers(1, 5)),
        st.tuples(st.just("put"), st.integers(1, 5)),
        st.tuples(st.just("note"), st.just(0)),
        st.tuples(st.just("quiet note"), st.just(0)),
        st.tuples(st.just("turn"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["cancel", "stop", "replace"]), st.just(0)),
        st.tuples(st.sampled_from(["hold", "release"]), st.just(0)),
    ),
    max_size=30,
)


@pytest.fixture(
    autouse=True, scope="module", params=LANES, ids=["pure", "compiled"][: len(LANES)]
)
def kind_of_lane(request: pytest.FixtureRequest) -> Iterator[type[PureLane]]:
    """All that is claimed here holds for both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heartline.client.reader.Lane", request.param)
        yield request.param


@pytest.fixture
def pure(kind_of_lane: type[PureLane]) -> None:
    if kind_of_lane is not PureLane:
        pytest.skip("a fault is planted in the pure one; the play is the same")


def run(work: Awaitable[T], loop: Callable[[], Any] = asyncio.new_event_loop) -> T:
    async def limited() -> T:
        return await asyncio.wait_for(work, SECONDS)

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(limited())


class Play:
    """A reader, what was given to it, and what one consumer after the other read."""

    def __init__(self, *, by_items: bool, from_callbacks: bool) -> None:
        self.reader = Reader(Inbox(), relieve=lambda: None)
        self.lane = self.reader.open(asyncio.get_running_loop())
        self.lane.until_at, self.lane.most_reads = inf, MANY
        self.by_items = by_items
        self.from_callbacks = from_callbacks
        self.given: list[Item] = []
        self.read: list[Item] = []
        self.messages = 0
        self.at = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.consumer: asyncio.Task[None] | None = None

    async def consume(self) -> None:
        if self.by_items:
            async for item in self.reader.items():
                self.read.append(item)
                await self.gate.wait()
        else:
            async for batch in self.reader.batches():
                self.read += batch
                await self.gate.wait()

    def start(self) -> None:
        if self.consumer is None:
            self.consumer = asyncio.create_task(self.consume())

    async def cancel(self) -> None:
        task, self.consumer = self.consumer, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def some(self, count: int) -> list[Message]:
        made: list[Message] = []
        for _ in range(count):
            self.at += 1.0
            made.append(Message(f"{self.at:.0f}", self.at))
        self.messages += count
        self.given += made
        return made

    def act(self, step: str, count: int) -> None:
        """What a driver does in one call: never awaits."""
        reader = self.reader
        if step == "read":
            messages = self.some(count)
            if not reader.hand(messages, count):
                reader.put(messages, count)
            reader.wake(at_once=True)
        elif step == "ahead":
            messages = self.some(count)
            # They bear the time of their reading: told apart by what they say.
            if not self.lane.take([m.data for m in messages], count):
                reader.put(messages, count)
                reader.wake(at_once=True)
        elif step == "put":
            reader.put(self.some(count), count)
            reader.wake()
        else:
            self.at += 1.0
            gap = Gap("outage", self.at - 0.5, self.at, 1)
            self.given.append(gap)
            reader.note(gap)
            if step == "note":
                reader.wake()

    async def do(self, step: str, count: int) -> None:
        match step:
            case "turn":
                for _ in range(count):
                    await asyncio.sleep(0)
            case "cancel":
                await self.cancel()
            case "stop":
                # Cancelled, but not awaited: more may come before it wakes.
                if self.consumer is not None:
                    self.consumer.cancel()
            case "replace":
                await self.cancel()
                self.start()
            case "hold":
                self.gate.clear()
            case "release":
                self.gate.set()
            case _ if self.from_callbacks:
                await called_back(lambda: self.act(step, count))
            case _:
                self.act(step, count)


async def called_back(act: Callable[[], None]) -> None:
    """Let the loop call it, outside of any task; its error is raised here."""
    done = asyncio.get_running_loop().create_future()

    def call() -> None:
        try:
            act()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    asyncio.get_running_loop().call_soon(call)
    await done


async def play(steps: list[Step], *, by_items: bool, from_callbacks: bool) -> None:
    """Everything that was given is read once, in order, whoever was cancelled."""
    it = Play(by_items=by_items, from_callbacks=from_callbacks)
    it.start()
    await asyncio.sleep(0)
    for step, count in steps:
        await it.do(step, count)
        assert said(it.read) == said(it.given)[: len(it.read)]
    it.gate.set()
    # The last consumer may have been told to stop: another reads the rest.
    await it.cancel()
    it.reader.end(None)
    it.start()
    assert it.consumer is not None
    await it.consumer
    assert said(it.read) == said(it.given)
    reader, buffer = it.reader, it.reader.buffer
    assert reader.received == reader.delivered == it.messages
    assert buffer.waiting == buffer.waiting_bytes == buffer.dropped == 0
    assert reader.received_bytes == it.messages
    assert it.lane.frames == it.lane.data == it.lane.size_bytes <= it.messages


def said(items: list[Item]) -> list[Any]:
    return [item.data if isinstance(item, Message) else item for item in items]


@settings(max_examples=150, deadline=None)
@given(steps=steps, by_items=st.booleans(), from_callbacks=st.booleans())
@example(
    steps=[("read", 2), ("note", 0), ("read", 1), ("replace", 0), ("read", 3)],
    by_items=True,
    from_callbacks=True,
)
def test_whatever_happens_all_is_read_once_and_in_order(
    steps: list[Step], by_items: bool, from_callbacks: bool
) -> None:
    run(play(steps, by_items=by_items, from_callbacks=from_callbacks))


@settings(max_examples=25, deadline=None)
@given(steps=steps, by_items=st.booleans(), from_callbacks=st.booleans())
def test_so_it_is_on_uvloop(
    steps: list[Step], by_items: bool, from_callbacks: bool
) -> None:
    work = play(steps, by_items=by_items, from_callbacks=from_callbacks)
    run(work, uvloop.new_event_loop)


# --- single cases -------------------------------------------------------------------


def opened(inbox: Inbox | None = None) -> Reader:
    reader = Reader(inbox or Inbox(), relieve=lambda: None)
    reader.open(asyncio.get_running_loop())
    return reader


def messages_of(*numbers: int) -> list[Message]:
    return [Message(str(n), float(n)) for n in numbers]


GAP = Gap("outage", 0.0, 1.0, 1)


async def all_of(source: AsyncIterator[T]) -> list[T]:
    return [item async for item in source]


def test_a_read_is_handed_over_only_to_who_waits_with_nothing_to_read() -> None:
    async def main() -> None:
        reader = opened()
        assert not reader.hand(messages_of(1), 1), "nobody reads"
        task = asyncio.create_task(anext(reader.batches()))
        await asyncio.sleep(0)
        reader.note(GAP)
        assert not reader.hand(messages_of(1), 1), "the gap comes first"
        reader.wake()
        assert not reader.hand(messages_of(1), 1), "it has been woken for the gap"
        assert await task == [GAP]
        task = asyncio.create_task(anext(reader.batches()))
        await asyncio.sleep(0)
        assert reader.hand(messages_of(1), 1)
        assert not reader.hand(messages_of(2), 1), "one read at a time"
        reader.put(messages_of(2), 1)
        reader.wake()
        assert await task == messages_of(1)
        assert await anext(reader.batches()) == messages_of(2)

    run(main())


def test_the_lane_carries_no_more_reads_than_may_go_untold() -> None:
    async def main() -> None:
        reader = Reader(Inbox(), relieve=lambda: None)
        lane = reader.open(asyncio.get_running_loop())

        async def consume() -> None:
            async for _ in reader.items():
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        lane.until_at, lane.most_reads = inf, 2
        took: list[bool] = []
        for _ in range(3):
            await called_back(lambda: took.append(lane.take(["a", "b"], 9)))
            await asyncio.sleep(0)
        assert took == [True, True, False]
        assert (lane.reads, lane.data) == (2, 4)
        await called_back(lambda: task.cancel())

    run(main())


def test_a_calm_read_runs_its_consumer_before_the_lane_returns() -> None:
    async def main() -> None:
        reader = Reader(Inbox(), relieve=lambda: None)
        lane = reader.open(asyncio.get_running_loop())
        lane.epoch = 7
        data: list[str | bytes] = ["a", b"b"]
        read: list[Item] = []

        async def consume() -> None:
            async for item in reader.items():
                read.append(item)

        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        assert not lane.take(data, 9), "a task runs: this one"
        await called_back(lambda: took.append(lane.take(data, 9)))
        lane.until_at, lane.most_reads = time.monotonic() + SECONDS, MANY
        began_at = time.monotonic()
        await called_back(lambda: took.append(lane.take(data, 9)))
        assert took == [False, True], "closed until the pump has opened it"
        first, second = read
        assert isinstance(first, Message)
        assert isinstance(second, Message)
        assert began_at <= first.received_at == second.received_at <= time.monotonic()
        assert (first.data, first.epoch, first.channel, first.age) == ("a", 7, None, 0)
        assert second.data == b"b"
        assert (lane.frames, lane.data, lane.size_bytes) == (2, 2, 9)
        assert lane.at == first.received_at
        await called_back(lambda: task.cancel())

    took: list[bool] = []
    run(main())


def test_a_read_after_the_loop_stood_still_or_slept_does_not_go_ahead() -> None:
    async def main() -> None:
        reader, loop = Reader(Inbox(), relieve=lambda: None), asyncio.get_running_loop()
        pulse = Pulse(loop)
        pulse.listen(reader, lambda stood: None)
        lane = reader.open(loop, pulse)
        lane.until_at, lane.most_reads = inf, MANY
        took: list[bool] = []
        task = asyncio.create_task(keep_reading(reader))
        await asyncio.sleep(0)

        def read(felt_ago: float) -> None:
            pulse.felt_at = time.monotonic() - felt_ago
            took.append(lane.take(["a"], 1))

        await called_back(lambda: read(STOOD_STILL + 0.01))
        slept, pulse.slept = pulse.slept, pulse.slept - 60.0
        await called_back(lambda: read(0.0))
        pulse.slept = slept
        began_at = time.monotonic()
        await called_back(lambda: read(0.0))
        assert took == [False, False, True]
        assert pulse.felt_at >= began_at, "who reads has felt that the loop goes on"
        pulse.leave(reader)
        await called_back(lambda: task.cancel())

    run(main())


def test_reads_that_went_ahead_are_counted_with_the_gaps_between_them() -> None:
    async def main() -> None:
        reader = Reader(Inbox(), relieve=lambda: None)
        lane = reader.open(asyncio.get_running_loop())
        lane.until_at, lane.most_reads = inf, MANY
        task = asyncio.create_task(keep_reading(reader))
        await asyncio.sleep(0)

        def read(since: float) -> None:
            lane.at -= since
            assert lane.take(["a", "b"], 2)

        first_at = time.monotonic()
        for since in (1.0, 0.3, 0.0):
            await called_back(lambda since=since: read(since))  # type: ignore[misc]
        assert (lane.reads, lane.data, lane.size_bytes) == (3, 6, 6)
        assert first_at <= lane.first_at <= time.monotonic()
        gap = next(iter(lane.gaps))
        assert 0.3 <= gap <= 0.3 + SECONDS, "what lies before the first is not a gap"
        await called_back(lambda: task.cancel())

    run(main())


async def keep_reading(reader: Reader) -> None:
    async for _ in reader.items():
        pass


def test_before_it_is_opened_nothing_is_handed_over_and_nobody_may_wait() -> None:
    async def main() -> None:
        reader = Reader(Inbox(), relieve=lambda: None)
        assert not reader.hand(messages_of(1), 1)
        reader.wake()
        with pytest.raises(UsageError, match="inside `async with`"):
            await anext(reader.items())

    run(main())


@pytest.mark.parametrize("handed", [True, False])
def test_a_consumer_cancelled_as_it_was_woken_loses_nothing(handed: bool) -> None:
    async def main() -> None:
        reader = opened()
        task = asyncio.create_task(anext(reader.items()))
        await asyncio.sleep(0)
        if handed:
            assert reader.hand(messages_of(1, 2), 2)
        else:
            reader.put(messages_of(1, 2), 2)
        reader.wake()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        reader.end(None)
        assert await all_of(reader.items()) == messages_of(1, 2)

    run(main())


@pytest.mark.parametrize("way", ["items", "batches"])
def test_a_wait_that_timed_out_is_not_the_end_of_the_iteration(way: str) -> None:
    async def main() -> None:
        reader = opened()
        reading: AsyncIterator[Any] = getattr(reader, way)()
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(reading)
        reader.put(messages_of(1), 1)
        read = await anext(reading)
        assert (read if way == "batches" else [read]) == messages_of(1)
        reader.end(None)
        with pytest.raises(StopAsyncIteration):
            await anext(reading)

    run(main())


def test_batches_begin_with_what_a_broken_loop_left() -> None:
    async def main() -> None:
        reader = opened()
        reader.put(messages_of(1, 2, 3, 4), 4)
        async for item in reader.items():
            if item == Message("2", 2.0):
                break
        gc.collect()
        await asyncio.sleep(0)
        reader.put(messages_of(5), 1)
        reader.end(None)
        expected = [messages_of(3, 4), messages_of(5)]
        assert await all_of(reader.batches()) == expected

    run(main())


def test_a_loop_after_a_broken_loop_goes_on_where_that_one_was() -> None:
    async def main() -> None:
        reader, seen = opened(), list[Item]()
        reader.put(messages_of(1, 2, 3), 3)
        reader.end(None)
        for _ in range(4):
            async for item in reader.items():
                seen.append(item)
                break
        assert seen == messages_of(1, 2, 3)

    run(main())


class Over(Exception):
    """Why this stream has ended."""


@pytest.mark.parametrize("way", ["items", "batches"])
@pytest.mark.parametrize("waiting", [True, False])
def test_the_end_comes_after_all_that_waits_and_raises_its_reason_each_time(
    way: str, waiting: bool
) -> None:
    async def main() -> None:
        reader, error, seen = opened(), Over("gone"), list[Any]()

        async def consume() -> None:
            async for got in getattr(reader, way)():
                seen.extend(got if isinstance(got, list) else [got])

        task = asyncio.create_task(consume()) if waiting else None
        await asyncio.sleep(0)
        reader.put(messages_of(1, 2), 2)
        reader.note(GAP)
        reader.end(error)
        with pytest.raises(Over, match="gone"):
            await (task or consume())
        assert seen == [*messages_of(1, 2), GAP]
        with pytest.raises(Over, match="gone"):
            await consume()
        assert len(seen) == 3

    run(main())


@pytest.mark.parametrize("way", ["items", "batches"])
def test_an_end_without_a_reason_ends_the_loop_each_time(way: str) -> None:
    async def main() -> None:
        reader = opened()
        task = asyncio.create_task(all_of(getattr(reader, way)()))
        await asyncio.sleep(0)
        reader.end(None)
        assert await task == []
        assert await all_of(getattr(reader, way)()) == []

    run(main())


def test_two_who_wait_are_one_too_many_and_the_first_goes_on() -> None:
    async def main() -> None:
        reader = opened()
        first = asyncio.create_task(anext(reader.items()))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="one consumer, got 'another'"):
            await anext(reader.items())
        with pytest.raises(UsageError, match="one consumer, got 'another'"):
            await anext(reader.batches())
        reader.put(messages_of(1), 1)
        reader.wake()
        assert await first == Message("1", 1.0)

    run(main())


def test_a_ring_for_nothing_wakes_nobody_for_good() -> None:
    async def main() -> None:
        reader = opened()
        task = asyncio.create_task(anext(reader.items()))
        for _ in range(5):
            await asyncio.sleep(0)
            reader.wake()
        await asyncio.sleep(0)
        assert not task.done()
        reader.put(messages_of(1), 1)
        reader.wake()
        assert await task == Message("1", 1.0)

    run(main())


def test_relieve_is_called_for_each_taking_from_the_buffer() -> None:
    async def main() -> None:
        taken: list[int] = []
        reader = Reader(Inbox(), relieve=lambda: taken.append(reader.buffer.waiting))
        reader.open(asyncio.get_running_loop())
        reader.put(messages_of(1, 2), 2)
        assert await anext(reader.batches()) == messages_of(1, 2)
        assert taken == [0]

    run(main())


# --- what answers a heartbeat -------------------------------------------------------

PONG = {"op": "pong", "id": 7}


@pytest.mark.parametrize(
    ("answer", "heard", "is_answer"),
    [
        ("pong", "pong", True),
        ("pong", "pong ", False),
        ("pong", b"pong", False),
        (b"\x8a", b"\x8a", True),
        (b"\x8a", "\x8a", False),
        (PONG, '{"op":"pong","id":7}', True),
        (PONG, '{"id": 7, "ts": 5, "op": "pong"}', True),
        (PONG, '{"op":"pong","id":8}', False),
        (PONG, '{"op":"pong"}', False),
        (PONG, '["op","pong","id",7]', False),
        (PONG, '{"op":"pong","id":7', False),
        (PONG, '"op"', False),
        (PONG, "", False),
        (PONG, b'{"op":"pong","id":7}', True),
        (PONG, b'{"op":"\xff","id":7}', False),
        (PONG, b"\x00op", False),
        ({"op": None}, '{"op":null}', True),
        ({"op": None}, "{}", False),
        ({"data": {"t": "pong"}}, '{"data":{"t":"pong"}}', True),
        (lambda data: len(data) == 2, "ok", True),
        (lambda data: len(data) == 2, "not", False),
    ],
)
def test_an_answer_is_told_from_data(
    answer: Any, heard: str | bytes, is_answer: bool
) -> None:
    recognise = Heartbeat(send="ping", answer=answer).recogniser()
    assert recognise is not None
    assert recognise(heard) is is_answer


def test_no_answer_declared_is_none_looked_for() -> None:
    heartbeat = Heartbeat(send="ping", every=5.0)
    assert heartbeat.recogniser() is None
    assert not heartbeat.beats.answered
    assert heartbeat.beats.every == 5.0


def test_a_heartbeat_may_be_made_anew_each_time() -> None:
    numbers = iter(range(3))
    heartbeat = Heartbeat(send=lambda: f"ping {next(numbers)}")
    assert [heartbeat.words() for _ in range(3)] == ["ping 0", "ping 1", "ping 2"]
    assert Heartbeat(send=b"\x89").words() == b"\x89"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"send": 5}, "Heartbeat.send: wanted str, bytes or a callable, got 5"),
        (
            {"send": "x", "answer": {}},
            "Heartbeat.answer: wanted a mapping with at least one key, got {}",
        ),
        ({"send": "x", "every": 0}, "Heartbeat.every: wanted more than 0, got 0"),
        ({"send": "x", "every": -1.0}, "Heartbeat.every: wanted more than 0, got -1.0"),
    ],
)
def test_a_heartbeat_that_cannot_be_is_refused(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Heartbeat(**options)
    assert str(caught.value) == text


# --- the property can fail ----------------------------------------------------------


def _hands_past_what_waits(
    self: PureLane, messages: list[Message], size_bytes: int
) -> bool:
    if not self.awaited or self._handed is not None:
        return False
    self._handed = messages
    return True


def _hands_over_what_was_handed(
    self: PureLane, messages: list[Message], size_bytes: int
) -> bool:
    if not self.idle:
        return False
    self._handed = messages
    return True


def _takes_what_waits_first(self: PureLane) -> list[Item] | None:
    return None if self.idle else self._waiting.take() or _next(self)


def _gives_each_read_twice(self: PureLane) -> list[Item] | None:
    handed = self._handed
    if handed is not None and id(handed) not in _GIVEN:
        # Once more and not for ever: an endless reader would never let the play end.
        _GIVEN[id(handed)] = handed
        return list(handed)
    return _next(self)


_GIVEN: dict[int, list[Message]] = {}


def _believes_itself_idle(self: PureLane) -> list[Item] | None:
    self.idle = True
    return _next(self)


async def _forgets_the_rest(self: PureLane) -> AsyncIterator[Item]:
    while batch := self._next() or await self._wait():
        for item in batch:
            yield item


_next = PureLane._next
LATE_NOTE: list[Step] = [("turn", 1), ("quiet note", 0), ("read", 2)]
HANDED_TWICE: list[Step] = [("turn", 1), ("read", 1), ("read", 1), ("turn", 2)]
HANDED_AND_PUT: list[Step] = [("turn", 1), ("read", 1), ("put", 1), ("turn", 2)]
HELD: list[Step] = [("hold", 0), ("put", 5), ("turn", 3), ("replace", 0)]

PLANTED: tuple[tuple[str, Callable[..., Any], list[Step]], ...] = (
    ("hand", _hands_past_what_waits, LATE_NOTE),
    ("hand", _hands_over_what_was_handed, HANDED_TWICE),
    ("_next", _takes_what_waits_first, HANDED_AND_PUT),
    ("_next", _gives_each_read_twice, HANDED_AND_PUT),
    ("_next", _believes_itself_idle, LATE_NOTE),
    ("items", _forgets_the_rest, HELD),
)


@pytest.mark.usefixtures("pure")
@pytest.mark.parametrize(("name", "fault", "sequence"), PLANTED)
def test_a_planted_fault_is_found(
    name: str,
    fault: Callable[..., Any],
    sequence: list[Step],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(play(sequence, by_items=True, from_callbacks=False))
    monkeypatch.setattr(PureLane, name, fault)
    with pytest.raises(AssertionError):
        run(play(sequence, by_items=True, from_callbacks=False))


@pytest.mark.usefixtures("pure")
def test_a_bell_that_forgets_who_was_cancelled_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The waiting task would never end: the play runs into its limit of time."""
    sequence: list[Step] = [("turn", 1), ("cancel", 0)]
    run(play(sequence, by_items=True, from_callbacks=False))
    monkeypatch.setattr(Doorbell, "cancel", lambda self, msg=None: True)

    async def main() -> None:
        work = asyncio.ensure_future(
            play(sequence, by_items=True, from_callbacks=False)
        )
        done, _ = await asyncio.wait([work], timeout=0.2)
        assert not done
        monkeypatch.undo()
        work.cancel()

    run(main())
