"""The command `heartline`, and how Ctrl-C ends it before it has begun.

A module beside the package: what imports the package takes half a second, and Ctrl-C
in it would be answered with a traceback, or by some import that takes it for its own.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command that the arguments of the process name, and exit."""
    # A shell that runs a command in the background has SIGINT ignored: so it stays.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from heartline.cli import main as command

    command()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing was begun yet that would have to be ended."""
    os._exit(128 + number)
