"""What stays unanswered on a link that lives: pongs, and the declared heartbeat.

Told as a condition while data flows; blamed on the peer where no data comes either.
"""

from __future__ import annotations

from .beats import BeatClock
from .clocks import Clocks
from .diagnosis import Finding, heartbeat_unanswered
from .events import ConditionBegan, ConditionEnded, Output
from .items import Condition


class Unanswered:
    """Judges the answers of one link, which come beside its data or not at all."""

    __slots__ = ("_clocks", "_epoch", "_heartbeat")

    def __init__(self, epoch: int, *, clocks: Clocks, heartbeat: BeatClock) -> None:
        self._epoch = epoch
        self._clocks = clocks
        self._heartbeat = heartbeat

    def judge(self, *, now: float) -> list[Output]:
        """Begin the condition of data that flows beside missing answers."""
        out: list[Output] = []
        clocks, heartbeat = self._clocks, self._heartbeat
        if now >= clocks.no_pong_due():
            # A reason to stop asking, too.
            clocks.no_pong_at = now
            clocks.ask_anew(since_at=clocks.peer.frame_at)
            out.append(self._began("", now))
        ignored = heartbeat.is_ignored(data_at=clocks.channel.data_at, now=now)
        if ignored and clocks.no_pong_at is None:
            heartbeat.unanswered_at = now
            out.append(self._began("the declared heartbeat is not answered", now))
        return out

    def find(self, *, now: float) -> Finding | None:
        """Blame the peer for a heartbeat without answer and without data."""
        data_at = self._clocks.channel.data_at
        waited = self._heartbeat.unanswered_for(data_at=data_at, now=now)
        if waited is None or self._clocks.paused:
            return None
        return heartbeat_unanswered(waited)

    def pong(self, *, now: float) -> list[Output]:
        """End the condition, for something was answered."""
        began_at, self._clocks.no_pong_at = self._clocks.no_pong_at, None
        return [] if began_at is None else [self._ended(now - began_at, now)]

    def beat(self, *, now: float) -> list[Output]:
        """The same for the declared heartbeat."""
        began_at = self._heartbeat.unanswered_at
        self._heartbeat.unanswered_at = None
        return [] if began_at is None else [self._ended(now - began_at, now)]

    def _began(self, detail: str, now: float) -> Output:
        condition = Condition.NO_PONG
        return ConditionBegan(
            at=now, epoch=self._epoch, condition=condition, detail=detail
        )

    def _ended(self, after: float, now: float) -> Output:
        condition = Condition.NO_PONG
        return ConditionEnded(
            at=now, epoch=self._epoch, condition=condition, after=after
        )
