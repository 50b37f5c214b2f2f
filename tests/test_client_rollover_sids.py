"""Numbers that count for one subscription of one link: the next link has others."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from heartline import Gap, Message
from heartline.core.events import GapFound
from rollover_kit import Played, PlayedVenue, VirtualLoop, Wire, replaced

CHANNELS = ["orderbook_delta:KXA", "orderbook_delta:KXB", "orderbook_delta:KXC"]


class Kalshi(PlayedVenue):
    """Numbers each subscription of each link from 1, in the order it was asked for.

    `loses`: of so many messages one is not sent on one link, though numbered there.
    """

    def __init__(self, *, loop: VirtualLoop, dice: random.Random, loses: int) -> None:
        super().__init__("kalshi", CHANNELS, loop=loop, dice=dice, every=0.05)
        self.loses = loses
        self.lost: list[str] = []
        self.sids: dict[Wire, dict[str, list[int]]] = {}
        """Of each link: of each channel its number, and how far that has counted."""

    def say(self, channel: str) -> None:
        self.last[channel] += 1
        self.said[channel].append(self.last[channel])
        for wire in self.wires:
            if channel in wire.channels:
                self.number(wire, channel, "orderbook_delta")

    def number(self, wire: Wire, channel: str, of: str) -> None:
        sid, seq = self.sids[wire][channel]
        self.sids[wire][channel][1] = seq + 1
        loses = of == "orderbook_delta" and self.loses
        if loses and self.dice.randrange(loses) == 0:
            self.lost.append(channel)
            return
        msg = {"market_ticker": channel.split(":")[1], "delta": self.last[channel]}
        wire.say(json.dumps({"type": of, "sid": sid, "seq": seq, "msg": msg}))

    def hear(self, wire: Wire, text: str) -> None:
        said = json.loads(text)
        asked = said["params"]
        if said["cmd"] == "unsubscribe" or wire not in self.wires:
            return
        markets = asked["market_tickers"]
        # The order in which a link has its subscriptions is its own.
        self.dice.shuffle(markets)
        sids = self.sids.setdefault(wire, {})
        for market in markets:
            channel = f"orderbook_delta:{market}"
            wire.channels.add(channel)
            sids[channel] = [len(sids) + 1, 1]
            msg = {"channel": "orderbook_delta", "sid": sids[channel][0]}
            wire.say(json.dumps({"id": said["id"], "type": "subscribed", "msg": msg}))
            self.number(wire, channel, "orderbook_snapshot")


def played(monkeypatch: pytest.MonkeyPatch, *, seed: int, loses: int = 0) -> Played:
    venue = Kalshi(loop=VirtualLoop(), dice=random.Random(seed), loses=loses)
    return replaced(venue, monkeypatch)


def deltas(stream: Played, channel: str) -> list[int]:
    said: list[dict[str, Any]] = [
        json.loads(each.data)
        for each in stream.items
        if isinstance(each, Message) and each.channel == channel
    ]
    return [e["msg"]["delta"] for e in said if e["type"] == "orderbook_delta"]


@pytest.mark.parametrize("seed", range(6))
def test_the_numbers_of_a_links_subscriptions_are_not_those_of_the_next_link(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = played(monkeypatch, seed=seed)
    assert len({event.epoch for event in stream.events if hasattr(event, "epoch")}) > 2
    assert [each for each in stream.items if isinstance(each, Gap)] == []
    for channel in CHANNELS:
        got, said = deltas(stream, channel), stream.venue.said[channel]
        assert len(got) > 500
        assert got == said[-len(got) :]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_missing_of_a_subscription_is_told_on_either_link(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = played(monkeypatch, seed=seed, loses=300)
    lost: list[str] = stream.venue.lost  # type: ignore[attr-defined]
    assert lost
    told = [event.gap.channel for event in stream.of(GapFound)]
    for channel in CHANNELS:
        got, said = deltas(stream, channel), stream.venue.said[channel]
        assert got == sorted(got) or channel in told
        if set(said[said.index(got[0]) :]) - set(got):
            assert channel in told
