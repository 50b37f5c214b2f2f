"""One connection, from its upgrade to its loss: probes, round trips, our own stalls.

Serves client and server alike. It never dials, and it judges only in `Tick`, with the
evidence read at that instant and nothing left unread in the socket.
"""

from __future__ import annotations

from math import inf
from typing import Literal, TypeAlias

from .adaptive import LEAST_GAP
from .channel import CHANNEL_PATIENCE
from .clocks import Clocks
from .detector import Liveness
from .diagnosis import Finding, heartbeat_unanswered
from .events import (
    Answered,
    Beat,
    ChannelRevived,
    ChannelStalled,
    Cleared,
    ConditionBegan,
    ConditionEnded,
    Doubted,
    Evidence,
    Kernel,
    Output,
    Paused,
    Ping,
    Pinged,
    Ponged,
    Received,
    Resumed,
    RoundTripMeasured,
    Stalled,
    Tick,
)
from .items import Condition, Verdict
from .subscriptions import Beats, Freshness

SETTLE = 0.020
"""After a stall the socket gets this long to be read before anything is judged."""
DRAIN = 0.010
MOST_DRAINS = 50
"""A flood that never leaves the buffer empty is judged all the same after these."""
CLOCK_GRAIN = 1e-6
"""Differences of instants are exact to this."""
LEAST_STEP = 0.001
"""A tick moves the deadline by at least this: no hot loop, whatever the clocks say."""

LinkFact: TypeAlias = Tick | Received | Ponged | Answered | Pinged | Paused | Resumed


