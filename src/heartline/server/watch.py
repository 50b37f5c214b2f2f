"""Is one client alive? Beats while it answers, and a link to judge it once it does not.

A client that answers its beats needs no judge: it is beaten to, and when it was heard
is noted, which is all that its link would do, at a quarter of the cost. When an answer
stays out, the link is made as of the last sign of life and opened as of the beat, so
that it judges as if it had been there all along; it goes when all is calm again.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from msgspec import Struct

from heartline.core.diagnosis import Finding
from heartline.core.events import (
    Abort,
    Beat,
    Close,
    Dial,
    Event,
    Output,
    Paused,
    Ping,
    Pinged,
    Ponged,
    Received,
    Resumed,
    RoundTripMeasured,
    Sync,
    Tick,
)
from heartline.core.evidence import Evidence
from heartline.core.items import Bounds
from heartline.core.link import Link
from heartline.core.promises import bound_of
from heartline.core.subscriptions import Beats
from heartline.wire.kernel import KernelEyes

from .pace import Pace

HEARD_EVERY = 0.02
"""Reads are told to a calm link at most this often; they are counted meanwhile."""
MOST_PONGS = 16
"""Pongs of one read that are looked at: more than that nobody has asked for."""


class RoundTrip(Struct, frozen=True, gc=False):
    """Round trips of one client, seconds; `smoothed` weighs the last eight or so."""

    last: float = 0.0
    smoothed: float = 0.0
    least: float = 0.0
    samples: int = 0

    def after(self, took: float) -> RoundTrip:
        """With one more."""
        if not self.samples:
            return RoundTrip(took, took, took, 1)
        smoothed = self.smoothed + (took - self.smoothed) / 8
        return RoundTrip(took, smoothed, min(self.least, took), self.samples + 1)


class Watched(Protocol):
    """The client, as its watch sees it."""

    def ping(self, payload: bytes) -> None: ...

    def beat(self) -> None:
        """Send a beat that programs can see, if the client knows what that is."""
        ...

    def told(self, event: Event) -> None: ...

    def eyes(self) -> KernelEyes | None:
        """Open eyes on the connection, to be closed by the watch; None if gone."""
        ...


_UNMEASURED = RoundTrip()


class Watch:
    """Watches one client. It is told the time, and asks for its next look."""

    __slots__ = (
        "_answered",
        "_asked_at",
        "_beat_at",
        "_client",
        "_data",
        "_eyes",
        "_frames",
        "_number",
        "_pace",
        "_payload",
        "_pongs",
        "_size_bytes",
        "_tell_at",
        "heard_at",
        "link",
        "paused",
        "round_trip",
    )

    def __init__(
        self, client: Watched, pace: Pace, *, beats: bool, phase: float, now: float
    ) -> None:
        """The first beat comes at `phase` of the interval, 0 to 1."""
        self.link: Link | None = None
        self.paused = False
        """Whether nothing is read, by our own wish."""
        self.round_trip = _UNMEASURED
        self.heard_at = now - (1.0 - phase) * pace.every
        self._client = client
        self._pace = pace
        self._asked_at = -inf
        self._beat_at = self.heard_at + pace.every if beats else inf
        self._number = 0
        self._payload = b""
        self._answered = False
        self._eyes: KernelEyes | None = None
        self._frames = self._data = self._size_bytes = 0
        self._tell_at = 0.0
        self._pongs: list[bytes] | None = None

    @property
    def due(self) -> float:
        """When it wants to be looked at."""
        if self.link is not None:
            return self.link.deadline
        if self._asked_at > self.heard_at:
            return min(self._asked_at + self._pace.settle, self._beat_at)
        return min(self.heard_at + self._pace.every, self._beat_at)

    def bounds(self, *, now: float) -> Bounds:
        """What silence is told after, as things stand."""
        pace = self._pace
        if self.link is not None:
            return pace.bounds(self.link, now=now)
        eyes = self._client.eyes()
        evidence = Evidence() if eyes is None else eyes.read()
        if eyes is not None:
            eyes.close()
        link = Link(0, policy=pace.policy, now=now, evidence=evidence)
        unwatched = pace.settle if pace.relaxed else max(0.0, self.due - now)
        return pace.bounds(link, now=now, unwatched=unwatched)

    # --- what happens ------------------------------------------------------------

    def look(self, *, now: float) -> Finding | None:
        """Ask or judge, if it is time; what was found, which is the end."""
        link = self.link
        if link is not None:
            return self._judge(link, now)
        if now >= self._beat_at:
            self._show_beat(now)
        if not self._pace.relaxed:
            self._make_link(now)
        elif self._asked_at > self.heard_at:
            if now >= self._asked_at + self._pace.settle:
                self._doubt(now)
        elif now >= min(
            self.heard_at + self._pace.every,
            self._asked_at + self._pace.policy.measure_every,
        ):
            self._ask(now)
        return None

    def heard(self, frames: int, data: int, size_bytes: int, *, now: float) -> bool:
        """Note a read; whether there is a link that may want another look."""
        self.heard_at = now
        link = self.link
        if link is None:
            if self._answered:
                self._answered = False
                self._measured(now - self._asked_at, now)
            return False
        self._frames += frames
        self._data += data
        self._size_bytes += size_bytes
        if self._pongs is None and now < self._tell_at and link.lull(now=now):
            return False
        self._tell(link)
        self._tell_at = now + HEARD_EVERY
        # After the frames they came with: then nothing is left to be doubted.
        pongs, self._pongs = self._pongs, None
        for payload in pongs or ():
            self._obey(link, link.handle(Ponged(link.epoch, payload), now=now), now)
        if self._pace.relaxed and self._may_relax(link, now):
            self._relax(link, now)
        return True

    def ponged(self, payload: bytes) -> None:
        """Note a pong; what it means is settled by the read it came in."""
        if self.link is None:
            self._answered = payload == self._payload
        elif self._pongs is None:
            self._pongs = [payload]
        elif len(self._pongs) < MOST_PONGS:
            self._pongs.append(payload)

    def pause(self, *, now: float) -> None:
        """Nothing is read from now on, by our own wish."""
        self.paused = True
        link = self.link or self._make_link(now)
        self._obey(link, link.handle(Paused(link.epoch), now=now), now)

    def resume(self, *, now: float) -> None:
        self.paused = False
        link = self.link
        if link is not None:
            self._obey(link, link.handle(Resumed(link.epoch), now=now), now)

    def stop(self) -> None:
        """Let go of the connection; nothing is read any more."""
        if self._eyes is not None:
            self._eyes.close()
            self._eyes = None

    def evidence(self) -> Evidence:
        return Evidence() if self._eyes is None else self._eyes.read()

    def was_reset(self) -> bool:
        return self._eyes is not None and self._eyes.was_reset()

    def broken_promise(self, found: Finding, *, now: float) -> float | None:
        """The bound that the silence was judged by."""
        if self.link is None:
            return None
        promised = self._pace.bounds(self.link, now=now)
        return bound_of(promised, found.cause, found.where)

    # --- without a link ------------------------------------------------------------

    def _ask(self, now: float) -> None:
        """Send a beat. Its payload is that of the first ping of a link to come."""
        self._number += 1
        self._payload = b"%x.1" % self._number
        self._asked_at = now
        self._answered = False
        self._client.ping(self._payload)
        if self._beat_at < now + self._pace.every:
            self._show_beat(now)

    def _show_beat(self, now: float) -> None:
        self._beat_at = now + self._pace.every
        self._client.beat()

    def _measured(self, took: float, now: float) -> None:
        self.round_trip = self.round_trip.after(took)
        self._client.told(
            RoundTripMeasured(at=now, epoch=self._number, round_trip=took)
        )

    # --- with a link -----------------------------------------------------------------

    def _doubt(self, now: float) -> None:
        """The last beat is unanswered: make the link that sent it."""
        link = self._new_link(self.heard_at)
        if link.kernel is not None:
            # The kernel has heard since: acknowledgements are no frames.
            link.path.heard(now=max(self.heard_at, now - link.kernel.heard_age))
        (asked,) = link.open(now=self._asked_at)
        assert isinstance(asked, Ping)
        assert asked.payload == self._payload
        pinged = Pinged(link.epoch, self.evidence())
        self._obey(link, link.handle(pinged, now=self._asked_at), self._asked_at)

    def _make_link(self, now: float) -> Link:
        """Watch it closely from now on."""
        self._number += 1
        link = self._new_link(now)
        self._obey(link, link.open(now=now), now)
        return link

    def _new_link(self, now: float) -> Link:
        pace = self._pace
        self._eyes = self._client.eyes()
        beats = Beats(every=pace.every, answered=False) if self._beat_at < inf else None
        self.link = Link(
            self._number,
            policy=pace.policy,
            now=now,
            evidence=self.evidence(),
            beats=beats,
        )
        return self.link

    def _judge(self, link: Link, now: float) -> Finding | None:
        if now < link.deadline:
            return None
        if self._frames:
            self._tell(link)
        tick = Tick(link.epoch, self.evidence())
        self._obey(link, link.handle(tick, now=now), now)
        return link.found

    def _relax(self, link: Link, now: float) -> None:
        """Go without a link again, until the next doubt."""
        self._asked_at = link.pings.last_at
        if self._beat_at < inf:
            self._beat_at = now + self._pace.every
        self._answered = False
        self.link = None
        self.stop()

    def _may_relax(self, link: Link, now: float) -> bool:
        """Whether the link has nothing left to say, and learned nothing to keep."""
        return (
            link.lull(now=now) > 0
            and not link.lateness.draining
            and not self.paused
            and not len(link.pings)
            and link.clocks.no_pong_at is None
            and now >= link.opened_at + 2 * self._pace.every
            and link.peer.allowance(now=now) <= self._pace.policy.peer_idle
        )

    def _tell(self, link: Link) -> None:
        fact = Received(link.epoch, self._frames, self._data, self._size_bytes)
        self._frames = self._data = self._size_bytes = 0
        self._obey(link, link.handle(fact, now=self.heard_at), self.heard_at)

    def _obey(self, link: Link, outputs: list[Output], now: float) -> None:
        client = self._client
        for output in outputs:
            match output:
                case Ping():
                    client.ping(output.payload)
                    link.handle(Pinged(link.epoch, self.evidence()), now=now)
                case Beat():
                    client.beat()
                case RoundTripMeasured():
                    self.round_trip = self.round_trip.after(output.round_trip)
                    client.told(output)
                case Dial() | Sync() | Abort() | Close():
                    raise AssertionError(f"a link ordered {output}")
                case _:
                    client.told(output)
