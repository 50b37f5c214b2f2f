"""`heartline demo`: short faults for real, and the judgement of broken promises."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from heartline.cli import app
from heartline.cli.demo import chapter_of, closing_words, entry_of, json_line
from heartline.cli.running import Exit
from heartline.core.events import Connected, Lost, Stalled
from heartline.core.items import Bounds, Cause, Gap, Phase, Status, Verdict
from heartline.testing import scenarios
from heartline.testing.scenarios import (
    FAULTS,
    TITLES,
    Beat,
    Outcome,
    SideBySide,
    lethal,
    repertoire,
)
from heartline.testing.scenarios.account import settle
from heartline.testing.scenarios.doors import most_dials
from heartline.testing.scenarios.outcome import failed, skipped
from heartline.testing.scenarios.trial import Trial
from heartline.ui.story import chapter, progress, table
from loopback import crowding

COMMAND = (sys.executable, "-m", "heartline", "demo")
DEADLINE = 30.0
WANTED = {
    *("fault", "cause", "told_after_s", "bound_s", "false_alarm", "lost"),
    *("reported_lost", "recovered_after_s", "ok", "status", "where", "conditions"),
    *("evidence", "attempts", "skipped"),
}


# --- for real ---------------------------------------------------------------------


def test_two_faults_are_made_and_told_as_json_in_order() -> None:
    done = subprocess.run(
        [*COMMAND, "--json", "--only", "refuse", "--only", "close"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["fault"] for row in rows] == ["close", "refuse"]
    assert all(row.keys() >= WANTED for row in rows)
    close, refuse = rows
    assert (close["cause"], close["status"]) == ("CLOSED_BY_PEER", 1001)
    assert (refuse["cause"], refuse["status"]) == ("REFUSED", 503)
    assert close["lost"] == close["reported_lost"]
    assert [row["broken"] for row in rows] == [[], []]
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_promise_that_cannot_be_kept_is_found_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lethal, "TOLD_AT_ONCE", 0.0)
    monkeypatch.setattr(lethal, "WARM_UP", 0.2)
    monkeypatch.setattr(lethal, "DIAL_TAKES", -1.5)
    outcome = asyncio.run(repertoire.play("close", no_suspend))
    assert not outcome.ok
    late, slow = outcome.broken
    assert "after the fault, promised within 0 s" in late
    assert slow.startswith("back ")
    assert [beat.text for beat in outcome.story if beat.who == "broken"] == [late, slow]


async def no_suspend(seconds: float) -> float:
    raise AssertionError


def test_a_fault_that_this_system_cannot_make_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repertoire, "available", lambda: "no socket filters")
    outcome = asyncio.run(repertoire.play("blackhole-in", no_suspend))
    assert outcome.skipped == "no socket filters"
    assert outcome.cause is None


def test_a_trial_that_fails_by_itself_is_no_promise_kept() -> None:
    async def outcomes() -> list[Outcome]:
        async with SideBySide(["earthquake"], {"earthquake": ""}) as trials:
            return [outcome async for outcome in trials.outcomes()]

    (outcome,) = asyncio.run(outcomes())
    assert not outcome.ok
    assert outcome.broken == ["the trial itself failed: KeyError: 'earthquake'"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_an_interrupt_ends_all_processes_within_a_second() -> None:
    process = subprocess.Popen(
        [*COMMAND, "--only", "suspend", "--only", "frozen"], stdout=subprocess.PIPE
    )
    try:
        family = until(lambda: descendants(process.pid), lambda pids: len(pids) == 4)
        began_at = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 128 + signal.SIGINT
        until(lambda: [pid for pid in family if lives(pid)], lambda left: not left)
        assert time.monotonic() - began_at < 1.0 * crowding()
    finally:
        process.kill()
        process.communicate()


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def until(
    look: Callable[[], list[int]], good: Callable[[list[int]], bool]
) -> list[int]:
    deadline = time.monotonic() + DEADLINE
    while not good(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.01)
    return seen


def test_an_unknown_fault_is_bad_usage_and_names_those_there_are() -> None:
    result = CliRunner().invoke(app, ["demo", "--only", "earthquake"])
    assert result.exit_code == Exit.USAGE
    assert "earthquake" in result.output
    assert "blackhole-in" in result.output


# --- the exit status --------------------------------------------------------------

KEPT = Outcome(fault="close", title="t", cause="CLOSED_BY_PEER", status=1001, ok=True)
BROKEN = failed("frozen", "a frozen venue", "nothing was told 5.0 s on")
SKIPPED = skipped("blackhole", "a dead network", "socket filters are Linux's")


class Played:
    """Stands for `SideBySide`, with outcomes made up."""

    outcomes_to_come: Sequence[Outcome] = ()

    def __init__(self, faults: Sequence[str], titles: object) -> None:
        self.running: dict[str, float] = {}
        self.done: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    async def outcomes(self) -> AsyncIterator[Outcome]:
        for outcome in self.outcomes_to_come:
            yield outcome


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize(
    ("outcomes", "status"),
    [((KEPT, SKIPPED), 0), ((KEPT, BROKEN), 1), ((BROKEN,), 1), ((KEPT,), 0)],
)
def test_the_exit_status_tells_whether_any_promise_was_broken(
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    outcomes: tuple[Outcome, ...],
    status: int,
) -> None:
    monkeypatch.setattr(scenarios, "SideBySide", Played)
    monkeypatch.setattr(Played, "outcomes_to_come", outcomes)
    result = CliRunner().invoke(app, ["demo", *options])
    assert result.exit_code == status
    assert all(outcome.fault in result.output for outcome in outcomes)


# --- the account of loss ----------------------------------------------------------


def gap(missing: int | None = None) -> Gap:
    reason = "outage" if missing is None else "overflow"
    return Gap(reason, 0.0, 1.0, 1, missing=missing)


@pytest.mark.parametrize(
    ("numbers", "gaps", "lost", "reported"),
    [
        ([], [], 0, 0),
        ([7, 8, 9], [], 0, 0),
        ([7, 10], [], 2, 0),
        ([7, 10], [(1, gap())], 2, 2),
        ([7, 10], [(1, gap(2))], 2, 2),
        ([7, 10], [(1, gap(1)), (1, gap(1))], 2, 2),
        ([7, 10, 12], [(1, gap())], 3, 2),
        ([7, 8, 11], [(1, gap())], 2, 0),
        ([7, 10], [(0, gap()), (2, gap())], 2, 0),
        ([7, 8], [(1, gap())], 0, 0),
    ],
)
def test_a_loss_is_reported_only_where_a_gap_stands_in_its_place(
    numbers: list[int], gaps: list[tuple[int, Gap]], lost: int, reported: int
) -> None:
    account = settle(numbers, gaps)
    assert (account.lost, account.reported_lost) == (lost, reported)
    assert account.adds_up is (lost == reported)
    assert account.delivered == len(numbers)


@pytest.mark.parametrize(
    ("numbers", "gaps"),
    [
        ([7, 10], [(1, gap(3))]),
        ([7, 10], [(1, gap(1))]),
        ([7, 8], [(1, gap(1))]),
        ([7, 10], [(1, gap()), (1, gap(3))]),
    ],
)
def test_a_count_that_is_not_what_is_missing_is_found(
    numbers: list[int], gaps: list[tuple[int, Gap]]
) -> None:
    account = settle(numbers, gaps)
    assert len(account.misstated) == 1
    assert not account.adds_up


def test_duplicates_and_disorder_are_found_and_no_loss_is_made_of_them() -> None:
    twice = settle([1, 2, 2, 3], [])
    assert (twice.duplicates, twice.disordered, twice.lost) == (1, 0, 0)
    crossed = settle([1, 3, 2, 4], [])
    assert (crossed.duplicates, crossed.disordered, crossed.lost) == (0, 1, 0)
    assert not twice.adds_up
    assert not crossed.adds_up


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(0, 4), st.booleans(), st.booleans()),
        min_size=1,
    )
)
def test_the_account_adds_up_exactly_when_every_hole_is_told(
    runs: list[tuple[int, int, bool, bool]],
) -> None:
    numbers: list[int] = []
    gaps: list[tuple[int, Gap]] = []
    at, lost, told_of = 1, 0, 0
    for length, hole, told, counted in runs:
        if numbers and hole:
            lost += hole
            told_of += hole if told else 0
            if told:
                gaps.append((len(numbers), gap(hole if counted else None)))
            at += hole
        numbers += range(at, at + length)
        at += length
    account = settle(numbers, gaps)
    assert (account.lost, account.reported_lost) == (lost, told_of)
    assert account.adds_up is (lost == told_of)


# --- what is a false alarm --------------------------------------------------------


def lost_event(cause: Cause) -> Lost:
    return Lost(
        at=0.0,
        epoch=1,
        cause=cause,
        where=None,
        status=None,
        reason="",
        evidence="",
        since_at=0.0,
        bound=None,
        unsent=0,
        unconfirmed_bytes=0,
    )


def status(at: float, cause: Cause | None, phase: Phase = Phase.OPEN) -> Status:
    bounds = Bounds(path=1.0, peer=2.0)
    return Status(
        at=at,
        phase=phase,
        verdict=Verdict.SUSPECT,
        live=False,
        cause=cause,
        bounds=bounds,
        ceilings=bounds,
        detection_bound=2.0,
    )


def trial_of(*events: tuple[float, Any]) -> Trial:
    trial = Trial("frozen", "a frozen venue")
    trial.struck_at = 10.0
    trial.witness.events += events
    trial.witness.numbers.extend([1, 2, 3])
    return trial


def test_a_loss_the_fault_explains_is_no_false_alarm_and_any_other_is() -> None:
    trial = trial_of((11.0, lost_event(Cause.PEER_FROZEN)))
    trial.excuse(Cause.PEER_FROZEN, until_at=13.0)
    assert trial.outcome().ok

    for at, cause in ((9.0, "PEER_FROZEN"), (14.0, "PEER_FROZEN"), (11.0, "PATH_DEAD")):
        trial = trial_of((at, lost_event(Cause(cause))))
        trial.excuse(Cause.PEER_FROZEN, until_at=13.0)
        outcome = trial.outcome()
        assert outcome.false_alarm
        assert not outcome.ok
        assert cause in outcome.broken[0]


def test_a_doubt_on_an_open_link_without_a_fault_is_a_false_alarm() -> None:
    trial = trial_of()
    trial.witness.statuses += [status(11.0, None, Phase.CONNECTING), status(12.0, None)]
    assert len(trial.false_alarms()) == 1
    trial.excuse(until_at=12.5)
    assert trial.false_alarms() == []
    trial.excuse(until_at=12.5, doubt=False)
    trial.witness.statuses.append(status(12.6, None))
    assert len(trial.false_alarms()) == 1


def test_a_stall_of_our_own_is_believed_only_if_it_was_measured_as_well() -> None:
    stalled = Stalled(at=12.0, epoch=1, lag=0.4, suspended=0.0)
    trial = trial_of((12.0, stalled))
    trial.witness.statuses.append(status(12.0, Cause.SELF_STALLED))
    assert len(trial.false_alarms()) == 1
    assert trial.witness.held_up(11.0, 13.0) == 0.0

    trial.witness.note_stall(11.6, 12.0)
    assert trial.false_alarms() == []
    assert trial.witness.held_up(11.0, 13.0) == pytest.approx(0.4)


def test_what_is_told_late_or_wrongly_is_a_broken_promise() -> None:
    trial = trial_of()
    trial.cause, trial.bound, trial.since = Cause.PATH_DEAD, 0.95, "the fault"
    trial.told(10.9, 10.0)
    assert trial.broken == []
    trial.told(11.0, 10.0)
    trial.right(Cause.PEER_FROZEN)
    assert trial.broken == [
        "told 1 s after the fault, promised within 0.95 s",
        "wanted PEER_FROZEN, was told PATH_DEAD",
    ]


def test_a_stream_that_is_not_back_in_time_is_a_broken_promise() -> None:
    connected = Connected(
        at=13.0, epoch=2, address="", attempt=2, outage=3.0, kernel=True
    )
    trial = trial_of((13.0, connected))

    class Back:
        status = Status(
            at=13.0,
            phase=Phase.OPEN,
            verdict=Verdict.ALIVE,
            live=True,
            cause=None,
            bounds=Bounds(1.0, 1.0),
            ceilings=Bounds(1.0, 1.0),
            detection_bound=1.0,
        )

    back: Any = Back()
    since = time.monotonic()
    trial.witness.events[0] = (since + 2.0, connected)
    asyncio.run(trial.recovery(back, since_at=since, since="the loss", limit=1.5))
    assert trial.broken == ["back 2 s after the loss, wanted within 1.5 s"]


def test_a_stream_without_any_message_proves_nothing() -> None:
    trial = Trial("close", "")
    trial.struck_at = 0.0
    assert trial.outcome().broken == ["no message was delivered at all"]


def test_an_accepting_and_closing_venue_is_dialled_no_more_than_four_times() -> None:
    # 1013 asks for patience: at least 2.5, 2.5, 2.5 and 4 s between the dials.
    assert most_dials(10.0, status=1013) == 4
    assert most_dials(2.4, status=1013) == 1


# --- the story --------------------------------------------------------------------

LONG = Outcome(
    fault="blackhole",
    title="a dead network, both ways",
    cause="PATH_DEAD",
    where="both",
    told_after_s=0.7,
    bound_s=0.95,
    since="the fault",
    lost=129_796,
    reported_lost=129_790,
    recovered_after_s=2.72,
    broken=["129796 messages lost, 129790 of them reported"],
    ok=False,
    story=[
        Beat("fault", "the network swallows everything, both ways, " * 3, 0.0),
        Beat("stream", "PATH_DEAD (both ways), 0.7 s after the fault", 0.701),
        Beat("broken", "129796 messages lost, 129790 of them reported"),
    ],
)


def drawn(picture: object, width: int) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(picture)
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_chapter_tells_its_lines_with_their_times_in_any_width(width: int) -> None:
    text = drawn(chapter(chapter_of(LONG)), width)
    lines = text.splitlines()
    assert lines[0].startswith("blackhole")
    assert any(line.lstrip().startswith("+0.70 s  PATH_DEAD") for line in lines)
    assert "a promise was broken" in text
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_and_cuts_nothing(width: int) -> None:
    rows = [
        Outcome(
            fault=fault,
            cause="CLOSED_BY_PEER",
            status=1001,
            told_after_s=0.00123,
            bound_s=13.24,
            lost=129_796,
            reported_lost=129_796,
            recovered_after_s=0.00272,
            ok=True,
        )
        for fault in FAULTS
    ]
    text = drawn(table([entry_of(it) for it in [*rows, LONG]], width=width), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for fault in FAULTS:
        assert fault in text
    for figure in ("CLOSED_BY_PEER 1001", "129,796", "129,790", "1.23 ms", "13.24 s"):
        assert figure in text
    assert ("BROKEN" in text) or ("✗" in text)
    assert "…" not in text


def test_a_fault_that_cannot_be_made_here_says_why() -> None:
    assert "socket filters are Linux's" in drawn(chapter(chapter_of(SKIPPED)), 80)
    assert json.loads(json_line(SKIPPED))["skipped"] == SKIPPED.skipped
    assert "Not tried here: blackhole." in closing_words([KEPT, SKIPPED], 3.0)


def test_the_closing_words_name_what_was_broken() -> None:
    assert closing_words([KEPT, BROKEN, SKIPPED], 3.2).startswith(
        "Promises were broken in 1 of 2: frozen."
    )
    assert closing_words([KEPT], 3.2).startswith("Every promise was kept: 1 fault,")


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (0, "no false alarm, no message lost. 3 s."),
        (1, "no false alarm, 1 message lost and reported. 3 s."),
        (1234, "no false alarm, 1,234 messages lost and every one reported. 3 s."),
    ],
)
def test_the_closing_words_count_what_was_lost(lost: int, said: str) -> None:
    outcome = msgspec.structs.replace(KEPT, lost=lost, reported_lost=lost)
    assert closing_words([outcome], 3.2).endswith(said)


def test_json_has_every_figure_and_no_story() -> None:
    row = json.loads(json_line(LONG))
    assert row.keys() >= WANTED
    assert "story" not in row
    assert row["lost"] == 129_796


def test_progress_names_what_is_under_way() -> None:
    text = drawn(progress({"close": 1.0, "eof": 3.2}, done=1, of=3, now=4.0), 80)
    assert text.startswith("1 of 3 done")
    assert "close 3\N{NO-BREAK SPACE}s · eof 1\N{NO-BREAK SPACE}s" in text


def test_every_fault_has_a_title_that_fits_its_heading() -> None:
    assert len(FAULTS) == 19
    assert all(len(fault) + len(TITLES[fault]) < 60 for fault in FAULTS)
