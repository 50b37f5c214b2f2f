"""The clocks of one link, read together: what they find, what they want, and when.

Nothing here sends or tells; a link does, when it has asked.
"""

from __future__ import annotations

from math import inf

from . import away, diagnosis
from .adaptive import RoundTripEstimate
from .channel import ChannelClock
from .detector import (
    BUSY_FLOOR,
    POLL,
    REPROOF_WITHIN,
    TIMER_SLACK,
    Ladder,
    Liveness,
    PathClock,
    window_shut,
)
from .diagnosis import Finding
from .evidence import Kernel
from .kept import Kept, peer_bound
from .peer import PeerClock, Wait
from .pings import Pings, ping_due
from .rest import Rest
from .subscriptions import Freshness


class Clocks:
    """Path, peer and channel of one link, and the pings that are out on it."""

    __slots__ = (
        "_asked_of",
        "_asking",
        "_rhythm_of",
        "_slept",
        "_slept_of",
        "busy_silence",
        "channel",
        "doubted_at",
        "kept",
        "kernel",
        "looked_at",
        "no_pong_at",
        "path",
        "paused_at",
        "peer",
        "pings",
        "policy",
        "round_trip",
    )

    def __init__(
        self,
        epoch: int,
        *,
        policy: Liveness,
        kernel: Kernel | None,
        freshness: Freshness | None,
        now: float,
    ) -> None:
        self.policy = policy
        self.kernel = kernel
        """The evidence of the last tick; None where the system gives none."""
        self.looked_at = now
        """When there was evidence last."""
        self.path = PathClock(policy, kernel=kernel, now=now)
        self.peer = PeerClock(policy, now=now)
        self.kept = Kept(self.path, self.peer)
        self.channel = ChannelClock(freshness, now=now)
        self.pings = Pings(epoch)
        self.round_trip = RoundTripEstimate()
        self.doubted_at: float | None = None
        self.no_pong_at: float | None = None
        self.paused_at: float | None = None
        self.busy_silence: float | None = None
        """A silence that is rare on this link; None while its data has no rhythm."""
        self._rhythm_of: float | None = None
        self._slept = 0.0
        """Seconds that this machine was suspended since a frame came."""
        self._slept_of = now
        """That frame, by when it came."""
        self._asked_of: float | None = None
        """The silence of data, by its beginning, that has been asked about."""
        self._asking: tuple[Ladder | None, Wait | None] | None = None
        """What that question began; later doubts in that silence are not hurried."""

    @property
    def paused(self) -> bool:
        return self.paused_at is not None

    @property
    def calm(self) -> bool:
        """Whether nothing is doubted, or asked that the next frame may answer."""
        channel = self.channel
        return (
            self.peer.wait is None
            and self.path.ladder is None
            and self.doubted_at is None
            and channel.stalled_at is None
            and not channel.asked
            and (self._asked_of is None or self._asked_of != channel.data_at)
        )

    @property
    def asked(self) -> bool:
        """Whether the present silence of data has been asked about."""
        return self._asked_of is not None and self._asked_of == self.channel.data_at

    @property
    def path_silence(self) -> float | None:
        """The silence of data that brings the path in doubt; None if nothing does.

        Each silence is asked about once: after the answer only the kernel counts.
        """
        return None if self._settled(self.path.ladder) else self.busy_silence

    @property
    def peer_silence(self) -> float | None:
        """The same for the peer."""
        return None if self._settled(self.peer.wait) else self.busy_silence

    def _settled(self, doubt: Ladder | Wait | None) -> bool:
        """Whether the present silence of data was asked about before this doubt."""
        if not self.asked:
            return False
        return doubt is None or doubt not in (self._asking or ())

    # --- what is learned -----------------------------------------------------------

    def observe(self, kernel: Kernel, *, now: float) -> None:
        """Let every clock take in the evidence."""
        self.looked_at = now
        path, peer, ladder = self.path, self.peer, self.path.ladder
        rung, heard_at = path.rung if ladder is not None else 0.0, path.heard_at
        path.observe(kernel, now=now)
        if path.heard_at > heard_at and not window_shut(kernel):
            # With a shut window the path was not away: its probes are answered at
            # doubling intervals.
            peer.excuse(away.doubted(path, ladder, rung=rung), now=now)
            heard_by = away.unasked(path, peer, now=now)
            if heard_by is not None:
                self._expect(heard_by, now=now)
        peer.observe(kernel, now=now)
        if self.pings.oldest() is None:
            return
        if (oldest := self.pings.oldest_unacknowledged()) is not None:
            needed = path.resends_needed(now=now)
            oldest.watch(kernel, answer_takes=path.rung, needed=needed, now=now)
        proven_at = self.pings.acknowledge(kernel, now=now)
        if proven_at is None:
            return
        if oldest is not None and not window_shut(kernel):
            took, allowance = proven_at - oldest.sent_at, peer.allowance(now=now)
            held = away.asked(path, took=took, allowance=allowance)
            peer.excuse(held, now=now)
        peer.proven(at=proven_at)

    def _expect(self, heard_by: float, *, now: float) -> None:
        """What the peer sent in a silence is here by then, or one resend later."""
        path, peer = self.path, self.peer
        peer.excuse(heard_by - peer.allowance(now=now) - now, now=now)
        silence = min(path.silence, path.patience)
        if peer.wait is not None and (again := away.resent_again(path, silence)):
            self._spare(heard_by + again)

    def _spare(self, until: float) -> None:
        """As long as the silence can still be judged when it has to be told."""
        self.peer.spare(min(until, self.kept.told_by - 2 * REPROOF_WITHIN))

    def learn_rhythm(self, *, now: float) -> None:
        """Find out which silence of data is rare, once for each silence.

        A silence is judged by what was promised when it began.
        """
        policy, data_at = self.policy, self.channel.data_at
        if self._rhythm_of == data_at:
            return
        self._rhythm_of = data_at
        silence = self.channel.rare_silence(per_minute=policy.rare_per_minute, now=now)
        if silence is not None:
            silence = max(silence, BUSY_FLOOR, 4 * self.round_trip.smoothed)
            silence = silence if silence < policy.ping_every else None
        self.busy_silence = silence
        self.peer.busy = self.busy_silence is not None

    def doubt_path(self, *, now: float) -> None:
        """Begin to doubt the path, and note which silence of data is asked about."""
        if not self.asked:
            self._asking = None
        self._asked_of = self.channel.data_at
        if self.kernel is not None:
            self.path.doubt(now=now)

    def pinged(self, *, now: float) -> bytes:
        """Count a ping on every clock; its payload."""
        self.keep()
        payload = self.pings.send(now=now)
        self.path.pinged(now=now)
        if not self.paused:
            self.peer.pinged(now=now)
        if self._asking is None:
            self._asking = self.path.ladder, self.peer.wait
        return payload

    def extend(self, lag: float, *, now: float) -> None:
        """Our own loop was late: what ran meanwhile is given as long again."""
        self.path.extend(lag, now=now)
        self.peer.extend(lag, now=now)
        self.kept.extend(lag)
        self.channel.extend(lag, now=now)

    def forgive(self, suspended: float, *, now: float) -> None:
        """This machine was suspended for so long: what was asked before it is void."""
        self.path.forgive(now=now)
        self.peer.resume(now=now)
        self.ask_anew(since_at=now)
        if self._slept_of != self.peer.frame_at:
            self._slept_of, self._slept = self.peer.frame_at, 0.0
        self._slept += suspended
        # What was sent to us meanwhile is lost, and resent at doubling intervals.
        self.peer.excuse(self._slept, now=now)
        self.channel.slept(self._slept, now=now)
        if again := away.resent_again(self.path, self._slept):
            self._spare(self.peer.excused_until + again)

    def resume(self, *, now: float) -> None:
        """The silence of peer and channel up to here was of our own making."""
        self.peer.resume(now=now)
        self.ask_anew(since_at=now)
        self.channel.resume(now=now)

    def ask_anew(self, *, since_at: float) -> None:
        """What the peer was asked is void, and its silence counts from `since_at`."""
        self.peer.forgive()
        self.kept.begin(self._peer_bound(now=since_at), since_at=since_at)

    def keep(self) -> None:
        """Fix what was published as the last frame came, before more is learned."""
        frame_at = self.peer.frame_at
        if self.kept.frame_at != frame_at:
            self.kept.begin(self._peer_bound(now=frame_at), since_at=frame_at)

    def peer_bound(self, *, now: float) -> float:
        """Seconds that frames may be missing; of the present silence, if one began."""
        return self.kept.bound if self.kept.began else self._peer_bound(now=now)

    def _peer_bound(self, *, now: float) -> float:
        if self.no_pong_at is not None:
            return self.policy.no_pong_silence + TIMER_SLACK
        silence = self.peer_silence
        return peer_bound(self.path, self.peer, self.kernel, silence=silence, now=now)

    # --- what is found -------------------------------------------------------------

    def rest(self, *, now: float) -> Rest | None:
        """How the link rests; None where there is more to look at than the path.

        That is, while something is asked, doubted or paused, a contract or a rhythm of
        data counts, or there is no kernel's evidence. A longer timeout that waits for a
        silence to come is no reason: by the present one a look comes too early.
        """
        kernel = self.kernel
        if (
            kernel is None
            or self.peer.wait is not None
            or self.path.ladder is not None
            or self.pings.oldest() is not None
            or self.doubted_at is not None
            or self.no_pong_at is not None
            or self.paused_at is not None
            or self.channel.contract is not None
            or (self.busy_silence is not None and not self.asked)
        ):
            return None
        return Rest(kernel, patience=self.path.patience, ask_at=self.ping_due(now=now))

    def find(self, *, now: float) -> Finding | None:
        """Judge path, peer, and what was promised, by the last evidence."""
        found = self._judge_path(now) or self._judge_peer(now)
        if found is not None or self.paused:
            return found
        return self.kept.judge(self.kernel, pings=self.pings, now=now)

    def find_stalled_channel(self, *, now: float) -> Finding | None:
        """Judge the contract: told stalled, and as long again without data."""
        channel = self.channel
        if channel.stalled_at is None or now < channel.given_up_at or self.paused:
            return None
        assert channel.contract is not None
        return diagnosis.channel_stalled(now - channel.data_at, channel.contract.every)

    def _judge_path(self, now: float) -> Finding | None:
        if (kernel := self.kernel) is None:
            return None
        where = self.path.judge(now=now)
        if where and self.path.ladder:
            return diagnosis.path_dead(where, self.path.ladder, kernel, now=now)
        oldest = self.pings.oldest_unacknowledged()
        if oldest is None or now < oldest.sent_at + self.policy.outbound_after:
            return None
        if not oldest.is_lost_outbound(kernel, answer_takes=self.path.rung, now=now):
            return None
        return diagnosis.outbound_dead(oldest, kernel, now=now)

    def _judge_peer(self, now: float) -> Finding | None:
        wait, kernel = self.peer.wait, self.kernel
        if self.paused or wait is None:
            return None
        silence = now - self.peer.frame_at
        if self.no_pong_at is not None:
            patient = silence < self.policy.no_pong_silence
            return None if patient else diagnosis.peer_unresponsive(silence)
        if now < self.peer.overdue_at(kernel, now=now):
            return None
        if kernel is None:
            asked = len(self.pings)
            enough = asked >= self.policy.pings
            return diagnosis.silent_without_kernel(asked, silence) if enough else None
        if not self.peer.is_accused(kernel, now=now):
            return None
        return diagnosis.peer_frozen(wait, kernel, silence, now=now)

    # --- when ------------------------------------------------------------------------

    @property
    def channel_proven(self) -> bool:
        """Whether the link has answered after its channel was due."""
        return self.no_pong_at is not None or self.peer.frame_at >= self.channel.due_at

    def suspect_at(self, *, now: float) -> float:
        """When the peer is to be doubted."""
        if self.doubted_at is not None or self.no_pong_at is not None:
            return inf
        return inf if self.peer.wait is None else self.peer.suspect_at(now=now)

    def path_doubt_at(self) -> float:
        """When the path is to be doubted, by the kernel's silence or the data's."""
        due = self.path.doubt_at() if self.kernel is not None else inf
        if self.busy_silence is None or self.asked:
            return due
        # Data that waited out a pause of ours was read later than it was heard.
        silent_since = min(self.channel.silent_since, self.path.heard_at)
        return min(due, silent_since + self.busy_silence)

    def ping_due(self, *, now: float) -> float:
        """When a question is due that no doubt of the path asks."""
        policy, last_at = self.policy, self.pings.last_at
        if self.no_pong_at is not None:
            # Pongs may come back; and a last word before the verdict is fair.
            last_word_at = self.peer.frame_at + policy.no_pong_silence - REPROOF_WITHIN
            last_word_at = max(last_word_at, last_at + policy.ping_every)
            return min(last_word_at, last_at + policy.measure_every)
        due = ping_due(policy, heard_at=self.peer.frame_at, last_at=last_at)
        if self.peer.wait is None or self.paused:
            return due
        by = self.kept.asked_by
        return min(due, self.peer.ask_at(self.kernel, by=by, now=now))

    def no_pong_due(self) -> float:
        """When it is certain that data flows and pongs do not; inf until then."""
        oldest = self.pings.oldest()
        if oldest is None or self.no_pong_at is not None:
            return inf
        fed_at, due = self.channel.fresh_at, oldest.sent_at + self.policy.peer_idle
        # Data soon after the ping may have been on its way before the peer froze.
        if fed_at is None or fed_at < due or not (oldest.acked or self.kernel is None):
            return inf
        if self.pings.answered:
            # It does answer: what a lossy path holds up is not what is never sent.
            flowed_at = self.channel.flows_since + self.policy.peer_idle
            asked_long_at = oldest.sent_at + self.policy.measure_every
            due = max(due, min(flowed_at, asked_long_at))
        return due if fed_at >= due else inf

    def next_at(self, *, now: float) -> float:
        """When the next look is due; may lie in the past."""
        due, path_at = self.ping_due(now=now), self._path_next_at(now)
        if path_at < due:
            due = path_at
        if (no_pong_at := self.no_pong_due()) < due:
            due = no_pong_at
        if self.peer.wait is not None:
            due = min(due, self.suspect_at(now=now), self._peer_next_at(now))
            due = due if self.paused else min(due, self.kept.told_by)
        if self.channel.contract is None or self.paused:
            return due
        return min(due, self.channel.next_at(proven=self.channel_proven, now=now))

    def _path_next_at(self, now: float) -> float:
        path = self.path
        due = self.path_doubt_at() if path.ladder is None else path.next_at(now=now)
        oldest = self.pings.oldest_unacknowledged()
        if oldest is None or self.kernel is None:
            return due
        outbound_at = oldest.sent_at + self.policy.outbound_after
        return min(due, outbound_at if outbound_at > now else now + POLL)

    def _peer_next_at(self, now: float) -> float:
        if self.peer.wait is None or self.paused:
            return inf
        if self.no_pong_at is not None:
            return max(self.peer.frame_at + self.policy.no_pong_silence, now + POLL)
        overdue_at = self.peer.overdue_at(self.kernel, now=now)
        if overdue_at <= now or self.peer.is_behind_backlog(self.path.kernel):
            return now + POLL
        return overdue_at
