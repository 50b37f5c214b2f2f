"""The shipped JavaScript client in a real browser, whose server is frozen and thawed.

The page says of itself what a trader would see on it; it is asked over the DevTools
protocol. With HEARTLINE_SCREENSHOTS=directory it is pictured there as well.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FOUND = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(FOUND is None, reason=f"none of {', '.join(BROWSERS)}")

DEADLINE = 60.0
"""Seconds until anything at all has happened, on the busiest machine."""
ASK_EVERY = 0.1
TRIES = 3
LOOKS_EVERY = 0.2
LOOKS_LATE = 2.0
"""A look of the client that comes later than this does not judge: so no machine is
too busy for its silence to be told within the bound and this, by its own clock."""

SERVER = """
import asyncio
import heartline
from heartline.server import browser_client

PAGE = '''<!doctype html>
<meta charset="utf-8"><title>ticks</title>
<style>body { font: 28px sans-serif; margin: 2em } .dead { color: #b00 }</style>
<h1 id="status">connecting</h1>
<p>tick <b id="tick"></b>, <b id="count">0</b> of them, <b id="gaps">0</b> gaps</p>
<script src="/heartline.js"></script>
<script>
const seen = { offsets: [], gaps: [], statuses: [] };
const show = (id, text) => { document.getElementById(id).textContent = text; };
const stream = new HeartlineStream(`ws://${location.host}/`, {
  channels: ["ticks"],
  onMessage: ({ offset, data }) => {
    seen.offsets.push(offset);
    show("tick", data.tick);
    show("count", seen.offsets.length);
  },
  onGap: (gap) => show("gaps", seen.gaps.push(gap)),
  onStatus: (status) => {
    seen.statuses.push(status);
    show("status", status.live ? "LIVE" : `NOT LIVE: ${status.reason}`);
    document.getElementById("status").className = status.live ? "" : "dead";
  },
});
</script>'''

liveness = heartline.Liveness(
    kernel_interval=1, ping_every=0.5, peer_busy=0.5, peer_idle=1.5, stall_after=0.5
)


def page():
    return heartline.Answer(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})


async def main():
    async with heartline.serve(
        liveness=liveness,
        resume=heartline.Resume(messages=100_000, size_bytes=1 << 30),
        pages={"/": page, "/heartline.js": browser_client},
    ) as server:
        print(server.port, flush=True)
        tick = 0
        while True:
            tick += 1
            server.publish("ticks", {"tick": tick})
            await asyncio.sleep(0.05)


