"""Recorded traffic comes through a stream as it was recorded, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

import heartline
from heartline.core.events import Lost
from heartline.testing import SAMPLE, serve_capture
from stream_kit import check_clean, in_loop, watching

CAPTURES = Path(__file__).resolve().parent.parent.parent / "shared" / "captures"


def recording(name: str) -> Path:
    path = SAMPLE if name == "sample" else CAPTURES / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the recording {path.name} is not on this machine")
    return path


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("name", ["sample", "coinbase-exchange", "htx"])
@in_loop
async def test_a_recording_comes_whole_as_fast_as_it_can(name: str, loop: str) -> None:
    async with serve_capture(recording(name), speed=None) as replay:
        wanted = [frame.data for frame in replay.capture.inbound]
        # The inbox holds the whole recording: the test is not about who is slow.
        inbox = heartline.Inbox(limit=len(wanted) + 1, limit_bytes=1 << 30)
        async with watching(replay.url, inbox=inbox) as w:
            await w.until(lambda: len(w.messages) >= len(wanted), "all of it", 30)
            assert w.data == wanted
            assert w.gaps == w.of(Lost) == []
            counts = w.stream.status.counts
            assert counts.messages == counts.delivered == len(wanted)
            check_clean(w)
        assert (await replay.counts()).violations == 0


@pytest.mark.parametrize("name", ["sample", "htx"])
@in_loop
async def test_a_recording_comes_whole_in_its_own_rhythm(name: str) -> None:
    async with serve_capture(recording(name), speed=50) as replay:
        wanted = [frame.data for frame in replay.capture.inbound]
        async with watching(replay.url) as w:
            await w.until(lambda: len(w.messages) >= len(wanted), "all of it", 30)
            assert w.data == wanted
            assert w.gaps == w.of(Lost) == []
            received = [m.received_at for m in w.messages]
            assert received == sorted(received)
            # Bursts and silences of a recording put nothing in doubt.
            check_clean(w)
