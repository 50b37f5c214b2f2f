"""A thousand streams of one process lose their path at once: done and counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from . import links
from .outcome import Outcome, add, settle
from .trial import PATIENCE, RHYTHM, TAIL, Trial

STREAMS = 1000
RATE = 1.0
"""Messages a second, each to every stream."""
OPENING = 60.0
POLL = 0.5


async def all_at_once(trial: Trial) -> Outcome:
    """Each stream has a venue's address of its own, or they would share its budget of
    dials and come back one a second."""
    client, venue = trial.stage.client, trial.stage.venue
    await client.ask("connect", {"streams": STREAMS})
    opened = await _until(trial, "open", within=OPENING)
    if not opened:
        raise OSError(f"{STREAMS} streams were not OPEN in {OPENING:g} s")
    await venue.ask("rate", {"rate": RATE})
    await trial.warm(RHYTHM)
    await client.ask("bounds", {})
    noted = await _until(trial, "noted", within=OPENING)
    trial.expect(noted, f"not all told their bound in {OPENING:g} s")
    trial.bound = (await _counts(trial))["bound"]
    await trial.strike(lambda: trial.stage.rules(links.BOTH), bound=trial.bound)
    assert trial.struck_at is not None
    assert trial.bound is not None
    told = await _until(trial, "lost", within=trial.bound + PATIENCE)
    trial.expect(told, f"not all were told within {trial.bound + PATIENCE:.1f} s")
    trial.heal()
    back = await _until(trial, "open", within=OPENING)
    trial.expect(back, f"not all were OPEN again in {OPENING:g} s")
    await asyncio.sleep(1.0)
    await venue.ask("rate", {"rate": 0.0})
    deadline = time.monotonic() + TAIL
    while (await _counts(trial))["last"] < trial.stage.sent:
        if time.monotonic() > deadline:
            trial.broken.append(f"the last message had not come {TAIL:g} s on")
            break
        await asyncio.sleep(POLL)
    report: dict[str, Any] = await client.ask("report", {})
    return _outcome(trial, report)


async def _counts(trial: Trial) -> dict[str, float]:
    since = {"since": trial.struck_at or 0.0}
    counts: dict[str, float] = await trial.stage.client.ask("counts", since)
    return counts


async def _until(trial: Trial, what: str, *, within: float) -> bool:
    deadline = time.monotonic() + within
    while (await _counts(trial))[what] < STREAMS:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL)
    return True


def _outcome(trial: Trial, report: dict[str, Any]) -> Outcome:
    struck_at, healed_at = trial.struck_at, trial.healed_at
    assert struck_at is not None
    assert healed_at is not None
    told: list[float] = []
    causes: Counter[tuple[str, str | None]] = Counter()
    alarms: list[str] = []
    back: list[float] = []
    over = 0
    worst_own = 0.0
    for one in report["streams"]:
        alarms += [f"Lost {cause}" for at, cause, _ in one["lost"] if at < struck_at]
        first = next((it for it in one["lost"] if it[0] >= struck_at), None)
        if first is not None:
            at, cause, where = first
            causes[cause, where] += 1
            told.append(round(at - struck_at, 4))
            own = _stood_still(report["stalls"], struck_at, at)
            worst_own = max(worst_own, own)
            over += at - struck_at > one["bound"] + own
        back += [at - healed_at for at in one["opened"] if at >= healed_at][:1]
    trial.expect(not over, f"{over} streams were told later than promised")
    trial.expect(
        len(causes) == 1 or {cause for cause, _ in causes} == {"PATH_DEAD"},
        f"told {dict(causes)}",
    )
    sent = trial.stage.sent
    account = add(settle(one["items"], sent) for one in report["streams"])
    trial.expect(account.adds_up, f"messages do not add up: {account}")
    (cause, where), _ = causes.most_common(1)[0] if causes else ((None, None), 0)
    return Outcome(
        row=trial.row,
        repeat=trial.repeat,
        told=cause,
        where=where,
        told_after_s=max(told, default=None),
        bound_s=trial.bound,
        own_stall_s=round(worst_own, 4),
        all_told_after_s=sorted(told),
        false_alarms=alarms,
        stalls=len(report["stalls"]),
        account=account,
        recovered_after_s=round(max(back), 4) if back else None,
        recovered_since="the fault was lifted, the last of all",
        attempts=sum(one["attempts"] for one in report["streams"]),
        figures={"streams": STREAMS, "told_local": causes["PATH_DEAD", "local"]},
        broken=trial.broken,
        took_s=round(time.monotonic() - trial.began_at, 2),
    )


def _stood_still(stalls: list[list[float]], since: float, until: float) -> float:
    """Seconds that the crowd's loop stood still in an interval."""
    return sum(
        max(0.0, min(ended, until) - max(began, since)) for began, ended in stalls
    )
