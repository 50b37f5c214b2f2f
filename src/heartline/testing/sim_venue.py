"""A simulated venue: numbered data, pongs and their absence, moods at the door.

Each connection is watched by the same `Link` that watches the client's side.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf

from heartline.core.detector import Liveness
from heartline.core.events import (
    Output,
    Ping,
    Pinged,
    Ponged,
    Received,
    Tick,
)
from heartline.core.link import Link

from .sim_clock import Clock, Host, Timer
from .sim_dial import Dialled
from .sim_line import Line
from .sim_manners import Manners, Pongs, Sent, Traffic
from .sim_network import End
from .sim_packets import Frame
from .sim_path import Way

MESSAGE_BYTES = 120
PONG_BYTES = 10
TRICKLED_BYTES = 10
TRICKLES_EVERY = 0.25
MOST_AT_ONCE = 10
"""Messages of a burst that are one write; the next follows 2 ms later."""
THINKING = 0.0005
"""Seconds a venue takes to answer."""
_IDLE, _STEADY, _POISSON = Traffic.IDLE, Traffic.STEADY, Traffic.POISSON
"""Read once: before Python 3.12 a member of an enum costs as much as a call."""


class Venue:
    """The program at the other end, and its host."""

    def __init__(
        self,
        clock: Clock,
        client_host: Host,
        *,
        dice: random.Random,
        liveness: Liveness,
        keepalive: float,
    ) -> None:
        self.manners = Manners()
        self.clock = clock
        self.host = Host(clock)
        self.towards = Way(clock, dice, self.disturb)
        """The way to the venue."""
        self.back = Way(clock, dice, self.disturb)
        self.dice = dice
        self.liveness = liveness
        self.sent: list[Sent] = []
        self.numbered = 0
        """Messages so far; the next one has this number."""
        self.links: dict[int, VenueLink] = {}
        self.reaped = 0
        """Connections this side gave up because its own `Link` said so."""
        self.room_bytes = 262_144
        """What each kernel buffers for a program that does not read."""
        self._client_host = client_host
        self._keepalive = keepalive
        self._frozen_until = -inf
        self._feed = Timer(self.host, self._on_feed)
        self._feed.set(clock.now)
        self._accepted = 0
        self._burst = 0
        self._lines: list[Line] = []
        client_host.warn(self.disturb)

    # --- faults -------------------------------------------------------------------

    def disturb(self) -> None:
        """Something is about to happen to the path or to a host."""
        for line in self._lines:
            line.disturb()

    @property
    def frozen(self) -> bool:
        until = self._frozen_until
        return until > 0 and self.clock.now < until - 1e-9

    def freeze(self, seconds: float) -> None:
        """The process stands still; its host's kernel goes on."""
        self._frozen_until = max(self._frozen_until, self.clock.now + seconds)
        self.clock.at(self._frozen_until, self._thaw)

    def _thaw(self, _: object) -> None:
        if self.frozen:
            return
        self.feed()
        for link in list(self.links.values()):
            link.wake()

    def close_all(self, code: int) -> None:
        for link in list(self.links.values()):
            link.close(code)

    def kill(self) -> None:
        """The process dies; its kernel resets every connection."""
        for link in list(self.links.values()):
            link.drop()

    def vanish(self) -> None:
        """The host is gone and back: every connection is forgotten without a word."""
        for link in list(self.links.values()):
            link.end.silence()
            self.forget(link)

    def forget(self, link: VenueLink) -> None:
        self.links.pop(link.number, None)

    # --- the door -----------------------------------------------------------------

    def dial(
        self, connected: Callable[[End], None], refused: Callable[[], None]
    ) -> Dialled:
        return Dialled(
            self._client_host,
            towards=self.towards,
            back=self.back,
            accept=self._accept,
            connected=connected,
            refused=refused,
        )

    def _accept(self) -> End | None:
        """Make both ends of a connection; the client's, which is not in use yet."""
        if not self.manners.listens:
            return None
        round_trip = self.towards.delay + self.back.delay
        ends: list[End] = []
        for host, way, keepalive in (
            (self._client_host, self.towards, self._keepalive),
            (self.host, self.back, float(self.liveness.kernel_interval)),
        ):
            end = End(
                host,
                way,
                keepalive=keepalive,
                receive_bytes=self.room_bytes,
                round_trip=round_trip,
            )
            ends.append(end)
        here, there = ends
        here.peer, there.peer = there, here
        here.line = there.line = line = Line(self.clock, here, there)
        self._lines = [old for old in self._lines if not old.over]
        self._lines.append(line)
        there.open()
        self._accepted += 1
        there.program = VenueLink(self, there, self._accepted)
        return here

    # --- data -----------------------------------------------------------------------

    def _on_feed(self) -> None:
        manners = self.manners
        if self.frozen:
            return
        burst = self._burst
        count = 1 if burst < 1 else min(MOST_AT_ONCE, burst)
        self._burst = burst - count
        if manners.trickle:
            for link in self.links.values():
                link.trickle()
        elif manners.traffic is not _IDLE and not manners.mute:
            self._tell(count)
        until_next = self._until_next()
        if until_next < inf:
            self._feed.set(self.host.now + until_next)

    def feed(self) -> None:
        """Look again at what there is to send."""
        self._feed.set(self.host.now)

    def _tell(self, count: int) -> None:
        """Send so many messages in one go, to everybody."""
        first, self.numbered = self.numbered, self.numbered + count
        left_out, receivers = self.manners.leaves_out, 0
        if not left_out:
            for link in self.links.values():
                receivers += link.tell(first, count)
        self.sent.append(Sent(self.clock.now, first, count, receivers, left_out))

    def _until_next(self) -> float:
        manners = self.manners
        rate = manners.rate
        if manners.trickle:
            return TRICKLES_EVERY
        traffic = manners.traffic
        if traffic is _IDLE:
            return inf
        if traffic is _STEADY:
            return 1 / rate
        if traffic is _POISSON:
            return self.dice.expovariate(rate)
        if self._burst > 0:
            return 0.002
        self._burst = 1 + min(200, int(self.dice.expovariate(1 / 20)))
        return 4 / rate * self.dice.paretovariate(1.5)


