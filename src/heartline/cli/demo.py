"""`heartline demo`: every fault, made on this machine, and what is told of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from heartline.cli.running import Exit, leave_stdout, run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from heartline.testing.scenarios import Outcome, SideBySide
    from heartline.ui.story import Chapter, Entry, Tone

PAINT_EVERY = 0.25
PIPE_WIDTH = 100
"""Columns where the output is no terminal."""
TO_THE_MINUTE = 10
"""More faults than this take about a minute, fewer take less."""
NO_NEWS = "nothing"


def demo(
    json: Annotated[
        bool,
        typer.Option("--json", help="Write JSON, one object a fault, and no story."),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help="Only this fault, by its name in the table. May be repeated.",
        ),
    ] = None,
) -> None:
    """Make every fault on this machine, and show what a stream tells of it.

    Nothing is sent over the network. Each fault has a venue and a stream of its own,
    under the defaults; only hang, dns, refuse and flap are given shorter deadlines for
    a dial, so that they are over soon. What is told, and how soon, is held against what
    was promised: the exit status is 1 if any promise was broken.

    With --json, `cause` is what was told, `told_after_s` is counted from what `since`
    says, `lost` is what the venue numbered and the stream did not deliver, and
    `reported_lost` what of it lies inside a reported gap. A fault that this system
    cannot make is `skipped`, with the reason.
    """
    from heartline.testing.scenarios import FAULTS

    unknown = [fault for fault in only or () if fault not in FAULTS]
    if unknown:
        wanted = ", ".join(FAULTS)
        raise typer.BadParameter(f"--only: wanted {wanted}; got {unknown[0]}")
    faults = tuple(fault for fault in FAULTS if not only or fault in only)
    run(partial(_show, faults, json=json))


async def _show(faults: Sequence[str], *, json: bool) -> None:
    from heartline.testing.scenarios import TITLES, SideBySide

    try:
        async with SideBySide(faults, TITLES) as trials:
            outcomes = await (_write(trials) if json else _tell(trials, len(faults)))
    except BrokenPipeError:
        leave_stdout()
        return
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(Exit.GAVE_UP)


async def _write(trials: SideBySide) -> list[Outcome]:
    """One line of JSON for each outcome, as soon as those before it are written."""
    outcomes: list[Outcome] = []
    async for outcome in trials.outcomes():
        outcomes.append(outcome)
        print(json_line(outcome), flush=True)
    return outcomes


def json_line(outcome: Outcome) -> str:
    """All of an outcome but its story."""
    fields = msgspec.structs.asdict(outcome)
    del fields["story"]
    return msgspec.json.encode(fields).decode()


async def _tell(trials: SideBySide, faults: int) -> list[Outcome]:
    """The story as it unfolds, then the table and the sum."""
    from heartline.ui.page import Page
    from heartline.ui.story import NARROW, chapter, table

    console = Page(pipe_width=PIPE_WIDTH)
    began_at = time.monotonic()
    console.print(_opening(faults), style="bold")
    console.print("Each has a venue of its own on this machine; no network is used.\n")
    outcomes: list[Outcome] = []
    async with _meanwhile(trials, console, faults):
        async for outcome in trials.outcomes():
            outcomes.append(outcome)
            console.print(chapter(chapter_of(outcome)))
    console.print(table([entry_of(it) for it in outcomes], width=console.width))
    if console.width < NARROW:
        console.print()
    took = time.monotonic() - began_at
    good = all(outcome.ok for outcome in outcomes)
    console.print(closing_words(outcomes, took), style="green" if good else "red")
    return outcomes


def _opening(faults: int) -> str:
    if faults == 1:
        return "One fault, made on purpose, and what a stream tells of it."
    takes = "about a minute" if faults > TO_THE_MINUTE else "less than a minute"
    return (
        f"{faults} faults, made on purpose, and what a stream tells of each: {takes}."
    )


@asynccontextmanager
async def _meanwhile(
    trials: SideBySide, console: Console, faults: int
) -> AsyncGenerator[None, None]:
    """On a terminal, keep a last line that says what is under way."""
    if not console.is_terminal:
        yield
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as live:
        painter = asyncio.create_task(_paint(trials, live, faults))
        try:
            yield
        finally:
            painter.cancel()


async def _paint(trials: SideBySide, live: Live, faults: int) -> None:
    from heartline.ui.story import progress

    while True:
        picture = progress(
            trials.running, done=len(trials.done), of=faults, now=time.monotonic()
        )
        live.update(picture, refresh=True)
        await asyncio.sleep(PAINT_EVERY)


# --- outcomes as the story has them -----------------------------------------------


def chapter_of(outcome: Outcome) -> Chapter:
    """What a chapter shows of an outcome."""
    from heartline.ui.story import Chapter, Line

    tones: dict[str, Tone] = {"fault": "done", "stream": "told", "broken": "bad"}
    lines = [
        Line(beat.text, beat.after_s, tones.get(beat.who, "plain"))
        for beat in outcome.story
    ]
    if outcome.skipped is not None:
        lines.append(Line(outcome.skipped))
    return Chapter(outcome.fault, outcome.title, lines, _kept(outcome))


def entry_of(outcome: Outcome) -> Entry:
    """What the table shows of an outcome."""
    from heartline.ui.story import Entry

    if outcome.skipped is not None:
        return Entry(outcome.fault, "", None, None, None, None, None, None)
    code = "" if outcome.status is None else f" {outcome.status}"
    told = f"{outcome.cause}{code}" if outcome.cause else ", ".join(outcome.conditions)
    return Entry(
        name=outcome.fault,
        told=told or NO_NEWS,
        after=outcome.told_after_s,
        bound=outcome.bound_s,
        lost=outcome.lost,
        reported=outcome.reported_lost,
        back_after=outcome.recovered_after_s,
        kept=_kept(outcome),
    )


def _kept(outcome: Outcome) -> bool | None:
    return None if outcome.skipped is not None else outcome.ok


def closing_words(outcomes: Sequence[Outcome], took: float) -> str:
    """Sum up: what was kept, what was broken, what was not tried."""
    skipped = [outcome.fault for outcome in outcomes if outcome.skipped is not None]
    broken = [outcome.fault for outcome in outcomes if not outcome.ok]
    tried = len(outcomes) - len(skipped)
    if broken:
        words = (
            f"Promises were broken in {len(broken)} of {tried}: {', '.join(broken)}."
        )
    else:
        lost = sum(outcome.lost for outcome in outcomes)
        plural = "" if tried == 1 else "s"
        words = (
            f"Every promise was kept: {tried} fault{plural}, no false alarm, "
            f"{_lost_words(lost)}."
        )
    if skipped:
        words += f" Not tried here: {', '.join(skipped)}."
    return f"{words} {took:.0f} s."


def _lost_words(lost: int) -> str:
    match lost:
        case 0:
            return "no message lost"
        case 1:
            return "1 message lost and reported"
        case _:
            return f"{lost:,} messages lost and every one reported"
