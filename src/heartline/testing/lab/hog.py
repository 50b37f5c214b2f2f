"""A process that presses on the memory of its control group: fills it, never rests.

Standard library only; a child of `process.ChildProcess`.
"""

from __future__ import annotations

import asyncio
import mmap
import tempfile
from pathlib import Path
from typing import Any

from heartline.testing.orders import Handler, run

_PAGE = 4096
_PAUSE = 0.01
_PAGES_AT_ONCE = 512


class Hog:
    """Half of it is memory touched page after page, the other the pages of a file
    that is written round and round: these can be reclaimed, and so are."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self.touched = 0

    async def obey(self, order: str, options: dict[str, Any]) -> object:
        if order == "press":
            self._task = asyncio.create_task(self._press(options["size_bytes"]))
        return {"touched_bytes": self.touched * _PAGE}

    async def _press(self, size_bytes: int) -> None:
        held = mmap.mmap(-1, size_bytes // 2)
        for page in range(0, len(held), _PAGE):
            held[page] = 1
        chunk = bytes(_PAGE * _PAGES_AT_ONCE)
        with tempfile.TemporaryFile() as file:
            while True:
                for _ in range(2 * size_bytes // len(chunk)):
                    file.write(chunk)
                    self.touched += _PAGES_AT_ONCE
                    await asyncio.sleep(_PAUSE)
                file.seek(0)


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    return None, Hog().obey


def main(parent: int) -> None:
    # If memory cannot be had at all, it is this process that goes, not the client.
    Path("/proc/self/oom_score_adj").write_text("1000")
    run(_begin, parent=parent)
