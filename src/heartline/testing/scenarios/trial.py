"""One stream through one fault: the promises are checked here, and the story kept."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from heartline.client import Stream, connect
from heartline.core.events import (
    BackingOff,
    ConditionBegan,
    Connected,
    DialLost,
    Doubted,
    Lost,
    Stalled,
    Surrendered,
)
from heartline.core.items import Cause, Phase, Status, Where
from heartline.observe.words import duration, in_words

from .account import Account
from .outcome import Beat, Outcome, Who
from .witness import Witness

RATE = 50.0
"""Messages a second of the venue."""
WARM_UP = 1.5
RHYTHM = 6.5
"""Seconds after which a link has learned the rhythm of its data (5 s, with slack)."""
AFTERWARDS = 0.7
"""Seconds of ordinary life that are watched after a recovery."""
TOLD_AT_ONCE = 0.1
"""What ends by a word is told within this, seconds; so is a deadline that passed."""
DIAL_TAKES = 0.5
"""A dial to this machine, with slack; what the announced wait may be exceeded by."""
PATIENCE = 3.0
"""A promise is waited for this much longer than it allows, to say how late it was."""

Suspend = Callable[[float], Awaitable[float]]
"""Stop this process for so many seconds; the instant at which it was let go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excuse:
    """An interval, and what may be said of the stream in it: the fault explains it."""

    from_at: float
    until_at: float
    causes: frozenset[Cause]
    doubt: bool


