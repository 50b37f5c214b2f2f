"""The public API as users type it: checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

import heartline
from heartline import Gap, Item, Message, Status, events


async def token() -> Mapping[str, str]:
    return {"Authorization": "made anew for every attempt"}


def observed(event: events.Event) -> None:
    match event:
        case events.Lost():
            assert_type(event.cause, heartline.Cause)
            assert_type(event.since_at, float)
        case events.GapFound() | events.GapClosed():
            assert_type(event.gap, Gap)
        case heartline.events.ConditionBegan():
            assert_type(event.condition, heartline.Condition)
        case _:
            assert_type(event.at, float)


async def items() -> None:
    async with heartline.connect(
        "wss://venue.example/stream",
        headers=token,
        on_open=["subscribe"],
        heartbeat=heartline.Heartbeat(send="ping", every=20.0, answer="pong"),
        freshness=heartline.Freshness(every=2.0),
        liveness=heartline.Liveness(ping_every=5.0),
        backoff=heartline.Backoff(cap=10.0),
        inbox=heartline.Inbox(policy="conflate", key=lambda message: message.channel),
        on_event=observed,
    ) as stream:
        assert_type(stream, heartline.Stream)
        assert_type(stream.is_fresh(max_age=1.0), bool)
        assert_type(await stream.wait_live(timeout=5.0), Status)
        stream.send("text")
        stream.send(b"binary")
        async for batch in stream.batches():
            assert_type(batch, list[Item])
        async for item in stream:
            match item:
                case Message():
                    assert_type(item.data, str | bytes)
                    assert_type(item.channel, str | None)
                case Gap():
                    assert_type(item.missing, int | None)
                case Status():
                    assert_type(item.cause, heartline.Cause | None)
                    assert_type(item.bounds.path, float)
