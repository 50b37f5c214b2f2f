"""What a caller is told, or spared, where a call was nearly right."""

from __future__ import annotations

import socket

import pytest

import heartline
from heartline import UsageError, Venue
from loopback import until
from stream_kit import in_loop


def test_channels_may_stand_beside_a_venue_that_has_none() -> None:
    venue = Venue(name="binance/usdm")
    url, channels = "ws://127.0.0.1:9/", ["btcusdt@aggTrade"]
    heartline.connect(url, venue=venue, channels=channels)
    taken = Venue(name="binance/usdm", channels=["btcusdt@depth"])
    with pytest.raises(UsageError, match=r"channels: .* got 'both'"):
        heartline.connect(url, venue=taken, channels=channels)


def test_a_callable_among_the_messages_on_open_is_told_the_way() -> None:
    with pytest.raises(UsageError, match="or one callable that makes all of them"):
        heartline.connect("ws://127.0.0.1:9/", on_open=[lambda: "login"])  # type: ignore[list-item]


@in_loop
async def test_who_waits_in_vain_for_a_live_stream_is_told_why() -> None:
    with socket.socket() as bound:  # and nobody listens
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        async with heartline.connect(f"ws://127.0.0.1:{port}/") as stream:
            await until(lambda: stream.status.cause is not None, "refused", 20.0)
            with pytest.raises(TimeoutError, match=r"within 0\.01 s: REFUSED: .+"):
                await stream.wait_live(timeout=0.01)
