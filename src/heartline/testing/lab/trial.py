"""One row, once: what the acts use to strike, to wait for what is told, and to heal."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from . import links
from .outcome import Account, Outcome, settle
from .stage import Stage

RATE = 50.0
"""Messages a second of the venue."""
FEW = 5
"""Messages on an idle link, at its beginning and at its end."""
WARM_UP = (1.0, 2.0)
RHYTHM = (6.0, 8.5)
"""Seconds before the fault, drawn for each trial: a link learns its rhythm in 5."""
AT_ONCE = 0.1
"""What ends by a word is told within this, seconds; so is a deadline that passed."""
PATIENCE = 8.0
"""A promise is waited for this much longer than it allows, to say how late it was."""
RETURN = 30.0
"""Longest time from the end of a fault to a stream that is OPEN again."""
AFTERWARDS = 0.7
TAIL = 5.0
"""Longest time for the last message to arrive when all is well."""
ASK_AT_MOST = 8.0
ALARMS = ("Lost", "DialLost", "ChannelStalled", "Surrendered")
ENDS = ("Lost", "DialLost")
LATE = 0.05

Told: TypeAlias = dict[str, Any]
"""An event as the client's process reports it; `told_at` is when it was told."""


class Trial:
    """What happens in one trial, and what is to be said of it."""

    def __init__(self, row: str, repeat: int, stage: Stage, *, seed: int) -> None:
        self.stage = stage
        self.dice = random.Random(seed)
        self.row, self.repeat = row, repeat
        self.began_at = time.monotonic()
        self.struck_at: float | None = None
        self.since_at: float | None = None
        """What the time to be told is counted from."""
        self.since = "the fault"
        self.healed_at: float | None = None
        self.recovered_at: float | None = None
        self.recovered_since = ""
        self.bound: float | None = None
        self.told: Told | None = None
        self.figures: dict[str, float] = {}
        self.broken: list[str] = []
        self.idle = False
        self.excused_silence: float | None = None
        """A loss told after this long without a message is no false alarm; None: all
        are."""

    # --- before the fault ---------------------------------------------------------

    async def connect(self, **options: Any) -> None:
        if self.stage.pem is not None:
            options["certificate"] = self.stage.pem
        options = {"url": self.stage.url, **options}
        await self.stage.client.ask("connect", options)

    async def live(self, *, rate: float = RATE, **options: Any) -> None:
        """Connect; the venue begins to number its messages when the stream is OPEN."""
        await self.connect(**options)
        opened = await self.event("Connected", since=self.began_at, within=15.0)
        if opened is None:
            raise OSError("the stream was not OPEN in 15 s, before anything was done")
        await self.begin(rate)

    async def begin(self, rate: float = RATE) -> None:
        """Let the venue speak."""
        self.idle = rate == 0
        if self.idle:
            await self.stage.venue.ask("burst", {"messages": FEW})
        else:
            await self.stage.venue.ask("rate", {"rate": rate})

    async def warm(self, span: tuple[float, float]) -> None:
        await asyncio.sleep(self.dice.uniform(*span))

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = await self.stage.client.ask("status", {})
        return status

    # --- the fault ----------------------------------------------------------------

    async def strike(
        self,
        hand: Callable[[], Awaitable[object] | None],
        *,
        bound: str | float | None = None,
    ) -> None:
        """Do it now. `bound` names what is published now, or is a number itself."""
        if isinstance(bound, str):
            self.bound = (await self.status())[bound]
        else:
            self.bound = bound
        self.struck_at = self.since_at = time.monotonic()
        doing = hand()
        if doing is not None:
            await doing

    async def event(self, *kinds: str, since: float, within: float) -> Told | None:
        """The first of these events from `since` on; None if there is none in time."""
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            wanted = {"events": kinds, "since": since, "within": min(left, ASK_AT_MOST)}
            if (told := await self.stage.client.ask("wait", wanted)) is not None:
                found: Told = told
                return found
        return None

    async def loss(self, *kinds: str) -> Told | None:
        """Wait for what must be told; `Lost`, if nothing else is named."""
        assert self.struck_at is not None
        within = (self.bound or 0.0) + PATIENCE
        self.told = await self.event(
            *(kinds or ("Lost",)), since=self.struck_at, within=within
        )
        if self.told is None:
            self.broken.append(f"nothing was told {within:.1f} s on")
        return self.told

    async def count_from(self, sign: str) -> None:
        """Signs of life went on after the fault; the time runs from the last of them.

        `sign` is "data" that the client read, or "segment" that its kernel took. To be
        asked before anything is healed.
        """
        assert self.struck_at is not None
        heard_at = (await self.stage.client.ask("heard", {}))[sign]
        self.since_at = max(self.struck_at, heard_at)
        self.since = f"the last {sign}"
        self.figures["signs_after_fault_s"] = self.since_at - self.struck_at

    # --- after it -----------------------------------------------------------------

    def heal(self) -> None:
        """Take every fault off the router."""
        self.stage.rules(links.heal())
        self.healed()

    def healed(self) -> None:
        self.healed_at = time.monotonic()

    async def recovery(self, *, since: str = "the fault was lifted") -> None:
        """The stream must come back by itself, and stay."""
        if self.told is None:
            return
        from_at = max(self.told["told_at"], self.struck_at or 0.0)
        back = await self.event("Connected", since=from_at, within=RETURN)
        if back is None:
            self.broken.append(f"not OPEN again {RETURN:g} s on")
            return
        self.recovered_at = back["told_at"]
        self.recovered_since = since
        await asyncio.sleep(AFTERWARDS)

    async def flows_again(self) -> None:
        """Wait for what the venue sends from now on, on whatever link.

        What was lost last may be resent as late from now as it was silent until now.
        To end the trial meanwhile would leave its silence without an end, and what a
        dead link took with it without a message behind it: nobody could be right. As
        long as the bound allows may pass, and then as long as a return may take.
        """
        sent, status = self.stage.sent, await self.status()
        within = max(status["path"], status["peer"]) + RETURN
        deadline = time.monotonic() + within
        while (await self.stage.client.ask("last", {}))["last"] <= sent:
            if time.monotonic() > deadline:
                self.broken.append(f"no message of now had come {within:.1f} s on")
                return
            await asyncio.sleep(0.05)

    async def finish(self) -> Outcome:
        """Let the venue fall silent, count, and judge."""
        await self._last_words()
        report: dict[str, Any] = await self.stage.client.ask("report", {})
        excused = [loss for loss in _of(report, "Lost") if self._excuses(loss, report)]
        if self.told is None and excused:
            self.told = excused[0]
            self.figures["outages_told"] = len(excused)
        account = settle(report["items"], self.stage.sent)
        self._add_figures(report)
        told, counts = self.told, report["counts"]
        after, stalled = self._told_after(report)
        if not account.adds_up:
            self.broken.append(f"messages do not add up: {account}")
        alarms = self.alarms(report)
        return Outcome(
            row=self.row,
            repeat=self.repeat,
            told=None if told is None else _cause(told),
            where=None if told is None else told.get("where"),
            status=None if told is None else told.get("status"),
            evidence="" if told is None else told.get("evidence", ""),
            told_after_s=after,
            bound_s=self.bound,
            since=self.since,
            own_stall_s=stalled,
            false_alarms=alarms,
            doubts=self._doubts(report),
            stalls=len(_of(report, "Stalled")),
            account=account,
            recovered_after_s=self._recovered_after(),
            recovered_since=self.recovered_since,
            attempts=counts["attempts"],
            pings=counts["pings"],
            conditions=sorted({e["condition"] for e in _of(report, "ConditionBegan")}),
            figures={name: round(value, 4) for name, value in self.figures.items()},
            broken=self.broken,
            took_s=round(time.monotonic() - self.began_at, 2),
        )

    def expect(self, kept: bool, promise: str) -> None:
        if not kept:
            self.broken.append(promise)

    # --- figures ------------------------------------------------------------------

    async def _last_words(self) -> None:
        venue, client = self.stage.venue, self.stage.client
        await venue.ask("rate", {"rate": 0.0})
        if self.idle:
            await venue.ask("burst", {"messages": FEW})
        deadline = time.monotonic() + TAIL
        while (await client.ask("last", {}))["last"] < self.stage.sent:
            if time.monotonic() > deadline:
                self.broken.append(f"the last message had not come {TAIL:g} s on")
                return
            await asyncio.sleep(0.05)

    def _told_after(self, report: dict[str, Any]) -> tuple[float | None, float]:
        """Seconds to be told, and how long our own loop stood still in them."""
        if self.told is None or self.since_at is None:
            return None, 0.0
        told_at = self.told["told_at"]
        after = told_at - self.since_at
        stalled = sum(
            event["lag"]
            for event in _of(report, "Stalled")
            if self.since_at <= event["told_at"] <= told_at
            and event["told_at"] != told_at
            and stood_still(report, event["told_at"])
        )
        if self.bound is not None and after > self.bound + stalled:
            self.broken.append(f"told {after:.3f} s on, promised {self.bound:.3f} s")
        return round(after, 4), round(stalled, 4)

    def _recovered_after(self) -> float | None:
        if self.recovered_at is None or self.healed_at is None:
            return None
        return round(max(0.0, self.recovered_at - self.healed_at), 4)

    def alarms(self, report: dict[str, Any]) -> list[str]:
        """All that was called dead or stalled without the fault's doing."""
        until = self.recovered_at or self.healed_at or report["ended_at"]
        found: list[str] = []
        for event in report["events"]:
            at = event["told_at"]
            explained = (
                self.struck_at is not None
                and self.told is not None
                and self.struck_at <= at <= until
            )
            if at >= report["ended_at"]:
                continue
            explained = explained or self._excuses(event, report)
            if event["event"] in ALARMS and not explained:
                found.append(f"{event['event']} {_cause(event)} {_words(event)}")
            if event["event"] == "Stalled" and not stood_still(report, at):
                found.append(f"a stall of {event['lag']:.3f} s that was none")
        return found

    def _excuses(self, event: Told, report: dict[str, Any]) -> bool:
        """Whether that long nothing had come when the loss was told, as we saw it."""
        if self.excused_silence is None or event["event"] not in ENDS:
            return False
        at = event["told_at"]
        return any(
            began + self.excused_silence <= at <= ended
            for began, ended in report["silences"]
        )

    def _doubts(self, report: dict[str, Any]) -> int:
        until = self.struck_at or report["ended_at"]
        return sum(event["told_at"] < until for event in _of(report, "Doubted"))

    def _add_figures(self, report: dict[str, Any]) -> None:
        for name in ("written_bytes", "outbox_full", "clock_steps"):
            if report[name]:
                self.figures[name] = report[name]
        if (over := over_bound(report)) > 0:
            self.figures["over_bound_s"] = over
            self.broken.append(f"a silence went on {over:.3f} s beyond its bound")
        self.figures["memory_bytes"] = report["memory_bytes"]


