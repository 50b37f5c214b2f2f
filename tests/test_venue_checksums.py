"""Books that a venue proves by checksums: read, made and compared as the venue does."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_recordings import recorded
from heartline.cli.audit import gap_words, proofs, verdict
from heartline.core.orderbook import Changes, Order, OrderBook, Recipe
from heartline.errors import UsageError
from heartline.testing import Capture, CapturedFrame
from heartline.testing.audit import Audit, audit_capture
from heartline.venue.channels import Rule
from heartline.venue.checksums import Checksum, check_checksum
from heartline.venue.classify import Contract
from heartline.venue.decode import opened
from heartline.venue.levels import Books, LevelReader, recipe
from heartline.venue.load import load

# The worked example of https://docs.kraken.com/exchange/guides/websockets/
# book-checksum-v2.md.
EXAMPLE_SUM = 3310070434
EXAMPLE_BIDS = (
    *("45283.5 0.10000000", "45283.4 1.54582015", "45282.1 0.10000000"),
    *("45281.0 0.10000000", "45280.3 1.54592586", "45279.0 0.07990000"),
    *("45277.6 0.03310103", "45277.5 0.30000000", "45277.3 1.54602737"),
    "45276.6 0.15445238",
)
EXAMPLE_ASKS = (
    *("45285.2 0.00100000", "45286.4 1.54571953", "45286.6 1.54571109"),
    *("45289.6 1.54560911", "45290.2 0.15890660", "45291.8 1.54553491"),
    *("45294.7 0.04454749", "45296.1 0.35380000", "45297.5 0.09945542"),
    "45299.5 0.18772827",
)

INTERLEAVED = Checksum(
    field="data[0].checksum",
    algorithm="crc32",
    levels=25,
    order="bid_ask",
    written="as_sent",
    between=":",
    signed=True,
    asks=("data[0].asks",),
    bids=("data[0].bids",),
    price="[0]",
    size="[1]",
)
"""What OKX and Bitget sent until 2024 and 2025."""


@cache
def contract(place: str) -> Contract:
    venue, _, endpoint = place.partition("/")
    return Contract(load(venue).endpoint(endpoint))


def of_kraken(asks: tuple[str, ...], bids: tuple[str, ...], **more: object) -> str:
    """A message as Kraken writes it: numbers, with all their zeros."""

    def levels(side: tuple[str, ...]) -> str:
        pairs = (each.split() for each in side)
        return ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in pairs)

    told = "".join(f',"{k}":{msgspec.json.encode(v).decode()}' for k, v in more.items())
    kind = '"type":"snapshot"' if "symbol" not in more else '"type":"update"'
    return (
        f'{{"channel":"book",{kind},"data":[{{"asks":[{levels(asks)}],'
        f'"bids":[{levels(bids)}]{told}}}]}}'
    )


def test_the_example_of_the_venue_is_reproduced() -> None:
    books = Books(contract("kraken/spot"))
    book = books.book("book:BTC/USD", 0)
    assert book is not None
    snapshot = of_kraken(EXAMPLE_ASKS, EXAMPLE_BIDS, checksum=EXAMPLE_SUM)
    changes = books.readers[0].read(snapshot)
    assert changes is not None
    assert changes.whole
    assert book.take(changes) is True
    assert book.sum() == EXAMPLE_SUM
    wrong = of_kraken(EXAMPLE_ASKS, EXAMPLE_BIDS, checksum=EXAMPLE_SUM + 1)
    changes = books.readers[0].read(wrong)
    assert changes is not None
    assert book.take(changes) is False


def test_zeros_at_the_end_of_a_number_count() -> None:
    books = Books(contract("kraken/spot"))
    shorter = tuple(each.removesuffix("0") for each in EXAMPLE_ASKS)
    for asks, agrees in ((EXAMPLE_ASKS, True), (shorter, False)):
        book = books.book("book:BTC/USD", 0)
        data = of_kraken(asks, EXAMPLE_BIDS, checksum=EXAMPLE_SUM)
        changes = books.readers[0].read(data.encode())
        assert book is not None
        assert changes is not None
        assert book.take(changes) is agrees


@pytest.mark.parametrize(
    ("name", "depth"),
    [("book:BTC/USD", 10), ("book-25:BTC/USD", 25), ("book-1000:BTC/USD", 1000)],
)
def test_what_falls_below_the_depth_asked_for_is_forgotten(
    name: str, depth: int
) -> None:
    book = Books(contract("kraken/spot")).book(name, 0)
    assert book is not None
    assert book.depth == depth
    asks = [(f"{n}.5", "1.0") for n in range(1, depth + 1)]
    book.take(Changes(asks, [], whole=True))
    before = book.sum()
    # One more at the top, and gone again: the last one fell out meanwhile.
    book.take(Changes([("0.5", "2.0")], []))
    book.take(Changes([("0.5", None)], []))
    assert (book.sum() == before) is (depth > 10)
    book.take(Changes([(f"{depth}.5", "1.0")], []))
    assert book.sum() == before


# --- real traffic -----------------------------------------------------------------


@pytest.mark.parametrize(("name", "least"), [("okx", 150), ("bitget", 400)])
def test_books_recorded_when_the_venue_still_summed_them_all_agree(
    name: str, least: int
) -> None:
    rule = Rule(
        channels=("*",),
        rule="none",
        scope="channel",
        snapshot_when={"action": "snapshot"},
        checksum=INTERLEAVED,
    )
    reader = LevelReader(rule, INTERLEAVED, opened, "rule")
    books: dict[str, OrderBook] = {}
    agreed = 0
    for frame in recorded(name).inbound:
        if '"checksum":' not in str(frame.data):
            continue
        changes = reader.read(frame.data)
        assert changes is not None
        whose = str(msgspec.json.decode(frame.data)["arg"])
        book = books.setdefault(whose, OrderBook(recipe(INTERLEAVED)))
        verdict = book.take(changes)
        assert verdict is not False
        agreed += verdict is True
    assert agreed > least


@cache
def kraken() -> Capture:
    return recorded("kraken-v1")


def audited(capture: Capture) -> Audit:
    return audit_capture(capture, contract("kraken/spot_v1"))


def disagreed(report: Audit) -> int:
    return sum(each.checksums.disagreed for each in report.channels if each.checksums)


def test_the_audit_of_a_whole_recording_finds_all_checksums_right() -> None:
    report = audited(kraken())
    told = [each.checksums for each in report.channels]
    assert [each.agreed for each in told if each] == [
        each.messages - 1 for each in report.channels
    ]
    assert disagreed(report) == 0
    assert report.whole
    assert not any(each.gaps for each in report.channels)


def test_the_audit_says_in_words_what_checksums_showed() -> None:
    frames = kraken().frames
    first = places()[0]
    report = audited(Capture((*frames[:first], *frames[first + 1 :])))
    assert list(proofs(audited(kraken()))) == [
        "Checksums of 10 books: 4,269 agree, 0 do not."
    ]
    (gap,) = (gap for each in report.channels for gap in each.gaps)
    assert "the checksum of its book does not agree" in gap_words("a book", gap)
    assert "Numbers and checksums show it" in verdict(report)


def changing(capture: Capture) -> Iterator[int]:
    """The places of updates that change the ten best levels of their book."""
    reader = Books(contract("kraken/spot_v1"))
    books: dict[str, OrderBook] = {}
    for place, frame in enumerate(capture.frames):
        if frame.direction != "in" or '"book-1000"' not in str(frame.data)[-40:]:
            continue
        name = f"book-1000:{msgspec.json.decode(frame.data)[-1]}"
        changes = reader.readers[0].read(frame.data)
        book = books.get(name) or reader.book(name, 0)
        assert book is not None
        assert changes is not None
        before = None if name not in books else book.sum()
        books[name] = book
        book.take(changes)
        if before is not None and book.sum() != before:
            yield place


@cache
def places() -> list[int]:
    return list(changing(kraken()))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**9))
def test_a_lost_change_of_the_best_levels_is_found_at_the_next_checksum(
    pick: int,
) -> None:
    lost = places()[pick % len(places())]
    frames = kraken().frames
    name = f"book-1000:{msgspec.json.decode(frames[lost].data)[-1]}"
    after = [
        frame
        for place, frame in enumerate(frames[lost + 1 :], lost + 1)
        if f'"{name.partition(":")[2]}"]' in str(frame.data)
    ]
    report = audited(Capture((*frames[:lost], *frames[lost + 1 :])))
    gaps = {each.channel: each.gaps for each in report.channels if each.gaps}
    if disagreed(report) == 0:
        # The next change may have been of the same level: then nothing was lost.
        assert not gaps
        assert still_right(lost, name)
        return
    assert not report.whole
    assert list(gaps) == [name]
    (gap,) = gaps[name]
    assert gap.checksum
    assert gap.closed_by is None
    assert gap.until_at in [frame.at for frame in after]


def still_right(lost: int, name: str) -> bool:
    """Whether the messages after a lost one give the book it would have given."""
    books = Books(contract("kraken/spot_v1"))
    both: list[int] = []
    for left_out in (lost, -1):
        book = books.book(name, 0)
        assert book is not None
        for place, frame in enumerate(kraken().frames):
            if place != left_out and f'"{name[10:]}"]' in str(frame.data)[-40:]:
                changes = books.readers[0].read(frame.data)
                assert changes is not None
                book.take(changes)
        both.append(book.sum())
    return both[0] == both[1]


def test_one_changed_figure_is_found() -> None:
    frames = list(kraken().frames)
    place = places()[len(places()) // 2]
    data = str(frames[place].data)
    size = re.findall(r'"([0-9.]+)","[0-9.]+"', data)[-1]
    other = size[:-1] + str((int(size[-1]) + 1) % 10)
    changed = CapturedFrame(frames[place].at, "in", data.replace(size, other))
    frames[place] = changed
    report = audited(Capture(tuple(frames)))
    assert disagreed(report) == 1
    assert not report.whole


# --- one book ---------------------------------------------------------------------

levels = st.lists(
    st.tuples(st.integers(1, 30), st.sampled_from(["0.10", "1.5", "20", None])),
    max_size=12,
)


@given(
    st.lists(st.tuples(levels, levels), min_size=1, max_size=8),
    st.sampled_from(list(Order)),
    st.booleans(),
    st.booleans(),
    st.integers(1, 5),
)
def test_a_book_kept_by_changes_has_the_checksum_of_one_sorted_anew(
    steps: list[tuple[Any, Any]], order: Order, digits: bool, signed: bool, best: int
) -> None:
    between = "" if digits else ":"
    made = Recipe(
        levels=best, order=order, digits=digits, between=between, signed=signed
    )
    book = OrderBook(made)
    sides: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for number, changed in enumerate(steps):
        for side, its in zip(sides, changed, strict=True):
            for price, size in its:
                if size is None:
                    side.pop(price, None)
                else:
                    side[price] = size
        asks, bids = ([(f"{p}.0", s) for p, s in its] for its in changed)
        told = expected(sides, made)
        assert book.take(Changes(asks, bids, whole=number == 0, told=told)) is True
        assert book.take(Changes([], [], told=told ^ 1)) is False


def expected(sides: tuple[dict[int, str], dict[int, str]], made: Recipe) -> int:
    """The plainest way to the same sum."""
    asks, bids = sides

    def text(value: str) -> str:
        return value.replace(".", "").lstrip("0") if made.digits else value

    def written(book: dict[int, str], *, down: bool) -> list[str]:
        best = sorted(book, reverse=down)[: made.levels]
        return [text(f"{p}.0") + made.between + text(book[p]) for p in best]

    up, down = written(asks, down=False), written(bids, down=True)
    if made.order is Order.ASKS_BIDS:
        parts = up + down
    else:
        parts = []
        for at in range(made.levels):
            parts += down[at : at + 1] + up[at : at + 1]
    total = crc32(made.between.join(parts).encode())
    return total - 2**32 if made.signed and total >= 2**31 else total


def test_nothing_is_judged_before_a_whole_book_came() -> None:
    book = OrderBook(Recipe(levels=10, order=Order.ASKS_BIDS))
    assert book.take(Changes([("1", "2")], [], told=5)) is None
    assert not book.is_known
    assert book.take(Changes([], [], whole=True, told=0)) is True


def test_a_book_beyond_measure_is_known_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("heartline.core.orderbook.MOST_LEVELS", 20)
    book = OrderBook(Recipe(levels=10, order=Order.ASKS_BIDS))
    many = [(str(n), "1") for n in range(1, 21)]
    assert book.take(Changes(many, [], whole=True, told=1)) is False
    assert book.take(Changes([("21", "1")], [], told=1)) is None
    assert not book.is_known


# --- what a venue may send --------------------------------------------------------

BROKEN = (
    '{"channel":"book","type":"update","data":[{"asks":[{"price":"x","qty":1}]}]}',
    '{"channel":"book","type":"update","data":[{"asks":[{"qty":1}]}]}',
    '{"channel":"book","type":"update","data":[{"asks":[7]}]}',
    '{"channel":"book","type":"update","data":[{"asks":[null],"checksum":1}]}',
    '{"channel":"book","type":"update","data":[{"asks":[],"checksum":"abc"}]}',
    '{"channel":"book","type":"update","data":[{"asks":[],"checksum":1.5}]}',
    '{"channel":"book","type":"update","data":[{"asks":[{"price":NaN,"qty":1}]}]}',
    '{"data":[{"asks":[{"price":' + "9" * 400 + ',"qty":1}]}]}',
    '{"data":[{"asks":[{"price":true,"qty":1}]}]}',
    "[" * 5000,
    "not JSON",
    b"\xff\xfe",
)


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
def test_a_book_that_cannot_be_read_is_none_and_raises_nothing(
    data: str | bytes,
) -> None:
    reader = Books(contract("kraken/spot")).readers[0]
    assert reader.read(data) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_bitten_message_raises_nothing(seed: int) -> None:
    dice = random.Random(seed)
    good = of_kraken(EXAMPLE_ASKS, EXAMPLE_BIDS, checksum=EXAMPLE_SUM).encode()
    data = bytearray(good)
    for _ in range(dice.randint(1, 4)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    changes = Books(contract("kraken/spot")).readers[0].read(bytes(data))
    if changes is not None:
        book = OrderBook(Recipe(levels=10, order=Order.ASKS_BIDS, digits=True))
        assert book.take(changes) in (True, False, None)


# --- what a profile may say -------------------------------------------------------

GOOD = msgspec.to_builtins(INTERLEAVED)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"levels": None}, "levels"),
        ({"order": None}, "order"),
        ({"written": None}, "written"),
        ({"price": None}, "price"),
        ({"size": None}, "size"),
        ({"bids": ()}, "bids"),
        ({"asks": ()}, "asks"),
        ({"both": "data"}, ""),
        ({"asks": (), "bids": ()}, ""),
        ({"price": "a.b"}, "price"),
        ({"size": "[]"}, "size"),
        ({"gone": "a..b"}, "gone"),
        ({"field": "a..b"}, "field"),
        ({"asks": ("a..b",)}, "asks[0]"),
        ({"when": {"a..b": 1}}, "when.a..b"),
        ({"algorithm": "unpublished"}, "levels"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused_by_its_name(
    change: dict[str, object], field: str
) -> None:
    told = msgspec.structs.replace(INTERLEAVED, **change)
    with pytest.raises(UsageError) as raised:
        check_checksum(told, has_snapshots=True, at="rule.checksum")
    assert raised.value.field == f"rule.checksum.{field}".removesuffix(".")


def test_a_checksum_needs_whole_books_and_no_unknown_words() -> None:
    check_checksum(INTERLEAVED, has_snapshots=True, at="rule.checksum")
    with pytest.raises(UsageError, match="snapshot_when"):
        check_checksum(INTERLEAVED, has_snapshots=False, at="rule.checksum")
    for wrong in ({"recipe": "kraken"}, {"levels": 0}, {"algorithm": "md5"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**GOOD, **wrong}, Checksum)
