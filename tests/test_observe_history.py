"""What happened at 03:12: the records of the window and what stood before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heartline.core.channel_events import EndPlanned
from heartline.core.events import (
    ChannelRevived,
    ChannelStalled,
    Cleared,
    ConditionBegan,
    ConditionEnded,
    Connecting,
    Doubted,
    Event,
    RoundTripMeasured,
    Stopped,
)
from heartline.core.items import Cause, Condition, Phase, Status
from heartline.errors import UsageError
from heartline.observe import Journal, Record, read_journal, what_happened
from heartline.observe.standing import MOST, Standing
from observe_samples import any_event, any_status, connected, dial_lost, lost, status

NIGHT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
NO_PONG, SLOW = Condition.NO_PONG, Condition.SLOW_CONSUMER
STALLED = Cause.CHANNEL_STALLED


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def keep(path: Path, history: Sequence[Event | Status], **limits: int) -> None:
    """Journal events as if `at` were seconds after 03:00 UTC."""
    now = NIGHT
    journal = Journal(path, name="btc", utc_now=lambda: now, **limits)  # type: ignore[arg-type]
    for news in history:
        now = NIGHT + timedelta(seconds=news.at)
        if isinstance(news, Status):
            journal.status(news)
        else:
            journal(news)


def told(records: Sequence[Record]) -> list[tuple[str, float]]:
    return [(record.event, record.at) for record in records]


def stalled(at: float, channel: str) -> ChannelStalled:
    return ChannelStalled(at=at, epoch=1, channel=channel, silence=3.0, contract=2.0)


def began(at: float, condition: Condition) -> ConditionBegan:
    return ConditionBegan(at=at, epoch=1, condition=condition)


def test_an_account_holds_the_window_and_what_stood_before_it(path: Path) -> None:
    history = [
        Connecting(at=0.0, epoch=1, attempt=1),
        connected(at=1.0),
        began(2.0, SLOW),
        began(3.0, NO_PONG),
        ConditionEnded(at=4.0, epoch=1, condition=NO_PONG, after=1.0),
        lost(at=720.0, since_at=718.8),
        Connecting(at=721.0, epoch=2, attempt=1),
        connected(at=722.0, outage=3.2),
        Stopped(at=9000.0, epoch=2),
    ]
    keep(path, history)
    account = what_happened(path, NIGHT.replace(minute=12), timedelta(minutes=1))
    assert told(account.before) == [("Connected", 1.0), ("ConditionBegan", 2.0)]
    assert told(account.records) == [
        ("Lost", 720.0),
        ("Connecting", 721.0),
        ("Connected", 722.0),
    ]
    assert account.first == NIGHT
    assert account.last == NIGHT + timedelta(seconds=9000)
    assert account.torn == 0


def test_the_ends_of_the_window_belong_to_it(path: Path) -> None:
    keep(path, [Connecting(at=float(n), epoch=1, attempt=n) for n in range(10)])
    at = NIGHT + timedelta(seconds=5)
    account = what_happened(path, at, timedelta(seconds=2))
    assert [record.at for record in account.records] == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert told(account.before) == [("Connecting", 2.0)]


def test_an_outage_stands_with_its_loss_and_its_last_step(path: Path) -> None:
    history = [connected(at=1.0), lost(at=2.0)]
    history += [dial_lost(at=float(n), attempt=n) for n in range(3, 9)]
    keep(path, history)
    account = what_happened(path, NIGHT.replace(hour=5))
    assert told(account.before) == [("Lost", 2.0), ("DialLost", 8.0)]
    assert account.records == ()


def test_a_state_older_than_every_file_is_still_known(path: Path) -> None:
    quiet = [
        RoundTripMeasured(at=n * 900.0, epoch=1, round_trip=0.1) for n in range(1, 500)
    ]
    keep(path, [connected(at=1.0), *quiet], max_bytes=4096, keep=1)
    assert not [r for r in read_journal(path) if r.at == 1.0 and not r.carried]
    account = what_happened(path, NIGHT + timedelta(seconds=499 * 900))
    assert told(account.before) == [("Connected", 1.0)]
    assert account.before[0].utc == NIGHT + timedelta(seconds=1)
    assert account.first is not None
    assert account.first > NIGHT + timedelta(days=1)


def test_a_carried_record_is_not_told_twice_nor_lost(path: Path) -> None:
    events: list[Event] = [began(1.0, SLOW)]
    events += [dial_lost(at=1 + n / 1000, attempt=n) for n in range(60)]
    keep(path, events, max_bytes=4096, keep=1)
    assert [r.carried for r in read_journal(path) if r.event == "ConditionBegan"] == [
        True,
        True,
    ]
    account = what_happened(path, NIGHT, timedelta(seconds=10))
    counted = [record.event for record in account.records]
    assert counted.count("ConditionBegan") == 1
    assert len(set(told(account.records))) == len(account.records)


def test_each_channel_in_trouble_stands_by_its_name_until_it_is_revived(
    path: Path,
) -> None:
    history: list[Event | Status] = [status(0.0)]
    for at, channel in ((60.0, "A"), (61.0, "B")):
        history += [stalled(at, channel)]
        history += [status(at, live=False, cause=STALLED, evidence="A and others")]
    history += [ChannelRevived(at=70.0, epoch=1, channel="A", after=15.0)]
    history += [status(70.0, live=False, cause=STALLED, evidence="B alone")]
    keep(path, history)
    account = what_happened(path, NIGHT.replace(hour=5))
    assert told(account.before) == [("ChannelStalled", 61.0), ("Status", 70.0)]
    news = account.before[-1].news()
    assert isinstance(news, Status)
    assert news.evidence == "B alone"


def test_no_channel_of_another_run_stands_in_a_stream_that_has_none(path: Path) -> None:
    keep(path, [stalled(60.0, "A"), status(61.0, phase=Phase.CONNECTING)])
    account = what_happened(path, NIGHT.replace(hour=5))
    assert told(account.before) == [("Status", 61.0)]


def test_streams_stand_apart(path: Path) -> None:
    for name, event in (("btc", connected(at=1.0)), ("eth", lost(at=2.0))):
        Journal(path, name=name, utc_now=lambda: NIGHT)(event)
    account = what_happened(path, NIGHT.replace(hour=4))
    assert [(r.stream, r.event) for r in account.before] == [
        ("btc", "Connected"),
        ("eth", "Lost"),
    ]


def test_any_zone_will_do_but_one_is_needed(path: Path) -> None:
    keep(path, [connected(at=1.0)])
    tokyo = NIGHT.astimezone(timezone(timedelta(hours=9)))
    assert told(what_happened(path, tokyo).records) == [("Connected", 1.0)]
    with pytest.raises(UsageError, match="at: wanted a time with its zone"):
        what_happened(path, NIGHT.replace(tzinfo=None))
    with pytest.raises(UsageError, match="around"):
        what_happened(path, NIGHT, timedelta(seconds=-1))


def test_a_journal_being_renamed_is_read_without_a_hole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path, max_bytes=4096, keep=5)
    for n in range(100):
        journal(Connecting(at=float(n), epoch=n, attempt=n))
    real = Path.open
    grown = iter(range(100, 160))

    def renaming(self: Path, mode: str = "r") -> object:
        file = real(self, mode)
        for n in (next(grown) for _ in range(30)):
            journal(Connecting(at=float(n), epoch=n, attempt=n))
        monkeypatch.undo()
        return file

    monkeypatch.setattr(Path, "open", renaming)
    reading = read_journal(path)
    ats = [record.at for record in reading if not record.carried]
    assert ats[:100] == [float(n) for n in range(100)]
    assert len(ats) == len(set(ats))


def test_a_hole_in_the_row_of_files_is_passed_over(path: Path) -> None:
    journal = Journal(path, max_bytes=4096, keep=5)
    for n in range(200):
        journal(Connecting(at=float(n), epoch=n, attempt=n))
    path.with_name(path.name + ".2").unlink()
    ats = [record.at for record in read_journal(path)]
    assert ats == sorted(ats)
    assert ats[0] == 0.0
    assert ats[-1] == 199.0


def test_reading_may_be_given_up_early(path: Path) -> None:
    keep(path, [connected(at=1.0), lost(at=2.0)])
    reading = read_journal(path)
    assert next(reading).event == "Connected"
    reading.close()
    reading.close()
    assert list(reading) == []


# --- what stands ------------------------------------------------------------------


def standing(*history: Event | Status) -> list[str]:
    stood: Standing[str] = Standing()
    for news in history:
        stood.note(news, f"{type(news).__name__} {news.at:g}")
    return list(stood)


@pytest.mark.parametrize(
    ("history", "stands"),
    [
        ([connected(at=1), Doubted(at=2, epoch=1, of="path", silence=1)], [1, 2]),
        (
            [
                connected(at=1),
                Doubted(at=2, epoch=1, of="path", silence=1),
                Cleared(at=3, epoch=1, after=1),
            ],
            [1],
        ),
        ([connected(at=1), stalled(2, "a"), stalled(3, "b")], [1, 2, 3]),
        (
            [
                connected(at=1),
                stalled(2, "a"),
                stalled(3, "b"),
                ChannelRevived(at=4, epoch=1, channel="a", after=2),
            ],
            [1, 3],
        ),
        (
            [
                connected(at=1),
                stalled(2, "a"),
                began(3, NO_PONG),
                began(4, SLOW),
                lost(5),
            ],
            [4, 5],
        ),
        ([connected(at=1), lost(2), Stopped(at=3, epoch=1)], [3]),
        ([lost(1), dial_lost(2), connected(at=3)], [3]),
        ([lost(1), dial_lost(2), status(at=3, phase=Phase.BACKOFF)], [3]),
        ([status(at=1), lost(2)], [2]),
    ],
)
def test_only_what_is_in_force_stands(
    history: list[Event | Status], stands: list[int]
) -> None:
    assert [int(text.split()[1]) for text in standing(*history)] == stands


PLANNED = EndPlanned(at=2.0, epoch=1, cause=Cause.AGE, reason="", ends_at=None)


@given(st.lists(st.one_of(any_event, any_status), max_size=60))
@example([connected(at=1), PLANNED, dial_lost(3.0)])
def test_what_stands_stands_again_from_itself(history: list[Event | Status]) -> None:
    whole: Standing[Event | Status] = Standing()
    again: Standing[Event | Status] = Standing()
    for news in history:
        whole.note(news, news)
    for news in whole:
        again.note(news, news)
    assert list(again) == list(whole)


def test_what_stands_is_bounded() -> None:
    stands = standing(*(stalled(float(n), str(n)) for n in range(3 * MOST)))
    assert len(stands) == MOST
    assert stands[-1] == f"ChannelStalled {3 * MOST - 1}"
