"""One session among its neighbours: what it asks of them, and what it tells them."""

from __future__ import annotations

from .link import Link
from .neighbours import Neighbours
from .terms import Dialling


class Neighbour:
    """The place of session `who`, which dials `host`."""

    __slots__ = ("_all", "_budget", "_doubts", "_host", "_who")

    def __init__(
        self, neighbours: Neighbours, dialling: Dialling, *, who: int, host: str
    ) -> None:
        self._all = neighbours
        self._budget = dialling.budget
        self._who = who
        self._host = host
        self._doubts = False
        """Whether they were told of a doubt that has not been taken back."""

    def reserve(self, now: float) -> float:
        """Take the next dial of the host; seconds to wait for it."""
        return self._all.reserve(self._host, budget=self._budget, now=now)

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
