"""Captures read, written, made up, and played back to a client that is not ours."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faulty_peer import dial, dial_raw, in_loop, silent
from heartline.errors import UsageError
from heartline.testing import (
    SAMPLE,
    Capture,
    CapturedFrame,
    Replay,
    market_traffic,
    read_capture,
    serve_capture,
    write_capture,
)
from heartline.testing.traffic import make_sample

CAPTURES = Path(__file__).resolve().parent.parent.parent / "shared" / "captures"


def real(name: str) -> Path:
    path = CAPTURES / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the recording {path.name} is not on this machine")
    return path


def record(path: Path, *frames: tuple[float, str | bytes]) -> Path:
    inbound = [CapturedFrame(at, "in", data) for at, data in frames]
    write_capture(Capture(tuple(inbound)), path)
    return path


# --- files ------------------------------------------------------------------------


@given(
    st.lists(
        st.builds(
            CapturedFrame,
            st.floats(0, 2e9, allow_nan=False),
            st.sampled_from(["in", "out"]),
            st.one_of(st.binary(max_size=50), st.text(max_size=50)),
        )
    )
)
def test_what_was_written_is_read(tmp_path_factory, frames) -> None:
    capture = Capture((CapturedFrame(0.0, "open", "wss://venue/x"), *frames))
    for name in ("a.jsonl", "a.jsonl.gz"):
        path = tmp_path_factory.getbasetemp() / name
        write_capture(capture, path)
        assert read_capture(path) == capture
    assert capture.url == "wss://venue/x"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: wanted a JSON object, got '{'"),
        ("[1]", r"line 2: wanted a JSON object, got '\[1\]'"),
        ('{"dir":"in","text":""}', "line 2, t: wanted seconds, got None"),
        ('{"t":"1","dir":"in","text":""}', "line 2, t: wanted seconds, got '1'"),
        ('{"t":NaN,"dir":"in","text":""}', "line 2, t: wanted seconds, got nan"),
        ('{"t":1,"dir":"up","text":""}', "line 2, dir: wanted open | in | out"),
        ('{"t":1,"dir":"open"}', "line 2, url: wanted a string, got None"),
        ('{"t":1,"dir":"in"}', "line 2: wanted either text or b64"),
        ('{"t":1,"dir":"in","text":"","b64":""}', "line 2: wanted either"),
        ('{"t":1,"dir":"in","text":7}', "line 2, text: wanted a string, got 7"),
        ('{"t":1,"dir":"in","text":"\\ud800"}', "line 2, text: wanted Unicode"),
        ('{"t":1,"dir":"out","b64":"a"}', "line 2, b64: wanted base64"),
    ],
)
def test_a_bad_line_is_named_with_its_field(
    tmp_path: Path, line: str, complaint: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"t":0,"dir":"in","text":"good"}\n' + line + "\n")
    with pytest.raises(UsageError, match=r"bad\.jsonl, " + complaint):
        read_capture(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"plain", "wanted a gzip file"),
        (gzip.compress(b"cut short" * 99, mtime=0)[:-9], "wanted a gzip file"),
        (gzip.compress(b"\xff\xfe", mtime=0), "wanted UTF-8"),
    ],
    ids=["plain", "cut short", "not UTF-8"],  # gzip writes the time into its bytes
)
def test_a_file_that_is_none_is_named(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "bad.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=complaint):
        read_capture(path)
    with pytest.raises(FileNotFoundError):
        read_capture(tmp_path / "absent.jsonl")


# --- traffic ----------------------------------------------------------------------


def test_traffic_has_the_bursts_and_silences_it_claims() -> None:
    instants = [at for at, _ in market_traffic(11, 2000)]
    steps = [round(b - a, 6) for a, b in pairwise(instants)]
    silences = [step for step in steps if step > 0.002]
    assert min(silences) >= 0.2
    assert len(instants) / (len(silences) + 1) == pytest.approx(20, rel=0.1)
    assert median(silences) == pytest.approx(0.2 * 2 ** (1 / 1.5), rel=0.1)
    # Pareto(1.5): an eighth of the silences is longer than four times the shortest.
    long = sum(silence > 0.8 for silence in silences) / len(silences)
    assert long == pytest.approx(1 / 8, rel=0.15)


def test_traffic_comes_at_the_rate_asked_for() -> None:
    messages = sum(1 for _ in market_traffic(11, 600, 150))
    assert messages / 600 == pytest.approx(150, rel=0.15)
    with pytest.raises(UsageError, match="rate: wanted more than 0 and under 500"):
        next(market_traffic(1, 1, 500))


def test_each_symbol_is_numbered_without_gaps() -> None:
    seen: dict[str, int] = {}
    for _, text in market_traffic(3, 20, 150):
        message = json.loads(text)
        assert message["seq"] == seen.get(message["symbol"], 0) + 1
        seen[message["symbol"]] = message["seq"]
    assert len(seen) == 3


def test_the_sample_is_what_its_generator_makes() -> None:
    assert read_capture(SAMPLE) == make_sample()
    assert SAMPLE.stat().st_size < 40 << 10
    assert 1400 < len(read_capture(SAMPLE).inbound) < 1700
    assert 9 < read_capture(SAMPLE).duration <= 10


# --- playing back -----------------------------------------------------------------


@in_loop
async def test_every_frame_comes_byte_for_byte_and_then_the_venue_is_quiet() -> None:
    async with serve_capture(SAMPLE, speed=None) as replay, dial(replay.url) as link:
        got = [await link.recv() for _ in replay.capture.inbound]
        assert got == [frame.data for frame in replay.capture.inbound]
        assert await silent(link.recv())
        await (await link.ping())
        counts = await replay.counts()
        assert (counts.rounds, counts.frames) == (1, len(got))
        assert (counts.pings, counts.violations) == (1, 0)


@pytest.mark.parametrize("name", ["htx", "upbit", "bitmex", "coinbase-exchange"])
def test_a_real_recording_comes_byte_for_byte(name: str) -> None:
    path = real(name)

    @in_loop
    async def scenario() -> None:
        async with serve_capture(path, speed=0) as replay, dial(replay.url) as link:
            got = [await link.recv() for _ in replay.capture.inbound]
            assert got == [frame.data for frame in replay.capture.inbound]

    scenario()


@in_loop
async def test_the_timing_is_the_recordings_divided_by_speed(tmp_path: Path) -> None:
    frames = [(100 + n * 0.5, f"{n}") for n in range(11)]
    path = record(tmp_path / "steady.jsonl", *frames)
    async with serve_capture(path, speed=10) as replay, dial(replay.url) as link:
        arrivals = []
        for _ in frames:
            await link.recv()
            arrivals.append(time.monotonic())
        late = [at - arrivals[0] - n * 0.05 for n, at in enumerate(arrivals)]
        # Never early, and no lateness is handed on to the frames that follow.
        assert min(late) > -0.03
        assert min(late[5:]) < 0.03
        assert (await replay.counts()).latest < 1


@in_loop
async def test_a_sample_at_speed_takes_its_time(tmp_path: Path) -> None:
    async with serve_capture(SAMPLE, speed=20) as replay, dial(replay.url) as link:
        began = time.monotonic()
        got = [await link.recv() for _ in replay.capture.inbound]
        took = time.monotonic() - began
    assert len(got) == len(replay.capture.inbound)
    assert took >= replay.capture.duration / 20 - 0.05


@in_loop
async def test_every_client_has_a_replay_of_its_own(tmp_path: Path) -> None:
    path = record(tmp_path / "two.jsonl", (0.0, "a"), (0.05, b"b"))
    async with serve_capture(path) as replay:
        for _ in range(2):
            async with dial(replay.url) as link:
                await link.send("subscribe")
                assert [await link.recv(), await link.recv()] == ["a", b"b"]
        counts = await replay.counts()
        assert (counts.connections, counts.messages) == (2, 2)


@in_loop
async def test_a_loop_begins_anew(tmp_path: Path) -> None:
    path = record(tmp_path / "two.jsonl", (5.0, "a"), (5.01, "b"))
    async with (
        serve_capture(path, loop=True) as replay,
        dial(replay.url) as link,
    ):
        began = time.monotonic()
        assert [await link.recv() for _ in range(20)] == ["a", "b"] * 10
        assert time.monotonic() - began >= 9 * 0.02 + 0.01 - 0.02


@in_loop
async def test_a_reader_that_is_slow_holds_up_its_own_replay_only() -> None:
    async with (
        serve_capture(SAMPLE, speed=None, loop=True) as replay,
        dial_raw(_port(replay.url)) as (reader, writer),
    ):
        writer.transport.pause_reading()
        await _standstill(replay)
        resident = _resident_bytes(replay.pid)
        async with dial(replay.url) as link:
            got = [await link.recv() for _ in replay.capture.inbound]
        assert got == [frame.data for frame in replay.capture.inbound]
        assert _resident_bytes(replay.pid) - resident < 8 << 20
        writer.transport.resume_reading()
        before = (await replay.counts()).frames
        await reader.readexactly(8 << 20)
        assert (await replay.counts()).frames > before


@in_loop
async def test_it_serves_where_it_is_asked_to_and_is_gone_afterwards() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"capture replay: .*in use"):
            async with serve_capture(SAMPLE, port=port):
                pass
    async with serve_capture(SAMPLE, port=port) as replay:
        assert replay.url == f"ws://127.0.0.1:{port}/"
        pid = replay.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@in_loop
async def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_capture(Capture((CapturedFrame(0.0, "out", "hello"),)), path)
    for bad in (-1.0, float("inf")):
        with pytest.raises(UsageError, match="speed: wanted"):
            await serve_capture(SAMPLE, speed=bad).__aenter__()
    with pytest.raises(UsageError, match=r"out\.jsonl: wanted an inbound frame"):
        await serve_capture(path).__aenter__()


async def _standstill(replay: Replay) -> None:
    """Wait until the client's pipe is full and nothing more is sent."""
    for _ in range(100):
        frames = (await replay.counts()).frames
        await asyncio.sleep(0.05)
        if (await replay.counts()).frames == frames:
            return
    raise AssertionError("it sends on to a client that does not read")


def _port(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
