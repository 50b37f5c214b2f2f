"""One connection, from its upgrade to its loss: probes, round trips, our own stalls.

Serves client and server alike. It never dials, and it judges only in `Tick`, with the
evidence read at that instant and nothing left unread in the socket.
"""

from __future__ import annotations

from math import inf
from typing import Literal

from . import calm
from .adaptive import LEAST_GAP
from .beats import BeatClock
from .channel import CHANNEL_PATIENCE
from .clocks import Clocks
from .detector import Liveness
from .diagnosis import Finding
from .events import (
    Answered,
    Beat,
    ChannelRevived,
    Cleared,
    ConditionBegan,
    ConditionEnded,
    Doubted,
    LinkFact,
    Output,
    Paused,
    Ping,
    Pinged,
    Ponged,
    Questioned,
    Received,
    Resumed,
    RoundTripMeasured,
    Stalled,
    Tick,
)
from .evidence import Evidence, Kernel
from .flow import Flow
from .items import Condition, Verdict
from .rest import Rest
from .stall import Lateness
from .subscriptions import Beats, Freshness
from .unanswered import Unanswered

LEAST_STEP = 0.001
"""A tick moves the deadline by at least this: no hot loop, whatever the clocks say."""


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
        self.frames = 0
        self.waiting = 0
        """Messages in the outbox when the evidence was last read."""
        self.heartbeat = BeatClock(beats, policy=policy, now=now)
        self.unanswered = Unanswered(
            epoch, clocks=self.clocks, heartbeat=self.heartbeat
        )
        self.rest: Rest | None = None
        """Set by a tick that had nothing to judge, void with any other fact."""
        self.flow: Flow | None = None
        """As far as it was asked for; see `flowing`."""
        self.lateness = Lateness(now=now)

    def open(self, *, now: float) -> list[Output]:
        """The first ping tells the round trip and whether the peer answers pings."""
        out = self._ping(now)
        self.deadline = self.next_deadline(now)
        return out

    def handle(self, fact: LinkFact, *, now: float) -> list[Output]:
        """Take one fact; return commands and events; move `deadline`."""
        if self.found:
            return []
        rest, self.rest = self.rest, None
        flow, self.flow = self.flow, None
        if rest is not None and type(fact) is Tick and self.rests(rest, fact, now):
            return []
        self.lateness.handled(now=now)
        if type(fact) is not Received or not fact.frames:
            self.clocks.keep()
        # A deadline that has passed stands until its tick, or our own lag would go
        # unseen; one that waits for the socket to be read is not put off by reading.
        holds = now > self.deadline or self.lateness.draining
        match fact:
            case Tick():
                out = self._on_tick(fact, now)
                holds = self.at_rest
            case Received():
                clocks, silence = self.clocks, self.clocks.busy_silence
                still = self.peer.wait is None and not clocks.asked
                out = self._on_received(fact, now)
                if still and silence == clocks.busy_silence and not self.channel.asked:
                    # Such frames only put deadlines off; the tick finds out by itself.
                    self.flow = flow
                    return out
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
            case Questioned():
                out = self._ping(now)
        if not holds:
            self.deadline = self.next_deadline(now)
        return out

    def put_off(self, data_at: float, *, now: float) -> None:
        """Move `deadline` if silence alone is due: data was read, and is told later."""
        flow = self.flowing(now=now)
        if flow is not None and now - self.deadline <= self.policy.stall_after:
            self.deadline = max(self.deadline, flow.due_at(data_at))

    def flowing(self, *, now: float) -> Flow | None:
        """How data puts off what is due; None while more hangs on it than that."""
        if self.flow is None and self.lateness.over and not self.heartbeat.declared:
            self.flow = calm.flow(self.clocks, now=now)
        return self.flow

    @property
    def at_rest(self) -> bool:
        """Whether the last fact was a tick that had nothing to judge."""
        return self.rest is not None

    @property
    def kernel(self) -> Kernel | None:
        """The evidence of the last tick that was not just another look at rest."""
        return self.clocks.kernel

    def lull(self, *, now: float) -> float:
        """Seconds that frames may go untold; 0 while a doubt or stall hangs on them.

        While the socket is only to be read before a tick, that tick is soon enough.
        """
        if self.lateness.unproven_since is not None:
            return 0.0
        return calm.lull(self.clocks, now=now)

    @property
    def standing(self) -> tuple[Verdict, bool, bool]:
        """What a consumer is told of a link; a change is worth a Status."""
        stalled = self.channel.stalled_at is not None
        return self.verdict, self.lateness.unproven_since is not None, stalled

    def stale_for(self, *, now: float) -> float:
        """How old data read at `now` may be: it may have waited out a stall of ours."""
        return self.lateness.stale_for(now=now)

    # --- what is heard -----------------------------------------------------------

    def _on_received(self, fact: Received, now: float) -> list[Output]:
        self.frames += fact.frames
        if self._is_stale(now):
            # Frames that waited out our own stall prove nothing about now: they may
            # be the answer, and what is asked after the stall is to be answered anew.
            if fact.frames:
                self.clocks.ask_anew(since_at=now)
            if fact.data:
                self.channel.fed_stale(fact.data, now=now)
            return []
        out: list[Output] = []
        if fact.data:
            gap = self.channel.gap_before(fact, now=now)
            after = self.channel.fed(fact, now=now)
            if gap >= LEAST_GAP or fact.gaps:
                self.clocks.learn_rhythm(now=now)
            if after is not None:
                epoch = self.epoch
                out = [ChannelRevived(at=now, epoch=epoch, channel=None, after=after)]
        if fact.frames:
            out += self._prove(now)
        elif fact.size_bytes:
            if not self.lateness.reads_old:
                self.path.heard(now=now)
            self.peer.moved(now=now)
        return out

    def _prove(self, now: float) -> list[Output]:
        """A frame that had not waited out a stall of ours: path and peer live."""
        if not self.lateness.reads_old:
            self.path.heard(now=now)
        self.peer.framed(now=now)
        return self._clear(now)

    def _clear(self, now: float) -> list[Output]:
        began_at = self.clocks.doubted_at
        if began_at is None:
            began_at = self.lateness.unproven_since
        if began_at is None:
            return []
        self.clocks.doubted_at = self.lateness.unproven_since = None
        self.verdict = Verdict.ALIVE
        return [Cleared(at=now, epoch=self.epoch, after=now - began_at)]

    def _on_ponged(self, fact: Ponged, now: float) -> list[Output]:
        sent = self.pings.answer(fact.payload)
        if sent is None:
            return []
        out = self._answered(now - sent.sent_at, now)
        if self.lateness.was_asked_after(sent.sent_at):
            # It answers a question asked after the stall: that is no old news.
            out += self._prove(now)
        return out

    def _on_answered(self, now: float) -> list[Output]:
        took = self.heartbeat.answer(now=now)
        if took is None:
            return []
        return [*self._answered(took, now), *self.unanswered.beat(now=now)]

    def _answered(self, took: float, now: float) -> list[Output]:
        out = self.unanswered.pong(now=now)
        measured = self.lateness.measures(took=took, now=now)
        if measured and not self._is_stale(now):
            self.round_trip.add(took)
            out.append(RoundTripMeasured(at=now, epoch=self.epoch, round_trip=took))
        return out

    def _on_pinged(self, fact: Pinged, now: float) -> list[Output]:
        if (kernel := fact.evidence.kernel) is not None:
            self.clocks.observe(kernel, now=now)
            self.pings.place(kernel)
        return []

    def _on_paused(self, now: float) -> list[Output]:
        self.clocks.paused_at = now
        self.peer.forgive()
        return [ConditionBegan(at=now, epoch=self.epoch, condition=Condition.PAUSED)]

    def _on_resumed(self, now: float) -> list[Output]:
        if self.clocks.paused_at is None:
            return []
        after, self.clocks.paused_at = now - self.clocks.paused_at, None
        self.lateness.resume(now=now)
        self.clocks.resume(now=now)
        self.heartbeat.forgive()
        paused = Condition.PAUSED
        return [ConditionEnded(at=now, epoch=self.epoch, condition=paused, after=after)]

    # --- the tick: the only place where anything is judged ------------------------

    def _on_tick(self, fact: Tick, now: float) -> list[Output]:
        lag = self.lateness.fresh(max(now - self.deadline, fact.stalled), now=now)
        out: list[Output] = []
        if lag + fact.suspended > self.policy.stall_after:
            drained = self.lateness.draining and not fact.suspended
            out = self._on_stall(lag, fact.suspended, now)
            # Once it is known whether the socket is read, how late it was told does
            # not matter: or our own work on many links would never come to an end.
            if not drained:
                return out
        unread = fact.evidence.unread_bytes > 0 and not self.clocks.paused
        if self.lateness.drain(unread=unread):
            return out
        kernel = self.clocks.kernel = fact.evidence.kernel
        self.waiting = fact.evidence.waiting
        if kernel is not None:
            self.clocks.observe(kernel, now=now)
        self.clocks.learn_rhythm(now=now)
        if not out and not self.heartbeat.declared and self.lateness.settled:
            rest = self.clocks.rest(now=now)
            if rest is not None and self.rests(rest, fact, now):
                return []
        return out + self._judge(now)

    def rests(self, rest: Rest, fact: Tick, now: float) -> bool:
        """Whether the link rests on, and was looked at in time."""
        if fact.suspended or fact.stalled or self._is_stale(now):
            return False
        until = rest.until(fact.evidence, now=now)
        if until is None:
            return False
        self.rest, self.flow = rest, rest.flow(now=now)
        self.lateness.handled(now=now)
        self.waiting = fact.evidence.waiting
        self.deadline = max(until, now + LEAST_STEP)
        return True

    def _judge(self, now: float) -> list[Output]:
        """Look at every clock: what has died, what is in doubt, what is to be asked."""
        found = self.clocks.find(now=now)
        out = self._tell_stall(0.0, now)
        if found is None:
            out += self._beat(now)
            out += self._climb(now)
            if now >= self.clocks.ping_due(now=now) or now >= self._ask_at():
                out += self._ping(now)
            if now >= self.clocks.suspect_at(now=now):
                out += self._doubt("peer", now - self.peer.frame_at, now)
            out += self.unanswered.judge(now=now)
            out += self._judge_channel(now)
            found = self.clocks.find_stalled_channel(now=now)
            found = found or self.unanswered.find(now=now)
        if found:
            self.found = found
            self.verdict = Verdict.DEAD
        return out

    def _on_stall(self, lag: float, suspended: float, now: float) -> list[Output]:
        """Our own loop was late: what ran out meanwhile ran out for us, not them."""
        self.lateness.stall(lag + suspended, now=now)
        if suspended:
            self.clocks.forgive(suspended, now=now)
            self.heartbeat.forgive()
        else:
            self.clocks.extend(lag, now=now)
            self.heartbeat.extend(lag, now=now)
        out = self._tell_stall(suspended, now)
        # What the peer sent meanwhile is in the socket; a ping tells the rest.
        return out + self._ping(now) if suspended or now >= self._ask_at() else out

    def _tell_stall(self, suspended: float, now: float) -> list[Output]:
        lag = self.lateness.tell(at_once=suspended > 0, now=now)
        if not lag:
            return []
        return [Stalled(at=now, epoch=self.epoch, lag=lag, suspended=suspended)]

    def _judge_channel(self, now: float) -> list[Output]:
        """A channel past its contract is told once the link has answered after it."""
        channel = self.channel
        if now < channel.due_at or channel.stalled_at is not None or self.clocks.paused:
            return []
        if not channel.asked:
            channel.ask()
            return self._ping(now)
        if self.clocks.channel_proven:
            return [channel.stall(self.epoch, now=now)]
        if now >= channel.due_at + CHANNEL_PATIENCE:
            return self._doubt("channel", now - channel.data_at, now)
        return []

    # --- what is asked -------------------------------------------------------------

    def _beat(self, now: float) -> list[Output]:
        due = self.heartbeat.send(data_at=self.channel.data_at, now=now)
        return [Beat(self.epoch)] if due else []

    def _climb(self, now: float) -> list[Output]:
        """Begin to doubt the path, or ask once more while nothing is heard at all."""
        if self.path.ladder is None:
            if now < self.clocks.path_doubt_at():
                return []
            self.clocks.doubt_path(now=now)
            return self._ping(now)
        if not self.path.wants_ping(now=now):
            return []
        return self._doubt("path", now - self.path.heard_at, now) + self._ping(now)

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

    def _ask_at(self) -> float:
        """When to ask whether the link outlived a stall of ours."""
        return self.lateness.ask_at(self.pings.last_at)

    # --- when ------------------------------------------------------------------------

    def _is_stale(self, now: float) -> bool:
        """Whether what is read at `now` has waited out a stall of our own."""
        late, lateness = now - self.deadline > self.policy.stall_after, self.lateness
        return late or (lateness.draining and lateness.stale_for(now=now) > 0)

    def next_deadline(self, now: float) -> float:
        if self.found:
            return inf
        if self.lateness.draining:
            return self.lateness.next_at(now=now)
        due = self.clocks.next_at(now=now)
        if self.heartbeat.declared:
            due = min(due, self.heartbeat.next_at(now=now))
        if not self.lateness.settled:
            due = min(due, self._ask_at(), self.lateness.tell_at)
        if self.lateness.reads_old and not self.clocks.paused:
            due = min(due, self.lateness.read_by)
        return due if due > (least := now + LEAST_STEP) else least
