"""The audit of a recording: what is lost, doubled, late, silent and old is told."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_recordings import (
    BEGAN,
    READERS,
    RECORDED,
    Chains,
    Edit,
    apart,
    book,
    breaks,
    chains,
    dial,
    edited,
    frame,
    made_up,
    notified,
    recorded,
    shown,
    subscribed,
    trade,
)
from heartline.core.rules import tracker_of
from heartline.core.sequence import Numbering, Scope
from heartline.core.sequence import Rule as Follows
from heartline.testing import Capture, CapturedFrame
from heartline.testing.audit import NO_CHANNEL, Audit, audit_capture
from heartline.testing.audit_channel import (
    MOST_LISTED,
    ChannelAudit,
    NumberBook,
    Totals,
)
from heartline.venue.channels import Recover, Rule
from heartline.venue.classify import Contract
from heartline.venue.load import load
from heartline.venue.numbering_terms import numbered, numbering_of
from heartline.venue.reading import Source, Update

LONGEST = 350
"""Frames of a recording that is edited many times: each is read anew every time."""


@cache
def contract(place: str) -> Contract:
    venue, _, endpoint = place.partition("/")
    return Contract(load(venue).endpoint(endpoint))


def audited(capture: Capture, place: str = "deribit/main") -> Audit:
    report = audit_capture(capture, contract(place))
    check_sums(report)
    return report


def of(*frames: CapturedFrame) -> Audit:
    return audited(Capture(frames))


def books(report: Audit) -> dict[str | None, ChannelAudit]:
    return {each.channel: each for each in (*report.link, *report.channels)}


def check_sums(report: Audit) -> None:
    """What must hold of every audit: nothing is counted twice or not at all."""
    odd = report.unknown.count + report.malformed.count
    assert report.inbound == report.data + sum(report.control.values()) + odd
    every = [each.totals for each in (*report.link, *report.channels)]
    every += [e.suspicions.totals for e in report.channels if e.suspicions]
    for totals in (*every, report.totals):
        if totals.sent is not None:
            came = totals.received + totals.missing + totals.recovered
            assert totals.sent + totals.duplicated + totals.unplaced == came
        else:
            assert totals.unknown > 0
    assert report.totals.received == sum(e.totals.received for e in report.channels)


# --- real recordings --------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_lacks_nothing_and_its_numbers_are_read_as_by_hand(
    name: str,
) -> None:
    capture = recorded(name)
    report = audited(capture, RECORDED[name])
    assert report.whole
    assert report.totals.gaps == report.totals.duplicated == report.totals.resets == 0
    assert report.inbound == sum(f.direction == "in" for f in capture.frames)
    assert report.malformed.count == 0
    assert report.unknown.count <= 16
    told = books(report)
    by_hand = chains(capture, READERS[name]) if name in READERS else {}
    assert bool(by_hand) == (name in READERS)
    for channel, chain in by_hand.items():
        assert breaks(chain) == 0
        assert told[channel].gaps == ()
        if chain[0].numbers.follows:
            assert told[channel].numbered == len(chain)


@cache
def shortened(name: str) -> tuple[Capture, Chains]:
    capture = Capture(recorded(name).frames[:LONGEST])
    found = chains(capture, READERS[name])
    return capture, {c: chain for c, chain in found.items() if len(chain) > 6}


@st.composite
def edits_of(draw: st.DrawFn, chain_of: Chains) -> list[Edit]:
    channels = list(chain_of)
    edits: list[Edit] = []
    for _ in range(draw(st.integers(1, 8))):
        channel = draw(st.sampled_from(channels))
        at = draw(st.integers(1, len(chain_of[channel]) - 2))
        kind = draw(st.sampled_from(("lose", "double", "swap")))
        run = 1 if kind == "swap" else draw(st.integers(1, 3))
        edits.append(Edit(kind, channel, at, run))
    return apart(edits, chain_of)


def check_edited(capture: Capture, of: Chains, edits: list[Edit], place: str) -> None:
    report = audited(edited(capture, edits, of), place)
    told = books(report)
    for channel, chain in of.items():
        mine = [edit for edit in edits if edit.channel == channel]
        expected = shown(mine, chain)
        audit = told[channel]
        gaps = [(gap.first, gap.last, gap.closed_by) for gap in audit.gaps]
        assert gaps == expected.gaps
        totals = audit.totals
        assert totals.gaps == len(gaps)
        if chain[0].numbers.follows:
            assert totals.received == expected.received
            assert totals.sent == expected.sent
        assert totals.duplicated == expected.duplicated
        assert totals.disordered == expected.disordered
        assert (totals.missing, totals.unknown) == (expected.missing, expected.unknown)
        assert totals.resets == totals.unreadable == 0
    lost = any(e.kind == "lose" and of[e.channel][0].numbers.follows for e in edits)
    assert report.whole is not lost


@pytest.mark.parametrize("name", READERS)
def test_exactly_what_was_planted_in_a_recording_is_told(name: str) -> None:
    capture, of = shortened(name)

    @settings(max_examples=10)
    @given(edits_of(of))
    def check(edits: list[Edit]) -> None:
        check_edited(capture, of, edits, RECORDED[name])

    check()


@settings(max_examples=60)
@given(st.data())
def test_exactly_what_was_planted_is_told(data: st.DataObject) -> None:
    capture = made_up()
    of = chains(capture, READERS["deribit"])
    edits = data.draw(edits_of(of))
    check_edited(capture, of, edits, "deribit/main")


# --- made up: what numbers show ---------------------------------------------------


def test_every_number_of_a_step_is_a_message() -> None:
    url = "wss://api-pub.bitfinex.com/ws/2"
    ack = {"event": "subscribed", "channel": "trades", "chanId": 5, "symbol": "tBTCUSD"}
    seen = [frame(n, [5, "te", [n, 1_600_000_000_000, 1, 2], n]) for n in (2, 3, 6, 9)]
    report = audited(Capture((dial(0, url), frame(1, ack), *seen)), "bitfinex/public")
    (link,) = report.link
    assert (link.channel, link.rule) == (None, "step")
    assert [(g.first, g.last, g.missing) for g in link.gaps] == [(4, 5, 2), (7, 8, 2)]
    assert (link.totals.missing, link.totals.sent) == (4, 8)
    assert not report.whole
    assert report.totals.whole


def test_a_snapshot_closes_a_gap_and_makes_good_nothing() -> None:
    name = "BTC-PERPETUAL"
    report = of(book(0, name, None, 10), book(1, name, 15, 20), book(2, name, None, 30))
    (gap,) = report.channels[0].gaps
    assert (gap.first, gap.last, gap.closed_by) == (11, 15, "snapshot")
    assert (gap.from_at, gap.until_at) == (BEGAN, BEGAN + 1)
    assert not report.whole


def test_many_gaps_are_all_counted_and_closed_by_the_snapshot_after_them() -> None:
    name, count = "BTC-PERPETUAL", MOST_LISTED + 200
    jumps = [book(n, name, 10 * n + 5, 10 * n + 8) for n in range(1, count + 1)]
    last = book(count + 1, name, None, 10 * count + 50)
    (audit,) = of(book(0, name, None, 10), *jumps, last).channels
    assert audit.totals.gaps == audit.totals.unknown == count
    assert len(audit.gaps) == MOST_LISTED
    assert {gap.closed_by for gap in audit.gaps} == {"snapshot"}


def test_a_chain_that_starts_again_lower_is_a_reset() -> None:
    name = "BTC-PERPETUAL"
    frames = [book(0, name, None, 50), book(1, name, 50, 60), book(2, name, 60, 5)]
    (audit,) = of(*frames, book(3, name, 5, 6)).channels
    assert (audit.totals.resets, audit.totals.gaps) == (1, 0)


def test_what_a_venue_does_not_promise_is_a_suspicion_and_no_gap() -> None:
    name = "BTC-PERPETUAL"
    report = of(*(trade(n, name, number) for n, number in enumerate((4, 5, 9, 8))))
    (audit,) = report.channels
    assert report.whole
    assert audit.rule is None
    assert audit.gaps == ()
    assert audit.totals == Totals(received=4, sent=4)
    doubt = audit.suspicions
    assert doubt is not None
    assert doubt.rule == "step"
    assert [(gap.first, gap.last, gap.of) for gap in doubt.gaps] == [(6, 8, name)]
    totals = doubt.totals
    assert (totals.missing, totals.disordered, totals.sent) == (2, 1, 6)


def test_a_message_of_two_channels_is_one_of_each() -> None:
    rows = [{"symbol": "XBTUSD", "price": 1}, {"symbol": "ETHUSD", "price": 2}]
    told = frame(1, {"table": "trade", "action": "insert", "data": rows})
    report = audited(Capture((told,)), "bitmex/main")
    counts = {each.channel: each.messages for each in report.channels}
    assert counts == {"trade:XBTUSD": 1, "trade:ETHUSD": 1}
    assert report.data == 1


def test_a_jump_within_one_message_counts_and_the_message_counts_once() -> None:
    name = "BTC-PERPETUAL"
    rows = [{"trade_seq": n, "instrument_name": name} for n in (4, 5, 9)]
    params = {"channel": f"trades.{name}.100ms", "data": rows}
    (audit,) = of(frame(1, {"method": "subscription", "params": params})).channels
    assert audit.messages == 1
    assert audit.suspicions is not None
    totals = audit.suspicions.totals
    assert (totals.received, totals.missing) == (2, 3)


def test_a_snapshot_closes_only_gaps_that_it_reaches_and_that_are_its_own() -> None:
    tracker = tracker_of(Numbering(rule=Follows.CHAIN, scope=Scope.SYMBOL))
    kept = NumberBook("books", tracker)
    source = Source(channel="books", key="books")
    rows: list[tuple[str, int | None, int, bool]] = [
        *(("A", None, 10, True), ("A", 15, 20, False)),
        *(("B", None, 10, True), ("B", 15, 20, False)),
        ("B", None, 12, True),
    ]

    def take(who: str, prev: int | None, last: int, anew: bool) -> None:
        row = Update(source, ("books", who), prev, None, last, restarts=anew)
        kept.take(row, epoch=1, now=float(last), anew=anew)

    for row in rows:
        take(*row)
    assert [(gap.of, gap.closed_by) for gap in kept.gaps()] == [
        ("A", None),
        ("B", None),
    ]
    take("B", None, 30, True)
    assert [gap.closed_by for gap in kept.gaps()] == [None, "snapshot"]


@pytest.mark.parametrize("certain", [True, False])
@pytest.mark.parametrize("how", ["resubscribe", "rest"])
@pytest.mark.parametrize("overlap", [True, False])
def test_a_rule_of_a_profile_becomes_the_terms_of_the_core(
    how: Any, overlap: bool, certain: bool
) -> None:
    rule = Rule(
        channels=("{symbol}@depth",),
        rule="range",
        scope="symbol",
        first="U",
        last="u",
        overlap=overlap,
        starts_at=3,
        recover=Recover(how=how, joins="covers" if overlap else "chain"),
        certain=certain,
    )
    terms = numbering_of(rule)
    assert terms == Numbering(
        rule=Follows.RANGE,
        scope=Scope.SYMBOL,
        overlap=overlap,
        covers=overlap,
        starts_at=3,
    )
    told = numbered(rule)
    assert (told is not None) is certain
    if told is not None:
        assert told.numbering == terms
        assert told.resubscribe is (how == "resubscribe")


# --- made up: links, channels, silences -------------------------------------------


def test_a_second_dial_is_an_outage_after_which_numbers_begin_anew() -> None:
    name = "BTC-PERPETUAL"
    first = [dial(0), book(1, name, None, 10), book(2, name, 10, 11)]
    report = of(*first, dial(8), book(9, name, 899, 900), book(10, name, 900, 901))
    assert report.connections == 2
    (outage,) = report.outages
    assert (outage.from_at, outage.until_at) == (BEGAN + 2, BEGAN + 9)
    assert not report.whole
    (audit,) = report.channels
    assert audit.gaps == ()
    assert audit.longest_silence_s == 1.0


def test_a_dial_that_brought_nothing_is_part_of_the_outage() -> None:
    name = "BTC-PERPETUAL"
    report = of(dial(0), book(1, name, None, 1), dial(2), dial(3), book(4, name, 1, 2))
    (outage,) = report.outages
    assert (outage.from_at, outage.until_at) == (BEGAN + 1, BEGAN + 4)


def test_the_longest_silence_may_be_the_one_at_the_end() -> None:
    quiet, busy = "ETH-PERPETUAL", "BTC-PERPETUAL"
    frames = [book(0, quiet, None, 1), book(3, quiet, 1, 2), book(5, quiet, 2, 3)]
    frames += [book(n, busy, n - 1, n) for n in range(6, 21)]
    silences = {each.channel: each for each in of(*frames).channels}
    audit = silences[f"book.{quiet}.100ms"]
    assert (audit.longest_silence_s, audit.silent_from_at) == (15.0, BEGAN + 5)
    assert silences[f"book.{busy}.100ms"].longest_silence_s == 1.0


def test_a_channel_that_was_ended_is_not_silent() -> None:
    name, other = "BTC-PERPETUAL", "ETH-PERPETUAL"
    channel = f"book.{name}.100ms"
    asked = {"jsonrpc": "2.0", "id": 9, "method": "public/unsubscribe"}
    end = frame(3, {**asked, "params": {"channels": [channel]}}, "out")
    frames = [*subscribed(0, channel), book(1, name, None, 1), book(2, name, 1, 2)]
    report = of(*frames, end, *(book(n, other, n - 1, n) for n in range(4, 60)))
    assert books(report)[channel].longest_silence_s == 1.0


def test_what_was_asked_for_in_vain_is_named() -> None:
    one, two = "book.BTC-PERPETUAL.100ms", "book.ETH-PERPETUAL.100ms"
    report = of(*subscribed(0, one, two), book(1, "BTC-PERPETUAL", None, 1))
    assert report.silent == (two,)
    assert report.control == {"acked": 1}
    assert [each.channel for each in report.channels] == [one]


def test_channels_are_told_by_the_name_that_was_asked_for() -> None:
    """Kraken's messages do not repeat the depth that was asked for."""
    params = {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}
    ask = {"method": "subscribe", "params": params, "req_id": 3}
    data = {"channel": "book", "type": "update", "data": [{"symbol": "BTC/USD"}]}
    report = audited(Capture((frame(0, ask, "out"), frame(1, data))), "kraken/spot")
    assert [each.channel for each in report.channels] == ["book-25:BTC/USD"]
    unasked = audited(Capture((frame(1, data),)), "kraken/spot")
    assert [each.channel for each in unasked.channels] == ["book:BTC/USD"]


