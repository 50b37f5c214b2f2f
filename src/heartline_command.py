"""The command `heartline`: what must hold before anything of the package is imported.

A module beside the package, whose import takes half a second: Ctrl-C in it would be
answered with a traceback, or by some import that takes it for its own.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command that the arguments of the process name, and exit."""
    # A shell that runs a command in the background has SIGINT ignored: so it stays.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    _stand_in()
    from heartline.cli import main as command

    command()


def _stand_in() -> None:
    """Open what a shell closed (`>&-`), as if it led to the null device.

    Else the next socket gets the number of a standard stream, and is written to.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number: this one
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - as long as we run
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing was begun yet that would have to be ended."""
    os._exit(128 + number)
