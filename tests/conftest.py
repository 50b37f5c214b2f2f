"""Property tests draw the same examples in every run; `HEARTLINE_EXPLORE=1` draws new.

A change is thereby judged by what it changed. Whoever explores and finds something
leaves the seed or the example in the test.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("the same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("HEARTLINE_EXPLORE") else "the same")
