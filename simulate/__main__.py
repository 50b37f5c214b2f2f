"""`make simulate`: `python -m heartline.testing.simulation`, from a compiled copy.

The histories are the same, and so is the command that replays one: it needs no compiled
copy. Where none can be made the package is run as it is, and one line says why.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .compiled_copy import NotCompiled, compiled_copy

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
BUILDS = ROOT / "build" / "simulated"


def main() -> None:
    try:
        home = compiled_copy(SOURCE / "heartline", BUILDS)
    except NotCompiled as why:
        print(f"simulating without compiled modules: {why}", file=sys.stderr)
        home = SOURCE
    before = os.environ.get("PYTHONPATH")
    path = str(home) if not before else f"{home}{os.pathsep}{before}"
    command = [sys.executable, "-m", "heartline.testing.simulation", *sys.argv[1:]]
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})


if __name__ == "__main__":
    main()
