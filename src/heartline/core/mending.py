"""What follows when something is missing of a channel: how it is made whole again.

By a new subscription, a fetched snapshot or a new link, as the venue has it. None of
them is a loop: what does not help is tried again with growing patience.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Protocol

from .backoff import Backoff
from .channel_events import Redial
from .events import GapFound
from .gaps import Entry, Ledger
from .items import Cause, Gap
from .lines import Line
from .orderbook import Changes, OrderBook
from .proving import DISPROVED, Proof, Proofs
from .restoring import ChannelTrouble, FeedOutput, Restoring, Unrestored

LOST = "messages were lost that only a new link makes good"
UNREAD = "its levels of a book cannot be read"
CALM = 60.0
"""Seconds without such a loss after which the next is the first again."""
RELINK = Backoff(base=15.0, cap=600.0)
"""Before another link is made for a loss soon after the last; the first is at once."""


class Owner(Protocol):
    """Who holds the channels."""

    epoch: int
    ledger: Ledger
    restoring: Restoring
    troubles: dict[str, ChannelTrouble]

    def revive(self, channel: str, now: float) -> list[FeedOutput]:
        """Ask for one channel anew."""
        ...

    def take_malformed(self, reason: str, *, now: float) -> list[FeedOutput]:
        """Tell that a message breaks the venue's own rules."""
        ...

    def told(self, entry: Entry, channel: str | None, now: float) -> FeedOutput:
        """What is told of an entry in the ledger."""
        ...


class Mending:
    """All channels of one stream. Read `deadline`."""

    def __init__(
        self,
        owner: Owner,
        book_of: Callable[[str, int], OrderBook | None],
        *,
        draw: Callable[[], float],
    ) -> None:
        """`book_of`: an empty book for a channel under a rule, if that is proven."""
        self._owner = owner
        self._draw = draw
        self.proofs = Proofs(book_of, draw=draw)
        self._relinks = 0
        """Links made anew for losses that followed one another."""
        self._lost_at = -inf
        self._relink: tuple[float, str, str] | None = None
        """When the link is to be made anew, for which channel, and why."""

    @property
    def deadline(self) -> float:
        due = self.proofs.deadline
        return due if self._relink is None else min(due, self._relink[0])

    def begin(self) -> None:
        """A new link: what was to be done about the old one is done."""
        self._relink = None
        self.proofs.begin()

    def lost(self, line: Line, *, now: float) -> list[FeedOutput]:
        """The numbers showed that something is missing of a line."""
        if line.reconnect:
            return self._make_anew(line.name or "the connection", LOST, now)
        if line.resubscribe and line.name is not None:
            return self._owner.revive(line.name, now)
        return self._owner.restoring.jumped(line, now=now)

    def prove(
        self, line: Line, changes: Changes | None, number: object, *, now: float
    ) -> list[FeedOutput]:
        """Take what a message says of a line's book; None: it could not be read.

        `number` is the message's own, where it has one.
        """
        proof = line.proof
        assert proof is not None
        if changes is None:
            # If it mattered, the next checksum will not agree.
            return self._owner.take_malformed(UNREAD, now=now)
        agrees = proof.take(changes, now=now)
        if agrees is False:
            return self._doubt(line, proof, now)
        if not agrees or not proof.fresh:
            return []
        proof.heal(now=now)
        if isinstance(self._owner.troubles.get(proof.name), Unrestored):
            del self._owner.troubles[proof.name]
        last = number if isinstance(number, int) else None
        ledger, name = self._owner.ledger, proof.name
        entries = ledger.whole(name, last, now=now)
        line.wounded = bool(ledger.open_gaps(name))
        return [self._owner.told(entry, name, now) for entry in entries]

    def _doubt(self, line: Line, proof: Proof, now: float) -> list[FeedOutput]:
        owner, name = self._owner, proof.name
        from_at = now if proof.agreed_at is None else proof.agreed_at
        gap = Gap("checksum", from_at, now, owner.epoch, name)
        owner.ledger.doubt(gap)
        line.wounded, proof.line = True, line
        owner.troubles[name] = Unrestored(now, DISPROVED)
        at_once = self.proofs.doubt(proof, now=now)
        out: list[FeedOutput] = [GapFound(at=now, epoch=owner.epoch, gap=gap)]
        return out + self._mend(line, now) if at_once else out

    def _mend(self, line: Line, now: float) -> list[FeedOutput]:
        if line.reconnect:
            return self._make_anew(line.name or "", DISPROVED, now)
        return self.lost(line, now=now)

    def _make_anew(self, channel: str, why: str, now: float) -> list[FeedOutput]:
        """Give the link up: next, or later if that did not help a short time ago.

        Not in the middle of a read: what came with the loss is still to be passed on.
        """
        if now - self._lost_at >= CALM:
            self._relinks = 0
        self._lost_at = now
        if self._relink is not None:
            return []
        wait = 0.0
        if self._relinks:
            wait = RELINK.delay(self._relinks, draw=self._draw())
        self._relink = (now + wait, channel, why)
        return []

    def tick(self, *, now: float) -> list[FeedOutput]:
        """The deadline passed."""
        out: list[FeedOutput] = []
        for proof in self.proofs.due(now=now):
            if proof.line is not None:
                out += self._mend(proof.line, now)
        return out + self._due(now)

    def _due(self, now: float) -> list[FeedOutput]:
        if self._relink is None or now < self._relink[0]:
            return []
        (_, channel, why), self._relink = self._relink, None
        self._relinks += 1
        return [Redial(self._owner.epoch, channel, why, Cause.CLOSED_BY_US)]
