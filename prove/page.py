"""The tables of docs/proof.md, written from the results that are kept.

`python -m prove.page` writes them anew, as every run of the proofs does at its end; the
words between the tables are written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from heartline.testing.lab.report import durations, seconds, table, told_words
from heartline.testing.lab.tally import Line, confusion, right_share

from . import calm, detecting, fuzz, hothot, relaying, serving, venues
from .lab import comparison
from .tree import RESULTS, told

PAGE = RESULTS.parent.parent / "docs" / "proof.md"
BLOCK = re.compile(r"(<!-- results: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""What stands between two such lines is the table of that name."""

Found = dict[str, Any]


def render(text: str, proved: Found, lab: Found) -> str:
    """Return the page with all its tables as these results make them.

    Raises `KeyError` for a table that is none, or whose result is not there.
    """
    return BLOCK.sub(
        lambda m: m[1] + "\n" + _block(m[2], proved, lab) + "\n" + m[3], text
    )


def _block(name: str, proved: Found, lab: Found) -> str:
    if name in LAB:
        return LAB[name](lab).strip("\n") + "\n"
    where = told(proved[name]["where"])
    if name == "whole":
        return f"{proved[name]['told']} {where}\n"
    return "\n".join([where, "", *PROVED[name](proved[name])]).strip("\n") + "\n"


# --- the lab ----------------------------------------------------------------------


def _lines(lab: Found) -> list[Line]:
    return msgspec.convert(lab["lines"], list[Line])


def _run(lab: Found) -> str:
    lines = _lines(lab)
    trials = sum(one.repeats for one in lines)
    whole = all(one.repeats == lab["repeats"] for one in lines)
    each = f", {lab['repeats']} trials each" if whole else ""
    return (
        f"{len(lines)} faults{each}: {trials} trials, {lab['side_by_side']} side by"
        f" side, and the other libraries; seed {lab['seed']}. {told(lab['machine'])}"
    )


def _sum(lab: Found) -> str:
    lines = _lines(lab)
    alarms = sum(one.false_alarms for one in lines)
    calm_rows = [one for one in lines if one.truth == "nothing"]
    share = right_share(lines)
    accounts = [one.account for one in lines]
    sent = sum(each.sent for each in accounts)
    amiss = sum(each.unreported_lost + each.misstated for each in accounts)
    narrow = min(
        (one for one in lines if one.margin_s is not None),
        key=lambda one: one.margin_s or 0.0,
    )
    broken = [f"`{one.row}` {words}" for one in lines for words in one.broken]
    points = [
        f"**False alarms: {alarms}** in {sum(one.repeats for one in lines)} trials;"
        f" {sum(one.repeats for one in calm_rows)} of them are of links that live.",
        f"**Named rightly: {share:.1%}** of the faults whose evidence exists.",
        f"**Messages: {sent:,}** numbered by the venues; {amiss:,} of them neither"
        " delivered nor reported lost.",
        f"Nearest to its bound: `{narrow.row}`, {seconds(narrow.margin_s)} below it.",
        f"Broken promises: {len(broken) or 'none'}.",
        *broken,
    ]
    return "\n".join(f"- {point}" for point in points)


def _told(lab: Found) -> str:
    head = ("fault", "told, in how many trials", "median", "p99", "max", "least bound")
    return table(
        (*head, "counted from", "false alarms"),
        [
            (
                f"`{one.row}`: {one.title}",
                told_words(one),
                *durations(one.after),
                seconds(one.bound_s),
                one.since,
                str(one.false_alarms),
            )
            for one in _lines(lab)
        ],
    )


def _lost(lab: Found) -> str:
    head = ("fault", "sent", "delivered", "reported lost", "back, median", "back, max")
    return table(
        (*head, "dials, most", "trials"),
        [
            (
                f"`{one.row}`",
                f"{one.account.sent:,}",
                f"{one.account.delivered:,}",
                f"{one.account.reported_lost:,}",
                seconds(one.recovery.median_s),
                seconds(one.recovery.max_s),
                "" if one.attempts.max_s is None else f"{one.attempts.max_s:.0f}",
                str(one.repeats),
            )
            for one in _lines(lab)
        ],
    )


def _names(lab: Found) -> str:
    matrix = confusion(_lines(lab))
    names = sorted({name for row in matrix.values() for name in row})
    return table(
        ("injected", *names),
        [
            (truth, *(str(row.get(name, "")) for name in names))
            for truth, row in matrix.items()
        ],
    )


LAB: dict[str, Callable[[Found], str]] = {
    "lab run": _run,
    "lab sum": _sum,
    "lab told": _told,
    "lab lost": _lost,
    "lab names": _names,
    "lab beside": lambda lab: comparison(_lines(lab), lab["rivals"]),
}

PROVED: dict[str, Callable[[Found], list[str]]] = {
    "detection": detecting.markdown,
    "calm": lambda found: [calm.told(found)],
    "fuzz": lambda found: [fuzz.told(found)],
    "serving": serving.markdown,
    "relay": lambda found: [relaying.told(found)],
    "hothot": lambda found: [hothot.told(found)],
    "venues": venues.markdown,
}


def write() -> None:
    """Write the page anew from what is in prove/results."""
    proved = json.loads((RESULTS / "prove.json").read_text())
    lab = json.loads((RESULTS / "lab.json").read_text())
    PAGE.write_text(render(PAGE.read_text(), proved, lab))


if __name__ == "__main__":
    write()
