"""Network namespaces with their maker's pid in the name: made, entered, removed."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NAMED = Path("/run/netns")
"""Where `ip netns` keeps the names."""
PREFIX = "hl"
_NAME = re.compile(rf"{PREFIX}-(\d+)-\d+-[crv]")
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)
_made: set[str] = set()


def missing() -> list[str]:
    """What this system lacks for the lab, in words; empty if it lacks nothing."""
    if not sys.platform.startswith("linux"):
        return [f"Linux with network namespaces (this is {sys.platform})"]
    lacks: list[str] = []
    if os.geteuid() != 0:
        lacks.append("root (network namespaces and packet filters are made)")
    if shutil.which("ip") is None:
        lacks.append("the `ip` command (package iproute2)")
    try:
        ctypes.CDLL("libnftables.so.1")
    except OSError:
        lacks.append("libnftables.so.1 (package nftables)")
    if not Path("/dev/net/tun").exists():
        lacks.append("/dev/net/tun (the kernel's TUN devices)")
    return lacks


@dataclass(frozen=True, slots=True)
class Names:
    """The namespaces of one trial."""

    client: str
    router: str
    venue: str

    @property
    def all(self) -> tuple[str, str, str]:
        return self.client, self.router, self.venue


def new_names() -> Names:
    number = next(_numbers)
    return Names(*(f"{PREFIX}-{os.getpid()}-{number}-{end}" for end in "crv"))


async def make(names: Names) -> None:
    """Make all three. Raises `OSError`; `remove` takes away what was made."""
    if not _made:
        atexit.register(remove_all)
    _made.update(names.all)
    await ip("".join(f"netns add {name}\n" for name in names.all))


async def remove(names: Names) -> None:
    """Remove them, with all links in them; no matter how far they were made."""
    there = [name for name in names.all if (NAMED / name).exists()]
    await ip("".join(f"netns del {name}\n" for name in there))
    _made.difference_update(names.all)


def remove_all() -> None:
    """Remove all that this process made and has not removed. Blocks."""
    for name in [name for name in _made if (NAMED / name).exists()]:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    _made.clear()


def left_behind() -> list[str]:
    """Namespaces of the lab whose maker is gone."""
    if not NAMED.is_dir():
        return []
    names = (_NAME.fullmatch(path.name) for path in NAMED.iterdir())
    return sorted(name[0] for name in names if name and not _lives(int(name[1])))


def sweep() -> list[str]:
    """Remove what a killed lab left behind; return the names. Blocks."""
    names = left_behind()
    for name in names:
        # Somebody else may be sweeping at the same time.
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return names


async def ip(batch: str, *, within: str | None = None) -> None:
    """Run lines of `ip -batch`, in a namespace. Raises `OSError` with what it says."""
    if not batch:
        return
    where = () if within is None else ("-n", within)
    process = await asyncio.create_subprocess_exec(
        *("ip", *where, "-batch", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, complaints = await process.communicate(batch.encode())
    if process.returncode != 0:
        raise OSError(f"ip: {complaints.decode(errors='replace').strip()}")


def enter(name: str) -> None:
    """Move this thread, and what it starts from now on, into a namespace."""
    with (NAMED / name).open() as there:
        _set_namespace(there.fileno())


@contextmanager
def inside(name: str) -> Generator[None]:
    """For the length of a block without `await`: sockets made here are made there."""
    with Path("/proc/thread-self/ns/net").open() as here:
        enter(name)
        try:
            yield
        finally:
            _set_namespace(here.fileno())


def _set_namespace(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
