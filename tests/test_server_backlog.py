"""What waits for a slow client: nothing is lost without being told. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline import Inbox
from heartline.server.backlog import Backlog, Missing
from heartline.server.outgoing import Outgoing, outgoing

CHANNELS = st.sampled_from(["book", "trades", None])
POLICIES = st.sampled_from(["drop_oldest", "conflate", "disconnect"])

Told = list[Outgoing | Missing]


def policy(name: str, limit: int) -> Inbox:
    # Within a channel the latest of each last digit is kept.
    key = (lambda m: (m.channel, str(m.data)[-1])) if name == "conflate" else None
    return Inbox(limit=limit, limit_bytes=1000, policy=name, key=key)


@given(
    steps=st.lists(
        st.one_of(CHANNELS.map(lambda c: ("put", c)), st.just(("take", "")))
    ),
    limit=st.integers(min_value=1, max_value=6),
    size=st.integers(min_value=1, max_value=400),
    name=POLICIES,
)
def test_sent_is_received_and_told_missing_in_order_whatever_is_dropped(
    steps: list[tuple[str, str | None]], limit: int, size: int, name: str
) -> None:
    backlog = Backlog(policy(name, limit), now=0.0)
    sent: dict[str | None, int] = {}
    told: Told = []
    for what, channel in steps:
        if what == "take":
            told += backlog.take(now=1.0)
            continue
        sent[channel] = sent.get(channel, 0) + 1
        message = outgoing(channel, sent[channel], str(sent[channel]), now=0.0)
        backlog.put(message, size)
        assert backlog.waiting <= 2 * limit
    while not backlog.empty:
        told += backlog.take(now=2.0)
    for channel, count in sent.items():
        accounted: list[int] = []
        for item in told:
            if item.channel != channel:
                continue
            if isinstance(item, Missing):
                assert item.count == item.last - item.first + 1 > 0
                accounted += range(item.first, item.last + 1)
            else:
                accounted.append(item.offset)
        assert accounted == list(range(1, count + 1))


def test_with_drop_oldest_the_newest_come_and_the_gap_stands_before_them() -> None:
    backlog = Backlog(policy("drop_oldest", 2), now=0.0)
    for offset in range(1, 6):
        backlog.put(outgoing("book", offset, str(offset), now=0.0), 1)
    told = [*backlog.take(now=0.0), *backlog.take(now=0.0)]
    assert told[0] == Missing("book", 1, 3)
    assert [item.offset for item in told if isinstance(item, Outgoing)] == [4, 5]
    assert backlog.empty


def test_conflation_keeps_the_latest_of_each_key() -> None:
    backlog = Backlog(policy("conflate", 3), now=0.0)
    for offset, word in enumerate(["a1", "b2", "c1", "d1", "e2", "f2", "g1"], 1):
        backlog.put(outgoing("book", offset, word, now=0.0), 1)
    told: Told = []
    while not backlog.empty:
        told += backlog.take(now=0.0)
    latest = [item.data for item in told if isinstance(item, Outgoing)][-2:]
    assert latest == ["f2", "g1"]


def test_a_channel_whose_messages_are_all_gone_is_told_too() -> None:
    backlog = Backlog(policy("drop_oldest", 1), now=0.0)
    backlog.put(outgoing("quiet", 7, "x", now=0.0), 1)
    backlog.put(outgoing("loud", 3, "y", now=0.0), 1)
    told = backlog.take(now=0.0)
    assert Missing("quiet", 7, 7) in told
    assert backlog.empty


@pytest.mark.parametrize(
    ("data", "text", "plain", "binary"),
    [
        ("say", b'"data":"say"', b"say", False),
        ({"a": 1}, b'"data":{"a":1}', b'{"a":1}', False),
        (b"\x00\xff", b'"base64":"AP8="', b"\x00\xff", True),
    ],
    ids=["text", "object", "bytes"],
)
def test_published_data_is_encoded_once_for_either_kind_of_client(
    data: object, text: bytes, plain: bytes, binary: bool
) -> None:
    message = outgoing("book", 9, data, now=0.0)
    assert message.text.startswith(b'{"type":"message","channel":"book","offset":9,')
    assert message.text.endswith(text + b"}")
    assert (message.plain, message.binary) == (plain, binary)