asyncio.run(main())
"""

STATE = """JSON.stringify({ ...seen, live: stream.live, bound: stream.terms.bound,
  shown: document.getElementById("status").textContent })"""


@contextmanager
def started(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process and all it starts, killed at the end, frozen or not."""
    with subprocess.Popen(
        command, text=True, start_new_session=True, **options
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def ticking() -> Iterator[tuple[subprocess.Popen[str], str]]:
    with started(sys.executable, "-c", SERVER, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process, f"http://127.0.0.1:{int(process.stdout.readline())}/"


@contextmanager
def browsing(url: str, home: Path) -> Iterator[str]:
    """A browser with that page; where it can be asked."""
    assert FOUND is not None
    told = home / "told"
    profile = home / "profile"
    with (
        told.open("w") as errors,
        started(
            FOUND,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-sync"),
            *("--disable-component-update", "--disable-dev-shm-usage"),
            *("--no-proxy-server", "--window-size=800,400"),
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",
            url,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=os.environ | {"HOME": str(home)},
        ) as process,
    ):
        port = profile / "DevToolsActivePort"
        end = time.monotonic() + DEADLINE
        while not (port.exists() and len(port.read_text().split()) == 2):
            if process.poll() is not None or time.monotonic() > end:
                lines = told.read_text().splitlines()
                pytest.skip(f"{FOUND} does not start here: {' '.join(lines[-1:])}")
            time.sleep(0.05)
        number, path = port.read_text().split()
        yield f"ws://127.0.0.1:{number}{path}"


class Page:
    """A page of the browser, as the DevTools protocol has it."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self._asked = 0
        self._session: dict[str, str] = {}

    async def attach(self, url: str) -> None:
        while True:
            targets = (await self._ask("Target.getTargets"))["targetInfos"]
            mine = [target for target in targets if target["url"] == url]
            if mine:
                break
            await asyncio.sleep(ASK_EVERY)
        which = {"targetId": mine[0]["targetId"], "flatten": True}
        found = await self._ask("Target.attachToTarget", **which)
        self._session = {"sessionId": found["sessionId"]}

    async def state(self) -> dict[str, Any]:
        told = await self._ask("Runtime.evaluate", expression=STATE)
        # Until its scripts have run there is nothing to be told.
        state: dict[str, Any] = json.loads(told["result"].get("value", "{}"))
        return state

    async def until(
        self, what: str, condition: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        end = time.monotonic() + DEADLINE
        state: dict[str, Any] = {}
        while not (state and condition(state)):
            assert time.monotonic() < end, f"the page never was {what}: {state}"
            await asyncio.sleep(ASK_EVERY)
            state = await self.state()
        await self._picture(what)
        return state

    async def _picture(self, name: str) -> None:
        if where := os.environ.get("HEARTLINE_SCREENSHOTS"):
            picture = await self._ask("Page.captureScreenshot")
            path = Path(where) / f"{name.replace(' ', '-')}.png"
            path.write_bytes(base64.b64decode(picture["data"]))

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._asked += 1
        order = {"id": self._asked, "method": method, "params": parameters}
        await self._link.send(json.dumps(order | self._session))
        while True:
            told = json.loads(await asyncio.wait_for(self._link.recv(), DEADLINE))
            if told.get("id") == self._asked:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result


@asynccontextmanager
async def looking(browser: str, url: str) -> AsyncIterator[Page]:
    async with connect(browser, proxy=None, max_size=None) as link:
        page = Page(link)
        await asyncio.wait_for(page.attach(url), DEADLINE)
        yield page


async def freeze(server: subprocess.Popen[str], page: Page) -> dict[str, Any]:
    """Stop a server that the page sees live, until the page says what it thinks."""
    for _ in range(TRIES):
        live = await page.until(
            "live", lambda state: state["live"] and len(state["offsets"]) >= 5
        )
        assert live["shown"] == "LIVE"
        server.send_signal(signal.SIGSTOP)
        frozen = await page.until("not live", lambda state: not state["live"])
        assert len(frozen["offsets"]) >= len(live["offsets"])
        if "closed" not in frozen["shown"]:
            return frozen
        # So busy a machine that the server had given up the page just before.
        server.send_signal(signal.SIGCONT)
    pytest.fail(f"the server closed {TRIES} times")


def test_a_page_says_that_its_server_froze_and_resumes_with_nothing_lost(
    tmp_path: Path,
) -> None:
    async def watch(server: subprocess.Popen[str], url: str, browser: str) -> None:
        async with looking(browser, url) as page:
            frozen = await freeze(server, page)
            silence, bound = frozen["statuses"][-1]["silence"], frozen["bound"]
            assert bound - 2 * LOOKS_EVERY <= silence <= bound + LOOKS_LATE
            assert frozen["shown"].startswith("NOT LIVE: nothing heard for")

            server.send_signal(signal.SIGCONT)
            more = frozen["offsets"][-1] + 20
            again = await page.until(
                "live again",
                lambda state: state["live"] and state["offsets"][-1] >= more,
            )
            assert again["shown"] == "LIVE"
            first, last = again["offsets"][0], again["offsets"][-1]
            assert again["offsets"] == list(range(first, last + 1))
            assert again["gaps"] == []

    with ticking() as (server, url), browsing(url, tmp_path) as browser:
        asyncio.run(watch(server, url, browser))
