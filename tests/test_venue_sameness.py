"""What of a message is the same on every link, however odd the rest of it is."""

from __future__ import annotations

import pytest

from heartline.venue.classify import Classifier, Contract
from heartline.venue.load import load
from heartline.venue.reading import Update
from heartline.venue.sameness import Sameness

LEVELS = (
    '"channel":"l2_data","timestamp":"2023-02-09T20:32:50.7Z","sequence_num":%d,'
    '"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"bid",'
    '"event_time":"1970-01-01T00:00:00Z","price_level":"21921.73",'
    '"new_quantity":"%s"}]}]'
)


def of_coinbase() -> Contract:
    return Contract(load("coinbase").endpoints["advanced"])


def test_a_links_own_count_is_no_part_of_it() -> None:
    sameness = Sameness(of_coinbase())
    one, two = (sameness.mark("{" + LEVELS % (n, "0.06") + "}") for n in (3, 9))
    assert one == two
    assert sameness.mark("{" + LEVELS % (3, "0.07") + "}") != one


def test_the_number_of_a_subscription_and_its_count_are_no_part_of_it() -> None:
    """Kalshi numbers the subscriptions of each link by itself."""
    sameness = Sameness(Contract(load("kalshi").endpoints["main"]))
    delta = '{"type":"orderbook_delta","sid":%d,"seq":%d,"msg":{"delta":%d}}'
    assert sameness.mark(delta % (1, 7, 5)) == sameness.mark(delta % (2, 90, 5))
    assert sameness.mark(delta % (1, 7, 5)) != sameness.mark(delta % (1, 7, 6))


@pytest.mark.parametrize(
    "more",
    [b'"x":1e999', b'"x":"\xff"', b'"x":' + b"[" * 9999 + b"]" * 9999, b'"x":'],
    ids=["too large a number", "no text", "too deep", "cut short"],
)
def test_what_was_read_as_data_has_a_mark_whatever_else_it_holds(more: bytes) -> None:
    """Of a message of data only what the profile names was read."""
    contract = of_coinbase()
    classifier, sameness = Classifier(contract), Sameness(contract)
    classifier.want(["level2:BTC-USD"])
    for number in (1, 2):
        assert type(classifier.read("{" + LEVELS % (number, "0.06") + "}")) is Update
    odd = b"{" + (LEVELS % (3, "0.06")).encode() + b"," + more + b"}"
    classifier.read(odd)
    assert sameness.mark(odd) == sameness.mark(odd)
    assert sameness.mark(odd) != sameness.mark(odd + b" ")
    assert sameness.mark(odd) != sameness.mark(odd.replace(b"0.06", b"0.07"))