class Link:
    """The machine of one connection. Give it facts and the time; read `deadline`.

    `found` is set once, when the link is judged dead; its owner then aborts it.
    """

    def __init__(
        self,
        epoch: int,
        *,
        policy: Liveness,
        now: float,
        evidence: Evidence | None = None,
        freshness: Freshness | None = None,
        beats: Beats | None = None,
    ) -> None:
        kernel = evidence.kernel if evidence else None
        self.epoch = epoch
        self.policy = policy
        self.opened_at = now
        self.deadline = now
        self.verdict = Verdict.ALIVE
        self.found: Finding | None = None
        self.clocks = Clocks(
            epoch, policy=policy, kernel=kernel, freshness=freshness, now=now
        )
        self.path = self.clocks.path
        self.peer = self.clocks.peer
        self.channel = self.clocks.channel
        self.pings = self.clocks.pings
        self.round_trip = self.clocks.round_trip
        self.frames = self.beats = 0
        self.waiting = 0
        """Messages in the outbox when the evidence was last read."""
        self.unproven_since: float | None = None
        """Set by a stall of ours, until a frame proves the link again."""
        self.stalled_for = 0.0
        self._beats = beats
        self._beat_at = now + beats.every if beats else inf
        self._beat_out_at: float | None = None
        self._unanswered_at: float | None = None
        self._handled_at = self._previous_at = now
        self._draining = 0
        self._measured_from = now
        """Pings sent before waited out a stall or a pause of ours: no round trips."""
        self._reads_old = False
        """What waited out a pause of ours tells nothing of the path as it is now."""

    def open(self, *, now: float) -> list[Output]:
        """The first ping tells the round trip and whether the peer answers pings."""
        out = self._ping(now)
        self.deadline = self._next_deadline(now)
        return out

    def handle(self, fact: LinkFact, *, now: float) -> list[Output]:
        """Take one fact; return commands and events; move `deadline`."""
        if self.found:
            return []
        self._previous_at, self._handled_at = self._handled_at, now
        # A deadline that has passed stands until its tick, or our own lag would go
        # unseen; one that waits for the socket to be read is not put off by reading.
        holds = self._draining > 0 or now > self.deadline
        match fact:
            case Received():
                settled = not self.clocks.asked
                out = self._on_received(fact, now)
                if settled and not self.channel.asked:
                    # Frames only ever put deadlines off; the tick finds out by itself.
                    return out
            case Tick():
                out = self._on_tick(fact, now)
                holds = False
            case Ponged():
                out = self._on_ponged(fact, now)
            case Answered():
                out = self._on_answered(now)
            case Pinged():
                out = self._on_pinged(fact, now)
            case Paused():
                out = self._on_paused(now)
            case Resumed():
                out = self._on_resumed(now)
        if not holds:
            self.deadline = self._next_deadline(now)
        return out

    @property
    def kernel(self) -> Kernel | None:
        """The evidence of the last tick."""
        return self.clocks.kernel

    @property
    def calm(self) -> bool:
        """Whether nothing hangs on the next frame: no doubt, no question, no stall."""
        return (
            self.peer.wait is None
            and self.path.ladder is None
            and self.clocks.doubted_at is None
            and self.unproven_since is None
            and self.channel.stalled_at is None
            and not self.channel.asked
            and not self._draining
        )

    @property
    def standing(self) -> tuple[Verdict, bool, bool]:
        """What a consumer is told of a link; a change is worth a Status."""
        stalled = self.channel.stalled_at is not None
        return self.verdict, self.unproven_since is not None, stalled

    def stale_for(self, *, now: float) -> float:
        """How old data read at `now` may be: it may have waited out a stall of ours."""
        if not self._draining or self.unproven_since is None:
            return 0.0
        return now - self.unproven_since

    # --- what is heard -----------------------------------------------------------

    def _on_received(self, fact: Received, now: float) -> list[Output]:
        self.frames += fact.frames
        if self._is_stale(now):
            # Frames that waited out our own stall prove nothing about now.
            if fact.data:
                self.channel.fed_stale(fact.data)
            return []
        out: list[Output] = []
        if fact.data:
            gap = now - self.channel.data_at
            after = self.channel.fed(fact.data, now=now)
            if gap >= LEAST_GAP:
                self.clocks.learn_rhythm(now=now)
            if after is not None:
                out.append(
                    ChannelRevived(at=now, epoch=self.epoch, channel=None, after=after)
                )
        if fact.frames:
            out += self._prove(now)
        elif fact.size_bytes:
            if not self._reads_old:
                self.path.heard(now=now)
            self.peer.moved(now=now)
        return out

    def _prove(self, now: float) -> list[Output]:
        """A frame that had not waited out a stall of ours: path and peer live."""
        if not self._reads_old:
            self.path.heard(now=now)
        self.peer.framed(now=now)
        return self._clear(now)

    def _clear(self, now: float) -> list[Output]:
        began_at = self.clocks.doubted_at
        if began_at is None:
            began_at = self.unproven_since
        if began_at is None:
            return []
        self.clocks.doubted_at = self.unproven_since = None
        self.verdict = Verdict.ALIVE
        return [Cleared(at=now, epoch=self.epoch, after=now - began_at)]

    def _on_ponged(self, fact: Ponged, now: float) -> list[Output]:
        sent = self.pings.answer(fact.payload)
        if sent is None:
            return []
        out = self._answered(now - sent.sent_at, now)
        if self._draining and sent.sent_at >= self._measured_from:
            # It answers a question asked after the stall: that is no old news.
            out += self._prove(now)
        return out

    def _on_answered(self, now: float) -> list[Output]:
        if self._beat_out_at is None:
            return []
        took, self._beat_out_at = now - self._beat_out_at, None
        out = self._answered(took, now)
        if self._unanswered_at is not None:
            after, self._unanswered_at = now - self._unanswered_at, None
            out.append(self._ended(Condition.NO_PONG, after, now))
        return out

    def _answered(self, took: float, now: float) -> list[Output]:
        out: list[Output] = []
        if self.clocks.no_pong_at is not None:
            after, self.clocks.no_pong_at = now - self.clocks.no_pong_at, None
            out.append(self._ended(Condition.NO_PONG, after, now))
        if now - took >= self._measured_from - CLOCK_GRAIN and not self._is_stale(now):
            self.round_trip.add(took)
            out.append(RoundTripMeasured(at=now, epoch=self.epoch, round_trip=took))
        return out

    def _on_pinged(self, fact: Pinged, now: float) -> list[Output]:
        kernel = fact.evidence.kernel
        if kernel is not None:
            self.clocks.observe(kernel, now=now)
            self.pings.place(kernel)
        return []

    def _on_paused(self, now: float) -> list[Output]:
        self.clocks.paused_at = now
        self.peer.forgive()
        began = ConditionBegan(at=now, epoch=self.epoch, condition=Condition.PAUSED)
        return [began]

    def _on_resumed(self, now: float) -> list[Output]:
        if self.clocks.paused_at is None:
            return []
        after, self.clocks.paused_at = now - self.clocks.paused_at, None
        self._measured_from = now
        self._reads_old = True
        self.peer.resume(now=now)
        self.channel.resume(now=now)
        return [self._ended(Condition.PAUSED, after, now)]

    # --- the tick: the only place where anything is judged ------------------------

    def _on_tick(self, fact: Tick, now: float) -> list[Output]:
        lag = max(0.0, now - self.deadline, fact.stalled) + fact.suspended
        if lag > self.policy.stall_after:
            return self._on_stall(lag, fact.suspended, now)
        unread = fact.evidence.unread_bytes > 0 and not self.clocks.paused
        if unread and self._draining < MOST_DRAINS:
            self._draining += 1
            return []
        self._draining = 0
        self._reads_old = False
        kernel = self.clocks.kernel = fact.evidence.kernel
        self.waiting = fact.evidence.waiting
        if kernel is not None:
            self.clocks.observe(kernel, now=now)
        self.clocks.learn_rhythm(now=now)
        found = self.clocks.find(now=now)
        out: list[Output] = []
        if found is None:
            out += self._beat(now)
            out += self._climb(now)
            if now >= self.clocks.ping_due(now=now):
                out += self._ping(now)
            if now >= self.clocks.suspect_at(now=now):
                out += self._doubt("peer", now - self.peer.frame_at, now)
            out += self._judge_pongs(now)
            out += self._judge_beat(now)
            out += self._judge_channel(now)
            found = self.clocks.find_stalled_channel(now=now) or self._find_unanswered(
                now
            )
        if found:
            self.found = found
            self.verdict = Verdict.DEAD
        return out

    def _on_stall(self, lag: float, suspended: float, now: float) -> list[Output]:
        """Our own loop was late: what ran out meanwhile ran out for us, not them."""
        self._draining = 1
        self._measured_from = now
        self.channel.resume(now=now)
        self.path.forgive(now=now)
        self.peer.forgive()
        if self.unproven_since is None:
            # Whatever is read now came after the last thing we handled.
            self.unproven_since = min(now - lag, self._previous_at)
            self.stalled_for = 0.0
        self.stalled_for += lag
        event = Stalled(at=now, epoch=self.epoch, lag=lag, suspended=suspended)
        # What the peer sent meanwhile is in the socket; a ping tells the rest.
        return [event, *self._ping(now)]

    def _judge_channel(self, now: float) -> list[Output]:
        """A channel past its contract is told once the link has answered after it."""
        channel = self.channel
        if now < channel.due_at or channel.stalled_at is not None or self.clocks.paused:
            return []
        if not channel.asked:
            channel.ask()
            return self._ping(now)
        silence = now - channel.data_at
        if self.clocks.channel_proven:
            assert channel.contract is not None
            channel.stall()
            return [
                ChannelStalled(
                    at=now,
                    epoch=self.epoch,
                    channel=None,
                    silence=silence,
                    contract=channel.contract.every,
                )
            ]
        if now >= channel.due_at + CHANNEL_PATIENCE:
            return self._doubt("channel", silence, now)
        return []

    def _judge_pongs(self, now: float) -> list[Output]:
        """Data flows and pongs do not: a condition, and a reason to stop asking."""
        if now < self.clocks.no_pong_due():
            return []
        self.clocks.no_pong_at = now
        self.peer.forgive()
        return [ConditionBegan(at=now, epoch=self.epoch, condition=Condition.NO_PONG)]

    def _judge_beat(self, now: float) -> list[Output]:
        """Data flows, but the declared heartbeat is not answered."""
        if self._beat_out_at is None or self._unanswered_at is not None:
            return []
        due = self._beat_out_at + self.policy.peer_idle
        if now < due or self.channel.data_at < due or self.clocks.no_pong_at:
            return []
        self._unanswered_at = now
        return [
            ConditionBegan(
                at=now,
                epoch=self.epoch,
                condition=Condition.NO_PONG,
                detail="the declared heartbeat is not answered",
            )
        ]

    def _find_unanswered(self, now: float) -> Finding | None:
        """A pong may come from a proxy; the declared answer comes from the venue."""
        out_at = self._beat_out_at
        if out_at is None or self.clocks.paused or self.channel.data_at >= out_at:
            return None
        waited = now - out_at
        if waited < self.policy.peer_max:
            return None
        return heartbeat_unanswered(waited)

    # --- what is asked -------------------------------------------------------------

    def _beat(self, now: float) -> list[Output]:
        """The declared heartbeat goes out by the clock, whatever else flows."""
        if self._beats is None or now < self._beat_at:
            return []
        self._beat_at = now + self._beats.every
        self.beats += 1
        if self._beats.answered:
            self._beat_out_at = now
        return [Beat(self.epoch)]

    def _climb(self, now: float) -> list[Output]:
        """Begin to doubt the path, or ask once more while nothing is heard at all."""
        if self.path.ladder is None:
            if now < self.clocks.path_doubt_at():
                return []
            self.clocks.doubt_path(now=now)
            return self._ping(now)
        if not self.path.wants_ping(now=now):
            return []
        return [
            *self._doubt("path", now - self.path.heard_at, now),
            *self._ping(now),
        ]

    def _ping(self, now: float) -> list[Output]:
        return [Ping(self.epoch, self.clocks.pinged(now=now))]

    def _doubt(
        self, of: Literal["path", "peer", "channel"], silence: float, now: float
    ) -> list[Output]:
        if self.clocks.doubted_at is not None:
            return []
        self.clocks.doubted_at = now
        self.verdict = Verdict.SUSPECT
        return [Doubted(at=now, epoch=self.epoch, of=of, silence=silence)]

    def _ended(self, condition: Condition, after: float, now: float) -> Output:
        return ConditionEnded(
            at=now, epoch=self.epoch, condition=condition, after=after
        )

    # --- when ------------------------------------------------------------------------

    def _is_stale(self, now: float) -> bool:
        """Whether what is read at `now` has waited out a stall of our own."""
        if self._draining and self.unproven_since is not None:
            return True
        return now - self.deadline > self.policy.stall_after

    def _beat_next_at(self, now: float) -> float:
        due, out_at = self._beat_at, self._beat_out_at
        if out_at is None or self.clocks.paused:
            return due
        for after in (self.policy.peer_idle, self.policy.peer_max):
            if out_at + after > now:
                return min(due, out_at + after)
        return due

    def _next_deadline(self, now: float) -> float:
        if self.found:
            return inf
        if self._draining:
            return now + (SETTLE if self._draining == 1 else DRAIN)
        due = min(self._beat_next_at(now), self.clocks.next_at(now=now))
        return max(due, now + LEAST_STEP)
