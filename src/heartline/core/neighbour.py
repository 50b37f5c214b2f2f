"""One session among its neighbours: what it asks of them, and what it tells them."""

from __future__ import annotations

from .link import Link
from .neighbours import Neighbours
from .terms import Dialling


class Neighbour:
    """The place of session `who`, which dials `host`."""

    __slots__ = ("_all", "_budget", "_dials_at", "_doubts", "_host", "_who")

    def __init__(
        self, neighbours: Neighbours, dialling: Dialling, *, who: int, host: str
    ) -> None:
        self._all = neighbours
        self._budget = dialling.budget
        self._who = who
        self._host = host
        self._dials_at = 0.0
        self._doubts = False
        """Whether they were told of a doubt that has not been taken back."""

    def reserve(self, now: float) -> float:
        """Take the next dial of the host; seconds to wait for it."""
        wait = self._all.reserve(self._host, budget=self._budget, now=now)
        self._dials_at = now + wait
        return wait

    def leave(self, *, unspent: bool) -> None:
        """The session has ended; `unspent`: the dial it took last was not made."""
        self.clear()
        if unspent:
            self.give_back(self._dials_at)

    def give_back(self, dials_at: float) -> None:
        """The dial that was reserved for then is not made."""
        self._all.give_back(self._host, dials_at)

    def tell(self, link: Link) -> None:
        """Let the other sessions know of a doubt, and of its end."""
        ladder = link.path.ladder
        if ladder is None and not self._doubts:
            return
        self._doubts = ladder is not None
        doubted_at = ladder.began_at if ladder else None
        self._all.watch(self._who, self._host, doubted_at=doubted_at)

    def shares_death(self, *, now: float) -> bool:
        """Whether links to other hosts are in doubt as well: it is our own path."""
        return self._all.shared(self._who, now=now)

    def clear(self) -> None:
        self._all.clear(self._who)
