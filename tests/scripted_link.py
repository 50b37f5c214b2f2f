"""A link and a kernel that a test writes by hand, instant by instant."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from heartline.core.detector import Liveness
from heartline.core.events import Doubted, Output, Ping, Pinged, Ponged, Received, Tick
from heartline.core.evidence import Evidence, Kernel
from heartline.core.link import Link
from heartline.core.pings import SHARED_OF_PING

BEGAN = 100.0
PING_BYTES = 10
PROBE = 0.030
"""Time a probe is given on the path of 20 ms."""
RUNG = PROBE + 0.050
HEARD = BEGAN + 0.020


def kernel(**fields: Any) -> Kernel:
    """Evidence of a healthy path of 20 ms: its probes are given 30 ms."""
    usual: dict[str, Any] = {
        "segments_in": 1,
        "heard_age": 0.0,
        "unacked_segments": 0,
        "outstanding_bytes": 0,
        "unsent_bytes": 0,
        "acked_bytes": 0,
        "received_bytes": 0,
        "retransmits": 0,
        "total_retransmits": 0,
        "probes_unanswered": 0,
        "round_trip": 0.020,
        "round_trip_deviation": 0.0025,
        "min_round_trip": 0.020,
        "send_window_bytes": 65_535,
    }
    return Kernel(**{**usual, **fields})


def asked_at(heard_at: float, *, every: float = 10.0) -> float:
    """When a link heard last then is asked: in an instant shared with others."""
    due = heard_at + every
    return due - due % (every / SHARED_OF_PING)


class Scripted:
    """A link that is ticked at its deadlines; `told` is all it ever said, and when.

    What the kernel shows is `seen`, whose age of the last segment follows `heard_at`.
    """

    def __init__(
        self,
        *,
        policy: Liveness | None = None,
        with_kernel: bool = True,
        seen: Kernel | None = None,
        **terms: Any,
    ) -> None:
        self.now = BEGAN
        self.seen = seen or kernel()
        self.heard_at = BEGAN
        self.acks = True
        """Whether the peer's kernel acknowledges at once what we write."""
        self.with_kernel = with_kernel
        self.unread_bytes = 0
        self.ticks = 0
        self.told: list[tuple[float, Output]] = []
        self.link = Link(
            3,
            policy=policy or Liveness(),
            now=BEGAN,
            evidence=self.evidence(),
            **terms,
        )
        self._note(self.link.open(now=BEGAN))

    def evidence(self) -> Evidence:
        if not self.with_kernel:
            return Evidence(None, self.unread_bytes)
        seen = replace(self.seen, heard_age=self.now - self.heard_at)
        return Evidence(seen, self.unread_bytes)

    def _note(self, outputs: list[Output]) -> None:
        for output in outputs:
            self.told.append((round(self.now, 6), output))
            assert output.epoch == 3, output
            assert getattr(output, "at", self.now) == self.now, output
            if isinstance(output, Doubted):
                silent_since = {
                    "path": self.link.path.heard_at,
                    "peer": self.link.peer.frame_at,
                    "channel": self.link.channel.data_at,
                }[output.of]
                assert output.silence == self.now - silent_since
            if isinstance(output, Ping):
                wrote = self.seen.outstanding_bytes + PING_BYTES
                self.seen = replace(self.seen, outstanding_bytes=wrote)
                fact = Pinged(3, self.evidence())
                self._note(self.link.handle(fact, now=self.now))
                if self.acks:
                    self.acknowledge()

    def acknowledge(self) -> None:
        """The peer's kernel has all that we wrote."""
        seen = self.seen
        acked = seen.acked_bytes + seen.outstanding_bytes
        self.seen = replace(seen, acked_bytes=acked, outstanding_bytes=0)

    def hear(self) -> None:
        """A segment comes now."""
        self.heard_at = self.now
        self.seen = replace(self.seen, segments_in=self.seen.segments_in + 1)

    def show(self, **fields: Any) -> None:
        """Change what the kernel shows from now on."""
        self.seen = replace(self.seen, **fields)

    def read(self, *, data: int = 0, pong: bool = False) -> None:
        """A frame is read now: data, or the pong to the latest ping."""
        self.hear()
        size_bytes = self.seen.received_bytes + 20
        self.seen = replace(self.seen, received_bytes=size_bytes)
        if pong:
            payload = [o.payload for _, o in self.told if isinstance(o, Ping)][-1]
            self._note(self.link.handle(Ponged(3, payload), now=self.now))
        fact = Received(3, 1, data, 20)
        self._note(self.link.handle(fact, now=self.now))

    def handle(self, fact: Any) -> None:
        self._note(self.link.handle(fact, now=self.now))

    def tick(self, *, late: float = 0.0, **fields: float) -> None:
        """Tick at the deadline, or so many seconds after it."""
        assert self.link.deadline < inf
        self.now = max(self.now, self.link.deadline + late)
        self.ticks += 1
        fact = Tick(3, self.evidence(), **fields)
        self._note(self.link.handle(fact, now=self.now))

    def run(self, until: float = inf, *, most: int = 2000) -> None:
        """Tick at every deadline up to `until`, or until the link is found dead."""
        for _ in range(most):
            if self.link.found or self.link.deadline > until:
                break
            self.tick()
        else:
            raise AssertionError("it ticks and ticks")
        if until < inf:
            self.now = until

    def times(self, kind: type[Any], since: float = BEGAN) -> list[float]:
        """When something of that kind was said, from `since` on."""
        return [at for at, o in self.told if isinstance(o, kind) and at >= since]

    def only(self, kind: type[Any]) -> Any:
        [one] = [output for _, output in self.told if isinstance(output, kind)]
        return one


# --- stories that begin alike ----------------------------------------------------


def quiet(**options: object) -> Scripted:
    """A link whose first ping was answered, and which has heard nothing since."""
    world = Scripted(**options)  # type: ignore[arg-type]
    world.now = HEARD
    world.read(pong=True)
    return world


def near(*times: float) -> list[object]:
    """Two deadlines closer than a millisecond are a millisecond apart."""
    return [pytest.approx(at, abs=0.0011) for at in times]


def alive(world: Scripted, until: float) -> None:
    """The kernel at the other end answers every second; its program says nothing."""
    while not world.link.found and world.link.deadline <= until:
        if world.link.deadline >= world.heard_at + 1.0:
            world.now = max(world.now, world.heard_at + 1.0)
            world.hear()
        world.tick()
        if world.times(Ping, since=world.now - 1e-9):
            world.hear()


def feed(world: Scripted, until: float, *, every: float = 0.05) -> None:
    """Data comes `every` so often; whatever is due in between is ticked."""
    nth = round((world.now - HEARD) / every) + 1
    while HEARD + nth * every <= until:
        due = HEARD + nth * every
        while world.link.deadline <= due and not world.link.found:
            world.tick()
        world.now = due
        world.read(data=1)
        nth += 1
