"""The audit of a recording as a table: a row for each channel, by the room there is.

Pictures of values; what they mean is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from heartline.observe.words import duration, one_line

WIDE = 110
"""Columns from which rule, resets and skew are shown as well."""

Tone: TypeAlias = Literal["bad", "doubtful", "plain"]

_STYLES: dict[Tone, str] = {"bad": "bold red", "doubtful": "yellow", "plain": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One channel. `lost`: how many messages, in words; empty for none. Seconds, None
    where nothing was stamped."""

    channel: str
    rule: str
    messages: int
    gaps: int
    lost: str
    duplicated: int
    disordered: int
    resets: int
    silence: float
    median: float | None
    p99: float | None
    skew: float | None
    tone: Tone = "plain"


def table(rows: Sequence[Row], *, width: int) -> Table:
    """Draw all rows in at most `width` columns; 80 are enough."""
    wide = width >= WIDE
    if wide:
        drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    else:
        drawn = Table(box=None, pad_edge=False, header_style="bold underline")
    drawn.padding = (0, 1, 0, 0)
    # A name is cut at no place that a reader could foresee: it goes on below.
    drawn.add_column("channel", overflow="fold", min_width=20)
    if wide:
        drawn.add_column("numbers", no_wrap=True)
    names = ["messages" if wide else "msgs", "gaps", "lost", "twice", "late"]
    names += ["resets"] if wide else []
    names += ["silence", "age p50", "p99"]
    names += ["skew"] if wide else []
    for name in names:
        drawn.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*_cells(row, wide=wide))
    return drawn


def _cells(row: Row, *, wide: bool) -> list[Text]:
    style = _STYLES[row.tone]
    cells = [Text(one_line(row.channel), style=style)]
    if wide:
        cells.append(Text(row.rule, style="" if row.rule else "dim"))
    cells += [
        Text(f"{row.messages:,}"),
        _count(row.gaps, "yellow"),
        Text(row.lost or "·", style="bold red" if row.lost else "dim"),
        _count(row.duplicated, "yellow"),
        _count(row.disordered, "yellow"),
    ]
    if wide:
        cells.append(_count(row.resets, "yellow"))
    cells += [_unbroken(duration(row.silence)), _delay(row.median), _delay(row.p99)]
    if wide:
        cells.append(_delay(row.skew))
    return cells


def _count(count: int, style: str) -> Text:
    return Text(f"{count:,}", style=style) if count else Text("·", style="dim")


def _delay(seconds: float | None) -> Text:
    if seconds is None:
        return Text("")
    size = abs(seconds)
    if size >= 1:
        return _unbroken(duration(seconds))
    return _unbroken(f"{seconds * 1e3:.{1 if size < 0.01 else 0}f} ms")


def _unbroken(figure: str) -> Text:
    """A figure and its unit stay on one line."""
    return Text(figure.replace(" ", "\N{NO-BREAK SPACE}"))
