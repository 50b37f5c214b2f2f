"""The demo's story: chapters, the table at the end, and what is going on meanwhile.

Pictures of values; who they are about and what they say is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal, TypeAlias

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from heartline.observe.words import duration

Tone: TypeAlias = Literal["done", "told", "plain", "bad"]

_STYLES: dict[Tone, str] = {
    "done": "yellow",
    "told": "cyan",
    "plain": "",
    "bad": "bold red",
}
MARGIN = 12
"""Columns before a line's text, for its time."""
NARROW = 100
"""Columns below which the table says less."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chapter; `after` is seconds since its beginning."""

    text: str
    after: float | None = None
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Chapter:
    name: str
    title: str
    lines: Sequence[Line]
    kept: bool | None
    """Whether every promise was kept; None if nothing was tried."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table; None is what does not apply."""

    name: str
    told: str
    after: float | None
    bound: float | None
    lost: int | None
    reported: int | None
    back_after: float | None
    kept: bool | None


def chapter(of: Chapter) -> RenderableType:
    """Draw one chapter: a heading, its lines with their times, and the verdict."""
    return _Page(of)


class _Page:
    """Waits with its layout until it is told how much room there is."""

    def __init__(self, of: Chapter) -> None:
        self.of = of

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        of, room = self.of, max(options.max_width - MARGIN, 20)
        yield Text.assemble((of.name, "bold"), "  ", (of.title, "dim"))
        for line in of.lines:
            when = "" if line.after is None else f"+{line.after:.2f} s"
            for nth, part in enumerate(wrap(line.text, room)):
                margin = (when if nth == 0 else "").rjust(MARGIN - 2) + "  "
                yield Text.assemble((margin, "dim"), (part, _STYLES[line.tone]))
        verdict = " " * MARGIN + _verdict(of.kept)
        yield Text(verdict + "\n", style=_verdict_style(of.kept))


def table(entries: Sequence[Entry], *, width: int) -> Table:
    """Draw all rows in at most `width` columns; 80 are enough."""
    wide = width >= NARROW
    if wide:
        drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    else:
        drawn = Table(box=None, padding=(0, 1, 0, 0), header_style="bold underline")
    drawn.add_column("fault", no_wrap=True)
    drawn.add_column("what was told")
    back = "back after" if wide else "back"
    for name in ("after", "bound", "lost", "reported", back):
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("promises" if wide else "", no_wrap=True)
    words = ("kept", "BROKEN", "skipped") if wide else ("✓", "✗", "-")
    for entry in entries:
        short = words[0 if entry.kept else 2 if entry.kept is None else 1]
        drawn.add_row(
            Text(entry.name),
            Text(entry.told),
            _seconds(entry.after),
            _seconds(entry.bound),
            _count(entry.lost),
            _count(entry.reported),
            _seconds(entry.back_after),
            Text(short, style=_verdict_style(entry.kept)),
        )
    return drawn


def progress(running: Mapping[str, float], *, done: int, of: int, now: float) -> Text:
    """What is under way and for how long; `running` holds the beginnings."""
    under_way = " · ".join(
        f"{name} {now - began_at:.0f}\N{NO-BREAK SPACE}s"
        for name, began_at in running.items()
    )
    return Text.assemble((f"{done} of {of} done", "bold"), "  ", (under_way, "dim"))


def _verdict(kept: bool | None) -> str:
    if kept is None:
        return "not tried on this system"
    return "✓ every promise kept" if kept else "✗ a promise was broken"


def _verdict_style(kept: bool | None) -> str:
    return {True: "green", False: "bold red", None: "dim"}[kept]


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"