class VenueLink:
    """One client of the venue, and the `Link` that watches it."""

    def __init__(self, venue: Venue, end: End, number: int) -> None:
        self.venue = venue
        self.end = end
        self.number = number
        self.link: Link | None = None
        self._timer = Timer(venue.host, self._tick)

    # --- what the connection tells ----------------------------------------------

    def on_readable(self) -> None:
        venue = self.venue
        if venue.frozen:
            return
        end, now = self.end, self._now
        waiting = end.unread_bytes
        frames = end.read()
        if self.link is not None and now - self.link.deadline > 0.1:
            self._tick()
        complete = 0
        for frame in frames:
            complete += self._on_frame(frame)
        if complete and self.link is not None and not end.closed:
            fact = Received(self.number, complete, 0, waiting)
            self._obey(self.link.handle(fact, now=now))

    def _on_frame(self, frame: Frame) -> int:
        venue, manners = self.venue, self.venue.manners
        match frame.kind:
            case "ping":
                delay = THINKING
                if manners.pongs is Pongs.LATE:
                    delay += manners.pong_delay
                if manners.pongs is not Pongs.NONE:
                    self._answer(delay, Frame("pong", frame.value))
            case "beat":
                if manners.answers_beats:
                    self._answer(THINKING, Frame("answer"))
            case "pong" if self.link is not None:
                assert isinstance(frame.value, bytes)
                fact = Ponged(self.number, frame.value)
                self._obey(self.link.handle(fact, now=self._now))
            case "upgrade":
                venue.clock.at(venue.clock.now + THINKING, self._upgrade)
            case "close":
                self.close(1000)
            case "fin":
                self.drop()
            case _:
                pass
        return frame.kind not in ("upgrade", "fin")

    def on_reset(self) -> None:
        self.drop()

    # --- what the venue does ------------------------------------------------------

    def _upgrade(self, _: object) -> None:
        venue, manners = self.venue, self.venue.manners
        if manners.hangs or self.end.closed:
            return
        if venue.frozen:
            venue.clock.at(venue.clock.now + 0.5, self._upgrade)
            return
        if manners.refuses is not None:
            self.end.write(200, Frame("refused", manners.refuses, "no"))
            self.end.close()
            return
        self.end.write(200, Frame("accepted"))
        if manners.flaps_with is not None:
            if manners.flaps_after:
                venue.links[self.number] = self
            code = manners.flaps_with
            due = venue.clock.now + manners.flaps_after
            venue.clock.at(due, lambda _: self.close(code))
            if not manners.flaps_after:
                return
        venue.links[self.number] = self
        self.link = Link(
            self.number,
            policy=venue.liveness,
            now=self._now,
            evidence=self.end.evidence(),
        )
        self._obey(self.link.open(now=self._now))
        if manners.unsolicited_every is not None:
            self._unsolicited(None)

    def wake(self) -> None:
        """The process runs again; its timers and its sockets are late."""
        if self.venue.dice.random() < 0.5:
            self._tick()
            self.on_readable()
        else:
            self.on_readable()
            self._tick()

    def tell(self, first: int, count: int) -> int:
        if self.end.closed:
            return 0
        self.end.write(count * MESSAGE_BYTES, Frame("data", first, "", count))
        return 1

    def trickle(self) -> None:
        self.end.write(TRICKLED_BYTES)

    def close(self, code: int) -> None:
        if not self.end.closed:
            self.end.write(PONG_BYTES, Frame("close", code))
            self.end.close()
        self.link = None
        self.venue.forget(self)

    def drop(self) -> None:
        self.link = None
        self.end.abort()
        self.venue.forget(self)

    def _answer(self, delay: float, frame: Frame) -> None:
        clock = self.venue.clock
        clock.at(clock.now + delay, self._write_answer, frame)

    def _write_answer(self, frame: object) -> None:
        assert isinstance(frame, Frame)
        if self.venue.frozen:
            # It was about to answer when it froze; it does so when it runs again.
            self._answer(0.5, frame)
            return
        self.end.write(PONG_BYTES, frame)

    def _unsolicited(self, _: object) -> None:
        every = self.venue.manners.unsolicited_every
        if every is None or self.end.closed:
            return
        if not self.venue.frozen:
            self.end.write(PONG_BYTES, Frame("pong", b"nobody asked"))
        self.venue.clock.at(self.venue.clock.now + every, self._unsolicited)

    # --- its own detector -----------------------------------------------------------

    @property
    def _now(self) -> float:
        return self.venue.host.now

    def _tick(self) -> None:
        link, venue = self.link, self.venue
        if link is None or venue.frozen or self.end.closed:
            return
        now = venue.clock.now - venue.host.slept
        if now < link.deadline:
            self._timer.set(link.deadline)
            return
        tick, rest = Tick(self.number, self.end.evidence()), link.rest
        if rest is not None and link.rests(rest, tick, now):
            # As `handle` finds it first: nothing is wanted, and nothing has died.
            self._timer.set(link.deadline)
            return
        self._obey(link.handle(tick, now=now))

    def _obey(self, outputs: list[Output]) -> None:
        link = self.link
        if link is None:
            return
        for output in outputs:
            if isinstance(output, Ping):
                self.end.write(PONG_BYTES, Frame("ping", output.payload))
                fact = Pinged(self.number, self.end.evidence())
                self._obey(link.handle(fact, now=self._now))
        if link.found is not None:
            self.venue.reaped += 1
            self.drop()
        elif link.deadline < self._timer.due:
            self._timer.set(link.deadline)
