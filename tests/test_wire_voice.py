"""Pings at rest that nobody is woken for: sent, answered and told as any other."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

import heartline
from heartline.compiled import compiled
from heartline.core import events
from heartline.core.adaptive import probe_timeout
from heartline.core.pings import ping_due
from heartline.core.rest import Rest
from heartline.core.untold import ANSWER_WITHIN, MOST, Asking
from heartline.testing import FaultyServer
from heartline.wire import pump, resting
from heartline.wire.alarms import Alarms
from heartline.wire.resting import PureResting, Said
from stream_kit import in_loop, watching
from test_wire_resting import FAR, Bell, Line

_compiled = compiled("wire._resting")
needs_twin = pytest.mark.skipif(_compiled is None, reason="no twin is used")

POLICY = heartline.Liveness(kernel_interval=60)
PING_BYTES, PONG_BYTES = 9, 5


class Speaker:
    """A link at rest whose peer answers when it is told to."""

    def __init__(self, line: Line, **terms: Any) -> None:
        self.line = line
        self.asked = self.woken = self.enough = 0
        self.sent: list[bytes] = []
        self.told: list[events.RoundTripMeasured] = []
        self.failures: list[Exception] = []
        self.heard: Callable[[bytes], bool] | None = None
        self.on = True
        self.fails: Exception | None = None
        self.terms = Asking(
            epoch=26,
            sent=9,
            every=POLICY.ping_every,
            measure_every=POLICY.measure_every,
            patience=50.0,
            within=ANSWER_WITHIN,
            besides_at=terms.pop("besides_at", FAR),
        )
        assert _compiled is not None
        bell = cast(Alarms, Bell())
        self.resting: PureResting = _compiled.Resting(bell, time.monotonic)
        self.rest = line.rest(ask_at=time.monotonic())
        self.number = self.resting.add(
            self, self.rest, line.eyes, late_after=30.0, due_at=time.monotonic()
        )

    def wake(self) -> None:
        self.woken += 1
        self.resting.take(self.number)

    def ask(self) -> None:
        self.asked += 1

    def voice(self) -> Said:
        return Said(self.terms, self.send, self.hear, self.tell, lambda _: self.on)

    def send(self, payload: bytes) -> None:
        if self.fails is not None:
            raise self.fails
        self.sent.append(payload)
        self.line.ours.sendall(bytes(PING_BYTES))

    def hear(self, answered: Callable[[bytes], bool] | None) -> None:
        self.heard = answered

    def tell(self, event: events.RoundTripMeasured) -> None:
        if self.fails is not None:
            raise self.fails
        self.told.append(event)

    def answered_enough(self) -> None:
        self.enough += 1

    def failed_to_obey(self, output: object, error: Exception) -> None:
        self.failures.append(error)

    def answers(self, happens: Callable[[Speaker], None] | None = None) -> bool:
        """The peer does, and it is read, and then something else happens."""
        self.line.theirs.recv(PING_BYTES, socket.MSG_WAITALL)
        self.line.theirs.sendall(bytes(PONG_BYTES))
        self.line.ours.recv(PONG_BYTES, socket.MSG_WAITALL)
        self.line.settle()
        if happens is not None:
            happens(self)
        return self.takes()

    def takes(self, payload: bytes | None = None) -> bool:
        assert self.heard is not None
        return self.heard(self.sent[-1] if payload is None else payload)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


@needs_twin
def test_a_ping_and_its_answer_wake_nobody_and_are_kept(line: Line) -> None:
    speaker = Speaker(line)
    before = time.monotonic()
    speaker.resting.wake()
    assert speaker.sent == [b"1a.a"]
    sent_at, asked_with = speaker.resting.unanswered(speaker.number) or (0.0, None)
    assert before <= sent_at <= time.monotonic()
    assert asked_with is not None
    assert asked_with.kernel is not None
    position = asked_with.kernel.acked_bytes + asked_with.kernel.outstanding_bytes
    assert position == speaker.rest.seen.acked_bytes + PING_BYTES
    assert speaker.answers()
    assert (speaker.asked, speaker.woken) == (0, 0)
    (event,) = speaker.told
    assert event == events.RoundTripMeasured(
        at=event.at, epoch=26, round_trip=event.at - sent_at
    )
    assert speaker.resting.unanswered(speaker.number) is None
    answers, seen = speaker.resting.answers(speaker.number) or ([], None)
    assert answers == [sent_at, event.at]
    assert seen is not None
    ours, theirs = seen.kernel, line.eyes.read().kernel
    assert ours is not None
    assert theirs is not None
    assert [*as_told(ours)] == [*as_told(theirs)]
    assert 0.0 <= ours.sent_age <= theirs.sent_age <= ours.sent_age + 0.5
    assert speaker.resting.answers(speaker.number) is None


def as_told(kernel: Any) -> Iterator[object]:
    """All but how long ago it was heard and we sent, which goes on."""
    fields = kernel.__struct_fields__
    return (getattr(kernel, name) for name in fields if not name.endswith("_age"))


@needs_twin
@pytest.mark.parametrize("besides", [None, 5.0])
def test_after_an_answer_it_rests_as_one_that_was_told(
    line: Line, besides: float | None
) -> None:
    besides_at = FAR if besides is None else time.monotonic() + besides
    speaker = Speaker(line, besides_at=besides_at)
    speaker.resting.wake()
    assert speaker.answers()
    (event,) = speaker.told
    _, seen = speaker.resting.answers(speaker.number) or ([], None)
    assert seen is not None
    kernel = seen.kernel
    assert kernel is not None
    timeout = probe_timeout(
        kernel.round_trip, kernel.round_trip_deviation, kernel.min_round_trip
    )
    sent_at = event.at - event.round_trip
    ask_at = ping_due(POLICY, heard_at=event.at, last_at=sent_at)
    rest = Rest(kernel, patience=min(60.0, 50.0 + timeout), ask_at=ask_at)
    wanted = rest.until_at(besides_at).until(seen, now=event.at)
    until, looked_at = speaker.resting.take(speaker.number)
    assert (until, looked_at) == (wanted, event.at)
    assert speaker.heard is None


def unread(speaker: Speaker) -> None:
    speaker.line.theirs.sendall(b"more")
    deadline = time.monotonic() + 10.0
    while not speaker.line.eyes.read().unread_bytes:
        assert time.monotonic() < deadline


def held(speaker: Speaker) -> None:
    speaker.line.held = 1


def stood_still(speaker: Speaker) -> None:
    speaker.on = False


@needs_twin
@pytest.mark.parametrize("happens", [unread, held, stood_still])
def test_where_there_is_more_to_it_an_answer_is_left_to_the_machine(
    line: Line, happens: Callable[[Speaker], None]
) -> None:
    speaker = Speaker(line)
    speaker.resting.wake()
    assert not speaker.answers(happens)
    assert not speaker.told
    assert speaker.resting.answers(speaker.number) is None
    assert speaker.resting.unanswered(speaker.number) is not None


@needs_twin
def test_what_nobody_asked_is_left_to_the_machine(line: Line) -> None:
    speaker = Speaker(line)
    speaker.resting.wake()
    for payload in (b"", b"1a.", b"1a.b", b"1a.a0", b"1a.a\0"):
        assert not speaker.takes(payload)
    assert speaker.answers()
    assert not speaker.takes()
    assert len(speaker.told) == 1


@needs_twin
def test_a_ping_without_an_answer_wakes_its_machine_in_time(line: Line) -> None:
    speaker = Speaker(line)
    speaker.resting.wake()
    speaker.resting.wake()
    assert not speaker.woken
    sent_at, _ = speaker.resting.unanswered(speaker.number) or (0.0, None)
    while time.monotonic() < sent_at + ANSWER_WITHIN:
        time.sleep(0.01)
    heard = speaker.heard
    assert heard is not None
    assert not speaker.answers(), "it may have waited out a stall"
    speaker.resting.wake()
    assert speaker.woken == 1
    assert speaker.heard is None
    assert not heard(speaker.sent[-1])


@needs_twin
def test_so_many_answers_are_to_be_told(line: Line) -> None:
    speaker = Speaker(line)
    for nth in range(1, MOST + 1):
        assert not speaker.enough
        speaker.resting.renew(
            speaker.number, line.rest(ask_at=time.monotonic()), time.monotonic()
        )
        speaker.resting.wake()
        assert len(speaker.sent) == nth
        assert speaker.answers()
    assert speaker.enough == 1
    answers, _ = speaker.resting.answers(speaker.number) or ([], None)
    assert answers[1::2] == [event.at for event in speaker.told]


@needs_twin
def test_an_observer_that_fails_is_reported_and_the_answer_kept(line: Line) -> None:
    speaker = Speaker(line)
    speaker.resting.wake()
    speaker.fails = ZeroDivisionError()
    assert speaker.answers()
    assert speaker.failures == [speaker.fails]
    assert speaker.resting.answers(speaker.number) is not None


@needs_twin
def test_a_ping_that_cannot_be_sent_is_the_machines_at_once(line: Line) -> None:
    speaker = Speaker(line)
    speaker.fails = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        speaker.resting.wake()
    assert not speaker.woken
    found = speaker.resting.unanswered(speaker.number)
    assert found is not None
    assert found[1].kernel is None
    speaker.resting.wake()
    assert speaker.woken == 1


@pytest.mark.parametrize("twin", ["compiled", "pure"])
@in_loop
async def test_every_ping_of_an_idle_stream_is_counted_and_told(
    twin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if twin == "pure":
        monkeypatch.setattr(resting, "Resting", PureResting)
    elif _compiled is None:
        pytest.skip("no twin is used")
    asked = 0

    def ask(self: pump.Pump) -> None:
        nonlocal asked
        asked += 1
        ask_as_ever(self)

    ask_as_ever = pump.Pump.ask
    monkeypatch.setattr(pump.Pump, "ask", ask)
    policy = heartline.Liveness(kernel_interval=20, ping_every=0.1)
    async with (
        FaultyServer(rate=0) as server,
        watching(server.url, liveness=policy) as w,
    ):
        await w.live()

        def measured() -> list[float]:
            return [event.round_trip for event in w.of(events.RoundTripMeasured)]

        for count in (2, MOST, MOST + 3):
            await w.until(lambda n=count: len(measured()) >= n, f"{count} answers", 20)
            status = w.stream.status
            assert status.round_trip.samples == len(measured())
            assert status.round_trip.last == measured()[-1]
            assert status.counts.pongs >= len(measured())
            assert w.stream.latency.round_trip.samples == len(measured())
        if not w.late():
            assert (asked == 0) == (twin == "compiled")
        if twin == "compiled":
            server.freeze()
            lost = await w.told(events.Lost, within=30.0)
            assert lost.cause is heartline.Cause.PEER_FROZEN
