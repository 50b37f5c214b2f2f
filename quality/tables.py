"""The figures as Markdown, for people."""

from __future__ import annotations

import json
from typing import Any

from .environments import ENVIRONMENTS
from .findings import Findings, Row
from .limit import FLAT_OUT, limit
from .reference import TOLERANCE

GROUPS = {
    "idle": "An idle link whose path dies",
    "steady": "A link with 10 messages a second (Poisson) whose path dies",
    "market": "A link with bursts and long silences whose path dies",
    "frozen": "An idle link whose peer freezes while its kernel lives",
}


def markdown(findings: Findings, about: dict[str, Any]) -> str:
    """The whole report."""
    lines = ["# Detection quality", "", *_preface(about), ""]
    for group, title in GROUPS.items():
        rows = [row for row in findings.rows if row.group == group]
        if not rows:
            continue
        lines += [f"## {title}", ""]
        if group != "frozen":
            lines += [f"![detection time over mistakes]({group}.svg)", ""]
        for name, environment in ENVIRONMENTS.items():
            here = [row for row in rows if row.environment == name]
            if here:
                flat_out, _ = limit(environment, FLAT_OUT)
                least = (
                    f" However often it asks, no detector with one mistake in 30 days"
                    f" has a median below {flat_out:.2f} s."
                )
                if group == "frozen":
                    least = (
                        " Nothing can tell it from a long stall before that is over."
                    )
                lines += [f"**{name}**: {environment.meaning}.{least}", ""]
                lines += [*_table(here), ""]
    return "\n".join([*lines, *_notes(findings)]) + "\n"


def _preface(about: dict[str, Any]) -> list[str]:
    return [
        f"`{about['command']}` made this in {about['took']:.0f} s"
        f" ({json.dumps(about['machine'])}).",
        "",
        "Times in seconds, from the fault to the verdict, of faults at random moments."
        " *Mistakes*: verdicts in 30 days without a fault, in so many virtual days."
        " A detector without *as* in its name is tuned: it has the least threshold"
        " with at most one mistake in 30 days. *Pings* and *probes* (keepalives of the"
        " kernel, without a frame) are sent each minute on a healthy link. *Limit*: the"
        " median that no detector can beat which asks as often and errs as rarely; one"
        " tuned in hindsight, on the days it is judged by, may seem to, by a little."
        " *Earlier*: the median that another simulation had found.",
    ]


def _table(rows: list[Row]) -> list[str]:
    head = ["detector", "setting", "pings", "probes", "median", "p99", "max"]
    head += ["mistakes", "earlier", "limit"]
    return [
        f"| {' | '.join(head)} |",
        f"|{'|'.join('---' if n < 2 else '--:' for n in range(len(head)))}|",
        *(_line(row) for row in rows),
    ]


def _line(row: Row) -> str:
    earlier = "" if row.reference is None else f"{row.reference:g} ({row.off:+.0%})"
    bold = "**" if row.detector.startswith("heartline") else ""
    cells = (
        f"{bold}{row.detector}{bold}",
        row.setting,
        f"{row.pings_a_minute:.1f}",
        f"{row.probes_a_minute:.0f}",
        f"{bold}{row.median:.2f}{bold}",
        f"{row.p99:.2f}",
        f"{row.most:.2f}",
        f"{row.mistakes:.3g} in {row.days:.3g} d",
        earlier,
        f"{row.limit:.2f}" if row.limit else "",
    )
    return f"| {' | '.join(cells)} |"


def _notes(findings: Findings) -> list[str]:
    lines = ["## Notes", ""]
    causes = ", ".join(f"{told} {n}" for told, n in sorted(findings.causes.items()))
    lines += [f"- What heartline said of the faults, path or peer: {causes}."]
    for said in findings.mistakes:
        lines += [f"- A mistake of heartline as shipped: {said}."]
    off = [row for row in findings.rows if row.off and abs(row.off) > TOLERANCE]
    for row in off:
        lines += [
            f"- {row.detector}, {row.environment}, {row.group}: {row.off:+.0%} against"
            f" the earlier simulation. {row.reason or 'NOT EXPLAINED.'}"
        ]
    if not off:
        lines += [
            f"- Every median is within {TOLERANCE:.0%} of the earlier simulation, where"
            " that has one."
        ]
    return lines
