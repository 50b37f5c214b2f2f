"""A whole stream in virtual time: one seed, one thread, the same history every time.

    sim = Simulation(seed=7)
    sim.venue.manners.traffic = Traffic.STEADY
    sim.client.start()
    sim.fault("blackhole", after=30.0, seconds=20.0)
    sim.run(60.0)
    assert checkers.complaints(sim) == []

`python -m heartline.testing.simulation SEED --story` tells what a swarm seed does,
`--histories N --seed S --jobs J` runs N of them and says which broke a promise.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass

from heartline.core.detector import Liveness
from heartline.core.inbox import Inbox
from heartline.core.neighbours import Neighbours
from heartline.core.terms import Terms
from heartline.errors import UsageError

from .sim_client import Client
from .sim_clock import Clock, Host
from .sim_history import Entry, Mark, Reading, Settled, read
from .sim_manners import Pongs, Traffic
from .sim_network import DELAYED_ACK
from .sim_venue import Venue

HOST = "venue.example"


@dataclass(frozen=True, slots=True)
class _Fault:
    """How a fault begins and how it ends; the value is an option of the fault."""

    begin: Callable[[Simulation, float, float], None]
    end: Callable[[Simulation], None]


class Simulation:
    """One client, one venue and what is between them, on a clock of their own.

    `seed` decides everything that is left to chance. `beside` puts this stream into
    the process of another one: one clock, one host and one `Neighbours` for both.
    """

    def __init__(
        self,
        seed: int,
        *,
        terms: Terms | None = None,
        inbox: Inbox | None = None,
        venue_liveness: Liveness | None = None,
        beside: Simulation | None = None,
    ) -> None:
        terms = terms or Terms(host=HOST)
        self.seed = seed
        self.terms = terms
        self.history: list[Entry] = []
        self._read = (0, Reading())
        self.clock: Clock = beside.clock if beside else Clock()
        self.client_host: Host = beside.client_host if beside else Host(self.clock)
        self.neighbours: Neighbours = beside.neighbours if beside else Neighbours()
        self.who: int = beside.who + 1 if beside else 1
        self.venue: Venue = Venue(
            self.clock,
            self.client_host,
            dice=random.Random(f"{seed}/venue"),
            liveness=venue_liveness or Liveness(),
            keepalive=float(terms.liveness.kernel_interval),
        )
        self.client: Client = Client(
            self.client_host,
            self.venue,
            terms,
            inbox=inbox or Inbox(),
            neighbours=self.neighbours,
            who=self.who,
            dice=random.Random(f"{seed}/client"),
            history=self.history,
        )
        self.began_at = self.clock.now

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        self.clock.run(self.clock.now + seconds)
        self.client.pump.flush()

    @property
    def reading(self) -> Reading:
        """The faults and the losses so far."""
        length, reading = self._read
        if length != len(self.history):
            reading = read(self.history)
            self._read = (len(self.history), reading)
        return reading

    def path(
        self, *, round_trip: float, jitter: float = 0.0, loss: float = 0.0
    ) -> None:
        """Set both directions; `jitter` and `loss` are of each one."""
        self.venue.disturb()
        for way in (self.venue.towards, self.venue.back):
            way.delay, way.jitter, way.loss = round_trip / 2, jitter, loss

    def fault(
        self, name: str, *, after: float = 0.0, seconds: float = 0.0, value: float = 0.0
    ) -> None:
        """Order a fault: it begins `after` seconds from now and lasts `seconds`.

        The names are those of `FAULTS`. `value` is a close code, an HTTP status or
        a delay, for those that have one. Raises `UsageError`.
        """
        if name not in FAULTS:
            raise UsageError("fault", wanted=" | ".join(FAULTS), got=name)
        began_at = self.clock.now + after
        self.clock.at(began_at, lambda _: self._begin(name, seconds, value))
        self.clock.at(began_at + seconds, lambda _: self._end(name))

    def _begin(self, name: str, seconds: float, value: float) -> None:
        self._mark(name, on=True)
        FAULTS[name].begin(self, seconds, value)
        # What was on its way may still arrive, and change what is promised.
        way = max(self.venue.back.delay, self.venue.towards.delay)
        settled_at = self.clock.now + 2 * way + DELAYED_ACK
        self.clock.at(settled_at, lambda _: self._note_bounds(name))

    def _note_bounds(self, name: str) -> None:
        settled = Settled(name, self.client.bounds(), self.client.told.misses_soon)
        entry = (self.clock.now, "bounds", settled)
        self.history.append(entry)

    def _end(self, name: str) -> None:
        FAULTS[name].end(self)
        self._mark(name, on=False)

    def _mark(self, name: str, *, on: bool) -> None:
        session = self.client.session
        mark = Mark(
            name,
            on,
            self.client_host.now,
            session.epoch,
            session.phase,
            self.client.bounds(),
            self.client.loop.stood_still,
            self.client.told.misses_soon,
        )
        self.history.append((self.clock.now, "fault", mark))


def _pass(sim: Simulation) -> None:
    """The fault ends by itself."""


def _blackhole(sim: Simulation, seconds: float, value: float) -> None:
    sim.venue.towards.dead = sim.venue.back.dead = True


def _outbound(sim: Simulation, seconds: float, value: float) -> None:
    sim.venue.towards.dead = True


def _inbound(sim: Simulation, seconds: float, value: float) -> None:
    sim.venue.back.dead = True


def _heal(sim: Simulation) -> None:
    sim.venue.towards.dead = sim.venue.back.dead = False


def _down(sim: Simulation, seconds: float, value: float) -> None:
    sim.client_host.down = True


def _up(sim: Simulation) -> None:
    sim.client_host.down = False


def _freeze(sim: Simulation, seconds: float, value: float) -> None:
    sim.venue.freeze(seconds)


def _manner(name: str, wanted: object, usual: object) -> _Fault:
    """A fault that is a manner of the venue; `...` stands for the order's value."""

    def begin(sim: Simulation, seconds: float, value: float) -> None:
        chosen = int(value) if wanted is ... else wanted
        setattr(sim.venue.manners, name, chosen)

    def end(sim: Simulation) -> None:
        setattr(sim.venue.manners, name, usual)

    return _Fault(begin, end)


