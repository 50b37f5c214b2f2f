"""What a late reader starts from is whole, or there is nothing; pure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.client.contract import Venue
from heartline.relay.state import MOST_BYTES, MOST_MESSAGES, States

CONTRACT = Venue(name="deribit").contract
BOOK, WHOLE, TRADES = "book.A.100ms", "book.A.none.10.100ms", "trades.A.100ms"


def said(channel: str, number: int, kind: str = "change", padding: int = 0) -> str:
    data = {"instrument_name": "A", "change_id": number, "x": "x" * padding}
    if kind == "change":
        data["prev_change_id"] = number - 1
    data["type"] = kind
    params = {"channel": channel, "data": data}
    return json.dumps({"method": "subscription", "params": params})


@given(st.lists(st.sampled_from(["snapshot", "change", "change", "gap"]), max_size=40))
def test_it_is_the_last_snapshot_and_all_that_followed_without_a_gap(
    actions: list[str],
) -> None:
    states, model = States(CONTRACT), list[str]()
    whole = heard = False
    for number, action in enumerate(actions, 1):
        if action == "gap":
            states.breach(BOOK)
            whole = False
            continue
        heard = True
        text = said(BOOK, number, action)
        states.take(BOOK, text)
        if action == "snapshot":
            model, whole = [text], True
        else:
            model.append(text)
        assert states.of(BOOK) == (tuple(model) if whole else ())
    assert states.of(BOOK) == ((tuple(model) if whole else ()) if heard else None)


@pytest.mark.parametrize(
    ("changes", "padding"),
    [(MOST_MESSAGES, 0), (2, MOST_BYTES // 2)],
    ids=["messages", "bytes"],
)
def test_what_is_too_much_is_let_go_until_the_next_snapshot(
    changes: int, padding: int
) -> None:
    states = States(CONTRACT)
    states.take(BOOK, said(BOOK, 1, "snapshot"))
    for number in range(2, 2 + changes):
        assert states.of(BOOK)
        states.take(BOOK, said(BOOK, number, padding=padding))
    assert states.of(BOOK) == ()
    states.take(BOOK, said(BOOK, 5000, "snapshot"))
    assert states.of(BOOK) == (said(BOOK, 5000, "snapshot"),)


def test_where_every_message_is_whole_it_is_the_last_one_gap_or_not() -> None:
    states = States(CONTRACT)
    for number in (1, 2, 3):
        states.take(WHOLE, said(WHOLE, number))
    states.breach(WHOLE)
    assert states.of(WHOLE) == (said(WHOLE, 3),)


def test_where_the_profile_marks_no_snapshot_there_is_no_state() -> None:
    states, plain = States(CONTRACT), States(None)
    trade = {"channel": TRADES, "data": [{"trade_seq": 1, "instrument_name": "A"}]}
    text = json.dumps({"method": "subscription", "params": trade})
    for each in (states, plain):
        each.take(TRADES, text)
        assert each.of(TRADES) is None
    plain.take(BOOK, said(BOOK, 1, "snapshot"))
    assert plain.of(BOOK) is None
