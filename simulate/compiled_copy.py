"""A copy of the package in which the simulator is compiled, for what it is made of.

It lies in a directory that is named by the sum of its sources: a copy of anything else
is not found, and one has its name only when it is whole and tells the same histories.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMPILING, HISTORIES = HERE / "compiling.py", HERE / "histories.py"
MODULES = (
    "heartline/core/adaptive.py",
    "heartline/core/away.py",
    "heartline/core/beats.py",
    "heartline/core/calm.py",
    "heartline/core/channel.py",
    "heartline/core/clocks.py",
    "heartline/core/conditions.py",
    "heartline/core/detector.py",
    "heartline/core/flow.py",
    "heartline/core/handover.py",
    "heartline/core/kept.py",
    "heartline/core/link.py",
    "heartline/core/neighbour.py",
    "heartline/core/peer.py",
    "heartline/core/pings.py",
    "heartline/core/promises.py",
    "heartline/core/rest.py",
    "heartline/core/resting.py",
    "heartline/core/session.py",
    "heartline/core/snapshot.py",
    "heartline/core/stall.py",
    "heartline/core/timers.py",
    "heartline/core/unanswered.py",
    "heartline/core/untold.py",
    "heartline/testing/sim_client.py",
    "heartline/testing/sim_clock.py",
    "heartline/testing/sim_consumer.py",
    "heartline/testing/sim_dial.py",
    "heartline/testing/sim_line.py",
    "heartline/testing/sim_loop.py",
    "heartline/testing/sim_network.py",
    "heartline/testing/sim_packets.py",
    "heartline/testing/sim_path.py",
    "heartline/testing/sim_rest.py",
    "heartline/testing/sim_sending.py",
    "heartline/testing/sim_told.py",
    "heartline/testing/sim_venue.py",
    "heartline/wire/heard.py",
    "heartline/wire/pump.py",
)
"""Where the time goes: the world around a stream, its machine, and what drives that.

Not every module may be here. Compiled, a class can be neither held by a weak reference
(`wire/alarms.py`, `wire/resting.py`) nor copied (`core/inbox.py`), a tuple is made anew
where it is read, so that none is known again by `is`, and what mypy takes for None,
since it forgets that a call may change it, raises if it is none. Those that judge
(`testing/checkers.py`) are to run as they were written.
"""
COMPILED = str(sysconfig.get_config_var("EXT_SUFFIX"))
BYTECODE = "__pycache__"


class NotCompiled(Exception):
    """There is no compiled copy; the message is one line that says why."""


def compiled_copy(package: Path, builds: Path) -> Path:
    """The directory that has the copy of `package`; it is made if it is not there.

    One is kept in `builds`; who comes while it is made, waits. Raises `NotCompiled`.
    """
    builds.mkdir(parents=True, exist_ok=True)
    with (builds / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = builds / sum_of(package)
        return found if found.is_dir() else _make(package, builds)


def sum_of(package: Path) -> str:
    """The sum of all that a copy is made of and by. Raises `NotCompiled`."""
    found = sha256(repr((MODULES, *_tools())).encode())
    found.update(COMPILING.read_bytes())
    for path in sorted(package.rglob("*")):
        if path.is_file() and BYTECODE not in path.parts:
            text = path.read_bytes()
            found.update(f"{path.relative_to(package)} {len(text)}\n".encode())
            found.update(text)
    return found.hexdigest()[:32]


def _tools() -> tuple[str, ...]:
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(shlex.split(command)[0]) is None:
        raise NotCompiled(f"there is no C compiler ({command})")
    try:
        packages = version("mypy"), version("setuptools")
    except PackageNotFoundError as error:
        raise NotCompiled(f"{error.name}, which mypyc needs, is missing") from None
    return sys.version, sysconfig.get_platform(), command, *packages


def _make(package: Path, builds: Path) -> Path:
    for old in builds.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    tree, log = builds / "unfinished", builds / "log"
    copy = tree / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns(BYTECODE))
    # Of the copy: the package may be changed while this goes on.
    made = builds / sum_of(copy)
    print("compiling the simulator, once for this source", file=sys.stderr)
    told = _run(tree, log, HISTORIES)
    _run(tree, log, COMPILING, *MODULES)
    for module in MODULES:
        if not (tree / module).with_suffix(COMPILED).is_file():
            raise NotCompiled(f"compiling left out {module}")
    if _run(tree, log, HISTORIES) != told:
        raise NotCompiled(f"compiled, it told other histories (in {tree})")
    for byproduct in ("build", ".mypy_cache"):
        shutil.rmtree(tree / byproduct, ignore_errors=True)
    return tree.rename(made)


def _run(tree: Path, log: Path, script: Path, *arguments: str) -> str:
    """What a script says, run in a tree where it finds nothing but the copy."""
    ran = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log.write_text(ran.stdout, encoding="utf-8")
    if ran.returncode != 0:
        last = (ran.stdout.strip() or "it died").splitlines()[-1]
        raise NotCompiled(f"{script.name} failed: {last} (all of it: {log})")
    return ran.stdout
