"""Paper for what a command tells once: as wide as the terminal, or of a fixed width."""

from __future__ import annotations

import sys

from rich.console import Console


class Page(Console):
    """Standard output. `pipe_width` is its columns where that is no terminal.

    With `plain` nothing in a text is markup: names from outside stay as they are.
    Raises `BrokenPipeError` once the reader of the output has gone, as `print` does.
    """

    def __init__(self, *, pipe_width: int, plain: bool = False) -> None:
        super().__init__(
            width=None if sys.stdout.isatty() else pipe_width,
            highlight=False,
            markup=not plain,
            emoji=not plain,
        )

    def on_broken_pipe(self) -> None:
        # rich itself would exit with 1, which says here that something was found.
        raise BrokenPipeError
