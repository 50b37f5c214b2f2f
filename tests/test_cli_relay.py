"""`heartline relay` as a process: killed and restarted, asked how it is, told to go."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import pytest
import typer

import heartline
from heartline import Gap
from heartline.cli.relay import address
from heartline.client.resume import HEADERS, Notice, Numbered, Resumption
from heartline.relay import Note, heard
from heartline.testing import FaultyServer
from loopback import crowding, until
from relay_kit import FAST
from server_kit import in_loop

T = TypeVar("T")


@asynccontextmanager
async def relay(
    url: str, listen: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The process, and the address it says it listens on."""
    command = (sys.executable, "-m", "heartline", "relay", url, "--listen", listen)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        found = re.fullmatch(r"relay of \S+ on (ws://\S+)\n", line)
        assert found is not None, line
        yield process, found[1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Client:
    """Our own client of a relay: what it read, by kind."""

    def __init__(self, url: str) -> None:
        self.place = Resumption(["stream"])
        self.stream = heartline.connect(
            url, headers=HEADERS, on_open=self.place.opening, backoff=FAST
        )
        self.news: list[object] = []
        self.notes: list[Note] = []
        self.seqs: list[int] = []

    async def read(self) -> None:
        async for item in self.place.items(self.stream):
            self.news.append(item)
            if isinstance(item, heartline.Message):
                said = heard(item)
                if isinstance(said, str):
                    self.seqs.append(json.loads(said)["seq"])
                else:
                    self.notes.append(said)

    def of(self, kind: type[T]) -> list[T]:
        return [item for item in self.news if isinstance(item, kind)]


@in_loop
async def test_a_killed_relay_is_told_by_a_new_epoch_and_sigterm_ends_it() -> None:
    async with FaultyServer(rate=0) as venue, AsyncExitStack() as stack:
        enter = stack.enter_async_context
        process, url = await enter(relay(venue.url, "127.0.0.1:0"))
        client = Client(url)
        await enter(client.stream)
        reading = asyncio.create_task(client.read())
        await until(lambda: client.place.place("stream")[0] is not None, "subscribed")
        await venue.until(lambda counts: counts.open == 1)
        await venue.burst(5)
        await until(lambda: client.seqs == [1, 2, 3, 4, 5], "data")
        epoch, offset = client.place.place("stream")

        process.send_signal(signal.SIGKILL)
        await process.wait()
        process, _ = await enter(relay(venue.url, url[5:-1]))
        await until(lambda: client.place.place("stream")[0] != epoch, "the new epoch")
        (gap,) = [gap for gap in client.of(Gap) if gap.first is not None]
        assert (gap.channel, gap.first, gap.last) == ("stream", offset + 1, None)
        await venue.until(lambda counts: counts.open == 1)
        await venue.burst(3)
        await until(lambda: client.seqs[5:] == [6, 7, 8], "data of the other relay")
        assert client.of(Numbered)[-1].of_epoch != epoch

        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
        assert time.monotonic() - started < 1.0 * crowding()
        assert process.stderr is not None
        told = (await process.stderr.read()).decode().splitlines()
        assert [line.split()[3] for line in told] == ["Connected:", "Stopped:"]
        assert all(re.match(r"\d{4}-\d\d-\d\d [\d:.]{12} UTC ", it) for it in told)
        await until(lambda: bool(client.of(Notice)), "the notice")
        await client.stream.aclose()
        await reading


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:8765", ("127.0.0.1", 8765)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_an_address_to_listen_on(text: str, found: tuple[str, int]) -> None:
    assert address(text) == found


@pytest.mark.parametrize(
    "text", ["8765", "127.0.0.1", ":1", "a:99999", "a:1/x", "u@a:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--listen: wanted HOST:PORT"):
        address(text)
