"""The fault lab as a proof: every row again and again, then the other libraries.

Writes results/lab.md, results/lab.json, and results/lab-trials.jsonl: every trial, one
a line, and what each of the other libraries told in each of theirs. A run of chosen
rows writes lab-again.* instead: the whole one is kept.
"""

from __future__ import annotations

import asyncio
import json
import time
from importlib.metadata import version
from typing import Any

import msgspec

from heartline.testing.lab import namespaces, rows
from heartline.testing.lab.outcome import Outcome
from heartline.testing.lab.report import markdown, seconds, table
from heartline.testing.lab.rows import Row
from heartline.testing.lab.series import Series, places
from heartline.testing.lab.tally import Line, broken, judged, line

from . import rivals
from .tree import RESULTS

HOW = """\
Every trial has a client, a router and a venue in network namespaces of their own; the
router drops, loses and forgets, the venue's process is stopped and killed. Times count
from the instant of the fault, or from what the table says, to the instant at which the
client's process was told. They are held against the bound published just before the
fault; only a stall of the client's own loop is added to it, and only as far as the
witness measured it too. `sent` is what the venue numbered: exactly what was delivered
and what lies where a gap was reported."""
BESIDE = """\
Median (maximum), and in how many of the trials it was told at all. All libraries of a
trial sit on one venue and meet the same fault at the same instant; heartline's column
is of the table above, where the same hands do the same. In `balancer` heartline has a
declared contract of 2 s; no other library has anything of the kind to declare."""
LIBRARIES = ("heartline", "picows", "websockets", "aiohttp")


def missing() -> list[str]:
    return namespaces.missing()


async def prove_lab(
    machine: dict[str, Any],
    *,
    repeats: int,
    seed: int,
    only: list[str],
    side_by_side: int | None,
    with_rivals: bool,
) -> list[str]:
    """Run it all and write it down; returns the broken promises, in words."""
    at_once = side_by_side or places()
    began_at = time.monotonic()
    unknown = [name for name in only if name not in rows.BY_NAME]
    if unknown:
        return [f"lab: there is no row {unknown[0]}"]
    chosen = [row for row in rows.ROWS if not only or row.name in only]
    skipped = {row.name: why for row in chosen if (why := row.missing()) is not None}
    tried = [row for row in chosen if row.name not in skipped]
    _announce(tried)
    outcomes = await _try(tried, repeats, seed, at_once)
    lines = [line(row, [it for it in outcomes if it.row == row.name]) for row in tried]
    found: list[rivals.Found] = []
    if with_rivals:
        named = set(only) or None
        found = await rivals.contest(
            repeats, seed=seed, side_by_side=2 * at_once, only=named
        )
    faults = broken(lines)
    faults += [f"rivals on {it.row}: {it.failed}" for it in found if it.failed]
    head = {
        "machine": machine | {"took_s": round(time.monotonic() - began_at)},
        "versions": versions(),
        "seed": seed,
        "repeats": repeats,
        "side_by_side": at_once,
    }
    _write(
        "lab-again" if only else "lab", head, lines, outcomes, skipped, found, faults
    )
    return faults


def _announce(tried: list[Row]) -> None:
    """Say before the runs what cannot be seen from the client, and why."""
    for row in tried:
        if row.unseen:
            _say(f"lab: {row.name}: the exact cause cannot be seen: {row.unseen}")


async def _try(
    tried: list[Row], repeats: int, seed: int, at_once: int
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    async with Series(
        tried, repeats=repeats, seed=seed, side_by_side=at_once
    ) as series:
        left = {row.name: repeats for row in tried}
        every = max(1, len(tried) * repeats // 20)
        async for outcome in series.outcomes():
            outcomes.append(outcome)
            if len(outcomes) % every == 0:
                # The rows go side by side and end late; a silence is no progress.
                _say(f"lab: {len(outcomes)} of {len(tried) * repeats} trials")
            left[outcome.row] -= 1
            if not left[outcome.row]:
                mine = [it for it in outcomes if it.row == outcome.row]
                _say(summary(line(rows.BY_NAME[outcome.row], mine)))
    return outcomes


def summary(one: Line) -> str:
    told = ", ".join(f"{cause} {count}" for cause, count in one.told.items())
    times = ""
    if one.after.count:
        middle, most = seconds(one.after.median_s), seconds(one.after.max_s)
        times = f", median {middle}, max {most}"
    kept = "kept" if not one.broken else "BROKEN: " + "; ".join(one.broken[:3])
    return f"lab: {one.row}: {told}{times}, {one.false_alarms} false alarms, {kept}"


# --- the comparison ---------------------------------------------------------------


def comparison(lines: list[Line], theirs: dict[str, dict[str, Any]]) -> str:
    """heartline beside the others, from this run and no other."""
    ours = {one.row: one for one in lines}
    head = ("fault", "heartline", "told", *rivals.LIBRARIES)
    body: list[list[str]] = []
    for row, libraries in theirs.items():
        one = ours.get(row)
        mine = ["", ""]
        if one is not None:
            share = f"{one.after.count} of {one.repeats}"
            mine = [
                f"{_pair(one.after.median_s, one.after.max_s)}, {share}",
                ", ".join(one.told),
            ]
        title = rows.BY_NAME[row].title
        body.append([f"`{row}` {title}", *mine, *map(_of, libraries.values())])
    return table(head, body)


def _of(figures: dict[str, Any]) -> str:
    told, trials = figures["told"], figures["trials"]
    if not told:
        return f"not in {rivals.GIVE_UP:g} s (0 of {trials})"
    return f"{_pair(figures['median_s'], figures['max_s'])}, {told} of {trials}"


def _pair(middle: float | None, most: float | None) -> str:
    return "" if middle is None else f"{seconds(middle)} ({seconds(most)})"


# --- writing it down --------------------------------------------------------------


def _write(
    name: str,
    head: dict[str, Any],
    lines: list[Line],
    outcomes: list[Outcome],
    skipped: dict[str, str],
    found: list[rivals.Found],
    faults: list[str],
) -> None:
    RESULTS.mkdir(exist_ok=True)
    whole = {
        **head,
        "broken": faults,
        "skipped": skipped,
        "lines": msgspec.to_builtins(lines),
        "rivals": rivals.compare(found),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
    each = [judged(rows.BY_NAME[it.row], it) for it in outcomes]
    trials = [*msgspec.to_builtins(each), *rivals.raw(found)]
    text_of_all = "".join(json.dumps(trial) + "\n" for trial in trials)
    (RESULTS / f"{name}-trials.jsonl").write_text(text_of_all)
    text = ["# Fault lab", "", f"Machine: {json.dumps(head)}", ""]
    text += [HOW, "", markdown(lines, skipped)]
    if found:
        text += [
            "### Other libraries, in the same run",
            "",
            BESIDE,
            "",
            comparison(lines, rivals.compare(found)),
            "",
        ]
    (RESULTS / f"{name}.md").write_text("\n".join(text))


def versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _say(text: str) -> None:
    print(text, flush=True)


def run(machine: dict[str, Any], **options: Any) -> list[str]:
    return asyncio.run(prove_lab(machine, **options))
