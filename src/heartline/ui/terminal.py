"""The live one-screen view of a stream: a picture of the data it is given.

`render` decides nothing and keeps nothing; it fits any terminal, from 120 columns
down to the one word that matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf
from textwrap import wrap

from rich.box import ROUNDED
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from heartline.core.items import Cause, Condition, Phase, Status, Verdict
from heartline.observe.words import duration, one_line
from heartline.ui.gauges import bar, number, size, sparkline
from heartline.ui.letters import big
from heartline.ui.view import Tone, WatchView

WIDE = 108
"""Columns from which the two panels of figures stand side by side."""

NARROW = 46
"""Columns below which there are no frames, only lines."""

_STYLES: dict[Tone, str] = {
    "good": "green",
    "doubtful": "yellow",
    "bad": "red",
    "plain": "cyan",
}
_LABEL = 12


def render(view: WatchView, now: float) -> RenderableType:
    """Draw `view` as of `now`, an instant on the clock of its statuses."""
    return _Picture(view, now)


def headline(view: WatchView) -> tuple[str, Tone]:
    """The one word for the state of the stream, and whether it is good news."""
    status = view.status
    if status is None:
        return Phase.IDLE, "plain"
    if status.live:
        return "LIVE", "good"
    if status.phase is Phase.CLOSED:
        return ("GAVE UP", "bad") if view.surrendered else (Phase.CLOSED, "plain")
    if status.phase is Phase.DRAINING:
        return Phase.DRAINING, "plain"
    if status.verdict is Verdict.DEAD and status.cause is not None:
        return "DEAD", "bad"
    if status.phase is not Phase.OPEN:
        return status.phase, "plain"
    if status.verdict is Verdict.SUSPECT:
        return "SUSPECT", "doubtful"
    if status.cause is Cause.CHANNEL_STALLED:
        return "STALE", "doubtful"
    return "NOT LIVE", "doubtful"


class _Picture:
    """Waits with its layout until it is told how much room there is."""

    def __init__(self, view: WatchView, now: float) -> None:
        self.view = view
        self.now = now

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        width = options.max_width
        height = options.height or console.size.height
        if width < NARROW or height < 14:
            yield from self._lines(width, height)
        else:
            yield from self._panels(width, height)

    def _panels(self, width: int, height: int) -> Iterator[RenderableType]:
        yield self._title(width)
        yield self._verdict(width)
        link, data = self._link(width), self._data(width)
        room = height - 1 - 6
        if width >= WIDE:
            rows = max(len(link), len(data))
            pair = Table.grid(expand=True)
            pair.add_column(ratio=3)
            pair.add_column(ratio=2)
            pair.add_row(
                _panel("link", _figures(link), height=rows + 2),
                _panel("data", _figures(data), height=rows + 2),
            )
            yield pair
        else:
            # Of the figures the last matter least, and some news should be seen.
            rows = max(room - 2 - 7, 5)
            if room - 2 - rows < 3:
                rows = room - 2
            figures = (link + data)[:rows]
            rows = len(figures) or 1
            yield _panel("link and data", _figures(figures), height=rows + 2)
        room -= rows + 2
        if room >= 3:
            yield _panel("what happened", self._news(width - 4, room - 2), height=room)

    def _lines(self, width: int, height: int) -> Iterator[RenderableType]:
        """For a corner of the screen: the word first, then what fits."""
        word, tone = headline(self.view)
        lines = [Text(f" {word} ", style=f"bold reverse {_STYLES[tone]}")]
        lines += [Text(line) for line in self._why(width, 2) if line]
        lines += [_labelled(*row) for row in self._link(width) + self._data(width)]
        for line in lines[:height]:
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line

    def _title(self, width: int) -> Text:
        clock = _utc(self.now + self.view.utc_offset) + " UTC"
        name = " heartline  "
        room = max(width - len(name) - len(clock) - 3, 0)
        title = self.view.title
        shown = title if len(title) <= room else title[: room - 1] + "…"
        return Text.assemble(
            (name, "bold"), shown.ljust(room), "  ", (clock, "dim"), no_wrap=True
        )

    # --- the verdict --------------------------------------------------------------

    def _verdict(self, width: int) -> Panel:
        word, tone = headline(self.view)
        style = _STYLES[tone]
        letters = big(word)
        room = width - 4 - len(letters[0]) - 5
        if room < 24:  # then the letters would crowd out the reason
            letters, room = (word, "", ""), width - 4 - len(word) - 3
        grid = Table.grid(padding=(0, 3, 0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        why = self._why(room, 4)
        shown = Text("\n").join(
            Text(line, style="bold" if at == 0 else "") for at, line in enumerate(why)
        )
        grid.add_row(Text("\n".join(("", *letters)), style=f"bold {style}"), shown)
        return Panel(grid, box=ROUNDED, border_style=style, height=6, padding=(0, 1))

    def _why(self, width: int, lines: int) -> list[str]:
        """Say what the word means now, on `lines` lines of `width` columns."""
        status = self.view.status
        if status is None:
            return ["nothing is known yet", *[""] * (lines - 1)]
        told = [self._state(status)]
        if status.cause is not None:
            told.append(_cause(status))
        if status.evidence and not status.live:
            told += wrap(one_line(status.evidence), width)
        elif status.verdict is Verdict.SUSPECT and status.silence is not None:
            told.append(f"in doubt after {duration(self._silence_of(status))} silence")
        if status.live and (since := self.view.live_since_at) is not None:
            told.append(f"live for {_whole(self.now - since)}")
        if status.live and (loss := self.view.last_loss) is not None:
            ago = _whole(self.now - loss.at)
            code = "" if loss.status is None else f" {loss.status}"
            lost = f"last loss {ago} ago: {loss.cause}{code}"
            if because := loss.evidence or loss.reason:
                lost += f", {because}"
            told += wrap(one_line(lost), width)
        cut = told[:lines]
        if len(told) > lines:
            cut[-1] = cut[-1][: width - 2] + " …"
        return [*cut, *[""] * (lines - len(cut))]

    def _state(self, status: Status) -> str:
        parts: list[str] = [status.phase]
        if status.phase is Phase.OPEN:
            parts.append(status.verdict)
        elif status.retry_at is not None:
            wait = max(0.0, status.retry_at - self.now)
            parts.append(f"attempt {status.attempt} in {wait:.1f} s")
        elif status.phase in (Phase.CONNECTING, Phase.SYNCING):
            parts.append(f"attempt {status.attempt}")
        return " · ".join((*parts, *sorted(status.conditions)))

    def _silence_of(self, status: Status) -> float:
        """Silence goes on between two statuses."""
        return (status.silence or 0.0) + max(0.0, self.now - status.at)

    # --- the figures --------------------------------------------------------------

    def _link(self, width: int) -> list[tuple[str, Text]]:
        status = self.view.status
        if status is None:
            return []
        # A panel's own width less frame and label; side by side, three fifths of it.
        room = (width * 3 // 5 if width >= WIDE else width) - 5 - _LABEL
        bounds = status.bounds
        parts = [f"path {duration(bounds.path)}", f"peer {duration(bounds.peer)}"]
        parts += [
            f"{name or 'data'} {duration(bound)}"
            for name, bound in sorted(bounds.channels.items(), key=lambda c: c[0] or "")
        ]
        eyes = Text("yes", "green") if status.kernel else Text("no", "yellow")
        if status.silence is None:
            eyes = Text("-", "dim")  # there is no link that it could be read on
        to = f" · {status.address}" if status.address else ""
        return [
            ("silence", self._silence(status, min(room - 22, 44))),
            ("told within", Text(" · ".join(parts))),
            ("round trip", self._round_trips(min(room, 60))),
            ("", _round_trip_figures(status)),
            (
                "link",
                Text.assemble(f"epoch {status.epoch} · kernel evidence ", eyes, to),
            ),
        ]

    def _silence(self, status: Status, width: int) -> Text:
        bound = status.bounds.peer
        if status.silence is None:
            since = status.since_at
            ago = "" if since is None else f", {_whole(self.now - since)} since life"
            return Text(f"no link{ago}", style="dim")
        silence = self._silence_of(status)
        share = silence / bound if bound > 0 else 1.0
        style = "green" if share < 0.5 else "yellow" if share < 1 else "red"
        figures = f" {silence:7.2f} s of {duration(bound)}"
        return Text.assemble((bar(share, width=width), f"{style} on grey23"), figures)

    def _round_trips(self, width: int) -> Text:
        drawn = sparkline(tuple(self.view.round_trips), width=width)
        return Text(drawn or "none measured yet", style="cyan" if drawn else "dim")

    def _data(self, width: int) -> list[tuple[str, Text]]:
        status = self.view.status
        if status is None:
            return []
        counts = status.counts
        rates = self.view.rates()
        flow = Text("…", style="dim")
        if rates is not None:
            flow = Text(f"{number(rates.messages)} msg/s · {size(rates.size_bytes)}/s")
        history = self.view.rate_history()
        drawn = Text(sparkline(history, width=30), style="cyan")
        if width < WIDE:  # beside the figures; side by side there is a line for it
            flow = Text.assemble(str(flow).ljust(28), drawn)
        loss = Text(" · ").join(
            (
                _count(status.outages, "outage"),
                _count(counts.gaps, "gap"),
                _count(counts.dropped, "drop"),
            )
        )
        beats = [_counted(counts.pings, "ping"), _counted(counts.pongs, "pong")]
        if counts.beats:
            beats.append(_counted(counts.beats, "beat"))
        return [
            ("traffic", flow),
            *([("", drawn)] if width >= WIDE else []),
            *self._age(status, width),
            ("so far", Text(f"{counts.messages:,} msg · {size(counts.size_bytes)}")),
            ("loss", loss),
            ("heartbeats", Text(" · ".join(beats))),
        ]

    def _age(self, status: Status, width: int) -> list[tuple[str, Text]]:
        """How old data is when it is read, where the venue stamps it."""
        latency = self.view.latency
        age, unsure = latency.age, latency.age_uncertainty
        if age.last is None or unsure is None:
            return []
        style = "yellow" if Condition.LATE in status.conditions else ""
        if unsure == inf:
            over = f"{duration(age.last)} over the fastest"
            return [("age", Text(over, style=style))]
        mark = " assumed" if latency.age_assumed else ""
        last = f"{duration(age.last)} ± {duration(unsure)}{mark}"
        named = (("median", age.median), ("p99", age.p99))
        figures = " · ".join(f"{name} {duration(each or 0.0)}" for name, each in named)
        if width < WIDE:
            return [("age", Text(f"{last} · {figures}", style=style))]
        return [("age", Text(last, style=style)), ("", Text(figures))]

    # --- what happened ------------------------------------------------------------

    def _news(self, width: int, height: int) -> Text:
        """The last lines that fit, newest below; a long one hangs under its start."""
        lines: list[Text] = []
        for news in reversed(self.view.news):
            clock = _utc(news.at + self.view.utc_offset)
            parts = wrap(news.words, max(width - 10, 10), max_lines=3, placeholder=" …")
            first, *rest = parts or [""]
            style = _STYLES[news.tone]
            block = [Text.assemble((clock, "dim"), "  ", (first, style))]
            block += [Text(" " * 10 + part, style=style) for part in rest]
            if lines and len(block) + len(lines) > height:
                break  # the rest of a line whose start is away says nothing
            lines = block + lines
        text = Text("\n").join(lines[:height])
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def _panel(title: str, body: RenderableType, *, height: int) -> Panel:
    return Panel(
        body,
        title=f"[dim]{title}[/dim]",
        title_align="left",
        box=ROUNDED,
        border_style="bright_black",
        height=height,
        padding=(0, 1),
    )


def _figures(rows: list[tuple[str, Text]]) -> Text:
    text = Text("\n").join(_labelled(*row) for row in rows)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _labelled(label: str, value: Text) -> Text:
    return Text.assemble((label.ljust(_LABEL), "dim"), value)


def _cause(status: Status) -> str:
    code = "" if status.status is None else f" {status.status}"
    where = "" if status.where is None else f" ({status.where})"
    return f"{status.cause}{code}{where}"


def _round_trip_figures(status: Status) -> Text:
    trips = status.round_trip
    if trips.last is None:
        return Text("")
    named = (("last", trips.last), ("median", trips.median), ("p99", trips.p99))
    parts = [f"{name} {duration(value)}" for name, value in named if value is not None]
    return Text(" · ".join((*parts, f"{number(trips.samples)} measured")))


def _count(count: int, what: str) -> Text:
    return Text(_counted(count, what), style="yellow" if count else "green")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _whole(seconds: float) -> str:
    """A duration that does not flicker: whole seconds from one on."""
    return duration(seconds if seconds < 1 else float(int(seconds)))


def _utc(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%H:%M:%S")
