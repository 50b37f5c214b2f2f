"""A bounded buffer between a socket and a consumer, and what happens when it is full.

Pure: it holds batches and counts them. Whoever owns it stops reading when told to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, cast

from heartline.errors import UsageError

from .demands import demand_declared, demand_prompt
from .items import Gap, Item, Message, Status

KEPT_NOTES = 64
"""Undelivered notes with no message between them; more are merged into three."""

MANY = 64
"""Reads and notes that wait, from which on taking the first off a list costs."""


class Overflow(StrEnum):
    """What a full inbox does with one message more."""

    BLOCK = "block"
    DROP_OLDEST = "drop_oldest"
    CONFLATE = "conflate"
    DISCONNECT = "disconnect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """How much may wait for the consumer, and the policy beyond it.

    `block`: the socket is not read until half is consumed; PAUSED is told.
    `drop_oldest`: the oldest messages go, and a Gap stands in their place.
    `conflate`: beyond the limit only the latest message of each `key(message)` is
    kept; a Gap stands wherever others were replaced, so each that is kept may have one
    before it. Up to twice the limit may wait.
    `disconnect`: the link is given up and made anew; the messages stay, and what comes
    while the inbox is still full is dropped, with a Gap in its place.
    """

    limit: int = 65_536
    limit_bytes: int = 64 << 20
    policy: Overflow | str = Overflow.DROP_OLDEST
    key: Callable[[Message], Hashable] | None = None

    def __post_init__(self) -> None:
        demand_declared(self)
        try:
            object.__setattr__(self, "policy", Overflow(self.policy))
        except ValueError:
            wanted = "one of " + ", ".join(Overflow)
            raise UsageError("Inbox.policy", wanted=wanted, got=self.policy) from None
        for name in ("limit", "limit_bytes"):
            # Not `< 1`: that lets nan through, and nothing would ever be full.
            if not getattr(self, name) >= 1:
                raise UsageError(
                    f"Inbox.{name}", wanted="at least 1", got=getattr(self, name)
                )
        demand_prompt("Inbox.key", self.key)
        if (self.policy is Overflow.CONFLATE) != (self.key is not None):
            raise UsageError(
                "Inbox.key", wanted="a key exactly with policy conflate", got=self.key
            )


@dataclass(slots=True)
class _Run:
    """Messages that arrived in one read, with the bytes they had."""

    messages: list[Message]
    size_bytes: int


@dataclass(slots=True)
class _Hole:
    """Messages that were dropped here, one after the other."""

    missing: int
    from_at: float
    until_at: float
    epoch: int

    def add(self, other: _Hole) -> None:
        self.missing += other.missing
        if other.from_at < self.from_at:
            self.from_at = other.from_at
        if other.until_at > self.until_at:
            self.until_at = other.until_at
        if other.epoch > self.epoch:
            self.epoch = other.epoch

    def gap(self) -> Gap:
        return Gap(
            "overflow", self.from_at, self.until_at, self.epoch, missing=self.missing
        )


_Note: TypeAlias = Gap | Status | _Hole


class Buffer:
    """The inbox of one stream. Messages and notes keep their order."""

    __slots__ = (
        "_conflate_at",
        "_notes",
        "_runs",
        "delivered",
        "dropped",
        "gaps",
        "policy",
        "received",
        "received_bytes",
        "waiting",
        "waiting_bytes",
    )

    def __init__(self, policy: Inbox) -> None:
        self.policy = policy
        self.waiting = 0
        self.waiting_bytes = 0
        self.dropped = 0
        self.delivered = 0
        self.received = 0
        self.received_bytes = 0
        self.gaps = 0
        """Overflow gaps that were handed out."""
        self._runs: list[_Run | _Note] | deque[_Run | _Note] = []
        """A list of few: the least deque is several times as large."""
        self._notes = 0
        self._conflate_at = policy.limit

    @property
    def empty(self) -> bool:
        return not self._runs

    @property
    def full(self) -> bool:
        policy = self.policy
        return self.waiting > policy.limit or self.waiting_bytes > policy.limit_bytes

    @property
    def half_empty(self) -> bool:
        policy = self.policy
        few = self.waiting <= policy.limit // 2
        return few and self.waiting_bytes <= policy.limit_bytes // 2

    def put(self, messages: list[Message], size_bytes: int) -> int:
        """Take the messages of one read; how many left undelivered because of it.

        With `block` and `disconnect` the owner looks at `full` and acts.
        """
        if self.full and self.policy.policy is Overflow.DISCONNECT:
            self.received += len(messages)
            self.dropped += len(messages)
            self._append_hole(_hole(messages))
            return len(messages)
        self.received += len(messages)
        self.received_bytes += size_bytes
        self.waiting += len(messages)
        self.waiting_bytes += size_bytes
        self._append(_Run(messages, size_bytes))
        self._notes = 0
        if not self.full:
            return 0
        match Overflow(self.policy.policy):
            case Overflow.DROP_OLDEST:
                return self._drop_oldest()
            case Overflow.CONFLATE:
                return self._conflate()
            case Overflow.BLOCK | Overflow.DISCONNECT:
                return 0

    def note(self, item: Gap | Status) -> None:
        """Put a Gap or Status at its place; only too many in a row are merged."""
        last = self._runs[-1] if self._runs else None
        if (
            isinstance(item, Status)
            and isinstance(last, Status)
            and last.phase == item.phase
        ):
            self._runs[-1] = item
            return
        self._append(item)
        self._notes += 1
        if self._notes > KEPT_NOTES:
            notes: list[_Note] = []
            while self._runs and not isinstance(self._runs[-1], _Run):
                notes.append(cast(_Note, self._runs.pop()))
            merged = _merge(notes[::-1])
            self._runs.extend(merged)
            self._notes = len(merged)

    def take(self, most: int) -> list[Item]:
        """What waits longest, in order: whole reads, until `most` messages or more."""
        items: list[Item] = []
        taken = 0
        runs = self._runs
        while runs and taken < most:
            run = runs.popleft() if isinstance(runs, deque) else runs.pop(0)
            if isinstance(run, _Run):
                items += run.messages
                taken += len(run.messages)
                self.waiting_bytes -= run.size_bytes
            elif isinstance(run, _Hole):
                items.append(run.gap())
                self.gaps += 1
            else:
                items.append(run)
        self.waiting -= taken
        self.delivered += taken
        self._notes = min(self._notes, len(runs))
        if not runs:
            self._runs = []
        return items

    def _append(self, run: _Run | _Note) -> None:
        runs = self._runs
        runs.append(run)
        if len(runs) == MANY:
            self._runs = deque(runs)

    def _drop_oldest(self) -> int:
        """Drop whole reads until it fits; the notes among them stay, in order."""
        before = self.dropped
        kept: list[_Note] = []
        runs = self._runs
        if not isinstance(runs, deque):
            runs = self._runs = deque(runs)
        while self.full and runs:
            run = runs.popleft()
            if isinstance(run, _Hole):
                _add(kept, run)
                continue
            if not isinstance(run, _Run):
                kept.append(run)
                continue
            over = self.waiting - self.policy.limit
            if 0 < over < len(run.messages):
                share = run.size_bytes * over // len(run.messages)
                rest = _Run(run.messages[over:], run.size_bytes - share)
                runs.appendleft(rest)
                run = _Run(run.messages[:over], share)
            _add(kept, self._lose(run.messages, run.size_bytes))
        if len(kept) > KEPT_NOTES:
            kept = _merge(kept)
        runs.extendleft(reversed(kept))
        return self.dropped - before

    def _conflate(self) -> int:
        """Keep the latest message of each key, at the place of that latest one."""
        key = self.policy.key
        assert key is not None
        if self.waiting <= self._conflate_at and self.waiting_bytes <= (
            2 * self.policy.limit_bytes
        ):
            return 0
        before, told = self.dropped, 0
        seen: set[Hashable] = set()
        runs: list[_Run | _Note] = []
        for run in reversed(self._runs):
            if isinstance(run, _Run):
                if (
                    len(run.messages) == 1
                    and (name := key(run.messages[0])) not in seen
                ):
                    seen.add(name)
                    runs.append(run)
                else:
                    self._sift(run, key, seen, runs)
            elif isinstance(run, _Hole):
                _add(runs, run)
            else:
                runs.append(run)
                told += 1
        runs.reverse()
        # Holes are not counted: between two of them something is kept or told.
        self._runs = deque(runs if told <= KEPT_NOTES else _thinned(runs))
        # More keys than the limit allows: the memory is bounded all the same.
        if self.full:
            self._drop_oldest()
        # A pass costs as much as it holds, so the next one waits for as much again.
        self._conflate_at = max(self.policy.limit, 2 * self.waiting)
        return self.dropped - before

    def _sift(
        self,
        run: _Run,
        key: Callable[[Message], Hashable],
        seen: set[Hashable],
        runs: list[_Run | _Note],
    ) -> None:
        """Add to `runs`, newest first, what a read keeps and where it lost the rest."""
        messages, size_bytes = run.messages, run.size_bytes
        at = end = count = len(messages)
        keeps = True
        while at:
            name = key(messages[at - 1])
            if (name in seen) is keeps:
                if at < end:
                    share = size_bytes * end // count - size_bytes * at // count
                    if keeps:
                        runs.append(_Run(messages[at:end], share))
                    else:
                        _add(runs, self._lose(messages[at:end], share))
                end, keeps = at, not keeps
            seen.add(name)
            at -= 1
        if end < count:
            messages, size_bytes = messages[:end], size_bytes * end // count
        if not keeps:
            _add(runs, self._lose(messages, size_bytes))
        else:
            runs.append(run if end == count else _Run(messages, size_bytes))

    def _lose(self, messages: list[Message], size_bytes: int) -> _Hole:
        self.dropped += len(messages)
        self.waiting -= len(messages)
        self.waiting_bytes -= size_bytes
        return _hole(messages)

    def _append_hole(self, hole: _Hole) -> None:
        last = self._runs[-1] if self._runs else None
        if isinstance(last, _Hole):
            last.add(hole)
        else:
            self._append(hole)


def _hole(messages: list[Message]) -> _Hole:
    first, last = messages[0], messages[-1]
    return _Hole(len(messages), first.received_at, last.received_at, last.epoch)


def _add(notes: list[_Run | _Note] | list[_Note], hole: _Hole) -> None:
    """Let `hole` lie beside the last of `notes`; two side by side are one."""
    last = notes[-1] if notes else None
    if isinstance(last, _Hole):
        last.add(hole)
    else:
        notes.append(hole)


def _thinned(runs: list[_Run | _Note]) -> list[_Run | _Note]:
    """Where messages went, their notes may be many: each group of them is merged.

    Behind the last message there are none: it is the one that was put just now.
    """
    thinned: list[_Run | _Note] = []
    notes: list[_Note] = []
    for run in runs:
        if not isinstance(run, _Run):
            notes.append(run)
            continue
        thinned.extend(_merge(notes) if notes else ())
        notes = []
        thinned.append(run)
    return thinned


def _merge(notes: list[_Note]) -> list[_Note]:
    """The last Status, one Gap over all gaps, one hole: nothing lost is forgotten.

    What was dropped here stays apart: how many that were is known.
    """
    gaps = [note for note in notes if isinstance(note, Gap)]
    statuses: list[_Note] = [note for note in notes if isinstance(note, Status)]
    merged: list[_Note] = []
    if len(gaps) == 1:
        merged.append(gaps[0])
    elif gaps:
        counts = [gap.missing for gap in gaps]
        known = [count for count in counts if count is not None]
        merged.append(
            Gap(
                gaps[-1].reason,
                min(gap.from_at for gap in gaps),
                max(gap.until_at for gap in gaps),
                gaps[-1].epoch,
                missing=sum(known) if len(known) == len(counts) else None,
            )
        )
    for note in notes:
        if isinstance(note, _Hole):
            _add(merged, note)
    # What was lost after the last Status must not seem to lie before it.
    if isinstance(notes[-1], Status):
        return merged + statuses[-1:]
    return statuses[-1:] + merged
