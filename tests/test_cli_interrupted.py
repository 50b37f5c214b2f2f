"""Ctrl-C, whenever it comes: 130, and not a word more than the command had to say."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

START = "import heartline_command; heartline_command.main()"
IN_THE_BACKGROUND = f"import signal; signal.signal(2, signal.SIG_IGN); {START}"


def interrupted(module: str, *, start: str = START) -> tuple[int, str]:
    """Interrupt the command as soon as it has imported `module`: status and words."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-c", start, "venues"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split("|")[-1].strip() == module:
                process.send_signal(signal.SIGINT)
                break
        said = [it for it in process.stderr if not it.startswith("import time:")]
    return process.returncode, "".join(said)


@pytest.mark.parametrize("module", ["msgspec", "heartline.core.session", "typer"])
def test_ctrl_c_while_a_command_is_imported_ends_it_quietly(module: str) -> None:
    assert interrupted(module) == (130, "")


def test_a_command_whose_shell_has_ctrl_c_ignored_goes_on() -> None:
    assert interrupted("msgspec", start=IN_THE_BACKGROUND) == (0, "")