def _trickle(sim: Simulation, seconds: float, value: float) -> None:
    sim.venue.manners.trickle = True
    sim.venue.feed()


def _whole(sim: Simulation) -> None:
    sim.venue.manners.trickle = False


def _late_pongs(sim: Simulation, seconds: float, value: float) -> None:
    sim.venue.manners.pongs, sim.venue.manners.pong_delay = Pongs.LATE, value


def _prompt_pongs(sim: Simulation) -> None:
    sim.venue.manners.pongs = Pongs.PROMPT


def _restart(sim: Simulation, seconds: float, value: float) -> None:
    sim.venue.manners.listens = False
    if value:
        sim.venue.close_all(int(value))
    else:
        sim.venue.kill()


def _listen(sim: Simulation) -> None:
    sim.venue.manners.listens = True


FAULTS: dict[str, _Fault] = {
    "blackhole": _Fault(_blackhole, _heal),
    "outbound": _Fault(_outbound, _heal),
    "inbound": _Fault(_inbound, _heal),
    "link_down": _Fault(_down, _up),
    "freeze": _Fault(_freeze, _pass),
    "mute": _manner("mute", True, False),
    "left_out": _manner("leaves_out", True, False),
    "trickle": _Fault(_trickle, _whole),
    "no_pong": _manner("pongs", Pongs.NONE, Pongs.PROMPT),
    "late_pong": _Fault(_late_pongs, _prompt_pongs),
    "refuse": _manner("refuses", ..., None),
    "hang": _manner("hangs", True, False),
    "flap": _manner("flaps_with", ..., None),
    "close": _Fault(lambda sim, _, code: sim.venue.close_all(int(code)), _pass),
    "restart": _Fault(_restart, _listen),
    "vanish": _Fault(lambda sim, _s, _v: sim.venue.vanish(), _pass),
    "stall": _Fault(lambda sim, seconds, _: sim.client.stall(seconds), _pass),
    "suspend": _Fault(lambda sim, seconds, _: sim.client_host.suspend(seconds), _pass),
}
"""Every fault by name. `close` and `restart` take a close code, `refuse` an HTTP
status, `flap` a close code, `late_pong` a delay."""


def story(sim: Simulation) -> str:
    """What happened, without the facts and the messages: one line each."""
    lines: list[str] = []
    for at, kind, value in sim.history:
        if kind != "fact":
            lines.append(f"{at - sim.began_at:10.3f}  {kind:6} {value}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Replay one swarm seed, or run many; the exit status tells of complaints."""
    from .checkers import complaints
    from .sim_many import run_many
    from .swarm import swarm

    parser = argparse.ArgumentParser(prog="heartline.testing.simulation")
    parser.add_argument("replay", type=int, nargs="?", help="the seed to run again")
    parser.add_argument("--story", action="store_true", help="tell all that happened")
    parser.add_argument("--histories", type=int, help="run so many, seed after seed")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, help="processes; one a core if not given")
    chosen = parser.parse_args(arguments)
    if (chosen.replay is None) == (chosen.histories is None):
        parser.error("give either a seed to run again or --histories")
    if chosen.histories is not None:
        if chosen.histories < 1 or (chosen.jobs is not None and chosen.jobs < 1):
            parser.error("--histories and --jobs: wanted at least 1")
        return run_many(chosen.histories, seed=chosen.seed, jobs=chosen.jobs)
    sim = swarm(chosen.replay)
    if chosen.story:
        print(story(sim))
    found = complaints(sim)
    print("\n".join(found) or f"seed {chosen.replay}: every promise kept")
    return 1 if found else 0


__all__ = ["FAULTS", "HOST", "Pongs", "Simulation", "Traffic", "main", "story"]

if __name__ == "__main__":
    sys.exit(main())
