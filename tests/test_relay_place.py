"""Which numbers say which message it is, over all profiles and in Deribit's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from heartline.client.contract import Venue
from heartline.relay.place import Place, Places, identifies
from heartline.venue.load import load, names

DERIBIT = Places(Venue(name="deribit").contract)
BOOK = "book.A.100ms"
WHOLE = "book.A.none.10.100ms"


def said(channel: str, **data: Any) -> str:
    params = {"channel": channel, "data": {"instrument_name": "A", **data}}
    return json.dumps({"method": "subscription", "params": params})


@pytest.mark.parametrize("venue", names())
def test_no_number_of_one_link_identifies_a_message(venue: str) -> None:
    for endpoint in load(venue).endpoints.values():
        for rule in endpoint.sequence.rules if endpoint.sequence else ():
            if identifies(rule):
                assert rule.scope in ("channel", "symbol")
                assert rule.starts_at is None
                assert rule.certain
                assert rule.rule not in ("none", "monotonic")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (said(BOOK, type="change", change_id=9, prev_change_id=7), Place(7, 9)),
        (said(BOOK, type="snapshot", change_id=9), Place(9, 9, whole=True)),
        (said(WHOLE, change_id=9), Place(-1, 9, whole=True)),
        (said(BOOK, type="change", change_id=9), None),
        (said("trades.A.100ms", trade_seq=9), None),
        (json.dumps({"method": "heartbeat", "params": {"type": "heartbeat"}}), None),
        ("no json", None),
    ],
    ids=["change", "snapshot", "whole", "no prev", "trades", "heartbeat", "text"],
)
def test_the_place_of_a_message(text: str, place: Place | None) -> None:
    assert DERIBIT.of(text) == place


def test_without_a_contract_no_message_has_a_place() -> None:
    assert Places(None).of(said(BOOK, type="snapshot", change_id=9)) is None
