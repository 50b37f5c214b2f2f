"""Lines of figures -> Markdown; the same words for the proof and for the command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .tally import Line, Spread, confusion, right_share

HEADINGS = (
    "fault",
    "told",
    "median",
    "p99",
    "max",
    "least bound",
    "counted from",
    "sent",
    "delivered",
    "reported lost",
    "false alarms",
    "back after (median, max)",
    "dials (most)",
    "trials",
)


def markdown(lines: Sequence[Line], skipped: Mapping[str, str]) -> str:
    """Every table of the lab; `skipped` are rows that were not tried, and why."""
    parts = [table(HEADINGS, [cells(one) for one in lines])]
    share = right_share(lines)
    if share is not None:
        parts.append(
            f"Told by the right name: {share:.1%} of the faults whose evidence exists."
        )
    matrix = confusion(lines)
    told = sorted({name for row in matrix.values() for name in row})
    parts.append("### What was injected, and what was told\n")
    parts.append(
        table(
            ("injected", *told),
            [
                (truth, *(str(row.get(name, "")) for name in told))
                for truth, row in matrix.items()
            ],
        )
    )
    unseen = [one for one in lines if one.unseen]
    if unseen:
        parts.append("### What cannot be seen from the client\n")
        parts += [f"- `{one.row}`: {one.unseen}." for one in unseen]
    if skipped:
        parts.append("### Not tried here\n")
        parts += [f"- `{row}`: {why}." for row, why in skipped.items()]
    found = [f"- `{one.row}` {words}" for one in lines for words in one.broken]
    parts.append("### Broken promises\n")
    parts += found or ["None."]
    return "\n\n".join(_joined(parts)) + "\n"


def cells(one: Line) -> tuple[str, ...]:
    account = one.account
    return (
        f"`{one.row}` {one.title}",
        told_words(one),
        *durations(one.after),
        seconds(one.bound_s),
        one.since,
        f"{account.sent:,}",
        f"{account.delivered:,}",
        f"{account.reported_lost:,}",
        str(one.false_alarms),
        _pair(one.recovery),
        "" if one.attempts.max_s is None else f"{one.attempts.max_s:.0f}",
        str(one.repeats),
    )


def told_words(one: Line) -> str:
    """How often each cause was told, and which part of a path was named."""
    words = ", ".join(f"{cause} {count}" for cause, count in one.told.items())
    where = ", ".join(f"{part} {count}" for part, count in one.where.items())
    return f"{words} ({where})" if where else words


def durations(spread: Spread) -> tuple[str, str, str]:
    return seconds(spread.median_s), seconds(spread.p99_s), seconds(spread.max_s)


def seconds(value: float | None) -> str:
    """Milliseconds where they matter, hundredths where they do not."""
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.2f} s"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(headings)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _pair(spread: Spread) -> str:
    if spread.median_s is None:
        return ""
    return f"{seconds(spread.median_s)}, {seconds(spread.max_s)}"


def _joined(parts: list[str]) -> list[str]:
    """Items of one list stay together; everything else stands apart."""
    whole: list[str] = []
    for part in parts:
        text = part.rstrip("\n")
        if text.startswith("- ") and whole and whole[-1].startswith("- "):
            whole[-1] += "\n" + text
        else:
            whole.append(text)
    return whole
