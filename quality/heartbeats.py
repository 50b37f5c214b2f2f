"""Heartbeats on a fixed schedule: a ping each interval over TCP, and its pong.

One exchange at a time, as the schedule leaves them apart: each way is tried again at
the instants at which Linux resends, until a packet gets through.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from .environments import SILENCE_LEAST, SILENCE_SHAPE, Feed, Weather, next_data

LEAST_RESEND = 0.2
TIMER_TICKS = 0.008
"""The first resend of a ping was measured 224 to 233 ms after it (HZ=250)."""
THINKING = 0.0005
"""Seconds a program takes to answer."""


class Heartbeat(NamedTuple):
    """One ping and its pong, in seconds of the virtual clock."""

    number: int
    """From 1 on."""
    asked_at: float
    heard_at: float
    """When the pong arrived at our kernel."""
    read_at: float
    """When our program read it."""
    judged_at: float
    """The latest moment before it at which our program could judge the silence.

    A program that stood still reads first and judges then: the kinder of two orders.
    """


def heartbeats(
    weather: Weather,
    *,
    interval: float,
    feed: Feed,
    dice: random.Random,
    seconds: float,
) -> Iterator[Heartbeat]:
    """Ping each `interval`, counted from the last ping: as a program that sleeps."""
    ours, theirs = weather.ours, weather.theirs
    resend = LEAST_RESEND + weather.environment.round_trip + TIMER_TICKS
    number, asked_at = 0, ours.end(interval * dice.random())
    while asked_at < seconds:
        number += 1
        there = _arrival(weather, asked_at, resend, Feed.IDLE, dice)
        answered_at = theirs.end(there) + THINKING
        heard_at = _arrival(weather, answered_at, resend, feed, dice)
        read_at = ours.end(heard_at)
        yield Heartbeat(number, asked_at, heard_at, read_at, ours.begin(heard_at))
        asked_at = ours.end(asked_at + interval)


def _arrival(
    weather: Weather, at: float, resend: float, feed: Feed, dice: random.Random
) -> float:
    """When what is sent at `at` gets through.

    Beside a feed a hole is noticed by the data after it, and filled a round trip later.
    """
    tries = 0
    while (arrived := weather.arrival(at)) is None:
        # Once for a probe of the tail, once by timeout, then at doubled intervals.
        wait = resend * 2.0 ** max(0, tries - 1)
        if feed is not Feed.IDLE:
            noticed = until_data(feed, dice) + weather.environment.round_trip
            wait = min(wait, noticed)
        at += wait
        tries += 1
    return arrived


def until_data(feed: Feed, dice: random.Random) -> float:
    """Seconds from a moment of no meaning until the feed speaks next."""
    silence, _ = next_data(feed, dice)
    if feed is Feed.STEADY:
        return silence
    # A random moment falls into a silence the likelier, the longer it is: of all
    # silences of Pareto(a) it sees those of Pareto(a - 1).
    seen = SILENCE_LEAST * dice.paretovariate(SILENCE_SHAPE - 1)
    return seen * dice.random()