def test_a_request_without_an_id_is_understood_all_the_same() -> None:
    args = [{"channel": "tickers", "instId": "BTC-USDT"}]
    ask = frame(0, {"op": "subscribe", "args": args}, "out")
    told = {"arg": args[0], "event": "subscribe", "connId": "a4d3ae55"}
    report = audited(Capture((ask, frame(1, told))), "okx/public")
    assert report.silent == ("tickers:BTC-USDT",)
    assert report.control == {"acked": 1}


def test_data_of_nobody_knows_whom_is_counted_apart() -> None:
    data = frame(1, [77, [1, 2, 3], 1])
    report = audited(Capture((dial(0), data)), "bitfinex/public")
    assert [each.channel for each in report.channels] == [NO_CHANNEL]


# --- made up: ages ----------------------------------------------------------------


def test_without_answers_ages_count_from_the_fastest_message() -> None:
    delays = (0.005, 0.055, 0.105, 0.255)
    frames = [stamped(n, delay, shift=-3600.0) for n, delay in enumerate(delays)]
    report = of(*frames)
    (audit,) = report.channels
    latency = audit.latency
    assert latency is not None
    assert latency.uncertainty_s is None
    assert latency.median_s == pytest.approx(0.050, abs=0.002)
    assert latency.most_s == pytest.approx(0.250, abs=0.002)
    assert latency.skew_s == pytest.approx(3600.005, abs=0.002)
    assert latency.of == "event"
    assert report.clocks.offset_most_s is None


