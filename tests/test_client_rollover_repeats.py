"""Channels whose messages repeat themselves word for word, across planned ends."""

from __future__ import annotations

import json
import random

import pytest

from heartline import Gap
from heartline.core.channel_events import TookOver
from heartline.core.events import GapFound, Lost
from rollover_kit import Played, PlayedVenue, VirtualLoop, replaced

CHANNELS = ["btcusdt@ticker", "ethusdt@ticker"]


class Repeating(PlayedVenue):
    """Says one of `words` words, whichever comes."""

    def __init__(self, words: int, *, loop: VirtualLoop, dice: random.Random) -> None:
        super().__init__("binance", CHANNELS, loop=loop, dice=dice, every=0.05)
        self.words = words

    def worded(self, channel: str, low: int, high: int) -> str:
        word = self.dice.randrange(self.words)
        self.said[channel][-1] = word
        symbol = channel.split("@")[0].upper()
        return json.dumps({"e": "24hrTicker", "s": symbol, "E": word})


def played(words: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> Played:
    venue = Repeating(words, loop=VirtualLoop(), dice=random.Random(seed))
    return replaced(venue, monkeypatch)


@pytest.mark.parametrize("words", [2, 5, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_what_repeats_itself_is_joined_by_its_order_and_an_answer_of_the_old_link(
    seed: int, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = played(words, seed, monkeypatch)
    assert len(stream.of(TookOver)) >= 2
    assert stream.of(GapFound) == []
    assert stream.of(Lost) == []
    for channel in CHANNELS:
        got, said = stream.numbers(channel), stream.venue.said[channel]
        assert len(got) > 1000
        assert got == said[-len(got) :]


def test_one_word_over_and_over_is_joined_where_it_paused_and_else_that_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = 0
    for seed in range(5):
        stream = played(1, seed, monkeypatch)
        gaps = [each.channel for each in stream.items if isinstance(each, Gap)]
        told += len(gaps)
        for channel in CHANNELS:
            got, said = stream.numbers(channel), stream.venue.said[channel]
            assert len(got) > 1000
            assert len(got) >= len(said) - 10
            if channel not in gaps:
                assert len(got) <= len(said)
    assert told
