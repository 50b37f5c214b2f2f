"""`make prove`: run the long proofs, write prove/results/{prove,lab}.{json,md}."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from . import calm, detecting, fuzz, hothot, lab, page, relaying, serving, venues
from .tree import RESULTS, here, told

Found = dict[str, Any]


def _detection(asked: argparse.Namespace) -> Found:
    # The lab asks the other libraries more, and in the same run as ours.
    peers = not asked.no_peers and ("lab" not in asked.proof or bool(lab.missing()))
    return detecting.run(asked.repeats, asked.seed, peers)


def _fuzz(asked: argparse.Namespace) -> Found:
    found = fuzz.fuzz(asked.minutes, asked.seed, asked.only)
    _say(fuzz.told(found))
    return found


PROOFS: dict[str, Callable[[argparse.Namespace], Found]] = {
    "detection": _detection,
    "calm": lambda asked: calm.run(asked.calm_seconds, asked.seed),
    "fuzz": _fuzz,
    "serving": lambda asked: serving.run(seed=asked.seed),
    "relay": lambda asked: relaying.run(asked.seed),
    "hothot": lambda asked: hothot.run(asked.hothot_seconds, asked.seed),
    "venues": lambda asked: venues.run(asked.seed),
}
"""In the order in which they run; the lab, which writes pages of its own, is last.
Each says in words, in `broken`, which promises were."""


def _say(text: str) -> None:
    print(text, flush=True)


def _keep(name: str, found: Found) -> None:
    """Write down what was found, beside what other runs found of other things."""
    path = RESULTS / "prove.json"
    whole = json.loads(path.read_text()) if path.exists() else {}
    whole[name] = found
    path.write_text(json.dumps(whole, indent=1) + "\n")
    lines = ["# Proofs", ""]
    if run := whole.get("whole"):
        lines += [f"{run['told']} {told(run['where'])}", ""]
    for proof, markdown in page.PROVED.items():
        if "where" in whole.get(proof, {}):
            lines += [f"## {proof}", "", told(whole[proof]["where"]), ""]
            lines += [*markdown(whole[proof]), ""]
    (RESULTS / "prove.md").write_text("\n".join(lines).rstrip("\n") + "\n")


def _lab(asked: argparse.Namespace, where: dict[str, Any]) -> list[str] | None:
    """The fault lab; None without what it needs, and that is said."""
    if lacks := lab.missing():
        _say("lab: not tried: it needs " + "; and ".join(lacks))
        return None
    return lab.run(
        where,
        repeats=asked.lab_repeats,
        seed=asked.seed,
        only=asked.only,
        side_by_side=asked.side_by_side,
        with_rivals=not asked.no_peers,
    )


def main() -> int:
    names = (*PROOFS, "lab")
    parser = argparse.ArgumentParser(prog="python -m prove", description=__doc__)
    parser.add_argument("proof", nargs="*", choices=[*names, []])
    parser.add_argument("--repeats", type=int, default=30, help="of detection")
    parser.add_argument("--lab-repeats", type=int, default=20)
    parser.add_argument("--only", action="append", default=[], metavar="ROW")
    parser.add_argument("--side-by-side", type=int, default=None)
    parser.add_argument("--calm-seconds", type=float, default=600.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of fuzz")
    parser.add_argument("--hothot-seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--no-peers", action="store_true")
    asked = parser.parse_args()
    # Stopped from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    asked.proof = asked.proof or list(names)
    RESULTS.mkdir(exist_ok=True)
    broken, left_out = _prove(asked)
    _say(_verdict(broken) + left_out)
    page.write()
    return 1 if broken else 0


def _verdict(broken: list[str]) -> str:
    return "broken: " + ", ".join(broken) if broken else "every promise kept"


def _prove(asked: argparse.Namespace) -> tuple[list[str], str]:
    """Run what is asked, each written down as it ends.

    Returns what broke and, if something could not be tried, what that was, in words.
    """
    broken: list[str] = []
    left_out = ""
    whole, began = here(), time.monotonic()
    for name, run in PROOFS.items():
        if name not in asked.proof:
            continue
        where, started = here(), time.monotonic()
        found = run(asked)
        found["where"] = where | {"took_s": round(time.monotonic() - started)}
        _keep(name, found)
        broken += found["broken"]
    if "lab" in asked.proof:
        found_in_lab = _lab(asked, here())
        broken += found_in_lab or []
        left_out = ", but the lab was not tried" if found_in_lab is None else ""
    if {*PROOFS, "lab"} <= {*asked.proof}:
        where = whole | {"took_s": round(time.monotonic() - began)}
        what = "All of it, the lab included," if not left_out else "All but the lab"
        _keep(
            "whole", {"told": f"{what} in one run: {_verdict(broken)}.", "where": where}
        )
    return broken, left_out


if __name__ == "__main__":
    sys.exit(main())
