"""Finds the compiled twin of a module, where one was built.

Everything works without: a twin does the same at less cost, and the same tests hold
for both. `HEARTLINE_PURE=1` in the environment leaves all twins aside.
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any


def compiled(name: str) -> Any | None:
    """The module `heartline.<name>`; None if it was not built or does not load."""
    if os.environ.get("HEARTLINE_PURE", "") not in ("", "0"):
        return None
    try:
        return importlib.import_module(f"heartline.{name}")
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        logging.getLogger("heartline").warning(
            "heartline.%s was built for something else and is left aside: %s",
            name,
            error,
        )
        return None