def stood_still(report: dict[str, Any], at: float) -> bool:
    """Whether the witness's own measure says that the loop had just been late."""
    return any(began - LATE <= at <= ended + LATE for began, ended in report["stalls"])


def over_bound(report: dict[str, Any]) -> float:
    """Most seconds that a silence went on untold beyond the bound; 0.0 if none did.

    Of the bounds that were published as the witness read its last message before the
    silence; a stall of the loop is added. 0.0 where nobody noted the bounds.
    """
    bounds, most = report["bounds"], 0.0
    ends = [event["told_at"] for event in report["events"] if event["event"] in ENDS]
    for began, ended in report["silences"]:
        # A bound is published from one instant to the next, and we looked between.
        seen = [bound for at, bound in bounds if at <= began - LATE][-1:]
        seen += [bound for at, bound in bounds if abs(at - began) < LATE]
        if not seen:
            continue
        told_at = min((at for at in ends if began <= at <= ended), default=ended)
        own = sum(
            max(0.0, min(until, told_at) - max(since, began))
            for since, until in report["stalls"]
        )
        most = max(most, told_at - began - max(seen) - own)
    return most


def _of(report: dict[str, Any], kind: str) -> list[Told]:
    return [event for event in report["events"] if event["event"] == kind]


def _cause(event: Told) -> str:
    if event["event"] == "Stalled":
        return "SELF_STALLED"
    if event["event"] == "ChannelStalled":
        return "CHANNEL_STALLED"
    return str(event.get("cause", event["event"]))


def _words(event: Told) -> str:
    return str(event.get("evidence") or event.get("reason") or "")


def empty(row: str, repeat: int, why: str, *, took: float) -> Outcome:
    """The outcome of a trial that came to no end of its own."""
    return Outcome(
        row=row, repeat=repeat, failed=why, account=Account(), took_s=round(took, 2)
    )
