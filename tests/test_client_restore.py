"""The state that only the user can restore: asked before LIVE, over a second way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import serve

import heartline
from heartline import Cause, Dialling, Outage, Phase, UsageError
from heartline.core.events import Connected, Lost
from stream_kit import in_loop, watching

SHORT = Dialling(restore=0.1)


class Server:
    """Accepts, and keeps its links."""

    def __init__(self) -> None:
        self.links: list[Any] = []

    async def handle(self, link: Any) -> None:
        self.links.append(link)
        async for _ in link:
            pass


@in_loop
async def test_no_link_is_live_before_the_accounts_state_is_restored() -> None:
    server = Server()
    asked: list[Outage] = []
    may_end = asyncio.Event()

    async def ask(outage: Outage) -> None:
        asked.append(outage)
        await may_end.wait()

    async with serve(server.handle, "127.0.0.1", 0) as served:
        port = next(iter(served.sockets)).getsockname()[1]
        async with watching(f"ws://127.0.0.1:{port}/", restore=ask) as w:
            await w.until(lambda: asked, "asked")
            assert w.stream.status.phase is Phase.SYNCING
            assert w.of(Connected) == []
            may_end.set()
            await w.live()
            assert asked == [Outage(1, None, asked[0].until_at)]
            may_end.clear()
            server.links[0].transport.abort()
            await w.until(lambda: len(asked) == 2, "asked again")
            lost = w.of(Lost)[0]
            assert asked[1].epoch == 2
            assert asked[1].from_at == lost.since_at
            assert asked[1].until_at >= lost.at
            assert not w.stream.status.live
            may_end.set()
            await w.live(epoch=2)


@in_loop
async def test_the_second_way_is_tried_where_the_first_fails() -> None:
    server = Server()
    tried: list[str] = []
    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

    async def broken(outage: Outage) -> None:
        tried.append("broken")
        raise RuntimeError("a secret")

    async def hanging(outage: Outage) -> None:
        tried.append("hanging")
        await asyncio.Event().wait()

    def good(outage: Outage) -> None:
        tried.append("good")

    async with serve(server.handle, "127.0.0.1", 0) as served:
        port = next(iter(served.sockets)).getsockname()[1]
        url, ways = f"ws://127.0.0.1:{port}/", [broken, hanging, good]
        async with watching(url, restore=ways, dialling=SHORT) as w:
            await w.live()
    assert tried == ["broken", "hanging", "good"]
    assert [str(error) for error in told] == ["a secret"]
    assert w.of(Lost) == []


@in_loop
async def test_the_log_says_where_a_way_failed_and_not_what_it_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()

    async def signed(outage: Outage) -> None:
        raise RuntimeError("GET /orders?signature=" + "deadbeef".upper())

    async def good(outage: Outage) -> None:
        return

    async with serve(server.handle, "127.0.0.1", 0) as served:
        port = next(iter(served.sockets)).getsockname()[1]
        url, ways = f"ws://127.0.0.1:{port}/", [signed, good]
        async with watching(url, restore=ways, dialling=SHORT) as w:
            await w.live()
    assert "restore raised RuntimeError (test_client_restore.py:" in caplog.text
    assert " in signed)" in caplog.text
    assert "DEADBEEF" not in caplog.text


@in_loop
async def test_a_link_whose_account_is_not_restored_is_dialled_again() -> None:
    server = Server()
    tried: list[int] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: None)

    async def ask(outage: Outage) -> None:
        tried.append(outage.epoch)
        if outage.epoch < 3:
            raise RuntimeError("a secret")

    async with serve(server.handle, "127.0.0.1", 0) as served:
        port = next(iter(served.sockets)).getsockname()[1]
        async with watching(f"ws://127.0.0.1:{port}/", restore=ask) as w:
            await w.live(epoch=3)
    assert tried == [1, 2, 3]
    assert [lost.cause for lost in w.of(Lost)] == [Cause.CLOSED_BY_US] * 2
    assert "way 1 raised RuntimeError" in w.of(Lost)[0].reason
    assert "secret" not in w.story
    assert len(w.of(Connected)) == 1


@pytest.mark.parametrize("bad", [5, ["no"], "ask"], ids=repr)
def test_what_cannot_be_called_is_refused(bad: Any) -> None:
    with pytest.raises(UsageError, match="restore"):
        heartline.connect("ws://127.0.0.1:1/", restore=bad)
