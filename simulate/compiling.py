"""`python compiling.py MODULE...`: compile modules of the tree one stands in, in place.

Run by path, in that tree: it needs no more of the project.
"""

from __future__ import annotations

import sys

from mypyc.build import mypycify
from setuptools import setup

# Python rounds a product before it is added; some processors can do without.
EXACT = "-ffp-contract=off"


def main(modules: list[str]) -> None:
    # The types were checked where they were written, with the options of the project.
    extensions = mypycify(["--config-file=", *modules], opt_level="3", debug_level="0")
    for each in extensions:
        each.extra_compile_args.append(EXACT)
    setup(
        name="simulated",
        ext_modules=extensions,
        script_args=["--quiet", "build_ext", "--inplace"],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
