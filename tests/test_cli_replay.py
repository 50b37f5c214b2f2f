"""`heartline replay`: a recording served to another process."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from heartline.cli.replay import _serve, contents
from heartline.testing import SAMPLE, Capture, CapturedFrame, read_capture
from heartline.testing.process import ChildProcess
from loopback import crowding, until
from server_kit import in_loop

COMMAND = (sys.executable, "-m", "heartline")
DEADLINE = 20.0


@contextmanager
def replaying(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        (*COMMAND, "replay", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_what_is_replayed_can_be_watched() -> None:
    """The two commands together; the venue's first and last word are compared."""
    with replaying("--speed", "0") as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        url, told = line.split("  ")
        count = len(read_capture(SAMPLE).inbound)
        assert told.startswith(f"sample.jsonl.gz: {count:,} messages over ")

        watched = subprocess.run(
            (*COMMAND, "watch", url, "--for", "1.5"),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        items = [json.loads(line) for line in watched.stdout.splitlines()]
        assert sum(item["type"] == "message" for item in items) == count

        server.send_signal(signal.SIGINT)
        assert server.wait(DEADLINE) == 130
        assert server.stderr is not None
        assert server.stderr.read() == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not JSON", "wanted a JSON object"),
        ('{"t": 1, "dir": "out", "text": "a"}', "wanted an inbound frame"),
    ],
)
def test_what_is_no_recording_is_bad_usage(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_text(text)
    with replaying(str(path)) as process:
        out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("heartline: capture.jsonl")
    assert said in err


@pytest.mark.parametrize(
    "arguments", [("--speed", "-1"), ("--speed", "inf"), ("missing.jsonl",)]
)
def test_bad_arguments(arguments: tuple[str, ...]) -> None:
    with replaying(*arguments) as process:
        out, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (2, "")


def test_the_contents_of_a_recording_keep_its_secrets() -> None:
    url = "wss://user:s3cret@venue.example/ws?token=s3cret"
    capture = Capture(
        (
            CapturedFrame(0.0, "open", url),
            CapturedFrame(1.0, "in", "a"),
            CapturedFrame(3.5, "in", "b"),
        )
    )
    told = contents("a.jsonl", capture)
    assert told.startswith("a.jsonl: 2 messages over 2.5 s, from wss://")
    assert "venue.example" in told
    assert "s3cret" not in told
    assert contents("a.jsonl", Capture(capture.frames[1:])).endswith("2.5 s")


@in_loop
async def test_a_replay_whose_serving_process_is_gone_tells_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[ChildProcess] = []
    start = ChildProcess.start

    async def noted(child: ChildProcess, *args: Any, **options: Any) -> Any:
        ready = await start(child, *args, **options)
        started.append(child)
        return ready

    monkeypatch.setattr(ChildProcess, "start", noted)
    made = _serve(SAMPLE, speed=1.0, port=0, host="127.0.0.1", loop=False)
    serving = asyncio.ensure_future(made)
    await until(lambda: bool(started), "started", DEADLINE)
    started[0].kill()
    killed_at = time.monotonic()
    with pytest.raises(ConnectionError, match=r"replay sample\.jsonl\.gz: its serving"):
        await serving
    assert time.monotonic() - killed_at < 1.0 * crowding()
