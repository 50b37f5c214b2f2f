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
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

_SHARED = re.compile(rb"^from heartline\.([\w.]+) cimport", re.MULTILINE)


@cache
def compiled(name: str) -> Any | None:
    """The module `heartline.<name>`; None if it was not built or does not load."""
    if os.environ.get("HEARTLINE_PURE", "") not in ("", "0"):
        return None
    try:
        twin = importlib.import_module(f"heartline.{name}")
    except ModuleNotFoundError:
        return None
    except (ImportError, TypeError, ValueError) as error:
        # The latter two where it shares the layout of another that was built apart.
        logging.getLogger("heartline").warning(
            "heartline.%s was built for something else and is left aside: %s",
            name,
            error,
        )
        return None
    return twin if _is_of_its_source(name, twin) else None


def source_sum(package: Path, name: str) -> str:
    """The sum of what `heartline.<name>` is compiled from, with what it shares.

    Raises OSError where the sources are not there.
    """
    text = (package / f"{name.replace('.', '/')}.pyx").read_bytes()
    found = sha256(text)
    shared = {each.decode() for each in _SHARED.findall(text)}
    if (package / f"{name.replace('.', '/')}.pxd").exists():
        shared.add(name)
    for each in sorted(shared):
        found.update((package / f"{each.replace('.', '/')}.pxd").read_bytes())
    return found.hexdigest()


def _is_of_its_source(name: str, twin: Any) -> bool:
    try:
        found = source_sum(Path(__file__).parent, name)
    except OSError:
        return True
    if getattr(twin, "SOURCE", b"") == found.encode():
        return True
    logging.getLogger("heartline").warning(
        "heartline.%s was built from an older source and is left aside: "
        "install heartline again, or build it with `python setup.py build_ext -i`",
        name,
    )
    return False
