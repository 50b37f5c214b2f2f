"""Random histories: one seed chooses the path, the venue, the consumer, the faults."""

from __future__ import annotations

import random
from dataclasses import dataclass

from heartline.core.detector import Liveness
from heartline.core.inbox import Inbox, Overflow
from heartline.core.items import Message
from heartline.core.subscriptions import Freshness
from heartline.core.terms import Terms

from .sim_manners import Traffic
from .simulation import HOST, Simulation

SECONDS = 600.0
MOST_FAULTS = 6
BUSY = 0.6
"""Share of the histories with a feed in which a busy stretch occurs.

Each read of the socket costs the machine that simulates as much as a second of silence.
What a fast feed shows, it shows within seconds: its rhythm is learned after five, an
inbox overflows in one. So feeds are slow, and busy for a while only, around a fault
where there is one: a hundred thousand histories matter more than one long one.
"""
BUSY_RATES = (5.0, 20.0, 50.0)
SLOW_RATES = (0.1, 0.2, 0.5)
BUSY_MESSAGES = (60.0, 240.0)
BUSY_SECONDS = 16.0
"""At most; a busy stretch is over when so many messages have come."""
VENUES = (
    Liveness(),
    Liveness(kernel_interval=10),
    Liveness(kernel_interval=10, ping_every=20.0),
)
"""How the other end watches: few servers ask as often as we do."""


@dataclass(frozen=True, slots=True)
class _Chance:
    """How likely a fault is chosen, how long it may last, and its values."""

    weight: int
    longest: float
    values: tuple[float, ...] = (0.0,)


_CHANCES = {
    "blackhole": _Chance(4, 30.0),
    "inbound": _Chance(2, 20.0),
    "outbound": _Chance(2, 20.0),
    "link_down": _Chance(2, 20.0),
    "freeze": _Chance(4, 30.0),
    "mute": _Chance(2, 30.0),
    "left_out": _Chance(1, 20.0),
    "trickle": _Chance(1, 30.0),
    "no_pong": _Chance(2, 60.0),
    "late_pong": _Chance(2, 40.0, (0.5, 2.0, 4.0)),
    "refuse": _Chance(2, 20.0, (500.0, 503.0, 429.0)),
    "hang": _Chance(1, 20.0),
    "flap": _Chance(2, 20.0, (1013.0, 1001.0, 1000.0)),
    "close": _Chance(3, 0.0, (1000.0, 1001.0, 1012.0, 1013.0)),
    "restart": _Chance(2, 10.0, (0.0, 1012.0)),
    "vanish": _Chance(2, 0.0),
    "stall": _Chance(4, 5.0),
    "suspend": _Chance(1, 40.0),
}


def swarm(seed: int, *, seconds: float = SECONDS) -> Simulation:
    """Make and run the history of `seed`: it is the same every time."""
    dice = random.Random(f"{seed}/swarm")
    policy = dice.choice((Overflow.DROP_OLDEST, *Overflow))
    key = _last_digit if policy is Overflow.CONFLATE else None
    limit = dice.choice((65_536, 50, 5))
    traffic = dice.choice(list(Traffic))
    rate = dice.choice(SLOW_RATES)
    fresh: Freshness | None = None
    if traffic is Traffic.STEADY and dice.random() < 0.2:
        fresh = Freshness(every=dice.choice((2.0, 5.0)))
        rate = 2.0 / fresh.every
    terms = Terms(
        host=HOST,
        liveness=Liveness(kernel_interval=dice.choice((1, 1, 5, 10))),
        freshness=fresh,
        syncs=dice.random() < 0.4,
    )
    sim = Simulation(
        seed,
        terms=terms,
        inbox=Inbox(policy=policy, limit=limit, key=key),
        venue_liveness=dice.choice(VENUES),
    )
    sim.path(
        round_trip=dice.choice((0.0002, 0.02, 0.02, 0.1, 0.2)),
        jitter=dice.choice((0.0, 0.0, 0.001, 0.002)),
        loss=dice.choice((0.0, 0.0, 0.001, 0.01)),
    )
    manners = sim.venue.manners
    manners.traffic, manners.rate = traffic, rate
    if dice.random() < 0.1:
        manners.unsolicited_every = dice.choice((0.7, 7.0))
    if limit < 65_536:
        sim.client.consumer.speed = dice.choice((None, 10.0, 30.0, 100.0))
    sim.client.opening = dice.choice((0.0, 0.05, 2.0))
    sim.client.start()
    faults = _order_faults(sim, dice, seconds)
    if traffic is not Traffic.IDLE and dice.random() < BUSY:
        around = dice.choice(faults) if faults else dice.uniform(0.0, seconds)
        _order_busy_stretch(sim, dice, around)
    sim.run(seconds)
    return sim


def _order_faults(sim: Simulation, dice: random.Random, seconds: float) -> list[float]:
    """Let some kinds of fault happen, of which each history has its own."""
    kinds = dice.sample(list(_CHANCES), dice.randint(1, 5))
    weights = [_CHANCES[name].weight for name in kinds]
    began: list[float] = []
    at = dice.uniform(0.0, 60.0)
    for _ in range(dice.randint(0, MOST_FAULTS)):
        name = dice.choices(kinds, weights)[0]
        chance = _CHANCES[name]
        lasts = dice.uniform(0.05, 1.0) ** 2 * chance.longest
        sim.fault(name, after=at, seconds=lasts, value=dice.choice(chance.values))
        began.append(at)
        # Some follow one another, some overlap; one fault never overlaps itself.
        pause = dice.choice((0.0, 5.0, dice.uniform(0.0, 40.0)))
        at += lasts + 0.001 + dice.choice((pause, dice.uniform(0.0, seconds / 3)))
        if at > seconds:
            break
    return began


def is_busy(sim: Simulation) -> bool:
    """Whether the feed of this history was fast for a while."""
    return any(kind == "busy" for _, kind, _ in sim.history)


def _order_busy_stretch(sim: Simulation, dice: random.Random, around: float) -> None:
    """Let the feed be fast for a while; a fault falls into it, or follows it."""
    manners = sim.venue.manners
    slow, fast = manners.rate, dice.choice(BUSY_RATES)
    lasts = min(BUSY_SECONDS, dice.uniform(*BUSY_MESSAGES) / fast)
    now = sim.clock.now
    from_at = max(now, now + around - dice.uniform(0.0, 1.2) * lasts)

    def change(rate: object) -> None:
        assert isinstance(rate, float)
        manners.rate = rate
        sim.venue.feed()
        sim.history.append((sim.clock.now, "busy", rate))

    sim.clock.at(from_at, change, fast)
    sim.clock.at(from_at + lasts, change, slow)


def _last_digit(message: Message) -> object:
    return message.data[-1]
