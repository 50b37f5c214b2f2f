"""Pings that are out: answered by payload, acknowledged by place, and few."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.core.evidence import Kernel
from heartline.core.pings import MOST_OUT, PingOut, Pings

PING_BYTES = 12


def kernel(*, acked: int, outstanding: int, heard_age: float = 0.0) -> Kernel:
    return Kernel(
        segments_in=1,
        heard_age=heard_age,
        unacked_segments=0,
        outstanding_bytes=outstanding,
        unsent_bytes=0,
        acked_bytes=acked,
        received_bytes=0,
        retransmits=0,
        total_retransmits=0,
        probes_unanswered=0,
        round_trip=0.01,
        round_trip_deviation=0.001,
        min_round_trip=0.01,
        send_window_bytes=65_535,
    )


# --- payloads ---------------------------------------------------------------------

steps = st.lists(st.one_of(st.just("send"), st.integers(0, 30)), max_size=80)
"""To send, or to answer the nth latest ping ever sent; it may be out no more."""


def check_answers(epoch: int, steps: list[str | int]) -> None:
    """Against a list of what is out: an answer settles that ping and all before it."""
    pings = Pings(epoch)
    sent: list[bytes] = []
    out: list[tuple[bytes, float]] = []
    answered = stray = 0
    for nth, step in enumerate(steps):
        now = float(nth)
        if step == "send":
            payload = pings.send(now=now)
            assert payload not in sent
            assert len(payload) <= 125, "a control frame carries no more"
            sent.append(payload)
            out = [*out, (payload, now)][-MOST_OUT:]
        else:
            assert isinstance(step, int)
            payload = sent[-1 - step] if step < len(sent) else b"%d" % step
            position = [known for known, _ in out]
            answer = pings.answer(payload)
            if payload in position:
                at = position.index(payload)
                assert answer is not None
                assert answer.sent_at == out[at][1]
                out = out[at + 1 :]
                answered += 1
            else:
                assert answer is None
                stray += 1
        assert len(pings) == len(out) <= MOST_OUT
        oldest = pings.oldest()
        assert (oldest.sent_at if oldest else None) == (out[0][1] if out else None)
        assert (pings.sent, pings.answered, pings.stray) == (len(sent), answered, stray)


@given(epoch=st.integers(1, 2**40), steps=steps)
def test_a_pong_answers_the_ping_with_its_payload_and_all_before_it(
    epoch: int, steps: list[str | int]
) -> None:
    check_answers(epoch, steps)


def test_a_pong_counts_once() -> None:
    pings = Pings(1)
    payload = pings.send(now=1.0)
    first = pings.answer(payload)
    assert first is not None
    assert first.sent_at == 1.0
    assert pings.answer(payload) is None
    assert (pings.answered, pings.stray) == (1, 1)


def test_a_peer_may_answer_the_latest_only() -> None:
    pings = Pings(1)
    earlier = [pings.send(now=float(nth)) for nth in range(5)]
    latest = pings.answer(earlier.pop())
    assert latest is not None
    assert latest.sent_at == 4.0
    assert len(pings) == 0
    assert [pings.answer(payload) for payload in earlier] == [None] * 4


@pytest.mark.parametrize("payload", [b"", b"ping", b"1.1 ", b"01.1", b"1.2", b"2.1"])
def test_a_pong_nobody_asked_for_is_stray(payload: bytes) -> None:
    pings = Pings(1)
    assert pings.send(now=0.0) == b"1.1"
    assert pings.answer(payload) is None
    assert pings.stray == 1
    assert len(pings) == 1


@given(epochs=st.sets(st.integers(1, 10_000), min_size=2, max_size=5))
def test_pongs_of_a_retired_link_answer_nothing(epochs: set[int]) -> None:
    links = [Pings(epoch) for epoch in epochs]
    payloads = [pings.send(now=0.0) for pings in links for _ in range(20)]
    assert len(set(payloads)) == len(payloads)


def check_most_out(most: int = MOST_OUT) -> None:
    pings = Pings(7)
    payloads = [pings.send(now=float(nth)) for nth in range(most + 5)]
    assert len(pings) == most
    oldest = pings.oldest()
    assert oldest is not None
    assert oldest.sent_at == 5.0
    assert pings.answer(payloads[4]) is None
    assert pings.answer(payloads[5]) is not None


def test_only_the_latest_pings_are_remembered() -> None:
    check_most_out()


def test_nothing_out_is_nothing_old() -> None:
    pings = Pings(1)
    assert pings.oldest() is pings.oldest_unacknowledged() is None
    pings.place(kernel(acked=0, outstanding=0))
    assert pings.acknowledge(kernel(acked=0, outstanding=0), now=1.0) is None
    assert pings.last_at == float("-inf")


# --- places in the byte stream ----------------------------------------------------

moves = st.lists(
    st.one_of(
        st.just(("ping", 0)),
        st.tuples(st.just("write"), st.integers(1, 5000)),
        st.tuples(st.just("ack"), st.integers(0, 6000)),
    ),
    max_size=50,
)


def check_acknowledgements(moves: list[tuple[str, int]]) -> None:
    """A ping has arrived exactly when all bytes up to its end are acknowledged."""
    pings = Pings(1)
    written = acked = 0
    ends: list[tuple[float, int]] = []
    proven: set[float] = set()
    for nth, (move, size) in enumerate(moves):
        now = float(nth)
        if move == "ping":
            pings.send(now=now)
            written += PING_BYTES
            pings.place(kernel(acked=acked, outstanding=written - acked))
            ends = [*ends, (now, written)][-MOST_OUT:]
        elif move == "write":
            written += size
        else:
            acked = min(written, acked + size)
        seen = kernel(acked=acked, outstanding=written - acked, heard_age=0.25)
        at = pings.acknowledge(seen, now=now)
        arrived = [sent_at for sent_at, end in ends if end <= acked]
        new = [sent_at for sent_at in arrived if sent_at not in proven]
        # It arrived when the segment came that said so, and never before it was sent.
        assert at == (max(new[-1], now - 0.25) if new else None)
        proven.update(arrived)
        waiting = pings.oldest_unacknowledged()
        left = [sent_at for sent_at, end in ends if end > acked]
        assert (waiting.sent_at if waiting else None) == (left[0] if left else None)


@given(moves=moves)
def test_a_ping_is_acknowledged_when_its_last_byte_is(
    moves: list[tuple[str, int]],
) -> None:
    check_acknowledgements(moves)


def test_a_ping_without_a_place_has_arrived_when_nothing_is_outstanding() -> None:
    pings = Pings(1)
    pings.send(now=1.0)
    assert pings.acknowledge(kernel(acked=900, outstanding=1), now=2.0) is None
    at = pings.acknowledge(kernel(acked=901, outstanding=0, heard_age=0.5), now=3.0)
    assert at == 2.5
    again = pings.acknowledge(kernel(acked=901, outstanding=0), now=4.0)
    assert again is None, "it is told once"


def test_a_place_is_kept_though_more_is_written_behind_it() -> None:
    pings = Pings(1)
    pings.send(now=1.0)
    pings.place(kernel(acked=100, outstanding=20))
    pings.place(kernel(acked=100, outstanding=5000))
    assert pings.acknowledge(kernel(acked=119, outstanding=4981), now=2.0) is None
    assert pings.acknowledge(kernel(acked=120, outstanding=4980), now=2.5) == 2.5


# --- the properties can fail ------------------------------------------------------


def _answers_alone(self: Pings, payload: bytes) -> PingOut | None:
    sent = self._out.pop(payload, None)
    if sent is None:
        self.stray += 1
        return None
    self.answered += 1
    return sent


def _any_pong_will_do(self: Pings, payload: bytes) -> PingOut | None:
    if not self._out:
        self.stray += 1
        return None
    self.answered += 1
    return self._out.pop(next(iter(self._out)))


def _forgets_nothing(self: Pings, *, now: float) -> bytes:
    self.sent += 1
    payload = b"%x.%x" % (self._epoch, self.sent)
    self._out[payload] = PingOut(sent_at=now)
    return payload


def _places_at_the_start(self: Pings, seen: Kernel) -> None:
    if self._out:
        next(reversed(self._out.values())).position = seen.acked_bytes


def _never_places(self: Pings, seen: Kernel) -> None:
    return None


def _acknowledges_by_silence(self: Pings, seen: Kernel, *, now: float) -> float | None:
    return now if seen.outstanding_bytes == 0 and self._out else None


ANSWERS: list[str | int] = ["send", "send", 0, 0, 1]
STRAY: list[str | int] = ["send", 5]
MOVES = [("write", 3000), ("ping", 0), ("write", 50), ("ack", 1000), ("ack", 2012)]

PLANTED: tuple[tuple[str, Callable[..., object], Callable[[], None]], ...] = (
    ("answer", _answers_alone, lambda: check_answers(1, ANSWERS)),
    ("answer", _any_pong_will_do, lambda: check_answers(1, STRAY)),
    ("send", _forgets_nothing, check_most_out),
    ("place", _places_at_the_start, lambda: check_acknowledgements(MOVES)),
    ("place", _never_places, lambda: check_acknowledgements(MOVES)),
    ("acknowledge", _acknowledges_by_silence, lambda: check_acknowledgements(MOVES)),
)


@pytest.mark.parametrize(("name", "fault", "check"), PLANTED)
def test_a_planted_fault_is_found(
    name: str,
    fault: Callable[..., object],
    check: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check()
    monkeypatch.setattr(Pings, name, fault)
    with pytest.raises(AssertionError):
        check()
