"""Which conditions hold beside the verdict, read from the events that tell them."""

from __future__ import annotations

from .events import ConditionBegan, ConditionEnded, Output
from .items import Condition

OF_A_LINK = (Condition.NO_PONG, Condition.PAUSED, Condition.LATE)
"""They end with their link; the consumer's slowness does not."""


class Conditions(dict[Condition, float]):
    """Since when each condition holds."""

    __slots__ = ()

    def learn(self, out: list[Output]) -> list[Output]:
        """Note what began and ended; `out` itself, for the caller to pass on."""
        for event in out:
            if isinstance(event, ConditionBegan):
                self[event.condition] = event.at
            elif isinstance(event, ConditionEnded):
                self.pop(event.condition, None)
        return out

    def end_link(self, *, epoch: int, now: float) -> list[Output]:
        """End those of a link that is gone."""
        return self.learn(
            [
                ConditionEnded(
                    at=now,
                    epoch=epoch,
                    condition=condition,
                    after=now - self[condition],
                )
                for condition in OF_A_LINK
                if condition in self
            ]
        )
