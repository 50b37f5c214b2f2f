"""Where and when something was proved: the machine, the code, the load."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
_CODE = (".", ":!prove/results", ":!docs/proof.md")
"""All but what a proof itself writes."""


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
        changed = _git("diff", "--quiet", "HEAD", "--", *_CODE)
    except FileNotFoundError:
        return ""
    return f"{short}-dirty" if short and changed.returncode else short


def told(where: dict[str, Any]) -> str:
    """Say it in one line."""
    return (
        f"Commit {where['commit'] or 'unknown'}, {where['utc']}, took"
        f" {where['took_s'] / 60:.1f} min, load {where['load']} when it began:"
        f" {where['cpu']}, {where['cores']} cores, Linux {where['kernel']}, Python"
        f" {where['python']}."
    )


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
