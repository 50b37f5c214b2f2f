"""The shipped JavaScript client in Node, against the real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import heartline
from heartline.server import browser_client
from heartline.testing import FaultProxy
from loopback import until
from server_kit import QUICK, in_loop, joined, only

SCRIPT = Path(heartline.__file__).parent / "server" / "heartline.js"

PROGRAM = """
const { HeartlineStream } = require(process.argv[1]);
const tell = (what) => (fields) => console.log(JSON.stringify({ what, ...fields }));
const stream = new HeartlineStream(process.argv[2], {
  channels: ["book"],
  lookEvery: 20,
  onMessage: tell("message"),
  onGap: tell("gap"),
  onStatus: tell("status"),
  onNotice: tell("notice"),
  onRefused: tell("refused"),
});
process.stdin.on("data", (line) => stream.send(JSON.parse(line)));
process.stdin.on("end", () => { stream.close(); process.exit(0); });
"""


@cache
def why_not() -> str | None:
    """Why the client cannot run here; None if it can."""
    node = shutil.which("node")
    if node is None:
        return "no node on this machine"
    test = "process.exit(typeof WebSocket === 'function' ? 0 : 1)"
    command = [node, "--experimental-websocket", "-e", test]
    tried = subprocess.run(command, capture_output=True, timeout=30, check=False)
    return "this node has no WebSocket" if tried.returncode else None


pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class Page:
    """A running client, and what it has told so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.told: list[dict[str, Any]] = []
        self._process = process

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.told.append(json.loads(line) | {"at": time.monotonic()})

    def of(self, what: str) -> list[dict[str, Any]]:
        return [told for told in self.told if told["what"] == what]

    @property
    def offsets(self) -> list[int]:
        return [m["offset"] for m in self.of("message") if "offset" in m]

    @property
    def live(self) -> bool:
        return bool(self.of("status")) and self.of("status")[-1]["live"]

    def say(self, data: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(data).encode())


@asynccontextmanager
async def page(url: str) -> AsyncIterator[Page]:
    process = await asyncio.create_subprocess_exec(
        "node",
        "--experimental-websocket",
        *("--no-warnings", "-e", PROGRAM, str(SCRIPT), url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    opened = Page(process)
    listening = asyncio.create_task(opened.listen())
    try:
        yield opened
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
        await listening


@in_loop
async def test_it_reads_a_channel_resumes_after_a_cut_and_is_heard() -> None:
    heard: list[str | bytes] = []

    class Desk(heartline.Hub):
        def on_message(
            self, client: heartline.Client, message: heartline.Message
        ) -> None:
            heard.append(message.data)

    resume = heartline.Resume(messages=3)
    async with (
        heartline.serve(Desk(), resume=resume) as server,
        page(server.url) as reader,
    ):
        await until(lambda: reader.live, "live", 10)
        await until(lambda: len(server.channel("book").audience) == 1, "subscribed")
        for number in range(1, 4):
            server.publish("book", {"n": number})
        await until(lambda: reader.offsets == [1, 2, 3], "live data")
        assert [m["data"]["n"] for m in reader.of("message")] == [1, 2, 3]
        reader.say({"buy": 1})
        await until(lambda: heard == ['{"buy":1}'], "what it said")

        only(server).abort("a cut")
        for number in range(4, 10):
            server.publish("book", {"n": number})
        await until(lambda: len(reader.offsets) == 6, "what is kept", 10)
        assert reader.offsets == [1, 2, 3, 7, 8, 9]
        (gap,) = reader.of("gap")
        assert (gap["first"], gap["last"], gap["reason"]) == (4, 6, "history")
        assert [s["live"] for s in reader.of("status")] == [True, False, True]


@in_loop
async def test_silence_is_told_within_the_bound_and_healed_by_resuming() -> None:
    async with (
        heartline.serve(liveness=QUICK) as server,
        FaultProxy(server.port) as proxy,
        page(proxy.url) as reader,
    ):
        await until(lambda: reader.live, "live", 10)
        await until(lambda: len(server.channel("book").audience) == 1, "subscribed")
        server.publish("book", "before")
        await until(lambda: reader.offsets == [1], "live data")
        frozen_at = time.monotonic()
        await proxy.blackhole()
        server.publish("book", "meanwhile")
        await until(lambda: not reader.live, "silence is told", 20)
        lost = reader.of("status")[-1]
        assert lost["at"] - frozen_at < server.bound + 0.6
        assert "nothing heard" in lost["reason"]
        await proxy.restore()
        await proxy.cut()
        await until(lambda: reader.offsets == [1, 2], "what was missed", 10)
        assert reader.live
        assert not reader.of("gap")


@in_loop
async def test_it_follows_a_server_that_goes_to_the_one_it_names() -> None:
    async with (
        heartline.serve() as second,
        heartline.serve() as first,
        page(first.url) as reader,
    ):
        await joined(first)
        await first.aclose(drain=0.1, go=second.url)
        await until(lambda: second.status.clients == 1, "the other server", 10)
        assert reader.of("notice")[0]["go"] == second.url


@in_loop
async def test_it_comes_back_where_a_server_names_no_address() -> None:
    async with heartline.serve() as first, page(first.url) as reader:
        await joined(first)
        port = first.port
        await first.aclose(drain=0.1, go="over there")
        async with heartline.serve(port=port) as second:
            await until(lambda: second.status.clients == 1, "back home", 10)
            assert reader.of("notice")[0]["go"] == "over there"


@in_loop
async def test_it_comes_back_where_nobody_is_at_the_named_address() -> None:
    """Node's own WebSocket tells no close of a connection that never came about."""
    async with heartline.serve() as first, page(first.url):
        await joined(first)
        port = first.port
        with socket.socket() as dead:
            dead.bind(("127.0.0.1", 0))
            nobody = f"ws://127.0.0.1:{dead.getsockname()[1]}/"
            await first.aclose(drain=0.1, go=nobody)
            async with heartline.serve(port=port) as second:
                await until(lambda: second.status.clients == 1, "back home", 10)


@in_loop
async def test_the_client_is_served_as_a_page() -> None:
    async with heartline.serve(pages={"/heartline.js": browser_client}) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /heartline.js HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert b"text/javascript" in head
        assert body == SCRIPT.read_bytes()
