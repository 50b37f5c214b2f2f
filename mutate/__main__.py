"""`make mutate`: plant faults in the core and count which are noticed.

Works on a copy of the tree in a temporary directory. What nobody notices is listed,
and has to be judged in mutate/survivors.md: an equivalent, or a hole.
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
from pathlib import Path
from typing import Any

from .judge import Judgement, judge, prepare
from .plant import Fault, faults, planted

HERE = Path(__file__).resolve().parent
CORE = Path("src/heartline/core")
SURVIVORS = HERE / "survivors.md"
WANTED = 0.95
"""Least share of the faults that are not equivalents, to be noticed."""
NICE = 15
COPIED = ("src", "tests", "mutate", "pyproject.toml", "README.md")

_TREE = Path()
_THOROUGH = False


def start(tree: Path, thorough: bool) -> None:
    """Make a worker ready."""
    global _TREE, _THOROUGH
    _TREE, _THOROUGH = tree, thorough
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    prepare(tree)


def try_one(fault: Fault | None) -> tuple[Fault | None, Judgement, float]:
    """Judge one fault, or with None the core as it is."""
    began_at = time.monotonic()
    name, source = "adaptive", None
    if fault is not None:
        path = _TREE / CORE / fault.file
        name, source = path.stem, planted(path, fault)
    module = f"heartline.core.{name}"
    verdict = judge(_TREE, module, source, thorough=_THOROUGH)
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


def chosen(tree: Path, asked: argparse.Namespace) -> list[Fault]:
    """The faults to be tried: of some files or of all, all or a sample of them."""
    paths = [
        path
        for path in sorted((tree / CORE).glob("*.py"))
        if not asked.file or path.name in asked.file
    ]
    found = [fault for path in paths for fault in faults(path)]
    if asked.only:
        return [fault for fault in found if asked.only in fault.key]
    if asked.again:
        before = json.loads(asked.again.read_text(encoding="utf-8"))
        keys = {each["key"] for each in before["survived"]}
        return [fault for fault in found if fault.key in keys]
    # In no order, so that a run that is stopped early has seen a fair sample.
    random.Random(asked.seed).shuffle(found)
    return found[: asked.sample] if asked.sample else found


def try_all(
    tree: Path, wanted: list[Fault], *, jobs: int, thorough: bool
) -> Iterator[tuple[Fault, Judgement, float]]:
    """Judge every fault, several at a time, as they come."""
    with ProcessPoolExecutor(
        jobs, initializer=start, initargs=(tree, thorough)
    ) as pool:
        try:
            _, verdict, took = pool.submit(try_one, None).result()
            if verdict.noticed_by:
                raise SystemExit(f"without any fault: {verdict}")
            print(f"without any fault all is well; that took {took:.0f} s", flush=True)
            for done in as_completed([pool.submit(try_one, each) for each in wanted]):
                fault, verdict, took = done.result()
                assert fault is not None
                yield fault, verdict, took
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def report(
    tried: list[tuple[Fault, Judgement, float]], about: dict[str, Any]
) -> dict[str, Any]:
    """Counts, and every survivor."""
    equivalents = judged_equivalent()
    survived = sorted(fault for fault, verdict, _ in tried if not verdict.noticed_by)
    equal = [fault for fault in survived if fault.key in equivalents]
    noticed = len(tried) - len(survived)
    whole = len(tried) - len(equal)
    by = Counter(str(v.noticed_by) for _, v, _ in tried if v.noticed_by)
    return {
        "about": about,
        "planted": len(tried),
        "noticed": noticed,
        "equivalent": len(equal),
        "share": round(noticed / whole, 4) if whole else 1.0,
        "share_with_equivalents": round(noticed / len(tried), 4) if tried else 1.0,
        "noticed_by": dict(by),
        "survived": [
            {
                **asdict(fault),
                "key": fault.key,
                "equivalent": equivalents.get(fault.key),
            }
            for fault in survived
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
        wanted = chosen(tree, asked)
        print(f"{len(wanted)} faults", flush=True)
        tried: list[tuple[Fault, Judgement, float]] = []
        judged = try_all(tree, wanted, jobs=asked.jobs, thorough=asked.thorough)
        with contextlib.suppress(KeyboardInterrupt):
            for each in judged:
                tried.append(each)
                fault, verdict, took = each
                said = verdict.noticed_by or "SURVIVED"
                line = f"{len(tried):5} {took:5.1f} s {said:10} {fault.key}"
                print(line, flush=True)
    about = {"command": command, "took": round(time.monotonic() - began_at)}
    result = report(tried, about)
    text = json.dumps(result, indent=1)
    asked.result.write_text(text + "\n", encoding="utf-8")
    open_ones = [each for each in result["survived"] if not each["equivalent"]]
    for each in open_ones:
        print(f"survived: line {each['line']}: {each['key']}")
    print(
        f"{result['planted']} planted, {result['noticed']} noticed,"
        f" {len(result['survived'])} survived, {result['equivalent']} of those are"
        f" equivalents: {result['share']:.1%} noticed of what could be"
        f" ({result['share_with_equivalents']:.1%} of all); again: {command}"
    )
    return 0 if result["share"] >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
