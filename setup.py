"""What pyproject.toml cannot say: the hot path is compiled where a compiler is.

Without one, and wherever compiling fails, the installation goes on and the pure
Python twins are used; `heartline.compiled` finds which.
"""

from __future__ import annotations

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

TWINS = {
    "heartline.client._lane": "src/heartline/client/_lane.pyx",
    "heartline.core._figures": "src/heartline/core/_figures.pyx",
    "heartline.wire._plain": "src/heartline/wire/_plain.pyx",
    "heartline.wire._resting": "src/heartline/wire/_resting.pyx",
}

# Python rounds a product before it is added; some processors can do without.
EXACT = ["-ffp-contract=off"] if os.name == "posix" else []

setup(
    ext_modules=cythonize(
        [
            Extension(name, [path], extra_compile_args=EXACT, optional=True)
            for name, path in TWINS.items()
        ],
        build_dir="build",
    )
)
