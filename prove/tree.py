"""Where and when something was proved: the machine, the code, the load."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def here() -> dict[str, Any]:
    """This machine, this commit and this moment, for the results."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit(),
        "utc": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "load": round(os.getloadavg()[0], 1),
    }


def commit() -> str:
    """The commit of the checkout, `-dirty` if it was changed; empty without git."""
    try:
        short = _git("rev-parse", "--short", "HEAD").stdout.strip()
        changed = _git("diff", "--quiet", "HEAD", "--", ".", f":!{RESULTS}")
    except FileNotFoundError:
        return ""
    return f"{short}-dirty" if short and changed.returncode else short


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    root = RESULTS.parent.parent
    return subprocess.run(
        ["git", *words], cwd=root, check=False, capture_output=True, text=True
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()
