"""What pyproject.toml cannot say: the hot path is compiled where a compiler is.

Without one, and wherever compiling fails, the installation goes on and the pure
Python twins are used; `heartline.compiled` finds which.
"""

from __future__ import annotations

import os
from pathlib import Path
from runpy import run_path

from Cython.Build import cythonize
from setuptools import Extension, setup

PACKAGE = Path("src/heartline")
source_sum = run_path(str(PACKAGE / "compiled.py"))["source_sum"]

TWINS = {
    "heartline.client._lane": "src/heartline/client/_lane.pyx",
    "heartline.client._usual": "src/heartline/client/_usual.pyx",
    "heartline.core._figures": "src/heartline/core/_figures.pyx",
    "heartline.venue._ahead": "src/heartline/venue/_ahead.pyx",
    "heartline.wire._plain": "src/heartline/wire/_plain.pyx",
    "heartline.wire._resting": "src/heartline/wire/_resting.pyx",
}

# Python rounds a product before it is added; some processors can do without.
EXACT = ["-ffp-contract=off"] if os.name == "posix" else []


def twin(name: str, path: str) -> Extension:
    """The twin knows the sum of its source: see `heartline.compiled`."""
    source = source_sum(PACKAGE, name.removeprefix("heartline."))
    return Extension(
        name,
        [path],
        define_macros=[("HEARTLINE_SOURCE", f'"{source}"')],
        extra_compile_args=EXACT,
        optional=True,
    )


setup(
    ext_modules=cythonize(
        [twin(name, path) for name, path in TWINS.items()],
        build_dir="build",
    )
)
