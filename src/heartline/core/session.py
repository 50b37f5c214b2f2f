"""One stream across its links: phase, redial, replay, the status. Never a socket.

Give it a fact and the time; it returns commands and events and sets `deadline`. Only
an idle or a closed session has none.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from .attempt import Attempt
from .conditions import Conditions
from .diagnosis import Finding
from .events import (
    Abort,
    BackingOff,
    CaughtUp,
    Close,
    Connecting,
    Dial,
    DialFailed,
    DialSucceeded,
    Ended,
    Evidenced,
    Fact,
    GapFound,
    Joined,
    LinkFact,
    Noticed,
    Output,
    Overflowed,
    Paused,
    Received,
    Staged,
    Start,
    Stop,
    Stopped,
    Sync,
    Synced,
    Tick,
)
from .evidence import Evidence
from .gaps import Ledger
from .handover import Handover
from .items import OPEN, SYNCING, Cause, Phase, Where
from .link import LEAST_STEP, Link
from .losses import complete_until, connected, dial_lost, lost, surrendered, was_useful
from .neighbour import Neighbour
from .neighbours import Neighbours
from .overflow import SlowConsumer
from .recovery import Recovery
from .terms import Past, Terms, Trouble


class Session:
    """The machine behind one stream.

    `draw` yields uniform numbers in [0, 1): the core owns no randomness. `who` is
    this session's name among its `neighbours`.
    """

    def __init__(
        self,
        terms: Terms,
        *,
        draw: Callable[[], float],
        neighbours: Neighbours | None = None,
        who: int = 0,
    ) -> None:
        self.terms = terms
        self.phase = Phase.IDLE
        self.epoch = 0
        self.link: Link | None = None
        self.deadline = inf
        self.attempts = 0
        self.trouble: Trouble | None = None
        self.conditions = Conditions()
        self.ledger = Ledger()
        self.address = ""
        self.retry_at: float | None = None
        self.recovery = Recovery(terms.backoff, draw)
        self.neighbour = Neighbour(
            neighbours or Neighbours(), terms.dialling, who=who, host=terms.host
        )
        self._last_epoch = 0
        self.handover = Handover(
            terms,
            draw=draw,
            number=self._number,
            neighbour=self.neighbour,
            conditions=self.conditions,
        )
        self._attempt: Attempt | None = None
        self._step_by = inf
        """When the present phase runs out of time, where it is one that can."""
        self._dial_paid = False
        self.slow = SlowConsumer()
        self.past = Past()

    def lull(self, *, now: float) -> float:
        """Seconds for which the next frames change nothing that anybody waits for."""
        opened = self.phase is OPEN and self.handover.successor is None
        return self.link.lull(now=now) if opened and self.link is not None else 0.0

    @property
    def spare_reads(self) -> int:
        """Reads that may go untold meanwhile; see `ChannelClock.spare_reads`."""
        return 0 if self.link is None else self.link.channel.spare_reads

    def put_off(self, data_at: float, *, now: float) -> None:
        """Move `deadline` where data read at `data_at` does; see `Link.put_off`."""
        if self.link is not None and self.lull(now=now):
            self.link.put_off(data_at, now=now)
            self.deadline = self._next_deadline()

    def handle(self, fact: Fact, *, now: float) -> list[Output]:
        """Take one fact; return what is to be done and told, in that order."""
        match fact:
            case Tick():
                out = self._on_tick(fact, now)
            case _ if self.handover.owns(fact):
                out = self._hand_over(self.handover.handle(fact, now=now), now)
            case Received():
                out = self._to_link(fact, now)
            case Noticed():
                out = self._hand_over(self.handover.noticed(fact, now=now), now)
            case Joined() | Evidenced():
                out = []
            case Start():
                out = self._dial(now) if self.phase is Phase.IDLE else []
            case Stop():
                out = self._on_stop(fact, now)
            case Staged():
                out = []
                if self._attempt is not None and self._attempt.epoch == fact.epoch:
                    self._attempt.reach(fact.stage, now=now)
            case DialSucceeded():
                out = self._on_dialled(fact, now)
            case DialFailed():
                out = self._on_dial_failed(fact, now)
            case Synced():
                syncing = fact.epoch == self.epoch and self.phase is Phase.SYNCING
                out = self._open(now) if syncing else []
            case Ended():
                out = self._on_ended(fact, now)
            case Overflowed():
                out = self._on_overflowed(fact, now)
            case CaughtUp():
                caught_up = self.slow.caught_up(epoch=self.epoch, now=now)
                out = self.conditions.learn(caught_up)
            case _:
                out = self._to_link(fact, now)
        self.deadline = self._next_deadline()
        if type(fact) is Tick:
            # Two deadlines less than this apart share a tick: no hot loop.
            self.deadline = max(self.deadline, now + LEAST_STEP)
        return out

    # --- dialling ----------------------------------------------------------------

    def _dial(self, now: float) -> list[Output]:
        if not self._dial_paid:
            wait = self.neighbour.reserve(now)
            self._dial_paid = True
            if wait > 0:
                return self._wait(wait, now)
        self._dial_paid = False
        self.epoch = self._number()
        self.phase, self.retry_at = Phase.CONNECTING, None
        self._attempt = Attempt(self.epoch, self.terms.dialling, now=now)
        attempt = self.recovery.attempt
        dialling = Connecting(at=now, epoch=self.epoch, attempt=attempt)
        return [Dial(self.epoch, attempt), dialling]

    def _number(self) -> int:
        """The epoch of a link that is about to be dialled."""
        self._last_epoch += 1
        self.attempts += 1
        return self._last_epoch

    def _on_dialled(self, fact: DialSucceeded, now: float) -> list[Output]:
        if self.link is not None and self.link.epoch == fact.epoch:
            return []
        if self._attempt is None or self._attempt.epoch != fact.epoch:
            # Too late: the attempt was given up. Its socket must not stay behind.
            return [Abort(fact.epoch)]
        self.address = fact.address
        self._attempt = None
        self.link = self.terms.link(self.epoch, fact.evidence, now=now)
        if not self.terms.syncs:
            return self._open(now)
        self.phase = Phase.SYNCING
        self._step_by = now + self.terms.dialling.sync
        return [*self.link.open(now=now), Sync(self.epoch)]

    def _open(self, now: float) -> list[Output]:
        link = self.link
        assert link is not None
        out = link.open(now=now) if self.phase is Phase.CONNECTING else []
        self.phase, self._step_by = Phase.OPEN, inf
        link.channel.resume(now=now)
        outage = self.recovery.open(now=now)
        self.handover.opened(self.epoch, now=now)
        self.trouble = None
        address, attempt = self.address, self.recovery.attempt
        opened = connected(
            link, address=address, attempt=attempt, outage=outage, now=now
        )
        return [*out, *self._close_gap(now), opened]

    def _on_dial_failed(self, fact: DialFailed, now: float) -> list[Output]:
        if self._attempt is None or self._attempt.epoch != fact.epoch:
            return []
        self._attempt = None
        since_at = self.recovery.silent_since
        self.trouble = Trouble(
            fact.cause, fact.where, fact.status, fact.reason, since_at
        )
        event = dial_lost(fact, attempt=self.recovery.attempt, now=now)
        return [event, *self._retreat(self.trouble, now, fact.retry_after)]

    # --- losing ------------------------------------------------------------------

    def _on_ended(self, fact: Ended, now: float) -> list[Output]:
        if fact.epoch != self.epoch or self.link is None:
            return []
        if self.phase is Phase.DRAINING:
            return self._finish(now)
        finding = Finding(cause=fact.cause, evidence=fact.reason)
        return self._lose(finding, now, ended=fact)

    def _lose(
        self, finding: Finding, now: float, *, ended: Ended | None = None
    ) -> list[Output]:
        """The link is gone or given up; say so, and see what comes next."""
        link = self.link
        assert link is not None
        beside = self.handover.lost(self.epoch, now=now)
        gone: list[Output] = [] if ended is not None else [Abort(self.epoch)]
        if self.handover.takes_over:
            return gone + self._hand_over(beside, now)
        where = finding.where
        if finding.cause is Cause.PATH_DEAD:
            if self.neighbour.shares_death(now=now):
                where = Where.LOCAL
            # Its doubt stands: it tells the next link that is found dead.
        else:
            self.neighbour.clear()
        event = lost(link, finding, where=where, ended=ended, now=now)
        self.trouble = Trouble(
            finding.cause, where, event.status, finding.evidence, event.since_at
        )
        out = [*gone, *beside, event]
        out += self.conditions.end_link(epoch=self.epoch, now=now)
        if was_useful(link, self.terms.backoff):
            self.recovery.failures = 0
        if self.phase is Phase.OPEN:
            self.recovery.lose(since_at=event.since_at)
        heard_at = complete_until(link, opened=self.phase is Phase.OPEN)
        if heard_at is not None:
            self.ledger.lose_link(self.epoch, heard_at=heard_at)
        self.past.add(link)
        self.link = None
        return out + self._retreat(self.trouble, now)

    def _hand_over(self, out: list[Output], now: float) -> list[Output]:
        """Adopt the link that has taken over, or meet an end that none forestalls."""
        overdue, taken = self.handover.decide()
        if overdue is not None and self.link is not None:
            finding = Finding(cause=overdue.cause, evidence=overdue.reason)
            return out + self._lose(finding, now)
        if taken is None or taken.link is None or self.link is None:
            return out
        before = self.conditions.end_link(epoch=self.epoch, now=now)
        if was_useful(self.link, self.terms.backoff):
            self.recovery.failures = 0
        self.neighbour.clear()
        self.past.add(self.link)
        self.link, self.epoch, self.address = taken.link, taken.epoch, taken.address
        return before + out

    def _retreat(
        self, trouble: Trouble, now: float, retry_after: float | None = None
    ) -> list[Output]:
        """After a loss or a failed dial: wait for the next attempt, or give up."""
        delay = self.recovery.fail(trouble, retry_after=retry_after, now=now)
        if delay is not None:
            return self._wait(delay, now)
        attempts, epoch = self.recovery.failures, self.epoch
        event = surrendered(trouble, epoch=epoch, attempts=attempts, now=now)
        return [*self._last_words(now), self._closed(event)]

    def _wait(self, delay: float, now: float) -> list[Output]:
        self.phase = Phase.BACKOFF
        self.retry_at = self._step_by = now + delay
        attempt = self.recovery.attempt
        return [BackingOff(at=now, epoch=self.epoch, attempt=attempt, delay=delay)]

    # --- stopping ----------------------------------------------------------------

    def _on_stop(self, fact: Stop, now: float) -> list[Output]:
        if self.phase in (Phase.DRAINING, Phase.CLOSED):
            return []
        if self.link is None:
            dialling = self.phase is Phase.CONNECTING
            return [*([Abort(self.epoch)] if dialling else []), *self._finish(now)]
        self.phase = Phase.DRAINING
        self._step_by = now + self.terms.dialling.close
        return [*self.handover.end(), Close(self.epoch, fact.code, fact.reason)]

    def _finish(self, now: float) -> list[Output]:
        out = self.conditions.end_link(epoch=self.epoch, now=now)
        out += self._last_words(now)
        if self.link is not None:
            self.past.add(self.link)
        self.link = None
        return [*out, self._closed(Stopped(at=now, epoch=self.epoch))]

    def _closed(self, event: Output) -> Output:
        self.phase = Phase.CLOSED
        self.neighbour.leave(unspent=self._dial_paid)
        self.retry_at = self._attempt = None
        return event

    def _last_words(self, now: float) -> list[Output]:
        """What is still untold of losses when the stream ends."""
        return [*self.slow.tell(epoch=self.epoch, now=now), *self._close_gap(now)]

    def _close_gap(self, now: float) -> list[Output]:
        gap = self.ledger.regain_link(now=now)
        return [] if gap is None else [GapFound(at=now, epoch=self.epoch, gap=gap)]

    # --- time --------------------------------------------------------------------

    def _on_tick(self, fact: Tick, now: float) -> list[Output]:
        out: list[Output] = []
        if now >= self.slow.due_at:
            out += self.slow.tell(epoch=self.epoch, now=now)
        link, attempt = self.link, self._attempt
        match self.phase:
            case Phase.OPEN | Phase.SYNCING if link is not None:
                lag = max(0.0, now - self.deadline, fact.stalled) + fact.suspended
                out += self._tick_link(link, fact, lag, now)
                if self.link is link:
                    beside = self.handover.tick(fact, lag=lag, now=now)
                    out += self._hand_over(beside, now)
            case Phase.CONNECTING if attempt is not None:
                out += self._tick_dial(attempt, fact, now)
            case Phase.BACKOFF if now >= self._step_by:
                out += self._dial(now)
            case Phase.DRAINING if now >= self._step_by:
                out += [Abort(self.epoch), *self._finish(now)]
            case _:
                pass
        return out

    def _tick_link(
        self, link: Link, fact: Tick, lag: float, now: float
    ) -> list[Output]:
        if lag > self.terms.liveness.stall_after:
            # What is sent on open gets the time that we stood still.
            self._step_by += lag
        if fact.epoch != link.epoch:
            # Evidence of another link is no evidence; the tick itself still counts.
            fact = Tick(link.epoch, Evidence(link.kernel), fact.suspended, fact.stalled)
        out: list[Output] = []
        if now >= link.deadline or fact.suspended or fact.stalled:
            out = self.conditions.learn(link.handle(fact, now=now))
            self.neighbour.tell(link)
        if link.found:
            return out + self._lose(link.found, now)
        if now >= self._step_by:
            late = Finding(cause=Cause.HANDSHAKE_TIMEOUT, evidence="on_open not sent")
            return out + self._lose(late, now)
        return out

    def _tick_dial(self, attempt: Attempt, fact: Tick, now: float) -> list[Output]:
        stall_after = self.terms.liveness.stall_after
        overdue = attempt.overdue(fact, stall_after=stall_after, now=now)
        if isinstance(overdue, DialFailed):
            return [Abort(self.epoch), *self._on_dial_failed(overdue, now)]
        return [] if overdue is None else [overdue]

    def _next_deadline(self) -> float:
        if (phase := self.phase) is OPEN or phase is SYNCING:
            assert self.link is not None
            due = min(self.link.deadline, self._step_by, self.handover.deadline)
        else:
            match phase:
                case Phase.CONNECTING:
                    assert self._attempt is not None
                    due = self._attempt.due_at
                case Phase.BACKOFF | Phase.DRAINING:
                    due = self._step_by
                case Phase.IDLE | Phase.CLOSED:
                    return inf
        return due if due < (slow_at := self.slow.due_at) else slow_at

    # --- the link's facts, and what the stream knows beside it ---------------------

    def _to_link(self, fact: LinkFact, now: float) -> list[Output]:
        link = self.link
        if link is None or fact.epoch != link.epoch:
            return []
        begun = type(fact) is Received and fact.data and self.phase is SYNCING
        # What is missing is missing before this data: the gap stands there.
        out = self._close_gap(now) if begun else []
        if type(fact) is Paused:
            # Both would have to be held back, and what comes between them kept.
            out = self.handover.drop("our own reader is behind", now=now)
        return out + self.conditions.learn(link.handle(fact, now=now))

    def _on_overflowed(self, fact: Overflowed, now: float) -> list[Output]:
        told = self.slow.overflowed(fact, epoch=self.epoch, now=now)
        out = self.conditions.learn(told)
        if fact.disconnect and self.phase in (Phase.SYNCING, Phase.OPEN):
            slow = Finding(cause=Cause.CLOSED_BY_US, evidence="slow consumer")
            out += [*self.handover.end(), *self._lose(slow, now)]
        return out
