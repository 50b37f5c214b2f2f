"""The fault lab: its sums and its data everywhere, its networks where root is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.core.items import Cause, Gap
from heartline.testing.lab import links, namespaces, tally
from heartline.testing.lab.calm_acts import most_dials
from heartline.testing.lab.client import runs
from heartline.testing.lab.outcome import Account, Outcome, settle
from heartline.testing.lab.report import markdown, seconds
from heartline.testing.lab.rows import BY_NAME, NOTHING, ROWS, Row
from heartline.testing.lab.series import once, seed_of
from heartline.testing.lab.shells import Context
from heartline.testing.lab.trial import over_bound
from heartline.testing.scenarios import FAULTS

LACKS = namespaces.missing()
needs_the_lab = pytest.mark.skipif(bool(LACKS), reason=f"needs {'; '.join(LACKS)}")


# --- the account ------------------------------------------------------------------


def told_items(kept: list[int], reported: set[int]) -> list[list[Any]]:
    """What a client says that got `kept` and put a gap before each of `reported`."""
    gaps = [
        (place, Gap("outage", 0.0, 1.0, 1))
        for place, number in enumerate(kept)
        if number in reported
    ]
    return runs(kept, gaps)


numbered = st.sets(st.integers(1, 60)).map(sorted)


@given(numbered)
def test_all_adds_up_when_a_gap_stands_wherever_something_is_missing(
    kept: list[int],
) -> None:
    sent = max(kept, default=0)
    holes = {b for a, b in zip([0, *kept], kept, strict=False) if b != a + 1}
    account = settle(told_items(kept, holes), sent)
    assert account.adds_up
    assert account.delivered == len(kept)
    assert account.delivered + account.reported_lost == sent


@given(numbered, st.data())
def test_a_hole_without_a_gap_never_adds_up(kept: list[int], data: Any) -> None:
    holes = [b for a, b in zip([0, *kept], kept, strict=False) if b != a + 1]
    if not holes:
        return
    silent = data.draw(st.sampled_from(holes))
    account = settle(told_items(kept, set(holes) - {silent}), max(kept))
    assert account.unreported_lost > 0
    assert not account.adds_up


@pytest.mark.parametrize(
    ("items", "sent"),
    [
        ([["run", 1, 5]], 6),
        ([["run", 1, 5], ["run", 5, 6]], 6),
        ([["run", 1, 2], ["run", 4, 4], ["run", 3, 3]], 4),
        ([["run", 1, 2], ["gap", {"missing": 5}], ["run", 6, 6]], 6),
    ],
    ids=["the last is missing", "twice", "out of order", "a gap that says too many"],
)
def test_a_planted_fault_of_delivery_does_not_add_up(items: Any, sent: int) -> None:
    assert not settle(items, sent).adds_up


def test_a_gap_after_the_last_message_covers_what_never_came() -> None:
    account = settle([["run", 1, 3], ["gap", {"missing": None}]], 7)
    assert account.adds_up
    assert account.reported_lost == 4


# --- the rows ---------------------------------------------------------------------


def test_every_fault_that_the_demo_shows_is_tried_here_as_well() -> None:
    assert set(FAULTS) <= set(BY_NAME)


def test_rows_have_names_of_their_own_and_causes_that_exist() -> None:
    assert len(BY_NAME) == len(ROWS)
    causes = {cause.value for cause in Cause} | {NOTHING}
    for row in ROWS:
        assert {row.truth, *row.accepted} <= causes, row.name


def test_a_row_that_wants_another_cause_than_the_truth_says_why() -> None:
    for row in ROWS:
        if row.truth not in row.accepted:
            assert row.unseen, row.name


def test_each_trial_draws_for_itself_and_the_same_again() -> None:
    drawn = {seed_of(row.name, n, seed=7) for row in ROWS for n in range(20)}
    assert len(drawn) == 20 * len(ROWS)
    assert seed_of("close", 3, seed=7) == seed_of("close", 3, seed=7)


def test_no_more_dials_are_allowed_than_the_backoff_can_make() -> None:
    assert most_dials(10.0, status=1013) == 4
    assert most_dials(0.0, status=None) == 1


# --- what the router is told ------------------------------------------------------


def test_rules_name_their_direction_and_their_share() -> None:
    assert "iifname far drop" in links.INBOUND
    assert "iifname near drop" in links.OUTBOUND
    assert "mod 1000 < 10 drop" in links.losing(1)
    assert "mod 1000 < 200 drop" in links.losing(20)
    assert "ct state invalid drop" in links.base_rules(nat=True)
    assert "ct state" not in links.base_rules(nat=False)


def test_a_link_in_userspace_is_not_laid_by_ip() -> None:
    names = namespaces.new_names()
    assert "link add far" in links.cables(names, tun=False)
    assert "link add far" not in links.cables(names, tun=True)
    assert set(links.addresses(names)) == set(names.all)


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=5))
def test_a_lost_compressor_is_always_found_out(texts: list[str]) -> None:
    context = Context()
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for text in texts[:-1]:
        packed = context.pack(text.encode())
        assert inflater.decompress(packed + b"\x00\x00\xff\xff") == text.encode()
    whole = b'{"seq":12,"side":"buy","price":"64250.10"}' + texts[-1].encode()
    begun, rest = context.break_off(whole)
    with pytest.raises(zlib.error):
        inflater.decompress(begun + rest + b"\x00\x00\xff\xff")


# --- figures ----------------------------------------------------------------------

ROW = BY_NAME["blackhole"]
GOOD = Outcome(
    row="blackhole",
    repeat=0,
    told="PATH_DEAD",
    told_after_s=0.7,
    bound_s=1.2,
    account=Account(sent=5, delivered=3, reported_lost=2),
)


def changed(**fields: Any) -> Outcome:
    values = {name: getattr(GOOD, name) for name in GOOD.__struct_fields__}
    return Outcome(**{**values, **fields})


def test_a_good_trial_breaks_nothing() -> None:
    assert tally.judge(ROW, GOOD) == []
    assert tally.broken([tally.line(ROW, [GOOD] * 20)]) == []


@pytest.mark.parametrize(
    "planted",
    [
        changed(told="PEER_FROZEN"),
        changed(told=None),
        changed(broken=["told 2.000 s on, promised 1.200 s"]),
        changed(false_alarms=["Lost RESET"]),
        changed(conditions=["NO_PONG"]),
        changed(failed="OSError: no network"),
    ],
    ids=["wrong cause", "nothing told", "late", "false alarm", "condition", "failed"],
)
def test_one_bad_trial_among_twenty_is_found(planted: Outcome) -> None:
    line = tally.line(ROW, [GOOD] * 19 + [planted])
    assert line.broken
    assert tally.broken([line])


def test_one_wrong_cause_in_fifty_is_less_than_promised() -> None:
    line = tally.line(ROW, [GOOD] * 49 + [changed(told="PEER_FROZEN")])
    assert tally.right_share([line]) == 0.98
    assert any("right name" in words for words in tally.broken([line]))


def test_what_cannot_be_seen_is_not_counted_as_rightly_named() -> None:
    unseen = BY_NAME["balancer"]
    line = tally.line(unseen, [changed(row="balancer", told="CHANNEL_STALLED")])
    assert tally.right_share([line]) is None
    matrix = tally.confusion([line])
    assert matrix == {"PEER_FROZEN (unseen)": {"CHANNEL_STALLED": 1}}


def silence(**fields: Any) -> dict[str, Any]:
    """Nothing came from 10.0 to 14.0, on a link that had promised 2.0 s, then 3.0 s."""
    report: dict[str, Any] = {
        "bounds": [[0.0, 9.0], [8.0, 2.0], [10.01, 3.0], [11.0, 60.0]],
        "silences": [[10.0, 14.0]],
        "events": [{"event": "Doubted", "told_at": 12.0}],
        "stalls": [],
    }
    return report | fields


@pytest.mark.parametrize(
    ("report", "over"),
    [
        (silence(), 1.0),
        (silence(events=[{"event": "Lost", "told_at": 12.9}]), 0.0),
        (silence(events=[{"event": "Lost", "told_at": 13.1}]), 0.1),
        (silence(events=[{"event": "Lost", "told_at": 9.9}]), 1.0),
        (silence(silences=[[10.0, 12.9]]), 0.0),
        (silence(stalls=[[11.0, 12.1]]), 0.0),
        (silence(bounds=[]), 0.0),
    ],
    ids=["untold", "in time", "late", "before", "short", "stood still", "not noted"],
)
def test_a_silence_is_held_against_the_bound_at_its_beginning(
    report: dict[str, Any], over: float
) -> None:
    assert over_bound(report) == pytest.approx(over)


def test_spreads_name_the_middle_the_tail_and_the_end() -> None:
    whole = tally.spread([n / 100 for n in range(1, 101)])
    assert (whole.median_s, whole.p99_s, whole.max_s) == (0.505, 0.99, 1.0)
    assert tally.spread([None]) == tally.Spread()


def test_the_report_says_what_was_skipped_unseen_and_broken() -> None:
    unseen: Row = BY_NAME["mtu-blackhole"]
    lines = [
        tally.line(ROW, [GOOD, changed(false_alarms=["Lost RESET"])]),
        tally.line(unseen, [changed(row="mtu-blackhole", told="PEER_FROZEN")]),
    ]
    text = markdown(lines, {"half-a-record": "no openssl"})
    assert "Lost RESET" in text
    assert unseen.unseen in text
    assert "no openssl" in text
    assert "| PATH_DEAD (unseen) |" in text
    assert seconds(0.0123) == "12.3 ms"


# --- networks ---------------------------------------------------------------------


def test_what_a_dead_process_left_is_told_from_what_a_living_one_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine, left = f"hl-{os.getpid()}-1-c", f"hl-{gone.pid}-7-v"
    for name in (mine, left, "hl-1x-1-c", "somebody-elses"):
        (tmp_path / name).touch()
    monkeypatch.setattr(namespaces, "NAMED", tmp_path)
    assert namespaces.left_behind() == [left]


@needs_the_lab
def test_one_trial_ends_well_and_leaves_nothing() -> None:
    outcome = asyncio.run(once(BY_NAME["close"], 0, seed=1))
    assert tally.judge(BY_NAME["close"], outcome) == []
    assert outcome.account.sent > 0
    assert namespaces_of(os.getpid()) == []


@needs_the_lab
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_lab_leaves_no_namespace(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "heartline", "lab", "blackhole", "--repeats", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as lab:
        try:
            wait_for(lambda: len(namespaces_of(lab.pid)) == 6)
            lab.send_signal(number)
            lab.wait(timeout=10)
        finally:
            lab.kill()
    if number == signal.SIGTERM:
        assert lab.returncode == 128 + number
    else:
        assert namespaces_of(lab.pid)
        namespaces.sweep()
    assert namespaces_of(lab.pid) == []


def namespaces_of(pid: int) -> list[str]:
    if not namespaces.NAMED.is_dir():
        return []
    names = (path.name for path in namespaces.NAMED.iterdir())
    return [name for name in names if name.startswith(f"hl-{pid}-")]


def wait_for(condition: Any, *, within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)