def test_the_fastest_answer_bounds_ages_for_the_whole_recording() -> None:
    """It took 20 ms; the fastest message came late and judges those before it too."""
    frames = [stamped(n, delay, shift=7.0) for n, delay in ((1, 0.255), (2, 0.005))]
    report = of(*subscribed(0, "ticker.BTC-PERPETUAL.100ms"), *frames)
    latency = report.channels[0].latency
    assert latency is not None
    assert latency.uncertainty_s == pytest.approx(0.010, abs=0.002)
    assert latency.median_s == pytest.approx(0.010, abs=0.002)
    assert latency.most_s == pytest.approx(0.260, abs=0.002)
    assert report.clocks.assumed


@settings(max_examples=60)
@given(
    shift=st.floats(-5, 5),
    there=st.floats(0.001, 0.3),
    back=st.floats(0.001, 0.3),
    delays=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=20),
    asked_after=st.integers(0, 20),
)
def test_the_stated_uncertainty_holds_the_truth(
    shift: float, there: float, back: float, delays: list[float], asked_after: int
) -> None:
    """The venue's clock is off, and the way there is not as long as the way back."""
    frames = [stamped(n, delay, shift=shift) for n, delay in enumerate(delays)]
    at = asked_after + 0.3
    ask = {"jsonrpc": "2.0", "id": 44, "method": "public/test", "params": {}}
    out = int((BEGAN + at + there + shift) * 1e6)
    answer = {"jsonrpc": "2.0", "id": 44, "result": {"version": "1"}, "usOut": out}
    frames += [frame(at, ask, "out"), frame(at + there + back, answer)]
    report = of(*sorted(frames, key=lambda frame: frame.at))
    assert report.control == {"answer": 1}
    latency = report.channels[0].latency
    assert latency is not None
    assert latency.uncertainty_s is not None
    # A stamp of whole milliseconds; floats of this size are good to a microsecond.
    give = latency.uncertainty_s + 0.001
    assert abs(latency.most_s - max(delays)) <= give
    assert latency.uncertainty_s <= (there + back) / 2 + 0.01
    assert report.clocks.offset_least_s is not None
    assert report.clocks.offset_least_s - 0.01 <= shift
    assert report.clocks.offset_most_s is not None
    assert shift <= report.clocks.offset_most_s + 0.01