class Trial:
    """Collects what is told of one fault, and checks it.

    A scenario connects (`streaming`), makes the fault (`strike`), waits for what must
    be told, and ends with `outcome`. Every check that fails is a broken promise.
    """

    def __init__(self, fault: str, title: str) -> None:
        self.fault = fault
        self.title = title
        self.witness = Witness()
        self.story: list[Beat] = []
        self.broken: list[str] = []
        self.figures: dict[str, float] = {}
        self.struck_at = math.nan
        self.cause: Cause | None = None
        self.where: str | None = None
        self.status: int | None = None
        self.told_after: float | None = None
        self.bound: float | None = None
        self.since = ""
        self.evidence = ""
        self.recovered_after: float | None = None
        self.recovered_since = ""
        self.attempts = 0
        self.link_kept = False
        """The scenario has seen that the link outlived the fault."""
        self._excuses: list[Excuse] = []

    # --- the stream --------------------------------------------------------------

    @asynccontextmanager
    async def streaming(self, url: str, **options: Any) -> AsyncGenerator[Stream, None]:
        """A stream under `connect`'s defaults but for `options`, read all the time.

        On exit it is closed and read to its end.
        """
        witness = self.witness
        stream = connect(url, on_event=witness.event, **options)
        meter = asyncio.create_task(witness.watch_loop())
        try:
            async with stream:
                reader = asyncio.create_task(witness.read(stream))
                try:
                    yield stream
                    self.attempts += stream.status.counts.attempts
                    await stream.aclose()
                    await reader
                finally:
                    reader.cancel()
        finally:
            meter.cancel()

    async def settle_in(self, stream: Stream, seconds: float) -> None:
        """Wait until the stream is live, then let it live so long."""
        await stream.wait_live(timeout=10.0)
        await asyncio.sleep(seconds)

    # --- the story ---------------------------------------------------------------

    def strike(self, text: str) -> float:
        """The fault begins now."""
        self.struck_at = time.monotonic()
        self.tell("fault", text, at=self.struck_at)
        return self.struck_at

    def tell(self, who: Who, text: str, *, at: float | None = None) -> None:
        after = None if at is None else max(0.0, at - self.struck_at)
        self.story.append(Beat(who, text, after))

    def expect(self, kept: bool, promise: str) -> None:
        if not kept:
            self.broken.append(promise)

    # --- what must be told -------------------------------------------------------

    async def loss(
        self,
        cause: Cause,
        *,
        bound: float,
        status: int | None = None,
        last_sign: Callable[[], float] | None = None,
        since: str = "the fault",
    ) -> float | None:
        """The link must be told lost, for this cause and within the bound; when.

        `last_sign` tells when signs of life really stopped, where that is not the
        moment of the fault.
        """
        witness, struck_at = self.witness, self.struck_at
        self.bound, self.since = bound, since
        seen = await witness.first(Lost, since=struck_at, within=bound + PATIENCE)
        if seen is None:
            self.expect(False, f"nothing was told {bound + PATIENCE:.1f} s on")
            return None
        at, lost = seen
        began_at = struck_at if last_sign is None else max(struck_at, last_sign())
        self._blame(lost.cause, lost.where, lost.status, lost.evidence or lost.reason)
        self._tell_doubt(struck_at)
        self.told(at, began_at)
        self.right(cause, status)
        return at

    async def dial_loss(
        self, cause: Cause, *, began_at: float, bound: float, status: int | None = None
    ) -> float | None:
        """An attempt must be told failed, for this cause and within the bound; when."""
        self.bound, self.since = bound, "the start of the attempt"
        within = bound + PATIENCE
        seen = await self.witness.first(DialLost, since=began_at, within=within)
        if seen is None:
            self.expect(False, f"nothing was told {within:.1f} s on")
            return None
        at, lost = seen
        self._blame(lost.cause, lost.where, lost.status, lost.reason)
        self.told(at, began_at)
        self.right(cause, status)
        return at

    def told(self, at: float, began_at: float) -> None:
        """It was told at that instant; check it against the bound.

        A stall of our own in between extends the bound by its length, and says so.
        """
        assert self.bound is not None
        if self.cause is not Cause.SELF_STALLED:
            held_up = self.witness.held_up(began_at, at)
            if held_up:
                self.figures["own_stall_s"] = held_up
                self.bound += held_up
        self.told_after = at - began_at
        if self.since == "the last data":
            self.figures["told_after_fault_s"] = at - self.struck_at
        code = "" if self.status is None else f" {self.status}"
        ways = "both ways" if self.where == Where.BOTH else self.where
        where = "" if ways is None else f" ({ways})"
        after = f"{duration(self.told_after)} after {self.since}"
        promised = f"promised within {duration(self.bound)}"
        self.tell("stream", f"{self.cause}{code}{where}, {after}; {promised}", at=at)
        if self.evidence:
            self.tell("stream", self.evidence)
        self.expect(
            self.told_after <= self.bound,
            f"told {duration(self.told_after)} after {self.since}, {promised}",
        )

    def right(self, cause: Cause, status: int | None = None) -> None:
        """The right thing must have been blamed."""
        wanted = f"{cause}" if status is None else f"{cause} {status}"
        got = f"{self.cause}" if self.status is None else f"{self.cause} {self.status}"
        matches = self.cause is cause and (status is None or self.status == status)
        self.expect(matches, f"wanted {wanted}, was told {got}")

    async def recovery(
        self, stream: Stream, *, since_at: float, since: str, limit: float
    ) -> float:
        """The stream must be OPEN and live again, `limit` seconds from `since_at` on.

        Then it is watched a little longer. Returns when it was OPEN.
        """
        self.recovered_since = since
        left = since_at + limit + PATIENCE - time.monotonic()
        seen = await self.witness.first(Connected, since=since_at, within=left)
        if seen is None:
            self.expect(False, f"not back {limit + PATIENCE:.1f} s after {since}")
            return math.inf
        at, connected = seen
        self.recovered_after = at - since_at
        back = f"OPEN again, {duration(self.recovered_after)} after {since}"
        self.tell("stream", f"{back}; attempt {connected.attempt}", at=at)
        self.expect(
            self.recovered_after <= limit,
            f"back {duration(self.recovered_after)} after {since}, wanted within "
            f"{duration(limit)}",
        )
        await asyncio.sleep(AFTERWARDS)
        self.expect(stream.status.live, "the stream is not live after its recovery")
        return at

    def announced_wait(self, since_at: float) -> float:
        """How long the stream said it would wait before it dials again."""
        seen = self.witness.past(BackingOff, since=since_at)
        return 0.0 if seen is None else seen[1].delay

    def left_to_wait(self, status: Status) -> float:
        """How long from now on, as the stream says at this moment."""
        if status.retry_at is None:
            return 0.0
        return max(0.0, status.retry_at - time.monotonic())

    def excuse(self, *causes: Cause, until_at: float, doubt: bool = True) -> None:
        """From the fault until then these causes, and doubts, are no false alarm."""
        self._excuses.append(
            Excuse(
                from_at=self.struck_at,
                until_at=until_at,
                causes=frozenset(causes),
                doubt=doubt,
            )
        )

    # --- the end -----------------------------------------------------------------

    def outcome(self) -> Outcome:
        """Add up; to be called when the stream has been read to its end."""
        alarms = self.false_alarms()
        self.broken += [f"false alarm: {alarm}" for alarm in alarms]
        account = self.witness.account()
        self._count(account)
        for promise in self.broken:
            self.tell("broken", promise)
        cause = self.cause
        rounded = {name: round(value, 4) for name, value in self.figures.items()}
        return Outcome(
            fault=self.fault,
            title=self.title,
            cause=None if cause is None else cause.value,
            where=self.where,
            status=self.status,
            told_after_s=_rounded(self.told_after),
            bound_s=_rounded(self.bound),
            since=self.since,
            false_alarm=bool(alarms),
            delivered=account.delivered,
            lost=account.lost,
            reported_lost=account.reported_lost,
            duplicates=account.duplicates,
            disordered=account.disordered,
            recovered_after_s=_rounded(self.recovered_after),
            recovered_since=self.recovered_since,
            attempts=self.attempts,
            conditions=self.conditions(),
            evidence=self.evidence,
            figures=rounded,
            broken=self.broken,
            ok=not self.broken,
            story=self.story,
        )

    def conditions(self) -> list[str]:
        began = [event.condition for _, event in self.witness.every(ConditionBegan)]
        return sorted({condition.value for condition in began})

    def false_alarms(self) -> list[str]:
        """All that was called dead, doubtful or stalled without the fault's doing."""
        alarms: list[str] = []
        for at, event in self.witness.events:
            match event:
                case Lost() | DialLost() if not self._excused(at, event.cause):
                    alarms.append(in_words(event))
                case Surrendered():
                    alarms.append(in_words(event))
                case _:
                    pass
        for status in self.witness.statuses:
            if status.phase is not Phase.OPEN or status.live:
                continue
            if not self._excused(status.at, status.cause):
                alarms.append(in_words(status))
        return alarms

    def _excused(self, at: float, cause: Cause | None) -> bool:
        if cause is Cause.SELF_STALLED and self._stall_was_real(at):
            return True
        return any(
            excuse.from_at <= at <= excuse.until_at
            and (excuse.doubt if cause is None else cause in excuse.causes)
            for excuse in self._excuses
        )

    def _stall_was_real(self, at: float) -> bool:
        """Our own measurement says so too: then it is the truth, whoever stalled us."""
        stalls = [when for when, _ in self.witness.every(Stalled)]
        return any(
            when - 0.01 <= at <= when + 1.0 and self.witness.stood_still(when)
            for when in stalls
        )

    def _count(self, account: Account) -> None:
        lost, told = account.lost, account.reported_lost
        self.expect(account.delivered > 0, "no message was delivered at all")
        self.expect(lost == told, f"{lost} messages lost, {told} of them reported")
        self.expect(not account.duplicates, f"{account.duplicates} delivered twice")
        self.expect(not account.disordered, f"{account.disordered} out of order")
        self.broken += account.misstated
        if not account.adds_up:
            return
        link = "the link was kept; " if self.link_kept else ""
        if not lost:
            plural = "" if account.delivered == 1 else "s"
            counted = f"nothing lost of {account.delivered:,} message{plural}"
        else:
            counted = f"{lost:,} lost, every one inside a reported gap"
        self.tell("ledger", link + counted)

    def _blame(
        self, cause: Cause, where: str | None, status: int | None, evidence: str
    ) -> None:
        self.cause, self.where = cause, where
        self.status, self.evidence = status, evidence

    def _tell_doubt(self, since: float) -> None:
        doubted = self.witness.past(Doubted, since=since)
        if doubted is not None:
            self.tell("stream", in_words(doubted[1]), at=doubted[0])


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
