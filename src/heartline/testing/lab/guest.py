"""Somebody else's client as the process under test: any module that has a `begin`.

A child of `process.ChildProcess`. The module is imported where the parent finds its
modules, and is given the options it was started with.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from heartline.testing.orders import Handler, run

from .namespaces import enter


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    enter(options["namespace"])
    sys.path[:] = options["path"]
    module: Any = importlib.import_module(options["module"])
    begun: tuple[object, Handler] = await module.begin(options)
    return begun


def main(parent: int) -> None:
    run(_begin, parent=parent)
