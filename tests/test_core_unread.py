"""What waits in the socket is read before silence is judged, and not for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from heartline.core.channel import CHANNEL_PATIENCE
from heartline.core.freshness import STEP
from heartline.core.unread import (
    LATE,
    LEAST_LOOKS,
    LOOK_EVERY,
    PAUSED_EVERY,
    PUT_OFF,
    Unread,
)


def judged_after(unread: Unread, empty_from: float, lags: list[float]) -> float:
    """How long what was due at 0 waits; an alarm rings `lags` late, in turn."""
    now, looks = 0.0, 0
    while unread.waits(unread=now < empty_from, paused=False, now=now):
        looks += 1
        assert looks <= LEAST_LOOKS + PUT_OFF / LOOK_EVERY
        due_at = unread.next_at(0.0)
        assert due_at > now
        now = due_at + lags[looks % len(lags)]
        assert unread.rang(due_at=due_at, now=now) == 0.0
    assert unread.next_at(now) == now
    return now


@given(
    st.floats(0.0, 1.0), st.lists(st.floats(0.0, 0.9 * LATE), min_size=1, max_size=9)
)
def test_what_is_due_waits_for_what_is_unread_and_at_most_so_long(
    empty_from: float, lags: list[float]
) -> None:
    waited = judged_after(Unread(), empty_from, lags)
    late = max(lags)
    assert waited <= max(PUT_OFF, LEAST_LOOKS * (LOOK_EVERY + late)) + LOOK_EVERY + late
    assert waited >= min(empty_from, PUT_OFF - 1e-6)
    if empty_from < PUT_OFF:
        assert waited <= empty_from + LOOK_EVERY + late


def test_a_flood_leaves_room_in_the_bound_of_a_channel() -> None:
    assert STEP + judged_after(Unread(), 1e9, [0.0]) < CHANNEL_PATIENCE


def test_nothing_waits_where_nothing_is_unread() -> None:
    assert judged_after(Unread(), 0.0, [0.0]) == 0.0


def test_what_came_during_a_stall_has_its_whole_time_to_be_read() -> None:
    unread = Unread()
    now = 0.0
    for _ in range(5):
        assert unread.waits(unread=True, paused=False, now=now)
        now += LOOK_EVERY
    stalled = now + 3.0
    assert unread.rang(due_at=now, now=stalled) == stalled - now
    assert unread.waits(unread=True, paused=False, now=stalled)
    assert unread.waits(unread=True, paused=False, now=stalled + PUT_OFF / 2)


def test_while_reading_is_paused_it_is_asked_once_a_second_until_told() -> None:
    unread = Unread()
    now = 0.0
    for _ in range(10):
        assert unread.waits(unread=True, paused=True, now=now)
        assert unread.next_at(-1.0) == now + PAUSED_EVERY
        now += PAUSED_EVERY
    unread.go_on()
    assert unread.next_at(-1.0) == -1.0
    assert not unread.waits(unread=False, paused=False, now=now)


def test_one_wait_does_not_shorten_the_next() -> None:
    unread = Unread()
    for began in (0.0, 60.0):
        assert unread.waits(unread=True, paused=False, now=began)
        assert unread.waits(unread=True, paused=False, now=began + LOOK_EVERY)
        unread.go_on()


def test_a_loop_that_turns_slowly_is_waited_for_two_looks_long() -> None:
    unread = Unread()
    waited = [
        unread.waits(unread=True, paused=False, now=PUT_OFF * n) for n in range(3)
    ]
    assert waited == [True, True, False]


def test_an_alarm_a_tenth_late_is_punctual() -> None:
    assert Unread().rang(due_at=0.0, now=LATE) == 0.0
    assert Unread().rang(due_at=0.0, now=2 * LATE) == 2 * LATE
