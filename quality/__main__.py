"""`make quality`: months of virtual time; writes quality/results/quality.{json,md}."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .environments import DAY, ENVIRONMENTS
from .findings import Findings, gather
from .jobs import Found, Job, pieces, run
from .limit import FLAT_OUT, limit
from .tables import markdown

RESULTS = Path(__file__).resolve().parent / "results"


def measure(jobs: list[Job], workers: int) -> list[Found]:
    """Do all pieces, several at a time; in their order."""
    found: dict[Job, Found] = {}
    with ProcessPoolExecutor(workers) as pool:
        running = [pool.submit(run, job) for job in jobs]
        for nth, done in enumerate(as_completed(running), 1):
            piece = done.result()
            found[piece.job] = piece
            job = piece.job
            who = f"each {job.interval:g} s" if job.interval else "heartline"
            print(
                f"{nth:3} of {len(jobs)}: {job.environment:2} {job.feed:6} {who},"
                f" {job.days:g} days",
                flush=True,
            )
    return [found[job] for job in jobs]


def write(findings: Findings, about: dict[str, Any], results: Path) -> None:
    """Write the figures for machines, for people, and as pictures."""
    from .plots import draw

    results.mkdir(parents=True, exist_ok=True)
    limits = {
        name: {
            f"{spacing:g}": dict(
                zip(("median", "wait"), limit(environment, spacing), strict=True)
            )
            for spacing in (FLAT_OUT, 1.0, 10.0)
        }
        for name, environment in ENVIRONMENTS.items()
    }
    whole = {
        "about": about,
        "environments": {name: asdict(each) for name, each in ENVIRONMENTS.items()},
        "limits": limits,
        "rows": [{**asdict(row), "off": row.off} for row in findings.rows],
        "curves": findings.curves,
        "causes": findings.causes,
        "mistakes": findings.mistakes,
    }
    text = json.dumps(whole, indent=1)
    (results / "quality.json").write_text(text + "\n", encoding="utf-8")
    report = markdown(findings, about)
    (results / "quality.md").write_text(report, encoding="utf-8")
    draw(findings, results)


def machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "python": platform.python_version()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m quality", description=__doc__)
    parser.add_argument(
        "--days",
        type=float,
        default=30.0,
        help="virtual days of heartline on an idle link; all else in proportion",
    )
    parser.add_argument("--seed", default="heartline")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    jobs = list(pieces(asked.days, asked.seed))
    virtual = sum(job.days for job in jobs)
    command = f"python -m quality --days {asked.days:g} --seed {asked.seed}"
    print(f"{command}: {virtual:.0f} virtual days ({virtual * DAY:.3g} s)", flush=True)
    began_at = time.monotonic()
    findings = gather(measure(jobs, asked.jobs))
    took = time.monotonic() - began_at
    about = {
        "command": command,
        "seed": asked.seed,
        "days": asked.days,
        "virtual_days": virtual,
        "took": round(took, 1),
        "machine": machine(),
    }
    write(findings, about, asked.results)
    amiss = [row for row in findings.rows if row.amiss]
    for row in amiss:
        print(
            f"amiss: {row.detector}, {row.environment}, {row.group}: median"
            f" {row.median} s, {row.off:+.0%} against {row.reference} s, unexplained"
        )
    print(f"{took:.0f} s; {asked.results / 'quality.md'}; again: {command}")
    return 1 if amiss else 0


if __name__ == "__main__":
    sys.exit(main())
