"""A scrape in another thread asks the loop: no stream is touched from elsewhere."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest

import heartline
from heartline.client.driver import Driver
from heartline.client.scraped import Scraped
from heartline.core.items import Status
from heartline.testing import FaultyServer
from loopback import both_loops, run


def value_of(text: str, name: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.rpartition(" ")[2])


@both_loops
def test_a_scrape_in_another_thread_has_the_stream_asked_in_its_own(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to run the machine, and to set timers of the loop, from over there."""
    asked_in: set[int] = set()
    snapshot = Driver.snapshot

    def noted(driver: Driver) -> Status:
        asked_in.add(threading.get_ident())
        return snapshot(driver)

    async def main() -> str:
        registry = CollectorRegistry()
        async with (
            FaultyServer() as server,
            heartline.connect(server.url, metrics=registry) as stream,
        ):
            await stream.wait_live(5)
            asked_in.clear()
            page = await asyncio.to_thread(generate_latest, registry)
        return page.decode()

    monkeypatch.setattr(Driver, "snapshot", noted)
    page = run(loop, main())
    assert asked_in == {threading.get_ident()}
    assert value_of(page, "heartline_live{") == 1
    assert value_of(page, "heartline_status_errors_total") == 0


def test_a_loop_that_stands_still_keeps_a_scrape_of_many_streams_only_once() -> None:
    async def main() -> tuple[list[float], int]:
        loop = asyncio.get_running_loop()
        asked = Scraped(loop, patience=0.2).asking(lambda: 7)
        waited: list[float] = []
        done = threading.Event()

        def scrape() -> None:
            for _ in range(5):
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    asked()
                waited.append(time.monotonic() - began)
            done.set()

        thread = threading.Thread(target=scrape)
        thread.start()
        assert done.wait(10)  # and so the loop stands still
        thread.join()
        await asyncio.sleep(0)
        return waited, await asyncio.to_thread(asked)

    waited, answer = asyncio.run(main())
    assert len(waited) == 5
    assert sum(waited) < 3 * 0.2, waited
    assert answer == 7, "a loop that goes on is asked again"


def test_what_a_call_raises_is_raised_to_whoever_asks() -> None:
    def broken() -> int:
        raise LookupError("gone")

    async def main() -> None:
        asked = Scraped.of(asyncio.get_running_loop()).asking(broken)
        with pytest.raises(LookupError, match="gone"):
            asked()
        with pytest.raises(LookupError, match="gone"):
            await asyncio.to_thread(asked)

    asyncio.run(main())


def test_a_loop_that_is_closed_says_so_at_once() -> None:
    async def main() -> object:
        return Scraped(asyncio.get_running_loop()).asking(lambda: 7)

    asked = asyncio.run(main())
    failures: list[BaseException] = []

    def scrape() -> None:
        try:
            asked()  # type: ignore[operator]
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    thread.join(10)
    assert [str(error) for error in failures] == ["Event loop is closed"]
