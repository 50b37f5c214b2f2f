"""What the pieces found, put together: rows of figures, curves, and what is amiss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from .environments import ENVIRONMENTS, MONTH_DAYS
from .jobs import Found
from .limit import FLAT_OUT, limit
from .reference import EXPLAINED, MEDIANS, TOLERANCE, TUNED

KERNEL_INTERVAL = 1.0
OURS = "heartline"


@dataclass(frozen=True, slots=True)
class Row:
    """One detector in one environment. Times in seconds, from the fault to the word."""

    group: str
    environment: str
    detector: str
    setting: str
    pings_a_minute: float
    probes_a_minute: float
    median: float
    p99: float
    most: float
    mistakes: float
    """In 30 days."""
    days: float
    faults: int
    limit: float
    """Median that no detector can beat which asks as often as this one."""
    reference: float | None
    reason: str | None

    @property
    def off(self) -> float | None:
        """Our median over the reference's, less one."""
        return None if self.reference is None else self.median / self.reference - 1

    @property
    def amiss(self) -> bool:
        return self.off is not None and abs(self.off) > TOLERANCE and not self.reason


@dataclass(slots=True)
class Findings:
    """All rows, and the curves of detection time over mistakes."""

    rows: list[Row] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    causes: dict[str, int] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    """Of heartline as it is shipped: each with the evidence it gave."""


def gather(found: Iterable[Found]) -> Findings:
    """Merge the pieces; in the order of the tables."""
    findings = Findings()
    ours = defaultdict[tuple[str, str, float | None], list[Found]](list)
    for each in found:
        job = each.job
        if job.interval is None:
            ours[job.feed, job.environment, job.ride_through].append(each)
        else:
            for row in each.rows:
                _add_fixed(findings, job.feed, job.environment, job.interval, row)
    for (group, environment, ride_through), parts in ours.items():
        _add_ours(findings, group, environment, ride_through, parts)
    names = list(ENVIRONMENTS)
    titles = [title for _, title in MEDIANS]
    findings.rows.sort(
        key=lambda row: (
            ("idle", "steady", "market", "frozen").index(row.group),
            titles.index(row.detector) if row.detector in titles else len(titles),
            names.index(row.environment),
        )
    )
    return findings


def _add_fixed(
    findings: Findings, group: str, environment: str, interval: float, row: Any
) -> None:
    least, _ = limit(ENVIRONMENTS[environment], interval)
    findings.rows.append(
        _row(
            group,
            environment,
            row["detector"],
            setting=f"{row['threshold']:g} {row['unit']}",
            pings=row["pings_a_minute"],
            probes=0.0,
            times=row["times"],
            mistakes=row["mistakes"],
            days=row["days"],
            least=least,
        )
    )
    if row["curve"]:
        findings.curves.append(
            {
                "group": group,
                "environment": environment,
                "detector": row["detector"],
                "points": row["curve"],
            }
        )


def _add_ours(
    findings: Findings,
    group: str,
    environment: str,
    ride_through: float | None,
    parts: list[Found],
) -> None:
    days = sum(part.job.days for part in parts)
    path = sorted(took for part in parts for took in part.path)
    mistakes = sum(len(part.mistakes) for part in parts) * MONTH_DAYS / days
    minutes = days * 1440
    # Data tell of the path as probes do, and there is data more often.
    spacing = KERNEL_INTERVAL if group == "idle" else FLAT_OUT
    least, _ = limit(ENVIRONMENTS[environment], spacing)
    for part in parts:
        for told, times in part.causes.items():
            findings.causes[told] = findings.causes.get(told, 0) + times
    common: dict[str, Any] = {
        "pings": sum(part.pings for part in parts) / minutes,
        "probes": sum(part.probes for part in parts) / minutes,
        "mistakes": mistakes,
        "days": days,
    }
    tuned = TUNED.get((group, environment))
    if ride_through is None:
        findings.mistakes += [
            f"{group}, {environment}, part {part.job.part}, at {said}"
            for part in parts
            for said in part.mistakes
        ]
        title, setting = f"{OURS}, as shipped", "0.5 to 3 s, learned"
        frozen = sorted(took for part in parts for took in part.peer)
        if group == "idle":
            findings.rows.append(
                _row(
                    "frozen",
                    environment,
                    title,
                    setting="3 to 10 s, learned",
                    times=frozen,
                    least=0.0,
                    **common,
                )
            )
    else:
        title, setting = f"{OURS}, tuned", f"{ride_through:g} s"
    if ride_through is None or ride_through == tuned:
        findings.rows.append(
            _row(
                group,
                environment,
                title,
                setting=setting,
                times=path,
                least=least,
                **common,
            )
        )
    findings.curves.append(
        {
            "group": group,
            "environment": environment,
            "detector": OURS,
            "ride_through": ride_through,
            "days": days,
            "points": [{"mistakes": mistakes, "median": median(path)}],
        }
    )


def _row(
    group: str,
    environment: str,
    title: str,
    *,
    setting: str,
    pings: float,
    probes: float,
    times: list[float],
    mistakes: float,
    days: float,
    least: float,
) -> Row:
    return Row(
        group=group,
        environment=environment,
        detector=title,
        setting=setting,
        pings_a_minute=round(pings, 2),
        probes_a_minute=round(probes, 1),
        median=round(median(times), 3),
        p99=round(times[int(0.99 * len(times))], 3),
        most=round(times[-1], 3),
        mistakes=round(mistakes, 3),
        days=round(days, 2),
        faults=len(times),
        limit=round(least, 2),
        reference=MEDIANS.get((group, title), {}).get(environment),
        reason=EXPLAINED.get((group, title, environment)),
    )
