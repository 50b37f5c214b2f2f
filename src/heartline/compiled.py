"""Finds the compiled twin of a module, where one was built.

Everything works without: a twin does the same at less cost, and the same tests hold
for both. `HEARTLINE_PURE=1` in the environment leaves all twins aside. A twin
that was built from another text than lies beside it, as after a pull without a build,
is left aside too.
"""

from __future__ import annotations

import importlib
import logging
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any


@cache
def compiled(name: str) -> Any | None:
    """The module `heartline.<name>`; None if it was not built or does not load."""
    if os.environ.get("HEARTLINE_PURE", "") not in ("", "0"):
        return None
    try:
        twin = importlib.import_module(f"heartline.{name}")
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        logging.getLogger("heartline").warning(
            "heartline.%s was built for something else and is left aside: %s",
            name,
            error,
        )
        return None
    return twin if _is_of_its_source(name, twin) else None


def _is_of_its_source(name: str, twin: Any) -> bool:
    source = Path(__file__).parent / f"{name.replace('.', '/')}.pyx"
    try:
        text = source.read_bytes()
    except OSError:
        return True
    if getattr(twin, "SOURCE", b"") == sha256(text).hexdigest().encode():
        return True
    logging.getLogger("heartline").warning(
        "heartline.%s was built from an older source and is left aside: "
        "install heartline again, or build it with `python setup.py build_ext -i`",
        name,
    )
    return False
