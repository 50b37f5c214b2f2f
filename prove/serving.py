"""The serving end under deaths, a herd and attacks; servers and clients real.

All of it runs in a network of its own where the system allows that: then the kernel's
counters are of nobody else, and half-open connections need no privilege.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

from heartline.testing.namespace import enter_own_network

from .serving_child import ROOT, raise_file_limit
from .serving_deaths import writing
from .serving_herd import herd
from .serving_hostile import DESERVED, hostile
from .serving_soak import soak

HERD = 5000
SPARE_FILES = 200
"""Files of a process that are no clients."""


def run(*, seed: int) -> dict[str, Any]:
    """Prove it in a process of its own; what was found, faults in `broken`."""
    done = subprocess.run(
        [sys.executable, "-m", "prove.serving", str(seed)],
        stdout=subprocess.PIPE,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        return {"seed": seed, "broken": [f"serving: it ended with {done.returncode}"]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def prove(seed: int, most_files: int) -> dict[str, Any]:
    found: dict[str, Any] = {"seed": seed, "load": round(os.getloadavg()[0], 1)}
    _say("20 kB messages to clients that freeze or vanish ...")
    found["writing"] = await writing(seed)
    _say(_deaths(found["writing"]))
    _say("a minute of 1,000 clients of which 300 die ...")
    found["soak"] = await soak(seed)
    _say(_deaths(found["soak"]))
    clients = min(HERD, most_files - SPARE_FILES)
    _say(f"{clients} clients cut at once ...")
    found["herd"] = await herd(seed, clients=clients)
    for each in found["herd"]["rounds"]:
        _say(_return(each))
    _say("attacks ...")
    found["hostile"] = await hostile(seed)
    _say(_attacks(found["hostile"]))
    broken = [
        f"serving, {name}: {fault}"
        for name in ("writing", "soak", "herd", "hostile")
        for fault in found[name].pop("broken")
    ]
    if clients < HERD:
        broken.append(f"serving, herd: {clients} clients are all the files there are")
    return found | {"broken": broken}


# --- in words ----------------------------------------------------------------------


def _deaths(found: dict[str, Any]) -> str:
    ways = found["ways"]
    deaths = sum(row["deaths"] for row in ways.values())
    closest = max(ways, key=lambda way: ways[way]["of_bound"])
    memory = ", ".join(f"{name} {size}" for name, size in found["memory_mib"].items())
    return (
        f"{deaths} deaths in {len(ways)} ways, at most"
        f" {ways[closest]['of_bound']:.2f} of the bound ({closest}),"
        f" {found['cut']} living clients cut; MiB: {memory}"
    )


def _return(each: dict[str, Any]) -> str:
    cut, dial = each["since_cut_s"], each["since_dial_s"]
    full = ", ".join(f"{name} +{more}" for name, more in each["accept_queue"].items())
    return (
        f"dials spread over {each['base_s']:g} s: all {each['returned']} resumed with"
        f" {each['dials']} dials, p99 {cut['p99']} s after the cut ({dial['p99']} s"
        f" after the dial), {full}"
    )


def _attacks(found: dict[str, Any]) -> str:
    count = sum(sum(codes.values()) for codes in found["attacks"].values())
    beside = "; ".join(
        f"{name} {' '.join(map(str, found['p99_ms'][name]))}"
        for name in ("calm", "attacked")
    )
    return (
        f"{count} attacks of {len(found['attacks'])} kinds, {found['cut']} of"
        f" {found['guests']} guests cut; their p99 in ms by round: {beside}"
    )


def markdown(found: dict[str, Any]) -> list[str]:
    """A section of the written results."""
    if "hostile" not in found:
        return [*found["broken"], ""]
    load = f"; load average before {found['load']}" if "load" in found else ""
    lines = [f"Seed {found['seed']}{load}.", ""]
    for name, title in (
        ("writing", "Clients that freeze or vanish while 20 kB messages are sent"),
        ("soak", "A minute of 1,000 clients of which 300 die"),
    ):
        lines += [f"{title}: {_deaths(found[name])}.", ""]
        lines += ["| way | deaths | median | max | of its bound | called |"]
        lines += ["|---|---|---|---|---|---|"]
        lines += [
            f"| {way} | {row['deaths']} | {row['median_s']} s | {row['max_s']} s |"
            f" {row['of_bound']} | {', '.join(row['causes'])} |"
            for way, row in found[name]["ways"].items()
        ]
        lines += [""]
    lines += [f"{found['herd']['clients']} clients cut at once:", ""]
    lines += [f"- {_return(each)}" for each in found["herd"]["rounds"]]
    lines += ["", f"Hostile clients: {_attacks(found['hostile'])}.", ""]
    lines += ["| attack | times | ended with |", "|---|---|---|"]
    lines += [
        f"| {name} | {sum(codes.values())} | {_codes(name, codes)} |"
        for name, codes in found["hostile"]["attacks"].items()
    ]
    return [*lines, ""]


def _codes(name: str, codes: dict[str, int]) -> str:
    if set(codes) == {"0"} and not DESERVED[name]:
        return "the connection"
    return ", ".join(codes)


def _say(text: str) -> None:
    print(f"serving: {text}", file=sys.stderr, flush=True)


def main() -> None:
    try:
        enter_own_network()
    except OSError as error:
        _say(f"on the machine's own network: {error}")
    found = asyncio.run(prove(int(sys.argv[1]), raise_file_limit()))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
