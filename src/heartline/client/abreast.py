"""Two links of a plain URL at once: one delivers, the other is to take its place."""

from __future__ import annotations

from heartline.core.gaps import Ledger
from heartline.core.items import Gap, Message
from heartline.core.meeting import Meeting


class Abreast:
    """The overlap of the links `old` and `new`, from the dial of the new one on: it is
    sent what the old one brings before we know that it was accepted. `close` bounds
    the end of the old one.

    Of a plain URL nothing says which messages belong together but what is in them.
    """

    def __init__(
        self, old: int, new: int, *, overlap: float, close: float, now: float
    ) -> None:
        self.old, self.new = old, new
        self.both = True
        """Whether both links live."""
        self._meeting = Meeting[Message](overlap=overlap, now=now)
        self._close = close
        self._closed_at = now

    def opened(self, *, now: float) -> None:
        """The new link was accepted."""
        self._meeting.opened(now=now)

    def read(self, epoch: int, messages: list[Message], *, now: float) -> list[Message]:
        """The messages of one read of one link that the consumer is to be given."""
        meeting = self._meeting
        if epoch == self.new:
            passed: list[Message] = []
            for each in messages:
                data = each.data
                passed += meeting.new(hash(data), each, size_bytes=len(data), now=now)
            return passed
        for each in messages:
            meeting.old(hash(each.data), now=now)
        return messages

    def answered(self, epoch: int, *, asked_at: float) -> None:
        if epoch == self.old:
            self._meeting.answered(asked_at=asked_at)

    def complete(self, *, now: float) -> bool:
        """Whether the new link may take over, and nothing is lost or doubled."""
        meeting = self._meeting
        return self.both and meeting.due(now=now) and meeting.met(now=now) is not None

    def over(self, *, now: float) -> bool:
        """Whether the old link is gone, and the new one brings nothing double."""
        return now >= self._closed_at and self._meeting.over(now=now)

    def take_over(
        self, ledger: Ledger, *, now: float
    ) -> tuple[list[Message], Gap | None]:
        """What the new link had held, and what may be missing before that."""
        held, met = self._meeting.take_over(now=now)
        self.both, self._closed_at = False, now + self._close
        if met:
            return held, None
        ledger.lose_link(self.old, heard_at=self._meeting.began_at)
        return held, ledger.regain_link(now=now)
