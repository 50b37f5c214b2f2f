"""One direction of a simulated path: delay, jitter, loss, and being dead."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import exp
from typing import Any

from .sim_clock import Clock


class Way:
    """One direction of a path. Dials may be turned at any moment.

    `disturbed` is called before the way begins or ceases to carry.
    """

    __slots__ = (
        "_clock",
        "_dead",
        "_disturbed",
        "_gauss",
        "_last_at",
        "_random",
        "delay",
        "jitter",
        "loss",
    )

    def __init__(
        self, clock: Clock, dice: random.Random, disturbed: Callable[[], None]
    ) -> None:
        self.delay = 0.010
        self.jitter = 0.0
        """Median of a log-normal extra delay (sigma 1), seconds; order is kept."""
        self.loss = 0.0
        self._dead = False
        self._clock = clock
        self._random = dice.random
        self._gauss = dice.gauss
        self._disturbed = disturbed
        self._last_at = 0.0

    @property
    def dead(self) -> bool:
        return self._dead

    @dead.setter
    def dead(self, dead: bool) -> None:
        self._disturbed()
        self._dead = dead

    def arrival(self, sent_at: float) -> float | None:
        """When what is sent at `sent_at` arrives; None if it never does."""
        if self._dead or (self.loss and self._random() < self.loss):
            return None
        at = sent_at + self.delay
        if self.jitter:
            at += self.jitter * exp(self._gauss(0.0, 1.0))
        if at < self._last_at:
            at = self._last_at
        self._last_at = at
        return at

    def carry(self, packet: object, arrive: Callable[[Any], None]) -> None:
        at = self.arrival(self._clock.now)
        if at is not None:
            self._clock.at(at, arrive, packet)
