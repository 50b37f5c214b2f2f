"""Fifty channels on one link, the whole client side of them, on a virtual clock."""

from __future__ import annotations

import json

from heartline import Venue
from heartline.core.channel_events import ChannelLive
from heartline.core.events import ChannelRevived, ChannelStalled, Connected, Lost
from virtual_venue import Client, virtual

NAMES = [f"trades.COIN{n}-PERPETUAL.100ms" for n in range(50)]
MUTED = NAMES[17]
KNOWN = 160
"""Seconds after which enough is known of each channel."""


def deribit() -> Client:
    return Client(Venue(name="deribit", channels=NAMES))


async def busy_for(client: Client, seconds: int) -> None:
    """Each channel says something every second."""
    for _ in range(seconds):
        await client.live_for(1.0)
        for name in NAMES:
            client.house.burst(name, 1, now=client.loop.time())
        client.settle()


def asked_for(client: Client, since: int) -> list[tuple[str, tuple[str, ...]]]:
    """Requests about channels among what was said, heartbeats left out."""
    said = [json.loads(each) for each in client.said[since:]]
    return [
        (each["method"], tuple(each["params"]["channels"]))
        for each in said
        if "channels" in each["params"]
    ]


def test_one_of_fifty_that_is_muted_is_named_and_revived_and_no_other_is_touched() -> (
    None
):
    async def run() -> Client:
        client = deribit()
        await busy_for(client, KNOWN)
        assert len(client.of(ChannelLive)) == len(NAMES)
        client.before = len(client.said)
        client.bound = client.desk.feed.bounds(now=client.loop.time())[MUTED]
        client.muted_at = client.loop.time()
        client.house.mute(MUTED)
        await busy_for(client, 30)
        client.stop()
        return client

    client = virtual(run)
    (stalled,) = client.of(ChannelStalled)
    assert stalled.channel == MUTED
    assert stalled.at <= client.muted_at + client.bound
    assert asked_for(client, client.before) == [
        ("public/unsubscribe", (MUTED,)),
        ("public/subscribe", (MUTED,)),
    ]
    (revived,) = client.of(ChannelRevived)
    assert revived.channel == MUTED
    assert client.desk.feed.troubles == {}
    assert client.of(Lost) == []
    assert len(client.of(Connected)) == 1


def test_fifty_channels_that_fall_quiet_for_an_hour_are_left_alone() -> None:
    async def run() -> Client:
        client = deribit()
        await busy_for(client, KNOWN)
        client.before = len(client.said)
        await client.live_for(3600.0)
        client.stop()
        return client

    client = virtual(run)
    assert client.of(ChannelStalled) == []
    assert client.of(Lost) == []
    assert len(client.of(Connected)) == 1
    assert asked_for(client, client.before) == []
    assert len(client.said) - client.before >= 3600 / 10 - 1, "and its beats are kept"


def test_fifty_channels_that_never_say_a_word_are_left_alone_for_an_hour() -> None:
    async def run() -> Client:
        client = deribit()
        await client.live_for(3600.0)
        client.stop()
        return client

    client = virtual(run)
    assert client.of(ChannelStalled) == []
    assert client.of(Lost) == []
    assert len(client.of(Connected)) == 1
