"""`make mutate`: plant faults in the core and count which are noticed.

Works on a copy of the tree in a temporary directory. What nobody notices is listed,
and has to be judged in mutate/survivors.md: an equivalent, or a hole. An equivalent
that is listed there is not planted: by its file, function, line and change, so that a
row hides one fault and no other, and none once the line has changed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from .judge import CORE, Judge, Judgement, measure, prepare
from .plant import Fault, faults
from .reach import Reach

HERE = Path(__file__).resolve().parent
SURVIVORS = HERE / "survivors.md"
WANTED = 0.95
"""Least share of the faults that are not equivalents, to be noticed."""
NICE = 15
COPIED = ("src", "tests", "docs", "mutate", "pyproject.toml", "README.md")

Tried = tuple[Fault, Judgement, float]

_JUDGE: list[Judge] = []
"""Of this worker; one."""


def start(tree: Path, reach: Reach, thorough: bool) -> None:
    """Make a worker ready."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    prepare(tree)
    _JUDGE.append(Judge(tree, reach, thorough=thorough))


def try_one(fault: Fault) -> Tried:
    """Judge one fault, and say how long that took."""
    began_at = time.monotonic()
    verdict = _JUDGE[0].judge(fault)
    return fault, verdict, time.monotonic() - began_at


def judged_equivalent() -> dict[str, str]:
    """Faults that survivors.md takes for equivalents, and why."""
    if not SURVIVORS.exists():
        return {}
    rows = re.findall(
        r"^\| equivalent \| `(.+?)` \| (.+?) \|$",
        SURVIVORS.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return {key.replace("\\|", "|"): why for key, why in rows}


def chosen(
    tree: Path, equivalents: dict[str, str], asked: argparse.Namespace
) -> list[Fault]:
    """The faults to be tried: of some files or of all, all or a sample of them."""
    paths = [
        path
        for path in sorted((tree / CORE).glob("*.py"))
        if not asked.file or path.name in asked.file
    ]
    found = [fault for path in paths for fault in faults(path)]
    if not asked.file:
        for key in equivalents.keys() - {fault.key for fault in found}:
            print(f"survivors.md names what cannot be planted any more: {key}")
    if asked.only:
        return [fault for fault in found if asked.only in fault.key]
    if asked.again:
        before = json.loads(asked.again.read_text(encoding="utf-8"))
        keys = {each["key"] for each in before["survived"]}
        return [fault for fault in found if fault.key in keys]
    found = [fault for fault in found if fault.key not in equivalents]
    # In no order, so that a run that is stopped early has seen a fair sample.
    random.Random(asked.seed).shuffle(found)
    return found[: asked.sample] if asked.sample else found


def try_all(
    tree: Path, wanted: list[Fault], *, jobs: int, thorough: bool
) -> Iterator[Tried]:
    """Judge every fault, several at a time, as they come."""
    began_at = time.monotonic()
    with ProcessPoolExecutor(1, initializer=prepare, initargs=(tree,)) as alone:
        reach = alone.submit(partial(measure, tree, thorough=thorough)).result()
    took = time.monotonic() - began_at
    tests = len(reach.seconds)
    print(
        f"without any fault all {tests} tests pass; that took {took:.0f} s", flush=True
    )
    arguments = (tree, reach, thorough)
    with ProcessPoolExecutor(jobs, initializer=start, initargs=arguments) as pool:
        try:
            for done in as_completed([pool.submit(try_one, each) for each in wanted]):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def report(tried: list[Tried], about: dict[str, Any]) -> dict[str, Any]:
    """Counts, and every survivor."""
    survived = [
        (fault, verdict) for fault, verdict, _ in tried if not verdict.noticed_by
    ]
    noticed = len(tried) - len(survived)
    by = Counter(
        str(v.noticed_by).partition("[")[0] for _, v, _ in tried if v.noticed_by
    )
    return {
        "about": about,
        "planted": len(tried),
        "noticed": noticed,
        "share": round(noticed / len(tried), 4) if tried else 1.0,
        "noticed_by": dict(by.most_common()),
        "survived": [
            {**asdict(fault), "key": fault.key, "judged_by": verdict.of}
            for fault, verdict in sorted(survived, key=lambda each: each[0])
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mutate", description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="so many; 0: all")
    parser.add_argument("--seed", default="heartline")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--file", action="append", help="of the core; default: all")
    parser.add_argument("--only", help="faults whose description has this in it")
    parser.add_argument("--again", type=Path, help="what survived, by that result")
    parser.add_argument(
        "--thorough", action="store_true", help="the slow tests too: for survivors"
    )
    parser.add_argument("--result", type=Path, default=HERE / "result.json")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = "python -m mutate " + " ".join(sys.argv[1:])
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="heartline-mutate-") as temporary:
        tree = Path(temporary)
        for name in COPIED:
            source = HERE.parent / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, tree / name)
        wanted = chosen(tree, judged_equivalent(), asked)
        print(f"{len(wanted)} faults", flush=True)
        tried: list[Tried] = []
        judged = try_all(tree, wanted, jobs=asked.jobs, thorough=asked.thorough)
        with contextlib.suppress(KeyboardInterrupt):
            for each in judged:
                tried.append(each)
                fault, verdict, took = each
                said = verdict.noticed_by or f"SURVIVED {verdict.of} tests"
                line = f"{len(tried):5} {took:5.1f} s {fault.key}  # {said}"
                print(line, flush=True)
    about = {"command": command, "took": round(time.monotonic() - began_at)}
    result = report(tried, about)
    text = json.dumps(result, indent=1)
    asked.result.write_text(text + "\n", encoding="utf-8")
    for each in result["survived"]:
        print(f"survived: line {each['line']}: {each['key']}")
    print(
        f"{result['planted']} planted, {result['noticed']} noticed:"
        f" {result['share']:.1%}; again: {command}"
    )
    return 0 if result["share"] >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
