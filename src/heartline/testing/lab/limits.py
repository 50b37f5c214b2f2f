"""Control groups: a share of a processor, a ceiling of memory; both generations.

Named like the namespaces, and swept like them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
_NAME = re.compile(r"hl-(\d+)-\d+")
_numbers = itertools.count(1)


class Group:
    """One control group of the second generation, or of the first one's controller.

    Raises `OSError` where the system lets nobody make one.
    """

    def __init__(self, controller: str) -> None:
        root = _root_of(controller)
        if root is None:
            raise OSError(f"no control group for {controller} can be made here")
        self._modern = (root / "cgroup.controllers").exists()
        self._home = root
        self._path = root / f"hl-{os.getpid()}-{next(_numbers)}"
        if self._modern:
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
        self._path.mkdir()

    def limit_processor(self, share: float) -> None:
        """At most that share of one processor, in every tenth of a second."""
        quota = round(PERIOD_US * share)
        if self._modern:
            self._write("cpu.max", f"{quota} {PERIOD_US}")
        else:
            self._write("cpu.cfs_period_us", str(PERIOD_US))
            self._write("cpu.cfs_quota_us", str(quota))

    def limit_memory(self, size_bytes: int) -> None:
        name = "memory.max" if self._modern else "memory.limit_in_bytes"
        self._write(name, str(size_bytes))

    def add(self, pid: int) -> None:
        self._write("cgroup.procs", str(pid))

    def used_bytes(self) -> int:
        name = "memory.current" if self._modern else "memory.usage_in_bytes"
        return int((self._path / name).read_text())

    def throttled(self) -> int:
        """How often the processes in it had to wait for their share."""
        for line in (self._path / "cpu.stat").read_text().splitlines():
            if line.startswith("nr_throttled "):
                return int(line.split()[1])
        return 0

    def reclaims(self) -> int:
        """How often memory had to be given back because of the ceiling."""
        if not self._modern:
            return int((self._path / "memory.failcnt").read_text())
        for line in (self._path / "memory.events").read_text().splitlines():
            if line.startswith("max "):
                return int(line.split()[1])
        return 0

    def close(self) -> None:
        """Let its processes go, and remove it."""
        _dissolve(self._path, self._home)

    def _write(self, name: str, text: str) -> None:
        (self._path / name).write_text(text)


def missing(controller: str) -> str | None:
    """Why no group can be made; None if one can. Tried, not guessed."""
    try:
        Group(controller).close()
    except OSError as error:
        return f"control groups: {error}"
    return None


def sweep() -> None:
    """Remove groups of labs that are gone."""
    for home in {_root_of("cpu"), _root_of("memory")} - {None}:
        assert home is not None
        for path in home.glob("hl-*"):
            name = _NAME.fullmatch(path.name)
            if name and not Path(f"/proc/{name[1]}").exists():
                _dissolve(path, home)


def _root_of(controller: str) -> Path | None:
    for home in (ROOT, ROOT / "unified"):
        controllers = home / "cgroup.controllers"
        if controllers.exists() and controller in controllers.read_text().split():
            return home
    old = ROOT / controller
    return old if (old / "cgroup.procs").exists() else None


def _dissolve(path: Path, home: Path) -> None:
    # Somebody else may be sweeping at the same time.
    with contextlib.suppress(FileNotFoundError):
        for pid in (path / "cgroup.procs").read_text().split():
            # It may have ended in the meantime.
            with contextlib.suppress(ProcessLookupError):
                (home / "cgroup.procs").write_text(pid)
        path.rmdir()
