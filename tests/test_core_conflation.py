"""Gaps of a conflating inbox stand where messages are missing, held against a model.

The model knows nothing of runs, holes or passes: it is the list of what arrived, and
the list of what was read. Between two messages that were read, all that arrived between
them is missing there, and the gaps that stand there must say exactly that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartline import Gap, Inbox, Item, Message, Phase, Status
from heartline.core import inbox
from heartline.core.inbox import Buffer
from inbox_kit import status

Step = tuple[str, Any]

arrivals = st.lists(st.integers(0, 7), min_size=1, max_size=6)
steps = st.lists(
    st.one_of(
        arrivals.map(lambda keys: ("put", keys)),
        arrivals.map(lambda keys: ("put", keys)),
        st.sampled_from([("gap", None), ("take", 1), ("take", 3)]),
        st.sampled_from([Phase.OPEN, Phase.BACKOFF]).map(lambda p: ("status", p)),
    ),
    max_size=60,
)


def key_of(message: Message) -> int:
    return int(str(message.data).split(":", maxsplit=1)[0])


def play(history: Sequence[Step], policy: Inbox) -> tuple[list[Item], list[Item]]:
    """What arrived and what was read; its totals are checked on the way."""
    buffer, at = Buffer(policy), 0.0
    arrived: list[Item] = []
    read: list[Item] = []
    for what, how in history:
        at += 1.0
        match what:
            case "put":
                messages = [
                    Message(f"{key}:{nth}", at + nth / 16)
                    for nth, key in enumerate(how)
                ]
                arrived += messages
                buffer.put(messages, 10 * len(messages))
            case "take":
                read += buffer.take(how)
            case _:
                note = (
                    Gap("outage", at, at + 0.5, 1) if what == "gap" else status(how, at)
                )
                arrived.append(note)
                buffer.note(note)
        assert buffer.received == buffer.delivered + buffer.dropped + buffer.waiting
        assert buffer.waiting <= 2 * policy.limit
        waits = [run for run in buffer._runs if isinstance(run, inbox._Hole)]
        told = [run for run in buffer._runs if isinstance(run, Gap | Status)]
        assert len(waits) <= buffer.waiting + len(told) + 1, "two holes side by side"
    read += buffer.take(1 << 30)
    gaps = [item for item in read if _is_overflow(item)]
    assert buffer.gaps == len(gaps)
    assert sum(gap.missing or 0 for gap in gaps) == buffer.dropped
    assert (buffer.waiting, buffer.waiting_bytes) == (0, 0)
    return arrived, read


def _is_overflow(item: Item) -> bool:
    return isinstance(item, Gap) and item.reason == "overflow"


def stretches(items: Sequence[Item], ends: set[int]) -> Iterator[list[Item]]:
    """What lies between those of `ends`."""
    stretch: list[Item] = []
    for item in items:
        if id(item) in ends:
            yield stretch
            stretch = []
        else:
            stretch.append(item)
    yield stretch


def check_places(arrived: Sequence[Item], read: Sequence[Item]) -> None:
    delivered = [item for item in read if isinstance(item, Message)]
    ends = set(map(id, delivered))
    assert [item for item in arrived if id(item) in ends] == delivered
    pairs = zip(stretches(arrived, ends), stretches(read, ends), strict=True)
    for was, told in pairs:
        missing = [item for item in was if isinstance(item, Message)]
        gaps = [i for i in told if isinstance(i, Gap) and i.reason == "overflow"]
        assert sum(gap.missing or 0 for gap in gaps) == len(missing)
        assert all(gap.missing for gap in gaps), "a gap of nothing"
        if missing:
            assert min(gap.from_at for gap in gaps) == missing[0].received_at
            assert max(gap.until_at for gap in gaps) == missing[-1].received_at
        for message in missing:
            assert any(g.from_at <= message.received_at <= g.until_at for g in gaps)
        outages = [i for i in told if isinstance(i, Gap) and i.reason == "outage"]
        for outage in was:
            if isinstance(outage, Gap):
                assert any(
                    gap.from_at <= outage.from_at and outage.until_at <= gap.until_at
                    for gap in outages
                )


def check(history: Sequence[Step], limit: int, limit_bytes: int, kept: int) -> None:
    policy = Inbox(limit=limit, limit_bytes=limit_bytes, policy="conflate", key=key_of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox, "KEPT_NOTES", kept)
        arrived, read = play(history, policy)
    check_places(arrived, read)


@settings(max_examples=400, deadline=None)
@given(
    history=steps,
    limit=st.integers(1, 8),
    limit_bytes=st.sampled_from([35, 1 << 20]),
    kept=st.sampled_from([2, 5, 64]),
)
def test_what_was_replaced_lies_in_a_gap_between_its_delivered_neighbours(
    history: list[Step], limit: int, limit_bytes: int, kept: int
) -> None:
    check(history, limit, limit_bytes, kept)


def test_a_gap_stands_between_two_kept_messages_whose_rest_was_replaced() -> None:
    buffer = Buffer(Inbox(limit=4, policy="conflate", key=key_of))
    words = ["0:rare", "1:a", "1:b", "2:rare", "1:c", "1:d"]
    messages = [Message(word, float(nth)) for nth, word in enumerate(words)]
    assert buffer.put(messages, 60) == 3
    assert buffer.take(9) == [
        messages[0],
        Gap("overflow", 1.0, 2.0, 0, missing=2),
        messages[3],
        Gap("overflow", 4.0, 4.0, 0, missing=1),
        messages[5],
    ]


def test_what_is_kept_and_dropped_of_a_read_has_all_its_bytes() -> None:
    buffer = Buffer(Inbox(limit=4, policy="conflate", key=key_of))
    words = ["0:rare", "1:a", "1:b", "2:rare", "1:c", "1:d"]
    buffer.put([Message(word, 0.0) for word in words], 100)
    # Each is taken for a sixth of its read: 16, 50 less 33 ... of 100.
    assert (buffer.waiting, buffer.waiting_bytes) == (3, 16 + 16 + 17)
    for left in (33, 17, 0):
        buffer.take(1)
        assert buffer.waiting_bytes == left


def test_notes_that_are_merged_leave_the_count_of_what_was_replaced_apart() -> None:
    forty: list[Step] = [("put", [0]), *[("gap", None)] * 40]
    history: list[Step] = [*forty, *forty, ("put", [0, 0, 0])]
    arrived, read = play(history, Inbox(limit=4, policy="conflate", key=key_of))
    check_places(arrived, read)
    assert read == [
        Gap("outage", 2.0, 82.5, 1),
        Gap("overflow", 1.0, 83.0625, 0, missing=4),
        arrived[-1],
    ]


# --- the checks can fail -------------------------------------------------------------

_conflate, _hole, _merge = Buffer._conflate, inbox._hole, inbox._merge


def _gathers_its_holes(self: Buffer) -> int:
    """One gap before all that is kept, as long as all of them."""
    lost = _conflate(self)
    holes = [run for run in self._runs if isinstance(run, inbox._Hole)]
    rest = [run for run in self._runs if not isinstance(run, inbox._Hole)]
    for hole in holes[1:]:
        holes[0].add(hole)
    self._runs = [*holes[:1], *rest]
    return lost


def _tells_one_instant(messages: list[Message]) -> Any:
    return _hole(messages[:1] * len(messages))


def _counts_them_all_together(notes: list[Any]) -> list[Any]:
    told = [note.gap() if isinstance(note, inbox._Hole) else note for note in notes]
    return _merge(told)


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (Buffer, "_conflate", _gathers_its_holes),
        (inbox, "_hole", _tells_one_instant),
        (inbox, "_merge", _counts_them_all_together),
    ],
)
def test_a_planted_fault_is_found(
    owner: Any, name: str, fault: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    history: list[Step] = [
        ("put", [0, 1]),
        ("gap", None),
        ("put", [0, 1]),
        *[("gap", None)] * 2,
        ("put", [0, 1, 1, 2, 1, 1]),
    ]
    check(history, 4, 1 << 20, 2)
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises(AssertionError):
        check(history, 4, 1 << 20, 2)
