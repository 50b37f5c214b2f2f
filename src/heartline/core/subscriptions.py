"""Wanted and confirmed: which channels are asked for, and what came of it.

No venue syntax: a channel is an opaque string, a request a number. The driver turns
commands into frames, and frames into calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Literal

from .budget import Budget
from .channel_events import (
    AckIgnored,
    ChannelLive,
    ChannelOutput,
    Subscribe,
    SubscriptionFailed,
    Unsubscribe,
)
from .contracts import Beats, Freshness
from .requests import Request, Requests
from .subscribing import Ignored, Standing, Subscribing, Wanted
from .timers import Timers

__all__ = ("Beats", "Freshness", "Subscriptions")

_UNASKED = (None, Standing.WANTED)
"""How a channel stands that no answer can speak of."""


class Subscriptions:
    """The channels of one stream. Give it facts and the time; read `deadline`.

    What takes `now` returns what is to be sent and then what is to be told.
    """

    def __init__(self, policy: Subscribing, *, budget: Budget | None = None) -> None:
        self.policy = policy
        self.budget = budget or Budget()
        self.epoch = 0
        self.ignored = Ignored()
        self.counts = dict.fromkeys(Standing, 0)
        """How many wanted channels stand how."""
        self._open = False
        self._ignored_told = False
        self._told: list[ChannelOutput] = []
        self._wanted: dict[str, Wanted] = {}
        self._to_ask: dict[str, None] = {}
        self._to_leave: dict[str, None] = {}
        self._leaving: set[str] = set()
        """To be left, or being left: not to be asked for until that is answered."""
        self._list_anew = False
        """The next request is due though it asks for nothing new: some were dropped."""
        self._requests = Requests()
        self._timers = Timers[str]()

    @property
    def wanted(self) -> list[str]:
        return list(self._wanted)

    def standing(self, channel: str) -> Standing | None:
        """How `channel` stands; None if it is not wanted."""
        wanted = self._wanted.get(channel)
        return None if wanted is None else wanted.standing

    @property
    def settled(self) -> bool:
        """Whether every wanted channel has been answered: confirmed, live or failed."""
        return not self.counts[Standing.WANTED] and not self.counts[Standing.PENDING]

    @property
    def deadline(self) -> float:
        """When `tick` is wanted; inf if nothing is awaited."""
        due = min(self._timers.next_at, self._requests.next_at)
        return min(due, self.budget.free_at()) if self._may_send() else due

    def want(
        self, channels: Iterable[str], *, data_within: float | None = None, now: float
    ) -> list[ChannelOutput]:
        """Ask for channels; one that had failed is asked for again.

        `data_within`: seconds after its acknowledgement within which each must bring
        its first data; None where it may rightly be silent.
        """
        for name in channels:
            wanted = self._wanted.get(name)
            if wanted is None:
                wanted = self._wanted[name] = Wanted(name, data_within)
                self.counts[Standing.WANTED] += 1
            elif wanted.standing is not Standing.FAILED:
                continue
            wanted.attempts = 0
            self._ask(wanted)
        return self._send(now)

    def unwant(self, channels: Iterable[str], *, now: float) -> list[ChannelOutput]:
        """Ask for channels no more."""
        for name in channels:
            wanted = self._wanted.pop(name, None)
            if wanted is None:
                continue
            self.counts[wanted.standing] -= 1
            self._timers.cancel(name)
            self._to_ask.pop(name, None)
            if wanted.standing is not Standing.WANTED:
                self._leave(wanted)
        return self._send(now)

    def revive(
        self, channel: str, *, data_within: float, now: float
    ) -> list[ChannelOutput]:
        """End one channel's subscription and make it anew; no other is touched.

        It must bring data within `data_within` seconds of its acknowledgement. Nothing
        happens to a channel that is being asked for already.
        """
        wanted = self._wanted.get(channel)
        if wanted is None or wanted.standing in (Standing.WANTED, Standing.PENDING):
            return []
        wanted.attempts = 0
        wanted.patience = data_within
        self._start_over(wanted)
        return self._send(now)

    # --- what happens to the link -----------------------------------------------------

    def open(self, epoch: int, *, now: float) -> list[ChannelOutput]:
        """A link is there: ask for everything that is wanted."""
        self.close()
        self.epoch, self._open = epoch, True
        self.budget.begin()
        for wanted in self._wanted.values():
            self._ask(wanted)
        return self._send(now)

    def close(self) -> None:
        """The link is gone, and all that was asked on it."""
        self._open = self._ignored_told = self._list_anew = False
        for pending in (self._to_ask, self._to_leave, self._leaving, self._requests):
            pending.clear()
        self._timers.clear()
        for wanted in self._wanted.values():
            wanted.attempts, wanted.patience = 0, None
            self._move(wanted, Standing.WANTED)

    def tick(self, *, now: float) -> list[ChannelOutput]:
        """The deadline passed: send what may be sent now, give up what is overdue."""
        while (request := self._requests.overdue(now=now)) is not None:
            self._expire(request, now)
        while (name := self._timers.pop(now=now)) is not None:
            wanted = self._wanted[name]
            if wanted.standing is Standing.WANTED:
                self._ask(wanted)
            elif wanted.attempts >= self.policy.tries:
                self._fail(wanted, "no data after it was asked for", now)
            else:
                self._start_over(wanted)
        return self._send(now)

    # --- what the venue says ---------------------------------------------------------

    def acked(
        self,
        epoch: int,
        request: int | None,
        channels: Iterable[object] | None,
        *,
        of: Literal["subscribe", "unsubscribe"] = "subscribe",
        complete: bool = False,
        now: float,
    ) -> list[ChannelOutput]:
        """A request was answered. It confirms what it lists, of what was asked for.

        `request` is None where the answer does not repeat its number; `channels` where
        it lists none: then all of the request. `complete`: what it does not list of
        the request was refused in silence.
        """
        if epoch != self.epoch or not self._open:
            self.ignored.stale += 1
            return []
        leaves = of == "unsubscribe"
        found = self._requests.find(request, of=leaves, lists=channels is not None)
        if found is None and (request is not None or channels is None):
            self._ignore("it answers no open request", now)
            self.ignored.stray += 1
        elif found is not None and channels is None:
            for name in found.awaited:
                self._take(name, leaves, now)
            self._requests.drop(found, None)
        else:
            for listed in channels or ():
                self._take_listed(listed, found, leaves, now)
            if complete and found is not None and not leaves:
                for name in found.awaited:
                    self._refuse(name, "left out of the acknowledgement", now)
                self._requests.drop(found, None)
        return self._send(now)

    def refused(
        self,
        epoch: int,
        request: int | None,
        channels: Iterable[object] | None,
        *,
        reason: str,
        final: bool = False,
        now: float,
    ) -> list[ChannelOutput]:
        """A request was not taken, or some channels of it. `final`: nor ever will be.

        `request` and `channels` as in `acked`.
        """
        if epoch != self.epoch or not self._open:
            self.ignored.stale += 1
            return []
        found = self._requests.find(request, of=None, lists=channels is not None)
        if found is None and (request is not None or channels is None):
            self._ignore("it answers no open request", now)
            self.ignored.stray += 1
            return self._send(now)
        for name in found.awaited if found and channels is None else channels or ():
            if not isinstance(name, str):
                continue
            if found is not None and found.leaves and name in found.left:
                # What could not be left is not there: it can be asked for.
                self._take(name, True, now)
            elif self._was_asked(name, found, False):
                self._refuse(name, reason, now, final=final)
        if found is not None and channels is None:
            self._requests.drop(found, None)
        return self._send(now)

    def data(self, channel: str, *, now: float) -> list[ChannelOutput]:
        """Data of a channel came. Call it until it is LIVE; later it is nothing."""
        wanted = self._wanted.get(channel)
        if wanted is None or wanted.standing is Standing.LIVE:
            return []
        if channel in self._leaving or not wanted.attempts:
            # It belongs to the subscription that is being ended.
            return []
        self._to_ask.pop(channel, None)
        wanted.attempts, wanted.patience = 0, None
        self._move(wanted, Standing.LIVE)
        live = ChannelLive(
            at=now,
            epoch=self.epoch,
            channel=channel,
            after=now - wanted.asked_at,
            acknowledged=wanted.acknowledged,
        )
        return [live]

    def _was_asked(self, name: str, found: Request | None, leaves: bool) -> bool:
        """Whether an answer may speak of this channel."""
        if found is not None:
            return found.left.get(name, False)
        if leaves:
            return name in self._leaving and name not in self._to_leave
        return self.standing(name) is Standing.PENDING

    def _take_listed(
        self, name: object, found: Request | None, leaves: bool, now: float
    ) -> None:
        if isinstance(name, str) and self._was_asked(name, found, leaves):
            self._take(name, leaves, now)
        elif isinstance(name, str) and found is not None and name in found.left:
            self._requests.drop(found, name)
        elif not isinstance(name, str) or self.standing(name) in _UNASKED:
            self.ignored.unasked += 1
            self._ignore("it lists what was not asked for", now)

    def _take(self, name: str, leaves: bool, now: float) -> None:
        """A channel was taken, or left, as it was asked for."""
        self._requests.answer(name, leaves=leaves)
        if leaves:
            self._left(name)
            return
        wanted = self._wanted[name]
        wanted.acknowledged = True
        if wanted.standing is Standing.PENDING:
            self._move(wanted, Standing.CONFIRMED)
            self._await_data(wanted, now)

    def _refuse(
        self, name: str, reason: str, now: float, *, final: bool = False
    ) -> None:
        self._requests.answer(name, leaves=False)
        wanted = self._wanted[name]
        if wanted.standing is not Standing.PENDING:
            # It has brought data: whatever the answer means, it is subscribed.
            return
        if final or wanted.attempts >= self.policy.tries:
            self._fail(wanted, reason, now)
            return
        self._move(wanted, Standing.WANTED)
        pause = self.policy.retry_after * 2.0 ** (wanted.attempts - 1)
        self._timers.set(wanted.name, now + pause)

    def _fail(self, wanted: Wanted, reason: str, now: float) -> None:
        self._move(wanted, Standing.FAILED)
        epoch, name, attempts = self.epoch, wanted.name, wanted.attempts
        failed = SubscriptionFailed(
            at=now, epoch=epoch, channel=name, reason=reason, attempts=attempts
        )
        self._told.append(failed)

    def _expire(self, request: Request, now: float) -> None:
        for name in request.awaited:
            if request.leaves:
                self._left(name)
            else:
                self._refuse(name, "not acknowledged", now)

    def _ignore(self, reason: str, now: float) -> None:
        if not self._ignored_told:
            self._ignored_told = True
            self._told.append(AckIgnored(at=now, epoch=self.epoch, reason=reason))

    # --- requests --------------------------------------------------------------------

    def _ask(self, wanted: Wanted) -> None:
        self._move(wanted, Standing.WANTED)
        if self._open and wanted.name not in self._leaving:
            self._to_ask[wanted.name] = None

    def _start_over(self, wanted: Wanted) -> None:
        self._leave(wanted)
        self._ask(wanted)

    def _leave(self, wanted: Wanted) -> None:
        self._requests.withdraw(wanted.name)
        if self.policy.replaces:
            self._list_anew = True
        elif self._open and self.policy.unsubscribes:
            self._to_leave[wanted.name] = None
            self._leaving.add(wanted.name)

    def _left(self, name: str) -> None:
        self._leaving.discard(name)
        wanted = self._wanted.get(name)
        if wanted is not None and wanted.standing is Standing.WANTED:
            self._ask(wanted)

    def _may_send(self) -> bool:
        due = self._to_ask or self._to_leave or self._list_anew
        return bool(due) and len(self._requests) < self.policy.in_flight and self._open

    def _send(self, now: float) -> list[ChannelOutput]:
        """As many requests as may go now, and what there is to tell."""
        out: list[ChannelOutput] = []
        while self._may_send() and now >= self.budget.free_at():
            leaves = bool(self._to_leave)
            names = self._next_names(leaves)
            if not names:
                continue
            number = self._requests.next_number()
            self.budget.spend(now=now)
            command = Unsubscribe if leaves else Subscribe
            out.append(command(self.epoch, number, names))
            if self.policy.acks:
                self._await_answer(number, names, leaves, now)
            for name in names:
                self._asked(name, leaves, now)
        told, self._told = self._told, []
        return out + told

    def _await_answer(
        self, number: int, names: tuple[str, ...], leaves: bool, now: float
    ) -> None:
        if not leaves:
            names = tuple(n for n in names if self.standing(n) is Standing.WANTED)
        if names:
            due_at = now + self.policy.ack_within
            self._requests.add(number, names, leaves=leaves, due_at=due_at)

    def _next_names(self, leaves: bool) -> tuple[str, ...]:
        if self.policy.replaces:
            self._to_ask.clear()
            self._list_anew = False
            return tuple(
                name
                for name, wanted in self._wanted.items()
                if wanted.standing is not Standing.FAILED
            )
        queue = self._to_leave if leaves else self._to_ask
        names = tuple(islice(queue, self.policy.channels))
        for name in names:
            del queue[name]
        return names

    def _asked(self, name: str, leaves: bool, now: float) -> None:
        if leaves:
            if not self.policy.acks:
                self._left(name)
            return
        wanted = self._wanted[name]
        if wanted.standing is not Standing.WANTED:
            return
        wanted.attempts += 1
        wanted.asked_at = now
        wanted.acknowledged = False
        self._move(wanted, Standing.PENDING)
        if not self.policy.acks:
            self._move(wanted, Standing.CONFIRMED)
            self._await_data(wanted, now)

    # --- standings and timers --------------------------------------------------------

    def _move(self, wanted: Wanted, standing: Standing) -> None:
        self.counts[wanted.standing] -= 1
        self.counts[standing] += 1
        wanted.standing = standing
        self._timers.cancel(wanted.name)

    def _await_data(self, wanted: Wanted, now: float) -> None:
        within = wanted.data_within if wanted.patience is None else wanted.patience
        if within is not None:
            self._timers.set(wanted.name, now + within)
