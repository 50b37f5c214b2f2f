"""`heartline lab`: faults on networks of our own, many times; for root on Linux."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from heartline.cli.running import Exit, fail, leave_stdout, run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from heartline.testing.lab.outcome import Outcome
    from heartline.testing.lab.rows import Row
    from heartline.testing.lab.series import Series
    from heartline.testing.lab.tally import Line

PAINT_EVERY = 0.5
PIPE_WIDTH = 140
SEED = 20261122
MOST_REPEATS = 10_000
COLUMNS = ("fault", "told", "median", "max", "bound", "lost", "back", "")


def lab(
    faults: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FAULT]...", help="Only these; all of them if none."),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=MOST_REPEATS, help="Trials of each fault."
        ),
    ] = 3,
    side_by_side: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=256, help="Trials at once; by default 6 a core."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Draws the instants of the faults.")
    ] = SEED,
    json: Annotated[
        bool, typer.Option("--json", help="Write JSON, one object a trial.")
    ] = False,
    names: Annotated[
        bool, typer.Option("--list", help="Only say which faults there are.")
    ] = False,
) -> None:
    """Try a stream in network namespaces against real faults, and count.

    Each trial has a client, a router and a venue of its own, which are processes and
    networks of this machine; nothing leaves it, and nothing of it stays. Paths are cut
    in the router, packets are lost and overtaken, a NAT forgets, venues freeze. What is
    told, and how soon, is held against the bound that was published just before: the
    exit status is 1 if any promise was broken. Needs root on Linux, `ip` and nftables;
    else it says what is missing, and the exit status is 2.

    With --json, `told_after_s` is counted from what `since` says, and `account` adds
    up if `sent` is `delivered` and `reported_lost`.
    """
    from heartline.testing.lab.namespaces import missing
    from heartline.testing.lab.rows import BY_NAME, ROWS

    if names:
        try:
            print("\n".join(f"{row.name:18}{row.title}" for row in ROWS), flush=True)
        except BrokenPipeError:
            leave_stdout()
        return
    unknown = [fault for fault in faults or () if fault not in BY_NAME]
    if unknown:
        wanted = ", ".join(BY_NAME)
        raise typer.BadParameter(f"FAULT: wanted {wanted}; got {unknown[0]}")
    if lacks := missing():
        fail("the lab needs " + "; and ".join(lacks), Exit.USAGE)
    chosen = [row for row in ROWS if not faults or row.name in faults]
    skipped = {row.name: why for row in chosen if (why := row.missing()) is not None}
    rows = [row for row in chosen if row.name not in skipped]
    run(partial(_show, rows, skipped, repeats, side_by_side, seed, json=json))


async def _show(
    rows: Sequence[Row],
    skipped: dict[str, str],
    repeats: int,
    side_by_side: int | None,
    seed: int,
    *,
    json: bool,
) -> None:
    from heartline.testing.lab.series import Series, places
    from heartline.testing.lab.tally import broken, line

    at_once = side_by_side or places()
    began_at = time.monotonic()
    outcomes: list[Outcome] = []
    try:
        async with Series(
            rows, repeats=repeats, seed=seed, side_by_side=at_once
        ) as series:
            show = _write if json else partial(_tell, repeats=repeats)
            await show(series, outcomes)
        lines = [
            line(row, [it for it in outcomes if it.row == row.name]) for row in rows
        ]
        found = broken(lines)
        if json:
            for name, why in skipped.items():
                print(msgspec.json.encode({"row": name, "skipped": why}).decode())
        else:
            _console().print(_table(lines))
            for name, why in skipped.items():
                print(f"not tried: {name}: {why}")
            for words in found:
                print(f"broken: {words}")
            print(closing_words(lines, found, time.monotonic() - began_at))
    except BrokenPipeError:
        leave_stdout()
        return
    if found:
        raise typer.Exit(Exit.GAVE_UP)


async def _write(series: Series, outcomes: list[Outcome]) -> None:
    from heartline.testing.lab.rows import BY_NAME
    from heartline.testing.lab.tally import judged

    async for outcome in series.outcomes():
        outcomes.append(outcome)
        whole = judged(BY_NAME[outcome.row], outcome)
        print(msgspec.json.encode(whole).decode(), flush=True)


async def _tell(series: Series, outcomes: list[Outcome], *, repeats: int) -> None:
    console = _console()
    plural = "" if series.size == 1 else "s"
    console.print(f"{series.size} trial{plural} in namespaces of this machine.\n")
    async with _meanwhile(console, series, outcomes):
        async for outcome in series.outcomes():
            outcomes.append(outcome)


def _console() -> Console:
    from heartline.ui.page import Page

    return Page(pipe_width=PIPE_WIDTH)


@asynccontextmanager
async def _meanwhile(
    console: Console, series: Series, outcomes: list[Outcome]
) -> AsyncGenerator[None, None]:
    """On a terminal, keep a last line that says what is under way."""
    if not console.is_terminal:
        yield
        return
    from rich.live import Live

    async def paint(live: Live) -> None:
        while True:
            under_way = ", ".join(sorted(series.running))
            done = f"{len(outcomes)} of {series.size} done; under way: {under_way}"
            live.update(done[: console.width - 1], refresh=True)
            await asyncio.sleep(PAINT_EVERY)

    with Live(console=console, auto_refresh=False, transient=True) as live:
        painter = asyncio.create_task(paint(live))
        try:
            yield
        finally:
            painter.cancel()


def _table(lines: Sequence[Line]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from heartline.testing.lab.report import seconds

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in COLUMNS:
        table.add_column(heading, no_wrap=True)
    for one in lines:
        kept = "[red]broken[/]" if one.broken else "[green]kept[/]"
        table.add_row(
            one.row,
            _told(one),
            seconds(one.after.median_s),
            seconds(one.after.max_s),
            seconds(one.bound_s),
            _lost(one),
            seconds(one.recovery.median_s),
            kept,
        )
    return table


def _told(one: Line) -> str:
    """The cause, if there is but one; else how often each."""
    if len(one.told) == 1:
        return next(iter(one.told))
    return ", ".join(f"{cause} {count}" for cause, count in one.told.items())


def _lost(one: Line) -> str:
    """How many messages, all of them reported, or how many were not."""
    silent = one.account.unreported_lost
    return f"{one.account.reported_lost:,}" + (f" +{silent:,} SILENTLY" * bool(silent))


def closing_words(lines: Sequence[Line], found: Sequence[str], took: float) -> str:
    """Sum up what was tried and what was kept."""
    from heartline.testing.lab.tally import right_share

    trials = sum(one.repeats for one in lines)
    alarms = sum(one.false_alarms for one in lines)
    share = right_share(lines)
    named = "" if share is None else f", {share:.1%} of the faults rightly named"
    if found:
        kept = f"Promises were broken {len(found)} times in {trials} trials"
    else:
        kept = f"Every promise was kept in {trials} trials"
    return f"{kept}: {alarms} false alarms{named}. {took:.0f} s."