def stamped(at: float, delay: float, *, shift: float) -> CapturedFrame:
    """A message that took `delay`, stamped by a clock that is ahead by `shift`."""
    stamp = int((BEGAN + at - delay + shift) * 1000)
    told = notified("ticker.BTC-PERPETUAL.100ms", timestamp=stamp)
    return frame(at, told)


def test_an_id_used_twice_does_not_tell_how_fast_the_answer_was() -> None:
    names = ["book.BTC-PERPETUAL.100ms", "book.ETH-PERPETUAL.100ms"]
    asked = [subscribed(n / 100, name, id=1) for n, name in enumerate(names)]
    (one, one_answer), (two, two_answer) = asked
    data = book(3, "BTC-PERPETUAL", None, 1)
    report = of(one, two, one_answer, two_answer, data)
    assert report.clocks.offset_most_s is None
    once = of(one, one_answer, data)
    assert once.clocks.assumed


# --- made up: what cannot be read -------------------------------------------------


def test_unknown_and_malformed_messages_are_counted_and_their_places_told() -> None:
    wrong = notified("book.BTC-PERPETUAL.100ms", type="change", change_id=[1])
    odd = [frame(1, "{"), frame(2, {"hello": 1}), frame(3, wrong), frame(4, "]")]
    report = of(dial(0), *odd)
    assert report.unknown.count == 1
    assert report.unknown.frames == (3,)
    assert report.malformed.count == 3
    assert report.malformed.frames == (2, 4, 5)
    assert sum(report.malformed.reasons.values()) == 3
    assert report.whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("id", "method", "params", "channel", "data", "change_id", "result")
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(("in", "out")), JSON), max_size=6))
def test_whatever_is_recorded_is_audited(said: list[tuple[str, Any]]) -> None:
    frames = [frame(n, document, way) for n, (way, document) in enumerate(said)]
    report = of(dial(0), *frames)
    assert report.inbound == sum(way == "in" for way, _ in said)
