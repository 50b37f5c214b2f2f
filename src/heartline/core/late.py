"""Which channels are LATE, and the one condition that follows from all of them."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from .events import ConditionBegan, ConditionEnded
from .items import Condition
from .latency import LateChannel, MaxAge
from .offset import Age

Told = ConditionBegan | ConditionEnded


class LateChannels:
    """The late channels of one stream; the first begins the condition, the last
    ends it. None is what belongs to no channel by name."""

    def __init__(self, policy: MaxAge) -> None:
        self.policy = policy
        self._late: dict[str | None, LateChannel] = {}
        self._ages: dict[str | None, Age] = {}
        self._began_at = 0.0

    def __contains__(self, channel: str | None) -> bool:
        return channel in self._late

    def __len__(self) -> int:
        return len(self._late)

    def feed(
        self, channel: str | None, age: Age, *, now: float, epoch: int
    ) -> list[Told]:
        """A message of a channel was read that is late, or was a moment ago."""
        judged = self._late.get(channel) or LateChannel(self.policy)
        change = judged.feed(age, now=now)
        if change == "ended":
            return self.forget((channel,), now=now, epoch=epoch)
        if judged.late_since is None:
            return []
        self._ages[channel] = age
        if change is None:
            return []
        self._late[channel] = judged
        if len(self._late) > 1:
            return []
        self._began_at = now
        condition, detail = Condition.LATE, self.evidence
        return [ConditionBegan(at=now, epoch=epoch, condition=condition, detail=detail)]

    def forget(
        self, channels: Iterable[str | None], *, now: float, epoch: int
    ) -> list[Told]:
        """These are late no more, or nobody wants them any longer."""
        ended = [channel for channel in channels if channel in self._late]
        if not ended:
            return []
        for channel in ended:
            del self._late[channel], self._ages[channel]
        if self._late:
            return []
        after = now - self._began_at
        late = Condition.LATE
        return [ConditionEnded(at=now, epoch=epoch, condition=late, after=after)]

    def clear(self) -> None:
        """The link is gone, and with it what was late on it."""
        self._late.clear()
        self._ages.clear()

    @property
    def since_at(self) -> float | None:
        """When the condition began; None while it does not hold."""
        return self._began_at if self._late else None

    @property
    def evidence(self) -> str:
        """The channel that has been late for longest, and how many more there are."""
        for channel, age in self._ages.items():
            sure = "" if age.most == inf else f" (±{age.uncertainty:.2g} s)"
            told = (
                f"{channel or 'data'}: data {age.value:.2f} s old{sure}, "
                f"limit {self.policy.limit:g} s"
            )
            more = len(self._late) - 1
            return f"{told} (and {more} more)" if more else told
        return ""
