"""Channels whose books the venue proves by checksums: believed, doubted, healed.

A checksum that does not agree is loss known for certain that no number told. The
channel is not live from then on, its state is asked for anew, and only a whole book
whose checksum agrees heals it. Doubts that come back wait longer and longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING

from .backoff import Backoff
from .orderbook import Changes, OrderBook
from .timers import Timers

if TYPE_CHECKING:
    from .lines import Line

DISPROVED = "its checksum does not agree"
STEADY = 30.0
"""Seconds for which a healed book must agree, or the next doubt follows upon the last.
"""
PATIENCE = Backoff(cap=60.0)
"""Before a channel is asked for anew whose doubts come back; the first is not waited
out."""


class Proof:
    """One channel's book, and what is held of it."""

    __slots__ = (
        *("agreed", "agreed_at", "book", "disagreed", "doubted"),
        *("failures", "fresh", "healed_at", "line", "name"),
    )

    def __init__(self, name: str, book: OrderBook) -> None:
        self.name = name
        self.book = book
        self.line: Line | None = None
        self.agreed = self.disagreed = 0
        """Checksums that agreed, and that did not."""
        self.agreed_at: float | None = None
        """When it was last known to be right, or at least whole."""
        self.fresh = False
        """A whole book came that no checksum has proven yet."""
        self.doubted = False
        self.failures = 0
        self.healed_at = -inf

    def take(self, changes: Changes, *, now: float) -> bool | None:
        """As `OrderBook.take`."""
        agrees = self.book.take(changes)
        if changes.whole:
            self.fresh = True
            self.agreed_at = now if self.agreed_at is None else self.agreed_at
        if agrees:
            self.agreed += 1
            self.agreed_at = now
        elif agrees is False:
            self.disagreed += 1
        return agrees

    def forget(self) -> None:
        """What comes is another book: that of a new link."""
        self.book.forget()
        self.agreed_at, self.fresh, self.doubted = None, False, False

    def heal(self, *, now: float) -> None:
        self.fresh = self.doubted = False
        self.healed_at = now

    def doubt(self, *, now: float) -> int:
        """Its checksum did not agree; how often that was in short succession."""
        if not self.doubted and now - self.healed_at >= STEADY:
            self.failures = 0
        self.failures += 1
        self.book.forget()
        self.fresh, self.doubted = False, True
        return self.failures


class Proofs:
    """All of one stream. Read `deadline`; `due` are those to be asked for anew."""

    def __init__(
        self,
        book_of: Callable[[str, int], OrderBook | None],
        *,
        draw: Callable[[], float],
    ) -> None:
        """`book_of`: an empty book for a channel under a rule, where it has one."""
        self._book_of = book_of
        self._draw = draw
        self._proofs: dict[str, Proof | None] = {}
        self._waiting = Timers[str]()

    @property
    def deadline(self) -> float:
        return self._waiting.next_at

    def __iter__(self) -> Iterator[Proof]:
        return iter([each for each in self._proofs.values() if each is not None])

    def of(self, channel: str | None, rule: int | None) -> Proof | None:
        """The proof of a channel that was asked for."""
        if channel is None or rule is None:
            return None
        if channel not in self._proofs:
            book = self._book_of(channel, rule)
            self._proofs[channel] = None if book is None else Proof(channel, book)
        return self._proofs[channel]

    def drop(self, channel: str) -> None:
        self._proofs.pop(channel, None)
        self._waiting.cancel(channel)

    def begin(self) -> None:
        """A new link: it sends all books anew."""
        self._waiting.clear()
        for proof in self:
            proof.forget()

    def doubt(self, proof: Proof, *, now: float) -> bool:
        """Its checksum did not agree; whether to ask for it at once, else it is `due`
        some time later."""
        failures = proof.doubt(now=now)
        if failures == 1:
            return True
        delay = PATIENCE.delay(failures - 1, draw=self._draw())
        self._waiting.set(proof.name, now + delay)
        return False

    def due(self, *, now: float) -> Iterator[Proof]:
        """Those whose patience is over."""
        while (name := self._waiting.pop(now=now)) is not None:
            proof = self._proofs.get(name)
            if proof is not None and proof.doubted:
                yield proof
