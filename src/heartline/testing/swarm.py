"""Random histories: one seed chooses the path, the venue, the consumer, the faults."""

from __future__ import annotations

import random
from dataclasses import dataclass

from heartline.core.inbox import Inbox, Overflow
from heartline.core.items import Message
from heartline.core.subscriptions import Freshness
from heartline.core.terms import Terms

from .sim_venue import Traffic
from .simulation import HOST, Simulation

SECONDS = 120.0


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
    fresh = Freshness(every=dice.choice((1.0, 3.0))) if dice.random() < 0.2 else None
    traffic = dice.choice(list(Traffic))
    terms = Terms(
        host=HOST,
        freshness=fresh if traffic is Traffic.STEADY else None,
        syncs=dice.random() < 0.4,
    )
    inbox = Inbox(policy=policy, limit=limit, key=key)
    sim = Simulation(seed, terms=terms, inbox=inbox)
    sim.path(
        round_trip=dice.choice((0.0002, 0.02, 0.02, 0.1, 0.2)),
        jitter=dice.choice((0.0, 0.0, 0.001, 0.002)),
        loss=dice.choice((0.0, 0.0, 0.001, 0.01)),
    )
    manners = sim.venue.manners
    manners.traffic = traffic
    manners.rate = dice.choice((2.0, 5.0, 20.0))
    if dice.random() < 0.1:
        manners.unsolicited_every = 0.3
    if limit < 65_536:
        sim.client.consumer.speed = dice.choice((None, 10.0, 30.0, 100.0))
    sim.client.opening = dice.choice((0.0, 0.05, 2.0))
    sim.client.start()
    _order_faults(sim, dice, seconds)
    sim.run(seconds)
    return sim


def _order_faults(sim: Simulation, dice: random.Random, seconds: float) -> None:
    names = list(_CHANCES)
    weights = [_CHANCES[name].weight for name in names]
    at = dice.uniform(0.0, 30.0)
    for _ in range(dice.randrange(5)):
        name = dice.choices(names, weights)[0]
        chance = _CHANCES[name]
        lasts = dice.uniform(0.05, 1.0) ** 2 * chance.longest
        sim.fault(name, after=at, seconds=lasts, value=dice.choice(chance.values))
        # Some follow one another, some overlap; one fault never overlaps itself.
        at += lasts + 0.001 + dice.choice((0.0, 5.0, dice.uniform(0.0, 40.0)))
        if at > seconds:
            return


def _last_digit(message: Message) -> object:
    return message.data[-1]
